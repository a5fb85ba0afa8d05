//! What the engine makes of an order of which the exchange knows nothing: every belief against every length of absence. The last
//! thing it does before its slot is free is to ask for a cancel under the order's own name.
//!
//! Orders without fills are told for a day, orders with fills and executions for a week. So silence about an order that
//! was last seen less than a week ago means that it had no fills but those that are listed; after that it means nothing,
//! which is said, and stops new buys. Where the exchange refused an order because its name was taken, and does not tell who
//! took it within a day of the cycle's beginning, it was an order of an earlier life, longer ago than it remembers.

mod listing;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use listing::instrument;
use recompra::core::instrument::Instrument;
use recompra::core::ledger::Ledger;
use recompra::core::order::{BotName, Execution, OrderKey, OrderReport, OrderSpec, OrderStatus, Side, Slot};
use recompra::core::parameters::{DeviationFrom, Parameters, TakeProfitMode};
use recompra::core::record::{Reason, Record};
use recompra::core::strategy::Goal;
use recompra::core::{Decimal, Timestamp};
use recompra::engine::ports::{
    Balance, Clock, Exchange, Fault, FaultKind, Feed, Journal, JournalError, Observer, Signal, StopWish, Ticker,
};
use recompra::engine::{Engine, EngineConfig, STREAM_PATIENCE, World};

const TABLE: &str = "
believed              | a minute | 25 hours | 8 days
planned               | cancelled absent   | cancelled absent | cancelled alarmed untold
planned, name taken   | cancelled alarmed untold | cancelled untold | cancelled alarmed untold
open                  | cancelled alarmed  | cancelled untold | cancelled alarmed untold
open, cancel asked    | alarmed  | untold   | alarmed untold
closed, fills missing | -        | -        | alarmed untold
";

const THEN: Timestamp = Timestamp(1_700_000_000_000);
const KEY: OrderKey = OrderKey { cycle: 1, slot: Slot::Buy(1), attempt: 1 };

fn parameters() -> Parameters {
    Parameters {
        symbol: "BTCUSDT".to_owned(),
        base_order_amount: Decimal::from(50),
        take_profit_percent: Decimal::ONE,
        take_profit_mode: TakeProfitMode::Average,
        max_rebuys: 1,
        rebuy_amount: Decimal::from(50),
        rebuy_step_percent: Decimal::ONE,
        step_scale: Decimal::ONE,
        amount_scale: Decimal::ONE,
        deviation_from: DeviationFrom::Base,
        active_rebuys: 1,
        sell_delay: Duration::from_secs(2),
        rebuy_delay: Duration::ZERO,
        cycle_delay: Duration::from_secs(30),
        max_cycles: 0,
        max_capital: Decimal::from(200),
        stop_loss_percent: None,
        time_limit: None,
        post_only: false,
        fee_rate: Decimal::new(1, 3),
    }
}

/// The ledger of a bot that ended in peace with this belief.
fn ledger(belief: &str) -> Ledger {
    let quantity = Decimal::new(1, 3);
    let spec = OrderSpec::Limit { side: Side::Buy, price: Decimal::from(50_000), quantity, post_only: false };
    let reason = Reason::Rebuy { base_price: Decimal::from(60_000), amount: Decimal::from(50) };
    let accepted = Record::OrderAccepted { key: KEY, order_id: "1".to_owned() };
    let closed = Record::OrderClosed {
        key: KEY,
        status: OrderStatus::Filled,
        executed_quantity: quantity,
        executed_value: Decimal::from(50),
        refusal: None,
        message: String::new(),
    };
    let mut records = vec![
        Record::InstrumentSeen { instrument: instrument() },
        Record::Reconciled,
        Record::CycleOpened { cycle: 1, began: THEN },
        Record::OrderPlanned { key: KEY, spec, offer: None, reason },
    ];
    records.extend(match belief {
        "planned" => vec![],
        "planned, name taken" => vec![Record::NameTaken { key: KEY }],
        "open" => vec![accepted],
        "open, cancel asked" => vec![accepted, Record::CancelAsked { key: KEY }],
        "closed, fills missing" => vec![accepted, closed],
        other => panic!("the table has a row that the test does not know: {other}"),
    });
    records.push(Record::Stopped { reason: String::new() });
    let mut ledger = Ledger::default();
    records.iter().for_each(|record| ledger.apply(THEN, record).unwrap());
    ledger
}

/// An exchange that knows nothing and takes nothing.
struct Blank;

