//! A proxy between a bot and the exchange's REST: it hands on one request after the other on each connection, closes a
//! connection that is idle for too long, may hold an answer back, and notes what it has seen and when.

#![allow(dead_code, unreachable_pub, reason = "no test uses all of it, and each has its own copy")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How the proxy treats connections and answers.
#[derive(Clone, Copy)]
pub struct Manners {
    /// It closes a connection on which nothing was asked for so long.
    pub idle: Duration,
    /// So long it takes until a new connection is of use, as where it is far away and encrypted.
    pub dial: Duration,
    /// Each answer comes so much later than it could: no exchange is nearer than this.
    pub way: Duration,
    /// The answer to a request that contains this text is held back for so long.
    pub held: Option<(&'static str, Duration)>,
}

/// What it has seen.
#[derive(Default)]
pub struct Notes {
    pub connections: Vec<Connection>,
    pub requests: Vec<Request>,
}

pub struct Connection {
    pub accepted: Instant,
    /// `None` once it is closed.
    pub used: Option<Instant>,
}

#[derive(Clone)]
pub struct Request {
    /// Its place among the connections.
    pub connection: usize,
    pub at: Instant,
    /// When the last byte of its answer was handed on.
    pub answered: Option<Instant>,
    pub text: String,
    /// Whether one read brought all of it.
    pub came_at_once: bool,
}

impl Request {
    pub fn line(&self) -> &str {
        self.text.lines().next().unwrap_or_default()
    }

    pub fn path(&self) -> &str {
        self.line().split([' ', '?']).nth(1).unwrap_or_default()
    }

    /// A text field of the JSON in its body.
    pub fn field(&self, name: &str) -> Option<String> {
        let (_, body) = self.text.split_once("\r\n\r\n")?;
        let json: serde_json::Value = serde_json::from_str(body).ok()?;
        json[name].as_str().map(str::to_owned)
    }

    /// An order is placed.
    pub fn creates(&self) -> bool {
        self.path() == "/v5/order/create"
    }

    /// An order is cancelled.
    pub fn cancels(&self) -> bool {
        self.path() == "/v5/order/cancel"
    }
}

pub struct RestProxy {
    pub address: SocketAddr,
    notes: Arc<Mutex<Notes>>,
}

impl RestProxy {
    pub fn start(exchange: SocketAddr, manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let notes = Arc::new(Mutex::new(Notes::default()));
        let shared = Arc::clone(&notes);
        // It ends with the test's process, as do the threads of its connections.
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let now = Instant::now();
                let number = {
                    let mut notes = shared.lock().unwrap();
                    notes.connections.push(Connection { accepted: now, used: Some(now) });
                    notes.connections.len() - 1
                };
                let notes = Arc::clone(&shared);
                std::thread::spawn(move || {
                    // An error is either end that went away, or a client that asked for nothing.
                    let _ = serve(client.unwrap(), exchange, manners, number, &notes);
                    notes.lock().unwrap().connections[number].used = None;
                });
            }
        });
        Self { address, notes }
    }

    pub fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap()
    }

    /// What was asked since then, oldest first.
    pub fn since(&self, begin: Instant) -> Vec<Request> {
        self.notes().requests.iter().filter(|request| request.at > begin).cloned().collect()
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.notes().connections.iter().filter(|connection| connection.used.is_some()).count()
    }

    /// How many connections were opened since then.
    pub fn opened_since(&self, begin: Instant) -> usize {
        self.notes().connections.iter().filter(|connection| connection.accepted > begin).count()
    }
}

fn serve(
    mut client: TcpStream,
    exchange: SocketAddr,
    manners: Manners,
    number: usize,
    notes: &Mutex<Notes>,
) -> std::io::Result<()> {
    let mut exchange = TcpStream::connect(exchange)?;
    for socket in [&client, &exchange] {
        socket.set_nodelay(true)?;
    }
    client.set_read_timeout(Some(manners.idle))?;
    std::thread::sleep(manners.dial);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let amount = client.read(&mut buffer)?;
        if amount == 0 {
            return Ok(());
        }
        let at = Instant::now();
        let mut message = buffer[..amount].to_vec();
        let came_at_once = is_whole(&message);
        read_whole(&mut client, &mut message)?;
        let text = String::from_utf8_lossy(&message).into_owned();
        let hold = manners.held.filter(|(mark, _)| text.contains(mark)).map_or(Duration::ZERO, |(_, time)| time);
        let place = {
            let mut notes = notes.lock().unwrap();
            notes.connections[number].used = Some(at);
            notes.requests.push(Request { connection: number, at, answered: None, text, came_at_once });
            notes.requests.len() - 1
        };
        exchange.write_all(&message)?;
        let mut answer = Vec::new();
        read_whole(&mut exchange, &mut answer)?;
        std::thread::sleep(manners.way + hold);
        // Noted before it is sent: whoever has the answer finds the note.
        let now = Instant::now();
        {
            let mut notes = notes.lock().unwrap();
            notes.requests[place].answered = Some(now);
            notes.connections[number].used = Some(now);
        }
        client.write_all(&answer)?;
    }
}

/// Reads on until there is a whole message.
fn read_whole(socket: &mut TcpStream, message: &mut Vec<u8>) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    while !is_whole(message) {
        let amount = socket.read(&mut buffer)?;
        if amount == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        message.extend_from_slice(&buffer[..amount]);
    }
    Ok(())
}

/// Whether these bytes are a whole HTTP message: the head, and as much body as it announces.
fn is_whole(message: &[u8]) -> bool {
    let text = String::from_utf8_lossy(message);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let announced = head.lines().filter_map(|line| line.split_once(':'));
    let mut length =
        announced.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim());
    body.len() >= length.next_back().map_or(0, |value| value.parse().unwrap())
}
