//! The recovery table: every combination of what the ledger believes of an order and what the exchange reports of it,
//! with what follows. The table below is the specification; the test enumerates it and asks the code.
//!
//! Where the stream and an answer to a question lead to different ends, the cell says `stream / answer`. What follows
//! from the exchange knowing nothing of an order depends on time, and is tested with the engine.

mod listing;

use listing::instrument;
use recompra::core::ledger::Ledger;
use recompra::core::order::{BotName, Execution, OrderKey, OrderReport, OrderSpec, OrderStatus, Side, Slot};
use recompra::core::reconcile::{self, Finding, Source};
use recompra::core::record::{Offer, Reason, Record, Refusal};
use recompra::core::{Decimal, Timestamp, money};

const TABLE: &str = "
believed                 | open             | open, partly filled | filled          | cancelled       | cancelled, partly filled | rejected        | cancelled long ago | filled long ago
planned                  | accepted               | accepted               | accepted closed        | accepted closed        | accepted closed        | accepted closed        | closed | alarmed closed
open                     | -                      | -                      | closed                 | closed                 | closed                 | closed                 | closed | closed
open, partly filled      | -                      | -                      | closed                 | closed                 | closed                 | closed                 | closed | closed
open, cancel asked       | -                      | -                      | closed                 | closed                 | closed                 | closed                 | closed | closed
open, other numbers      | - / amended            | - / amended            | closed                 | closed                 | closed                 | closed                 | closed | closed
closed, fills missing    | -                      | -                      | -                      | -                      | -                      | -                      | - | -
filled                   | - / stray              | - / stray              | -                      | -                      | -                      | -                      | - | -
cancelled                | - / stray              | - / stray              | -                      | -                      | -                      | -                      | - | -
refused                  | adopted                | adopted                | adopted closed         | -                      | adopted closed         | -                      | - | -
absent                   | adopted                | adopted                | adopted closed         | adopted closed         | adopted closed         | adopted closed         | - | -
earlier attempt          | - / stray              | - / stray              | -                      | -                      | -                      | -                      | - | -
earlier cycle            | - / stray              | - / stray              | -                      | -                      | -                      | -                      | - | -
unknown, slot free       | adopted                | adopted                | adopted closed         | adopted closed         | adopted closed         | adopted closed         | - | -
unknown, slot taken      | stray                  | stray                  | stray                  | -                      | stray                  | -                      | - | -
next cycle, one is open  | stray                  | stray                  | stray                  | -                      | stray                  | -                      | - | -
next cycle, none is open | opened adopted         | opened adopted         | opened adopted closed  | opened adopted closed  | opened adopted closed  | opened adopted closed  | opened adopted closed | opened adopted closed
";

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn d(text: &str) -> Decimal {
    money::parse(text).unwrap()
}

fn key(cycle: u64, slot: Slot, attempt: u32) -> OrderKey {
    OrderKey { cycle, slot, attempt }
}

fn rebuy(price: &str) -> OrderSpec {
    OrderSpec::Limit { side: Side::Buy, price: d(price), quantity: d("0.001"), post_only: false }
}

fn planned(key: OrderKey) -> Record {
    let reason = Reason::Rebuy { base_price: d("60000"), amount: d("50") };
    Record::OrderPlanned { key, spec: rebuy("50000"), offer: None::<Offer>, reason }
}

fn accepted(key: OrderKey) -> Record {
    Record::OrderAccepted { key, order_id: "1".to_owned() }
}

fn closed(key: OrderKey, status: OrderStatus, executed: &str) -> Record {
    Record::OrderClosed {
        key,
        status,
        executed_quantity: d(executed),
        executed_value: d(executed) * d("50000"),
        refusal: None,
        message: String::new(),
    }
}

