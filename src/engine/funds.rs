//! What could be spent on the next cycle, known before the one before it ends.
//!
//! A cycle begins when the balance is enough for the whole ladder, and asking takes a round trip. With a pause between cycles
//! there is time for it. Without one the balance is asked in a quiet moment, while the take profit rests, and this bot's own
//! fills are counted since. What somebody else spends meanwhile is not known: an answer counts for two minutes, and if the
//! money is gone the exchange refuses the order.

use std::time::Duration;

use super::{Engine, Failure};
use crate::core::ladder;
use crate::core::ledger::OrderState;
use crate::core::order::{Execution, OrderKey, Side};
use crate::core::strategy::Goal;
use crate::core::{Decimal, Timestamp};

/// The balance is asked again after this long.
const REFRESH: Duration = Duration::from_secs(60);
/// An answer counts for this long.
const VALID: Duration = Duration::from_secs(120);
/// It is asked when nothing has happened for this long: a fill should not have to wait for the answer.
const QUIET: Duration = Duration::from_secs(1);
/// Fills of this long before and after an answer may be in it or not.
const MARGIN: Duration = Duration::from_secs(5);

/// What can be spent once this bot's own buys no longer rest.
#[derive(Clone, Debug)]
pub(super) struct Funds {
    /// In quote coin.
    spendable: Decimal,
    /// When the exchange said so.
    at: Timestamp,
}

impl Engine<'_> {
    /// Whether the next cycle begins at once, so that the balance should be known before.
    fn wants_funds(&self) -> bool {
        let Self { assignment, .. } = self;
        assignment.goal == Goal::Trade
            && assignment.parameters.cycle_delay.is_zero()
            && assignment.readiness_interval.is_some()
    }

    /// When the balance is to be asked in a quiet moment, if it is.
    pub(super) fn funds_due(&self) -> Option<Timestamp> {
        let cycle = self.ledger.cycle.as_ref().filter(|_| self.wants_funds())?;
        let known = cycle.live_orders().all(|(_, order)| order.state == OrderState::Open) && self.doubts.is_empty();
        let selling = cycle.live_orders().any(|(key, _)| key.slot.side() == Side::Sell);
        (known && selling).then(|| self.funds_asked.after(REFRESH).max(self.ledger.time.after(QUIET)))
    }

    /// Asks what of the quote coin is free, and notes it beside what this bot's own buys hold. Gives back the free amount and
    /// the coin's name; nothing if that cannot be known now.
    pub(super) fn ask_funds(&mut self) -> Result<Option<(Decimal, String)>, Failure> {
        let Some(coin) = self.ledger.instrument.as_ref().map(|instrument| instrument.quote_coin.clone()) else {
            return Ok(None);
        };
        self.funds_asked = self.now();
        let free = match self.world.exchange.balance(&coin) {
            Ok(balance) => balance.free,
            Err(fault) => return self.weigh(&fault).map(|()| None),
        };
        self.answered();
        let held = self.ledger.cycle.iter().flat_map(|cycle| cycle.live_orders());
        let spendable = held.fold(free, |sum, (_, order)| sum + order.leaves_notional());
        self.funds_asked = self.now();
        self.funds = Some(Funds { spendable, at: self.funds_asked });
        Ok(Some((free, coin)))
    }

    /// Counts a fill of this bot's own. One that an answer may hold already makes it worthless.
    pub(super) fn count_funds(&mut self, key: OrderKey, execution: &Execution) {
        let Some(funds) = &mut self.funds else { return };
        let Some(order) = self.ledger.order(key) else {
            self.funds = None;
            return;
        };
        let placed_since = order.planned > funds.at && !order.was_placed_unseen();
        if !placed_since && execution.time < funds.at.after(MARGIN) {
            self.funds = None;
            return;
        }
        let in_quote =
            self.ledger.instrument.as_ref().is_some_and(|instrument| instrument.quote_coin == execution.fee_coin);
        let fee = if in_quote { execution.fee } else { Decimal::ZERO };
        match key.slot.side() {
            Side::Buy => funds.spendable -= execution.value + fee,
            Side::Sell => funds.spendable += execution.value - fee,
        }
    }

    /// Whether the money for a whole ladder is known to be there, without asking.
    pub(super) fn is_funded(&self) -> bool {
        let Some(funds) = self.funds.as_ref().filter(|_| self.wants_funds()) else { return false };
        let cost = ladder::cost(&self.assignment.parameters);
        self.now().since(funds.at) < VALID && cost.is_ok_and(|cost| cost <= funds.spendable)
    }
}
