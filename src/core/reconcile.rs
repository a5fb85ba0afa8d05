//! Reconciliation: what the ledger must learn from what the exchange says, as pure functions.
//!
//! | the ledger believes | exchange: open | exchange: closed | exchange: knows none |
//! |---|---|---|---|
//! | planned (fate unknown) | accepted | accepted, closed | absent, once it could no longer arrive |
//! | open | nothing (amended, if its numbers differ) | closed | closed, once it could no longer be hidden |
//! | closed, executions missing | nothing: older news | nothing new | executions are asked for |
//! | settled | nothing from the stream; stray from an answer | nothing | nothing |
//! | refused when it was sent | adopted | adopted, closed, if it has fills | nothing |
//! | absent | adopted | adopted, closed | nothing |
//! | nothing (this cycle or a later one) | adopted, or stray | adopted, or stray if it has fills | nothing |
//! | forgotten (an earlier attempt or cycle) | nothing from the stream; stray from an answer | nothing | nothing |
//!
//! The stream may be late, repeated and out of order: its rows can add facts, but never take one back.
//!
//! A fill is booked if its order is live, or if its order belongs to the last closed cycle and was unknown then: a power
//! cut can lose the record of an order in flight.

use std::time::Duration;

use super::instrument::Instrument;
use super::ledger::{Cycle, End, Ledger, Lot, Order, OrderState};
use super::money::{self, Decimal};
use super::order::{Execution, OrderKey, OrderReport, OrderSpec, OrderStatus, Side, Slot};
use super::parameters::TakeProfitMode;
use super::record::{AlarmCause, ExitCause, Offer, Record};
use super::time::Timestamp;

/// How far the exchange's clock may differ from ours when an order is judged to be older than the cycle.
const CLOCK_MARGIN: Duration = Duration::from_secs(60);

/// What the ledger believes of an order of this bot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// Planned: its fate is unknown.
    Planned,
    /// Open.
    Open,
    /// Closed, with executions missing.
    Closed,
    /// Settled, and not as absent.
    Settled,
    /// Settled as refused when it was submitted. The exchange may have checked funds or filters before the name, which a
    /// forgotten order may already have used.
    Refused,
    /// Settled as never arrived.
    Absent,
    /// Not in the ledger, and rightly so: an earlier attempt or an earlier cycle.
    Forgotten,
    /// Not in the ledger, but it could belong there: this cycle or a later one.
    Nothing,
}

/// Where a report comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The private stream: perhaps late, repeated or out of order.
    Stream,
    /// The answer to a query that was sent after everything else became known.
    Answer,
}

/// What follows from a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// These facts, in this order; none if the report says nothing new.
    Facts(Vec<Record>),
    /// An order with this bot's name that should not be there.
    Stray,
}

/// What the ledger believes of an order.
pub fn belief(ledger: &Ledger, key: OrderKey) -> Belief {
    let Some(cycle) = ledger.cycle.as_ref().filter(|cycle| cycle.number == key.cycle) else {
        return if key.cycle > ledger.last_cycle { Belief::Nothing } else { Belief::Forgotten };
    };
    let order = cycle.orders.get(&key);
    match order.map(|order| &order.state) {
        Some(OrderState::Planned) => Belief::Planned,
        Some(OrderState::Open) => Belief::Open,
        Some(OrderState::Closed { .. }) => Belief::Closed,
        Some(OrderState::Settled { end: End::Absent, .. }) => Belief::Absent,
        Some(OrderState::Settled { .. }) if order.is_some_and(Order::was_refused_at_once) => Belief::Refused,
        Some(OrderState::Settled { .. }) => Belief::Settled,
        None if cycle.latest(key.slot).is_some_and(|(latest, _)| latest.attempt > key.attempt) => Belief::Forgotten,
        None => Belief::Nothing,
    }
}

/// What follows from a report of an order.
pub fn report(ledger: &Ledger, key: OrderKey, report: &OrderReport, source: Source) -> Finding {
    let closed = report.status.is_closed();
    let believed = belief(ledger, key);
    match (believed, closed) {
        (Belief::Planned, _) => Finding::Facts(settle_planned(ledger, key, report)),
        (Belief::Open, false) => Finding::Facts(amendment(ledger, key, report, source)),
        (Belief::Open, true) => Finding::Facts(vec![closing(key, report)]),
        (Belief::Closed, _) | (Belief::Settled | Belief::Forgotten, true) => Finding::Facts(Vec::new()),
        (Belief::Settled | Belief::Forgotten, false) if source == Source::Stream => Finding::Facts(Vec::new()),
        (Belief::Settled | Belief::Forgotten, false) => Finding::Stray,
        (Belief::Refused, true) if report.executed_quantity.is_zero() => Finding::Facts(Vec::new()),
        (Belief::Refused | Belief::Absent | Belief::Nothing, _) => match adoption(ledger, key, report) {
            Some(facts) => Finding::Facts(facts),
            None if closed && (report.executed_quantity.is_zero() || is_history(ledger, report)) => {
                Finding::Facts(Vec::new())
            }
            None => Finding::Stray,
        },
    }
}

