//! The ledger: what the records add up to.
//!
//! State changes in one function, [`Ledger::apply`], the same live and at recovery. It takes facts, never
//! decides anything, and refuses a fact that contradicts those before it.
//!
//! ```text
//!            OrderPlanned                 OrderAccepted
//!  (free) ───────────────▶ Planned ─────────────────────▶ Open
//!     ▲                    │  │  │                          │ OrderClosed, or filled in full
//!     │    OrderAbsent     │  │  │ OrderRefused             ▼
//!     └────────────────────┘  │  └──────────▶ Settled ◀── Closed
//!                             └──── (OrderClosed) ────────▲  executions complete
//! ```
//!
//! Money moves between accounts and is never computed twice. A buy's execution adds quantity and cost to the
//! lot of its level. A planned sell takes them from the lots onto itself; what it did not sell comes back
//! when it is settled, and the cost of what it sold meets its proceeds there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::instrument::Instrument;
use super::money::{self, Decimal};
use super::order::{Execution, OrderKey, OrderSpec, OrderStatus, Side, Slot};
use super::record::{AlarmCause, ExitCause, Offer, Reason, Record, Refusal};
use super::time::Timestamp;

/// Cost is divided to this many decimals when a sell ends half filled; the rest keeps the rounding.
const COST_SCALE: u32 = 12;

/// So many attempts of a slot that were refused are remembered.
const KEPT_REFUSALS: u32 = 4;

/// Everything the bot knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The instrument as last seen.
    pub instrument: Option<Instrument>,
    /// The open cycle.
    pub cycle: Option<Cycle>,
    /// The highest number that a cycle has had.
    pub last_cycle: u64,
    /// What closed cycles left: dust without cost, and lots that raced the take profit, with theirs.
    pub carry: Lot,
    /// When the last cycle's end was settled; the cycle delay counts from here.
    pub last_end: Option<Timestamp>,
    /// Fee rates as fills have shown them.
    pub fees: ObservedFees,
    /// Sums over closed cycles.
    pub totals: Totals,
    /// Why no new buys are made.
    pub alarms: BTreeMap<AlarmCause, String>,
    /// The time of the latest record.
    pub time: Timestamp,
    /// Up to when a process was there to see what happened. What came later is known only by asking.
    pub watched: Timestamp,
    /// Whether the process that writes has reconciled: each of its records then moves `watched`.
    pub watching: bool,
    /// Whether the last process ended as asked, so that nothing it did is missing here.
    pub ended: bool,
}

/// Quantity and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Held, in base coin, net of fees taken in it.
    pub quantity: Decimal,
    /// Quote coin that left the account for it.
    pub cost: Decimal,
    /// When the first of it came that has not been offered yet.
    pub since: Option<Timestamp>,
}

/// Fee rates as fractions, as fills have shown them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservedFees {
    /// Of the last sell whose fee was taken in quote coin.
    pub sell: Option<Decimal>,
    /// Of the last buy whose fee was taken in base coin.
    pub buy: Option<Decimal>,
}

/// Sums over closed cycles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// How many were closed.
    pub cycles: u64,
    /// Net proceeds less cost, in quote coin.
    pub profit: Decimal,
    /// Fees by coin, over all cycles, the open one included.
    pub fees: BTreeMap<String, Decimal>,
    /// How many executions were booked.
    pub executions: u64,
    /// Base coin that was held and is gone without a sale that is known.
    #[serde(default)]
    pub written_off: Decimal,
}

/// One cycle, from its first buy until nothing is held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycle {
    /// Its number.
    pub number: u64,
    /// When it began.
    pub opened: Timestamp,
    /// What is held and not offered, by the level that bought it.
    #[serde(with = "pairs")]
    pub lots: BTreeMap<u8, Lot>,
    /// Every order of the cycle.
    pub orders: BTreeMap<OrderKey, Order>,
    /// Why it is to be closed at market.
    pub exit: Option<ExitCause>,
    /// Net proceeds of settled sells less the cost of what they sold, in quote coin.
    pub profit: Decimal,
    /// When a buy was last settled with fills.
    pub bought: Option<Timestamp>,
    /// When a sell was last settled with fills.
    pub sold: Option<Timestamp>,
}

