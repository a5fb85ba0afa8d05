//! The public spot stream's thread: last price, best bid and best ask of one symbol. It needs no key.
//!
//! Goes in: where to connect. Comes out: a [`MarketSignal::Quote`] at each change, once all three prices are known.
//! Spot pushes them under three topics (`publicTrade`, `orderbook.1`, and `tickers`, which brings the last price
//! before the first trade); each trade gives a quote of its own, so that no extreme is missed.

use std::convert::Infallible;
use std::time::Instant;

use crossbeam_channel::Sender;
use serde::Deserialize;

use super::address::Address;
use super::frame::{FrameError, Head};
use super::reconnect::{UpSince, keep_connected};
use super::tls::Tls;
use super::websocket::{Disconnect, Stopper, StreamHandle, StreamSocket, StreamTimings};
use super::wire::{FieldError, OrderBook, Text, TickerPush, TradePush};
use crate::core::{Decimal, Timestamp};

/// The market at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// By the exchange's clock.
    pub time: Timestamp,
    /// Price of the last trade.
    pub last: Decimal,
    /// Best bid.
    pub bid: Decimal,
    /// Best ask.
    pub ask: Decimal,
}

/// What the public stream says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MarketSignal {
    /// It is subscribed.
    Up,
    /// It is down; it comes back by itself.
    Down(String),
    /// The market moved.
    Quote(Quote),
}

/// What is known of the market so far. Pure: messages in, quotes out.
#[derive(Clone, Debug, Default)]
pub struct Quotes {
    last: Option<Decimal>,
    bid: Option<Decimal>,
    ask: Option<Decimal>,
}

/// A push, before it is known what of.
#[derive(Deserialize)]
struct Push<'a, D> {
    #[serde(borrow, default)]
    ts: Text<'a>,
    data: D,
}

impl Quotes {
    /// Takes one message; gives the quotes that it brings, oldest first.
    ///
    /// # Errors
    /// A sentence that says what cannot be read; what was known stays.
    pub fn take(&mut self, text: &str) -> Result<Vec<Quote>, String> {
        let head = Head::read(text).map_err(|error| error.to_string())?;
        let topic = head.topic.as_str().split('.').next().unwrap_or_default();
        match topic {
            "publicTrade" => self.trades(text),
            "orderbook" => self.book(text),
            "tickers" => self.ticker(text),
            _ => Ok(Vec::new()),
        }
        .map_err(|error| format!("{topic}: {error}"))
    }

    fn trades(&mut self, text: &str) -> Result<Vec<Quote>, String> {
        let push: Push<'_, Vec<TradePush<'_>>> = read(text)?;
        let mut quotes = Vec::with_capacity(push.data.len());
        for row in &push.data {
            let (time, price) = row.trade().map_err(name)?;
            self.last = Some(price);
            quotes.extend(self.quote(time));
        }
        Ok(quotes)
    }

    fn book(&mut self, text: &str) -> Result<Vec<Quote>, String> {
        let push: Push<'_, OrderBook<'_>> = read(text)?;
        let time = push.ts.time("ts").map_err(name)?;
        let (bid, ask) = push.data.best().map_err(name)?;
        self.bid = bid.or(self.bid);
        self.ask = ask.or(self.ask);
        Ok(self.quote(time).into_iter().collect())
    }

    fn ticker(&mut self, text: &str) -> Result<Vec<Quote>, String> {
        let push: Push<'_, TickerPush<'_>> = read(text)?;
        let time = push.ts.time("ts").map_err(name)?;
        let last = push.data.last().map_err(name)?;
        // Trades say it first and in full; tickers come every 50 ms at most.
        if self.last.is_some() {
            return Ok(Vec::new());
        }
        self.last = Some(last);
        Ok(self.quote(time).into_iter().collect())
    }

    fn quote(&self, time: Timestamp) -> Option<Quote> {
        Some(Quote { time, last: self.last?, bid: self.bid?, ask: self.ask? })
    }
}

fn read<'a, R: Deserialize<'a>>(text: &'a str) -> Result<R, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn name(error: FieldError) -> String {
    error.to_string()
}

/// What the public stream needs.
#[derive(Clone)]
pub struct PublicStream {
    /// `wss://stream.bybit.com/v5/public/spot`.
    pub address: Address,
    /// The shared connector.
    pub tls: Tls,
    /// `BTCUSDT`.
    pub symbol: String,
    /// Deadlines and pauses.
    pub timings: StreamTimings,
}

