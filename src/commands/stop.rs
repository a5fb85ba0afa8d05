//! `recompra stop`: asks a running bot to cancel its orders and end, or does it if none runs.
//!
//! In: the configuration and the state directory. Out: a `STOP` file, which stays, and what is left. What can go wrong: a
//! running bot may not end in time, and the exchange may be away. Both are told, with what to do.

use std::time::{Duration, Instant};

use log::info;

use super::{directory_of, inspect, load, lock};
use crate::command_line;
use crate::config::Variables;
use crate::core::ledger::Ledger;
use crate::core::strategy::Goal;
use crate::engine::ports::StopWish;
use crate::exit::{Exit, Failure};
use crate::inspection::status::Status;
use crate::live::state_failure;
use crate::live::trade;
use crate::narrator::Form;
use crate::output;
use crate::state_directory::StateDirectory;

/// How long `stop` waits for a running bot to cancel, to sell and to end.
const STOP_PATIENCE: Duration = Duration::from_secs(120);
/// How often `stop` checks whether it has.
const STOP_CHECK: Duration = Duration::from_millis(200);

/// `recompra stop`: asks a running bot to cancel its orders and end, or does it if none runs. The `STOP` file stays, so
/// that no supervisor starts the bot again.
///
/// # Errors
/// [`Failure`].
pub fn stop(options: &command_line::Stop, variables: Variables<'_>) -> Result<(), Failure> {
    let config = load(&options.config)?;
    let directory = directory_of(&config, variables)?;
    let unusable = |error| state_failure(&directory, &error);
    directory.create().map_err(unusable)?;
    directory.ask_for_stop(options.close).map_err(unusable)?;
    match lock(&directory) {
        Ok(_lock) => {
            let goal = if options.close { Goal::Close } else { Goal::Cancel };
            let form = if options.json { Form::Silent } else { Form::Text };
            let ledger = trade(&config, &directory, goal, StopWish::Leave, form, variables).map_err(|failure| {
                let stop = directory.stop_file();
                let rest = format!("orders may still rest; the bot stays stopped by {}: stop again", stop.display());
                Failure::new(failure.code, format!("{}\n{rest}", failure.message))
            })?;
            tell_stopped(options, &directory, &ledger)
        }
        Err(failure) if failure.code == Exit::Locked => wait_for_end(options, &directory),
        Err(failure) => Err(failure),
    }
}

fn wait_for_end(options: &command_line::Stop, directory: &StateDirectory) -> Result<(), Failure> {
    info!("a running bot was asked to stop");
    let begin = Instant::now();
    loop {
        match lock(directory) {
            Ok(_lock) => {
                return tell_stopped(options, directory, &inspect(directory)?);
            }
            Err(failure) if failure.code != Exit::Locked => return Err(failure),
            Err(_) if begin.elapsed() >= STOP_PATIENCE => {
                let seconds = STOP_PATIENCE.as_secs();
                let message = format!("the running bot did not end within {seconds} s; it goes on trying: see its log");
                return Err(Failure::new(Exit::Locked, message));
            }
            Err(_) => std::thread::sleep(STOP_CHECK),
        }
    }
}

fn tell_stopped(options: &command_line::Stop, directory: &StateDirectory, ledger: &Ledger) -> Result<(), Failure> {
    let path = directory.path().display().to_string();
    let status = Status { directory: &path, running: false, stopped: true, ledger };
    if options.json { output::print(&format!("{}\n", status.json())) } else { output::print(&status.text()) }
}
