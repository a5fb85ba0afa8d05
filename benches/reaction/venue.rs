//! An exchange that knows one kind of cycle: a market buy, a limit sell, and fills when the bench says so. It takes the time.
//!
//! REST is answered by a thread for each connection, the stream by another one; fills are written by the bench's own thread.
//! Answers are ready-made texts, so that both clients meet the same, small delay.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use recompra::core::Decimal;
use tungstenite::Message;

/// A client that needs longer than this is stuck.
const STUCK: Duration = Duration::from_secs(30);
const PRICE: &str = "60000";

/// The order that rests, or was just sent.
struct Sent {
    arrived: Instant,
    link_id: String,
    buy: bool,
    quantity: Decimal,
    price: Decimal,
}

pub(crate) struct Venue {
    rest: SocketAddr,
    stream: SocketAddr,
    orders: Receiver<Sent>,
    /// Where fills are written, once the client has subscribed.
    pushes: Arc<Mutex<Option<TcpStream>>>,
    resting: Option<Sent>,
    fills: u64,
}

impl Venue {
    pub(crate) fn start() -> Self {
        let (rest, stream) = (listener(), listener());
        let (sender, orders) = mpsc::channel();
        let pushes = Arc::new(Mutex::new(None));
        let venue = Self {
            rest: rest.local_addr().expect("an address"),
            stream: stream.local_addr().expect("an address"),
            orders,
            pushes: Arc::clone(&pushes),
            resting: None,
            fills: 0,
        };
        std::thread::spawn(move || {
            for connection in rest.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || answer(connection, &sender));
            }
        });
        std::thread::spawn(move || {
            for connection in stream.incoming().flatten() {
                let pushes = Arc::clone(&pushes);
                std::thread::spawn(move || subscribe(connection, &pushes));
            }
        });
        venue
    }

    pub(crate) fn rest(&self) -> String {
        format!("http://{}", self.rest)
    }

    pub(crate) fn stream(&self) -> String {
        format!("ws://{}/v5/private", self.stream)
    }

    /// Fills what rests, and waits for the order that follows: from the one to the other.
    pub(crate) fn fill(&mut self, bought: bool) -> Duration {
        let order = match self.resting.take() {
            Some(order) => order,
            None => self.orders.recv_timeout(STUCK).expect("the client's first order"),
        };
        assert_eq!(order.buy, bought, "the client sends buy and sell in turn");
        self.fills += 1;
        let frame = frames(&order, self.fills);
        let mut pushes = loop {
            let pushes = self.pushes.lock().expect("no thread has panicked");
            if let Some(stream) = pushes.as_ref() {
                break stream.try_clone().expect("a file descriptor");
            }
            drop(pushes);
            std::thread::sleep(Duration::from_millis(1));
        };
        let begin = Instant::now();
        pushes.write_all(&frame).expect("the client listens");
        let next = self.orders.recv_timeout(STUCK).expect("the client's next order");
        let time = next.arrived - begin;
        self.resting = Some(next);
        time
    }
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").expect("a port")
}

fn now() -> u128 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis())
}

/// One packet: of a market buy the row that says it is filled, and its execution; of a sell the execution alone, which
/// says it too.
fn frames(order: &Sent, number: u64) -> Vec<u8> {
    let [row, execution] = texts(order, number);
    let mut bytes = Vec::new();
    if order.buy {
        frame(&mut bytes, &row);
    }
    frame(&mut bytes, &execution);
    bytes
}

/// The push of an order, and of its execution.
fn texts(order: &Sent, number: u64) -> [String; 2] {
    let Sent { link_id, quantity, price, .. } = order;
    let (value, now) = (price * quantity, now());
    let side = if order.buy { "Buy" } else { "Sell" };
    let common = format!(
        r#""category":"spot","symbol":"BTCUSDT","orderId":"id-{link_id}","orderLinkId":"{link_id}","side":"{side}","isLeverage":"0""#
    );
    [
        format!(
            r#"{{"id":"o{number}","topic":"order","creationTime":{now},"data":[{{{common},"blockTradeId":"","positionIdx":0,"price":"0","qty":"50","timeInForce":"IOC","orderType":"Market","orderStatus":"Filled","avgPrice":"{price}","leavesQty":"0","leavesValue":"0","cumExecQty":"{quantity}","cumExecValue":"{value}","cumExecFee":"0","rejectReason":"EC_NoError","cancelType":"UNKNOWN","stopOrderType":"","triggerPrice":"","takeProfit":"","stopLoss":"","reduceOnly":false,"closeOnTrigger":false,"createdTime":"{now}","updatedTime":"{now}","feeCurrency":"BTC"}}]}}"#
        ),
        format!(
            r#"{{"id":"e{number}","topic":"execution","creationTime":{now},"data":[{{{common},"orderPrice":"{price}","orderQty":"{quantity}","leavesQty":"0","orderType":"Limit","stopOrderType":"UNKNOWN","execId":"{number}","execPrice":"{price}","execQty":"{quantity}","execValue":"{value}","execFee":"0","feeRate":"0","feeCurrency":"USDT","execType":"Trade","execTime":"{now}","isMaker":true,"tradeIv":"","markIv":"","markPrice":"","indexPrice":"","underlyingPrice":"","blockTradeId":"","closedSize":"","seq":{number}}}]}}"#
        ),
    ]
}

