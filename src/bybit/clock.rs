//! The exchange's time, kept by this machine's monotonic clock.
//!
//! Goes in: the system's wall clock, once at the start, and corrections from the exchange. Comes out: the time for signatures, which
//! follows every correction at once, and the time for the engine, by which it waits and dates. That one never runs backwards, and
//! follows a large correction only when this machine's wall clock agrees with it (it was suspended, and its monotonic clock stood
//! still), or when answers have agreed on it for a minute: one wrong answer must neither fire every time limit nor stop all
//! waiting. Only such a correction may turn it back. Somebody setting the wall clock meanwhile changes nothing by itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::core::Timestamp;
use crate::engine::ports::{AdjustableClock, Clock};
use crate::wall_clock::wall_clock;

/// The longest a stop waits for a sleeper to notice it.
const SLICE: Duration = Duration::from_millis(50);
/// A correction of more milliseconds than this is large.
const LARGE: u64 = 5_000;
/// So many answers must agree on it,
const SIGHTINGS: u32 = 3;
/// for so many milliseconds, unless the wall clock does.
const CONFIRMED_FOR: i64 = 60_000;

/// The real clock. Clones share one time.
#[derive(Clone, Debug)]
pub struct ExchangeClock(Arc<State>);

#[derive(Debug)]
struct State {
    origin: Instant,
    steering: Mutex<Steering>,
    stop: Arc<AtomicBool>,
}

/// How a clock follows corrections. `machine` is always what this machine's own clock says, in milliseconds since any moment.
#[derive(Clone, Debug)]
pub struct Steering {
    /// What is added to the machine's time for signatures.
    newest: i64,
    /// What is added to it for the engine.
    steady: i64,
    /// The latest time given to the engine.
    latest: i64,
    is_corrected: bool,
    /// A large correction that is not believed yet: what would be added, since when, how often it was seen.
    doubted: Option<(i64, i64, u32)>,
}

impl Steering {
    /// A clock that adds `offset` to the machine's time, which may be wrong by any amount.
    pub fn starting_at(offset: i64) -> Self {
        Self { newest: offset, steady: offset, latest: i64::MIN, is_corrected: false, doubted: None }
    }

    /// The time for signatures.
    pub fn exchange_time(&self, machine: i64) -> i64 {
        machine.saturating_add(self.newest)
    }

    /// The time for the engine.
    pub fn now(&mut self, machine: i64) -> i64 {
        self.latest = self.peek(machine);
        self.latest
    }

    /// The same, for whoever only looks.
    pub fn peek(&self, machine: i64) -> i64 {
        self.latest.max(machine.saturating_add(self.steady))
    }

    /// Whether it has been corrected.
    pub fn is_corrected(&self) -> bool {
        self.is_corrected
    }

    /// Follows a correction. `wall` is what the wall clock says.
    pub fn correct(&mut self, milliseconds: i64, machine: i64, wall: i64) {
        self.newest = self.newest.saturating_add(milliseconds);
        let is_close = |offset: i64| self.newest.abs_diff(offset) <= LARGE;
        if !self.is_corrected {
            // The time was a guess until now (a board without a battery, a wrong year): holding on to it could stop the
            // clock for years.
            self.is_corrected = true;
            (self.steady, self.latest) = (self.newest, i64::MIN);
        } else if is_close(self.steady) {
            (self.steady, self.doubted) = (self.newest, None);
        } else {
            let (since, seen) = match self.doubted {
                Some((offset, since, seen)) if is_close(offset) => (since, seen.saturating_add(1)),
                _ => (machine, 1),
            };
            self.doubted = Some((self.newest, since, seen));
            let is_confirmed = seen >= SIGHTINGS && machine.saturating_sub(since) >= CONFIRMED_FOR;
            if is_confirmed || wall.abs_diff(self.exchange_time(machine)) <= LARGE {
                (self.steady, self.latest, self.doubted) = (self.newest, i64::MIN, None);
            }
        }
    }
}

impl ExchangeClock {
    /// Starts from the system's wall clock. Sleepers wake early when `stop` is set.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self::starting_at(wall_clock(), stop)
    }

    /// Starts from a given moment.
    pub fn starting_at(moment: Timestamp, stop: Arc<AtomicBool>) -> Self {
        let steering = Mutex::new(Steering::starting_at(moment.0));
        Self(Arc::new(State { origin: Instant::now(), steering, stop }))
    }

    fn machine(&self) -> i64 {
        i64::try_from(self.0.origin.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn steering(&self) -> MutexGuard<'_, Steering> {
        self.0.steering.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ExchangeClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.steering().now(self.machine()))
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
        Timestamp(self.steering().exchange_time(self.machine()))
    }

    fn correct(&self, milliseconds: i64) {
        self.steering().correct(milliseconds, self.machine(), wall_clock().0);
    }

    /// Before the first correction it is as wrong as the system's wall clock.
    fn is_corrected(&self) -> bool {
        self.steering().is_corrected()
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
        clock.correct(53_000);
        assert!(clock.now() >= Timestamp(1_003_000));
    }

    #[test]
    fn a_large_correction_is_followed_at_once_if_the_wall_clock_agrees() {
        let mut steering = Steering::starting_at(0);
        steering.correct(0, 0, 0);
        // It was suspended for two hours.
        steering.correct(7_200_000, 60_000, 7_259_000);
        assert_eq!(steering.now(60_000), 7_260_000);
    }

    #[test]
    fn a_large_correction_is_followed_when_answers_agree_on_it_for_a_minute() {
        let (hour, wall) = (3_600_000, -86_400_000);
        for off in [hour, -hour] {
            let mut steering = Steering::starting_at(0);
            steering.correct(0, 0, wall);
            // One wrong answer, and the next one that takes it back.
            steering.correct(off, 20_000, wall);
            assert_eq!((steering.now(20_000), steering.exchange_time(20_000)), (20_000, 20_000 + off));
            steering.correct(-off, 40_000, wall);
            assert_eq!((steering.now(40_000), steering.exchange_time(40_000)), (40_000, 40_000));
            // One that stays.
            steering.correct(off, 60_000, wall);
            for seconds in [80, 100] {
                steering.correct(10, seconds * 1_000, wall);
                assert_eq!(steering.now(seconds * 1_000), seconds * 1_000, "{seconds}");
            }
            steering.correct(0, 120_000, wall);
            assert_eq!(steering.now(120_000), 120_000 + off + 20);
        }
    }

    #[test]
    fn a_small_step_back_makes_the_engines_time_stand_still_and_no_more() {
        let mut steering = Steering::starting_at(0);
        steering.correct(0, 0, 0);
        assert_eq!(steering.now(10_000), 10_000);
        steering.correct(-2_000, 10_000, 0);
        assert_eq!([11_000, 12_000, 13_000].map(|machine| steering.now(machine)), [10_000, 10_000, 11_000]);
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
