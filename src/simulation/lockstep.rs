//! Paper trading that comes out the same every time: bot and exchange share one virtual clock, and the market
//! moves only while the bot waits.
//!
//! # Rule
//!
//! Virtual time stands still while the bot computes or calls. It advances only inside the bot's own waiting
//! ([`LockstepFeed`], or [`Clock::sleep`]), and there only when
//!
//! 1. the private stream is up, and
//! 2. the bot has been given a [`Signal::Frame`] for every message about orders and executions that the exchange
//!    has sent it.
//!
//! Then it goes to the market's next point, or to the moment waited for, whichever is first. A message that is
//! still on its way through the socket therefore holds the market back, however slow or busy the machine is. The
//! bot's stream thread must send one frame for each such message, even if none of its rows concern the bot.
//!
//! Speed changes how long the waiting takes, never what happens. Signals from outside (a stop) arrive whenever they do;
//! only they can make two runs differ.
//!
//! # At the end
//!
//! When the market ends, the bot is told to stop and leave its orders ([`StopWish::Leave`]), once. Should the bot
//! still wait for a moment, time passes without a market.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::driver::Pace;
use super::exchange::Exchange;
use super::hub::Hub;
use super::market::{Market, MarketError, PricePoint};
use crate::core::Timestamp;
use crate::engine::ports::{AdjustableClock, Clock, Feed, Signal, StopWish};

/// How long, by the machine's clock, a message may be on its way before the market goes on without it.
const PATIENCE: Duration = Duration::from_secs(10);
/// A pause shorter than this is saved up for a later one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// A lag above this is not caught up.
const LARGEST_LAG: Duration = Duration::from_millis(100);
/// How far time may pass in one wait after the market has ended.
pub(super) const AFTER_THE_END: Duration = Duration::from_secs(24 * 3600);

/// The virtual clock, with the market that moves as it advances. Clones share it.
#[derive(Clone)]
pub struct Lockstep {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<Mutex<Timestamp>>,
    hub: Arc<Hub>,
    symbol: String,
    player: Mutex<Player>,
}

/// The market, one point ahead.
struct Player {
    market: Box<dyn Market + Send>,
    next: Option<PricePoint>,
    error: Option<MarketError>,
    pace: Pace,
    /// Where the wall clock and the virtual one were last in step.
    anchor: Option<(Instant, Timestamp)>,
}

impl Lockstep {
    /// Binds an exchange to a market. The clock starts at the market's first point, which is applied.
    ///
    /// # Errors
    /// [`MarketError`] if the market has no first point.
    pub fn new(
        exchange: Exchange,
        symbol: &str,
        mut market: Box<dyn Market + Send>,
        pace: Pace,
    ) -> Result<Self, MarketError> {
        let first = market.next()?.ok_or_else(MarketError::no_price)?;
        let next = market.next()?;
        let clock = Arc::new(Mutex::new(first.time));
        let reading = Arc::clone(&clock);
        let hub = Hub::new(exchange, Arc::new(move || *lock(&reading)));
        hub.advance(symbol, &first);
        let player = Mutex::new(Player { market, next, error: None, pace, anchor: None });
        Ok(Self { shared: Arc::new(Shared { clock, hub, symbol: symbol.to_owned(), player }) })
    }

    /// The exchange, to be served.
    pub fn hub(&self) -> Arc<Hub> {
        Arc::clone(&self.shared.hub)
    }

    /// What the bot waits on: `signals` is where its stream thread, and whoever may stop it, send to.
    pub fn feed(&self, signals: Receiver<Signal>) -> LockstepFeed {
        LockstepFeed { lockstep: self.clone(), signals, given: 0, stream_up: false, end_told: false }
    }

    /// Whether the market has no further price.
    pub fn market_has_ended(&self) -> bool {
        lock(&self.shared.player).next.is_none()
    }

    /// Why the market ended before its time, if it did.
    pub fn market_error(&self) -> Option<MarketError> {
        lock(&self.shared.player).error.clone()
    }

