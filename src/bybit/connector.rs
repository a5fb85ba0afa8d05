//! How the HTTP library opens connections: with our one TLS connector, within one deadline.
//!
//! Goes in: the library's wish for a connection to the one host of a transport. Comes out: an open one, which the library
//! keeps in its pool. This is the only file that uses what the library does not promise to keep stable
//! (`ureq::unversioned`), which is why its minor version is pinned.
//!
//! What can go wrong: the connection cannot be opened. That is told as [`NotConnected`], so that whoever sent the request
//! knows for certain that nothing of it has left.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::time::Instant;

use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, LazyBuffers, NextTimeout, Transport};
use ureq::{Error, http};

use super::address::Address;
use super::connect::{Socket, connect};
use super::tls::Tls;

/// No connection could be opened: nothing was sent.
#[derive(Debug)]
pub(super) struct NotConnected(pub(super) String);

impl fmt::Display for NotConnected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotConnected {}

/// The library asks for addresses before each request, even where it has an open connection. Names are looked up when a
/// connection is opened, and only then.
#[derive(Debug)]
pub(super) struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &http::Uri, _: &ureq::config::Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

/// Opens connections to one address.
pub(super) struct OneHost {
    pub(super) address: Address,
    pub(super) tls: Tls,
}

impl fmt::Debug for OneHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OneHost({})", self.address)
    }
}

impl Connector for OneHost {
    type Out = HttpConnection;

    fn connect(&self, details: &ConnectionDetails<'_>, _: Option<()>) -> Result<Option<HttpConnection>, Error> {
        let socket = connect(&self.address, &self.tls, deadline(details.timeout))
            .map_err(|reason| Error::Other(Box::new(NotConnected(reason))))?;
        let buffers = LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(HttpConnection { socket, buffers, unsent: Vec::new() }))
    }
}

/// The library's time-outs are finite here, because the whole request has one.
fn deadline(timeout: NextTimeout) -> Instant {
    let now = Instant::now();
    now.checked_add(*timeout.after).unwrap_or(now)
}

/// A connection that collects a request's head and body, and sends them in one write when the answer is waited for.
pub(super) struct HttpConnection {
    socket: Socket,
    buffers: LazyBuffers,
    unsent: Vec<u8>,
}

impl fmt::Debug for HttpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What is collected holds a key and a signature.
        f.write_str("HttpConnection(…)")
    }
}

impl HttpConnection {
    fn send_and_read(&mut self) -> io::Result<usize> {
        if !self.unsent.is_empty() {
            self.socket.write_all(&self.unsent)?;
            self.socket.flush()?;
            self.unsent.clear();
        }
        self.socket.read(self.buffers.input_append_buf())
    }
}

impl Transport for HttpConnection {
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
        let amount = self.send_and_read().map_err(|error| match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Error::Timeout(timeout.reason),
            _ => Error::Io(error),
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
