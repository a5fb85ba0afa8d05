//! `recompra paper`, the real binary: the whole bot against the exchange inside it, over loopback sockets.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

fn recompra(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_recompra"));
    command.args(arguments).stdin(Stdio::null());
    command
}

fn paper(arguments: &[&str]) -> Output {
    recompra(&[&["paper"], arguments].concat()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A folder of this test's own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("recompra-paper-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_seed_gives_one_result_at_any_speed() {
    let fast = paper(&["--cycles", "3", "--speed", "100000", "--seed", "6"]);
    assert!(fast.status.success(), "{}", text(&fast.stderr));
    let output = text(&fast.stdout);
    assert_eq!(output.matches(" closed: +").count(), 3, "{output}");
    assert!(output.contains("rebuy 1         bought"), "{output}");
    let slower = paper(&["--cycles", "3", "--speed", "20000", "--seed", "6"]);
    assert_eq!(output, text(&slower.stdout));
    let other = paper(&["--cycles", "3", "--speed", "100000", "--seed", "7"]);
    assert_ne!(output, text(&other.stdout));
}

#[test]
fn every_line_is_json_if_that_is_wanted() {
    let output = paper(&["--cycles", "1", "--speed", "100000", "--json"]);
    let lines: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let result = lines.last().unwrap();
    assert_eq!((result["type"].as_str(), result["cycles"].as_u64()), (Some("result"), Some(1)));
    assert!(lines.iter().any(|line| line["type"] == "executed"));
}

#[test]
fn recorded_candles_are_traded_to_their_end() {
    let folder = Folder::new("candles");
    let mut candles = "timestamp,open,high,low,close,volume\n".to_owned();
    for minute in 0..600 {
        // Every two hours 3 % down, 6 % up, and back again.
        let price = |minute: i32| match minute % 120 {
            down @ 0..30 => 60_000 - 60 * down,
            up @ 30..90 => 60_000 + 60 * (up - 60),
            back => 60_000 + 60 * (120 - back),
        };
        let (open, close) = (price(minute), price(minute + 1));
        let (high, low) = (open.max(close), open.min(close));
        candles +=
            &format!("2022-01-01 {:02}:{:02}:00.000000,{open},{high},{low},{close},1\n", minute / 60, minute % 60);
    }
    let file = folder.file("tent.csv", &candles);
    let output = paper(&["--market", &file, "--speed", "100000"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = text(&output.stdout);
    assert!(output.contains("cycles in 9h 59m"), "{output}");
    assert!(output.matches(" closed: +").count() >= 5, "{output}");
}

#[test]
fn a_wrong_candle_file_names_file_and_line_and_nothing_is_traded() {
    let folder = Folder::new("wrong");
    let good = "1640995200000,100,101,99,100,1\n";
    let wrong = folder.file("wrong.csv", &format!("{good}1640995260000,100,99,101,100,1\n"));
    let output = paper(&["--market", &wrong, "--speed", "100000"]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("wrong.csv, line 2, column"), "{}", text(&output.stderr));
    let missing = paper(&["--market", "/nonexistent.csv"]);
    assert_eq!(missing.status.code(), Some(78));
    assert!(text(&missing.stderr).contains("/nonexistent.csv: cannot be read"), "{}", text(&missing.stderr));
}

#[test]
fn the_live_market_is_followed_over_the_public_stream() {
    let mut exchange = Killed(
        recompra(&["exchange", "--listen", "127.0.0.1:0", "--speed", "3000", "--seed", "6"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut lines = BufReader::new(exchange.0.stdout.take().unwrap()).lines();
    let public = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(url) = line.strip_prefix("public stream") {
            break url.trim().to_owned();
        }
    };
    let folder = Folder::new("live");
    let strategy = "symbol = \"BTCUSDT\"\nbase_order_amount = 50\ntake_profit_percent = 0.1\nmax_rebuys = 2\n\
                    rebuy_step_percent = 0.2\nmax_capital = 150\nsell_delay = \"10ms\"\nrebuy_delay = \"10ms\"\n\
                    cycle_delay = \"10ms\"\n";
    let config = folder.file("c.toml", &format!("bot = \"live\"\nenvironment = \"demo\"\n[strategy]\n{strategy}"));
    let mut bot = Killed(
        recompra(&["paper", "--market", "live", "--public-stream", &public, "--cycles", "1", "--config", &config])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let (mut output, mut errors) = (String::new(), String::new());
    bot.0.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    bot.0.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(output.contains("cycle 1 closed: +"), "{output}\n{errors}");
}
