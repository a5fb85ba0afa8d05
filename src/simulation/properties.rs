//! Random sequences of everything that can be done to an exchange, with its books checked after each step.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::exchange::{Exchange, OrderRef};
use super::market::PricePoint;
use super::order::{Fill, Kind, NewOrder, Status, TimeInForce};
use super::settings::{AccountSettings, FeeCoin};
use super::testing::*;
use crate::core::order::Side;
use crate::core::{Decimal, Timestamp};

const COINS: [&str; 3] = ["BTC", "MNT", "USDT"];

struct Run {
    random: StdRng,
    exchange: Exchange,
    opening: Vec<[Decimal; 3]>,
    now: Timestamp,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut settings = settings();
        let mut second = AccountSettings::new("second", "second", "USDT", d("5000"));
        second.balances.insert("BTC".to_owned(), d("0.1"));
        second.balances.insert("MNT".to_owned(), d("0.5"));
        second.fee_coin = Some(FeeCoin { coin: "MNT".to_owned(), price: d("0.7") });
        settings.accounts.push(second);
        let exchange = Exchange::new(settings);
        let opening = (0..2).map(|account| Self::wallet(&exchange, account)).collect();
        Self { random: StdRng::seed_from_u64(seed), exchange, opening, now: NOW }
    }

    fn wallet(exchange: &Exchange, account: usize) -> [Decimal; 3] {
        COINS.map(|coin| exchange.accounts()[account].holding(coin).wallet)
    }

    fn chance(&mut self, of: u32) -> bool {
        self.random.random_range(0..of) == 0
    }

    fn price(&mut self) -> Decimal {
        Decimal::new(self.random.random_range(5_800_000..6_200_000), 2)
    }

    fn side(&mut self) -> Side {
        if self.chance(2) { Side::Buy } else { Side::Sell }
    }

    fn quantity(&mut self) -> Decimal {
        Decimal::new(self.random.random_range(50..60_000), 6)
    }

    fn step(&mut self) {
        self.now = Timestamp(self.now.0 + self.random.random_range(0..5_000));
        let account = self.random.random_range(0..2);
        let now = self.now;
        match self.random.random_range(0..10) {
            0..4 => {
                let time_in_force = [TimeInForce::Gtc, TimeInForce::Ioc, TimeInForce::Fok, TimeInForce::PostOnly];
                let kind = match self.random.random_range(0..8) {
                    0 => Kind::MarketBase,
                    1 => Kind::MarketQuote,
                    _ => Kind::Limit {
                        price: self.price(),
                        time_in_force: time_in_force[self.random.random_range(0..4)],
                    },
                };
                let quantity = if kind == Kind::MarketQuote { self.price() / d("100") } else { self.quantity() };
                let order =
                    NewOrder { symbol: BTC.to_owned(), side: self.side(), kind, quantity, link_id: String::new() };
                let _ = self.exchange.create(account, order, now);
            }
            4 => {
                if let Some(id) = self.some_order() {
                    let (price, quantity) = (self.price(), self.quantity());
                    let (price, quantity) = (self.chance(2).then_some(price), self.chance(2).then_some(quantity));
                    let _ = self.exchange.amend(account, BTC, &OrderRef::Id(id), price, quantity, now);
                }
            }
            5 => {
                if let Some(id) = self.some_order() {
                    let _ = self.exchange.cancel(account, BTC, &OrderRef::Id(id), now);
                }
            }
            6 if self.chance(10) => {
                let _ = self.exchange.cancel_all(account, None, None, now);
            }
            _ => {
                let liquidity = self.chance(2).then(|| self.quantity());
                let point = PricePoint { time: now, price: self.price(), liquidity };
                self.exchange.advance(BTC, &point, now);
            }
        }
    }

    fn some_order(&mut self) -> Option<u64> {
        let open: Vec<u64> =
            self.exchange.orders().filter(|order| order.status.is_open()).map(|order| order.id).collect();
        (!open.is_empty()).then(|| open[self.random.random_range(0..open.len())])
    }

    fn check(&self) {
        for account in 0..2 {
            let fills: Vec<Fill> = self.exchange.accounts()[account].fills.iter().cloned().collect();
            self.check_wallet(account, &fills);
            self.check_locks(account);
            self.check_orders(account, &fills);
        }
    }

    /// What an account owns is what it began with, changed by its executions and nothing else.
    fn check_wallet(&self, account: usize, fills: &[Fill]) {
        let mut expected = self.opening[account];
        for fill in fills {
            let sign = if fill.side == Side::Buy { Decimal::ONE } else { -Decimal::ONE };
            assert_eq!(fill.value, fill.price * fill.quantity);
            expected[0] += sign * fill.quantity;
            expected[2] -= sign * fill.value;
            let coin = COINS.iter().position(|coin| *coin == fill.fee_coin).unwrap();
            expected[coin] -= fill.fee;
            match coin {
                0 => assert_eq!((fill.side, fill.fee), (Side::Buy, fill.quantity * d("0.001"))),
                2 => assert_eq!((fill.side, fill.fee), (Side::Sell, fill.value * d("0.001"))),
                _ => assert_eq!(account, 1),
            }
        }
        assert_eq!(Self::wallet(&self.exchange, account), expected);
    }

    /// What is locked is what open orders still have to pay, and never more than is owned.
    fn check_locks(&self, account: usize) {
        let open = self.exchange.orders().filter(|order| order.account == account && order.status.is_open());
        let (mut base, mut quote) = (Decimal::ZERO, Decimal::ZERO);
        for order in open {
            let leaves = order.quantity - order.executed_quantity;
            assert!(leaves > Decimal::ZERO);
            match order.side {
                Side::Buy => quote += leaves * order.price().unwrap(),
                Side::Sell => base += leaves,
            }
        }
        let account = &self.exchange.accounts()[account];
        assert_eq!((account.holding("BTC").locked, account.holding("USDT").locked), (base, quote));
        for (coin, holding) in account.holdings() {
            assert!(holding.free() >= Decimal::ZERO && holding.locked >= Decimal::ZERO, "{coin}: {holding:?}");
        }
    }

    /// What an order says of itself is the sum of its executions.
    fn check_orders(&self, account: usize, fills: &[Fill]) {
        for order in self.exchange.orders().filter(|order| order.account == account) {
            let own = || fills.iter().filter(|fill| fill.order_id == order.id);
            assert_eq!(order.executed_quantity, own().map(|fill| fill.quantity).sum::<Decimal>());
            assert_eq!(order.executed_value, own().map(|fill| fill.value).sum::<Decimal>());
            assert_eq!(order.fees.values().sum::<Decimal>(), own().map(|fill| fill.fee).sum::<Decimal>());
            let none = order.executed_quantity.is_zero();
            match order.status {
                Status::New | Status::Cancelled => assert!(none),
                Status::PartiallyFilled | Status::PartiallyFilledCanceled => assert!(!none),
                Status::Filled if order.kind == Kind::MarketQuote => assert_eq!(order.executed_value, order.quantity),
                Status::Filled => assert_eq!(order.executed_quantity, order.quantity),
            }
            if let Some(limit) = order.price() {
                let better = |fill: &Fill| (fill.price <= limit) == (order.side == Side::Buy) || fill.price == limit;
                // An amended order may have been filled at its earlier price.
                assert!(own().filter(|fill| fill.kind == order.kind).all(better));
            }
        }
    }
}

#[test]
fn after_every_step_the_books_balance_to_the_last_digit() {
    let mut fills = 0;
    for seed in 0..40 {
        let mut run = Run::new(seed);
        for step in 0..150 {
            run.step();
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.check()));
            assert!(checked.is_ok(), "seed {seed}, step {step}");
        }
        fills += run.exchange.accounts().iter().map(|account| account.fills.len()).sum::<usize>();
    }
    assert!(fills > 1000, "{fills} fills do not try much");
}

#[test]
fn the_same_calls_give_the_same_exchange_ids_included() {
    let outcome = || {
        let mut run = Run::new(77);
        (0..300).for_each(|_| run.step());
        let pushes = (0..2).map(|account| run.exchange.take_pushes(account)).collect::<Vec<_>>();
        format!("{:?} {pushes:?}", run.exchange.orders().collect::<Vec<_>>())
    };
    assert_eq!(outcome(), outcome());
}
