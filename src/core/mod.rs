//! The core: what trading *is*. Pure: no I/O, no clock, no threads, no floats, no unordered iteration, and no
//! import of anything else in this program. The same inputs give the same outputs, for ever.

pub mod instrument;
pub mod ladder;
pub mod ledger;
pub mod money;
pub mod order;
pub mod parameters;
pub mod rebuild;
pub mod reconcile;
pub mod record;
pub mod strategy;
pub mod time;

pub use money::Decimal;
pub use time::Timestamp;
