//! What the exchange says about the symbol: coins, tick, steps and limits.

use serde::{Deserialize, Serialize};

use super::money::{self, Decimal};

/// A spot instrument and the filters its orders must pass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instrument {
    /// For example `BTCUSDT`.
    pub symbol: String,
    /// The coin that is bought and sold, `BTC`.
    pub base_coin: String,
    /// The coin that pays, `USDT`.
    pub quote_coin: String,
    /// Prices are multiples of this, in quote coin.
    pub tick_size: Decimal,
    /// Quantities are multiples of this, in base coin.
    pub quantity_step: Decimal,
    /// Amounts of quote-sized market buys are multiples of this, in quote coin.
    pub amount_step: Decimal,
    /// The least notional of an order, in quote coin.
    pub min_notional: Decimal,
    /// The largest quantity of a limit order, in base coin.
    pub max_limit_quantity: Decimal,
    /// The largest quantity of a market order, in base coin.
    pub max_market_quantity: Decimal,
    /// Whether the exchange accepts orders for it.
    pub trading: bool,
}

/// The rule of an instrument that an order breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// The price is not a positive multiple of the tick size.
    TickSize,
    /// The quantity is not a positive multiple of the quantity step.
    QuantityStep,
    /// Price times quantity is below the least notional.
    MinNotional,
    /// The quantity is above the largest of one order.
    MaxQuantity,
}

impl Instrument {
    /// The price rounded down to the tick.
    pub fn price_down(&self, price: Decimal) -> Decimal {
        money::floor_to(price, self.tick_size)
    }

    /// The price rounded up to the tick.
    pub fn price_up(&self, price: Decimal) -> Decimal {
        money::ceil_to(price, self.tick_size)
    }

    /// The quantity rounded down to the step.
    pub fn quantity_down(&self, quantity: Decimal) -> Decimal {
        money::floor_to(quantity, self.quantity_step)
    }

    /// Whether a limit order of this price and quantity passes every filter.
    ///
    /// # Errors
    /// The first filter that it breaks.
    pub fn check_limit(&self, price: Decimal, quantity: Decimal) -> Result<(), Filter> {
        if price <= Decimal::ZERO || self.price_down(price) != price {
            return Err(Filter::TickSize);
        }
        if quantity <= Decimal::ZERO || self.quantity_down(quantity) != quantity {
            return Err(Filter::QuantityStep);
        }
        if quantity > self.max_limit_quantity {
            return Err(Filter::MaxQuantity);
        }
        match price.checked_mul(quantity) {
            Some(notional) if notional < self.min_notional => Err(Filter::MinNotional),
            Some(_) => Ok(()),
            None => Err(Filter::MaxQuantity),
        }
    }
}

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TickSize => "price is not a positive multiple of the tick size",
            Self::QuantityStep => "quantity is not a positive multiple of the quantity step",
            Self::MinNotional => "price × quantity is below the exchange's least notional (minOrderAmt)",
            Self::MaxQuantity => "quantity is above the exchange's largest for one order",
        })
    }
}
