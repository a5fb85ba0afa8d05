//! What the engine needs of the world outside, as small traits. Bybit's client and the simulated exchange stand
//! behind the same ones.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::core::instrument::Instrument;
use crate::core::ledger::Ledger;
use crate::core::order::{Execution, OrderReport, OrderSpec};
use crate::core::record::{AlarmCause, Record};
use crate::core::{Decimal, Timestamp};

/// Time, as the exchange counts it. Every wait of the bot is behind this.
pub trait Clock {
    /// The exchange's time as well as this machine knows it; it never runs backwards.
    fn now(&self) -> Timestamp;
    /// Blocks for `duration`, or less if a stop is asked for.
    fn sleep(&self, duration: Duration);
}

/// A clock that takes corrections from the exchange.
pub trait AdjustableClock: Clock {
    /// The exchange's time by the newest correction: what a signature needs. After a correction of a clock that ran
    /// fast it is behind [`Clock::now`], which waits until time has caught up.
    fn exchange_time(&self) -> Timestamp;

    /// Moves the exchange's time by `milliseconds`; negative if this clock runs fast.
    fn correct(&self, milliseconds: i64);

    /// Whether the exchange has corrected it, or did not need to.
    fn is_corrected(&self) -> bool {
        true
    }
}

/// Free and whole balance of one coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// `walletBalance`: all of it.
    pub total: Decimal,
    /// What new orders can use: `walletBalance − locked − spotBorrow`.
    pub free: Decimal,
}

/// The market as REST tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticker {
    /// Price of the last trade.
    pub last: Decimal,
    /// Best bid; `None` if the exchange does not tell it.
    pub bid: Option<Decimal>,
    /// Best ask; likewise.
    pub ask: Option<Decimal>,
}

impl Ticker {
    /// What a market buy would pay, as far as is known.
    pub fn ask_or_last(&self) -> Decimal {
        self.ask.unwrap_or(self.last)
    }
}

/// Why a call brought no result, named after what its receiver should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The request surely never reached the exchange: do it again later.
    Unreachable,
    /// It may have been done: ask under the order's own name before anything else.
    Unknown,
    /// The key is refused, or may not do this: stop, a person must act.
    KeyRefused,
    /// The configuration is refused (symbol, account mode): stop, a person must act.
    ConfigurationRefused,
    /// The clock is off: synchronise it, sign again. The request was surely not done.
    ClockOff,
    /// Too many requests: nothing before this moment. The request was surely not done.
    RateLimited {
        /// When the exchange takes requests again.
        until: Timestamp,
    },
    /// An order of this name was placed before: look it up.
    AlreadyThere,
    /// The order is closed or not there: look it up.
    NotOpen,
    /// The exchange is still working on it: ask again shortly.
    Busy,
    /// Not enough money.
    InsufficientFunds,
    /// A filter refuses these numbers: recompute, do not repeat.
    Filter,
    /// They are worth less than the minimum: dust, if it is a sell of everything.
    BelowMinimum,
    /// The order is too large, there are too many, or the market does not take it now: recompute or wait.
    Size,
    /// The symbol is not open for trading yet: again in minutes. The request was surely not done.
    NotTrading,
    /// A person must settle something with the exchange before it takes this (terms, region, a ban): say so, ask again ever
    /// more slowly. The request was surely not done.
    PersonMustAct,
    /// Maker-only is not possible at this price now.
    MakerOnly,
    /// Refused for a reason this program has no rule for. The request was surely not done.
    Refused,
    /// The answer to a question (never to a create) cannot be understood.
    Malformed,
}

/// A call that brought no result: what to do, and for people where and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What the receiver should do.
    pub kind: FaultKind,
    /// `POST /v5/order/create`.
    pub endpoint: &'static str,
    /// Bybit's `retCode`, if there was one.
    pub code: Option<i64>,
    /// What was said, or what went wrong; never a key or a secret.
    pub message: String,
}

