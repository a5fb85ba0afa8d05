//! How long the exchange lets a connection be idle, learned from what becomes of connections.
//!
//! In: for each connection, at each look, how long it has been idle and whether it is still open. Out: whether one will stay
//! open for a while, and whether any is to be opened in advance. What a single event taught, the exchange's restart for one,
//! is corrected by the next connections that stay open for longer.

use std::time::{Duration, Instant};

/// An exchange that closes a new connection sooner than this wants none to wait.
const SHORTEST_LIFE: Duration = Duration::from_secs(1);
/// So long none is opened for it in advance.
const SHUNNED: Duration = Duration::from_secs(10);
/// A connection that will so soon be too old is not young any more; but for half of its time every one is.
const SOON: Duration = Duration::from_secs(2);

/// See the module's documentation.
pub(super) struct Patience {
    /// So long at least.
    idle: Duration,
    /// No connection is used after so long, whatever the exchange grants.
    most: Duration,
    /// When connections were last looked at: one that is older and is closed now was open then.
    looked: Instant,
    shunned_until: Option<Instant>,
}

impl Patience {
    /// Nothing is known yet.
    pub(super) fn new(most: Duration) -> Self {
        Self { idle: most, most, looked: Instant::now(), shunned_until: None }
    }

    /// Learns from a connection that has been idle for so long and is open still, or is not.
    pub(super) fn learn(&mut self, idle: Duration, is_open: bool) {
        if is_open {
            self.idle = self.idle.max(idle).min(self.most);
        } else if let Some(seen) = idle.checked_sub(self.looked.elapsed()) {
            self.idle = self.idle.min(seen.max(SHORTEST_LIFE));
        }
    }

    /// The same for a connection on which nothing has been asked yet.
    pub(super) fn learn_unused(&mut self, idle: Duration, is_open: bool) {
        self.learn(idle, is_open);
        if !is_open && idle < SHORTEST_LIFE {
            self.shunned_until = Some(Instant::now() + SHUNNED);
        }
    }

    /// All connections have been looked at.
    pub(super) fn looked(&mut self) {
        self.looked = Instant::now();
    }

    /// Whether a connection that has been idle for so long will stay open for a while.
    pub(super) fn is_young(&self, idle: Duration) -> bool {
        idle + SOON.min(self.idle / 2) < self.idle
    }

    /// Whether the exchange has closed connections that nobody had used yet, a short while ago.
    pub(super) fn wants_none(&self) -> bool {
        self.shunned_until.is_some_and(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One whose last look was a second ago.
    fn patience() -> Patience {
        let mut patience = Patience::new(120 * SECOND);
        patience.looked = Instant::now().checked_sub(SECOND).unwrap();
        patience
    }

    #[test]
    fn what_is_closed_while_idle_teaches_how_long_it_was_open_for_certain() {
        let mut patience = patience();
        assert!(patience.is_young(117 * SECOND) && !patience.is_young(118 * SECOND));
        patience.learn(11 * SECOND, false);
        assert!(patience.is_young(7 * SECOND) && !patience.is_young(8 * SECOND));
    }

    #[test]
    fn what_stays_open_for_longer_corrects_it_up_to_the_limit() {
        let mut patience = patience();
        patience.learn(5 * SECOND, false);
        patience.learn(30 * SECOND, true);
        assert!(patience.is_young(27 * SECOND) && !patience.is_young(28 * SECOND));
        patience.learn(500 * SECOND, true);
        assert!(!patience.is_young(118 * SECOND));
    }

    #[test]
    fn what_was_used_since_the_last_look_teaches_nothing() {
        let mut patience = patience();
        patience.learn(SECOND / 2, false);
        assert!(patience.is_young(117 * SECOND) && !patience.wants_none());
    }

    #[test]
    fn an_exchange_that_closes_what_is_new_is_left_alone() {
        let mut patience = patience();
        patience.learn_unused(SECOND / 2, false);
        assert!(patience.wants_none());
        patience.shunned_until = Some(Instant::now());
        assert!(!patience.wants_none());
    }
}
