//! A journal in a file: recovered at a start, appended to from then on, and begun anew when it has grown long.

use std::path::PathBuf;

use super::line::{self, FORMAT};
use super::recovery::{Damage, Recovery, recover};
use super::storage::{FileStorage, Held, Storage};
use crate::core::Timestamp;
use crate::core::record::Record;
use crate::engine::ports::{Journal, JournalError};

/// A file of this many bytes is begun anew once no cycle is open.
const LONG: u64 = 256 * 1024;
/// One that is so many times longer is begun anew in the middle of a cycle too.
const FAR_TOO_LONG: u64 = 4;

/// The journal in one file.
#[derive(Debug)]
pub struct JournalFile<S: Storage> {
    storage: S,
    /// The number of the file's first line.
    first: u64,
    next: u64,
    /// What the file holds that counts: everything after this is from a failed append.
    length: u64,
    /// Whether a failed append may have left bytes behind.
    unclean: bool,
    /// All lines before this number are safe from a power cut, as far as is known.
    safe: u64,
    /// The end of the file, which is not known to be safe.
    unsynced: Vec<u8>,
    /// Whether a sync of it may have failed, here or in the process before. The operating system then takes it for written, and
    /// the next sync for done, although the disk never got it: it must be written again first.
    in_doubt: bool,
    /// Length and number of the next line that a sync on the side makes safe, while it is under way.
    syncing: Option<(u64, u64)>,
    in_cycle: bool,
    /// The length at which it is begun anew.
    long: u64,
    buffer: Vec<u8>,
}

impl<S: Storage> JournalFile<S> {
    /// Reads the journal, cuts off what a power cut has spoilt, and is ready to append.
    ///
    /// # Errors
    /// [`Damage`]; the file is then as it was.
    pub fn open(mut storage: S) -> Result<(Self, Recovery), Damage> {
        let mut bytes = read(&mut storage)?;
        let (recovery, next) = recover(&bytes, &storage.name(), false)?;
        let length = bytes.len() as u64 - recovery.torn;
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        if recovery.torn > 0 {
            let file = storage.name();
            storage.truncate(length).map_err(|error| Damage::Unreadable { file, error })?;
            // What is cut off must not come back behind what is written in its place.
            if let Err(error) = storage.sync() {
                log::warn!("{}: the disk does not confirm that its end is cut off: {error}", storage.name());
            }
        }
        // An earlier version, whose lines do not say what is safe, has synced them by itself.
        let safe = recovery.safe.unwrap_or(next);
        let unsynced = bytes.split_off(start_of(safe.saturating_sub(recovery.first), &bytes));
        let journal = Self {
            storage,
            first: recovery.first,
            next,
            length,
            unclean: false,
            safe: recovery.safe.unwrap_or(0),
            in_doubt: !unsynced.is_empty(),
            unsynced,
            syncing: None,
            in_cycle: recovery.ledger.cycle.is_some(),
            long: LONG,
            buffer: Vec::new(),
        };
        Ok((journal, recovery))
    }

    /// Reads a journal without changing it, keeping its lines.
    ///
    /// # Errors
    /// [`Damage`].
    pub fn inspect(mut storage: S) -> Result<Recovery, Damage> {
        let bytes = read(&mut storage)?;
        recover(&bytes, &storage.name(), true).map(|(recovery, _)| recovery)
    }

    /// Begins the file anew at this length instead of the usual one.
    pub fn begin_anew_at(&mut self, bytes: u64) {
        self.long = bytes;
    }

    fn try_append(&mut self, time: Timestamp, records: &[Record]) -> std::io::Result<()> {
        if self.unclean {
            self.storage.truncate(self.length)?;
            self.unclean = false;
        }
        self.buffer.clear();
        let mut next = self.next;
        if next == 0 {
            line::write(&mut self.buffer, next, self.safe, time, &Record::Journal { format: FORMAT })?;
            next += 1;
        }
        for record in records {
            line::write(&mut self.buffer, next, self.safe, time, record)?;
            next += 1;
        }
        self.unclean = true;
        self.storage.write(self.length, &self.buffer)?;
        self.unclean = false;
        self.length += self.buffer.len() as u64;
        self.unsynced.extend_from_slice(&self.buffer);
        self.next = next;
        for record in records.iter().flat_map(Record::facts) {
            match record {
                Record::CycleOpened { .. } => self.in_cycle = true,
                Record::CycleClosed { .. } => self.in_cycle = false,
                _ => {}
            }
        }
        Ok(())
    }

