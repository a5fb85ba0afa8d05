//! The engine: the only loop, and the owner of all waiting.
//!
//! In: signals of the private stream, answers of the exchange, the time. Out: records in the journal, then requests
//! to the exchange. What should be done is decided by [`crate::core::strategy`], what an answer means by
//! [`crate::core::reconcile`]; the engine carries out, asks again, and waits.
//!
//! A start asks for the time and the instrument, reconciles, and then looks whether the key may trade and the ladder may be
//! placed (`start`). From then on:
//!
//! ```text
//!   signals there? ──▶ book them                                     ┐
//!   reconciliation due? ──▶ open orders and executions over REST     │ one turn, in this order;
//!   an order in doubt? ──▶ ask for it under its own name             │ whatever was done, the next
//!   steps decided? ──▶ journal, then exchange (at once what can be)  │ turn begins at the top
//!   nothing ──▶ wait for a signal or the next deadline               ┘
//! ```
//!
//! What can go wrong: a request may bring no answer (the order stays in doubt until asked for), the stream may be down
//! (REST is polled instead), the journal may refuse to be written (nothing is sent until it can be, see `journaling`),
//! coins may leave the account (`coins`), the journal may be lost (`rebuilding`), the key may be refused (the engine
//! ends; resting orders stay).

mod carry_out;
mod coins;
mod funds;
mod journaling;
pub mod ports;
mod rebuilding;
mod reconciliation;
mod settlement;
mod start;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use log::{info, warn};

use crate::core::Timestamp;
use crate::core::ladder::LadderError;
use crate::core::ledger::Ledger;
use crate::core::order::{BotName, OrderKey};
use crate::core::parameters::Parameters;
use crate::core::record::{AlarmCause, Record};
use crate::core::strategy::{self, Decision, Goal, Quote, Situation, Step};
use ports::{
    Clock, Exchange, Fault, FaultKind, Feed, Journal, JournalError, Observer, Signal, StopWish, StreamEvent, Ticker,
    Watch,
};

/// While the stream is up, what it may have lost is looked for this often.
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);
/// Long enough for a stream that comes up at all: with it, nothing depends on how quickly.
pub const STREAM_PATIENCE: Duration = Duration::from_secs(10);
/// While the stream is down, REST is polled this often.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// The clock is compared this often.
pub const CLOCK_INTERVAL: Duration = Duration::from_secs(600);
/// While nothing else is to be done, it is seen to this often that the next order finds an open connection.
pub const READINESS_INTERVAL: Duration = Duration::from_secs(1);
/// A quote older than this is fetched again when the strategy wants one.
const QUOTE_AGE: Duration = Duration::from_secs(5);
/// The first pause after the exchange could not be reached; it doubles up to [`POLL_INTERVAL`].
const OUTAGE_PAUSE: Duration = Duration::from_millis(250);
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

/// Who trades what, and to which end.
#[derive(Clone, Debug)]
pub struct Assignment {
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
    /// The clock is compared this often.
    pub clock_interval: Duration,
    /// It is seen to this often that orders find open connections; `None` where there are no connections.
    pub readiness_interval: Option<Duration>,
    /// A start waits so long for the stream before it reconciles. Where nothing depends on who comes first, not at all: what
    /// happens before the stream is up is asked for.
    pub stream_patience: Duration,
}

/// The engine: see the module's documentation.
pub struct Engine<'a> {
    world: World<'a>,
    assignment: Assignment,
    ledger: Ledger,
    /// Whether the exchange has corrected the clock.
    set_out: bool,
    /// Whether the exchange has been asked what must be known before something is bought.
    admitted: bool,
    /// Whether reconciliation has succeeded since the stream last came up.
    reconciled: bool,
    /// Whether the journal says that this process has reconciled, with nothing in doubt.
    watching: bool,
    stream_up: bool,
    /// When reconciliation is due.
    reconcile_due: Timestamp,
    /// From when on executions may have been missed.
    executions_from: Timestamp,
    /// What happened to orders older than this may be forgotten by the exchange: this process was not there to see it.
    unseen_before: Option<Timestamp>,
    clock_due: Timestamp,
    /// No request before this moment: the exchange asked for quiet, or could not be reached.
    quiet_until: Timestamp,
    /// How many requests in a row did not reach the exchange.
    outages: u32,
    /// Orders in doubt, and when they are asked for.
    doubts: BTreeMap<OrderKey, settlement::Doubt>,
    /// Orders with this bot's name that should not be there, and how often in a row they were seen.
    strays: BTreeMap<OrderKey, u32>,
    /// Whether the ledger has changed since the strays were counted, so that one of them may fit now.
    room_for_strays: bool,
    /// Orders of this bot that have executions but are not in the ledger.
    unknown_executions: BTreeSet<OrderKey>,
    quote: Option<(Quote, Timestamp)>,
    open_not_before: Timestamp,
    /// When the journal is to be synced; `None` if it is, or will be by the sync that is under way.
    sync_due: Option<Timestamp>,
    /// When to look at the sync that is under way.
    sync_look: Option<Timestamp>,
    /// How often in a row the journal could not be written.
    journal_failures: u32,
    /// A sell was refused because coins are missing: the wallet is to be asked.
    coins_due: bool,
    /// What could be spent on the next cycle, if it was asked for.
    funds: Option<funds::Funds>,
    /// When it was last asked for.
    funds_asked: Timestamp,
    /// When the connections are looked at.
    readiness_due: Timestamp,
    shortage: Option<coins::Shortage>,
    looks: Option<rebuilding::Looks>,
    told_ladder_error: Option<LadderError>,
    memo: strategy::Memo,
    stop: Option<StopWish>,
}

