//! A market that has been read once and is played often: candles as whole ticks, in memory.
//!
//! In: candles, in order of time, and the instrument's tick. Out: a [`Tape`] for each time it is played, which gives the
//! same points as the candles themselves and can pass over those that touch nothing without making them. A price
//! between two ticks becomes the tick below it, as it does on the exchange.
//!
//! What can go wrong: a price of more than 4,294,967,295 ticks is not held.

use std::ops::Range;
use std::path::Path as FilePath;
use std::time::Duration;

use super::candle::{self, Candle, QUARTER, in_ticks, ticks};
use super::candles::Candles;
use super::{Market, MarketError, PricePoint, Quiet};
use crate::core::{Decimal, Timestamp, money};

/// Candles whose lowest and highest price are kept together, so that most of a quiet stretch is passed over unread.
const BLOCK: usize = 32;

/// Which of a candle's high and low comes first. The recording does not tell; one assumption holds for all candles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Path {
    /// The one that is nearer to the open; the low if both are equally near.
    #[default]
    Nearest,
    /// The high: what is bought at the low meets no high in the same minute.
    HighFirst,
    /// The low: what is bought at the low can be sold at the high of the same minute.
    LowFirst,
}

/// Candles, ready to be played.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    tick_size: Decimal,
    starts: Vec<Timestamp>,
    /// In the order in which they are played.
    prices: Vec<[u32; 4]>,
    /// Lowest and highest price of each [`BLOCK`] of candles.
    blocks: Vec<(u32, u32)>,
}

impl Recording {
    /// A recording without candles, in ticks of this size.
    pub fn new(tick_size: Decimal) -> Self {
        Self { tick_size, starts: Vec::new(), prices: Vec::new(), blocks: Vec::new() }
    }

    /// A recording of candles that are in order of time: the first moment of each, and its prices in the order in which
    /// they are played. `None` if the two differ in length.
    pub(super) fn of_columns(tick_size: Decimal, starts: Vec<Timestamp>, prices: Vec<[u32; 4]>) -> Option<Self> {
        let bounds = |block: &[[u32; 4]]| {
            block.iter().fold((u32::MAX, u32::MIN), |(low, high), [_, second, third, _]| {
                (low.min(*second).min(*third), high.max(*second).max(*third))
            })
        };
        let blocks = prices.chunks(BLOCK).map(bounds).collect();
        (starts.len() == prices.len()).then_some(Self { tick_size, starts, prices, blocks })
    }

    /// Reads a file of candles.
    ///
    /// # Errors
    /// [`MarketError`] that names file, line and column.
    pub fn read(path: &FilePath, tick_size: Decimal) -> Result<Self, MarketError> {
        let mut candles = Candles::open(path)?;
        let mut recording = Self::new(tick_size);
        while let Some((start, prices)) = candles.next_in_ticks(tick_size)? {
            recording.push_ticks(start, prices);
        }
        Ok(recording)
    }

    /// Adds a candle that comes after those before it. Returns whether its prices can be held.
    pub fn push(&mut self, candle: &Candle) -> bool {
        let Some(prices) = in_ticks(candle, self.tick_size) else { return false };
        self.push_ticks(candle.start, prices);
        true
    }

    /// Adds a candle as prices in the order in which they are played.
    pub(super) fn push_ticks(&mut self, start: Timestamp, prices: [u32; 4]) {
        let (low, high) = (prices[1].min(prices[2]), prices[1].max(prices[2]));
        match self.blocks.last_mut().filter(|_| !self.starts.len().is_multiple_of(BLOCK)) {
            Some(block) => *block = (block.0.min(low), block.1.max(high)),
            None => self.blocks.push((low, high)),
        }
        self.starts.push(start);
        self.prices.push(prices);
    }

    /// The candles before the one at this place, and those from it on.
    pub fn split(mut self, at: usize) -> (Self, Self) {
        let at = at.min(self.len());
        let (starts, prices) = (self.starts.split_off(at), self.prices.split_off(at));
        let part = |starts, prices| Self::of_columns(self.tick_size, starts, prices).expect("columns of one length");
        (part(self.starts, self.prices), part(starts, prices))
    }

