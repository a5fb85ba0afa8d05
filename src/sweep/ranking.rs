//! The best sets, and what the others came to.
//!
//! In: the lines of results, one after another. Out: the first `top` of them, sums over all, and the refused sets by the
//! reason. The memory does not grow with the number of lines.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::measures::{Measure, Measures};
use super::results::{SetOutcome, SetResult};
use crate::core::Decimal;

/// A set and how it did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// Its number.
    pub set: u64,
    /// The axes' values.
    pub parameters: BTreeMap<String, String>,
    /// Before the split, or all of the market.
    pub in_sample: Box<Measures>,
    /// After the split.
    pub out_of_sample: Option<Box<Measures>>,
}

/// Sets that were refused for one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// How many.
    pub sets: u64,
    /// The first of them,
    pub first: u64,
    /// and why.
    pub reason: String,
}

/// The mean of a measure over many sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mean {
    sum: Decimal,
    count: u64,
}

impl Mean {
    fn add(&mut self, value: Option<Decimal>) {
        if let Some(sum) = value.and_then(|value| self.sum.checked_add(value)) {
            self.sum = sum;
            self.count += 1;
        }
    }

    /// The mean; `None` of nothing.
    pub fn value(self) -> Option<Decimal> {
        self.sum.checked_div(Decimal::from(self.count))
    }
}

/// The ranking in the making.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// What decides, in sample.
    pub measure: Measure,
    top: usize,
    /// The best, best first; of equals the one with the smaller number.
    pub best: Vec<Ranked>,
    /// How many sets have results.
    pub results: u64,
    /// Refused sets, by the parameter that the reason is about.
    pub refused: BTreeMap<String, Refused>,
    /// Over all sets with results, in sample,
    pub mean_in_sample: Mean,
    /// and out of sample.
    pub mean_out_of_sample: Mean,
}

impl Ranking {
    /// A ranking that keeps `top` sets.
    pub fn new(measure: Measure, top: usize) -> Self {
        Self {
            measure,
            top,
            best: Vec::new(),
            results: 0,
            refused: BTreeMap::new(),
            mean_in_sample: Mean::default(),
            mean_out_of_sample: Mean::default(),
        }
    }

    /// Takes one line.
    pub fn add(&mut self, line: SetResult) {
        let SetResult { set, parameters, outcome } = line;
        match outcome {
            SetOutcome::Refused { key, reason } => {
                self.refused.entry(key).or_insert(Refused { sets: 0, first: set, reason }).sets += 1;
            }
            SetOutcome::Result { in_sample, out_of_sample } => {
                self.results += 1;
                self.mean_in_sample.add(self.measure.of(&in_sample));
                self.mean_out_of_sample.add(out_of_sample.as_ref().and_then(|measures| self.measure.of(measures)));
                self.place(Ranked { set, parameters, in_sample, out_of_sample });
            }
        }
    }

    fn place(&mut self, ranked: Ranked) {
        // `None`, a ratio to no drawdown, is less than every number.
        let order = |ranked: &Ranked| Reverse(self.measure.merit(&ranked.in_sample));
        let place = self.best.partition_point(|better| (order(better), better.set) < (order(&ranked), ranked.set));
        if place < self.top {
            self.best.insert(place, ranked);
            self.best.truncate(self.top);
        }
    }

    /// The best sets' means, in sample and out of sample.
    pub fn means_of_best(&self) -> (Mean, Mean) {
        let (mut inside, mut outside) = (Mean::default(), Mean::default());
        for ranked in &self.best {
            inside.add(self.measure.of(&ranked.in_sample));
            outside.add(ranked.out_of_sample.as_ref().and_then(|measures| self.measure.of(measures)));
        }
        (inside, outside)
    }
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::{refused, result};
    use super::*;

    fn sets(ranking: &Ranking) -> Vec<u64> {
        ranking.best.iter().map(|ranked| ranked.set).collect()
    }

    #[test]
    fn the_best_come_first_and_only_so_many_are_kept() {
        let mut ranking = Ranking::new(Measure::Equity, 3);
        for (set, equity) in [5, 9, -1, 9, 7].into_iter().enumerate() {
            ranking.add(result(set as u64, equity, 1));
        }
        assert_eq!(sets(&ranking), [1, 3, 4]);
        assert_eq!(ranking.results, 5);
        assert_eq!(ranking.mean_in_sample.value(), Some(Decimal::new(58, 1)));
        assert_eq!(ranking.means_of_best().0.value().map(|mean| mean.round_dp(2)), Some(Decimal::new(833, 2)));
        assert_eq!(ranking.mean_out_of_sample.value(), None);
    }

    #[test]
    fn the_least_drawdown_is_the_best_and_no_ratio_the_last() {
        let mut least = Ranking::new(Measure::Drawdown, 2);
        let mut ratio = Ranking::new(Measure::EquityPerDrawdown, 9);
        for (set, drawdown) in [4, 0, 2].into_iter().enumerate() {
            least.add(result(set as u64, 4, drawdown));
            ratio.add(result(set as u64, 4, drawdown));
        }
        assert_eq!(sets(&least), [1, 2]);
        assert_eq!(sets(&ratio), [2, 0, 1]);
    }

    #[test]
    fn refused_sets_are_counted_by_what_they_were_refused_for() {
        let mut ranking = Ranking::new(Measure::Profit, 1);
        for (set, key) in ["max_capital", "ladder", "max_capital"].into_iter().enumerate() {
            ranking.add(refused(set as u64, key));
        }
        let counted: Vec<_> = ranking.refused.iter().map(|(key, of)| (key.as_str(), of.sets, of.first)).collect();
        assert_eq!(counted, [("ladder", 1, 1), ("max_capital", 2, 0)]);
        assert_eq!((ranking.results, ranking.best.len()), (0, 0));
    }
}