    /// Begins the file anew if it is long: it is called when nothing else is to be done and all is synced. A failure
    /// costs nothing but room: the journal goes on in the file it has.
    fn begin_anew_if_long(&mut self) -> std::io::Result<()> {
        let too_long = if self.in_cycle { self.long.saturating_mul(FAR_TOO_LONG) } else { self.long };
        if self.length < too_long || self.unclean {
            return Ok(());
        }
        // Not tried again at every sync if it fails.
        let long = self.long;
        self.long = self.length.saturating_mul(2);
        let bytes = self.storage.read()?;
        // What the disk really holds is added up, by the code that a start uses: nothing is set aside unread.
        let (recovery, next) = recover(&bytes, &self.storage.name(), false).map_err(std::io::Error::other)?;
        if next != self.next || recovery.torn > 0 {
            return Err(std::io::Error::other(format!("its last line is number {next}, not {}", self.next)));
        }
        let time = recovery.ledger.time;
        let mut new = Vec::new();
        let snapshot = Record::Snapshot { ledger: Box::new(recovery.ledger) };
        // Who trades by what is no part of the ledger, and must be known from this file alone. It stands before the ledger,
        // which it would otherwise change: nobody starts here.
        let head = [Record::Journal { format: FORMAT }].into_iter().chain(recovery.started).chain([snapshot]);
        let head: Vec<Record> = head.collect();
        // It is synced before it takes the journal's name: where these lines are seen, they are safe.
        let safe = self.next + head.len() as u64;
        for (n, record) in (self.next..).zip(&head) {
            line::write(&mut new, n, safe, time, record)?;
        }
        if self.storage.begin_anew(self.first, &new)? {
            self.first = self.next;
            self.next = safe;
            self.safe = safe;
            self.length = new.len() as u64;
            self.long = long;
        }
        Ok(())
    }

    /// All is safe from a power cut: begins the file anew if it is long.
    fn synced(&mut self) -> Result<(), JournalError> {
        let first = self.first;
        if let Err(error) = self.begin_anew_if_long() {
            log::warn!("{}; it grows on", self.failed("cannot be begun anew", &error));
        }
        if self.first == first {
            return Ok(());
        }
        let result = self.storage.sync();
        self.note(result, self.length, self.next)
    }

    /// Writes again what a failed sync may have lost. A process that dies meanwhile loses nothing: the same bytes are there.
    fn write_again(&mut self) -> std::io::Result<()> {
        if self.in_doubt {
            self.storage.write(self.length - self.unsynced.len() as u64, &self.unsynced)?;
            self.in_doubt = false;
        }
        Ok(())
    }

    /// What became of a sync that began when the journal had this length and this next line.
    fn note(&mut self, result: std::io::Result<()>, length: u64, next: u64) -> Result<(), JournalError> {
        if let Err(error) = result {
            self.in_doubt = !self.unsynced.is_empty();
            return Err(self.failed("cannot be synced", &error));
        }
        let grown = usize::try_from(self.length - length).unwrap_or(usize::MAX);
        self.unsynced.drain(..self.unsynced.len().saturating_sub(grown));
        self.safe = next;
        Ok(())
    }

    fn failed(&self, what: &str, error: &std::io::Error) -> JournalError {
        JournalError { message: format!("{}: {what}: {error}", self.storage.name()), lost: false }
    }
}

impl<S: Storage> Journal for JournalFile<S> {
    fn append(&mut self, time: Timestamp, records: &[Record]) -> Result<(), JournalError> {
        self.try_append(time, records).map_err(|error| self.failed("cannot be written", &error))
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.syncing = None;
        let result = self.write_again().and_then(|()| self.storage.sync());
        self.note(result, self.length, self.next)?;
        self.synced()
    }

    fn sync_aside(&mut self) -> Result<bool, JournalError> {
        loop {
            let (length, next) = match self.syncing {
                Some(begun) => begun,
                None => {
                    self.write_again().map_err(|error| self.failed("cannot be synced", &error))?;
                    *self.syncing.insert((self.length, self.next))
                }
            };
            let Some(result) = self.storage.sync_aside() else { return Ok(false) };
            self.syncing = None;
            self.note(result, length, next)?;
            if length == self.length {
                return self.synced().map(|()| true);
            }
            // It has grown meanwhile: what is new is not safe yet.
        }
    }
}

