//! Candles (klines): public, so no key is needed.

use std::time::Duration;

use super::{Client, parse};
use super::{Endpoint, Method};
use crate::bybit::query::Query;
use crate::bybit::wire::KlineAnswer;
use crate::core::{Decimal, Timestamp};
use crate::engine::ports::{AdjustableClock, Fault};
use crate::http::Transport;

endpoint!(KLINE, GET "/v5/market/kline", false);

/// The most candles that one answer holds.
pub const KLINES_A_PAGE: i64 = 1000;

/// How long the candles are that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// One minute.
    Minute,
    /// One day, from midnight UTC.
    Day,
}

impl Interval {
    /// From the start of one candle to that of the next.
    pub fn length(self) -> Duration {
        match self {
            Self::Minute => Duration::from_secs(60),
            Self::Day => Duration::from_secs(24 * 3600),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Minute => "1",
            Self::Day => "D",
        }
    }
}

/// One candle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kline {
    /// Its first moment.
    pub start: Timestamp,
    /// First price, in quote coin.
    pub open: Decimal,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Last price.
    pub close: Decimal,
    /// Traded base coin, as the exchange writes it.
    pub volume: String,
    /// Traded quote coin, as the exchange writes it.
    pub turnover: String,
}

impl<T: Transport, C: AdjustableClock> Client<T, C> {
    /// The candles that start at `from` or later, a thousand at most, oldest first; minutes in which the exchange has none
    /// are left out. The newest may still be open.
    ///
    /// # Errors
    /// [`Fault`], also when what comes is not in order or not within what was asked for.
    pub fn klines(&mut self, interval: Interval, from: Timestamp) -> Result<Vec<Kline>, Fault> {
        let pages = u32::try_from(KLINES_A_PAGE - 1).unwrap_or(0);
        let to = from.after(interval.length() * pages);
        let query = Query::new()
            .add("category", "spot")
            .add("symbol", &self.protocol.symbol)
            .add("interval", interval.name())
            .add("start", &from.0.to_string())
            .add("end", &to.0.to_string())
            .add("limit", &KLINES_A_PAGE.to_string());
        let body = self.ask(&KLINE, query)?;
        let mut klines = parse::<KlineAnswer<'_>>(&KLINE, &body)?.klines().map_err(|error| KLINE.unreadable(error))?;
        // Bybit sends the newest first.
        klines.reverse();
        let in_order = klines.windows(2).all(|pair| pair[0].start < pair[1].start);
        let within = klines.iter().all(|kline| (from..=to).contains(&kline.start));
        if !in_order || !within {
            return Err(KLINE.unreadable("the candles are not in order of time, or not those that were asked for"));
        }
        Ok(klines)
    }
}
