//! The journal against the exchange, to the last digit: `recompra audit`.
//!
//! In: what the journal says and what the exchange says. Out: an [`Audit`], which lists what differs. It compares every
//! number of every execution, the resting orders, and the bot's part of the wallet. It also checks the journal's own sums:
//! they must follow from the executions alone. Nothing can go wrong: whatever cannot be compared is counted.

mod shown;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::core::ledger::{Ledger, OrderState};
use crate::core::money::text;
use crate::core::order::{BotName, Execution, OrderKey, OrderReport, Side};
use crate::core::record::Record;
use crate::core::{Decimal, Timestamp};
use crate::engine::ports::Balance;
use crate::journal::History;
use crate::printable::printable;

/// What happened so shortly before the journal's last entry may have been on its way still.
const NEWS: Duration = Duration::from_secs(10);

/// What the exchange says.
#[derive(Clone, Debug, Default)]
pub struct Books {
    /// The symbol's executions, whoever placed the orders.
    pub executions: Vec<Execution>,
    /// The symbol's open orders, whoever placed them.
    pub open: Vec<OrderReport>,
    /// What the account holds, by coin.
    pub balances: BTreeMap<String, Balance>,
    /// Executions before this moment are no longer kept.
    pub kept_since: Timestamp,
    /// When it was asked.
    pub asked: Timestamp,
}

/// Two numbers, or two beliefs, that should be equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What they are about.
    pub subject: String,
    /// What the journal says.
    pub journal: String,
    /// What the exchange says.
    pub exchange: String,
}

/// One coin of the wallet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coin {
    /// Its name.
    pub coin: String,
    /// What the journal's executions brought (or took), fees included.
    pub change: Decimal,
    /// What the account holds.
    pub wallet: Decimal,
    /// What the account must have held before, if nothing else has moved it.
    pub before: Decimal,
}

/// What an audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audit {
    /// What is not as it should be; empty if all is well.
    pub differences: Vec<Difference>,
    /// Executions that are equal in every number.
    pub equal_executions: usize,
    /// Executions of the journal that the exchange no longer keeps.
    pub no_longer_kept: usize,
    /// Executions under the bot's name from before the journal's beginning.
    pub before_journal: usize,
    /// Executions that happened after the journal's last entry, while the bot was not there to book them.
    pub not_booked_yet: usize,
    /// Resting orders that are equal.
    pub equal_orders: usize,
    /// Orders of which the bot itself does not know yet what became.
    pub in_doubt: usize,
    /// The wallet.
    pub coins: Vec<Coin>,
    /// Whether the journal is there from its first line on.
    pub is_complete: bool,
    /// When the journal begins.
    pub begins: Option<Timestamp>,
    /// From when on the exchange keeps executions.
    pub kept_since: Timestamp,
}

/// Compares. `opening` is what the user says that the account held before the bot's first trade.
pub fn compare(bot: &BotName, history: &History, books: &Books, opening: &BTreeMap<String, Decimal>) -> Audit {
    let mut audit = Audit {
        is_complete: history.is_complete,
        begins: history.entries.first().map(|(time, _)| *time),
        kept_since: books.kept_since,
        ..Audit::default()
    };
    let news = audit.executions(bot, history, books);
    audit.orders(bot, &history.ledger, books, &news);
    let mut flows = Flows::default();
    flows.add(history, booked(history));
    audit.sums(history, &flows);
    flows.add(history, news.iter().copied());
    audit.wallet(history, books, &flows, opening);
    audit
}

impl Audit {
    fn differ(&mut self, subject: impl Into<String>, journal: impl Into<String>, exchange: impl Into<String>) {
        let (subject, journal, exchange) = (subject.into(), journal.into(), exchange.into());
        let shown = |text: String| printable(&text).into_owned();
        let (subject, journal, exchange) = (shown(subject), shown(journal), shown(exchange));
        self.differences.push(Difference { subject, journal, exchange });
    }