/// One order as the ledger believes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What it asks for.
    pub spec: OrderSpec,
    /// Where it stands.
    pub state: OrderState,
    /// The exchange's name of it, once known.
    pub order_id: Option<String>,
    /// Why it exists; `None` for an adopted one.
    pub reason: Option<Reason>,
    /// When it was planned.
    pub planned: Timestamp,
    /// Whether the exchange refused it because an order of its name was there before.
    #[serde(default)]
    pub name_taken: bool,
    /// When a cancel was last asked for.
    pub cancel_asked: Option<Timestamp>,
    /// Whether somebody amended it: then only the exchange knows when it is full.
    pub amended: bool,
    /// Booked, in base coin.
    pub executed_quantity: Decimal,
    /// Booked, in quote coin.
    pub executed_value: Decimal,
    /// Booked executions less fees in quote coin: what a sell brought.
    pub proceeds: Decimal,
    /// When the last execution was booked.
    pub last_execution: Option<Timestamp>,
    /// For sells: what was offered.
    pub offered: Lot,
    /// The level to which an unsold rest returns.
    pub home: u8,
    /// Names of the booked executions; dropped when the order is settled.
    pub exec_ids: BTreeSet<String>,
    /// How many attempts of this slot were refused in a row before this one.
    pub refused_before: u32,
}

/// Where an order stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// About to be sent, or sent without an answer: its fate is unknown.
    Planned,
    /// Taken by the exchange and not known to be closed.
    Open,
    /// Closed on the exchange; executions are still missing.
    Closed {
        /// How it ended.
        status: OrderStatus,
        /// What must be booked before it is settled, in base coin.
        executed_quantity: Decimal,
    },
    /// Nothing more can come.
    Settled {
        /// How it ended.
        end: End,
        /// When.
        at: Timestamp,
    },
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Filled in full.
    Filled,
    /// Cancelled, perhaps after fills.
    Cancelled,
    /// Refused, at once or later.
    Refused(Refusal),
    /// Never arrived: the name is free.
    Absent,
}

/// A fact that contradicts those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction(pub String);

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Contradiction {}

impl Lot {
    fn add(&mut self, quantity: Decimal, cost: Decimal, since: Option<Timestamp>) {
        // Sums of products collect zeros behind the point, and 28 digits are all there is.
        self.quantity = (self.quantity + quantity).normalize();
        self.cost = (self.cost + cost).normalize();
        self.since = [self.since, since].into_iter().flatten().min();
    }

    /// The part of its cost that goes with selling `quantity` of it: all of it with the last whole step, for what
    /// remains then is dust, which has no cost.
    pub fn cost_of_part(&self, quantity: Decimal, instrument: &Instrument) -> Decimal {
        let sellable = instrument.quantity_down(self.quantity);
        if quantity >= sellable {
            return self.cost;
        }
        let share = self.cost.checked_mul(quantity).and_then(|product| product.checked_div(sellable));
        share.map_or(Decimal::ZERO, |share| share.trunc_with_scale(COST_SCALE).normalize())
    }
}

impl Order {
    fn new(spec: OrderSpec, state: OrderState, reason: Option<Reason>, planned: Timestamp) -> Self {
        Self {
            spec,
            state,
            order_id: None,
            reason,
            planned,
            name_taken: false,
            cancel_asked: None,
            amended: false,
            executed_quantity: Decimal::ZERO,
            executed_value: Decimal::ZERO,
            proceeds: Decimal::ZERO,
            last_execution: None,
            offered: Lot::default(),
            home: 0,
            exec_ids: BTreeSet::new(),
            refused_before: 0,
        }
    }

