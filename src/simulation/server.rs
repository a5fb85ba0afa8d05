//! The exchange on a socket: HTTP/1.1 with keep-alive, and the upgrade to WebSocket.
//!
//! A thread for each connection, and a second one for each stream. What a client may send is bounded: head, body,
//! number of headers, number of connections, and the time it may take for them. Malformed HTTP is answered with
//! its status and the connection closed.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tungstenite::handshake::server::{create_response, write_response};

use super::http1::{Incoming, PATIENCE, Unreadable, encode, plain, read_request, refuse};
use super::hub::Hub;
use super::stream::Channel;
use super::websocket;
use crate::http::{Method, Request, Response};

/// How a server treats its connections.
#[derive(Clone, Copy, Debug)]
pub struct ServerOptions {
    /// How long a connection may be idle between two requests before the server closes it.
    pub idle: Duration,
    /// How long a stream may be silent, if its client does not ask for another time with `max_active_time`.
    pub stream_silence: Duration,
    /// Connections at one time; more are answered with 503.
    pub most_connections: usize,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { idle: Duration::from_secs(120), stream_silence: Duration::from_secs(600), most_connections: 256 }
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
    connections: Mutex<BTreeMap<u64, ClientConnection>>,
}

/// A connection that is being served: a handle to end it, and one to wait for it.
struct ClientConnection {
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
    fn connections(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, ClientConnection>> {
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
    if connections.len() >= shared.options.most_connections {
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
    connections.insert(number, ClientConnection { socket: handle, thread: thread.ok() });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::testing::*;
    use serde_json::{Value, json};
    use std::io::{BufRead, BufReader, Read};
    use tungstenite::Message;

    fn server() -> Server {
        server_with(ServerOptions::default())
    }

    fn server_with(options: ServerOptions) -> Server {
        Server::start("127.0.0.1:0", hub(), options).unwrap()
    }

    fn connect(server: &Server) -> TcpStream {
        let socket = TcpStream::connect(server.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    /// Sends bytes and reads until the server closes.
    fn exchange_bytes(server: &Server, bytes: &[u8]) -> String {
        let mut socket = connect(server);
        socket.write_all(bytes).unwrap();
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer
    }

    /// One answer of a connection that stays open: its status line and its body.
    fn read_answer(reader: &mut BufReader<TcpStream>) -> (String, String) {
        let mut status = String::new();
        reader.read_line(&mut status).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        (status.trim().to_owned(), String::from_utf8(body).unwrap())
    }

    fn post(path: &str, body: &str) -> String {
        let request = signed(Method::Post, path, body, NOW);
        let mut text = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in request.headers {
            text.push_str(&format!("{}: {value}\r\n", name.to_ascii_lowercase()));
        }
        format!("{text}\r\n{body}")
    }

    const TIME: &str = "GET /v5/market/time HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn one_connection_serves_many_requests_and_pipelined_ones_in_order() {
        let server = server();
        let socket = connect(&server);
        let mut reader = BufReader::new(socket.try_clone().unwrap());
        let mut writer = socket;
        for _ in 0..3 {
            writer.write_all(TIME.as_bytes()).unwrap();
            assert_eq!(read_answer(&mut reader).0, "HTTP/1.1 200 OK");
        }
        let both = format!("{}{TIME}{}", post("/v5/order/create", ORDER), post("/v5/order/create", ORDER));
        // In pieces, cut at awkward places.
        for piece in both.as_bytes().chunks(37) {
            writer.write_all(piece).unwrap();
        }
        let answers: Vec<String> = (0..3).map(|_| read_answer(&mut reader).1).collect();
        assert!(answers[0].contains("\"orderId\":\"1800000000000000001\""), "{}", answers[0]);
        assert!(answers[1].contains("timeNano"));
        assert!(answers[2].contains("\"orderId\":\"1800000000000000003\""), "{}", answers[2]);
    }

    #[test]
    fn what_is_not_a_proper_request_is_answered_with_its_status_and_closed() {
        let server = server();
        let line = |text: &str| format!("{text}\r\nHost: x\r\n");
        let time = line("GET /v5/market/time HTTP/1.1");
        let create = line("POST /v5/order/create HTTP/1.1");
        for (request, status) in [
            ("\x16\x03\x01 this is TLS\r\n\r\n".to_owned(), "400 Bad Request"),
            ("complete nonsense\r\n\r\n".to_owned(), "400 Bad Request"),
            (format!("{create}Content-Length: x\r\n\r\n"), "400 Bad Request"),
            (format!("{create}Content-Length: -1\r\n\r\n"), "400 Bad Request"),
            (format!("{create}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "400 Bad Request"),
            (format!("{create}Content-Length: 65537\r\n\r\n"), "413 Payload Too Large"),
            (format!("{create}Content-Length: 99999999999999999999999\r\n\r\n"), "413 Payload Too Large"),
            (format!("{create}Transfer-Encoding: chunked\r\n\r\n"), "501 Not Implemented"),
            (format!("{time}X: {}\r\n\r\n", "a".repeat(17_000)), "431 Request Header Fields Too Large"),
            (format!("{time}{}\r\n", "X: y\r\n".repeat(70)), "431 Request Header Fields Too Large"),
        ] {
            let answer = exchange_bytes(&server, request.as_bytes());
            let shown: String = request.chars().take(80).collect();
            assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{shown:?} gave {answer:?}");
            assert!(answer.contains("Connection: close\r\n"), "{answer}");
        }
        assert!(exchange_bytes(&server, format!("{time}Connection: close\r\n\r\n").as_bytes()).contains("200 OK"));
    }

    #[test]
    fn other_methods_and_misplaced_bodies_are_refused() {
        let server = server();
        let last = "Host: x\r\nConnection: close\r\n";
        for (request, status) in [
            (format!("PUT /v5/market/time HTTP/1.1\r\n{last}\r\n"), "405"),
            (format!("HEAD /v5/market/time HTTP/1.1\r\n{last}\r\n"), "405"),
            (format!("GET /v5/market/time HTTP/1.1\r\n{last}Content-Length: 2\r\n\r\n{{}}"), "400"),
            (format!("GET /nothing HTTP/1.1\r\n{last}\r\n"), "404"),
            (format!("GET /v5/private HTTP/1.1\r\n{last}\r\n"), "426"),
            (format!("GET /v5/private HTTP/1.1\r\n{last}Upgrade: websocket\r\n\r\n"), "400"),
            (format!("GET /nothing HTTP/1.1\r\n{last}Upgrade: websocket\r\n\r\n"), "404"),
            ("GET /v5/market/time HTTP/1.0\r\n\r\n".to_owned(), "200"),
        ] {
            let answer = exchange_bytes(&server, request.as_bytes());
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?} gave {answer:?}");
        }
        let head = exchange_bytes(&server, format!("HEAD / HTTP/1.1\r\n{last}\r\n").as_bytes());
        assert!(head.ends_with("\r\n\r\n"), "an answer to HEAD has no body: {head:?}");
    }

    #[test]
    fn a_client_that_waits_for_leave_to_send_its_body_gets_it() {
        let server = server();
        let request = post("/v5/order/create", ORDER);
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        let mut socket = connect(&server);
        socket.write_all(format!("{head}\r\nExpect: 100-continue\r\n\r\n").as_bytes()).unwrap();
        let mut leave = [0; 25];
        socket.read_exact(&mut leave).unwrap();
        assert_eq!(&leave, b"HTTP/1.1 100 Continue\r\n\r\n");
        socket.write_all(body.as_bytes()).unwrap();
        assert!(read_answer(&mut BufReader::new(socket)).1.contains("\"retCode\":0"));
    }

    type Client = tungstenite::WebSocket<TcpStream>;

    fn stream(server: &Server, path: &str) -> Client {
        let url = format!("ws://{}{path}", server.address());
        tungstenite::client(url, connect(server)).unwrap().0
    }

    fn say(client: &mut Client, message: &impl ToString) -> Value {
        client.send(Message::text(message.to_string())).unwrap();
        hear(client)
    }

    fn hear(client: &mut Client) -> Value {
        match client.read().unwrap() {
            Message::Text(text) => serde_json::from_str(text.as_str()).unwrap(),
            other => panic!("{other:?} is no text"),
        }
    }

    fn subscribed(server: &Server) -> Client {
        let mut client = stream(server, "/v5/private?max_active_time=1m");
        assert_eq!(say(&mut client, &auth(NOW.0 + 1000))["success"], true);
        assert_eq!(say(&mut client, &json!({ "op": "subscribe", "args": ["order", "execution"] }))["success"], true);
        client
    }

    #[test]
    fn what_a_request_causes_is_pushed_on_the_private_stream() {
        let server = server();
        let (mut first, mut second) = (subscribed(&server), subscribed(&server));
        connect(&server).write_all(post("/v5/order/create", ORDER).as_bytes()).unwrap();
        for client in [&mut first, &mut second] {
            let (execution, order) = (hear(client), hear(client));
            assert_eq!(
                (&execution["topic"], &execution["data"][0]["execQty"]),
                (&json!("execution"), &json!("0.000833"))
            );
            assert_eq!((&order["topic"], &order["data"][0]["category"]), (&json!("order"), &json!("spot")));
        }
    }

    #[test]
    fn a_move_of_the_market_is_pushed_without_being_asked_for() {
        let server = server();
        let mut client = subscribed(&server);
        let hub = Arc::clone(&server.shared.hub);
        let price = crate::core::Decimal::from(59_000);
        hub.with(|exchange, now| exchange.create(0, limit(crate::core::order::Side::Buy, "59500", "0.001"), now))
            .unwrap();
        assert_eq!(hear(&mut client)["data"][0]["orderStatus"], "New");
        hub.advance(BTC, &crate::simulation::market::PricePoint::new(NOW, price));
        assert_eq!(hear(&mut client)["data"][0]["isMaker"], true);
        assert_eq!(hear(&mut client)["data"][0]["orderStatus"], "Filled");
    }

    #[test]
    fn websocket_pings_are_answered_and_a_close_is_returned() {
        let server = server();
        let mut client = subscribed(&server);
        client.send(Message::Ping(b"are you there".as_slice().into())).unwrap();
        assert_eq!(client.read().unwrap(), Message::Pong(b"are you there".as_slice().into()));
        client.close(None).unwrap();
        assert!(matches!(client.read().unwrap(), Message::Close(_)));
        assert!(matches!(client.read(), Err(tungstenite::Error::ConnectionClosed)));
    }

    #[test]
    fn a_message_that_is_too_long_ends_the_stream_but_not_the_server() {
        let server = server();
        let mut client = subscribed(&server);
        let _ = client.send(Message::text("x".repeat(70_000)));
        assert!(client.read().is_err() || client.read().is_err());
        assert_eq!(say(&mut subscribed(&server), &json!({ "op": "ping" }))["op"], "pong");
    }

    #[test]
    fn a_stop_closes_idle_connections_and_streams_and_frees_the_port() {
        let mut server = server();
        let mut idle = connect(&server);
        let mut client = subscribed(&server);
        let address = server.address();
        server.stop();
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
        assert!(client.read().is_err());
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn a_silence_may_be_thirty_to_six_hundred_seconds() {
        let seconds = |query: &str| silence(query).map(|time| time.as_secs());
        assert_eq!(seconds("max_active_time=30s"), Some(30));
        assert_eq!(seconds("a=b&max_active_time=10m"), Some(600));
        for query in ["", "max_active_time=29s", "max_active_time=11m", "max_active_time=x", "max_active_time=1h"] {
            assert_eq!(seconds(query), None, "{query}");
        }
    }

    #[test]
    fn an_idle_connection_is_closed_after_its_time() {
        let server = server_with(ServerOptions { idle: Duration::from_millis(30), ..ServerOptions::default() });
        assert_eq!(connect(&server).read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn connections_are_counted_and_one_too_many_is_turned_away_until_another_ends() {
        let server = server_with(ServerOptions { most_connections: 1, ..ServerOptions::default() });
        let first = connect(&server);
        let mut reader = BufReader::new(first.try_clone().unwrap());
        (&first).write_all(TIME.as_bytes()).unwrap();
        assert_eq!(read_answer(&mut reader).0, "HTTP/1.1 200 OK");
        assert_eq!(read_answer(&mut BufReader::new(connect(&server))).0, "HTTP/1.1 503 Service Unavailable");
        drop((first, reader));
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let socket = connect(&server);
            // It may be turned away, and closed, before it has said anything.
            let sent = (&socket).write_all(TIME.as_bytes());
            let mut status = String::new();
            let read = BufReader::new(socket).read_line(&mut status);
            if sent.is_ok() && read.is_ok() && status == "HTTP/1.1 200 OK\r\n" {
                break;
            }
            assert!(std::time::Instant::now() < deadline, "the place was never free again");
        }
    }
}
