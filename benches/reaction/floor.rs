//! The floor: a client that turns fills into orders and does nothing else. One thread, two sockets, no journal, no books, no
//! checks; it finds what it needs in a message by searching for it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tungstenite::Message;

pub(crate) fn run(rest: &str, stream: &str) {
    let host = rest.trim_start_matches("http://").to_owned();
    let mut orders = TcpStream::connect(&host).expect("the venue");
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
    let mut client = Floor { host, cycle: 1 };
    let mut buffer = vec![0; 64 * 1024];
    client.buy(&mut orders);
    client.answer(&mut orders, &mut buffer);
    loop {
        let amount = raw.read(&mut buffer).unwrap_or(0);
        if amount == 0 {
            return;
        }
        // The last frame of a packet is the execution.
        let text = String::from_utf8_lossy(&buffer[..amount]);
        let (quantity, bought) = (field(&text, "execQty").to_owned(), field(&text, "side") == "Buy");
        if bought {
            client.sell(&mut orders, &quantity);
        } else {
            client.cycle += 1;
            client.buy(&mut orders);
        }
        client.answer(&mut orders, &mut buffer);
    }
}

fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let mark = format!("\"{name}\":\"");
    let begin = text.rfind(&mark).map_or(text.len(), |at| at + mark.len());
    text[begin..].split('"').next().unwrap_or_default()
}

struct Floor {
    host: String,
    cycle: u64,
}

impl Floor {
    fn buy(&self, orders: &mut TcpStream) {
        self.send(
            orders,
            &format!(
                r#"{{"category":"spot","symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"50","marketUnit":"quoteCoin","orderLinkId":"f-{}-0b-1"}}"#,
                self.cycle
            ),
        );
    }

    fn sell(&self, orders: &mut TcpStream, quantity: &str) {
        self.send(
            orders,
            &format!(
                r#"{{"category":"spot","symbol":"BTCUSDT","side":"Sell","orderType":"Limit","qty":"{quantity}","price":"60600","timeInForce":"GTC","orderLinkId":"f-{}-0s-1"}}"#,
                self.cycle
            ),
        );
    }

    fn send(&self, orders: &mut TcpStream, body: &str) {
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
        orders.write_all(text.as_bytes()).expect("the venue listens");
    }

    /// Reads the answer; it comes in one piece.
    fn answer(&self, orders: &mut TcpStream, buffer: &mut [u8]) {
        assert!(orders.read(buffer).expect("an answer") > 0, "the venue has closed the connection");
    }
}
