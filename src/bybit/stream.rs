//! The private stream: orders and executions of the account, as they happen.
//!
//! Goes in: where to connect, and credentials. Comes out: [`Signal`]s. A thread connects, authenticates,
//! subscribes, and says `StreamUp`; each push of a subscribed topic becomes exactly one `Frame`. When the connection
//! breaks or falls silent it says `StreamDown` once, and tries again for ever, with growing pauses. When the key is refused
//! it says so each time, and the pause is long. Nothing is replayed by the exchange: whoever hears `StreamUp` asks over REST
//! what it missed.
//!
//! The thread reads, pings and notices a dead peer by itself. None of this waits for whoever listens.
//!
//! ```text
//! connect ── auth ── subscribe ── up ── frame, frame, … ── lost ── pause ──┐
//!    ▲         └── key refused ────────────────────────── long pause ──────┤
//!    └─────────────────────────────────────────────────────────────────────┘
//! ```

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::address::Address;
use super::frame::{Answer, Frame, FrameError, Rejection, parse_frame};
use super::reconnect::{UpSince, keep_connected};
use super::sign::Credentials;
use super::tls::Tls;
use super::websocket::{Disconnect, Stopper, StreamHandle, StreamSocket, StreamTimings};
use crate::engine::ports::{AdjustableClock, Signal};

/// How long the signature of `auth` is good.
const AUTH_VALIDITY: Duration = Duration::from_secs(10);
const SUBSCRIBE: &str = r#"{"op":"subscribe","args":["order","execution"]}"#;
/// Whether the clock has been corrected is checked this often.
const CLOCK_CHECK: Duration = Duration::from_millis(5);

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
        if self.address.is_secure()
            && let Err(error) = self.tls.connector()
        {
            // Parsing the roots takes a small board half a second. Done here first, it takes place while the main thread's
            // connections are on their way. An error is told by each attempt to connect.
            log::debug!("stream: {error}");
        }
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
    ) -> Result<Infallible, Disconnect> {
        let mut socket = StreamSocket::open(&self.address, &self.tls, self.timings, stopper)?;
        self.await_time(stopper)?;
        // Pushes may overtake the answer to `subscribe`. They are passed on once the stream is up.
        let mut early = Vec::new();
        for (op, request) in [("auth", self.auth()), ("subscribe", SUBSCRIBE.to_owned())] {
            socket.send(request)?;
            if let Some(rejection) = self.answer(&mut socket, op, &mut early)? {
                return Err(self.rejected(listener, &rejection));
            }
        }
        *up_since = Some(Instant::now());
        tell(listener, Signal::StreamUp)?;
        for frame in early {
            self.pass_on(frame, listener)?;
        }
        while let Some(text) = socket.next(None)? {
            self.pass_on(parse_frame(&text, &self.symbol), listener)?;
        }
        Err(Disconnect::Stopped)
    }

    /// Tells what a message means. One push is one `Frame`. A message that cannot be read counts as a connection that was
    /// down for a moment: an event may be missing, so the engine must ask over REST.
    fn pass_on(&self, frame: Result<Frame, FrameError>, listener: &Sender<Signal>) -> Result<(), Disconnect> {
        let missed = match frame {
            Ok(Frame::Rows { events, unreadable }) => {
                tell(listener, Signal::Frame(events))?;
                if unreadable.is_empty() {
                    return Ok(());
                }
                unreadable.join("; ")
            }
            Ok(Frame::Answer(Answer { rejection: Some(rejection), .. })) => {
                return Err(self.rejected(listener, &rejection));
            }
            Ok(Frame::Answer(_) | Frame::Pong | Frame::Other) => return Ok(()),
            Err(error) => error.to_string(),
        };
        log::warn!("private stream: {missed}");
        tell(listener, Signal::StreamDown(missed))?;
        tell(listener, Signal::StreamUp)
    }

    /// A signature with a wrong date is rejected. The exchange tells its time to whoever asks over REST, which may be
    /// happening right now. If nobody learns it, this machine's own time has to do.
    fn await_time(&self, stopper: &Stopper) -> Result<(), Disconnect> {
        let deadline = Instant::now() + self.timings.answer;
        while !self.clock.is_corrected() && Instant::now() < deadline {
            if stopper.pause(CLOCK_CHECK) {
                return Err(Disconnect::Stopped);
            }
        }
        Ok(())
    }

    fn auth(&self) -> String {
        let expires = self.clock.exchange_time().after(AUTH_VALIDITY).0;
        let args = (self.credentials.key(), expires, self.credentials.sign_stream(expires));
        serde_json::json!({ "op": "auth", "args": args }).to_string()
    }

    /// Waits for the answer to an operation: `None` if it was done.
    fn answer(
        &self,
        socket: &mut StreamSocket,
        op: &str,
        early: &mut Vec<Result<Frame, FrameError>>,
    ) -> Result<Option<Rejection>, Disconnect> {
        let deadline = Instant::now() + self.timings.answer;
        loop {
            let Some(text) = socket.next(Some(deadline))? else {
                return Err(Disconnect::Lost(format!("{op} was not answered within {:?}", self.timings.answer)));
            };
            match parse_frame(&text, &self.symbol) {
                Ok(Frame::Answer(answer)) if answer.op == op || answer.op.is_empty() => return Ok(answer.rejection),
                Err(error) => return Err(Disconnect::Lost(error.to_string())),
                push => early.push(push),
            }
        }
    }

    /// A refused key is told each time. After any other rejection a new connection may do.
    fn rejected(&self, listener: &Sender<Signal>, rejection: &Rejection) -> Disconnect {
        let reason = self.credentials.redact(&format!("the stream refused: {rejection}"));
        if !rejection.is_about_the_key() {
            return Disconnect::Lost(reason);
        }
        tell(listener, Signal::StreamRefused(reason)).err().unwrap_or(Disconnect::Refused)
    }
}

fn tell(listener: &Sender<Signal>, signal: Signal) -> Result<(), Disconnect> {
    listener.send(signal).map_err(|_| Disconnect::Over)
}
