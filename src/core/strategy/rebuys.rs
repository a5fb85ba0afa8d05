//! Which rebuys should rest below: the nearest `active_rebuys` of the levels that are not filled. A level that a filter has
//! come to forbid is left out and reported; an order that already rests there stays.

use super::super::instrument::Instrument;
use super::super::ladder::Rebuy;
use super::super::ledger::{Cycle, Order};
use super::super::money::Decimal;
use super::super::order::{OrderKey, OrderSpec, Side, Slot};
use super::super::parameters::{Parameters, TakeProfitMode};
use super::super::record::Reason;
use super::super::time::Timestamp;
use super::Decider;
use super::reading::Reading;

impl Decider<'_> {
    /// Places the rebuys that are due and cancels those that should not rest.
    pub(super) fn rebuys(&mut self, cycle: &Reading<'_>, instrument: &Instrument) {
        let Some(base_price) = cycle.base_price() else { return };
        let parameters = self.situation.parameters;
        let (ladder, broken) = self.memo.levels(base_price, parameters, instrument);
        self.decision.ladder_error = broken;
        let wanted = self.wanted(cycle, &ladder, instrument);
        for (key, order) in cycle.live_orders() {
            let Slot::Buy(level @ 1..) = key.slot else { continue };
            let fits = wanted.iter().find(|rebuy| rebuy.level == level).is_some_and(|rebuy| {
                // An order is kept where none could be placed any more.
                is_as_planned(order, rebuy, base_price) || rebuy.check(instrument).is_err()
            });
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

    /// The levels that should have a resting buy: first those that are partly filled, then the nearest free ones.
    fn wanted<'l>(&self, cycle: &Reading<'_>, ladder: &'l [Rebuy], instrument: &Instrument) -> Vec<&'l Rebuy> {
        let filling =
            |level| cycle.live(Slot::Buy(level)).is_some_and(|(_, order)| order.executed_quantity > Decimal::ZERO);
        let first = ladder.iter().filter(|rebuy| filling(rebuy.level));
        let whole = self.decision.ladder_error.is_none();
        let allowed =
            |rebuy: &Rebuy| whole || rebuy.check(instrument).is_ok() || cycle.live(Slot::Buy(rebuy.level)).is_some();
        let free =
            |rebuy: &&Rebuy| !filling(rebuy.level) && !self.is_filled(cycle, rebuy.level, instrument) && allowed(rebuy);
        // There are few live orders and many levels: the levels are searched only if an order is partly filled.
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
        let quote = self.quote_after_refusal(cycle, slot);
        let parameters = self.situation.parameters;
        let delays = parameters.sell_delay.saturating_add(parameters.rebuy_delay);
        let due = self.within(rebuys_due(cycle, parameters), delays);
        if !self.is_due(due.max(self.retry_due(cycle, slot))) || self.buys_forbidden(Some(cycle)) {
            return;
        }
        let parameters = self.situation.parameters;
        // The market has fallen below the level. A maker rests as high as it can. A taker bids no more than the ask, because
        // the exchange refuses a price too far above the market.
        let reach = |ask: Decimal| if parameters.post_only { ask.saturating_sub(instrument.tick_size) } else { ask };
        let ask = quote.and_then(|quote| quote.ask);
        let price = ask.map_or(rebuy.price, |ask| rebuy.price.min(instrument.price_down(reach(ask))));
        if instrument.check_limit(price, rebuy.quantity).is_err() {
            return;
        }
        let spec =
            OrderSpec::Limit { side: Side::Buy, price, quantity: rebuy.quantity, post_only: parameters.post_only };
        let committed = committed.get_or_insert_with(|| cycle.committed());
        let with_this = committed.checked_add(spec.notional()).filter(|sum| *sum <= self.situation.capital());
        let Some(with_this) = with_this else { return };
        *committed = with_this;
        self.place(cycle, slot, spec, None, reason_of(rebuy, base_price));
    }
}

/// From when on rebuys are placed: they follow the sell of the last buy, or the last sale, by `rebuy_delay`.
pub fn rebuys_due(cycle: &Cycle, parameters: &Parameters) -> Timestamp {
    let after_buy = cycle.bought.map(|bought| bought.after(parameters.sell_delay));
    after_buy.max(cycle.sold).unwrap_or(cycle.opened).after(parameters.rebuy_delay)
}

fn reason_of(rebuy: &Rebuy, base_price: Decimal) -> Reason {
    Reason::Rebuy { base_price, amount: rebuy.amount }
}

/// Whether a live rebuy asks for what the ladder says. It may be lower if the market had fallen below its level.
fn is_as_planned(order: &Order, rebuy: &Rebuy, base_price: Decimal) -> bool {
    let same_level = order.reason.as_ref().is_none_or(|reason| *reason == reason_of(rebuy, base_price));
    match order.spec {
        OrderSpec::Limit { side: Side::Buy, price, quantity, .. } => {
            quantity == rebuy.quantity && (price == rebuy.price || (price < rebuy.price && same_level))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::{self, d};
    use super::super::super::ledger::Ledger;
    use super::super::super::order::{Execution, OrderStatus};
    use super::super::super::parameters::Parameters;
    use super::super::super::record::Record;
    use super::super::{Decision, Goal, Situation, Step, decide};
    use super::*;

    fn instrument(min_notional: &str) -> Instrument {
        let (quantity_step, amount_step, min_notional) = (d("0.0001"), d("0.01"), d(min_notional));
        Instrument { quantity_step, amount_step, min_notional, ..fixtures::instrument() }
    }

    /// Rebuys of 6, 12 and 24 below a base order at 100, two of which rest.
    fn parameters() -> Parameters {
        Parameters {
            base_order_amount: d("100"),
            rebuy_amount: d("6"),
            step_scale: Decimal::ONE,
            active_rebuys: 2,
            max_capital: d("200"),
            ..fixtures::parameters()
        }
    }

    fn key(level: u8) -> OrderKey {
        OrderKey { cycle: 1, slot: Slot::Buy(level), attempt: 1 }
    }

    /// A cycle whose base order has bought 1 at 100.
    fn bought() -> Ledger {
        let execution = Execution {
            exec_id: "1".to_owned(),
            link_id: String::new(),
            order_id: "1".to_owned(),
            side: Side::Buy,
            price: d("100"),
            quantity: d("1"),
            value: d("100"),
            fee: Decimal::ZERO,
            fee_coin: "USDT".to_owned(),
            maker: false,
            time: Timestamp(1),
        };
        let closed = Record::OrderClosed {
            key: key(0),
            status: OrderStatus::Cancelled,
            executed_quantity: d("1"),
            executed_value: d("100"),
            refusal: None,
            message: String::new(),
        };
        let spec = OrderSpec::MarketBuy { amount: d("100") };
        let mut ledger = Ledger::default();
        for record in [
            Record::InstrumentSeen { instrument: instrument("5") },
            Record::CycleOpened { cycle: 1, began: Timestamp(1) },
            Record::OrderPlanned { key: key(0), spec, offer: None, reason: Reason::Base },
            Record::Executed { key: key(0), execution },
            closed,
        ] {
            ledger.apply(Timestamp(1), &record).unwrap();
        }
        ledger
    }

    fn decision(ledger: &Ledger) -> Decision {
        let parameters = parameters();
        decide(&Situation {
            ledger,
            parameters: &parameters,
            goal: Goal::Trade,
            quote: None,
            free: Some(Decimal::MAX),
            hold_buys: false,
            connected: Timestamp::default(),
            now: Timestamp(10_000),
        })
    }

    /// The levels that are to be bought, and those whose order is to be cancelled.
    fn levels(decision: &Decision) -> (Vec<u8>, Vec<u8>) {
        let (mut placed, mut cancelled) = (Vec::new(), Vec::new());
        for step in &decision.steps {
            match step {
                Step::Place { key: OrderKey { slot: Slot::Buy(level), .. }, .. } => placed.push(*level),
                Step::Cancel { key: OrderKey { slot: Slot::Buy(level), .. } } => cancelled.push(*level),
                _ => {}
            }
        }
        (placed, cancelled)
    }

    #[test]
    fn a_level_that_a_filter_forbids_is_left_out_and_told_and_the_others_rest() {
        let mut ledger = bought();
        assert_eq!((levels(&decision(&ledger)), decision(&ledger).ladder_error), ((vec![1, 2], vec![]), None));
        ledger.apply(Timestamp(2), &Record::InstrumentSeen { instrument: instrument("8") }).unwrap();
        assert_eq!(levels(&decision(&ledger)), (vec![2, 3], vec![]));
        assert_eq!(decision(&ledger).ladder_error.map(|error| error.level), Some(1));
    }

    #[test]
    fn a_rebuy_that_rests_where_none_could_be_placed_any_more_stays_and_counts() {
        let mut ledger = bought();
        let spec = |price, quantity| OrderSpec::Limit { side: Side::Buy, price, quantity, post_only: false };
        let rebuy = Record::OrderAdopted {
            key: key(1),
            order_id: "2".to_owned(),
            spec: spec(d("99"), d("0.0606")),
            offer: None,
        };
        ledger.apply(Timestamp(2), &rebuy).unwrap();
        let coarse = Instrument { quantity_step: d("0.01"), ..instrument("8") };
        ledger.apply(Timestamp(2), &Record::InstrumentSeen { instrument: coarse }).unwrap();
        assert_eq!(levels(&decision(&ledger)), (vec![2], vec![]));
    }
}
