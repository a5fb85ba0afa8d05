//! An order never pays for opening a connection: before an exchange that closes what is idle, the bot has open ones at any
//! time, once it has seen how soon that happens. And each request leaves in one write.
//!
//! Between the bot and the exchange's REST stands a proxy that closes a connection after [`IDLE`] without traffic, and
//! notes when each was accepted and what came on it. How the bot keeps its connections open is not looked at.

mod kit;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kit::{Bot, Venue, account, until};
use recompra::core::order::Side;
use recompra::core::{Decimal, Timestamp};
use recompra::simulation::market::PricePoint;

/// The proxy closes a connection on which nothing was asked for so long.
const IDLE: Duration = Duration::from_secs(3);
/// In this time the bot sees what happens to connections.
const LEARNING: Duration = Duration::from_secs(5);
/// For so long nothing happens after it and before the fill.
const QUIET: Duration = Duration::from_secs(4);
/// A connection with less time left than this may be closed just when it is used, which no client can help.
const ENOUGH: Duration = Duration::from_millis(500);
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn after_a_quiet_time_a_fill_is_answered_on_a_connection_that_was_open_before_it() {
    reaction_after_a_quiet_time(1);
}

#[test]
fn several_cancels_open_no_connection_either() {
    reaction_after_a_quiet_time(3);
}

fn reaction_after_a_quiet_time(rebuys: usize) {
    let scene = Scene::new(&format!("warm-{rebuys}"), rebuys);
    std::thread::sleep(LEARNING);
    let fewest = scene.proxy.fewest_open_until(Instant::now() + QUIET);
    assert!(fewest >= rebuys, "there was a time when only {fewest} connections were open");
    until("none that is needed is about to be closed", PATIENCE, || scene.proxy.sure() >= rebuys);
    let (fill, requests) = scene.reaction();
    let cancels = requests.iter().filter(|request| request.text.contains("/order/cancel")).count();
    assert_eq!(cancels, rebuys);
    for request in &requests {
        let accepted = scene.proxy.notes().connections[request.connection].accepted;
        let late = accepted.checked_duration_since(fill);
        assert_eq!(late, None, "{} paid for a connection, opened so long after the fill", request.line());
    }
}

#[test]
fn a_request_leaves_in_one_write() {
    let scene = Scene::new("one-write", 3);
    scene.reaction();
    for request in &scene.proxy.notes().requests {
        assert!(request.is_whole, "this alone came with the first read: {}", request.text);
    }
}

/// A bot behind a proxy, whose ladder rests.
struct Scene {
    _bot: Bot,
    proxy: Proxy,
    venue: Venue,
}

impl Scene {
    fn new(name: &str, rebuys: usize) -> Self {
        let venue = Venue::new(name, account());
        let proxy = Proxy::start(venue.address());
        let ladder = kit::STRATEGY.replace("max_rebuys = 2", "max_rebuys = 3");
        let config = venue.configure_behind(proxy.address, "btc", &format!("{ladder}active_rebuys = {rebuys}\n"));
        let scene = Self { _bot: Bot::start(&config), proxy, venue };
        let rest = |side| resting(&scene.venue, side);
        until("the ladder rests", PATIENCE, || rest(Side::Sell) == 1 && rest(Side::Buy) == rebuys);
        scene
    }

    /// Fills the take profit: when, and what the bot asked until the next cycle's buy, included.
    fn reaction(&self) -> (Instant, Vec<Request>) {
        let is_buy = |request: &Request| request.text.contains("/order/create") && request.text.contains("Market");
        let fill = Instant::now();
        self.venue.hub.advance("BTCUSDT", &PricePoint::new(Timestamp(0), Decimal::from(61_000)));
        let mut requests = Vec::new();
        until("the next cycle's buy", PATIENCE, || {
            requests = self.proxy.notes().requests.iter().filter(|request| request.at > fill).cloned().collect();
            requests.iter().any(is_buy)
        });
        let buy = requests.iter().position(is_buy).unwrap();
        requests.truncate(buy + 1);
        (fill, requests)
    }
}

fn resting(venue: &Venue, side: Side) -> usize {
    venue.hub.with(|exchange, _| exchange.orders().filter(|order| order.side == side && order.status.is_open()).count())
}

/// What a proxy has seen.
#[derive(Default)]
struct Notes {
    connections: Vec<Connection>,
    requests: Vec<Request>,
}

struct Connection {
    accepted: Instant,
    /// When something last went through it; `None` once it is closed.
    used: Option<Instant>,
}

#[derive(Clone)]
struct Request {
    connection: usize,
    at: Instant,
    /// Its first read.
    text: String,
    /// Whether that was all of it.
    is_whole: bool,
}

impl Request {
    fn line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }
}

/// Hands requests to an exchange, one after the other on each connection.
struct Proxy {
    address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
}

impl Proxy {
    fn start(exchange: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let notes = Arc::new(Mutex::new(Notes::default()));
        let shared = Arc::clone(&notes);
        // It ends with the test's process, as do the threads of its connections.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let now = Instant::now();
                let number = shared.lock().unwrap().connections.len();
                shared.lock().unwrap().connections.push(Connection { accepted: now, used: Some(now) });
                let notes = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // An error is either end that went away.
                    let _ = serve(client.unwrap(), exchange, number, &notes);
                    notes.lock().unwrap().connections[number].used = None;
                });
            }
        });
        Self { address, notes }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    /// How many connections were open at once, at least.
    fn fewest_open_until(&self, end: Instant) -> usize {
        let mut fewest = usize::MAX;
        while Instant::now() < end {
            fewest = fewest.min(self.notes().connections.iter().filter(|connection| connection.used.is_some()).count());
            std::thread::sleep(Duration::from_millis(10));
        }
        fewest
    }

    /// How many connections are open and not about to be closed.
    fn sure(&self) -> usize {
        let is_sure = |used: &Instant| used.elapsed() + ENOUGH < IDLE;
        self.notes().connections.iter().filter_map(|connection| connection.used).filter(is_sure).count()
    }
}

fn serve(mut client: TcpStream, exchange: SocketAddr, number: usize, notes: &Mutex<Notes>) -> std::io::Result<()> {
    let mut exchange = TcpStream::connect(exchange)?;
    for socket in [&client, &exchange] {
        socket.set_nodelay(true)?;
    }
    client.set_read_timeout(Some(IDLE))?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let amount = client.read(&mut buffer)?;
        if amount == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut message = buffer[..amount].to_vec();
        let text = String::from_utf8_lossy(&message).into_owned();
        let request = Request { connection: number, at: now, text, is_whole: is_whole(&message) };
        {
            let mut notes = notes.lock().unwrap();
            notes.connections[number].used = Some(now);
            notes.requests.push(request);
        }
        read_whole(&mut client, &mut message)?;
        exchange.write_all(&message)?;
        let mut answer = Vec::new();
        read_whole(&mut exchange, &mut answer)?;
        client.write_all(&answer)?;
        notes.lock().unwrap().connections[number].used = Some(Instant::now());
    }
}

/// Reads on until there is a whole message.
fn read_whole(socket: &mut TcpStream, message: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    while !is_whole(message) {
        let amount = socket.read(&mut buffer)?;
        if amount == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        message.extend_from_slice(&buffer[..amount]);
    }
    Ok(())
}

/// Whether these bytes are a whole HTTP message: the head, and as much body as it announces.
fn is_whole(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let announced = head.lines().filter_map(|line| line.split_once(':'));
    let mut length =
        announced.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim());
    body.len() >= length.next_back().map_or(0, |value| value.parse().unwrap())
}
