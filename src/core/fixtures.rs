//! What the tests of the core trade, and by which parameters.

use std::time::Duration;

use super::instrument::Instrument;
use super::money::{self, Decimal};
use super::parameters::{DeviationFrom, Parameters, TakeProfitMode};

pub(super) fn d(text: &str) -> Decimal {
    money::parse(text).unwrap()
}

pub(super) fn instrument() -> Instrument {
    Instrument {
        symbol: "BTCUSDT".to_owned(),
        base_coin: "BTC".to_owned(),
        quote_coin: "USDT".to_owned(),
        tick_size: d("0.01"),
        quantity_step: d("0.000001"),
        amount_step: d("0.0000001"),
        min_notional: d("5"),
        max_limit_quantity: d("10000000"),
        max_market_quantity: d("10000000"),
        trading: true,
    }
}

/// Base order 10, first rebuy 10, 3 rebuys, 1 % profit and step, step scale 1.5, amount scale 2, fee 0.1 %.
pub(super) fn parameters() -> Parameters {
    Parameters {
        symbol: "BTCUSDT".to_owned(),
        base_order_amount: d("10"),
        take_profit_percent: d("1"),
        take_profit_mode: TakeProfitMode::Average,
        max_rebuys: 3,
        rebuy_amount: d("10"),
        rebuy_step_percent: d("1"),
        step_scale: d("1.5"),
        amount_scale: d("2"),
        deviation_from: DeviationFrom::Base,
        active_rebuys: 1,
        sell_delay: Duration::ZERO,
        rebuy_delay: Duration::ZERO,
        cycle_delay: Duration::ZERO,
        max_cycles: 0,
        max_capital: d("80"),
        stop_loss_percent: None,
        time_limit: None,
        post_only: false,
        fee_rate: d("0.001"),
    }
}
