//! The parts of the way, each alone: a REST round trip beside one of the HTTP library with its own settings, the journal, and
//! the reading of each kind of message.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use recompra::backtest;
use recompra::bybit::frame::parse_frame;
use recompra::bybit::{Address, Client, Credentials, ExchangeClock, HttpLimits, HttpTransport, Tls};
use recompra::config;
use recompra::core::ledger::Ledger;
use recompra::core::order::{BotName, OrderSpec};
use recompra::core::record::Record;
use recompra::core::{Decimal, Timestamp};
use recompra::engine::ports::{Exchange as _, Journal as _, Observer};
use recompra::http::{Method, Request, Response, Transport, TransportError};
use recompra::journal::{FileStorage, JournalFile};
use recompra::simulation::market::random_walk::{Liveliness, RandomWalk};
use recompra::simulation::settings::{AccountSettings, Listing};
use recompra::simulation::{Exchange, Settings};

use super::venue::{self, Venue};

/// How many records the journal has from which a start is timed.
const RECORDS: usize = 100_000;
const ROUNDS: usize = 2_000;

pub(crate) fn run(folder: &Path) {
    round_trips();
    journal(folder);
    messages();
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn line(name: &str, time: Duration, beside: &str) {
    println!("  {name:<58}{:>10.1} µs{beside}", time.as_secs_f64() * 1e6);
}

fn round_trips() {
    let venue = Venue::start();
    let url = format!("{}/v5/market/time", venue.rest());
    let bare = ureq::agent();
    let address = Address::rest(&venue.rest()).expect("an address");
    let mut ours = HttpTransport::new(&address, &Tls::none(), HttpLimits::default());
    let request = Request {
        method: Method::Get,
        path: "/v5/market/time".to_owned(),
        query: String::new(),
        body: String::new(),
        headers: Vec::new(),
    };
    let (mut of_bare, mut of_ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let body = bare.get(&url).call().and_then(|mut answer| answer.body_mut().read_to_vec());
        of_bare.push(begin.elapsed());
        assert!(!body.expect("an answer").is_empty());
        let begin = Instant::now();
        let answer = ours.send(&request);
        of_ours.push(begin.elapsed());
        assert_eq!(answer.expect("an answer").status, 200);
    }
    let (bare, ours) = (middle(of_bare), middle(of_ours));
    println!("REST round trip on an open connection, p50 of {ROUNDS}");
    line("ureq with its own settings", bare, "");
    line("ours, on the same library", ours, &format!("{:>8.2} x", ours.as_secs_f64() / bare.as_secs_f64()));
}

/// Keeps every record.
#[derive(Default)]
struct Diary(Vec<(Timestamp, Record)>);

impl Observer for Diary {
    fn recorded(&mut self, time: Timestamp, record: &Record, _ledger: &Ledger) {
        self.0.push((time, record.clone()));
    }
}

fn journal(folder: &Path) {
    let records = records();
    let path = folder.join("long.jsonl");
    let open = || FileStorage::open(&path).expect("a place for the journal");
    let (mut file, _) = JournalFile::open(open()).expect("a journal");
    let mut times = Vec::new();
    for (time, record) in &records {
        let begin = Instant::now();
        file.append(*time, std::slice::from_ref(record)).expect("room for the journal");
        times.push(begin.elapsed());
    }
    drop(file);
    println!("journal");
    line("append of a record, written and not synced, p50", middle(times), "");
    let begin = Instant::now();
    let (_, recovery) = JournalFile::open(open()).expect("a journal");
    line(&format!("recovery of {} records", records.len()), begin.elapsed(), "");
    assert!(recovery.ledger.totals.executions > 0);
}

/// What a bot writes down in many cycles on a lively market.
fn records() -> Vec<(Timestamp, Record)> {
    let text = "bot = \"b\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\nbase_order_amount = 50\n\
                take_profit_percent = 0.3\nmax_rebuys = 5\nrebuy_step_percent = 0.3\nmax_capital = 1000\n\
                cycle_delay = \"0s\"\nsell_delay = \"0s\"\nrebuy_delay = \"0s\"\nmax_cycles = 6000\n";
    let parameters = config::parse(text, Path::new("bench.toml")).expect("a configuration").parameters;
    let account = AccountSettings::new("key", "secret", "USDT", Decimal::from(10_000));
    let settings = Settings { listings: vec![Listing::btcusdt()], accounts: vec![account], ..Settings::default() };
    let liveliness = Liveliness { largest_move: 500, pull_back: 200 };
    let walk = RandomWalk::new(1, Timestamp(0), Decimal::from(60_000), Decimal::new(1, 2), liveliness);
    let mut diary = Diary::default();
    let bot = BotName::new("b").expect("a name");
    backtest::run(Exchange::new(settings), walk, &bot, &parameters, &mut diary).expect("a backtest");
    assert!(diary.0.len() >= RECORDS, "{} records", diary.0.len());
    // A journal ends where its file ends: in the middle of a cycle will do.
    diary.0.truncate(RECORDS);
    diary.0
}

/// Answers every request with the same text.
struct Canned(String);

impl Transport for Canned {
    fn send(&mut self, _: &Request) -> Result<Response, TransportError> {
        Ok(Response { status: 200, headers: Vec::new(), body: self.0.clone().into_bytes() })
    }
}

fn client(result: &str) -> Client<Canned> {
    let body = format!(r#"{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":1700000000000}}"#);
    let credentials = Credentials::new("key", "secret").expect("a key");
    Client::new(Canned(body), ExchangeClock::new(Arc::default()), "BTCUSDT", Some(credentials))
}

fn timed(name: &str, mut once: impl FnMut()) {
    let times = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            once();
            begin.elapsed()
        })
        .collect();
    line(name, middle(times), "");
}

