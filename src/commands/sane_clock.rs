//! A machine whose clock is not set: a board without a battery starts in 1970, and knows better only once it has network.
//!
//! In: this machine's clock, and a way to ask the exchange. Out: when there is a time to work by. Certificates cannot be
//! checked by such a clock, they all seem to be from the future; so the exchange often cannot be asked before somebody
//! (NTP) has set it. Until then the bot waits, says so once, and writes nothing down: no event gets a wrong date. What
//! rests on the exchange goes on resting meanwhile.
//!
//! A clock that is merely off is no obstacle: signatures and dates follow the exchange's.

use std::fmt;
use std::time::Duration;

use crate::core::Timestamp;
use crate::engine::ports::Fault;

/// No machine that runs this program lives before 2026-01-01.
const EARLIEST: Timestamp = Timestamp(1_767_225_600_000);
/// Beyond this a person should know that the clock is off.
const WORTH_TELLING: Duration = Duration::from_secs(60);

/// Whether this machine's clock cannot have been set.
pub fn is_unset(wall: Timestamp) -> bool {
    wall < EARLIEST
}

/// What the wait needs of the outside.
pub trait Surroundings {
    /// This machine's clock.
    fn wall(&self) -> Timestamp;
    /// Asks the exchange for its time and follows it from then on; gives it back.
    ///
    /// # Errors
    /// [`Fault`] when there is no answer.
    fn ask_exchange(&mut self) -> Result<Timestamp, Fault>;
    /// Waits a little. `false` once a stop is asked for.
    fn pause(&mut self) -> bool;
}

/// Why there is a time to work by, or none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The exchange has told its time.
    Exchange,
    /// The exchange does not answer, and this machine's clock may be right: the engine goes on asking.
    Unanswered(Fault),
    /// A stop was asked for.
    Stopped,
}

/// How far this machine's clock is from the exchange's, for people.
struct Skew {
    wall: Timestamp,
    exchange: Timestamp,
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { wall, exchange } = self;
        write!(f, "this machine's clock says {wall}, the exchange's {exchange}: the exchange's counts here")
    }
}

/// Asks the exchange for its time; while there is no answer and this machine's clock is not set, waits for either.
pub fn await_time(around: &mut impl Surroundings) -> Awaited {
    let mut told = false;
    loop {
        match around.ask_exchange() {
            Ok(exchange) => {
                let wall = around.wall();
                if wall.since(exchange).max(exchange.since(wall)) > WORTH_TELLING {
                    log::warn!("{}", Skew { wall, exchange });
                }
                return Awaited::Exchange;
            }
            Err(fault) if !is_unset(around.wall()) => return Awaited::Unanswered(fault),
            Err(fault) if !told => {
                told = true;
                log::warn!(
                    "this machine's clock says {}: waiting until it is set (by NTP, once there is network) or the exchange \
                     tells the time; no certificate can be checked before. Now: {fault}",
                    around.wall()
                );
            }
            Err(_) => {}
        }
        if !around.pause() {
            return Awaited::Stopped;
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
        fn ask_exchange(&mut self) -> Result<Timestamp, Fault> {
            self.asked += 1;
            if self.asked > self.answers_after { Ok(NOW) } else { Err(silence()) }
        }
        fn pause(&mut self) -> bool {
            self.pauses += 1;
            self.pauses < self.stop_after
        }
    }

    #[test]
    fn a_set_clock_waits_for_nobody() {
        let mut machine = Machine::at(NOW);
        assert_eq!(await_time(&mut machine), Awaited::Unanswered(silence()));
        assert_eq!((machine.asked, machine.pauses), (1, 0));
    }

    #[test]
    fn a_clock_of_1970_waits_until_it_is_set() {
        let mut machine = Machine { set_after: 7, ..Machine::at(Timestamp(60_000)) };
        assert_eq!(await_time(&mut machine), Awaited::Unanswered(silence()));
        assert_eq!(machine.pauses, 7);
    }

    #[test]
    fn a_clock_of_1970_is_no_obstacle_once_the_exchange_tells_the_time() {
        let mut machine = Machine { answers_after: 3, ..Machine::at(Timestamp(60_000)) };
        assert_eq!(await_time(&mut machine), Awaited::Exchange);
        assert_eq!(machine.pauses, 3);
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let mut machine = Machine { stop_after: 5, ..Machine::at(Timestamp(0)) };
        assert_eq!(await_time(&mut machine), Awaited::Stopped);
        assert_eq!(machine.pauses, 5);
    }

    #[test]
    fn a_clock_far_ahead_is_set_as_far_as_can_be_known() {
        let after_2038 = Timestamp(4_000_000_000_000);
        assert!(!is_unset(after_2038) && is_unset(Timestamp(1_700_000_000_000)));
        let told = Skew { wall: Timestamp(0), exchange: after_2038 }.to_string();
        assert!(told.contains("1970-01-01T00:00:00") && told.contains("2096-10-02T07:06:40"), "{told}");
    }
}
