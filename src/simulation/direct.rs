//! The exchange and its market without a wire: the engine's ports, answered in memory by the exchange itself.
//!
//! In: an exchange, a market. Out: one object that is exchange, feed and clock at once ([`Direct`]; clones share it). It
//! follows the rule of [`super::lockstep`]: time stands still while the bot computes or calls, and passes only while it
//! waits, to the market's next point or to the moment waited for. So the same bot on the same market does the same as
//! over sockets, record by record; only the messages have no way to go.
//!
//! What makes it quick: as long as the market stays between the resting orders it is not played point by point but
//! passed over ([`Market::skip`]), and the price it has then is the one it would have had.
//!
//! What can go wrong: as on the exchange, with the same codes ([`super::api_error`]), told as the engine's
//! [`Fault`]s; and the market may end before its time ([`Direct::market_error`]).

use std::cell::{Ref, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use super::account::Rows;
use super::api;
use super::api_error::{self, ApiError};
use super::exchange::{Exchange, OrderRef};
use super::lockstep::AFTER_THE_END;
use super::market::recording::SPACING;
use super::market::{Market, MarketError, PricePoint, Quiet};
use super::order::{Fill, Kind, NewOrder, Order, Status, TimeInForce};
use super::query::Selection;
use crate::core::instrument::Instrument;
use crate::core::order::{Execution, OrderReport, OrderSpec, OrderStatus, Refusal, Side};
use crate::core::{Timestamp, money};
use crate::engine::ports::{
    self, Balance, Clock, Fault, FaultKind, Feed, Signal, StopWish, StreamEvent, Ticker, Watch,
};

/// The one account that trades.
const ACCOUNT: usize = 0;
const CREATE: &str = "/v5/order/create";
const CANCEL: &str = "/v5/order/cancel";

/// Exchange, feed and clock; see the module's documentation.
pub struct Direct<M>(Rc<RefCell<State<M>>>);

struct State<M> {
    exchange: Exchange,
    symbol: String,
    market: M,
    /// The market's next point.
    next: Option<PricePoint>,
    error: Option<MarketError>,
    now: Timestamp,
    /// What the bot has not been told yet.
    signals: VecDeque<Signal>,
    end_told: bool,
}

impl<M> Clone for Direct<M> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<M: Market> Direct<M> {
    /// Binds an exchange to a market. The clock starts at the market's first point, which is applied.
    ///
    /// # Errors
    /// [`MarketError`] if the market has no first point.
    pub fn new(exchange: Exchange, symbol: &str, mut market: M) -> Result<Self, MarketError> {
        let first = market.next()?.ok_or_else(MarketError::no_price)?;
        let next = market.next()?;
        let mut state = State {
            exchange,
            symbol: symbol.to_owned(),
            market,
            next,
            error: None,
            now: first.time,
            signals: VecDeque::from([Signal::StreamUp]),
            end_told: false,
        };
        state.exchange.advance(symbol, &first, first.time);
        Ok(Self(Rc::new(RefCell::new(state))))
    }

    /// Why the market ended before its time, if it did.
    pub fn market_error(&self) -> Option<MarketError> {
        self.0.borrow().error.clone()
    }

    /// The exchange as it is now.
    pub fn exchange(&self) -> Ref<'_, Exchange> {
        Ref::map(self.0.borrow(), |state| &state.exchange)
    }
}

impl<M: Market> State<M> {
    /// Queues what the exchange has to tell, one signal for each message of the stream.
    fn deliver(&mut self) {
        for push in self.exchange.take_pushes(ACCOUNT) {
            let events: Vec<StreamEvent> = match &push.rows {
                Rows::Orders(orders) => orders.iter().map(|order| StreamEvent::Order(report(order))).collect(),
                Rows::Executions(fills) => fills.iter().map(|fill| StreamEvent::Execution(execution(fill))).collect(),
                Rows::Wallet(_) => continue,
            };
            self.signals.push_back(Signal::Frame(events));
        }
    }

    fn ticker(&self) -> Option<Ticker> {
        let book = self.exchange.book(&self.symbol)?;
        Some(Ticker { last: book.bid(), bid: Some(book.bid()), ask: Some(book.ask()) })
    }

