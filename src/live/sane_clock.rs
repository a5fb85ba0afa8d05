//! A machine whose clock is not set: a board without a battery starts in 1970, and knows better only once it has network.
//!
//! In: this machine's clock, and a way to ask the exchange. Out: when there is a time to work by. Certificates cannot be
//! checked by such a clock, they all seem to be from the future; so the exchange often cannot be asked before somebody
//! (NTP) has set it. Until then the bot waits, says so once, and writes nothing down: no event gets a wrong date. What
//! rests on the exchange goes on resting meanwhile.
//!
//! A clock that is merely off is no obstacle: signatures and dates follow the exchange's.

use crate::core::Timestamp;
use crate::engine::ports::Fault;

/// No machine that runs this program lives before 2026-01-01.
const EARLIEST: Timestamp = Timestamp(1_767_225_600_000);
/// Whether this machine's clock cannot have been set.
pub fn is_unset(wall: Timestamp) -> bool {
    wall < EARLIEST
}

/// What the wait needs of the outside.
pub(super) trait Surroundings {
    /// This machine's clock.
    fn wall(&self) -> Timestamp;
    /// Asks the exchange for its time, and follows it from then on.
    ///
    /// # Errors
    /// [`Fault`] when there is no answer.
    fn ask_exchange(&mut self) -> Result<(), Fault>;
    /// Waits a little. `false` once a stop is asked for.
    fn pause(&mut self) -> bool;
}

/// Waits until the exchange tells its time, or this machine's clock is set. `false` if a stop is asked for before.
pub(super) fn await_time(around: &mut impl Surroundings) -> bool {
    let mut told = false;
    loop {
        let Err(fault) = around.ask_exchange() else { return true };
        if !is_unset(around.wall()) {
            // The engine goes on asking.
            return true;
        }
        if !std::mem::replace(&mut told, true) {
            log::warn!(
                "this machine's clock says {}: waiting until it is set (by NTP, once there is network) or the exchange tells \
                 the time; no certificate can be checked before. Now: {fault}",
                around.wall()
            );
        }
        if !around.pause() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ports::FaultKind;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    /// A machine whose clock is set after some pauses, or never, and an exchange that answers after some questions.
    struct Machine {
        wall: Timestamp,
        set_after: u32,
        answers_after: u32,
        pauses: u32,
        asked: u32,
        stop_after: u32,
    }

    impl Machine {
        fn at(wall: Timestamp) -> Self {
            let never = u32::MAX;
            Self { wall, set_after: never, answers_after: never, pauses: 0, asked: 0, stop_after: 1000 }
        }
    }

    fn silence() -> Fault {
        Fault { kind: FaultKind::Unreachable, endpoint: "GET /v5/market/time", code: None, message: String::new() }
    }

    impl Surroundings for Machine {
        fn wall(&self) -> Timestamp {
            if self.pauses >= self.set_after { NOW } else { self.wall }
        }
        fn ask_exchange(&mut self) -> Result<(), Fault> {
            self.asked += 1;
            if self.asked > self.answers_after { Ok(()) } else { Err(silence()) }
        }
        fn pause(&mut self) -> bool {
            self.pauses += 1;
            self.pauses < self.stop_after
        }
    }

    #[test]
    fn a_set_clock_waits_for_nobody() {
        let mut machine = Machine::at(NOW);
        assert!(await_time(&mut machine));
        assert_eq!((machine.asked, machine.pauses), (1, 0));
    }

    #[test]
    fn a_clock_of_1970_waits_until_it_is_set() {
        let mut machine = Machine { set_after: 7, ..Machine::at(Timestamp(60_000)) };
        assert!(await_time(&mut machine));
        assert_eq!(machine.pauses, 7);
    }

    #[test]
    fn a_clock_of_1970_is_no_obstacle_once_the_exchange_tells_the_time() {
        let mut machine = Machine { answers_after: 3, ..Machine::at(Timestamp(60_000)) };
        assert!(await_time(&mut machine));
        assert_eq!(machine.pauses, 3);
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let mut machine = Machine { stop_after: 5, ..Machine::at(Timestamp(0)) };
        assert!(!await_time(&mut machine));
        assert_eq!(machine.pauses, 5);
    }

    #[test]
    fn a_clock_far_ahead_is_set_as_far_as_can_be_known() {
        let after_2038 = Timestamp(4_000_000_000_000);
        assert!(!is_unset(after_2038) && is_unset(Timestamp(1_700_000_000_000)));
    }
}
