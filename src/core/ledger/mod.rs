//! The ledger: what the records add up to.
//!
//! State changes in one function, [`Ledger::apply`], the same live and at recovery. It takes facts, decides
//! nothing, and refuses a fact that contradicts earlier ones.
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
//! lot of its level. A planned sell moves them from the lots to itself. When it is settled, what it did not sell
//! returns to the lots, and the cost of what it sold is set against its proceeds. A buy that the journal lost may be
//! filled after its cycle has ended; its lot then belongs to the next cycle.

mod cycle;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::instrument::Instrument;
use super::money::{self, Decimal};
use super::order::{Execution, OrderKey, OrderSpec, OrderStatus, Refusal, Side, Slot};
use super::record::{AlarmCause, Offer, Record, Waits};
use super::time::Timestamp;
use cycle::{COST_SCALE, end_of};

pub use cycle::{ClosedCycle, Cycle, End, Lot, Order, OrderState};

/// Everything the bot knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// The instrument as last seen.
    pub instrument: Option<Instrument>,
    /// The open cycle.
    pub cycle: Option<Cycle>,
    /// The highest number that a cycle has had.
    pub last_cycle: u64,
    /// What closed cycles left over: dust without cost, and lots that raced the take profit, at their cost.
    pub carry: Lot,
    /// What is needed to recognise late fills of the last closed cycle.
    #[serde(default)]
    pub closed: Option<ClosedCycle>,
    /// When the last cycle's end was settled; the cycle delay counts from here.
    pub last_end: Option<Timestamp>,
    /// Fee rates observed in fills.
    pub fees: ObservedFees,
    /// Sums over closed cycles.
    pub totals: Totals,
    /// What was written off since a person last said that `max_capital` may be spent again: the coins, and what they cost.
    #[serde(default)]
    pub written_off: Lot,
    /// What a person should know, by its kind.
    pub alarms: BTreeMap<AlarmCause, String>,
    /// What the running process waits for.
    #[serde(default)]
    pub waits: Waits,
    /// The time of the latest record.
    pub time: Timestamp,
    /// Until when a process was watching. What happened later is known only by asking.
    pub watched: Timestamp,
    /// Whether the running process has reconciled; if so, each of its records moves `watched`.
    pub watching: bool,
    /// Whether the last process stopped in order, so that nothing it did is missing here.
    pub ended: bool,
}

/// Fee rates observed in fills, as fractions.
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
    /// Base coin that was held and has gone without a known sale.
    #[serde(default)]
    pub written_off: Decimal,
}

/// A fact that contradicts earlier ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contradiction(pub String);

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Contradiction {}

impl Ledger {
    /// The order of this name, if it belongs to the open cycle.
    pub fn order(&self, key: OrderKey) -> Option<&Order> {
        self.cycle.as_ref()?.orders.get(&key)
    }

    /// Whether an execution belongs to an order of the last closed cycle that was unknown when that cycle closed.
    pub fn is_late(&self, key: OrderKey, exec_id: &str) -> bool {
        self.closed.as_ref().is_some_and(|closed| closed.lacks(key, exec_id))
    }

    /// The cycle that would be opened now: it begins with what earlier cycles left over.
    pub fn next_cycle(&self, number: u64, began: Timestamp) -> Cycle {
        Cycle::new(number, began, self.carry.clone())
    }

    /// What a person should know, if an alarm is raised.
    pub fn alarm(&self) -> Option<String> {
        let messages: Vec<&str> = self.alarms.values().map(String::as_str).collect();
        (!messages.is_empty()).then(|| messages.join("; "))
    }

    /// What may be spent in all, in quote coin: what is lost has been spent and does not come back.
    pub fn capital(&self, max_capital: Decimal) -> Decimal {
        max_capital.saturating_sub(self.written_off.cost).max(Decimal::ZERO)
    }

    /// Whether there has never been a cycle.
    pub fn is_blank(&self) -> bool {
        self.last_cycle == 0 && self.cycle.is_none()
    }

    /// The fee rate to expect of the next sell: the one observed in sells, else in buys, else the assumed one.
    pub fn sell_fee_rate(&self, assumed: Decimal) -> Decimal {
        self.fees.sell.or(self.fees.buy).unwrap_or(assumed)
    }

