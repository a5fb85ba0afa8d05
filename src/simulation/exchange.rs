//! The simulated exchange: its state, and what a client can ask of it.
//!
//! Single-threaded and deterministic: the moment is handed in with each call, ids are counted, nothing is
//! iterated in an order that could change. Calls may come in any order; time should not run backwards.
//!
//! What a call causes on the private stream is queued per account, to be taken with [`Exchange::take_pushes`].

use std::collections::{BTreeMap, BTreeSet};

use super::account::{Account, Push, Rows};
use super::book::Book;
use super::order::{Ending, Kind, NewOrder, Order, Status, TimeInForce};
use super::refusal::{self, Refusal};
use super::settings::{RateLimits, Settings};
use crate::core::instrument::Instrument;
use crate::core::order::Side;
use crate::core::{Decimal, Timestamp, money};

/// The exchange.
pub struct Exchange {
    pub(super) books: Vec<Book>,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: BTreeMap<u64, Order>,
    /// Closed orders by the moment at which they are forgotten.
    pub(super) expiries: BTreeSet<(Timestamp, u64)>,
    pub(super) rules: Rules,
    next_id: u64,
    pushes: u64,
}

/// What holds for all accounts and instruments alike.
pub(super) struct Rules {
    pub(super) maker_fee: Decimal,
    pub(super) taker_fee: Decimal,
    pub(super) max_open_orders: usize,
    pub(super) unfilled_retention: std::time::Duration,
    pub(super) filled_retention: std::time::Duration,
    pub(super) rate_limits: RateLimits,
    pub(super) demo_money: bool,
}

/// The names of an order that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The exchange's name of it.
    pub id: u64,
    /// The client's name of it; may be empty.
    pub link_id: String,
}

/// How a client names an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderRef {
    /// By `orderId`.
    Id(u64),
    /// By `orderLinkId`.
    Link(String),
}

impl Exchange {
    /// An exchange on which nothing has happened.
    pub fn new(settings: Settings) -> Self {
        Self {
            books: settings.listings.into_iter().map(Book::new).collect(),
            accounts: settings.accounts.into_iter().map(Account::new).collect(),
            orders: BTreeMap::new(),
            expiries: BTreeSet::new(),
            rules: Rules {
                maker_fee: settings.maker_fee,
                taker_fee: settings.taker_fee,
                max_open_orders: settings.max_open_orders,
                unfilled_retention: settings.unfilled_retention,
                filled_retention: settings.filled_retention,
                rate_limits: settings.rate_limits,
                demo_money: settings.demo_money,
            },
            next_id: settings.first_id,
            pushes: 0,
        }
    }

    /// The accounts, in the order of the settings.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The account of a key.
    pub fn account_of_key(&self, key: &str) -> Option<usize> {
        self.accounts.iter().position(|account| account.key == key)
    }

    /// All markets, in the order of the settings.
    pub fn books(&self) -> &[Book] {
        &self.books
    }

    /// The market of a symbol.
    pub fn book(&self, symbol: &str) -> Option<&Book> {
        self.listing(symbol).map(|index| &self.books[index])
    }

    /// The market of a symbol, to change its filters or trading status.
    pub fn book_mut(&mut self, symbol: &str) -> Option<&mut Book> {
        self.listing(symbol).map(|index| &mut self.books[index])
    }

    /// Every order still known, open and closed, by id.
    pub fn orders(&self) -> impl Iterator<Item = &Order> {
        self.orders.values()
    }

    /// Changes a balance from outside (a deposit, a withdrawal). It never goes below what is locked.
    ///
    /// # Errors
    /// [`refusal::BALANCE`].
    pub fn adjust_balance(&mut self, account: usize, coin: &str, by: Decimal, now: Timestamp) -> Result<(), Refusal> {
        let after = self.accounts[account].holding(coin).free() + by;
        if after.is_sign_negative() && !after.is_zero() {
            return Err(insufficient());
        }
        self.accounts[account].credit(coin, by);
        self.push_wallet(account, now);
        Ok(())
    }

    /// Lets an account pay its fees in another coin from now on, or (`None`) in what it receives.
    pub fn set_fee_coin(&mut self, account: usize, coin: Option<super::settings::FeeCoin>) {
        self.accounts[account].fee_coin = coin;
    }

