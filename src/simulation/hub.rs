//! One lock around the exchange and the sessions that listen to it.
//!
//! Requests, moves of the market and stream messages come in from many threads; each is done whole under the
//! lock, and what it causes is queued for its listeners before the lock is released. So every listener gets
//! its messages in the order in which things happened, and nothing is queued before it is true.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::exchange::Exchange;
use super::market::PricePoint;
use super::stream::{self, Channel, Session};
use crate::core::Timestamp;
use crate::http::{Request, Response, Transport, TransportError};
use crate::wall_clock::wall_clock;

/// Messages that may wait for one listener; one that falls further behind is dropped.
const MOST_WAITING: usize = 10_000;

/// What time it is for the exchange.
pub type TimeSource = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The exchange with its listeners, to be shared between threads.
pub struct Hub {
    state: Mutex<State>,
    time: TimeSource,
}

struct State {
    exchange: Exchange,
    listeners: BTreeMap<u64, Listener>,
    next_listener: u64,
    youngest: Youngest,
}

/// The private session that authenticated last: its number, and the messages about trading queued for it.
#[derive(Clone, Copy, Default)]
struct Youngest {
    number: u64,
    trading_frames: u64,
}

struct Listener {
    session: Session,
    messages: Sender<String>,
}

impl Hub {
    /// Shares an exchange whose time `time` tells.
    pub fn new(exchange: Exchange, time: TimeSource) -> Arc<Self> {
        let state = State { exchange, listeners: BTreeMap::new(), next_listener: 1, youngest: Youngest::default() };
        Arc::new(Self { state: Mutex::new(state), time })
    }

    /// Shares an exchange whose time is this machine's clock, as clients elsewhere need it.
    pub fn on_wall_clock(exchange: Exchange) -> Arc<Self> {
        Self::new(exchange, Arc::new(wall_clock))
    }

    /// The exchange's time.
    pub fn now(&self) -> Timestamp {
        (self.time)()
    }

    /// Answers a REST request.
    pub fn handle(&self, request: &Request) -> Response {
        let mut state = self.lock();
        let response = state.exchange.handle(request, self.now());
        state.deliver();
        response
    }

    /// Moves a market.
    pub fn advance(&self, symbol: &str, point: &PricePoint) {
        let mut state = self.lock();
        let now = self.now();
        state.exchange.advance(symbol, point, now);
        state.deliver();
        state.tell_market(symbol, now);
    }

    /// How many messages about orders and executions were queued for the private session that authenticated last,
    /// since it did.
    pub fn trading_frames(&self) -> u64 {
        self.lock().youngest.trading_frames
    }

    /// Does something with the exchange itself; what it causes is delivered.
    pub fn with<T>(&self, action: impl FnOnce(&mut Exchange, Timestamp) -> T) -> T {
        let mut state = self.lock();
        let result = action(&mut state.exchange, self.now());
        state.deliver();
        result
    }

    /// Opens a session on a stream: its number, and the messages that are to be sent to its client. The channel
    /// disconnects when the session is closed or has fallen too far behind.
    pub fn open(&self, channel: Channel) -> (u64, Receiver<String>) {
        let mut state = self.lock();
        let number = state.next_listener;
        state.next_listener += 1;
        let (messages, receiver) = unbounded();
        let session = Session::new(channel, format!("sim-{number}"));
        state.listeners.insert(number, Listener { session, messages });
        (number, receiver)
    }

    /// Takes a text from a session's client. Returns whether the session is still open.
    pub fn receive(&self, number: u64, text: &str) -> bool {
        let mut state = self.lock();
        let now = self.now();
        let State { exchange, listeners, youngest, .. } = &mut *state;
        let Some(listener) = listeners.get_mut(&number) else { return false };
        let answers = listener.session.receive(text, exchange, now);
        if listener.session.account().is_some() && number > youngest.number {
            *youngest = Youngest { number, trading_frames: 0 };
        }
        for answer in answers {
            // A client that has gone is noticed by its reader.
            let _ = listener.messages.send(answer);
        }
        true
    }

