//! Rebuilding a ledger that was lost, from what the exchange alone still tells.
//!
//! In: every order and execution of this bot that the exchange lists. Out: the records that lead to the ledger which an
//! intact journal would have given, as far as the past is told, and in words what is not.
//!
//! Orders have names that can be computed, so each one says to which cycle, level and side it belongs. The cycles are
//! replayed in the order in which things happened, beginning with the oldest from which on nothing is missing: what an
//! order was executed for must be covered by executions, and the first cycle must have its base order. So position, costs, orders
//! and level states come out as they were, to the last digit.
//!
//! What cannot be known: profit and fees of cycles older than the exchange remembers; the dust they left, beyond what
//! later sells prove to have been there; whether an attempt was refused. If the newest cycle itself is incomplete, nothing
//! of it is guessed: its orders are left as they are, and the missing parts are named.

use std::collections::{BTreeMap, BTreeSet};

use super::instrument::Instrument;
use super::ledger::{Ledger, Lot, OrderState};
use super::money::{self, Decimal};
use super::order::{BotName, Execution, OrderKey, OrderReport, Slot};
use super::parameters::TakeProfitMode;
use super::reconcile;
use super::record::{ExitCause, Record};
use super::time::Timestamp;

/// So often the dust of forgotten cycles is added to before a cycle counts as incomplete.
const DUST_ROUNDS: u32 = 50;

/// What can be rebuilt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// To be written to the empty journal, in this order; none, if this bot has never traded.
    pub records: Vec<Record>,
    /// What is missing of the newest cycle; empty if it is complete.
    pub missing: Vec<String>,
}

/// An order and its fills.
struct Told<'a> {
    report: &'a OrderReport,
    executions: Vec<&'a Execution>,
}

/// What happened, in the order in which it can be replayed within one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Placed,
    Executed(usize),
    Closed,
}

/// Why a replay does not work.
enum Trouble {
    /// A sell offered more than is known to have been held.
    Short(Decimal),
    /// Something else does not fit.
    Contradiction(String),
}

