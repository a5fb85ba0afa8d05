//! What Bybit's REST wants to hear, and what it says: requests are made and answers understood here, and carried elsewhere.
//!
//! Goes in: an endpoint and its payload; what became of a request. Comes out: a signed [`Request`]; the body of an answer
//! whose code is 0, or a [`Fault`] that says what to do. It remembers the rate limits that answers announce.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::pace::Pace;
use super::{Endpoint, TIME, TimeCheck, parse};
use crate::bybit::codes;
use crate::bybit::sign::Credentials;
use crate::bybit::wire;
use crate::core::Timestamp;
use crate::core::time::milliseconds;
use crate::engine::ports::{AdjustableClock, Fault, FaultKind};
use crate::http::{Method, Request, Response, Sent, TransportError};

/// How long Bybit may take to receive a request, in milliseconds (its own default).
const RECV_WINDOW: &str = "5000";
/// The same.
const RECV_WINDOW_TIME: Duration = Duration::from_millis(5_000);
/// The longest a request waits by itself for a limit that the headers announced; a longer wait is the engine's.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// The wait after a rate limit without a usable reset time.
pub(super) const RETRY: Duration = Duration::from_secs(1);
/// An answer about the time is taken to have been on its way back for half of the round trip, and so long at most: the rest
/// of a slow one went into opening the connection. The clock is then fast by no more than this. Bybit refuses a timestamp
/// that is 1 s early, and takes one that is up to 5 s late.
const LONGEST_WAY_BACK: Duration = Duration::from_millis(200);
/// Beyond this a person should know that this machine's clock is off.
const WORTH_TELLING_MS: u64 = 60_000;
/// A reset time further away than this is not believed.
const LONGEST_LIMIT: Duration = Duration::from_secs(600);

/// What is known besides the call itself.
pub(super) struct Protocol<C> {
    pub(super) clock: C,
    pub(super) symbol: String,
    pub(super) credentials: Option<Credentials>,
    /// Per path: no request before this moment, because the last answer said that nothing is left.
    limits: BTreeMap<&'static str, Timestamp>,
    pace: Pace,
    /// How often in a row a request was refused for its time.
    refused_for_time: u32,
}

impl<C: AdjustableClock> Protocol<C> {
    pub(super) fn new(clock: C, symbol: &str, credentials: Option<Credentials>) -> Self {
        Self {
            clock,
            symbol: symbol.to_owned(),
            credentials,
            limits: BTreeMap::new(),
            pace: Pace::default(),
            refused_for_time: 0,
        }
    }

    /// A request is about to leave: waits a little if the last answer of this class said that nothing is left until then, or
    /// if too many have left lately.
    pub(super) fn keep_limit(&mut self, endpoint: &Endpoint) {
        if let Some(until) = self.limits.remove(endpoint.path) {
            let wait = until.since(self.clock.exchange_time()).min(PATIENCE);
            if !wait.is_zero() {
                log::debug!("{}: waiting {wait:?} for the rate limit", endpoint.name);
                self.clock.sleep(wait);
            }
        }
        let wait = self.pace.wait(endpoint.call_kind(), self.clock.now());
        if !wait.is_zero() {
            log::debug!("{}: waiting {wait:?}, because many requests have left lately", endpoint.name);
            self.clock.sleep(wait);
        }
        self.pace.leaves(self.clock.now());
    }