    /// Compares executions; gives back those that nobody could book yet.
    fn executions<'b>(&mut self, bot: &BotName, history: &History, books: &'b Books) -> Vec<&'b Execution> {
        let ours = |execution: &&Execution| OrderKey::of_link_id(bot, &execution.link_id).is_some();
        let mut there: BTreeMap<&str, &Execution> = BTreeMap::new();
        for execution in books.executions.iter().filter(ours) {
            if there.insert(&execution.exec_id, execution).is_some() {
                self.differ(name_of(execution), "-", "told twice");
            }
        }
        for execution in booked(history) {
            match there.remove(execution.exec_id.as_str()) {
                Some(other) if other == execution => self.equal_executions += 1,
                Some(other) => self.differ(name_of(execution), numbers(execution), numbers(other)),
                None if execution.time < books.kept_since => self.no_longer_kept += 1,
                None => self.differ(name_of(execution), numbers(execution), "does not know it"),
            }
        }
        let last_word = history.ledger.time.before(NEWS);
        let mut news = Vec::new();
        for execution in there.into_values() {
            if self.begins.is_none_or(|begins| execution.time < begins) {
                self.before_journal += 1;
            } else if execution.time > last_word {
                news.push(execution);
            } else {
                self.differ(name_of(execution), "does not know it", numbers(execution));
            }
        }
        self.not_booked_yet = news.len();
        news
    }

    fn orders(&mut self, bot: &BotName, ledger: &Ledger, books: &Books, news: &[&Execution]) {
        let mut there: BTreeMap<OrderKey, &OrderReport> = BTreeMap::new();
        for report in &books.open {
            if let Some(key) = OrderKey::of_link_id(bot, &report.link_id)
                && there.insert(key, report).is_some()
            {
                self.differ(report.link_id.clone(), "-", "told twice");
            }
        }
        for (key, order) in ledger.cycle.iter().flat_map(|cycle| cycle.live_orders()) {
            let link_id = key.link_id(bot);
            let report = there.remove(&key);
            let fresh = news.iter().filter(|execution| execution.link_id == link_id);
            let executed = order.executed_quantity + fresh.map(|execution| execution.quantity).sum::<Decimal>();
            match (&order.state, report) {
                (OrderState::Planned, _) => self.in_doubt += 1,
                (OrderState::Open, Some(report)) => {
                    let state = |spec, executed| format!("{spec}, {} filled", text(executed));
                    let here = state(&order.spec, executed);
                    let there = state(&report.spec, report.executed_quantity);
                    if here == there {
                        self.equal_orders += 1;
                    } else {
                        self.differ(link_id, here, there);
                    }
                }
                // News again: it has been filled.
                (OrderState::Open, None) if order.spec.quantity() == Some(executed) => {}
                (OrderState::Open, None) => self.differ(link_id, order.spec.to_string(), "is not open"),
                (_, _) => self.differ(link_id, "closed, with executions missing", "-"),
            }
        }
        for (key, report) in there {
            self.differ(key.link_id(bot), "does not know it as open", report.spec.to_string());
        }
    }

    /// The ledger's sums against the executions they came from, by another way than the ledger's own.
    fn sums(&mut self, history: &History, flows: &Flows) {
        let Some(instrument) = &history.ledger.instrument else { return };
        let begin = initial(history);
        let (from, to) = (Sums::of(&begin), Sums::of(&history.ledger));
        let flow = |coin: &str| flows.coins.get(coin).copied().unwrap_or_default();
        let mut check = |subject: &str, ledger: Decimal, executions: Decimal| {
            if ledger != executions {
                self.differ(
                    format!("journal: {subject}"),
                    text(ledger),
                    format!("by its executions {}", text(executions)),
                );
            }
        };
        check("profit less the cost of what is held", to.quote - from.quote, flow(&instrument.quote_coin));
        check("quantity held", to.base - from.base, flow(&instrument.base_coin));
        let count = |ledger: &Ledger| Decimal::from(ledger.totals.executions);
        check("number of executions", count(&history.ledger) - count(&begin), Decimal::from(flows.executions));
        for (coin, fee) in &history.ledger.totals.fees {
            let before = begin.totals.fees.get(coin).copied().unwrap_or_default();
            check(&format!("fees in {coin}"), *fee - before, flows.fees.get(coin).copied().unwrap_or_default());
        }
    }

    fn wallet(&mut self, history: &History, books: &Books, flows: &Flows, opening: &BTreeMap<String, Decimal>) {
        for (coin, balance) in &books.balances {
            let change = flows.coins.get(coin).copied().unwrap_or_default();
            let before = (balance.total - change).normalize();
            self.coins.push(Coin { coin: coin.clone(), change: change.normalize(), wallet: balance.total, before });
            match opening.get(coin) {
                Some(opening) if !history.is_complete => {
                    let subject = format!("wallet: {coin}: cannot be compared with an opening of {}", text(*opening));
                    self.differ(subject, "its beginning is gone", text(balance.total));
                }
                Some(opening) if *opening != before => {
                    self.differ(format!("wallet: {coin}"), text((*opening + change).normalize()), text(balance.total));
                }
                _ => {}
            }
        }
        let Some(instrument) = &history.ledger.instrument else { return };
        let begin = Sums::of(&initial(history)).base;
        let held = begin + flows.coins.get(&instrument.base_coin).copied().unwrap_or_default();
        if let Some(balance) = books.balances.get(&instrument.base_coin)
            && balance.total < held
        {
            let subject = format!("wallet: {}: less than the bot holds", instrument.base_coin);
            self.differ(subject, text(held), text(balance.total));
        }
    }
}

