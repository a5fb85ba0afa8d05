//! The lines of the plots: a run seen through as many columns as a plot has points, however long it was.
//!
//! In: the recording, what was held when, what was bound when. Out: for each column the range of prices, the equity, its
//! fall from the peak, and the capital in use. These are coordinates, and the only floats of this program; every figure
//! that a page states is an exact decimal from elsewhere.

use rust_decimal::prelude::ToPrimitive as _;

use super::chronicle::Bound;
use crate::backtest::course::Position;
use crate::core::money::Decimal;
use crate::core::time::Timestamp;
use crate::simulation::market::{Path, Recording};

/// A decimal as a coordinate.
pub fn coordinate(value: Decimal) -> f64 {
    value.to_f64().unwrap_or(0.0)
}

/// A stretch of time in equal columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The first moment.
    pub from: Timestamp,
    /// The last moment.
    pub to: Timestamp,
    /// How many columns.
    pub count: usize,
}

/// What a column shows of the market and of the account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Column {
    /// The lowest price.
    pub low: f64,
    /// The highest price.
    pub high: f64,
    /// The last price.
    pub last: f64,
    /// What the bot had at the end of it beyond what it began with, at the last price.
    pub equity: f64,
    /// The deepest fall of the equity from the peak before it, as a number below zero.
    pub fall: f64,
}

/// What a column shows of the capital.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Capital {
    /// The most that what was held cost.
    pub held: f64,
    /// The most that this and the resting buys cost.
    pub committed: f64,
}

impl Columns {
    /// In which column a moment is; those outside are in the first or the last.
    pub fn place(&self, time: Timestamp) -> usize {
        let length = (self.to.0 - self.from.0).max(1);
        let offset = (time.0 - self.from.0).clamp(0, length);
        let count = i64::try_from(self.count).unwrap_or(1);
        usize::try_from(i128::from(offset) * i128::from(count) / i128::from(length)).unwrap_or(0).min(self.count - 1)
    }

    /// When a column ends.
    pub fn end(&self, place: usize) -> Timestamp {
        let (place, count) = (i128::try_from(place + 1).unwrap_or(1), i128::try_from(self.count).unwrap_or(1));
        let offset = i128::from(self.to.0 - self.from.0) * place / count;
        Timestamp(self.from.0.saturating_add(i64::try_from(offset).unwrap_or(0)))
    }
}

/// The market and the account, column by column; a column without a price shows the one before it.
pub fn market(columns: &Columns, recording: &Recording, path: Path, positions: &[Position]) -> Vec<Column> {
    let tick = coordinate(recording.tick_size());
    let steps: Vec<(Timestamp, f64, f64)> =
        positions.iter().map(|step| (step.time, coordinate(step.cash), coordinate(step.quantity))).collect();
    let mut line: Vec<Option<Column>> = vec![None; columns.count];
    let (mut next, mut held, mut peak) = (0, (0.0, 0.0), 0.0_f64);
    for (candle, start) in recording.starts().iter().enumerate() {
        for (quarter, ticks) in recording.played(candle, path).into_iter().enumerate() {
            let (time, price) = (Recording::moment(*start, quarter), f64::from(ticks) * tick);
            // Where candles stand for fills, the next may begin before this one is played.
            let is_over = quarter > 0 && recording.starts().get(candle + 1).is_some_and(|next| time >= *next);
            if is_over || time > columns.to {
                break;
            }
            while let Some((_, cash, quantity)) = steps.get(next).filter(|(begin, ..)| *begin <= time) {
                held = (*cash, *quantity);
                next += 1;
            }
            let equity = held.0 + held.1 * price;
            peak = peak.max(equity);
            let seen = Column { low: price, high: price, last: price, equity, fall: equity - peak };
            if let Some(column) = line.get_mut(columns.place(time)) {
                *column = Some(column.map_or(seen, |before| Column {
                    low: before.low.min(price),
                    high: before.high.max(price),
                    fall: before.fall.min(seen.fall),
                    ..seen
                }));
            }
        }
    }
    carry_on(line)
}

