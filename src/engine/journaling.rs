//! Writing records down, and what happens while that is not possible.
//!
//! A record that could not be written did not happen: it takes no effect, and nothing is sent because of it. Whatever was
//! under way is dropped, not kept for later. The engine waits, longer each time, and then asks the exchange for everything
//! anew; facts that were lost are found again in its answers, and decisions are made again from what is known then. What
//! is held stays protected by the orders that rest.

use std::time::Duration;

use log::{error, info, warn};

use super::ports::{JournalError, Signal, StopWish};
use super::reconciliation::makes_room;
use super::{Engine, Failure};
use crate::core::Timestamp;
use crate::core::record::Record;

/// The journal is synced so long after the first record that is not safe yet, once nothing else is to be done. Counted from
/// the last record instead, a bot that is never quiet would never be safe from a power cut.
const SYNC_DELAY: Duration = Duration::from_secs(1);
/// A sync on the side is looked at this often.
const SYNC_LOOK: Duration = Duration::from_millis(50);
/// After a failed sync it is tried again this much later.
const SYNC_PAUSE: Duration = Duration::from_secs(10);
/// The first pause after the journal could not be written; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

impl Engine<'_> {
    /// Writes records down, then lets them take effect.
    ///
    /// # Errors
    /// [`Failure::Journal`]: nothing took effect. Callers pass it up to [`Engine::run`], which waits.
    pub(super) fn record(&mut self, records: Vec<Record>) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        let now = self.now();
        self.world.journal.append(now, &records)?;
        if self.journal_failures > 0 {
            info!("the journal can be written again");
            self.journal_failures = 0;
        }
        for record in records.iter().flat_map(Record::facts) {
            if let Err(contradiction) = self.ledger.apply(now, record) {
                // The record was made from this very ledger: going on would be guessing with money.
                panic!("the engine made a record that contradicts its ledger: {contradiction} ({record:?})");
            }
            if let Record::Executed { key, execution } = record {
                self.count_funds(*key, execution);
            }
            self.room_for_strays |= makes_room(record);
            self.world.observer.recorded(now, record, &self.ledger);
        }
        self.sync_due.get_or_insert(now.after(SYNC_DELAY));
        Ok(())
    }

    /// Waits after the journal could not be written; then everything is asked for again.
    ///
    /// # Errors
    /// The journal's error, if a stop is asked for meanwhile; and what ends the engine in any case.
    pub(super) fn await_journal(&mut self, error: JournalError) -> Result<(), Failure> {
        if self.journal_failures == 0 {
            error!("{error}: nothing is sent until it can be written; resting orders stay");
        }
        let pause = (FIRST_PAUSE * 2_u32.pow(self.journal_failures.min(8))).min(LONGEST_PAUSE);
        self.journal_failures = self.journal_failures.saturating_add(1);
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

    /// When something is to be done about the journal's safety from a power cut.
    pub(super) fn next_sync(&self) -> Option<Timestamp> {
        self.sync_look.or(self.sync_due)
    }

    /// Makes the journal safe from a power cut. If that fails it is tried again: what a power cut would take meanwhile is
    /// found on the exchange.
    pub(super) fn sync(&mut self) {
        let result = self.world.journal.sync();
        self.synced(result);
    }

    /// Begins to make the journal safe from a power cut, or looks whether it is: a fill that comes meanwhile does not wait
    /// for the disk. While the stream is down none can come. One thread for such things is enough: connections that are being
    /// opened come first.
    pub(super) fn sync_aside(&mut self) {
        if !self.stream_up {
            return self.sync();
        }
        if self.sync_look.is_none() && self.world.exchange.is_connecting() {
            self.sync_due = Some(self.now().after(SYNC_LOOK));
            return;
        }
        match self.world.journal.sync_aside() {
            Some(result) => {
                // What was written since it began is not safe yet.
                let due = self.sync_look.and(self.sync_due);
                self.synced(result);
                self.sync_due = self.sync_due.or(due);
            }
            None => {
                if self.sync_look.is_none() {
                    self.sync_due = None;
                }
                self.sync_look = Some(self.now().after(SYNC_LOOK));
            }
        }
    }

    fn synced(&mut self, result: Result<(), JournalError>) {
        self.sync_look = None;
        self.sync_due = result.err().map(|error| {
            warn!("{error}; trying again");
            self.now().after(SYNC_PAUSE)
        });
    }
}
