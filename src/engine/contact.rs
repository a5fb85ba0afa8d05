//! How the exchange has answered lately, and when it may be asked again.
//!
//! In: what became of requests. Out: the moment before which nothing is asked at all, and for each kind of recurring question
//! ([`Chore`]) the moment before which it is not asked again. A question that failed is never asked again at once: its pause
//! grows while it goes on failing. It is told once, with the exchange's own words, and once when it is over.
//!
//! What can go wrong: a refused key, a symbol that is refused or not traded, something that a person must settle. At a start
//! with nothing open that ends the bot. Otherwise it stays: it raises an alarm once the refusal has lasted, and goes on asking,
//! ever more slowly, because what rests and what is held need somebody.

use std::collections::BTreeMap;
use std::time::Duration;

use log::{info, warn};

use super::ports::{Fault, FaultKind};
use super::{Engine, Failure};
use crate::core::Timestamp;
use crate::core::record::{AlarmCause, Record};
use crate::core::strategy::Goal;
use crate::core::time::doubled;

/// The first pause after the exchange could not be reached; it doubles.
pub(super) const OUTAGE_PAUSE: Duration = Duration::from_millis(250);
/// The longest such pause.
const LONGEST_OUTAGE_PAUSE: Duration = Duration::from_secs(2);
/// The first pause of a question that failed; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest such pause,
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// and that of reconciliation where the exchange did not answer at all: what happened meanwhile should be known soon.
const LONGEST_RECONCILE_PAUSE: Duration = Duration::from_secs(5);
/// The first pause of a start that is refused what only a person can settle; it doubles.
const FIRST_REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// The longest such pause.
const LONGEST_REFUSED_PAUSE: Duration = Duration::from_secs(300);
/// Such a refusal is believed, and raises the alarm, when it has come so often
const REFUSALS: u32 = 3;
/// and for so long: single ones happen while an exchange is maintained.
const REFUSED_FOR: Duration = Duration::from_secs(120);

/// A question that is asked again and again. Each waits for itself alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chore {
    Reconciliation,
    Wallet,
    Price,
    Funds,
    Preflight,
    Heartbeat,
}

