//! Carries REST requests over TCP and TLS, on a connection that is kept alive.
//!
//! Goes in: signed requests. Comes out: the answers, or whether a request surely never left. The connections are
//! ours (not the HTTP library's own), for four reasons: the one TLS connector is used, a request leaves in one write,
//! the moment of that write is known, which makes "surely not sent" a fact instead of a guess at an error's kind, and
//! what has been written need not be waited for before the next request is.
//!
//! Several requests at once need no threads. The library asks a connection for input when its request is complete: there
//! the request leaves, and before the connection waits for the answer it begins the next request, on a connection of that
//! one's own. The last one's answer is read first; the others have come meanwhile. Nothing is begun that would have to wait
//! for a new connection: with one connection, requests follow each other.
//!
//! Connections are opened before they are needed, by a thread that lives no longer than that takes. How long the exchange
//! lets one be idle is learned from those that it closed (`patience`): from then on each is replaced before that.
//!
//! The HTTP library never repeats a request by itself. A kept connection is looked at before it is used; if the peer
//! closes it just then, the outcome is unknown, as for any other lost answer.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout};
use ureq::{Agent, Error, http};

use super::address::Address;
use super::dial::{Socket, candidates, dial, dial_in_background, dial_one_of, is_silent};
use super::patience::Patience;
use super::tls::Tls;
use crate::http::{Method, Request, Response, Transport, TransportError};

/// What a transport keeps to.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// For name, TCP and TLS together.
    pub connect: Duration,
    /// For everything from the name to the last byte of the answer.
    pub whole: Duration,
    /// A connection that was idle for longer is not used again.
    pub idle: Duration,
    /// So many requests are on their way at one time, each on a connection of its own, and that many connections are kept.
    /// With one, requests arrive in the order in which they were sent.
    pub at_once: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(10),
            // Routers on the way forget silent connections without telling either end.
            idle: Duration::from_secs(120),
            at_once: 4,
        }
    }
}

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 4 * 1024 * 1024;
const LARGEST_HEAD: usize = 16 * 1024;
const INPUT_BUFFER: usize = 32 * 1024;
const OUTPUT_BUFFER: usize = 8 * 1024;

/// Of connections that were replaced and that the exchange has not closed yet, so many times those that are needed are kept.
const KEPT: usize = 2;

/// The real [`Transport`].
pub struct HttpTransport {
    shared: Arc<Shared>,
    /// The thread that opens connections in advance.
    opening: Option<JoinHandle<()>>,
}

/// What the transport and its connections share.
struct Shared {
    agent: OnceLock<Agent>,
    address: Address,
    base: String,
    tls: Tls,
    limits: HttpLimits,
    flight: Mutex<Flight>,
    /// Every connection that has been used and is open.
    peers: Mutex<Vec<Weak<Peer>>>,
    /// Connections that were opened in advance.
    spares: Mutex<Vec<Spare>>,
    patience: Mutex<Patience>,
}

/// A connection that has not been used yet.
struct Spare {
    socket: Socket,
    opened: Instant,
}

/// The requests that are under way.
#[derive(Default)]
struct Flight {
    /// What is still to be begun: its place, and the request.
    waiting: VecDeque<(usize, Request)>,
    /// How many are on their way, and how many may be.
    under_way: usize,
    most: usize,
    /// Of the request that was begun last: whether anything of it was given to the socket.
    sent: Arc<AtomicBool>,
    outcomes: Vec<Option<Result<Response, TransportError>>>,
}

/// A connection as the transport looks at it while it is not used.
struct Peer {
    tcp: TcpStream,
    used: Mutex<Instant>,
}

/// What is guarded is plain data that is whole at every moment: whoever panicked left nothing half done.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl HttpTransport {
    /// A transport to one host.
    pub fn new(address: &Address, tls: &Tls, limits: HttpLimits) -> Self {
        let config = ureq::config::Config::builder()
            .timeout_global(Some(limits.whole))
            .timeout_connect(Some(limits.connect))
            .max_idle_age(limits.idle)
            .max_idle_connections(limits.at_once)
            .max_idle_connections_per_host(limits.at_once)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_response_header_size(LARGEST_HEAD)
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .user_agent(concat!("recompra/", env!("CARGO_PKG_VERSION")))
            .build();
        let shared = Arc::new(Shared {
            agent: OnceLock::new(),
            address: address.clone(),
            base: address.to_string(),
            tls: tls.clone(),
            limits,
            flight: Mutex::default(),
            peers: Mutex::default(),
            spares: Mutex::default(),
            patience: Mutex::new(Patience::new(limits.idle)),
        });
        let dialer = Dialer(Arc::downgrade(&shared));
        shared.agent.get_or_init(|| Agent::with_parts(config, dialer, NoLookup));
        Self { shared, opening: None }
    }
}

