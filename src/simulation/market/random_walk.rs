//! A market that wanders at random, the same way for the same seed.
//!
//! One point a second. Each second the price moves by up to 0.05 % of the start price either way, and is drawn
//! back by a fifty-thousandth of its distance from the start: within minutes to an hour it crosses the levels of a
//! ladder with steps of 1 %, and over days it stays within some ten per cent. All arithmetic is in whole
//! thousandths of a tick.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Market, MarketError, PricePoint};
use crate::core::{Decimal, Timestamp};

/// Fractions of a tick that the walk remembers, so that a weak pull is not rounded away.
const PARTS: i64 = 1000;
/// The price never leaves start ÷ 4 … start × 4.
const RANGE: i64 = 4;

/// How lively a walk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Liveliness {
    /// The largest move of one second, in millionths of the start price.
    pub largest_move: i64,
    /// Seconds in which the pull towards the start would undo a deviation, if nothing else moved.
    pub pull_back: i64,
}

impl Default for Liveliness {
    fn default() -> Self {
        Self { largest_move: 500, pull_back: 50_000 }
    }
}

/// The walk. It never ends.
pub struct RandomWalk {
    random: StdRng,
    time: Timestamp,
    tick_size: Decimal,
    start: i64,
    price: i64,
    largest_move: i64,
    pull_back: i64,
}

impl RandomWalk {
    /// A walk from `start_price` at `start`. Prices are multiples of `tick_size`, which is above zero.
    pub fn new(seed: u64, start: Timestamp, start_price: Decimal, tick_size: Decimal, liveliness: Liveliness) -> Self {
        let ticks = (start_price / tick_size).trunc();
        let parts = i64::try_from(ticks).unwrap_or(i64::MAX / 1_000_000).clamp(RANGE, i64::MAX / 1_000_000) * PARTS;
        Self {
            random: StdRng::seed_from_u64(seed),
            time: start,
            tick_size,
            start: parts,
            price: parts,
            largest_move: (parts / 1_000_000).saturating_mul(liveliness.largest_move).max(PARTS),
            pull_back: liveliness.pull_back.max(1),
        }
    }
}

impl Market for RandomWalk {
    fn next(&mut self) -> Result<Option<PricePoint>, MarketError> {
        let point = PricePoint::new(self.time, Decimal::from(self.price / PARTS) * self.tick_size);
        let step = self.random.random_range(-self.largest_move..=self.largest_move);
        let pull = (self.start - self.price) / self.pull_back;
        self.price = (self.price + step + pull).clamp(self.start / RANGE, self.start * RANGE);
        self.time = self.time.after(Duration::from_secs(1));
        Ok(Some(point))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(seed: u64) -> RandomWalk {
        RandomWalk::new(seed, Timestamp(0), Decimal::from(60_000), Decimal::new(1, 2), Liveliness::default())
    }

    fn prices(seed: u64, count: usize) -> Vec<Decimal> {
        let mut walk = walk(seed);
        (0..count).map(|_| walk.next().unwrap().unwrap().price).collect()
    }

    #[test]
    fn one_seed_gives_one_walk_of_one_point_a_second() {
        assert_eq!(prices(7, 500), prices(7, 500));
        assert_ne!(prices(7, 500), prices(8, 500));
        let mut walk = walk(1);
        let times: Vec<i64> = (0..3).map(|_| walk.next().unwrap().unwrap().time.0).collect();
        assert_eq!(times, [0, 1000, 2000]);
    }

    #[test]
    fn a_ladder_of_one_per_cent_sees_both_sides_within_some_hours() {
        let prices = prices(1, 8 * 3600);
        assert!(prices.iter().any(|price| *price < Decimal::from(59_400)));
        assert!(prices.iter().any(|price| *price > Decimal::from(60_600)));
    }

    #[test]
    fn in_a_week_the_price_stays_within_a_quarter_and_on_the_tick() {
        for price in prices(3, 7 * 24 * 3600) {
            assert!(price > Decimal::from(45_000) && price < Decimal::from(75_000), "{price}");
            assert!((price % Decimal::new(1, 2)).is_zero());
        }
    }

    #[test]
    fn tiny_prices_stay_above_zero() {
        let tick = Decimal::new(1, 8);
        let mut walk = RandomWalk::new(1, Timestamp(0), tick * Decimal::from(3), tick, Liveliness::default());
        for _ in 0..10_000 {
            assert!(walk.next().unwrap().unwrap().price > Decimal::ZERO);
        }
    }
}