    /// Ends a session.
    pub fn close(&self, number: u64) {
        self.lock().listeners.remove(&number);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deliver(&mut self) {
        for account in 0..self.exchange.accounts().len() {
            for push in self.exchange.take_pushes(account) {
                let trading = stream::is_trading(&push);
                let listeners = self.listeners.iter().filter(|(_, one)| one.session.account() == Some(account));
                for (number, listener) in listeners {
                    let Some(message) = listener.session.private_message(&push, &self.exchange) else { continue };
                    if trading && *number == self.youngest.number {
                        self.youngest.trading_frames += 1;
                    }
                    let _ = listener.messages.send(message);
                }
            }
        }
        self.drop_the_slow();
    }

    fn drop_the_slow(&mut self) {
        self.listeners.retain(|_, listener| listener.messages.len() < MOST_WAITING);
    }

    fn tell_market(&mut self, symbol: &str, now: Timestamp) {
        for listener in self.listeners.values().filter(|one| one.session.channel() == Channel::Public) {
            for message in listener.session.public_messages(symbol, &self.exchange, now) {
                let _ = listener.messages.send(message);
            }
        }
        self.drop_the_slow();
    }
}

impl Transport for Arc<Hub> {
    /// Answers in memory; it cannot fail.
    fn send(&mut self, request: &Request) -> Result<Response, TransportError> {
        Ok(self.handle(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Method;
    use crate::simulation::testing::*;

    fn subscribed(hub: &Hub, topics: &str) -> (u64, Receiver<String>) {
        let (number, messages) = hub.open(Channel::Private);
        assert!(hub.receive(number, &auth(NOW.0 + 1000)));
        assert!(hub.receive(number, &format!(r#"{{"op":"subscribe","args":[{topics}]}}"#)));
        assert_eq!(messages.try_iter().count(), 2);
        (number, messages)
    }

    #[test]
    fn a_request_in_memory_is_answered_and_its_messages_are_queued_when_it_returns() {
        let mut hub = hub();
        let (_, messages) = subscribed(&hub, r#""order","execution","wallet""#);
        let answer = hub.send(&signed(Method::Post, "/v5/order/create", ORDER, NOW)).unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(messages.try_iter().count(), 3);
        assert_eq!(hub.trading_frames(), 2, "a wallet's message does not count");
    }

    #[test]
    fn messages_are_counted_for_the_session_that_authenticated_last() {
        let hub = hub();
        let (first, messages) = subscribed(&hub, r#""order""#);
        hub.handle(&signed(Method::Post, "/v5/order/create", ORDER, NOW));
        assert_eq!((messages.try_iter().count(), hub.trading_frames()), (1, 1));
        let (number, messages) = subscribed(&hub, r#""order""#);
        assert_eq!(hub.trading_frames(), 0);
        hub.handle(&signed(Method::Post, "/v5/order/create", ORDER, NOW));
        assert_eq!((messages.try_iter().count(), hub.trading_frames()), (1, 1));
        hub.close(first);
        hub.close(number);
        assert!(!hub.receive(number, "{}"), "a closed session takes nothing");
        hub.handle(&signed(Method::Post, "/v5/order/create", ORDER, NOW));
        assert_eq!(hub.trading_frames(), 1);
    }

    #[test]
    fn a_listener_that_does_not_read_is_dropped_and_its_channel_ends() {
        let hub = hub();
        let (number, messages) = subscribed(&hub, r#""wallet""#);
        for _ in 0..=MOST_WAITING {
            hub.with(|exchange, now| exchange.adjust_balance(0, "USDT", crate::core::Decimal::ONE, now)).unwrap();
        }
        assert!(!hub.receive(number, "{}"));
        assert_eq!(messages.iter().count(), MOST_WAITING);
    }
}
