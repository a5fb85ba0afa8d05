//! What a bot needs of its machine: start, memory, threads, disk, and processor time while nothing happens, each beside its
//! limit. `make footprint` prints them, `make bench` too.
//!
//! A bot of the release build, or of the program that `RECOMPRA` names, trades over TLS on loopback on an exchange in this
//! process, which moves the market. Fails if it needs more memory, threads or disk than it may. Times depend on what else
//! the machine does: of several measurements the best counts, which other work has disturbed least, and one above its limit
//! is only marked.
//!
//! What a start costs when the exchange is far away is measured by `tests/machine/delay.sh`.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kit::{KEY, SECRET, STRATEGY, Venue, account, program, until};
use recompra::core::order::Side;
use recompra::core::{Decimal, Timestamp};
use recompra::journal;
use recompra::simulation::exchange::OrderRef;
use recompra::simulation::market::PricePoint;
use recompra::simulation::order::{Kind, NewOrder, TimeInForce};
use recompra::simulation::tls::TlsFront;

const SYMBOL: &str = "BTCUSDT";
const PATIENCE: Duration = Duration::from_secs(30);

const STARTS: usize = 11;
/// Besides four round trips, which take next to nothing on loopback.
const START_LIMIT: Duration = Duration::from_millis(50);
/// Cycles at a pace at which each of their steps is written to the disk on its own, as in life.
const SLOW_CYCLES: u64 = 4;
/// A second after it was written to, the journal is synced.
const SYNCED: Duration = Duration::from_millis(1_300);
const CYCLES_A_DAY: u64 = 10;
const DAY_LIMIT: u64 = 1_000_000;
const FAST_CYCLES: u64 = 20;
/// The bot lets no more than ten requests a second leave in the mean.
const QUICKLY: Duration = Duration::from_millis(400);
const MEMORY_LIMIT: u64 = 10 * 1024;
/// The main thread, the stream's, Ctrl-C's, and the journal's while it syncs.
const IDLE_THREADS_LIMIT: usize = 4;
/// Beside them at most eight requests that leave together, each on a thread of its own.
const THREADS_LIMIT: usize = IDLE_THREADS_LIMIT + 8;
/// So many times for so long: each is longer than the time after which the bot asks for the exchange's clock.
const IDLE_TIMES: usize = 3;
const IDLE: Duration = Duration::from_secs(21);
/// Of one core, in millionths.
const IDLE_LIMIT: u128 = 1_000;

