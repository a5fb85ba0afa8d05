//! The stream's heartbeat does not depend on the main thread: while an answer of REST is awaited, the stream's thread finds
//! that its connection is dead, and connects again.
//!
//! The stream passes through a proxy that falls silent: TCP stays open, what the bot says is taken, and nothing comes back. The
//! bot pings 20 s after the stream rose and gives an answer 10 s. Between those two moments it places its sell, whose
//! `sell_delay` is chosen for that, and the answer is held back until the connection must have been given up.

mod kit;
mod rest_proxy;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use kit::{Bot, Venue, account, holds, until};
use recompra::core::order::Side;
use recompra::core::{Decimal, Timestamp};
use recompra::simulation::market::PricePoint;
use recompra::simulation::order::Order;
use rest_proxy::{Manners, Request, RestProxy};

/// The first buy is filled as soon as the stream is up. The ping is sent 20 s after that, and given up after 30 s.
const SELL_DELAY: &str = "24s";
/// Less than the ten seconds after which the bot gives up an answer, so that it is one call from beginning to end.
const HELD: Duration = Duration::from_secs(9);
const PATIENCE: Duration = Duration::from_secs(40);

#[test]
fn a_mute_stream_is_replaced_while_the_main_thread_waits_for_rest() {
    let venue = Venue::new("mute-stream", account());
    let manners = Manners {
        dial: Duration::ZERO,
        idle: Duration::from_secs(120),
        way: Duration::ZERO,
        held: Some((r#""side":"Sell""#, HELD)),
    };
    let rest = RestProxy::start(venue.address(), manners);
    let stream = StreamProxy::start(venue.address());
    let strategy = kit::STRATEGY.replace("sell_delay = \"0s\"", &format!("sell_delay = \"{SELL_DELAY}\""));
    let mut bot = Bot::start(&venue.configure_apart(rest.address, stream.address, "btc", &strategy));
    until("the bot knows that its first buy is filled", PATIENCE, || holds(&venue.journal(), r#""type":"executed""#));
    let mute = stream.fall_silent();

    let mut held = None;
    until("the sell is answered", PATIENCE, || {
        held = rest.notes().requests.iter().find(|request| is_sell(request) && request.answered.is_some()).cloned();
        held.is_some()
    });
    let (asked, answered) = held.map(|request| (request.at, request.answered.unwrap())).unwrap();
    let found = {
        let lines = stream.lines();
        assert!(lines[0].said.is_some_and(|said| said > mute), "it pinged the mute connection");
        let closed = lines[0].closed.filter(|closed| *closed < answered);
        let again = lines.get(1).map(|line| line.opened).filter(|opened| *opened < answered);
        (closed, again)
    };
    let (Some(closed), Some(again)) = found else {
        panic!(
            "while an answer of REST was awaited nobody looked after the stream (given up, connected again): {found:?}"
        )
    };
    assert!(asked < closed, "the call was under way when the connection was given up");
    assert!(closed <= again, "the dead connection is closed before there is another, not {:?} later", closed - again);

    // All goes on as if nothing had happened: one sell rests, and its fill is heard of.
    until("the ladder rests", PATIENCE, || resting(&venue, Side::Sell) == 1 && resting(&venue, Side::Buy) == 1);
    venue.hub.advance("BTCUSDT", &PricePoint::new(Timestamp(0), Decimal::from(61_000)));
    until("the next cycle begins", PATIENCE, || orders(&venue, |order| order.price().is_none()) == 2);
    assert_eq!(orders(&venue, |order| order.side == Side::Sell), 1, "the sell whose answer was late was sent once");
    assert!(bot.is_running());
}

fn is_sell(request: &Request) -> bool {
    request.creates() && request.field("side").as_deref() == Some("Sell")
}

fn orders(venue: &Venue, which: impl Fn(&Order) -> bool) -> usize {
    venue.hub.with(|exchange, _| exchange.orders().filter(|order| which(order)).count())
}

fn resting(venue: &Venue, side: Side) -> usize {
    orders(venue, |order| order.side == side && order.status.is_open())
}

/// A connection of the stream, as the proxy sees it.
struct Line {
    opened: Instant,
    /// When the bot last said something on it.
    said: Option<Instant>,
    /// When the bot closed it.
    closed: Option<Instant>,
    is_silent: bool,
}

/// Hands bytes on both ways.
struct StreamProxy {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<Line>>>,
}

impl StreamProxy {
    fn start(exchange: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&lines);
        // It ends with the test's process, as do the threads of its connections.
        std::thread::spawn(move || {
            for (number, bot) in listener.incoming().enumerate() {
                let opened = Instant::now();
                shared.lock().unwrap().push(Line { opened, said: None, closed: None, is_silent: false });
                let (bot, exchange) = (bot.unwrap(), TcpStream::connect(exchange).unwrap());
                let ends = (bot.try_clone().unwrap(), exchange.try_clone().unwrap());
                let lines = Arc::clone(&shared);
                std::thread::spawn(move || inwards(ends, number, &lines));
                let lines = Arc::clone(&shared);
                std::thread::spawn(move || outwards((bot, exchange), number, &lines));
            }
        });
        Self { address, lines }
    }

    fn lines(&self) -> MutexGuard<'_, Vec<Line>> {
        self.lines.lock().unwrap()
    }

    /// From now on nothing comes back on the connections that there are; new ones are as they should be.
    fn fall_silent(&self) -> Instant {
        let mut lines = self.lines();
        lines.iter_mut().for_each(|line| line.is_silent = true);
        Instant::now()
    }
}

/// From the bot to the exchange, until the bot closes the connection.
fn inwards((mut bot, mut exchange): (TcpStream, TcpStream), number: usize, lines: &Mutex<Vec<Line>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(amount @ 1..) = bot.read(&mut buffer) {
        lines.lock().unwrap()[number].said = Some(Instant::now());
        // An exchange that has left a mute connection is of no interest.
        let _ = exchange.write_all(&buffer[..amount]);
    }
    lines.lock().unwrap()[number].closed = Some(Instant::now());
    let _ = exchange.shutdown(Shutdown::Both);
}

/// From the exchange to the bot, unless the connection is mute.
fn outwards((mut bot, mut exchange): (TcpStream, TcpStream), number: usize, lines: &Mutex<Vec<Line>>) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(amount @ 1..) = exchange.read(&mut buffer) {
        if !lines.lock().unwrap()[number].is_silent && bot.write_all(&buffer[..amount]).is_err() {
            return;
        }
    }
    if !lines.lock().unwrap()[number].is_silent {
        let _ = bot.shutdown(Shutdown::Both);
    }
}
