//! The commands: each wires the parts it needs and prints what comes of them, or gives back a [`Failure`].
//!
//! What can be computed is computed elsewhere, by functions that take data. A command reads, asks, hands over and prints.

pub mod audit;
pub mod backtest;
pub mod doctor;
pub mod exchange;
pub mod explain;
pub mod fetch;
pub mod market;
pub mod paper;
pub mod plan;
pub mod report;
pub mod resume;
pub mod run;
pub mod status;
pub mod stop;
pub mod sweep;

use std::path::Path;

use serde_json::Value;

use crate::backtest::Obstacle;
use crate::config::{self, Config, Variables};
use crate::core::ledger::Ledger;
use crate::exit::{Exit, Failure};
use crate::journal;
use crate::live::state_failure;
use crate::output;
use crate::state_directory::{Lock, LockError, StateDirectory};

/// The failure of a backtest that could not go on.
fn obstacle_failure(obstacle: Obstacle) -> Failure {
    match obstacle {
        Obstacle::Market(error) => Failure::new(Exit::Configuration, error),
        Obstacle::Engine(failure) => failure.into(),
    }
}

/// Prints what came of a command: for machines, or for people.
fn show(as_json: bool, json: impl FnOnce() -> Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
    output::print(&match as_json {
        true => format!("{}\n", json()),
        false => text(),
    })
}

/// The configuration of a file, or the built-in example where none is named.
fn load_or_example(path: Option<&Path>) -> Result<Config, Failure> {
    match path {
        Some(path) => load(path),
        None => config::parse(config::EXAMPLE, Path::new("the built-in example"))
            .map_err(|error| Failure::new(Exit::Bug, error)),
    }
}

/// The state directory to read: the named one, which must be there, or that of the configuration.
fn directory_to_read(named: Option<&Path>, config: &Path, variables: Variables<'_>) -> Result<StateDirectory, Failure> {
    match named {
        None => directory_of(&load(config)?, variables),
        Some(path) if path.is_dir() => Ok(StateDirectory::new(path.to_owned())),
        Some(path) => Err(Failure::new(Exit::State, format!("{}: there is no such directory", path.display()))),
    }
}

/// Reads and checks the configuration.
///
/// # Errors
/// [`Failure`] with every problem.
pub fn load(path: &Path) -> Result<Config, Failure> {
    crate::config::load(path).map_err(|error| Failure::new(Exit::Configuration, error))
}

/// The bot's state directory.
///
/// # Errors
/// [`Failure`] when there is no place for it.
pub fn directory_of(config: &Config, variables: Variables<'_>) -> Result<StateDirectory, Failure> {
    let path = config.state_directory(variables).map_err(|error| Failure::new(Exit::Configuration, error))?;
    Ok(StateDirectory::new(path))
}

/// What the journal adds up to, without changing it.
///
/// # Errors
/// [`Failure`] when there is a journal and it is damaged.
pub fn inspect(directory: &StateDirectory) -> Result<Ledger, Failure> {
    let recovery = journal::read(&directory.journal()).map_err(Failure::from)?;
    Ok(recovery.ledger)
}

fn lock(directory: &StateDirectory) -> Result<Lock, Failure> {
    directory.lock().map_err(|error| match error {
        LockError::Held { pid } => {
            let holder = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            Failure::new(Exit::Locked, format!("{}: another instance{holder} is running", directory.path().display()))
        }
        LockError::Unusable(error) => state_failure(directory, &error),
    })
}
