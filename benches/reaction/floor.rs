//! The floor: a client that turns fills into orders and does nothing else. Two sockets, no journal, no books, no checks; it
//! finds what it needs in a message by searching for it.
//!
//! It has two forms. With one thread, whoever reads the stream sends the order too: nothing is faster. With two, it has the
//! shape of the bot: one thread is blocked in reading the stream and pushes what it has read into a channel, the main
//! thread takes it, signs and writes. What a second thread costs is the difference between the two.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::SystemTime;

use crossbeam_channel::unbounded;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tungstenite::Message;

/// How many threads the client has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    OneThread,
    TwoThreads,
}

impl Form {
    /// What the bench calls itself with.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::OneThread => "--floor-of-one-thread",
            Self::TwoThreads => "--floor-of-two-threads",
        }
    }
}

pub(crate) fn run(form: Form, rest: &str, stream: &str) {
    let host = rest.trim_start_matches("http://").to_owned();
    let orders = TcpStream::connect(&host).expect("the venue");
    orders.set_nodelay(true).expect("a socket");
    let address = stream.trim_start_matches("ws://").split('/').next().expect("an address");
    let socket = TcpStream::connect(address).expect("the venue");
    socket.set_nodelay(true).expect("a socket");
    let mut raw = socket.try_clone().expect("a file descriptor");
    let (mut socket, _) = tungstenite::client(stream, socket).expect("an upgrade");
    for said in [r#"{"op":"auth","args":[]}"#, r#"{"op":"subscribe","args":["order","execution"]}"#] {
        socket.send(Message::text(said)).expect("the venue listens");
        socket.read().expect("an answer");
    }
    let mut client = Floor { host, orders, cycle: 1 };
    client.buy();
    client.answer();
    match form {
        Form::OneThread => {
            while let Some(text) = read(&mut raw) {
                client.react(&text);
            }
        }
        Form::TwoThreads => {
            let (sender, texts) = unbounded();
            let reader = std::thread::spawn(move || {
                while let Some(text) = read(&mut raw) {
                    if sender.send(text).is_err() {
                        return;
                    }
                }
            });
            for text in texts {
                client.react(&text);
            }
            reader.join().expect("a reader that ends with its connection");
        }
    }
}

/// What the next packet of the stream says; `None` at its end.
fn read(stream: &mut TcpStream) -> Option<String> {
    let mut buffer = [0; 16 * 1024];
    let amount = stream.read(&mut buffer).unwrap_or(0);
    (amount > 0).then(|| String::from_utf8_lossy(&buffer[..amount]).into_owned())
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let mark = format!("\"{name}\":\"");
    let begin = text.rfind(&mark).map_or(text.len(), |at| at + mark.len());
    text[begin..].split('"').next().unwrap_or_default()
}

struct Floor {
    host: String,
    orders: TcpStream,
    cycle: u64,
}

impl Floor {
    /// The last frame of a packet is the execution.
    fn react(&mut self, text: &str) {
        if field(text, "side") == "Buy" {
            self.sell(field(text, "execQty"));
        } else {
            self.cycle += 1;
            self.buy();
        }
        self.answer();
    }

    fn buy(&mut self) {
        self.send(
            &format!(
                r#"{{"category":"spot","symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"50","marketUnit":"quoteCoin","orderLinkId":"f-{}-0b-1"}}"#,
                self.cycle
            ),
        );
    }

    fn sell(&mut self, quantity: &str) {
        self.send(
            &format!(
                r#"{{"category":"spot","symbol":"BTCUSDT","side":"Sell","orderType":"Limit","qty":"{quantity}","price":"60600","timeInForce":"GTC","orderLinkId":"f-{}-0s-1"}}"#,
                self.cycle
            ),
        );
    }

    fn send(&mut self, body: &str) {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let mut mac = Hmac::<Sha256>::new_from_slice(b"secret").expect("any length does");
        mac.update(format!("{time}key5000{body}").as_bytes());
        let sign = hex::encode(mac.finalize().into_bytes());
        let text = format!(
            "POST /v5/order/create HTTP/1.1\r\nHost: {}\r\nX-BAPI-API-KEY: key\r\nX-BAPI-TIMESTAMP: {time}\r\n\
             X-BAPI-RECV-WINDOW: 5000\r\nX-BAPI-SIGN: {sign}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        self.orders.write_all(text.as_bytes()).expect("the venue listens");
    }

    /// Reads the answer; it comes in one piece.
    fn answer(&mut self) {
        let mut buffer = [0; 16 * 1024];
        assert!(self.orders.read(&mut buffer).expect("an answer") > 0, "the venue has closed the connection");
    }
}
