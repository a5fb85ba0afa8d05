//! The real process, killed at random moments, while starting too, and started again; then the exchange's books are
//! compared with the journal.
//!
//! `RECOMPRA_KILLS` says how many kills (50), `RECOMPRA_SEED` at which moments and on which market (1). A seed decides what
//! is random here; what the machine's scheduler adds is not repeatable.

mod kit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kit::{Bot, Venue, account, outcome, until};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use recompra::core::ledger::Ledger;
use recompra::core::order::{BotName, OrderKey};
use recompra::core::record::Record;
use recompra::core::strategy::{Goal, Situation, decide};
use recompra::core::{Decimal, Timestamp};
use recompra::journal::{self, History};
use recompra::simulation::driver::{Driver, Pace, PriceSource};
use recompra::simulation::market::random_walk::{Liveliness, RandomWalk};
use recompra::simulation::order::Order;

/// How many market seconds, and so price points, pass in one second.
const SPEED: u32 = 1000;
/// A narrow ladder, so that something happens all the time.
const STRATEGY: &str = r#"
symbol = "BTCUSDT"
base_order_amount = "50"
take_profit_percent = "0.1"
max_rebuys = 6
active_rebuys = 2
rebuy_step_percent = "0.2"
amount_scale = "1.1"
deviation_from = "previous"
max_capital = "1000"
sell_delay = "0s"
rebuy_delay = "0s"
cycle_delay = "0s"
"#;
/// The bot is left alone after so many kills, until nothing is in doubt: doubts need time that kills do not leave.
const BREATHER: u32 = 25;
/// An order that never arrived is believed absent after ten seconds.
const PATIENCE: Duration = Duration::from_secs(60);

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}: not a number")))
}

#[test]
fn no_kill_loses_or_doubles_anything() {
    let kills = u32::try_from(from_environment("RECOMPRA_KILLS", 50)).unwrap();
    let seed = from_environment("RECOMPRA_SEED", 1);
    println!("RECOMPRA_SEED={seed} RECOMPRA_KILLS={kills}");
    let modes = [("average", seed), ("per_level", seed.wrapping_add(1))];
    let worlds = modes.map(|(mode, seed)| std::thread::spawn(move || World::new(mode, seed).run(kills.div_ceil(2))));
    for world in worlds {
        println!("{}", world.join().unwrap());
    }
}

/// One bot on one exchange with a fast market.
struct World {
    mode: &'static str,
    venue: Venue,
    config: String,
    random: StdRng,
    market: Driver,
}

impl World {
    fn new(mode: &'static str, seed: u64) -> Self {
        let venue = Venue::new(&format!("kills-{mode}"), account());
        let config = venue.configure("btc", &format!("{STRATEGY}take_profit_mode = \"{mode}\"\n"));
        let liveliness = Liveliness { largest_move: 800, pull_back: 400 };
        let walk = RandomWalk::new(seed, Timestamp(0), Decimal::from(60_000), Decimal::new(1, 2), liveliness);
        let source = PriceSource::Market(Box::new(walk), Pace::Times(SPEED));
        let market = Driver::start(Arc::clone(&venue.hub), "BTCUSDT".to_owned(), source).unwrap();
        Self { mode, venue, config, random: StdRng::seed_from_u64(seed), market }
    }

    fn run(mut self, kills: u32) -> String {
        let mut while_starting = 0;
        for kill in 1..=kills {
            let mut bot = Bot::start(&self.config);
            let life = if self.random.random_bool(0.3) { 0..150 } else { 150..450 };
            std::thread::sleep(Duration::from_millis(self.random.random_range(life)));
            assert!(bot.is_running(), "{}: the bot ended by itself before kill {kill}", self.mode);
            let starting = !kit::holds(&self.venue.state().join("lock"), &bot.id().to_string());
            while_starting += u32::from(starting);
            // SIGKILL.
            drop(bot);
            // Fifty crashes a minute are what the back-off is for; here they are wanted.
            let _ = std::fs::remove_file(self.venue.state().join("starts"));
            if kill % BREATHER == 0 {
                self.breathe();
            }
        }
        self.settle();
        self.compare();
        self.table(kills, while_starting)
    }

    /// Lets the bot live until nothing is in doubt, and trades on.
    fn breathe(&self) {
        let before = self.history().ledger.totals.executions;
        let mut bot = Bot::start(&self.config);
        until("the bot trades on", PATIENCE, || {
            assert!(bot.is_running(), "{}: the bot ended by itself", self.mode);
            let ledger = self.history().ledger;
            ledger.totals.executions > before && nothing_in_doubt(&ledger)
        });
        drop(bot);
        let _ = std::fs::remove_file(self.venue.state().join("starts"));
    }

    /// The market stands still, and the bot reaches the state in which every slot has what it should have.
    fn settle(&mut self) {
        self.market.stop();
        let starts = self.starts();
        let bot = Bot::start(&self.config);
        until("the bot settles", PATIENCE, || {
            let history = self.history();
            let ledger = &history.ledger;
            self.starts() > starts
                && nothing_in_doubt(ledger)
                && nothing_to_do(&history)
                && self.resting() == resting(ledger)
        });
        assert_eq!(bot.terminate().code(), Some(0), "{}", self.mode);
    }

    /// How often a process began to trade.
    fn starts(&self) -> usize {
        let is_start = |(_, record): &&(Timestamp, Record)| matches!(record, Record::Started { .. });
        self.history().entries.iter().filter(is_start).count()
    }

