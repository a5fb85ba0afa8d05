//! The exchange's time, kept by this machine's monotonic clock.
//!
//! Goes in: the system's wall clock, once at the start, and corrections from the exchange. Comes out: the time for
//! the engine, which never runs backwards, and the time for signatures, which follows every correction at once.
//! Somebody setting the wall clock meanwhile changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use crate::core::Timestamp;
use crate::engine::ports::{AdjustableClock, Clock};
use crate::wall_clock::wall_clock;

/// The longest a stop waits for a sleeper to notice it.
const SLICE: Duration = Duration::from_millis(50);

/// The real clock. Clones share one time.
#[derive(Clone, Debug)]
pub struct ExchangeClock(Arc<State>);

#[derive(Debug)]
struct State {
    origin: Instant,
    /// What is added to the milliseconds since `origin`.
    base: AtomicI64,
    /// The latest time given out by `now`.
    latest: AtomicI64,
    corrected: AtomicBool,
    stop: Arc<AtomicBool>,
}

impl ExchangeClock {
    /// Starts from the system's wall clock. Sleepers wake early when `stop` is set.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self::starting_at(wall_clock(), stop)
    }

    /// Starts from a given moment.
    pub fn starting_at(moment: Timestamp, stop: Arc<AtomicBool>) -> Self {
        Self(Arc::new(State {
            origin: Instant::now(),
            base: AtomicI64::new(moment.0),
            latest: AtomicI64::new(i64::MIN),
            corrected: AtomicBool::new(false),
            stop,
        }))
    }
}

impl Clock for ExchangeClock {
    fn now(&self) -> Timestamp {
        let time = self.exchange_time();
        Timestamp(self.0.latest.fetch_max(time.0, Ordering::SeqCst).max(time.0))
    }

    fn sleep(&self, duration: Duration) {
        let end = Instant::now().checked_add(duration);
        while !self.0.stop.load(Ordering::SeqCst) {
            let left = end.map_or(SLICE, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(SLICE));
        }
    }
}

impl AdjustableClock for ExchangeClock {
    fn exchange_time(&self) -> Timestamp {
        Timestamp(self.0.base.load(Ordering::SeqCst)).after(self.0.origin.elapsed())
    }

    fn correct(&self, milliseconds: i64) {
        let _ = self
            .0
            .base
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |base| Some(base.saturating_add(milliseconds)));
        // Before the first correction the time was a guess (a board without a battery, a wrong year): holding on to
        // it could stop the clock for years. From then on it does not go back.
        if !self.0.corrected.swap(true, Ordering::SeqCst) {
            self.0.latest.store(i64::MIN, Ordering::SeqCst);
        }
    }

    /// Before the first correction it is as wrong as the system's wall clock.
    fn is_corrected(&self) -> bool {
        self.0.corrected.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock() -> ExchangeClock {
        ExchangeClock::starting_at(Timestamp(1_000_000), Arc::default())
    }

    #[test]
    fn corrections_move_the_signing_time_at_once_and_the_engine_s_time_never_back() {
        let clock = clock();
        clock.correct(0);
        let before = clock.now();
        clock.correct(-50_000);
        assert!(clock.now() >= before);
        assert!(clock.exchange_time() < Timestamp(990_000));
        clock.correct(100_000);
        assert!(clock.now() >= Timestamp(1_050_000));
    }

    #[test]
    fn the_first_correction_may_go_back_because_the_start_was_a_guess() {
        let clock = clock();
        assert!(clock.now() >= Timestamp(1_000_000) && !clock.is_corrected());
        clock.correct(-500_000);
        assert!(clock.now() < Timestamp(900_000) && clock.is_corrected());
    }

    #[test]
    fn a_clock_that_starts_after_2038_works() {
        let clock = ExchangeClock::starting_at(Timestamp(4_102_444_800_000), Arc::default());
        assert!(clock.now() >= Timestamp(4_102_444_800_000));
    }

    #[test]
    fn a_stop_ends_a_sleep() {
        let stop = Arc::new(AtomicBool::new(false));
        let clock = ExchangeClock::new(Arc::clone(&stop));
        let sleeper = std::thread::spawn(move || clock.sleep(Duration::MAX));
        stop.store(true, Ordering::SeqCst);
        sleeper.join().unwrap();
    }

    #[test]
    fn a_sleep_lasts_as_long_as_asked() {
        let start = Instant::now();
        clock().sleep(Duration::from_millis(30));
        assert!(start.elapsed() >= Duration::from_millis(30));
    }
}