fn executed(key: OrderKey, quantity: &str) -> Record {
    let execution = Execution {
        exec_id: format!("e{quantity}"),
        link_id: key.link_id(&BotName::new("t").unwrap()),
        order_id: "1".to_owned(),
        side: Side::Buy,
        price: d("50000"),
        quantity: d(quantity),
        value: d("50000") * d(quantity),
        fee: d("0"),
        fee_coin: "BTC".to_owned(),
        maker: true,
        time: NOW,
    };
    Record::Executed { key, execution }
}

/// The records that lead to a belief, and the order it is about.
fn believed(name: &str) -> (Vec<Record>, OrderKey) {
    let it = key(2, Slot::Buy(1), 1);
    let then = |rest: Vec<Record>| ([vec![planned(it)], rest].concat(), it);
    let (records, about) = match name {
        "planned" => then(vec![]),
        "open" | "open, other numbers" => then(vec![accepted(it)]),
        "open, partly filled" => then(vec![accepted(it), executed(it, "0.0003")]),
        "open, cancel asked" => then(vec![accepted(it), Record::CancelAsked { key: it }]),
        "closed, fills missing" => then(vec![accepted(it), closed(it, OrderStatus::Filled, "0.001")]),
        "filled" => then(vec![accepted(it), executed(it, "0.001")]),
        "cancelled" => then(vec![accepted(it), closed(it, OrderStatus::Cancelled, "0")]),
        "refused" => then(vec![Record::OrderRefused { key: it, refusal: Refusal::Filter, message: String::new() }]),
        "absent" => then(vec![Record::OrderAbsent { key: it }]),
        "earlier attempt" => {
            let next = key(2, Slot::Buy(1), 2);
            then(vec![accepted(it), closed(it, OrderStatus::Cancelled, "0"), planned(next)])
        }
        "earlier cycle" => (vec![], key(1, Slot::Buy(1), 1)),
        "unknown, slot free" => (vec![], it),
        "unknown, slot taken" => then(vec![accepted(it)]),
        "next cycle, one is open" => (vec![], key(3, Slot::Buy(1), 1)),
        "next cycle, none is open" => (vec![end_of_cycle()], key(3, Slot::Buy(1), 1)),
        "closed cycle, unknown" => (vec![end_of_cycle()], it),
        "closed cycle, unknown, later cycle open" => {
            (vec![end_of_cycle(), Record::CycleOpened { cycle: 3, began: NOW }], it)
        }
        "closed cycle, absent" => then(vec![Record::OrderAbsent { key: it }, end_of_cycle()]),
        "closed cycle, refused" => {
            let refused = Record::OrderRefused { key: it, refusal: Refusal::Filter, message: String::new() };
            then(vec![refused, end_of_cycle()])
        }
        "closed cycle, settled" => then(vec![accepted(it), closed(it, OrderStatus::Cancelled, "0"), end_of_cycle()]),
        "closed cycle, before a refused attempt" => {
            let next = key(2, Slot::Buy(1), 2);
            let refused = Record::OrderRefused { key: next, refusal: Refusal::Filter, message: String::new() };
            let end = closed(it, OrderStatus::Cancelled, "0");
            then(vec![accepted(it), end, planned(next), refused, end_of_cycle()])
        }
        "two cycles ago" => {
            let next = Record::CycleClosed { cycle: 3, profit: Decimal::ZERO };
            (vec![end_of_cycle(), Record::CycleOpened { cycle: 3, began: NOW }, next], it)
        }
        other => panic!("the table has a row that the test does not know: {other}"),
    };
    let about = if name == "unknown, slot taken" { key(2, Slot::Buy(1), 2) } else { about };
    (records, about)
}

fn end_of_cycle() -> Record {
    Record::CycleClosed { cycle: 2, profit: Decimal::ZERO }
}

fn ledger(records: &[Record]) -> Ledger {
    let mut ledger = Ledger::default();
    let before = [Record::InstrumentSeen { instrument: instrument() }, Record::CycleOpened { cycle: 2, began: NOW }];
    for record in before.iter().chain(records) {
        ledger.apply(NOW, record).unwrap();
    }
    ledger
}

