//! This machine's clock. It may be wrong, and it may jump; who trades asks the exchange's clock instead.

use std::time::SystemTime;

use crate::core::Timestamp;

/// What it says now.
pub fn wall_clock() -> Timestamp {
    Timestamp(0).after(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}