impl PublicStream {
    /// Starts the thread; its signals go to `listener` until it is stopped or nobody listens.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn spawn(self, listener: Sender<MarketSignal>) -> std::io::Result<StreamHandle> {
        StreamHandle::spawn("market", move |stopper| self.run(&listener, &stopper))
    }

    fn run(&self, listener: &Sender<MarketSignal>, stopper: &Stopper) {
        keep_connected(
            self.timings,
            stopper,
            |up_since| self.connection(listener, stopper, up_since),
            |reason| tell(listener, MarketSignal::Down(reason)),
        );
    }

    fn connection(
        &self,
        listener: &Sender<MarketSignal>,
        stopper: &Stopper,
        up_since: &mut UpSince,
    ) -> Result<Infallible, Disconnect> {
        let mut socket = StreamSocket::open(&self.address, &self.tls, self.timings, stopper)?;
        let topics = ["tickers", "publicTrade", "orderbook.1"].map(|topic| format!("{topic}.{}", self.symbol));
        socket.send(serde_json::json!({ "op": "subscribe", "args": topics }).to_string())?;
        let deadline = Instant::now() + self.timings.answer;
        let mut quotes = Quotes::default();
        loop {
            let until = up_since.is_none().then_some(deadline);
            let Some(text) = socket.next(until)? else {
                return Err(Disconnect::Lost(format!("subscribe was not answered within {:?}", self.timings.answer)));
            };
            if up_since.is_none() && is_subscribed(&text)? {
                *up_since = Some(Instant::now());
                tell(listener, MarketSignal::Up)?;
            }
            match quotes.take(&text) {
                Ok(new) => new.into_iter().try_for_each(|quote| tell(listener, MarketSignal::Quote(quote)))?,
                // Prices are superseded by the next message: nothing is lost for good.
                Err(reason) => log::warn!("public stream: {reason}"),
            }
        }
    }
}

/// Whether a message is the answer to `subscribe`; a rejection ends the connection.
fn is_subscribed(text: &str) -> Result<bool, Disconnect> {
    let head = Head::read(text).map_err(|error: FrameError| Disconnect::Lost(error.to_string()))?;
    match head.answer() {
        Some(answer) if answer.op == "subscribe" || answer.rejection.is_some() => match answer.rejection {
            None => Ok(true),
            Some(rejection) => Err(Disconnect::Lost(format!("subscribe refused: {rejection}"))),
        },
        _ => Ok(false),
    }
}

fn tell(listener: &Sender<MarketSignal>, signal: MarketSignal) -> Result<(), Disconnect> {
    listener.send(signal).map_err(|_| Disconnect::Over)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::money::parse;

    const BOOK: &str = r#"{"topic":"orderbook.1.BTCUSDT","ts":1000,"type":"snapshot","data":{"s":"BTCUSDT",
        "b":[["99.9","2"]],"a":[["100.1","3"]],"u":1,"seq":2},"cts":999}"#;
    const TICKER: &str = r#"{"topic":"tickers.BTCUSDT","ts":1001,"type":"snapshot","cs":1,
        "data":{"symbol":"BTCUSDT","lastPrice":"100","highPrice24h":"110"}}"#;
    const TRADES: &str = r#"{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1003,"data":[
        {"T":1002,"s":"BTCUSDT","S":"Buy","v":"0.1","p":"100.5","i":"1","BT":false},
        {"T":1003,"s":"BTCUSDT","S":"Sell","v":"0.1","p":"99.5","i":"2","BT":false}]}"#;

    #[test]
    fn a_quote_needs_all_three_prices_and_each_trade_gives_one() {
        let mut quotes = Quotes::default();
        assert_eq!(quotes.take(BOOK), Ok(vec![]));
        assert_eq!(quotes.take(TICKER).unwrap().len(), 1);
        let d = |text| parse(text).unwrap();
        let at = |time, last| Quote { time: Timestamp(time), last: d(last), bid: d("99.9"), ask: d("100.1") };
        assert_eq!(quotes.take(TRADES), Ok(vec![at(1002, "100.5"), at(1003, "99.5")]));
        assert_eq!(quotes.take(TICKER), Ok(vec![]));
        assert_eq!(quotes.take(r#"{"success":true,"ret_msg":"pong","op":"ping"}"#), Ok(vec![]));
    }

    #[test]
    fn a_delta_with_one_side_keeps_the_other() {
        let mut quotes = Quotes::default();
        quotes.take(TICKER).unwrap();
        quotes.take(BOOK).unwrap();
        let delta = r#"{"topic":"orderbook.1.BTCUSDT","ts":1005,"type":"delta","data":{"b":[["99.8","1"]],"a":[]}}"#;
        let quote = quotes.take(delta).unwrap().pop().unwrap();
        assert_eq!((quote.bid, quote.ask), (parse("99.8").unwrap(), parse("100.1").unwrap()));
    }

    #[test]
    fn an_unreadable_message_is_an_error_that_names_the_topic_and_changes_nothing() {
        let mut quotes = Quotes::default();
        quotes.take(TICKER).unwrap();
        quotes.take(BOOK).unwrap();
        let error = quotes.take(&TRADES.replace("99.5", "-1")).unwrap_err();
        assert!(error.starts_with("publicTrade: field p"), "{error}");
        for text in [BOOK, TICKER, TRADES] {
            for end in 0..text.len() {
                assert!(quotes.take(&text[..end]).is_err(), "{end}");
            }
        }
    }
}