impl Shared {
    /// Begins what is still to be begun, as far as there are connections for it, and brings each to its end.
    fn launch(&self) {
        loop {
            let mut flight = locked(&self.flight);
            if flight.under_way >= flight.most {
                return;
            }
            let Some((place, request)) = flight.waiting.pop_front() else { return };
            drop(flight);
            let outcome = self.carry(&request);
            if let Some(place) = locked(&self.flight).outcomes.get_mut(place) {
                *place = Some(outcome);
            }
        }
    }

    /// Carries one request, and others meanwhile.
    fn carry(&self, request: &Request) -> Result<Response, TransportError> {
        let sent = Arc::new(AtomicBool::new(false));
        let mut flight = locked(&self.flight);
        flight.sent = Arc::clone(&sent);
        flight.under_way += 1;
        drop(flight);
        let outcome = self.exchange(request);
        locked(&self.flight).under_way -= 1;
        outcome.map_err(|error| {
            let reason = match error {
                Error::Timeout(_) => "no answer in time".to_owned(),
                other => other.to_string(),
            };
            if sent.load(Ordering::SeqCst) { TransportError::Unknown(reason) } else { TransportError::NotSent(reason) }
        })
    }

    /// How many connections are open, not used, and will stay so for a while.
    fn ready(&self) -> usize {
        let mut patience = locked(&self.patience);
        let mut spares = locked(&self.spares);
        spares.retain_mut(|spare| {
            let (idle, is_open) = (spare.opened.elapsed(), spare.socket.is_idle());
            patience.learn_unused(idle, is_open);
            is_open && idle < self.limits.idle
        });
        let mut peers = locked(&self.peers);
        peers.retain(|peer| peer.strong_count() > 0);
        let mut open: Vec<Duration> = Vec::new();
        for peer in peers.iter().filter_map(Weak::upgrade) {
            let (idle, is_open) = (locked(&peer.used).elapsed(), is_silent(&peer.tcp));
            patience.learn(idle, is_open);
            open.extend(is_open.then_some(idle));
        }
        open.extend(spares.iter().map(|spare| spare.opened.elapsed()));
        patience.looked();
        open.into_iter().filter(|idle| patience.is_young(*idle)).count()
    }

    /// Whether a connection that has been used, and idle for so long since, is to be used again: one that the exchange may be
    /// about to close only if there is no younger one that was opened in advance.
    fn is_first_choice(&self, idle: Duration) -> bool {
        locked(&self.patience).is_young(idle)
            || locked(&self.spares).last().is_none_or(|spare| spare.opened.elapsed() >= idle)
    }

    /// A connection that was opened in advance, and is still open.
    fn spare(&self) -> Option<Socket> {
        let mut spares = locked(&self.spares);
        while let Some(mut spare) = spares.pop() {
            if spare.socket.is_idle() {
                return Some(spare.socket);
            }
        }
        None
    }

    fn open_in_advance(&self, connections: usize) {
        for _ in 0..connections {
            if !self.keep(dial_in_background(&self.address, &self.tls, self.limits.connect)) {
                break;
            }
        }
    }

    /// Opens one connection, and so many others meanwhile. The name is looked up once, before any thread is there for them.
    fn open_now(&self, others: usize) {
        let Self { address, tls, limits, .. } = self;
        let deadline = Instant::now() + limits.connect;
        let candidates = match candidates(address, deadline) {
            Ok(candidates) => candidates,
            Err(reason) => {
                log::debug!("no connection in advance: {reason}");
                return;
            }
        };
        let open = || {
            self.keep(dial_one_of(candidates.clone(), address, tls, deadline));
        };
        std::thread::scope(|scope| {
            let spawn = |_| {
                let thread = std::thread::Builder::new().name("connect".to_owned()).spawn_scoped(scope, open);
                thread.inspect_err(|error| log::debug!("no connection in advance: {error}")).ok()
            };
            let threads: Vec<_> = (0..others).filter_map(spawn).collect();
            open();
            for thread in threads {
                // The scope alone would wait for what they do, and not until they are gone. One that died opened nothing.
                let _ = thread.join();
            }
        });
    }

    /// Keeps a connection for whoever needs one. If it could not be opened, he finds out by himself: this was only an attempt
    /// to save him the time.
    fn keep(&self, dialled: Result<Socket, String>) -> bool {
        match dialled {
            Ok(socket) => {
                let mut spares = locked(&self.spares);
                if spares.len() >= KEPT * self.limits.at_once.max(1) {
                    spares.remove(0);
                }
                spares.push(Spare { socket, opened: Instant::now() });
                true
            }
            Err(reason) => {
                log::debug!("no connection in advance: {reason}");
                false
            }
        }
    }

    fn exchange(&self, request: &Request) -> Result<Response, Error> {
        let Some(agent) = self.agent.get() else { return Err(Error::ConnectionFailed) };
        let question = if request.query.is_empty() { "" } else { "?" };
        let mut builder =
            http::Request::builder().uri(format!("{}{}{question}{}", self.base, request.path, request.query));
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let mut answer = match request.method {
            Method::Get => agent.run(builder.method("GET").body(())?)?,
            Method::Post => agent.run(builder.method("POST").body(request.body.as_str())?)?,
        };
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(LARGEST_ANSWER).read_to_vec()?;
        Ok(Response { status, headers, body })
    }
}

