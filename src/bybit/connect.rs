//! Opens a connection: the name, TCP and TLS, all within one deadline.
//!
//! Goes in: an address. Comes out: a socket whose reads and writes end at a deadline that can be moved, whatever the
//! peer does. What goes wrong here went wrong before a request left.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;

use super::address::Address;
use super::tls::Tls;

/// A TCP connection that gives up at its deadline: `WouldBlock`, on reads and writes. A read after the deadline still gets
/// what is there.
#[derive(Debug)]
pub(super) struct TimedTcp {
    tcp: TcpStream,
    deadline: Instant,
}

impl TimedTcp {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::WouldBlock.into()) } else { Ok(left) }
    }
}

impl Read for TimedTcp {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Ok(left) = self.left() {
            self.tcp.set_read_timeout(Some(left))?;
            return self.tcp.read(buffer);
        }
        self.tcp.set_nonblocking(true)?;
        let result = self.tcp.read(buffer);
        self.tcp.set_nonblocking(false)?;
        result
    }
}

impl Write for TimedTcp {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.tcp.set_write_timeout(Some(self.left()?))?;
        self.tcp.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An open connection, encrypted or (on loopback) not.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(TimedTcp),
    Encrypted(Box<native_tls::TlsStream<TimedTcp>>),
}

impl Socket {
    /// Reads and writes give up at this moment.
    pub(super) fn set_deadline(&mut self, deadline: Instant) {
        match self {
            Self::Plain(timed) => timed.deadline = deadline,
            Self::Encrypted(stream) => stream.get_mut().deadline = deadline,
        }
    }

    /// The connection below.
    pub(super) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(timed) => &timed.tcp,
            Self::Encrypted(stream) => &stream.get_ref().tcp,
        }
    }

    /// Whether the peer has neither closed the connection nor sent anything that was not asked for.
    pub(super) fn is_idle(&mut self) -> bool {
        // What TLS itself has to say (1.3 sends tickets after the handshake) is read on the way, and is no news.
        self.set_deadline(Instant::now());
        matches!(self.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(buffer),
            Self::Encrypted(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.write(buffer),
            Self::Encrypted(stream) => stream.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.flush(),
            Self::Encrypted(stream) => stream.flush(),
        }
    }
}

/// Opens a connection. The errors are for people.
pub(super) fn connect(address: &Address, tls: &Tls, deadline: Instant) -> Result<Socket, String> {
    let (host, port) = (address.host(), address.port());
    let tcp = connect_tcp(resolve(host, port, deadline)?, address, deadline)?;
    tcp.set_nodelay(true).map_err(|error| format!("{host}: {error}"))?;
    let timed = TimedTcp { tcp, deadline };
    if !address.is_secure() {
        return Ok(Socket::Plain(timed));
    }
    let connector = tls.connector().map_err(|error| format!("{host}: {error}"))?;
    match connector.connect(host, timed) {
        Ok(stream) => Ok(Socket::Encrypted(Box::new(stream))),
        Err(native_tls::HandshakeError::WouldBlock(_)) => Err(format!("{host}: no TLS handshake in time")),
        Err(native_tls::HandshakeError::Failure(error)) => {
            Err(format!("{host}: TLS refused: {error} (trusting {})", tls.roots()))
        }
    }
}

fn connect_tcp(candidates: Vec<SocketAddr>, address: &Address, deadline: Instant) -> Result<TcpStream, String> {
    let (host, port) = (address.host(), address.port());
    let mut left = candidates.len();
    let mut failure = format!("{host}: the name has no address");
    for candidate in candidates {
        // Each address gets its share of what is left, so that a dead one cannot eat it all.
        let share = deadline.saturating_duration_since(Instant::now()) / u32::try_from(left.max(1)).unwrap_or(u32::MAX);
        left -= 1;
        if share.is_zero() {
            return Err(format!("{host}:{port}: no connection in time"));
        }
        match TcpStream::connect_timeout(&candidate, share) {
            Ok(tcp) => return Ok(tcp),
            Err(error) => failure = format!("{host}:{port} ({}): {error}", candidate.ip()),
        }
    }
    Err(failure)
}

/// The addresses of a host. The system's resolver knows no deadline, so it works in a thread that is left behind if it
/// takes too long.
fn resolve(host: &str, port: u16, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    if host.parse::<IpAddr>().is_ok() {
        return look_up(host, port);
    }
    let (sender, receiver) = bounded(1);
    let name = host.to_owned();
    std::thread::Builder::new()
        .name("resolver".to_owned())
        .spawn(move || {
            // Nobody listens any more if it took too long.
            let _ = sender.send(look_up(&name, port));
        })
        .map_err(|error| format!("{host}: no thread for the resolver: {error}"))?;
    match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(found) => found,
        Err(_) => Err(format!("{host}: the name was not resolved in time")),
    }
}

fn look_up(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = (host, port).to_socket_addrs();
    found.map(Iterator::collect).map_err(|error| format!("{host}: the name cannot be resolved: {error}"))
}
