//! Which sets of parameters a sweep tries: axes, their product or a sample of it, and the shards of that.
//!
//! In: what the user wrote for each axis. Out: a number for each set, and the values that a number stands for. Nothing is
//! listed: the memory does not grow with the number of sets.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::core::money::{self, Decimal};

/// More values on one axis are a mistake.
const MOST_VALUES: usize = 10_000;

/// One parameter and the values that are tried, as the configuration would have them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// The parameter's name.
    pub key: String,
    /// At least one.
    pub values: Vec<String>,
}

impl Axis {
    /// Reads `KEY=A,B,C`; each part may also be a range, `FROM..TO/STEP`, which includes both ends.
    ///
    /// # Errors
    /// What is wrong with it and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let form = "write KEY=FROM..TO/STEP or KEY=A,B,C, for example rebuy_step_percent=0.5..3/0.25";
        let (key, written) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =: {form}"))?;
        let mut values: Vec<String> = Vec::new();
        for part in written.split(',').map(str::trim) {
            match part.split_once("..") {
                Some((from, to)) => {
                    values.extend(range(from, to).map_err(|wrong| format!("{part:?} {wrong}: {form}"))?)
                }
                None if part.is_empty() => return Err(format!("{text:?} has an empty value: {form}")),
                None => values.push(part.to_owned()),
            }
            if values.len() > MOST_VALUES {
                return Err(format!("{text:?} has more than {MOST_VALUES} values: make the step larger"));
            }
        }
        if let Some(twice) = (1..values.len()).find(|place| values[..*place].contains(&values[*place])) {
            return Err(format!("{text:?} has the value {} twice", values[twice]));
        }
        Ok(Self { key: key.trim().to_owned(), values })
    }
}

fn range(from: &str, to_and_step: &str) -> Result<Vec<String>, String> {
    let (to, step) = to_and_step.split_once('/').ok_or("has no step")?;
    let number = |text: &str| money::parse(text.trim()).map_err(|wrong| format!("has {text:?}, which is {wrong}"));
    let (from, to, step) = (number(from)?, number(to)?, number(step)?);
    if step <= Decimal::ZERO {
        return Err("has a step that is not above 0".to_owned());
    }
    if to < from {
        return Err("ends below its beginning".to_owned());
    }
    let values = std::iter::successors(Some(from), |value| Some(value + step)).take_while(|value| *value <= to);
    Ok(values.take(MOST_VALUES + 1).map(money::text).collect())
}

/// Sets that were drawn out of a larger product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// How many there are to draw from.
    pub of: u64,
    /// Decides which are drawn.
    pub seed: u64,
}

/// All sets of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    axes: Vec<Axis>,
    sample: Option<Sample>,
    sets: u64,
}

impl Space {
    /// Every combination of the axes' values, or, with `sample`, so many of them drawn by a seed, each at most once.
    ///
    /// # Errors
    /// A parameter that has two axes, or more combinations than can be counted.
    pub fn new(axes: Vec<Axis>, sample: Option<(u64, u64)>) -> Result<Self, String> {
        if let Some(twice) =
            (1..axes.len()).find(|place| axes[..*place].iter().any(|axis| axis.key == axes[*place].key))
        {
            return Err(format!("{} is swept twice: join its values in one --set, with commas", axes[twice].key));
        }
        let product = axes.iter().try_fold(1_u64, |product, axis| product.checked_mul(axis.values.len() as u64));
        let product = product.ok_or("the axes have more than 10^19 combinations: make their steps larger")?;
        let sample = sample.filter(|(sets, _)| *sets < product);
        let sets = sample.map_or(product, |(sets, _)| sets);
        Ok(Self { axes, sample: sample.map(|(_, seed)| Sample { of: product, seed }), sets })
    }

    /// The axes, as given.
    pub fn axes(&self) -> &[Axis] {
        &self.axes
    }

    /// Out of how many the sets were drawn, if they were.
    pub fn sample(&self) -> Option<Sample> {
        self.sample
    }

    /// How many sets there are.
    pub fn sets(&self) -> u64 {
        self.sets
    }

    /// The parameter and the value of each axis in one set. The last axis changes from number to number.
    pub fn set(&self, number: u64) -> Vec<(&str, &str)> {
        let mut rest = self.sample.map_or(number, |sample| drawn(number, sample));
        let mut set: Vec<(&str, &str)> = Vec::with_capacity(self.axes.len());
        for Axis { key, values } in self.axes.iter().rev() {
            let count = values.len() as u64;
            let value = usize::try_from(rest % count).ok().and_then(|place| values.get(place));
            set.push((key, value.map_or("", String::as_str)));
            rest /= count;
        }
        set.reverse();
        set
    }
}

/// The place that a number is drawn at: a permutation of all places, so that none is drawn twice and none must be
/// remembered. Four rounds of a Feistel network over the next larger power of four; what falls outside is drawn again.
fn drawn(number: u64, sample: Sample) -> u64 {
    let half = (u64::BITS - (sample.of - 1).leading_zeros()).div_ceil(2).max(1);
    let mask = (1 << half) - 1;
    let mut place = number;
    loop {
        let (mut left, mut right) = (place >> half, place & mask);
        for round in 1..=4_u64 {
            (left, right) = (right, left ^ (mixed(sample.seed ^ mixed(right ^ (round << 60))) & mask));
        }
        place = (left << half) | right;
        if place < sample.of {
            return place;
        }
    }
}

