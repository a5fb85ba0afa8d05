//! The whole journal: the file that is written now, and those that were set aside before it.

use std::fs;
use std::path::{Path, PathBuf};

use super::recovery::{Damage, Recovery, recover};
use super::storage::unpacked;
use crate::core::Timestamp;
use crate::core::ledger::Ledger;
use crate::core::record::Record;

/// Every record there is, oldest first.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// What the records add up to.
    pub ledger: Ledger,
    /// The records, each once. If older ones are gone, the first is a [`Record::Snapshot`] of what they added up to.
    pub entries: Vec<(Timestamp, Record)>,
    /// Whether nothing is gone.
    pub is_complete: bool,
    /// How many files were read.
    pub files: usize,
}

/// Reads the journal's file without changing it; nothing has happened where there is none.
///
/// # Errors
/// [`Damage`].
pub fn read(path: &Path) -> Result<Recovery, Damage> {
    recover_file(path).map(|(recovery, _)| recovery)
}

/// Reads the journal's file and all that were set aside before it, without changing them. Where one of those is missing,
/// the history begins behind the gap.
///
/// # Errors
/// [`Damage`], also when a file does not begin with what those before it add up to.
pub fn history(path: &Path) -> Result<History, Damage> {
    let mut history = History { is_complete: true, ..History::default() };
    let (live, _) = recover_file(path)?;
    let mut expected = 0;
    for archive in archives(path)? {
        let (recovery, next) = recover_file(&archive)?;
        if recovery.behind_hole > 0 {
            // All of it was safe when it was set aside: no power cut has done this.
            return Err(Damage::Line {
                file: archive.display().to_string(),
                line: usize::try_from(recovery.records).unwrap_or(usize::MAX).saturating_add(1),
                problem: "it is missing or not as it was written, and good lines follow".to_owned(),
            });
        }
        if live.records > 0 && recovery.first >= live.first {
            // Set aside, but the file it was made from had not given way when the power was cut: it says the same. If it
            // does not, the file that went on from it is lost, and another journal was begun.
            history.is_complete &= live.entries.starts_with(&recovery.entries);
            continue;
        }
        if history.files > 0 && recovery.first < expected {
            // Somebody has unpacked it: it has been read already.
            continue;
        }
        history.append(recovery, expected, &archive)?;
        expected = next;
    }
    if live.records > 0 {
        history.append(live, expected, path)?;
    }
    Ok(history)
}

impl History {
    fn append(&mut self, file: Recovery, expected: u64, path: &Path) -> Result<(), Damage> {
        let continues = self.files > 0 && file.first == expected;
        if self.files > 0 && !continues || self.files == 0 && file.first > 0 {
            self.is_complete = false;
            self.entries.clear();
        }
        let mut entries = file.entries.into_iter().peekable();
        // The head says again what the files before it say: only the first file's counts.
        entries.next_if(|(_, record)| matches!(record, Record::Journal { .. }));
        if file.first > 0 {
            let started = entries.next_if(|(_, record)| matches!(record, Record::Started { .. }));
            let snapshot = entries.next_if(|(_, record)| matches!(record, Record::Snapshot { .. }));
            if !continues {
                self.entries.extend(snapshot.into_iter().chain(started));
            } else if !matches!(&snapshot, Some((_, Record::Snapshot { ledger })) if **ledger == self.ledger) {
                return Err(Damage::Line {
                    file: path.display().to_string(),
                    line: 2,
                    problem: "its snapshot is not what the files before it add up to".to_owned(),
                });
            }
        }
        self.entries.extend(entries);
        self.ledger = file.ledger;
        self.files += 1;
        Ok(())
    }
}

fn recover_file(path: &Path) -> Result<(Recovery, u64), Damage> {
    let name = path.display().to_string();
    let bytes = unpacked(path).map_err(|error| Damage::Unreadable { file: name.clone(), error })?;
    recover(&bytes, &name, true)
}