fn report(name: &str, key: OrderKey, price: &str) -> OrderReport {
    let (status, executed) = match name {
        "open" => (OrderStatus::Open, "0"),
        "open, partly filled" => (OrderStatus::Open, "0.0004"),
        "filled" | "filled long ago" => (OrderStatus::Filled, "0.001"),
        "cancelled" | "cancelled long ago" => (OrderStatus::Cancelled, "0"),
        "cancelled, partly filled" => (OrderStatus::Cancelled, "0.0004"),
        "rejected" => (OrderStatus::Rejected, "0"),
        other => panic!("the table has a column that the test does not know: {other}"),
    };
    let created = if name.ends_with("long ago") { Timestamp(NOW.0 - 86_400_000) } else { NOW };
    OrderReport {
        link_id: key.link_id(&BotName::new("t").unwrap()),
        order_id: "1".to_owned(),
        spec: rebuy(price),
        status,
        executed_quantity: d(executed),
        executed_value: d(executed) * d("50000"),
        refusal: None,
        reason: String::new(),
        created,
        updated: NOW,
    }
}

fn name(finding: &Finding) -> String {
    let word = |record: &Record| match record {
        Record::CycleOpened { .. } => "opened",
        Record::OrderAccepted { .. } => "accepted",
        Record::OrderAmended { .. } => "amended",
        Record::OrderClosed { .. } => "closed",
        Record::OrderAdopted { .. } => "adopted",
        Record::Alarmed { .. } => "alarmed",
        other => panic!("not a fact about an order: {other:?}"),
    };
    match finding {
        Finding::Stray => "stray".to_owned(),
        Finding::Facts(facts) if facts.is_empty() => "-".to_owned(),
        Finding::Facts(facts) => facts.iter().map(word).collect::<Vec<_>>().join(" "),
    }
}

