//! What Bybit says about the market: time, filters, prices, and the pushes of the public stream.

use serde::Deserialize;

use super::{FieldError, Text};
use crate::bybit::client::Kline;
use crate::core::instrument::Instrument;
use crate::core::{Decimal, Timestamp};
use crate::engine::ports::Ticker;

/// `/v5/market/time`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bybit) struct TimeAnswer<'a> {
    #[serde(borrow, default)]
    time_second: Text<'a>,
    #[serde(borrow, default)]
    time_nano: Text<'a>,
}

impl TimeAnswer<'_> {
    /// The exchange's time, to the millisecond.
    pub(in crate::bybit) fn time(&self) -> Result<Timestamp, FieldError> {
        if self.time_nano.is_absent() {
            let seconds = self.time_second.time("timeSecond")?;
            return Ok(Timestamp(seconds.0.saturating_mul(1_000)));
        }
        Ok(Timestamp(self.time_nano.time("timeNano")?.0 / 1_000_000))
    }
}

/// `/v5/market/instruments-info`.
#[derive(Deserialize)]
pub(in crate::bybit) struct InstrumentAnswer<'a> {
    #[serde(borrow)]
    list: Vec<InstrumentRow<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstrumentRow<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    #[serde(borrow, default)]
    base_coin: Text<'a>,
    #[serde(borrow, default)]
    quote_coin: Text<'a>,
    #[serde(borrow, default)]
    status: Text<'a>,
    #[serde(borrow)]
    lot_size_filter: LotSizeFilter<'a>,
    #[serde(borrow)]
    price_filter: PriceFilter<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LotSizeFilter<'a> {
    #[serde(borrow, default)]
    base_precision: Text<'a>,
    #[serde(borrow, default)]
    quote_precision: Text<'a>,
    #[serde(borrow, default)]
    min_order_amt: Text<'a>,
    /// Deprecated; stands in where the two newer fields are missing.
    #[serde(borrow, default)]
    max_order_qty: Text<'a>,
    #[serde(borrow, default)]
    max_limit_order_qty: Text<'a>,
    #[serde(borrow, default)]
    max_market_order_qty: Text<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PriceFilter<'a> {
    #[serde(borrow, default)]
    tick_size: Text<'a>,
}

impl InstrumentAnswer<'_> {
    /// The instrument of this symbol; `None` when the exchange lists none.
    pub(in crate::bybit) fn instrument(&self, symbol: &str) -> Result<Option<Instrument>, FieldError> {
        self.list.iter().find(|row| row.symbol.as_str() == symbol).map(InstrumentRow::instrument).transpose()
    }
}

impl InstrumentRow<'_> {
    fn instrument(&self) -> Result<Instrument, FieldError> {
        let lot = &self.lot_size_filter;
        let or_old = |text: &Text<'_>, field| {
            if text.is_absent() { lot.max_order_qty.decimal("maxOrderQty") } else { text.decimal(field) }
        };
        Ok(Instrument {
            symbol: self.symbol.required("symbol")?.to_owned(),
            base_coin: self.base_coin.required("baseCoin")?.to_owned(),
            quote_coin: self.quote_coin.required("quoteCoin")?.to_owned(),
            tick_size: step(&self.price_filter.tick_size, "tickSize")?,
            quantity_step: step(&lot.base_precision, "basePrecision")?,
            amount_step: step(&lot.quote_precision, "quotePrecision")?,
            min_notional: lot.min_order_amt.decimal("minOrderAmt")?,
            max_limit_quantity: or_old(&lot.max_limit_order_qty, "maxLimitOrderQty")?,
            max_market_quantity: or_old(&lot.max_market_order_qty, "maxMarketOrderQty")?,
            trading: self.status.required("status")? == "Trading",
        })
    }
}

/// A step divides: it must be positive.
fn step(text: &Text<'_>, field: &'static str) -> Result<Decimal, FieldError> {
    positive(text, field, "not above zero, as a step must be")
}

fn positive(text: &Text<'_>, field: &'static str, rule: &str) -> Result<Decimal, FieldError> {
    let value = text.decimal(field)?;
    if value > Decimal::ZERO { Ok(value) } else { Err(FieldError::unreadable(field, text.as_str(), rule)) }
}

fn price(text: &Text<'_>, field: &'static str) -> Result<Decimal, FieldError> {
    positive(text, field, "not above zero, as a price must be")
}

