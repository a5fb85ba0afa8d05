//! The state directory: one for each account and symbol, and what lies in it.
//!
//! | file | what |
//! |---|---|
//! | `journal.jsonl` | every fact, one JSON object a line; locked while a bot writes it |
//! | `lock` | held while a bot runs; holds its process id |
//! | `starts` | when processes began that have not ended in peace: see [`starts`] |
//! | `journal.jsonl.rescued-…` | what a bot held whose `journal.jsonl` was replaced while it ran |
//! | `journal-….jsonl.gz` | what `journal.jsonl` held before it was begun anew |
//! | `RESUME` | which alarms a person has seen; a running bot clears these, and removes it |
//! | `STOP` | ends the bot as `recompra stop` does, and keeps it ended until it is removed |

pub mod starts;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::core::record::AlarmCause;
use crate::engine::ports::StopWish;

/// A state directory; it need not exist yet.
#[derive(Clone, Debug)]
pub struct StateDirectory {
    path: PathBuf,
}

/// The lock of a state directory; it is free again when this is dropped, or the process dies in whatever way.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Why there is no lock.
#[derive(Debug)]
pub enum LockError {
    /// Another process holds it.
    Held {
        /// Its process id, if it could be read.
        pid: Option<String>,
    },
    /// The directory or the file cannot be used.
    Unusable(io::Error),
}

impl StateDirectory {
    /// The state directory at this path.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the journal is.
    pub fn journal(&self) -> PathBuf {
        self.path.join("journal.jsonl")
    }

    /// Where a stop is asked for.
    pub fn stop_file(&self) -> PathBuf {
        self.path.join("STOP")
    }

    /// Makes the directory, readable by its owner alone, if it is not there.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn create(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }

    /// Takes the lock, or says who has it.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn lock(&self) -> Result<Lock, LockError> {
        let open =
            || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(self.path.join("lock"));
        let mut file = self.create().and_then(|()| open()).map_err(LockError::Unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = file.read_to_string(&mut pid).is_ok();
                let pid = Some(pid.trim().to_owned()).filter(|pid| read && !pid.is_empty());
                return Err(LockError::Held { pid });
            }
            Err(TryLockError::Error(error)) => return Err(LockError::Unusable(error)),
        }
        // Somebody may have removed `lock` while a bot runs: it holds its journal too.
        if self.journal_is_locked() {
            return Err(LockError::Held { pid: None });
        }
        let note = |file: &mut File| {
            file.set_len(0)?;
            file.rewind()?;
            writeln!(file, "{}", std::process::id())
        };
        // The id is only for people: the lock holds without it, on a full disk too.
        if let Err(error) = note(&mut file) {
            log::warn!("{}: the process id cannot be written: {error}", self.path.join("lock").display());
        }
        Ok(Lock { _file: file })
    }

    fn journal_is_locked(&self) -> bool {
        File::open(self.journal()).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// Whether a bot runs on it. A directory that is not there is not made.
    pub fn is_in_use(&self) -> bool {
        self.path.is_dir() && matches!(self.lock(), Err(LockError::Held { .. }))
    }

    /// Makes the directory if it is not there, writes a file into it and removes that file again.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn probe_writable(&self) -> io::Result<()> {
        self.create()?;
        let probe = self.path.join(format!(".probe-{}", std::process::id()));
        fs::write(&probe, b"written by recompra to see whether it can be\n")?;
        fs::remove_file(&probe)
    }

    /// What the `STOP` file asks for, if it is there: an empty file, or `cancel`, cancels the bot's orders; `close`
    /// sells what is held too.
    pub fn stop_wish(&self) -> Option<StopWish> {
        let file = self.stop_file();
        if !file.exists() {
            return None;
        }
        // A file that cannot be read asks for a stop all the same.
        let text = fs::read_to_string(file).unwrap_or_default();
        Some(if text.trim() == "close" { StopWish::Close } else { StopWish::Cancel })
    }

    /// Asks for a stop: whoever trades in this directory ends, and nobody begins until the file is removed.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn ask_for_stop(&self, close: bool) -> io::Result<()> {
        write_whole(&self.stop_file(), if close { "close\n" } else { "cancel\n" })
    }

    /// Where a running bot is told what a person has seen.
    pub fn resume_file(&self) -> PathBuf {
        self.path.join("RESUME")
    }

    /// Tells a running bot which alarms a person has seen, and what they said.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn ask_to_resume(&self, seen: &BTreeMap<AlarmCause, String>) -> io::Result<()> {
        write_whole(&self.resume_file(), &format!("{}\n", serde_json::to_string(seen)?))
    }

    /// What the `RESUME` file says that a person has seen, if it is there; nothing if it cannot be understood.
    pub fn resume_wish(&self) -> Option<BTreeMap<AlarmCause, String>> {
        let file = self.resume_file();
        file.exists()
            .then(|| fs::read(file).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default())
    }

    /// What the `RESUME` file says has been taken note of.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn resumed(&self) -> io::Result<()> {
        match fs::remove_file(self.resume_file()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Writes a file that gets its name when it is whole: a reader never sees half of it.
fn write_whole(file: &Path, text: &str) -> io::Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, file)).inspect_err(|_| {
        // On a full disk half of it is of no use.
        let _ = fs::remove_file(&new);
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> StateDirectory {
        let path = std::env::temp_dir().join(format!("recompra-state-{name}-{}", std::process::id()));
        StateDirectory::new(path)
    }

    #[test]
    fn the_lock_is_held_once_and_names_its_holder() {
        let directory = directory("lock");
        let lock = directory.lock().unwrap();
        match directory.lock() {
            Err(LockError::Held { pid }) => assert_eq!(pid, Some(std::process::id().to_string())),
            other => panic!("{other:?}"),
        }
        assert!(directory.is_in_use());
        drop(lock);
        assert!(directory.lock().is_ok() && !directory.is_in_use());
        fs::remove_dir_all(directory.path()).unwrap();
    }

    #[test]
    fn a_directory_is_probed_by_writing_and_left_as_it_was() {
        let directory = directory("probe");
        let deep = StateDirectory::new(directory.path().join("deep"));
        deep.probe_writable().unwrap();
        assert_eq!(fs::read_dir(deep.path()).unwrap().count(), 0);
        fs::write(directory.path().join("file"), b"").unwrap();
        assert!(StateDirectory::new(directory.path().join("file/below")).probe_writable().is_err());
        fs::remove_dir_all(directory.path()).unwrap();
    }

    #[test]
    fn a_stop_file_of_any_kind_asks_for_a_stop() {
        let directory = directory("stop");
        directory.create().unwrap();
        assert_eq!(directory.stop_wish(), None);
        fs::write(directory.stop_file(), "").unwrap();
        assert_eq!(directory.stop_wish(), Some(StopWish::Cancel));
        directory.ask_for_stop(true).unwrap();
        assert_eq!(directory.stop_wish(), Some(StopWish::Close));
        fs::remove_dir_all(directory.path()).unwrap();
    }
}
