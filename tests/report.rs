//! `recompra report`: what the page says is what `backtest --json` says, and a browser opens it without a complaint.
//!
//! The market is a random walk of a seed, so that every clone has it; where the recorded month is there, it is shown too.
//! Where there is no Chromium, that is said, and the page is read without it.

mod kit;
mod recorded;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use recompra::core::ledger::Ledger;
use recompra::core::record::Record;
use recompra::core::{Decimal, Timestamp, money};
use recompra::engine::ports::{Journal as _, Observer};
use recompra::journal::{FileStorage, JournalFile};
use recompra::simulation::market::{self, Recording};
use recompra::simulation::settings::{AccountSettings, Listing};
use recompra::simulation::{Exchange, Settings};
use recompra::{backtest, config};
use serde_json::Value;

/// A folder that is removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("recompra-report-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A random walk as candles, which does not wander off for good.
    fn market(&self, seed: u64, minutes: i64) -> String {
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut text, mut price) = ("timestamp,open,high,low,close,volume\n".to_owned(), 40_000_i64);
        for minute in 0..minutes {
            let open = price;
            price = (price + random.random_range(-60..=60) + (40_000 - price) / 400).max(1_000);
            let (high, low) =
                (open.max(price) + random.random_range(0..30), open.min(price) - random.random_range(0..30));
            let _ = writeln!(text, "{},{open},{high},{low},{price},1", 1_640_995_200_000 + minute * 60_000);
        }
        std::fs::write(self.0.join("market.csv"), text).unwrap();
        self.path("market.csv")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(arguments: &[&str]) -> String {
    let (code, out, err) = kit::outcome(arguments);
    assert_eq!(code, Some(0), "{arguments:?}: {err}");
    out
}

/// A page as Chromium has it after it has run; without Chromium, as it was written.
fn opened(page: &Path) -> String {
    let Some(browser) = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| Command::new(name).arg("--version").output().is_ok_and(|output| output.status.success()))
    else {
        std::io::stderr().write_all(b"SKIPPED: no chromium: the page was not opened in a browser\n").unwrap();
        return std::fs::read_to_string(page).unwrap();
    };
    let profile = page.with_extension("profile");
    let output = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
        ])
        .args(["--enable-logging=stderr", "--v=0", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    let complaints: Vec<&str> = told.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert_eq!(complaints, Vec::<&str>::new());
    String::from_utf8(output.stdout).unwrap()
}

/// The JSON that a page holds.
fn embedded(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"figures\">").or_else(|| page.split_once("id=figures>")).unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

/// Every figure of a page: its name, the exact value that it carries, and what is shown.
fn shown(page: &str) -> BTreeMap<String, (String, String)> {
    let mut found = BTreeMap::new();
    for part in page.split("<data ").skip(1) {
        let attribute =
            |name: &str| part.split_once(&format!("{name}=\"")).unwrap().1.split_once('"').unwrap().0.to_owned();
        let text = part.split_once('>').unwrap().1.split_once("</data>").unwrap().0.to_owned();
        let name = attribute("data-figure");
        assert_eq!(found.insert(name.clone(), (attribute("value"), text)), None, "{name} is there twice");
    }
    found
}

fn field<'v>(figures: &'v Value, name: &str) -> &'v Value {
    name.split('.').fold(figures, |value, key| &value[key])
}