fn main() -> ExitCode {
    let place = Place::new();
    let mut table = Table::default();
    println!("footprint of {}", program().display());

    let threads = Arc::new(Threads::default());
    let mut bot = start(&place, &threads);
    until("the ladder rests", PATIENCE, || place.resting() == (1, 1));
    let mut starts: Vec<Duration> = (0..STARTS)
        .map(|_| {
            bot.end();
            bot = start(&place, &threads);
            bot.reconciled
        })
        .collect();
    starts.sort_unstable();
    let best = starts[0];
    table.line(
        &format!("start to reconciled, best of {STARTS}"),
        &ms(best),
        &ms(START_LIMIT),
        best <= START_LIMIT,
        Holds::OnAQuietMachine,
    );
    table.note("the middle one", &ms(starts[STARTS / 2]));
    table.note("the slowest", &ms(starts[STARTS - 1]));

    let before = bot.written();
    assert_eq!(trade(&place, SLOW_CYCLES, SYNCED), SLOW_CYCLES);
    let a_cycle = (bot.written() - before) / SLOW_CYCLES;
    table.note("written to disk for a cycle with two rebuys", &bytes(a_cycle));

    let cycles = trade(&place, FAST_CYCLES, QUICKLY);
    let most = bot.memory();
    assert!(cycles > FAST_CYCLES / 2, "{cycles} cycles are no trading");
    table.line(
        "resident memory at most, trading",
        &format!("{most} KiB"),
        &format!("{MEMORY_LIMIT} KiB"),
        most <= MEMORY_LIMIT,
        if bot.is_static() { Holds::Always } else { Holds::IfStatic },
    );
    table.note("cycles meanwhile", &cycles.to_string());

    let written = bot.written();
    let mut idle = Duration::ZERO;
    let mut shares = Vec::new();
    threads.begin_counting();
    for _ in 0..IDLE_TIMES {
        let before = bot.processor();
        let time = one_message_a_second(&place, &mut bot);
        shares.push((bot.processor() - before).as_nanos() * 1_000_000 / time.as_nanos());
        idle += time;
    }
    let idle_threads = threads.usual();
    shares.sort_unstable();
    let share = shares[0];
    table.line(
        &format!("idle, of one core, best of {IDLE_TIMES}"),
        &percent(share),
        &percent(IDLE_LIMIT),
        share <= IDLE_LIMIT,
        Holds::OnAQuietMachine,
    );
    table.note("the worst", &percent(shares[IDLE_TIMES - 1]));
    let a_day_idle = (bot.written() - written) * 24 * 3600 / idle.as_secs().max(1);
    table.note("written to disk in an idle day", &bytes(a_day_idle));
    let a_day = CYCLES_A_DAY * a_cycle + a_day_idle;
    table.line(
        "written to disk a day, ten cycles",
        &bytes(a_day),
        &bytes(DAY_LIMIT),
        a_day <= DAY_LIMIT,
        Holds::Always,
    );

    for (name, count, limit) in [
        ("threads, idle", idle_threads, IDLE_THREADS_LIMIT),
        ("threads at most, starting and trading too", threads.most(), THREADS_LIMIT),
    ] {
        table.line(name, &count.to_string(), &limit.to_string(), count <= limit, Holds::Always);
    }
    bot.end();
    if table.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Buys, two rebuys, and the sale of all, so many times, with a pause after each. How many cycles the bot has closed.
fn trade(place: &Place, times: u64, pause: Duration) -> u64 {
    sleep(SYNCED);
    let before = place.cycles();
    for _ in 0..times {
        // Below the first rebuy, below the second, above the take profit.
        for thousandths in [994, 990, 1_008] {
            place.move_to(place.base_price() * Decimal::new(thousandths, 3));
            sleep(pause);
        }
    }
    sleep(SYNCED);
    place.cycles() - before
}

/// Somebody with the same account places an order in one second and cancels it in the next: the bot is told of each.
fn one_message_a_second(place: &Place, bot: &mut Bot) -> Duration {
    let begin = Instant::now();
    let price = (place.price() * Decimal::new(97, 2)).trunc();
    let mut resting = None;
    for second in 1.. {
        place
            .venue
            .hub
            .with(|exchange, now| match resting.take() {
                Some(id) => exchange.cancel(0, SYMBOL, &OrderRef::Id(id), now).map(drop),
                None => {
                    let kind = Kind::Limit { price, time_in_force: TimeInForce::Gtc };
                    let quantity = Decimal::new(1, 3);
                    let symbol = SYMBOL.to_owned();
                    let order = NewOrder { symbol, side: Side::Buy, kind, quantity, link_id: String::new() };
                    exchange.create(0, order, now).map(|accepted| resting = Some(accepted.id))
                }
            })
            .expect("an order that the exchange takes");
        let due = begin + Duration::from_secs(second);
        sleep(due.saturating_duration_since(Instant::now()));
        bot.processor();
        if begin.elapsed() >= IDLE {
            break;
        }
    }
    begin.elapsed()
}

/// The exchange, with TLS, and the bot's files.
struct Place {
    config: String,
    _front: TlsFront,
    venue: Venue,
}

impl Place {
    fn new() -> Self {
        let venue = Venue::new("footprint", account());
        let certificates = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls"));
        let read = |name: &str| std::fs::read(certificates.join(name)).expect("a certificate of the tests");
        let front = TlsFront::start("127.0.0.1:0", &read("server.pem"), &read("server.key"), venue.address())
            .expect("a port on loopback");
        let (port, authority) = (front.address().port(), certificates.join("ca.pem"));
        let text = format!(
            "bot = \"btc\"\nenvironment = \"demo\"\nrest_url = \"https://localhost:{port}\"\nca_file = {authority:?}\n\
             stream_url = \"wss://localhost:{port}/v5/private\"\nstate_dir = \"state\"\n[strategy]\n{STRATEGY}"
        );
        Self { config: venue.write("btc.toml", &text), _front: front, venue }
    }

    /// How many sells and buys rest.
    fn resting(&self) -> (usize, usize) {
        self.venue.hub.with(|exchange, _| {
            let open = |side| exchange.orders().filter(|order| order.side == side && order.status.is_open()).count();
            (open(Side::Sell), open(Side::Buy))
        })
    }

    fn move_to(&self, price: Decimal) {
        self.venue.hub.advance(SYMBOL, &PricePoint::new(Timestamp(0), price));
    }

    fn price(&self) -> Decimal {
        self.venue.hub.with(|exchange, _| exchange.books()[0].bid())
    }

    /// What the last market buy cost a coin.
    fn base_price(&self) -> Decimal {
        self.venue.hub.with(|exchange, _| {
            let bought = exchange.orders().filter(|order| order.price().is_none());
            bought.max_by_key(|order| order.id).and_then(|order| order.average_price()).expect("a base order")
        })
    }

    fn cycles(&self) -> u64 {
        journal::history(&self.venue.journal()).expect("a journal").ledger.totals.cycles
    }
}

/// How many threads a bot had, each time that somebody looked.
#[derive(Default)]
struct Threads {
    most: AtomicUsize,
    /// How often so many were seen since counting began.
    seen: Mutex<BTreeMap<usize, usize>>,
}

impl Threads {
    fn add(&self, count: usize) {
        self.most.fetch_max(count, Ordering::Relaxed);
        *self.seen.lock().expect("no thread has panicked").entry(count).or_default() += 1;
    }

    fn begin_counting(&self) {
        self.seen.lock().expect("no thread has panicked").clear();
    }

    /// At most so many there were in 99 of 100 looks: in the others a request may have been under way on a thread of its own.
    fn usual(&self) -> usize {
        let seen = self.seen.lock().expect("no thread has panicked");
        let all: usize = seen.values().sum();
        let mut sum = 0;
        let is_enough = |(count, times): (&usize, &usize)| {
            sum += times;
            (sum * 100 >= all * 99).then_some(*count)
        };
        seen.iter().find_map(is_enough).expect("somebody has looked")
    }

    fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }
}

