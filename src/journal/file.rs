//! A journal in a file: recovered at a start, appended to from then on.

use std::fmt;

use super::line::{self, BadLine, Entry, FORMAT};
use super::storage::Storage;
use crate::core::Timestamp;
use crate::core::ledger::Ledger;
use crate::core::record::Record;
use crate::engine::ports::{Journal, JournalError};

/// A journal that is damaged beyond its torn tail, or cannot be read at all.
#[derive(Debug)]
pub enum Damage {
    /// The disk does not give the file.
    Unreadable {
        /// The file.
        file: String,
        /// As the operating system says.
        error: std::io::Error,
    },
    /// A line is not what it should be.
    Line {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A newer program wrote it.
    Newer {
        /// The file.
        file: String,
        /// The version of its format.
        format: u32,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => write!(f, "{file}: cannot be read: {error}"),
            Self::Line { file, line, problem } => write!(
                f,
                "{file}: line {line}: {problem}. The journal is damaged; nothing was changed and nothing is traded. \
                 Keep a copy, then restore the file from a backup, or move it away: a start without it rebuilds what it \
                 can from the exchange"
            ),
            Self::Newer { file, format } => write!(
                f,
                "{file}: written by a newer recompra (format {format}, this one reads up to {FORMAT}): use that version"
            ),
        }
    }
}

impl std::error::Error for Damage {}

/// What a start found in the journal.
#[derive(Debug)]
pub struct Recovery {
    /// What the records add up to.
    pub ledger: Ledger,
    /// How many records were read.
    pub records: u64,
    /// How many bytes of a torn tail are to be cut off.
    pub torn: u64,
    /// The lines, for whoever shows them.
    pub entries: Vec<(Timestamp, Record)>,
}

/// The journal in one file.
#[derive(Debug)]
pub struct JournalFile<S: Storage> {
    storage: S,
    next: u64,
    /// What the file holds that counts: everything after this is from a failed append.
    length: u64,
    /// Whether a failed append may have left bytes behind.
    unclean: bool,
    buffer: Vec<u8>,
}

impl<S: Storage> JournalFile<S> {
    /// Reads the journal, cuts off a torn tail, and is ready to append.
    ///
    /// # Errors
    /// [`Damage`]; the file is then as it was.
    pub fn open(mut storage: S) -> Result<(Self, Recovery), Damage> {
        let bytes = read(&mut storage)?;
        let (recovery, next) = recover(&bytes, &storage.name(), false)?;
        let length = bytes.len() as u64 - recovery.torn;
        if recovery.torn > 0 {
            let file = storage.name();
            storage.truncate(length).map_err(|error| Damage::Unreadable { file, error })?;
        }
        Ok((Self { storage, next, length, unclean: false, buffer: Vec::new() }, recovery))
    }

    /// Reads a journal without changing it, keeping its lines.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn inspect(mut storage: S) -> Result<Recovery, Damage> {
        let bytes = read(&mut storage)?;
        recover(&bytes, &storage.name(), true).map(|(recovery, _)| recovery)
    }

    fn try_append(&mut self, time: Timestamp, records: &[Record]) -> std::io::Result<()> {
        if self.unclean {
            self.storage.truncate(self.length)?;
            self.unclean = false;
        }
        self.buffer.clear();
        let mut next = self.next;
        if next == 0 {
            line::write(&mut self.buffer, next, time, &Record::Journal { format: FORMAT })?;
            next += 1;
        }
        for record in records {
            line::write(&mut self.buffer, next, time, record)?;
            next += 1;
        }
        self.unclean = true;
        self.storage.append(&self.buffer)?;
        self.unclean = false;
        self.length += self.buffer.len() as u64;
        self.next = next;
        Ok(())
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> JournalError {
        JournalError { message: format!("{}: {what}: {error}", self.storage.name()) }
    }
}

impl<S: Storage> Journal for JournalFile<S> {
    fn append(&mut self, time: Timestamp, records: &[Record]) -> Result<(), JournalError> {
        self.try_append(time, records).map_err(|error| self.failed("cannot be written", &error))
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.storage.sync().map_err(|error| self.failed("cannot be synced", &error))
    }
}

fn read<S: Storage>(storage: &mut S) -> Result<Vec<u8>, Damage> {
    storage.read().map_err(|error| Damage::Unreadable { file: storage.name(), error })
}

/// Adds up the lines; answers with the number of the next line too.
fn recover(bytes: &[u8], file: &str, keep: bool) -> Result<(Recovery, u64), Damage> {
    let mut recovery = Recovery { ledger: Ledger::default(), records: 0, torn: 0, entries: Vec::new() };
    let mut next = None;
    let mut position = 0;
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    for (number, raw) in (1..).zip(lines) {
        let damaged = |problem: String| Damage::Line { file: file.to_owned(), line: number, problem };
        let entry = match raw.strip_suffix(b"\n").ok_or(BadLine::Checksum).and_then(line::read) {
            Ok(entry) => entry,
            Err(BadLine::Content(problem)) => return Err(damaged(format!("not understood: {problem}"))),
            Err(BadLine::Checksum) if is_tail(&bytes[position + raw.len()..]) => {
                recovery.torn = (bytes.len() - position) as u64;
                break;
            }
            Err(BadLine::Checksum) => return Err(damaged("its checksum is wrong, and good lines follow".to_owned())),
        };
        if next.is_some_and(|next| next != entry.n) {
            return Err(damaged(format!("it is number {}, {} was expected", entry.n, next.unwrap_or(0))));
        }
        next = Some(entry.n + 1);
        take(&mut recovery, entry, keep, file, damaged)?;
        position += raw.len();
    }
    Ok((recovery, next.unwrap_or(0)))
}

