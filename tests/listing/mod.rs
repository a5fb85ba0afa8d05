//! The instrument that the tests of the core trade.

use recompra::core::Decimal;
use recompra::core::instrument::Instrument;

/// BTCUSDT, with filters as Bybit lists them but for the round limits of quantity.
pub(crate) fn instrument() -> Instrument {
    Instrument {
        symbol: "BTCUSDT".to_owned(),
        base_coin: "BTC".to_owned(),
        quote_coin: "USDT".to_owned(),
        tick_size: Decimal::new(1, 2),
        quantity_step: Decimal::new(1, 6),
        amount_step: Decimal::new(1, 8),
        min_notional: Decimal::from(5),
        max_limit_quantity: Decimal::from(100),
        max_market_quantity: Decimal::from(50),
        trading: true,
    }
}
