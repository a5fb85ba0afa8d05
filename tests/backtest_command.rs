//! `recompra backtest` as a user meets it: what it prints, what it writes, what it refuses.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// The price falls from 100.00 by 1.00 a minute for six minutes, then climbs back by 2.00 a minute for ten.
fn candles() -> String {
    let mut text = String::from("timestamp,open,high,low,close,volume\n");
    let mut price = 10_000_i64;
    for minute in 0..16 {
        let open = price;
        price += if minute < 6 { -100 } else { 200 };
        let [open, high, low, close] =
            [open, open.max(price), open.min(price), price].map(|cents| format!("{}.{:02}", cents / 100, cents % 100));
        text += &format!("{},{open},{high},{low},{close},1\n", 1_640_995_200 + minute * 60);
    }
    text
}

const CONFIG: &str = "bot = \"b\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\nbase_order_amount = 50\n\
                      take_profit_percent = 1\nmax_rebuys = 2\nrebuy_step_percent = 2\nmax_capital = 150\n\
                      max_cycles = 1\n";

/// A folder with candles and a configuration, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("recompra-backtest-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(path.join("candles.csv"), candles()).unwrap();
        std::fs::write(path.join("recompra.toml"), CONFIG).unwrap();
        Self(path)
    }

    fn backtest(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_recompra"))
            .args(["backtest", "--config", "recompra.toml"])
            .args(arguments)
            .current_dir(&self.0)
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }

    fn figures(&self, arguments: &[&str]) -> Value {
        let (code, out, error) = self.backtest(&[&["--market", "candles.csv", "--json"], arguments].concat());
        assert_eq!((code, error.as_str()), (Some(0), ""), "{arguments:?}");
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn number(value: &Value) -> f64 {
    value.as_str().unwrap().parse().unwrap()
}

#[test]
fn the_figures_are_those_of_the_fills_that_are_written() {
    let folder = Folder::new("trades");
    let figures = folder.figures(&["--trades", "trades.csv"]);
    let text = std::fs::read_to_string(folder.0.join("trades.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("time,cycle,order,side,price,quantity,value,fee,fee_coin,maker"));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let column = |place: usize| rows.iter().map(|row| row[place]).collect::<Vec<_>>();
    assert_eq!(column(2), ["base order", "rebuy 1", "rebuy 2", "take profit 0"]);
    assert_eq!(column(3), ["buy", "buy", "buy", "sell"]);
    // The ask is a tick above 100.00; the rebuys are 2 % and 4 % below what was paid.
    assert_eq!(column(4)[..3], ["100.01", "98", "96"]);
    assert_eq!(column(8), ["BTC", "BTC", "BTC", "USDT"]);
    assert_eq!(column(9), ["false", "true", "true", "true"]);
    assert_eq!((&figures["cycles"], &figures["executions"]), (&1.into(), &4.into()));
    let value = |row: &Vec<&str>| row[6].parse::<f64>().unwrap();
    let fee: f64 = rows[3][7].parse().unwrap();
    let profit = value(&rows[3]) - fee - rows[..3].iter().map(value).sum::<f64>();
    assert!((number(&figures["profit"]) - profit).abs() < 1e-9, "{profit} of {figures}");
    assert!(profit > 1.4 && profit < 1.6, "one per cent of three buys of 50: {profit}");
}

#[test]
fn slippage_and_fees_cost_what_they_say() {
    let folder = Folder::new("costs");
    let base = |arguments: &[&str]| {
        folder.figures(&[arguments, &["--trades", "t.csv"]].concat());
        let text = std::fs::read_to_string(folder.0.join("t.csv")).unwrap();
        let row: Vec<String> = text.lines().nth(1).unwrap().split(',').map(str::to_owned).collect();
        (row[4].clone(), row[7].parse::<f64>().unwrap() / row[5].parse::<f64>().unwrap())
    };
    assert_eq!(base(&[]), ("100.01".to_owned(), 0.001));
    assert_eq!(base(&["--slippage", "0.5"]).0, "100.52", "half a per cent above the ask, up to the tick");
    assert_eq!(base(&["--fee-taker", "0"]).1, 0.0);
}

#[test]
fn the_three_orders_of_high_and_low_are_named_in_words_and_in_json() {
    let folder = Folder::new("paths");
    for (path, words) in [
        ("nearest", "whichever of high and low is nearer to a minute's open came first"),
        ("pessimistic", "a minute's high came before its low"),
        ("optimistic", "a minute's low came before its high"),
    ] {
        assert_eq!(folder.figures(&["--path", path])["path"], path);
        let (code, out, _) = folder.backtest(&["--market", "candles.csv", "--path", path]);
        assert!(code == Some(0) && out.contains(words) && out.contains("--path pessimistic"), "{out}");
    }
}

#[test]
fn a_copy_of_the_candles_is_kept_and_changes_nothing() {
    let folder = Folder::new("copy");
    let without = folder.figures(&["--no-cache"]);
    let copy = folder.0.join("candles.csv.recompra-cache");
    assert!(!copy.exists());
    assert_eq!(folder.figures(&[]), without);
    assert!(copy.exists());
    assert_eq!(folder.figures(&[]), without, "from the copy");
}

#[test]
fn trades_are_a_market_too() {
    let folder = Folder::new("archive");
    let lines = candles();
    let trades = lines.lines().skip(1).flat_map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        let start: i64 = fields[0].parse().unwrap();
        [(start, fields[1]), (start + 45, fields[4])]
            .map(|(time, price)| format!("{time}.25,BTCUSDT,Buy,0.1,{price},PlusTick\n"))
    });
    let text: String =
        ["timestamp,symbol,side,size,price,tickDirection\n".to_owned()].into_iter().chain(trades).collect();
    std::fs::write(folder.0.join("trades.csv"), text).unwrap();
    let (code, out, error) = folder.backtest(&["--market", "trades.csv", "--json"]);
    assert_eq!(code, Some(0), "{error}");
    let (joined, candles): (Value, Value) = (serde_json::from_str(&out).unwrap(), folder.figures(&[]));
    for field in ["candles", "from", "to", "executions", "profit", "drawdown"] {
        assert_eq!(joined[field], candles[field], "{field}");
    }
}

#[test]
fn wrong_candles_end_with_78_and_say_where() {
    let folder = Folder::new("wrong");
    std::fs::write(folder.0.join("bad.csv"), "1640995200,5,4,6,5,1\n").unwrap();
    let (code, out, error) = folder.backtest(&["--market", "bad.csv"]);
    assert_eq!((code, out.as_str()), (Some(78), ""));
    assert!(error.contains("bad.csv, line 1, column high: 4 is below the low of 6"), "{error}");
    let (code, _, error) = folder.backtest(&["--market", "nowhere.csv"]);
    assert!(code == Some(78) && error.contains("nowhere.csv: cannot be read"), "{error}");
    let (code, _, error) = folder.backtest(&["--market", "candles.csv", "--trades", "no/such/folder.csv"]);
    assert!(code == Some(74) && error.contains("no/such/folder.csv: cannot be written"), "{error}");
    let (code, _, error) = folder.backtest(&["--market", "candles.csv", "--path", "best"]);
    assert!(code == Some(64) && error.contains("nearest, pessimistic or optimistic"), "{error}");
}
