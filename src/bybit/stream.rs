//! The private stream: orders and executions of the account, as they happen.
//!
//! Goes in: where to connect, and credentials. Comes out: [`Signal`]s. A thread connects, authenticates,
//! subscribes, and says `StreamUp`; each push of a subscribed topic becomes exactly one `Frame`. When the connection
//! breaks or falls silent it says `StreamDown` once, and tries again for ever, with growing pauses. A refused key ends
//! it. Nothing is replayed by the exchange: whoever hears `StreamUp` asks over REST what it missed.
//!
//! Pushes are read by that thread ([`PrivateStream::spawn`]), or, where the reaction to them should not wait for one thread
//! to wake another, by whoever waits for them ([`PrivateStream::spawn_reader`]): the thread then hands each connection over
//! as a line, and sleeps until it is lost.
//!
//! ```text
//! connect ── auth ── subscribe ── up ── frame, frame, … ── lost ── pause ──┐
//!    ▲         └── key refused: end                                         │
//!    └─────────────────────────────────────────────────────────────────────┘
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

pub use super::link::StreamHandle;

use super::address::Address;
use super::frame::{Answer, Frame, FrameError, Refusal, parse_frame};
use super::link::{Link, Stopper, StreamTimings, Trouble};
use super::reconnect::{UpSince, keep_connected};
use super::sign::Credentials;
use super::tls::Tls;
use crate::engine::ports::{AdjustableClock, Signal};

/// How long the signature of `auth` is good.
const AUTH_VALIDITY: Duration = Duration::from_secs(10);
const SUBSCRIBE: &str = r#"{"op":"subscribe","args":["order","execution"]}"#;