    /// What has happened to an account since the last time, oldest first.
    pub fn take_pushes(&mut self, account: usize) -> Vec<Push> {
        std::mem::take(&mut self.accounts[account].outbox)
    }

    /// Takes an order, or refuses it. What becomes of it is told by pushes and queries.
    ///
    /// # Errors
    /// [`Refusal`]; the exchange is then as before, and the order's name is still free.
    pub fn create(&mut self, account: usize, new: NewOrder, now: Timestamp) -> Result<Accepted, Refusal> {
        self.forget_old(now);
        let listing = self.listing(&new.symbol).ok_or_else(|| unknown_symbol(&new.symbol))?;
        if !new.link_id.is_empty() && self.accounts[account].names.contains_key(&new.link_id) {
            return Err(Refusal::new(refusal::DUPLICATE, "Duplicate clientOrderId."));
        }
        let book = &self.books[listing];
        if !book.listing().instrument.trading {
            return Err(Refusal::new(refusal::NOT_TRADING, "The trading pair is not available for api trading."));
        }
        check(book, new.side, new.kind, new.quantity)?;
        let open = self.accounts[account].open.len();
        if open >= self.rules.max_open_orders {
            return Err(Refusal::new(refusal::TOO_MANY_OPEN, "The total number of active orders exceeds the limit."));
        }
        let (coin, needed) = needs(book, new.side, new.kind, new.quantity);
        if needed > self.accounts[account].holding(coin).free() {
            return Err(insufficient());
        }
        let id = self.fresh_id();
        let accepted = Accepted { id, link_id: new.link_id.clone() };
        self.enter(id, account, listing, new, now);
        Ok(accepted)
    }

    fn enter(&mut self, id: u64, account: usize, listing: usize, new: NewOrder, now: Timestamp) {
        if !new.link_id.is_empty() {
            self.accounts[account].names.insert(new.link_id.clone(), id);
        }
        let order = Order {
            id,
            link_id: new.link_id,
            account,
            listing,
            symbol: new.symbol,
            side: new.side,
            kind: new.kind,
            quantity: new.quantity,
            status: Status::New,
            ending: Ending::None,
            executed_quantity: Decimal::ZERO,
            executed_value: Decimal::ZERO,
            fees: BTreeMap::new(),
            created: now,
            updated: now,
            rank: id,
        };
        self.relock(&order, Decimal::ZERO);
        self.accounts[account].orders.insert(id);
        self.accounts[account].open.insert(id);
        self.orders.insert(id, order);
        self.work(id, now);
    }

    /// Changes price, quantity or both of an open limit order. Another price or more quantity loses its place in
    /// the queue, and may let it take at once.
    ///
    /// # Errors
    /// [`Refusal`]; the order is then as before.
    pub fn amend(
        &mut self,
        account: usize,
        symbol: &str,
        order: &OrderRef,
        new_price: Option<Decimal>,
        new_quantity: Option<Decimal>,
        now: Timestamp,
    ) -> Result<Accepted, Refusal> {
        let id = self.open_order(account, symbol, order)?;
        let Some(old) = self.orders.get(&id).cloned() else { return Err(not_open()) };
        let Kind::Limit { price: old_price, time_in_force } = old.kind else { return Err(not_open()) };
        let price = new_price.unwrap_or(old_price);
        let quantity = new_quantity.unwrap_or(old.quantity);
        if price == old_price && quantity == old.quantity {
            return Err(Refusal::parameter("order not modified"));
        }
        let kind = Kind::Limit { price, time_in_force };
        check(&self.books[old.listing], old.side, kind, quantity)?;
        if quantity <= old.executed_quantity {
            return Err(Refusal::new(refusal::INVALID, "Data sent for parameter 'qty' is not valid: already filled."));
        }
        let mut order = Order { kind, quantity, updated: now, ..old.clone() };
        let coin = self.paying_coin(&order).to_owned();
        let more = order.locked() - old.locked();
        if more > self.accounts[account].holding(&coin).free() {
            return Err(insufficient());
        }
        self.books[old.listing].remove(&old);
        if price != old_price || quantity > old.quantity {
            order.rank = self.fresh_id();
        }
        self.relock(&order, old.locked());
        let accepted = Accepted { id, link_id: order.link_id.clone() };
        self.orders.insert(id, order);
        self.work(id, now);
        Ok(accepted)
    }