fn exact(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The number in what is shown, without the coin's name.
fn number(text: &str) -> Decimal {
    let digits: String = text
        .chars()
        .map(|c| if c == '−' { '-' } else { c })
        .filter(|c| c.is_ascii_digit() || ".-".contains(*c))
        .collect();
    money::parse(&digits).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// What a page shows is what it carries, and that is what the JSON says.
fn compare(page: &str, figures: &Value) {
    let (mut months, mut changes) = (Decimal::ZERO, Decimal::ZERO);
    for (name, (carried, text)) in shown(page) {
        if name.starts_with("month") {
            let sum = if name.starts_with("month.") { &mut months } else { &mut changes };
            *sum += money::parse(&carried).unwrap();
            continue;
        }
        assert_eq!(carried, exact(field(figures, &name)), "{name}");
        if name.ends_with("_seconds") {
            let of = |unit: &str, seconds: u64| {
                let number = text.split(' ').collect::<Vec<_>>();
                let place = number.iter().position(|word| *word == unit);
                place.map_or(0, |place| number[place - 1].parse::<u64>().unwrap() * seconds)
            };
            let told = of("d", 86_400) + of("h", 3_600) + of("min", 60) + of("s", 1);
            let carried: u64 = carried.parse().unwrap();
            assert!(
                told <= carried && carried - told < 86_400.min(carried / 2 + 60),
                "{name}: {text} is not {carried} s"
            );
        } else {
            // A drawdown is carried as an amount and shown as a loss.
            let (told, carried) = (number(&text).abs(), money::parse(&carried).unwrap().abs());
            let decimals = text
                .split_once('.')
                .map_or(0, |(_, rest)| u32::try_from(rest.chars().take_while(char::is_ascii_digit).count()).unwrap());
            assert_eq!(told, carried.round_dp(decimals).normalize(), "{name}: {text} is not {carried}");
        }
    }
    assert_eq!(exact(&figures["profit"]), money::text(months), "the months add up to the profit");
    assert_eq!(exact(&figures["equity"]), money::text(changes), "and their changes to the equity");
}

const SECTIONS: [&str; 7] = [
    "Price and orders",
    "Equity and drawdown",
    "Capital in use",
    "Profit, USDT",
    "Cycles and fills",
    "Parameters",
    "Where these numbers come from",
];

#[test]
fn a_page_in_a_browser_says_what_backtest_says() {
    let folder = Folder::new("backtest");
    let market = folder.market(7, 20_000);
    let page = folder.path("page.html");
    let options = ["--no-cache", "--market", &market, "--path", "pessimistic", "--fee-taker", "0.002"];
    let told = run(&[&["report", "--output", &page], &options[..]].concat());
    assert!(told.contains("page.html: ") && told.trim_end().ends_with(" kB"), "{told}");
    let figures: Value = serde_json::from_str(&run(&[&["backtest", "--json"], &options[..]].concat())).unwrap();
    assert!(figures["cycles"].as_u64() > Some(3), "the market is too quiet to prove anything: {figures}");
    let dom = opened(Path::new(&page));
    assert_eq!(embedded(&dom), figures);
    compare(&dom, &figures);
    assert!(shown(&dom).len() > 10);
    for section in SECTIONS {
        assert!(dom.contains(section), "{section}");
    }
    assert_eq!(dom.matches("<details>").count() as u64, figures["cycles"].as_u64().unwrap() + 1);
}

#[test]
fn the_recorded_month_is_shown_too() {
    let Some(market) = recorded::january() else { return };
    let folder = Folder::new("month");
    let page = folder.path("page.html");
    let options = ["--no-cache", "--market", market.to_str().unwrap()];
    run(&[&["report", "--output", &page], &options[..]].concat());
    let figures: Value = serde_json::from_str(&run(&[&["backtest", "--json"], &options[..]].concat())).unwrap();
    let dom = opened(Path::new(&page));
    // The page names the file, not the folder.
    let mut embedded = embedded(&dom);
    embedded["market"] = figures["market"].clone();
    assert_eq!(embedded, figures);
    compare(&dom, &figures);
}

#[test]
fn a_sweeps_results_are_shown_and_the_best_is_the_files_best() {
    let folder = Folder::new("sweep");
    let (market, results, page) = (folder.market(5, 6_000), folder.path("results.jsonl"), folder.path("page.html"));
    let sets = ["--set", "rebuy_step_percent=0.4,0.8", "--set", "take_profit_percent=0.3,0.6,0.9"];
    let options = ["--no-cache", "--market", &market, "--split", "60%", "--out", &results, "--json"];
    run(&[&["sweep"], &options[..], &sets[..]].concat());
    let told: Value =
        serde_json::from_str(&run(&["report", "--sweep", &results, "--output", &page, "--json"])).unwrap();
    let lines = std::fs::read_to_string(&results).unwrap();
    let lines: Vec<Value> = lines.lines().skip(1).map(|line| serde_json::from_str(line).unwrap()).collect();
    let measure = |line: &Value, part: &str| money::parse(line[part]["equity_percent"].as_str().unwrap()).unwrap();
    let best = lines.iter().rev().max_by_key(|line| measure(line, "in_sample")).unwrap();
    assert_eq!((told["sets"].as_u64(), told["refused"].as_u64()), (Some(6), Some(0)), "{told}");
    assert_eq!(told["best"]["parameters"], best["parameters"]);
    assert_eq!(exact(&told["best"]["out_of_sample"]), money::text(measure(best, "out_of_sample")));
    let dom = opened(Path::new(&page));
    assert_eq!(embedded(&dom), told);
    assert_eq!(
        (dom.matches("class=\"heat\"").count().max(dom.matches("class=heat").count()), dom.contains("Did it last?")),
        (2, true)
    );
    let (code, _, err) = kit::outcome(&["report", "--sweep", &market, "--output", &page]);
    assert_eq!(code, Some(78));
    assert!(err.contains("market.csv: line 1: this is no file of a sweep"), "{err}");
}

#[test]
fn the_same_input_gives_the_same_bytes_and_nothing_from_elsewhere() {
    let folder = Folder::new("same");
    let market = folder.market(3, 5_000);
    let page = |name: &str| {
        run(&["report", "--no-cache", "--market", &market, "--output", &folder.path(name)]);
        std::fs::read_to_string(folder.path(name)).unwrap()
    };
    let first = page("a.html");
    assert_eq!(first, page("b.html"));
    for foreign in ["http:", "https:", "//", "@import", "url(", "src=", "<script>", "<iframe", "onload", "onclick"] {
        let found = first.find(foreign).map(|at| first[at..].chars().take(60).collect::<String>());
        assert_eq!(found, None, "{foreign}");
    }
    assert_eq!(first.matches("<script").count(), 1, "the JSON alone");
}

#[test]
fn a_year_stays_below_two_megabytes() {
    let folder = Folder::new("year");
    let market = folder.market(11, 525_600);
    let config = "bot = \"b\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\nbase_order_amount = \"50\"\n\
                  take_profit_percent = \"0.2\"\ntake_profit_mode = \"per_level\"\nmax_rebuys = 20\n\
                  rebuy_step_percent = \"0.3\"\nactive_rebuys = 3\nmax_capital = \"2000\"\n";
    std::fs::write(folder.0.join("busy.toml"), config).unwrap();
    let page = folder.path("year.html");
    let options =
        ["--no-cache", "--market", &market, "--config", &folder.path("busy.toml"), "--output", &page, "--json"];
    let figures: Value = serde_json::from_str(&run(&[&["report"], &options[..]].concat())).unwrap();
    let length = std::fs::metadata(&page).unwrap().len();
    assert!(figures["executions"].as_u64() > Some(5_000), "too quiet to prove anything: {figures}");
    assert!(length < 2_000_000, "{length} bytes for {} fills", figures["executions"]);
}

/// Writes every record into a journal.
struct Scribe(JournalFile<FileStorage>);

impl Observer for Scribe {
    fn recorded(&mut self, time: Timestamp, record: &Record, _: &Ledger) {
        self.0.append(time, std::slice::from_ref(record)).unwrap();
    }
}

#[test]
fn a_journal_is_told_as_the_backtest_that_wrote_it() {
    let folder = Folder::new("journal");
    let market = folder.market(7, 20_000);
    let recording = Recording::read(Path::new(&market), Decimal::new(1, 2)).unwrap();
    let config = config::parse(config::EXAMPLE, Path::new("example")).unwrap();
    let exchange = Exchange::new(Settings { listings: vec![Listing::btcusdt()], ..settings() });
    let (journal, _) = JournalFile::open(FileStorage::open(&folder.0.join("journal.jsonl")).unwrap()).unwrap();
    let mut scribe = Scribe(journal);
    let played = recording.play(market::Path::Nearest);
    let end = backtest::run(exchange, played, &config.bot, &config.parameters, &mut scribe).unwrap();
    scribe.recorded(end.time, &Record::Stopped { reason: "the market ended".to_owned() }, &end.ledger);
    drop(scribe);
    let expected: Value =
        serde_json::from_str(&run(&["backtest", "--json", "--no-cache", "--market", &market])).unwrap();
    let page = folder.path("page.html");
    let of_journal = ["report", "--json", "--state-dir", &folder.path(""), "--output", &page];
    let with_candles: Value = serde_json::from_str(&run(&[&of_journal[..], &["--candles", &market]].concat())).unwrap();
    for (name, value) in expected.as_object().unwrap() {
        if !["type", "market", "path", "candles"].contains(&name.as_str()) {
            assert_eq!(with_candles[name], *value, "{name}");
        }
    }
    compare(&std::fs::read_to_string(&page).unwrap(), &with_candles);
    // Without candles the sums are the same; only what lies between the fills is not known.
    let alone: Value = serde_json::from_str(&run(&of_journal)).unwrap();
    for name in ["cycles", "executions", "profit", "held", "most_bound", "fees", "longest_cycle_seconds"] {
        assert_eq!(alone[name], expected[name], "{name}");
    }
    let dom = opened(Path::new(&page));
    compare(&dom, &alone);
    assert!(dom.contains("bot btc on paper") && dom.contains("With --candles FILE"), "{dom}");
    let other = Folder::new("other-time");
    std::fs::write(other.0.join("old.csv"), "timestamp,open,high,low,close\n1000000020,1,1,1,1\n").unwrap();
    let (code, _, err) = kit::outcome(&[&of_journal[..], &["--candles", &other.path("old.csv")]].concat());
    assert_eq!(code, Some(78));
    assert!(err.contains("holds no candle between 2022-01-01"), "{err}");
}

/// An account with money enough for the example's ladder.
fn settings() -> Settings {
    Settings { accounts: vec![AccountSettings::new("k", "s", "USDT", Decimal::from(10_000))], ..Settings::default() }
}

#[test]
fn a_page_about_an_empty_or_a_missing_journal_reads_well() {
    let folder = Folder::new("empty");
    let page = folder.path("page.html");
    run(&["report", "--state-dir", &folder.path(""), "--output", &page]);
    let dom = opened(Path::new(&page));
    assert!(dom.contains("Nothing has been traded yet"), "{dom}");
    assert!(!dom.contains("NaN") && !dom.contains("<h2>Price"), "{dom}");
    let (code, _, err) = kit::outcome(&["report", "--state-dir", &folder.path("nowhere"), "--output", &page]);
    assert_eq!(code, Some(74));
    assert!(err.contains("there is no such directory"), "{err}");
    let (code, _, err) = kit::outcome(&["report", "--market", &folder.path("no.csv"), "--output", &page]);
    assert_eq!(code, Some(78));
    assert!(err.contains("no.csv: cannot be read"), "{err}");
}
