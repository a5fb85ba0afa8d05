//! The course of a run: what the account held after each fill, and what that was worth while the market moved.
//!
//! In: records as they are made, and afterwards the recording that was played. Out: the worst that happened on the way.
//! Only what the bot itself moved counts; the money that lay idle beside it does not.

use std::time::Duration;

use crate::core::ledger::Ledger;
use crate::core::money::Decimal;
use crate::core::order::{Execution, OrderKey, Side};
use crate::core::record::Record;
use crate::core::time::Timestamp;
use crate::engine::ports::Observer;
use crate::simulation::market::{Path, Recording};

/// What the bot had after a fill, beyond what it began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// From when on.
    pub time: Timestamp,
    /// Quote coin, negative while it is spent.
    pub cash: Decimal,
    /// Base coin.
    pub quantity: Decimal,
}

/// One fill, and the order it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The order.
    pub key: OrderKey,
    /// The fill.
    pub execution: Execution,
}

/// Watches a run.
#[derive(Clone, Debug, Default)]
pub struct Course {
    /// After each fill; those of one moment are one.
    pub positions: Vec<Position>,
    /// Every fill, if they are wanted.
    pub trades: Option<Vec<Trade>>,
    /// The most capital in use at once, for what is held and for resting buys, in quote coin.
    pub most_bound: Decimal,
    /// From its opening to its end, of the cycle that took longest; one that is still open does not count.
    pub longest_cycle: Duration,
    /// When the newest cycle began.
    opened: Timestamp,
}

impl Course {
    /// A course that keeps every fill.
    pub fn with_trades() -> Self {
        Self { trades: Some(Vec::new()), ..Self::default() }
    }

    fn book(&mut self, execution: &Execution, ledger: &Ledger) {
        let Some(instrument) = &ledger.instrument else { return };
        let fee = |coin: &str| if execution.fee_coin == coin { execution.fee } else { Decimal::ZERO };
        let (base_fee, quote_fee) = (fee(&instrument.base_coin), fee(&instrument.quote_coin));
        let (cash, quantity) = match execution.side {
            Side::Buy => (-execution.value, execution.quantity),
            Side::Sell => (execution.value, -execution.quantity),
        };
        let (before, same) =
            self.positions.last().map_or((None, false), |last| (Some(last), last.time == execution.time));
        let position = Position {
            time: execution.time,
            cash: before.map_or(Decimal::ZERO, |last| last.cash) + cash - quote_fee,
            quantity: before.map_or(Decimal::ZERO, |last| last.quantity) + quantity - base_fee,
        };
        match self.positions.last_mut().filter(|_| same) {
            Some(last) => *last = position,
            None => self.positions.push(position),
        }
    }

    /// Coins have left the account without a fill.
    fn write_off(&mut self, time: Timestamp, quantity: Decimal) {
        if let Some(last) = self.positions.last().cloned() {
            self.positions.push(Position { time, quantity: last.quantity - quantity, ..last });
        }
    }
}

impl Observer for Course {
    fn recorded(&mut self, time: Timestamp, record: &Record, ledger: &Ledger) {
        match record {
            Record::Executed { key, execution } => {
                self.book(execution, ledger);
                if let Some(trades) = &mut self.trades {
                    trades.push(Trade { key: *key, execution: execution.clone() });
                }
            }
            // What is bound grows only when a buy is sent.
            Record::OrderPlanned { key, .. } if key.slot.side() == Side::Buy => {
                let bound = ledger.cycle.as_ref().map_or(Decimal::ZERO, crate::core::ledger::Cycle::committed);
                self.most_bound = self.most_bound.max(bound);
            }
            Record::CycleClosed { .. } => {
                self.longest_cycle = self.longest_cycle.max(time.since(self.opened));
            }
            Record::CycleOpened { began, .. } => self.opened = *began,
            Record::CoinsMissing { quantity, .. } => self.write_off(time, *quantity),
            _ => {}
        }
    }
}

/// The worst that happened to the equity, marked to the last price at every point of the market.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawdown {
    /// The largest fall from a peak, in quote coin.
    pub worst: Decimal,
    /// The longest time without a new peak.
    pub longest_under_water: Duration,
}

/// Follows the equity through the recording. `end` is when the run ended.
pub fn drawdown(positions: &[Position], recording: &Recording, path: Path, end: Timestamp) -> Drawdown {
    let mut climb = Climb { peak_time: positions.first().map_or(end, |first| first.time), ..Climb::default() };
    for (number, position) in positions.iter().enumerate() {
        let until = positions.get(number + 1).map_or(end.after(Duration::from_millis(1)), |next| next.time);
        climb.hold(position, recording, path, until);
    }
    climb.rest_until(end);
    climb.drawdown
}

/// The highest equity so far, and the worst fall from it.
#[derive(Default)]
struct Climb {
    peak: Decimal,
    peak_time: Timestamp,
    drawdown: Drawdown,
}

/// A stretch in which one position is held, counted in ticks: a point costs two comparisons of whole numbers.
struct Stretch {
    /// The highest price since the stretch began, or the price that would make a new peak.
    peak: u32,
    /// When that was reached in this stretch.
    peak_time: Option<Timestamp>,
    /// The lowest price since the peak.
    low: u32,
    /// The lowest price before the first new peak.
    low_before: u32,
    /// The largest fall from a new peak.
    fall: u32,
}

