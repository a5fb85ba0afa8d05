//! The world of one seed: the exchange, its market, the way to it, the stream, the disk and the one virtual time that
//! moves them. Single-threaded; nothing happens but what the seed says.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use recompra::bybit::Steering;
use recompra::core::ledger::Ledger;
use recompra::core::order::{BotName, Side};
use recompra::core::parameters::Parameters;
use recompra::core::record::AlarmCause;
use recompra::core::strategy::Goal;
use recompra::core::{Decimal, Timestamp};
use recompra::engine::ports::AdjustableClock;
use recompra::engine::ports::{Clock, Signal};
use recompra::http::Request;
use recompra::simulation::Exchange;
use recompra::simulation::exchange::OrderRef;
use recompra::simulation::market::PricePoint;
use recompra::simulation::order::{Kind, NewOrder, TimeInForce};
use recompra::simulation::stream::Session;

use super::books::{BookOrder, Books, Change};
use super::bounds::Bounds;
use super::conditions::{Conditions, Draw};
use super::disk::Disk;
use super::drawing::{self, Walk};
use super::faults::{Fault, Faults};
use super::invariants::{self, Violation};
use super::sabotage::Sabotage;

/// The first moment of every seed, in milliseconds.
const BEGIN: i64 = 1_700_000_000_000;
/// After the faults cease, everything must be settled within this long, in milliseconds. The longest patience of the
/// bot is ten minutes, after HTTP 403; on it follow at most five between refusals.
const SETTLE: i64 = 1_500_000;
/// A lost journal has forgotten which names of the open cycle are taken. The bot finds out by trying one after another: each
/// is looked for a minute, and the next follows after a pause.
const NAME: i64 = 75_000;

/// The unwinding that stands for the death of the process.
pub(crate) struct Death(pub(crate) Fault);

/// The unwinding after an invariant broke; the violation is in the world.
pub(crate) struct Broken;

/// How a seed is to be run.
#[derive(Clone, Copy, Default)]
pub(crate) struct Options {
    /// Tell everything that happens.
    pub(crate) trace: bool,
    /// What is broken on purpose.
    pub(crate) sabotage: Option<Sabotage>,
    /// What is wrong for a while.
    pub(crate) conditions: Draw,
}

/// The bot's clock: off by what is wrong with it, corrected by the bot.
pub(crate) struct BotClock {
    off: i64,
    /// How wrong its wall clock is, which goes on while the machine sleeps.
    wrong: i64,
    steering: Steering,
}

/// The private stream's connection.
pub(crate) enum Link {
    /// Not connected until then.
    Down(i64),
    /// Connected.
    Up(Session),
    /// Connected, but nothing comes through; noticed then.
    Mute(i64),
}

/// Everything.
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) rng: SmallRng,
    /// The true time, in milliseconds.
    pub(crate) now: i64,
    pub(crate) bot: BotName,
    pub(crate) parameters: Parameters,
    pub(crate) goal: Goal,
    pub(crate) exchange: Exchange,
    pub(crate) books: Books,
    pub(crate) faults: Faults,
    pub(crate) conditions: Conditions,
    pub(crate) bounds: Bounds,
    /// When the faults cease.
    pub(crate) faults_end: i64,
    pub(crate) disk: Disk,
    pub(crate) clock: BotClock,
    pub(crate) link: Link,
    /// Signals on their way to the bot, and when they arrive.
    pub(crate) signals: VecDeque<(i64, String)>,
    /// Signals that are not frames, in their order among them.
    pub(crate) ready: VecDeque<Signal>,
    /// Requests that arrive although the client gave up.
    pub(crate) late: Vec<(i64, Request)>,
    pub(crate) walk: Walk,
    next_point: i64,
    /// Names whose create has brought no clear answer yet.
    pub(crate) unknown: BTreeSet<String>,
    /// What the records of this life add up to, applied a second time.
    pub(crate) mirror: Ledger,
    /// Whether the last death left the mirror as the journal must read back.
    pub(crate) mirror_is_exact: bool,
    /// Booked executions, and how long the journal was when they were.
    pub(crate) booked: BTreeMap<String, usize>,
    /// Whether the exchange has forgotten something that the bot had not booked.
    pub(crate) history_lost: bool,
    /// Whether the whole journal was lost at some time.
    pub(crate) journal_lost: bool,
    /// Whether somebody changed orders or filters, so that rules about what should rest do not hold.
    pub(crate) meddled: bool,
    pub(crate) settled: bool,
    /// The last time the stream brought nothing: since when, and until when.
    pub(crate) silence: (i64, i64),
    /// How long the bot took to book a fill that it could not hear of: after the last sign of life of the stream, and after
    /// the stream was back.
    pub(crate) slowest: (i64, i64),
    pub(crate) lives: u64,
    pub(crate) deaths: u64,
    pub(crate) cycles: u64,
    /// When a person next looks at what is wrong: by a random stream of its own.
    person: SmallRng,
    /// How often the bot has written down what it waits for, and how long the exchange had been silent each time.
    pub(crate) waits: Vec<Option<i64>>,
    /// How often a person has let the bot spend again what it lost.
    pub(crate) resumed: u64,
    pub(crate) violation: Option<Violation>,
}

