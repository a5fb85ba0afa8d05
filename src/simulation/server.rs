//! The exchange on a socket: HTTP/1.1 with keep-alive, and the upgrade to WebSocket.
//!
//! A thread for each connection, and a second one for each stream. What a client may send is bounded: head, body,
//! number of headers, number of connections, and the time it may take for them. Malformed HTTP is answered with
//! its status and the connection closed.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tungstenite::handshake::server::{create_response, write_response};

use super::hub::Hub;
use super::stream::Channel;
use super::websocket;
use crate::http::{Method, Request, Response};

/// Bytes of a request's line and headers.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;
const MAX_CONNECTIONS: usize = 512;
/// How long a client may take for the rest of a request it has begun, and for reading an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a server treats its connections.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// How long a connection may be idle between two requests before the server closes it.
    pub idle: Duration,
    /// How long a stream may be silent, if its client does not ask for another time with `max_active_time`.
    pub stream_silence: Duration,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { idle: Duration::from_secs(120), stream_silence: Duration::from_secs(600) }
    }
}

/// A running server. Dropping it stops it.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    hub: Arc<Hub>,
    options: ServerOptions,
    stopping: AtomicBool,
    connections: Mutex<BTreeMap<u64, Connection>>,
}

/// A connection that is being served: a handle to end it, and one to wait for it.
struct Connection {
    socket: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` (port 0 lets the system choose) and serves the exchange until it is stopped.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub fn start(address: impl ToSocketAddrs, hub: Arc<Hub>, options: ServerOptions) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            hub,
            options,
            stopping: AtomicBool::new(false),
            connections: Mutex::new(BTreeMap::new()),
        });
        let accepting = Arc::clone(&shared);
        let acceptor =
            thread::Builder::new().name("exchange-accept".to_owned()).spawn(move || accept(&listener, &accepting))?;
        Ok(Self { address, shared, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes every connection and waits for their threads.
    pub fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The acceptor is blocked in accept; a connection wakes it.
        let _ = TcpStream::connect_timeout(&reachable(self.address), PATIENCE);
        let _ = acceptor.join();
        let connections = std::mem::take(&mut *self.shared.connections());
        for connection in connections.values() {
            let _ = connection.socket.shutdown(Shutdown::Both);
        }
        for connection in connections.into_values() {
            if let Some(thread) = connection.thread {
                let _ = thread.join();
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The address to connect to for one that was listened on: "any address" is not one to connect to.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

impl Shared {
    fn connections(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for number in 0.. {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        match accepted {
            Ok((socket, _)) => begin(number, socket, shared),
            // Out of file descriptors, or a client that left at once: neither ends the server.
            Err(error) => {
                log::warn!("exchange: a connection could not be accepted: {error}");
                thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

fn begin(number: u64, mut socket: TcpStream, shared: &Arc<Shared>) {
    let Ok(handle) = socket.try_clone() else { return };
    // Held until the thread's handle is in its place, so that a short connection does not end before that.
    let mut connections = shared.connections();
    if connections.len() >= MAX_CONNECTIONS {
        let _ = socket.write_all(&encode(&plain(503, "too many connections"), false));
        return;
    }
    let serving = Arc::clone(shared);
    let thread = thread::Builder::new().name("exchange-serve".to_owned()).spawn(move || {
        // An error here is a client that went away; there is nobody to tell.
        let _ = serve(&mut socket, &serving);
        let _ = socket.shutdown(Shutdown::Both);
        serving.connections().remove(&number);
    });
    connections.insert(number, Connection { socket: handle, thread: thread.ok() });
}

/// A request as it was read.
struct Incoming {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    keep_alive: bool,
}

impl Incoming {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    fn is_upgrade(&self) -> bool {
        self.header("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
    }
}

/// Why there is no request.
enum Unreadable {
    /// The client is gone, or was idle for too long.
    Gone,
    /// It sent something that is answered with this status and then closed.
    Status(u16, &'static str),
}

impl From<io::Error> for Unreadable {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

fn serve(socket: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_write_timeout(Some(PATIENCE))?;
    let mut buffer = Vec::new();
    loop {
        let incoming = match read_request(socket, &mut buffer, shared.options.idle) {
            Ok(incoming) => incoming,
            Err(Unreadable::Gone) => return Ok(()),
            Err(Unreadable::Status(status, reason)) => return refuse(socket, status, reason),
        };
        if incoming.is_upgrade() {
            return upgrade(socket, buffer, &incoming, shared);
        }
        let response = answer(&incoming, &shared.hub);
        let keep_alive = incoming.keep_alive && !shared.stopping.load(Ordering::SeqCst);
        let mut bytes = encode(&response, keep_alive);
        if incoming.method == "HEAD" {
            bytes.truncate(bytes.len() - response.body.len());
        }
        socket.write_all(&bytes)?;
        if !keep_alive {
            return Ok(());
        }
    }
}

/// Answers what cannot be read, and takes what is still coming for a moment: closing a socket with unread bytes
/// would reset the connection and lose the answer.
fn refuse(socket: &mut TcpStream, status: u16, reason: &str) -> io::Result<()> {
    socket.write_all(&encode(&plain(status, reason), false))?;
    socket.shutdown(Shutdown::Write)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut rest = [0; 4096];
    for _ in 0..256 {
        if socket.read(&mut rest)? == 0 {
            break;
        }
    }
    Ok(())
}

fn read_request(socket: &mut TcpStream, buffer: &mut Vec<u8>, idle: Duration) -> Result<Incoming, Unreadable> {
    socket.set_read_timeout(Some(if buffer.is_empty() { idle } else { PATIENCE }))?;
    let (mut incoming, head, length) = loop {
        if let Some(parsed) = parse_head(buffer)? {
            break parsed;
        }
        if buffer.len() > MAX_HEAD {
            return Err(Unreadable::Status(431, "request head too large"));
        }
        receive(socket, buffer)?;
        socket.set_read_timeout(Some(PATIENCE))?;
    };
    let expects = incoming.header("Expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if expects && buffer.len() < head + length {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    while buffer.len() < head + length {
        receive(socket, buffer)?;
    }
    incoming.body = buffer[head..head + length].to_vec();
    buffer.drain(..head + length);
    Ok(incoming)
}

fn receive(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Unreadable> {
    let mut chunk = [0; 4096];
    let count = socket.read(&mut chunk)?;
    if count == 0 {
        return Err(Unreadable::Gone);
    }
    buffer.extend_from_slice(&chunk[..count]);
    Ok(())
}

/// The request's head, where it ends, and how long its body is; `None` if more must be read first.
fn parse_head(buffer: &[u8]) -> Result<Option<(Incoming, usize, usize)>, Unreadable> {
    if buffer.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let head = match request.parse(buffer) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Unreadable::Status(431, "too many headers")),
        Err(_) => return Err(Unreadable::Status(400, "not an HTTP request")),
    };
    if head > MAX_HEAD {
        return Err(Unreadable::Status(431, "request head too large"));
    }
    let mut incoming = Incoming {
        method: request.method.unwrap_or_default().to_owned(),
        target: request.path.unwrap_or_default().to_owned(),
        headers: request.headers.iter().map(|header| (header.name.to_owned(), header.value.to_vec())).collect(),
        body: Vec::new(),
        keep_alive: request.version == Some(1),
    };
    match incoming.header("Connection") {
        Some(value) if value.eq_ignore_ascii_case(b"close") => incoming.keep_alive = false,
        Some(value) if value.eq_ignore_ascii_case(b"keep-alive") => incoming.keep_alive = true,
        _ => {}
    }
    let length = body_length(&incoming)?;
    Ok(Some((incoming, head, length)))
}

fn body_length(incoming: &Incoming) -> Result<usize, Unreadable> {
    if incoming.header("Transfer-Encoding").is_some() {
        return Err(Unreadable::Status(501, "Transfer-Encoding is not supported: send Content-Length"));
    }
    let mut lengths = incoming.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Content-Length"));
    let Some((_, value)) = lengths.next() else { return Ok(0) };
    let malformed = Unreadable::Status(400, "Content-Length is not valid");
    if lengths.any(|(_, other)| other != value) || value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(malformed);
    }
    match std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()) {
        Some(length) if length <= MAX_BODY => Ok(length),
        _ => Err(Unreadable::Status(413, "request body too large")),
    }
}

fn answer(incoming: &Incoming, hub: &Hub) -> Response {
    let method = match incoming.method.as_str() {
        "GET" => Method::Get,
        "POST" => Method::Post,
        _ => {
            let mut response = plain(405, "only GET and POST are known here");
            response.headers.push(("Allow".to_owned(), "GET, POST".to_owned()));
            return response;
        }
    };
    if method == Method::Get && !incoming.body.is_empty() {
        return plain(400, "a GET must carry no body");
    }
    let Ok(body) = String::from_utf8(incoming.body.clone()) else { return plain(400, "the body is not UTF-8") };
    let (path, query) = split_target(&incoming.target);
    if Channel::of_path(path).is_some() {
        return plain(426, "this path is a WebSocket stream");
    }
    let headers = SIGNING_HEADERS.into_iter().filter_map(|name| {
        let value = incoming.header(name)?;
        Some((name, String::from_utf8_lossy(value).into_owned()))
    });
    hub.handle(&Request { method, path: path.to_owned(), query: query.to_owned(), body, headers: headers.collect() })
}

/// The headers that mean something to the exchange.
const SIGNING_HEADERS: [&str; 4] = ["X-BAPI-API-KEY", "X-BAPI-TIMESTAMP", "X-BAPI-RECV-WINDOW", "X-BAPI-SIGN"];

fn split_target(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}

fn upgrade(socket: &mut TcpStream, early: Vec<u8>, incoming: &Incoming, shared: &Shared) -> io::Result<()> {
    let (path, query) = split_target(&incoming.target);
    let Some(channel) = Channel::of_path(path) else {
        return refuse(socket, 404, "no such stream");
    };
    let mut request =
        tungstenite::http::Request::builder().method(incoming.method.as_str()).uri(incoming.target.as_str());
    for (name, value) in &incoming.headers {
        request = request.header(name.as_str(), value.as_slice());
    }
    let response = request.body(()).ok().and_then(|request| create_response(&request).ok());
    let mut bytes = Vec::new();
    let written = response.is_some_and(|response| write_response(&mut bytes, &response).is_ok());
    if !written {
        return refuse(socket, 400, "not a WebSocket handshake");
    }
    socket.set_read_timeout(Some(silence(query).unwrap_or(shared.options.stream_silence)))?;
    socket.write_all(&bytes)?;
    websocket::serve(socket.try_clone()?, early, channel, &shared.hub)
}

/// `max_active_time` of a stream's query: `30s` to `600s`, or minutes.
fn silence(query: &str) -> Option<Duration> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("max_active_time="))?;
    let seconds = match (value.strip_suffix('s'), value.strip_suffix('m')) {
        (Some(seconds), _) => seconds.parse::<u64>().ok()?,
        (_, Some(minutes)) => minutes.parse::<u64>().ok()?.checked_mul(60)?,
        (None, None) => return None,
    };
    (30..=600).contains(&seconds).then(|| Duration::from_secs(seconds))
}

fn plain(status: u16, text: &str) -> Response {
    let headers = vec![("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned())];
    Response { status, headers, body: format!("{text}\n").into_bytes() }
}

/// The whole answer as bytes, to leave in one write.
fn encode(response: &Response, keep_alive: bool) -> Vec<u8> {
    let reason = tungstenite::http::StatusCode::from_u16(response.status).ok().and_then(|code| code.canonical_reason());
    let mut head = format!("HTTP/1.1 {} {}\r\n", response.status, reason.unwrap_or("Unknown"));
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let connection = if keep_alive { "keep-alive" } else { "close" };
    head.push_str(&format!("Content-Length: {}\r\nConnection: {connection}\r\n\r\n", response.body.len()));
    let mut bytes = head.into_bytes();
    bytes.extend_from_slice(&response.body);
    bytes
}
