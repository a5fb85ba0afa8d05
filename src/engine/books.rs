//! The ledger and its journal: what is written down takes effect, and nothing else does.
//!
//! A record that could not be written did not happen: it takes no effect, and nothing is sent because of it. Whatever was
//! under way is dropped, not kept for later. The engine waits, longer each time, and then asks the exchange for everything
//! anew. Facts that were lost are found again in its answers, and decisions are made again from what is known then. What
//! is held stays protected by the orders that rest.

use std::time::Duration;

use log::{error, info, warn};

use super::ports::{Clock, Journal, JournalError, Observer, Signal, StopWish};
use super::reconciliation::makes_room;
use super::{Engine, Failure};
use crate::core::Timestamp;
use crate::core::ledger::Ledger;
use crate::core::record::Record;
use crate::core::time::doubled;

/// The journal is synced so long after the first record that is not safe yet, once nothing else is to be done. Counted from
/// the last record instead, a bot that is never quiet would never be safe from a power cut.
const SYNC_DELAY: Duration = Duration::from_secs(1);
/// After a failed sync it is tried again this much later.
const SYNC_PAUSE: Duration = Duration::from_secs(10);
/// The first pause after the journal could not be written; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// See the module's documentation.
pub(super) struct Books<'a> {
    /// What is known.
    pub(super) ledger: Ledger,
    pub(super) clock: &'a dyn Clock,
    pub(super) observer: &'a mut dyn Observer,
    journal: &'a mut dyn Journal,
    /// When the journal is to be synced; `None` if all of it is safe.
    pub(super) sync_due: Option<Timestamp>,
    /// How often in a row the journal could not be written.
    failures: u32,
    /// Whether the ledger has changed since unexpected orders were counted, so that one of them may fit now.
    pub(super) room_for_unexpected: bool,
}

impl<'a> Books<'a> {
    pub(super) fn new(
        ledger: Ledger,
        clock: &'a dyn Clock,
        journal: &'a mut dyn Journal,
        observer: &'a mut dyn Observer,
    ) -> Self {
        Self { ledger, clock, observer, journal, sync_due: None, failures: 0, room_for_unexpected: false }
    }

    /// Writes records down, then lets them take effect.
    ///
    /// # Errors
    /// [`Failure::Journal`]: nothing took effect. Callers pass it up to [`Engine::run`], which waits.
    pub(super) fn record(&mut self, records: Vec<Record>) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        self.journal.append(now, &records)?;
        if self.failures > 0 {
            info!("the journal can be written again");
            self.failures = 0;
        }
        for record in records.iter().flat_map(Record::facts) {
            if let Err(contradiction) = self.ledger.apply(now, record) {
                // The record was made from this very ledger: going on would be guessing with money.
                panic!("the engine made a record that contradicts its ledger: {contradiction} ({record:?})");
            }
            self.room_for_unexpected |= makes_room(record);
            self.observer.recorded(now, record, &self.ledger);
        }
        self.sync_due.get_or_insert(now.after(SYNC_DELAY));
        Ok(())
    }

    /// Makes the journal safe from a power cut. If that fails it is tried again: what a power cut would take meanwhile is
    /// found on the exchange.
    pub(super) fn sync(&mut self) {
        let result = self.journal.sync();
        self.synced(result.map(|()| true));
    }

    /// The same beside the engine: a fill that comes meanwhile does not wait for the disk.
    pub(super) fn sync_aside(&mut self) {
        let result = self.journal.sync_aside();
        self.synced(result);
    }

    fn synced(&mut self, all_is_safe: Result<bool, JournalError>) {
        let now = self.clock.now();
        self.sync_due = match all_is_safe {
            Ok(true) => None,
            Ok(false) => Some(now.after(SYNC_DELAY)),
            Err(error) => {
                warn!("{error}; trying again");
                Some(now.after(SYNC_PAUSE))
            }
        };
    }
}

impl Engine<'_> {
    /// [`Books::record`].
    pub(super) fn record(&mut self, records: Vec<Record>) -> Result<(), Failure> {
        self.books.record(records)
    }

    /// Waits after the journal could not be written; then everything is asked for again.
    ///
    /// # Errors
    /// The journal's error, if it is lost, or a stop is asked for meanwhile; and what ends the engine in any case.
    pub(super) fn await_journal(&mut self, error: JournalError) -> Result<(), Failure> {
        if error.lost {
            return Err(Failure::Journal(error));
        }
        if self.books.failures == 0 {
            error!("{error}: nothing is sent until it can be written; resting orders stay");
        }
        let pause = doubled(FIRST_PAUSE, self.books.failures, LONGEST_PAUSE);
        self.books.failures = self.books.failures.saturating_add(1);
        let until = self.now().after(pause);
        while self.now() < until {
            match self.wait(until) {
                Some(Signal::Stop(StopWish::Leave)) => return Err(Failure::Journal(error)),
                // What it says is asked for when it can be written down.
                None | Some(Signal::Frame(_)) => {}
                Some(signal) => self.take(signal)?,
            }
        }
        self.reconciled = false;
        self.reconcile_due = self.now();
        Ok(())
    }
}