    /// What rests on the exchange, and how much of it is filled.
    fn resting(&self) -> BTreeMap<String, Decimal> {
        let open = |order: &&Order| order.status.is_open();
        let told = |order: &Order| (order.link_id.clone(), order.executed_quantity);
        self.venue.hub.with(|exchange, _| exchange.orders().filter(open).map(told).collect())
    }

    fn history(&self) -> History {
        journal::history(&self.venue.journal()).unwrap_or_else(|damage| panic!("{}: {damage}", self.mode))
    }

    /// The exchange's own books against the journal, and then the program's own audit.
    fn compare(&self) {
        let history = self.history();
        assert!(history.is_complete);
        let orders: Vec<Order> = self.venue.hub.with(|exchange, _| exchange.orders().cloned().collect());
        let bot = BotName::new("btc").unwrap();
        let mut booked: BTreeMap<OrderKey, (Decimal, Decimal, BTreeMap<String, Decimal>)> = BTreeMap::new();
        let mut planned = BTreeMap::<OrderKey, u32>::new();
        for (_, record) in &history.entries {
            match record {
                Record::OrderPlanned { key, .. } => *planned.entry(*key).or_default() += 1,
                Record::OrderAbsent { key } => *planned.entry(*key).or_default() -= 1,
                Record::Executed { key, execution } => {
                    let sums = booked.entry(*key).or_default();
                    sums.0 += execution.quantity;
                    sums.1 += execution.value;
                    *sums.2.entry(execution.fee_coin.clone()).or_default() += execution.fee;
                }
                // A killed process loses nothing that it has written: nothing needs to be adopted, nothing is strange.
                Record::OrderAdopted { .. } | Record::Alarmed { .. } => panic!("{}: {record:?}", self.mode),
                _ => {}
            }
        }
        let live: Vec<OrderKey> =
            history.ledger.cycle.iter().flat_map(|cycle| cycle.live_orders()).map(|(key, _)| key).collect();
        let mut slots: BTreeMap<_, Vec<&Order>> = BTreeMap::new();
        for order in &orders {
            let key =
                OrderKey::of_link_id(&bot, &order.link_id).unwrap_or_else(|| panic!("foreign: {}", order.link_id));
            assert_eq!(planned.remove(&key), Some(1), "{}: {key} was planned another number of times", self.mode);
            let here = booked.remove(&key).unwrap_or_default();
            let there = (order.executed_quantity, order.executed_value, order.fees.clone());
            assert_eq!(here, there, "{}: {key} is booked otherwise than executed", self.mode);
            assert_eq!(live.contains(&key), order.status.is_open(), "{}: {key}", self.mode);
            slots.entry((key.cycle, key.slot)).or_default().push(order);
        }
        planned.retain(|_, times| *times > 0);
        // What was refused was planned, and is not among the exchange's orders.
        for (_, record) in &history.entries {
            if let Record::OrderRefused { key, .. } = record {
                planned.remove(key);
            }
        }
        assert!(planned.is_empty() && booked.is_empty(), "{}: {planned:?} {booked:?}", self.mode);
        for (slot, orders) in slots {
            for pair in orders.windows(2) {
                let (first, second) = (pair[0], pair[1]);
                let apart = !first.status.is_open() && first.updated <= second.created;
                assert!(apart, "{}: two live orders at once for {slot:?}", self.mode);
            }
        }
        let arguments = ["audit", "--opening", "USDT=10000", "--opening", "BTC=0", "--config", &self.config];
        let (code, out, error) = outcome(&arguments);
        assert!(code == Some(0) && out.contains("journal and exchange agree"), "{}: {out}{error}", self.mode);
        let (code, out, error) = outcome(&["explain", "--config", &self.config]);
        assert!(code == Some(0) && !out.contains("mismatch") && out.contains("why"), "{}: {out}{error}", self.mode);
    }

    fn table(&self, kills: u32, while_starting: u32) -> String {
        let history = self.history();
        let orders = self.venue.hub.with(|exchange, _| exchange.orders().count());
        let totals = &history.ledger.totals;
        assert!(totals.executions > u64::from(kills) / 5, "{}: too little was traded to show anything", self.mode);
        format!(
            "{:<9} {kills} kills ({while_starting} before the lock was taken), {orders} orders, {} executions, {} cycles, \
             {} journal files, 0 differences",
            self.mode, totals.executions, totals.cycles, history.files
        )
    }
}

/// Whether every slot that should have an order has it, and no other has.
fn nothing_to_do(history: &History) -> bool {
    let parameters = history.entries.iter().rev().find_map(|(_, record)| match record {
        Record::Started { parameters, .. } => Some(parameters),
        _ => None,
    });
    let situation = |parameters| Situation {
        ledger: &history.ledger,
        parameters,
        goal: Goal::Trade,
        quote: None,
        free: Some(Decimal::MAX),
        hold_buys: false,
        connected: Timestamp::default(),
        now: Timestamp(i64::MAX),
    };
    parameters.is_some_and(|parameters| decide(&situation(parameters)).steps.is_empty())
}

/// What the ledger believes to rest, and how much of it is filled.
fn resting(ledger: &Ledger) -> BTreeMap<String, Decimal> {
    let live = ledger.cycle.iter().flat_map(|cycle| cycle.live_orders());
    live.map(|(key, order)| (format!("btc-{key}"), order.executed_quantity)).collect()
}

fn nothing_in_doubt(ledger: &Ledger) -> bool {
    use recompra::core::ledger::OrderState;
    let mut live = ledger.cycle.iter().flat_map(|cycle| cycle.live_orders());
    live.all(|(_, order)| order.state == OrderState::Open && order.cancel_asked.is_none())
}