impl Fault {
    /// The same once the clock has been corrected by so many milliseconds: a moment that it names moves with the clock.
    #[must_use]
    pub fn after_correction(mut self, milliseconds: i64) -> Self {
        if let FaultKind::RateLimited { until } = &mut self.kind {
            until.0 = until.0.saturating_add(milliseconds);
        }
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.endpoint)?;
        if let Some(code) = self.code {
            write!(f, "{code} ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Fault {}

/// Something to be done under an order's own name (`orderLinkId`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// As [`Exchange::place`].
    Place {
        /// The name.
        link_id: String,
        /// What is asked for.
        spec: OrderSpec,
    },
    /// As [`Exchange::cancel`].
    Cancel {
        /// The name.
        link_id: String,
    },
}

/// The exchange, as the engine uses it: one symbol, one account. Every call blocks, with a time-out.
///
/// `link_id` is the order's own name (`orderLinkId`). Calls never repeat themselves: whether something is sent
/// again is decided by the engine. The one exception is a refusal for the clock (10002), after which a client
/// may synchronise, sign anew and send once more, because such a request was surely not done.
pub trait Exchange {
    /// Compares clocks and corrects the one the engine reads.
    ///
    /// # Errors
    /// [`Fault`]; the clock is then as it was.
    fn synchronise_clock(&mut self) -> Result<(), Fault>;

    /// The same over so many connections at once, so that they stay open: what is to leave together later does not wait for
    /// a connection. Done from time to time while there is nothing else to do.
    ///
    /// # Errors
    /// [`Fault`]: the exchange cannot be reached.
    fn heartbeat(&mut self, _connections: usize) -> Result<(), Fault> {
        self.synchronise_clock()
    }

    /// What a start begins with: compares clocks, and brings the instrument. At once, where it can.
    ///
    /// # Errors
    /// [`Fault`]; the clock may be corrected even then.
    fn handshake(&mut self) -> Result<Instrument, Fault> {
        self.synchronise_clock()?;
        self.instrument()
    }

    /// What must be known before something is bought: that the key may trade, and the market. At once, where it can.
    ///
    /// # Errors
    /// [`Fault`]; [`FaultKind::KeyRefused`] if the key has too few rights, or too many.
    fn preflight(&mut self) -> Result<Ticker, Fault> {
        self.ticker()
    }

    /// What reconciliation compares the ledger with: [`Self::open_orders`] and [`Self::executions`] of `from..=to`. At once,
    /// where it can.
    ///
    /// # Errors
    /// [`Fault`].
    fn snapshot(&mut self, from: Timestamp, to: Timestamp) -> Result<(Vec<OrderReport>, Vec<Execution>), Fault> {
        let open = self.open_orders()?;
        Ok((open, self.executions(from, to)?))
    }

    /// The symbol's coins and filters as they are now.
    ///
    /// # Errors
    /// [`Fault`].
    fn instrument(&mut self) -> Result<Instrument, Fault>;

    /// Last, bid and ask.
    ///
    /// # Errors
    /// [`Fault`].
    fn ticker(&mut self) -> Result<Ticker, Fault>;

    /// The balance of one coin; zero if the account has none of it.
    ///
    /// # Errors
    /// [`Fault`].
    fn balance(&mut self, coin: &str) -> Result<Balance, Fault>;

    /// Asks for an order. `Ok` means that the request was accepted, not that the order rests; the answer is the
    /// exchange's own name of it.
    ///
    /// # Errors
    /// [`Fault`]; after [`FaultKind::Unknown`] the order may exist.
    fn place(&mut self, link_id: &str, spec: &OrderSpec) -> Result<String, Fault>;

    /// Asks that an order be cancelled. `Ok` means that the request was accepted.
    ///
    /// # Errors
    /// [`Fault`]; [`FaultKind::NotOpen`] when there is nothing to cancel (any more).
    fn cancel(&mut self, link_id: &str) -> Result<(), Fault>;

    /// Does things that do not depend on each other: at once, where it can. `arrived` is told the place of each and its
    /// outcome as soon as that is known, each exactly once; for an [`Action::Place`] the outcome is the exchange's own name
    /// of the order.
    fn submit(&mut self, actions: &[Action], arrived: &mut dyn FnMut(usize, Result<String, Fault>)) {
        for (place, action) in actions.iter().enumerate() {
            let outcome = match action {
                Action::Place { link_id, spec } => self.place(link_id, spec),
                Action::Cancel { link_id } => self.cancel(link_id).map(|()| String::new()),
            };
            arrived(place, outcome);
        }
    }

    /// What the exchange knows of one order, open or closed; `None` when it knows none of this name.
    ///
    /// # Errors
    /// [`Fault`].
    fn order(&mut self, link_id: &str) -> Result<Option<OrderReport>, Fault>;

    /// All open orders of the symbol, whoever placed them.
    ///
    /// # Errors
    /// [`Fault`].
    fn open_orders(&mut self) -> Result<Vec<OrderReport>, Fault>;

    /// The orders of the symbol that were created in `from..=to` and are closed, as far as the exchange still
    /// knows them, whoever placed them. Where one of its requests is refused, the next call may go on from there: what was
    /// read by then is as it was then, so an order may be missing that has closed since.
    ///
    /// # Errors
    /// [`Fault`].
    fn closed_orders(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<OrderReport>, Fault>;

    /// The symbol's executions in `from..=to`, oldest first, whoever placed the orders. Where one of its requests is refused, the
    /// next call may go on from there; nothing is missing then.
    ///
    /// # Errors
    /// [`Fault`].
    fn executions(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<Execution>, Fault>;
}

/// One row of the private stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// An order changed.
    Order(OrderReport),
    /// An order was filled, in part or in full.
    Execution(Execution),
}

/// How a stop was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopWish {
    /// Leave the resting orders as they are: they protect what is held.
    Leave,
    /// Cancel the bot's own orders.
    Cancel,
    /// Cancel them and sell what is held at market.
    Close,
}

/// What reaches the engine while it waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The private stream is authenticated and subscribed; what happened before was missed.
    StreamUp,
    /// The private stream is down; it comes back by itself.
    StreamDown(String),
    /// The key was refused on the stream, which tries again after a while.
    StreamRefused(String),
    /// The rows of one message of the stream that concern this symbol, in their order; may be empty.
    Frame(Vec<StreamEvent>),
    /// Somebody wants the bot to stop.
    Stop(StopWish),
    /// A person has seen these alarms, as they were then.
    Resume(BTreeMap<AlarmCause, String>),
    /// The journal is no longer the one this bot holds; which, and why.
    JournalLost(String),
}

/// A price that is looked at again and again, and matters only once it has fallen far enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The last price at or below which it matters.
    pub trigger: Decimal,
    /// When to ask for it next.
    pub due: Timestamp,
    /// From one question to the next.
    pub every: Duration,
}

