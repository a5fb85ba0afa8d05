//! A cycle as the ledger knows it: the lots it holds, its orders, and what is kept of it after it is closed.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::super::instrument::Instrument;
use super::super::money::{self, Decimal};
use super::super::order::{Execution, OrderKey, OrderSpec, OrderStatus, Side, Slot};
use super::super::record::{ExitCause, Reason, Refusal};
use super::super::time::Timestamp;
use super::{Contradiction, contradiction, difference, sum};

/// The cost of a part is cut to this many decimals; the rest of the lot keeps the rounding.
pub(super) const COST_SCALE: u32 = 12;

/// How many refused attempts of a slot are kept.
const KEPT_REFUSALS: u32 = 4;

/// Quantity and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lot {
    /// Held, in base coin, net of fees taken in it.
    pub quantity: Decimal,
    /// Quote coin that left the account for it.
    pub cost: Decimal,
    /// When the oldest part that has not been offered yet was bought.
    pub since: Option<Timestamp>,
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
    /// Why it is being closed at market, if it is.
    pub exit: Option<ExitCause>,
    /// Net proceeds of settled sells less the cost of what they sold, in quote coin.
    pub profit: Decimal,
    /// When a buy was last settled with fills.
    pub bought: Option<Timestamp>,
    /// When a sell was last settled with fills.
    pub sold: Option<Timestamp>,
}

/// What is kept of the last closed cycle: enough to tell a new fill from a booked one. A power cut can lose the record of
/// an order in flight, which may then be filled after its cycle has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedCycle {
    /// Its number.
    number: u64,
    /// When it began.
    pub(in crate::core) opened: Timestamp,
    /// Its orders at its end, and whether everything is known of each: those that were accepted, and of which the exchange told
    /// how they ended. Their fills and those of all earlier attempts are booked.
    orders: BTreeMap<OrderKey, bool>,
    /// Ids of the executions that were booked after its end.
    late: BTreeSet<String>,
}

/// One order as the ledger knows it.
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
    /// Whether the exchange refused it because its name was already used.
    #[serde(default)]
    pub name_taken: bool,
    /// When a cancel was last asked for.
    pub cancel_asked: Option<Timestamp>,
    /// Whether somebody amended it. Then only the exchange knows when it is filled.
    pub amended: bool,
    /// Booked, in base coin.
    pub executed_quantity: Decimal,
    /// Booked, in quote coin.
    pub executed_value: Decimal,
    /// The booked value less fees in quote coin: what a sell brought.
    pub proceeds: Decimal,
    /// When the last execution was booked.
    pub last_execution: Option<Timestamp>,
    /// For sells: what was offered.
    pub offered: Lot,
    /// The level that what was not sold returns to.
    pub home: u8,
    /// Whether it was settled because the exchange no longer told of it: executions may still turn up.
    #[serde(default)]
    pub untold: bool,
    /// Ids of the booked executions; dropped when the order is settled and nothing more can come.
    pub exec_ids: BTreeSet<String>,
    /// How many attempts of this slot were refused in a row before this one.
    pub refused_before: u32,
    /// How many never arrived in a row before this one.
    #[serde(default)]
    pub absent_before: u32,
    /// How often a cancel was asked for in vain, and when that was last known.
    #[serde(default)]
    pub failed_cancels: Option<(u32, Timestamp)>,
}

/// Where an order stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// About to be sent, or sent without an answer: its fate is unknown.
    Planned,
    /// Accepted by the exchange and not known to be closed.
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

impl Lot {
    pub(super) fn add(&mut self, other: &Self) -> Result<(), Contradiction> {
        // Sums of products collect zeros behind the point, and 28 digits are all there is.
        self.quantity = sum(self.quantity, other.quantity)?.normalize();
        self.cost = sum(self.cost, other.cost)?.normalize();
        self.since = [self.since, other.since].into_iter().flatten().min();
        Ok(())
    }

    /// All of these together.
    pub(in crate::core) fn total<'l>(lots: impl IntoIterator<Item = &'l Self>) -> Self {
        lots.into_iter().fold(Self::default(), |total, lot| Self {
            quantity: total.quantity.saturating_add(lot.quantity),
            cost: total.cost.saturating_add(lot.cost),
            since: [total.since, lot.since].into_iter().flatten().min(),
        })
    }

    /// The part of its cost that goes with selling `quantity` of it. The last whole step takes all of it: what remains is
    /// dust, which has no cost.
    pub fn cost_of_part(&self, quantity: Decimal, instrument: &Instrument) -> Decimal {
        let sellable = instrument.quantity_down(self.quantity);
        if quantity >= sellable {
            return self.cost;
        }
        money::share(self.cost, quantity, sellable, COST_SCALE)
    }
}