impl Exchange for Blank {
    fn synchronise_clock(&mut self) -> Result<(), Fault> {
        Ok(())
    }
    fn instrument(&mut self) -> Result<Instrument, Fault> {
        Ok(instrument())
    }
    fn ticker(&mut self) -> Result<Ticker, Fault> {
        let price = Decimal::from(60_000);
        Ok(Ticker { last: price, bid: Some(price), ask: Some(price) })
    }
    fn balance(&mut self, _: &str) -> Result<Balance, Fault> {
        Ok(Balance { total: Decimal::from(1_000), free: Decimal::from(1_000) })
    }
    fn place(&mut self, _: &str, _: &OrderSpec) -> Result<String, Fault> {
        let message = "not now".to_owned();
        Err(Fault { kind: FaultKind::Refused, endpoint: "POST /v5/order/create", code: None, message })
    }
    fn cancel(&mut self, _: &str) -> Result<(), Fault> {
        let message = "Order does not exist.".to_owned();
        Err(Fault { kind: FaultKind::NotOpen, endpoint: "POST /v5/order/cancel", code: Some(170_213), message })
    }
    fn order(&mut self, _: &str) -> Result<Option<OrderReport>, Fault> {
        Ok(None)
    }
    fn open_orders(&mut self) -> Result<Vec<OrderReport>, Fault> {
        Ok(Vec::new())
    }
    fn closed_orders(&mut self, _: Timestamp, _: Timestamp) -> Result<Vec<OrderReport>, Fault> {
        Ok(Vec::new())
    }
    fn executions(&mut self, _: Timestamp, _: Timestamp) -> Result<Vec<Execution>, Fault> {
        Ok(Vec::new())
    }
}

#[derive(Clone)]
struct Time(Rc<Cell<i64>>);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.get())
    }
    fn sleep(&self, duration: Duration) {
        self.0.set(self.now().after(duration).0);
    }
}

/// Lets time pass, and stops the bot after two minutes.
struct Waiting {
    time: Time,
    end: Timestamp,
    told: bool,
}

impl Feed for Waiting {
    fn wait(&mut self, until: Timestamp) -> Option<Signal> {
        if self.time.now() >= self.end && !std::mem::replace(&mut self.told, true) {
            return Some(Signal::Stop(StopWish::Leave));
        }
        self.time.0.set(self.time.0.get().max(until.0));
        None
    }
}

struct Paper;

impl Journal for Paper {
    fn append(&mut self, _: Timestamp, _: &[Record]) -> Result<(), JournalError> {
        Ok(())
    }
    fn sync(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}

struct Notes(Rc<RefCell<Vec<&'static str>>>);

impl Observer for Notes {
    fn recorded(&mut self, _: Timestamp, record: &Record, _: &Ledger) {
        let word = match record {
            Record::OrderAbsent { key: KEY } => "absent",
            Record::CancelAsked { key: KEY } => "cancelled",
            Record::OrderUntold { key: KEY } => "untold",
            Record::Alarmed { .. } => "alarmed",
            _ => return,
        };
        self.0.borrow_mut().push(word);
    }
}

/// What is written about the order within two minutes after a start.
fn written(belief: &str, away: Duration) -> String {
    let time = Time(Rc::new(Cell::new(THEN.after(away).0)));
    let notes = Rc::new(RefCell::new(Vec::new()));
    let world = World {
        exchange: &mut Blank,
        feed: &mut Waiting { time: time.clone(), end: THEN.after(away + Duration::from_secs(120)), told: false },
        clock: &time,
        journal: &mut Paper,
        observer: &mut Notes(Rc::clone(&notes)),
    };
    let config = EngineConfig {
        stream_patience: STREAM_PATIENCE,
        ..EngineConfig::new(BotName::new("t").unwrap(), "paper", parameters(), Goal::Trade)
    };
    Engine::new(world, config, ledger(belief)).run().unwrap();
    let notes = notes.borrow();
    if notes.is_empty() { "-".to_owned() } else { notes.join(" ") }
}

#[test]
fn silence_about_an_order_means_what_the_table_says() {
    let mut rows = TABLE.trim().lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let columns = rows.next().unwrap();
    for row in rows {
        for (column, expected) in columns.iter().zip(&row).skip(1) {
            let hours = match *column {
                "a minute" => 0,
                "25 hours" => 25,
                "8 days" => 8 * 24,
                other => panic!("the table has a column that the test does not know: {other}"),
            };
            let away = Duration::from_secs(60 + hours * 3600);
            assert_eq!(written(row[0], away), *expected, "{} × {column}", row[0]);
        }
    }
}
