//! How the program ends: exit codes by what a supervisor should do, the failure that a command returns, and which failure of
//! which part ends with which code.

use std::fmt;
use std::process::ExitCode;

use crate::engine;
use crate::engine::ports::{Fault, FaultKind};
use crate::journal::Damage;
use crate::printable::printable;

/// The exit codes. Scripts and supervisors depend on them: none ever changes its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Exit {
    /// Finished, or stopped as asked.
    Finished = 0,
    /// All was done and something is amiss: `audit` found a difference between journal and exchange, a `stop` left an order
    /// resting, a `resume` an alarm, or `status` found the bot not well. A person must look.
    Amiss = 1,
    /// The command line is wrong.
    CommandLine = 64,
    /// The journal is damaged where it was safe from a power cut, or of a newer version: a person must look.
    JournalDamaged = 65,
    /// The exchange could not be reached: start again later.
    Unreachable = 69,
    /// A bug of this program.
    Bug = 70,
    /// Another instance holds the lock.
    Locked = 73,
    /// The state directory cannot be read or written (full, read-only, not permitted), or standard output is a full disk: a
    /// person must look.
    State = 74,
    /// Started too often after crashes: back-off is in force.
    BackOff = 75,
    /// The key was refused, or may not trade, or may withdraw.
    KeyRefused = 77,
    /// The configuration is wrong.
    Configuration = 78,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends without having done its work: for the supervisor a code, for people a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the supervisor should do.
    pub code: Exit,
    /// What is wrong, where, and what to do; may have several lines, one problem each.
    pub message: String,
}

impl Failure {
    /// A failure with this code and message.
    pub fn new(code: Exit, message: impl fmt::Display) -> Self {
        Self { code, message: message.to_string() }
    }
}

impl From<Fault> for Failure {
    /// A question to the exchange brought no answer.
    fn from(fault: Fault) -> Self {
        let code = match fault.kind {
            FaultKind::KeyRefused => Exit::KeyRefused,
            FaultKind::ConfigurationRefused => Exit::Configuration,
            _ => Exit::Unreachable,
        };
        Self::new(code, printable(&fault.to_string()))
    }
}

/// A disk that does not give the journal is another matter than a journal that is damaged.
impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        let code = match damage {
            Damage::Unreadable { .. } => Exit::State,
            Damage::Line { .. } | Damage::Newer { .. } => Exit::JournalDamaged,
        };
        Self::new(code, damage)
    }
}

impl From<engine::Failure> for Failure {
    fn from(failure: engine::Failure) -> Self {
        let code = match &failure {
            engine::Failure::Unreachable(_) => Exit::Unreachable,
            engine::Failure::KeyRefused(_) => Exit::KeyRefused,
            engine::Failure::ConfigurationRefused(_) | engine::Failure::Ladder(_) => Exit::Configuration,
            engine::Failure::Journal(_) => Exit::State,
        };
        Self::new(code, printable(&failure.to_string()))
    }
}

impl fmt::Display for Failure {
    /// Each line as `recompra: …`, as it goes to standard error.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, line) in self.message.lines().enumerate() {
            write!(f, "{}recompra: {line}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_a_failure_says_who_speaks() {
        let failure = Failure::new(Exit::Configuration, "a.toml:1:1: x\na.toml:2:1: y");
        assert_eq!(failure.to_string(), "recompra: a.toml:1:1: x\nrecompra: a.toml:2:1: y");
    }
}
