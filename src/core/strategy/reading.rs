//! A cycle as one decision reads it: with the latest order of each slot at hand, because every rule asks for some.
//!
//! In: a cycle. Out: the same cycle ([`Reading`] derefs to [`Cycle`]), with lookups that need no search.

use std::ops::Deref;

use super::super::ledger::{Cycle, Order};
use super::super::money::Decimal;
use super::super::order::{OrderKey, Slot};

type Found<'c> = (OrderKey, &'c Order);

/// A cycle, read once.
pub(super) struct Reading<'c> {
    cycle: &'c Cycle,
    base_price: Option<Decimal>,
    live: Vec<Found<'c>>,
    /// The latest buy and the latest sell of each level, down to the deepest that has one.
    levels: Vec<[Option<Found<'c>>; 2]>,
    exit: Option<Found<'c>>,
}

impl<'c> Reading<'c> {
    pub(super) fn new(cycle: &'c Cycle) -> Self {
        let most = cycle.orders.len();
        let (live, levels) = (Vec::with_capacity(most), Vec::with_capacity(most));
        let mut reading = Self { cycle, base_price: cycle.base_price(), live, levels, exit: None };
        // Sorted by slot and attempt: a later attempt replaces an earlier one.
        for (key, order) in &cycle.orders {
            let found = (*key, order);
            if order.is_live() {
                reading.live.push(found);
            }
            let (level, side) = match key.slot {
                Slot::Buy(level) => (level, 0),
                Slot::Sell(level) => (level, 1),
                Slot::Exit => {
                    reading.exit = Some(found);
                    continue;
                }
            };
            while reading.levels.len() <= usize::from(level) {
                reading.levels.push([None; 2]);
            }
            if let Some(latest) = reading.levels.get_mut(usize::from(level)).and_then(|both| both.get_mut(side)) {
                *latest = Some(found);
            }
        }
        reading
    }

    /// As [`Cycle::latest`].
    pub(super) fn latest(&self, slot: Slot) -> Option<Found<'c>> {
        match slot {
            Slot::Buy(level) => self.levels.get(usize::from(level))?[0],
            Slot::Sell(level) => self.levels.get(usize::from(level))?[1],
            Slot::Exit => self.exit,
        }
    }

    /// As [`Cycle::live`].
    pub(super) fn live(&self, slot: Slot) -> Option<Found<'c>> {
        self.latest(slot).filter(|(_, order)| order.is_live())
    }

    /// As [`Cycle::live_orders`].
    pub(super) fn live_orders(&self) -> impl Iterator<Item = Found<'c>> {
        self.live.iter().copied()
    }

    /// As [`Cycle::base_price`].
    pub(super) fn base_price(&self) -> Option<Decimal> {
        self.base_price
    }
}

impl Deref for Reading<'_> {
    type Target = Cycle;

    fn deref(&self) -> &Cycle {
        self.cycle
    }
}
