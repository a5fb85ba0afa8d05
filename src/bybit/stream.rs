//! The private stream's thread: orders and executions of the account, as they happen.
//!
//! Goes in: where to connect, and credentials. Comes out: [`Signal`]s. The thread connects, authenticates,
//! subscribes, and says `StreamUp`; each push of a subscribed topic becomes exactly one `Frame`. When the connection
//! breaks or falls silent it says `StreamDown` once, and tries again for ever, with growing pauses. A refused key ends
//! it. Nothing is replayed by the exchange: whoever hears `StreamUp` asks over REST what it missed.
//!
//! ```text
//! connect ── auth ── subscribe ── up ── frame, frame, … ── lost ── pause ──┐
//!    ▲         └── key refused: end                                         │
//!    └─────────────────────────────────────────────────────────────────────┘
//! ```

use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

pub use super::link::StreamHandle;

use super::address::Address;
use super::clock::{AdjustableClock, ExchangeClock};
use super::frame::{Answer, Frame, Refusal, parse_frame};
use super::link::{Link, Pauses, Stopper, StreamTimings, Trouble};
use super::sign::Credentials;
use super::tls::Tls;
use crate::engine::ports::{Signal, StreamEvent};

/// How long the signature of `auth` is good.
const AUTH_VALIDITY: Duration = Duration::from_secs(10);
const SUBSCRIBE: &str = r#"{"op":"subscribe","args":["order","execution"]}"#;

/// What the private stream needs.
#[derive(Clone)]
pub struct PrivateStream {
    /// `wss://stream.bybit.com/v5/private`.
    pub address: Address,
    /// The shared connector.
    pub tls: Tls,
    /// Key and secret.
    pub credentials: Credentials,
    /// The exchange's time, which dates the signature.
    pub clock: ExchangeClock,
    /// Rows of other symbols are dropped.
    pub symbol: String,
    /// Deadlines and pauses.
    pub timings: StreamTimings,
}

/// How one connection ended.
enum End {
    Trouble(Trouble),
    KeyRefused(String),
    /// Nobody listens any more.
    Unheard,
}

impl From<Trouble> for End {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl PrivateStream {
    /// Starts the thread; its signals go to `listener` until it is stopped, the key is refused, or nobody listens.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn spawn(self, listener: Sender<Signal>) -> std::io::Result<StreamHandle> {
        StreamHandle::spawn("stream", move |stopper| self.run(&listener, &stopper))
    }

    fn run(&self, listener: &Sender<Signal>, stopper: &Stopper) {
        let mut pauses = Pauses::new(self.timings);
        // One `StreamDown` for each outage, however many attempts it takes.
        let mut down = false;
        loop {
            let mut up_since = None;
            let end = match self.connection(listener, stopper, &mut up_since) {
                Ok(never) => match never {},
                Err(end) => end,
            };
            let lasted = up_since.map_or(Duration::ZERO, |moment: Instant| moment.elapsed());
            let (reason, pause) = match end {
                End::Unheard | End::Trouble(Trouble::Stopped) => return,
                End::KeyRefused(reason) => {
                    // If nobody listens there is nobody to tell.
                    let _ = listener.send(Signal::StreamRefused(reason));
                    return;
                }
                End::Trouble(Trouble::Lost(reason)) => (reason, pauses.after(lasted)),
                End::Trouble(Trouble::Banned(reason)) => (reason, self.timings.banned_pause),
            };
            log::debug!("private stream: {reason}; next attempt in {pause:?}");
            if (up_since.is_some() || !down) && listener.send(Signal::StreamDown(reason)).is_err() {
                return;
            }
            down = true;
            if stopper.pause(pause) {
                return;
            }
        }
    }

    fn connection(
        &self,
        listener: &Sender<Signal>,
        stopper: &Stopper,
        up_since: &mut Option<Instant>,
    ) -> Result<std::convert::Infallible, End> {
        let mut link = Link::open(&self.address, &self.tls, self.timings, stopper)?;
        // Pushes may overtake the answer to `subscribe`; they are passed on once the stream is up.
        let mut early = Vec::new();
        link.send(self.auth())?;
        self.acknowledged(&mut link, "auth", &mut early)?;
        link.send(SUBSCRIBE.to_owned())?;
        self.acknowledged(&mut link, "subscribe", &mut early)?;
        *up_since = Some(Instant::now());
        tell(listener, Signal::StreamUp)?;
        for (events, unreadable) in early {
            pass_on(listener, events, &unreadable)?;
        }
        loop {
            let Some(text) = link.next(None)? else { continue };
            match parse_frame(&text, &self.symbol) {
                Ok(Frame::Rows { events, unreadable }) => pass_on(listener, events, &unreadable)?,
                Ok(Frame::Pong | Frame::Answer(Answer { refusal: None, .. }) | Frame::Other) => {}
                Ok(Frame::Answer(Answer { op, refusal: Some(refusal) })) => {
                    return Err(self.refused(&op, &refusal));
                }
                Err(error) => missed(listener, &error.to_string())?,
            }
        }
    }

    fn auth(&self) -> String {
        let expires = self.clock.exchange_time().after(AUTH_VALIDITY).0;
        let args = (self.credentials.key(), expires, self.credentials.sign_stream(expires));
        serde_json::json!({ "op": "auth", "args": args }).to_string()
    }

    fn acknowledged(
        &self,
        link: &mut Link,
        op: &str,
        early: &mut Vec<(Vec<StreamEvent>, Vec<String>)>,
    ) -> Result<(), End> {
        let deadline = Instant::now() + self.timings.answer;
        loop {
            let Some(text) = link.next(Some(deadline))? else {
                return Err(Trouble::Lost(format!("{op} was not answered within {:?}", self.timings.answer)).into());
            };
            match parse_frame(&text, &self.symbol) {
                Ok(Frame::Answer(answer)) if answer.op == op || answer.op.is_empty() => {
                    return answer.refusal.map_or(Ok(()), |refusal| Err(self.refused(op, &refusal)));
                }
                Ok(Frame::Rows { events, unreadable }) => early.push((events, unreadable)),
                Ok(_) => {}
                Err(error) => return Err(Trouble::Lost(error.to_string()).into()),
            }
        }
    }

    fn refused(&self, op: &str, refusal: &Refusal) -> End {
        let reason = self.credentials.redact(&format!("{op} refused: {refusal}"));
        if refusal.is_about_the_key() { End::KeyRefused(reason) } else { Trouble::Lost(reason).into() }
    }
}

/// One push is one `Frame`; what could not be read of it makes the engine ask over REST.
fn pass_on(listener: &Sender<Signal>, events: Vec<StreamEvent>, unreadable: &[String]) -> Result<(), End> {
    tell(listener, Signal::Frame(events))?;
    if unreadable.is_empty() { Ok(()) } else { missed(listener, &unreadable.join("; ")) }
}

/// Something was pushed that cannot be understood. For the engine that is the same as a connection that was down for a
/// moment: an event may be missing, so it must ask.
fn missed(listener: &Sender<Signal>, what: &str) -> Result<(), End> {
    log::warn!("private stream: {what}");
    tell(listener, Signal::StreamDown(what.to_owned()))?;
    tell(listener, Signal::StreamUp)
}

fn tell(listener: &Sender<Signal>, signal: Signal) -> Result<(), End> {
    listener.send(signal).map_err(|_| End::Unheard)
}
