//! What a client can ask: orders and executions, newest first, page by page.

use super::exchange::{Exchange, OrderRef};
use super::order::{Fill, Order};
use crate::core::Timestamp;

/// Which rows are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only of this symbol.
    pub symbol: Option<String>,
    /// Only of instruments with this base coin.
    pub base_coin: Option<String>,
    /// Only of this order.
    pub order: Option<OrderRef>,
    /// Only from this moment.
    pub from: Option<Timestamp>,
    /// Only up to this moment, included.
    pub to: Option<Timestamp>,
    /// Only rows with an id below this one: the last of the page before.
    pub before: Option<u64>,
    /// How many rows at most.
    pub limit: usize,
}

/// Some rows, and whether there are more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// Newest first.
    pub rows: Vec<T>,
    /// The id after which the next page begins; `None` if this is the last.
    pub next: Option<u64>,
}

impl<T: Clone> Page<T> {
    fn of<'a>(rows: impl Iterator<Item = &'a T>, limit: usize, id: impl Fn(&T) -> u64) -> Self
    where
        T: 'a,
    {
        let mut rows: Vec<T> = rows.take(limit + 1).cloned().collect();
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().map(id).filter(|_| more);
        Self { rows, next }
    }
}

impl Exchange {
    /// Open orders; with an order's name also a closed one that is remembered.
    pub fn open_orders(&mut self, account: usize, selection: &Selection, now: Timestamp) -> Page<Order> {
        self.forget_old(now);
        let named = selection.order.is_some();
        let known = &self.accounts[account];
        let seen = |id: &u64| known.open.contains(id) || (named && known.recently_closed.contains(id));
        self.select_orders(account, selection, seen)
    }

    /// The last closed orders (`openOnly=1`).
    pub fn recently_closed(&mut self, account: usize, selection: &Selection, now: Timestamp) -> Page<Order> {
        self.forget_old(now);
        let known = &self.accounts[account];
        self.select_orders(account, selection, |id| known.recently_closed.contains(id))
    }

    /// Closed orders, as long as they are kept.
    pub fn order_history(&mut self, account: usize, selection: &Selection, now: Timestamp) -> Page<Order> {
        self.forget_old(now);
        let known = &self.accounts[account];
        self.select_orders(account, selection, |id| !known.open.contains(id))
    }

    /// Executions, as long as they are kept.
    pub fn executions(&mut self, account: usize, selection: &Selection, now: Timestamp) -> Page<Fill> {
        self.forget_old(now);
        // A named order selects by its names alone: its fills may be known longer than itself.
        let wanted = |fill: &&Fill| {
            let order = match &selection.order {
                None => true,
                Some(OrderRef::Id(id)) => fill.order_id == *id,
                Some(OrderRef::Link(name)) => fill.link_id == *name,
            };
            order && self.fits(selection, &fill.symbol, fill.time, fill.id)
        };
        Page::of(self.accounts[account].fills.iter().rev().filter(wanted), selection.limit, |fill| fill.id)
    }

    fn select_orders(&self, account: usize, selection: &Selection, seen: impl Fn(&u64) -> bool) -> Page<Order> {
        let fits = |order: &&Order| self.fits(selection, &order.symbol, order.created, order.id);
        if let Some(name) = &selection.order {
            let found = self.resolve(account, name).filter(|id| seen(id)).and_then(|id| self.orders.get(&id));
            return Page::of(found.into_iter().filter(fits), selection.limit, |order| order.id);
        }
        let ids = self.accounts[account].orders.iter().rev().filter(|id| seen(id));
        Page::of(ids.filter_map(|id| self.orders.get(id)).filter(fits), selection.limit, |order| order.id)
    }

    fn fits(&self, selection: &Selection, symbol: &str, time: Timestamp, id: u64) -> bool {
        let base_coin = |coin: &str| self.book(symbol).is_some_and(|book| book.listing().instrument.base_coin == coin);
        selection.symbol.as_deref().is_none_or(|wanted| wanted == symbol)
            && selection.base_coin.as_deref().is_none_or(base_coin)
            && selection.from.is_none_or(|from| time >= from)
            && selection.to.is_none_or(|to| time <= to)
            && selection.before.is_none_or(|before| id < before)
    }
}
