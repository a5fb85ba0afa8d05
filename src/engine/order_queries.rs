//! Orders whose fate is not known: queried under their own name until it is.
//!
//! An order is queried when its create or cancel brought no answer, when a cancel was accepted and nothing more is
//! heard, or when the exchange reports more executed than is booked. Nothing is ever sent again because an answer is
//! missing; only an order that surely never arrived frees its name.

use std::time::Duration;

use log::{error, info, warn};

use super::ports::{Fault, FaultKind};
use super::{Engine, Failure, contact, rebuilding};
use crate::core::Timestamp;
use crate::core::absence::{self, HIDDEN_PATIENCE, Next, RETENTION, Silence};
use crate::core::ledger::OrderState;
use crate::core::money::Decimal;
use crate::core::order::{OrderKey, OrderReport};
use crate::core::reconcile::{self, Source};
use crate::core::record::{AlarmCause, Record};
use crate::core::time::doubled;

/// The stream is given so long to tell what an answer or another row has already told.
const STREAM_GRACE: Duration = Duration::from_secs(1);
/// The stream is given so long to tell that a market order is filled.
const FILL_GRACE: Duration = Duration::from_secs(3);
/// The stream is given so long to tell that an order is cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(2);
/// The first pause between two questions; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause between two questions.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The same while it is refused.
const LONGEST_REFUSED_PAUSE: Duration = Duration::from_secs(60);

/// What is known of a query.
#[derive(Clone, Debug)]
pub(super) struct OrderQuery {
    /// When to ask next.
    due: Timestamp,
    /// When its fate became unknown.
    since: Timestamp,
    /// How often it was asked for.
    asked: u32,
    /// How often in a row that was refused.
    refused: u32,
    /// How the exchange was silent about it.
    silence: Silence,
}