    /// Applies one fact.
    ///
    /// # Errors
    /// [`Contradiction`] if earlier facts rule it out. The ledger must not be used any more then.
    pub fn apply(&mut self, time: Timestamp, record: &Record) -> Result<(), Contradiction> {
        self.time = self.time.max(time);
        match record {
            Record::Journal { .. } => {}
            Record::Stopped { .. } => self.waits = Waits::default(),
            Record::Started { .. } => (self.watching, self.waits) = (false, Waits::default()),
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
            Record::CancelFailed { key } => {
                let order = self.live_order(*key, "not cancelled")?;
                order.cancel_asked = None;
                let times = order.failed_cancels.map_or(0, |(times, _)| times);
                order.failed_cancels = Some((times.saturating_add(1), time));
            }
            Record::OrderRefused { key, refusal, .. } => self.settle_unexecuted(time, *key, End::Refused(*refusal))?,
            Record::OrderAbsent { key } => self.settle_unexecuted(time, *key, End::Absent)?,
            Record::OrderUntold { key } => {
                self.live_order(*key, "no longer told of")?.untold = true;
                self.settle(time, *key, End::Cancelled)?;
            }
            Record::OrderClosed { key, status, executed_quantity, refusal, .. } => {
                self.close(time, *key, *status, *executed_quantity, *refusal)?;
            }
            Record::Executed { key, execution } => self.book(time, *key, execution)?,
            Record::Waits(waits) => self.waits = waits.clone(),
            Record::ExitDecided { cause } => self.open_cycle_mut("exit decided")?.exit = Some(cause.clone()),
            Record::CycleClosed { cycle, profit } => self.close_cycle(time, *cycle, *profit)?,
            Record::CoinsMissing { quantity, counts, .. } => {
                let cost = self.open_cycle_mut("coins missing")?.take_out(*quantity, Decimal::ZERO)?;
                self.totals.written_off = sum(self.totals.written_off, *quantity)?.normalize();
                if *counts {
                    self.written_off.add(&Lot { quantity: *quantity, cost, since: None })?;
                }
            }
            Record::Alarmed { cause, message } => drop(self.alarms.insert(*cause, message.clone())),
            Record::AlarmCleared { cause } => {
                self.alarms.remove(cause);
                if *cause == AlarmCause::CoinsLeft {
                    self.written_off = Lot::default();
                }
            }
            Record::Rebuilt { records } => {
                for record in records {
                    self.apply(time, record)?;
                }
            }
            Record::Snapshot { ledger } => {
                *self = (**ledger).clone();
                self.check_range()?;
            }
        }
        if self.watching {
            self.watched = self.time;
        }
        let looked = !matches!(
            record,
            Record::Started { .. }
                | Record::InstrumentSeen { .. }
                | Record::Waits(_)
                | Record::Rebuilt { .. }
                | Record::Snapshot { .. }
        );
        // A person clears alarms after one process and before the next, too.
        let looked = looked && !(self.ended && self.watching && matches!(record, Record::AlarmCleared { .. }));
        if looked {
            // A process that ends before it has reconciled changes nothing about how the one before it ended.
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
        self.cycle = Some(self.next_cycle(number, began));
        self.carry = Lot::default();
        Ok(())
    }

    fn open_cycle_mut(&mut self, what: &str) -> Result<&mut Cycle, Contradiction> {
        self.cycle.as_mut().ok_or_else(|| Contradiction(format!("{what} while no cycle is open")))
    }

    fn lot_mut(&mut self, level: u8, what: &str) -> Result<&mut Lot, Contradiction> {
        Ok(self.open_cycle_mut(what)?.lots.entry(level).or_default())
    }

    fn live_order(&mut self, key: OrderKey, what: &str) -> Result<&mut Order, Contradiction> {
        let order = self.cycle.as_mut().and_then(|cycle| cycle.orders.get_mut(&key));
        match order {
            Some(order) if order.is_live() => Ok(order),
            Some(_) => contradiction(format!("order {key} {what} after it was settled")),
            None => contradiction(format!("order {key} {what}, but never planned")),
        }
    }

    /// A planned or adopted order takes its slot, and a sell moves what it offers from the lots to itself.
    fn take_on(&mut self, key: OrderKey, mut order: Order, offer: Option<&Offer>) -> Result<(), Contradiction> {
        let Self { instrument, cycle, .. } = self;
        let Some(cycle) = cycle else { return contradiction(format!("order {key} planned while no cycle is open")) };
        if key.cycle != cycle.number {
            return contradiction(format!("order {key} planned in cycle {}", cycle.number));
        }
        if let Some((other, _)) = cycle.live(key.slot) {
            return contradiction(format!("order {key} planned while {other} is live in the same slot"));
        }
        // A refusal may hide that the name was already used. That order may be adopted, but the name is never sent again.
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
                taken.add(&lot)?;
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
            let left = difference(taken.quantity, quantity)?;
            // Dust is never offered; what could be sold still waits for its offer.
            let sellable = instrument.as_ref().is_some_and(|instrument| !instrument.quantity_down(left).is_zero());
            let since = taken.since.filter(|_| sellable);
            let rest = Lot { quantity: left, cost: difference(taken.cost, offer.cost)?, since };
            cycle.lots.insert(order.home, rest);
            order.offered = Lot { quantity, cost: offer.cost, since: taken.since };
        }
        if let Some((_, earlier)) = cycle.latest(key.slot) {
            (order.refused_before, order.absent_before) = (earlier.refused_in_a_row(), earlier.absent_in_a_row());
        }
        cycle.forget_attempts_before(key);
        cycle.orders.insert(key, order);
        Ok(())
    }