/// `/v5/market/tickers`.
#[derive(Deserialize)]
pub(in crate::bybit) struct TickerAnswer<'a> {
    #[serde(borrow)]
    list: Vec<TickerRow<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickerRow<'a> {
    #[serde(borrow)]
    symbol: Text<'a>,
    #[serde(borrow, default)]
    last_price: Text<'a>,
    #[serde(borrow, default)]
    bid1_price: Text<'a>,
    #[serde(borrow, default)]
    ask1_price: Text<'a>,
}

impl TickerAnswer<'_> {
    /// The prices of this symbol; `None` when the exchange lists none.
    pub(in crate::bybit) fn ticker(&self, symbol: &str) -> Result<Option<Ticker>, FieldError> {
        self.list.iter().find(|row| row.symbol.as_str() == symbol).map(TickerRow::ticker).transpose()
    }
}

impl TickerRow<'_> {
    fn ticker(&self) -> Result<Ticker, FieldError> {
        Ok(Ticker {
            last: price(&self.last_price, "lastPrice")?,
            // An empty side of the book, or one that is not told: what needs it asks for it.
            bid: price(&self.bid1_price, "bid1Price").ok(),
            ask: price(&self.ask1_price, "ask1Price").ok(),
        })
    }
}

/// `/v5/market/kline`: rows of start, open, high, low, close, volume and turnover.
#[derive(Deserialize)]
pub(in crate::bybit) struct KlineAnswer<'a> {
    #[serde(borrow)]
    list: Vec<Vec<Text<'a>>>,
}

impl KlineAnswer<'_> {
    /// The candles in the order in which they were sent.
    pub(in crate::bybit) fn klines(&self) -> Result<Vec<Kline>, FieldError> {
        self.list.iter().map(|row| kline(row)).collect()
    }
}

fn kline(row: &[Text<'_>]) -> Result<Kline, FieldError> {
    let [start, open, high, low, close, volume, turnover, ..] = row else {
        return Err(FieldError::missing("one of a kline's seven"));
    };
    let kline = Kline {
        start: start.time("startTime")?,
        open: price(open, "openPrice")?,
        high: price(high, "highPrice")?,
        low: price(low, "lowPrice")?,
        close: price(close, "closePrice")?,
        volume: amount(volume, "volume")?,
        turnover: amount(turnover, "turnover")?,
    };
    let holds = |price: Decimal| price >= kline.low && price <= kline.high;
    if !holds(kline.open) || !holds(kline.close) {
        return Err(FieldError::unreadable("lowPrice", low.as_str(), "not below the other prices of its kline"));
    }
    Ok(kline)
}

/// An amount that may be of any size: it is only passed on.
fn amount(text: &Text<'_>, field: &'static str) -> Result<String, FieldError> {
    let digits = text.required(field)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && digits.matches('.').count() < 2;
    if plain { Ok(digits.to_owned()) } else { Err(FieldError::unreadable(field, digits, "not an amount")) }
}

/// A push of `tickers.SYMBOL`: the last price (spot pushes no best prices here).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bybit) struct TickerPush<'a> {
    #[serde(borrow, default)]
    last_price: Text<'a>,
}

impl TickerPush<'_> {
    pub(in crate::bybit) fn last(&self) -> Result<Decimal, FieldError> {
        price(&self.last_price, "lastPrice")
    }
}

/// One row of a push of `publicTrade.SYMBOL`.
#[derive(Deserialize)]
pub(in crate::bybit) struct TradePush<'a> {
    #[serde(borrow, rename = "T", default)]
    time: Text<'a>,
    #[serde(borrow, rename = "p", default)]
    price: Text<'a>,
}

impl TradePush<'_> {
    pub(in crate::bybit) fn trade(&self) -> Result<(Timestamp, Decimal), FieldError> {
        Ok((self.time.time("T")?, price(&self.price, "p")?))
    }
}

/// A push of `orderbook.1.SYMBOL`: the best bid and ask, each a list of at most one (price, size).
#[derive(Deserialize)]
pub(in crate::bybit) struct OrderBook<'a> {
    #[serde(borrow, rename = "b", default)]
    bids: Vec<(Text<'a>, Text<'a>)>,
    #[serde(borrow, rename = "a", default)]
    asks: Vec<(Text<'a>, Text<'a>)>,
}

impl OrderBook<'_> {
    /// Best bid and ask, each where the push names one.
    pub(in crate::bybit) fn best(&self) -> Result<(Option<Decimal>, Option<Decimal>), FieldError> {
        Ok((best(&self.bids, "b")?, best(&self.asks, "a")?))
    }
}

