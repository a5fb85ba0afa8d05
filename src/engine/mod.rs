//! The engine: the only loop, and the owner of all waiting.
//!
//! In: signals of the private stream, answers of the exchange, the time. Out: records in the journal, then requests
//! to the exchange. What should be done is decided by [`crate::core::strategy`], what an answer means by
//! [`crate::core::reconcile`]; the engine carries out, asks again, and waits.
//!
//! A start asks for the time and the instrument, reconciles, and then checks that the key may trade and that the ladder may be
//! placed (`start`). From then on:
//!
//! ```text
//!   signals there? ──▶ book them                                              ┐
//!   steps decided? ──▶ journal, then exchange (at once what can be)           │ one turn, in this order;
//!   reconciliation due? ──▶ open orders and executions over REST              │ whatever was done, the next
//!   an order to query? ──▶ ask for it under its own name                      │ turn begins at the top
//!   wallet, rights, price, balance due? ──▶ ask                               │
//!   nothing for 20 s? ──▶ heartbeat: connections, clock                       │
//!   else ──▶ wait for a signal or the next deadline                           ┘
//! ```
//!
//! What protects stands above everything optional: after the first comparison with the exchange, sells, cancels and the stop
//! loss wait for nothing else. Buys wait for more: that the last comparison is still good, that no order's fate is unknown,
//! that the key may trade. Each question is due again counted from when it ended, and waits longer each time while it fails
//! (`contact`), so that none starves another.
//!
//! What can go wrong: a request may bring no answer (the order is queried until its fate is known), the stream may be down
//! (REST is polled instead), the journal may refuse to be written (nothing is sent until it can be, see `books`),
//! coins may leave the account (`coins`), the journal may be lost (`rebuilding`), the key may be refused (`contact`; resting
//! orders stay). What a person should know of it, and what the bot waits for, is written down (`attention`).

mod attention;
mod books;
mod carry_out;
mod coins;
mod contact;
mod order_queries;
pub mod ports;
mod questions;
mod rebuilding;
mod reconciliation;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use log::{info, warn};

use crate::core::absence::Unwatched;
use crate::core::ladder::LadderError;
use crate::core::ledger::Ledger;
use crate::core::order::{BotName, OrderKey};
use crate::core::parameters::Parameters;
use crate::core::reconcile::Source;
use crate::core::record::{AlarmCause, Record};
use crate::core::strategy::{self, Decision, Goal, Quote, Situation, Step};
use crate::core::{Decimal, Timestamp};
use books::Books;
use contact::{Chore, Contact};
use ports::{
    Clock, Exchange, Fault, FaultKind, Feed, Journal, JournalError, Observer, Signal, StopWish, StreamEvent, Watch,
};
use questions::{QUOTE_AGE, quote_of};

/// While the stream is up, what it may have lost is looked for this often.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// Long enough for a stream that comes up at all: with it, nothing depends on how quickly.
pub const STREAM_PATIENCE: Duration = Duration::from_secs(10);
/// While the stream is down, REST is polled this often.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// While nothing else is to be done, the exchange is asked for its time this often. That keeps connections open, the clock
/// right, and tells early that the exchange cannot be reached. Servers close idle connections after 30 s and more.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(20);

/// How the engine ended in peace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The goal is reached: `max_cycles` done, or cancelled, or closed.
    Finished,
    /// A stop was asked for; resting orders were left.
    Stopped,
}

/// How the engine ended otherwise.
#[derive(Debug)]
pub enum Failure {
    /// The exchange could not be reached at the start.
    Unreachable(Fault),
    /// The key was refused.
    KeyRefused(String),
    /// The exchange refuses the configuration.
    ConfigurationRefused(String),
    /// The ladder breaks a rule; nothing is open.
    Ladder(LadderError),
    /// The journal cannot be written.
    Journal(JournalError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(fault) => write!(f, "the exchange cannot be reached: {fault}"),
            Self::KeyRefused(message) => write!(f, "the key was refused: {message}"),
            Self::ConfigurationRefused(message) => write!(f, "the exchange refuses the configuration: {message}"),
            Self::Ladder(error) => write!(f, "the ladder cannot be placed: {error}"),
            Self::Journal(error) => write!(f, "the journal cannot be written: {error}"),
        }
    }
}

