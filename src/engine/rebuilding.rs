//! A lost journal: what it held is rebuilt from the exchange before anything is traded.
//!
//! A blank ledger is either a first start or a lost disk; only the exchange can tell. If it lists nothing of this bot's,
//! trading begins. If it does, the past is asked for twice, because the newest orders and executions may be listed late,
//! and taken once two attempts agree and nothing is missing; or, after some patience, with what is missing said
//! ([`Record::Alarmed`]) and no new buys. An attempt takes many requests. Where one of them is refused, what was told before it
//! is kept, and the attempt goes on from there: under a low limit it would never end otherwise.

use std::time::Duration;

use log::{error, info, warn};

use super::contact::Chore;
use super::ports::Fault;
use super::{Engine, Failure};
use crate::core::Timestamp;
use crate::core::order::{Execution, OrderKey, OrderReport};
use crate::core::rebuild::{self, Rebuilt};
use crate::core::record::{AlarmCause, Record};

/// How far back orders are looked for: one that was open for weeks may have ended yesterday.
pub(super) const REACH: Duration = Duration::from_secs(28 * 24 * 3600);
/// Two attempts lie so far apart: lists may lag by some seconds.
const BETWEEN_ATTEMPTS: Duration = Duration::from_secs(30);
/// After so many attempts what is missing is taken for lost.
const MOST_ATTEMPTS: u32 = 4;

/// What was found on the exchange so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    count: u32,
    last: Rebuilt,
    /// What this attempt has been told already, while the exchange refuses the rest: the orders that were open, and those that
    /// were closed.
    open: Option<Vec<OrderReport>>,
    closed: Option<Vec<OrderReport>>,
    /// Nothing of this bot's was found: it is not looked for again until the comparison that follows is answered.
    found_nothing: bool,
}

impl Engine<'_> {
    /// Rebuilds a blank ledger. Whether trading may go on from the ledger as it is now.
    pub(super) fn rebuilt_if_blank(&mut self) -> Result<bool, Failure> {
        if !self.books.ledger.is_blank() || self.attempts.as_ref().is_some_and(|attempts| attempts.found_nothing) {
            return Ok(true);
        }
        let Some(instrument) = self.books.ledger.instrument.clone() else { return Ok(true) };
        let (orders, executions) = match self.whole_past() {
            Ok(past) => past,
            Err(fault) => {
                self.reconcile_due = self.now();
                self.chore_failed(Chore::Reconciliation, &fault)?;
                return Ok(false);
            }
        };
        self.contact.succeeded(Chore::Reconciliation);
        self.accepted()?;
        let bot = &self.config.bot;
        let mode = self.config.parameters.take_profit_mode;
        let rebuilt = rebuild::rebuild(bot, mode, &instrument, &orders, &executions);
        if rebuilt.records.is_empty() {
            self.attempts = Some(Attempts { found_nothing: true, ..Attempts::default() });
            return Ok(true);
        }
        let attempts = self.attempts.get_or_insert_default();
        attempts.count += 1;
        let agree = std::mem::replace(&mut attempts.last, rebuilt.clone()) == rebuilt;
        let settled = agree && rebuilt.missing.is_empty();
        if !settled && attempts.count < MOST_ATTEMPTS {
            if attempts.count == 1 {
                warn!("the journal is empty, but the exchange knows orders of this bot: rebuilding from there");
            }
            self.reconcile_due = self.now().after(BETWEEN_ATTEMPTS);
            return Ok(false);
        }
        self.attempts = None;
        self.take_over(rebuilt)?;
        Ok(true)
    }

    fn take_over(&mut self, rebuilt: Rebuilt) -> Result<(), Failure> {
        let Rebuilt { mut records, missing } = rebuilt;
        if missing.is_empty() {
            info!("rebuilt from the exchange: {} records", records.len());
        } else {
            let message = format!(
                "the journal is lost, and the exchange no longer tells all of the last cycle: {}. Its orders are left as they \
                 are. No new buys: restore the journal, or look at the account, cancel what rests by hand, and run \
                 `recompra stop --close`",
                missing.join("; ")
            );
            error!("{message}");
            records.push(Record::Alarmed { cause: AlarmCause::LostHistory, message });
        }
        self.record(vec![Record::Rebuilt { records }])?;
        self.books.sync();
        Ok(())
    }

    /// Every order and execution of this bot that the exchange still lists. After a refusal it is called again, and goes on.
    fn whole_past(&mut self) -> Result<(Vec<OrderReport>, Vec<Execution>), Fault> {
        let (from, to): (Timestamp, Timestamp) = (self.now().before(REACH), self.now().after(BETWEEN_ATTEMPTS));
        let told = self.attempts.get_or_insert_default();
        // Before what is closed, and not again until all of that is told: an order that ends meanwhile is in one of them.
        if told.open.is_none() {
            told.open = Some(self.exchange.open_orders()?);
        }
        if told.closed.is_none() {
            told.closed = Some(self.exchange.closed_orders(from, to)?);
        }
        let mut executions = self.exchange.executions(from, to)?;
        let mut orders = told.open.take().unwrap_or_default();
        orders.extend(told.closed.take().unwrap_or_default());
        let bot = &self.config.bot;
        orders.retain(|row| OrderKey::of_link_id(bot, &row.link_id).is_some());
        executions.retain(|row| OrderKey::of_link_id(bot, &row.link_id).is_some());
        Ok((orders, executions))
    }
}
