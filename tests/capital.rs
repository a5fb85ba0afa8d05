//! What was spent and has not come back never exceeds `max_capital`, over the bot's whole life: the coins that are gone count,
//! until a person says that it may be spent again.

mod listing;

use std::time::Duration;

use listing::instrument;
use recompra::core::ledger::{Ledger, Lot};
use recompra::core::money;
use recompra::core::order::{Execution, OrderKey, OrderSpec, OrderStatus, Side, Slot};
use recompra::core::parameters::{DeviationFrom, Parameters, TakeProfitMode};
use recompra::core::record::{AlarmCause, MissingCause, Reason, Record};
use recompra::core::strategy::{Decision, Goal, Situation, Step, decide};
use recompra::core::{Decimal, Timestamp};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn d(text: &str) -> Decimal {
    money::parse(text).unwrap()
}

/// A base order of 100, a rebuy of 50, and room for exactly these.
fn parameters() -> Parameters {
    Parameters {
        symbol: "BTCUSDT".to_owned(),
        base_order_amount: d("100"),
        take_profit_percent: Decimal::ONE,
        take_profit_mode: TakeProfitMode::Average,
        max_rebuys: 1,
        rebuy_amount: d("50"),
        rebuy_step_percent: Decimal::ONE,
        step_scale: Decimal::ONE,
        amount_scale: Decimal::ONE,
        deviation_from: DeviationFrom::Base,
        active_rebuys: 1,
        sell_delay: Duration::ZERO,
        rebuy_delay: Duration::ZERO,
        cycle_delay: Duration::ZERO,
        max_cycles: 0,
        max_capital: d("150"),
        stop_loss_percent: None,
        time_limit: None,
        post_only: false,
        fee_rate: d("0.001"),
    }
}

/// A cycle whose base order has bought 0.002 for 100, of which so much is missing.
fn lacking(quantity: &str, counts: bool) -> Ledger {
    let key = OrderKey { cycle: 1, slot: Slot::Buy(0), attempt: 1 };
    let execution = Execution {
        exec_id: "1".to_owned(),
        link_id: String::new(),
        order_id: "1".to_owned(),
        side: Side::Buy,
        price: d("50000"),
        quantity: d("0.002"),
        value: d("100"),
        fee: Decimal::ZERO,
        fee_coin: "USDT".to_owned(),
        maker: false,
        time: NOW,
    };
    let closed = Record::OrderClosed {
        key,
        status: OrderStatus::Filled,
        executed_quantity: d("0.002"),
        executed_value: d("100"),
        refusal: None,
        message: String::new(),
    };
    let mut ledger = Ledger::default();
    for record in [
        Record::InstrumentSeen { instrument: instrument() },
        Record::CycleOpened { cycle: 1, began: NOW },
        Record::OrderPlanned {
            key,
            spec: OrderSpec::MarketBuy { amount: d("100") },
            offer: None,
            reason: Reason::Base,
        },
        Record::Executed { key, execution },
        closed,
        Record::CoinsMissing { quantity: d(quantity), cause: MissingCause::LeftAccount, counts },
    ] {
        ledger.apply(NOW, &record).unwrap();
    }
    ledger
}

/// The same, after its cycle.
fn between_cycles(mut ledger: Ledger) -> Ledger {
    let profit = ledger.cycle.as_ref().unwrap().profit;
    ledger.apply(NOW, &Record::CycleClosed { cycle: 1, profit }).unwrap();
    ledger.carry = Lot::default();
    ledger
}

fn decision(ledger: &Ledger) -> Decision {
    decide(&Situation {
        ledger,
        parameters: &parameters(),
        goal: Goal::Trade,
        quote: None,
        free: Some(d("1000000")),
        hold_buys: false,
        connected: Timestamp::default(),
        now: NOW.after(Duration::from_secs(60)),
    })
}

