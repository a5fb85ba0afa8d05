//! The backtest and the sweep beside a floor: the same kind of strategy over the same file, hand-written with binary
//! floating point and nothing else. `make bench` prints both, and how many times longer ours takes.
//!
//! Each is a process of its own, reading, trading and summing up a year of one-minute candles; the best of several runs
//! counts, of the sweeps the only one. The year is made from a seed. A sweep has 1,000 sets of parameters and a thread for
//! each core, the floor's too.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const CANDLES: i64 = 525_600;
const RUNS: usize = 5;
/// 25 steps and 40 profits: 1,000 sets.
const STEPS: &str = "rebuy_step_percent=0.5..2.9/0.1";
const PROFITS: &str = "take_profit_percent=0.5..4.4/0.1";
const CONFIG: &str = "bot = \"b\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\nbase_order_amount = 50\n\
                      take_profit_percent = 1\nmax_rebuys = 5\nrebuy_step_percent = 1\nmax_capital = 1000\n";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let asked =
        |name: &str| arguments.iter().position(|argument| argument == name).map(|at| Path::new(&arguments[at + 1]));
    if let Some(file) = asked("--floor") {
        return floor(file);
    }
    if let Some(file) = asked("--floor-sweep") {
        return floor_sweep(file);
    }
    let folder = std::env::temp_dir().join(format!("recompra-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the candles");
    let (candles, config) = (folder.join("year.csv"), folder.join("recompra.toml"));
    std::fs::write(&candles, year()).expect("room for the candles");
    std::fs::write(&config, CONFIG).expect("room for the configuration");
    let itself = std::env::current_exe().expect("the bench's own file");
    let recompra = PathBuf::from(env!("CARGO_BIN_EXE_recompra"));
    let file = candles.to_string_lossy().into_owned();
    let configured = config.to_string_lossy().into_owned();
    let backtest = ["backtest", "--market", &file, "--config", &configured];
    let sweep = ["sweep", "--market", &file, "--config", &configured, "--set", STEPS, "--set", PROFITS];
    let line = |name: &str, time: Duration, floor: Duration| {
        let ratio = time.as_secs_f64() / floor.as_secs_f64();
        println!("{name:<36}{:>9.1} ms{ratio:>9.2} x the floor", time.as_secs_f64() * 1e3);
    };
    println!("{CANDLES} candles, whole process, best of {RUNS}");
    let floor = best(&itself, &["--floor", &file], RUNS);
    line("floor: floating point, by hand", floor, floor);
    line("backtest, reading the candles", best(&recompra, &[&backtest[..], &["--no-cache"]].concat(), RUNS), floor);
    line("backtest, from the copy beside them", best(&recompra, &backtest, RUNS), floor);
    println!("1,000 sets of parameters on {} threads", threads());
    let floor = best(&itself, &["--floor-sweep", &file], 1);
    line("floor: floating point, by hand", floor, floor);
    line("sweep, from the copy beside them", best(&recompra, &sweep, 1), floor);
    let _ = std::fs::remove_dir_all(&folder);
}

fn best(program: &Path, arguments: &[&str], runs: usize) -> Duration {
    let run = || {
        let begin = Instant::now();
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().expect("a process");
        assert!(status.success(), "{} {arguments:?}", program.display());
        begin.elapsed()
    };
    // Of several, once more than counts: the first warms the file's pages, and leaves the copy.
    let unused = usize::from(runs > 1);
    (0..runs + unused).map(|_| run()).skip(unused).min().unwrap_or_default()
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// A year of candles around 45,000, as CSV.
fn year() -> String {
    let mut random = StdRng::seed_from_u64(1);
    let mut text = String::from("timestamp,open,high,low,close,volume\n");
    let mut price = 4_500_000_i64;
    for minute in 0..CANDLES {
        let open = price;
        price += random.random_range(-4_000..=4_000) + (4_500_000 - price) / 20_000;
        let (up, down) = (random.random_range(0..2_000), random.random_range(0..2_000));
        let cents = |price: i64| format!("{}.{:02}", price / 100, price % 100);
        let (high, low) = (open.max(price) + up, open.min(price) - down);
        let start = 1_640_995_200_000 + minute * 60_000;
        let _ = writeln!(text, "{start},{},{},{},{},12.5", cents(open), cents(high), cents(low), cents(price));
    }
    text
}

/// The floor: parse, trade once.
fn floor(file: &Path) {
    let (cycles, profit) = trade(&read(file), 0.01, 0.01);
    println!("{cycles} {profit}");
}

/// The floor of a sweep: parse, trade each of the sets of [`STEPS`] and [`PROFITS`], keep the best.
fn floor_sweep(file: &Path) {
    let candles = read(file);
    let next = AtomicU32::new(0);
    let work = || {
        let mut best = f64::MIN;
        loop {
            let set = next.fetch_add(1, Ordering::Relaxed);
            if set >= 1_000 {
                return best;
            }
            let (step, profit) = (0.005 + f64::from(set / 40) * 0.001, 0.005 + f64::from(set % 40) * 0.001);
            best = best.max(trade(&candles, step, profit).1);
        }
    };
    let best = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads()).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a thread that ends")).fold(f64::MIN, f64::max)
    });
    println!("{best}");
}

fn read(file: &Path) -> Vec<[f64; 4]> {
    let text = std::fs::read_to_string(file).expect("the candles");
    let mut candles = Vec::with_capacity(600_000);
    for line in text.lines().skip(1) {
        let mut fields = line.split(',').skip(1).map(|field| field.parse::<f64>().expect("a number"));
        let mut next = || fields.next().expect("a field");
        candles.push([next(), next(), next(), next()]);
    }
    candles
}

/// Five rebuys a step apart below a base order, one take profit for all. Cycles, and their profit.
fn trade(candles: &[[f64; 4]], step: f64, wanted: f64) -> (u32, f64) {
    let (fee, amount) = (0.001, 50.0);
    let (mut base, mut cost, mut held, mut level, mut cycles, mut profit) = (0.0, 0.0, 0.0, 0, 0_u32, 0.0);
    for &[open, high, low, close] in candles {
        let path = if high - open < open - low { [open, high, low, close] } else { [open, low, high, close] };
        for price in path {
            if held == 0.0 {
                (base, cost, held, level) = (price, amount, amount / price * (1.0 - fee), 1);
            }
            let rebuy = base * (1.0 - step * f64::from(level));
            if level <= 5 && price < rebuy {
                cost += amount;
                held += amount / rebuy * (1.0 - fee);
                level += 1;
            }
            let target = cost * (1.0 + wanted) / (held * (1.0 - fee));
            if price > target {
                profit += held * target * (1.0 - fee) - cost;
                held = 0.0;
                cycles += 1;
            }
        }
    }
    (cycles, profit)
}
