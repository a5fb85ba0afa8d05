//! The backtest against an independent, slow and simple implementation, written from the strategy's definition alone:
//! every price point of every candle is looked at, the ladder is computed anew each time from its formulas, and nothing
//! of the core's ladder, strategy or ledger is used. On a month of recorded candles both fill the same orders at the same
//! moments, prices, quantities and fees.
//!
//! Where the definition leaves room, both follow what the strategy's module says: sells come before buys, the rebuys follow
//! a fill of a buy by `sell_delay + rebuy_delay` and a fill of a sell by `rebuy_delay`, the nearest levels that are not
//! filled rest, `cycle_delay` counts from the last sale, the price is looked at every five seconds for the stop loss, after what is to
//! be offered, cancelled and bought at that moment: these wait for no price.

mod recorded;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use recompra::backtest;
use recompra::core::ledger::Ledger;
use recompra::core::order::{BotName, Slot};
use recompra::core::parameters::{DeviationFrom, Parameters, TakeProfitMode};
use recompra::core::record::Record;
use recompra::core::{Decimal, Timestamp, money};
use recompra::engine::ports::Observer;
use recompra::simulation::market::{self, Recording};
use recompra::simulation::settings::AccountSettings;
use recompra::simulation::{Exchange, Settings};

const TICK: Decimal = Decimal::from_parts(1, 0, 0, false, 2);
const STEP: Decimal = Decimal::from_parts(1, 0, 0, false, 6);
const FEE: Decimal = Decimal::from_parts(1, 0, 0, false, 3);
const LEAST: Decimal = Decimal::from_parts(5, 0, 0, false, 0);
const LOOK: i64 = 5_000;

/// A fill: moment, `b2` or `s0` or `x`, price, quantity, fee.
type Fill = (i64, String, Decimal, Decimal, Decimal);

#[derive(Clone, Copy, Default)]
struct Lot {
    quantity: Decimal,
    cost: Decimal,
    since: Option<i64>,
}

#[derive(Clone, Copy)]
struct Buy {
    price: Decimal,
    quantity: Decimal,
}

#[derive(Clone, Copy)]
struct Sell {
    price: Decimal,
    lot: Lot,
}

#[derive(Default)]
struct Cycle {
    opened: i64,
    base_price: Option<Decimal>,
    lots: BTreeMap<u8, Lot>,
    buys: BTreeMap<u8, Buy>,
    sells: BTreeMap<u8, Sell>,
    /// Whether the newest order of a level was filled.
    bought: BTreeMap<u8, bool>,
    last_buy: Option<i64>,
    last_sale: Option<i64>,
    base_sold: bool,
    exit: bool,
}

struct Slow<'p> {
    p: &'p Parameters,
    now: i64,
    price: Decimal,
    cycle: Option<Cycle>,
    carry: Lot,
    next_cycle: i64,
    look: Option<(i64, Decimal)>,
    /// The next moment at which something is due by itself.
    due: i64,
    fills: Vec<Fill>,
}

fn ms(duration: std::time::Duration) -> i64 {
    duration.as_millis() as i64
}

fn down(value: Decimal, step: Decimal) -> Decimal {
    (value / step).floor() * step
}

impl Cycle {
    fn held(&self) -> Lot {
        let all = self.lots.values().chain(self.sells.values().map(|sell| &sell.lot));
        all.fold(Lot::default(), |sum, lot| Lot {
            quantity: sum.quantity + lot.quantity,
            cost: sum.cost + lot.cost,
            since: None,
        })
    }

    fn committed(&self) -> Decimal {
        self.held().cost + self.buys.values().map(|buy| buy.price * buy.quantity).sum::<Decimal>()
    }

    fn lot_back(&mut self, level: u8, lot: Lot) {
        let home = self.lots.entry(level).or_default();
        home.quantity += lot.quantity;
        home.cost += lot.cost;
        home.since = [home.since, lot.since].into_iter().flatten().min();
    }
}