    /// Whether it may still change: planned, open, or closed with executions missing.
    pub fn is_live(&self) -> bool {
        !matches!(self.state, OrderState::Settled { .. })
    }

    /// Whether it may have been placed long before it was planned: its name was taken, or it was found on the exchange.
    pub fn was_placed_unseen(&self) -> bool {
        self.name_taken || self.reason.is_none()
    }

    /// Whether its fate is unknown.
    pub fn is_unknown(&self) -> bool {
        self.state == OrderState::Planned
    }

    /// Whether a cancel makes sense: it is known to be open, and none has been asked for.
    pub fn is_cancellable(&self) -> bool {
        self.state == OrderState::Open && self.cancel_asked.is_none()
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        match self.state {
            OrderState::Settled { end, .. } => Some(end),
            _ => None,
        }
    }

    /// Whether the exchange refused it when it was sent, and so never took it, unless the name was taken already.
    pub fn was_refused_at_once(&self) -> bool {
        matches!(self.end(), Some(End::Refused(_))) && self.order_id.is_none()
    }

    /// Whether every bit of it was executed and booked.
    pub fn is_filled(&self) -> bool {
        self.end() == Some(End::Filled)
    }

    /// How many attempts of its slot have been refused in a row, this one included.
    pub fn refused_in_a_row(&self) -> u32 {
        match self.end() {
            Some(End::Refused(_)) => self.refused_before.saturating_add(1),
            _ => 0,
        }
    }

    /// What is left of its quantity, in base coin; zero for orders sized in quote coin.
    pub fn leaves_quantity(&self) -> Decimal {
        self.spec.quantity().map_or(Decimal::ZERO, |quantity| (quantity - self.executed_quantity).max(Decimal::ZERO))
    }

    /// The most quote coin that the rest of a live buy can still cost.
    pub fn leaves_notional(&self) -> Decimal {
        match self.spec {
            _ if !self.is_live() => Decimal::ZERO,
            OrderSpec::Limit { side: Side::Buy, price, .. } => price * self.leaves_quantity(),
            OrderSpec::MarketBuy { amount } => (amount - self.executed_value).max(Decimal::ZERO),
            OrderSpec::Limit { .. } | OrderSpec::MarketSell { .. } => Decimal::ZERO,
        }
    }

    /// The cost of what a sell has sold so far: the offered cost in proportion, all of it once all is sold.
    pub fn cost_of_sold(&self) -> Decimal {
        if self.executed_quantity.is_zero() {
            return Decimal::ZERO;
        }
        if self.executed_quantity >= self.offered.quantity {
            return self.offered.cost;
        }
        let share = self
            .offered
            .cost
            .checked_mul(self.executed_quantity)
            .and_then(|product| product.checked_div(self.offered.quantity));
        share.map_or(Decimal::ZERO, |share| share.trunc_with_scale(COST_SCALE).normalize())
    }
}

impl Cycle {
    fn new(number: u64, opened: Timestamp, carry: Lot) -> Self {
        let since = (carry.cost > Decimal::ZERO).then_some(opened);
        Self {
            number,
            opened,
            lots: BTreeMap::from([(0, Lot { since, ..carry })]),
            orders: BTreeMap::new(),
            exit: None,
            profit: Decimal::ZERO,
            bought: None,
            sold: None,
        }
    }

    /// The orders of one slot, oldest attempt first.
    pub fn attempts(&self, slot: Slot) -> impl DoubleEndedIterator<Item = (&OrderKey, &Order)> {
        let key = |attempt| OrderKey { cycle: self.number, slot, attempt };
        self.orders.range(key(0)..=key(u32::MAX))
    }

    /// The latest order of a slot.
    pub fn latest(&self, slot: Slot) -> Option<(OrderKey, &Order)> {
        let last = OrderKey { cycle: self.number, slot, attempt: u32::MAX };
        let (key, order) = self.orders.range(..=last).next_back()?;
        (key.slot == slot).then_some((*key, order))
    }

