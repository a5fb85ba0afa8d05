//! What a person should know, and has seen.
//!
//! In: the ledger, and which alarms a person has seen ([`super::ports::Signal::Resume`]). Out: records. An alarm is cleared only
//! if it still says what the person has read. Whoever finds its cause again raises it again.

use log::{error, info};

use super::{Engine, Failure};
use crate::core::ledger::Ledger;
use crate::core::money;
use crate::core::record::{AlarmCause, Record};

impl Engine<'_> {
    /// Clears the alarms that a person has seen, and raises that coins are gone.
    pub(super) fn look_after_alarms(&mut self) -> Result<(), Failure> {
        self.clear_what_was_seen()?;
        self.raise_coins_left()
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
