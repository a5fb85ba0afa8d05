//! One entry for each parser of bytes from outside: any bytes in, nothing out, and never a panic.
//!
//! The fuzzer's targets and the replay of the corpus in `tests/corpus.rs` share them.

use std::cell::Cell;
use std::io::{self, BufReader, Cursor};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hmac::{Hmac, KeyInit as _, Mac as _};
use recompra::bybit::frame::parse_frame;
use recompra::bybit::{Client, Credentials, ExchangeClock};
use recompra::core::order::{OrderSpec, Side};
use recompra::core::{Decimal, Timestamp};
use recompra::engine::ports::Exchange as _;
use recompra::http::{Method, Request, Response, Transport, TransportError};
use recompra::journal::{JournalFile, Storage};
use recompra::simulation::market::candles::Candles;
use recompra::simulation::settings::{DEFAULT_KEY, DEFAULT_SECRET};
use recompra::simulation::stream::Channel;
use recompra::simulation::{Exchange, Hub, Settings};

/// An entry and its name, which is also that of its target and of its folder in the corpus.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("rest", rest),
    ("frame", frame),
    ("journal", journal),
    ("records", records),
    ("candles", candles),
    ("configuration", configuration),
    ("exchange_rest", exchange_rest),
    ("exchange_stream", exchange_stream),
];

/// A moment in 2026.
const NOW: Timestamp = Timestamp(1_767_312_000_000);
/// More requests than any one question needs.
const MOST_REQUESTS: u32 = 2_500;

/// The exchange's answer to every question that the client asks. A first line that is a number is the HTTP status.
pub fn rest(bytes: &[u8]) {
    let (status, body) = match bytes.iter().position(|byte| *byte == b'\n').map(|end| bytes.split_at(end)) {
        Some((line, rest)) => match std::str::from_utf8(line).ok().and_then(|line| line.parse().ok()) {
            Some(status) => (status, &rest[1..]),
            None => (200, bytes),
        },
        None => (200, bytes),
    };
    let headers = vec![("X-Bapi-Limit-Status".to_owned(), "5".to_owned())];
    let asked = Rc::new(Cell::new(0));
    let canned = Canned { answer: Response { status, headers, body: body.to_vec() }, asked: Rc::clone(&asked) };
    let clock = ExchangeClock::starting_at(NOW, Arc::new(AtomicBool::new(true)));
    let credentials = Credentials::new("key", "secret").ok();
    let mut client = Client::new(canned, clock, "BTCUSDT", credentials);
    let limit = OrderSpec::Limit { side: Side::Buy, price: Decimal::ONE, quantity: Decimal::ONE, post_only: false };
    let from = Timestamp(NOW.0 - 1000);
    // What comes back is of no interest; that something does, is.
    let _ = client.synchronise_clock();
    let _ = client.instrument();
    let _ = client.ticker();
    let _ = client.balance("USDT");
    let _ = client.place("btc-1-0b-1", &limit);
    let _ = client.cancel("btc-1-0b-1");
    let _ = client.order("btc-1-0b-1");
    let _ = client.open_orders();
    let _ = client.closed_orders(from, NOW);
    let _ = client.executions(from, NOW);
    let _ = client.key_info();
}

/// A transport that brings the same answer for ever.
struct Canned {
    answer: Response,
    asked: Rc<Cell<u32>>,
}

impl Transport for Canned {
    fn send(&mut self, _request: &Request) -> Result<Response, TransportError> {
        self.asked.set(self.asked.get() + 1);
        assert!(self.asked.get() < MOST_REQUESTS, "the client asks for ever");
        Ok(self.answer.clone())
    }
}

/// A message of the private stream.
pub fn frame(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = parse_frame(text, "BTCUSDT");
    }
}

/// The journal's file, as a disk may give it back.
pub fn journal(bytes: &[u8]) {
    let _ = JournalFile::inspect(Memory(bytes.to_vec()));
    let mut memory = Memory(bytes.to_vec());
    if JournalFile::open(&mut memory).is_ok() {
        // What was cut off is cut off for good.
        assert!(JournalFile::inspect(&mut memory).is_ok_and(|recovery| recovery.torn == 0));
    }
}