/// What the journal's executions moved.
#[derive(Default)]
struct Flows {
    coins: BTreeMap<String, Decimal>,
    fees: BTreeMap<String, Decimal>,
    executions: u64,
}

impl Flows {
    fn add<'e>(&mut self, history: &History, executions: impl Iterator<Item = &'e Execution>) {
        let Some(instrument) = &history.ledger.instrument else { return };
        for execution in executions {
            let sign = if execution.side == Side::Buy { Decimal::ONE } else { -Decimal::ONE };
            let mut add = |coin: &str, amount| *self.coins.entry(coin.to_owned()).or_default() += amount;
            add(&instrument.base_coin, sign * execution.quantity);
            add(&instrument.quote_coin, -sign * execution.value);
            add(&execution.fee_coin, -execution.fee);
            *self.fees.entry(execution.fee_coin.clone()).or_default() += execution.fee;
            self.executions += 1;
        }
    }
}

/// What a ledger says of money, in the two coins.
struct Sums {
    /// Profit less the cost of what is held: what all trades together have brought or taken.
    quote: Decimal,
    /// Held, dust included.
    base: Decimal,
}

impl Sums {
    fn of(ledger: &Ledger) -> Self {
        let mut sums = Self { quote: ledger.totals.profit - ledger.carry.cost, base: ledger.carry.quantity };
        if let Some(cycle) = &ledger.cycle {
            let held = cycle.held();
            sums.base += held.quantity;
            sums.quote += cycle.profit - held.cost;
            for (_, order) in cycle.live_orders() {
                sums.quote += order.proceeds - order.cost_of_sold();
            }
        }
        sums
    }
}

/// The ledger before the first record: a new one, or what the records that are gone added up to.
fn initial(history: &History) -> Ledger {
    match history.entries.first() {
        Some((_, Record::Snapshot { ledger })) => (**ledger).clone(),
        _ => Ledger::default(),
    }
}

/// Every execution that was booked.
pub fn booked(history: &History) -> impl Iterator<Item = &Execution> {
    history.entries.iter().filter_map(|(_, record)| match record {
        Record::Executed { execution, .. } => Some(execution),
        _ => None,
    })
}

fn name_of(execution: &Execution) -> String {
    format!("execution {} of {}", execution.exec_id, execution.link_id)
}

