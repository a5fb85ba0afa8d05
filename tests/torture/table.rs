//! The sums over many seeds, as a table for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::faults::{Counts, FAULTS};
use super::run::Report;

/// What many seeds brought.
#[derive(Clone)]
pub(crate) struct Table {
    pub(crate) seeds: u64,
    faults: Counts,
    lives: u64,
    deaths: u64,
    orders: u64,
    executions: u64,
    cycles: u64,
    /// In how many seeds each condition showed.
    conditions: BTreeMap<String, u64>,
    /// Seeds that broke an invariant, and which.
    pub(crate) violations: Vec<(u64, String)>,
    pub(crate) took: Duration,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            seeds: 0,
            faults: [0; FAULTS.len()],
            lives: 0,
            deaths: 0,
            orders: 0,
            executions: 0,
            cycles: 0,
            conditions: BTreeMap::new(),
            violations: Vec::new(),
            took: Duration::ZERO,
        }
    }
}

impl Table {
    /// Adds one seed.
    pub(crate) fn add(&mut self, seed: u64, report: &Report) {
        self.seeds += 1;
        self.faults.iter_mut().zip(report.faults).for_each(|(sum, count)| *sum += count);
        self.lives += report.lives;
        self.deaths += report.deaths;
        self.orders += report.orders;
        self.executions += report.executions;
        self.cycles += report.cycles;
        report.conditions.iter().for_each(|name| *self.conditions.entry(name.clone()).or_default() += 1);
        if let Some(violation) = &report.violation {
            self.violations.push((seed, format!("invariant {}: {}", violation.invariant, violation.what)));
        }
    }

    /// Adds what another thread has found.
    pub(crate) fn join(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, count)| *sum += count);
        self.lives += other.lives;
        self.deaths += other.deaths;
        self.orders += other.orders;
        self.executions += other.executions;
        self.cycles += other.cycles;
        other.conditions.into_iter().for_each(|(name, seeds)| *self.conditions.entry(name).or_default() += seeds);
        self.violations.extend(other.violations);
    }

    /// Kinds of fault that never happened.
    pub(crate) fn missing(&self) -> Vec<&'static str> {
        FAULTS.iter().zip(self.faults).filter(|(_, count)| *count == 0).map(|((_, name), _)| *name).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((_, name), count) in FAULTS.iter().zip(self.faults) {
            writeln!(f, "{name:<56} {count:>12}")?;
        }
        for (name, seeds) in &self.conditions {
            writeln!(f, "{:<56} {seeds:>12} seeds", format!("condition {name}"))?;
        }
        let rate = self.seeds as f64 / self.took.as_secs_f64().max(0.001);
        for (name, count) in [
            ("faults", self.faults.iter().sum()),
            ("crashes", self.deaths),
            ("starts", self.lives),
            ("orders", self.orders),
            ("executions", self.executions),
            ("cycles closed", self.cycles),
            ("seeds", self.seeds),
            ("violations", self.violations.len() as u64),
        ] {
            writeln!(f, "{name:<56} {count:>12}")?;
        }
        writeln!(f, "{:<56} {rate:>12.0}", "seeds a second")?;
        let mut by_invariant: BTreeMap<&str, (u64, u64, &str)> = BTreeMap::new();
        for (seed, what) in &self.violations {
            let invariant = what.split(':').next().unwrap_or_default();
            by_invariant.entry(invariant).or_insert((0, *seed, what)).0 += 1;
        }
        for (invariant, (count, seed, what)) in by_invariant {
            writeln!(f, "{invariant}: {count} seeds, the first is {seed}: {what:.300}")?;
        }
        Ok(())
    }
}