    fn wait(&mut self, until: Timestamp, watch: Option<&Watch>) -> (Option<Signal>, Option<(Ticker, Timestamp)>) {
        let mut looks = watch.map(|watch| Looks { watch, due: watch.due, last: None });
        loop {
            let seen = |looks: Option<Looks<'_>>| looks.and_then(|looks| looks.last);
            if let Some(signal) = self.signals.pop_front() {
                return (Some(signal), seen(looks));
            }
            if self.now >= until {
                return (None, seen(looks));
            }
            if self.next.is_none() && !self.end_told {
                self.end_told = true;
                return (Some(Signal::Stop(StopWish::Leave)), seen(looks));
            }
            let until = if self.end_told { until.min(self.now.after(AFTER_THE_END)) } else { until };
            let next = self.next.as_ref().map_or(until, |point| point.time.min(until));
            if let (Some(looks), Some(ticker)) = (&mut looks, self.ticker())
                && let Some(now) = looks.look(ticker, next)
            {
                self.now = now;
                return (None, looks.last.clone());
            }
            if !self.advance(until, watch) {
                self.now = until;
                return (None, seen(looks));
            }
        }
    }

    /// Plays the market's next point, or passes over those that touch nothing, if it is not later than `until`.
    fn advance(&mut self, until: Timestamp, watch: Option<&Watch>) -> bool {
        let Some(mut point) = self.next.take_if(|point| point.time <= until) else { return false };
        let quiet = self.quiet(watch);
        if quiet.contains(point.price) {
            // A price that is watched is looked at once more after the last point that is passed over.
            let until = watch.map_or(until, |_| until.before(SPACING));
            point = self.market.skip(until, &quiet).unwrap_or(point);
        }
        self.now = point.time;
        if self.exchange.advance(&self.symbol, &point, self.now) {
            self.deliver();
        }
        match self.market.next() {
            Ok(next) => self.next = next,
            Err(error) => self.error = Some(error),
        }
        true
    }

    /// The prices at which nothing is filled and nobody looks closer.
    fn quiet(&self, watch: Option<&Watch>) -> Quiet {
        let Some(book) = self.exchange.book(&self.symbol) else { return Quiet::default() };
        let (buy, sell) = book.resting_bounds();
        let tick = book.listing().instrument.tick_size;
        // Looks that are further apart than points could miss one of them: then each is played.
        let above = watch.map(|watch| match watch.every <= SPACING {
            true => money::floor_to(watch.trigger, tick) + tick,
            false => crate::core::Decimal::MAX,
        });
        Quiet { from: buy.max(above), to: sell }
    }
}

/// The looks at a price that is watched.
struct Looks<'w> {
    watch: &'w Watch,
    due: Timestamp,
    last: Option<(Ticker, Timestamp)>,
}

impl Looks<'_> {
    /// Looks at a price that stays until just before `end`. The moment of the first look that matters, if one does.
    fn look(&mut self, ticker: Ticker, end: Timestamp) -> Option<Timestamp> {
        if self.due >= end {
            return None;
        }
        if ticker.last <= self.watch.trigger {
            return Some(self.due);
        }
        let every = i64::try_from(self.watch.every.as_millis()).unwrap_or(i64::MAX).max(1);
        let more = (end.0 - 1 - self.due.0) / every;
        let last = Timestamp(self.due.0 + more * every);
        self.last = Some((ticker, last));
        self.due = Timestamp(last.0.saturating_add(every));
        None
    }
}

impl<M: Market> Clock for Direct<M> {
    fn now(&self) -> Timestamp {
        self.0.borrow().now
    }

    /// Lets time pass, and the market move.
    fn sleep(&self, duration: Duration) {
        let mut state = self.0.borrow_mut();
        let until = state.now.after(duration);
        while state.advance(until, None) {}
        state.now = until;
    }
}

impl<M: Market> Feed for Direct<M> {
    fn wait(&mut self, until: Timestamp) -> Option<Signal> {
        self.0.borrow_mut().wait(until, None).0
    }

