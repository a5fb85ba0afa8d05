//! A journal that keeps nothing, for trading with money that is not real.

use crate::core::Timestamp;
use crate::core::record::Record;
use crate::engine::ports::{Journal, JournalError};

/// Keeps nothing: what it was told is gone with the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forgetful;

impl Journal for Forgetful {
    fn append(&mut self, _time: Timestamp, _records: &[Record]) -> Result<(), JournalError> {
        Ok(())
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        Ok(())
    }
}
