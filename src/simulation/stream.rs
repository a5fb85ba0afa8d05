//! The server's side of Bybit's streams, as a state machine without sockets: texts in, texts out.
//!
//! ```text
//! /v5/private       connected ──auth──▶ authenticated ──subscribe──▶ pushes of order, execution, wallet
//! /v5/public/spot   connected ──subscribe──▶ tickers, publicTrade, orderbook.1
//! ```
//!
//! Give each text that arrives to [`Session::receive`] and send what it returns, in that order. Offer each
//! push of the exchange to [`Session::private_message`], and after each move of the market ask
//! [`Session::public_messages`]. Nothing that arrives can be wrong enough to end a session.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::account::{Push, Rows};
use super::api::{self, ticker};
use super::book::Book;
use super::exchange::Exchange;
use super::wire;
use crate::core::{Timestamp, money};

/// Topics in one subscription of the public spot stream.
const MOST_PUBLIC_ARGS: usize = 10;
/// Bytes of one message from a client; the server drops longer ones.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// Which stream a session is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// `/v5/private`.
    Private,
    /// `/v5/public/spot`.
    Public,
}

impl Channel {
    /// The channel of a path.
    pub fn of_path(path: &str) -> Option<Self> {
        match path {
            "/v5/private" => Some(Self::Private),
            "/v5/public/spot" => Some(Self::Public),
            _ => None,
        }
    }
}

/// One connection to a stream.
#[derive(Debug)]
pub struct Session {
    channel: Channel,
    connection: String,
    account: Option<usize>,
    topics: BTreeSet<String>,
}

impl Session {
    /// A connection on which nothing was said. `connection` is its `conn_id`.
    pub fn new(channel: Channel, connection: String) -> Self {
        Self { channel, connection, account: None, topics: BTreeSet::new() }
    }

    /// Whose pushes it gets, once it has authenticated.
    pub fn account(&self) -> Option<usize> {
        self.account
    }

    /// Which stream it is on.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Takes one text of the client and gives the answers.
    pub fn receive(&mut self, text: &str, exchange: &Exchange, now: Timestamp) -> Vec<String> {
        let request = match serde_json::from_str(text) {
            Ok(Value::Object(request)) => request,
            _ => return vec![self.answer("", &Map::new(), Err("Params Error: not a JSON object"))],
        };
        let op = request.get("op").and_then(Value::as_str).unwrap_or_default();
        match op {
            "ping" => vec![self.pong(&request, now)],
            "auth" if self.channel == Channel::Private => {
                let result = self.authenticate(&request, exchange, now);
                vec![self.answer("auth", &request, result)]
            }
            "subscribe" => self.subscribe(&request, exchange, now),
            "unsubscribe" => {
                let result = arguments(&request).map(|topics| {
                    for topic in topics {
                        self.topics.remove(topic);
                    }
                });
                vec![self.answer("unsubscribe", &request, result)]
            }
            _ => vec![self.answer(op, &request, Err("Params Error: op is not supported"))],
        }
    }

    fn pong(&self, request: &Map<String, Value>, now: Timestamp) -> String {
        let id = request.get("req_id").cloned().unwrap_or_else(|| Value::from(""));
        let connection = &self.connection;
        match self.channel {
            Channel::Private => {
                json!({ "req_id": id, "op": "pong", "args": [now.0.to_string()], "conn_id": connection })
            }
            Channel::Public => {
                json!({ "success": true, "ret_msg": "pong", "conn_id": connection, "req_id": id, "op": "ping" })
            }
        }
        .to_string()
    }

    fn answer(&self, op: &str, request: &Map<String, Value>, result: Result<(), &str>) -> String {
        let mut answer = json!({
            "success": result.is_ok(),
            "ret_msg": result.err().unwrap_or_default(),
            "op": op,
            "conn_id": self.connection,
        });
        if let (Some(id), Value::Object(fields)) = (request.get("req_id"), &mut answer) {
            fields.insert("req_id".to_owned(), id.clone());
        }
        answer.to_string()
    }

