//! The filters an order must pass, against its instrument and the market of this moment, and what it pays with.
//!
//! A limit price may be any distance from the market on its own side of it; what is limited is how far *through*
//! the market it may be: a buy above it, a sell below it.

use super::api_error::{self, ApiError};
use super::book::Book;
use super::order::Kind;
use crate::core::order::Side;
use crate::core::{Decimal, money};

/// Whether an order passes the instrument's filters, now.
pub(super) fn check(book: &Book, side: Side, kind: Kind, quantity: Decimal) -> Result<(), ApiError> {
    let instrument = &book.listing().instrument;
    if quantity <= Decimal::ZERO {
        return Err(ApiError::new(api_error::TOO_SMALL, "Order quantity exceeded lower limit."));
    }
    let in_quote = kind == Kind::MarketQuote;
    let (step, code) = match kind {
        Kind::MarketQuote => (instrument.amount_step, api_error::AMOUNT_STEP),
        Kind::MarketBase | Kind::Limit { .. } => (instrument.quantity_step, api_error::QUANTITY_STEP),
    };
    if money::floor_to(quantity, step) != quantity {
        let message =
            if in_quote { "Market order amount decimal too long." } else { "Order quantity decimal too long." };
        return Err(ApiError::new(code, message));
    }
    let (price, largest) = match kind {
        Kind::Limit { price, .. } => {
            check_price(book, side, price)?;
            (price, instrument.max_limit_quantity)
        }
        Kind::MarketBase | Kind::MarketQuote => (book.taking_price(side), instrument.max_market_quantity),
    };
    let value = if in_quote { Some(quantity) } else { price.checked_mul(quantity) };
    let largest_value = largest.checked_mul(price).unwrap_or(Decimal::MAX);
    match value {
        Some(value) if value < instrument.min_notional => {
            Err(ApiError::new(api_error::MIN_NOTIONAL, "Order value exceeded lower limit."))
        }
        Some(value) if value <= largest_value => Ok(()),
        _ => Err(ApiError::new(api_error::TOO_LARGE, "Order amount too large.")),
    }
}

fn check_price(book: &Book, side: Side, price: Decimal) -> Result<(), ApiError> {
    let tick = book.listing().instrument.tick_size;
    if price <= Decimal::ZERO || money::floor_to(price, tick) != price {
        return Err(ApiError::new(api_error::TICK_SIZE, "Order price has too many decimals."));
    }
    let reach = book.bid() * book.listing().price_limit_ratio;
    let text = |limit: Decimal| money::text(money::floor_to(limit, tick));
    match side {
        Side::Buy if price > book.bid() + reach => Err(ApiError::new(
            api_error::BUY_PRICE_LIMIT,
            format!("Buy order price cannot be higher than {}.", text(book.bid() + reach)),
        )),
        Side::Sell if price < book.bid() - reach => Err(ApiError::new(
            api_error::SELL_PRICE_LIMIT,
            format!("Sell order price cannot be lower than {}.", text(book.bid() - reach)),
        )),
        Side::Buy | Side::Sell => Ok(()),
    }
}

/// The coin an order pays with, and how much of it must be free.
pub(super) fn needs(book: &Book, side: Side, kind: Kind, quantity: Decimal) -> (&str, Decimal) {
    let instrument = &book.listing().instrument;
    let price = book.market_price(side);
    match (side, kind) {
        (Side::Buy, Kind::MarketQuote) => (&instrument.quote_coin, quantity),
        (Side::Buy, Kind::MarketBase) => (&instrument.quote_coin, price * quantity),
        (Side::Buy, Kind::Limit { price, .. }) => (&instrument.quote_coin, price * quantity),
        (Side::Sell, Kind::MarketQuote) => {
            let base = money::quotient_floor(quantity, price, instrument.quantity_step).unwrap_or(Decimal::MAX);
            (&instrument.base_coin, base)
        }
        (Side::Sell, Kind::MarketBase | Kind::Limit { .. }) => (&instrument.base_coin, quantity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::order::{NewOrder, Status};
    use crate::simulation::testing::*;
    use Side::{Buy, Sell};

    #[test]
    fn each_filter_refuses_with_its_own_code() {
        let mut exchange = exchange();
        let market = |side, quantity| order(side, Kind::MarketBase, quantity);
        for (order, code) in [
            (limit(Buy, "59000.001", "0.001"), api_error::TICK_SIZE),
            (limit(Buy, "0", "0.001"), api_error::TICK_SIZE),
            (limit(Buy, "-1", "0.001"), api_error::TICK_SIZE),
            (limit(Buy, "59000", "0.0010001"), api_error::QUANTITY_STEP),
            (limit(Buy, "59000", "0"), api_error::TOO_SMALL),
            (limit(Buy, "59000", "-0.001"), api_error::TOO_SMALL),
            (limit(Buy, "59000", "0.000084"), api_error::MIN_NOTIONAL),
            (limit(Buy, "59000", "84"), api_error::TOO_LARGE),
            (limit(Buy, "63000.01", "0.001"), api_error::BUY_PRICE_LIMIT),
            (limit(Sell, "56999.99", "0.001"), api_error::SELL_PRICE_LIMIT),
            (market(Sell, "42"), api_error::TOO_LARGE),
            (market(Sell, "0.00001"), api_error::MIN_NOTIONAL),
            (market(Buy, "0.0000001"), api_error::QUANTITY_STEP),
            (order(Buy, Kind::MarketQuote, "4.99"), api_error::MIN_NOTIONAL),
            (order(Buy, Kind::MarketQuote, "5.000000001"), api_error::AMOUNT_STEP),
            (order(Buy, Kind::MarketQuote, "3000000"), api_error::TOO_LARGE),
            (NewOrder { symbol: "NOPE".to_owned(), ..limit(Buy, "1", "1") }, api_error::SYMBOL),
        ] {
            assert_eq!(refused(&mut exchange, order.clone()), code, "{order:?}");
        }
        assert_eq!(exchange.orders().count(), 0);
        assert!(exchange.take_pushes(0).is_empty());
    }

    #[test]
    fn a_price_may_rest_as_far_from_the_market_as_one_likes() {
        let mut exchange = exchange();
        assert_eq!(place(&mut exchange, limit(Buy, "1000", "0.01")).status, Status::New);
        assert_eq!(place(&mut exchange, limit(Sell, "999999", "0.01")).status, Status::New);
        assert_eq!(place(&mut exchange, limit(Buy, "63000", "0.001")).status, Status::Filled);
        assert_eq!(place(&mut exchange, limit(Sell, "57000", "0.001")).status, Status::Filled);
    }
}