impl Slow<'_> {
    fn run(p: &Parameters, points: &[(i64, Decimal)]) -> Vec<Fill> {
        let (start, price) = points[0];
        let (cycle, carry, look, due, fills) = (None, Lot::default(), None, start, Vec::new());
        let mut slow = Slow { p, now: start, price, cycle, carry, next_cycle: start, look, due, fills };
        slow.act();
        for (time, price) in &points[1..] {
            while slow.due < *time {
                slow.now = slow.due;
                slow.act();
            }
            (slow.now, slow.price) = (*time, *price);
            if slow.trade_through() || slow.due <= slow.now {
                slow.act();
            }
        }
        slow.fills
    }

    /// Fills what the price went through.
    fn trade_through(&mut self) -> bool {
        let (now, price) = (self.now, self.price);
        let Some(cycle) = &self.cycle else { return false };
        let mut buys: Vec<(u8, Buy)> =
            cycle.buys.iter().filter(|(_, buy)| price < buy.price).map(|(level, buy)| (*level, *buy)).collect();
        let mut sells: Vec<(u8, Sell)> =
            cycle.sells.iter().filter(|(_, sell)| price > sell.price).map(|(level, sell)| (*level, *sell)).collect();
        buys.sort_by_key(|(_, buy)| std::cmp::Reverse(buy.price));
        sells.sort_by_key(|(_, sell)| sell.price);
        for (level, buy) in &buys {
            self.bought(*level, buy.price, buy.quantity, now);
        }
        for (level, sell) in &sells {
            self.sold(*level, sell.price);
        }
        !buys.is_empty() || !sells.is_empty()
    }

    fn bought(&mut self, level: u8, price: Decimal, quantity: Decimal, now: i64) {
        let cycle = self.cycle.as_mut().unwrap();
        let fee = quantity * FEE;
        cycle.buys.remove(&level);
        cycle.bought.insert(level, true);
        cycle.last_buy = Some(now);
        cycle.lot_back(level, Lot { quantity: quantity - fee, cost: price * quantity, since: Some(now) });
        if level == 0 {
            cycle.base_price = Some(price);
        }
        self.fills.push((now, format!("b{level}"), price, quantity, fee));
    }

    fn sold(&mut self, level: u8, price: Decimal) {
        let cycle = self.cycle.as_mut().unwrap();
        let sell = cycle.sells.remove(&level).unwrap();
        cycle.last_sale = Some(self.now);
        cycle.base_sold |= level == 0;
        let value = price * sell.lot.quantity;
        self.fills.push((self.now, format!("s{level}"), price, sell.lot.quantity, value * FEE));
    }

    /// Does one thing after another until nothing is left to do now; notes when to look again.
    fn act(&mut self) {
        for _ in 0..10_000 {
            self.due = i64::MAX;
            if !self.step() {
                return;
            }
        }
        panic!("no end of things to do at {}", self.now);
    }

    /// Whether a moment has come; if not, it is one to look again at.
    fn come(&mut self, moment: i64) -> bool {
        if moment > self.now {
            self.due = self.due.min(moment);
        }
        moment <= self.now
    }

    fn step(&mut self) -> bool {
        if self.cycle.is_none() {
            if !self.come(self.next_cycle) {
                return false;
            }
            let carry = std::mem::take(&mut self.carry);
            let since = (carry.cost > Decimal::ZERO).then_some(self.now);
            let lots = BTreeMap::from([(0, Lot { since, ..carry })]);
            self.cycle = Some(Cycle { opened: self.now, lots, ..Cycle::default() });
            return true;
        }
        if !self.cycle.as_ref().unwrap().exit && self.must_exit() {
            self.cycle.as_mut().unwrap().exit = true;
            return true;
        }
        let cycle = self.cycle.as_ref().unwrap();
        if cycle.exit {
            self.exit()
        } else if cycle.base_sold {
            self.cancel_all();
            self.close();
            true
        } else {
            self.sell() || self.base() || self.rebuy() || self.look_again()
        }
    }

    fn must_exit(&mut self) -> bool {
        let opened = self.cycle.as_ref().unwrap().opened;
        if let Some(limit) = self.p.time_limit
            && self.come(opened + ms(limit))
        {
            return true;
        }
        let (Some(percent), Some(held)) = (self.p.stop_loss_percent, self.at_risk()) else { return false };
        let Some((at, seen)) = self.look.filter(|(at, _)| self.now - at < LOOK) else { return false };
        self.come(at + LOOK);
        seen <= held.cost / held.quantity * (Decimal::ONE - percent / Decimal::ONE_HUNDRED)
    }

    /// What a stop loss would sell.
    fn at_risk(&self) -> Option<Lot> {
        let held = self.cycle.as_ref().unwrap().held();
        (self.p.stop_loss_percent.is_some() && !held.quantity.is_zero() && held.cost > Decimal::ZERO).then_some(held)
    }

    /// When nothing else is to be done, the stop loss looks at the price, unless it knows one of the last five seconds.
    fn look_again(&mut self) -> bool {
        let due = self.at_risk().is_some() && self.look.is_none_or(|(at, _)| self.now - at >= LOOK);
        if due {
            self.look = Some((self.now, self.price));
        }
        due
    }

    /// The price as it was at the last look, which is at most five seconds old.
    fn seen(&mut self) -> Decimal {
        match self.look {
            Some((at, price)) if self.now - at < LOOK => price,
            _ => {
                self.look = Some((self.now, self.price));
                self.price
            }
        }
    }

    fn cancel_all(&mut self) {
        let cycle = self.cycle.as_mut().unwrap();
        for (level, _) in std::mem::take(&mut cycle.buys) {
            cycle.bought.insert(level, false);
        }
        for (level, sell) in std::mem::take(&mut cycle.sells) {
            cycle.lot_back(level, sell.lot);
        }
    }

    fn exit(&mut self) -> bool {
        self.cancel_all();
        let held = self.cycle.as_ref().unwrap().held();
        let quantity = down(held.quantity, STEP);
        if !quantity.is_zero() && self.seen() * quantity >= LEAST {
            let cycle = self.cycle.as_mut().unwrap();
            let rest = Lot { quantity: held.quantity - quantity, cost: Decimal::ZERO, since: None };
            cycle.lots = BTreeMap::from([(0, rest)]);
            cycle.last_sale = Some(self.now);
            self.fills.push((self.now, "x".to_owned(), self.price, quantity, self.price * quantity * FEE));
        }
        self.close();
        true
    }

    fn close(&mut self) {
        let cycle = self.cycle.take().unwrap();
        self.carry = cycle.held();
        self.next_cycle = cycle.last_sale.unwrap_or(self.now) + ms(self.p.cycle_delay);
    }

    /// What should be offered: the slot's level, and the levels whose lots it takes.
    fn groups(&self) -> Vec<(u8, Vec<u8>)> {
        let levels: Vec<u8> = self.cycle.as_ref().unwrap().lots.keys().copied().collect();
        match self.p.take_profit_mode {
            TakeProfitMode::Average => vec![(0, levels)],
            TakeProfitMode::PerLevel => levels.into_iter().map(|level| (level, vec![level])).collect(),
        }
    }

    fn sum(&self, levels: &[u8]) -> Lot {
        let lots = &self.cycle.as_ref().unwrap().lots;
        levels.iter().fold(Lot::default(), |sum, level| Lot {
            quantity: sum.quantity + lots[level].quantity,
            cost: sum.cost + lots[level].cost,
            since: [sum.since, lots[level].since].into_iter().flatten().min(),
        })
    }

    /// `cost·(1 + g) / (quantity·(1 − f))`, up to the tick.
    fn take_profit(&self, lot: Lot) -> Option<(Decimal, Decimal)> {
        let quantity = down(lot.quantity, STEP);
        if quantity.is_zero() {
            return None;
        }
        let profit = Decimal::ONE + self.p.take_profit_percent / Decimal::ONE_HUNDRED;
        let price = (lot.cost * profit / (quantity * (Decimal::ONE - FEE)) / TICK).ceil() * TICK;
        (price * quantity >= LEAST).then_some((price, quantity))
    }

    fn sell(&mut self) -> bool {
        let delay = ms(self.p.sell_delay);
        for (slot, levels) in self.groups() {
            let lot = self.sum(&levels);
            let live = self.cycle.as_ref().unwrap().sells.get(&slot).copied();
            if let Some(live) = live {
                let more = down(live.lot.quantity + lot.quantity, STEP) > live.lot.quantity;
                if more && lot.since.is_some_and(|since| self.come(since + delay)) {
                    let cycle = self.cycle.as_mut().unwrap();
                    cycle.sells.remove(&slot);
                    cycle.lot_back(slot, live.lot);
                    return true;
                }
                continue;
            }
            let Some((price, quantity)) = self.take_profit(lot) else { continue };
            if !lot.since.is_some_and(|since| self.come(since + delay)) {
                continue;
            }
            let cycle = self.cycle.as_mut().unwrap();
            for level in &levels {
                cycle.lots.remove(level);
            }
            let dust = Lot { quantity: lot.quantity - quantity, cost: Decimal::ZERO, since: None };
            cycle.lots.insert(levels[0], dust);
            cycle.sells.insert(slot, Sell { price, lot: Lot { quantity, ..lot } });
            if price <= self.price {
                self.sold(slot, self.price);
            }
            return true;
        }
        false
    }

    fn base(&mut self) -> bool {
        let cycle = self.cycle.as_ref().unwrap();
        let amount = self.p.base_order_amount;
        if cycle.base_price.is_some() || cycle.committed() + amount > self.p.max_capital {
            return false;
        }
        let ask = self.price + TICK;
        self.bought(0, ask, down(amount / ask, STEP), self.now);
        true
    }

    /// Price and quantity of a level, from the formulas.
    fn level(&self, base_price: Decimal, level: u8) -> (Decimal, Decimal) {
        let (d, s) = (self.p.rebuy_step_percent / Decimal::ONE_HUNDRED, self.p.step_scale);
        let power = |base: Decimal, exponent: u8| (0..exponent).fold(Decimal::ONE, |power, _| power * base);
        let price = match self.p.deviation_from {
            DeviationFrom::Base if s == Decimal::ONE => base_price * (Decimal::ONE - Decimal::from(level) * d),
            DeviationFrom::Base => {
                base_price * (Decimal::ONE - d * (power(s, level) - Decimal::ONE) / (s - Decimal::ONE))
            }
            DeviationFrom::Previous => {
                let above = if level == 1 { base_price } else { self.level(base_price, level - 1).0 };
                above * (Decimal::ONE - d * power(s, level - 1))
            }
        };
        let price = down(price, TICK);
        (price, down(self.p.rebuy_amount * power(self.p.amount_scale, level - 1) / price, STEP))
    }

    fn is_filled(&self, level: u8) -> bool {
        let cycle = self.cycle.as_ref().unwrap();
        let bought = !cycle.buys.contains_key(&level) && cycle.bought.get(&level).copied().unwrap_or(false);
        match self.p.take_profit_mode {
            TakeProfitMode::Average => bought,
            TakeProfitMode::PerLevel => {
                let lot = cycle.lots.get(&level).copied().unwrap_or_default();
                cycle.sells.contains_key(&level) || (bought && self.take_profit(lot).is_some())
            }
        }
    }

    fn rebuy(&mut self) -> bool {
        let Some(base_price) = self.cycle.as_ref().unwrap().base_price else { return false };
        let free = (1..=self.p.max_rebuys).filter(|level| !self.is_filled(*level));
        let wanted: Vec<u8> = free.take(usize::from(self.p.active_rebuys)).collect();
        let cycle = self.cycle.as_mut().unwrap();
        if let Some(level) = cycle.buys.keys().copied().find(|level| !wanted.contains(level)) {
            cycle.buys.remove(&level);
            cycle.bought.insert(level, false);
            return true;
        }
        let after_buy = cycle.last_buy.map_or(i64::MIN, |buy| buy + ms(self.p.sell_delay));
        let due = after_buy.max(cycle.last_sale.unwrap_or(i64::MIN)) + ms(self.p.rebuy_delay);
        for level in wanted {
            if self.cycle.as_ref().unwrap().buys.contains_key(&level) || !self.come(due) {
                continue;
            }
            let (price, quantity) = self.level(base_price, level);
            let cycle = self.cycle.as_mut().unwrap();
            if cycle.committed() + price * quantity > self.p.max_capital {
                continue;
            }
            cycle.buys.insert(level, Buy { price, quantity });
            let ask = self.price + TICK;
            if price >= ask {
                self.bought(level, ask, quantity, self.now);
            }
            return true;
        }
        false
    }
}

