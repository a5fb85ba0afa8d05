//! The exchange's own books, kept for ever: what it told in its pushes of this bot's orders and executions. The bot never
//! sees them; the invariants are checked against them.

use std::collections::{BTreeMap, BTreeSet};

use recompra::core::Decimal;
use recompra::core::order::{BotName, OrderKey, Side, Slot};
use recompra::core::parameters::TakeProfitMode;
use recompra::simulation::account::{Push, Rows};
use recompra::simulation::order::{Fill, Kind, Order};

use super::drawing::ByCoin;

/// The finest step of a quantity.
const STEP: Decimal = Decimal::from_parts(1, 0, 0, false, 6);

/// An order of the bot as the exchange has it.
#[derive(Clone, Debug)]
pub(crate) struct BookOrder {
    /// As last told.
    pub(crate) row: Order,
    /// Whether it may still be filled.
    pub(crate) open: bool,
}

/// Everything the exchange did for this bot.
pub(crate) struct Books {
    bot: BotName,
    mode: TakeProfitMode,
    /// By the bot's names.
    pub(crate) orders: BTreeMap<OrderKey, BookOrder>,
    /// The open ones.
    pub(crate) open: BTreeSet<OrderKey>,
    /// Fills by their name.
    pub(crate) fills: BTreeMap<u64, Fill>,
    /// Base coin bought, less fees in it, less sold.
    pub(crate) held: Decimal,
    /// Quote coin that left for buys, fees in it included.
    pub(crate) paid: Decimal,
    /// Quote coin that came from sells, less fees in it.
    pub(crate) received: Decimal,
    /// Fees by coin.
    pub(crate) fees: ByCoin,
    /// Quantity and cost by level, in the open cycle.
    lots: BTreeMap<u8, (Decimal, Decimal)>,
    cycle: u64,
    /// What the bot has written off so far.
    written_off: Decimal,
    /// Each time that it did: how much that was so far, and the cost of what was new.
    pub(crate) lost: Vec<(Decimal, Decimal)>,
    /// Orders of the user, by the exchange's name, and whether the user ended them.
    pub(crate) foreign: BTreeMap<u64, bool>,
}

/// What a push changed.
#[derive(Default)]
pub(crate) struct Change {
    /// Orders that were not there before.
    pub(crate) new: Vec<OrderKey>,
    /// Whether anything of the bot's changed.
    pub(crate) any: bool,
}

impl Books {
    /// Empty books.
    pub(crate) fn new(bot: BotName, mode: TakeProfitMode) -> Self {
        Self {
            bot,
            mode,
            orders: BTreeMap::new(),
            open: BTreeSet::new(),
            fills: BTreeMap::new(),
            held: Decimal::ZERO,
            paid: Decimal::ZERO,
            received: Decimal::ZERO,
            fees: ByCoin::new(),
            lots: BTreeMap::new(),
            cycle: 0,
            written_off: Decimal::ZERO,
            lost: Vec::new(),
            foreign: BTreeMap::new(),
        }
    }

    /// Enters one push.
    pub(crate) fn enter(&mut self, push: &Push, change: &mut Change) {
        match &push.rows {
            Rows::Executions(fills) => fills.iter().for_each(|fill| self.fill(fill)),
            Rows::Orders(orders) => orders.iter().for_each(|order| self.order(order, change)),
            Rows::Wallet(_) => {}
        }
    }

    fn order(&mut self, row: &Order, change: &mut Change) {
        let Some(key) = OrderKey::of_link_id(&self.bot, &row.link_id) else { return };
        let open = row.status.is_open();
        if open {
            self.open.insert(key);
        } else {
            self.open.remove(&key);
        }
        if self.orders.insert(key, BookOrder { row: row.clone(), open }).is_none() {
            change.new.push(key);
            self.enter_cycle(key.cycle);
        }
        change.any = true;
    }

    /// What an earlier cycle left belongs to level 0 of the next.
    fn enter_cycle(&mut self, cycle: u64) {
        if cycle > self.cycle {
            self.cycle = cycle;
            let lots = std::mem::take(&mut self.lots);
            let all = lots.values().fold((Decimal::ZERO, Decimal::ZERO), |sum, lot| (sum.0 + lot.0, sum.1 + lot.1));
            self.lots.insert(0, all);
        }
    }