fn messages() {
    println!("messages, p50 of {ROUNDS}");
    let [order, execution] = venue::pushes();
    timed("push of an order, read", || {
        black_box(parse_frame(black_box(&order), "BTCUSDT")).expect("a push");
    });
    timed("push of an execution, read", || {
        black_box(parse_frame(black_box(&execution), "BTCUSDT")).expect("a push");
    });
    let mut create = client(r#"{"orderId":"1","orderLinkId":"b-1-0b-1"}"#);
    let spec = OrderSpec::MarketBuy { amount: Decimal::from(50) };
    timed("order: written, signed, its answer read", || {
        black_box(create.place("b-1-0b-1", &spec)).expect("an order");
    });
    for (name, path) in [("ticker", "/v5/market/tickers"), ("instrument", "/v5/market/instruments-info")] {
        let mut client = client(&venue::result(path));
        timed(&format!("{name}: asked for, its answer read"), || {
            match path {
                "/v5/market/tickers" => drop(black_box(client.ticker()).expect("a ticker")),
                _ => drop(black_box(client.instrument()).expect("an instrument")),
            };
        });
    }
    let mut balance = client(&venue::result("/v5/account/wallet-balance"));
    timed("balance: asked for, signed, its answer read", || {
        black_box(balance.balance("USDT")).expect("a balance");
    });
    let rows = |row: &str| format!(r#"{{"category":"spot","list":[{}],"nextPageCursor":""}}"#, vec![row; 20].join(","));
    let row_of = |push: &str| {
        let data = push.split_once(r#""data":["#).map_or("", |(_, data)| data);
        data.trim_end_matches("]}").to_owned()
    };
    let mut open = client(&rows(&row_of(&order)));
    timed("20 open orders: asked for, signed, their answer read", || {
        black_box(open.open_orders()).expect("orders");
    });
    let mut executions = client(&rows(&row_of(&execution)));
    timed("20 executions: asked for, signed, their answer read", || {
        black_box(executions.executions(Timestamp(0), Timestamp(1))).expect("executions");
    });
}