impl std::error::Error for Failure {}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        Self::Journal(error)
    }
}

/// The outside, as the engine holds it.
pub struct World<'a> {
    /// The exchange.
    pub exchange: &'a mut dyn Exchange,
    /// Where signals come from.
    pub feed: &'a mut dyn Feed,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Where records are kept.
    pub journal: &'a mut dyn Journal,
    /// Who tells people.
    pub observer: &'a mut dyn Observer,
}

/// Who trades what, to which end, and how often things are looked after.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The bot's name.
    pub bot: BotName,
    /// `demo`, `testnet`, `mainnet` or `paper`; for the journal.
    pub environment: String,
    /// What the user chose.
    pub parameters: Parameters,
    /// What the bot is to do.
    pub goal: Goal,
    /// While the stream is up, what it may have lost is looked for this often.
    pub reconcile_interval: Duration,
    /// While nothing else is to be done, the exchange is asked for its time this often.
    pub heartbeat_interval: Duration,
    /// A start waits so long for the stream before it reconciles. Where nothing depends on who comes first, not at all: what
    /// happens before the stream is up is asked for.
    pub stream_patience: Duration,
}

impl EngineConfig {
    /// How a bot trades in real time. `environment` is `demo`, `testnet`, `mainnet` or `paper`.
    pub fn new(bot: BotName, environment: &str, parameters: Parameters, goal: Goal) -> Self {
        Self {
            bot,
            environment: environment.to_owned(),
            parameters,
            goal,
            reconcile_interval: RECONCILE_INTERVAL,
            heartbeat_interval: HEARTBEAT_INTERVAL,
            stream_patience: Duration::ZERO,
        }
    }
}

/// The engine: see the module's documentation.
pub struct Engine<'a> {
    exchange: &'a mut dyn Exchange,
    feed: &'a mut dyn Feed,
    books: Books<'a>,
    config: EngineConfig,
    /// Whether the exchange has corrected the clock.
    clock_synchronised: bool,
    /// Whether the exchange has been asked what must be known before something is bought.
    preflight_passed: bool,
    /// When the key's rights and expiry are to be looked at again.
    key_check_due: Timestamp,
    /// Whether reconciliation has succeeded since the stream last came up: only then is anything bought.
    reconciled: bool,
    /// Whether it has ever succeeded in this process: from then on orders are cancelled and coins are sold.
    reconciled_once: bool,
    /// When the engine last took a turn.
    awake: Timestamp,
    /// Whether the journal says that this process has reconciled, with every order's fate known.
    watching: bool,
    stream_up: bool,
    /// When the stream last came up.
    connected: Timestamp,
    /// When reconciliation is due.
    reconcile_due: Timestamp,
    /// From when on executions may have been missed.
    executions_from: Timestamp,
    /// The last time of a day or more in which this process was not there to see what happened.
    unwatched: Option<Unwatched>,
    heartbeat_due: Timestamp,
    contact: Contact,
    /// Orders to be asked for under their own name, because their fate is not known.
    queries: BTreeMap<OrderKey, order_queries::OrderQuery>,
    /// Orders with this bot's name that should not be there, and how often in a row they were seen.
    unexpected: BTreeMap<OrderKey, u32>,
    /// Orders of this bot that have executions but are not in the ledger.
    unknown_executions: BTreeSet<OrderKey>,
    quote: Option<(Quote, Timestamp)>,
    /// The free balance in quote coin, and when it was asked for.
    funds: Option<(Decimal, Timestamp)>,
    /// A sell was refused because coins are missing: the wallet is to be asked.
    wallet_check_due: bool,
    shortage: Option<coins::Shortage>,
    attempts: Option<rebuilding::Attempts>,
    told_ladder_error: Option<LadderError>,
    memo: strategy::Memo,
    stop: Option<StopWish>,
    /// Alarms that a person has seen, as they were then.
    seen_alarms: BTreeMap<AlarmCause, String>,
}

