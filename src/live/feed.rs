//! Where a bot that trades in real time waits: on the channel that the stream's thread and the signal handler push into,
//! with an eye on the files `STOP` and `RESUME`, and on the journal's being there.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::core::Timestamp;
use crate::core::record::AlarmCause;
use crate::engine::ports::{Clock, Feed, Signal};
use crate::journal::Held;
use crate::state_directory::StateDirectory;
use crate::state_directory::starts::HEALTHY;

/// The state directory is looked at this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The longest single wait: what can be added to any clock's time.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A [`Feed`] over that channel, and a state directory if there is one.
pub struct LiveFeed<'a> {
    signals: Receiver<Signal>,
    clock: &'a dyn Clock,
    directory: Option<&'a StateDirectory>,
    journal: Option<Held>,
    look_due: Timestamp,
    stop_seen: bool,
    /// What the `RESUME` file said when it was last looked at.
    resume_seen: Option<BTreeMap<AlarmCause, String>>,
    /// When it was made, while it has not yet lived for [`HEALTHY`].
    young_since: Option<Instant>,
}

impl<'a> LiveFeed<'a> {
    /// A feed of these signals.
    pub fn new(
        signals: Receiver<Signal>,
        clock: &'a dyn Clock,
        directory: Option<&'a StateDirectory>,
        journal: Option<Held>,
    ) -> Self {
        let young_since = directory.map(|_| Instant::now());
        let look_due = Timestamp::default();
        Self { signals, clock, directory, journal, look_due, stop_seen: false, resume_seen: None, young_since }
    }

    /// A journal that is lost, or the wish of a file `STOP` or `RESUME` that was not seen before.
    fn look(&mut self, now: Timestamp) -> Option<Signal> {
        if self.directory.is_none() || now < self.look_due {
            return None;
        }
        self.look_due = now.after(LOOK_INTERVAL);
        self.grow_up();
        if let Some((journal, lost)) = self.journal.as_ref().and_then(|journal| Some((journal, journal.lost()?))) {
            return Some(Signal::JournalLost(format!("{}: {lost}", journal.path().display())));
        }
        if let Some(wish) = self.directory?.stop_wish().filter(|_| !self.stop_seen) {
            self.stop_seen = true;
            return Some(Signal::Stop(wish));
        }
        self.look_for_resume()
    }

    /// What a `RESUME` file says, once. It is removed at the look after that: then it has been written down what follows from
    /// it, and a process that dies before leaves it to the next.
    fn look_for_resume(&mut self) -> Option<Signal> {
        let directory = self.directory?;
        let seen = directory.resume_wish();
        let is_new = seen != self.resume_seen;
        if seen.is_some()
            && !is_new
            && let Err(error) = directory.resumed()
        {
            log::debug!("{}: cannot be removed: {error}", directory.resume_file().display());
            return None;
        }
        self.resume_seen = seen.clone().filter(|_| is_new);
        self.resume_seen.clone().map(Signal::Resume)
    }

    /// Whoever has lived for so long is no part of a crash loop.
    fn grow_up(&mut self) {
        if self.young_since.is_some_and(|since| since.elapsed() >= HEALTHY) {
            self.young_since = None;
            if let Some(Err(error)) = self.directory.map(StateDirectory::forget_starts) {
                log::warn!("the note of past crashes cannot be removed: {error}");
            }
        }
    }
}

impl Feed for LiveFeed<'_> {
    fn wait(&mut self, until: Timestamp) -> Option<Signal> {
        // What has already come goes before the disk. Without patience the channel's own waiting would only spin.
        if let Ok(signal) = self.signals.try_recv() {
            return Some(signal);
        }
        loop {
            let now = self.clock.now();
            if let Some(signal) = self.look(now) {
                return Some(signal);
            }
            if now >= until {
                return None;
            }
            let next_look = if self.directory.is_none() { until } else { until.min(self.look_due) };
            let patience = next_look.since(now).min(LONGEST_WAIT);
            match self.signals.recv_timeout(patience) {
                Ok(signal) => return Some(signal),
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody is left to tell anything: time passes all the same.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(patience),
            }
        }
    }
}