/// Fills the columns in which nothing was seen with what was seen last, and the first ones with what comes first.
fn carry_on(line: Vec<Option<Column>>) -> Vec<Column> {
    let Some(mut last) = line.iter().flatten().next().copied() else { return Vec::new() };
    (last.low, last.high, last.equity, last.fall) = (last.last, last.last, 0.0, 0.0);
    let carried = line.into_iter().map(|column| {
        let shown = column.unwrap_or(Column { low: last.last, high: last.last, ..last });
        last = shown;
        shown
    });
    carried.collect()
}

/// The capital, column by column.
pub fn capital(columns: &Columns, bound: &[Bound]) -> Vec<Capital> {
    let mut line = Vec::with_capacity(columns.count);
    let (mut next, mut now) = (0, Capital::default());
    for place in 0..columns.count {
        let mut most = now;
        while let Some(step) = bound.get(next).filter(|step| step.time <= columns.end(place)) {
            let held = coordinate(step.held);
            now = Capital { held, committed: held + coordinate(step.offered) };
            most = Capital { held: most.held.max(now.held), committed: most.committed.max(now.committed) };
            next += 1;
        }
        line.push(most);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::market::candles::Candle;

    const MINUTE: i64 = 60_000;

    fn recording(closes: &[i64]) -> Recording {
        let mut recording = Recording::new(Decimal::ONE);
        for (minute, close) in closes.iter().enumerate() {
            let price = Decimal::from(*close);
            let start = Timestamp(i64::try_from(minute).unwrap() * MINUTE);
            assert!(recording.push(&Candle { start, open: price, high: price, low: price, close: price }));
        }
        recording
    }

    fn columns(count: usize, minutes: i64) -> Columns {
        Columns { from: Timestamp(0), to: Timestamp(minutes * MINUTE), count }
    }

    #[test]
    fn a_column_holds_the_range_of_all_its_candles() {
        let line = market(&columns(2, 4), &recording(&[10, 12, 7, 9]), Path::Nearest, &[]);
        assert_eq!(
            line.iter().map(|column| (column.low, column.high, column.last)).collect::<Vec<_>>(),
            [(10.0, 12.0, 12.0), (7.0, 9.0, 9.0)]
        );
    }

    #[test]
    fn equity_and_its_fall_follow_what_is_held() {
        let bought = Position { time: Timestamp(MINUTE), cash: Decimal::from(-12), quantity: Decimal::ONE };
        let line = market(&columns(5, 5), &recording(&[10, 12, 15, 7, 9]), Path::Nearest, &[bought]);
        let equity: Vec<f64> = line.iter().map(|column| column.equity).collect();
        assert_eq!(equity, [0.0, 0.0, 3.0, -5.0, -3.0]);
        assert_eq!(line.iter().map(|column| column.fall).collect::<Vec<_>>(), [0.0, 0.0, 0.0, -8.0, -6.0]);
    }

    #[test]
    fn columns_without_a_price_show_the_one_before() {
        let mut recording = recording(&[10]);
        let late = Decimal::from(20);
        assert!(recording.push(&Candle {
            start: Timestamp(3 * MINUTE),
            open: late,
            high: late,
            low: late,
            close: late
        }));
        let line = market(&columns(4, 4), &recording, Path::Nearest, &[]);
        assert_eq!(line.iter().map(|column| column.last).collect::<Vec<_>>(), [10.0, 10.0, 10.0, 20.0]);
        assert!(market(&columns(4, 4), &Recording::new(Decimal::ONE), Path::Nearest, &[]).is_empty());
    }

    #[test]
    fn capital_shows_the_most_of_each_column() {
        let step = |minute: i64, held: i64, offered: i64| Bound {
            time: Timestamp(minute * MINUTE),
            held: Decimal::from(held),
            offered: Decimal::from(offered),
        };
        // The step at a column's last moment belongs to it.
        let line = capital(&columns(3, 3), &[step(0, 50, 0), step(0, 50, 30), step(1, 0, 0)]);
        assert_eq!(line[0], Capital { held: 50.0, committed: 80.0 });
        assert_eq!(line[1..], [Capital::default(), Capital::default()]);
    }
}