/// Where the engine waits.
pub trait Feed {
    /// The next signal; `None` when it is `until` and nothing has come. Returns at once what is already there.
    fn wait(&mut self, until: Timestamp) -> Option<Signal>;

    /// Waits in the same way, and ends at the first price that matters. A feed that cannot know which one
    /// that is ends at the first. One that can passes over the others, and says what the last of them saw, and when.
    fn watch(&mut self, until: Timestamp, watch: &Watch) -> (Option<Signal>, Option<(Ticker, Timestamp)>) {
        (self.wait(until.min(watch.due)), None)
    }
}

/// Why the journal could not be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalError {
    /// The file, what went wrong and what to do.
    pub message: String,
    /// Whether it is lost to this bot: removed, or another's. Nothing will be written to it again.
    pub lost: bool,
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for JournalError {}

/// Where records are kept.
pub trait Journal {
    /// Writes records, in order, so that the death of this process does not lose them. They are not yet safe from a
    /// power cut. Either all of them are written, or, after an error, none counts.
    ///
    /// # Errors
    /// [`JournalError`]: nothing may take effect that was not written.
    fn append(&mut self, time: Timestamp, records: &[Record]) -> Result<(), JournalError>;

    /// Makes what was written safe from a power cut.
    ///
    /// # Errors
    /// [`JournalError`].
    fn sync(&mut self) -> Result<(), JournalError>;

    /// The same beside the engine, where that is possible: begins it, or finds out whether it has ended. Does not wait for the
    /// disk. `true` once all that was written is safe; until then it is to be called again. Called when nothing else is to be
    /// done.
    ///
    /// # Errors
    /// [`JournalError`].
    fn sync_aside(&mut self) -> Result<bool, JournalError> {
        self.sync().map(|()| true)
    }
}

/// Watches what the engine does, to tell people. It can change nothing.
pub trait Observer {
    /// A record has been written and applied; the ledger is as it is after it.
    fn recorded(&mut self, time: Timestamp, record: &Record, ledger: &Ledger);

    /// Nothing is urgent now: what takes time can be done.
    fn rest(&mut self) {}
}
