//! What it means that the exchange knows nothing of an order, as pure functions.
//!
//! ```text
//!  asked, nothing known ──(often enough, for long enough)──▶ cancel under its own name
//!          ▲                                                    │
//!          │                  accepted: it is there             │ nothing to cancel
//!          └────────────────────────────────────────────────────┤
//!                                                               ▼
//!             once nothing can be hidden any more: its executions are asked for ──▶ absent, untold, or given up
//! ```
//!
//! In: the order as the ledger knows it, and how long and how often the exchange has been silent about it. Out: the next step, and
//! in the end the facts that follow. What can go wrong: lists may hide an order for a while. So its slot is used again only after
//! the exchange has answered that there is nothing to cancel. An order that was accepted and has ended is told for a day at least:
//! if it is not, lists are hidden, its executions perhaps too, and it may be filled. So it is waited for, with an alarm. Executions
//! that turn up even later are booked and raise the alarm ([`super::reconcile::execution`]).
//!
//! | believed | with nothing to cancel | after longer than the exchange remembers |
//! |---|---|---|
//! | planned (fate unknown) | absent: its name is free | given up |
//! | planned, name taken within a day of the cycle's beginning | given up: it is of an earlier life | given up |
//! | planned with fills, open | untold: ended with what is booked, after a minute or after the longest hiding | given up |

use std::time::Duration;

use super::ledger::{Ledger, Order};
use super::money::{self, Decimal};
use super::order::{BotName, OrderKey};
use super::record::{AlarmCause, MissingCause, Record};
use super::time::Timestamp;

/// A create can no longer arrive after this long: the signature's window is 5 s, the rest is for the exchange to show it.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(10);
/// An order that surely exists, or did, is looked for at least so long before a cancel is asked for under its name,
pub const HIDDEN_PATIENCE: Duration = Duration::from_secs(60);
/// and so long before it counts as ended, unless the exchange may have forgotten it.
const LONGEST_HIDING: Duration = Duration::from_secs(90 * 60);
/// The exchange forgets executions, and orders that have some, after this long (Bybit's demo: 7 days; an hour is for
/// clocks). Orders without fills are forgotten after a day: about those, nothing needs to be known.
pub const RETENTION: Duration = Duration::from_secs((7 * 24 - 1) * 3600);
/// Every order, with fills or without, is told for this long (Bybit: 24 hours; an hour is for clocks).
pub const SHORTEST_RETENTION: Duration = Duration::from_secs(23 * 3600);
/// So often the exchange must have known nothing before that means anything.
const ANSWERS: u32 = 3;

/// How the exchange has been silent about one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// From when its fate became unknown until it was last asked for.
    pub lasted: Duration,
    /// How often in a row the exchange knew nothing of it.
    pub answers: u32,
    /// Whether the exchange has shown that it exists, or did.
    pub proved: bool,
    /// Whether the exchange has answered a cancel under its name: there is nothing to cancel.
    pub nothing_to_cancel: bool,
}

/// A time in which nobody watched: what the exchange tells for less long than that may be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwatched {
    /// Its end.
    pub until: Timestamp,
    /// How long it was.
    pub lasted: Duration,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask for it again: it may still arrive, or be hidden.
    AskAgain,
    /// Ask for a cancel under its own name.
    Cancel,
    /// Say that what became of it is not known, and ask again: it may be filled.
    Tell,
    /// Ask for its executions, then take [`facts`].
    Settle,
}

/// What to do about an order that the exchange says nothing of.
pub fn next(order: &Order, silence: &Silence, unwatched: Option<Unwatched>) -> Next {
    let may_be_absent = may_never_have_arrived(order, silence);
    let patience = if may_be_absent { ARRIVAL_PATIENCE } else { HIDDEN_PATIENCE };
    let is_believed = may_be_absent || order.name_taken || may_be_forgotten(order, unwatched, SHORTEST_RETENTION);
    if silence.answers < ANSWERS || silence.lasted < patience {
        Next::AskAgain
    } else if !silence.nothing_to_cancel {
        Next::Cancel
    } else if is_believed || silence.lasted >= LONGEST_HIDING {
        Next::Settle
    } else {
        Next::Tell
    }
}

fn may_never_have_arrived(order: &Order, silence: &Silence) -> bool {
    order.is_unknown() && !order.name_taken && !silence.proved
}

/// What follows once there is nothing to cancel and its executions are booked.
pub fn facts(
    ledger: &Ledger,
    bot: &BotName,
    key: OrderKey,
    silence: &Silence,
    unwatched: Option<Unwatched>,
    now: Timestamp,
) -> Vec<Record> {
    let Some(order) = ledger.order(key).filter(|order| order.is_live()) else { return Vec::new() };
    let opened = ledger.cycle.as_ref().map(|cycle| cycle.opened);
    // Every order is told for a day: one that is not told, but whose name is taken, is older than the cycle.
    let of_an_earlier_life = order.name_taken && opened.is_some_and(|opened| now.since(opened) < SHORTEST_RETENTION);
    if may_have_lost_fills(order, unwatched) || of_an_earlier_life {
        return given_up(bot, key, order);
    }
    vec![if may_never_have_arrived(order, silence) { Record::OrderAbsent { key } } else { Record::OrderUntold { key } }]
}