impl Engine<'_> {
    /// The fate of an order is not known: it is queried at once.
    pub(super) fn query_now(&mut self, key: OrderKey, proved: bool) {
        self.query_after(key, Duration::ZERO, proved);
    }

    /// The stream will tell how a market order was filled; if it does not, the order is asked for.
    pub(super) fn expect_fill(&mut self, key: OrderKey) {
        self.query_after(key, FILL_GRACE, true);
    }

    /// The stream will tell what became of a cancel; if it does not, the order is asked for.
    pub(super) fn expect_cancel(&mut self, key: OrderKey) {
        self.query_after(key, CANCEL_GRACE, true);
    }

    fn query_after(&mut self, key: OrderKey, grace: Duration, proved: bool) {
        let now = self.now();
        let due = now.after(grace);
        let silence = Silence { proved, ..Silence::default() };
        let query = self.queries.entry(key).or_insert(OrderQuery { due, since: now, asked: 0, refused: 0, silence });
        query.due = query.due.min(due);
        query.silence.proved |= proved;
    }

    /// The order to be queried first, if one is due.
    pub(super) fn most_urgent_query(&mut self, now: Timestamp) -> Option<OrderKey> {
        let ledger = &self.books.ledger;
        self.queries.retain(|key, _| ledger.order(*key).is_some_and(|order| order.is_live()));
        self.queries
            .iter()
            .filter(|(_, query)| query.due <= now)
            .min_by_key(|(_, query)| query.due)
            .map(|(key, _)| *key)
    }

    /// When the next query is due.
    pub(super) fn next_query(&self) -> Option<Timestamp> {
        self.queries.values().map(|query| query.due).min()
    }

    /// Asks the exchange for one order, and books what it says.
    pub(super) fn query_order(&mut self, key: OrderKey) -> Result<(), Failure> {
        let result = self.ask_for(key);
        // Counted from its end: with slow answers there is time for other things between two of them.
        self.query_again_later(key);
        result
    }

    fn ask_for(&mut self, key: OrderKey) -> Result<(), Failure> {
        let missing = matches!(self.books.ledger.order(key).map(|order| &order.state), Some(OrderState::Closed { .. }));
        if missing {
            let answered = self.ask_executions(key)?;
            return if answered { self.on_missing_executions(key) } else { Ok(()) };
        }
        let asked = self.now();
        match self.exchange.order(&key.link_id(&self.config.bot)) {
            Ok(Some(report)) => {
                self.query_answered(key);
                self.on_answer(key, &report)
            }
            Ok(None) => {
                self.query_answered(key);
                self.on_absence(key, asked)
            }
            Err(fault) if fault.kind == FaultKind::NotOpen => self.on_absence(key, asked),
            Err(fault) => {
                self.query_failed(key, &fault);
                self.on_fault(&fault)
            }
        }
    }

    fn query_answered(&mut self, key: OrderKey) {
        self.contact.answered();
        if let Some(query) = self.queries.get_mut(&key) {
            query.refused = 0;
        }
    }

    /// What is refused, and not merely unanswered, is asked again ever more slowly.
    fn query_failed(&mut self, key: OrderKey, fault: &Fault) {
        if !contact::is_outage(fault.kind)
            && let Some(query) = self.queries.get_mut(&key)
        {
            query.refused = query.refused.saturating_add(1);
        }
    }

    fn query_again_later(&mut self, key: OrderKey) {
        let now = self.now();
        if let Some(query) = self.queries.get_mut(&key) {
            let longest = if query.refused > 0 { LONGEST_REFUSED_PAUSE } else { LONGEST_PAUSE };
            let pause = doubled(FIRST_PAUSE, query.asked, longest);
            query.asked = query.asked.saturating_add(1);
            query.due = now.after(pause);
        }
    }

    /// An answer about one order: book it, and know whether its fate is known by it.
    fn on_answer(&mut self, key: OrderKey, report: &OrderReport) -> Result<(), Failure> {
        if let Some(query) = self.queries.get_mut(&key) {
            query.silence = Silence { proved: true, ..Silence::default() };
        }
        self.on_report(report, Source::Answer)?;
        let Some(order) = self.books.ledger.order(key).filter(|order| order.is_live()) else {
            return Ok(());
        };
        if reconcile::lacks_executions(&self.books.ledger, key, report) {
            let answered = self.ask_executions(key)?;
            return if answered { self.on_missing_executions(key) } else { Ok(()) };
        }
        if order.state == OrderState::Open {
            self.cancel_again(key)?;
            let waits_for_cancel = self.books.ledger.order(key).is_some_and(|order| order.cancel_asked.is_some());
            if !waits_for_cancel {
                self.queries.remove(&key);
            }
        }
        Ok(())
    }

    /// An order that is open although its cancel was asked for a while ago may be cancelled again.
    fn cancel_again(&mut self, key: OrderKey) -> Result<(), Failure> {
        let asked = self.books.ledger.order(key).and_then(|order| order.cancel_asked);
        let lost = asked.is_some_and(|asked| self.now().since(asked) >= CANCEL_GRACE);
        if lost { self.record(vec![Record::CancelFailed { key }]) } else { Ok(()) }
    }

    /// The exchange lists fewer executions than it reports executed. They are shown late, or, after a long absence, not at
    /// all any more.
    fn on_missing_executions(&mut self, key: OrderKey) -> Result<(), Failure> {
        let closed = match self.books.ledger.order(key).map(|order| &order.state) {
            Some(OrderState::Closed { .. }) => true,
            Some(OrderState::Open) => false,
            _ => return Ok(()),
        };
        let now = self.now();
        let patient = self.queries.get(&key).is_none_or(|query| now.since(query.since) < HIDDEN_PATIENCE);
        if patient || !(self.may_have_lost_fills(key) || self.may_be_old(key)) {
            return Ok(());
        }
        if closed {
            let Some(order) = self.books.ledger.order(key) else { return Ok(()) };
            let facts = absence::given_up(&self.config.bot, key, order);
            tell(&facts);
            return self.record(facts);
        }
        // It still rests: what more it does will be seen.
        self.queries.remove(&key);
        self.cancel_again(key)?;
        let cause = AlarmCause::LostHistory;
        let message = format!(
            "order {} has executions that the exchange no longer tells: {} is booked of it. No new buys: compare the account \
             with `recompra status`, then let `recompra stop --close` sell what is held",
            key.link_id(&self.config.bot),
            self.books
                .ledger
                .order(key)
                .map(|order| crate::core::money::text(order.executed_quantity))
                .unwrap_or_default()
        );
        let known = self.books.ledger.alarms.contains_key(&cause);
        if known { Ok(()) } else { self.record(vec![Record::Alarmed { cause, message }]) }
    }

    /// The exchange knows nothing of an order: see [`absence`].
    fn on_absence(&mut self, key: OrderKey, asked: Timestamp) -> Result<(), Failure> {
        let Some(query) = self.queries.get_mut(&key) else { return Ok(()) };
        query.silence.answers = query.silence.answers.saturating_add(1);
        // Counted until it was asked: an answer may come late, and the order have come meanwhile. And from when its fate became
        // unknown: it may have been sent long after it was planned, when the machine was suspended in between.
        query.silence.lasted = asked.since(query.since);
        if self.next_for(key) == Some(Next::Cancel) {
            self.cancel_by_name(key)?;
        }
        if self.next_for(key) == Some(Next::Tell) {
            self.ask_executions(key)?;
            return self.tell_untold(key);
        }
        if self.next_for(key) != Some(Next::Settle) || !self.ask_executions(key)? {
            return Ok(());
        }
        if self.books.ledger.order(key).is_some_and(|order| order.executed_quantity > Decimal::ZERO) {
            // It has fills, so it was there.
            self.query_now(key, true);
        }
        let (Some(query), Some(Next::Settle)) = (self.queries.get(&key), self.next_for(key)) else { return Ok(()) };
        let (ledger, bot) = (&self.books.ledger, &self.config.bot);
        let facts = absence::facts(ledger, bot, key, &query.silence, self.unwatched, self.now());
        tell(&facts);
        self.record(facts)
    }

    fn next_for(&self, key: OrderKey) -> Option<Next> {
        let (query, order) = (self.queries.get(&key)?, self.books.ledger.order(key)?);
        order.is_live().then(|| absence::next(order, &query.silence, self.unwatched))
    }

    /// What became of an order is not known: that is said until it is.
    fn tell_untold(&mut self, key: OrderKey) -> Result<(), Failure> {
        let cause = AlarmCause::Untold;
        if self.books.ledger.alarms.contains_key(&cause) {
            return Ok(());
        }
        let Some(order) = self.books.ledger.order(key).filter(|order| order.is_live()) else { return Ok(()) };
        let message = format!(
            "the exchange neither lists order {} ({}) nor has anything to cancel under its name: it may be filled. No new buys \
             and nothing in its place until the exchange tells, or for 90 minutes: look at the order history on its site",
            key.link_id(&self.config.bot),
            order.spec
        );
        warn!("{message}");
        self.record(vec![Record::Alarmed { cause, message }])
    }

    /// Once the exchange has told of every order, that alarm is over.
    pub(super) fn clear_untold(&mut self) -> Result<(), Failure> {
        let cause = AlarmCause::Untold;
        let is_untold = |query: &OrderQuery| query.silence.nothing_to_cancel;
        if !self.books.ledger.alarms.contains_key(&cause) || self.queries.values().any(is_untold) {
            return Ok(());
        }
        info!("what became of every order is known again");
        self.record(vec![Record::AlarmCleared { cause }])
    }

    /// Asks for the cancel of an order of which the exchange tells nothing. If it is there after all, it ends by this.
    fn cancel_by_name(&mut self, key: OrderKey) -> Result<(), Failure> {
        if self.books.ledger.order(key).is_some_and(|order| order.cancel_asked.is_none()) {
            self.record(vec![Record::CancelAsked { key }])?;
        }
        match self.exchange.cancel(&key.link_id(&self.config.bot)) {
            Ok(()) => {
                self.contact.answered();
                if let Some(query) = self.queries.get_mut(&key) {
                    query.silence.proved = true;
                }
                self.expect_cancel(key);
                Ok(())
            }
            Err(fault) if fault.kind == FaultKind::NotOpen => {
                self.contact.answered();
                if let Some(query) = self.queries.get_mut(&key) {
                    query.silence.nothing_to_cancel = true;
                }
                Ok(())
            }
            Err(fault) => self.on_fault(&fault),
        }
    }

    fn may_have_lost_fills(&self, key: OrderKey) -> bool {
        let order = self.books.ledger.order(key);
        order.is_some_and(|order| absence::may_have_lost_fills(order, self.unwatched))
    }

    /// Whether an order was placed at a time that is not known, perhaps longer ago than the exchange remembers.
    fn may_be_old(&self, key: OrderKey) -> bool {
        let opened = self.books.ledger.cycle.as_ref().map(|cycle| cycle.opened);
        let old = opened.is_some_and(|opened| self.now().since(opened) >= RETENTION);
        old && self.books.ledger.order(key).is_some_and(|order| order.was_placed_unseen())
    }

    /// Books the executions of one order. Whether the exchange answered.
    fn ask_executions(&mut self, key: OrderKey) -> Result<bool, Failure> {
        let (Some(cycle), Some(order)) = (&self.books.ledger.cycle, self.books.ledger.order(key)) else {
            return Ok(true);
        };
        let now = self.now();
        let from = reconcile::executions_from(&self.books.ledger, cycle, order).max(now.before(rebuilding::REACH));
        let to = now.after(HIDDEN_PATIENCE);
        match self.exchange.executions(from, to) {
            Ok(executions) => {
                self.contact.answered();
                for execution in &executions {
                    self.on_execution(execution)?;
                }
                Ok(true)
            }
            Err(fault) => {
                self.on_fault(&fault)?;
                Ok(false)
            }
        }
    }

    /// Books what the exchange reports of an order.
    pub(super) fn on_report(&mut self, report: &OrderReport, source: Source) -> Result<(), Failure> {
        let Some(key) = OrderKey::of_link_id(&self.config.bot, &report.link_id) else {
            return Ok(());
        };
        match reconcile::report(&self.books.ledger, key, report, source) {
            reconcile::Finding::Facts(facts) => self.record(facts)?,
            reconcile::Finding::Stray if source == Source::Answer => self.note_unexpected(key),
            // A row about an order nobody knows: whether it is there is asked, not assumed.
            reconcile::Finding::Stray => self.reconcile_due = self.now(),
        }
        if reconcile::lacks_executions(&self.books.ledger, key, report) {
            self.query_after(key, STREAM_GRACE, true);
        }
        Ok(())
    }

    /// Books a fill.
    pub(super) fn on_execution(&mut self, execution: &crate::core::order::Execution) -> Result<(), Failure> {
        let Some(key) = OrderKey::of_link_id(&self.config.bot, &execution.link_id) else {
            return Ok(());
        };
        let facts = reconcile::execution(&self.books.ledger, key, execution);
        if !facts.is_empty() {
            tell(&facts);
            return self.record(facts);
        }
        if let Some(alarm) = reconcile::late_sale(&self.books.ledger, key, execution) {
            return self.record(vec![alarm]);
        }
        let believed = reconcile::belief(&self.books.ledger, key);
        if matches!(believed, reconcile::Belief::Nothing | reconcile::Belief::Absent | reconcile::Belief::Refused) {
            self.unknown_executions.insert(key);
        }
        Ok(())
    }
}

/// What silence about an order led to, for people.
fn tell(facts: &[Record]) {
    for fact in facts {
        match fact {
            Record::OrderAbsent { key } => info!("{} never arrived", key.slot),
            Record::OrderUntold { key } => {
                warn!("{} has ended, and the exchange no longer tells how; its executions are booked", key.slot);
            }
            Record::Alarmed { message, .. } => error!("{message}"),
            _ => {}
        }
    }
}
