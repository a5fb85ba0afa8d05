//! The fill rules, in the only place where they are. See the module's documentation for their words.

use std::collections::{BTreeMap, BTreeSet};

use super::account::Rows;
use super::exchange::Exchange;
use super::market::PricePoint;
use super::order::{Ending, Fill, Kind, Order, Status, TimeInForce};
use crate::core::order::Side;
use crate::core::{Decimal, Timestamp, money};

/// Decimals of a fee in a third coin; it is rounded up to them.
const FEE_COIN_STEP: Decimal = Decimal::from_parts(1, 0, 0, false, 8);

/// What one point did to one account.
#[derive(Default)]
struct Touched {
    fills: Vec<Fill>,
    orders: BTreeSet<u64>,
}

impl Exchange {
    /// Moves a symbol's market to its next point and fills what that point trades through. Returns whether anything
    /// was filled. A symbol that is not listed is left alone.
    pub fn advance(&mut self, symbol: &str, point: &PricePoint, now: Timestamp) -> bool {
        let Some(listing) = self.listing(symbol) else { return false };
        self.books[listing].move_to(point, now);
        let mut touched: BTreeMap<usize, Touched> = BTreeMap::new();
        while let Some(id) = self.books[listing].next_touched() {
            let order = &self.orders[&id];
            let (account, leaves) = (order.account, order.leaves_quantity());
            let quantity = self.books[listing].liquidity().map_or(leaves, |available| available.min(leaves));
            let Some(price) = order.price().filter(|_| quantity > Decimal::ZERO) else { break };
            let fill = self.fill(id, price, quantity, true, now);
            let row = touched.entry(account).or_default();
            row.fills.push(fill);
            row.orders.insert(id);
        }
        let any = !touched.is_empty();
        for (account, Touched { fills, orders }) in touched {
            self.push(account, Rows::Executions(fills), now);
            self.push_order(account, &orders.into_iter().collect::<Vec<_>>(), now);
            self.push_wallet(account, now);
        }
        any
    }

    /// Lets an order that has just come (or been amended) take what it can, and rest or end with the remainder.
    pub(super) fn work(&mut self, id: u64, now: Timestamp) {
        let order = self.orders[&id].clone();
        let book = &self.books[order.listing];
        let crosses = order.price().is_none_or(|price| book.crosses(order.side, price));
        let price = book.taking_price(order.side);
        let wanted = match order.kind {
            Kind::MarketQuote => {
                let step = book.listing().instrument.quantity_step;
                money::quotient_floor(order.quantity, price, step).unwrap_or(Decimal::ZERO)
            }
            Kind::MarketBase | Kind::Limit { .. } => order.leaves_quantity(),
        };
        let available = if crosses { book.liquidity().map_or(wanted, |some| some.min(wanted)) } else { Decimal::ZERO };
        let time_in_force = match order.kind {
            Kind::Limit { time_in_force, .. } => time_in_force,
            Kind::MarketBase | Kind::MarketQuote => TimeInForce::Ioc,
        };
        match time_in_force {
            TimeInForce::PostOnly if crosses => self.close(id, Ending::WouldTake, now),
            TimeInForce::Fok if available < wanted => self.close(id, Ending::NotFillable, now),
            _ => {
                if available > Decimal::ZERO {
                    let fill = self.fill(id, price, available, false, now);
                    self.push(order.account, Rows::Executions(vec![fill]), now);
                }
                self.rest_or_end(id, time_in_force, now);
            }
        }
        self.push_order(order.account, &[id], now);
        self.push_wallet(order.account, now);
    }

    fn rest_or_end(&mut self, id: u64, time_in_force: TimeInForce, now: Timestamp) {
        let order = &self.orders[&id];
        if !order.status.is_open() {
            return;
        }
        match time_in_force {
            TimeInForce::Gtc | TimeInForce::PostOnly => self.books[order.listing].rest(order),
            TimeInForce::Ioc | TimeInForce::Fok => {
                let none = order.executed_quantity.is_zero();
                self.close(id, if none { Ending::NothingToTake } else { Ending::RestCancelled }, now);
            }
        }
    }

    /// Fills an open order: moves the coins, takes the fee, and closes the order when nothing is left of it.
    fn fill(&mut self, id: u64, price: Decimal, quantity: Decimal, maker: bool, now: Timestamp) -> Fill {
        let value = price * quantity;
        let fill_id = self.fresh_id();
        let old = self.orders[&id].clone();
        let (fee, fee_coin, fee_rate) = self.fee(&old, quantity, value, maker);

        let mut order = old.clone();
        order.executed_quantity += quantity;
        order.executed_value += value;
        order.status = Status::PartiallyFilled;
        order.updated = now;
        *order.fees.entry(fee_coin.clone()).or_default() += fee;
        self.relock(&order, old.locked());
        self.settle(&order, quantity, value, &fee_coin, fee);
        self.books[order.listing].traded(quantity, value);

        let done = match order.kind {
            Kind::MarketQuote => order.executed_value == order.quantity,
            Kind::MarketBase | Kind::Limit { .. } => order.executed_quantity == order.quantity,
        };
        let leaves_quantity = order.leaves_quantity();
        let fill = Fill {
            id: fill_id,
            order_id: id,
            link_id: order.link_id.clone(),
            symbol: order.symbol.clone(),
            side: order.side,
            kind: order.kind,
            order_quantity: order.quantity,
            leaves_quantity,
            price,
            quantity,
            value,
            fee,
            fee_coin,
            fee_rate,
            maker,
            time: now,
        };
        if done && maker {
            self.books[order.listing].remove(&order);
        }
        self.accounts[order.account].fills.push_back(fill.clone());
        self.orders.insert(id, order);
        if done {
            self.close(id, Ending::None, now);
        }
        fill
    }

    fn settle(&mut self, order: &Order, quantity: Decimal, value: Decimal, fee_coin: &str, fee: Decimal) {
        let instrument = &self.books[order.listing].listing().instrument;
        let (base, quote) = (instrument.base_coin.clone(), instrument.quote_coin.clone());
        let account = &mut self.accounts[order.account];
        match order.side {
            Side::Buy => {
                account.debit(&quote, value);
                account.credit(&base, quantity);
            }
            Side::Sell => {
                account.debit(&base, quantity);
                account.credit(&quote, value);
            }
        }
        account.debit(fee_coin, fee);
    }

    /// The fee of a fill, its coin and its rate.
    fn fee(&self, order: &Order, quantity: Decimal, value: Decimal, maker: bool) -> (Decimal, String, Decimal) {
        let rate = if maker { self.rules.maker_fee } else { self.rules.taker_fee };
        let account = &self.accounts[order.account];
        if let Some(coin) = &account.fee_coin {
            let fee = money::quotient_ceil(value * rate, coin.price, FEE_COIN_STEP);
            if let Some(fee) = fee.filter(|fee| *fee <= account.holding(&coin.coin).free()) {
                return (fee, coin.coin.clone(), rate);
            }
        }
        let instrument = self.instrument_of(order);
        match order.side {
            Side::Buy => (quantity * rate, instrument.base_coin.clone(), rate),
            Side::Sell => (value * rate, instrument.quote_coin.clone(), rate),
        }
    }
}
