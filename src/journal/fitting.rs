//! A journal that may stay behind what happens when its disk is full.
//!
//! In: records, as for the journal behind it. Out: the same, up to the first that it could not hold. What follows is not
//! written, not even if there is room again: it would contradict what is missing. A start finds it on the exchange, as it
//! does what a power cut took. That is good enough for cancelling, and for nothing that places an order.

use crate::core::Timestamp;
use crate::core::record::Record;
use crate::engine::ports::{Journal, JournalError};

/// See the module's documentation.
#[derive(Debug)]
pub struct AsItFits<'a, J> {
    journal: &'a mut J,
    may_stay_behind: bool,
    is_behind: bool,
}

impl<'a, J: Journal> AsItFits<'a, J> {
    /// Writes to `journal`, and fails as it does, unless it may stay behind.
    pub fn new(journal: &'a mut J, may_stay_behind: bool) -> Self {
        Self { journal, may_stay_behind, is_behind: false }
    }
}

impl<J: Journal> Journal for AsItFits<'_, J> {
    fn append(&mut self, time: Timestamp, records: &[Record]) -> Result<(), JournalError> {
        if self.is_behind {
            return Ok(());
        }
        match self.journal.append(time, records) {
            Err(error) if self.may_stay_behind && !error.lost => {
                log::warn!("{error}: going on without it, because cancelling needs none");
                self.is_behind = true;
                Ok(())
            }
            other => other,
        }
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        if self.is_behind { Ok(()) } else { self.journal.sync() }
    }

    fn sync_aside(&mut self) -> Result<bool, JournalError> {
        if self.is_behind { Ok(true) } else { self.journal.sync_aside() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk that is full now and then.
    #[derive(Default)]
    struct Disk {
        is_full: bool,
        appended: usize,
    }

    impl Journal for Disk {
        fn append(&mut self, _: Timestamp, records: &[Record]) -> Result<(), JournalError> {
            if self.is_full {
                return Err(JournalError { message: "full".to_owned(), lost: false });
            }
            self.appended += records.len();
            Ok(())
        }
        fn sync(&mut self) -> Result<(), JournalError> {
            Ok(())
        }
    }

    #[test]
    fn what_is_kept_has_no_gap_and_only_cancelling_may_lose_its_end() {
        for may_stay_behind in [true, false] {
            let mut disk = Disk::default();
            let mut journal = AsItFits::new(&mut disk, may_stay_behind);
            let mut append = |is_full| {
                journal.journal.is_full = is_full;
                journal.append(Timestamp(1), &[Record::Reconciled]).is_ok()
            };
            let outcomes = [false, true, false].map(&mut append);
            assert_eq!(outcomes, [true, may_stay_behind, true]);
            assert_eq!(disk.appended, if may_stay_behind { 1 } else { 2 });
        }
    }
}
