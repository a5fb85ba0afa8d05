//! `recompra run`: the engine on the configured environment, until it is stopped.
//!
//! In: the configuration and the state directory. Out: trades, and what the bot tells of them. It ends with the exit code that
//! tells a supervisor what to do.

use log::{info, warn};

use super::{directory_of, load, lock};
use crate::command_line;
use crate::config::Variables;
use crate::core::strategy::Goal;
use crate::engine::ports::StopWish;
use crate::exit::{Exit, Failure};
use crate::live::trade;
use crate::narrator::Form;
use crate::output;
use crate::state_directory::StateDirectory;
use crate::state_directory::starts::Start;
use crate::wall_clock::wall_clock;

/// `recompra run`.
///
/// # Errors
/// [`Failure`], with the exit code that tells a supervisor what to do.
pub fn run(options: &command_line::Run, variables: Variables<'_>) -> Result<(), Failure> {
    let config = load(&options.config)?;
    config.permit_money(options.real_money).map_err(|error| Failure::new(Exit::Configuration, error))?;
    let directory = directory_of(&config, variables)?;
    let _lock = match lock(&directory) {
        Err(failure) if options.cron && failure.code == Exit::Locked => return Ok(()),
        other => other?,
    };
    if directory.stop_wish().is_some() {
        if !options.cron {
            output::print(&format!("stopped: remove {} to trade again\n", directory.stop_file().display()))?;
        }
        return Ok(());
    }
    let form = match (options.cron, options.json) {
        (true, _) => Form::Silent,
        (false, true) => Form::Json,
        (false, false) => Form::Text,
    };
    let on_signal = if options.cancel_on_exit { StopWish::Cancel } else { StopWish::Leave };
    let start = begin(&directory)?;
    let result = trade(&config, &directory, Goal::Trade, on_signal, form, variables).map(drop);
    let taken_back = if result.is_ok() { start.finished() } else { start.gave_up() };
    // A note that cannot be taken back costs a wait at worst.
    if let Err(error) = taken_back {
        warn!("{}: the note of this start cannot be taken back: {error}", directory.path().display());
    }
    match result {
        // The journal itself was held, by somebody who started in the same moment.
        Err(failure) if options.cron && failure.code == Exit::Locked => Ok(()),
        other => other,
    }
}

/// Notes this start, unless too many before it ended in a crash.
fn begin(directory: &StateDirectory) -> Result<Start, Failure> {
    let (start, noted) = directory.begin(wall_clock()).map_err(|back_off| Failure::new(Exit::BackOff, back_off))?;
    if let Err(error) = noted {
        warn!("{}: this start cannot be noted: {error}", directory.path().display());
    }
    if start.crashes() > 0 {
        info!("the last start did not end in peace ({} in a row); going on from the journal", start.crashes());
    }
    Ok(start)
}