impl<'a> Engine<'a> {
    /// An engine that goes on from this ledger, as recovered from the journal.
    pub fn new(world: World<'a>, assignment: Assignment, ledger: Ledger) -> Self {
        let now = world.clock.now();
        Self {
            world,
            assignment,
            ledger,
            set_out: false,
            admitted: false,
            reconciled: false,
            watching: false,
            stream_up: false,
            reconcile_due: now,
            executions_from: now,
            unseen_before: None,
            clock_due: now,
            quiet_until: now,
            outages: 0,
            doubts: BTreeMap::new(),
            strays: BTreeMap::new(),
            room_for_strays: false,
            unknown_executions: BTreeSet::new(),
            quote: None,
            open_not_before: now,
            sync_due: None,
            sync_look: None,
            journal_failures: 0,
            coins_due: false,
            funds: None,
            funds_asked: Timestamp::default(),
            readiness_due: now,
            shortage: None,
            looks: None,
            told_ladder_error: None,
            memo: strategy::Memo::default(),
            stop: None,
        }
    }

    /// What is known.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What is known, when the engine has ended.
    pub fn into_ledger(self) -> Ledger {
        self.ledger
    }

    /// Trades until the goal is reached, a stop is asked for, or it cannot go on.
    ///
    /// # Errors
    /// [`Failure`]. Resting orders stay in every case.
    pub fn run(&mut self) -> Result<Outcome, Failure> {
        let result = self.work();
        self.world.observer.rest();
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
            Outcome::Finished if self.assignment.goal == Goal::Trade => "finished",
            Outcome::Finished => "stopped as asked",
            Outcome::Stopped => "stopped as asked",
        };
        let mut records = Vec::new();
        if outcome == Outcome::Finished && self.assignment.goal == Goal::Close {
            // A person has let the bot close its position: what it could not know about it matters no more.
            let cause = AlarmCause::LostHistory;
            records.extend(self.ledger.alarms.contains_key(&cause).then_some(Record::AlarmCleared { cause }));
        }
        records.push(Record::Stopped { reason: reason.to_owned() });
        if !self.set_out {
            // Stopped before the exchange corrected the clock: a record would carry a date that may lie years ahead.
            return Ok(outcome);
        }
        self.record(records)?;
        self.sync();
        Ok(outcome)
    }

    /// Does the most urgent thing. `Some` when all is done.
    fn turn(&mut self) -> Result<Option<Outcome>, Failure> {
        while let Some(signal) = self.world.feed.wait(self.now()) {
            self.take(signal)?;
        }
        match self.stop.take() {
            Some(StopWish::Leave) => return Ok(Some(Outcome::Stopped)),
            Some(StopWish::Cancel) => self.assignment.goal = Goal::Cancel,
            Some(StopWish::Close) => self.assignment.goal = Goal::Close,
            None => {}
        }
        let now = self.now();
        let mut wake = self.reconcile_due;
        let mut watch = None;
        if now < self.quiet_until {
            wake = self.quiet_until;
        } else if now >= self.reconcile_due {
            self.reconcile()?;
            return Ok(None);
        } else if let Some(key) = self.most_urgent_doubt(now) {
            self.ask(key)?;
            return Ok(None);
        } else if self.coins_due && self.reconciled && self.doubts.is_empty() {
            self.look_at_coins()?;
            return Ok(None);
        } else if self.reconciled && !self.watching && self.doubts.is_empty() && self.strays.is_empty() {
            self.record(vec![Record::Reconciled])?;
            // After a power cut this shows that the process may have done more than its journal holds.
            self.sync();
            self.watching = true;
            return Ok(None);
        } else if self.reconciled && !self.admitted && self.assignment.goal == Goal::Trade {
            self.admit()?;
            return Ok(None);
        } else if self.reconciled {
            let decision = self.decide_and_note()?;
            if decision.wants_quote && self.quote_is_stale(now) {
                self.fetch_quote()?;
                return Ok(None);
            }
            self.tell_ladder_error(&decision);
            // A few at a time: what comes meanwhile, a stop above all, is seen before the next are taken.
            let steps = self.together(decision.steps);
            if !steps.is_empty() {
                self.carry_out(steps)?;
                return Ok(None);
            }
            if decision.finished && self.doubts.is_empty() {
                return Ok(Some(Outcome::Finished));
            }
            if now >= self.clock_due {
                self.renew_clock()?;
                return Ok(None);
            }
            if self.funds_due().is_some_and(|due| now >= due) {
                self.ask_funds()?;
                return Ok(None);
            }
            if let Some(interval) = self.assignment.readiness_interval
                && now >= self.readiness_due
            {
                self.readiness_due = now.after(interval);
                self.stay_ready();
            }
            let readiness_due = self.assignment.readiness_interval.map(|_| self.readiness_due);
            let quote_due = decision.wants_quote.then(|| self.quote_due());
            watch = quote_due.zip(decision.trigger).map(|(due, trigger)| Watch { trigger, due, every: QUOTE_AGE });
            let quote_due = quote_due.filter(|_| watch.is_none());
            wake = [decision.wake, self.next_doubt(), quote_due, Some(self.clock_due), self.funds_due(), readiness_due]
                .into_iter()
                .flatten()
                .fold(wake, Timestamp::min);
        }
        self.idle(wake, watch.as_ref())?;
        Ok(None)
    }

    /// Waits for a signal until `wake`, or until the price that is watched matters, syncing the journal on the way.
    fn idle(&mut self, wake: Timestamp, watch: Option<&Watch>) -> Result<(), Failure> {
        self.world.observer.rest();
        loop {
            let sync = self.next_sync();
            let until = sync.map_or(wake, |due| due.min(wake));
            let signal = match watch {
                Some(watch) => {
                    let (signal, seen) = self.world.feed.watch(until, watch);
                    if let Some((ticker, at)) = seen {
                        self.quote = Some((quote_of(ticker), at));
                    }
                    signal
                }
                None => self.world.feed.wait(until),
            };
            if let Some(signal) = signal {
                return self.take(signal);
            }
            if sync.is_none_or(|due| due > self.now()) {
                return Ok(());
            }
            self.sync_aside();
            // A sync changes nothing that a decision looks at: the wait goes on. But a price may have been seen meanwhile.
            if watch.is_some() {
                return Ok(());
            }
        }
    }

    /// Waits for a signal until then.
    fn wait(&mut self, until: Timestamp) -> Option<Signal> {
        self.world.observer.rest();
        self.world.feed.wait(until)
    }

    /// Decides, and writes down at once what is only to be written down, until there is something else to do: no time
    /// passes meanwhile.
    fn decide_and_note(&mut self) -> Result<Decision, Failure> {
        loop {
            let decision = self.decide();
            match decision.steps.first() {
                Some(step) if self.awaits_stray(step) => return Ok(decision),
                Some(Step::DecideExit { .. } | Step::CloseCycle { .. }) => self.carry_out(decision.steps)?,
                Some(Step::OpenCycle { cycle }) if self.is_funded() => self.begin_cycle(*cycle)?,
                _ => return Ok(decision),
            }
        }
    }

    fn decide(&mut self) -> Decision {
        let mut memo = std::mem::take(&mut self.memo);
        let situation = Situation {
            ledger: &self.ledger,
            parameters: &self.assignment.parameters,
            goal: self.assignment.goal,
            quote: self.fresh_quote(self.now()),
            open_not_before: self.open_not_before,
            hold_buys: !self.strays.is_empty(),
            now: self.now(),
        };
        let decision = strategy::decide_again(&situation, &mut memo);
        self.memo = memo;
        decision
    }

    /// Takes what came while waiting.
    fn take(&mut self, signal: Signal) -> Result<(), Failure> {
        match signal {
            Signal::StreamUp => {
                info!("private stream up");
                self.stream_up = true;
                // Nothing is replayed: what happened before this moment is known only by asking.
                self.reconciled = false;
                self.reconcile_due = self.now();
            }
            Signal::StreamDown(reason) => {
                warn!("private stream down, polling meanwhile: {reason}");
                self.stream_up = false;
                self.reconcile_due = self.reconcile_due.min(self.now().after(POLL_INTERVAL));
            }
            Signal::StreamRefused(reason) => return Err(Failure::KeyRefused(reason)),
            // Nobody knows yet what it would be news of: the past is asked for first.
            Signal::Frame(_) if self.ledger.is_blank() && !self.reconciled => {}
            // Nothing is dated by a clock that the exchange has not corrected.
            Signal::Frame(_) if !self.set_out => {}
            Signal::Frame(events) => {
                for event in events {
                    match event {
                        StreamEvent::Order(report) => {
                            self.on_report(&report, crate::core::reconcile::Source::Stream)?
                        }
                        StreamEvent::Execution(execution) => self.on_execution(&execution)?,
                    }
                }
                if !self.unknown_executions.is_empty() {
                    self.reconcile_due = self.now();
                }
            }
            Signal::Stop(wish) => self.stop = Some(wish),
        }
        Ok(())
    }

    fn now(&self) -> Timestamp {
        self.world.clock.now()
    }

    /// The faults that end the engine wherever they appear.
    fn fatal(&self, fault: &Fault) -> Result<(), Failure> {
        match fault.kind {
            FaultKind::KeyRefused => Err(Failure::KeyRefused(fault.to_string())),
            FaultKind::ConfigurationRefused => Err(Failure::ConfigurationRefused(fault.to_string())),
            _ => Ok(()),
        }
    }

    /// What every fault has in common: it may end the engine, ask for quiet, or tell of an outage.
    fn weigh(&mut self, fault: &Fault) -> Result<(), Failure> {
        self.fatal(fault)?;
        match fault.kind {
            FaultKind::RateLimited { until } => {
                warn!("{fault}; quiet until {until}");
                self.quiet_until = until;
            }
            FaultKind::ClockOff => {
                self.clock_due = self.now();
                self.pause_for_outage(fault);
            }
            FaultKind::Unreachable | FaultKind::Unknown | FaultKind::Malformed => self.pause_for_outage(fault),
            _ => {}
        }
        Ok(())
    }

    fn pause_for_outage(&mut self, fault: &Fault) {
        let pause = (OUTAGE_PAUSE * 2_u32.pow(self.outages.min(8))).min(POLL_INTERVAL);
        if self.outages == 0 {
            warn!("{fault}");
        }
        self.outages = self.outages.saturating_add(1);
        self.quiet_until = self.now().after(pause);
    }

    /// An answer came: the outage, if there was one, is over.
    fn answered(&mut self) {
        if self.outages > 0 {
            info!("the exchange answers again after {} failed requests", self.outages);
            self.outages = 0;
        }
    }

    fn renew_clock(&mut self) -> Result<(), Failure> {
        match self.world.exchange.synchronise_clock() {
            Ok(()) => {
                self.answered();
                self.clock_due = self.now().after(self.assignment.clock_interval);
                Ok(())
            }
            Err(fault) => self.weigh(&fault),
        }
    }

    /// Sees to it that an order, or what is to be cancelled together, does not have to wait for a connection.
    fn stay_ready(&mut self) {
        if self.sync_look.is_some() {
            // One thread beside this one is enough.
            return;
        }
        let live = self.ledger.cycle.iter().flat_map(|cycle| cycle.live_orders()).count();
        self.world.exchange.stay_ready(live.max(1));
    }

    fn fresh_quote(&self, now: Timestamp) -> Option<&Quote> {
        self.quote.as_ref().filter(|(_, at)| now.since(*at) < QUOTE_AGE).map(|(quote, _)| quote)
    }

    fn quote_due(&self) -> Timestamp {
        self.quote.as_ref().map_or(self.now(), |(_, at)| at.after(QUOTE_AGE))
    }

    fn quote_is_stale(&self, now: Timestamp) -> bool {
        self.fresh_quote(now).is_none()
    }

    fn fetch_quote(&mut self) -> Result<(), Failure> {
        match self.world.exchange.ticker() {
            Ok(ticker) => {
                self.answered();
                self.quote = Some((quote_of(ticker), self.now()));
                Ok(())
            }
            Err(fault) => self.weigh(&fault),
        }
    }

    fn tell_ladder_error(&mut self, decision: &Decision) {
        if decision.ladder_error != self.told_ladder_error {
            if let Some(error) = &decision.ladder_error {
                warn!("a rebuy is left out, by a rule of the exchange: {error}");
            }
            self.told_ladder_error.clone_from(&decision.ladder_error);
        }
    }
}

fn quote_of(ticker: Ticker) -> Quote {
    Quote { last: ticker.last, bid: ticker.bid, ask: ticker.ask }
}
