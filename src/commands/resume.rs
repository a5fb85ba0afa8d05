//! `recompra resume`: a person has seen what went wrong, and the bot may go on.
//!
//! In: the configuration and the state directory. Out: each alarm with what it says, and records that clear them; a running bot
//! is asked to write these down itself, by a file `RESUME` that it removes. What can go wrong: the directory may be another
//! bot's, and then nothing is written; money may have been lost, and then the person must say that he has looked; a running bot
//! may not look in time. An alarm whose cause is still there is raised again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use log::info;
use serde_json::json;

use super::{directory_of, inspect, load, show};
use crate::command_line;
use crate::config::{Config, Variables};
use crate::core::record::{AlarmCause, Record};
use crate::engine::ports::Journal as _;
use crate::exit::{Exit, Failure};
use crate::journal::{self, FileStorage, JournalFile};
use crate::live::{refuse_foreign, state_failure};
use crate::printable::printable;
use crate::state_directory::{LockError, StateDirectory};

/// How long a running bot is waited for. It looks every second, unless an answer keeps it waiting.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether it has.
const CHECK: Duration = Duration::from_millis(200);
/// While it is waited for, that is said this often.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

/// Alarms by their cause, with what they say.
type Alarms = BTreeMap<AlarmCause, String>;

/// `recompra resume`.
///
/// # Errors
/// [`Failure`], with [`Exit::Amiss`] when an alarm was not cleared.
pub fn resume(options: &command_line::Resume, variables: Variables<'_>) -> Result<(), Failure> {
    let config = load(&options.config)?;
    let directory = directory_of(&config, variables)?;
    let recovery = journal::read(&directory.journal()).map_err(Failure::from)?;
    refuse_foreign(&config, &directory, &recovery)?;
    let seen = recovery.ledger.alarms;
    let lost = seen.keys().any(|cause| money_was_lost(*cause));
    if seen.is_empty() || (lost && !options.yes) {
        tell(options.json, &seen, &Alarms::new())?;
        return if lost { Err(Failure::new(Exit::Amiss, UNSAID)) } else { Ok(()) };
    }
    let outcome = Resuming { config: &config, directory: &directory, seen: &seen }.clear();
    let left: Alarms = inspect(&directory)?.alarms.into_iter().filter(|(cause, _)| seen.contains_key(cause)).collect();
    let cleared = seen.iter().filter(|(cause, _)| !left.contains_key(cause));
    tell(options.json, &seen, &cleared.map(|(cause, message)| (*cause, message.clone())).collect())?;
    outcome?;
    if left.is_empty() { Ok(()) } else { Err(Failure::new(Exit::Amiss, RAISED_AGAIN)) }
}

const UNSAID: &str = "nothing was cleared: money was lost, or may have been. Compare the account with `recompra status` and \
                      `recompra audit`; when you have, say so: `recompra resume --yes`";
const RAISED_AGAIN: &str = "an alarm is still raised: what it says has changed meanwhile, or its cause is still there: see \
                            `recompra status`";

/// Whether a person should look at the account before this alarm is cleared.
fn money_was_lost(cause: AlarmCause) -> bool {
    matches!(cause, AlarmCause::CoinsLeft | AlarmCause::LostHistory)
}

/// What is to be cleared, and where.
struct Resuming<'a> {
    config: &'a Config,
    directory: &'a StateDirectory,
    seen: &'a Alarms,
}

impl Resuming<'_> {
    /// Clears what was seen, or has a running bot do it.
    fn clear(&self) -> Result<(), Failure> {
        match self.directory.lock() {
            Ok(_lock) => self.alone(),
            Err(LockError::Held { pid }) => {
                self.directory.ask_to_resume(self.seen).map_err(|error| {
                    let file = self.directory.resume_file().display().to_string();
                    let message =
                        format!("{file}: cannot be written: {error}: the running bot was not asked; make room");
                    Failure::new(Exit::State, message)
                })?;
                self.wait(pid.as_deref())
            }
            Err(LockError::Unusable(error)) => Err(state_failure(self.directory, &error)),
        }
    }

    /// Writes it down, because no bot runs: the lock is held.
    fn alone(&self) -> Result<(), Failure> {
        let unusable = |error: &std::io::Error| state_failure(self.directory, error);
        let storage = FileStorage::open(&self.directory.journal()).map_err(|error| unusable(&error))?;
        let (mut journal, recovery) = JournalFile::open(storage).map_err(Failure::from)?;
        refuse_foreign(self.config, self.directory, &recovery)?;
        let ledger = recovery.ledger;
        let same = self.seen.iter().filter(|(cause, message)| ledger.alarms.get(cause) == Some(*message));
        let records: Vec<Record> = same.map(|(cause, _)| Record::AlarmCleared { cause: *cause }).collect();
        // Dated as the last record: nobody has watched the exchange since.
        let written = journal.append(ledger.time, &records).and_then(|()| journal.sync());
        written.map_err(|error| Failure::new(Exit::State, error))?;
        // A bot that was asked may have died.
        self.directory.resumed().map_err(|error| unusable(&error))
    }

    fn wait(&self, pid: Option<&str>) -> Result<(), Failure> {
        let process = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
        let begin = Instant::now();
        let mut told = begin;
        while self.directory.resume_file().exists() {
            if let Ok(_lock) = self.directory.lock() {
                return self.alone();
            }
            if begin.elapsed() >= PATIENCE {
                let message = format!(
                    "the running bot{process} has not looked within {} s; it clears them when it does: see its log",
                    PATIENCE.as_secs()
                );
                return Err(Failure::new(Exit::Amiss, message));
            }
            if told.elapsed() >= TELL_INTERVAL {
                told = Instant::now();
                info!("waiting for the running bot{process} to clear them");
            }
            std::thread::sleep(CHECK);
        }
        Ok(())
    }
}

fn tell(as_json: bool, seen: &Alarms, cleared: &Alarms) -> Result<(), Failure> {
    let text = || {
        let mut out = String::new();
        for (cause, message) in seen {
            let state = if cleared.contains_key(cause) { "cleared" } else { "raised" };
            let _ = writeln!(out, "{state}: {}", printable(message));
        }
        match (seen.is_empty(), cleared.is_empty()) {
            (true, _) => out.push_str("no alarm is raised: there is nothing to resume\n"),
            (false, true) => {}
            (false, false) => out.push_str("an alarm whose cause is still there is raised again\n"),
        }
        out
    };
    let causes = |alarms: &Alarms| alarms.keys().copied().collect::<Vec<_>>();
    show(as_json, || json!({ "alarms": seen, "cleared": causes(cleared) }), text)
}