impl World {
    /// The world of a seed.
    pub(crate) fn new(seed: u64, options: Options) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let parameters = drawing::parameters(&mut rng);
        let walk = Walk::drawn(&mut rng);
        let settings = drawing::exchange(&mut rng, &parameters, walk.price());
        let bot = BotName::new("sim").unwrap_or_else(|_| unreachable!());
        let mut faults_end = BEGIN + walk.pace * rng.random_range(20..120);
        let mut walk = walk;
        let conditions = Conditions::drawn(seed, options.conditions, BEGIN);
        let faults = if conditions.calm { Faults::none(seed) } else { Faults::drawn(seed) };
        if let Some(end) = conditions.end() {
            faults_end = faults_end.max(end + 30_000);
            // Hours have no more points of the market than minutes.
            walk.pace = walk.pace.max((faults_end - BEGIN) / 250);
        }
        Self {
            options,
            now: BEGIN,
            exchange: Exchange::new(settings),
            books: Books::new(bot.clone(), parameters.take_profit_mode),
            bot,
            goal: Goal::Trade,
            faults,
            conditions,
            bounds: Bounds::default(),
            faults_end,
            disk: Disk::default(),
            clock: BotClock { off: 0, wrong: 0, steering: Steering::starting_at(0) },
            link: Link::Down(BEGIN),
            signals: VecDeque::new(),
            ready: VecDeque::new(),
            late: Vec::new(),
            next_point: BEGIN + walk.pace,
            walk,
            unknown: BTreeSet::new(),
            mirror: Ledger::default(),
            mirror_is_exact: true,
            booked: BTreeMap::new(),
            history_lost: false,
            journal_lost: false,
            meddled: false,
            settled: false,
            silence: (i64::MAX, i64::MAX),
            slowest: (0, 0),
            lives: 0,
            deaths: 0,
            cycles: 0,
            person: SmallRng::seed_from_u64(seed ^ 0x9E25_0A11),
            waits: Vec::new(),
            resumed: 0,
            violation: None,
            parameters,
            rng,
        }
    }

    /// The true time as the exchange knows it.
    pub(crate) fn time(&self) -> Timestamp {
        Timestamp(self.now)
    }

    /// One line of the trace.
    pub(crate) fn say(&mut self, what: &str) {
        if self.options.trace {
            println!("{:>9.3} {what}", (self.now - BEGIN) as f64 / 1000.0);
        }
    }

    /// The process dies here.
    pub(crate) fn crash(&mut self, fault: Fault) -> ! {
        self.say(&format!("fault: {fault:?}"));
        std::panic::resume_unwind(Box::new(Death(fault)))
    }

    /// The process dies here if the seed says so.
    pub(crate) fn crash_if(&mut self, fault: Fault) {
        if self.faults.hit(fault) {
            self.crash(fault);
        }
    }

    /// An invariant is broken: nothing more happens.
    pub(crate) fn broken(&mut self, invariant: u8, what: String) -> ! {
        self.say(&format!("VIOLATION of invariant {invariant}: {what}"));
        self.violation = Some(Violation { invariant, what });
        std::panic::resume_unwind(Box::new(Broken))
    }

    /// Lets time pass, with everything that happens until then.
    pub(crate) fn pass(&mut self, milliseconds: i64) {
        let end = self.now + milliseconds.max(0);
        loop {
            let point = if self.faults.ceased { i64::MAX } else { self.next_point };
            let late = self.late.iter().map(|(at, _)| *at).min().unwrap_or(i64::MAX);
            let link = match self.link {
                Link::Down(until) | Link::Mute(until) => until,
                Link::Up(_) => i64::MAX,
            };
            let next = point.min(late).min(link);
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if next == point {
                self.market_point();
            } else if next == late {
                self.arrive_late();
            } else {
                self.change_link();
            }
        }
        self.now = self.now.max(end);
    }

    fn market_point(&mut self) {
        self.next_point = self.now + self.walk.pace;
        if self.now >= self.faults_end {
            self.cease_faults();
            return;
        }
        let price = self.walk.step(&mut self.rng);
        let short = self.faults.hit(Fault::PartialFill);
        let liquidity = short.then(|| Decimal::new(self.faults.number(0, 800), 6));
        self.exchange.advance("BTCUSDT", &PricePoint { time: self.time(), price, liquidity }, Timestamp(self.now));
        self.told();
        self.outside_events();
    }

    /// From here on everything works, and the market stands still.
    fn cease_faults(&mut self) {
        self.say("the faults cease");
        self.faults.ceased = true;
        self.faults_end = self.now;
        self.disk.full_until = 0;
        let (now, price) = (self.time(), self.walk.price());
        self.exchange.advance("BTCUSDT", &PricePoint::new(now, price), now);
        // The user's own orders are gone, and there is money enough for the ladder.
        let foreign: Vec<u64> = self.books.foreign.keys().copied().collect();
        for id in foreign {
            let _ = self.exchange.cancel(0, "BTCUSDT", &OrderRef::Id(id), now);
        }
        let _ = self.exchange.adjust_balance(0, "USDT", self.parameters.max_capital * Decimal::TWO, now);
        self.told();
    }

    /// How long after the last fault the bot may take until it is settled, in milliseconds: longer only where the journal
    /// was lost, for each name of the open cycle that is taken and no longer told.
    pub(crate) fn time_to_settle(&self) -> i64 {
        let cycle = self.mirror.cycle.as_ref().filter(|_| self.journal_lost).map(|cycle| cycle.number);
        let forgotten = |order: &BookOrder| !order.open && order.row.updated.0 <= self.faults_end - 23 * 3_600_000;
        let orders = self.books.orders.iter().filter(|(key, _)| Some(key.cycle) == cycle);
        let names = orders.filter(|(_, order)| forgotten(order)).count();
        SETTLE + NAME * names as i64
    }

    /// What the user and the exchange do besides.
    fn outside_events(&mut self) {
        let now = self.time();
        if self.faults.hit(Fault::CancelledByOthers) {
            let open: Vec<u64> = self.books.open.iter().map(|key| self.books.orders[key].row.id).collect();
            if !open.is_empty() {
                let id = open[self.rng.random_range(0..open.len())];
                self.say(&format!("fault: order {id} cancelled by others"));
                let _ = self.exchange.cancel(0, "BTCUSDT", &OrderRef::Id(id), now);
            }
        }
        if self.faults.hit(Fault::AmendedByOthers) {
            self.amend_an_order();
        }
        if self.faults.hit(Fault::ManualOrder) {
            self.place_by_hand();
        }
        if self.faults.hit(Fault::Deposit) {
            let (coin, amount) =
                if self.rng.random() { ("BTC", Decimal::new(123_457, 8)) } else { ("USDT", Decimal::from(77)) };
            self.say(&format!("fault: deposit of {amount} {coin}"));
            let _ = self.exchange.adjust_balance(0, coin, amount, now);
        }
        if self.faults.hit(Fault::Withdrawal) {
            let coin = if self.rng.random() { "BTC" } else { "USDT" };
            let free = self.exchange.accounts()[0].holding(coin).free();
            let amount = (free * Decimal::new(self.faults.number(1, 10), 1)).round_dp(8).min(free);
            self.say(&format!("fault: withdrawal of {amount} {coin}"));
            let _ = self.exchange.adjust_balance(0, coin, -amount, now);
        }
        if self.faults.hit(Fault::FeeCoin) {
            let coin = self.rng.random::<bool>().then(drawing::mnt);
            self.say(&format!("fault: fees in {coin:?}"));
            self.exchange.set_fee_coin(0, coin);
        }
        if self.faults.hit(Fault::Filters) {
            self.change_filters();
        }
        if self.faults.hit(Fault::ClockJump) {
            // A suspended machine's clock stands still; a correction by a slow answer may put it ahead.
            let jump = [-7_200_000, -60_000, -3_000, 700, 4_000][self.rng.random_range(0..5)];
            self.say(&format!("fault: the clock jumps by {jump} ms"));
            if jump > 0 {
                // So far ahead at most, however far it was before: the clock is monotonic, and errors do not add up.
                let ahead = self.clock.steering.exchange_time(self.clock.off);
                self.clock.off += jump.min((jump - ahead).max(0));
            } else {
                self.clock.off += jump;
                self.now -= jump;
                self.faults_end -= jump;
                self.next_point = self.now + self.walk.pace;
            }
        }
        self.told();
    }

    /// The machine sleeps for so long, in milliseconds, and its clock stands still.
    pub(crate) fn suspend(&mut self, time: i64) {
        let before = self.now;
        self.clock.off -= time;
        self.now += time;
        self.faults_end += time;
        self.next_point = self.now + self.walk.pace;
        self.forget_what_is_due();
        invariants::forget_history(self, before);
    }

    /// A person sees that coins are gone, and lets the bot go on.
    pub(crate) fn person_looks(&mut self) -> Option<Signal> {
        let cause = AlarmCause::CoinsLeft;
        let message = self.mirror.alarms.get(&cause).filter(|_| !self.faults.ceased)?;
        let seen = BTreeMap::from([(cause, message.clone())]);
        self.person.random_bool(0.05).then_some(Signal::Resume(seen))
    }

    fn amend_an_order(&mut self) {
        let open: Vec<_> = self.books.open.iter().map(|key| self.books.orders[key].row.clone()).collect();
        if open.is_empty() {
            return;
        }
        let row = &open[self.rng.random_range(0..open.len())];
        let Some(price) = row.price() else { return };
        let farther = if row.side == Side::Sell { price + Decimal::ONE } else { price - Decimal::ONE };
        self.say(&format!("fault: order {} amended by the user to {farther}", row.link_id));
        self.meddled = true;
        let now = self.time();
        let _ = self.exchange.amend(0, "BTCUSDT", &OrderRef::Id(row.id), Some(farther), None, now);
    }

    fn place_by_hand(&mut self) {
        let side = if self.rng.random() { Side::Buy } else { Side::Sell };
        let part = if side == Side::Buy { Decimal::new(99, 2) } else { Decimal::new(101, 2) };
        let price = (self.walk.price() * part).round_dp(2);
        let quantity = Decimal::new(self.rng.random_range(300..600), 6);
        let kind = Kind::Limit { price, time_in_force: TimeInForce::Gtc };
        let link_id = format!("hand-{}", self.books.foreign.len());
        let new = NewOrder { symbol: "BTCUSDT".to_owned(), side, kind, quantity, link_id };
        let now = self.time();
        self.say(&format!("fault: the user places {new:?}"));
        if let Ok(accepted) = self.exchange.create(0, new, now) {
            self.books.foreign.insert(accepted.id, false);
        }
    }

    fn change_filters(&mut self) {
        let Some(book) = self.exchange.book_mut("BTCUSDT") else { return };
        let instrument = &mut book.listing_mut().instrument;
        match self.rng.random_range(0..3) {
            0 => instrument.min_notional = Decimal::from(self.rng.random_range(1..12)),
            1 => instrument.tick_size = [Decimal::new(1, 2), Decimal::new(1, 1)][self.rng.random_range(0..2)],
            _ => instrument.quantity_step = [Decimal::new(1, 6), Decimal::new(1, 5)][self.rng.random_range(0..2)],
        }
        let text = format!("fault: filters are now {instrument:?}");
        self.meddled = true;
        self.say(&text);
    }

    /// A point at which a resting order of the bot is filled, just before its cancel arrives.
    pub(crate) fn race(&mut self, link_id: &str) {
        let Some(order) = self.books.orders.values().find(|order| order.row.link_id == link_id && order.open) else {
            return;
        };
        let Some(price) = order.row.price() else { return };
        let through = if order.row.side == Side::Buy { price - Decimal::new(1, 1) } else { price + Decimal::new(1, 1) };
        self.say(&format!("fault: a fill races the cancel of {link_id}"));
        let liquidity = self.rng.random_bool(0.3).then(|| Decimal::new(300, 6));
        self.walk.price = i64::try_from((through * Decimal::ONE_HUNDRED).trunc()).unwrap_or(self.walk.price);
        let now = self.time();
        self.exchange.advance("BTCUSDT", &PricePoint { time: now, price: through, liquidity }, now);
        self.told();
    }

    fn arrive_late(&mut self) {
        if let Some(index) = self.late.iter().position(|(at, _)| *at <= self.now) {
            let (_, request) = self.late.swap_remove(index);
            let answer = self.exchange.handle(&request, Timestamp(self.now));
            self.say(&format!("arrives late: {} → {}", request.body, String::from_utf8_lossy(&answer.body)));
            self.told();
        }
    }

    /// Enters what the exchange has done into its books, and sends it down the stream.
    pub(crate) fn told(&mut self) {
        let pushes = self.exchange.take_pushes(0);
        if pushes.is_empty() {
            return;
        }
        let mut change = Change::default();
        for push in &pushes {
            self.books.enter(push, &mut change);
        }
        for push in &pushes {
            self.stream(push);
        }
        if change.any {
            invariants::of_books(self, &change);
        }
    }

    /// How the next life begins: after a death, how long until somebody starts the bot again.
    pub(crate) fn between_lives(&mut self, death: Option<Fault>) {
        self.signals.clear();
        self.ready.clear();
        self.mirror_is_exact &= !matches!(death, Some(Fault::CrashInWrite | Fault::CrashAfterWrite));
        if death.is_some() {
            self.deaths += 1;
            if self.faults.hit(Fault::PowerCut) {
                self.cut_power();
            } else if self.disk.lacks_something() && self.faults.hits_disk(Fault::PagesForgotten) {
                self.say("fault: the machine forgets what a sync has lost");
                let kept = self.disk.forget_what_was_lost();
                self.journal_lacks_what_follows(kept);
            }
        }
        if self.faults.hit(Fault::DirectoryLost) {
            self.lose_directory();
        }
        let hour = 3_600_000;
        let pause = if self.faults.hit(Fault::OutageOfAWeek) {
            self.faults.number(169 * hour, 400 * hour)
        } else if self.faults.hit(Fault::OutageOfADay) {
            self.faults.number(25 * hour, 160 * hour)
        } else if self.faults.hit(Fault::OutageOfMinutes) {
            self.faults.number(60_000, 3_600_000)
        } else {
            self.faults.number(50, 5_000)
        };
        if pause > 5_000 {
            self.say(&format!("fault: an outage of {} s", pause / 1000));
        }
        self.sleep_through(pause);
        self.link = Link::Down(self.now + self.rng.random_range(50..2_000));
        let wrong = if self.faults.hit(Fault::ClockWrong) {
            let year = 365 * 24 * hour;
            [-30 * year, 40 * year, -90_000, 90_000, 1_500][self.rng.random_range(0..5)]
        } else {
            0
        };
        self.clock = BotClock { off: wrong, wrong, steering: Steering::starting_at(0) };
        self.lives += 1;
        if self.lives == 60 && !self.faults.ceased {
            self.cease_faults();
        }
    }

    /// A long outage has few points of the market, whatever its pace.
    fn sleep_through(&mut self, pause: i64) {
        let end = self.now + pause;
        if pause > 60_000 {
            let pace = std::mem::replace(&mut self.walk.pace, pause / 12);
            self.next_point = self.now + self.walk.pace;
            // The faults' time is counted in life, not in absence.
            self.faults_end += pause;
            let before = self.now;
            self.pass(pause);
            self.walk.pace = pace;
            self.next_point = self.now + pace;
            invariants::forget_history(self, before);
        } else {
            self.pass(pause);
        }
        self.now = self.now.max(end);
    }

    fn cut_power(&mut self) {
        if self.disk.is_replaced() && self.faults.number(0, 1) == 0 {
            self.faults.count(Fault::OldFileBack);
            self.disk.bring_back();
            self.say("fault: a power cut brings the journal's old file back");
            self.booked.retain(|_, end| *end == 0);
            self.mirror_is_exact = false;
            self.unknown.clear();
            return;
        }
        let unsynced = self.disk.bytes.len() - self.disk.synced;
        let keep = usize::try_from(self.faults.number(0, unsynced as i64)).unwrap_or(0);
        let zeros = self.faults.number(0, 3) == 0;
        self.say(&format!("fault: a power cut leaves {keep} of {unsynced} unsynced bytes"));
        let (length, synced) = (self.disk.bytes.len(), self.disk.synced);
        let mut holes = Vec::new();
        if keep > 0 && self.faults.hits_disk(Fault::TailHole) {
            holes = self.faults.some_pages(synced..synced + keep);
            self.say(&format!("fault: the power cut leaves holes: {holes:?}"));
        }
        let kept = self.disk.cut_power(keep, holes, zeros);
        if kept < length {
            self.journal_lacks_what_follows(kept);
        }
    }

    /// Of the journal no more is left than this, as far as it can be read.
    fn journal_lacks_what_follows(&mut self, kept: usize) {
        self.booked.retain(|_, end| *end <= kept);
        self.mirror_is_exact = false;
        // What the journal does not know any more, nobody can ask for by its name alone.
        self.unknown.clear();
    }

    /// The state directory is gone, and all that was in it.
    pub(crate) fn lose_directory(&mut self) {
        self.say("the state directory is lost");
        self.disk.lose();
        self.forget_what_was_written();
        self.journal_lost = true;
        self.booked.clear();
        self.unknown.clear();
        self.mirror_is_exact = false;
    }
}

