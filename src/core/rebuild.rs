//! Rebuilding a lost journal from what the exchange still remembers.
//!
//! In: every order and execution of this bot that the exchange lists. Out: the records that lead to the ledger of an
//! intact journal, as far back as the exchange remembers, and in words what is missing.
//!
//! Orders have names that can be computed, so each one says to which cycle, slot and attempt it belongs. The cycles are
//! replayed in the order of events, from the oldest one after which nothing is missing: executions must cover what each
//! order reports as executed, and the first cycle must have its base order. So positions, costs, orders and the states of
//! levels come out as they were, to the last digit.
//!
//! What cannot be known: profit and fees of cycles that the exchange has forgotten; the dust they left, beyond what later
//! sells prove; whether an attempt was refused. If the newest cycle is incomplete, nothing is guessed: its orders are left
//! alone, and the missing parts are named.

use std::collections::{BTreeMap, BTreeSet};

use super::instrument::Instrument;
use super::ledger::{Ledger, Lot, OrderState};
use super::money::{self, Decimal};
use super::order::{BotName, Execution, OrderKey, OrderReport, Slot};
use super::parameters::TakeProfitMode;
use super::reconcile;
use super::record::{ExitCause, Record};
use super::time::Timestamp;

/// How often dust of forgotten cycles is added before a cycle counts as incomplete.
const DUST_ROUNDS: u32 = 50;

/// What can be rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// For the empty journal, in this order; none if this bot has never traded.
    pub records: Vec<Record>,
    /// What is missing of the newest cycle; empty if it is complete.
    pub missing: Vec<String>,
}

/// An order and its executions, as the exchange lists them.
struct Listed<'a> {
    report: &'a OrderReport,
    executions: Vec<&'a Execution>,
}

/// The orders of one cycle.
type ListedOrders<'a> = BTreeMap<OrderKey, Listed<'a>>;

/// What happened to an order. Events of one moment are replayed in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Placed,
    Executed(usize),
    Closed,
}

/// Why a replay fails.
enum ReplayError {
    /// A sell offered this much more than is known to have been held, in base coin.
    Oversold(Decimal),
    /// Something else does not fit.
    Inconsistent(String),
}

/// Rebuilds what the orders and executions of a bot add up to. If an order is listed twice, its newest row counts.
pub fn rebuild(
    bot: &BotName,
    mode: TakeProfitMode,
    instrument: &Instrument,
    orders: &[OrderReport],
    executions: &[Execution],
) -> Rebuilt {
    let cycles = by_cycle(bot, orders, executions);
    let Some(newest) = newest_cycle(bot, orders, executions) else { return Rebuilt::default() };
    let dust_limit = dust_limit(orders, instrument);
    let replay = |first: u64| {
        let mut dust = Decimal::ZERO;
        for _ in 0..DUST_ROUNDS {
            match replay(&cycles, first, newest, dust, mode, instrument) {
                Err(ReplayError::Oversold(by)) if dust.saturating_add(by) < dust_limit => {
                    dust = dust.saturating_add(by)
                }
                Err(ReplayError::Oversold(by)) => return Err(format!("{} that were offered", money::text(by))),
                Err(ReplayError::Inconsistent(what)) => return Err(what),
                Ok(records) => return Ok(records),
            }
        }
        Err("more dust than there can be".to_owned())
    };
    let mut missing = match cycles.get(&newest) {
        Some(listed) => gaps(bot, listed),
        None => vec![format!("every order of cycle {newest}")],
    };
    // Older cycles tell more: dust and profit. The oldest one that a replay can begin with is taken.
    let complete: Vec<_> = cycles.iter().rev().take_while(|(_, listed)| gaps(bot, listed).is_empty()).collect();
    for (first, listed) in complete.into_iter().rev() {
        // A replay needs the base order of its first cycle, even one without fills: the exchange remembers orders with
        // fills for longer, and a cycle without a base order may sell what an older one left.
        let base = listed.keys().any(|key| key.slot == Slot::Buy(0));
        match if base { replay(*first) } else { Err(format!("the base order of cycle {first}")) } {
            Ok(records) => return Rebuilt { records, missing: Vec::new() },
            Err(what) if *first == newest => missing.push(what),
            Err(_) => {}
        }
    }
    let ledger = Ledger { last_cycle: newest, instrument: Some(instrument.clone()), ..Ledger::default() };
    Rebuilt { records: vec![Record::Snapshot { ledger: Box::new(ledger) }], missing }
}

fn newest_cycle(bot: &BotName, orders: &[OrderReport], executions: &[Execution]) -> Option<u64> {
    let names = orders.iter().map(|row| &row.link_id).chain(executions.iter().map(|row| &row.link_id));
    names.filter_map(|name| OrderKey::of_link_id(bot, name)).map(|key| key.cycle).max()
}