/// The mixer of `SplitMix64`.
fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// One of several parts of a sweep: every `of`-th set, from its own first on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// From 1.
    pub index: u64,
    /// How many parts there are.
    pub of: u64,
}

impl Shard {
    /// Reads `I/N`.
    ///
    /// # Errors
    /// How to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(index, of)| Some((index.parse().ok()?, of.parse().ok()?)));
        match numbers {
            Some((index, of)) if (Self { index, of }).is_one() => Ok(Self { index, of }),
            _ => Err(format!("{text:?} is no shard: write I/N, the I-th of N parts, for example 1/4")),
        }
    }

    /// Whether there is such a part.
    pub(super) fn is_one(self) -> bool {
        (1..=self.of).contains(&self.index)
    }

    /// How many of a sweep's sets belong to it.
    pub fn sets(self, all: u64) -> u64 {
        all.saturating_sub(self.index - 1).div_ceil(self.of)
    }

    /// The number of its `place`-th set, from 0.
    pub fn number(self, place: u64) -> u64 {
        place.saturating_mul(self.of).saturating_add(self.index - 1)
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn axis(text: &str) -> Axis {
        Axis::parse(text).unwrap()
    }

    fn values(text: &str) -> Vec<String> {
        axis(text).values
    }

    #[test]
    fn a_range_has_both_ends_and_is_exact() {
        assert_eq!(values("x=0.1..0.5/0.1"), ["0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(values("x=1..2/0.75"), ["1", "1.75"]);
        assert_eq!(values("x=3..3/1"), ["3"]);
        assert_eq!(values("x= off, 1..2/1 ,5s"), ["off", "1", "2", "5s"]);
    }

    #[test]
    fn what_is_written_wrong_is_told_with_the_way_to_write_it() {
        for text in ["x", "x=", "x=1,,2", "x=1..2", "x=1..2/0", "x=2..1/1", "x=a..2/1", "x=1..2/-1", "x=1..2/x"] {
            let wrong = Axis::parse(text).unwrap_err();
            assert!(wrong.contains("write KEY=FROM..TO/STEP"), "{text}: {wrong}");
        }
        assert!(Axis::parse("x=1,1").unwrap_err().contains("twice"));
        assert!(Axis::parse("x=0..1/0.000001").unwrap_err().contains("more than 10000 values"));
        for text in ["", "1", "0/2", "3/2", "1/0", "a/b", "-1/2"] {
            assert!(Shard::parse(text).is_err(), "{text}");
        }
        assert!(Space::new(vec![axis("x=1"), axis("x=2")], None).is_err());
    }

    #[test]
    fn the_product_has_every_combination_once() {
        let space = Space::new(vec![axis("x=1,2"), axis("y=a,b,c")], None).unwrap();
        let sets: Vec<_> = (0..space.sets()).map(|number| space.set(number)).collect();
        assert_eq!(sets[0], [("x", "1"), ("y", "a")]);
        assert_eq!(sets[5], [("x", "2"), ("y", "c")]);
        assert_eq!(sets.iter().collect::<BTreeSet<_>>().len(), 6);
        assert_eq!(Space::new(Vec::new(), None).unwrap().sets(), 1, "without axes: what the configuration says");
    }

    #[test]
    fn a_sample_draws_no_set_twice_and_the_same_ones_for_a_seed() {
        for of in [2_u64, 3, 7, 64, 1_000] {
            let all: BTreeSet<u64> = (0..of).map(|number| drawn(number, Sample { of, seed: 5 })).collect();
            assert_eq!(all.len() as u64, of, "a permutation of {of}");
            assert!(all.iter().all(|place| *place < of));
        }
        let axes = || vec![axis("x=1..1000/1"), axis("y=1..1000/1")];
        let drawn = |seed| {
            let space = Space::new(axes(), Some((50, seed))).unwrap();
            let sets: Vec<_> = (0..50).map(|number| format!("{:?}", space.set(number))).collect();
            sets
        };
        assert_eq!(drawn(1), drawn(1));
        assert_ne!(drawn(1), drawn(2));
        assert_eq!(Space::new(axes(), Some((1_000_000, 1))).unwrap().sample(), None, "all of them are no sample");
    }

    #[test]
    fn shards_share_all_sets_among_them() {
        assert_eq!(Shard { index: 3, of: u64::MAX }.sets(2), 0);
        for (all, of) in [(10, 3), (2, 5), (0, 1), (12, 4)] {
            let shards = (1..=of).map(|index| Shard { index, of });
            let mut numbers: Vec<u64> =
                shards.flat_map(|shard| (0..shard.sets(all)).map(move |place| shard.number(place))).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (0..all).collect::<Vec<_>>());
        }
    }
}
