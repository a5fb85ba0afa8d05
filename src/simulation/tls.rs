//! TLS in front of a plain server: accepts encrypted connections and pumps their bytes to and from it.
//!
//! It serves tests and people who want to try their client's TLS; it polls once a millisecond, which the plain
//! server does not.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use native_tls::{Identity, TlsAcceptor, TlsStream};

use super::server::reachable;

const POLL: Duration = Duration::from_millis(1);
const HANDSHAKE: Duration = Duration::from_secs(10);

/// A running terminator. Dropping it stops it.
pub struct TlsFront {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

impl TlsFront {
    /// Listens on `address` with a certificate chain and its key (both PEM, the key PKCS#8) and forwards to the plain
    /// server at `behind`.
    ///
    /// # Errors
    /// When the certificate or the key is not usable, or the address cannot be listened on.
    pub fn start(address: impl ToSocketAddrs, certificate: &[u8], key: &[u8], behind: SocketAddr) -> io::Result<Self> {
        let unusable = |error: native_tls::Error| {
            io::Error::new(ErrorKind::InvalidInput, format!("certificate (PEM) and key (PEM, PKCS#8): {error}"))
        };
        let identity = Identity::from_pkcs8(certificate, key).map_err(unusable)?;
        let tls = TlsAcceptor::new(identity).map_err(unusable)?;
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let behind = reachable(behind);
        let acceptor = thread::Builder::new()
            .name("exchange-tls".to_owned())
            .spawn(move || accept(&listener, &tls, behind, &stop))?;
        Ok(Self { address, stopping, acceptor: Some(acceptor) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and waits for their threads.
    pub fn stop(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.stopping.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&reachable(self.address), HANDSHAKE);
        let _ = acceptor.join();
    }
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.stop();
    }
}

fn accept(listener: &TcpListener, tls: &TlsAcceptor, behind: SocketAddr, stopping: &Arc<AtomicBool>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    loop {
        let accepted = listener.accept();
        if stopping.load(Ordering::SeqCst) {
            break;
        }
        threads.retain(|thread| !thread.is_finished());
        let Ok((socket, _)) = accepted else {
            thread::sleep(POLL);
            continue;
        };
        let (tls, stop) = (tls.clone(), Arc::clone(stopping));
        let serving = move || {
            // A client that does not trust the certificate, or goes away, is the client's affair.
            if let Err(error) = forward(socket, &tls, behind, &stop) {
                log::debug!("exchange: a TLS connection ended: {error}");
            }
        };
        threads.extend(thread::Builder::new().name("exchange-tls-pump".to_owned()).spawn(serving));
    }
    for thread in threads {
        let _ = thread.join();
    }
}

fn forward(socket: TcpStream, tls: &TlsAcceptor, behind: SocketAddr, stopping: &AtomicBool) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(HANDSHAKE))?;
    socket.set_write_timeout(Some(HANDSHAKE))?;
    let mut outer = tls.accept(socket).map_err(|error| io::Error::other(error.to_string()))?;
    outer.get_ref().set_nonblocking(true)?;
    let mut inner = TcpStream::connect_timeout(&behind, HANDSHAKE)?;
    inner.set_nodelay(true)?;
    inner.set_nonblocking(true)?;
    pump(&mut outer, &mut inner, stopping)?;
    // Best effort: the peer may already be gone.
    let _ = outer.shutdown();
    Ok(())
}

/// Moves bytes both ways until one side ends.
fn pump(outer: &mut TlsStream<TcpStream>, inner: &mut TcpStream, stopping: &AtomicBool) -> io::Result<()> {
    let (mut inwards, mut outwards) = (Vec::new(), Vec::new());
    while !stopping.load(Ordering::SeqCst) {
        let read_outer = fill(outer, &mut inwards)?;
        let read_inner = fill(inner, &mut outwards)?;
        let wrote_inner = drain(inner, &mut inwards)?;
        let wrote_outer = drain(outer, &mut outwards)?;
        let ended = read_outer == Moved::End || read_inner == Moved::End;
        if ended && outwards.is_empty() {
            return Ok(());
        }
        if ![read_outer, read_inner, wrote_inner, wrote_outer].contains(&Moved::Some) {
            thread::sleep(POLL);
        }
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    Some,
    Nothing,
    End,
}

/// Reads what is there, unless a lot is still waiting to be written.
fn fill(from: &mut impl Read, buffer: &mut Vec<u8>) -> io::Result<Moved> {
    if buffer.len() > 1 << 20 {
        return Ok(Moved::Nothing);
    }
    let mut chunk = [0; 16 * 1024];
    match from.read(&mut chunk) {
        Ok(0) => Ok(Moved::End),
        Ok(count) => {
            buffer.extend_from_slice(&chunk[..count]);
            Ok(Moved::Some)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Moved::Nothing),
        Err(error) => Err(error),
    }
}

fn drain(to: &mut impl Write, buffer: &mut Vec<u8>) -> io::Result<Moved> {
    if buffer.is_empty() {
        return Ok(Moved::Nothing);
    }
    match to.write(buffer) {
        Ok(count) => {
            buffer.drain(..count);
            to.flush().or_else(|error| if error.kind() == ErrorKind::WouldBlock { Ok(()) } else { Err(error) })?;
            Ok(Moved::Some)
        }
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Moved::Nothing),
        Err(error) => Err(error),
    }
}
