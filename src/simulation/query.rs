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
        let mut rows: Vec<T> = rows.take(limit.saturating_add(1)).cloned().collect();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::order::Side::{Buy, Sell};
    use crate::simulation::order::{Kind, NewOrder};
    use crate::simulation::testing::*;

    fn all() -> Selection {
        Selection { limit: 50, ..Selection::default() }
    }

    fn ids(page: &Page<Order>) -> Vec<u64> {
        page.rows.iter().map(|order| order.id).collect()
    }

    #[test]
    fn pages_join_to_the_whole_newest_first() {
        let mut exchange = exchange();
        let mut placed: Vec<u64> = (0..7).map(|_| place(&mut exchange, limit(Buy, "50000", "0.001")).id).collect();
        placed.reverse();
        let mut selection = Selection { limit: 3, ..all() };
        let mut seen = Vec::new();
        loop {
            let page = exchange.open_orders(0, &selection, NOW);
            assert!(page.rows.len() <= 3);
            seen.extend(ids(&page));
            // Orders that come meanwhile do not disturb the pages that follow.
            place(&mut exchange, limit(Buy, "50000", "0.001"));
            match page.next {
                Some(next) => selection.before = Some(next),
                None => break,
            }
        }
        assert_eq!(seen, placed);
    }

    #[test]
    fn a_page_that_is_just_full_is_the_last() {
        let mut exchange = exchange();
        place(&mut exchange, limit(Buy, "50000", "0.001"));
        assert_eq!(exchange.open_orders(0, &Selection { limit: 1, ..all() }, NOW).next, None);
    }

    #[test]
    fn open_and_closed_orders_are_in_different_lists() {
        let mut exchange = exchange();
        let open = place(&mut exchange, limit(Buy, "50000", "0.001")).id;
        let closed = place(&mut exchange, named(order(Buy, Kind::MarketQuote, "50"), "a")).id;
        assert_eq!(ids(&exchange.open_orders(0, &all(), NOW)), [open]);
        assert_eq!(ids(&exchange.recently_closed(0, &all(), NOW)), [closed]);
        assert_eq!(ids(&exchange.order_history(0, &all(), NOW)), [closed]);
        // By its name a closed order is found among the open ones too.
        for order in [by_link("a"), OrderRef::Id(closed)] {
            let named = Selection { order: Some(order), ..all() };
            assert_eq!(ids(&exchange.open_orders(0, &named, NOW)), [closed]);
        }
        let unknown = Selection { order: Some(by_link("b")), ..all() };
        assert!(ids(&exchange.open_orders(0, &unknown, NOW)).is_empty());
    }

    #[test]
    fn rows_are_selected_by_symbol_coin_order_and_time() {
        let mut exchange = exchange();
        let at = |minutes: i64| Timestamp(NOW.0 + minutes * 60_000);
        let eth = NewOrder { symbol: "ETHUSDT".to_owned(), ..order(Buy, Kind::MarketQuote, "50") };
        let first = exchange.create(0, order(Buy, Kind::MarketQuote, "50"), at(0)).unwrap().id;
        let second = exchange.create(0, eth, at(1)).unwrap().id;
        let third = exchange.create(0, named(order(Sell, Kind::MarketBase, "0.001"), "c"), at(2)).unwrap().id;
        let symbol = |name: &str| Selection { symbol: Some(name.to_owned()), ..all() };
        for (selection, expected) in [
            (all(), vec![third, second, first]),
            (symbol("ETHUSDT"), vec![second]),
            (Selection { base_coin: Some("BTC".to_owned()), ..all() }, vec![third, first]),
            (Selection { order: Some(by_link("c")), ..all() }, vec![third]),
            (Selection { order: Some(OrderRef::Id(first)), ..all() }, vec![first]),
            (Selection { from: Some(at(1)), ..all() }, vec![third, second]),
            (Selection { to: Some(at(1)), ..all() }, vec![second, first]),
        ] {
            assert_eq!(ids(&exchange.order_history(0, &selection, at(3))), expected, "{selection:?}");
            let page = exchange.executions(0, &selection, at(3));
            assert_eq!(page.rows.iter().map(|fill| fill.order_id).collect::<Vec<_>>(), expected, "{selection:?}");
        }
    }

    #[test]
    fn unfilled_orders_are_forgotten_after_a_day_and_filled_ones_after_a_week() {
        let mut exchange = exchange();
        let hours = |hours: i64| Timestamp(NOW.0 + hours * 3_600_000);
        let cancelled = place(&mut exchange, named(limit(Buy, "50000", "0.001"), "a")).id;
        exchange.cancel(0, BTC, &by_link("a"), NOW).unwrap();
        let filled = place(&mut exchange, order(Buy, Kind::MarketQuote, "50")).id;
        let open = place(&mut exchange, limit(Buy, "50000", "0.001")).id;
        let history = |exchange: &mut Exchange, now| ids(&exchange.order_history(0, &all(), now));
        assert_eq!(history(&mut exchange, Timestamp(hours(24).0 - 1)), [filled, cancelled]);
        assert_eq!(history(&mut exchange, hours(24)), [filled]);
        let week = hours(7 * 24);
        assert_eq!(exchange.executions(0, &all(), Timestamp(week.0 - 1)).rows.len(), 1);
        assert!(history(&mut exchange, week).is_empty());
        assert_eq!(exchange.executions(0, &all(), week).rows.len(), 0);
        assert!(ids(&exchange.recently_closed(0, &all(), week)).is_empty());
        assert_eq!(ids(&exchange.open_orders(0, &all(), week)), [open], "an open order is never forgotten");
    }

    #[test]
    fn realtime_remembers_the_last_five_hundred_closed_orders() {
        let mut exchange = exchange();
        for number in 0..501 {
            let name = format!("n{number}");
            place(&mut exchange, named(limit(Buy, "50000", "0.001"), &name));
            exchange.cancel(0, BTC, &by_link(&name), NOW).unwrap();
        }
        let mut found =
            |name| exchange.open_orders(0, &Selection { order: Some(by_link(name)), ..all() }, NOW).rows.len();
        assert_eq!((found("n0"), found("n1"), found("n500")), (0, 1, 1));
    }
}