    /// Somebody amended the order. What a sell no longer offers returns to the lots.
    fn amend(&mut self, time: Timestamp, key: OrderKey, spec: &OrderSpec) -> Result<(), Contradiction> {
        let order = self.live_order(key, "amended")?;
        order.spec = spec.clone();
        order.amended = true;
        let Some(quantity) = spec.quantity().filter(|quantity| *quantity < order.offered.quantity) else {
            return Ok(());
        };
        let whole = order.offered.clone();
        let cost = money::share(whole.cost, quantity, whole.quantity, COST_SCALE);
        order.offered = Lot { quantity, cost, since: whole.since };
        let (quantity, cost) = (difference(whole.quantity, quantity)?, difference(whole.cost, cost)?);
        let home = order.home;
        self.lot_mut(home, "amended")?.add(&Lot { quantity, cost, since: Some(time) })
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
        refusal: Option<Refusal>,
    ) -> Result<(), Contradiction> {
        let order = self.live_order(key, "closed")?;
        if order.executed_quantity >= executed_quantity {
            let end = end_of(status, refusal.filter(|_| executed_quantity.is_zero()));
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
        let settled = match execution.side {
            _ if self.order(key).is_some_and(|order| order.untold) => {
                self.book_untold(time, key, execution, base_fee, quote_fee)?;
                None
            }
            Side::Buy if self.is_late(key, &execution.exec_id) => {
                self.book_late(bought(time, execution, base_fee, quote_fee)?, &execution.exec_id)?;
                None
            }
            _ => self.book_live(time, key, execution, base_fee, quote_fee)?,
        };
        self.fees.observe(execution, base_fee, quote_fee);
        let fees = self.totals.fees.entry(execution.fee_coin.clone()).or_default();
        *fees = sum(*fees, execution.fee)?;
        self.totals.executions = self.totals.executions.saturating_add(1);
        match settled {
            Some(end) => self.settle(time, key, end),
            None => Ok(()),
        }
    }

    /// What a lost order of the closed cycle bought goes where that cycle's other lots went.
    fn book_late(&mut self, bought: Lot, exec_id: &str) -> Result<(), Contradiction> {
        if let Some(closed) = &mut self.closed {
            closed.note(exec_id);
        }
        match &mut self.cycle {
            Some(cycle) => cycle.lots.entry(0).or_default().add(&bought),
            None => self.carry.add(&Lot { since: None, ..bought }),
        }
    }

    /// Books a fill of an order that was settled because the exchange no longer told of it.
    fn book_untold(
        &mut self,
        time: Timestamp,
        key: OrderKey,
        execution: &Execution,
        base_fee: Decimal,
        quote_fee: Decimal,
    ) -> Result<(), Contradiction> {
        let cycle = self.open_cycle_mut("executed")?;
        let Some(order) = cycle.orders.get_mut(&key) else { return contradiction(format!("order {key} is not there")) };
        order.note(time, key, execution)?;
        match (execution.side, key.slot) {
            (Side::Buy, Slot::Buy(level) | Slot::Sell(level)) => {
                cycle.bought = Some(time);
                cycle.lots.entry(level).or_default().add(&bought(time, execution, base_fee, quote_fee)?)
            }
            (Side::Buy, Slot::Exit) => contradiction(format!("order {key} was executed on the other side")),
            (Side::Sell, _) => {
                cycle.sold = Some(time);
                let proceeds = difference(execution.value, quote_fee)?;
                cycle.take_out(sum(execution.quantity, base_fee)?, proceeds).map(drop)
            }
        }
    }

    /// Books a fill of an order of the open cycle. Returns how the order ended, if the fill completes it.
    fn book_live(
        &mut self,
        time: Timestamp,
        key: OrderKey,
        execution: &Execution,
        base_fee: Decimal,
        quote_fee: Decimal,
    ) -> Result<Option<End>, Contradiction> {
        let order = self.live_order(key, "executed")?;
        order.note(time, key, execution)?;
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
                self.lot_mut(level, "executed")?.add(&bought(time, execution, base_fee, quote_fee)?)?;
            }
            Side::Sell => {
                order.proceeds = sum(order.proceeds, difference(execution.value, quote_fee)?)?;
                // A sell's fee in base coin is rare. It is taken from what is left.
                let lot = self.lot_mut(home, "executed")?;
                lot.quantity = difference(lot.quantity, base_fee)?;
            }
        }
        Ok(settled)
    }

    fn settle(&mut self, time: Timestamp, key: OrderKey, end: End) -> Result<(), Contradiction> {
        let order = self.live_order(key, "settled")?;
        order.state = OrderState::Settled { end, at: time };
        if !order.untold {
            order.exec_ids = BTreeSet::new();
        }
        let executed = order.executed_quantity > Decimal::ZERO;
        let sold_cost = order.cost_of_sold();
        let Lot { quantity, cost, since } = order.offered;
        let rest = Lot {
            quantity: difference(quantity, order.executed_quantity)?,
            cost: difference(cost, sold_cost)?,
            since: since.or(Some(time)),
        };
        let (proceeds, home) = (order.proceeds, order.home);
        let cycle = self.open_cycle_mut("settled")?;
        match key.slot.side() {
            Side::Buy if executed => cycle.bought = Some(time),
            Side::Buy => {}
            Side::Sell => {
                if executed {
                    cycle.profit = difference(sum(cycle.profit, proceeds)?, sold_cost)?.normalize();
                    cycle.sold = Some(time);
                }
                if !rest.quantity.is_zero() {
                    cycle.lots.entry(home).or_default().add(&rest)?;
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
        self.closed = Some(ClosedCycle::new(&cycle));
        self.last_end = Some(cycle.sold.unwrap_or(time));
        self.totals.cycles = self.totals.cycles.saturating_add(1);
        self.totals.profit = sum(self.totals.profit, profit)?;
        Ok(())
    }

    /// Whether what a snapshot adds up to could have been kept.
    fn check_range(&self) -> Result<(), Contradiction> {
        let Lot { quantity, cost, .. } = self.written_off;
        let mut numbers = vec![self.carry.quantity, self.carry.cost, self.totals.profit, quantity, cost];
        numbers.push(self.totals.written_off);
        if let Some(cycle) = &self.cycle {
            numbers.extend([cycle.held().quantity, cycle.committed(), cycle.profit]);
        }
        match numbers.into_iter().find(|number| !money::is_kept(*number)) {
            Some(number) => contradiction(format!("{number} is too large to be kept")),
            None => Ok(()),
        }
    }
}

/// The lot that an execution of a buy brings.
fn bought(time: Timestamp, execution: &Execution, base_fee: Decimal, quote_fee: Decimal) -> Result<Lot, Contradiction> {
    let quantity = difference(execution.quantity, base_fee)?;
    Ok(Lot { quantity, cost: sum(execution.value, quote_fee)?, since: Some(time) })
}

fn sum(a: Decimal, b: Decimal) -> Result<Decimal, Contradiction> {
    money::kept_sum(a, b).ok_or_else(|| Contradiction(format!("{a} and {b} are together too large to be kept")))
}

fn difference(a: Decimal, b: Decimal) -> Result<Decimal, Contradiction> {
    sum(a, Decimal::ZERO.saturating_sub(b))
}

impl ObservedFees {
    fn observe(&mut self, execution: &Execution, base_fee: Decimal, quote_fee: Decimal) {
        // Every fee rate has at most six decimals; further digits are the rounding of a small fill's fee.
        let rate = |fee: Decimal, of: Decimal| fee.checked_div(of).map(|rate| rate.round_dp(6));
        match execution.side {
            Side::Sell if !quote_fee.is_zero() => self.sell = rate(quote_fee, execution.value).or(self.sell),
            Side::Buy if !base_fee.is_zero() => self.buy = rate(base_fee, execution.quantity).or(self.buy),
            Side::Sell | Side::Buy => {}
        }
    }
}

fn contradiction<T>(message: String) -> Result<T, Contradiction> {
    Err(Contradiction(message))
}