/// What is to be spent on buys.
fn buys(decision: &Decision) -> Vec<Decimal> {
    let amount = |step: &Step| match step {
        Step::Place { spec: OrderSpec::MarketBuy { amount }, .. } => Some(*amount),
        Step::Place { spec: OrderSpec::Limit { side: Side::Buy, price, quantity, .. }, .. } => Some(*price * *quantity),
        _ => None,
    };
    decision.steps.iter().filter_map(amount).collect()
}

fn opens(ledger: &Ledger) -> bool {
    decision(ledger).steps.iter().any(|step| matches!(step, Step::OpenCycle { .. }))
}

fn open(mut ledger: Ledger) -> Ledger {
    ledger.apply(NOW, &Record::CycleOpened { cycle: 2, began: NOW }).unwrap();
    ledger
}

#[test]
fn coins_that_are_gone_leave_less_to_rebuy_with() {
    assert_eq!(buys(&decision(&lacking("0", true))).len(), 1);
    // Half of what 100 bought is gone: 50 are held, 50 are lost, and the rebuy of 50 still fits.
    assert_eq!(buys(&decision(&lacking("0.001", true))).len(), 1);
    let mut tight = lacking("0.001", true);
    tight.written_off.cost += d("1");
    assert_eq!(buys(&decision(&tight)), Vec::<Decimal>::new());
}

#[test]
fn the_next_cycle_buys_for_what_is_left_and_none_is_opened_that_could_buy_nothing() {
    let ledger = between_cycles(lacking("0.002", true));
    assert!(opens(&ledger));
    assert_eq!(buys(&decision(&open(ledger))), [d("50")], "of 150, 100 are lost");
    let mut poor = between_cycles(lacking("0.002", true));
    poor.written_off.cost = d("146");
    assert!(!opens(&poor) && !decision(&poor).finished);
}

#[test]
fn a_person_who_has_seen_it_lets_all_of_it_be_spent_again() {
    let mut ledger = lacking("0.002", true);
    assert_eq!(ledger.written_off, Lot { quantity: d("0.002"), cost: d("100"), since: None });
    let alarm = Record::Alarmed { cause: AlarmCause::CoinsLeft, message: "gone".to_owned() };
    ledger.apply(NOW, &alarm).unwrap();
    // The alarm forbids nothing by itself, and another one that is cleared gives nothing back.
    ledger.apply(NOW, &Record::AlarmCleared { cause: AlarmCause::LostHistory }).unwrap();
    assert_eq!(ledger.capital(d("150")), d("50"));
    ledger.apply(NOW, &Record::AlarmCleared { cause: AlarmCause::CoinsLeft }).unwrap();
    assert_eq!((ledger.capital(d("150")), ledger.alarm()), (d("150"), None));
    assert_eq!(buys(&decision(&open(between_cycles(ledger)))), [d("100")]);
}

#[test]
fn what_was_lost_is_known_after_the_journal_was_begun_anew() {
    let ledger = lacking("0.001", true);
    let text = serde_json::to_string(&Record::Snapshot { ledger: Box::new(ledger.clone()) }).unwrap();
    let mut read = Ledger::default();
    read.apply(NOW, &serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(read, ledger);
}

#[test]
fn what_an_earlier_version_wrote_off_adds_up_to_what_it_did_then() {
    // Else a snapshot that it wrote would not be what the files before it add up to.
    let record: Record = serde_json::from_str(r#"{"type":"coins_missing","quantity":"0.001"}"#).unwrap();
    let mut ledger = lacking("0", true);
    ledger.apply(NOW, &record).unwrap();
    assert_eq!((ledger.written_off.cost, ledger.totals.written_off), (Decimal::ZERO, d("0.001")));
    let mut snapshot = serde_json::to_value(Record::Snapshot { ledger: Box::new(ledger.clone()) }).unwrap();
    snapshot["ledger"].as_object_mut().unwrap().remove("written_off").unwrap();
    let mut read = Ledger::default();
    read.apply(NOW, &serde_json::from_value(snapshot).unwrap()).unwrap();
    assert_eq!(read, ledger);
}
