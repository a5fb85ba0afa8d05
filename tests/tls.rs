//! TLS is real: REST and stream through it on loopback, with an authority made for the test; a certificate of another
//! authority is refused.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::unbounded;
use native_tls::{Identity, TlsAcceptor, TlsStream};
use recompra::bybit::transport::{HttpLimits, HttpTransport};
use recompra::bybit::{Address, Credentials, ExchangeClock, PrivateStream, StreamTimings, Tls, TlsRoots};
use recompra::engine::ports::{AdjustableClock, Signal};
use recompra::http::{Method, Request, Response, Transport, TransportError};
use tungstenite::Message;

const PATIENCE: Duration = Duration::from_secs(10);

/// A folder that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let name = format!("recompra-tls-{}-{:x}", std::process::id(), rand::random::<u64>());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn openssl_is_there() -> bool {
    let found = Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
    if !found {
        eprintln!("SKIPPED: the openssl command is not installed, so nothing about TLS was tested here");
    }
    found
}

/// An authority `NAME.pem` and what a server certified by it for 127.0.0.1 needs.
fn authority(folder: &Path, name: &str) -> TlsAcceptor {
    const KEY: &str = "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out";
    std::fs::write(folder.join("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n").unwrap();
    openssl(folder, &format!("{KEY} {name}.key"));
    openssl(folder, &format!("req -x509 -new -key {name}.key -subj /CN={name} -days 2 -out {name}.pem"));
    openssl(folder, &format!("{KEY} {name}-server.key"));
    openssl(folder, &format!("req -new -key {name}-server.key -subj /CN=localhost -out {name}.csr"));
    openssl(
        folder,
        &format!(
            "x509 -req -in {name}.csr -CA {name}.pem -CAkey {name}.key -set_serial 1 -days 2 -extfile names -out {name}-server.pem"
        ),
    );
    let read = |file: &str| std::fs::read(folder.join(format!("{name}{file}"))).unwrap();
    TlsAcceptor::new(Identity::from_pkcs8(&read("-server.pem"), &read("-server.key")).unwrap()).unwrap()
}

/// A server that runs `each` for every connection whose handshake succeeds; its port.
fn server(host: &str, acceptor: TlsAcceptor, each: impl Fn(TlsStream<TcpStream>) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if let Ok(stream) = acceptor.accept(stream.unwrap()) {
                each(stream);
            }
        }
    });
    port
}

fn rest_server(acceptor: TlsAcceptor) -> u16 {
    rest_server_on("127.0.0.1", acceptor)
}

fn rest_server_on(host: &str, acceptor: TlsAcceptor) -> u16 {
    server(host, acceptor, |mut stream| {
        let mut buffer = [0; 4096];
        while stream.read(&mut buffer).is_ok_and(|amount| amount > 0) {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{\"retCode\":0}").unwrap();
        }
    })
}

fn stream_server(acceptor: TlsAcceptor) -> u16 {
    server("127.0.0.1", acceptor, |stream| {
        let mut peer = tungstenite::accept(stream).unwrap();
        while let Ok(Message::Text(text)) = peer.read() {
            let op = if text.contains("auth") { "auth" } else { "subscribe" };
            let answer = format!(r#"{{"success":true,"ret_msg":"","op":"{op}"}}"#);
            if peer.send(Message::text(answer)).is_err() {
                return;
            }
        }
    })
}

fn rest(host: &str, port: u16, tls: &Tls, times: usize) -> Result<Response, TransportError> {
    let address = Address::rest(&format!("https://{host}:{port}")).unwrap();
    let mut transport = HttpTransport::new(&address, tls, HttpLimits::default());
    let request = Request {
        method: Method::Post,
        path: "/v5/order/create".to_owned(),
        query: String::new(),
        body: "{}".to_owned(),
        headers: vec![],
    };
    let mut result = transport.send(&request);
    for _ in 1..times {
        result = transport.send(&request);
    }
    result
}

/// The stream signs nothing before the clock is set.
fn set_clock() -> ExchangeClock {
    let clock = ExchangeClock::new(Arc::default());
    clock.correct(0);
    clock
}

fn first_signal(port: u16, tls: &Tls) -> Signal {
    let (sender, signals) = unbounded();
    let stream = PrivateStream {
        address: Address::stream(&format!("wss://127.0.0.1:{port}/v5/private")).unwrap(),
        tls: tls.clone(),
        credentials: Credentials::new("KEY", "SECRET").unwrap(),
        clock: Arc::new(set_clock()),
        symbol: "BTCUSDT".to_owned(),
        timings: StreamTimings::default(),
    };
    let handle = stream.spawn(sender).unwrap();
    let signal = signals.recv_timeout(PATIENCE).unwrap();
    handle.join();
    signal
}

#[test]
fn rest_and_stream_trust_the_given_authority_and_no_other() {
    if !openssl_is_there() {
        return;
    }
    let folder = Folder::new();
    let ours = authority(&folder.0, "ours");
    let other = authority(&folder.0, "other");
    let pinned = Tls::build(Some(&folder.0.join("ours.pem"))).unwrap();
    assert!(matches!(pinned.roots(), TlsRoots::Pinned(path) if path.ends_with("ours.pem")));

    // The kept connection serves the second and third request.
    let answer = rest("127.0.0.1", rest_server(ours.clone()), &pinned, 3).unwrap();
    assert_eq!(answer.body, b"{\"retCode\":0}");
    assert!(rest("localhost", rest_server(ours.clone()), &pinned, 1).is_ok());
    assert_eq!(first_signal(stream_server(ours.clone()), &pinned), Signal::StreamUp);

    let refused = rest("127.0.0.1", rest_server(other.clone()), &pinned, 1).unwrap_err();
    assert!(matches!(&refused, TransportError::NotSent(reason) if reason.contains("ours.pem")), "{refused}");
    let signal = first_signal(stream_server(other.clone()), &pinned);
    assert!(matches!(&signal, Signal::StreamDown(reason) if reason.contains("TLS refused")), "{signal:?}");

    // Without a file, the world's roots do not know this authority either.
    let refused = rest("127.0.0.1", rest_server(ours.clone()), &Tls::build(None).unwrap(), 1).unwrap_err();
    assert!(matches!(refused, TransportError::NotSent(_)), "{refused}");

    // A file may hold several authorities.
    let both = folder.0.join("both.pem");
    let pem = |name: &str| std::fs::read_to_string(folder.0.join(name)).unwrap();
    std::fs::write(&both, pem("other.pem") + &pem("ours.pem")).unwrap();
    let both = Tls::build(Some(&both)).unwrap();
    assert!(rest("127.0.0.1", rest_server(ours), &both, 1).is_ok());
    assert!(rest("127.0.0.1", rest_server(other), &both, 1).is_ok());
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    if !openssl_is_there() {
        return;
    }
    let folder = Folder::new();
    let acceptor = authority(&folder.0, "ours");
    let pinned = Tls::build(Some(&folder.0.join("ours.pem"))).unwrap();
    // The certificate names 127.0.0.1 and localhost; this is the same machine under a third name.
    let port = rest_server_on("127.0.0.2", acceptor);
    let refused = rest("127.0.0.2", port, &pinned, 1).unwrap_err();
    assert!(matches!(&refused, TransportError::NotSent(reason) if reason.contains("TLS refused")), "{refused}");
}
