//! One candle, and the four points that it is played as.
//!
//! In: a candle, read or made. Out: its prices in the order in which they are played, in quote coin or in whole ticks.

use std::ops::Sub;
use std::time::Duration;

use super::PricePoint;
use crate::core::{Decimal, Timestamp, money};

/// Between the four points of a candle.
pub(super) const QUARTER: Duration = Duration::from_secs(15);

/// One minute of a market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candle {
    /// Its first moment.
    pub start: Timestamp,
    /// First price.
    pub open: Decimal,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Last price.
    pub close: Decimal,
}

/// A candle in whole ticks: its first moment, and its prices in the order in which they are played.
pub(super) type Row = (Timestamp, [u32; 4]);

/// The four points of a candle; [`super::candles`] says which.
pub fn points(candle: &Candle) -> [PricePoint; 4] {
    let prices = in_order(candle.open, candle.high, candle.low, candle.close);
    [0, 1, 2, 3].map(|quarter| PricePoint::new(moment(candle.start, quarter), prices[quarter]))
}

/// The four prices of a candle in the order in which they are played, in whatever unit they are counted.
pub(super) fn in_order<P: Copy + PartialOrd + Sub<Output = P>>(open: P, high: P, low: P, close: P) -> [P; 4] {
    let high_first = high - open < open - low;
    if high_first { [open, high, low, close] } else { [open, low, high, close] }
}

/// When one of the four prices is played.
pub(super) fn moment(start: Timestamp, quarter: usize) -> Timestamp {
    start.after(QUARTER * u32::try_from(quarter).unwrap_or(0))
}

/// A candle's prices in the order in which they are played; `None` if one is too large.
pub(super) fn in_ticks(candle: &Candle, tick_size: Decimal) -> Option<[u32; 4]> {
    let [open, second, third, close] = points(candle).map(|point| ticks(point.price, tick_size));
    Some([open?, second?, third?, close?])
}

/// A price as whole ticks, rounded down; `None` if it is too large.
pub(super) fn ticks(price: Decimal, tick_size: Decimal) -> Option<u32> {
    money::quotient_floor(price, tick_size, Decimal::ONE).and_then(|ticks| u32::try_from(ticks).ok())
}
