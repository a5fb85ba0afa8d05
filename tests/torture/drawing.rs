//! What a seed trades: the configuration and the market.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use recompra::core::parameters::{DeviationFrom, Parameters, TakeProfitMode};
use recompra::core::{Decimal, ladder};
use recompra::simulation::Settings;
use recompra::simulation::settings::{AccountSettings, FeeCoin, Listing};

/// A strategy out of the whole range that makes sense.
pub(crate) fn parameters(rng: &mut SmallRng) -> Parameters {
    let hundredths = |rng: &mut SmallRng, from: i64, to: i64| Decimal::new(rng.random_range(from..=to), 2);
    let mut parameters = Parameters {
        symbol: "BTCUSDT".to_owned(),
        base_order_amount: hundredths(rng, 1_500, 10_000),
        take_profit_percent: hundredths(rng, 20, 200),
        take_profit_mode: if rng.random() { TakeProfitMode::Average } else { TakeProfitMode::PerLevel },
        max_rebuys: rng.random_range(0..=5),
        rebuy_amount: hundredths(rng, 1_500, 10_000),
        rebuy_step_percent: hundredths(rng, 20, 150),
        step_scale: hundredths(rng, 80, 160),
        amount_scale: hundredths(rng, 90, 160),
        deviation_from: if rng.random() { DeviationFrom::Base } else { DeviationFrom::Previous },
        active_rebuys: rng.random_range(1..=3),
        sell_delay: Duration::from_millis(rng.random_range(0..3_000)),
        rebuy_delay: Duration::from_millis(rng.random_range(0..1_000)),
        cycle_delay: Duration::from_millis(rng.random_range(0..5_000)),
        max_cycles: 0,
        max_capital: Decimal::from(100_000),
        stop_loss_percent: rng.random_bool(0.25).then(|| hundredths(rng, 100, 500)),
        time_limit: rng.random_bool(0.2).then(|| Duration::from_secs(rng.random_range(60..3_000))),
        post_only: rng.random_bool(0.3),
        fee_rate: Decimal::new(1, 3),
    };
    let cost = ladder::cost(&parameters).unwrap_or(Decimal::from(5_000));
    parameters.max_capital = cost + hundredths(rng, 0, 1_000);
    parameters
}

/// The exchange of a seed: one account with enough for the ladder, sometimes with coins of the user's own.
pub(crate) fn exchange(rng: &mut SmallRng, parameters: &Parameters, start_price: Decimal) -> Settings {
    let enough = parameters.max_capital * Decimal::new(rng.random_range(12..40), 1);
    let mut account = AccountSettings::new("key", "secret", "USDT", enough);
    if rng.random_bool(0.3) {
        account.balances.insert("BTC".to_owned(), Decimal::new(rng.random_range(1..50_000), 6));
    }
    if rng.random_bool(0.2) {
        account.balances.insert("MNT".to_owned(), Decimal::from(1_000));
        account.fee_coin = rng.random_bool(0.5).then(mnt);
    }
    let listing = Listing { start_price, ..Listing::btcusdt() };
    Settings { listings: vec![listing], accounts: vec![account], ..Settings::default() }
}

/// The third coin that can pay fees.
pub(crate) fn mnt() -> FeeCoin {
    FeeCoin { coin: "MNT".to_owned(), price: Decimal::new(55, 2) }
}

/// A random walk: one point every so often, each at most so far from the one before.
#[derive(Clone, Debug)]
pub(crate) struct Walk {
    /// In ticks of 0.01.
    pub(crate) price: i64,
    /// Milliseconds between two points.
    pub(crate) pace: i64,
    /// A move is at most the price divided by this.
    pub(crate) calmness: i64,
}

impl Walk {
    /// A seed's market.
    pub(crate) fn drawn(rng: &mut SmallRng) -> Self {
        Self {
            price: rng.random_range(2_000_000..8_000_000),
            pace: [300, 1_000, 3_000][rng.random_range(0..3)],
            calmness: [60, 150, 400][rng.random_range(0..3)],
        }
    }

    /// Its next price.
    pub(crate) fn step(&mut self, rng: &mut SmallRng) -> Decimal {
        let reach = self.price / self.calmness;
        self.price = (self.price + rng.random_range(-reach..=reach)).clamp(500_000, 20_000_000);
        self.price()
    }

    /// Its price now.
    pub(crate) fn price(&self) -> Decimal {
        Decimal::new(self.price, 2)
    }
}

/// Sums by coin.
pub(crate) type ByCoin = BTreeMap<String, Decimal>;