/// The fills of the backtest, in the same words.
#[derive(Default)]
struct Fills(Vec<Fill>);

impl Observer for Fills {
    fn recorded(&mut self, _time: Timestamp, record: &Record, _ledger: &Ledger) {
        if let Record::Executed { key, execution } = record {
            let name = match key.slot {
                Slot::Buy(level) => format!("b{level}"),
                Slot::Sell(level) => format!("s{level}"),
                Slot::Exit => "x".to_owned(),
            };
            self.0.push((execution.time.0, name, execution.price, execution.quantity, execution.fee));
        }
    }
}

fn rich() -> Exchange {
    let account = AccountSettings::new("k", "s", "USDT", Decimal::from(1_000_000));
    Exchange::new(Settings { accounts: vec![account], ..Settings::default() })
}

/// Draws parameters that the checks before the first order let through.
fn draw(random: &mut SmallRng) -> String {
    let mut pick = |choices: &[&str]| choices[random.random_range(0..choices.len())].to_owned();
    let mode = pick(&["average", "per_level"]);
    let rebuys: u8 = pick(&["0", "1", "2", "3", "5", "8"]).parse().unwrap();
    let (base, rebuy) = (pick(&["20", "33.33", "50"]), pick(&["15", "20", "41.7"]));
    let (step_scale, amount_scale) = (pick(&["0.9", "1", "1.2", "1.5"]), pick(&["1", "1.1", "1.35", "2"]));
    let step = pick(&["0.21", "0.4", "0.75", "1.3"]);
    let cost = (0..rebuys).fold((money::parse(&base).unwrap(), money::parse(&rebuy).unwrap()), |(sum, amount), _| {
        (sum + amount, amount * money::parse(&amount_scale).unwrap())
    });
    let capital = money::text(cost.0 * money::parse(&pick(&["1", "1.05", "3"])).unwrap());
    let delay = &["0s", "500ms", "2s", "17s", "75s", "4m"];
    let mut text = format!(
        "bot = \"b\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\nbase_order_amount = \"{base}\"\n\
         rebuy_amount = \"{rebuy}\"\nmax_rebuys = {rebuys}\nrebuy_step_percent = {step}\nstep_scale = {step_scale}\n\
         amount_scale = {amount_scale}\nmax_capital = \"{capital}\"\ntake_profit_mode = \"{mode}\"\n"
    );
    for (name, value) in [
        ("take_profit_percent", pick(&["0.2", "0.45", "1", "2.5"])),
        ("active_rebuys", pick(&["1", "2", "3", "10"])),
        ("deviation_from", format!("\"{}\"", pick(&["base", "previous"]))),
        ("sell_delay", format!("\"{}\"", pick(delay))),
        ("rebuy_delay", format!("\"{}\"", pick(delay))),
        ("cycle_delay", format!("\"{}\"", pick(&["0s", "3s", "30s", "10m"]))),
        ("stop_loss_percent", pick(&["\"off\"", "\"off\"", "0.7", "2", "4.5"])),
        ("time_limit", format!("\"{}\"", pick(&["off", "off", "50m", "7h", "3days"]))),
    ] {
        writeln!(text, "{name} = {value}").unwrap();
    }
    text
}