#[test]
fn every_belief_meets_every_report_as_the_table_says() {
    let mut rows = TABLE.trim().lines().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let columns = rows.next().unwrap();
    let mut cells = 0;
    for row in rows {
        assert_eq!(row.len(), columns.len(), "{row:?}");
        for (column, cell) in columns.iter().zip(&row).skip(1) {
            let (stream, answer) = cell.split_once(" / ").unwrap_or((cell, cell));
            for (source, expected) in [(Source::Stream, stream), (Source::Answer, answer)] {
                let (records, about) = believed(row[0]);
                let price = if row[0] == "open, other numbers" { "49000" } else { "50000" };
                let mut ledger = ledger(&records);
                let finding = reconcile::report(&ledger, about, &report(column, about, price), source);
                assert_eq!(name(&finding), expected, "{} × {column} × {source:?}", row[0]);
                // What follows must never contradict what is known.
                if let Finding::Facts(facts) = finding {
                    for fact in facts {
                        ledger.apply(NOW, &fact).unwrap();
                    }
                }
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 16 * 8 * 2);
}

#[test]
fn an_execution_is_booked_once_and_only_for_an_order_that_can_have_it() {
    for (name, books) in [
        ("planned", true),
        ("open", true),
        ("open, partly filled", true),
        ("open, cancel asked", true),
        ("closed, fills missing", true),
        ("filled", false),
        ("cancelled", false),
        ("refused", false),
        ("absent", false),
        ("earlier attempt", false),
        ("earlier cycle", false),
        ("unknown, slot free", false),
        ("next cycle, none is open", false),
        ("closed cycle, unknown", true),
        ("closed cycle, unknown, later cycle open", true),
        ("closed cycle, absent", true),
        ("closed cycle, refused", true),
        ("closed cycle, settled", false),
        ("closed cycle, before a refused attempt", false),
        ("two cycles ago", false),
    ] {
        let (records, about) = believed(name);
        let mut ledger = ledger(&records);
        let Record::Executed { execution, .. } = executed(about, "0.0005") else { unreachable!() };
        let facts = reconcile::execution(&ledger, about, &execution);
        assert_eq!(facts.len(), usize::from(books), "{name}");
        for fact in facts {
            ledger.apply(NOW, &fact).unwrap();
            assert_eq!(reconcile::execution(&ledger, about, &execution), [], "{name}: booked twice");
        }
    }
}

#[test]
fn what_a_lost_order_of_the_closed_cycle_bought_belongs_to_the_next() {
    for (name, in_cycle) in [("closed cycle, unknown", false), ("closed cycle, unknown, later cycle open", true)] {
        let (records, about) = believed(name);
        let mut ledger = ledger(&records);
        ledger.apply(NOW, &executed(about, "0.0005")).unwrap();
        if !in_cycle {
            ledger.apply(NOW, &Record::CycleOpened { cycle: 3, began: NOW }).unwrap();
        }
        let held = ledger.cycle.as_ref().unwrap().held();
        assert_eq!((held.quantity, held.cost), (d("0.0005"), d("25")), "{name}");
        assert!(held.since.is_some(), "{name}: it would never be offered");
        assert_eq!(ledger.totals.executions, 1);
    }
}

#[test]
fn a_sale_for_the_closed_cycle_that_nobody_knew_of_raises_the_alarm_once() {
    let mut ledger = ledger(&[end_of_cycle()]);
    let sell = key(2, Slot::Sell(0), 1);
    let Record::Executed { mut execution, .. } = executed(sell, "0.0005") else { unreachable!() };
    execution.side = Side::Sell;
    assert_eq!(reconcile::execution(&ledger, sell, &execution), []);
    let alarm = reconcile::late_sale(&ledger, sell, &execution).unwrap();
    ledger.apply(NOW, &alarm).unwrap();
    assert_eq!(reconcile::late_sale(&ledger, sell, &execution), None);
}

#[test]
fn a_sell_of_the_next_cycle_is_adopted_with_what_the_closed_one_left() {
    for slot in [Slot::Sell(0), Slot::Exit] {
        let (records, bought) = believed("closed cycle, unknown");
        let mut ledger = ledger(&records);
        ledger.apply(NOW, &executed(bought, "0.001")).unwrap();
        let sell = key(3, slot, 1);
        let mut report = report("open", sell, "50000");
        report.spec = OrderSpec::Limit { side: Side::Sell, price: d("51000"), quantity: d("0.001"), post_only: false };
        let Finding::Facts(facts) = reconcile::report(&ledger, sell, &report, Source::Answer) else {
            panic!("{slot}: it does not fit");
        };
        for fact in &facts {
            ledger.apply(NOW, fact).unwrap();
        }
        let cycle = ledger.cycle.unwrap();
        assert_eq!(cycle.orders[&sell].offered.cost, d("50"), "{slot}");
        assert_eq!(cycle.exit.is_some(), slot == Slot::Exit, "{slot}");
    }
}

#[test]
fn the_oldest_order_of_a_cycle_that_was_found_by_its_youngest_is_of_this_life() {
    let mut ledger = ledger(&[]);
    let later = |seconds: i64| Timestamp(NOW.0 + seconds * 1000);
    ledger.apply(later(1_000), &end_of_cycle()).unwrap();
    let mut adopt = |key: OrderKey, status: &str, created: Timestamp| {
        let report = OrderReport { created, ..report(status, key, "50000") };
        let Finding::Facts(facts) = reconcile::report(&ledger, key, &report, Source::Answer) else {
            panic!("{key} does not fit");
        };
        facts.iter().for_each(|fact| ledger.apply(later(1_001), fact).unwrap());
        ledger.order(key).is_some()
    };
    assert!(adopt(key(3, Slot::Buy(1), 1), "open", later(500)));
    assert!(adopt(key(3, Slot::Buy(0), 1), "filled", later(300)), "it was taken for one of an earlier life");
}
