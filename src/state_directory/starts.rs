//! Back-off over crash loops: the file `starts` remembers when processes began that have not ended in peace.
//!
//! A process writes its start down before it does anything else, and takes the note back when it ends in an orderly way,
//! whatever its exit code. What dies (killed, crashed, without power) leaves it. Starts that follow one another without
//! [`HEALTHY`] between them (the wait not counted) are a row; after the fifth each must wait, at first a minute, each time
//! twice as long, at most an hour. Living for [`HEALTHY`], or finishing, ends the row.
//!
//! The clock may be wrong, and may be set right in between: a note from the future counts, but is not waited for.
//! Removing the file ends the row too.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::StateDirectory;
use crate::core::Timestamp;

/// Who lives so long is no part of a crash loop.
pub const HEALTHY: Duration = Duration::from_secs(600);
/// So many starts in a row are allowed at once.
const PATIENCE: usize = 5;
/// The first wait.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
/// The longest wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// More notes than this change nothing any more.
const MOST_NOTES: usize = 16;

/// A start was refused: too many before it ended in a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// How many starts in a row did not end in peace.
    pub crashes: usize,
    /// When the next is allowed, by this machine's clock.
    pub until: Timestamp,
    /// The file that remembers them.
    pub file: PathBuf,
}

impl std::fmt::Display for BackOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "the last {} starts all ended in a crash, a kill or a power cut: not again before {}. The log says why they \
             ended; to start at once, remove {}",
            self.crashes,
            self.until,
            self.file.display()
        )
    }
}

/// The note of a start. Dropped without a word it stays, as after a crash.
#[derive(Debug)]
pub struct Start {
    file: PathBuf,
    /// The row before this start.
    before: Vec<Timestamp>,
}

impl Start {
    /// How many starts in a row before this one did not end in peace.
    pub fn crashes(&self) -> usize {
        self.before.len()
    }

    /// The process has finished: the row is over.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn finished(self) -> io::Result<()> {
        write(&self.file, &[])
    }

    /// The process ends in an orderly way without having finished: its start does not count.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn gave_up(self) -> io::Result<()> {
        // Whoever lived long enough has ended the row.
        let lived = read(&self.file).is_empty();
        write(&self.file, if lived { &[] } else { &self.before })
    }
}

impl StateDirectory {
    /// Notes that a process begins now, by this machine's clock. To be called under the lock.
    ///
    /// # Errors
    /// [`BackOff`]; nothing is noted then. A file that cannot be read or written is no obstacle: the second value says
    /// what is wrong with it.
    pub fn begin(&self, now: Timestamp) -> Result<(Start, io::Result<()>), BackOff> {
        if let Some(back_off) = self.back_off(now) {
            return Err(back_off);
        }
        let file = self.starts_file();
        let before = in_a_row(&read(&file), now);
        let mut notes = before.clone();
        notes.push(now);
        let written = write(&file, &notes);
        Ok((Start { file, before }, written))
    }

    /// Why nothing may begin now, by this machine's clock, if too much has crashed. Nothing is noted.
    pub fn back_off(&self, now: Timestamp) -> Option<BackOff> {
        let file = self.starts_file();
        let crashes = in_a_row(&read(&file), now);
        let until = crashes.last()?.after(pause_after(crashes.len()));
        (now < until).then_some(BackOff { crashes: crashes.len(), until, file })
    }

    /// The process has lived for [`HEALTHY`]: the row is over.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn forget_starts(&self) -> io::Result<()> {
        write(&self.starts_file(), &[])
    }

    fn starts_file(&self) -> PathBuf {
        self.path().join("starts")
    }
}

/// How long to wait after so many crashes in a row.
fn pause_after(crashes: usize) -> Duration {
    match crashes.checked_sub(PATIENCE) {
        None => Duration::ZERO,
        Some(more) => (FIRST_PAUSE * (1 << more.min(10))).min(LONGEST_PAUSE),
    }
}

/// The noted starts that are one row up to now.
fn in_a_row(notes: &[Timestamp], now: Timestamp) -> Vec<Timestamp> {
    // Notes from the future are from before the clock was set back; how long ago is unknown, so they are as if of now,
    // without a wait.
    if notes.last().is_some_and(|last| *last > now) {
        let long_ago = now.before(pause_after(notes.len()));
        return vec![long_ago; notes.len()];
    }
    let mut row: Vec<Timestamp> = Vec::new();
    for moment in notes.iter().copied().chain([now]) {
        let alone = |last: &Timestamp| moment.since(*last) > pause_after(row.len()) + HEALTHY;
        if row.last().is_some_and(alone) {
            row.clear();
        }
        row.push(moment);
    }
    row.pop();
    row.split_off(row.len().saturating_sub(MOST_NOTES))
}

