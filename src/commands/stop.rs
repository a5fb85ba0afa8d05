//! `recompra stop`: asks a running bot to cancel its orders and end, or does it if none runs.
//!
//! In: the configuration and the state directory. Out: a `STOP` file, which stays, and what is left. What can go wrong: the
//! directory may be another bot's, and then nothing is written; a running bot may not end in time; the exchange may be away;
//! the disk may be full. Each is told, with what still rests and what to do.

use std::io;
use std::time::{Duration, Instant};

use log::info;

use super::{directory_of, inspect, load};
use crate::command_line;
use crate::config::{Config, Variables};
use crate::core::ledger::Ledger;
use crate::core::strategy::Goal;
use crate::engine::ports::StopWish;
use crate::exit::{Exit, Failure};
use crate::inspection::status::Status;
use crate::journal;
use crate::live::{refuse_foreign, state_failure, trade};
use crate::narrator::Form;
use crate::output;
use crate::state_directory::{LockError, StateDirectory};
use crate::wall_clock::wall_clock;

/// How long `stop` waits for a running bot to cancel, to sell and to end.
const STOP_PATIENCE: Duration = Duration::from_secs(120);
/// How often `stop` checks whether it has.
const STOP_CHECK: Duration = Duration::from_millis(200);
/// While it waits it says so this often.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// `recompra stop`: asks a running bot to cancel its orders and end, or does it if none runs. The `STOP` file stays, so
/// that no supervisor starts the bot again.
///
/// # Errors
/// [`Failure`], with [`Exit::Amiss`] when something still rests.
pub fn stop(options: &command_line::Stop, variables: Variables<'_>) -> Result<(), Failure> {
    let config = load(&options.config)?;
    let directory = directory_of(&config, variables)?;
    refuse_foreign(&config, &directory, &journal::read(&directory.journal()).map_err(Failure::from)?)?;
    directory.create().map_err(|error| state_failure(&directory, &error))?;
    let stopping = Stopping { options, config: &config, directory: &directory };
    let asked = directory.ask_for_stop(options.close);
    match directory.lock() {
        Ok(_lock) => stopping.alone(asked, variables),
        Err(LockError::Held { pid }) => {
            asked.map_err(|error| stopping.cannot_ask(&error, pid.as_deref()))?;
            stopping.wait_for_end(pid.as_deref())
        }
        Err(LockError::Unusable(error)) => Err(state_failure(&directory, &error)),
    }
}

/// Whom to stop, and how.
struct Stopping<'a> {
    options: &'a command_line::Stop,
    config: &'a Config,
    directory: &'a StateDirectory,
}

impl Stopping<'_> {
    /// Does it, because no bot runs. What rests is cancelled first, whether or not `STOP` could be written.
    fn alone(&self, asked: io::Result<()>, variables: Variables<'_>) -> Result<(), Failure> {
        let goal = if self.options.close { Goal::Close } else { Goal::Cancel };
        let form = if self.options.json { Form::Silent } else { Form::Text };
        let traded = trade(self.config, self.directory, goal, StopWish::Leave, form, variables);
        output::settle();
        // Meanwhile there may be room.
        let asked = asked.or_else(|_| self.directory.ask_for_stop(self.options.close));
        let stop = self.directory.stop_file().display().to_string();
        let unasked = asked.err().map(|error| {
            format!("{stop}: cannot be written: {error}: nothing keeps the bot from being started again; make room, stop again")
        });
        let result = match traded {
            Ok(ledger) => self.tell_stopped(&ledger),
            Err(failure) => {
                let stays = format!("the bot stays stopped by {stop}: stop again");
                let resting = inspect(self.directory).map_or_else(|_| Vec::new(), |ledger| self.resting(&ledger));
                let (code, rest) = match not_cancelled(&resting) {
                    Some(told) => (Exit::Amiss, format!("{told}; {stays}")),
                    None => (failure.code, format!("orders may still rest; {stays}")),
                };
                Err(Failure::new(code, format!("{}\n{rest}", failure.message)))
            }
        };
        match (result, unasked) {
            (result, None) => result,
            (Ok(()), Some(unasked)) => Err(Failure::new(Exit::State, unasked)),
            (Err(failure), Some(unasked)) => Err(Failure::new(failure.code, format!("{}\n{unasked}", failure.message))),
        }
    }

    fn wait_for_end(&self, pid: Option<&str>) -> Result<(), Failure> {
        let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        info!("the running bot{process} was asked to stop");
        let begin = Instant::now();
        let mut told = begin;
        loop {
            match self.directory.lock() {
                Ok(_lock) => return self.tell_stopped(&inspect(self.directory)?),
                Err(LockError::Unusable(error)) => return Err(state_failure(self.directory, &error)),
                Err(LockError::Held { .. }) => {}
            }
            if begin.elapsed() >= STOP_PATIENCE {
                let seconds = STOP_PATIENCE.as_secs();
                let late = format!("the running bot did not end within {seconds} s; it goes on trying: see its log");
                let resting = self.resting(&inspect(self.directory)?);
                return Err(match not_cancelled(&resting) {
                    Some(left) => Failure::new(Exit::Amiss, format!("{late}\n{left}")),
                    None => Failure::new(Exit::Locked, late),
                });
            }
            if told.elapsed() >= TELL_INTERVAL {
                told = Instant::now();
                let resting = inspect(self.directory).map_or_else(|_| Vec::new(), |ledger| self.resting(&ledger));
                match resting.as_slice() {
                    [] => info!("waiting for the running bot to end; nothing rests any more"),
                    names => info!("waiting for the running bot to cancel {}", names.join(", ")),
                }
            }
            std::thread::sleep(STOP_CHECK);
        }
    }

    /// The names of the orders that rest, as far as the journal knows.
    fn resting(&self, ledger: &Ledger) -> Vec<String> {
        let live = ledger.cycle.iter().flat_map(|cycle| cycle.live_orders());
        live.map(|(key, _)| key.link_id(&self.config.bot)).collect()
    }

    /// A running bot cannot be asked.
    fn cannot_ask(&self, error: &io::Error, pid: Option<&str>) -> Failure {
        let stop = self.directory.stop_file().display().to_string();
        let process = pid.unwrap_or("and its process id, which `pgrep recompra` shows");
        let message = format!(
            "{stop}: cannot be written: {error}: the running bot was not asked to stop. Make room, or end it with kill -TERM \
             {process}: what rests goes on resting, until you stop again"
        );
        Failure::new(Exit::State, message)
    }

    fn tell_stopped(&self, ledger: &Ledger) -> Result<(), Failure> {
        let path = self.directory.path().display().to_string();
        let status = Status {
            directory: &path,
            running: false,
            stopped: self.directory.stop_wish().is_some(),
            ledger,
            parameters: None,
            back_off: None,
            now: wall_clock(),
        };
        if self.options.json {
            output::print(&format!("{}\n", status.json()))?;
        } else {
            output::print(&status.text())?;
        }
        not_cancelled(&self.resting(ledger)).map_or(Ok(()), |left| Err(Failure::new(Exit::Amiss, left)))
    }
}

/// What was not cancelled, if anything rests.
fn not_cancelled(names: &[String]) -> Option<String> {
    match names {
        [] => None,
        [name] => Some(format!("NOT cancelled: 1 order rests: {name}")),
        names => Some(format!("NOT cancelled: {} orders rest: {}", names.len(), names.join(", "))),
    }
}
