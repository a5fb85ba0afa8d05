//! The backtest beside a floor: the same kind of strategy over the same file, hand-written with binary floating point
//! and nothing else. `make bench` prints both, and how many times longer the backtest takes.
//!
//! Each is a process of its own, reading, trading and summing up a year of one-minute candles; the best of several runs
//! counts. The year is made from a seed.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

const CANDLES: i64 = 525_600;
const RUNS: usize = 5;
const CONFIG: &str = "bot = \"b\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\nbase_order_amount = 50\n\
                      take_profit_percent = 1\nmax_rebuys = 5\nrebuy_step_percent = 1\nmax_capital = 1000\n";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--floor") {
        floor(Path::new(&arguments[at + 1]));
        return;
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
    let floor = best(&itself, &["--floor", &file]);
    let parsed = best(&recompra, &[&backtest[..], &["--no-cache"]].concat());
    let cached = best(&recompra, &backtest);
    let line = |name: &str, time: Duration| {
        let ratio = time.as_secs_f64() / floor.as_secs_f64();
        println!("{name:<36}{:>9.1} ms{ratio:>9.2} x the floor", time.as_secs_f64() * 1e3);
    };
    println!("{CANDLES} candles, whole process, best of {RUNS}");
    line("floor: floating point, by hand", floor);
    line("backtest, reading the candles", parsed);
    line("backtest, from the copy beside them", cached);
    let _ = std::fs::remove_dir_all(&folder);
}

fn best(program: &Path, arguments: &[&str]) -> Duration {
    let run = || {
        let begin = Instant::now();
        let status = Command::new(program).args(arguments).stdout(Stdio::null()).status().expect("a process");
        assert!(status.success(), "{} {arguments:?}", program.display());
        begin.elapsed()
    };
    // Once more than counts: the first warms the file's pages, and leaves the copy.
    (0..=RUNS).map(|_| run()).skip(1).min().unwrap_or_default()
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

/// The floor: parse, five rebuys of 1 % below a base order, one take profit of 1 % for all; sums at the end.
fn floor(file: &Path) {
    let text = std::fs::read_to_string(file).expect("the candles");
    let mut candles = Vec::with_capacity(600_000);
    for line in text.lines().skip(1) {
        let mut fields = line.split(',').skip(1).map(|field| field.parse::<f64>().expect("a number"));
        let mut next = || fields.next().expect("a field");
        candles.push([next(), next(), next(), next()]);
    }
    let (fee, amount) = (0.001, 50.0);
    let (mut base, mut cost, mut held, mut level, mut cycles, mut profit) = (0.0, 0.0, 0.0, 0, 0_u32, 0.0);
    for [open, high, low, close] in candles {
        let path = if high - open < open - low { [open, high, low, close] } else { [open, low, high, close] };
        for price in path {
            if held == 0.0 {
                (base, cost, held, level) = (price, amount, amount / price * (1.0 - fee), 1);
            }
            let rebuy = base * (1.0 - 0.01 * f64::from(level));
            if level <= 5 && price < rebuy {
                cost += amount;
                held += amount / rebuy * (1.0 - fee);
                level += 1;
            }
            let target = cost * 1.01 / (held * (1.0 - fee));
            if price > target {
                profit += held * target * (1.0 - fee) - cost;
                held = 0.0;
                cycles += 1;
            }
        }
    }
    println!("{cycles} {profit}");
}