impl<'a> Engine<'a> {
    /// An engine that goes on from this ledger, as recovered from the journal.
    pub fn new(world: World<'a>, config: EngineConfig, ledger: Ledger) -> Self {
        let World { exchange, feed, clock, journal, observer } = world;
        let now = clock.now();
        Self {
            exchange,
            feed,
            books: Books::new(ledger, clock, journal, observer),
            config,
            clock_synchronised: false,
            preflight_passed: false,
            key_check_due: now,
            reconciled: false,
            reconciled_once: false,
            awake: now,
            watching: false,
            stream_up: false,
            connected: Timestamp::default(),
            reconcile_due: now,
            executions_from: now,
            unwatched: None,
            heartbeat_due: now,
            contact: Contact::default(),
            queries: BTreeMap::new(),
            unexpected: BTreeMap::new(),
            unknown_executions: BTreeSet::new(),
            quote: None,
            funds: None,
            wallet_check_due: false,
            shortage: None,
            attempts: None,
            told_ladder_error: None,
            memo: strategy::Memo::default(),
            stop: None,
            seen_alarms: BTreeMap::new(),
        }
    }

    /// What is known.
    pub fn ledger(&self) -> &Ledger {
        &self.books.ledger
    }

    /// What is known, when the engine has ended.
    pub fn into_ledger(self) -> Ledger {
        self.books.ledger
    }

    /// Trades until the goal is reached, a stop is asked for, or it cannot go on.
    ///
    /// # Errors
    /// [`Failure`]. Resting orders stay in every case.
    pub fn run(&mut self) -> Result<Outcome, Failure> {
        let result = self.work();
        self.books.observer.rest();
        result
    }

    fn work(&mut self) -> Result<Outcome, Failure> {
        while let Err(failure) = self.start() {
            match failure {
                Failure::Journal(error) => self.await_journal(error)?,
                failure => return Err(failure),
            }
        }
        loop {
            let reason = match self.turn() {
                Ok(None) => continue,
                Err(Failure::Journal(error)) => {
                    self.await_journal(error)?;
                    continue;
                }
                Err(failure) => return Err(failure),
                Ok(Some(outcome)) => outcome,
            };
            return self.end(reason);
        }
    }

    fn end(&mut self, outcome: Outcome) -> Result<Outcome, Failure> {
        let reason = match outcome {
            Outcome::Finished if self.config.goal == Goal::Trade => "finished",
            Outcome::Finished => "stopped as asked",
            Outcome::Stopped => "stopped as asked",
        };
        let mut records = Vec::new();
        if outcome == Outcome::Finished && self.config.goal == Goal::Close {
            // A person has let the bot close its position: what it could not know about it matters no more.
            let cause = AlarmCause::LostHistory;
            records.extend(self.books.ledger.alarms.contains_key(&cause).then_some(Record::AlarmCleared { cause }));
        }
        let left_over = self.left_over().filter(|_| outcome == Outcome::Finished).unwrap_or_default();
        records.push(Record::Stopped { reason: format!("{reason}{left_over}") });
        if !self.clock_synchronised {
            // Stopped before the exchange corrected the clock: a record would carry a date that may lie years ahead.
            return Ok(outcome);
        }
        self.record(records)?;
        self.books.sync();
        Ok(outcome)
    }