impl Order {
    pub(super) fn new(spec: OrderSpec, state: OrderState, reason: Option<Reason>, planned: Timestamp) -> Self {
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
            untold: false,
            exec_ids: BTreeSet::new(),
            refused_before: 0,
            absent_before: 0,
            failed_cancels: None,
        }
    }

    /// Adds an execution to what is booked of it.
    pub(super) fn note(&mut self, time: Timestamp, key: OrderKey, execution: &Execution) -> Result<(), Contradiction> {
        if self.spec.side() != execution.side {
            return contradiction(format!("order {key} was executed on the other side"));
        }
        if !self.exec_ids.insert(execution.exec_id.clone()) {
            return contradiction(format!("execution {} of order {key} booked twice", execution.exec_id));
        }
        self.executed_quantity = sum(self.executed_quantity, execution.quantity)?;
        self.executed_value = sum(self.executed_value, execution.value)?;
        self.last_execution = Some(time);
        Ok(())
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

    /// Whether the exchange refused it when it was submitted. It never existed then, unless its name was already used.
    pub fn was_refused_at_once(&self) -> bool {
        matches!(self.end(), Some(End::Refused(_))) && self.order_id.is_none()
    }

    /// Whether it was filled in full, and every fill is booked.
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

    /// How many attempts of its slot never arrived in a row, this one included.
    pub fn absent_in_a_row(&self) -> u32 {
        if self.end() == Some(End::Absent) { self.absent_before.saturating_add(1) } else { 0 }
    }

    /// What is left of its quantity, in base coin; zero for orders sized in quote coin.
    pub fn leaves_quantity(&self) -> Decimal {
        self.spec.quantity().unwrap_or_default().saturating_sub(self.executed_quantity).max(Decimal::ZERO)
    }

    /// The most quote coin that the rest of a live buy can still cost.
    pub fn leaves_notional(&self) -> Decimal {
        match self.spec {
            _ if !self.is_live() => Decimal::ZERO,
            OrderSpec::Limit { side: Side::Buy, price, .. } => price.saturating_mul(self.leaves_quantity()),
            OrderSpec::MarketBuy { amount } => amount.saturating_sub(self.executed_value).max(Decimal::ZERO),
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
        money::share(self.offered.cost, self.executed_quantity, self.offered.quantity, COST_SCALE)
    }

    /// How it ended, if the booked executions complete it.
    pub(super) fn settled_by_executions(&self) -> Option<End> {
        match self.state {
            OrderState::Closed { status, executed_quantity } if self.executed_quantity >= executed_quantity => {
                Some(end_of(status, None))
            }
            OrderState::Open if !self.amended => {
                self.spec.quantity().filter(|quantity| self.executed_quantity >= *quantity).map(|_| End::Filled)
            }
            _ => None,
        }
    }
}

impl Cycle {
    pub(super) fn new(number: u64, opened: Timestamp, carry: Lot) -> Self {
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

    /// The key of a slot's next order: attempt 1, the same attempt again if it never arrived, else the next one.
    pub fn next_key(&self, slot: Slot) -> OrderKey {
        let attempt = match self.latest(slot) {
            None => 1,
            Some((key, order)) if order.end() == Some(End::Absent) => key.attempt,
            Some((key, _)) => key.attempt.saturating_add(1),
        };
        OrderKey { cycle: self.number, slot, attempt }
    }

    /// Drops earlier attempts that no rule needs, so that a level traded a thousand times keeps one order a side. Base orders
    /// with fills stay, because their price is where the ladder begins. So do the last refusals, because such an order may
    /// still turn up on the exchange.
    pub(super) fn forget_attempts_before(&mut self, key: OrderKey) {
        self.orders.retain(|earlier, order| {
            let refusal = order.was_refused_at_once()
                && (key.attempt.saturating_sub(KEPT_REFUSALS)..key.attempt).contains(&earlier.attempt);
            earlier.slot != key.slot
                || refusal
                || order.untold
                || (key.slot == Slot::Buy(0) && order.executed_quantity > Decimal::ZERO)
        });
    }

    /// Everything held: the lots, and what live sells offer and have not sold.
    pub fn held(&self) -> Lot {
        let Lot { mut quantity, mut cost, since } = Lot::total(self.lots.values());
        for (_, order) in self.live_orders().filter(|(key, _)| key.slot.side() == Side::Sell) {
            let Lot { quantity: offered, cost: offered_cost, .. } = order.offered;
            quantity = quantity.saturating_add(offered.saturating_sub(order.executed_quantity.min(offered)));
            cost = cost.saturating_add(offered_cost.saturating_sub(order.cost_of_sold()));
        }
        Lot { quantity: quantity.normalize(), cost: cost.normalize(), since }
    }

    /// Committed quote coin: the cost of what is held, and the most that live buys can still cost.
    pub fn committed(&self) -> Decimal {
        self.live_orders().fold(self.held().cost, |sum, (_, order)| sum.saturating_add(order.leaves_notional()))
    }

    /// The average price of the base order, once it is settled with fills. A price too high to hold counts as the highest
    /// there is: without a price another base order would be bought.
    pub fn base_price(&self) -> Option<Decimal> {
        let (mut quantity, mut value) = (Decimal::ZERO, Decimal::ZERO);
        for (_, order) in self.attempts(Slot::Buy(0)) {
            if order.is_live() {
                return None;
            }
            quantity = quantity.saturating_add(order.executed_quantity);
            value = value.saturating_add(order.executed_value);
        }
        (!quantity.is_zero()).then(|| value.checked_div(quantity).unwrap_or(Decimal::MAX))
    }

    /// Removes coins that are gone from the lots, deepest level first. Their cost, which it gives back, is a loss, unless they
    /// brought something.
    pub(super) fn take_out(&mut self, quantity: Decimal, proceeds: Decimal) -> Result<Decimal, Contradiction> {
        let (mut left, mut lost) = (quantity, Decimal::ZERO);
        self.profit = sum(self.profit, proceeds)?.normalize();
        for lot in self.lots.values_mut().rev() {
            let part = left.min(lot.quantity).max(Decimal::ZERO);
            let whole = part == lot.quantity;
            let cost = if whole { lot.cost } else { money::share(lot.cost, part, lot.quantity, COST_SCALE) };
            lot.quantity = difference(lot.quantity, part)?.normalize();
            lot.cost = difference(lot.cost, cost)?.normalize();
            self.profit = difference(self.profit, cost)?.normalize();
            left = difference(left, part)?;
            lost = sum(lost, cost)?;
        }
        if left.is_zero() {
            return Ok(lost);
        }
        contradiction(format!("{} more is missing than is held and not offered", money::text(left)))
    }

    /// Whether the take profit that ends the cycle is filled: that of the base lot, or of everything.
    pub fn is_ending(&self) -> bool {
        self.latest(Slot::Sell(0)).is_some_and(|(_, order)| order.is_filled())
    }
}

impl ClosedCycle {
    pub(super) fn new(cycle: &Cycle) -> Self {
        let all_is_known =
            |order: &Order| order.end() != Some(End::Absent) && !order.was_refused_at_once() && !order.untold;
        let orders = cycle.orders.iter().map(|(key, order)| (*key, all_is_known(order))).collect();
        let late = cycle.orders.values().filter(|order| order.untold).flat_map(|order| order.exec_ids.iter().cloned());
        Self { number: cycle.number, opened: cycle.opened, orders, late: late.collect() }
    }

    /// Whether an execution is new: its order belongs to this cycle, but was not known to have been accepted.
    pub(super) fn lacks(&self, key: OrderKey, exec_id: &str) -> bool {
        let latest = OrderKey { attempt: u32::MAX, ..key };
        let unknown = match self.orders.get(&key) {
            Some(all_is_known) => !all_is_known,
            None => self.orders.range(key..=latest).next().is_none(),
        };
        key.cycle == self.number && unknown && !self.late.contains(exec_id)
    }

    pub(super) fn note(&mut self, exec_id: &str) {
        self.late.insert(exec_id.to_owned());
    }
}

/// How an order ended, by the status with which the exchange reports it closed.
pub(super) fn end_of(status: OrderStatus, refused: Option<Refusal>) -> End {
    match status {
        OrderStatus::Filled => End::Filled,
        OrderStatus::Rejected => End::Refused(refused.unwrap_or(Refusal::Other)),
        OrderStatus::Cancelled | OrderStatus::Open => refused.map_or(End::Cancelled, End::Refused),
    }
}

/// Lots as a list of pairs: a JSON key is a string, a level is a number.
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