/// A bot that has compared its journal with the exchange.
struct Bot {
    process: Child,
    reconciled: Duration,
    /// By thread, ended ones too: how long it has run, in nanoseconds.
    processor: BTreeMap<String, u64>,
    ended: Arc<AtomicBool>,
}

fn start(place: &Place, threads: &Arc<Threads>) -> Bot {
    let mut command = Command::new(program());
    command.args(["run", "--config", &place.config]).env("BYBIT_API_KEY", KEY).env("BYBIT_API_SECRET", SECRET);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let begin = Instant::now();
    let mut process = command.spawn().expect("a bot");
    let ended = Arc::new(AtomicBool::new(false));
    let (folder, threads, end) = (task_folder(&process), Arc::clone(threads), Arc::clone(&ended));
    std::thread::spawn(move || {
        while !end.load(Ordering::Relaxed) {
            threads.add(std::fs::read_dir(&folder).map_or(0, Iterator::count));
            sleep(Duration::from_millis(2));
        }
    });
    let mut log = BufReader::new(process.stderr.take().expect("its log")).lines();
    let reconciled = |line: &std::io::Result<String>| line.as_ref().is_ok_and(|line| line.contains("reconciled with"));
    assert!(log.any(|line| reconciled(&line)), "the bot ended before it was reconciled: try {}", place.config);
    let reconciled = begin.elapsed();
    std::thread::spawn(move || log.for_each(drop));
    Bot { process, reconciled, processor: BTreeMap::new(), ended }
}

fn task_folder(process: &Child) -> PathBuf {
    PathBuf::from(format!("/proc/{}/task", process.id()))
}

impl Bot {
    /// SIGTERM, and its end.
    fn end(&mut self) {
        let pid = self.process.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().is_ok_and(|status| status.success()));
        let status = self.process.wait().expect("its end");
        self.ended.store(true, Ordering::Relaxed);
        assert!(status.success(), "the bot ended with {status}");
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).expect("a process that runs")
    }

    fn number(&self, file: &str, name: &str) -> u64 {
        let text = self.read(file);
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number after its name")
    }

    /// Bytes that it caused to be written to a disk, in whole pages.
    fn written(&self) -> u64 {
        self.number("io", "write_bytes:")
    }

    /// The most memory that was resident at once, in KiB.
    fn memory(&self) -> u64 {
        self.number("status", "VmHWM:")
    }

    fn is_static(&self) -> bool {
        !self.read("maps").contains("/libc.so")
    }

    /// How long its threads have run, those that have ended since the last look included.
    fn processor(&mut self) -> Duration {
        for thread in std::fs::read_dir(task_folder(&self.process)).expect("a process that runs").flatten() {
            // A thread may end between the two looks.
            let Ok(text) = std::fs::read_to_string(thread.path().join("schedstat")) else { continue };
            let run = text.split_whitespace().next().and_then(|number| number.parse().ok()).expect("nanoseconds");
            self.processor.insert(thread.file_name().to_string_lossy().into_owned(), run);
        }
        Duration::from_nanos(self.processor.values().sum())
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// On which machine, of which program a limit is one.
#[derive(Clone, Copy)]
enum Holds {
    Always,
    /// Other work slows it down.
    OnAQuietMachine,
    /// The system's libraries count too where they are not within the program.
    IfStatic,
}

#[derive(Default)]
struct Table {
    failed: bool,
}

impl Table {
    fn line(&mut self, name: &str, figure: &str, limit: &str, is_within: bool, holds: Holds) {
        let verdict = match (is_within, holds) {
            (true, _) => "ok",
            (false, Holds::Always) => {
                self.failed = true;
                "TOO MUCH"
            }
            (false, Holds::OnAQuietMachine) => "too much: is the machine quiet?",
            (false, Holds::IfStatic) => "too much with the system's libraries",
        };
        println!("{name:<46}{figure:>12}   at most {limit:<12}{verdict}");
    }

    fn note(&self, name: &str, figure: &str) {
        println!("  {name:<44}{figure:>12}");
    }
}

fn ms(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn bytes(count: u64) -> String {
    format!("{count} B")
}

fn percent(millionths: u128) -> String {
    format!("{}.{:04} %", millionths / 10_000, millionths % 10_000)
}