/// What follows from an execution: that it is booked. Nothing if it is booked already, or its order is settled or not in the
/// ledger: such an order must be adopted first. Two are booked without a live order: a late buy of the last closed cycle, and what
/// turns up of an order of which the exchange did not tell when it was asked. The second raises the alarm, because the same
/// coins may have been bought or offered again meanwhile. If they are no longer there to be sold, the alarm is all.
pub fn execution(ledger: &Ledger, key: OrderKey, execution: &Execution) -> Vec<Record> {
    let booked = || Record::Executed { key, execution: execution.clone() };
    match ledger.order(key) {
        Some(order) if order.exec_ids.contains(&execution.exec_id) => Vec::new(),
        Some(order) if order.is_live() => vec![booked()],
        Some(order) if order.untold => {
            let cause = AlarmCause::LostHistory;
            let free = ledger.cycle.as_ref().map(|cycle| Lot::total(cycle.lots.values()).quantity).unwrap_or_default();
            let fits = execution.side == Side::Buy || execution.quantity <= free;
            let alarm = Record::Alarmed { cause, message: turned_up(execution) };
            let is_new = !ledger.alarms.contains_key(&cause);
            is_new.then_some(alarm).into_iter().chain(fits.then(booked)).collect()
        }
        Some(_) => Vec::new(),
        None => {
            let bought = (key.slot.side(), execution.side) == (Side::Buy, Side::Buy);
            (bought && ledger.is_late(key, &execution.exec_id)).then(booked).into_iter().collect()
        }
    }
}

fn turned_up(execution: &Execution) -> String {
    format!(
        "order {} has executed {} of which the exchange told nothing when it was asked: the same may have been bought or offered \
         twice. No new buys: compare the account with `recompra status`, then let `recompra stop --close` sell what is held, or \
         let `recompra resume` say that all is well",
        execution.link_id,
        money::text(execution.quantity)
    )
}

/// The alarm that an execution raises if it is a sale for the last closed cycle by an order that was unknown then. What it
/// sold has been written off, or is still counted as held.
pub fn late_sale(ledger: &Ledger, key: OrderKey, execution: &Execution) -> Option<Record> {
    let cause = AlarmCause::LostHistory;
    let late = execution.side == Side::Sell && ledger.is_late(key, &execution.exec_id);
    let message = || {
        format!(
            "order {} has sold {} after its cycle was closed, and the journal does not know it: what is counted as held may be \
             gone. No new buys: compare the account with `recompra status`, then let `recompra stop --close` sell what is held",
            execution.link_id,
            money::text(execution.quantity)
        )
    };
    (late && !ledger.alarms.contains_key(&cause)).then(|| Record::Alarmed { cause, message: message() })
}

/// Whether the exchange reports a larger executed quantity than is booked.
pub fn lacks_executions(ledger: &Ledger, key: OrderKey, report: &OrderReport) -> bool {
    ledger.order(key).is_some_and(|order| order.is_live() && order.executed_quantity < report.executed_quantity)
}

fn is_history(ledger: &Ledger, report: &OrderReport) -> bool {
    ledger.cycle.as_ref().is_some_and(|cycle| is_older_than_cycle(ledger, cycle, report))
}

/// A moment before which no order of a cycle can have been placed: when the cycle opened. If the journal lost that, and the
/// cycle is known only from an order found later, it is when the cycle before it opened.
fn beginning(ledger: &Ledger, cycle: &Cycle) -> Timestamp {
    let seen = cycle.attempts(Slot::Buy(0)).any(|(_, order)| order.reason.is_some());
    match &ledger.closed {
        Some(closed) if !seen => closed.opened.min(cycle.opened),
        _ => cycle.opened,
    }
}

fn settle_planned(ledger: &Ledger, key: OrderKey, report: &OrderReport) -> Vec<Record> {
    if is_history(ledger, report) {
        return name_of_older_order(key, report);
    }
    let mut facts = vec![Record::OrderAccepted { key, order_id: report.order_id.clone() }];
    facts.extend(amendment(ledger, key, report, Source::Answer));
    if report.status.is_closed() {
        facts.push(closing(key, report));
    }
    facts
}

/// The name belongs to an older order, and ours was never accepted. If the older one has fills, what it traded cannot be in
/// this ledger: an alarm says so and stops new buys.
fn name_of_older_order(key: OrderKey, report: &OrderReport) -> Vec<Record> {
    let closed = closed_without_fills(key, "the name was used by an order older than this cycle".to_owned());
    if report.executed_quantity.is_zero() {
        return vec![closed];
    }
    let message = format!(
        "order {} was placed before this journal's cycle and has executed {}: a bot of this name has traded here before, and what \
         it holds is not counted. No new buys: compare the account with `recompra status`, then let `recompra stop --close` \
         sell what is held, and give a bot that is new here another name",
        report.link_id,
        money::text(report.executed_quantity)
    );
    vec![Record::Alarmed { cause: AlarmCause::LostHistory, message }, closed]
}