    /// The live order of a slot.
    pub fn live(&self, slot: Slot) -> Option<(OrderKey, &Order)> {
        self.latest(slot).filter(|(_, order)| order.is_live())
    }

    /// Every live order.
    pub fn live_orders(&self) -> impl Iterator<Item = (OrderKey, &Order)> {
        self.orders.iter().filter(|(_, order)| order.is_live()).map(|(key, order)| (*key, order))
    }

    /// The name of the next order of a slot: the first attempt, the same again if that never arrived, else the next.
    pub fn next_key(&self, slot: Slot) -> OrderKey {
        let attempt = match self.latest(slot) {
            None => 1,
            Some((key, order)) if order.end() == Some(End::Absent) => key.attempt,
            Some((key, _)) => key.attempt + 1,
        };
        OrderKey { cycle: self.number, slot, attempt }
    }

    /// Drops what no rule needs any more: a level that is bought and sold a thousand times keeps one order a side.
    /// The base order's executions stay, for they make the price that the ladder hangs from; so do the last refusals, which
    /// the exchange may yet belie.
    fn forget_attempts_before(&mut self, key: OrderKey) {
        self.orders.retain(|earlier, order| {
            let refusal = order.was_refused_at_once()
                && (key.attempt.saturating_sub(KEPT_REFUSALS)..key.attempt).contains(&earlier.attempt);
            earlier.slot != key.slot || refusal || (key.slot == Slot::Buy(0) && order.executed_quantity > Decimal::ZERO)
        });
    }

    /// Everything held: lots and what live sells offer, less what those have sold.
    pub fn held(&self) -> Lot {
        let mut held = Lot::default();
        for lot in self.lots.values() {
            held.quantity += lot.quantity;
            held.cost += lot.cost;
            held.since = [held.since, lot.since].into_iter().flatten().min();
        }
        for (_, order) in self.live_orders().filter(|(key, _)| key.slot.side() == Side::Sell) {
            held.quantity += order.offered.quantity - order.executed_quantity.min(order.offered.quantity);
            held.cost += order.offered.cost - order.cost_of_sold();
        }
        Lot { quantity: held.quantity.normalize(), cost: held.cost.normalize(), since: held.since }
    }

    /// Quote coin bound: the cost of what is held, and the most that live buys can still cost.
    pub fn committed(&self) -> Decimal {
        self.live_orders().fold(self.held().cost, |sum, (_, order)| sum + order.leaves_notional())
    }

    /// The average price of the base order, once it is settled with fills.
    pub fn base_price(&self) -> Option<Decimal> {
        let (mut quantity, mut value) = (Decimal::ZERO, Decimal::ZERO);
        for (_, order) in self.attempts(Slot::Buy(0)) {
            if order.is_live() {
                return None;
            }
            quantity += order.executed_quantity;
            value += order.executed_value;
        }
        value.checked_div(quantity)
    }

    /// Takes coins that are gone from the lots, the deepest level first. Their cost is lost.
    fn write_off(&mut self, quantity: Decimal) -> Result<(), Contradiction> {
        let mut left = quantity;
        for lot in self.lots.values_mut().rev() {
            let part = left.min(lot.quantity).max(Decimal::ZERO);
            let share = lot.cost.checked_mul(part).and_then(|product| product.checked_div(lot.quantity));
            let whole = part == lot.quantity;
            let cost = if whole { lot.cost } else { share.unwrap_or_default().trunc_with_scale(COST_SCALE) };
            lot.quantity = (lot.quantity - part).normalize();
            lot.cost = (lot.cost - cost).normalize();
            self.profit = (self.profit - cost).normalize();
            left -= part;
        }
        if left.is_zero() {
            return Ok(());
        }
        contradiction(format!("{} more is missing than is held and not offered", money::text(left)))
    }

    /// Whether the take profit that ends the cycle has been filled: the base lot's, or everything's.
    pub fn is_ending(&self) -> bool {
        self.latest(Slot::Sell(0)).is_some_and(|(_, order)| order.is_filled())
    }
}