    pub(super) fn request(&self, endpoint: &Endpoint, payload: &str) -> Result<Request, Fault> {
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

    pub(super) fn understand(&mut self, endpoint: &Endpoint, sent: Sent) -> Result<Vec<u8>, Fault> {
        let response = sent.map_err(|error| match error {
            TransportError::NotSent(_) => endpoint.fault(FaultKind::Unreachable, error.to_string()),
            TransportError::Unknown(_) => endpoint.fault(FaultKind::Unknown, error.to_string()),
        })?;
        self.remember_limit(endpoint, &response);
        self.judge(endpoint, &response)?;
        if endpoint.signed {
            self.refused_for_time = 0;
        }
        Ok(response.body)
    }

    /// What an answer about the time says that was asked for at this moment, and has just come.
    pub(super) fn time_check(&self, before: Timestamp, body: &[u8]) -> Result<TimeCheck, Fault> {
        let after = self.clock.exchange_time();
        let exchange = parse::<wire::TimeAnswer<'_>>(&TIME, body)?.time().map_err(|error| TIME.unreadable(error))?;
        let round_trip = after.since(before);
        let left = after.before(way_back(round_trip));
        let behind_ms = exchange.0.saturating_sub(left.0);
        Ok(TimeCheck { exchange, round_trip, behind_ms })
    }

    /// What the engine calls `from..=to`, and what it would be by the exchange's time, if a correction is not believed yet.
    pub(super) fn in_exchange_time(&self, from: Timestamp, to: Timestamp) -> (Timestamp, Timestamp) {
        let ahead = self.clock.exchange_time().0.saturating_sub(self.clock.now().0);
        let moved = |moment: Timestamp, milliseconds: i64| Timestamp(moment.0.saturating_add(milliseconds));
        (moved(from, ahead.min(0)), moved(to, ahead.max(0)))
    }

    /// Corrects the clock by what a comparison found. A slow answer was written at any moment while it was waited for: if that may
    /// be what this clock says already, it teaches nothing.
    pub(super) fn follow(&self, check: TimeCheck) {
        let least = check.behind_ms.saturating_sub(milliseconds(way_back(check.round_trip)));
        let most = least.saturating_add(milliseconds(check.round_trip));
        if !self.clock.is_corrected() {
            self.correct(check.behind_ms.saturating_add(to_the_middle(check.round_trip)), check.exchange);
        } else if !(is_slow(check.round_trip) && (least..=most).contains(&0)) {
            self.correct(check.behind_ms, check.exchange);
        }
    }

    /// Corrects it after the exchange has refused a request for its time. If the answer about the time takes very long, where
    /// between asking and answering it was written is tried in turn: near the end, and in the middle. One of them is near enough.
    pub(super) fn follow_refused(&mut self, check: TimeCheck) {
        self.refused_for_time = self.refused_for_time.saturating_add(1);
        let more = if self.refused_for_time.is_multiple_of(2) { to_the_middle(check.round_trip) } else { 0 };
        self.correct(check.behind_ms.saturating_add(more), check.exchange);
    }

    fn correct(&self, behind_ms: i64, exchange: Timestamp) {
        if behind_ms.unsigned_abs() > WORTH_TELLING_MS {
            let here = self.clock.exchange_time();
            log::warn!("this machine's clock says {here}, the exchange's {exchange}: the exchange's counts here");
        }
        self.clock.correct(behind_ms);
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
        // The engine waits by its own time, which a correction that is not believed yet has not moved.
        let now = self.clock.now();
        let wait = self.reset_time(response).map_or(RETRY, |reset| reset.since(self.clock.exchange_time()));
        let until = now.after(wait);
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

/// How long an answer about the time is taken to have been on its way back.
fn way_back(round_trip: Duration) -> Duration {
    (round_trip / 2).min(LONGEST_WAY_BACK)
}

/// From there to the middle of the time that it took, if that matters: Bybit takes a timestamp that is less late than this.
fn to_the_middle(round_trip: Duration) -> i64 {
    if round_trip > RECV_WINDOW_TIME { milliseconds(round_trip / 2 - way_back(round_trip)) } else { 0 }
}

/// Whether it may have spent its time elsewhere than on the way.
fn is_slow(round_trip: Duration) -> bool {
    round_trip > LONGEST_WAY_BACK * 2
}

/// What a body says, read as text, as the stream's frames are: reading the same types from bytes as well would put each
/// of their readers into the program twice.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    serde_json::from_str(text).map_err(|error| error.to_string())
}