/// Whether a closed order is older than the cycle: another life of a bot of this name, in which cycles had the same numbers.
fn is_older_than_cycle(ledger: &Ledger, cycle: &Cycle, report: &OrderReport) -> bool {
    report.status.is_closed() && report.created < beginning(ledger, cycle).before(CLOCK_MARGIN)
}

/// The fact that an order ended without fills.
pub fn closed_without_fills(key: OrderKey, message: String) -> Record {
    Record::OrderClosed {
        key,
        status: OrderStatus::Cancelled,
        executed_quantity: Decimal::ZERO,
        executed_value: Decimal::ZERO,
        refusal: None,
        message,
    }
}

pub(super) fn closing(key: OrderKey, report: &OrderReport) -> Record {
    Record::OrderClosed {
        key,
        status: report.status,
        executed_quantity: report.executed_quantity,
        executed_value: report.executed_value,
        refusal: report.refusal,
        message: report.reason.clone(),
    }
}

/// Somebody else may amend an order. Only an answer shows it: a row of the stream may be older than the order's present
/// price and quantity. Market orders cannot be amended, and their size is reported differently.
fn amendment(ledger: &Ledger, key: OrderKey, report: &OrderReport, source: Source) -> Vec<Record> {
    let numbers = |spec: &OrderSpec| match spec {
        OrderSpec::Limit { price, quantity, .. } => Some((*price, *quantity)),
        _ => None,
    };
    let ours = ledger.order(key).and_then(|order| numbers(&order.spec));
    let theirs = numbers(&report.spec);
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours != theirs && source == Source::Answer => {
            vec![Record::OrderAmended { key, spec: report.spec.clone() }]
        }
        _ => Vec::new(),
    }
}

/// The facts that make an unknown order of this bot part of the ledger: the journal has lost its tail, or all of it. `None`
/// if the order does not fit into the ledger.
fn adoption(ledger: &Ledger, key: OrderKey, report: &OrderReport) -> Option<Vec<Record>> {
    let mut facts = Vec::new();
    let next;
    let cycle = match &ledger.cycle {
        Some(cycle) if cycle.number == key.cycle => {
            if cycle.live(key.slot).is_some() || is_older_than_cycle(ledger, cycle, report) {
                return None;
            }
            cycle
        }
        Some(_) => return None,
        None => {
            // The order may not be the first of its cycle, which can have begun as soon as the one before it ended.
            let began = ledger.last_end.map_or(report.created, |end| end.min(report.created));
            facts.push(Record::CycleOpened { cycle: key.cycle, began });
            next = ledger.next_cycle(key.cycle, began);
            &next
        }
    };
    let offer = match key.slot {
        Slot::Buy(_) => None,
        Slot::Sell(_) | Slot::Exit => {
            let instrument = ledger.instrument.as_ref()?;
            Some(offer_of(cycle, key.slot, report.spec.quantity()?, None, instrument).ok()?)
        }
    };
    if key.slot == Slot::Exit && cycle.exit.is_none() {
        facts.push(Record::ExitDecided { cause: ExitCause::Found });
    }
    if report.spec.side() != key.slot.side() {
        return None;
    }
    let (order_id, spec) = (report.order_id.clone(), report.spec.clone());
    facts.push(Record::OrderAdopted { key, order_id, spec, offer });
    if report.status.is_closed() {
        facts.push(closing(key, report));
    }
    Some(facts)
}

/// What an adopted sell must be offering: the lot of its own level if that is enough and the mode, where known, is not
/// `average`; else everything.
///
/// # Errors
/// How much is lacking, in base coin.
pub(super) fn offer_of(
    cycle: &Cycle,
    slot: Slot,
    quantity: Decimal,
    mode: Option<TakeProfitMode>,
    instrument: &Instrument,
) -> Result<Offer, Decimal> {
    let own = match slot {
        Slot::Sell(level) if mode != Some(TakeProfitMode::Average) => {
            cycle.lots.get(&level).filter(|lot| lot.quantity >= quantity).map(|lot| (vec![level], lot.clone()))
        }
        Slot::Sell(_) | Slot::Buy(_) | Slot::Exit => None,
    };
    let all = || (cycle.lots.keys().copied().collect(), Lot::total(cycle.lots.values()));
    let (levels, lots) = own.unwrap_or_else(all);
    if lots.quantity < quantity {
        return Err(quantity.saturating_sub(lots.quantity));
    }
    Ok(Offer { levels, cost: lots.cost_of_part(quantity, instrument) })
}

/// The moment from which an order's executions must be searched.
pub fn executions_from(ledger: &Ledger, cycle: &Cycle, order: &Order) -> Timestamp {
    let placed = if order.was_placed_unseen() { beginning(ledger, cycle).min(order.planned) } else { order.planned };
    placed.before(CLOCK_MARGIN)
}
