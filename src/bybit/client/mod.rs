//! Bybit's REST, as the port [`Exchange`](crate::engine::ports::Exchange) wants it.
//!
//! Goes in: a call. Comes out: its result in the core's words, or a [`Fault`] that says what to do. Each attempt is
//! signed anew with the exchange's time. Nothing is ever sent twice, except after 10002: the clock is synchronised
//! and the request, which was surely not done, is signed and sent once more.
//!
//! ```text
//! call ── wait for the rate limits and our own ── sign ── transport ── status, retCode ── result
//!                                              ▲                        │
//!                                              └── synchronise ◄── 10002, once
//! ```
//!
//! What is asked and how an answer is understood is in `protocol`, without any I/O; the calls are in `calls`. A list of the past
//! that takes many requests goes on where one of them was refused (`scan`).

use std::time::Duration;

use serde::Deserialize;

use super::clock::ExchangeClock;
use super::codes::CallKind;
use super::query::Query;
use super::sign::Credentials;
use super::wire;
use crate::core::order::{Execution, OrderReport};
use crate::core::{Decimal, Timestamp};
use crate::engine::ports::{AdjustableClock, Fault, FaultKind};
use crate::http::{Method, Request, Transport};

macro_rules! endpoint {
    ($id:ident, GET $path:literal, $signed:literal) => {
        const $id: Endpoint =
            Endpoint { name: concat!("GET ", $path), method: Method::Get, path: $path, signed: $signed };
    };
    ($id:ident, POST $path:literal) => {
        const $id: Endpoint =
            Endpoint { name: concat!("POST ", $path), method: Method::Post, path: $path, signed: true };
    };
}

mod calls;
mod klines;
mod pace;
mod pages;
mod protocol;
mod scan;

use protocol::{Protocol, read};
use scan::Unfinished;

pub use klines::{Interval, KLINES_A_PAGE, Kline};

/// One of Bybit's calls.
struct Endpoint {
    /// `POST /v5/order/create`, for people.
    name: &'static str,
    method: Method,
    path: &'static str,
    /// Whether it needs a signature.
    signed: bool,
}

endpoint!(TIME, GET "/v5/market/time", false);
endpoint!(KEY, GET "/v5/user/query-api", true);
endpoint!(DEMO_MONEY, POST "/v5/account/demo-apply-money");

impl Endpoint {
    fn call_kind(&self) -> CallKind {
        match self.method {
            Method::Get => CallKind::Question,
            Method::Post => CallKind::Act,
        }
    }

    fn fault(&self, kind: FaultKind, message: impl Into<String>) -> Fault {
        Fault { kind, endpoint: self.name, code: None, message: message.into() }
    }

    /// Such a request was surely not done: it may be signed anew and sent again.
    fn is_refused_for_its_time(&self, fault: &Fault) -> bool {
        self.signed && fault.kind == FaultKind::ClockOff
    }

    fn body(&self, request: &impl serde::Serialize) -> Result<String, Fault> {
        serde_json::to_string(request)
            .map_err(|error| self.fault(FaultKind::Refused, format!("cannot be written as JSON: {error}")))
    }

    /// An answer that says "done" and nothing else that can be read: a question is asked again, an act may have
    /// been done.
    fn unreadable(&self, why: impl std::fmt::Display) -> Fault {
        let kind = match self.call_kind() {
            CallKind::Question => FaultKind::Malformed,
            CallKind::Act => FaultKind::Unknown,
        };
        self.fault(kind, format!("the answer cannot be understood: {why}"))
    }
}

/// What a comparison of the clocks found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeCheck {
    /// The exchange's time when it answered.
    pub exchange: Timestamp,
    /// From asking to having the answer.
    pub round_trip: Duration,
    /// How far this clock was behind the exchange, in milliseconds; negative if it was ahead. Half a round trip of
    /// error remains.
    pub behind_ms: i64,
}

/// A key that expires sooner than this should be renewed now.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// What the exchange says about the key in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// It cannot place orders.
    pub read_only: bool,
    /// Permission `Spot: SpotTrade`.
    pub can_trade_spot: bool,
    /// Permission `Wallet: Withdraw`, which a bot's key should not have.
    pub can_withdraw: bool,
    /// The addresses it is bound to; empty if to none.
    pub ips: Vec<String>,
    /// When it expires; `None` if never.
    pub expires: Option<Timestamp>,
    /// Bybit's count of days left, where it gives one.
    pub days_left: Option<i64>,
}

impl KeyInfo {
    /// In how many days and when it expires, if that is soon: a new one should be made now.
    pub fn expires_soon(&self, now: Timestamp) -> Option<(u64, Timestamp)> {
        let left = self.expires.filter(|expires| expires.since(now) < EXPIRES_SOON)?;
        Some((left.since(now).as_secs() / 86_400, left))
    }

    /// Whether a bot should trade with it.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn permit(&self) -> Result<(), &'static str> {
        if self.read_only {
            Err("the API key may only read: make one with read-write access and spot trading")
        } else if !self.can_trade_spot {
            Err("the API key may not trade spot: allow it (Unified Trading: Spot, Trade)")
        } else if self.can_withdraw {
            Err("the API key may withdraw: make one without that right, so that who steals it cannot empty the account")
        } else {
            Ok(())
        }
    }
}