    /// The moment to which the clock would advance next, at most `until`.
    fn next_moment(&self, until: Timestamp) -> Timestamp {
        let player = lock(&self.shared.player);
        player.next.as_ref().map_or(until, |point| point.time.min(until)).max(self.now())
    }

    /// How long to pause before the clock may show `moment`.
    fn pause(&self, moment: Timestamp) -> Duration {
        let now = self.now();
        lock(&self.shared.player).pause(now, moment)
    }

    /// Advances to the market's next point or to `until`, whichever is first. Returns whether the market moved.
    fn advance(&self, until: Timestamp) -> bool {
        let mut player = lock(&self.shared.player);
        let Some(point) = player.next.take_if(|point| point.time <= until) else {
            self.set(until);
            return false;
        };
        self.set(point.time);
        self.shared.hub.advance(&self.shared.symbol, &point);
        match player.market.next() {
            Ok(next) => player.next = next,
            Err(error) => player.error = Some(error),
        }
        true
    }

    /// The clock never runs backwards.
    fn set(&self, moment: Timestamp) {
        let mut clock = lock(&self.shared.clock);
        *clock = moment.max(*clock);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Player {
    fn pause(&mut self, now: Timestamp, moment: Timestamp) -> Duration {
        if self.pace == Pace::Unpaced {
            return Duration::ZERO;
        }
        let instant = Instant::now();
        let (start, first) = *self.anchor.get_or_insert((instant, now));
        let due = start + self.pace.real(moment.since(first));
        if due + LARGEST_LAG < instant {
            self.anchor = Some((instant, moment));
        }
        let pause = due.saturating_duration_since(instant);
        if pause < SHORTEST_PAUSE { Duration::ZERO } else { pause }
    }
}

impl Clock for Lockstep {
    fn now(&self) -> Timestamp {
        *lock(&self.shared.clock)
    }

    /// Lets virtual time pass, and the market move. Only for the bot's main thread: another thread that slept
    /// here would move the market under it.
    fn sleep(&self, duration: Duration) {
        let until = self.now().after(duration);
        while self.now() < until {
            thread::sleep(self.pause(self.next_moment(until)));
            self.advance(until);
        }
    }
}

impl AdjustableClock for Lockstep {
    fn exchange_time(&self) -> Timestamp {
        self.now()
    }

    /// Bot and exchange read one clock: there is nothing to correct.
    fn correct(&self, _milliseconds: i64) {}
}

/// The bot's waiting, which moves the market. See the module's documentation.
pub struct LockstepFeed {
    lockstep: Lockstep,
    signals: Receiver<Signal>,
    /// Frames given to the bot since its stream came up.
    given: u64,
    stream_up: bool,
    end_told: bool,
}

impl LockstepFeed {
    /// What is already there or still on its way to the bot; `None` when the market may move.
    fn outstanding(&mut self) -> Option<Signal> {
        let signal = match self.signals.try_recv() {
            Err(TryRecvError::Empty) if !self.is_quiet() => {
                self.signals.recv_timeout(PATIENCE).inspect_err(|error| self.give_up(*error)).ok()
            }
            received => received.ok(),
        };
        signal.map(|signal| self.note(signal))
    }

    fn is_quiet(&self) -> bool {
        self.stream_up && self.given >= self.lockstep.shared.hub.trading_frames()
    }

    fn give_up(&mut self, error: RecvTimeoutError) {
        let sent = self.lockstep.shared.hub.trading_frames();
        let (given, up) = (self.given, self.stream_up);
        log::warn!(
            "paper: the market goes on without the bot's stream ({error}; up: {up}, {given} of {sent} messages)"
        );
        self.given = sent;
        self.stream_up = true;
    }

    fn note(&mut self, signal: Signal) -> Signal {
        match &signal {
            Signal::Frame(_) => self.given += 1,
            // A new connection; the exchange has begun to count anew, too.
            Signal::StreamUp => {
                self.stream_up = true;
                self.given = 0;
            }
            Signal::StreamDown(_) => self.stream_up = false,
            Signal::StreamRefused(_) => self.stream_up = true,
            Signal::Stop(_) | Signal::Resume(_) | Signal::JournalLost(_) => {}
        }
        signal
    }

    /// Waits as long as the pace asks; a signal ends that early.
    fn pause(&mut self, until: Timestamp) -> Option<Signal> {
        let pause = self.lockstep.pause(self.lockstep.next_moment(until));
        if pause.is_zero() {
            return None;
        }
        match self.signals.recv_timeout(pause) {
            Ok(signal) => Some(self.note(signal)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                thread::sleep(pause);
                None
            }
        }
    }
}

impl Feed for LockstepFeed {
    fn wait(&mut self, until: Timestamp) -> Option<Signal> {
        loop {
            if let Some(signal) = self.outstanding() {
                return Some(signal);
            }
            if self.lockstep.now() >= until {
                return None;
            }
            if self.lockstep.market_has_ended() && !self.end_told {
                self.end_told = true;
                return Some(Signal::Stop(StopWish::Leave));
            }
            let until = if self.end_told { until.min(self.lockstep.now().after(AFTER_THE_END)) } else { until };
            if let Some(signal) = self.pause(until) {
                return Some(signal);
            }
            if !self.lockstep.advance(until) {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Decimal;
    use crate::core::order::Side;
    use crate::simulation::account::Rows;
    use crate::simulation::market::{Fixed, RandomWalk, random_walk::Liveliness};
    use crate::simulation::order::Kind;
    use crate::simulation::server::{Server, ServerOptions};
    use crate::simulation::settings::Settings;
    use crate::simulation::stream::Channel;
    use crate::simulation::testing::{auth, limit, order};
    use crossbeam_channel::{Sender, unbounded};
    use std::fmt::Write as _;

    fn walk(points: usize) -> Box<dyn Market + Send> {
        let mut walk =
            RandomWalk::new(5, Timestamp(1_000_000), Decimal::from(60_000), Decimal::new(1, 2), Liveliness::default());
        Box::new(Fixed::new((0..points).map(|_| walk.next().unwrap().unwrap()).collect()))
    }

    fn lockstep(market: Box<dyn Market + Send>, pace: Pace) -> Lockstep {
        Lockstep::new(Exchange::new(Settings::default()), "BTCUSDT", market, pace).unwrap()
    }

    /// Stands for the bot's stream thread: passes each message on as a frame, after a wavering while.
    fn stream(hub: &Arc<Hub>, signals: Sender<Signal>, waver: u64) -> thread::JoinHandle<()> {
        let (number, messages) = hub.open(Channel::Private);
        hub.receive(number, &auth(hub.now().0 + 10_000));
        hub.receive(number, r#"{"op":"subscribe","args":["order","execution","wallet"]}"#);
        thread::spawn(move || {
            let _ = signals.send(Signal::StreamUp);
            let mut count = 0_u64;
            for message in messages {
                if !message.contains("\"topic\":\"order\"") && !message.contains("\"topic\":\"execution\"") {
                    continue;
                }
                count += 1;
                thread::sleep(Duration::from_micros((count * 7919 * waver) % 700));
                if signals.send(Signal::Frame(Vec::new())).is_err() {
                    return;
                }
            }
        })
    }

    /// The same over a real connection to a real server.
    fn stream_over_sockets(server: &Server, now: Timestamp, signals: Sender<Signal>) -> thread::JoinHandle<()> {
        let socket = std::net::TcpStream::connect(server.address()).unwrap();
        let (mut client, _) = tungstenite::client(format!("ws://{}/v5/private", server.address()), socket).unwrap();
        for text in [auth(now.0 + 10_000).as_str(), r#"{"op":"subscribe","args":["order","execution"]}"#] {
            client.send(tungstenite::Message::text(text)).unwrap();
            assert!(client.read().unwrap().to_text().unwrap().contains("\"success\":true"));
        }
        thread::spawn(move || {
            let _ = signals.send(Signal::StreamUp);
            while client.read().is_ok_and(|message| message.is_text()) {
                let _ = signals.send(Signal::Frame(Vec::new()));
            }
        })
    }

    /// A bot that rests a buy below and a sell above the market again and again, and writes down what it sees and when.
    fn play(pace: Pace, waver: u64, sockets: bool) -> String {
        let lockstep = lockstep(walk(3_000), pace);
        let hub = lockstep.hub();
        hub.with(|exchange, now| exchange.adjust_balance(0, "BTC", Decimal::ONE, now)).unwrap();
        let (sender, signals) = unbounded();
        let server = Server::start("127.0.0.1:0", Arc::clone(&hub), ServerOptions::default()).unwrap();
        let stream = match sockets {
            true => stream_over_sockets(&server, lockstep.now(), sender.clone()),
            false => stream(&hub, sender.clone(), waver),
        };
        let mut feed = lockstep.feed(signals);
        let mut diary = String::new();
        loop {
            let until = lockstep.now().after(Duration::from_secs(17));
            let signal = feed.wait(until);
            writeln!(diary, "{} {signal:?}", lockstep.now().0).unwrap();
            match signal {
                Some(Signal::Stop(_)) => break,
                None => hub.with(|exchange, now| {
                    for (side, distance) in [(Side::Buy, -20), (Side::Sell, 20)] {
                        let price = exchange.books()[0].bid().round() + Decimal::from(distance);
                        exchange.create(0, limit(side, &price.to_string(), "0.001"), now).unwrap();
                    }
                }),
                Some(_) => {}
            }
        }
        let books = hub.with(|exchange, _| format!("{:?}", exchange.accounts()[0].holdings()));
        drop((feed, sender, server));
        assert_eq!(Arc::strong_count(&stream_free(hub, stream)), 2, "the exchange is held by the lockstep and here");
        diary + &books
    }

    /// Closes the session, so that the stand-in of the stream thread ends.
    fn stream_free(hub: Arc<Hub>, stream: thread::JoinHandle<()>) -> Arc<Hub> {
        hub.close(1);
        stream.join().unwrap();
        hub
    }

    #[test]
    fn every_run_is_the_same_at_any_speed_and_however_slow_the_stream_is() {
        let first = play(Pace::Unpaced, 0, false);
        assert!(first.matches("Frame").count() > 300, "{}", first.matches("Frame").count());
        assert_eq!(first, play(Pace::Unpaced, 1, false));
        assert_eq!(first, play(Pace::Times(20_000), 3, false));
        assert_eq!(first, play(Pace::Unpaced, 0, true));
    }

    #[test]
    fn the_market_waits_until_the_stream_is_up() {
        let lockstep = lockstep(walk(10), Pace::Unpaced);
        let (sender, signals) = unbounded();
        let late = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            sender.send(Signal::StreamUp).unwrap();
            sender
        });
        let start = lockstep.now();
        let mut feed = lockstep.feed(signals);
        assert_eq!(feed.wait(start.after(Duration::from_secs(5))), Some(Signal::StreamUp));
        assert_eq!(lockstep.now(), start);
        assert_eq!(feed.wait(start.after(Duration::from_secs(5))), None);
        assert_eq!(lockstep.now(), start.after(Duration::from_secs(5)));
        drop(late.join());
    }

    #[test]
    fn after_a_reconnection_only_the_new_connection_counts() {
        let lockstep = lockstep(walk(100), Pace::Unpaced);
        let hub = lockstep.hub();
        let (sender, signals) = unbounded();
        let buy = || {
            let order = order(Side::Buy, Kind::MarketQuote, "50");
            hub.with(|exchange, now| exchange.create(0, order, now)).unwrap();
        };
        let first = stream(&hub, sender.clone(), 0);
        let mut feed = lockstep.feed(signals);
        assert_eq!(feed.wait(Timestamp(0)), Some(Signal::StreamUp));
        hub.close(1);
        first.join().unwrap();
        // Nobody hears of this one: the bot has to ask for it.
        buy();
        sender.send(Signal::StreamDown("closed".to_owned())).unwrap();
        let second = stream(&hub, sender.clone(), 1);
        assert!(matches!(feed.wait(Timestamp(0)), Some(Signal::StreamDown(_))));
        assert_eq!(feed.wait(Timestamp(0)), Some(Signal::StreamUp));
        buy();
        let begin = Instant::now();
        let until = lockstep.now().after(Duration::from_secs(5));
        let frames = (0..3).map_while(|_| feed.wait(until)).count();
        assert_eq!((frames, lockstep.now()), (2, until));
        assert!(begin.elapsed() < PATIENCE, "nothing was waited for in vain");
        hub.close(2);
        second.join().unwrap();
    }

    #[test]
    fn at_the_end_of_the_market_the_bot_is_told_once_to_stop() {
        let lockstep = lockstep(walk(3), Pace::Unpaced);
        let (sender, signals) = unbounded();
        sender.send(Signal::StreamUp).unwrap();
        let mut feed = lockstep.feed(signals);
        let far = Timestamp(i64::MAX);
        assert_eq!(feed.wait(far), Some(Signal::StreamUp));
        assert_eq!(feed.wait(far), Some(Signal::Stop(StopWish::Leave)));
        assert_eq!(lockstep.now(), Timestamp(1_002_000));
        assert_eq!(feed.wait(far), None);
        assert_eq!(lockstep.now(), Timestamp(1_002_000).after(AFTER_THE_END));
        assert_eq!(lockstep.market_error(), None);
    }

    #[test]
    fn a_stop_from_outside_ends_a_paced_wait_at_once() {
        let lockstep = lockstep(walk(100), Pace::Times(1));
        let (sender, signals) = unbounded();
        sender.send(Signal::StreamUp).unwrap();
        let mut feed = lockstep.feed(signals);
        feed.wait(Timestamp(i64::MAX));
        let begin = Instant::now();
        sender.send(Signal::Stop(StopWish::Cancel)).unwrap();
        assert_eq!(feed.wait(Timestamp(i64::MAX)), Some(Signal::Stop(StopWish::Cancel)));
        assert!(begin.elapsed() < Duration::from_millis(900));
    }

    #[test]
    fn sleeping_lets_the_market_move() {
        let lockstep = lockstep(walk(100), Pace::Unpaced);
        let order = limit(Side::Buy, "62000", "0.001");
        lockstep.hub().with(|exchange, now| exchange.create(0, order, now)).unwrap();
        let before = lockstep.hub().with(|exchange, _| exchange.books()[0].bid());
        let start = lockstep.now();
        lockstep.sleep(Duration::from_millis(10_500));
        assert_eq!(lockstep.now(), start.after(Duration::from_millis(10_500)));
        let (after, pushes) = lockstep.hub().with(|exchange, _| (exchange.books()[0].bid(), exchange.take_pushes(0)));
        assert_ne!(before, after);
        assert!(pushes.iter().all(|push| !matches!(push.rows, Rows::Orders(_))), "delivered when they happened");
    }

    #[test]
    fn a_month_of_candles_in_which_nothing_happens_passes_within_seconds() {
        let point = |i: i64| PricePoint::new(Timestamp(i * 15_000), Decimal::from(60_000 + i % 7));
        let lockstep = lockstep(Box::new(Fixed::new((0..180_000).map(point).collect())), Pace::of_speed(100_000));
        let (sender, signals) = unbounded();
        sender.send(Signal::StreamUp).unwrap();
        let mut feed = lockstep.feed(signals);
        let begin = Instant::now();
        while feed.wait(Timestamp(i64::MAX)) != Some(Signal::Stop(StopWish::Leave)) {}
        assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    }
}