fn by_cycle<'a>(
    bot: &BotName,
    orders: &'a [OrderReport],
    executions: &'a [Execution],
) -> BTreeMap<u64, ListedOrders<'a>> {
    let mut cycles: BTreeMap<u64, ListedOrders<'a>> = BTreeMap::new();
    for report in orders {
        let Some(key) = OrderKey::of_link_id(bot, &report.link_id) else { continue };
        let listed =
            cycles.entry(key.cycle).or_default().entry(key).or_insert(Listed { report, executions: Vec::new() });
        let progress = |row: &OrderReport| (row.status.is_closed(), row.executed_quantity, row.updated);
        if progress(report) > progress(listed.report) {
            listed.report = report;
        }
    }
    let mut seen = BTreeSet::new();
    for execution in executions {
        let Some(key) = OrderKey::of_link_id(bot, &execution.link_id) else { continue };
        let listed = cycles.get_mut(&key.cycle).and_then(|cycle| cycle.get_mut(&key));
        if let (Some(listed), true) = (listed, seen.insert(execution.exec_id.as_str())) {
            listed.executions.push(execution);
        }
    }
    cycles
}

/// Which executions of a cycle's orders are missing.
fn gaps(bot: &BotName, listed: &ListedOrders<'_>) -> Vec<String> {
    let mut gaps = Vec::new();
    for (key, listed) in listed {
        let quantities = listed.executions.iter().map(|execution| execution.quantity);
        let executed = quantities.fold(Decimal::ZERO, Decimal::saturating_add);
        if executed < listed.report.executed_quantity {
            gaps.push(format!(
                "executions of {} ({} of {} are told)",
                key.link_id(bot),
                money::text(executed),
                money::text(listed.report.executed_quantity)
            ));
        }
    }
    gaps
}

/// A cycle leaves dust worth less than the least order: that much is believed, or ten steps if they are more.
fn dust_limit(orders: &[OrderReport], instrument: &Instrument) -> Decimal {
    let prices = orders.iter().filter_map(|row| row.executed_value.checked_div(row.executed_quantity));
    let least = prices.filter_map(|price| instrument.min_notional.checked_div(price)).min();
    least.unwrap_or_default().max(instrument.quantity_step.saturating_mul(Decimal::TEN))
}

fn replay(
    cycles: &BTreeMap<u64, ListedOrders<'_>>,
    first: u64,
    newest: u64,
    dust: Decimal,
    mode: TakeProfitMode,
    instrument: &Instrument,
) -> Result<Vec<Record>, ReplayError> {
    let start = Ledger {
        last_cycle: first.saturating_sub(1),
        instrument: Some(instrument.clone()),
        carry: Lot { quantity: dust, ..Lot::default() },
        ..Ledger::default()
    };
    let mut replay = Replay { ledger: Ledger::default(), records: Vec::new(), mode, instrument };
    let begin = Timestamp::default();
    replay.apply(begin, Record::Snapshot { ledger: Box::new(start) })?;
    for (cycle, listed) in cycles.range(first..=newest) {
        replay.cycle(*cycle, listed)?;
        if *cycle < newest {
            let profit = replay.ledger.cycle.as_ref().map(|cycle| cycle.profit).unwrap_or_default();
            let end = listed.values().map(|listed| listed.report.updated).max().unwrap_or_default();
            replay.apply(end, Record::CycleClosed { cycle: *cycle, profit })?;
        }
    }
    Ok(replay.records)
}

struct Replay<'a> {
    ledger: Ledger,
    records: Vec<Record>,
    mode: TakeProfitMode,
    instrument: &'a Instrument,
}