impl Ledger {
    /// The order of this name, if it belongs to the open cycle.
    pub fn order(&self, key: OrderKey) -> Option<&Order> {
        self.cycle.as_ref()?.orders.get(&key)
    }

    /// Why no new buys are made, if they are not.
    pub fn alarm(&self) -> Option<String> {
        let messages: Vec<&str> = self.alarms.values().map(String::as_str).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    }

    /// Whether nothing of trading is in it: no cycle, now or before.
    pub fn is_blank(&self) -> bool {
        self.last_cycle == 0 && self.cycle.is_none()
    }

    /// The fee rate to expect of the next sell: what sells have shown, else what buys have, else the assumed one.
    pub fn sell_fee_rate(&self, assumed: Decimal) -> Decimal {
        self.fees.sell.or(self.fees.buy).unwrap_or(assumed)
    }

    /// Takes one fact.
    ///
    /// # Errors
    /// [`Contradiction`] if it cannot be true after those before it; the ledger is then not to be used any more.
    pub fn apply(&mut self, time: Timestamp, record: &Record) -> Result<(), Contradiction> {
        self.time = self.time.max(time);
        match record {
            Record::Journal { .. } | Record::Stopped { .. } => {}
            Record::Started { .. } => self.watching = false,
            Record::Reconciled => self.watching = true,
            Record::InstrumentSeen { instrument } => self.instrument = Some(instrument.clone()),
            Record::CycleOpened { cycle, began } => self.open_cycle(*began, *cycle)?,
            Record::OrderPlanned { key, spec, offer, reason } => {
                let order = Order::new(spec.clone(), OrderState::Planned, Some(reason.clone()), time);
                self.take_on(*key, order, offer.as_ref())?;
            }
            Record::OrderAdopted { key, order_id, spec, offer } => {
                let mut order = Order::new(spec.clone(), OrderState::Open, None, time);
                order.order_id = Some(order_id.clone());
                self.take_on(*key, order, offer.as_ref())?;
            }
            Record::OrderAccepted { key, order_id } => {
                let order = self.live_order(*key, "accepted")?;
                order.order_id = Some(order_id.clone());
                if order.state == OrderState::Planned {
                    order.state = OrderState::Open;
                }
            }
            Record::NameTaken { key } => self.live_order(*key, "refused as a duplicate")?.name_taken = true,
            Record::OrderAmended { key, spec } => self.amend(time, *key, spec)?,
            Record::CancelAsked { key } => self.live_order(*key, "cancelled")?.cancel_asked = Some(time),
            Record::CancelFailed { key } => self.live_order(*key, "not cancelled")?.cancel_asked = None,
            Record::OrderRefused { key, refusal, .. } => self.settle_unexecuted(time, *key, End::Refused(*refusal))?,
            Record::OrderAbsent { key } => self.settle_unexecuted(time, *key, End::Absent)?,
            Record::OrderClosed { key, status, executed_quantity, maker_only_refused, .. } => {
                self.close(time, *key, *status, *executed_quantity, *maker_only_refused)?;
            }
            Record::Executed { key, execution } => self.book(time, *key, execution)?,
            Record::ExitDecided { cause } => self.open_cycle_mut("exit decided")?.exit = Some(cause.clone()),
            Record::CycleClosed { cycle, profit } => self.close_cycle(time, *cycle, *profit)?,
            Record::CoinsMissing { quantity, .. } => {
                self.open_cycle_mut("coins missing")?.write_off(*quantity)?;
                self.totals.written_off = (self.totals.written_off + *quantity).normalize();
            }
            Record::Alarmed { cause, message } => drop(self.alarms.insert(*cause, message.clone())),
            Record::AlarmCleared { cause } => drop(self.alarms.remove(cause)),
            Record::Snapshot { ledger } => *self = (**ledger).clone(),
        }
        if self.watching {
            self.watched = self.time;
        }
        if !matches!(record, Record::Started { .. } | Record::InstrumentSeen { .. } | Record::Snapshot { .. }) {
            // A process that ended before it had looked at the exchange leaves whatever the one before it left.
            self.ended = matches!(record, Record::Stopped { .. }) && (self.watching || self.ended);
        }
        Ok(())
    }