    fn authenticate(
        &mut self,
        request: &Map<String, Value>,
        exchange: &Exchange,
        now: Timestamp,
    ) -> Result<(), &'static str> {
        const MALFORMED: &str = "Params Error: args must be key, expires and signature";
        let args = request.get("args").and_then(Value::as_array).ok_or(MALFORMED)?;
        let [Value::String(key), expires, Value::String(sign)] = args.as_slice() else { return Err(MALFORMED) };
        let expires = match expires {
            Value::String(text) => text.clone(),
            number => number.to_string(),
        };
        let moment: i64 = expires.parse().map_err(|_| MALFORMED)?;
        if moment <= now.0 {
            return Err("Request expired, please check your timestamp.");
        }
        let account = exchange.account_of_key(key).ok_or("API key is invalid.")?;
        let secret = &exchange.accounts()[account].secret;
        if !api::is_signed(secret, &format!("GET/realtime{expires}"), sign) {
            return Err("error sign! please check your signature generation algorithm.");
        }
        self.account = Some(account);
        Ok(())
    }

    fn subscribe(&mut self, request: &Map<String, Value>, exchange: &Exchange, now: Timestamp) -> Vec<String> {
        let topics: Vec<String> =
            match arguments(request).and_then(|topics| self.check(&topics, exchange).map(|()| topics)) {
                Ok(topics) => topics.into_iter().map(str::to_owned).collect(),
                Err(reason) => return vec![self.answer("subscribe", request, Err(reason))],
            };
        let mut answers = vec![self.answer("subscribe", request, Ok(()))];
        for topic in topics {
            answers.extend(public_message(&topic, exchange, now));
            self.topics.insert(topic);
        }
        answers
    }

    fn check(&self, topics: &[&str], exchange: &Exchange) -> Result<(), &'static str> {
        const UNKNOWN: &str = "Params Error: handler not found for topic";
        match self.channel {
            Channel::Private if self.account.is_none() => Err("Request not authorized"),
            Channel::Private => {
                if !topics.iter().all(|topic| is_private(topic)) {
                    return Err(UNKNOWN);
                }
                let categorised = topics.iter().filter(|topic| topic.contains('.')).count();
                if categorised == 0 || categorised == topics.len() {
                    Ok(())
                } else {
                    Err("Params Error: plain and categorised topics cannot be mixed in one request")
                }
            }
            Channel::Public if topics.len() > MOST_PUBLIC_ARGS => Err("Params Error: args size > 10"),
            Channel::Public if topics.iter().all(|topic| public_book(topic, exchange).is_some()) => Ok(()),
            Channel::Public => Err(UNKNOWN),
        }
    }

    /// The message that a push of this session's account makes, if its topic is subscribed.
    pub fn private_message(&self, push: &Push, exchange: &Exchange) -> Option<String> {
        let name = topic_of(&push.rows);
        let topic = self.topics.iter().find(|topic| topic.strip_suffix(".spot").unwrap_or(topic.as_str()) == name)?;
        Some(wire::push(push, topic, exchange))
    }

    /// What there is to say after a move of one market.
    pub fn public_messages(&self, symbol: &str, exchange: &Exchange, now: Timestamp) -> Vec<String> {
        if self.channel != Channel::Public {
            return Vec::new();
        }
        let moved = self.topics.iter().filter(|topic| topic.rsplit('.').next() == Some(symbol));
        moved.filter_map(|topic| public_message(topic, exchange, now)).collect()
    }
}

/// Whether the push is one that tells of trading (`order`, `execution`), not of money.
pub(super) fn is_trading(push: &Push) -> bool {
    !matches!(push.rows, Rows::Wallet(_))
}

fn topic_of(rows: &Rows) -> &'static str {
    match rows {
        Rows::Orders(_) => "order",
        Rows::Executions(_) => "execution",
        Rows::Wallet(_) => "wallet",
    }
}

fn is_private(topic: &str) -> bool {
    matches!(topic, "order" | "order.spot" | "execution" | "execution.spot" | "wallet" | "position")
}

fn arguments(request: &Map<String, Value>) -> Result<Vec<&str>, &'static str> {
    const MALFORMED: &str = "Params Error: args must be a list of topics";
    let args = request.get("args").and_then(Value::as_array).filter(|args| !args.is_empty()).ok_or(MALFORMED)?;
    args.iter().map(|arg| arg.as_str().ok_or(MALFORMED)).collect()
}

/// The market of a public topic.
fn public_book<'a>(topic: &str, exchange: &'a Exchange) -> Option<&'a Book> {
    let (name, symbol) = topic.rsplit_once('.')?;
    if matches!(name, "tickers" | "publicTrade" | "orderbook.1") { exchange.book(symbol) } else { None }
}