    /// How many candles.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// What prices are counted in, in quote coin.
    pub fn tick_size(&self) -> Decimal {
        self.tick_size
    }

    /// The first moment of each candle.
    pub fn starts(&self) -> &[Timestamp] {
        &self.starts
    }

    /// Each candle's four prices in ticks, in the order in which [`Path::Nearest`] plays them.
    pub fn prices(&self) -> &[[u32; 4]] {
        &self.prices
    }

    /// Each candle as bytes: its first moment and its prices, the low byte first.
    pub fn bytes(&self) -> impl Iterator<Item = [u8; 24]> {
        self.starts.iter().zip(&self.prices).map(|(start, prices)| {
            let mut candle = [0; 24];
            candle[..8].copy_from_slice(&start.0.to_le_bytes());
            for (bytes, ticks) in candle[8..].chunks_exact_mut(4).zip(prices) {
                bytes.copy_from_slice(&ticks.to_le_bytes());
            }
            candle
        })
    }

    /// A price in quote coin.
    pub fn price(&self, ticks: u32) -> Decimal {
        Decimal::from(ticks) * self.tick_size
    }

    /// A candle's four prices in ticks, in the order in which a path plays them.
    pub fn played(&self, candle: usize, path: Path) -> [u32; 4] {
        let [open, second, third, close] = self.prices[candle];
        match path {
            Path::Nearest => [open, second, third, close],
            Path::HighFirst => [open, second.max(third), second.min(third), close],
            Path::LowFirst => [open, second.min(third), second.max(third), close],
        }
    }

    /// The last point that is not later than a moment: its candle, and which of its four; the first if all are later.
    pub fn point_at(&self, moment: Timestamp) -> (usize, usize) {
        let begun = self.starts.partition_point(|start| *start <= moment);
        let Some(candle) = begun.checked_sub(1) else { return (0, 0) };
        let quarters = moment.since(self.starts[candle]).as_millis() / QUARTER.as_millis();
        (candle, usize::try_from(quarters).unwrap_or(3).min(3))
    }

    /// When one of a candle's four prices is played.
    pub fn moment(start: Timestamp, quarter: usize) -> Timestamp {
        candle::moment(start, quarter)
    }

    /// The first of these candles that has a price below `low` or above `high`.
    pub fn first_outside(&self, candles: Range<usize>, low: u32, high: u32) -> Option<usize> {
        let Self { prices, blocks, .. } = self;
        let mut candle = candles.start;
        while candle < candles.end {
            if candle.is_multiple_of(BLOCK) {
                let inside = |block: &(u32, u32)| block.0 >= low && block.1 <= high;
                let outside =
                    blocks[candle / BLOCK..candles.end.div_ceil(BLOCK)].iter().position(|block| !inside(block));
                candle += BLOCK * outside?;
            }
            let [_, second, third, _] = *prices[..candles.end].get(candle)?;
            if second.min(third) < low || second.max(third) > high {
                return Some(candle);
            }
            candle += 1;
        }
        None
    }

    /// Plays it from its beginning.
    pub fn play(&self, path: Path) -> Tape<'_> {
        Tape { recording: self, path, candle: 0, quarter: 0 }
    }
}

/// A recording being played.
#[derive(Clone, Debug)]
pub struct Tape<'r> {
    recording: &'r Recording,
    path: Path,
    /// The next point: its candle, and which of the candle's four.
    candle: usize,
    quarter: usize,
}

impl Tape<'_> {
    fn point(&self, candle: usize, quarter: usize) -> Option<PricePoint> {
        let start = *self.recording.starts.get(candle)?;
        let price = self.recording.price(self.recording.played(candle, self.path)[quarter]);
        Some(PricePoint::new(candle::moment(start, quarter), price))
    }

    /// The first candle, not before the next one, that is not wholly over by `until` or leaves the range.
    fn first_loud(&self, until: Timestamp, low: u32, high: u32) -> usize {
        let starts = self.recording.starts();
        let last = until.before(QUARTER * 3);
        // Candles from here on begin too late.
        let end = self.candle + starts[self.candle..].partition_point(|start| *start <= last);
        self.recording.first_outside(self.candle..end, low, high).unwrap_or(end)
    }
}

