//! A WebSocket that keeps itself alive and notices its own death; both streams run on it.
//!
//! Goes in: an address, texts to send. Comes out: texts received, or why the connection is over. It pings as Bybit
//! asks and takes any frame as a sign of life; when a ping brings none in time, the connection is dead even if TCP is
//! not. A [`Stopper`] ends every wait.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, Utf8Bytes, WebSocket};

use super::address::Address;
use super::connect::{Socket, connect};
use super::tls::Tls;

/// Bybit's own heartbeat, in its JSON.
const PING: &str = r#"{"op":"ping"}"#;
/// The largest message that is taken, in bytes.
const LARGEST_MESSAGE: usize = 4 * 1024 * 1024;

/// The times of a stream.
#[derive(Clone, Copy, Debug)]
pub struct StreamTimings {
    /// For name, TCP, TLS and upgrade together.
    pub connect: Duration,
    /// For the answer to `auth` and to `subscribe`, each.
    pub answer: Duration,
    /// From one ping to the next.
    pub ping_every: Duration,
    /// From a ping to the next sign of life.
    pub pong_within: Duration,
    /// Pause before the first new attempt; it doubles with each.
    pub first_pause: Duration,
    /// The longest of these pauses. Bybit allows 500 connections in 5 minutes.
    pub longest_pause: Duration,
    /// Pause after the key was refused: perhaps for a while only.
    pub refused_pause: Duration,
    /// Pause after HTTP 403 or 429, which Bybit lifts only when it is left in peace.
    pub banned_pause: Duration,
    /// When Bybit drops a silent connection (`max_active_time`, 30 s to 600 s); `None` leaves it to Bybit.
    pub max_active: Option<Duration>,
}

impl Default for StreamTimings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(10),
            ping_every: Duration::from_secs(20),
            pong_within: Duration::from_secs(10),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(2),
            refused_pause: Duration::from_secs(60),
            banned_pause: Duration::from_secs(600),
            max_active: None,
        }
    }
}

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum Disconnect {
    /// A stop was asked for.
    Stopped,
    /// It does not work; a new one may.
    Lost(String),
    /// The exchange wants to be left in peace.
    Banned(String),
    /// The key was refused, which has been told.
    Refused,
    /// No other one is wanted: nobody listens.
    Over,
}

/// Ends a stream's thread from another one.
#[derive(Clone, Default)]
pub(super) struct Stopper(Arc<(Mutex<StopState>, Condvar)>);

#[derive(Default)]
struct StopState {
    stopped: bool,
    /// The socket that the thread may be blocked on.
    socket: Option<TcpStream>,
}

impl Stopper {
    fn state(&self) -> MutexGuard<'_, StopState> {
        // The state is two plain values: whoever panicked left nothing half done.
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        if let Some(socket) = state.socket.take() {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.0.1.notify_all();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Waits; returns whether a stop was asked for.
    pub(super) fn pause(&self, duration: Duration) -> bool {
        let waited = self.0.1.wait_timeout_while(self.state(), duration, |state| !state.stopped);
        waited.unwrap_or_else(PoisonError::into_inner).0.stopped
    }

    /// The connection is over: nothing is left to be shut down.
    fn forget(&self) {
        self.state().socket = None;
    }

    fn watch(&self, socket: &TcpStream) -> Result<(), Disconnect> {
        let mut state = self.state();
        if state.stopped {
            return Err(Disconnect::Stopped);
        }
        state.socket = Some(socket.try_clone().map_err(|error| Disconnect::Lost(error.to_string()))?);
        Ok(())
    }
}

/// A stream's thread.
pub struct StreamHandle {
    stopper: Stopper,
    thread: JoinHandle<()>,
}

impl StreamHandle {
    pub(super) fn spawn(name: &str, run: impl FnOnce(Stopper) + Send + 'static) -> std::io::Result<Self> {
        let stopper = Stopper::default();
        let theirs = stopper.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(theirs))?;
        Ok(Self { stopper, thread })
    }

