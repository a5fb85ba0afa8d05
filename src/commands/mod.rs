//! The commands: each takes what the command line and the configuration say and the parts it needs, and gives
//! back text for standard output, or a [`Failure`].
//!
//! What can be computed is computed by pure functions; the program's entry hands them what they need.

pub mod audit;
pub mod backtest;
pub mod doctor;
pub mod exchange;
pub mod explain;
pub mod fetch;
pub mod inquiry;
pub mod inspection;
pub mod market;
pub mod paper;
pub mod plan;
pub mod report;
pub mod status;
pub mod sweep;
pub mod trade;

use crate::engine::ports::{Fault, FaultKind};
use crate::exit::{Exit, Failure};
use crate::journal::Damage;

/// The failure of a command that cannot read the journal: a disk that does not give it is another matter than a journal
/// that is damaged.
pub fn journal_failure(damage: Damage) -> Failure {
    let code = match damage {
        Damage::Unreadable { .. } => Exit::State,
        Damage::Line { .. } | Damage::Newer { .. } => Exit::JournalDamaged,
    };
    Failure::new(code, damage)
}

/// The failure of a command whose question to the exchange brought no answer.
pub fn failure_of(fault: &Fault) -> Failure {
    let code = match fault.kind {
        FaultKind::KeyRefused => Exit::KeyRefused,
        FaultKind::ConfigurationRefused => Exit::Configuration,
        _ => Exit::Unreachable,
    };
    Failure::new(code, fault)
}
