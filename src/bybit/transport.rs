//! Carries REST requests over TCP and TLS, on a connection that is kept alive.
//!
//! Goes in: a signed request. Comes out: the answer, or whether the request surely never left. The connection is
//! ours (not the HTTP library's own), for three reasons: the one TLS connector is used, a request leaves in one write,
//! and the moment of that write is known, which makes "surely not sent" a fact instead of a guess at an error's kind.
//!
//! The HTTP library never repeats a request by itself. A kept connection is looked at before it is used; if the peer
//! closes it just then, the outcome is unknown, as for any other lost answer.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout};
use ureq::{Agent, Error, http};

use super::address::Address;
use super::dial::{Socket, dial};
use super::tls::Tls;
use crate::http::{Method, Request, Response, Transport, TransportError};

/// Limits of one request.
#[derive(Clone, Copy, Debug)]
pub struct HttpTimings {
    /// For name, TCP and TLS together.
    pub connect: Duration,
    /// For everything from the name to the last byte of the answer.
    pub whole: Duration,
    /// A connection that was idle for longer is not used again.
    pub idle: Duration,
}

impl Default for HttpTimings {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            whole: Duration::from_secs(10),
            // Routers on the way forget silent connections without telling either end.
            idle: Duration::from_secs(120),
        }
    }
}

/// The largest answer that is read, in bytes.
const LARGEST_ANSWER: u64 = 4 * 1024 * 1024;
const LARGEST_HEAD: usize = 16 * 1024;
const INPUT_BUFFER: usize = 32 * 1024;
const OUTPUT_BUFFER: usize = 8 * 1024;

/// The real [`Transport`].
pub struct HttpTransport {
    agent: Agent,
    base: String,
    /// Whether anything of the current request was given to the socket.
    sent: Arc<AtomicBool>,
}

impl HttpTransport {
    /// A transport to one host.
    pub fn new(address: &Address, tls: &Tls, timings: HttpTimings) -> Self {
        let config = ureq::config::Config::builder()
            .timeout_global(Some(timings.whole))
            .timeout_connect(Some(timings.connect))
            .max_idle_age(timings.idle)
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .max_response_header_size(LARGEST_HEAD)
            .input_buffer_size(INPUT_BUFFER)
            .output_buffer_size(OUTPUT_BUFFER)
            .user_agent(concat!("recompra/", env!("CARGO_PKG_VERSION")))
            .build();
        let sent = Arc::new(AtomicBool::new(false));
        let dialer = Dialer { address: address.clone(), tls: tls.clone(), sent: Arc::clone(&sent) };
        Self { agent: Agent::with_parts(config, dialer, NoLookup), base: address.to_string(), sent }
    }

    fn exchange(&self, request: &Request) -> Result<Response, Error> {
        let question = if request.query.is_empty() { "" } else { "?" };
        let mut builder =
            http::Request::builder().uri(format!("{}{}{question}{}", self.base, request.path, request.query));
        for (name, value) in &request.headers {
            builder = builder.header(*name, value);
        }
        let mut answer = match request.method {
            Method::Get => self.agent.run(builder.method("GET").body(())?)?,
            Method::Post => self.agent.run(builder.method("POST").body(request.body.as_str())?)?,
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
        self.sent.store(false, Ordering::SeqCst);
        self.exchange(request).map_err(|error| {
            let reason = match error {
                Error::Timeout(_) => "no answer in time".to_owned(),
                other => other.to_string(),
            };
            if self.sent.load(Ordering::SeqCst) {
                TransportError::Unknown(reason)
            } else {
                TransportError::NotSent(reason)
            }
        })
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
struct Dialer {
    address: Address,
    tls: Tls,
    sent: Arc<AtomicBool>,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dialer({})", self.address)
    }
}

impl Connector for Dialer {
    type Out = Connection;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<Connection>, Error> {
        let socket = dial(&self.address, &self.tls, deadline(details.timeout))
            .map_err(|reason| Error::Io(io::Error::other(reason)))?;
        Ok(Some(Connection {
            socket,
            buffers: LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size()),
            unsent: Vec::new(),
            sent: Arc::clone(&self.sent),
        }))
    }
}

/// A connection that collects a request and sends it in one write when the answer is waited for.
struct Connection {
    socket: Socket,
    buffers: LazyBuffers,
    unsent: Vec<u8>,
    sent: Arc<AtomicBool>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is collected holds a key and a signature.
        f.write_str("Connection(…)")
    }
}

impl Connection {
    fn transmit(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        self.sent.store(true, Ordering::SeqCst);
        let result = self.socket.write_all(&self.unsent).and_then(|()| self.socket.flush());
        self.unsent.clear();
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
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.socket.is_idle()
    }

    fn is_tls(&self) -> bool {
        matches!(self.socket, Socket::Encrypted(_))
    }
}