    /// Cancels an open order.
    ///
    /// # Errors
    /// [`refusal::NOT_OPEN`] when the account has no such open order, [`refusal::SYMBOL`].
    pub fn cancel(
        &mut self,
        account: usize,
        symbol: &str,
        order: &OrderRef,
        now: Timestamp,
    ) -> Result<Accepted, Refusal> {
        let id = self.open_order(account, symbol, order)?;
        Ok(self.cancel_open(id, now))
    }

    /// Cancels all open orders of an account: of one symbol, of all with one base coin, or all there are.
    ///
    /// # Errors
    /// [`refusal::SYMBOL`].
    pub fn cancel_all(
        &mut self,
        account: usize,
        symbol: Option<&str>,
        base_coin: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<Accepted>, Refusal> {
        if let Some(symbol) = symbol {
            self.listing(symbol).ok_or_else(|| unknown_symbol(symbol))?;
        }
        let wanted = |order: &Order| {
            symbol.is_none_or(|symbol| order.symbol == symbol)
                && base_coin.is_none_or(|coin| self.instrument_of(order).base_coin == coin)
        };
        let open = self.accounts[account].open.iter();
        let ids: Vec<u64> = open.copied().filter(|id| self.orders.get(id).is_some_and(wanted)).collect();
        Ok(ids.into_iter().map(|id| self.cancel_open(id, now)).collect())
    }

    fn cancel_open(&mut self, id: u64, now: Timestamp) -> Accepted {
        let order = &self.orders[&id];
        let accepted = Accepted { id, link_id: order.link_id.clone() };
        let account = order.account;
        self.books[order.listing].remove(order);
        self.close(id, Ending::ByUser, now);
        self.push_order(account, &[id], now);
        self.push_wallet(account, now);
        accepted
    }

    fn open_order(&self, account: usize, symbol: &str, order: &OrderRef) -> Result<u64, Refusal> {
        self.listing(symbol).ok_or_else(|| unknown_symbol(symbol))?;
        let id = self.resolve(account, order).ok_or_else(not_open)?;
        let fits = self.accounts[account].open.contains(&id) && self.orders[&id].symbol == symbol;
        if fits { Ok(id) } else { Err(not_open()) }
    }

    /// The id of an account's order that is still known.
    pub(super) fn resolve(&self, account: usize, order: &OrderRef) -> Option<u64> {
        let account = &self.accounts[account];
        let id = match order {
            OrderRef::Id(id) => *id,
            OrderRef::Link(name) => *account.names.get(name)?,
        };
        account.orders.contains(&id).then_some(id)
    }

    /// Ends an open order: filled, or as `ending` says.
    pub(super) fn close(&mut self, id: u64, ending: Ending, now: Timestamp) {
        let Some(order) = self.orders.get_mut(&id) else { return };
        let before = order.locked();
        order.status = match (ending, order.executed_quantity.is_zero()) {
            (Ending::None, _) => Status::Filled,
            (_, true) => Status::Cancelled,
            (_, false) => Status::PartiallyFilledCanceled,
        };
        order.ending = ending;
        order.updated = now;
        let filled = !order.executed_quantity.is_zero();
        let order = order.clone();
        self.relock(&order, before);
        self.accounts[order.account].remember_closed(id);
        let retention = if filled { self.rules.filled_retention } else { self.rules.unfilled_retention };
        self.expiries.insert((now.after(retention), id));
    }

    /// Drops what the exchange no longer tells. Names stay taken.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        while let Some((expiry, id)) = self.expiries.first().copied().filter(|(expiry, _)| *expiry <= now) {
            self.expiries.remove(&(expiry, id));
            if let Some(order) = self.orders.remove(&id) {
                let account = &mut self.accounts[order.account];
                account.orders.remove(&id);
                account.recently_closed.retain(|closed| *closed != id);
            }
        }
        let oldest = now.before(self.rules.filled_retention);
        for account in &mut self.accounts {
            while account.fills.front().is_some_and(|fill| fill.time <= oldest) {
                account.fills.pop_front();
            }
        }
    }

    pub(super) fn relock(&mut self, order: &Order, before: Decimal) {
        let instrument = &self.books[order.listing].listing().instrument;
        let coin = if order.side == Side::Buy { &instrument.quote_coin } else { &instrument.base_coin };
        self.accounts[order.account].relock(coin, before, order.locked());
    }

    pub(super) fn paying_coin(&self, order: &Order) -> &str {
        let instrument = self.instrument_of(order);
        if order.side == Side::Buy { &instrument.quote_coin } else { &instrument.base_coin }
    }

    pub(super) fn instrument_of(&self, order: &Order) -> &Instrument {
        &self.books[order.listing].listing().instrument
    }

    pub(super) fn listing(&self, symbol: &str) -> Option<usize> {
        self.books.iter().position(|book| book.listing().instrument.symbol == symbol)
    }

    pub(super) fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    pub(super) fn push(&mut self, account: usize, rows: Rows, time: Timestamp) {
        self.pushes += 1;
        let number = self.pushes;
        self.accounts[account].outbox.push(Push { number, time, rows });
    }

    pub(super) fn push_order(&mut self, account: usize, ids: &[u64], now: Timestamp) {
        let orders = ids.iter().filter_map(|id| self.orders.get(id).cloned()).collect();
        self.push(account, Rows::Orders(orders), now);
    }

    pub(super) fn push_wallet(&mut self, account: usize, now: Timestamp) {
        let holdings = self.accounts[account].holdings.clone();
        self.push(account, Rows::Wallet(holdings), now);
    }
}

