//! One HTTP exchange as plain data, between whoever speaks Bybit's REST and whoever carries it.
//!
//! The client builds a [`Request`] and reads a [`Response`]; the real transport carries them over TCP and TLS,
//! the simulated exchange answers them in memory or behind a loopback server. The seam at which a test swaps
//! one for the other is [`Transport`].

use std::fmt;

/// The method of a request. Bybit's REST uses two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads; parameters in the query, no body.
    Get,
    /// Acts; parameters in a JSON body.
    Post,
}

/// A request, complete and signed. It carries a key and a signature: it has no `Debug`.
#[derive(Clone)]
pub struct Request {
    /// `GET` or `POST`.
    pub method: Method,
    /// `/v5/order/create`.
    pub path: String,
    /// Without the question mark, byte for byte as signed; empty for `POST`.
    pub query: String,
    /// Byte for byte as signed; empty for `GET`.
    pub body: String,
    /// Names are compared without regard to case.
    pub headers: Vec<(&'static str, String)>,
}

/// An answer, whatever it holds: HTML from a gateway arrives here too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// Names as received; ask [`Response::header`].
    pub headers: Vec<(String, String)>,
    /// As received.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of a header, by its name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// Why there is no answer. The difference decides whether a create may be sent again without asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The request surely never left: name not resolved, connection refused, certificate not accepted.
    NotSent(String),
    /// It may have arrived: connection lost after sending, time-out, answer cut short.
    Unknown(String),
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(reason) => write!(f, "not sent: {reason}"),
            Self::Unknown(reason) => write!(f, "no answer: {reason}"),
        }
    }
}

impl std::error::Error for TransportError {}

/// What became of a request.
pub type Sent = Result<Response, TransportError>;

/// Carries requests and brings their answers.
pub trait Transport {
    /// Carries one request. Blocks until the answer is complete or the transport's own time-out is over.
    ///
    /// # Errors
    /// [`TransportError`]; an answer with an HTTP error status is an answer, not an error.
    fn send(&mut self, request: &Request) -> Sent;

    /// Carries requests that do not depend on each other, at once where it can. `arrived` is told the place of each and what
    /// became of it, as soon as that is known: in any order, each exactly once. Blocks until the last one is known.
    fn send_together(&mut self, requests: &[Request], arrived: &mut dyn FnMut(usize, Sent)) {
        for (place, request) in requests.iter().enumerate() {
            arrived(place, self.send(request));
        }
    }
}
