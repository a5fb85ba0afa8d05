//! One instrument's market: where its price is, and which orders rest at which price.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::market::PricePoint;
use super::order::Order;
use super::settings::Listing;
use crate::core::order::Side;
use crate::core::{Decimal, Timestamp, money};

/// One-minute bars that a book remembers: seven days.
const BARS: usize = 7 * 24 * 60;
const MINUTE: i64 = 60_000;

/// Prices of one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The minute's first moment.
    pub start: Timestamp,
    /// First price.
    pub open: Decimal,
    /// Highest price.
    pub high: Decimal,
    /// Lowest price.
    pub low: Decimal,
    /// Last price.
    pub close: Decimal,
    /// Base coin traded by this exchange's own accounts.
    pub volume: Decimal,
    /// Quote coin of that.
    pub turnover: Decimal,
}

impl Bar {
    /// A bar of one price at which nothing was traded.
    pub(super) fn new(start: Timestamp, price: Decimal) -> Self {
        let none = Decimal::ZERO;
        Self { start, open: price, high: price, low: price, close: price, volume: none, turnover: none }
    }

    /// Adds a later bar to this one.
    pub(super) fn extend(&mut self, later: &Self) {
        self.high = self.high.max(later.high);
        self.low = self.low.min(later.low);
        self.close = later.close;
        self.volume += later.volume;
        self.turnover += later.turnover;
    }
}

/// The market of one instrument.
pub struct Book {
    listing: Listing,
    bid: Decimal,
    liquidity: Option<Decimal>,
    buys: BTreeMap<(Reverse<Decimal>, u64), u64>,
    sells: BTreeMap<(Decimal, u64), u64>,
    // The prices of the first of each map, so that a point that touches nothing costs two comparisons.
    best_buy: Option<Decimal>,
    best_sell: Option<Decimal>,
    bars: VecDeque<Bar>,
}

impl Book {
    pub(super) fn new(listing: Listing) -> Self {
        let bid = listing.start_price;
        Self {
            listing,
            bid,
            liquidity: None,
            buys: BTreeMap::new(),
            sells: BTreeMap::new(),
            best_buy: None,
            best_sell: None,
            bars: VecDeque::new(),
        }
    }

    /// The instrument and how its market behaves.
    pub fn listing(&self) -> &Listing {
        &self.listing
    }

    /// To change filters or the trading status while the exchange runs.
    pub fn listing_mut(&mut self) -> &mut Listing {
        &mut self.listing
    }

    /// Best bid and last trade.
    pub fn bid(&self) -> Decimal {
        self.bid
    }

    /// Best ask.
    pub fn ask(&self) -> Decimal {
        self.bid + self.listing.instrument.tick_size * Decimal::from(self.listing.spread_ticks.max(1))
    }

    /// The base quantity that can still be traded before the next point, in whole steps; `None` is unlimited.
    pub fn liquidity(&self) -> Option<Decimal> {
        self.liquidity.map(|quantity| self.listing.instrument.quantity_down(quantity))
    }

    /// What an order of this side takes at, if it takes.
    pub fn taking_price(&self, side: Side) -> Decimal {
        match side {
            Side::Buy => self.ask(),
            Side::Sell => self.bid,
        }
    }

    /// What a market order of this side trades at: worse than the best price by the listing's slippage, to the tick.
    pub fn market_price(&self, side: Side) -> Decimal {
        let Listing { slippage, instrument, .. } = &self.listing;
        let best = self.taking_price(side);
        if slippage.is_zero() {
            return best;
        }
        let worse = best.checked_mul(*slippage).unwrap_or_default();
        match side {
            Side::Buy => money::ceil_to(best + worse, instrument.tick_size),
            Side::Sell => money::floor_to(best - worse, instrument.tick_size).max(instrument.tick_size),
        }
    }

    /// Whether a limit order of this price would take now.
    pub fn crosses(&self, side: Side, price: Decimal) -> bool {
        match side {
            Side::Buy => price >= self.ask(),
            Side::Sell => price <= self.bid,
        }
    }