/// Whether the clock has been corrected is looked at this often.
const LOOK: Duration = Duration::from_millis(5);
/// Whoever waits for a push looks this often whether somebody else has something to tell.
const SLICE: Duration = Duration::from_millis(250);
/// The longest single wait: what can be added to any clock's time.
const LONGEST: Duration = Duration::from_secs(3600);

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
        StreamHandle::spawn("stream", move |stopper| self.run(&listener, &stopper, None))
    }

    /// Starts the thread, and leaves the reading to the [`StreamReader`]. What else is to be heard there goes into
    /// `signals` too.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn spawn_reader(
        self,
        (listener, signals): (Sender<Signal>, Receiver<Signal>),
    ) -> std::io::Result<(StreamHandle, StreamReader)> {
        let (sender, lines) = unbounded();
        let handle = StreamHandle::spawn("stream", move |stopper| self.run(&listener, &stopper, Some(&sender)))?;
        Ok((handle, StreamReader { signals, lines, line: None }))
    }

    fn run(&self, listener: &Sender<Signal>, stopper: &Stopper, lines: Option<&Sender<Line>>) {
        if self.address.is_secure()
            && let Err(error) = self.tls.connector()
        {
            // Each attempt to connect will say so too. It is asked for here because nobody waits for this thread: others can
            // open their connections while it is built.
            log::debug!("stream: {error}");
        }
        keep_connected(
            self.timings,
            stopper,
            |up_since| self.connection(listener, stopper, up_since, lines),
            |reason| tell(listener, Signal::StreamDown(reason)),
        );
    }

    fn connection(
        &self,
        listener: &Sender<Signal>,
        stopper: &Stopper,
        up_since: &mut UpSince,
        lines: Option<&Sender<Line>>,
    ) -> Result<Infallible, Trouble> {
        let mut link = Link::open(&self.address, &self.tls, self.timings, stopper)?;
        self.await_time(stopper)?;
        // Pushes may overtake the answer to `subscribe`; they are passed on once the stream is up.
        let mut early = VecDeque::new();
        for (op, request) in [("auth", self.auth()), ("subscribe", SUBSCRIBE.to_owned())] {
            link.send(request)?;
            if let Some(refusal) = self.answer(&mut link, op, &mut early)? {
                return Err(self.refused(listener, &refusal));
            }
        }
        *up_since = Some(Instant::now());
        let mut line = Line { link, symbol: self.symbol.clone(), signals: early };
        let trouble = match lines {
            Some(lines) => {
                lines.send(line).map_err(|_| Trouble::Over)?;
                tell(listener, Signal::StreamUp)?;
                stopper.await_loss()
            }
            None => {
                tell(listener, Signal::StreamUp)?;
                loop {
                    match line.next(None) {
                        Ok(signal) => signal.map_or(Ok(()), |signal| tell(listener, signal))?,
                        Err(trouble) => break trouble,
                    }
                }
            }
        };
        Err(match trouble {
            Trouble::Refused(refusal) => self.refused(listener, &refusal),
            trouble => trouble,
        })
    }

    /// A signature with a wrong date is refused: the exchange tells its time to whoever asks over REST, just now perhaps. If
    /// nobody learns it, this machine's own will have to do.
    fn await_time(&self, stopper: &Stopper) -> Result<(), Trouble> {
        let deadline = Instant::now() + self.timings.answer;
        while !self.clock.is_corrected() && Instant::now() < deadline {
            if stopper.pause(LOOK) {
                return Err(Trouble::Stopped);
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
    fn answer(&self, link: &mut Link, op: &str, early: &mut VecDeque<Signal>) -> Result<Option<Refusal>, Trouble> {
        let deadline = Instant::now() + self.timings.answer;
        loop {
            let Some(text) = link.next(Some(deadline))? else {
                return Err(Trouble::Lost(format!("{op} was not answered within {:?}", self.timings.answer)));
            };
            match parse_frame(&text, &self.symbol) {
                Ok(Frame::Answer(answer)) if answer.op == op || answer.op.is_empty() => return Ok(answer.refusal),
                Err(error) => return Err(Trouble::Lost(error.to_string())),
                push => {
                    understand(push, early)?;
                }
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

/// A connection that is authenticated and subscribed.
struct Line {
    link: Link,
    symbol: String,
    /// What was read and not told yet.
    signals: VecDeque<Signal>,
}

impl Line {
    /// The next signal; `None` when it is `until` and nothing has come.
    fn next(&mut self, until: Option<Instant>) -> Result<Option<Signal>, Trouble> {
        loop {
            if let Some(signal) = self.signals.pop_front() {
                return Ok(Some(signal));
            }
            let Some(text) = self.link.next(until)? else { return Ok(None) };
            understand(parse_frame(&text, &self.symbol), &mut self.signals)?;
        }
    }
}

/// What a message means to the engine. One push is one `Frame`. What of it cannot be understood is the same as a connection
/// that was down for a moment: an event may be missing, so the engine must ask over REST.
fn understand(frame: Result<Frame, FrameError>, signals: &mut VecDeque<Signal>) -> Result<(), Trouble> {
    let missed = match frame {
        Ok(Frame::Rows { events, unreadable }) => {
            signals.push_back(Signal::Frame(events));
            if unreadable.is_empty() {
                return Ok(());
            }
            unreadable.join("; ")
        }
        Ok(Frame::Answer(Answer { refusal: Some(refusal), .. })) => return Err(Trouble::Refused(refusal)),
        Ok(Frame::Answer(_) | Frame::Pong | Frame::Other) => return Ok(()),
        Err(error) => error.to_string(),
    };
    log::warn!("private stream: {missed}");
    signals.extend([Signal::StreamDown(missed), Signal::StreamUp]);
    Ok(())
}

fn tell(listener: &Sender<Signal>, signal: Signal) -> Result<(), Trouble> {
    listener.send(signal).map_err(|_| Trouble::Over)
}

/// Where whoever waits for the stream reads it himself: a push wakes nobody else first.
pub struct StreamReader {
    signals: Receiver<Signal>,
    lines: Receiver<Line>,
    line: Option<Line>,
}

impl From<Receiver<Signal>> for StreamReader {
    /// Hears what others tell, and reads nothing itself.
    fn from(signals: Receiver<Signal>) -> Self {
        Self { signals, lines: crossbeam_channel::never(), line: None }
    }
}

impl StreamReader {
    /// The next signal of the stream, or of anybody else who tells here; `None` if none comes within `patience`, or an hour.
    pub fn next(&mut self, patience: Duration) -> Option<Signal> {
        let end = Instant::now() + patience.min(LONGEST);
        loop {
            if let Ok(signal) = self.signals.try_recv() {
                return Some(self.heard(signal));
            }
            let slice = end.min(Instant::now() + SLICE);
            match &mut self.line {
                Some(line) => match line.next(Some(slice)) {
                    Ok(Some(signal)) => return Some(signal),
                    Ok(None) => {}
                    Err(trouble) => {
                        // The thread tells that it is down, and connects again.
                        if let Some(line) = self.line.take() {
                            line.link.stopper().lose(trouble);
                        }
                        continue;
                    }
                },
                None => match self.signals.recv_deadline(end) {
                    Ok(signal) => return Some(self.heard(signal)),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => {
                        std::thread::sleep(end.saturating_duration_since(Instant::now()));
                    }
                },
            }
            if Instant::now() >= end {
                return None;
            }
        }
    }

    /// With `StreamUp` comes the connection.
    fn heard(&mut self, signal: Signal) -> Signal {
        if signal == Signal::StreamUp {
            self.line = self.lines.try_iter().last();
        }
        signal
    }
}