    /// Does the most urgent thing. `Some` when all is done.
    fn turn(&mut self) -> Result<Option<Outcome>, Failure> {
        while let Some(signal) = self.feed.wait(self.now()) {
            self.take(signal)?;
        }
        match self.stop.take() {
            Some(StopWish::Leave) => return Ok(Some(Outcome::Stopped)),
            Some(StopWish::Cancel) => self.config.goal = Goal::Cancel,
            Some(StopWish::Close) => self.config.goal = Goal::Close,
            None => {}
        }
        self.notice_suspension()?;
        self.look_after_alarms()?;
        self.note_silence()?;
        let now = self.now();
        if now < self.contact.quiet_until {
            self.idle(self.contact.quiet_until, None)?;
            return Ok(None);
        }
        // What protects comes first. It waits for the first comparison with the exchange, and for nothing optional.
        let mut decision = Decision::default();
        if self.reconciled_once {
            decision = self.decide_and_note()?;
            self.note_shortfall(&decision)?;
            self.tell_ladder_error(&decision)?;
            // After a refusal the market's price helps to choose another one: it is asked for once, if it is to be had.
            if decision.wants_quote && decision.trigger.is_none() && self.is_quote_due(now) {
                self.fetch_quote()?;
                return Ok(None);
            }
            // A few at a time: what comes meanwhile, a stop above all, is seen before the next are taken.
            let steps = self.batch(std::mem::take(&mut decision.steps));
            if !steps.is_empty() {
                self.carry_out(steps)?;
                return Ok(None);
            }
        }
        if now >= self.next_reconciliation() {
            self.reconcile()?;
            return Ok(None);
        }
        if let Some(key) = self.most_urgent_query(now) {
            self.query_order(key)?;
            return Ok(None);
        }
        let settled = self.reconciled && self.queries.is_empty();
        let wallet_due = Some(self.contact.due(Chore::Wallet)).filter(|_| self.wallet_check_due && settled);
        if wallet_due.is_some_and(|due| now >= due) {
            self.check_wallet()?;
            return Ok(None);
        }
        if settled && !self.watching && self.unexpected.is_empty() {
            self.record(vec![Record::Reconciled])?;
            // After a power cut this shows that the process may have done more than its journal holds.
            self.books.sync();
            self.watching = true;
            return Ok(None);
        }
        let is_checked = self.preflight_passed && now < self.key_check_due;
        let wants_preflight = self.reconciled && !is_checked && self.config.goal == Goal::Trade;
        let preflight_due = Some(self.contact.due(Chore::Preflight)).filter(|_| wants_preflight);
        if preflight_due.is_some_and(|due| now >= due) {
            self.preflight()?;
            return Ok(None);
        }
        if decision.wants_quote && self.is_quote_due(now) {
            self.fetch_quote()?;
            return Ok(None);
        }
        let funds_due = decision.needs_funds.map(|_| self.funds_due());
        if funds_due.is_some_and(|due| now >= due) {
            self.ask_funds()?;
            return Ok(None);
        }
        if decision.finished && self.queries.is_empty() {
            return Ok(Some(Outcome::Finished));
        }
        if now >= self.heartbeat_due {
            self.heartbeat()?;
            return Ok(None);
        }
        let quote_due = decision.wants_quote.then(|| self.quote_due());
        let watch = quote_due.zip(decision.trigger).map(|(due, trigger)| Watch { trigger, due, every: QUOTE_AGE });
        let quote_due = quote_due.filter(|_| watch.is_none());
        let asked = [self.next_query(), quote_due, wallet_due, preflight_due, funds_due];
        let wake = asked
            .into_iter()
            .chain([decision.wake, Some(self.heartbeat_due)])
            .flatten()
            .fold(self.next_reconciliation(), Timestamp::min);
        self.idle(wake, watch.as_ref())?;
        Ok(None)
    }

    /// When the ledger is to be compared with the exchange.
    fn next_reconciliation(&self) -> Timestamp {
        self.reconcile_due.max(self.contact.due(Chore::Reconciliation))
    }

    /// Waits for a signal until `wake`, or until the price that is watched matters, syncing the journal on the way.
    fn idle(&mut self, wake: Timestamp, watch: Option<&Watch>) -> Result<(), Failure> {
        self.books.observer.rest();
        loop {
            let sync = self.books.sync_due;
            let until = sync.map_or(wake, |due| due.min(wake));
            let signal = match watch {
                Some(watch) => {
                    let (signal, seen) = self.feed.watch(until, watch);
                    if let Some((ticker, at)) = seen {
                        self.quote = Some((quote_of(ticker), at));
                    }
                    signal
                }
                None => self.feed.wait(until),
            };
            if let Some(signal) = signal {
                return self.take(signal);
            }
            if sync.is_none_or(|due| due > self.now()) {
                return Ok(());
            }
            self.books.sync_aside();
            // A sync changes nothing that a decision looks at: the wait goes on. But a price may have been seen meanwhile.
            if watch.is_some() {
                return Ok(());
            }
        }
    }

    /// Waits for a signal until then.
    fn wait(&mut self, until: Timestamp) -> Option<Signal> {
        self.books.observer.rest();
        self.feed.wait(until)
    }