    fn open_cycle(&mut self, began: Timestamp, number: u64) -> Result<(), Contradiction> {
        if let Some(cycle) = &self.cycle {
            return contradiction(format!("cycle {number} opened while cycle {} is open", cycle.number));
        }
        if number <= self.last_cycle {
            return contradiction(format!("cycle {number} opened after cycle {}", self.last_cycle));
        }
        self.last_cycle = number;
        self.cycle = Some(Cycle::new(number, began, std::mem::take(&mut self.carry)));
        Ok(())
    }

    fn open_cycle_mut(&mut self, what: &str) -> Result<&mut Cycle, Contradiction> {
        self.cycle.as_mut().ok_or_else(|| Contradiction(format!("{what} while no cycle is open")))
    }

    fn live_order(&mut self, key: OrderKey, what: &str) -> Result<&mut Order, Contradiction> {
        let order = self.cycle.as_mut().and_then(|cycle| cycle.orders.get_mut(&key));
        match order {
            Some(order) if order.is_live() => Ok(order),
            Some(_) => contradiction(format!("order {key} {what} after it was settled")),
            None => contradiction(format!("order {key} {what}, but never planned")),
        }
    }

    /// A planned or adopted order takes its slot, and a sell takes what it offers from the lots.
    fn take_on(&mut self, key: OrderKey, mut order: Order, offer: Option<&Offer>) -> Result<(), Contradiction> {
        let Self { instrument, cycle, .. } = self;
        let Some(cycle) = cycle else {
            return contradiction(format!("order {key} planned while no cycle is open"));
        };
        if key.cycle != cycle.number {
            return contradiction(format!("order {key} planned in cycle {}", cycle.number));
        }
        if let Some((other, _)) = cycle.live(key.slot) {
            return contradiction(format!("order {key} planned while {other} is live in the same slot"));
        }
        // A refusal may have hidden that the name was taken: then the order is found, but it is never sent again.
        let free = |earlier: &Order| {
            earlier.end() == Some(End::Absent) || (order.reason.is_none() && earlier.was_refused_at_once())
        };
        if cycle.orders.get(&key).is_some_and(|earlier| !free(earlier)) {
            return contradiction(format!("order {key} planned a second time"));
        }
        if key.slot.side() != order.spec.side() {
            return contradiction(format!("order {key} has the wrong side"));
        }
        if let (Some(offer), Some(quantity)) = (offer, order.spec.quantity()) {
            let mut taken = Lot::default();
            for level in &offer.levels {
                let lot = cycle.lots.remove(level).unwrap_or_default();
                taken.add(lot.quantity, lot.cost, lot.since);
            }
            if quantity > taken.quantity || offer.cost > taken.cost {
                return contradiction(format!(
                    "order {key} offers {} at a cost of {}, but only {} at {} is held",
                    money::text(quantity),
                    money::text(offer.cost),
                    money::text(taken.quantity),
                    money::text(taken.cost)
                ));
            }
            order.home = offer.levels.first().copied().unwrap_or(0);
            let left = taken.quantity - quantity;
            // Dust waits for nothing; what could be sold waits for its own offer.
            let sellable = instrument.as_ref().is_some_and(|instrument| !instrument.quantity_down(left).is_zero());
            let since = taken.since.filter(|_| sellable);
            let rest = Lot { quantity: left, cost: taken.cost - offer.cost, since };
            cycle.lots.insert(order.home, rest);
            order.offered = Lot { quantity, cost: offer.cost, since: taken.since };
        }
        order.refused_before = cycle.latest(key.slot).map_or(0, |(_, earlier)| earlier.refused_in_a_row());
        cycle.forget_attempts_before(key);
        cycle.orders.insert(key, order);
        Ok(())
    }

