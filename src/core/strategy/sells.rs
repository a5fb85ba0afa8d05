//! What should be offered: one take profit for everything in `average` mode, one for each lot in `per_level`.

use std::time::Duration;

use super::super::instrument::Instrument;
use super::super::ladder;
use super::super::ledger::{Cycle, Lot, Order};
use super::super::money::Decimal;
use super::super::order::{OrderSpec, Side, Slot};
use super::super::parameters::TakeProfitMode;
use super::super::record::{Offer, Reason};
use super::super::time::Timestamp;
use super::Decider;
use super::reading::Reading;

/// A rebuy that is filled in part and still open is offered once it has been quiet for this long.
const PARTIAL_FILL_PATIENCE: Duration = Duration::from_secs(10);

/// A sell slot and the lots that it should offer.
struct Group {
    slot: Slot,
    /// The level whose lot it is; `None` for the lots of all levels.
    level: Option<u8>,
    lots: Lot,
}

impl Group {
    /// The levels whose lots it offers.
    fn levels<'c>(&self, cycle: &'c Cycle) -> impl Iterator<Item = (u8, &'c Lot)> + use<'c> {
        let levels = self.level.map_or(0..=u8::MAX, |level| level..=level);
        cycle.lots.range(levels).map(|(level, lot)| (*level, lot))
    }
}

impl Decider<'_> {
    /// Places the sells that are due and cancels those to be replaced.
    pub(super) fn sells(&mut self, cycle: &Reading<'_>, instrument: &Instrument) {
        let groups = self.groups(cycle);
        for group in &groups {
            match cycle.live(group.slot) {
                Some((key, order)) => {
                    if self.should_replace(cycle, group, order, instrument) {
                        self.cancel(key, order);
                    }
                }
                None => self.offer(cycle, group, instrument),
            }
        }
        // Sells in slots of the other mode, after the mode was changed.
        for (key, order) in cycle.live_orders() {
            if matches!(key.slot, Slot::Sell(_)) && !groups.iter().any(|group| group.slot == key.slot) {
                self.cancel(key, order);
            }
        }
    }

    /// Whether nothing more is bought for the take profit that ends the cycle, which is not live, and all that it could offer
    /// is too small to sell.
    pub(super) fn nothing_to_sell(&self, cycle: &Reading<'_>, instrument: &Instrument) -> bool {
        let is_bought = match cycle.base_price() {
            Some(_) => true,
            None => self.only_sells() && cycle.live(Slot::Buy(0)).is_none(),
        };
        if !is_bought || cycle.live(Slot::Sell(0)).is_some() {
            return false;
        }
        self.groups(cycle)
            .iter()
            .filter(|group| group.slot == Slot::Sell(0))
            .all(|group| self.take_profit(&group.lots, instrument).is_none())
    }

    /// Whether the lot of a level is large enough to be offered on its own.
    pub(super) fn is_sellable(&self, cycle: &Reading<'_>, level: u8, instrument: &Instrument) -> bool {
        cycle.lots.get(&level).is_some_and(|lot| self.could_offer(lot, instrument))
    }

    /// Whether a lot is large enough to be offered at its take profit.
    pub(super) fn could_offer(&self, lot: &Lot, instrument: &Instrument) -> bool {
        self.take_profit(lot, instrument).is_some()
    }

    fn groups(&self, cycle: &Reading<'_>) -> Vec<Group> {
        match self.situation.parameters.take_profit_mode {
            TakeProfitMode::Average => {
                vec![Group { slot: Slot::Sell(0), level: None, lots: Lot::total(cycle.lots.values()) }]
            }
            TakeProfitMode::PerLevel => cycle
                .lots
                .iter()
                .map(|(level, lot)| Group { slot: Slot::Sell(*level), level: Some(*level), lots: lot.clone() })
                .collect(),
        }
    }

    /// Whether a live sell should give way to one that covers more, or asks for another profit.
    fn should_replace(&mut self, cycle: &Reading<'_>, group: &Group, order: &Order, instrument: &Instrument) -> bool {
        if let Some(Reason::TakeProfit { take_profit_percent, .. }) = &order.reason
            && *take_profit_percent != self.situation.parameters.take_profit_percent
        {
            return true;
        }
        let Some(due) = self.offer_due(cycle, group) else { return false };
        let all = order.leaves_quantity().saturating_add(group.lots.quantity);
        let could_cover = instrument.quantity_down(all.min(instrument.max_limit_quantity));
        could_cover > order.leaves_quantity() && self.is_due(due)
    }

    fn offer(&mut self, cycle: &Reading<'_>, group: &Group, instrument: &Instrument) {
        let Some((price, quantity, cost)) = self.take_profit(&group.lots, instrument) else { return };
        let Some(due) = self.offer_due(cycle, group) else { return };
        let parameters = self.situation.parameters;
        let quote = self.quote_after_refusal(cycle, group.slot);
        if !self.is_due(due.max(self.retry_due(cycle, group.slot))) {
            return;
        }
        // The market has risen above the price. A maker rests as low as it can. A taker asks no less than the bid, because the
        // exchange refuses a price too far below the market.
        let reach = |bid: Decimal| if parameters.post_only { bid.saturating_add(instrument.tick_size) } else { bid };
        let bid = quote.and_then(|quote| quote.bid);
        let price = bid.map_or(price, |bid| price.max(instrument.price_up(reach(bid))));
        let spec = OrderSpec::Limit { side: Side::Sell, price, quantity, post_only: parameters.post_only };
        let reason = Reason::TakeProfit {
            cost,
            take_profit_percent: parameters.take_profit_percent,
            fee_rate: self.situation.ledger.sell_fee_rate(parameters.fee_rate),
        };
        let offer = Offer { levels: group.levels(cycle).map(|(level, _)| level).collect(), cost };
        self.place(cycle, group.slot, spec, Some(offer), reason);
    }

    /// Price, quantity and cost of the take profit for a lot; `None` if it is too small to sell.
    fn take_profit(&self, lot: &Lot, instrument: &Instrument) -> Option<(Decimal, Decimal, Decimal)> {
        let parameters = self.situation.parameters;
        // Dust has no cost, and without a cost there is no price.
        if lot.cost <= Decimal::ZERO {
            return None;
        }
        let quantity = instrument.quantity_down(lot.quantity.min(instrument.max_limit_quantity));
        let cost = lot.cost_of_part(quantity, instrument);
        let fee_rate = self.situation.ledger.sell_fee_rate(parameters.fee_rate);
        let price = ladder::take_profit_price(cost, parameters.take_profit(), quantity, fee_rate, instrument)?;
        instrument.check_limit(price, quantity).ok()?;
        Some((price, quantity, cost))
    }

    /// When the first of a group's lots is due to be offered; `None` while none is.
    fn offer_due(&self, cycle: &Reading<'_>, group: &Group) -> Option<Timestamp> {
        if cycle.live(Slot::Buy(0)).is_some() {
            return None;
        }
        let delay = self.situation.parameters.sell_delay;
        group
            .levels(cycle)
            .filter_map(|(level, lot)| {
                let since = lot.since?;
                let still_filling = cycle.live(Slot::Buy(level)).and_then(|(_, order)| order.last_execution);
                Some(match still_filling {
                    Some(last) => self.after(last, delay.max(PARTIAL_FILL_PATIENCE)),
                    None => self.after(since, delay),
                })
            })
            .min()
    }
}
