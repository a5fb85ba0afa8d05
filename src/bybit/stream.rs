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

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

pub use super::link::StreamHandle;

use super::address::Address;
use super::frame::{Answer, Frame, Refusal, parse_frame};
use super::link::{Link, Stopper, StreamTimings, Trouble};
use super::reconnect::{UpSince, keep_connected};
use super::sign::Credentials;
use super::tls::Tls;
use crate::engine::ports::{AdjustableClock, Signal, StreamEvent};

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
    pub clock: Arc<dyn AdjustableClock + Send + Sync>,
    /// Rows of other symbols are dropped.
    pub symbol: String,
    /// Deadlines and pauses.
    pub timings: StreamTimings,
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
        keep_connected(
            self.timings,
            stopper,
            |up_since| self.connection(listener, stopper, up_since),
            |reason| tell(listener, Signal::StreamDown(reason)),
        );
    }

    fn connection(
        &self,
        listener: &Sender<Signal>,
        stopper: &Stopper,
        up_since: &mut UpSince,
    ) -> Result<Infallible, Trouble> {
        let mut link = Link::open(&self.address, &self.tls, self.timings, stopper)?;
        // Pushes may overtake the answer to `subscribe`; they are passed on once the stream is up.
        let mut early = Vec::new();
        link.send(self.auth())?;
        if let Some(refusal) = self.answer(&mut link, "auth", &mut early)? {
            return Err(self.refused(listener, &refusal));
        }
        link.send(SUBSCRIBE.to_owned())?;
        if let Some(refusal) = self.answer(&mut link, "subscribe", &mut early)? {
            return Err(self.refused(listener, &refusal));
        }
        *up_since = Some(Instant::now());
        tell(listener, Signal::StreamUp)?;
        for (events, unreadable) in early {
            pass_on(listener, events, &unreadable)?;
        }
        loop {
            let Some(text) = link.next(None)? else { continue };
            match parse_frame(&text, &self.symbol) {
                Ok(Frame::Rows { events, unreadable }) => pass_on(listener, events, &unreadable)?,
                Ok(Frame::Answer(Answer { refusal: Some(refusal), .. })) => {
                    return Err(self.refused(listener, &refusal));
                }
                Ok(Frame::Answer(_) | Frame::Pong | Frame::Other) => {}
                Err(error) => missed(listener, &error.to_string())?,
            }
        }
    }

    fn auth(&self) -> String {
        let expires = self.clock.exchange_time().after(AUTH_VALIDITY).0;
        let args = (self.credentials.key(), expires, self.credentials.sign_stream(expires));
        serde_json::json!({ "op": "auth", "args": args }).to_string()
    }

    /// Waits for the answer to an operation: `None` if it was done.
    fn answer(
        &self,
        link: &mut Link,
        op: &str,
        early: &mut Vec<(Vec<StreamEvent>, Vec<String>)>,
    ) -> Result<Option<Refusal>, Trouble> {
        let deadline = Instant::now() + self.timings.answer;
        loop {
            let Some(text) = link.next(Some(deadline))? else {
                return Err(Trouble::Lost(format!("{op} was not answered within {:?}", self.timings.answer)));
            };
            match parse_frame(&text, &self.symbol) {
                Ok(Frame::Answer(answer)) if answer.op == op || answer.op.is_empty() => return Ok(answer.refusal),
                Ok(Frame::Rows { events, unreadable }) => early.push((events, unreadable)),
                Ok(_) => {}
                Err(error) => return Err(Trouble::Lost(error.to_string())),
            }
        }
    }

    /// A refused key is told and ends the stream; after any other refusal a new connection may do.
    fn refused(&self, listener: &Sender<Signal>, refusal: &Refusal) -> Trouble {
        let reason = self.credentials.redact(&format!("the stream refused: {refusal}"));
        if !refusal.is_about_the_key() {
            return Trouble::Lost(reason);
        }
        // If nobody listens there is nobody to tell.
        let _ = listener.send(Signal::StreamRefused(reason));
        Trouble::Over
    }
}

/// One push is one `Frame`; what could not be read of it makes the engine ask over REST.
fn pass_on(listener: &Sender<Signal>, events: Vec<StreamEvent>, unreadable: &[String]) -> Result<(), Trouble> {
    tell(listener, Signal::Frame(events))?;
    if unreadable.is_empty() { Ok(()) } else { missed(listener, &unreadable.join("; ")) }
}

/// Something was pushed that cannot be understood. For the engine that is the same as a connection that was down for a
/// moment: an event may be missing, so it must ask.
fn missed(listener: &Sender<Signal>, what: &str) -> Result<(), Trouble> {
    log::warn!("private stream: {what}");
    tell(listener, Signal::StreamDown(what.to_owned()))?;
    tell(listener, Signal::StreamUp)
}

fn tell(listener: &Sender<Signal>, signal: Signal) -> Result<(), Trouble> {
    listener.send(signal).map_err(|_| Trouble::Over)
}