    fn watch(&mut self, until: Timestamp, watch: &Watch) -> (Option<Signal>, Option<(Ticker, Timestamp)>) {
        self.0.borrow_mut().wait(until, Some(watch))
    }
}

impl<M: Market> ports::Exchange for Direct<M> {
    fn synchronise_clock(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn instrument(&mut self) -> Result<Instrument, Fault> {
        let state = self.0.borrow();
        state.exchange.book(&state.symbol).map(|book| book.listing().instrument.clone()).ok_or_else(|| state.unlisted())
    }

    fn ticker(&mut self) -> Result<Ticker, Fault> {
        let state = self.0.borrow();
        state.ticker().ok_or_else(|| state.unlisted())
    }

    fn balance(&mut self, coin: &str) -> Result<Balance, Fault> {
        let holding = self.0.borrow().exchange.accounts()[ACCOUNT].holding(coin);
        Ok(Balance { total: holding.wallet.normalize(), free: holding.free().normalize() })
    }

    fn place(&mut self, link_id: &str, spec: &OrderSpec) -> Result<String, Fault> {
        let state = &mut *self.0.borrow_mut();
        let (kind, quantity) = match *spec {
            OrderSpec::MarketBuy { amount } => (Kind::MarketQuote, amount),
            OrderSpec::MarketSell { quantity } => (Kind::MarketBase, quantity),
            OrderSpec::Limit { price, quantity, post_only, .. } => {
                let time_in_force = if post_only { TimeInForce::PostOnly } else { TimeInForce::Gtc };
                (Kind::Limit { price: price.normalize(), time_in_force }, quantity)
            }
        };
        let (symbol, link_id, quantity) = (state.symbol.clone(), link_id.to_owned(), quantity.normalize());
        let order = NewOrder { symbol, side: spec.side(), kind, quantity, link_id };
        let limit = state.exchange.rules.rate_limits.create;
        state.admit(CREATE, limit, "POST /v5/order/create")?;
        let accepted = state.exchange.create(ACCOUNT, order, state.now);
        let accepted = accepted.map_err(|error| fault(&error, "POST /v5/order/create", state.now))?;
        state.deliver();
        Ok(accepted.id.to_string())
    }

    fn cancel(&mut self, link_id: &str) -> Result<(), Fault> {
        let state = &mut *self.0.borrow_mut();
        let limit = state.exchange.rules.rate_limits.cancel;
        state.admit(CANCEL, limit, "POST /v5/order/cancel")?;
        let order = OrderRef::Link(link_id.to_owned());
        let cancelled = state.exchange.cancel(ACCOUNT, &state.symbol, &order, state.now);
        cancelled.map_err(|error| fault(&error, "POST /v5/order/cancel", state.now))?;
        state.deliver();
        Ok(())
    }

    fn order(&mut self, link_id: &str) -> Result<Option<OrderReport>, Fault> {
        let state = &mut *self.0.borrow_mut();
        let order = Some(OrderRef::Link(link_id.to_owned()));
        let named = Selection { order, limit: 1, ..state.all() };
        let known = state.exchange.open_orders(ACCOUNT, &named, state.now).rows;
        let known =
            if known.is_empty() { state.exchange.order_history(ACCOUNT, &named, state.now).rows } else { known };
        Ok(known.first().map(report))
    }

    fn open_orders(&mut self) -> Result<Vec<OrderReport>, Fault> {
        let state = &mut *self.0.borrow_mut();
        Ok(state.exchange.open_orders(ACCOUNT, &state.all(), state.now).rows.iter().map(report).collect())
    }

    fn closed_orders(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<OrderReport>, Fault> {
        let state = &mut *self.0.borrow_mut();
        let within = Selection { from: Some(from), to: Some(to), ..state.all() };
        let newest_first = state.exchange.order_history(ACCOUNT, &within, state.now).rows;
        Ok(newest_first.iter().rev().map(report).collect())
    }

    fn executions(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<Execution>, Fault> {
        let state = &mut *self.0.borrow_mut();
        let within = Selection { from: Some(from), to: Some(to), ..state.all() };
        let newest_first = state.exchange.executions(ACCOUNT, &within, state.now).rows;
        Ok(newest_first.iter().rev().map(execution).collect())
    }
}

impl<M> State<M> {
    fn all(&self) -> Selection {
        Selection { symbol: Some(self.symbol.clone()), limit: usize::MAX, ..Selection::default() }
    }

    fn unlisted(&self) -> Fault {
        fault(&ApiError::unknown_symbol(&self.symbol), "GET /v5/market/instruments-info", self.now)
    }

    /// Counts a request, as the exchange does that is reached over HTTP.
    fn admit(&mut self, path: &'static str, limit: u32, endpoint: &'static str) -> Result<(), Fault> {
        let counted = self.exchange.count_request(ACCOUNT, path, limit, self.now);
        counted.map(drop).map_err(|error| fault(&error, endpoint, self.now))
    }
}

/// A refusal as the engine needs it.
fn fault(error: &ApiError, endpoint: &'static str, now: Timestamp) -> Fault {
    Fault { kind: kind(error.code, now), endpoint, code: Some(error.code), message: error.message.clone() }
}

/// What a refusal asks its receiver to do.
fn kind(code: i64, now: Timestamp) -> FaultKind {
    match code {
        api_error::RATE_LIMIT => FaultKind::RateLimited { until: api::next_second(now) },
        api_error::DUPLICATE => FaultKind::AlreadyThere,
        api_error::NOT_OPEN => FaultKind::NotOpen,
        api_error::BALANCE => FaultKind::InsufficientFunds,
        api_error::SYMBOL | api_error::NOT_TRADING => FaultKind::ConfigurationRefused,
        api_error::TOO_LARGE
        | api_error::INVALID
        | api_error::TICK_SIZE
        | api_error::TOO_SMALL
        | api_error::QUANTITY_STEP
        | api_error::MIN_NOTIONAL
        | api_error::AMOUNT_STEP
        | api_error::BUY_PRICE_LIMIT
        | api_error::SELL_PRICE_LIMIT
        | api_error::TOO_MANY_OPEN => FaultKind::Filter,
        _ => FaultKind::Refused,
    }
}

fn report(order: &Order) -> OrderReport {
    let quantity = order.quantity.normalize();
    let spec = match (order.kind, order.side) {
        (Kind::Limit { price, time_in_force }, side) => {
            OrderSpec::Limit { side, price, quantity, post_only: time_in_force == TimeInForce::PostOnly }
        }
        (Kind::MarketBase | Kind::MarketQuote, Side::Sell) => OrderSpec::MarketSell { quantity },
        (Kind::MarketQuote, Side::Buy) => OrderSpec::MarketBuy { amount: quantity },
        (Kind::MarketBase, Side::Buy) => OrderSpec::MarketBuy { amount: order.executed_value },
    };
    let status = match order.status {
        Status::New | Status::PartiallyFilled => OrderStatus::Open,
        Status::Filled => OrderStatus::Filled,
        Status::Cancelled | Status::PartiallyFilledCanceled => OrderStatus::Cancelled,
    };
    let reasons = [order.ending.reject_reason(), order.ending.cancel_type()];
    let reason = reasons.into_iter().find(|reason| !matches!(*reason, "EC_NoError" | "UNKNOWN"));
    OrderReport {
        link_id: order.link_id.clone(),
        order_id: order.id.to_string(),
        spec,
        status,
        executed_quantity: order.executed_quantity.normalize(),
        executed_value: order.executed_value.normalize(),
        refusal: (order.ending == super::order::Ending::WouldTake).then_some(Refusal::MakerOnly),
        reason: reason.unwrap_or_default().to_owned(),
        created: order.created,
        updated: order.updated,
    }
}

fn execution(fill: &Fill) -> Execution {
    Execution {
        exec_id: fill.id.to_string(),
        link_id: fill.link_id.clone(),
        order_id: fill.order_id.to_string(),
        side: fill.side,
        price: fill.price.normalize(),
        quantity: fill.quantity.normalize(),
        value: fill.value.normalize(),
        fee: fill.fee.normalize(),
        fee_coin: fill.fee_coin.clone(),
        maker: fill.maker,
        time: fill.time,
    }
}