impl Chore {
    fn name(self) -> &'static str {
        match self {
            Self::Reconciliation => "reconciliation",
            Self::Wallet => "the wallet",
            Self::Price => "the price",
            Self::Funds => "the balance",
            Self::Preflight => "the check before trading",
            Self::Heartbeat => "the time",
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Failing {
    times: u32,
    until: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    times: u32,
    since: Timestamp,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Contact {
    /// Nothing is asked before this moment.
    pub(super) quiet_until: Timestamp,
    /// How many requests in a row brought no answer.
    outages: u32,
    /// Since when nothing has been answered.
    pub(super) silent_since: Option<Timestamp>,
    failing: BTreeMap<Chore, Failing>,
    /// Refusals that only a person can settle.
    refused: Option<Refused>,
}

impl Contact {
    /// When this may be asked again; now or earlier if it may be asked now.
    pub(super) fn due(&self, chore: Chore) -> Timestamp {
        self.failing.get(&chore).map_or(Timestamp::default(), |failing| failing.until)
    }

    fn failed(&mut self, chore: Chore, fault: &Fault, now: Timestamp) {
        let failing = self.failing.entry(chore).or_insert(Failing { times: 0, until: now });
        if failing.times == 0 && !is_outage(fault.kind) {
            warn!("{} is refused, asking again ever more slowly: {fault}", chore.name());
        }
        let longest = match chore {
            Chore::Reconciliation if is_outage(fault.kind) => LONGEST_RECONCILE_PAUSE,
            _ => LONGEST_PAUSE,
        };
        failing.until = now.after(doubled(FIRST_PAUSE, failing.times, longest));
        failing.times = failing.times.saturating_add(1);
    }

    /// It was answered.
    pub(super) fn succeeded(&mut self, chore: Chore) {
        self.answered();
        if let Some(failing) = self.failing.remove(&chore)
            && failing.times > 1
        {
            info!("{} is answered again after {} attempts", chore.name(), failing.times);
        }
    }

    /// An answer came: the outage, if there was one, is over.
    pub(super) fn answered(&mut self) {
        self.silent_since = None;
        if self.outages > 0 {
            info!("the exchange answers again after {} failed requests", self.outages);
            self.outages = 0;
        }
    }

    /// There is a new connection: what failed before it is asked again at once.
    pub(super) fn connected(&mut self) {
        self.failing.clear();
    }

    /// Whether a refusal that only a person can settle is believed.
    fn refusal_lasts(&self, now: Timestamp) -> bool {
        self.refused.is_some_and(|refused| refused.times >= REFUSALS && now.since(refused.since) >= REFUSED_FOR)
    }

    /// How long a start waits that is refused.
    pub(super) fn refused_pause(&self) -> Duration {
        let times = self.refused.map_or(0, |refused| refused.times);
        doubled(FIRST_REFUSED_PAUSE, times.saturating_sub(1), LONGEST_REFUSED_PAUSE)
    }

    /// Asks for a pause of everything; longer each time until there is an answer.
    fn pause(&mut self, fault: &Fault, now: Timestamp, until: Timestamp) {
        if self.outages == 0 {
            warn!("{fault}; asking again from {until} on");
        }
        self.silent_since.get_or_insert(now);
        let pause = doubled(OUTAGE_PAUSE, self.outages, LONGEST_OUTAGE_PAUSE);
        self.outages = self.outages.saturating_add(1);
        self.quiet_until = until.max(now.after(pause));
    }
}

pub(super) fn is_outage(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::Unreachable
            | FaultKind::Unknown
            | FaultKind::Malformed
            | FaultKind::ClockOff
            | FaultKind::RateLimited { .. }
    )
}

impl Engine<'_> {
    /// A recurring question brought no answer: it waits, longer each time.
    pub(super) fn chore_failed(&mut self, chore: Chore, fault: &Fault) -> Result<(), Failure> {
        self.contact.failed(chore, fault, self.books.clock.now());
        self.on_fault(fault)
    }

    /// What every fault has in common: it may ask for quiet, tell of an outage, or be a person's to settle.
    pub(super) fn on_fault(&mut self, fault: &Fault) -> Result<(), Failure> {
        let now = self.now();
        if !is_outage(fault.kind) {
            self.contact.silent_since = None;
        }
        match fault.kind {
            FaultKind::KeyRefused | FaultKind::ConfigurationRefused => self.on_refusal(fault)?,
            FaultKind::PersonMustAct | FaultKind::NotTrading => self.note_refusal(fault)?,
            FaultKind::RateLimited { until } => self.contact.pause(fault, now, until),
            FaultKind::ClockOff => {
                self.heartbeat_due = now;
                self.contact.pause(fault, now, now);
            }
            FaultKind::Unreachable | FaultKind::Unknown | FaultKind::Malformed => self.contact.pause(fault, now, now),
            _ => {}
        }
        Ok(())
    }

    /// Key or configuration are refused.
    ///
    /// # Errors
    /// At a start with nothing open, or while the bot only cancels and sells: then it ends.
    pub(super) fn on_refusal(&mut self, fault: &Fault) -> Result<(), Failure> {
        if self.may_leave() {
            return Err(match fault.kind {
                FaultKind::ConfigurationRefused => Failure::ConfigurationRefused(fault.to_string()),
                _ => Failure::KeyRefused(fault.to_string()),
            });
        }
        if self.contact.refused.is_none() {
            warn!("{fault}; the bot stays, because a cycle may be open, and asks again ever more slowly");
        }
        self.note_refusal(fault)
    }

    /// With a cycle open it stays, unless it was told to end and the refusal lasts: then it says what rests, and ends.
    fn may_leave(&self) -> bool {
        let is_starting = !self.preflight_passed && self.books.ledger.cycle.is_none();
        is_starting || (self.config.goal != Goal::Trade && self.contact.refusal_lasts(self.now()))
    }

    /// Raises the alarm once a refusal that only a person can settle has lasted.
    fn note_refusal(&mut self, fault: &Fault) -> Result<(), Failure> {
        let now = self.now();
        let refused = self.contact.refused.get_or_insert(Refused { times: 0, since: now });
        refused.times = refused.times.saturating_add(1);
        let since = refused.since;
        let cause = AlarmCause::Refused;
        if !self.contact.refusal_lasts(now) || !self.clock_synchronised || self.books.ledger.alarms.contains_key(&cause)
        {
            return Ok(());
        }
        let message = format!(
            "the exchange refuses since {}: {fault}. The bot stays and goes on asking, ever more slowly; what rests goes on \
             resting. See to it on the exchange's site: the key, its rights and addresses, the terms, the symbol",
            since
        );
        warn!("{message}");
        self.record(vec![Record::Alarmed { cause, message }])
    }

    /// The exchange has taken something from this key: it no longer refuses.
    pub(super) fn accepted(&mut self) -> Result<(), Failure> {
        self.contact.refused = None;
        let cause = AlarmCause::Refused;
        if self.books.ledger.alarms.contains_key(&cause) {
            info!("the exchange no longer refuses");
            return self.record(vec![Record::AlarmCleared { cause }]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(kind: FaultKind) -> Fault {
        Fault { kind, endpoint: "GET /v5/market/tickers", code: None, message: String::new() }
    }

    #[test]
    fn a_question_that_is_refused_waits_longer_each_time_and_no_other_waits_for_it() {
        let mut contact = Contact::default();
        let mut now = Timestamp(0);
        let mut asked = 0;
        while now < Timestamp(3_600_000) {
            asked += 1;
            contact.failed(Chore::Price, &fault(FaultKind::Refused), now);
            assert!(contact.due(Chore::Wallet) <= now && contact.quiet_until <= now);
            now = contact.due(Chore::Price);
        }
        assert!((60..70).contains(&asked), "{asked} times in an hour");
        contact.succeeded(Chore::Price);
        assert_eq!(contact.due(Chore::Price), Timestamp::default());
    }

    #[test]
    fn an_outage_pauses_everything_for_two_seconds_at_most() {
        let mut contact = Contact::default();
        for _ in 0..100 {
            contact.pause(&fault(FaultKind::Unknown), Timestamp(5_000), Timestamp(5_000));
            assert!(contact.quiet_until <= Timestamp(7_000));
        }
        assert_eq!(contact.quiet_until, Timestamp(7_000));
    }
}