/// The price of the first level that has a size: a size of zero takes a level away.
fn best(levels: &[(Text<'_>, Text<'_>)], field: &'static str) -> Result<Option<Decimal>, FieldError> {
    for (text, size) in levels {
        if !size.decimal(field)?.is_zero() {
            return price(text, field).map(Some);
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::money;

    const INSTRUMENT: &str = r#"{"category":"spot","list":[{"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT",
        "innovation":"0","status":"Trading","marginTrading":"utaOnly","lotSizeFilter":{"basePrecision":"0.000001",
        "quotePrecision":"0.0000001","minOrderQty":"0.000011","maxOrderQty":"83","minOrderAmt":"5",
        "maxOrderAmt":"8000000","maxLimitOrderQty":"83","maxMarketOrderQty":"41.5"},"priceFilter":
        {"tickSize":"0.01"},"riskParameters":{"priceLimitRatioX":"0.01","priceLimitRatioY":"0.02"}}]}"#;

    fn instrument(json: &str) -> Result<Option<Instrument>, String> {
        let answer: InstrumentAnswer<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        answer.instrument("BTCUSDT").map_err(|error| error.to_string())
    }

    #[test]
    fn the_filters_are_read() {
        let read = instrument(INSTRUMENT).unwrap().unwrap();
        assert_eq!(money::text(read.tick_size), "0.01");
        assert_eq!(money::text(read.quantity_step), "0.000001");
        assert_eq!(money::text(read.amount_step), "0.0000001");
        assert_eq!(money::text(read.max_market_quantity), "41.5");
        assert!(read.trading);
        assert!(!instrument(&INSTRUMENT.replace("Trading", "Closed")).unwrap().unwrap().trading);
    }

    #[test]
    fn a_step_of_zero_and_a_missing_filter_are_errors_that_name_the_field() {
        let zero = instrument(&INSTRUMENT.replace("\"0.01\"}", "\"0\"}")).unwrap_err();
        assert!(zero.contains("tickSize"), "{zero}");
        let missing = instrument(&INSTRUMENT.replace("minOrderAmt", "minimum")).unwrap_err();
        assert_eq!(missing, "field minOrderAmt: missing");
        let group = instrument(&INSTRUMENT.replace("priceFilter", "price")).unwrap_err();
        assert!(group.contains("priceFilter"), "{group}");
    }

    #[test]
    fn a_symbol_that_is_not_listed_is_none() {
        assert_eq!(instrument(r#"{"list":[]}"#), Ok(None));
        assert_eq!(instrument(&INSTRUMENT.replace("BTCUSDT", "ETHUSDT")), Ok(None));
    }

    #[test]
    fn klines_are_read_and_impossible_ones_refused() {
        let read = |json: &str| {
            let answer: KlineAnswer<'_> = serde_json::from_str(json).unwrap();
            answer.klines().map_err(|error| error.to_string())
        };
        let row =
            r#"{"symbol":"BTCUSDT","list":[["1670608800000","17071","17073","17027","17055.5","268611","15.74"]]}"#;
        let kline = read(row).unwrap().remove(0);
        assert_eq!((kline.start, money::text(kline.close)), (Timestamp(1_670_608_800_000), "17055.5".to_owned()));
        assert_eq!((kline.volume.as_str(), kline.turnover.as_str()), ("268611", "15.74"));
        assert!(read(&row.replace("17027", "17072")).unwrap_err().contains("lowPrice"));
        assert!(read(&row.replace("17071", "0")).unwrap_err().contains("openPrice"));
        assert!(read(&row.replace("268611", "1e9")).unwrap_err().contains("volume"));
        assert!(read(r#"{"list":[["1670608800000","1"]]}"#).unwrap_err().contains("seven"));
        assert_eq!(read(r#"{"list":[]}"#), Ok(vec![]));
    }

    #[test]
    fn a_book_level_of_size_zero_is_gone() {
        let book: OrderBook<'_> = serde_json::from_str(r#"{"b":[["10","0"]],"a":[["11","2"]]}"#).unwrap();
        assert_eq!(book.best(), Ok((None, Some(money::parse("11").unwrap()))));
    }

    #[test]
    fn the_time_is_taken_from_the_nanoseconds() {
        let time = |json| serde_json::from_str::<TimeAnswer<'_>>(json).unwrap().time();
        assert_eq!(
            time(r#"{"timeSecond":"1688639403","timeNano":"1688639403423213947"}"#),
            Ok(Timestamp(1_688_639_403_423))
        );
        assert_eq!(time(r#"{"timeSecond":"1688639403"}"#), Ok(Timestamp(1_688_639_403_000)));
        assert!(time("{}").is_err());
    }
}
