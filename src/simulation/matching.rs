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
        let order = &self.orders[&id];
        let account = order.account;
        let book = &self.books[order.listing];
        let crosses = order.price().is_none_or(|price| book.crosses(order.side, price));
        let price = match order.kind {
            Kind::Limit { .. } => book.taking_price(order.side),
            Kind::MarketBase | Kind::MarketQuote => book.market_price(order.side),
        };
        let wanted = match order.kind {
            Kind::MarketQuote => {
                let step = book.listing().instrument.quantity_step;
                money::quotient_floor(order.quantity, price, step).unwrap_or(Decimal::ZERO)
            }
            Kind::MarketBase | Kind::Limit { .. } => order.leaves_quantity(),
        };
        let available = if crosses { book.liquidity().map_or(wanted, |some| some.min(wanted)) } else { Decimal::ZERO };
        let time_in_force = order.kind.time_in_force();
        match time_in_force {
            TimeInForce::PostOnly if crosses => self.close(id, Ending::WouldTake, now),
            TimeInForce::Fok if available < wanted => self.close(id, Ending::NotFillable, now),
            _ => {
                if available > Decimal::ZERO {
                    let fill = self.fill(id, price, available, false, now);
                    self.push(account, Rows::Executions(vec![fill]), now);
                }
                self.rest_or_end(id, time_in_force, now);
            }
        }
        self.push_order(account, &[id], now);
        self.push_wallet(account, now);
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
        let mut order = self.orders[&id].clone();
        let (fee, fee_coin, fee_rate) = self.fee(&order, quantity, value, maker);
        let locked_before = order.locked();
        order.executed_quantity += quantity;
        order.executed_value += value;
        order.status = Status::PartiallyFilled;
        order.updated = now;
        *order.fees.entry(fee_coin.clone()).or_default() += fee;
        self.relock(&order, locked_before);
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
        let (base, quote) = (&instrument.base_coin, &instrument.quote_coin);
        let account = &mut self.accounts[order.account];
        match order.side {
            Side::Buy => {
                account.debit(quote, value);
                account.credit(base, quantity);
            }
            Side::Sell => {
                account.debit(base, quantity);
                account.credit(quote, value);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::settings::FeeCoin;
    use crate::simulation::testing::*;
    use Side::{Buy, Sell};

    #[test]
    fn a_market_buy_of_an_amount_ends_with_a_rest_below_one_step() {
        let mut exchange = exchange();
        move_to(&mut exchange, "60000.09");
        let bought = place(&mut exchange, order(Buy, Kind::MarketQuote, "50"));
        assert_eq!(bought.status, Status::PartiallyFilledCanceled);
        assert_eq!((bought.executed_quantity, bought.executed_value), (d("0.000833"), d("49.9800833")));
        assert_eq!(bought.leaves_value(), d("0.0199167"));
        assert_eq!(bought.fees, BTreeMap::from([("BTC".to_owned(), d("0.000000833"))]));
        assert_eq!(free_and_locked(&exchange, "BTC"), (d("1.000832167"), Decimal::ZERO));
        assert_eq!(free_and_locked(&exchange, "USDT"), (d("9950.0199167"), Decimal::ZERO));
        let fill = &fills(&exchange.take_pushes(0))[0];
        assert_eq!((fill.price, fill.quantity, fill.maker), (d("60000.1"), d("0.000833"), false));
        assert_eq!((fill.fee, fill.fee_coin.as_str(), fill.value), (d("0.000000833"), "BTC", d("49.9800833")));
    }

    #[test]
    fn a_market_buy_of_an_exact_amount_is_filled() {
        let mut exchange = exchange();
        let bought = place(&mut exchange, order(Buy, Kind::MarketQuote, "60.00001"));
        assert_eq!((bought.status, bought.executed_quantity), (Status::Filled, d("0.001")));
        assert_eq!(bought.leaves_value(), Decimal::ZERO);
    }

    #[test]
    fn market_orders_take_at_ask_and_bid_in_either_unit() {
        let mut exchange = exchange();
        for (side, kind, quantity, price, executed) in [
            (Buy, Kind::MarketBase, "0.01", "60000.01", "0.01"),
            (Sell, Kind::MarketBase, "0.01", "60000", "0.01"),
            (Sell, Kind::MarketQuote, "600", "60000", "0.01"),
        ] {
            let order = place(&mut exchange, order(side, kind, quantity));
            assert_eq!((order.status, order.average_price()), (Status::Filled, Some(d(price))), "{side:?} {kind:?}");
            assert_eq!(order.executed_quantity, d(executed));
        }
    }

    #[test]
    fn a_sell_pays_its_fee_in_quote_coin() {
        let mut exchange = exchange();
        let sold = place(&mut exchange, order(Sell, Kind::MarketBase, "0.000832"));
        assert_eq!(sold.fees, BTreeMap::from([("USDT".to_owned(), d("0.04992"))]));
        assert_eq!(free_and_locked(&exchange, "USDT").0, d("10049.87008"));
    }

    #[test]
    fn a_crossing_limit_takes_at_the_better_price() {
        let mut exchange = exchange();
        let bought = place(&mut exchange, limit(Buy, "60600", "0.01"));
        assert_eq!((bought.status, bought.average_price()), (Status::Filled, Some(d("60000.01"))));
        let sold = place(&mut exchange, limit(Sell, "59000", "0.01"));
        assert_eq!((sold.status, sold.average_price()), (Status::Filled, Some(d("60000"))));
        // At the ask it crosses, one tick below it rests.
        assert_eq!(place(&mut exchange, limit(Buy, "60000.01", "0.01")).status, Status::Filled);
        assert_eq!(place(&mut exchange, limit(Buy, "60000", "0.01")).status, Status::New);
    }

    #[test]
    fn a_resting_order_is_filled_only_when_the_market_trades_through_it() {
        let mut exchange = exchange();
        let buy = place(&mut exchange, limit(Buy, "59400", "0.01")).id;
        let sell = place(&mut exchange, limit(Sell, "60600", "0.01")).id;
        assert!(!move_to(&mut exchange, "59400"), "touched only");
        assert!(!move_to(&mut exchange, "60600"), "touched only");
        exchange.take_pushes(0);
        assert!(move_to(&mut exchange, "59399.99"));
        assert!(move_to(&mut exchange, "60700"));
        let fills = fills(&exchange.take_pushes(0));
        let seen: Vec<_> = fills.iter().map(|fill| (fill.order_id, fill.price, fill.maker, fill.fee)).collect();
        assert_eq!(seen, [(buy, d("59400"), true, d("0.00001")), (sell, d("60600"), true, d("0.606"))]);
        assert_eq!(found(&exchange, buy).status, Status::Filled);
    }

    #[test]
    fn points_between_the_bounds_touch_nothing() {
        let mut exchange = exchange();
        let bounds = |exchange: &Exchange| exchange.book(BTC).unwrap().resting_bounds();
        assert_eq!(bounds(&exchange), (None, None));
        for price in ["58000", "59000", "57000"] {
            place(&mut exchange, limit(Buy, price, "0.001"));
        }
        let sell = place(&mut exchange, limit(Sell, "61000", "0.001")).id;
        assert_eq!(bounds(&exchange), (Some(d("59000")), Some(d("61000"))));
        move_to(&mut exchange, "58500");
        exchange.cancel(0, BTC, &crate::simulation::exchange::OrderRef::Id(sell), NOW).unwrap();
        assert_eq!(bounds(&exchange), (Some(d("58000")), None));
    }

    #[test]
    fn one_point_fills_by_price_then_by_time() {
        let mut exchange = exchange();
        let ids: Vec<u64> = ["59000", "59200", "59200", "59100"]
            .map(|price| place(&mut exchange, limit(Buy, price, "0.001")).id)
            .to_vec();
        exchange.take_pushes(0);
        move_to(&mut exchange, "58000");
        let pushes = exchange.take_pushes(0);
        let order: Vec<u64> = fills(&pushes).iter().map(|fill| fill.order_id).collect();
        assert_eq!(order, [ids[1], ids[2], ids[3], ids[0]]);
        assert_eq!(pushes.len(), 3, "one message each of executions, orders and wallet");
    }

    #[test]
    fn a_changed_price_or_a_larger_quantity_goes_to_the_end_of_the_queue() {
        for (price, quantity, first) in [(None, Some("0.0005"), 0), (None, Some("0.002"), 1)] {
            let mut exchange = exchange();
            let ids: Vec<u64> = (0..2).map(|_| place(&mut exchange, limit(Buy, "59000", "0.001")).id).collect();
            let name = crate::simulation::exchange::OrderRef::Id(ids[0]);
            exchange.amend(0, BTC, &name, price, quantity.map(d), NOW).unwrap();
            exchange.take_pushes(0);
            move_to(&mut exchange, "58000");
            assert_eq!(fills(&exchange.take_pushes(0))[0].order_id, ids[first], "{quantity:?}");
        }
    }

    #[test]
    fn thin_liquidity_fills_in_part_and_is_shared() {
        let mut exchange = exchange();
        let first = place(&mut exchange, limit(Buy, "59000", "0.01")).id;
        let second = place(&mut exchange, limit(Buy, "58900", "0.01")).id;
        assert!(move_to_thin(&mut exchange, "58000", "0.0150009"));
        assert_eq!(found(&exchange, first).status, Status::Filled);
        let rest = found(&exchange, second);
        assert_eq!((rest.status, rest.executed_quantity), (Status::PartiallyFilled, d("0.005")));
        assert_eq!(free_and_locked(&exchange, "USDT").1, d("294.5"));
        // Nothing is left for a taker until the next point.
        let taker = place(&mut exchange, order(Sell, Kind::MarketBase, "0.001"));
        assert_eq!((taker.status, taker.ending), (Status::Cancelled, Ending::NothingToTake));
        assert!(move_to_thin(&mut exchange, "58000", "0.007"));
        let taker = place(&mut exchange, order(Sell, Kind::MarketBase, "0.003"));
        assert_eq!((taker.status, taker.executed_quantity), (Status::PartiallyFilledCanceled, d("0.002")));
        assert_eq!(found(&exchange, second).status, Status::Filled);
    }

    #[test]
    fn a_crossing_limit_rests_with_what_it_could_not_take() {
        let mut exchange = exchange();
        move_to_thin(&mut exchange, "60000", "0.004");
        let order = place(&mut exchange, limit(Buy, "60100", "0.01"));
        assert_eq!((order.status, order.executed_value), (Status::PartiallyFilled, d("240.00004")));
        assert_eq!(free_and_locked(&exchange, "USDT").1, d("360.6"));
        move_to(&mut exchange, "60050");
        let order = found(&exchange, order.id);
        assert_eq!((order.status, order.executed_value), (Status::Filled, d("600.60004")));
    }

    #[test]
    fn times_in_force_differ_in_what_they_do_with_the_rest() {
        let mut exchange = exchange();
        use TimeInForce::{Fok, Ioc, PostOnly};
        let mut outcome = |liquidity: &str, order| {
            move_to_thin(&mut exchange, "60000", liquidity);
            let order = place(&mut exchange, order);
            (order.status, order.ending.reject_reason(), order.executed_quantity)
        };
        let none = Decimal::ZERO;
        let buy = |price, time_in_force| limit_as(Buy, price, "0.01", time_in_force);
        let filled = (Status::Filled, "EC_NoError", d("0.01"));
        assert_eq!(outcome("1", buy("60100", Ioc)), filled);
        assert_eq!(outcome("1", buy("60100", Fok)), filled);
        let partly = (Status::PartiallyFilledCanceled, "EC_CancelForNoFullFill", d("0.004"));
        assert_eq!(outcome("0.004", buy("60100", Ioc)), partly);
        assert_eq!(outcome("1", buy("59000", Ioc)), (Status::Cancelled, "EC_NoImmediateQtyToFill", none));
        assert_eq!(outcome("0.004", buy("60100", Fok)), (Status::Cancelled, "EC_NoEnoughQtyToFill", none));
        assert_eq!(outcome("1", buy("59000", Fok)), (Status::Cancelled, "EC_NoEnoughQtyToFill", none));
        assert_eq!(outcome("1", buy("59000", PostOnly)), (Status::New, "EC_NoError", none));
        assert_eq!(outcome("1", buy("60000.01", PostOnly)), (Status::Cancelled, "EC_PostOnlyWillTakeLiquidity", none));
        assert_eq!(free_and_locked(&exchange, "USDT").1, d("590"), "only the resting order holds back money");
    }

    #[test]
    fn the_spread_can_be_wider() {
        let mut settings = settings();
        settings.listings[0].spread_ticks = 100;
        let mut exchange = Exchange::new(settings);
        let bought = place(&mut exchange, order(Buy, Kind::MarketBase, "0.001"));
        assert_eq!(bought.average_price(), Some(d("60001")));
    }

    #[test]
    fn a_price_between_two_ticks_counts_as_the_tick_below() {
        let mut exchange = exchange();
        move_to(&mut exchange, "60000.129");
        assert_eq!(exchange.book(BTC).unwrap().bid(), d("60000.12"));
    }

    #[test]
    fn fees_can_be_paid_in_a_third_coin_as_long_as_there_is_some() {
        let mut settings = settings();
        settings.accounts[0].fee_coin = Some(FeeCoin { coin: "MNT".to_owned(), price: d("0.7") });
        settings.accounts[0].balances.insert("MNT".to_owned(), d("1"));
        let mut exchange = Exchange::new(settings);
        let bought = place(&mut exchange, order(Buy, Kind::MarketBase, "0.01"));
        // 600.0001 × 0.001 ÷ 0.7 = 0.857143, rounded up at the eighth decimal.
        assert_eq!(bought.fees, BTreeMap::from([("MNT".to_owned(), d("0.857143"))]));
        assert_eq!(free_and_locked(&exchange, "BTC").0, d("1.01"));
        let bought = place(&mut exchange, order(Buy, Kind::MarketBase, "0.01"));
        assert_eq!(bought.fees, BTreeMap::from([("BTC".to_owned(), d("0.00001"))]), "the coin has run out");
    }

    #[test]
    fn an_order_does_not_change_the_market_of_another_symbol() {
        let mut exchange = exchange();
        assert!(!exchange.advance("NOPE", &PricePoint::new(NOW, d("1")), NOW));
        let id = place(&mut exchange, limit(Buy, "59000", "0.001")).id;
        exchange.advance("ETHUSDT", &PricePoint::new(NOW, d("1")), NOW);
        assert_eq!(found(&exchange, id).status, Status::New);
    }
}