/// One moment a line, in milliseconds; what is not one is passed over.
fn read(file: &PathBuf) -> Vec<Timestamp> {
    let text = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(|line| line.parse().ok().map(Timestamp)).collect()
}

fn write(file: &PathBuf, notes: &[Timestamp]) -> io::Result<()> {
    if notes.is_empty() {
        return match fs::remove_file(file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    // Not synced: a power cut may take a note, and that costs nothing but a start.
    let new = file.with_extension("new");
    fs::write(&new, notes.iter().map(|note| format!("{}\n", note.0)).collect::<String>())?;
    fs::rename(new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of its own and a clock to be set.
    struct World {
        directory: StateDirectory,
        now: Timestamp,
    }

    impl World {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("recompra-starts-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            let directory = StateDirectory::new(path);
            directory.create().unwrap();
            Self { directory, now: Timestamp(1_767_312_000_000) }
        }

        fn pass(&mut self, seconds: u64) {
            self.now = self.now.after(Duration::from_secs(seconds));
        }

        fn begin(&self) -> Result<Start, BackOff> {
            self.directory.begin(self.now).map(|(start, written)| {
                written.unwrap();
                start
            })
        }

        /// How many seconds the next start must wait.
        fn wait(&self) -> u64 {
            self.begin()
                .map_or_else(|off| off.until.since(self.now).as_secs(), |start| start.gave_up().map_or(1, |()| 0))
        }
    }

    impl Drop for World {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.directory.path());
        }
    }

    #[test]
    fn five_crashes_in_a_row_are_allowed_and_then_each_waits_twice_as_long_up_to_an_hour() {
        let mut world = World::new("row");
        for _ in 0..5 {
            assert_eq!(world.wait(), 0);
            drop(world.begin().unwrap());
            world.pass(10);
        }
        for pause in [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600] {
            assert_eq!(world.wait(), pause - 10);
            world.pass(pause - 11);
            assert_eq!(world.begin().unwrap_err().until, world.now.after(Duration::from_secs(1)));
            world.pass(1);
            drop(world.begin().unwrap());
            world.pass(10);
        }
    }

    #[test]
    fn an_end_in_peace_or_a_long_life_ends_the_row() {
        let mut world = World::new("peace");
        for end in 0..3 {
            for _ in 0..4 {
                drop(world.begin().unwrap());
                world.pass(1);
            }
            let start = world.begin().unwrap();
            assert_eq!(start.crashes(), 4);
            match end {
                0 => start.finished().unwrap(),
                1 => {
                    world.directory.forget_starts().unwrap();
                    drop(start);
                }
                _ => world.pass(661),
            }
            assert_eq!(world.begin().unwrap().crashes(), 0, "{end}");
            world.directory.forget_starts().unwrap();
        }
    }

    #[test]
    fn an_orderly_failure_neither_counts_nor_forgives() {
        let mut world = World::new("orderly");
        drop(world.begin().unwrap());
        for _ in 0..20 {
            world.pass(60);
            let start = world.begin().unwrap();
            assert!(start.crashes() <= 1);
            start.gave_up().unwrap();
        }
        // A process that has lived long and then gives up leaves nothing behind.
        let start = world.begin().unwrap();
        world.directory.forget_starts().unwrap();
        start.gave_up().unwrap();
        assert_eq!(world.begin().unwrap().crashes(), 0);
    }

    #[test]
    fn a_wrong_clock_never_locks_the_bot_out() {
        let mut world = World::new("clock");
        for _ in 0..7 {
            let (start, _) = world.directory.begin(world.now).unwrap_or_else(|off| {
                world.now = off.until;
                world.directory.begin(world.now).unwrap()
            });
            drop(start);
        }
        // The clock was years ahead and is set right: one start at once, and the row goes on from there.
        world.now = world.now.before(Duration::from_secs(9 * 365 * 86_400));
        drop(world.begin().unwrap());
        assert!((1..=3600).contains(&world.wait()));
    }

    #[test]
    fn rubbish_in_the_file_is_no_obstacle() {
        let world = World::new("rubbish");
        fs::write(world.directory.starts_file(), b"\xff\xfe\nsoon\n99999999999999999999\n").unwrap();
        assert_eq!(world.begin().unwrap().crashes(), 0);
    }
}
