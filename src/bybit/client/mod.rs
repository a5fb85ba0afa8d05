//! Bybit's REST, as the port [`Exchange`](crate::engine::ports::Exchange) wants it.
//!
//! Goes in: a call. Comes out: its result in the core's words, or a [`Fault`] that says what to do. Each attempt is
//! signed anew with the exchange's time. Nothing is ever sent twice, except after 10002: the clock is synchronised
//! and the request, which was surely not done, is signed and sent once more.
//!
//! ```text
//! call ── wait for the class's rate limit ── sign ── transport ── status, retCode ── result
//!                                              ▲                        │
//!                                              └── synchronise ◄── 10002, once
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::clock::ExchangeClock;
use super::codes::{self, CallKind};
use super::query::Query;
use super::sign::Credentials;
use super::wire;
use crate::core::{Decimal, Timestamp};
use crate::engine::ports::{AdjustableClock, Fault, FaultKind};
use crate::http::{Method, Request, Response, Transport, TransportError};

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
mod pages;

pub use klines::{Interval, KLINES_A_PAGE, Kline};

/// How long Bybit may take to receive a request, in milliseconds (its own default).
const RECV_WINDOW: &str = "5000";
/// The longest a request waits by itself for a limit that the headers announced; a longer wait is the engine's.
const PATIENCE: Duration = Duration::from_secs(2);
/// The wait after a rate limit without a usable reset time.
const RETRY: Duration = Duration::from_secs(1);
/// A comparison of clocks that took longer is made again. Half of this is the error that remains: a timestamp that is
/// 1000 ms fast is refused.
const SLOW: Duration = Duration::from_millis(400);
/// Beyond this a person should know that this machine's clock is off.
const WORTH_TELLING_MS: u64 = 60_000;
/// A reset time further away than this is not believed.
const LONGEST_LIMIT: Duration = Duration::from_secs(600);

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

/// A client for one symbol on one account.
pub struct Client<T, C = ExchangeClock> {
    transport: T,
    clock: C,
    symbol: String,
    credentials: Option<Credentials>,
    /// Per path: no request before this moment, because the last answer said that nothing is left.
    limits: BTreeMap<&'static str, Timestamp>,
}

impl<T: Transport, C: AdjustableClock> Client<T, C> {
    /// A client that signs with `credentials`; without them only the market's endpoints work.
    pub fn new(transport: T, clock: C, symbol: &str, credentials: Option<Credentials>) -> Self {
        Self { transport, clock, symbol: symbol.to_owned(), credentials, limits: BTreeMap::new() }
    }