fn take(
    recovery: &mut Recovery,
    entry: Entry,
    keep: bool,
    file: &str,
    damaged: impl Fn(String) -> Damage,
) -> Result<(), Damage> {
    if let Record::Journal { format } = entry.record
        && format > FORMAT
    {
        return Err(Damage::Newer { file: file.to_owned(), format });
    }
    recovery.ledger.apply(entry.time, &entry.record).map_err(|contradiction| damaged(contradiction.to_string()))?;
    recovery.records += 1;
    if keep {
        recovery.entries.push((entry.time, entry.record));
    }
    Ok(())
}

/// Whether no good line follows: then what is bad is the tail that a power cut tore.
fn is_tail(rest: &[u8]) -> bool {
    rest.split_inclusive(|byte| *byte == b'\n')
        .all(|raw| raw.strip_suffix(b"\n").is_none_or(|text| line::read(text) == Err(BadLine::Checksum)))
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    /// A disk in memory that can be told to fail after some bytes.
    #[derive(Debug, Default)]
    struct Memory {
        bytes: Vec<u8>,
        room: Option<usize>,
    }

    impl Storage for &mut Memory {
        fn read(&mut self) -> io::Result<Vec<u8>> {
            Ok(self.bytes.clone())
        }
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let fits = self.room.unwrap_or(usize::MAX).min(bytes.len());
            self.bytes.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
        }
        fn truncate(&mut self, length: u64) -> io::Result<()> {
            self.bytes.truncate(usize::try_from(length).unwrap());
            Ok(())
        }
        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn name(&self) -> String {
            "journal.jsonl".to_owned()
        }
    }

    fn opened(cycle: u64) -> Record {
        Record::CycleOpened { cycle, began: Timestamp(1) }
    }

    fn closed(cycle: u64) -> Record {
        Record::CycleClosed { cycle, profit: crate::core::Decimal::ZERO }
    }

    fn written(cycles: u64) -> Memory {
        let mut memory = Memory::default();
        let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
        for cycle in 1..=cycles {
            journal.append(Timestamp(1), &[opened(cycle), closed(cycle)]).unwrap();
        }
        memory
    }

    #[test]
    fn what_was_written_is_recovered() {
        let mut memory = written(3);
        let (_, recovery) = JournalFile::open(&mut memory).unwrap();
        assert_eq!((recovery.ledger.last_cycle, recovery.ledger.totals.cycles, recovery.torn), (3, 3, 0));
    }

    #[test]
    fn a_tail_torn_at_any_byte_is_cut_off_and_appended_to() {
        let whole = written(2).bytes;
        let good = whole.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::len);
        let ends: Vec<usize> = good
            .scan(0, |sum, length| {
                *sum += length;
                Some(*sum)
            })
            .collect();
        for cut in 0..=whole.len() {
            let mut memory = Memory { bytes: whole[..cut].to_vec(), room: None };
            let (mut journal, recovery) = JournalFile::open(&mut memory).unwrap();
            let kept = ends.iter().rfind(|end| **end <= cut).copied().unwrap_or(0);
            assert_eq!(recovery.torn as usize, cut - kept, "cut at {cut}");
            journal.append(Timestamp(2), &[Record::Stopped { reason: String::new() }]).unwrap();
            assert_eq!(JournalFile::inspect(&mut memory).unwrap().torn, 0, "cut at {cut}");
        }
    }

    #[test]
    fn damage_before_the_tail_is_refused_and_names_the_line() {
        let mut memory = written(2);
        let second = memory.bytes.iter().position(|byte| *byte == b'\n').unwrap() + 20;
        memory.bytes[second] ^= 1;
        let before = memory.bytes.clone();
        let damage = JournalFile::open(&mut memory).unwrap_err().to_string();
        assert!(damage.starts_with("journal.jsonl: line 2: its checksum is wrong"), "{damage}");
        assert_eq!(memory.bytes, before);
    }

    #[test]
    fn a_missing_line_is_damage() {
        let mut memory = written(2);
        let start = memory.bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        let length = memory.bytes[start..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
        memory.bytes.drain(start..start + length);
        let damage = JournalFile::open(&mut memory).unwrap_err().to_string();
        assert!(damage.contains("line 2: it is number 2, 1 was expected"), "{damage}");
    }

    #[test]
    fn a_fact_that_contradicts_the_others_is_damage() {
        let mut memory = Memory::default();
        let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
        journal.append(Timestamp(1), &[opened(1), opened(2)]).unwrap();
        let damage = JournalFile::open(&mut memory).unwrap_err().to_string();
        assert!(damage.contains("line 3: cycle 2 opened while cycle 1 is open"), "{damage}");
    }

    #[test]
    fn a_full_disk_leaves_the_journal_as_it_was() {
        let whole = written(1).bytes.len();
        for room in 0..whole {
            let mut memory = Memory { bytes: Vec::new(), room: Some(room) };
            let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
            assert!(journal.append(Timestamp(1), &[opened(1), closed(1)]).is_err());
            journal.storage.room = None;
            journal.append(Timestamp(1), &[opened(1), closed(1)]).unwrap();
            assert_eq!(memory.bytes, written(1).bytes, "room for {room}");
        }
    }

    #[test]
    fn a_newer_format_is_refused() {
        let mut memory = Memory::default();
        line::write(&mut memory.bytes, 0, Timestamp(1), &Record::Journal { format: FORMAT + 1 }).unwrap();
        let damage = JournalFile::open(&mut memory).unwrap_err().to_string();
        assert!(damage.contains("newer recompra"), "{damage}");
    }
}
