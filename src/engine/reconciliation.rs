//! Reconciliation over REST: after every (re)connection of the stream, and periodically while it is healthy.

use std::collections::BTreeSet;
use std::time::Duration;

use log::{info, warn};

use super::contact::Chore;
use super::{Engine, Failure, POLL_INTERVAL};
use crate::core::order::{Execution, OrderKey, OrderReport, Side};
use crate::core::reconcile::Source;
use crate::core::record::{AlarmCause, Record};
use crate::core::strategy::Step;

/// Executions are asked for from so long before the last reconciliation: they may be shown late.
const OVERLAP: Duration = Duration::from_secs(600);
/// An order that should not be there raises the alarm when it is seen so often in a row.
const UNEXPECTED_SIGHTINGS: u32 = 3;

impl Engine<'_> {
    /// Compares the ledger with the exchange: open orders, executions, and each live order that is not among the open
    /// ones. Orders whose fate it leaves open are queried one by one.
    pub(super) fn reconcile(&mut self) -> Result<(), Failure> {
        // First, with nothing asked for besides: under a low limit each refusal would have that asked again.
        if !self.rebuilt_if_blank()? {
            return Ok(());
        }
        let began = self.now();
        let (open, executions) = match self.open_orders_and_executions() {
            Ok(answers) => answers,
            Err(fault) => return self.chore_failed(Chore::Reconciliation, &fault),
        };
        self.attempts = None;
        self.contact.succeeded(Chore::Reconciliation);
        self.accepted()?;
        let interval = if self.stream_up { self.config.reconcile_interval } else { POLL_INTERVAL };
        // Counted from its end: with slow answers there is time for other things between two of them.
        self.reconcile_due = self.now().after(interval);
        let seen_before = std::mem::take(&mut self.unexpected);
        for execution in &executions {
            self.on_execution(execution)?;
        }
        for report in &open {
            self.on_report(report, Source::Answer)?;
        }
        if !self.adopt_executed(&executions)? {
            // What was asked for must be seen again: nothing is reconciled yet.
            return Ok(());
        }
        // What did not fit may fit now: a sell can be adopted once the coins that it offers are booked.
        for key in std::mem::take(&mut self.unexpected).into_keys() {
            match open.iter().find(|report| OrderKey::of_link_id(&self.config.bot, &report.link_id) == Some(key)) {
                Some(report) => self.on_report(report, Source::Answer)?,
                None => self.note_unexpected(key),
            }
        }
        self.query_what_is_not_open(&open);
        self.clear_untold()?;
        self.count_unexpected(&seen_before)?;
        if self.unexpected.is_empty() {
            // What does not fit yet must be seen again, however old it is, when there is room for it.
            self.executions_from = began;
        }
        if !self.reconciled {
            info!("reconciled with the exchange");
            self.reconciled = true;
            self.reconciled_once = true;
        }
        Ok(())
    }

    fn open_orders_and_executions(&mut self) -> Result<(Vec<OrderReport>, Vec<Execution>), super::Fault> {
        let (from, to) = (self.executions_from.before(OVERLAP), self.now().after(OVERLAP));
        self.exchange.snapshot(from, to)
    }

    /// Orders that have executions but are unknown here: the journal lost them. Each is asked for and adopted, oldest
    /// fill first, and its executions are booked. Whether all of them were told; while one is not, it counts as unexpected, and
    /// new buys wait.
    fn adopt_executed(&mut self, executions: &[Execution]) -> Result<bool, Failure> {
        let unknown = std::mem::take(&mut self.unknown_executions);
        let mut keys: Vec<OrderKey> = Vec::new();
        for execution in executions {
            if let Some(key) = OrderKey::of_link_id(&self.config.bot, &execution.link_id)
                && unknown.contains(&key)
                && !keys.contains(&key)
            {
                keys.push(key);
            }
        }
        for key in keys {
            match self.exchange.order(&key.link_id(&self.config.bot)) {
                Ok(Some(report)) => self.on_report(&report, Source::Answer)?,
                Ok(None) => self.note_unexpected(key),
                Err(fault) => {
                    self.note_unexpected(key);
                    self.reconcile_due = self.now();
                    self.chore_failed(Chore::Reconciliation, &fault)?;
                    return Ok(false);
                }
            }
            for execution in executions {
                self.on_execution(execution)?;
            }
        }
        Ok(true)
    }

    /// A live order that is not open on the exchange has ended, or is not shown yet. One that is open although its cancel
    /// was asked for may have lost that cancel, perhaps with the process that asked.
    fn query_what_is_not_open(&mut self, open: &[OrderReport]) {
        let Some(cycle) = &self.books.ledger.cycle else { return };
        let bot = &self.config.bot;
        let open: BTreeSet<OrderKey> =
            open.iter().filter_map(|report| OrderKey::of_link_id(bot, &report.link_id)).collect();
        let (there, missing): (Vec<_>, Vec<_>) = cycle
            .live_orders()
            .map(|(key, order)| (key, order.is_unknown() && !order.name_taken, order.cancel_asked.is_some()))
            .partition(|(key, _, _)| open.contains(key));
        for (key, unknown, _) in missing {
            self.query_now(key, !unknown);
        }
        for (key, _, _) in there.into_iter().filter(|(_, _, cancel_asked)| *cancel_asked) {
            self.expect_cancel(key);
        }
    }

    /// Notes an order with this bot's name that does not fit into the ledger.
    pub(super) fn note_unexpected(&mut self, key: OrderKey) {
        self.unexpected.entry(key).or_insert(0);
    }

    /// Whether an order is on the exchange that has not fitted into the ledger so far, and that this step would pass over:
    /// placing an order in its slot; or, until it has been held a few times against the ledger as it is now, selling the coins
    /// that it sells, opening its cycle anew, or closing it, after which it could never be adopted.
    pub(super) fn waits_for_unexpected(&self, step: &Step) -> bool {
        self.unexpected.iter().any(|(other, sightings)| {
            let may_fit = self.books.room_for_unexpected || *sightings < UNEXPECTED_SIGHTINGS;
            match step {
                Step::Place { key, .. } if other.cycle == key.cycle => {
                    let sells = other.slot.side() == Side::Sell && key.slot.side() == Side::Sell;
                    other.slot == key.slot || (sells && may_fit)
                }
                Step::OpenCycle { cycle } | Step::CloseCycle { cycle, .. } => other.cycle == *cycle && may_fit,
                _ => false,
            }
        })
    }

    /// Strays hold new buys at once, and raise the alarm when they stay. What the ledger has learned since the last count
    /// may have made room for one: it is counted from the beginning.
    fn count_unexpected(&mut self, seen_before: &std::collections::BTreeMap<OrderKey, u32>) -> Result<(), Failure> {
        let anew = std::mem::take(&mut self.books.room_for_unexpected);
        for (key, sightings) in &mut self.unexpected {
            let before = seen_before.get(key).filter(|_| !anew).unwrap_or(&0);
            *sightings = before.saturating_add(1);
        }
        let names: Vec<String> = self.unexpected.keys().map(|key| key.link_id(&self.config.bot)).collect();
        let cause = AlarmCause::Strays;
        let alarmed = self.books.ledger.alarms.contains_key(&cause);
        if names.is_empty() {
            return if alarmed { self.record(vec![Record::AlarmCleared { cause }]) } else { Ok(()) };
        }
        // Soon, not after the whole interval: most of them are only news that came out of order.
        self.reconcile_due = self.reconcile_due.min(self.now().after(POLL_INTERVAL));
        if self.unexpected.values().any(|sightings| *sightings >= UNEXPECTED_SIGHTINGS) && !alarmed {
            let message = format!(
                "orders with this bot's name that it did not place: {}. Does another bot named {} trade on this account? \
                 No new buys until they are gone: end the other bot, or cancel them",
                names.join(", "),
                self.config.bot
            );
            warn!("{message}");
            self.record(vec![Record::Alarmed { cause, message }])?;
        }
        Ok(())
    }
}

/// Whether an order that did not fit into the ledger may fit after this fact: a slot was freed by it, coins were booked or
/// given back, or its cycle's turn has come.
pub(super) fn makes_room(fact: &Record) -> bool {
    matches!(
        fact,
        Record::Executed { .. }
            | Record::OrderClosed { .. }
            | Record::OrderRefused { .. }
            | Record::OrderAbsent { .. }
            | Record::OrderUntold { .. }
            | Record::OrderAmended { .. }
            | Record::CycleOpened { .. }
            | Record::CycleClosed { .. }
    )
}
