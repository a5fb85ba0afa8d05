//! `/v5/market/*`: the public endpoints.

use serde_json::{Value, json};

use super::{ApiResult, Parameters};
use crate::core::{Decimal, Timestamp, money};
use crate::simulation::api_error::ApiError;
use crate::simulation::book::{Bar, Book};
use crate::simulation::exchange::Exchange;

const MINUTE: i64 = 60_000;
/// Stands for a quantity without limit where a number must be shown, in base coin.
const PLENTY: i64 = 100;

pub(super) fn time(_exchange: &Exchange, _parameters: &Parameters, now: Timestamp) -> ApiResult {
    Ok(json!({
        "timeSecond": now.0.div_euclid(1000).to_string(),
        "timeNano": format!("{}000000", now.0),
    }))
}

fn books<'a>(exchange: &'a Exchange, parameters: &Parameters) -> Result<Vec<&'a Book>, ApiError> {
    parameters.spot()?;
    match parameters.text("symbol")? {
        None => Ok(exchange.books().iter().collect()),
        Some(symbol) => exchange.book(symbol).map(|book| vec![book]).ok_or_else(|| ApiError::unknown_symbol(symbol)),
    }
}

fn one_book<'a>(exchange: &'a Exchange, parameters: &Parameters) -> Result<&'a Book, ApiError> {
    parameters.spot()?;
    let symbol = parameters.required("symbol")?;
    exchange.book(symbol).ok_or_else(|| ApiError::unknown_symbol(symbol))
}

pub(super) fn instruments(exchange: &Exchange, parameters: &Parameters, _now: Timestamp) -> ApiResult {
    let rows: Vec<Value> = books(exchange, parameters)?.into_iter().map(instrument).collect();
    Ok(json!({ "category": "spot", "list": rows, "nextPageCursor": "" }))
}

fn instrument(book: &Book) -> Value {
    let listing = book.listing();
    let instrument = &listing.instrument;
    let ratio = money::text(listing.price_limit_ratio);
    json!({
        "symbol": instrument.symbol,
        "baseCoin": instrument.base_coin,
        "quoteCoin": instrument.quote_coin,
        "innovation": "0",
        "symbolType": "",
        "status": if instrument.trading { "Trading" } else { "Closed" },
        "marginTrading": "none",
        "stTag": "0",
        "lotSizeFilter": {
            "basePrecision": money::text(instrument.quantity_step),
            "quotePrecision": money::text(instrument.amount_step),
            "minOrderQty": money::text(instrument.quantity_step),
            "maxOrderQty": money::text(instrument.max_limit_quantity),
            "minOrderAmt": money::text(instrument.min_notional),
            "maxOrderAmt": "8000000",
            "maxLimitOrderQty": money::text(instrument.max_limit_quantity),
            "maxMarketOrderQty": money::text(instrument.max_market_quantity),
            "postOnlyMaxLimitOrderSize": money::text(instrument.max_limit_quantity),
        },
        "priceFilter": { "tickSize": money::text(instrument.tick_size) },
        "riskParameters": { "priceLimitRatioX": ratio, "priceLimitRatioY": ratio },
    })
}

/// What the last 24 hours looked like.
fn last_day(book: &Book, now: Timestamp) -> Bar {
    let since = Timestamp(now.0 - 24 * 60 * MINUTE);
    let begin = book.bars().partition_point(|bar| bar.start < since);
    let mut bars = book.bars().range(begin..);
    let mut day = bars.next().cloned().unwrap_or(Bar::new(since, book.bid()));
    bars.for_each(|bar| day.extend(bar));
    day
}

/// A ticker as REST and the public stream show it; the stream's has no best bid and ask.
pub(in crate::simulation) fn ticker(book: &Book, now: Timestamp, with_quotes: bool) -> Value {
    let day = last_day(book, now);
    let change = (book.bid() - day.open).checked_div(day.open).unwrap_or_default().round_dp(4);
    let mut row = json!({
        "symbol": book.listing().instrument.symbol,
        "lastPrice": money::text(book.bid()),
        "prevPrice24h": money::text(day.open),
        "price24hPcnt": money::text(change),
        "highPrice24h": money::text(day.high),
        "lowPrice24h": money::text(day.low),
        "volume24h": money::text(day.volume),
        "turnover24h": money::text(day.turnover),
        "usdIndexPrice": money::text(book.bid()),
    });
    if with_quotes {
        row["bid1Price"] = money::text(book.bid()).into();
        row["ask1Price"] = money::text(book.ask()).into();
        row["bid1Size"] = shown_size(book).into();
        row["ask1Size"] = shown_size(book).into();
    }
    row
}

