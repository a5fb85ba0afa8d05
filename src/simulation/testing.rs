//! Short words for the exchange's tests.

use std::collections::BTreeMap;
use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::account::{Push, Rows};
use super::exchange::{Exchange, OrderRef};
use super::hub::Hub;
use super::market::PricePoint;
use super::order::{Fill, Kind, NewOrder, Order, TimeInForce};
use super::settings::{AccountSettings, Settings};
use crate::core::order::Side;
use crate::core::{Decimal, Timestamp, money};
use crate::http::{Method, Request};

/// When the tests take place, unless they say otherwise.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);
pub(crate) const BTC: &str = "BTCUSDT";

pub(crate) fn d(text: &str) -> Decimal {
    money::parse(text).unwrap()
}

/// Settings with one account that owns 10,000 USDT and 1 BTC; the market is at 60,000.
pub(crate) fn settings() -> Settings {
    let account = AccountSettings {
        balances: BTreeMap::from([("BTC".to_owned(), Decimal::ONE), ("USDT".to_owned(), d("10000"))]),
        ..AccountSettings::new("paper", "paper", "USDT", Decimal::ZERO)
    };
    Settings { accounts: vec![account], ..Settings::default() }
}

/// The body of a market order for 50 USDT.
pub(crate) const ORDER: &str = r#"{"category":"spot","symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"50"}"#;

/// An exchange whose clock stands still.
pub(crate) fn hub() -> Arc<Hub> {
    Hub::new(exchange(), Arc::new(|| NOW))
}

pub(crate) fn exchange() -> Exchange {
    Exchange::new(settings())
}

pub(crate) fn order(side: Side, kind: Kind, quantity: &str) -> NewOrder {
    NewOrder { symbol: BTC.to_owned(), side, kind, quantity: d(quantity), link_id: String::new() }
}

pub(crate) fn limit_as(side: Side, price: &str, quantity: &str, time_in_force: TimeInForce) -> NewOrder {
    order(side, Kind::Limit { price: d(price), time_in_force }, quantity)
}

pub(crate) fn limit(side: Side, price: &str, quantity: &str) -> NewOrder {
    limit_as(side, price, quantity, TimeInForce::Gtc)
}

pub(crate) fn named(order: NewOrder, link_id: &str) -> NewOrder {
    NewOrder { link_id: link_id.to_owned(), ..order }
}

/// Places an order of the first account that is taken, and gives it as it is afterwards.
pub(crate) fn place(exchange: &mut Exchange, order: NewOrder) -> Order {
    let id = exchange.create(0, order, NOW).unwrap().id;
    found(exchange, id)
}

/// The code with which an order of the first account is refused.
pub(crate) fn refused(exchange: &mut Exchange, order: NewOrder) -> i64 {
    exchange.create(0, order, NOW).unwrap_err().code
}

pub(crate) fn found(exchange: &Exchange, id: u64) -> Order {
    exchange.orders().find(|order| order.id == id).cloned().unwrap()
}

pub(crate) fn by_link(name: &str) -> OrderRef {
    OrderRef::Link(name.to_owned())
}

pub(crate) fn move_to(exchange: &mut Exchange, price: &str) -> bool {
    exchange.advance(BTC, &PricePoint::new(NOW, d(price)), NOW)
}

/// Moves to a price at which only so much base coin can be traded.
pub(crate) fn move_to_thin(exchange: &mut Exchange, price: &str, liquidity: &str) -> bool {
    exchange.advance(BTC, &PricePoint { liquidity: Some(d(liquidity)), ..PricePoint::new(NOW, d(price)) }, NOW)
}

/// What the first account has free of a coin, and locked.
pub(crate) fn free_and_locked(exchange: &Exchange, coin: &str) -> (Decimal, Decimal) {
    let holding = exchange.accounts()[0].holding(coin);
    (holding.free(), holding.locked)
}

pub(crate) fn fills(pushes: &[Push]) -> Vec<Fill> {
    pushes
        .iter()
        .filter_map(|push| match &push.rows {
            Rows::Executions(fills) => Some(fills.clone()),
            _ => None,
        })
        .flatten()
        .collect()
}

pub(crate) fn sign(secret: &str, text: &str) -> String {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// What the default key's client says first on a private stream.
pub(crate) fn auth(expires: i64) -> String {
    let sign = sign("paper", &format!("GET/realtime{expires}"));
    format!(r#"{{"req_id":"7","op":"auth","args":["paper",{expires},"{sign}"]}}"#)
}

/// A signed request with the default key; `payload` is the query or the body.
pub(crate) fn signed(method: Method, path: &str, payload: &str, at: Timestamp) -> Request {
    let stamp = at.0.to_string();
    let sign = sign("paper", &format!("{stamp}paper5000{payload}"));
    let (query, body) = match method {
        Method::Get => (payload, ""),
        Method::Post => ("", payload),
    };
    Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        body: body.to_owned(),
        headers: vec![
            ("X-BAPI-API-KEY", "paper".to_owned()),
            ("X-BAPI-TIMESTAMP", stamp),
            ("X-BAPI-RECV-WINDOW", "5000".to_owned()),
            ("X-BAPI-SIGN", sign),
        ],
    }
}
