//! What a simulated exchange is made with: instruments, accounts, fees, limits.
//!
//! [`Settings::default`] is a complete exchange with one account (key `paper`, secret `paper`, 10,000 USDT) and
//! two instruments, `BTCUSDT` and `ETHUSDT`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::core::instrument::Instrument;
use crate::core::{Decimal, Timestamp};

/// The key and the secret of the default account. They guard play money on loopback.
pub const DEFAULT_KEY: &str = "paper";
/// See [`DEFAULT_KEY`].
pub const DEFAULT_SECRET: &str = "paper";

/// A whole exchange before anything has happened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is traded; symbols are unique.
    pub listings: Vec<Listing>,
    /// Who trades; keys are unique.
    pub accounts: Vec<AccountSettings>,
    /// The fee of a resting order, as a fraction.
    pub maker_fee: Decimal,
    /// The fee of an order that takes, as a fraction.
    pub taker_fee: Decimal,
    /// Open orders that one account may have.
    pub max_open_orders: usize,
    /// How long closed orders without fills stay known (Bybit: 24 hours).
    pub unfilled_retention: Duration,
    /// How long closed orders with fills, and executions, stay known (Bybit's demo: 7 days).
    pub filled_retention: Duration,
    /// Requests that one account may make a second.
    pub rate_limits: RateLimits,
    /// Whether `demo-apply-money` gives money.
    pub demo_money: bool,
    /// The first order id. An exchange that is started anew for a client with a memory needs another one.
    pub first_id: u64,
}

/// An instrument and how its market behaves.
#[derive(Clone, Debug)]
pub struct Listing {
    /// Coins and filters.
    pub instrument: Instrument,
    /// The ask is the bid plus this many ticks; at least 1.
    pub spread_ticks: u32,
    /// How far through the market a limit price may be, as a fraction.
    pub price_limit_ratio: Decimal,
    /// By how much market orders trade worse than the best price, as a fraction: they walk down a book that is not
    /// simulated.
    pub slippage: Decimal,
    /// The price before the market's first point, in quote coin.
    pub start_price: Decimal,
}

/// An account as it opens.
#[derive(Clone)]
pub struct AccountSettings {
    /// The API key.
    pub key: String,
    /// The API secret.
    pub secret: String,
    /// What it owns, by coin.
    pub balances: BTreeMap<String, Decimal>,
    /// What the key may do.
    pub permissions: Permissions,
    /// Pay fees in this coin instead of what is received.
    pub fee_coin: Option<FeeCoin>,
}

/// What a key may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// It may only ask.
    pub read_only: bool,
    /// It may trade spot (`SpotTrade`).
    pub spot_trade: bool,
    /// It may withdraw (`Withdraw`); a bot should refuse such a key.
    pub withdraw: bool,
    /// The addresses the key is bound to; `*` is any.
    pub ips: Vec<String>,
}

/// A coin that pays fees at a fixed price.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeeCoin {
    /// For example `MNT`.
    pub coin: String,
    /// What one of it is worth, in quote coin.
    pub price: Decimal,
}

/// Requests a second, for one account and one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// `order/create`.
    pub create: u32,
    /// `order/cancel` and `order/cancel-all`.
    pub cancel: u32,
    /// `order/amend`.
    pub amend: u32,
    /// Everything that only asks.
    pub read: u32,
}

impl Settings {
    /// The same, with ids that begin at a moment: an exchange started later, even after a crash, gives other ids than this
    /// one did, so that a client with a memory never meets an id twice.
    pub fn with_ids_from(self, moment: Timestamp) -> Self {
        let milliseconds = u64::try_from(moment.0).unwrap_or(0);
        Self { first_id: milliseconds.saturating_mul(1_000_000).max(1), ..self }
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { create: 20, cancel: 20, amend: 10, read: 50 }
    }
}

impl Default for Permissions {
    fn default() -> Self {
        Self { read_only: false, spot_trade: true, withdraw: false, ips: vec!["*".to_owned()] }
    }
}

impl AccountSettings {
    /// An account that may trade and owns this much of one coin.
    pub fn new(key: &str, secret: &str, coin: &str, amount: Decimal) -> Self {
        Self {
            key: key.to_owned(),
            secret: secret.to_owned(),
            balances: BTreeMap::from([(coin.to_owned(), amount)]),
            permissions: Permissions::default(),
            fee_coin: None,
        }
    }
}

impl fmt::Debug for AccountSettings {
    /// Without key and secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountSettings")
            .field("balances", &self.balances)
            .field("permissions", &self.permissions)
            .field("fee_coin", &self.fee_coin)
            .finish_non_exhaustive()
    }
}

impl Listing {
    /// `BTCUSDT` as Bybit lists it: tick 0.01, step 0.000001, at least 5 USDT an order.
    pub fn btcusdt() -> Self {
        Self {
            instrument: Instrument {
                symbol: "BTCUSDT".to_owned(),
                base_coin: "BTC".to_owned(),
                quote_coin: "USDT".to_owned(),
                tick_size: Decimal::new(1, 2),
                quantity_step: Decimal::new(1, 6),
                amount_step: Decimal::new(1, 8),
                min_notional: Decimal::from(5),
                max_limit_quantity: Decimal::from(83),
                max_market_quantity: Decimal::from(41),
                trading: true,
            },
            spread_ticks: 1,
            price_limit_ratio: Decimal::new(5, 2),
            slippage: Decimal::ZERO,
            start_price: Decimal::from(60_000),
        }
    }

    /// `ETHUSDT` as Bybit lists it.
    pub fn ethusdt() -> Self {
        Self {
            instrument: Instrument {
                symbol: "ETHUSDT".to_owned(),
                base_coin: "ETH".to_owned(),
                tick_size: Decimal::new(1, 2),
                quantity_step: Decimal::new(1, 5),
                amount_step: Decimal::new(1, 7),
                max_limit_quantity: Decimal::from(2_500),
                max_market_quantity: Decimal::from(1_200),
                ..Self::btcusdt().instrument
            },
            start_price: Decimal::from(3_000),
            ..Self::btcusdt()
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listings: vec![Listing::btcusdt(), Listing::ethusdt()],
            accounts: vec![AccountSettings::new(DEFAULT_KEY, DEFAULT_SECRET, "USDT", Decimal::from(10_000))],
            maker_fee: Decimal::new(1, 3),
            taker_fee: Decimal::new(1, 3),
            max_open_orders: 500,
            unfilled_retention: Duration::from_secs(24 * 3600),
            filled_retention: Duration::from_secs(7 * 24 * 3600),
            rate_limits: RateLimits::default(),
            demo_money: true,
            first_id: 1_800_000_000_000_000_001,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_debug_text_of_an_account_has_neither_key_nor_secret() {
        let account = AccountSettings::new("the-key", "the-secret", "USDT", Decimal::ONE);
        let text = format!("{account:?}");
        assert!(!text.contains("the-key") && !text.contains("the-secret"), "{text}");
    }

    #[test]
    fn an_exchange_started_a_millisecond_later_gives_other_ids() {
        let first_id = |ms| Settings::default().with_ids_from(Timestamp(ms)).first_id;
        assert_eq!(first_id(1_700_000_000_001) - first_id(1_700_000_000_000), 1_000_000);
        assert_eq!(first_id(-5), 1);
    }
}