/// Examples of both.
pub(crate) fn pushes() -> [String; 2] {
    let (quantity, price) = (Decimal::new(833, 6), Decimal::from(60_000));
    texts(&Sent { arrived: Instant::now(), link_id: "b-1-0b-1".to_owned(), buy: true, quantity, price }, 1)
}

/// A text frame of a server.
fn frame(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend([0x81, 126]);
    bytes.extend(u16::try_from(text.len()).expect("a short text").to_be_bytes());
    bytes.extend(text.as_bytes());
}

fn subscribe(connection: TcpStream, pushes: &Mutex<Option<TcpStream>>) {
    connection.set_nodelay(true).expect("a socket");
    let raw = connection.try_clone().expect("a file descriptor");
    let Ok(mut socket) = tungstenite::accept(connection) else { return };
    while let Ok(message) = socket.read() {
        let Message::Text(text) = message else { continue };
        let said: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let op = said["op"].as_str().unwrap_or_default();
        let answer = match op {
            "ping" => r#"{"op":"pong"}"#.to_owned(),
            op => format!(r#"{{"success":true,"ret_msg":"","op":"{op}","conn_id":"1"}}"#),
        };
        if socket.send(Message::text(answer)).is_err() {
            return;
        }
        if op == "subscribe" {
            *pushes.lock().expect("no thread has panicked") = Some(raw.try_clone().expect("a file descriptor"));
        }
    }
}

fn answer(mut connection: TcpStream, orders: &Sender<Sent>) {
    connection.set_nodelay(true).expect("a socket");
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let Ok(amount) = connection.read(&mut buffer) else { return };
        let arrived = Instant::now();
        if amount == 0 {
            return;
        }
        bytes.extend_from_slice(&buffer[..amount]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        if body.len() < length.unwrap_or(0) {
            continue;
        }
        let path = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
        if path == "/v5/order/create" {
            let sent = order(body, arrived);
            respond(&mut connection, &format!(r#"{{"orderId":"id-{}","orderLinkId":"{0}"}}"#, sent.link_id));
            if orders.send(sent).is_err() {
                return;
            }
        } else {
            respond(&mut connection, &result(&path));
        }
        bytes.clear();
    }
}

fn order(body: &str, arrived: Instant) -> Sent {
    let said: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let decimal = |name: &str| said[name].as_str().and_then(|text| text.parse::<Decimal>().ok());
    let buy = said["side"] == "Buy";
    let market: Decimal = PRICE.parse().expect("a price");
    let price = decimal("price").unwrap_or(market);
    let size = decimal("qty").expect("a quantity");
    let quantity = if buy { (size / market).trunc_with_scale(6) } else { size };
    let link_id = said["orderLinkId"].as_str().expect("a name").to_owned();
    Sent { arrived, link_id, buy, quantity, price }
}

/// What is answered to a question.
pub(crate) fn result(path: &str) -> String {
    let now = now();
    match path {
        "/v5/market/time" => format!(r#"{{"timeSecond":"{}","timeNano":"{now}000000"}}"#, now / 1000),
        "/v5/market/instruments-info" => r#"{"category":"spot","list":[{"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT","status":"Trading","lotSizeFilter":{"basePrecision":"0.000001","quotePrecision":"0.0000001","minOrderQty":"0.000011","maxOrderQty":"83","minOrderAmt":"5","maxOrderAmt":"8000000","maxLimitOrderQty":"83","maxMarketOrderQty":"41"},"priceFilter":{"tickSize":"0.01"}}]}"#.to_owned(),
        "/v5/market/tickers" => format!(r#"{{"category":"spot","list":[{{"symbol":"BTCUSDT","lastPrice":"{PRICE}","bid1Price":"{PRICE}","ask1Price":"{PRICE}"}}]}}"#),
        "/v5/account/wallet-balance" => r#"{"list":[{"accountType":"UNIFIED","coin":[{"coin":"USDT","walletBalance":"100000","locked":"0","spotBorrow":"0"}]}]}"#.to_owned(),
        "/v5/user/query-api" => r#"{"readOnly":0,"permissions":{"Spot":["SpotTrade"],"Wallet":[]},"ips":[],"expiredAt":"1970-01-01T00:00:00Z"}"#.to_owned(),
        _ => r#"{"category":"spot","list":[],"nextPageCursor":""}"#.to_owned(),
    }
}

fn respond(connection: &mut TcpStream, result: &str) {
    let body = format!(r#"{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":{}}}"#, now());
    let mut text = String::new();
    let _ = write!(
        text,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\
         X-Bapi-Limit: 20\r\nX-Bapi-Limit-Status: 19\r\n\r\n{body}",
        body.len()
    );
    let _ = connection.write_all(text.as_bytes());
}