    /// Asks the thread to end and shuts its socket; does not wait.
    pub fn stop(&self) {
        self.stopper.stop();
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Stops the thread and waits for its end, at most as long as connecting may take, or looking up a name.
    pub fn join(self) {
        self.stop();
        // A panic in the thread was reported when it happened.
        let _ = self.thread.join();
    }
}

/// An open stream.
pub(super) struct StreamSocket {
    socket: WebSocket<Socket>,
    timings: StreamTimings,
    stopper: Stopper,
    next_ping: Instant,
    /// Set by a ping, cleared by any frame.
    dead_at: Option<Instant>,
}

impl StreamSocket {
    pub(super) fn open(
        address: &Address,
        tls: &Tls,
        timings: StreamTimings,
        stopper: &Stopper,
    ) -> Result<Self, Disconnect> {
        let socket = connect(address, tls, Instant::now() + timings.connect).map_err(Disconnect::Lost)?;
        stopper.watch(socket.tcp())?;
        let query = timings.max_active.map(|time| format!("?max_active_time={}s", time.as_secs())).unwrap_or_default();
        let config = WebSocketConfig::default()
            // It is cleared before each look for news; a push is a few hundred bytes.
            .read_buffer_size(2 * 1024)
            .max_message_size(Some(LARGEST_MESSAGE))
            .max_frame_size(Some(LARGEST_MESSAGE));
        let (socket, _) = tungstenite::client::client_with_config(format!("{address}{query}"), socket, Some(config))
            .map_err(|error| match error {
                HandshakeError::Interrupted(_) => Disconnect::Lost("no WebSocket upgrade in time".to_owned()),
                HandshakeError::Failure(Error::Http(answer)) if matches!(answer.status().as_u16(), 403 | 429) => {
                    Disconnect::Banned(format!("WebSocket upgrade refused: HTTP {}", answer.status()))
                }
                HandshakeError::Failure(error) => Disconnect::Lost(format!("WebSocket upgrade failed: {error}")),
            })?;
        let next_ping = Instant::now() + timings.ping_every;
        Ok(Self { socket, timings, stopper: stopper.clone(), next_ping, dead_at: None })
    }

    pub(super) fn send(&mut self, text: String) -> Result<(), Disconnect> {
        self.socket.get_mut().set_deadline(Instant::now() + self.timings.pong_within);
        self.socket.send(Message::text(text)).map_err(|error| self.lost(&error))
    }

    /// The next text; `None` when it is `until` and nothing has come. What has come already is seen even then.
    pub(super) fn next(&mut self, until: Option<Instant>) -> Result<Option<Utf8Bytes>, Disconnect> {
        loop {
            if self.stopper.is_stopped() {
                return Err(Disconnect::Stopped);
            }
            let now = Instant::now();
            if now >= self.next_ping {
                self.send(PING.to_owned())?;
                self.next_ping = now + self.timings.ping_every;
                self.dead_at.get_or_insert(now + self.timings.pong_within);
            }
            let wake = [self.dead_at, until].into_iter().flatten().fold(self.next_ping, Instant::min);
            self.socket.get_mut().set_deadline(wake);
            match self.socket.read() {
                Ok(message) => {
                    self.dead_at = None;
                    match message {
                        Message::Text(text) => return Ok(Some(text)),
                        Message::Close(frame) => {
                            let reason = frame.map(|frame| format!(": {frame}")).unwrap_or_default();
                            return Err(Disconnect::Lost(format!("closed by the exchange{reason}")));
                        }
                        // Bybit sends text only; pings are answered by the library.
                        _ => {}
                    }
                }
                Err(Error::Io(error))
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) =>
                {
                    let now = Instant::now();
                    if self.dead_at.is_some_and(|moment| now >= moment) {
                        let patience = self.timings.pong_within;
                        return Err(Disconnect::Lost(format!("no sign of life within {patience:?} of a ping")));
                    }
                    if until.is_some_and(|moment| now >= moment) {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(self.lost(&error)),
            }
        }
    }

    fn lost(&self, error: &Error) -> Disconnect {
        if self.stopper.is_stopped() { Disconnect::Stopped } else { Disconnect::Lost(error.to_string()) }
    }
}

impl Drop for StreamSocket {
    /// Closes the connection before another one is opened: what the stopper holds would keep it open.
    fn drop(&mut self) {
        self.stopper.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_ends_a_pause_and_forbids_a_new_socket() {
        let stopper = Stopper::default();
        assert!(!stopper.pause(Duration::ZERO));
        let other = stopper.clone();
        let waiting = std::thread::spawn(move || other.pause(Duration::from_secs(600)));
        stopper.stop();
        assert!(waiting.join().unwrap());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert!(matches!(stopper.watch(&socket), Err(Disconnect::Stopped)));
    }
}