impl JournalFile<FileStorage> {
    /// Which file it is, for whoever looks whether it is still the one under its name.
    pub fn held(&self) -> Held {
        self.storage.held()
    }

    /// Writes what it holds into its folder again, after it was removed or replaced: under its own name if that is free, else
    /// beside the file that has it now. Where that is.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn rescue(&mut self) -> std::io::Result<PathBuf> {
        let mut bytes = self.storage.read()?;
        bytes.truncate(usize::try_from(self.length).unwrap_or(usize::MAX));
        self.storage.rescue(&bytes)
    }
}

/// Where the line stands before which there are so many.
fn start_of(lines: u64, bytes: &[u8]) -> usize {
    let lines = usize::try_from(lines).unwrap_or(usize::MAX);
    bytes.split_inclusive(|byte| *byte == b'\n').take(lines).map(<[u8]>::len).sum()
}

fn read<S: Storage>(storage: &mut S) -> Result<Vec<u8>, Damage> {
    storage.read().map_err(|error| Damage::Unreadable { file: storage.name(), error })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io;

    use super::*;

    /// A disk in memory that can be told to fail after some bytes. A sync that fails loses what was to be written, and the next
    /// one does not know of it, as on Linux.
    #[derive(Debug, Default)]
    struct Memory {
        bytes: Vec<u8>,
        room: Option<usize>,
        fails_to_sync: bool,
        /// Places of bytes that the next sync writes.
        dirty: BTreeSet<usize>,
        /// What is left after a power cut.
        safe: Vec<u8>,
    }

    impl Memory {
        fn with(bytes: Vec<u8>) -> Self {
            Self { bytes, ..Self::default() }
        }

        fn cut_power(&mut self) {
            self.bytes.clone_from(&self.safe);
            self.dirty.clear();
        }
    }

    impl Storage for &mut Memory {
        fn read(&mut self) -> io::Result<Vec<u8>> {
            Ok(self.bytes.clone())
        }
        fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
            let at = usize::try_from(at).unwrap();
            let fits = self.room.unwrap_or(usize::MAX).min(bytes.len());
            self.bytes.resize(self.bytes.len().max(at + fits), 0);
            self.bytes[at..at + fits].copy_from_slice(&bytes[..fits]);
            self.dirty.extend(at..at + fits);
            if fits < bytes.len() { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
        }
        fn truncate(&mut self, length: u64) -> io::Result<()> {
            let length = usize::try_from(length).unwrap();
            self.bytes.truncate(length);
            self.safe.truncate(length);
            self.dirty.split_off(&length);
            Ok(())
        }
        fn sync(&mut self) -> io::Result<()> {
            let dirty = std::mem::take(&mut self.dirty);
            if self.fails_to_sync {
                return Err(io::Error::other("the disk is broken"));
            }
            self.safe.resize(self.bytes.len(), 0);
            dirty.into_iter().for_each(|place| self.safe[place] = self.bytes[place]);
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

    /// The same, and a line that says that all of it is safe.
    fn synced(cycles: u64) -> Memory {
        let mut memory = written(cycles);
        let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
        journal.sync().unwrap();
        journal.append(Timestamp(2), &[Record::Reconciled]).unwrap();
        memory
    }

    #[test]
    fn of_a_rebuilt_journal_there_is_all_or_nothing() {
        let records = vec![opened(1), closed(1), opened(2)];
        let mut whole = Memory::default();
        let (mut journal, _) = JournalFile::open(&mut whole).unwrap();
        journal.append(Timestamp(1), &[Record::Rebuilt { records: records.clone() }]).unwrap();
        for length in 0..=whole.bytes.len() {
            let mut cut = Memory::with(whole.bytes[..length].to_vec());
            let recovery = JournalFile::inspect(&mut cut).unwrap();
            let facts: Vec<Record> = recovery.entries.into_iter().skip(1).map(|(_, record)| record).collect();
            if length == whole.bytes.len() {
                assert_eq!((facts.as_slice(), recovery.ledger.last_cycle), (records.as_slice(), 2));
            } else {
                assert!(facts.is_empty() && recovery.ledger.is_blank(), "cut at {length}");
            }
        }
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
            let mut memory = Memory::with(whole[..cut].to_vec());
            let (mut journal, recovery) = JournalFile::open(&mut memory).unwrap();
            let kept = ends.iter().rfind(|end| **end <= cut).copied().unwrap_or(0);
            assert_eq!(recovery.torn as usize, cut - kept, "cut at {cut}");
            journal.append(Timestamp(2), &[Record::Stopped { reason: String::new() }]).unwrap();
            journal.sync().unwrap();
            assert_eq!(JournalFile::inspect(&mut memory).unwrap().torn, 0, "cut at {cut}");
        }
    }

    #[test]
    fn damage_where_it_was_safe_is_refused_and_names_the_line() {
        let mut memory = synced(2);
        let second = memory.bytes.iter().position(|byte| *byte == b'\n').unwrap() + 20;
        memory.bytes[second] ^= 1;
        let before = memory.bytes.clone();
        let damage = JournalFile::open(&mut memory).unwrap_err().to_string();
        assert!(damage.starts_with("journal.jsonl: line 2: its checksum is wrong"), "{damage}");
        assert_eq!(memory.bytes, before);
    }

    #[test]
    fn a_missing_line_is_damage() {
        let mut memory = synced(2);
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
            let mut memory = Memory { room: Some(room), ..Memory::default() };
            let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
            assert!(journal.append(Timestamp(1), &[opened(1), closed(1)]).is_err());
            journal.storage.room = None;
            journal.append(Timestamp(1), &[opened(1), closed(1)]).unwrap();
            assert_eq!(memory.bytes, written(1).bytes, "room for {room}");
        }
    }

    #[test]
    fn what_a_failed_sync_lost_is_written_again_before_the_next_is_believed() {
        for aside in [false, true] {
            let mut memory = Memory::default();
            let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
            let sync = |journal: &mut JournalFile<&mut Memory>| {
                if aside { journal.sync_aside().map(|all| assert!(all)) } else { journal.sync() }
            };
            journal.append(Timestamp(1), &[opened(1)]).unwrap();
            sync(&mut journal).unwrap();
            journal.append(Timestamp(1), &[closed(1)]).unwrap();
            journal.storage.fails_to_sync = true;
            sync(&mut journal).unwrap_err();
            journal.append(Timestamp(1), &[opened(2)]).unwrap();
            sync(&mut journal).unwrap_err();
            journal.storage.fails_to_sync = false;
            journal.append(Timestamp(1), &[closed(2)]).unwrap();
            sync(&mut journal).unwrap();
            let before = memory.bytes.clone();
            memory.cut_power();
            assert_eq!(memory.bytes, before);
            assert_eq!(JournalFile::inspect(&mut memory).unwrap().ledger.last_cycle, 2);
        }
    }

    #[test]
    fn what_a_failed_sync_of_an_earlier_process_lost_is_written_again() {
        let mut memory = synced(1);
        let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
        journal.append(Timestamp(3), &[opened(2)]).unwrap();
        journal.storage.fails_to_sync = true;
        journal.sync().unwrap_err();
        memory.fails_to_sync = false;
        // It dies, and the next one cannot know.
        let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
        journal.sync().unwrap();
        memory.cut_power();
        assert_eq!(JournalFile::inspect(&mut memory).unwrap().ledger.last_cycle, 2);
    }

    #[test]
    fn a_line_says_what_is_safe_only_after_a_sync_that_covered_it() {
        let mut memory = Memory::default();
        let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
        let append =
            |journal: &mut JournalFile<&mut Memory>| journal.append(Timestamp(1), &[Record::Reconciled]).unwrap();
        append(&mut journal);
        append(&mut journal);
        journal.sync().unwrap();
        append(&mut journal);
        journal.storage.fails_to_sync = true;
        journal.sync().unwrap_err();
        append(&mut journal);
        // Another process goes on from what the lines say.
        memory.fails_to_sync = false;
        let (mut journal, _) = JournalFile::open(&mut memory).unwrap();
        append(&mut journal);
        journal.sync().unwrap();
        append(&mut journal);
        let lines = memory.bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let synced: Vec<Option<u64>> = lines.map(|text| line::read(text).unwrap().synced).collect();
        assert_eq!(synced, [0, 0, 0, 3, 3, 3, 6].map(Some));
    }

    #[test]
    fn a_newer_format_is_refused() {
        let mut memory = Memory::default();
        line::write(&mut memory.bytes, 0, 0, Timestamp(1), &Record::Journal { format: FORMAT + 1 }).unwrap();
        let damage = JournalFile::open(&mut memory).unwrap_err().to_string();
        assert!(damage.contains("newer recompra"), "{damage}");
    }
}