    fn fill(&mut self, fill: &Fill) {
        let Some(key) = OrderKey::of_link_id(&self.bot, &fill.link_id) else { return };
        self.enter_cycle(key.cycle);
        let fee = |coin: &str| if fill.fee_coin == coin { fill.fee } else { Decimal::ZERO };
        match fill.side {
            Side::Buy => {
                let level = match key.slot {
                    Slot::Buy(level) | Slot::Sell(level) => level,
                    Slot::Exit => 0,
                };
                let (quantity, cost) = (fill.quantity - fee("BTC"), fill.value + fee("USDT"));
                let lot = self.lots.entry(level).or_default();
                *lot = (lot.0 + quantity, lot.1 + cost);
                self.held += quantity;
                self.paid += cost;
            }
            Side::Sell => {
                self.sell(key.slot, fill.quantity);
                self.held -= fill.quantity + fee("BTC");
                self.received += fill.value - fee("USDT");
            }
        }
        *self.fees.entry(fill.fee_coin.clone()).or_default() += fill.fee;
        self.fills.insert(fill.id, fill.clone());
    }

    /// Takes what was sold from its own lot first, then from all in proportion.
    fn sell(&mut self, slot: Slot, mut quantity: Decimal) {
        if let (Slot::Sell(level), TakeProfitMode::PerLevel) = (slot, self.mode)
            && let Some(lot) = self.lots.get_mut(&level)
        {
            quantity -= take(lot, quantity);
            forget_dust(lot);
        }
        let all: Decimal = self.lots.values().map(|lot| lot.0).sum();
        if quantity.is_zero() || all <= Decimal::ZERO {
            return;
        }
        for lot in self.lots.values_mut() {
            let part = (lot.0 * quantity).checked_div(all).unwrap_or_default();
            take(lot, part);
        }
        if all - quantity < STEP {
            self.lots.values_mut().for_each(|lot| lot.1 = Decimal::ZERO);
        }
    }

    /// Coins that the bot has written off so far, the deepest level first. After a lost journal it begins anew.
    pub(crate) fn write_off(&mut self, so_far: Decimal) {
        let mut quantity = (so_far - self.written_off).max(Decimal::ZERO);
        // A power cut may have taken the record of it.
        self.lost.retain(|(at, _)| *at <= so_far);
        self.written_off = so_far;
        let cost = |lots: &BTreeMap<u8, (Decimal, Decimal)>| lots.values().map(|lot| lot.1).sum::<Decimal>();
        let before = cost(&self.lots);
        for lot in self.lots.values_mut().rev() {
            quantity -= take(lot, quantity);
        }
        self.lost.push((so_far, before - cost(&self.lots)));
    }

    /// Quote coin that was spent on coins that are gone.
    pub(crate) fn lost(&self) -> Decimal {
        self.lost.iter().map(|(_, cost)| cost).sum()
    }

    /// Quote coin bound: the cost of what is held, and what open buys can still cost.
    pub(crate) fn committed(&self) -> Decimal {
        let open = self.open.iter().filter_map(|key| self.orders.get(key)).filter(|order| order.row.side == Side::Buy);
        let lots: Decimal = self.lots.values().map(|lot| lot.1).sum();
        open.fold(lots, |sum, order| sum + order.row.price().unwrap_or_default() * order.row.leaves_quantity())
    }

    /// Base coin in open sells.
    pub(crate) fn offered(&self) -> Decimal {
        let open = self.open.iter().filter_map(|key| self.orders.get(key));
        open.filter(|order| order.row.side == Side::Sell).map(|order| order.row.leaves_quantity()).sum()
    }
}

/// Less than a step cannot be sold, and has no cost.
fn forget_dust(lot: &mut (Decimal, Decimal)) {
    if lot.0 < STEP {
        lot.1 = Decimal::ZERO;
    }
}

fn take(lot: &mut (Decimal, Decimal), quantity: Decimal) -> Decimal {
    let part = quantity.min(lot.0);
    if lot.0 > Decimal::ZERO {
        lot.1 -= (lot.1 * part).checked_div(lot.0).unwrap_or_default().round_dp(14);
        lot.0 -= part;
    }
    part
}

/// Whether an order is sized in quote coin.
pub(crate) fn in_quote(order: &Order) -> bool {
    order.kind == Kind::MarketQuote
}