    /// The highest resting buy and the lowest resting sell. A price that is not below the one nor above the other
    /// fills nothing.
    pub fn resting_bounds(&self) -> (Option<Decimal>, Option<Decimal>) {
        (self.best_buy, self.best_sell)
    }

    /// The bars it remembers, oldest first; the last one may still grow.
    pub fn bars(&self) -> &VecDeque<Bar> {
        &self.bars
    }

    pub(super) fn move_to(&mut self, point: &PricePoint, now: Timestamp) {
        // A price between two ticks is nobody's bid.
        let price = money::floor_to(point.price, self.listing.instrument.tick_size);
        if price > Decimal::ZERO {
            self.bid = price;
        }
        self.liquidity = point.liquidity;
        self.draw_bar(now);
    }

    fn draw_bar(&mut self, now: Timestamp) {
        let start = Timestamp(now.0 - now.0.rem_euclid(MINUTE));
        let drawn = Bar::new(start, self.bid);
        match self.bars.back_mut() {
            Some(bar) if bar.start >= start => bar.extend(&drawn),
            _ => {
                self.bars.push_back(drawn);
                if self.bars.len() > BARS {
                    self.bars.pop_front();
                }
            }
        }
    }

    pub(super) fn traded(&mut self, quantity: Decimal, value: Decimal) {
        if let Some(liquidity) = &mut self.liquidity {
            *liquidity -= quantity;
        }
        if let Some(bar) = self.bars.back_mut() {
            bar.volume += quantity;
            bar.turnover += value;
        }
    }

    /// The next order that the current price trades through.
    pub(super) fn next_touched(&self) -> Option<u64> {
        if self.best_buy.is_some_and(|price| self.bid < price) {
            return self.buys.first_key_value().map(|(_, id)| *id);
        }
        if self.best_sell.is_some_and(|price| self.bid > price) {
            return self.sells.first_key_value().map(|(_, id)| *id);
        }
        None
    }

    pub(super) fn rest(&mut self, order: &Order) {
        let Some(price) = order.price() else { return };
        match order.side {
            Side::Buy => self.buys.insert((Reverse(price), order.rank), order.id),
            Side::Sell => self.sells.insert((price, order.rank), order.id),
        };
        self.renew_bounds();
    }

    pub(super) fn remove(&mut self, order: &Order) {
        let Some(price) = order.price() else { return };
        match order.side {
            Side::Buy => self.buys.remove(&(Reverse(price), order.rank)),
            Side::Sell => self.sells.remove(&(price, order.rank)),
        };
        self.renew_bounds();
    }

    fn renew_bounds(&mut self) {
        self.best_buy = self.buys.first_key_value().map(|((Reverse(price), _), _)| *price);
        self.best_sell = self.sells.first_key_value().map(|((price, _), _)| *price);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::testing::d;

    /// A book whose bid is 60000 and whose ask is a tick above.
    fn book(slippage: &str, price: &str) -> Book {
        let mut book = Book::new(Listing { slippage: d(slippage), ..Listing::btcusdt() });
        book.move_to(&PricePoint::new(Timestamp(0), d(price)), Timestamp(0));
        book
    }

    #[test]
    fn market_orders_trade_worse_by_the_slippage_and_to_the_tick_against_them() {
        for (slippage, buys_at, sells_at) in [
            ("0", "60000.01", "60000"),
            ("0.001", "60060.02", "59940"),
            ("0.0000001", "60000.02", "59999.99"),
            ("0.5", "90000.02", "30000"),
        ] {
            let book = book(slippage, "60000");
            assert_eq!(book.market_price(Side::Buy), d(buys_at), "buy with {slippage}");
            assert_eq!(book.market_price(Side::Sell), d(sells_at), "sell with {slippage}");
            assert_eq!((book.taking_price(Side::Buy), book.taking_price(Side::Sell)), (d("60000.01"), d("60000")));
        }
    }

    #[test]
    fn no_slippage_takes_a_price_to_nothing() {
        assert_eq!(book("1", "60000").market_price(Side::Sell), d("0.01"));
        assert_eq!(book("0.1", "0.01").market_price(Side::Sell), d("0.01"));
    }
}
