//! The simulated exchange: its state, and what a client can ask of it.
//!
//! Single-threaded and deterministic: the moment is handed in with each call, ids are counted, nothing is
//! iterated in an order that could change. Calls may come in any order; time should not run backwards.
//!
//! What a call causes on the private stream is queued per account, to be taken with [`Exchange::take_pushes`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::account::{Account, Push, Rows};
use super::api_error::{self, ApiError};
use super::book::Book;
use super::filters::{check, needs};
use super::order::{Ending, Kind, NewOrder, Order, Status};
use super::settings::Settings;
use crate::core::instrument::Instrument;
use crate::core::order::Side;
use crate::core::{Decimal, Timestamp};

/// The exchange.
pub struct Exchange {
    pub(super) books: Vec<Book>,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: BTreeMap<u64, Order>,
    /// Closed orders by the moment at which they are forgotten.
    pub(super) expiries: BTreeSet<(Timestamp, u64)>,
    /// What holds for all accounts and instruments alike; they themselves are above.
    pub(super) rules: Settings,
    next_id: u64,
    pushes: u64,
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
    pub fn new(mut settings: Settings) -> Self {
        Self {
            books: settings.listings.drain(..).map(Book::new).collect(),
            accounts: settings.accounts.drain(..).map(Account::new).collect(),
            orders: BTreeMap::new(),
            expiries: BTreeSet::new(),
            next_id: settings.first_id,
            pushes: 0,
            rules: settings,
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
    /// [`api_error::BALANCE`].
    pub fn adjust_balance(&mut self, account: usize, coin: &str, by: Decimal, now: Timestamp) -> Result<(), ApiError> {
        let after = self.accounts[account].holding(coin).free() + by;
        if after.is_sign_negative() && !after.is_zero() {
            return Err(ApiError::insufficient_balance());
        }
        self.accounts[account].credit(coin, by);
        self.push_wallet(account, now);
        Ok(())
    }

    /// Lets an account pay its fees in another coin from now on, or (`None`) in what it receives.
    pub fn set_fee_coin(&mut self, account: usize, coin: Option<super::settings::FeeCoin>) {
        self.accounts[account].fee_coin = coin;
    }

    /// Allows so many requests a second from now on.
    pub fn set_rate_limits(&mut self, limits: super::settings::RateLimits) {
        self.rules.rate_limits = limits;
    }

    /// What has happened to an account since the last time, oldest first.
    pub fn take_pushes(&mut self, account: usize) -> Vec<Push> {
        std::mem::take(&mut self.accounts[account].outbox)
    }

    /// Takes an order, or refuses it. What becomes of it is told by pushes and queries.
    ///
    /// # Errors
    /// [`ApiError`]; the exchange is then as before, and the order's name is still free.
    pub fn create(&mut self, account: usize, new: NewOrder, now: Timestamp) -> Result<Accepted, ApiError> {
        self.forget_old(now);
        let listing = self.listing(&new.symbol).ok_or_else(|| ApiError::unknown_symbol(&new.symbol))?;
        if !new.link_id.is_empty() && self.accounts[account].names.contains_key(&new.link_id) {
            return Err(ApiError::new(api_error::DUPLICATE, "Duplicate clientOrderId."));
        }
        let book = &self.books[listing];
        if !book.listing().instrument.trading {
            return Err(ApiError::new(api_error::NOT_TRADING, "The trading pair is not available for api trading."));
        }
        check(book, new.side, new.kind, new.quantity)?;
        let open = self.accounts[account].open.len();
        if open >= self.rules.max_open_orders {
            return Err(ApiError::new(
                api_error::TOO_MANY_OPEN,
                "The total number of active orders exceeds the limit.",
            ));
        }
        let (coin, needed) = needs(book, new.side, new.kind, new.quantity);
        if needed > self.accounts[account].holding(coin).free() {
            return Err(ApiError::insufficient_balance());
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
    /// [`ApiError`]; the order is then as before.
    pub fn amend(
        &mut self,
        account: usize,
        symbol: &str,
        order: &OrderRef,
        new_price: Option<Decimal>,
        new_quantity: Option<Decimal>,
        now: Timestamp,
    ) -> Result<Accepted, ApiError> {
        let id = self.open_order(account, symbol, order)?;
        let Some(old) = self.orders.get(&id).cloned() else { return Err(ApiError::not_open()) };
        let Kind::Limit { price: old_price, time_in_force } = old.kind else { return Err(ApiError::not_open()) };
        let price = new_price.unwrap_or(old_price);
        let quantity = new_quantity.unwrap_or(old.quantity);
        if price == old_price && quantity == old.quantity {
            return Err(ApiError::parameter("order not modified"));
        }
        let kind = Kind::Limit { price, time_in_force };
        check(&self.books[old.listing], old.side, kind, quantity)?;
        if quantity <= old.executed_quantity {
            return Err(ApiError::new(
                api_error::INVALID,
                "Data sent for parameter 'qty' is not valid: already filled.",
            ));
        }
        let mut order = Order { kind, quantity, updated: now, ..old.clone() };
        let coin = paying_coin(self.instrument_of(&order), order.side);
        let more = order.locked() - old.locked();
        if more > self.accounts[account].holding(coin).free() {
            return Err(ApiError::insufficient_balance());
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
    /// [`api_error::NOT_OPEN`] when the account has no such open order, [`api_error::SYMBOL`].
    pub fn cancel(
        &mut self,
        account: usize,
        symbol: &str,
        order: &OrderRef,
        now: Timestamp,
    ) -> Result<Accepted, ApiError> {
        let id = self.open_order(account, symbol, order)?;
        Ok(self.cancel_open(id, now))
    }

    /// Cancels all open orders of an account: of one symbol, of all with one base coin, or all there are.
    ///
    /// # Errors
    /// [`api_error::SYMBOL`].
    pub fn cancel_all(
        &mut self,
        account: usize,
        symbol: Option<&str>,
        base_coin: Option<&str>,
        now: Timestamp,
    ) -> Result<Vec<Accepted>, ApiError> {
        if let Some(symbol) = symbol {
            self.listing(symbol).ok_or_else(|| ApiError::unknown_symbol(symbol))?;
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

    fn open_order(&self, account: usize, symbol: &str, order: &OrderRef) -> Result<u64, ApiError> {
        self.listing(symbol).ok_or_else(|| ApiError::unknown_symbol(symbol))?;
        let id = self.resolve(account, order).ok_or_else(ApiError::not_open)?;
        let fits = self.accounts[account].open.contains(&id) && self.orders[&id].symbol == symbol;
        if fits { Ok(id) } else { Err(ApiError::not_open()) }
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
        let account = order.account;
        // Nothing of it is held back any more.
        let instrument = &self.books[order.listing].listing().instrument;
        self.accounts[account].relock(paying_coin(instrument, order.side), before, order.locked());
        self.accounts[account].remember_closed(id);
        let retention = if filled { self.rules.filled_retention } else { self.rules.unfilled_retention };
        self.expiries.insert((now.after(retention), id));
    }

    /// Drops what the exchange no longer tells. Names stay taken.
    pub(super) fn forget_old(&mut self, now: Timestamp) {
        while let Some((expiry, id)) = self.expiries.first().copied().filter(|(expiry, _)| *expiry <= now) {
            self.expiries.remove(&(expiry, id));
            if let Some(order) = self.orders.remove(&id) {
                self.accounts[order.account].orders.remove(&id);
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
        self.accounts[order.account].relock(paying_coin(instrument, order.side), before, order.locked());
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
        let holdings = Arc::clone(&self.accounts[account].holdings);
        self.push(account, Rows::Wallet(holdings), now);
    }
}

/// The coin that an order of this side pays with.
fn paying_coin(instrument: &Instrument, side: Side) -> &str {
    if side == Side::Buy { &instrument.quote_coin } else { &instrument.base_coin }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulation::order::TimeInForce;
    use crate::simulation::settings::{AccountSettings, RateLimits};
    use crate::simulation::testing::*;
    use Side::{Buy, Sell};

    #[test]
    fn an_instrument_that_is_not_traded_takes_no_orders() {
        let mut exchange = exchange();
        exchange.book_mut(BTC).unwrap().listing_mut().instrument.trading = false;
        assert_eq!(refused(&mut exchange, limit(Buy, "59000", "0.001")), api_error::NOT_TRADING);
    }

    #[test]
    fn orders_lock_what_they_pay_with_and_cannot_exceed_it() {
        let mut exchange = exchange();
        let buy = place(&mut exchange, limit(Buy, "50000", "0.15"));
        assert_eq!(free_and_locked(&exchange, "USDT"), (d("2500"), d("7500")));
        let sell = place(&mut exchange, limit(Sell, "70000", "0.4"));
        assert_eq!(free_and_locked(&exchange, "BTC"), (d("0.6"), d("0.4")));
        assert_eq!(refused(&mut exchange, limit(Buy, "50000", "0.050001")), api_error::BALANCE);
        assert_eq!(refused(&mut exchange, limit(Sell, "70000", "0.600001")), api_error::BALANCE);
        assert_eq!(refused(&mut exchange, order(Buy, Kind::MarketQuote, "2500.00000001")), api_error::BALANCE);
        assert_eq!(refused(&mut exchange, order(Sell, Kind::MarketBase, "0.600001")), api_error::BALANCE);
        for id in [buy.id, sell.id] {
            exchange.cancel(0, BTC, &OrderRef::Id(id), NOW).unwrap();
        }
        assert_eq!(free_and_locked(&exchange, "USDT"), (d("10000"), Decimal::ZERO));
        assert_eq!(free_and_locked(&exchange, "BTC"), (Decimal::ONE, Decimal::ZERO));
    }

    #[test]
    fn a_name_is_taken_for_ever_even_when_its_order_is_forgotten() {
        let mut exchange = exchange();
        let id = place(&mut exchange, named(limit(Buy, "50000", "0.1"), "a-1_B")).id;
        // The duplicate is told before anything else that is wrong with the second: too little money, a bad price.
        assert_eq!(refused(&mut exchange, named(limit(Buy, "50000", "9"), "a-1_B")), api_error::DUPLICATE);
        assert_eq!(refused(&mut exchange, named(limit(Buy, "0.001", "9"), "a-1_B")), api_error::DUPLICATE);
        exchange.cancel(0, BTC, &by_link("a-1_B"), NOW).unwrap();
        assert_eq!(refused(&mut exchange, named(limit(Buy, "50000", "0.1"), "a-1_B")), api_error::DUPLICATE);
        let much_later = Timestamp(NOW.0 + 30 * 24 * 3600 * 1000);
        let again = exchange.create(0, named(limit(Buy, "50000", "0.1"), "a-1_B"), much_later);
        assert_eq!(again.unwrap_err().code, api_error::DUPLICATE);
        assert!(exchange.orders().all(|order| order.id != id), "the order itself is forgotten");
    }

    #[test]
    fn the_name_of_a_refused_order_is_still_free() {
        let mut exchange = exchange();
        assert_eq!(refused(&mut exchange, named(limit(Buy, "50000", "9"), "a")), api_error::BALANCE);
        assert_eq!(place(&mut exchange, named(limit(Buy, "50000", "0.1"), "a")).link_id, "a");
    }

    #[test]
    fn ids_are_unique_and_grow() {
        let mut exchange = exchange();
        let ids: Vec<u64> = (0..5).map(|_| place(&mut exchange, limit(Buy, "50000", "0.01")).id).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        assert_eq!(ids[0], 1_800_000_000_000_000_001);
    }

    #[test]
    fn five_hundred_orders_may_be_open() {
        let mut exchange = exchange();
        for _ in 0..500 {
            place(&mut exchange, limit(Sell, "70000", "0.0001"));
        }
        assert_eq!(refused(&mut exchange, limit(Sell, "70000", "0.0001")), api_error::TOO_MANY_OPEN);
        exchange.cancel_all(0, None, None, NOW).unwrap();
        place(&mut exchange, limit(Sell, "70000", "0.0001"));
    }

    #[test]
    fn only_open_orders_of_the_account_and_symbol_can_be_cancelled() {
        let mut exchange = exchange();
        place(&mut exchange, named(limit(Buy, "50000", "0.01"), "a"));
        place(&mut exchange, named(order(Buy, Kind::MarketQuote, "50"), "filled"));
        let mut code = |symbol: &str, name: &str| exchange.cancel(0, symbol, &by_link(name), NOW).map_err(|e| e.code);
        assert_eq!(code(BTC, "b"), Err(api_error::NOT_OPEN));
        assert_eq!(code("ETHUSDT", "a"), Err(api_error::NOT_OPEN));
        assert_eq!(code("NOPE", "a"), Err(api_error::SYMBOL));
        assert_eq!(code(BTC, "filled"), Err(api_error::NOT_OPEN));
        assert!(code(BTC, "a").is_ok());
        assert_eq!(code(BTC, "a"), Err(api_error::NOT_OPEN));
    }

    #[test]
    fn a_cancelled_order_says_so() {
        let mut exchange = exchange();
        let id = place(&mut exchange, limit(Buy, "50000", "0.01")).id;
        exchange.cancel(0, BTC, &OrderRef::Id(id), NOW).unwrap();
        let order = found(&exchange, id);
        assert_eq!((order.status, order.ending.cancel_type()), (Status::Cancelled, "CancelByUser"));
        assert_eq!((order.leaves_quantity(), order.leaves_value()), (Decimal::ZERO, Decimal::ZERO));
    }

    #[test]
    fn cancel_all_takes_a_symbol_a_base_coin_or_everything() {
        let mut exchange = exchange();
        let eth = |price| NewOrder { symbol: "ETHUSDT".to_owned(), ..limit(Buy, price, "0.01") };
        place(&mut exchange, limit(Buy, "50000", "0.01"));
        place(&mut exchange, eth("2000"));
        assert_eq!(exchange.cancel_all(0, Some("ETHUSDT"), None, NOW).unwrap().len(), 1);
        place(&mut exchange, eth("2000"));
        assert_eq!(exchange.cancel_all(0, None, Some("ETH"), NOW).unwrap().len(), 1);
        assert_eq!(exchange.cancel_all(0, None, None, NOW).unwrap().len(), 1);
        assert_eq!(exchange.cancel_all(0, None, None, NOW).unwrap(), []);
        assert_eq!(exchange.cancel_all(0, Some("NOPE"), None, NOW).unwrap_err().code, api_error::SYMBOL);
    }

    #[test]
    fn an_amended_order_keeps_its_names_and_changes_its_lock() {
        let mut exchange = exchange();
        let id = place(&mut exchange, named(limit(Buy, "50000", "0.1"), "a")).id;
        let accepted = exchange.amend(0, BTC, &by_link("a"), Some(d("40000")), Some(d("0.2")), NOW).unwrap();
        assert_eq!(accepted, Accepted { id, link_id: "a".to_owned() });
        assert_eq!(free_and_locked(&exchange, "USDT"), (d("2000"), d("8000")));
        let order = found(&exchange, id);
        assert_eq!((order.price(), order.quantity, order.status), (Some(d("40000")), d("0.2"), Status::New));
    }

    #[test]
    fn an_amendment_passes_the_same_filters_and_changes_nothing_when_refused() {
        let mut exchange = exchange();
        let id = place(&mut exchange, limit(Buy, "50000", "0.1")).id;
        let before = found(&exchange, id);
        for (price, quantity, code) in [
            (Some("50000.001"), None, api_error::TICK_SIZE),
            (None, Some("0.1000001"), api_error::QUANTITY_STEP),
            (None, Some("0.00001"), api_error::MIN_NOTIONAL),
            (Some("64000"), None, api_error::BUY_PRICE_LIMIT),
            (None, Some("0.200001"), api_error::BALANCE),
            (Some("50000"), Some("0.1"), api_error::PARAMETER),
            (None, None, api_error::PARAMETER),
        ] {
            let result = exchange.amend(0, BTC, &OrderRef::Id(id), price.map(d), quantity.map(d), NOW);
            assert_eq!(result.unwrap_err().code, code, "{price:?} {quantity:?}");
        }
        assert_eq!(found(&exchange, id), before);
        assert_eq!(free_and_locked(&exchange, "USDT"), (d("5000"), d("5000")));
        let unknown = exchange.amend(0, BTC, &OrderRef::Id(7), Some(d("1")), None, NOW);
        assert_eq!(unknown.unwrap_err().code, api_error::NOT_OPEN);
    }

    #[test]
    fn an_amended_quantity_must_exceed_what_is_filled() {
        let mut exchange = exchange();
        let id = place(&mut exchange, limit(Buy, "50000", "0.1")).id;
        move_to_thin(&mut exchange, "49999", "0.04");
        let mut amend = |quantity| exchange.amend(0, BTC, &OrderRef::Id(id), None, Some(d(quantity)), NOW);
        assert_eq!(amend("0.04").unwrap_err().code, api_error::INVALID);
        assert!(amend("0.05").is_ok());
        let order = found(&exchange, id);
        assert_eq!((order.status, order.leaves_quantity()), (Status::PartiallyFilled, d("0.01")));
        assert_eq!(free_and_locked(&exchange, "USDT").1, d("500"));
    }

    #[test]
    fn an_amended_price_that_crosses_takes_and_a_maker_only_order_ends() {
        let mut exchange = exchange();
        let id = place(&mut exchange, limit(Buy, "50000", "0.1")).id;
        exchange.amend(0, BTC, &OrderRef::Id(id), Some(d("60100")), None, NOW).unwrap();
        let order = found(&exchange, id);
        assert_eq!((order.status, order.average_price()), (Status::Filled, Some(d("60000.01"))));
        let id = place(&mut exchange, limit_as(Sell, "70000", "0.1", TimeInForce::PostOnly)).id;
        exchange.amend(0, BTC, &OrderRef::Id(id), Some(d("60000")), None, NOW).unwrap();
        assert_eq!(found(&exchange, id).ending, Ending::WouldTake);
        assert_eq!(free_and_locked(&exchange, "BTC").1, Decimal::ZERO);
    }

    #[test]
    fn accounts_do_not_see_each_other() {
        let mut settings = settings();
        settings.accounts.push(AccountSettings::new("other", "other", "USDT", d("10000")));
        let mut exchange = Exchange::new(settings);
        let id = place(&mut exchange, named(limit(Buy, "50000", "0.1"), "a")).id;
        for name in [by_link("a"), OrderRef::Id(id)] {
            assert_eq!(exchange.cancel(1, BTC, &name, NOW).unwrap_err().code, api_error::NOT_OPEN);
        }
        exchange.create(1, named(limit(Buy, "50000", "0.1"), "a"), NOW).unwrap();
        assert_eq!(exchange.accounts()[1].holding("USDT").locked, d("5000"));
    }

    #[test]
    fn a_balance_changed_from_outside_never_goes_below_what_is_locked() {
        let mut exchange = exchange();
        place(&mut exchange, limit(Buy, "50000", "0.1"));
        assert_eq!(exchange.adjust_balance(0, "USDT", d("-5000.01"), NOW).unwrap_err().code, api_error::BALANCE);
        exchange.adjust_balance(0, "USDT", d("-5000"), NOW).unwrap();
        exchange.adjust_balance(0, "XRP", d("7"), NOW).unwrap();
        assert_eq!(free_and_locked(&exchange, "USDT"), (Decimal::ZERO, d("5000")));
        assert_eq!(free_and_locked(&exchange, "XRP").0, d("7"));
    }

    #[test]
    fn the_limits_a_second_are_bybits() {
        assert_eq!(RateLimits::default(), RateLimits { create: 20, cancel: 20, amend: 10, read: 50 });
    }
}