/// A public topic's message of this moment. Each is a whole snapshot.
fn public_message(topic: &str, exchange: &Exchange, now: Timestamp) -> Option<String> {
    let book = public_book(topic, exchange)?;
    let symbol = &book.listing().instrument.symbol;
    let (price, size) = (money::text(book.bid()), api::shown_size(book));
    let data = match topic.split('.').next()? {
        "tickers" => ticker(book, now, false),
        "publicTrade" => json!([{
            "i": now.0.to_string(), "T": now.0, "p": price, "v": size, "S": "Sell", "s": symbol, "BT": false, "RPI": false,
        }]),
        _ => json!({
            "s": symbol, "b": [[price, size]], "a": [[money::text(book.ask()), size]], "u": now.0, "seq": now.0,
        }),
    };
    let message = json!({ "topic": topic, "ts": now.0, "cts": now.0, "cs": now.0, "type": "snapshot", "data": data });
    Some(message.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::order::Side;
    use crate::simulation::order::Kind;
    use crate::simulation::testing::{NOW, auth, exchange, named, order};

    fn say(session: &mut Session, text: &str) -> Value {
        let answers = session.receive(text, &exchange(), NOW);
        serde_json::from_str(&answers[0]).unwrap()
    }

    fn private() -> Session {
        let mut session = Session::new(Channel::Private, "c1".to_owned());
        assert_eq!(say(&mut session, &auth(NOW.0 + 1000))["success"], true);
        session
    }

    #[test]
    fn authentication_checks_key_expiry_and_signature() {
        let mut session = Session::new(Channel::Private, "c1".to_owned());
        assert_eq!(say(&mut session, r#"{"op":"subscribe","args":["order"]}"#)["success"], false);
        assert_eq!(say(&mut session, &auth(NOW.0))["success"], false, "expired");
        assert_eq!(say(&mut session, &auth(NOW.0 + 1).replace("paper", "other"))["success"], false);
        let wrong = auth(NOW.0 + 1000).replace(&(NOW.0 + 1000).to_string(), &(NOW.0 + 1001).to_string());
        assert_eq!(say(&mut session, &wrong)["success"], false);
        let answer = say(&mut session, &auth(NOW.0 + 1000));
        let expected = json!({ "success": true, "ret_msg": "", "op": "auth", "conn_id": "c1", "req_id": "7" });
        assert_eq!(answer, expected);
        assert_eq!(session.account(), Some(0));
    }

    #[test]
    fn plain_and_categorised_topics_are_taken_but_not_mixed() {
        for (args, taken) in [
            (r#"["order","execution","wallet","position"]"#, true),
            (r#"["order.spot","execution.spot"]"#, true),
            (r#"["order","execution.spot"]"#, false),
            (r#"["order.linear"]"#, false),
            (r#"["greeks"]"#, false),
            ("[]", false),
            ("[1]", false),
        ] {
            let answer = say(&mut private(), &format!(r#"{{"op":"subscribe","args":{args}}}"#));
            assert_eq!(answer["success"], taken, "{args}");
        }
    }

    #[test]
    fn both_streams_answer_a_ping_in_their_own_form() {
        let answer = say(&mut private(), r#"{"op":"ping","req_id":"p"}"#);
        assert_eq!((&answer["op"], &answer["req_id"]), (&json!("pong"), &json!("p")));
        let mut public = Session::new(Channel::Public, "c2".to_owned());
        let answer = say(&mut public, r#"{"op":"ping"}"#);
        assert_eq!(
            (&answer["op"], &answer["ret_msg"], &answer["success"]),
            (&json!("ping"), &json!("pong"), &json!(true))
        );
    }

    #[test]
    fn what_is_no_request_is_answered_and_not_fatal() {
        let mut session = private();
        for text in ["", "ping", "[]", "{", r#"{"op":"dance"}"#, r#"{"op":"auth","args":7}"#] {
            assert_eq!(say(&mut session, text)["success"], false, "{text}");
        }
        assert_eq!(say(&mut session, r#"{"op":"subscribe","args":["order"]}"#)["success"], true);
    }

    #[test]
    fn pushes_go_out_under_the_subscribed_name_and_only_if_subscribed() {
        let mut exchange = exchange();
        exchange.create(0, named(order(Side::Buy, Kind::MarketQuote, "50"), "a"), NOW).unwrap();
        let pushes = exchange.take_pushes(0);
        let mut session = private();
        say(&mut session, r#"{"op":"subscribe","args":["order.spot","execution.spot"]}"#);
        let messages: Vec<Value> = pushes
            .iter()
            .filter_map(|push| session.private_message(push, &exchange))
            .map(|text| serde_json::from_str(&text).unwrap())
            .collect();
        let topics: Vec<&Value> = messages.iter().map(|message| &message["topic"]).collect();
        assert_eq!(topics, ["execution.spot", "order.spot"]);
        let order = &messages[1]["data"][0];
        assert_eq!((&order["category"], &order["orderLinkId"]), (&json!("spot"), &json!("a")));
        assert_eq!(messages[1]["creationTime"], NOW.0);
        say(&mut session, r#"{"op":"unsubscribe","args":["order.spot"]}"#);
        assert_eq!(pushes.iter().filter_map(|push| session.private_message(push, &exchange)).count(), 1);
    }

    #[test]
    fn the_public_stream_sends_snapshots_at_subscription_and_at_each_move() {
        let exchange = exchange();
        let mut session = Session::new(Channel::Public, "c2".to_owned());
        let args = r#"["tickers.BTCUSDT","publicTrade.BTCUSDT","orderbook.1.BTCUSDT"]"#;
        let answers = session.receive(&format!(r#"{{"op":"subscribe","args":{args}}}"#), &exchange, NOW);
        assert_eq!(answers.len(), 4);
        assert!(answers[1].contains("\"lastPrice\":\"60000\""));
        assert_eq!(session.public_messages("BTCUSDT", &exchange, NOW).len(), 3);
        assert_eq!(session.public_messages("ETHUSDT", &exchange, NOW).len(), 0);
        let unknown = say(&mut session, r#"{"op":"subscribe","args":["tickers.NONE"]}"#);
        assert_eq!(unknown["success"], false);
        let many = ["\"tickers.BTCUSDT\""; 11].join(",");
        assert_eq!(say(&mut session, &format!(r#"{{"op":"subscribe","args":[{many}]}}"#))["success"], false);
    }
}
