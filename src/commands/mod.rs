//! The commands: each wires the parts it needs and prints what comes of them, or gives back a [`Failure`].
//!
//! What can be computed is computed elsewhere, by functions that take data. A command reads, asks, hands over and prints.

pub mod audit;
pub mod backtest;
pub mod connection;
pub mod doctor;
pub mod exchange;
pub mod explain;
pub mod fetch;
pub mod live_feed;
pub mod market;
pub mod paper;
pub mod plan;
pub mod report;
pub mod sane_clock;
pub mod status;
pub mod sweep;
pub mod trade;

use std::path::Path;

use crate::backtest::Obstacle;
use crate::config::{self, Config, Variables};
use crate::exit::{Exit, Failure};
use crate::journal::Damage;
use crate::state_directory::StateDirectory;

/// The failure of a command that cannot read the journal. A disk that does not give it is another matter than a journal
/// that is damaged.
pub fn journal_failure(damage: Damage) -> Failure {
    let code = match damage {
        Damage::Unreadable { .. } => Exit::State,
        Damage::Line { .. } | Damage::Newer { .. } => Exit::JournalDamaged,
    };
    Failure::new(code, damage)
}

/// The failure of a backtest that could not go on.
fn obstacle_failure(obstacle: Obstacle) -> Failure {
    match obstacle {
        Obstacle::Market(error) => Failure::new(Exit::Configuration, error),
        Obstacle::Engine(failure) => trade::exit_of(failure),
    }
}

/// The configuration of a file, or the built-in example where none is named.
fn load_or_example(path: Option<&Path>) -> Result<Config, Failure> {
    match path {
        Some(path) => trade::load(path),
        None => config::parse(config::EXAMPLE, Path::new("the built-in example"))
            .map_err(|error| Failure::new(Exit::Bug, error)),
    }
}

/// The state directory to read: the named one, which must be there, or that of the configuration.
fn directory_to_read(named: Option<&Path>, config: &Path, variables: Variables<'_>) -> Result<StateDirectory, Failure> {
    match named {
        None => trade::directory_of(&trade::load(config)?, variables),
        Some(path) if path.is_dir() => Ok(StateDirectory::new(path.to_owned())),
        Some(path) => Err(Failure::new(Exit::State, format!("{}: there is no such directory", path.display()))),
    }
}