impl Replay<'_> {
    fn apply(&mut self, time: Timestamp, record: Record) -> Result<(), ReplayError> {
        self.ledger.apply(time, &record).map_err(|error| ReplayError::Inconsistent(error.to_string()))?;
        self.records.push(record);
        Ok(())
    }

    fn cycle(&mut self, number: u64, listed: &ListedOrders<'_>) -> Result<(), ReplayError> {
        let began = listed.values().map(|listed| listed.report.created).min().unwrap_or_default();
        self.apply(began, Record::CycleOpened { cycle: number, began })?;
        let mut events: Vec<(Timestamp, Event, OrderKey)> = Vec::new();
        for (key, listed) in listed {
            events.push((listed.report.created, Event::Placed, *key));
            let fills = listed.executions.iter().enumerate();
            events.extend(fills.map(|(index, fill)| (fill.time, Event::Executed(index), *key)));
            if listed.report.status.is_closed() {
                events.push((listed.report.updated, Event::Closed, *key));
            }
        }
        events.sort();
        for (time, event, key) in events {
            let Some(listed) = listed.get(&key) else { continue };
            match event {
                Event::Placed => self.placed(time, key, listed.report)?,
                Event::Executed(index) => {
                    if let Some(fill) = listed.executions.get(index) {
                        self.apply(time, Record::Executed { key, execution: (*fill).clone() })?;
                    }
                }
                Event::Closed if self.ledger.order(key).is_some_and(|order| order.is_live()) => {
                    self.apply(time, reconcile::closing(key, listed.report))?;
                }
                Event::Closed => {}
            }
        }
        self.check_settled()
    }

    fn placed(&mut self, time: Timestamp, key: OrderKey, report: &OrderReport) -> Result<(), ReplayError> {
        if key.slot == Slot::Exit && self.ledger.cycle.as_ref().is_some_and(|cycle| cycle.exit.is_none()) {
            self.apply(time, Record::ExitDecided { cause: ExitCause::Found })?;
        }
        let offer = match (key.slot, report.spec.quantity(), &self.ledger.cycle) {
            (Slot::Sell(_) | Slot::Exit, Some(quantity), Some(cycle)) => {
                let offer = reconcile::offer_of(cycle, key.slot, quantity, Some(self.mode), self.instrument);
                Some(offer.map_err(ReplayError::Oversold)?)
            }
            _ => None,
        };
        let (order_id, spec) = (report.order_id.clone(), report.spec.clone());
        self.apply(time, Record::OrderAdopted { key, order_id, spec, offer })
    }

    /// Every closed order is settled: its executions are complete.
    fn check_settled(&self) -> Result<(), ReplayError> {
        let orders = self.ledger.cycle.iter().flat_map(|cycle| cycle.live_orders());
        match orders.into_iter().find(|(_, order)| matches!(order.state, OrderState::Closed { .. })) {
            Some((key, _)) => Err(ReplayError::Inconsistent(format!("executions of order {key}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{d, instrument};
    use super::super::order::{OrderSpec, OrderStatus, Side};
    use super::*;

    fn bot() -> BotName {
        BotName::new("t").unwrap()
    }

    fn base_order(cycle: u64) -> (OrderReport, Execution) {
        let key = OrderKey { cycle, slot: Slot::Buy(0), attempt: 1 };
        let report = OrderReport {
            link_id: key.link_id(&bot()),
            order_id: format!("o{cycle}"),
            spec: OrderSpec::MarketBuy { amount: d("50") },
            status: OrderStatus::Cancelled,
            executed_quantity: d("0.001"),
            executed_value: d("50"),
            refusal: None,
            reason: String::new(),
            created: Timestamp(1_000),
            updated: Timestamp(1_000),
        };
        let execution = Execution {
            exec_id: format!("e{cycle}"),
            link_id: report.link_id.clone(),
            order_id: report.order_id.clone(),
            side: Side::Buy,
            price: d("50000"),
            quantity: d("0.001"),
            value: d("50"),
            fee: d("0.000001"),
            fee_coin: "BTC".to_owned(),
            maker: false,
            time: Timestamp(1_000),
        };
        (report, execution)
    }

    fn rebuilt(orders: &[OrderReport], executions: &[Execution]) -> Rebuilt {
        rebuild(&bot(), TakeProfitMode::Average, &instrument(), orders, executions)
    }

    #[test]
    fn where_nothing_of_this_bot_is_told_there_is_nothing_to_rebuild() {
        let (mut order, _) = base_order(1);
        order.link_id = "somebody-else".to_owned();
        assert_eq!(rebuilt(&[order], &[]), Rebuilt::default());
    }

    #[test]
    fn a_base_order_with_its_executions_is_a_cycle_again() {
        let (order, execution) = base_order(7);
        let rebuilt = rebuilt(&[order.clone(), order], &[execution.clone(), execution]);
        assert_eq!(rebuilt.missing, Vec::<String>::new());
        let mut ledger = Ledger::default();
        rebuilt.records.iter().for_each(|record| ledger.apply(Timestamp(2_000), record).unwrap());
        let cycle = ledger.cycle.unwrap();
        assert_eq!((cycle.number, cycle.opened), (7, Timestamp(1_000)));
        assert_eq!((cycle.held().quantity, cycle.held().cost), (d("0.000999"), d("50")));
    }

    #[test]
    fn executions_that_are_no_longer_told_are_named_and_nothing_is_guessed() {
        let (order, _) = base_order(7);
        let rebuilt = rebuilt(&[order], &[]);
        assert_eq!(rebuilt.missing, ["executions of t-7-0b-1 (0 of 0.001 are told)"]);
        let mut ledger = Ledger::default();
        rebuilt.records.iter().for_each(|record| ledger.apply(Timestamp(2_000), record).unwrap());
        assert_eq!((ledger.last_cycle, ledger.cycle), (7, None));
    }
}
