//! Where prices come from: a sequence of price points, one instrument's market.
//!
//! A source knows nothing of the exchange; it is read by whoever moves the market ([`super::driver`],
//! [`super::lockstep`]).
//!
//! Of the files about candles, each knows only those before it: `candle`, `columns`, `plain` and `trades`, `candles`,
//! `recording`, `cache`.

mod cache;
mod candle;
pub mod candles;
mod columns;
mod plain;
pub mod random_walk;
pub mod recording;
mod trades;

use std::fmt;

pub use candles::Candles;
pub use random_walk::RandomWalk;
pub use recording::{Path, Recording, Tape};

use crate::core::{Decimal, Timestamp};

/// The market at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PricePoint {
    /// By the market's own clock; points of one market never go back in time.
    pub time: Timestamp,
    /// The best bid and last trade, in quote coin.
    pub price: Decimal,
    /// The base quantity that can be traded until the next point; `None` is unlimited.
    pub liquidity: Option<Decimal>,
}

impl PricePoint {
    /// A point with unlimited liquidity.
    pub fn new(time: Timestamp, price: Decimal) -> Self {
        Self { time, price, liquidity: None }
    }
}

/// Why a market cannot go on: its file, and where in it what is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketError {
    /// The file's name as it was given.
    pub file: String,
    /// The line, from 1; none if the whole file is meant.
    pub line: Option<u64>,
    /// The column's name; none if the whole line is meant.
    pub column: Option<&'static str>,
    /// What is wrong, and what is allowed.
    pub reason: String,
}

impl MarketError {
    /// The whole file is meant.
    fn of_file(file: &str, reason: String) -> Self {
        Self { file: file.to_owned(), line: None, column: None, reason }
    }

    /// A market without a first price.
    pub(super) fn no_price() -> Self {
        Self::of_file("the market", "has no price at all".to_owned())
    }
}

impl fmt::Display for MarketError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

impl std::error::Error for MarketError {}

/// The prices that matter to nobody: at and between these nothing is filled and nothing is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// The lowest such price; `None` if there is no lowest.
    pub from: Option<Decimal>,
    /// The highest such price; `None` if there is no highest.
    pub to: Option<Decimal>,
}

impl Quiet {
    /// Whether a price matters to nobody.
    pub fn contains(&self, price: Decimal) -> bool {
        self.from.is_none_or(|from| price >= from) && self.to.is_none_or(|to| price <= to)
    }
}

/// A source of price points.
pub trait Market {
    /// The next point; `None` when the market has ended.
    ///
    /// # Errors
    /// [`MarketError`]; the market has then ended.
    fn next(&mut self) -> Result<Option<PricePoint>, MarketError>;

    /// Passes over points that are quiet and not later than `until`, and gives the last of them. A market that cannot
    /// do so faster than one by one passes over none.
    fn skip(&mut self, _until: Timestamp, _quiet: &Quiet) -> Option<PricePoint> {
        None
    }
}

/// A market of points that are already known.
#[derive(Clone, Debug)]
pub struct Fixed(std::vec::IntoIter<PricePoint>);

impl Fixed {
    /// The points, in order of their time.
    pub fn new(points: Vec<PricePoint>) -> Self {
        Self(points.into_iter())
    }
}

impl Market for Fixed {
    fn next(&mut self) -> Result<Option<PricePoint>, MarketError> {
        Ok(self.0.next())
    }
}