impl BotClock {
    /// What it shows; it never runs backwards.
    pub(crate) fn reading(&self, now: i64) -> i64 {
        self.steering.peek(now + self.off)
    }
}

/// The clock as the bot holds it.
pub(crate) struct ClockHandle(pub(crate) std::rc::Rc<std::cell::RefCell<World>>);

impl Clock for ClockHandle {
    fn now(&self) -> Timestamp {
        let world = &mut *self.0.borrow_mut();
        let machine = world.now + world.clock.off;
        Timestamp(world.clock.steering.now(machine))
    }

    fn sleep(&self, duration: Duration) {
        self.0.borrow_mut().pass(i64::try_from(duration.as_millis()).unwrap_or(0));
    }
}

impl AdjustableClock for ClockHandle {
    fn exchange_time(&self) -> Timestamp {
        let world = self.0.borrow();
        Timestamp(world.clock.steering.exchange_time(world.now + world.clock.off))
    }

    fn correct(&self, milliseconds: i64) {
        let world = &mut *self.0.borrow_mut();
        let machine = world.now + world.clock.off;
        let wall = world.now + world.clock.wrong;
        world.clock.steering.correct(milliseconds, machine, wall);
    }

    fn is_corrected(&self) -> bool {
        self.0.borrow().clock.steering.is_corrected()
    }
}
