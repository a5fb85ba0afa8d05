//! Orders whose fate is not known: queried under their own name until it is.
//!
//! An order is queried when its create or cancel brought no answer, when a cancel was accepted and nothing more is
//! heard, or when the exchange reports more executed than is booked. Nothing is ever sent again because an answer is
//! missing; only an order that surely never arrived frees its name.

use std::time::Duration;

use log::{error, info, warn};

use super::ports::FaultKind;
use super::{Engine, Failure, rebuilding};
use crate::core::Timestamp;
use crate::core::ledger::{Order, OrderState};
use crate::core::money::Decimal;
use crate::core::order::{OrderKey, OrderReport, OrderStatus};
use crate::core::reconcile::{self, Source};
use crate::core::record::{AlarmCause, MissingCause, Record};

/// A create can no longer arrive after this long: the signature's window is 5 s, the rest is for the exchange to show it.
const ARRIVAL_PATIENCE: Duration = Duration::from_secs(10);
/// An order that surely exists, or did, is hidden at most for so long.
const HIDDEN_PATIENCE: Duration = Duration::from_secs(60);
/// The exchange forgets executions, and orders that have some, after this long (Bybit's demo: 7 days; an hour is for
/// clocks). Orders without fills are forgotten after a day: about those, nothing needs to be known.
pub(super) const RETENTION: Duration = Duration::from_secs((7 * 24 - 1) * 3600);
/// Every order, with fills or without, is told for this long (Bybit: 24 hours; an hour is for clocks).
const SHORTEST_RETENTION: Duration = Duration::from_secs(23 * 3600);
/// So often the exchange must have known nothing before that is believed.
const ABSENT_ANSWERS: u32 = 3;
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

/// What is known of a query.
#[derive(Clone, Debug)]
pub(super) struct OrderQuery {
    /// When to ask next.
    due: Timestamp,
    /// When its fate became unknown.
    since: Timestamp,
    /// How often it was asked for.
    asked: u32,
    /// How often in a row the exchange knew nothing of it.
    absent: u32,
    /// Whether the exchange has shown that it exists, or did.
    proved: bool,
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
        let query = self.queries.entry(key).or_insert(OrderQuery { due, since: now, asked: 0, absent: 0, proved });
        query.due = query.due.min(due);
        query.proved |= proved;
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
                self.contact.answered();
                self.on_answer(key, &report)
            }
            Ok(None) => {
                self.contact.answered();
                self.on_absence(key, asked)
            }
            Err(fault) if fault.kind == FaultKind::NotOpen => self.on_absence(key, asked),
            Err(fault) => self.on_fault(&fault),
        }
    }

    fn query_again_later(&mut self, key: OrderKey) {
        let now = self.now();
        if let Some(query) = self.queries.get_mut(&key) {
            let pause = (FIRST_PAUSE * 2_u32.pow(query.asked.min(8))).min(LONGEST_PAUSE);
            query.asked = query.asked.saturating_add(1);
            query.due = now.after(pause);
        }
    }

    /// An answer about one order: book it, and know whether its fate is known by it.
    fn on_answer(&mut self, key: OrderKey, report: &OrderReport) -> Result<(), Failure> {
        if let Some(query) = self.queries.get_mut(&key) {
            query.absent = 0;
            query.proved = true;
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
            return self.give_up(key);
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

    /// The exchange knows nothing of an order. That is believed once it could no longer be otherwise when it was asked: an
    /// answer may come late, and the order have come meanwhile.
    fn on_absence(&mut self, key: OrderKey, asked: Timestamp) -> Result<(), Failure> {
        let Some(query) = self.queries.get_mut(&key) else { return Ok(()) };
        query.absent = query.absent.saturating_add(1);
        let query = query.clone();
        let Some(order) = self.books.ledger.order(key) else { return Ok(()) };
        let unknown = order.is_unknown() && !query.proved;
        let patience = if unknown { ARRIVAL_PATIENCE } else { HIDDEN_PATIENCE };
        // Counted from when its fate became unknown: the request may have been signed and sent long after it was planned, when the machine
        // was suspended in between.
        let from = query.since;
        if query.absent < ABSENT_ANSWERS || asked.since(from) < patience {
            return Ok(());
        }
        if !self.ask_executions(key)? {
            return Ok(());
        }
        let Some(order) = self.books.ledger.order(key).filter(|order| order.is_live()) else { return Ok(()) };
        if unknown && !order.is_unknown() {
            // It has fills: it is there after all, and may still rest.
            self.query_now(key, true);
            return Ok(());
        }
        if self.may_have_lost_fills(key) || (order.name_taken && self.is_of_an_earlier_life()) {
            return self.give_up(key);
        }
        let fact = if unknown {
            info!("{} never arrived", key.slot);
            Record::OrderAbsent { key }
        } else {
            warn!("{} is closed, and the exchange no longer tells how; its executions are booked", key.slot);
            closed_as_booked(key, order)
        };
        self.record(vec![fact])
    }

    /// What became of an order cannot be known any more: it may have been filled when nobody was there to see it, longer
    /// ago than the exchange remembers. That is said, and stops new buys. The order counts for what is booked of it. The
    /// coins that a sell offered are written off: sold or not, they are not offered again, because the coins in the wallet
    /// may be the user's own. If a buy was filled, its coins are in the account, and not the bot's.
    fn give_up(&mut self, key: OrderKey) -> Result<(), Failure> {
        let Some(order) = self.books.ledger.order(key) else { return Ok(()) };
        let message = format!(
            "order {} ({}) was placed longer ago than the exchange remembers: how much of it was executed is not known, {} is \
             booked, and what it may have sold is no longer counted as held. No new buys: compare the account with `recompra status`, then let `recompra stop --close` sell what \
             is held (a bot that is new here should have another name)",
            key.link_id(&self.config.bot),
            order.spec,
            crate::core::money::text(order.executed_quantity)
        );
        error!("{message}");
        let closed = closed_as_booked(key, order);
        let mut records = vec![Record::Alarmed { cause: AlarmCause::LostHistory, message }, closed];
        let unsold = order.offered.quantity - order.executed_quantity;
        if unsold > Decimal::ZERO {
            records.push(Record::CoinsMissing { quantity: unsold, cause: MissingCause::OrderForgotten, counts: true });
        }
        self.record(records)
    }

    /// Whether an order that is no longer told, but whose name is taken, must be older than the open cycle: the exchange
    /// tells every order for a day.
    fn is_of_an_earlier_life(&self) -> bool {
        self.books.ledger.cycle.as_ref().is_some_and(|cycle| self.now().since(cycle.opened) < SHORTEST_RETENTION)
    }

    /// Whether fills of an order may have been forgotten by the exchange before anybody saw them.
    fn may_have_lost_fills(&self, key: OrderKey) -> bool {
        let (Some(before), Some(order)) = (self.unseen_before, self.books.ledger.order(key)) else { return false };
        order.planned < before || order.was_placed_unseen()
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
        if let Some(fact) = reconcile::execution(&self.books.ledger, key, execution) {
            return self.record(vec![fact]);
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

/// That an order ended of which the exchange no longer tells: it counts for what is booked of it.
fn closed_as_booked(key: OrderKey, order: &Order) -> Record {
    Record::OrderClosed {
        key,
        status: OrderStatus::Cancelled,
        executed_quantity: order.executed_quantity,
        executed_value: order.executed_value,
        refusal: None,
        message: "no longer known to the exchange".to_owned(),
    }
}