/// The quantity at the best prices, as a text.
pub(in crate::simulation) fn shown_size(book: &Book) -> String {
    money::text(book.liquidity().unwrap_or(Decimal::from(PLENTY)))
}

pub(super) fn tickers(exchange: &Exchange, parameters: &Parameters, now: Timestamp) -> ApiResult {
    let rows: Vec<Value> = books(exchange, parameters)?.into_iter().map(|book| ticker(book, now, true)).collect();
    Ok(json!({ "category": "spot", "list": rows }))
}

pub(super) fn orderbook(exchange: &Exchange, parameters: &Parameters, now: Timestamp) -> ApiResult {
    let book = one_book(exchange, parameters)?;
    let size = shown_size(book);
    Ok(json!({
        "s": book.listing().instrument.symbol,
        "b": [[money::text(book.bid()), size]],
        "a": [[money::text(book.ask()), size]],
        "ts": now.0,
        "u": now.0,
        "seq": now.0,
        "cts": now.0,
    }))
}

/// The last trade of the market; there is no tape of those before.
pub(super) fn recent_trade(exchange: &Exchange, parameters: &Parameters, now: Timestamp) -> ApiResult {
    let book = one_book(exchange, parameters)?;
    let row = json!({
        "execId": now.0.to_string(),
        "symbol": book.listing().instrument.symbol,
        "price": money::text(book.bid()),
        "size": shown_size(book),
        "side": "Sell",
        "time": now.0.to_string(),
        "isBlockTrade": false,
        "isRPITrade": false,
    });
    Ok(json!({ "category": "spot", "list": [row] }))
}

/// Bars of the asked interval, newest first, out of one-minute bars.
pub(super) fn kline(exchange: &Exchange, parameters: &Parameters, _now: Timestamp) -> ApiResult {
    let book = one_book(exchange, parameters)?;
    let length = interval(parameters.required("interval")?)?;
    let limit = parameters.limit(1000, 200)?;
    let from = parameters.integer("start")?.unwrap_or(i64::MIN);
    let to = parameters.integer("end")?.unwrap_or(i64::MAX);
    let rows: Vec<Value> = merge(book, length)
        .into_iter()
        .rev()
        .filter(|bar| bar.start.0 >= from && bar.start.0 <= to)
        .take(limit)
        .map(|bar| {
            let numbers = [bar.open, bar.high, bar.low, bar.close, bar.volume, bar.turnover];
            let mut row = vec![bar.start.0.to_string()];
            row.extend(numbers.into_iter().map(money::text));
            Value::from(row)
        })
        .collect();
    Ok(json!({ "category": "spot", "symbol": book.listing().instrument.symbol, "list": rows }))
}

/// An interval's length in milliseconds.
fn interval(name: &str) -> Result<i64, ApiError> {
    match name {
        "1" | "3" | "5" | "15" | "30" | "60" | "120" | "240" | "360" | "720" => {
            Ok(name.parse::<i64>().unwrap_or(1) * MINUTE)
        }
        "D" => Ok(24 * 60 * MINUTE),
        _ => Err(ApiError::parameter(format!("interval {name:?} is not supported: 1 3 5 15 30 60 120 240 360 720 D"))),
    }
}

fn merge(book: &Book, length: i64) -> Vec<Bar> {
    let mut merged: Vec<Bar> = Vec::new();
    for bar in book.bars() {
        let start = Timestamp(bar.start.0 - bar.start.0.rem_euclid(length));
        match merged.last_mut() {
            Some(last) if last.start == start => last.extend(bar),
            _ => merged.push(Bar { start, ..bar.clone() }),
        }
    }
    merged
}
