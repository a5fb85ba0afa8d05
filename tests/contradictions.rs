//! Facts that cannot be true after those before them: the ledger refuses each, and says why.

mod listing;

use listing::instrument;
use recompra::core::ledger::Ledger;
use recompra::core::order::{BotName, Execution, OrderKey, OrderSpec, Side, Slot};
use recompra::core::record::{MissingCause, Offer, Reason, Record, Refusal};
use recompra::core::{Decimal, Timestamp, money};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn d(text: &str) -> Decimal {
    money::parse(text).unwrap()
}

fn key(cycle: u64, slot: Slot, attempt: u32) -> OrderKey {
    OrderKey { cycle, slot, attempt }
}

fn seen() -> Record {
    Record::InstrumentSeen { instrument: instrument() }
}

fn opened(cycle: u64) -> Record {
    Record::CycleOpened { cycle, began: NOW }
}

fn planned(key: OrderKey, side: Side, offer: Option<Offer>) -> Record {
    let spec = OrderSpec::Limit { side, price: d("50000"), quantity: d("0.001"), post_only: false };
    Record::OrderPlanned { key, spec, offer, reason: Reason::Base }
}

fn executed(key: OrderKey, side: Side, exec_id: &str) -> Record {
    let execution = Execution {
        exec_id: exec_id.to_owned(),
        link_id: key.link_id(&BotName::new("t").unwrap()),
        order_id: "1".to_owned(),
        side,
        price: d("50000"),
        quantity: d("0.0004"),
        value: d("20"),
        fee: d("0"),
        fee_coin: "BTC".to_owned(),
        maker: true,
        time: NOW,
    };
    Record::Executed { key, execution }
}

#[test]
fn what_cannot_be_true_is_refused_with_its_reason() {
    let buy = key(1, Slot::Buy(1), 1);
    let absent = Record::OrderAbsent { key: buy };
    let refused = Record::OrderRefused { key: buy, refusal: Refusal::Other, message: String::new() };
    let closed = |cycle, profit| Record::CycleClosed { cycle, profit: d(profit) };
    let more = Offer { levels: vec![0], cost: d("0") };
    let bought = || vec![seen(), opened(1), planned(buy, Side::Buy, None)];
    let cases: Vec<(Vec<Record>, &str)> = vec![
        (vec![opened(1), opened(2)], "cycle 2 opened while cycle 1 is open"),
        (vec![opened(2), closed(2, "0"), opened(2)], "cycle 2 opened after cycle 2"),
        (vec![planned(buy, Side::Buy, None)], "while no cycle is open"),
        (vec![opened(2), planned(buy, Side::Buy, None)], "planned in cycle 2"),
        ([bought(), vec![planned(key(1, Slot::Buy(1), 2), Side::Buy, None)]].concat(), "is live in the same slot"),
        ([bought(), vec![refused.clone(), planned(buy, Side::Buy, None)]].concat(), "planned a second time"),
        (vec![opened(1), planned(buy, Side::Sell, None)], "has the wrong side"),
        (vec![seen(), opened(1), planned(key(1, Slot::Sell(0), 1), Side::Sell, Some(more))], "but only 0 at 0 is held"),
        (vec![opened(1), absent.clone()], "but never planned"),
        ([bought(), vec![absent.clone(), absent]].concat(), "after it was settled"),
        ([bought(), vec![executed(buy, Side::Buy, "1"), refused]].concat(), "was refused, but has executions"),
        (
            vec![opened(1), planned(buy, Side::Buy, None), executed(buy, Side::Buy, "1")],
            "before an instrument was seen",
        ),
        ([bought(), vec![executed(buy, Side::Sell, "1")]].concat(), "executed on the other side"),
        ([bought(), vec![executed(buy, Side::Buy, "1"), executed(buy, Side::Buy, "1")]].concat(), "booked twice"),
        (vec![closed(1, "0")], "it is not the open one"),
        ([bought(), vec![closed(1, "0")]].concat(), "is live"),
        (vec![opened(1), closed(1, "1")], "its orders add up to 0"),
        (
            vec![opened(1), Record::CoinsMissing { quantity: d("1"), cause: MissingCause::LeftAccount, counts: true }],
            "1 more is missing than is held",
        ),
        (
            vec![Record::CoinsMissing { quantity: d("1"), cause: MissingCause::LeftAccount, counts: true }],
            "coins missing while no cycle is open",
        ),
    ];
    for (records, why) in cases {
        let mut ledger = Ledger::default();
        let (last, before) = records.split_last().unwrap();
        for record in before {
            ledger.apply(NOW, record).unwrap_or_else(|contradiction| panic!("{why}: {contradiction}"));
        }
        let contradiction = ledger.apply(NOW, last).expect_err(why).to_string();
        assert!(contradiction.contains(why), "{contradiction:?} does not say {why:?}");
    }
}
