//! `recompra fetch` against the embedded exchange: what it writes, how it goes on, and what it says of gaps.

mod kit;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use recompra::core::{Decimal, Timestamp};
use recompra::simulation::market::PricePoint;
use recompra::simulation::server::{Server, ServerOptions};
use recompra::simulation::settings::Listing;
use recompra::simulation::{Exchange, Hub, Settings};

const MINUTE: i64 = 60_000;
/// 2026-01-05 00:00 UTC.
const BEGIN: i64 = 1_767_571_200_000;

/// An exchange whose clock stands where the test puts it, and a folder that is removed at the end.
struct Venue {
    hub: Arc<Hub>,
    clock: Arc<AtomicI64>,
    server: Server,
    folder: PathBuf,
}

impl Venue {
    fn new(name: &str) -> Self {
        let clock = Arc::new(AtomicI64::new(BEGIN));
        let settings = Settings { listings: vec![Listing::btcusdt()], ..Settings::default() };
        let time = Arc::clone(&clock);
        let hub = Hub::new(Exchange::new(settings), Arc::new(move || Timestamp(time.load(Ordering::SeqCst))));
        let server = Server::start("127.0.0.1:0", Arc::clone(&hub), ServerOptions::default()).unwrap();
        let folder = std::env::temp_dir().join(format!("recompra-fetch-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self { hub, clock, server, folder }
    }

    /// Lets minutes of the market pass: four prices each, which the number of the minute decides.
    fn trade(&self, minutes: impl Iterator<Item = i64>) {
        for minute in minutes {
            for (quarter, price) in prices(minute).into_iter().enumerate() {
                let now = BEGIN + minute * MINUTE + i64::try_from(quarter).unwrap() * 15_000;
                self.clock.store(now, Ordering::SeqCst);
                self.hub.advance("BTCUSDT", &PricePoint::new(Timestamp(now), Decimal::from(price)));
            }
        }
    }

    fn set_clock(&self, minute: i64, milliseconds: i64) {
        self.clock.store(BEGIN + minute * MINUTE + milliseconds, Ordering::SeqCst);
    }

    fn file(&self) -> PathBuf {
        self.folder.join("btc.csv")
    }

    fn fetch(&self, more: &[&str]) -> (Option<i32>, String, String) {
        let url = format!("http://{}", self.server.address());
        let file = self.file();
        let mut arguments = vec!["fetch", "--rest-url", &url, "--output", file.to_str().unwrap()];
        arguments.extend(more);
        kit::outcome(&arguments)
    }

    fn lines(&self) -> Vec<String> {
        std::fs::read_to_string(self.file()).unwrap().lines().map(str::to_owned).collect()
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        self.server.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Open, high, low and close of a minute.
fn prices(minute: i64) -> [i64; 4] {
    let open = 50_000 + minute % 97;
    [open, open + 20, open - 30, open + 5]
}

fn line(minute: i64) -> String {
    let [open, high, low, close] = prices(minute);
    format!("{},{open},{high},{low},{close},0,0", BEGIN + minute * MINUTE)
}

fn expected(minutes: impl Iterator<Item = i64>) -> Vec<String> {
    let header = "timestamp,open,high,low,close,volume,turnover".to_owned();
    std::iter::once(header).chain(minutes.map(line)).collect()
}

#[test]
fn pages_are_joined_gaps_are_named_and_the_open_candle_is_left_out() {
    let venue = Venue::new("pages");
    venue.trade((0..1500).chain(1510..2600));
    // Minute 2599 is over, but not settled; 2600 is open.
    venue.set_clock(2600, 2_000);
    let (code, out, err) = venue.fetch(&["--from", "2026-01-05"]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert_eq!(venue.lines(), expected((0..1500).chain(1510..2599)));
    assert!(out.contains("2589 candles of BTCUSDT fetched"), "{out}");
    assert!(out.contains("missing: 10 minutes from 2026-01-06 01:00:00 until 2026-01-06 01:10:00"), "{out}");
    // The next run takes up what has closed meanwhile, and nothing twice.
    venue.trade(2600..2620);
    venue.set_clock(2620, 6_000);
    let (code, out, _) = venue.fetch(&["--json"]);
    assert_eq!(code, Some(0));
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((told["candles"].as_u64(), told["missing_minutes"].as_i64()), (Some(21), Some(0)), "{told}");
    assert_eq!(venue.lines(), expected((0..1500).chain(1510..2620)));
}

#[test]
fn what_was_fetched_is_read_by_backtest() {
    let venue = Venue::new("backtest");
    venue.trade(0..300);
    venue.set_clock(300, 6_000);
    assert_eq!(venue.fetch(&["--from", "2026-01-05"]).0, Some(0));
    let file = venue.file();
    let (code, out, err) = kit::outcome(&["backtest", "--no-cache", "--json", "--market", file.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{err}");
    let told: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["candles"].as_u64(), Some(300));
}

#[test]
fn years_before_the_first_trade_are_passed_over_and_dates_bound_what_is_fetched() {
    let venue = Venue::new("bounds");
    venue.trade(0..200);
    venue.set_clock(200, 30_000);
    let (code, out, err) = venue.fetch(&["--from", "2016-01-01T00:00:30", "--to", "2026-01-05T01:00"]);
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(venue.lines(), expected(0..60));
    assert!(out.contains("from 2016-01-01 00:01:00 until 2026-01-05 00:00:00"), "{out}");
    assert_eq!(out.matches("missing").count(), 1, "{out}");
}

#[test]
fn a_torn_last_line_is_mended() {
    let venue = Venue::new("torn");
    venue.trade(0..50);
    venue.set_clock(50, 30_000);
    assert_eq!(venue.fetch(&["--from", "2026-01-05"]).0, Some(0));
    let whole = std::fs::read(venue.file()).unwrap();
    std::fs::write(venue.file(), &whole[..whole.len() - 9]).unwrap();
    let (code, out, err) = venue.fetch(&[]);
    assert_eq!(code, Some(0));
    assert!(out.contains("1 candle of BTCUSDT fetched") && err.contains("torn"), "{out}{err}");
    assert_eq!(std::fs::read(venue.file()).unwrap(), whole);
}

#[test]
fn what_cannot_be_done_is_told_and_leaves_no_file() {
    let venue = Venue::new("refused");
    let (code, _, err) = venue.fetch(&[]);
    assert_eq!(code, Some(64));
    assert!(err.contains("a new file needs --from"), "{err}");
    let (code, _, err) = venue.fetch(&["--from", "2026-01-05", "--symbol", "NOSUCH"]);
    assert_eq!(code, Some(64), "{err}");
    assert!(err.contains("check --symbol"), "{err}");
    assert!(!venue.file().exists());
    std::fs::write(venue.file(), "a,b\n1,2\n").unwrap();
    let (code, _, err) = venue.fetch(&["--from", "2026-01-05"]);
    assert_eq!(code, Some(78));
    assert!(err.contains("btc.csv, line 1: begins with \"a,b\""), "{err}");
}
