//! HTTP/1.1 on a blocking socket: reads one bounded request after the other, and makes answers into bytes.
//!
//! Bytes that arrive behind a request stay in the caller's buffer and are the next request's, so a client may send
//! several at once. What cannot be read names the status it is answered with; the connection is then closed.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::http::Response;

/// Bytes of a request's line and headers.
const MAX_HEAD: usize = 16 * 1024;
/// Bytes of a request's body.
const MAX_BODY: usize = 64 * 1024;
const MAX_HEADERS: usize = 64;
/// How long a client may take for a request, and for reading an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// A request as it was read.
pub(super) struct Incoming {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) keep_alive: bool,
}

impl Incoming {
    pub(super) fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice())
    }

    pub(super) fn is_upgrade(&self) -> bool {
        self.header("Upgrade").is_some_and(|value| value.eq_ignore_ascii_case(b"websocket"))
    }
}

/// Why there is no request.
pub(super) enum Unreadable {
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

/// Answers what cannot be read, and takes what is still coming for a moment: closing a socket with unread bytes
/// would reset the connection and lose the answer.
pub(super) fn refuse(socket: &mut TcpStream, status: u16, reason: &str) -> io::Result<()> {
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

pub(super) fn read_request(
    socket: &mut TcpStream,
    buffer: &mut Vec<u8>,
    idle: Duration,
    patience: Duration,
) -> Result<Incoming, Unreadable> {
    // One deadline for all of a request: a client that sends a byte now and then does not keep its place for ever.
    let mut deadline = Instant::now() + if buffer.is_empty() { idle } else { patience };
    let (mut incoming, head, length) = loop {
        if let Some(parsed) = parse_head(buffer)? {
            break parsed;
        }
        if buffer.len() > MAX_HEAD {
            return Err(Unreadable::Status(431, "request head too large"));
        }
        let begins = buffer.is_empty();
        receive(socket, buffer, deadline)?;
        if begins {
            deadline = Instant::now() + patience;
        }
    };
    let expects = incoming.header("Expect").is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue"));
    if expects && buffer.len() < head + length {
        socket.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    while buffer.len() < head + length {
        receive(socket, buffer, deadline)?;
    }
    incoming.body = buffer[head..head + length].to_vec();
    buffer.drain(..head + length);
    Ok(incoming)
}

fn receive(socket: &mut TcpStream, buffer: &mut Vec<u8>, deadline: Instant) -> Result<(), Unreadable> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(Unreadable::Gone);
    }
    socket.set_read_timeout(Some(left))?;
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

pub(super) fn plain(status: u16, text: &str) -> Response {
    let headers = vec![("Content-Type".to_owned(), "text/plain; charset=utf-8".to_owned())];
    Response { status, headers, body: format!("{text}\n").into_bytes() }
}

/// The whole answer as bytes, to leave in one write.
pub(super) fn encode(response: &Response, keep_alive: bool) -> Vec<u8> {
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