/// Hears the place of a call and its outcome.
type Arrived<'a, C> = dyn FnMut(&Protocol<C>, usize, Result<Vec<u8>, Fault>) + 'a;

/// A client for one symbol on one account.
pub struct Client<T, C = ExchangeClock> {
    transport: T,
    protocol: Protocol<C>,
    /// Lists of the past whose reading was refused in the middle.
    executions: Unfinished<Execution>,
    closed_orders: Unfinished<OrderReport>,
}

impl<T: Transport, C: AdjustableClock> Client<T, C> {
    /// A client that signs with `credentials`; without them only the market's endpoints work.
    pub fn new(transport: T, clock: C, symbol: &str, credentials: Option<Credentials>) -> Self {
        let protocol = Protocol::new(clock, symbol, credentials);
        Self { transport, protocol, executions: Unfinished::default(), closed_orders: Unfinished::default() }
    }

    /// Compares this machine's clock with the exchange's; changes nothing.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn server_time(&mut self) -> Result<TimeCheck, Fault> {
        let before = self.protocol.clock.exchange_time();
        let body = self.ask(&TIME, Query::new())?;
        self.protocol.time_check(before, &body)
    }

    /// Rights, address binding and expiry of the key in use.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn key_info(&mut self) -> Result<KeyInfo, Fault> {
        let body = self.ask(&KEY, Query::new())?;
        calls::read_key(&body)
    }

    /// Asks for money that is not real; only the demo environment has this, once a minute, up to 100000 USDT or
    /// 15 BTC each.
    ///
    /// # Errors
    /// [`Fault`]; other environments refuse.
    pub fn demo_apply_money(&mut self, coin: &str, amount: Decimal) -> Result<(), Fault> {
        let body = DEMO_MONEY.body(&wire::DemoMoneyRequest::new(coin, amount))?;
        self.call(&DEMO_MONEY, &body).map(drop)
    }

    fn correct_clock(&mut self) -> Result<(), Fault> {
        let check = self.server_time()?;
        self.protocol.follow(check);
        Ok(())
    }

    /// A question: the body of an answer whose code is 0.
    fn ask(&mut self, endpoint: &Endpoint, query: Query) -> Result<Vec<u8>, Fault> {
        self.call(endpoint, &query.finish())
    }

    fn call(&mut self, endpoint: &Endpoint, payload: &str) -> Result<Vec<u8>, Fault> {
        match self.attempt(endpoint, payload) {
            Err(refused) if endpoint.is_refused_for_its_time(&refused) => {
                self.correct_after(&refused)?;
                self.attempt(endpoint, payload)
            }
            outcome => outcome,
        }
    }

    fn attempt(&mut self, endpoint: &Endpoint, payload: &str) -> Result<Vec<u8>, Fault> {
        self.protocol.keep_limit(endpoint);
        let request = self.protocol.request(endpoint, payload)?;
        let sent = self.transport.send(&request);
        self.protocol.understand(endpoint, sent)
    }

    /// Several calls at once. `arrived` is told the place of each and its outcome, as soon as that is known.
    fn call_together(&mut self, calls: &[(&Endpoint, String)], arrived: &mut Arrived<'_, C>) {
        for (endpoint, _) in calls {
            self.protocol.keep_limit(endpoint);
        }
        let requests: Result<Vec<Request>, Fault> =
            calls.iter().map(|(endpoint, payload)| self.protocol.request(endpoint, payload)).collect();
        let requests = match requests {
            Ok(requests) => requests,
            // None was sent.
            Err(fault) => return (0..calls.len()).for_each(|place| arrived(&self.protocol, place, Err(fault.clone()))),
        };
        let Self { transport, protocol, .. } = self;
        let mut off = Vec::new();
        transport.send_together(&requests, &mut |place, sent| {
            let Some((endpoint, _)) = calls.get(place) else { return };
            match protocol.understand(endpoint, sent) {
                Err(refused) if endpoint.is_refused_for_its_time(&refused) => off.push((place, refused)),
                outcome => arrived(protocol, place, outcome),
            }
        });
        let Some((_, refused)) = off.first() else { return };
        let corrected = self.correct_after(refused).is_ok();
        for (place, refused) in off {
            let outcome = match calls.get(place) {
                Some((endpoint, payload)) if corrected => self.attempt(endpoint, payload),
                _ => Err(refused),
            };
            arrived(&self.protocol, place, outcome);
        }
    }

    /// Corrects the clock after a refusal for the request's time.
    ///
    /// # Errors
    /// That refusal, if the exchange does not tell its time.
    fn correct_after(&mut self, refused: &Fault) -> Result<(), Fault> {
        let check = self.server_time().map_err(|fault| {
            log::warn!("the clock could not be synchronised: {fault}");
            refused.clone()
        })?;
        self.protocol.follow_refused(check);
        Ok(())
    }
}

/// The result in the body of an answer whose code is 0.
fn parse<'a, R: Deserialize<'a>>(endpoint: &Endpoint, body: &'a [u8]) -> Result<R, Fault> {
    read::<wire::Answer<R>>(body).map(|answer| answer.result).map_err(|error| endpoint.unreadable(error))
}

#[cfg(test)]
mod tests;