/// Whether fills of an order may have been forgotten by the exchange before anybody saw them.
pub fn may_have_lost_fills(order: &Order, unwatched: Option<Unwatched>) -> bool {
    may_be_forgotten(order, unwatched, RETENTION)
}

/// Whether something about it that the exchange tells for so long may be forgotten.
fn may_be_forgotten(order: &Order, unwatched: Option<Unwatched>, retention: Duration) -> bool {
    unwatched.is_some_and(|Unwatched { until, lasted }| {
        lasted >= retention && (order.planned < until || order.was_placed_unseen())
    })
}

/// What became of an order cannot be known any more: it may have been filled when nobody was there to see it, longer ago than
/// the exchange remembers. That is said, and stops new buys. The order counts for what is booked of it. The coins that a sell
/// offered are written off: sold or not, they are not offered again, because the coins in the wallet may be the user's own. If a
/// buy was filled, its coins are in the account, and not the bot's.
pub fn given_up(bot: &BotName, key: OrderKey, order: &Order) -> Vec<Record> {
    let message = format!(
        "order {} ({}) was placed longer ago than the exchange remembers: how much of it was executed is not known, {} is \
         booked, and what it may have sold is no longer counted as held. No new buys: compare the account with `recompra \
         status`, then let `recompra stop --close` sell what is held (a bot that is new here should have another name)",
        key.link_id(bot),
        order.spec,
        money::text(order.executed_quantity)
    );
    let mut records = vec![Record::Alarmed { cause: AlarmCause::LostHistory, message }, Record::OrderUntold { key }];
    let unsold = order.offered.quantity.saturating_sub(order.executed_quantity);
    if unsold > Decimal::ZERO {
        records.push(Record::CoinsMissing { quantity: unsold, cause: MissingCause::OrderForgotten, counts: true });
    }
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::fixtures::{d, instrument};
    use crate::core::order::{Execution, OrderSpec, OrderStatus, Side, Slot};
    use crate::core::record::Reason;

    const KEY: OrderKey = OrderKey { cycle: 1, slot: Slot::Buy(1), attempt: 1 };
    const THEN: Timestamp = Timestamp(1_000);

    const TABLE: &str = "
believed              | a minute      | 90 minutes    | a day unwatched | a week unwatched
planned               | absent        | absent        | absent          | alarm, untold
planned, name taken   | alarm, untold | alarm, untold | alarm, untold   | alarm, untold
planned, a day later  | untold        | untold        | untold          | alarm, untold
open                  | told          | untold        | untold          | alarm, untold
open, cancel asked    | told          | untold        | untold          | alarm, untold
open, partly filled   | told          | untold        | untold          | alarm, untold
closed, fills missing | told          | untold        | untold          | alarm, untold
";

    fn execution(exec_id: &str) -> Execution {
        Execution {
            exec_id: exec_id.to_owned(),
            link_id: "t-1-1b-1".to_owned(),
            order_id: "1".to_owned(),
            side: Side::Buy,
            price: d("50000"),
            quantity: d("0.0004"),
            value: d("20"),
            fee: Decimal::ZERO,
            fee_coin: "BTC".to_owned(),
            maker: true,
            time: THEN,
        }
    }

    fn ledger(believed: &str) -> Ledger {
        let spec = OrderSpec::Limit { side: Side::Buy, price: d("50000"), quantity: d("0.001"), post_only: false };
        let reason = Reason::Rebuy { base_price: d("60000"), amount: d("50") };
        let accepted = Record::OrderAccepted { key: KEY, order_id: "1".to_owned() };
        let filled = Record::OrderClosed {
            key: KEY,
            status: OrderStatus::Filled,
            executed_quantity: d("0.001"),
            executed_value: d("50"),
            refusal: None,
            message: String::new(),
        };
        let mut records = vec![
            Record::InstrumentSeen { instrument: instrument() },
            Record::CycleOpened { cycle: 1, began: THEN },
            Record::OrderPlanned { key: KEY, spec, offer: None, reason },
        ];
        records.extend(match believed {
            "planned" => vec![],
            "planned, name taken" | "planned, a day later" => vec![Record::NameTaken { key: KEY }],
            "open" => vec![accepted],
            "open, cancel asked" => vec![accepted, Record::CancelAsked { key: KEY }],
            "open, partly filled" => vec![accepted, Record::Executed { key: KEY, execution: execution("1") }],
            "closed, fills missing" => vec![accepted, filled],
            other => panic!("the table has a row that the test does not know: {other}"),
        });
        let mut ledger = Ledger::default();
        records.iter().for_each(|record| ledger.apply(THEN, record).unwrap());
        ledger
    }

    fn words(facts: &[Record]) -> String {
        let words: Vec<&str> = facts
            .iter()
            .map(|fact| match fact {
                Record::OrderAbsent { .. } => "absent",
                Record::OrderUntold { .. } => "untold",
                Record::Alarmed { .. } => "alarm",
                other => panic!("{other:?}"),
            })
            .collect();
        words.join(", ")
    }

    fn silence(seconds: u64, answers: u32, proved: bool, nothing_to_cancel: bool) -> Silence {
        Silence { lasted: Duration::from_secs(seconds), answers, proved, nothing_to_cancel }
    }

    #[test]
    fn silence_about_an_order_means_what_the_table_says() {
        let mut rows = TABLE.trim().lines().map(|row| row.split('|').map(str::trim).collect::<Vec<_>>());
        let columns = rows.next().unwrap();
        for row in rows {
            let ledger = ledger(row[0]);
            let order = ledger.order(KEY).unwrap();
            for (column, expected) in columns.iter().zip(&row).skip(1) {
                let hours = match *column {
                    "a day unwatched" => 24,
                    "a week unwatched" => 7 * 24,
                    _ => 0,
                };
                let until = THEN.after(Duration::from_secs(1));
                let unwatched = (hours > 0).then_some(Unwatched { until, lasted: Duration::from_secs(hours * 3600) });
                let seconds = if *column == "90 minutes" { 90 * 60 } else { 60 };
                let asked = silence(seconds, 3, !order.is_unknown(), true);
                let now = THEN.after(Duration::from_secs(if row[0].contains("a day later") { 25 * 3600 } else { 60 }));
                let bot = BotName::new("t").unwrap();
                let then = match next(order, &asked, unwatched) {
                    Next::Settle => words(&facts(&ledger, &bot, KEY, &asked, unwatched, now)),
                    Next::Tell => "told".to_owned(),
                    other => panic!("{other:?}"),
                };
                assert_eq!(then, *expected, "{} × {column}", row[0]);
                let not_asked = Silence { nothing_to_cancel: false, ..asked };
                assert_eq!(next(order, &not_asked, unwatched), Next::Cancel, "{} × {column}", row[0]);
            }
        }
    }

    #[test]
    fn an_order_is_asked_for_three_times_and_for_as_long_as_it_may_arrive_or_be_hidden() {
        let (unknown, open) = (ledger("planned"), ledger("open"));
        let (unknown, open) = (unknown.order(KEY).unwrap(), open.order(KEY).unwrap());
        let then = |order, seconds, answers, proved| next(order, &silence(seconds, answers, proved, false), None);
        assert_eq!(then(unknown, 9, 100, false), Next::AskAgain);
        assert_eq!(then(unknown, 10, 2, false), Next::AskAgain);
        assert_eq!(then(unknown, 10, 3, false), Next::Cancel);
        assert_eq!(then(unknown, 59, 100, true), Next::AskAgain);
        assert_eq!(then(open, 59, 100, true), Next::AskAgain);
        assert_eq!(then(open, 60, 3, true), Next::Cancel);
    }

    #[test]
    fn what_turns_up_of_an_untold_order_is_booked_once_and_raises_the_alarm() {
        let mut ledger = ledger("open, partly filled");
        let bot = BotName::new("t").unwrap();
        let apply = |ledger: &mut Ledger, facts: &[Record]| {
            facts.iter().for_each(|fact| ledger.apply(THEN, fact).unwrap());
        };
        let facts = facts(&ledger, &bot, KEY, &silence(5_400, 3, true, true), None, THEN);
        apply(&mut ledger, &facts);
        assert_eq!(crate::core::reconcile::execution(&ledger, KEY, &execution("1")), []);
        let late = crate::core::reconcile::execution(&ledger, KEY, &execution("2"));
        assert!(matches!(late.as_slice(), [Record::Alarmed { .. }, Record::Executed { .. }]), "{late:?}");
        apply(&mut ledger, &late);
        assert_eq!(ledger.cycle.as_ref().unwrap().held().quantity, d("0.0008"));
        assert_eq!(crate::core::reconcile::execution(&ledger, KEY, &execution("2")), []);
        // And after its cycle as well.
        apply(&mut ledger, &[Record::CycleClosed { cycle: 1, profit: Decimal::ZERO }]);
        assert_eq!(crate::core::reconcile::execution(&ledger, KEY, &execution("2")), []);
        assert_eq!(crate::core::reconcile::execution(&ledger, KEY, &execution("3")).len(), 1);
    }

    #[test]
    fn nothing_is_bought_while_an_order_may_be_filled_of_which_nothing_is_told() {
        assert!(AlarmCause::Untold.forbids_buys());
    }
}