/// Lines of the journal whose checksums are right, whatever they say: each line of the input without its `{`.
pub fn records(bytes: &[u8]) {
    let mut sealed = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // Sums are exact for numbers that an exchange can send, which are read with bounds; the journal's own are
        // guarded by their checksum. A forged one may hold what no sum can.
        if line.split(|byte| !byte.is_ascii_digit()).any(|digits| digits.len() > 20) {
            return;
        }
        sealed.extend_from_slice(format!("{{\"sum\":\"{:08x}\",", crc32fast::hash(line)).as_bytes());
        sealed.extend_from_slice(line);
        sealed.push(b'\n');
    }
    journal(&sealed);
}

struct Memory(Vec<u8>);

impl Storage for Memory {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.0.clone())
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        self.0.truncate(at);
        self.0.extend_from_slice(bytes);
        Ok(())
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
    fn name(&self) -> String {
        "journal.jsonl".to_owned()
    }
}

impl Storage for &mut Memory {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        (**self).read()
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        (**self).write(at, bytes)
    }
    fn truncate(&mut self, length: u64) -> io::Result<()> {
        (**self).truncate(length)
    }
    fn sync(&mut self) -> io::Result<()> {
        (**self).sync()
    }
    fn name(&self) -> String {
        (**self).name()
    }
}

/// A candle file, read to its end.
pub fn candles(bytes: &[u8]) {
    let lines = Box::new(BufReader::new(Cursor::new(bytes.to_vec())));
    if let Ok(mut candles) = Candles::read("candles.csv".to_owned(), lines) {
        while let Ok(Some(_)) = candles.next_candle() {}
    }
}

/// The configuration file.
pub fn configuration(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = recompra::config::parse(text, Path::new("recompra.toml"));
    }
}

/// Requests to the simulated exchange, one a line, each rightly signed: `GET /path?query` or `POST /path body`.
pub fn exchange_rest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let hub = hub();
    for line in text.lines().take(20) {
        let (method, rest) = line.split_once(' ').unwrap_or(("GET", line));
        let (method, path, query, body) = match method {
            "POST" => {
                let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
                (Method::Post, path, "", body)
            }
            _ => {
                let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
                (Method::Get, path, query, "")
            }
        };
        let stamp = NOW.0.to_string();
        let sign = hmac(&[&stamp, DEFAULT_KEY, "5000", query, body]);
        let headers = vec![
            ("X-BAPI-API-KEY", DEFAULT_KEY.to_owned()),
            ("X-BAPI-TIMESTAMP", stamp),
            ("X-BAPI-RECV-WINDOW", "5000".to_owned()),
            ("X-BAPI-SIGN", sign),
        ];
        let request =
            Request { method, path: path.to_owned(), query: query.to_owned(), body: body.to_owned(), headers };
        assert!(hub.handle(&request).status >= 200);
    }
}

/// What clients say on the simulated exchange's streams, one message a line, after a right `auth`.
pub fn exchange_stream(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let hub = hub();
    for channel in [Channel::Private, Channel::Public] {
        let (session, _messages) = hub.open(channel);
        let expires = (NOW.0 + 5000).to_string();
        let sign = hmac(&["GET/realtime", &expires]);
        hub.receive(session, &format!(r#"{{"op":"auth","args":["{DEFAULT_KEY}",{expires},"{sign}"]}}"#));
        for line in text.lines().take(20) {
            hub.receive(session, line);
        }
    }
}

fn hub() -> Arc<Hub> {
    Hub::new(Exchange::new(Settings::default()), Arc::new(|| NOW))
}

fn hmac(parts: &[&str]) -> String {
    let Ok(mut hash) = Hmac::<sha2::Sha256>::new_from_slice(DEFAULT_SECRET.as_bytes()) else { return String::new() };
    for part in parts {
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize().into_bytes())
}
