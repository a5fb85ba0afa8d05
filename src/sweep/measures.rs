//! What one backtest of a sweep came to, as it stands in the file of results, and by which of it sets are ranked.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::backtest::summary::Summary;
use crate::core::Decimal;

/// Decimals of percentages and ratios.
const DECIMALS: u32 = 4;

/// The numbers of one backtest; see the file's format in [`super`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the file, which the module above explains")]
pub struct Measures {
    pub from: String,
    pub to: String,
    pub cycles: u64,
    pub executions: u64,
    pub profit: Decimal,
    pub profit_percent: Decimal,
    pub equity: Decimal,
    pub equity_percent: Decimal,
    pub most_bound: Decimal,
    pub drawdown: Decimal,
    pub drawdown_percent: Decimal,
    pub profit_per_drawdown: Option<Decimal>,
    pub equity_per_drawdown: Option<Decimal>,
    pub under_water_seconds: u64,
    pub longest_cycle_seconds: u64,
    pub buy_and_hold: Decimal,
}

impl From<&Summary> for Measures {
    fn from(summary: &Summary) -> Self {
        let short = |number: Decimal| number.round_dp(DECIMALS).normalize();
        let per_drawdown = |amount: Decimal| amount.checked_div(summary.drawdown).map(short);
        Self {
            from: summary.from.to_string(),
            to: summary.to.to_string(),
            cycles: summary.cycles,
            executions: summary.executions,
            profit: summary.profit.normalize(),
            profit_percent: short(summary.percent(summary.profit)),
            equity: summary.equity.normalize(),
            equity_percent: short(summary.percent(summary.equity)),
            most_bound: summary.most_bound.normalize(),
            drawdown: summary.drawdown.normalize(),
            drawdown_percent: short(summary.percent(summary.drawdown)),
            profit_per_drawdown: per_drawdown(summary.profit),
            equity_per_drawdown: per_drawdown(summary.equity),
            under_water_seconds: summary.under_water.as_secs(),
            longest_cycle_seconds: summary.longest_cycle.as_secs(),
            buy_and_hold: summary.buy_and_hold.round_dp(8).normalize(),
        }
    }
}

/// What sets are ranked by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Profit of closed cycles and what is held at the last price.
    Equity,
    /// Profit of closed cycles.
    Profit,
    /// Equity per cent of the most that was bound.
    EquityPercent,
    /// Profit per cent of the most that was bound.
    ProfitPercent,
    /// Equity for each unit of the worst drawdown.
    EquityPerDrawdown,
    /// Profit for each unit of the worst drawdown.
    ProfitPerDrawdown,
    /// The least drawdown.
    Drawdown,
}

impl Measure {
    /// Every measure.
    pub const ALL: [Self; 7] = [
        Self::Equity,
        Self::Profit,
        Self::EquityPercent,
        Self::ProfitPercent,
        Self::EquityPerDrawdown,
        Self::ProfitPerDrawdown,
        Self::Drawdown,
    ];

    /// Its name, that of the field.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equity => "equity",
            Self::Profit => "profit",
            Self::EquityPercent => "equity_percent",
            Self::ProfitPercent => "profit_percent",
            Self::EquityPerDrawdown => "equity_per_drawdown",
            Self::ProfitPerDrawdown => "profit_per_drawdown",
            Self::Drawdown => "drawdown",
        }
    }

    /// The measure of a name.
    ///
    /// # Errors
    /// Which names there are.
    pub fn named(name: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|measure| measure.name() == name);
        found.ok_or_else(|| format!("{name:?} is no measure: there are {}", names()))
    }

    /// Its value; `None` for a ratio to a drawdown that there was not.
    pub fn of(self, measures: &Measures) -> Option<Decimal> {
        match self {
            Self::Equity => Some(measures.equity),
            Self::Profit => Some(measures.profit),
            Self::EquityPercent => Some(measures.equity_percent),
            Self::ProfitPercent => Some(measures.profit_percent),
            Self::EquityPerDrawdown => measures.equity_per_drawdown,
            Self::ProfitPerDrawdown => measures.profit_per_drawdown,
            Self::Drawdown => Some(measures.drawdown),
        }
    }

    /// Its value turned so that more is better.
    pub(super) fn merit(self, measures: &Measures) -> Option<Decimal> {
        let value = self.of(measures);
        if self == Self::Drawdown { value.map(|value| -value) } else { value }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
