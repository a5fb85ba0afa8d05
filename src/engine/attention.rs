//! What a person should know, and has seen.
//!
//! In: the ledger, and which alarms a person has seen ([`super::ports::Signal::Resume`]). Out: records. An alarm is cleared only
//! if it still says what the person has read. Whoever finds its cause again raises it again.
//!
//! Here is also written down what the bot waits for that others must bring about, for whoever asks why nothing is done
//! ([`Waits`]): few records, each with one line of the log, however long it waits.

use std::time::Duration;

use log::{error, info, warn};

use super::{Engine, Failure};
use crate::core::ledger::Ledger;
use crate::core::money::{self, Decimal};
use crate::core::record::{AlarmCause, Record, Shortfall, Waits};
use crate::core::strategy::Decision;

/// An exchange that has not answered for so long is worth a record.
const SILENCE: Duration = Duration::from_secs(120);

impl Engine<'_> {
    /// Clears the alarms that a person has seen, and raises that coins are gone.
    pub(super) fn look_after_alarms(&mut self) -> Result<(), Failure> {
        self.clear_what_was_seen()?;
        self.raise_coins_left()
    }

    /// Writes down that the exchange does not answer, and that it does again. The log tells of each outage as it begins.
    pub(super) fn note_silence(&mut self) -> Result<(), Failure> {
        let now = self.now();
        let silent_since = self.contact.silent_since.filter(|since| now.since(*since) >= SILENCE);
        let waits = &self.books.ledger.waits;
        if silent_since == waits.silent_since {
            return Ok(());
        }
        self.record(vec![Record::Waits(Waits { silent_since, ..waits.clone() })])
    }

    /// Writes down that there is too little money for the next base order, by how much if that changes by much, and that there
    /// is enough again. Between two answers it is as it was.
    pub(super) fn note_shortfall(&mut self, decision: &Decision) -> Result<(), Failure> {
        let now = self.now();
        let waits = &self.books.ledger.waits;
        let lacking = match (decision.needs_funds, self.free_funds(now)) {
            (None, _) => None,
            (Some(_), None) => return Ok(()),
            (Some(needed), Some(free)) => Some((needed, free)),
        };
        let funds = match (lacking, &waits.funds) {
            (None, None) => return Ok(()),
            (None, Some(_)) => {
                info!("there is money enough for the ladder again, or it is needed no longer");
                None
            }
            (Some((needed, free)), told) => {
                if told.as_ref().is_some_and(|told| is_near(told.needed, needed) && is_near(told.free, free)) {
                    return Ok(());
                }
                let (needed_text, free_text) = (money::text(needed), money::text(free));
                warn!("nothing is bought: the ladder may still cost {needed_text}, {free_text} are free");
                Some(Shortfall { needed, free, since: told.as_ref().map_or(now, |told| told.since) })
            }
        };
        self.record(vec![Record::Waits(Waits { funds, ..waits.clone() })])
    }

    fn clear_what_was_seen(&mut self) -> Result<(), Failure> {
        if self.seen_alarms.is_empty() {
            return Ok(());
        }
        let alarms = &self.books.ledger.alarms;
        let same = self.seen_alarms.iter().filter(|(cause, message)| alarms.get(cause) == Some(*message));
        let cleared: Vec<Record> = same.map(|(cause, _)| Record::AlarmCleared { cause: *cause }).collect();
        info!("a person has seen {} of {} alarms", cleared.len(), alarms.len());
        // Where it cannot be written down, it is not forgotten.
        self.record(cleared)?;
        self.seen_alarms.clear();
        Ok(())
    }

    /// Raises the alarm about coins that are gone and were paid for, and raises it anew when there are more of them, or
    /// `max_capital` is another.
    fn raise_coins_left(&mut self) -> Result<(), Failure> {
        let Ledger { written_off, instrument: Some(instrument), alarms, .. } = &self.books.ledger else {
            return Ok(());
        };
        if written_off.cost.is_zero() {
            return Ok(());
        }
        let (cause, quote, most) = (AlarmCause::CoinsLeft, &instrument.quote_coin, self.config.parameters.max_capital);
        let message = format!(
            "{} {} that the bot paid {} {quote} for are gone: they are no longer counted as held. Of max_capital, which is {} \
             {quote}, {} are left to buy with. Compare the account with `recompra status`; `recompra resume` says that all of it \
             may be spent again",
            money::text(written_off.quantity),
            instrument.base_coin,
            money::text(written_off.cost),
            money::text(most),
            money::text(self.books.ledger.capital(most))
        );
        if alarms.get(&cause) == Some(&message) {
            return Ok(());
        }
        error!("{message}");
        self.record(vec![Record::Alarmed { cause, message }])
    }
}

/// Whether two amounts differ by no more than a tenth.
fn is_near(one: Decimal, other: Decimal) -> bool {
    one.saturating_sub(other).abs().saturating_mul(Decimal::TEN) <= one.max(other)
}
