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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::server::{Server, ServerOptions};
    use crate::simulation::testing::hub;
    use native_tls::{Certificate, TlsConnector};

    const CERTIFICATE: &[u8] = include_bytes!("../../tests/tls/server.pem");
    const KEY: &[u8] = include_bytes!("../../tests/tls/server.key");
    const CA: &[u8] = include_bytes!("../../tests/tls/ca.pem");
    const OTHER_CA: &[u8] = include_bytes!("../../tests/tls/other-ca.pem");

    fn server() -> (Server, TlsFront) {
        let server = Server::start("127.0.0.1:0", hub(), ServerOptions::default()).unwrap();
        let front = TlsFront::start("127.0.0.1:0", CERTIFICATE, KEY, server.address()).unwrap();
        (server, front)
    }

    fn connect(front: &TlsFront, ca: &[u8]) -> Result<TlsStream<TcpStream>, String> {
        let mut builder = TlsConnector::builder();
        builder.disable_built_in_roots(true).add_root_certificate(Certificate::from_pem(ca).unwrap());
        let socket = TcpStream::connect(front.address()).unwrap();
        socket.set_read_timeout(Some(HANDSHAKE)).unwrap();
        builder.build().unwrap().connect("localhost", socket).map_err(|error| error.to_string())
    }

    #[test]
    fn rest_and_streams_pass_through_tls() {
        let (_server, front) = server();
        let mut rest = connect(&front, CA).unwrap();
        rest.write_all(b"GET /v5/market/time HTTP/1.1\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        rest.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("timeNano"), "{answer}");
        let url = format!("wss://localhost:{}/v5/private", front.address().port());
        let (mut stream, _) = tungstenite::client(url, connect(&front, CA).unwrap()).unwrap();
        stream.send(tungstenite::Message::text(r#"{"op":"ping"}"#)).unwrap();
        assert!(stream.read().unwrap().to_text().unwrap().contains("\"op\":\"pong\""));
    }

    #[test]
    fn a_certificate_of_another_ca_is_not_accepted() {
        let (_server, front) = server();
        assert!(connect(&front, OTHER_CA).is_err());
        assert!(connect(&front, CA).is_ok(), "the server goes on");
    }

    #[test]
    fn a_bad_certificate_or_key_is_an_error_that_says_so() {
        let behind = "127.0.0.1:1".parse().unwrap();
        let error = TlsFront::start("127.0.0.1:0", b"no certificate", KEY, behind).err().unwrap();
        assert!(error.to_string().starts_with("certificate (PEM) and key (PEM, PKCS#8): "), "{error}");
        assert!(TlsFront::start("127.0.0.1:0", CERTIFICATE, b"no key", behind).is_err());
    }
}
