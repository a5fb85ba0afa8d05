//! The numbers that a backtest is judged by.
//!
//! In: how a run ended, its course, the recording. Out: [`Summary`]; amounts in quote coin.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::End;
use super::course::{Course, drawdown};
use crate::core::money::{Decimal, text};
use crate::core::time::Timestamp;
use crate::simulation::market::{Path, Recording};

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The market's first moment.
    pub from: Timestamp,
    /// When the run ended.
    pub to: Timestamp,
    /// Cycles that were closed.
    pub cycles: u64,
    /// Fills.
    pub executions: u64,
    /// Profit of closed cycles, after fees.
    pub profit: Decimal,
    /// What the open cycle holds, in base coin.
    pub held: Decimal,
    /// What that cost.
    pub held_cost: Decimal,
    /// What everything came to: cash moved, and what is held at the last price.
    pub equity: Decimal,
    /// The most capital in use at once, for what is held and for resting buys.
    pub most_bound: Decimal,
    /// The largest fall of the equity from a peak, marked to the market.
    pub drawdown: Decimal,
    /// The longest time without a new peak of the equity.
    pub under_water: Duration,
    /// The cycle that took longest, the open one included.
    pub longest_cycle: Duration,
    /// Fees by coin.
    pub fees: BTreeMap<String, Decimal>,
    /// The market's first price.
    pub first_price: Decimal,
    /// The last price.
    pub last_price: Decimal,
    /// What buying for `most_bound` at the first price and selling at the last would have brought, after two fees.
    pub buy_and_hold: Decimal,
}

impl Summary {
    /// Adds a run up.
    pub fn new(end: &End, course: &Course, recording: &Recording, path: Path, taker_fee: Decimal) -> Self {
        let ledger = &end.ledger;
        let cycle = ledger.cycle.as_ref();
        let held = cycle.map_or_else(|| ledger.carry.clone(), crate::core::ledger::Cycle::held);
        let open_for = cycle.map_or(Duration::ZERO, |cycle| end.time.since(cycle.opened));
        let worst = drawdown(&course.positions, recording, path, end.time);
        let from = recording.starts().first().copied().unwrap_or(end.time);
        let first_price = recording.prices().first().map_or(Decimal::ZERO, |prices| recording.price(prices[0]));
        let kept = Decimal::ONE - taker_fee;
        let grown = end.price.checked_div(first_price).map_or(Decimal::ZERO, |ratio| ratio * kept * kept);
        Self {
            from,
            to: end.time,
            cycles: ledger.totals.cycles,
            executions: ledger.totals.executions,
            profit: ledger.totals.profit,
            held: held.quantity,
            held_cost: held.cost,
            equity: course.positions.last().map_or(Decimal::ZERO, |last| last.cash + last.quantity * end.price),
            most_bound: course.most_bound,
            drawdown: worst.worst,
            under_water: worst.longest_under_water,
            longest_cycle: course.longest_cycle.max(open_for),
            fees: ledger.totals.fees.clone(),
            first_price,
            last_price: end.price,
            buy_and_hold: course.most_bound * (grown - Decimal::ONE),
        }
    }

    /// An amount as a percentage of the most that was bound; zero if nothing was.
    pub fn percent(&self, amount: Decimal) -> Decimal {
        amount.checked_div(self.most_bound).map_or(Decimal::ZERO, |share| share * Decimal::ONE_HUNDRED)
    }

    /// The figures by name: amounts as exact decimals in quote coin, durations in seconds, percentages of `most_bound`.
    pub fn figures(&self) -> Value {
        let percent = |amount| text(self.percent(amount).round_dp(4));
        let fees: Map<String, Value> = self.fees.iter().map(|(coin, fee)| (coin.clone(), text(*fee).into())).collect();
        json!({
            "from": self.from.to_string(),
            "to": self.to.to_string(),
            "cycles": self.cycles,
            "executions": self.executions,
            "profit": text(self.profit),
            "return_percent": percent(self.profit),
            "held": { "quantity": text(self.held), "cost": text(self.held_cost) },
            "equity": text(self.equity),
            "equity_percent": percent(self.equity),
            "most_bound": text(self.most_bound),
            "drawdown": text(self.drawdown),
            "drawdown_percent": percent(self.drawdown),
            "under_water_seconds": self.under_water.as_secs(),
            "longest_cycle_seconds": self.longest_cycle.as_secs(),
            "fees": fees,
            "first_price": text(self.first_price),
            "last_price": text(self.last_price),
            "buy_and_hold": text(self.buy_and_hold.round_dp(8)),
            "buy_and_hold_percent": percent(self.buy_and_hold),
        })
    }
}
