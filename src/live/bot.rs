//! The whole bot on a configured exchange: journal, clock, stream, engine.
//!
//! In: a configuration, the state directory, whose lock the caller holds, and the goal. Out: the ledger at the end. What can
//! go wrong is a [`Failure`] with the exit code that tells a supervisor what to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Sender, unbounded};
use log::warn;

use super::exchange::{LiveExchange, read_credentials};
use super::feed::LiveFeed;
use crate::config::{Config, Variables};
use crate::core::ledger::Ledger;
use crate::core::strategy::Goal;
use crate::engine::ports::{JournalError, Signal, StopWish};
use crate::engine::{self, Engine, EngineConfig, Outcome, World};
use crate::exit::{Exit, Failure};
use crate::journal::{AsItFits, FileStorage, JournalFile, Keeper, Recovery};
use crate::narrator::{Form, Narrator};
use crate::output::{self, Lossy};
use crate::state_directory::StateDirectory;

/// The engine from the journal's ledger to its end; gives back the ledger.
pub fn trade(
    config: &Config,
    directory: &StateDirectory,
    goal: Goal,
    on_signal: StopWish,
    form: Form,
    variables: Variables<'_>,
) -> Result<Ledger, Failure> {
    output::without_waiting(form == Form::Json);
    let (credentials, found) = read_credentials(config, variables)?;
    found.warnings.iter().for_each(|warning| warn!("{warning}"));
    let storage = FileStorage::open(&directory.journal()).map_err(|error| storage_failure(directory, &error))?;
    let (mut journal, recovery) = JournalFile::open(storage).map_err(Failure::from)?;
    if recovery.behind_hole > 0 {
        warn!(
            "a power cut has left a hole in the journal, where it was not safe yet: its last {} bytes are cut off, {} whole lines \
             among them; the exchange is asked what they said",
            recovery.torn, recovery.behind_hole
        );
    } else if recovery.torn > 0 {
        warn!("the journal's last {} bytes were torn, as a power cut does, and are cut off", recovery.torn);
    }
    refuse_foreign(config, directory, &recovery)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut connection = LiveExchange::new(config, Some(credentials), Arc::clone(&stop))?;
    let (signals, received) = unbounded();
    on_signals(signals.clone(), on_signal, Arc::clone(&stop))?;
    if !connection.await_time(&stop) {
        return Ok(recovery.ledger);
    }
    // It connects while the engine asks its first questions.
    let stream = connection.stream(signals)?;
    let clock = connection.clock.clone();
    let mut feed = LiveFeed::new(received, &clock, Some(directory), Some(journal.held()));
    let mut narrator = Narrator::new(Lossy, form);
    // Cancelling needs no journal: what it cannot hold is found again on the exchange.
    let mut as_it_fits = AsItFits::new(&mut journal, goal == Goal::Cancel);
    let world = World {
        exchange: &mut connection.client,
        feed: &mut feed,
        clock: &clock,
        journal: &mut as_it_fits,
        observer: &mut narrator,
    };
    let settings = EngineConfig::new(config.bot.clone(), config.environment.name(), config.parameters.clone(), goal);
    let mut engine = Engine::new(world, settings, recovery.ledger);
    let outcome = engine.run();
    let ledger = engine.ledger().clone();
    stream.stop();
    match outcome {
        Ok(Outcome::Finished | Outcome::Stopped) => Ok(ledger),
        Err(engine::Failure::Journal(error)) if error.lost => Err(lost(&error, &mut journal)),
        Err(failure) => Err(failure.into()),
    }
}

/// The failure of a bot whose journal was taken from it, after what it knows is written down again.
fn lost(error: &JournalError, journal: &mut JournalFile<FileStorage>) -> Failure {
    let path = journal.held().path().to_owned();
    let kept = match journal.rescue() {
        Ok(place) if place == path => {
            "what it held is written there again: a start goes on from it. To begin without it, stop the bot first"
                .to_owned()
        }
        Ok(place) => format!("what it held is in {}: compare the two before you start the bot again", place.display()),
        Err(error) => format!(
            "what it held cannot be written there ({error}): restore the journal from a backup, or start the bot without one: it \
             asks the exchange"
        ),
    };
    Failure::new(Exit::State, format!("{error}; nothing more is traded, and what rests goes on resting\n{kept}"))
}

fn storage_failure(directory: &StateDirectory, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::WouldBlock => {
            Failure::new(Exit::Locked, format!("{}: another instance is running", directory.path().display()))
        }
        _ => state_failure(directory, error),
    }
}

/// One bot, one state directory: going on from another's journal would trade by its orders and its money.
///
/// # Errors
/// [`Failure`] that says whose directory it is.
pub fn refuse_foreign(config: &Config, directory: &StateDirectory, recovery: &Recovery) -> Result<(), Failure> {
    let configured = Keeper {
        bot: config.bot.clone(),
        environment: config.environment.name().to_owned(),
        symbol: config.parameters.symbol.clone(),
    };
    match recovery.keeper() {
        Some(keeper) if keeper != configured => {
            let path = directory.path().display();
            let message = format!(
                "{path}: the journal there is of {keeper}, the configuration is for {configured}: give each bot a \
                 state_dir of its own, or set the configuration back"
            );
            Err(Failure::new(Exit::Configuration, message))
        }
        _ => Ok(()),
    }
}

/// The first SIGINT or SIGTERM asks for a stop, the second ends the process.
pub fn on_signals(signals: Sender<Signal>, wish: StopWish, stop: Arc<AtomicBool>) -> Result<(), Failure> {
    let mut asked = false;
    ctrlc::set_handler(move || {
        if std::mem::replace(&mut asked, true) {
            std::process::exit(130);
        }
        stop.store(true, Ordering::SeqCst);
        // Nobody listens any more only when the engine has ended already.
        let _ = signals.send(Signal::Stop(wish));
    })
    .map_err(|error| Failure::new(Exit::Bug, format!("signals cannot be handled: {error}")))
}

/// The failure of whoever cannot use the state directory, with what to do.
pub fn state_failure(directory: &StateDirectory, error: &std::io::Error) -> Failure {
    let path = directory.path().display();
    Failure::new(Exit::State, format!("{path}: {error}: give this user write access, make room, or set state_dir"))
}