    /// Somebody gave the order other numbers. What a sell then no longer offers comes back to the lots.
    fn amend(&mut self, time: Timestamp, key: OrderKey, spec: &OrderSpec) -> Result<(), Contradiction> {
        let order = self.live_order(key, "amended")?;
        order.spec = spec.clone();
        order.amended = true;
        let Some(quantity) = spec.quantity().filter(|quantity| *quantity < order.offered.quantity) else {
            return Ok(());
        };
        let whole = order.offered.clone();
        let cost = whole.cost.checked_mul(quantity).and_then(|product| product.checked_div(whole.quantity));
        let cost = cost.unwrap_or_default().trunc_with_scale(COST_SCALE).normalize();
        order.offered = Lot { quantity, cost, since: whole.since };
        let home = order.home;
        let lots = &mut self.open_cycle_mut("amended")?.lots;
        lots.entry(home).or_default().add(whole.quantity - quantity, whole.cost - cost, Some(time));
        Ok(())
    }

    fn settle_unexecuted(&mut self, time: Timestamp, key: OrderKey, end: End) -> Result<(), Contradiction> {
        let order = self.live_order(key, "refused")?;
        if order.executed_quantity > Decimal::ZERO {
            return contradiction(format!("order {key} was refused, but has executions"));
        }
        self.settle(time, key, end)
    }

    fn close(
        &mut self,
        time: Timestamp,
        key: OrderKey,
        status: OrderStatus,
        executed_quantity: Decimal,
        maker_only_refused: bool,
    ) -> Result<(), Contradiction> {
        let order = self.live_order(key, "closed")?;
        if order.executed_quantity >= executed_quantity {
            let end = end_of(status, maker_only_refused && executed_quantity.is_zero());
            return self.settle(time, key, end);
        }
        order.state = OrderState::Closed { status, executed_quantity };
        Ok(())
    }

    fn book(&mut self, time: Timestamp, key: OrderKey, execution: &Execution) -> Result<(), Contradiction> {
        let (base_coin, quote_coin) = match &self.instrument {
            Some(instrument) => (instrument.base_coin.as_str(), instrument.quote_coin.as_str()),
            None => return contradiction(format!("order {key} executed before an instrument was seen")),
        };
        let fee = |coin: &str| if execution.fee_coin == coin { execution.fee } else { Decimal::ZERO };
        let (base_fee, quote_fee) = (fee(base_coin), fee(quote_coin));
        let order = self.live_order(key, "executed")?;
        if order.spec.side() != execution.side {
            return contradiction(format!("order {key} was executed on the other side"));
        }
        if !order.exec_ids.insert(execution.exec_id.clone()) {
            return contradiction(format!("execution {} of order {key} booked twice", execution.exec_id));
        }
        order.executed_quantity += execution.quantity;
        order.executed_value += execution.value;
        order.last_execution = Some(time);
        if order.state == OrderState::Planned {
            order.state = OrderState::Open;
        }
        let home = order.home;
        let settled = order.settled_by_executions();
        match execution.side {
            Side::Buy => {
                let level = match key.slot {
                    Slot::Buy(level) | Slot::Sell(level) => level,
                    Slot::Exit => home,
                };
                let lot = self.open_cycle_mut("executed")?.lots.entry(level).or_default();
                lot.add(execution.quantity - base_fee, execution.value + quote_fee, Some(time));
            }
            Side::Sell => {
                order.proceeds += execution.value - quote_fee;
                // A sell's fee in base coin is rare (it takes from what is left), but coins are coins.
                self.open_cycle_mut("executed")?.lots.entry(home).or_default().quantity -= base_fee;
            }
        }
        self.fees.observe(execution, base_fee, quote_fee);
        *self.totals.fees.entry(execution.fee_coin.clone()).or_default() += execution.fee;
        self.totals.executions += 1;
        match settled {
            Some(end) => self.settle(time, key, end),
            None => Ok(()),
        }
    }