fn numbers(execution: &Execution) -> String {
    let side = if execution.side == Side::Buy { "buy" } else { "sell" };
    format!(
        "{side} {} at {} for {}, fee {} {}, {}, {}, order {} ({})",
        text(execution.quantity),
        text(execution.price),
        text(execution.value),
        text(execution.fee),
        execution.fee_coin,
        if execution.maker { "maker" } else { "taker" },
        execution.time,
        execution.order_id,
        execution.link_id,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::instrument::Instrument;
    use crate::core::money;
    use crate::core::order::{OrderSpec, OrderStatus, Slot};
    use crate::core::record::{Offer, Reason};
    use crate::simulation::settings::Listing;

    fn d(text: &str) -> Decimal {
        money::parse(text).unwrap()
    }

    fn bot() -> BotName {
        BotName::new("btc").unwrap()
    }

    fn execution(key: OrderKey, side: Side, quantity: &str, value: &str, fee: (&str, &str)) -> Execution {
        Execution {
            exec_id: format!("e-{key}"),
            link_id: key.link_id(&bot()),
            order_id: "1".to_owned(),
            side,
            price: d("100"),
            quantity: d(quantity),
            value: d(value),
            fee: d(fee.0),
            fee_coin: fee.1.to_owned(),
            maker: side == Side::Sell,
            time: Timestamp(10_000),
        }
    }

    /// One BTC bought for 100 with a fee of 0.001 BTC; 0.4 of it sold, the rest still offered.
    fn world() -> (History, Books) {
        let buy = OrderKey { cycle: 1, slot: Slot::Buy(0), attempt: 1 };
        let sell = OrderKey { cycle: 1, slot: Slot::Sell(0), attempt: 1 };
        let instrument = Instrument { quantity_step: d("0.01"), ..Listing::btcusdt().instrument };
        let bought = execution(buy, Side::Buy, "1", "100", ("0.001", "BTC"));
        let sold = execution(sell, Side::Sell, "0.4", "44", ("0.044", "USDT"));
        let spec = OrderSpec::Limit { side: Side::Sell, price: d("110"), quantity: d("0.99"), post_only: false };
        let reason = Reason::TakeProfit { cost: d("100"), take_profit_percent: d("9"), fee_rate: d("0.001") };
        let records = [
            Record::InstrumentSeen { instrument },
            Record::CycleOpened { cycle: 1, began: Timestamp(9_000) },
            Record::OrderPlanned {
                key: buy,
                spec: OrderSpec::MarketBuy { amount: d("100") },
                offer: None,
                reason: Reason::Base,
            },
            Record::OrderAccepted { key: buy, order_id: "1".into() },
            Record::Executed { key: buy, execution: bought.clone() },
            Record::OrderClosed {
                key: buy,
                status: OrderStatus::Filled,
                executed_quantity: d("1"),
                executed_value: d("100"),
                maker_only_refused: false,
                message: String::new(),
            },
            Record::OrderPlanned {
                key: sell,
                spec: spec.clone(),
                offer: Some(Offer { levels: vec![0], cost: d("100") }),
                reason,
            },
            Record::OrderAccepted { key: sell, order_id: "2".into() },
            Record::Executed { key: sell, execution: sold.clone() },
        ];
        let mut history = History { is_complete: true, files: 1, ..History::default() };
        // It has been kept for a while after the last execution.
        history.ledger.time = Timestamp(100_000);
        for record in records {
            history.ledger.apply(Timestamp(9_000), &record).unwrap();
            history.entries.push((Timestamp(9_000), record));
        }
        let report = OrderReport {
            link_id: sell.link_id(&bot()),
            order_id: "2".into(),
            spec,
            status: OrderStatus::Open,
            executed_quantity: d("0.4"),
            executed_value: d("44"),
            maker_only_refused: false,
            reason: String::new(),
            created: Timestamp(9_000),
            updated: Timestamp(9_000),
        };
        let balance = |total: &str| Balance { total: d(total), free: d(total) };
        let books = Books {
            executions: vec![bought, sold],
            open: vec![report],
            balances: BTreeMap::from([("USDT".into(), balance("943.956")), ("BTC".into(), balance("0.599"))]),
            kept_since: Timestamp(0),
            asked: Timestamp(20_000),
        };
        (history, books)
    }

    fn opening() -> BTreeMap<String, Decimal> {
        BTreeMap::from([("USDT".to_owned(), d("1000")), ("BTC".to_owned(), d("0"))])
    }

    fn differences(history: &History, books: &Books) -> Vec<String> {
        compare(&bot(), history, books, &opening())
            .differences
            .into_iter()
            .map(|difference| difference.subject)
            .collect()
    }

    #[test]
    fn what_agrees_to_the_last_digit_has_no_difference() {
        let (history, books) = world();
        let audit = compare(&bot(), &history, &books, &opening());
        assert_eq!(audit.differences, []);
        assert_eq!((audit.equal_executions, audit.equal_orders), (2, 1));
        assert!(audit.report().ends_with("journal and exchange agree\n"), "{}", audit.report());
        assert!(audit.report().contains("943.956 USDT; the bot's trades made -56.044 of it: 1000 without them"));
        assert_eq!(audit.json()["agree"], true);
    }

    #[test]
    fn the_last_digit_of_any_number_is_seen() {
        let changes: [fn(&mut Execution); 6] = [
            |execution| execution.quantity += Decimal::new(1, 12),
            |execution| execution.value += Decimal::new(1, 12),
            |execution| execution.fee += Decimal::new(1, 12),
            |execution| execution.price += Decimal::new(1, 12),
            |execution| execution.fee_coin.push('X'),
            |execution| execution.time.0 += 1,
        ];
        for change in changes {
            let (history, mut books) = world();
            change(&mut books.executions[1]);
            assert_eq!(differences(&history, &books), ["execution e-1-0s-1 of btc-1-0s-1"]);
        }
    }

    #[test]
    fn what_one_side_does_not_know_is_a_difference() {
        let (history, mut books) = world();
        books.executions.remove(0);
        assert_eq!(differences(&history, &books), ["execution e-1-0b-1 of btc-1-0b-1"]);
        let (mut history, books) = world();
        history.entries.pop();
        let found = differences(&history, &books);
        assert!(found.contains(&"execution e-1-0s-1 of btc-1-0s-1".to_owned()), "{found:?}");
        // And the journal no longer adds up either.
        assert!(found.contains(&"journal: quantity held".to_owned()), "{found:?}");
        assert!(found.contains(&"journal: profit less the cost of what is held".to_owned()), "{found:?}");
        assert!(found.contains(&"journal: fees in USDT".to_owned()), "{found:?}");
    }

    #[test]
    fn what_is_too_old_to_compare_is_said_and_is_no_difference() {
        let (history, mut books) = world();
        books.executions.clear();
        books.kept_since = Timestamp(10_001);
        let audit = compare(&bot(), &history, &books, &opening());
        assert_eq!((audit.differences.len(), audit.no_longer_kept), (0, 2));
        assert!(audit.report().contains("2 not compared: the exchange keeps none from before"), "{}", audit.report());
        let (history, mut books) = world();
        let lost = OrderKey { cycle: 0, slot: Slot::Buy(0), attempt: 1 };
        books.executions.push(Execution { time: Timestamp(1), ..execution(lost, Side::Buy, "1", "1", ("0", "BTC")) });
        assert_eq!(compare(&bot(), &history, &books, &opening()).before_journal, 1);
        assert_eq!(differences(&history, &books), [""; 0]);
    }

    #[test]
    fn orphans_and_lost_orders_are_differences_and_foreign_orders_are_not() {
        let (history, mut books) = world();
        books.open[0].link_id = "btc-1-1b-1".to_owned();
        assert_eq!(differences(&history, &books), ["btc-1-0s-1", "btc-1-1b-1"]);
        let (history, mut books) = world();
        let by_hand = OrderReport { link_id: String::new(), ..books.open[0].clone() };
        let other = OrderReport { link_id: "eth-1-0s-1".to_owned(), ..books.open[0].clone() };
        books.open.extend([by_hand, other]);
        assert_eq!(differences(&history, &books), [""; 0]);
    }

    #[test]
    fn what_happened_while_the_bot_was_away_is_news_and_no_difference() {
        let (history, mut books) = world();
        let sell = OrderKey { cycle: 1, slot: Slot::Sell(0), attempt: 1 };
        let rest = execution(sell, Side::Sell, "0.59", "64.9", ("0.0649", "USDT"));
        books.executions.push(Execution { exec_id: "later".into(), time: Timestamp(500_000), ..rest });
        books.open.clear();
        books.balances.insert("USDT".into(), Balance { total: d("1008.7911"), free: d("0") });
        books.balances.insert("BTC".into(), Balance { total: d("0.009"), free: d("0") });
        let audit = compare(&bot(), &history, &books, &opening());
        assert_eq!((audit.differences.as_slice(), audit.not_booked_yet), (&[][..], 1), "{}", audit.report());
        // Half of that, and it should still rest.
        books.executions[2].quantity = d("0.3");
        assert!(differences(&history, &books).contains(&"btc-1-0s-1".to_owned()));
    }

    #[test]
    fn the_wallet_must_hold_what_the_bot_holds_and_what_the_user_says() {
        let (history, mut books) = world();
        books.balances.insert("BTC".to_owned(), Balance { total: d("0.598"), free: d("0") });
        assert_eq!(differences(&history, &books), ["wallet: BTC", "wallet: BTC: less than the bot holds"]);
        let (history, mut books) = world();
        books.balances.insert("USDT".to_owned(), Balance { total: d("943.9560000001"), free: d("0") });
        assert_eq!(differences(&history, &books), ["wallet: USDT"]);
    }
}