/// The files beside a journal that were set aside, oldest first; unpacked ones count too.
fn archives(path: &Path) -> Result<Vec<PathBuf>, Damage> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let unreadable = |error| Damage::Unreadable { file: folder.display().to_string(), error };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let is_archive = |name: &str| {
        let number = name.strip_prefix(&stem).and_then(|rest| rest.strip_prefix('-'));
        let number = number.and_then(|rest| rest.strip_suffix(".gz").unwrap_or(rest).strip_suffix(".jsonl"));
        number.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let mut found = Vec::new();
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(unreadable)?.file_name();
                if name.to_str().is_some_and(is_archive) {
                    found.push(folder.join(name));
                }
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(error)),
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Decimal;
    use crate::engine::ports::Journal as _;
    use crate::journal::{FileStorage, JournalFile, Storage as _};

    /// A folder of its own, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("recompra-history-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn journal(&self) -> PathBuf {
            self.0.join("journal.jsonl")
        }

        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
            let mut names: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
            names.sort();
            names
        }

        /// Closes so many cycles, beginning the file anew after each that makes it long.
        fn trade(&self, cycles: std::ops::RangeInclusive<u64>) {
            let (mut journal, _) = JournalFile::open(FileStorage::open(&self.journal()).unwrap()).unwrap();
            journal.begin_anew_at(1000);
            for cycle in cycles {
                let time = Timestamp(i64::try_from(cycle).unwrap());
                journal.append(time, &[Record::CycleOpened { cycle, began: time }]).unwrap();
                journal.append(time, &[Record::CycleClosed { cycle, profit: Decimal::ZERO }]).unwrap();
                journal.sync().unwrap();
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn cycles(history: &History) -> Vec<u64> {
        let opened = |(_, record): &(Timestamp, Record)| match record {
            Record::CycleOpened { cycle, .. } => Some(*cycle),
            _ => None,
        };
        history.entries.iter().filter_map(opened).collect()
    }

    #[test]
    fn a_long_journal_is_begun_anew_and_nothing_is_lost() {
        let folder = Folder::new("whole");
        folder.trade(1..=40);
        assert!(folder.names().len() > 3, "{:?}", folder.names());
        assert!(fs::metadata(folder.journal()).unwrap().len() < 2500);
        let history = history(&folder.journal()).unwrap();
        assert_eq!(cycles(&history), (1..=40).collect::<Vec<_>>());
        assert!(history.is_complete);
        assert_eq!((history.ledger.last_cycle, history.files), (40, folder.names().len()));
        assert_eq!(read(&folder.journal()).unwrap().ledger, history.ledger);
        // And it goes on from there.
        folder.trade(41..=60);
        assert_eq!(cycles(&super::history(&folder.journal()).unwrap()).len(), 60);
    }

    #[test]
    fn a_sync_beside_the_engine_covers_what_was_written_meanwhile_and_then_begins_a_long_journal_anew() {
        let folder = Folder::new("aside");
        let (mut journal, _) = JournalFile::open(FileStorage::open(&folder.journal()).unwrap()).unwrap();
        journal.begin_anew_at(1);
        let trade = |journal: &mut JournalFile<FileStorage>, cycle| {
            journal.append(Timestamp(1), &[Record::CycleOpened { cycle, began: Timestamp(1) }]).unwrap();
            journal.append(Timestamp(1), &[Record::CycleClosed { cycle, profit: Decimal::ZERO }]).unwrap();
        };
        trade(&mut journal, 1);
        assert!(!journal.sync_aside().unwrap());
        trade(&mut journal, 2);
        assert_eq!(folder.names(), ["journal.jsonl"]);
        while !journal.sync_aside().unwrap() {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(folder.names().len(), 2);
        // And a sync that is waited for takes the one on the side with it.
        trade(&mut journal, 3);
        assert!(!journal.sync_aside().unwrap());
        journal.sync().unwrap();
        assert_eq!(cycles(&history(&folder.journal()).unwrap()), [1, 2, 3]);
    }

    #[test]
    fn a_power_cut_at_any_step_of_beginning_anew_loses_nothing() {
        let folder = Folder::new("steps");
        folder.trade(1..=3);
        let whole = fs::read(folder.journal()).unwrap();
        let archive = crate::journal::storage::archive(&folder.journal(), 0);
        // Half an archive; a whole one beside the file that has not given way; half a new file.
        for leftovers in 1..=3 {
            fs::write(folder.0.join("journal-000000000000.jsonl.gz.new"), &whole[..100]).unwrap();
            if leftovers > 1 {
                fs::write(&archive, &whole).unwrap();
            }
            if leftovers > 2 {
                fs::write(folder.0.join("journal.jsonl.new"), &whole[..50]).unwrap();
            }
            assert_eq!(cycles(&history(&folder.journal()).unwrap()), [1, 2, 3]);
            drop(FileStorage::open(&folder.journal()).unwrap());
            assert!(folder.names().iter().all(|name| !name.ends_with(".new")), "{:?}", folder.names());
            assert_eq!(cycles(&history(&folder.journal()).unwrap()), [1, 2, 3]);
        }
        // The interrupted attempt is simply made again, and its archive is replaced.
        folder.trade(4..=10);
        let history = history(&folder.journal()).unwrap();
        assert_eq!((cycles(&history).len(), history.is_complete), (10, true));
    }

    #[test]
    fn what_somebody_removed_or_unpacked_is_noticed() {
        let folder = Folder::new("removed");
        folder.trade(1..=40);
        let archives = archives(&folder.journal()).unwrap();
        fs::write(archives[1].with_extension(""), unpacked(&archives[1]).unwrap()).unwrap();
        assert_eq!(cycles(&history(&folder.journal()).unwrap()).len(), 40);
        fs::remove_file(&archives[0]).unwrap();
        let history = history(&folder.journal()).unwrap();
        assert!(!history.is_complete && matches!(history.entries[0].1, Record::Snapshot { .. }));
        assert_eq!((history.ledger.totals.cycles, cycles(&history).last().copied()), (40, Some(40)));
        assert!(cycles(&history).len() < 40);
    }

    #[test]
    fn a_journal_that_is_begun_after_the_old_one_was_lost_does_not_overwrite_what_is_left_of_it() {
        let folder = Folder::new("lost");
        folder.trade(1..=20);
        let before = archives(&folder.journal()).unwrap();
        let first = fs::read(&before[0]).unwrap();
        fs::remove_file(folder.journal()).unwrap();
        folder.trade(7..=30);
        assert_eq!(archives(&folder.journal()).unwrap(), before);
        assert_eq!(fs::read(&before[0]).unwrap(), first);
        let history = history(&folder.journal()).unwrap();
        assert_eq!((cycles(&history), history.is_complete), ((7..=30).collect(), false));
    }

    #[test]
    fn a_file_that_does_not_go_on_from_those_before_it_is_damaged() {
        let folder = Folder::new("swapped");
        folder.trade(1..=40);
        let archive = archives(&folder.journal()).unwrap().remove(0);
        let mut other = Vec::new();
        for line in unpacked(&archive).unwrap().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let entry = crate::journal::line::read(line).unwrap();
            crate::journal::line::write(&mut other, entry.n, 0, Timestamp(entry.time.0 + 1), &entry.record).unwrap();
        }
        fs::write(&archive, other).unwrap();
        let damage = history(&folder.journal()).unwrap_err().to_string();
        assert!(damage.contains("line 2: its snapshot is not what the files before it add up to"), "{damage}");
        // The bot itself needs only the file it writes.
        assert_eq!(read(&folder.journal()).unwrap().ledger.last_cycle, 40);
    }

    #[test]
    fn who_only_reads_a_journal_with_a_hole_reads_what_stands_before_it_and_leaves_it_as_it_is() {
        let folder = Folder::new("hole");
        folder.trade(1..=4);
        let (mut journal, _) = JournalFile::open(FileStorage::open(&folder.journal()).unwrap()).unwrap();
        for cycle in 5..=7 {
            journal.append(Timestamp(9), &[Record::CycleOpened { cycle, began: Timestamp(9) }]).unwrap();
            journal.append(Timestamp(9), &[Record::CycleClosed { cycle, profit: Decimal::ZERO }]).unwrap();
        }
        drop(journal);
        let mut bytes = fs::read(folder.journal()).unwrap();
        let sixth = String::from_utf8(bytes.clone()).unwrap().find("\"cycle_opened\",\"cycle\":6").unwrap();
        bytes[sixth..sixth + 200].fill(0);
        fs::write(folder.journal(), &bytes).unwrap();
        assert_eq!(cycles(&history(&folder.journal()).unwrap()), [1, 2, 3, 4, 5]);
        assert_eq!(read(&folder.journal()).unwrap().ledger.last_cycle, 5);
        assert_eq!(fs::read(folder.journal()).unwrap(), bytes);
        // The bot cuts it off.
        folder.trade(6..=6);
        assert_eq!(cycles(&history(&folder.journal()).unwrap()), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_hole_in_a_file_that_was_set_aside_is_damage() {
        let folder = Folder::new("hole-aside");
        folder.trade(1..=40);
        let archive = archives(&folder.journal()).unwrap().remove(0);
        let mut bytes = unpacked(&archive).unwrap();
        // No line of this file says that its last ones are safe: they were set aside as soon as they were.
        let last = String::from_utf8(bytes.clone()).unwrap().rfind("cycle_opened").unwrap();
        bytes[last] = 0;
        assert_eq!(recover(&bytes, "", false).unwrap().0.behind_hole, 1);
        fs::write(&archive, &bytes).unwrap();
        let damage = history(&folder.journal()).unwrap_err().to_string();
        assert!(damage.contains("it is missing or not as it was written, and good lines follow"), "{damage}");
    }

    #[test]
    fn of_a_file_that_was_begun_anew_nothing_may_be_missing() {
        let folder = Folder::new("head");
        let (mut journal, _) = JournalFile::open(FileStorage::open(&folder.journal()).unwrap()).unwrap();
        journal.begin_anew_at(1);
        journal.append(Timestamp(1), &[Record::CycleOpened { cycle: 1, began: Timestamp(1) }]).unwrap();
        journal.append(Timestamp(1), &[Record::CycleClosed { cycle: 1, profit: Decimal::ZERO }]).unwrap();
        journal.sync().unwrap();
        drop(journal);
        let whole = fs::read(folder.journal()).unwrap();
        assert_eq!(read(&folder.journal()).unwrap().ledger.last_cycle, 1);
        let head = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in head..whole.len() {
            // A start from half of it would take the bot for a new one.
            fs::write(folder.journal(), &whole[..length]).unwrap();
            let result = read(&folder.journal()).map(|recovery| recovery.ledger.last_cycle);
            assert!(result.is_err(), "cut at {length}: {result:?}");
        }
    }

    #[test]
    fn a_file_whose_beginning_is_cut_off_is_damaged() {
        let folder = Folder::new("beheaded");
        folder.trade(1..=2);
        let whole = fs::read(folder.journal()).unwrap();
        let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        fs::write(folder.journal(), &whole[second..]).unwrap();
        let damage = read(&folder.journal()).unwrap_err().to_string();
        assert!(damage.contains("line 1: what stood before it is missing"), "{damage}");
    }

    #[test]
    fn a_disk_that_cannot_set_aside_keeps_the_file_it_has() {
        let folder = Folder::new("refuses");
        folder.trade(1..=3);
        let mut storage = FileStorage::open(&folder.journal()).unwrap();
        let before = storage.read().unwrap();
        // A folder in the way of the archive's name.
        fs::create_dir(crate::journal::storage::archive(&folder.journal(), 0)).unwrap();
        assert!(storage.begin_anew(0, b"new").is_err());
        assert_eq!(storage.read().unwrap(), before);
        assert!(folder.names().iter().all(|name| !name.ends_with(".new")));
    }
}