/// Rebuilds what the orders and executions of a bot add up to. Of an order that is listed twice the newest row counts.
pub fn rebuild(
    bot: &BotName,
    mode: TakeProfitMode,
    instrument: &Instrument,
    orders: &[OrderReport],
    executions: &[Execution],
) -> Rebuilt {
    let cycles = by_cycle(bot, orders, executions);
    let Some(newest) = newest_cycle(bot, orders, executions) else { return Rebuilt::default() };
    let replay = |first: u64| {
        let mut carry = Decimal::ZERO;
        for _ in 0..DUST_ROUNDS {
            match replay(&cycles, first, newest, carry, mode, instrument) {
                Err(Trouble::Short(by)) => match carry.checked_add(by) {
                    Some(more) if more < dust_limit(orders, instrument) => carry = more,
                    _ => return Err(format!("{} that were offered", money::text(by))),
                },
                Err(Trouble::Contradiction(what)) => return Err(what),
                Ok(records) => return Ok(records),
            }
        }
        Err("more dust than there can be".to_owned())
    };
    let mut missing = cycles.get(&newest).map_or_else(Vec::new, |told| gaps(bot, told));
    if !cycles.contains_key(&newest) {
        missing.push(format!("every order of cycle {newest}"));
    }
    // Each older cycle tells more: dust, profit. The oldest beginning that works is taken.
    let complete: Vec<u64> =
        cycles.iter().rev().take_while(|(_, told)| gaps(bot, told).is_empty()).map(|(cycle, _)| *cycle).collect();
    for first in complete.iter().rev() {
        if cycles.get(first).is_some_and(lacks_base) {
            if *first == newest {
                missing.push(format!("the base order of cycle {newest}"));
            }
            continue;
        }
        match replay(*first) {
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
) -> BTreeMap<u64, BTreeMap<OrderKey, Told<'a>>> {
    let mut cycles: BTreeMap<u64, BTreeMap<OrderKey, Told<'a>>> = BTreeMap::new();
    for report in orders {
        let Some(key) = OrderKey::of_link_id(bot, &report.link_id) else { continue };
        let told = cycles.entry(key.cycle).or_default().entry(key).or_insert(Told { report, executions: Vec::new() });
        let news = |row: &OrderReport| (row.status.is_closed(), row.executed_quantity, row.updated);
        if news(report) > news(told.report) {
            told.report = report;
        }
    }
    let mut seen = BTreeSet::new();
    for execution in executions {
        let Some(key) = OrderKey::of_link_id(bot, &execution.link_id) else { continue };
        let told = cycles.get_mut(&key.cycle).and_then(|cycle| cycle.get_mut(&key));
        if let (Some(told), true) = (told, seen.insert(execution.exec_id.as_str())) {
            told.executions.push(execution);
        }
    }
    cycles
}

/// Whether a cycle that did something has no base order. Nothing can begin with it: either its base order is forgotten, or
/// it had none yet and sells what an older cycle left.
fn lacks_base(told: &BTreeMap<OrderKey, Told<'_>>) -> bool {
    // Executed or not: a base order that brought nothing leaves the cycle to sell what raced the last take profit. Orders
    // with fills are told for longer than those without.
    !told.is_empty() && !told.keys().any(|key| key.slot == Slot::Buy(0))
}

/// Which executions of a cycle's orders are missing.
fn gaps(bot: &BotName, told: &BTreeMap<OrderKey, Told<'_>>) -> Vec<String> {
    let mut gaps = Vec::new();
    for (key, told) in told {
        let quantities = told.executions.iter().map(|execution| execution.quantity);
        let executed = quantities.fold(Decimal::ZERO, Decimal::saturating_add);
        if executed < told.report.executed_quantity {
            gaps.push(format!(
                "executions of {} ({} of {} are told)",
                key.link_id(bot),
                money::text(executed),
                money::text(told.report.executed_quantity)
            ));
        }
    }
    gaps
}

/// Dust is worth less than the least order; ten cycles of it are believed.
fn dust_limit(orders: &[OrderReport], instrument: &Instrument) -> Decimal {
    let prices = orders.iter().filter_map(|row| row.executed_value.checked_div(row.executed_quantity));
    let least = prices.filter_map(|price| instrument.min_notional.checked_div(price)).min();
    least.unwrap_or_default().max(instrument.quantity_step.saturating_mul(Decimal::TEN))
}

fn replay(
    cycles: &BTreeMap<u64, BTreeMap<OrderKey, Told<'_>>>,
    first: u64,
    newest: u64,
    carry: Decimal,
    mode: TakeProfitMode,
    instrument: &Instrument,
) -> Result<Vec<Record>, Trouble> {
    let start = Ledger {
        last_cycle: first.saturating_sub(1),
        instrument: Some(instrument.clone()),
        carry: Lot { quantity: carry, ..Lot::default() },
        ..Ledger::default()
    };
    let mut replay = Replay { ledger: Ledger::default(), records: Vec::new(), mode, instrument };
    let begin = Timestamp::default();
    replay.take(begin, Record::Snapshot { ledger: Box::new(start) })?;
    for (cycle, told) in cycles.range(first..=newest) {
        replay.cycle(*cycle, told)?;
        if *cycle < newest {
            let profit = replay.ledger.cycle.as_ref().map(|cycle| cycle.profit).unwrap_or_default();
            let end = told.values().map(|told| told.report.updated).max().unwrap_or_default();
            replay.take(end, Record::CycleClosed { cycle: *cycle, profit })?;
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
    fn take(&mut self, time: Timestamp, record: Record) -> Result<(), Trouble> {
        self.ledger.apply(time, &record).map_err(|contradiction| Trouble::Contradiction(contradiction.to_string()))?;
        self.records.push(record);
        Ok(())
    }

    fn cycle(&mut self, number: u64, told: &BTreeMap<OrderKey, Told<'_>>) -> Result<(), Trouble> {
        let began = told.values().map(|told| told.report.created).min().unwrap_or_default();
        self.take(began, Record::CycleOpened { cycle: number, began })?;
        let mut events: Vec<(Timestamp, Event, OrderKey)> = Vec::new();
        for (key, told) in told {
            events.push((told.report.created, Event::Placed, *key));
            events.extend(
                told.executions.iter().enumerate().map(|(index, fill)| (fill.time, Event::Executed(index), *key)),
            );
            if told.report.status.is_closed() {
                events.push((told.report.updated, Event::Closed, *key));
            }
        }
        events.sort();
        for (time, event, key) in events {
            let Some(told) = told.get(&key) else { continue };
            match event {
                Event::Placed => self.placed(time, key, told.report)?,
                Event::Executed(index) => {
                    if let Some(fill) = told.executions.get(index) {
                        self.take(time, Record::Executed { key, execution: (*fill).clone() })?;
                    }
                }
                Event::Closed if self.ledger.order(key).is_some_and(|order| order.is_live()) => {
                    self.take(time, reconcile::closing(key, told.report))?;
                }
                Event::Closed => {}
            }
        }
        self.nothing_is_missing()
    }

    fn placed(&mut self, time: Timestamp, key: OrderKey, report: &OrderReport) -> Result<(), Trouble> {
        if key.slot == Slot::Exit && self.ledger.cycle.as_ref().is_some_and(|cycle| cycle.exit.is_none()) {
            self.take(time, Record::ExitDecided { cause: ExitCause::Found })?;
        }
        let offer = match (key.slot, report.spec.quantity(), &self.ledger.cycle) {
            (Slot::Sell(_) | Slot::Exit, Some(quantity), Some(cycle)) => {
                let offer = reconcile::offer_of(cycle, key.slot, quantity, Some(self.mode), self.instrument);
                Some(offer.map_err(Trouble::Short)?)
            }
            _ => None,
        };
        let (order_id, spec) = (report.order_id.clone(), report.spec.clone());
        self.take(time, Record::OrderAdopted { key, order_id, spec, offer })
    }

    /// Every closed order is settled: its executions are complete.
    fn nothing_is_missing(&self) -> Result<(), Trouble> {
        let orders = self.ledger.cycle.iter().flat_map(|cycle| cycle.live_orders());
        match orders.into_iter().find(|(_, order)| matches!(order.state, OrderState::Closed { .. })) {
            Some((key, _)) => Err(Trouble::Contradiction(format!("executions of order {key}"))),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::order::{OrderSpec, OrderStatus, Side};
    use super::*;

    fn d(text: &str) -> Decimal {
        money::parse(text).unwrap()
    }

    fn bot() -> BotName {
        BotName::new("t").unwrap()
    }

    fn instrument() -> Instrument {
        Instrument {
            symbol: "BTCUSDT".to_owned(),
            base_coin: "BTC".to_owned(),
            quote_coin: "USDT".to_owned(),
            tick_size: d("0.01"),
            quantity_step: d("0.000001"),
            amount_step: d("0.00000001"),
            min_notional: d("5"),
            max_limit_quantity: d("100"),
            max_market_quantity: d("50"),
            trading: true,
        }
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
            maker_only_refused: false,
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