impl Climb {
    /// Follows one position from the price at which it began until just before a moment.
    fn hold(&mut self, position: &Position, recording: &Recording, path: Path, until: Timestamp) {
        let a_tick = position.quantity * recording.tick_size();
        if a_tick <= Decimal::ZERO {
            if position.cash > self.peak {
                self.rest_until(position.time);
                (self.peak, self.peak_time) = (position.cash, position.time);
            }
            self.drawdown.worst = self.drawdown.worst.max(self.peak - position.cash);
            return;
        }
        let worth = |ticks: u32| position.cash + a_tick * Decimal::from(ticks);
        let level = (self.peak - position.cash).checked_div(a_tick).map_or(u32::MAX, floor_u32);
        let mut stretch = Stretch { peak: level, peak_time: None, low: u32::MAX, low_before: u32::MAX, fall: 0 };
        let (first, first_quarter) = recording.point_at(position.time);
        let end = recording.starts().partition_point(|start| *start < until);
        let mut next = first;
        while let Some(candle) = recording.first_outside(next..end, stretch.low, stretch.peak) {
            next = candle + 1;
            let start = recording.starts()[candle];
            let prices = recording.played(candle, path);
            let skipped = if candle == first { first_quarter } else { 0 };
            for (quarter, price) in prices.into_iter().enumerate().skip(skipped) {
                if price > stretch.peak || price < stretch.low {
                    let time = Recording::moment(start, quarter).max(position.time);
                    if time >= until {
                        break;
                    }
                    if price > stretch.peak {
                        self.rest_until(time);
                        self.peak_time = time;
                    }
                    stretch.see(price, time);
                }
            }
        }
        let old_low = if stretch.peak_time.is_some() { stretch.low_before } else { stretch.low };
        if old_low != u32::MAX {
            self.drawdown.worst = self.drawdown.worst.max(self.peak - worth(old_low));
        }
        self.drawdown.worst = self.drawdown.worst.max(a_tick * Decimal::from(stretch.fall));
        if stretch.peak_time.is_some() {
            self.peak = worth(stretch.peak);
        }
    }

    /// No new peak came until now.
    fn rest_until(&mut self, time: Timestamp) {
        self.drawdown.longest_under_water = self.drawdown.longest_under_water.max(time.since(self.peak_time));
    }
}

impl Stretch {
    fn see(&mut self, price: u32, time: Timestamp) {
        if price > self.peak {
            if self.peak_time.is_none() {
                self.low_before = self.low;
            }
            (self.peak, self.peak_time, self.low) = (price, Some(time), price);
            return;
        }
        self.low = price;
        if self.peak_time.is_some() {
            self.fall = self.fall.max(self.peak - price);
        }
    }
}

fn floor_u32(number: Decimal) -> u32 {
    u32::try_from(number.floor()).unwrap_or(if number > Decimal::ZERO { u32::MAX } else { 0 })
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::simulation::market::Market as _;
    use crate::simulation::market::candles::Candle;

    fn recording(random: &mut SmallRng, candles: i64) -> Recording {
        let mut recording = Recording::new(Decimal::new(1, 2));
        let mut price = 1_000;
        for minute in 0..candles {
            let open = price;
            price = (price + random.random_range(-30..=30)).clamp(100, 5_000);
            let (high, low) =
                (open.max(price) + random.random_range(0..20), open.min(price) - random.random_range(0..20));
            let [open, high, low, close] = [open, high, low, price].map(|cents| Decimal::new(cents, 2));
            assert!(recording.push(&Candle { start: Timestamp(minute * 60_000), open, high, low, close }));
        }
        recording
    }

    /// The equity at every point and every fill, one after another.
    fn slowly(positions: &[Position], recording: &Recording, path: Path, end: Timestamp) -> Drawdown {
        let mut points = Vec::new();
        let mut tape = recording.play(path);
        while let Some(point) = tape.next().unwrap() {
            points.push((point.time, point.price));
        }
        let (mut peak, mut peak_time, mut found) = (Decimal::ZERO, positions[0].time, Drawdown::default());
        for (number, position) in positions.iter().enumerate() {
            let until = positions.get(number + 1).map_or(Timestamp(end.0 + 1), |next| next.time);
            let at_its_begin =
                points.iter().rfind(|(time, _)| *time <= position.time).map(|(_, price)| (position.time, *price));
            let later = points.iter().copied().filter(|(time, _)| *time > position.time && *time < until);
            for (time, price) in at_its_begin.into_iter().chain(later) {
                let equity = position.cash + position.quantity * price;
                if equity > peak {
                    found.longest_under_water = found.longest_under_water.max(time.since(peak_time));
                    (peak, peak_time) = (equity, time);
                }
                found.worst = found.worst.max(peak - equity);
            }
        }
        found.longest_under_water = found.longest_under_water.max(end.since(peak_time));
        found
    }

    #[test]
    fn the_drawdown_is_that_of_the_equity_at_every_point() {
        for seed in 0..60 {
            let mut random = SmallRng::seed_from_u64(seed);
            let recording = recording(&mut random, 200);
            let (mut time, mut cash, mut positions) = (0, 0, Vec::new());
            while time < 190 * 60_000 {
                let quantity = [0, 1, 3, 10][random.random_range(0..4)];
                positions.push(Position {
                    time: Timestamp(time),
                    cash: Decimal::from(cash - quantity * 10),
                    quantity: Decimal::from(quantity),
                });
                cash += random.random_range(-4..=6);
                time += random.random_range(1..40 * 60_000);
            }
            let end = Timestamp(200 * 60_000 - 15_000);
            for path in [Path::Nearest, Path::HighFirst, Path::LowFirst] {
                let found = drawdown(&positions, &recording, path, end);
                assert_eq!(found, slowly(&positions, &recording, path, end), "seed {seed}, {path:?}");
            }
        }
    }

    #[test]
    fn nothing_traded_is_no_drawdown() {
        let recording = recording(&mut SmallRng::seed_from_u64(1), 10);
        let found = drawdown(&[], &recording, Path::Nearest, Timestamp(600_000));
        assert_eq!(found, Drawdown::default());
    }
}
