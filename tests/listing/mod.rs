//! The instrument that the tests of the core trade.

use recompra::core::Decimal;
use recompra::core::instrument::Instrument;
use recompra::simulation::settings::Listing;

/// BTCUSDT, with filters as Bybit lists them but for the round limits of quantity.
pub(crate) fn instrument() -> Instrument {
    Instrument {
        max_limit_quantity: Decimal::from(100),
        max_market_quantity: Decimal::from(50),
        ..Listing::btcusdt().instrument
    }
}