    fn settle(&mut self, time: Timestamp, key: OrderKey, end: End) -> Result<(), Contradiction> {
        let order = self.live_order(key, "settled")?;
        order.state = OrderState::Settled { end, at: time };
        order.exec_ids = BTreeSet::new();
        let executed = order.executed_quantity > Decimal::ZERO;
        let sold_cost = order.cost_of_sold();
        let rest = order.offered.quantity - order.executed_quantity;
        let (proceeds, home, since, cost_rest) =
            (order.proceeds, order.home, order.offered.since, order.offered.cost - sold_cost);
        let cycle = self.open_cycle_mut("settled")?;
        match key.slot.side() {
            Side::Buy if executed => cycle.bought = Some(time),
            Side::Buy => {}
            Side::Sell => {
                if executed {
                    cycle.profit = (cycle.profit + proceeds - sold_cost).normalize();
                    cycle.sold = Some(time);
                }
                if !rest.is_zero() {
                    let since = since.or(Some(time));
                    cycle.lots.entry(home).or_default().add(rest, cost_rest, since);
                }
            }
        }
        Ok(())
    }

    fn close_cycle(&mut self, time: Timestamp, number: u64, profit: Decimal) -> Result<(), Contradiction> {
        let Some(cycle) = self.cycle.take().filter(|cycle| cycle.number == number) else {
            return contradiction(format!("cycle {number} closed, but it is not the open one"));
        };
        if let Some((key, _)) = cycle.live_orders().next() {
            return contradiction(format!("cycle {number} closed while order {key} is live"));
        }
        if cycle.profit != profit {
            return contradiction(format!(
                "cycle {number} closed with a profit of {}, but its orders add up to {}",
                money::text(profit),
                money::text(cycle.profit)
            ));
        }
        self.carry = Lot { since: None, ..cycle.held() };
        self.last_end = Some(cycle.sold.unwrap_or(time));
        self.totals.cycles += 1;
        self.totals.profit += profit;
        Ok(())
    }
}

impl Order {
    /// How it ends if the executions that are booked are all there can be.
    fn settled_by_executions(&self) -> Option<End> {
        match self.state {
            OrderState::Closed { status, executed_quantity } if self.executed_quantity >= executed_quantity => {
                Some(end_of(status, false))
            }
            OrderState::Open if !self.amended => {
                self.spec.quantity().filter(|quantity| self.executed_quantity >= *quantity).map(|_| End::Filled)
            }
            _ => None,
        }
    }
}

impl ObservedFees {
    fn observe(&mut self, execution: &Execution, base_fee: Decimal, quote_fee: Decimal) {
        // Six decimals hold every fee rate there is; finer digits are the rounding of a small fill's fee.
        let rate = |fee: Decimal, of: Decimal| fee.checked_div(of).map(|rate| rate.round_dp(6));
        match execution.side {
            Side::Sell if !quote_fee.is_zero() => self.sell = rate(quote_fee, execution.value).or(self.sell),
            Side::Buy if !base_fee.is_zero() => self.buy = rate(base_fee, execution.quantity).or(self.buy),
            Side::Sell | Side::Buy => {}
        }
    }
}

fn end_of(status: OrderStatus, maker_only_refused: bool) -> End {
    match status {
        OrderStatus::Filled => End::Filled,
        _ if maker_only_refused => End::Refused(Refusal::MakerOnly),
        OrderStatus::Rejected => End::Refused(Refusal::Other),
        OrderStatus::Cancelled | OrderStatus::Open => End::Cancelled,
    }
}

/// Lots as a list of pairs: JSON's keys are texts, a level is a number.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::Lot;

    pub(super) fn serialize<S: Serializer>(lots: &BTreeMap<u8, Lot>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(lots)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<u8, Lot>, D::Error> {
        Vec::<(u8, Lot)>::deserialize(deserializer).map(|pairs| pairs.into_iter().collect())
    }
}

fn contradiction<T>(message: String) -> Result<T, Contradiction> {
    Err(Contradiction(message))
}