impl Market for Tape<'_> {
    fn next(&mut self) -> Result<Option<PricePoint>, MarketError> {
        let point = self.point(self.candle, self.quarter);
        if point.is_some() {
            self.quarter = (self.quarter + 1) % 4;
            self.candle += usize::from(self.quarter == 0);
        }
        Ok(point)
    }

    fn skip(&mut self, until: Timestamp, quiet: &Quiet) -> Option<PricePoint> {
        let Recording { tick_size, starts, .. } = self.recording;
        // Nothing is quiet below a bound that no price of this recording can reach, and all is below one it cannot.
        let low = match quiet.from {
            Some(from) => {
                money::quotient_ceil(from, *tick_size, Decimal::ONE).and_then(|low| u32::try_from(low).ok())?
            }
            None => 0,
        };
        let high = quiet.to.map_or(u32::MAX, |to| ticks(to, *tick_size).unwrap_or(u32::MAX));
        let begin = (self.candle, self.quarter);
        // The rest of a candle that has begun, then whole candles, then the part of one that is due.
        for whole in [false, true] {
            if whole && self.quarter == 0 && self.candle < starts.len() {
                self.candle = self.first_loud(until, low, high);
            }
            while let Some(start) = starts.get(self.candle).filter(|_| whole || self.quarter > 0) {
                let price = self.recording.played(self.candle, self.path)[self.quarter];
                if price < low || price > high || candle::moment(*start, self.quarter) > until {
                    break;
                }
                self.quarter = (self.quarter + 1) % 4;
                self.candle += usize::from(self.quarter == 0);
            }
        }
        let passed = self.candle * 4 + self.quarter;
        (passed > begin.0 * 4 + begin.1).then(|| self.point((passed - 1) / 4, (passed - 1) % 4)).flatten()
    }
}

/// Points of a tape are at least so far apart.
pub(in crate::simulation) const SPACING: Duration = QUARTER;

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    fn recording(random: &mut SmallRng) -> Recording {
        let mut recording = Recording::new(Decimal::ONE);
        let mut start = 0;
        for _ in 0..500 {
            let low = random.random_range(100..125_u32);
            let high = low + random.random_range(0..8);
            let (open, close) = (random.random_range(low..=high), random.random_range(low..=high));
            let (second, third) = if random.random_range(0..2) == 0 { (low, high) } else { (high, low) };
            recording.push_ticks(Timestamp(start), [open, second, third, close]);
            start += if random.random_range(0..20) == 0 { 600_000 } else { 60_000 };
        }
        recording
    }

    #[test]
    fn passing_over_ends_where_playing_point_by_point_would() {
        for seed in 0..300 {
            let mut random = SmallRng::seed_from_u64(seed);
            let recording = recording(&mut random);
            let (mut quick, mut slow) = (recording.play(Path::Nearest), recording.play(Path::Nearest));
            for _ in 0..40 {
                let width = random.random_range(0..40);
                let from = random.random_range(90..130);
                let bound = |bound: u32, draw: u32| (draw > 0).then(|| Decimal::from(bound));
                let quiet = Quiet {
                    from: bound(from, random.random_range(0..5)),
                    to: bound(from + width, random.random_range(0..5)),
                };
                let now = slow.clone().next().unwrap().map_or(0, |point| point.time.0);
                let until = Timestamp(now + random.random_range(0..4_000_000));
                let mut expected = None;
                while let Some(point) = slow.clone().next().unwrap()
                    && point.time <= until
                    && quiet.contains(point.price)
                {
                    expected = slow.next().unwrap();
                }
                assert_eq!(quick.skip(until, &quiet), expected, "seed {seed}");
                assert_eq!(quick.next().unwrap(), slow.next().unwrap(), "seed {seed}");
            }
        }
    }

    #[test]
    fn each_path_has_its_own_order_of_high_and_low() {
        let mut recording = Recording::new(Decimal::ONE);
        recording.push_ticks(Timestamp(0), [5, 3, 9, 6]);
        assert_eq!(recording.played(0, Path::Nearest), [5, 3, 9, 6]);
        assert_eq!(recording.played(0, Path::HighFirst), [5, 9, 3, 6]);
        assert_eq!(recording.played(0, Path::LowFirst), [5, 3, 9, 6]);
    }
}
