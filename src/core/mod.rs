//! The core: what trading *is*. Pure: no I/O, no clock, no threads, no floats, no unordered iteration, and no
//! import of anything else in this program. The same inputs give the same outputs, for ever.
//!
//! No number, however absurd, makes it panic or wraps around; [`money`] says how sums and products stay in range.

#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

pub mod absence;
#[cfg(test)]
mod fixtures;
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
