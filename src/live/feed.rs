//! Where a bot that trades in real time waits: on the channel that the stream's thread and the signal handler push into,
//! with an eye on the `STOP` file.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};

use crate::core::Timestamp;
use crate::engine::ports::{Clock, Feed, Signal};
use crate::state_directory::StateDirectory;
use crate::state_directory::starts::HEALTHY;

/// The `STOP` file is looked for this often while nothing else happens.
const STOP_FILE_INTERVAL: Duration = Duration::from_secs(1);
/// The longest single wait: what can be added to any clock's time.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// A [`Feed`] over that channel, and a state directory if there is one.
pub struct LiveFeed<'a> {
    signals: Receiver<Signal>,
    clock: &'a dyn Clock,
    directory: Option<&'a StateDirectory>,
    look_due: Timestamp,
    stop_seen: bool,
    /// When it was made, while it has not yet lived for [`HEALTHY`].
    young_since: Option<Instant>,
}

impl<'a> LiveFeed<'a> {
    /// A feed of these signals.
    pub fn new(signals: Receiver<Signal>, clock: &'a dyn Clock, directory: Option<&'a StateDirectory>) -> Self {
        let young_since = directory.map(|_| Instant::now());
        let (look_due, stop_seen) = (Timestamp::default(), directory.is_none());
        Self { signals, clock, directory, look_due, stop_seen, young_since }
    }

    /// The wish of a `STOP` file that was not seen before.
    fn look_for_stop(&mut self, now: Timestamp) -> Option<Signal> {
        if self.stop_seen || now < self.look_due {
            return None;
        }
        self.look_due = now.after(STOP_FILE_INTERVAL);
        self.grow_up();
        let wish = self.directory?.stop_wish()?;
        self.stop_seen = true;
        Some(Signal::Stop(wish))
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
        let mut patience = Duration::ZERO;
        loop {
            // What has already come goes before the disk.
            match self.signals.recv_timeout(patience) {
                Ok(signal) => return Some(signal),
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody is left to tell anything: time passes all the same.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(patience),
            }
            let now = self.clock.now();
            if let Some(signal) = self.look_for_stop(now) {
                return Some(signal);
            }
            if now >= until {
                return None;
            }
            let next_look = if self.stop_seen { until } else { until.min(self.look_due) };
            patience = next_look.since(now).min(LONGEST_WAIT);
        }
    }
}
