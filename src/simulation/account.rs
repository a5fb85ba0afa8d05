//! An account: what it owns, what of it is locked in orders, which names it has used, and what is to be told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::order::{Fill, Order};
use super::settings::{AccountSettings, FeeCoin, Permissions};
use crate::core::{Decimal, Timestamp};

/// How many closed orders `order/realtime` remembers.
pub const RECENTLY_CLOSED: usize = 500;

/// One coin of an account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holding {
    /// All of it.
    pub wallet: Decimal,
    /// What of it resting orders hold back.
    pub locked: Decimal,
}

impl Holding {
    /// What new orders can use.
    pub fn free(&self) -> Decimal {
        self.wallet - self.locked
    }
}

/// Something that happened to an account, for its private stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Grows by one with each push of the exchange.
    pub number: u64,
    /// When.
    pub time: Timestamp,
    /// What.
    pub rows: Rows,
}

/// The rows of one push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Topic `order`.
    Orders(Vec<Order>),
    /// Topic `execution`.
    Executions(Vec<Fill>),
    /// Topic `wallet`: all coins as they are now.
    Wallet(Arc<BTreeMap<String, Holding>>),
}

/// An account.
pub struct Account {
    pub(super) key: String,
    pub(super) secret: String,
    /// What the key may do.
    pub permissions: Permissions,
    /// Pay fees in this coin.
    pub fee_coin: Option<FeeCoin>,
    /// Shared with the pushes that tell of it.
    pub(super) holdings: Arc<BTreeMap<String, Holding>>,
    /// Ids of all orders still known.
    pub(super) orders: BTreeSet<u64>,
    pub(super) open: BTreeSet<u64>,
    pub(super) recently_closed: VecDeque<u64>,
    /// Every name ever used, with its order: names stay taken after the order is forgotten.
    pub(super) names: BTreeMap<String, u64>,
    /// Oldest first.
    pub(super) fills: VecDeque<Fill>,
    pub(super) outbox: Vec<Push>,
    /// Requests of the current second, by endpoint.
    pub(super) requests: BTreeMap<&'static str, (i64, u32)>,
    pub(super) demo_money_at: Option<Timestamp>,
}

impl Account {
    pub(super) fn new(settings: AccountSettings) -> Self {
        let holdings =
            settings.balances.into_iter().map(|(coin, wallet)| (coin, Holding { wallet, locked: Decimal::ZERO }));
        Self {
            key: settings.key,
            secret: settings.secret,
            permissions: settings.permissions,
            fee_coin: settings.fee_coin,
            holdings: Arc::new(holdings.collect()),
            orders: BTreeSet::new(),
            open: BTreeSet::new(),
            recently_closed: VecDeque::new(),
            names: BTreeMap::new(),
            fills: VecDeque::new(),
            outbox: Vec::new(),
            requests: BTreeMap::new(),
            demo_money_at: None,
        }
    }

    /// The coins it has, or has had.
    pub fn holdings(&self) -> &BTreeMap<String, Holding> {
        &self.holdings
    }

    /// One coin; zero if it has none.
    pub fn holding(&self, coin: &str) -> Holding {
        self.holdings.get(coin).cloned().unwrap_or_default()
    }

    pub(super) fn credit(&mut self, coin: &str, amount: Decimal) {
        self.entry(coin).wallet += amount;
    }

    pub(super) fn debit(&mut self, coin: &str, amount: Decimal) {
        let holding = self.entry(coin);
        holding.wallet -= amount;
        assert!(!holding.wallet.is_sign_negative() || holding.wallet.is_zero(), "{coin}: an account went below zero");
    }

    /// Replaces what one order holds back by another amount.
    pub(super) fn relock(&mut self, coin: &str, before: Decimal, after: Decimal) {
        let holding = self.entry(coin);
        holding.locked += after - before;
        assert!(!holding.locked.is_sign_negative() || holding.locked.is_zero(), "{coin}: a lock went below zero");
    }

    fn entry(&mut self, coin: &str) -> &mut Holding {
        let holdings = Arc::make_mut(&mut self.holdings);
        if !holdings.contains_key(coin) {
            holdings.insert(coin.to_owned(), Holding::default());
        }
        holdings.get_mut(coin).expect("a coin that was just put there")
    }

    pub(super) fn remember_closed(&mut self, id: u64) {
        self.open.remove(&id);
        self.recently_closed.push_back(id);
        if self.recently_closed.len() > RECENTLY_CLOSED {
            self.recently_closed.pop_front();
        }
    }
}