/// Whether an order passes the instrument's filters, now.
fn check(book: &Book, side: Side, kind: Kind, quantity: Decimal) -> Result<(), Refusal> {
    let instrument = &book.listing().instrument;
    if quantity <= Decimal::ZERO {
        return Err(Refusal::new(refusal::TOO_SMALL, "Order quantity exceeded lower limit."));
    }
    let in_quote = kind == Kind::MarketQuote;
    let (step, code) = match kind {
        Kind::MarketQuote => (instrument.amount_step, refusal::AMOUNT_STEP),
        Kind::MarketBase | Kind::Limit { .. } => (instrument.quantity_step, refusal::QUANTITY_STEP),
    };
    if money::floor_to(quantity, step) != quantity {
        let message =
            if in_quote { "Market order amount decimal too long." } else { "Order quantity decimal too long." };
        return Err(Refusal::new(code, message));
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
            Err(Refusal::new(refusal::MIN_NOTIONAL, "Order value exceeded lower limit."))
        }
        Some(value) if value <= largest_value => Ok(()),
        _ => Err(Refusal::new(refusal::TOO_LARGE, "Order amount too large.")),
    }
}

fn check_price(book: &Book, side: Side, price: Decimal) -> Result<(), Refusal> {
    let tick = book.listing().instrument.tick_size;
    if price <= Decimal::ZERO || money::floor_to(price, tick) != price {
        return Err(Refusal::new(refusal::TICK_SIZE, "Order price has too many decimals."));
    }
    let reach = book.bid() * book.listing().price_limit_ratio;
    let text = |limit: Decimal| money::text(money::floor_to(limit, tick));
    match side {
        Side::Buy if price > book.bid() + reach => Err(Refusal::new(
            refusal::BUY_PRICE_LIMIT,
            format!("Buy order price cannot be higher than {}.", text(book.bid() + reach)),
        )),
        Side::Sell if price < book.bid() - reach => Err(Refusal::new(
            refusal::SELL_PRICE_LIMIT,
            format!("Sell order price cannot be lower than {}.", text(book.bid() - reach)),
        )),
        Side::Buy | Side::Sell => Ok(()),
    }
}

/// The coin an order pays with, and how much of it must be free.
fn needs(book: &Book, side: Side, kind: Kind, quantity: Decimal) -> (&str, Decimal) {
    let instrument = &book.listing().instrument;
    let price = book.taking_price(side);
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

fn insufficient() -> Refusal {
    Refusal::new(refusal::BALANCE, "Insufficient balance.")
}

fn not_open() -> Refusal {
    Refusal::new(refusal::NOT_OPEN, "Order does not exist.")
}

pub(super) fn unknown_symbol(symbol: &str) -> Refusal {
    Refusal::new(refusal::SYMBOL, format!("Invalid symbol: {symbol:?}."))
}

impl TimeInForce {
    /// Bybit's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Ioc => "IOC",
            Self::Fok => "FOK",
            Self::PostOnly => "PostOnly",
        }
    }
}
