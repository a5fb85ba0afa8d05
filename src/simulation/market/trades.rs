//! Trades joined to candles of one minute: the columns of Bybit's archives of public trades.
//!
//! In: a header that has a price and no open (`timestamp,symbol,side,size,price,…` or `id,timestamp,price,volume,side`), then
//! one trade a line, in order of time. Out: a candle for each minute in which there was a trade. What can go wrong: a line
//! that holds no trade, or trades that are not in order.

use super::candle::Candle;
use super::columns::{Complaint, TIMESTAMP_NAMES, fields, read_moment, read_price, read_volume};
use crate::core::{Decimal, Timestamp};

const MINUTE: i64 = 60_000;

/// Where a trade's fields are in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TradeLayout {
    timestamp: usize,
    price: usize,
    size: Option<usize>,
}

impl TradeLayout {
    /// The order that a header names, if it is one of trades.
    pub(super) fn of_header(line: &str) -> Option<Self> {
        let names: Vec<String> = fields(line).map(str::to_ascii_lowercase).collect();
        let place = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        if place(&["open"]).is_some() {
            return None;
        }
        let (timestamp, price) = (place(&TIMESTAMP_NAMES)?, place(&["price"])?);
        Some(Self { timestamp, price, size: place(&["size", "volume", "qty", "quantity"]) })
    }

    fn read(self, line: &str) -> Result<(Timestamp, Decimal), Complaint> {
        let fields: Vec<&str> = fields(line).collect();
        let field = |place: usize, name| {
            let text = fields.get(place).copied().filter(|text| !text.is_empty());
            text.ok_or_else(|| (Some(name), "the field is missing".to_owned()))
        };
        let time = read_moment(field(self.timestamp, "timestamp")?).map_err(|wrong| (Some("timestamp"), wrong))?;
        let price = read_price(field(self.price, "price")?).map_err(|wrong| (Some("price"), wrong))?;
        if let Some(size) = self.size {
            // Not used, but a wrong one means that the line is not what it seems.
            read_volume(field(size, "size")?).map_err(|wrong| (Some("size"), wrong))?;
        }
        Ok((time, price))
    }
}

/// Trades becoming candles.
#[derive(Clone, Debug)]
pub(super) struct Minutes {
    layout: TradeLayout,
    last: Option<Timestamp>,
    /// The minute that more trades may belong to.
    open: Option<Candle>,
}

impl Minutes {
    pub(super) fn new(layout: TradeLayout) -> Self {
        Self { layout, last: None, open: None }
    }

    /// Takes a line; gives the candle of the minute before, if this one begins another.
    pub(super) fn take(&mut self, line: &str) -> Result<Option<Candle>, Complaint> {
        let (time, price) = self.layout.read(line)?;
        if let Some(last) = self.last.replace(time).filter(|last| *last > time) {
            let reason = format!("{time} comes after {last}: the trades must be in order of time, sort the lines");
            return Err((Some("timestamp"), reason));
        }
        let start = Timestamp(time.0 - time.0.rem_euclid(MINUTE));
        if let Some(candle) = self.open.as_mut().filter(|candle| candle.start == start) {
            candle.high = candle.high.max(price);
            candle.low = candle.low.min(price);
            candle.close = price;
            return Ok(None);
        }
        Ok(self.open.replace(Candle { start, open: price, high: price, low: price, close: price }))
    }

    /// The last minute, when there are no more trades.
    pub(super) fn end(&mut self) -> Option<Candle> {
        self.open.take()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::{Candles, MarketError, Recording};
    use super::*;
    use crate::temporary_folder::TemporaryFolder;

    const FUTURES: &str = "timestamp,symbol,side,size,price,tickDirection,trdMatchID,grossValue,homeNotional,foreignNotional\n\
                           1668038401.3712,BTCUSDT,Sell,0.012,15897.0,MinusTick,x,1.9e+10,0.012,190.7\n\
                           1668038459.9999,BTCUSDT,Buy,0.5,15999.5,PlusTick,x,1,1,1\n\
                           1668038459.9999,BTCUSDT,Buy,0.5,15800,MinusTick,x,1,1,1\n\
                           1668038700.0,BTCUSDT,Buy,1,15801,PlusTick,x,1,1,1\n";
    const SPOT: &str =
        "id,timestamp,price,volume,side\n1,1668038401371,15897.0,0.012,sell\n2,1668038460000,15898.1,1e-05,buy\n";

    fn candles(text: &str) -> Result<Vec<(i64, [String; 4])>, MarketError> {
        let mut candles = Candles::read("t.csv".to_owned(), Box::new(Cursor::new(text.as_bytes().to_vec())))?;
        let mut found = Vec::new();
        while let Some(candle) = candles.next_candle()? {
            let prices = [candle.open, candle.high, candle.low, candle.close];
            found.push((candle.start.0 / 1_000, prices.map(|price| price.to_string())));
        }
        Ok(found)
    }

    #[test]
    fn the_trades_of_a_minute_are_one_candle() {
        let prices = |prices: [&str; 4]| prices.map(str::to_owned);
        let first = (1_668_038_400, prices(["15897", "15999.5", "15800", "15800"]));
        let second = (1_668_038_700, prices(["15801"; 4]));
        assert_eq!(candles(FUTURES).unwrap(), [first, second], "a minute without trades is a gap");
        let spot = candles(SPOT).unwrap();
        assert_eq!(spot, [(1_668_038_400, prices(["15897"; 4])), (1_668_038_460, prices(["15898.1"; 4]))]);
    }

    #[test]
    fn a_recording_of_trades_is_that_of_their_candles() {
        let folder = TemporaryFolder::new("trades");
        let recording = Recording::read(&folder.write("t.csv", FUTURES), Decimal::new(1, 1)).unwrap();
        assert_eq!(recording.prices(), [[158_970, 158_000, 159_995, 158_000], [158_010; 4]]);
    }

    #[test]
    fn what_is_no_trade_is_named() {
        for (line, told) in [
            (
                "1668038399,15897,1",
                "line 3, column timestamp: 2022-11-09T23:59:59.000Z comes after 2022-11-10T00:00:01.000Z",
            ),
            ("1668038401,0,1", "line 3, column price: \"0\" is not a price"),
            ("1668038401,NaN,1", "line 3, column price: \"NaN\" is not a price"),
            ("1668038401,1,-1", "line 3, column size: \"-1\" is not a volume"),
            ("1668038401", "line 3, column price: the field is missing"),
            ("now,1,1", "line 3, column timestamp: \"now\" is not a time"),
            ("16680384.01.5,1,1", "line 3, column timestamp: "),
        ] {
            let text = format!("timestamp,price,size\n1668038401,15897,1\n{line}\n");
            let error = candles(&text).unwrap_err().to_string();
            assert!(error.contains(told), "{line}: {error}");
        }
        assert_eq!(candles("timestamp,price,size\n").unwrap_err().to_string(), "t.csv: holds no candle");
        assert_eq!(TradeLayout::of_header("timestamp,open,high,low,close,price"), None, "candles with one column more");
        assert_eq!(TradeLayout::of_header("symbol,price"), None);
    }
}
