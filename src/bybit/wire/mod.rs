//! Bybit's field names, and nowhere else.
//!
//! Goes in: JSON as Bybit writes it. Comes out: the core's words. Unknown fields are ignored, `""` means absent, and
//! a field that is missing or unreadable is an error that names it.

mod account;
mod market;
mod order;
mod text;

pub(super) use account::{BalanceAnswer, KeyAnswer};
pub(super) use market::{InstrumentAnswer, KlineAnswer, OrderBook, TickerAnswer, TickerPush, TimeAnswer, TradePush};
pub(super) use order::{CancelRequest, CreateRequest, Created, DemoMoneyRequest, ExecutionRow, OrderRow};
pub(super) use text::{FieldError, Text};

use serde::Deserialize;

/// The first look at an answer: did Bybit do it?
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(rename = "retCode")]
    pub(super) code: i64,
    #[serde(borrow, rename = "retMsg", default)]
    pub(super) message: Text<'a>,
}

/// The second look, once the code is 0.
#[derive(Deserialize)]
pub(super) struct Answer<R> {
    pub(super) result: R,
}

/// One page of a list.
#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
pub(super) struct Page<'a, R> {
    pub(super) list: Vec<R>,
    #[serde(borrow, rename = "nextPageCursor", default)]
    pub(super) cursor: Text<'a>,
}