/// Every price point of the file: 0 s the open, 15 s the extreme nearer to it (the low if both are), 30 s the other,
/// 45 s the close.
fn points(file: &Path) -> Vec<(i64, Decimal)> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file).unwrap()).read_to_string(&mut text).unwrap();
    let mut points = Vec::new();
    for line in text.lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let time = humantime::parse_rfc3339_weak(fields[0]).unwrap();
        let start = time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
        let [open, high, low, close] = [1, 2, 3, 4].map(|field| fields[field].parse::<Decimal>().unwrap());
        let (first, second) = if open - low <= high - open { (low, high) } else { (high, low) };
        points.extend([(start, open), (start + 15_000, first), (start + 30_000, second), (start + 45_000, close)]);
    }
    points
}

/// Two hundred random sets of parameters, in two halves that run side by side.
#[test]
fn random_parameters_fill_the_same_orders_as_the_slow_and_simple_implementation() {
    compare(0..100);
}

#[test]
fn a_hundred_other_random_parameters_do_so_too() {
    compare(100..200);
}

fn compare(seeds: std::ops::Range<u64>) {
    let Some(file) = recorded::january() else { return };
    let points = points(&file);
    let recording = Recording::read(&file, TICK).unwrap();
    assert_eq!(recording.len() * 4, points.len());
    let mut fills = BTreeMap::<String, usize>::new();
    for seed in seeds {
        let text = draw(&mut SmallRng::seed_from_u64(seed));
        let parameters = recompra::config::parse(&text, Path::new("drawn.toml")).unwrap().parameters;
        let mut found = Fills::default();
        let tape = recording.play(market::Path::Nearest);
        let bot = BotName::new("b").unwrap();
        backtest::run(rich(), tape, &bot, &parameters, &mut found)
            .unwrap_or_else(|obstacle| panic!("seed {seed}: {obstacle}\n{text}"));
        let expected = Slow::run(&parameters, &points);
        for (number, (found, expected)) in found.0.iter().zip(&expected).enumerate() {
            assert_eq!(found, expected, "seed {seed}, fill {number}\n{text}");
        }
        assert_eq!(found.0.len(), expected.len(), "seed {seed}\n{text}");
        for (_, name, ..) in &expected {
            *fills.entry(name[..1].to_owned()).or_default() += 1;
        }
    }
    println!("fills compared: {fills:?}");
    assert!(fills["b"] > 5_000 && fills["s"] > 2_000 && fills["x"] > 100, "too few to mean anything: {fills:?}");
}