impl Transport for HttpTransport {
    fn send(&mut self, request: &Request) -> Result<Response, TransportError> {
        self.shared.carry(request)
    }

    fn send_all(&mut self, requests: &[Request]) -> Vec<Result<Response, TransportError>> {
        if let [request] = requests {
            return vec![self.send(request)];
        }
        let most = self.shared.ready().clamp(1, self.shared.limits.at_once.max(1));
        {
            let mut flight = locked(&self.shared.flight);
            flight.most = most;
            flight.waiting = requests.iter().cloned().enumerate().collect();
            flight.outcomes = requests.iter().map(|_| None).collect();
        }
        self.shared.launch();
        let outcomes = std::mem::take(&mut locked(&self.shared.flight).outcomes);
        let lost = || Err(TransportError::NotSent("it was never begun".to_owned()));
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(lost)).collect()
    }

    fn connect(&mut self, requests: usize) -> bool {
        let missing = requests.min(self.shared.limits.at_once).saturating_sub(self.shared.ready());
        if let Some(others) = missing.checked_sub(1) {
            self.shared.open_now(others);
        }
        self.shared.ready() > 0
    }

    fn is_connecting(&mut self) -> bool {
        if let Some(thread) = self.opening.take_if(|thread| thread.is_finished()) {
            // Until it is gone. One that died opened nothing.
            let _ = thread.join();
        }
        self.opening.is_some()
    }

    fn stay_ready(&mut self, requests: usize) {
        if locked(&self.shared.patience).wants_none() || self.is_connecting() {
            return;
        }
        let missing = requests.min(self.shared.limits.at_once).saturating_sub(self.shared.ready());
        if missing == 0 {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("connect".to_owned());
        self.opening = match thread.spawn(move || shared.open_in_advance(missing)) {
            Ok(thread) => Some(thread),
            Err(error) => {
                log::debug!("no connection in advance: {error}");
                None
            }
        };
    }
}

/// Names are resolved when a connection is opened, not at every request.
#[derive(Debug)]
struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &http::Uri, _: &ureq::config::Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// The library's time-outs are finite here, because the whole request has one.
fn deadline(timeout: NextTimeout) -> Instant {
    let now = Instant::now();
    now.checked_add(*timeout.after).unwrap_or(now)
}

/// Opens our connections for the HTTP library.
struct Dialer(Weak<Shared>);

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dialer")
    }
}

impl Connector for Dialer {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Connection>, Error> {
        let Some(shared) = self.0.upgrade() else { return Err(Error::ConnectionFailed) };
        let socket = match shared.spare() {
            Some(socket) => socket,
            None => dial(&shared.address, &shared.tls, deadline(details.timeout))
                .map_err(|reason| Error::Io(io::Error::other(reason)))?,
        };
        let peer = Arc::new(Peer { tcp: socket.tcp().try_clone()?, used: Mutex::new(Instant::now()) });
        locked(&shared.peers).push(Arc::downgrade(&peer));
        Ok(Some(Connection {
            socket,
            buffers: LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size()),
            unsent: Vec::new(),
            peer,
            shared: self.0.clone(),
        }))
    }
}

/// A connection that collects a request and sends it in one write when the answer is waited for.
struct Connection {
    socket: Socket,
    buffers: LazyBuffers,
    unsent: Vec<u8>,
    peer: Arc<Peer>,
    shared: Weak<Shared>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is collected holds a key and a signature.
        f.write_str("Connection(…)")
    }
}

impl Connection {
    /// Sends what was collected, and begins what else is to be on its way before anybody waits.
    fn transmit(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let shared = self.shared.upgrade();
        if let Some(shared) = &shared {
            locked(&shared.flight).sent.store(true, Ordering::SeqCst);
        }
        let result = self.socket.write_all(&self.unsent).and_then(|()| self.socket.flush());
        self.unsent.clear();
        if let Some(shared) = shared {
            shared.launch();
        }
        result
    }
}

impl ureq::unversioned::transport::Transport for Connection {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        let output = self.buffers.output();
        self.unsent.extend_from_slice(output.get(..amount).unwrap_or(output));
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.socket.set_deadline(deadline(timeout));
        let amount =
            self.transmit().and_then(|()| self.socket.read(self.buffers.input_append_buf())).map_err(|error| {
                match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(timeout.reason),
                    _ => Error::Io(error),
                }
            })?;
        self.buffers.input_appended(amount);
        *locked(&self.peer.used) = Instant::now();
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        let idle = locked(&self.peer.used).elapsed();
        self.socket.is_idle() && self.shared.upgrade().is_none_or(|shared| shared.is_first_choice(idle))
    }

    fn is_tls(&self) -> bool {
        matches!(self.socket, Socket::Encrypted(_))
    }
}