    /// Decides, and writes down at once what is only to be written down, until there is something else to do: no time
    /// passes meanwhile.
    fn decide_and_note(&mut self) -> Result<Decision, Failure> {
        loop {
            let decision = self.decide();
            match decision.steps.first() {
                Some(step) if self.waits_for_unexpected(step) => return Ok(decision),
                Some(Step::DecideExit { .. } | Step::CloseCycle { .. }) => self.carry_out(decision.steps)?,
                _ => return Ok(decision),
            }
        }
    }

    fn decide(&mut self) -> Decision {
        let mut memo = std::mem::take(&mut self.memo);
        let situation = Situation {
            ledger: &self.books.ledger,
            parameters: &self.config.parameters,
            goal: self.config.goal,
            quote: self.fresh_quote(self.now()),
            free: self.free_funds(self.now()),
            hold_buys: !self.unexpected.is_empty() || !self.reconciled || !self.may_buy(),
            connected: self.connected,
            now: self.now(),
        };
        let decision = strategy::decide_again(&situation, &mut memo);
        self.memo = memo;
        decision
    }

    /// Whether what must be known before something is bought is known.
    fn may_buy(&self) -> bool {
        self.preflight_passed || self.config.goal != Goal::Trade
    }

    /// Takes what came while waiting.
    fn take(&mut self, signal: Signal) -> Result<(), Failure> {
        match signal {
            Signal::StreamUp => {
                info!("private stream up");
                self.stream_up = true;
                self.connected = self.now();
                // Nothing is replayed: what happened before this moment is known only by asking.
                self.reconciled = false;
                self.reconcile_due = self.now();
                self.contact.connected();
            }
            Signal::StreamDown(reason) => {
                warn!("private stream down, polling meanwhile: {reason}");
                self.stream_up = false;
                self.reconcile_due = self.reconcile_due.min(self.now().after(POLL_INTERVAL));
            }
            Signal::StreamRefused(message) => {
                let kind = FaultKind::KeyRefused;
                self.on_refusal(&Fault { kind, endpoint: "private stream", code: None, message })?;
            }
            // Nobody knows yet what it would be news of: the past is asked for first.
            Signal::Frame(_) if self.books.ledger.is_blank() && !self.reconciled => {}
            // Nothing is dated by a clock that the exchange has not corrected.
            Signal::Frame(_) if !self.clock_synchronised => {}
            Signal::Frame(events) => {
                for event in events {
                    match event {
                        StreamEvent::Order(report) => self.on_report(&report, Source::Stream)?,
                        StreamEvent::Execution(execution) => self.on_execution(&execution)?,
                    }
                }
                if !self.unknown_executions.is_empty() {
                    self.reconcile_due = self.now();
                }
            }
            Signal::Stop(wish) => self.stop = Some(wish),
            Signal::Resume(seen) => self.seen_alarms.extend(seen),
            Signal::JournalLost(message) => return Err(Failure::Journal(JournalError { message, lost: true })),
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.books.clock.now()
    }

    /// Asks for the time, on as many connections as there may be orders to cancel at once.
    fn heartbeat(&mut self) -> Result<(), Failure> {
        let live = self.books.ledger.cycle.iter().flat_map(|cycle| cycle.live_orders()).count();
        let result = self.exchange.heartbeat(live.clamp(1, carry_out::MOST_AT_ONCE));
        let ended = self.now();
        match result {
            Ok(()) => {
                self.contact.succeeded(Chore::Heartbeat);
                self.heartbeat_due = ended.after(self.config.heartbeat_interval);
                Ok(())
            }
            Err(fault) => {
                self.chore_failed(Chore::Heartbeat, &fault)?;
                self.heartbeat_due = self.contact.due(Chore::Heartbeat);
                Ok(())
            }
        }
    }

    fn tell_ladder_error(&mut self, decision: &Decision) -> Result<(), Failure> {
        if let Some(error) = &decision.ladder_error {
            if self.books.ledger.cycle.is_none() {
                return Err(Failure::Ladder(error.clone()));
            }
            if decision.ladder_error != self.told_ladder_error {
                warn!("a level is left out: {error}");
            }
        }
        self.told_ladder_error.clone_from(&decision.ladder_error);
        Ok(())
    }
}
