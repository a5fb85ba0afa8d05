//! What the user chose: the parameters of the strategy, named as in `[strategy]` of the configuration.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::money::{self, Decimal};

/// How the take profit is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TakeProfitMode {
    /// One sell for everything held, from the average cost.
    Average,
    /// One sell for each lot, from that lot's own cost.
    PerLevel,
}

/// What a rebuy's deviation is measured from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviationFrom {
    /// The base order's average price.
    Base,
    /// The level above.
    Previous,
}

/// The parameters of the strategy. Amounts in quote coin, percentages as the user writes them (1 is 1 %).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// For example `BTCUSDT`.
    pub symbol: String,
    /// Spent by the market buy that opens a cycle.
    pub base_order_amount: Decimal,
    /// Net of both fees.
    pub take_profit_percent: Decimal,
    /// How the take profit is computed.
    pub take_profit_mode: TakeProfitMode,
    /// Levels below the base order, 0 to 100.
    pub max_rebuys: u8,
    /// Spent by the first rebuy.
    pub rebuy_amount: Decimal,
    /// Deviation of the first rebuy; zero only if there are no rebuys.
    pub rebuy_step_percent: Decimal,
    /// Each further step is this times the one before.
    pub step_scale: Decimal,
    /// Each further amount is this times the one before.
    pub amount_scale: Decimal,
    /// What deviations are measured from.
    pub deviation_from: DeviationFrom,
    /// Rebuys resting at once, at least 1.
    pub active_rebuys: u8,
    /// From a buy's fill to the sell of what it bought.
    pub sell_delay: Duration,
    /// From that sell to the rebuy below.
    pub rebuy_delay: Duration,
    /// From the take profit's fill to the next cycle.
    pub cycle_delay: Duration,
    /// Stop after so many cycles; 0 is never.
    pub max_cycles: u64,
    /// The most that the ladder may cost.
    pub max_capital: Decimal,
    /// This far below the average cost, everything is cancelled and sold at market.
    pub stop_loss_percent: Option<Decimal>,
    /// A cycle older than this is closed at market.
    pub time_limit: Option<Duration>,
    /// Whether limit orders are maker-only.
    pub post_only: bool,
    /// Assumed until fills show the real one; as a fraction.
    pub fee_rate: Decimal,
}

impl Parameters {
    /// The take profit as a fraction.
    pub fn take_profit(&self) -> Decimal {
        money::fraction(self.take_profit_percent)
    }

    /// The first rebuy's deviation as a fraction.
    pub fn rebuy_step(&self) -> Decimal {
        money::fraction(self.rebuy_step_percent)
    }
}
