//! Which rebuys should rest below: the nearest `active_rebuys` of the levels that are not filled.

use super::super::instrument::Instrument;
use super::super::ladder::Rebuy;
use super::super::ledger::{End, Order};
use super::super::money::Decimal;
use super::super::order::{OrderKey, OrderSpec, Side, Slot};
use super::super::parameters::TakeProfitMode;
use super::super::record::Reason;
use super::super::time::Timestamp;
use super::Decider;
use super::reading::Reading;

impl Decider<'_> {
    /// Places the rebuys that are due and cancels those that should not rest.
    pub(super) fn rebuys(&mut self, cycle: &Reading<'_>, instrument: &Instrument) {
        let Some(base_price) = cycle.base_price() else {
            return;
        };
        let parameters = self.situation.parameters;
        let ladder = match self.memo.rebuys(base_price, parameters, instrument) {
            Ok(ladder) => ladder,
            Err(error) => {
                self.decision.ladder_error = Some(error);
                return;
            }
        };
        let wanted = self.wanted(cycle, &ladder, instrument);
        for (key, order) in cycle.live_orders() {
            let Slot::Buy(level @ 1..) = key.slot else {
                continue;
            };
            let fits = wanted.iter().any(|rebuy| rebuy.level == level && is_as_planned(order, rebuy, base_price));
            if !fits && order.executed_quantity.is_zero() {
                self.cancel(key, order);
            }
        }
        let missing = wanted.into_iter().filter(|rebuy| cycle.live(Slot::Buy(rebuy.level)).is_none());
        // Added up once the first of them is due.
        let mut committed = None;
        for rebuy in missing {
            self.rebuy(cycle, rebuy, base_price, instrument, &mut committed);
        }
    }

    /// The levels that should have a resting buy: first those that are being filled, then the nearest free ones.
    fn wanted<'l>(&self, cycle: &Reading<'_>, ladder: &'l [Rebuy], instrument: &Instrument) -> Vec<&'l Rebuy> {
        let filling =
            |level| cycle.live(Slot::Buy(level)).is_some_and(|(_, order)| order.executed_quantity > Decimal::ZERO);
        let first = ladder.iter().filter(|rebuy| filling(rebuy.level));
        let free = |rebuy: &&Rebuy| !filling(rebuy.level) && !self.is_filled(cycle, rebuy.level, instrument);
        // Few live orders are looked for among many levels, and levels beyond the last that may rest not at all.
        let partly = |(key, order): (OrderKey, &Order)| {
            matches!(key.slot, Slot::Buy(1..)) && order.executed_quantity > Decimal::ZERO
        };
        let first = first.take(if cycle.live_orders().any(partly) { ladder.len() } else { 0 });
        first.chain(ladder.iter().filter(free)).take(usize::from(self.situation.parameters.active_rebuys)).collect()
    }

    /// Whether a level has been bought. In `per_level` mode it is free again once its lot is sold.
    fn is_filled(&self, cycle: &Reading<'_>, level: u8, instrument: &Instrument) -> bool {
        let bought = cycle
            .latest(Slot::Buy(level))
            .is_some_and(|(_, order)| !order.is_live() && order.executed_quantity > Decimal::ZERO);
        match self.situation.parameters.take_profit_mode {
            TakeProfitMode::Average => bought,
            TakeProfitMode::PerLevel => {
                let selling = cycle.live(Slot::Sell(level)).is_some();
                selling || (bought && self.is_sellable(cycle, level, instrument))
            }
        }
    }

    fn rebuy(
        &mut self,
        cycle: &Reading<'_>,
        rebuy: &Rebuy,
        base_price: Decimal,
        instrument: &Instrument,
        committed: &mut Option<Decimal>,
    ) {
        let slot = Slot::Buy(rebuy.level);
        let refusal = cycle.latest(slot).and_then(|(_, order)| order.end());
        let market_matters = matches!(refusal, Some(End::Refused(_)));
        if market_matters {
            self.want_quote();
        }
        if !self.is_due(self.rebuy_due(cycle).max(self.retry_due(cycle, slot))) || self.buys_forbidden(Some(cycle)) {
            return;
        }
        let parameters = self.situation.parameters;
        // The market has fallen below the level: rest as high as a maker can, or, where taking is allowed, ask no more than
        // the market does, for the exchange refuses a price that is too far above it.
        let reach = |ask: Decimal| if parameters.post_only { ask - instrument.tick_size } else { ask };
        let quote = self.situation.quote.filter(|_| market_matters);
        let price = quote.map_or(rebuy.price, |quote| rebuy.price.min(instrument.price_down(reach(quote.ask))));
        if instrument.check_limit(price, rebuy.quantity).is_err() {
            return;
        }
        let spec =
            OrderSpec::Limit { side: Side::Buy, price, quantity: rebuy.quantity, post_only: parameters.post_only };
        let committed = committed.get_or_insert_with(|| cycle.committed());
        if *committed + spec.notional() > parameters.max_capital {
            return;
        }
        *committed += spec.notional();
        self.place(cycle, slot, spec, None, reason_of(rebuy, base_price));
    }

    /// Rebuys follow the sell of what was bought before them, and a lot's sale, by `rebuy_delay`.
    fn rebuy_due(&self, cycle: &Reading<'_>) -> Timestamp {
        let parameters = self.situation.parameters;
        let after_buy = cycle.bought.map(|bought| bought.after(parameters.sell_delay));
        after_buy.max(cycle.sold).unwrap_or(cycle.opened).after(parameters.rebuy_delay)
    }
}

fn reason_of(rebuy: &Rebuy, base_price: Decimal) -> Reason {
    Reason::Rebuy { base_price, amount: rebuy.amount }
}

/// Whether a live rebuy asks for what the ladder says. Where the market was below the level it had to go lower.
fn is_as_planned(order: &Order, rebuy: &Rebuy, base_price: Decimal) -> bool {
    let same_level = order.reason.as_ref().is_none_or(|reason| *reason == reason_of(rebuy, base_price));
    match order.spec {
        OrderSpec::Limit { side: Side::Buy, price, quantity, .. } => {
            quantity == rebuy.quantity && (price == rebuy.price || (price < rebuy.price && same_level))
        }
        _ => false,
    }
}