    /// Compares this machine's clock with the exchange's; changes nothing.
    ///
    /// A slow answer is asked for once more, and the quicker one counts: the other does not lie in the middle between question
    /// and answer.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn server_time(&mut self) -> Result<TimeCheck, Fault> {
        let first = self.compare_clocks()?;
        self.quicker(first)
    }

    fn quicker(&mut self, first: TimeCheck) -> Result<TimeCheck, Fault> {
        if first.round_trip <= SLOW {
            return Ok(first);
        }
        let second = self.compare_clocks()?;
        Ok(if second.round_trip < first.round_trip { second } else { first })
    }

    fn compare_clocks(&mut self) -> Result<TimeCheck, Fault> {
        self.transport.connect(1);
        let before = self.clock.exchange_time();
        let body = self.ask(&TIME, Query::new())?;
        self.time_check(before, &body)
    }

    /// What an answer says that was asked for at this moment, and has just come.
    fn time_check(&self, before: Timestamp, body: &[u8]) -> Result<TimeCheck, Fault> {
        let after = self.clock.exchange_time();
        let exchange = parse::<wire::TimeAnswer<'_>>(&TIME, body)?.time().map_err(|error| TIME.unreadable(error))?;
        let round_trip = after.since(before);
        // The answer was written half a round trip ago.
        let half = i64::try_from(round_trip.as_millis() / 2).unwrap_or(i64::MAX);
        Ok(TimeCheck { exchange, round_trip, behind_ms: exchange.0.saturating_sub(before.0.saturating_add(half)) })
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
        self.act(&DEMO_MONEY, &wire::DemoMoneyRequest::new(coin, amount)).map(drop)
    }

    fn correct_clock(&mut self) -> Result<(), Fault> {
        let check = self.server_time()?;
        self.follow(check);
        Ok(())
    }

    fn follow(&self, check: TimeCheck) {
        if check.behind_ms.unsigned_abs() > WORTH_TELLING_MS {
            let (here, there) = (self.clock.exchange_time(), check.exchange);
            log::warn!("this machine's clock says {here}, the exchange's {there}: the exchange's counts here");
        }
        self.clock.correct(check.behind_ms);
    }

    /// A question: the body of an answer whose code is 0.
    fn ask(&mut self, endpoint: &Endpoint, query: Query) -> Result<Vec<u8>, Fault> {
        self.call(endpoint, query.finish())
    }

    /// An act: the body of an answer whose code is 0.
    fn act(&mut self, endpoint: &Endpoint, request: &impl serde::Serialize) -> Result<Vec<u8>, Fault> {
        let body = endpoint.body(request)?;
        self.call(endpoint, body)
    }

    fn call(&mut self, endpoint: &Endpoint, payload: String) -> Result<Vec<u8>, Fault> {
        self.keep_limit(endpoint);
        let outcome = self.attempt(endpoint, &payload);
        self.once_more_if_clock_was_off(endpoint, &payload, outcome)
    }

    /// Several calls at once, an outcome for each.
    fn call_all(&mut self, calls: &[(&Endpoint, String)]) -> Vec<Result<Vec<u8>, Fault>> {
        for (endpoint, _) in calls {
            self.keep_limit(endpoint);
        }
        let requests: Result<Vec<Request>, Fault> =
            calls.iter().map(|(endpoint, payload)| self.request(endpoint, payload)).collect();
        let answers = match requests {
            Ok(requests) => self.transport.send_all(&requests),
            // None was sent.
            Err(fault) => return calls.iter().map(|_| Err(fault.clone())).collect(),
        };
        let outcomes: Vec<_> =
            calls.iter().zip(answers).map(|((endpoint, _), answer)| self.understand(endpoint, answer)).collect();
        calls
            .iter()
            .zip(outcomes)
            .map(|((endpoint, payload), outcome)| self.once_more_if_clock_was_off(endpoint, payload, outcome))
            .collect()
    }

    fn once_more_if_clock_was_off(
        &mut self,
        endpoint: &Endpoint,
        payload: &str,
        outcome: Result<Vec<u8>, Fault>,
    ) -> Result<Vec<u8>, Fault> {
        let refused = match outcome {
            Err(fault) if fault.kind == FaultKind::ClockOff && endpoint.signed => fault,
            other => return other,
        };
        if let Err(fault) = self.correct_clock() {
            log::warn!("the clock could not be synchronised: {fault}");
            return Err(refused);
        }
        self.attempt(endpoint, payload)
    }

    /// Waits a little if the last answer of this class said that nothing is left until then.
    fn keep_limit(&mut self, endpoint: &Endpoint) {
        if let Some(until) = self.limits.remove(endpoint.path) {
            let wait = until.since(self.clock.exchange_time()).min(PATIENCE);
            if !wait.is_zero() {
                log::debug!("{}: waiting {wait:?} for the rate limit", endpoint.name);
                self.clock.sleep(wait);
            }
        }
    }

    fn attempt(&mut self, endpoint: &Endpoint, payload: &str) -> Result<Vec<u8>, Fault> {
        let request = self.request(endpoint, payload)?;
        let answer = self.transport.send(&request);
        self.understand(endpoint, answer)
    }

    fn understand(&mut self, endpoint: &Endpoint, answer: Result<Response, TransportError>) -> Result<Vec<u8>, Fault> {
        let response = answer.map_err(|error| match error {
            TransportError::NotSent(_) => endpoint.fault(FaultKind::Unreachable, error.to_string()),
            TransportError::Unknown(_) => endpoint.fault(FaultKind::Unknown, error.to_string()),
        })?;
        self.remember_limit(endpoint, &response);
        self.judge(endpoint, &response)?;
        Ok(response.body)
    }

    fn request(&self, endpoint: &Endpoint, payload: &str) -> Result<Request, Fault> {
        let mut headers = Vec::with_capacity(5);
        if endpoint.signed {
            let credentials = self.credentials.as_ref().ok_or_else(|| {
                endpoint.fault(FaultKind::KeyRefused, "an API key is needed for this and none is configured")
            })?;
            let timestamp = self.clock.exchange_time().0.to_string();
            let signature = credentials.sign_request(&timestamp, RECV_WINDOW, payload);
            headers.push(("X-BAPI-API-KEY", credentials.key().to_owned()));
            headers.push(("X-BAPI-TIMESTAMP", timestamp));
            headers.push(("X-BAPI-RECV-WINDOW", RECV_WINDOW.to_owned()));
            headers.push(("X-BAPI-SIGN", signature));
        }
        let path = endpoint.path.to_owned();
        Ok(match endpoint.method {
            Method::Get => {
                Request { method: Method::Get, path, query: payload.to_owned(), body: String::new(), headers }
            }
            Method::Post => {
                headers.push(("Content-Type", "application/json".to_owned()));
                Request { method: Method::Post, path, query: String::new(), body: payload.to_owned(), headers }
            }
        })
    }

    fn remember_limit(&mut self, endpoint: &Endpoint, response: &Response) {
        if response.header("X-Bapi-Limit-Status").is_some_and(|left| left.trim() == "0")
            && let Some(until) = self.reset_time(response)
        {
            self.limits.insert(endpoint.path, until);
        }
    }

    /// The moment in the header, if it lies ahead and is believable.
    fn reset_time(&self, response: &Response) -> Option<Timestamp> {
        let now = self.clock.exchange_time();
        let reset = Timestamp(response.header("X-Bapi-Limit-Reset-Timestamp")?.trim().parse().ok()?);
        (reset > now && reset <= now.after(LONGEST_LIMIT)).then_some(reset)
    }

    /// Whether the exchange says that the call was done.
    fn judge(&self, endpoint: &Endpoint, response: &Response) -> Result<(), Fault> {
        let now = self.clock.exchange_time();
        let until = self.reset_time(response).unwrap_or(now.after(RETRY));
        if let Ok(head) = read::<wire::Head<'_>>(&response.body) {
            if head.code == 0 && response.status == 200 {
                return Ok(());
            }
            let kind = codes::kind_of_code(head.code, until);
            // A code without a rule counts as a refusal only where HTTP does not say otherwise.
            if head.code != 0 && (kind != FaultKind::Refused || response.status == 200) {
                let message = self.presentable(head.message.as_str());
                return Err(Fault { kind, endpoint: endpoint.name, code: Some(head.code), message });
            }
        }
        let (kind, meaning) = codes::kind_of_status(response.status, endpoint.call_kind(), now, until);
        let start = self.presentable(&String::from_utf8_lossy(response.body.get(..1_000).unwrap_or(&response.body)));
        let status = response.status;
        Err(endpoint.fault(kind, format!("{meaning} (HTTP {status}, answer begins {start:?})")))
    }

    /// What the exchange says, fit for a log: without the key, in one line, not too long.
    fn presentable(&self, text: &str) -> String {
        let text = self.credentials.as_ref().map_or_else(|| text.to_owned(), |credentials| credentials.redact(text));
        text.trim().chars().take(160).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    }
}

/// The result in the body of an answer whose code is 0.
fn parse<'a, R: Deserialize<'a>>(endpoint: &Endpoint, body: &'a [u8]) -> Result<R, Fault> {
    read::<wire::Answer<R>>(body).map(|answer| answer.result).map_err(|error| endpoint.unreadable(error))
}

/// What a body says, read as text, as the stream's frames are: reading the same types from bytes as well would put each
/// of their readers into the program twice.
fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests;
