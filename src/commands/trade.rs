//! `recompra run` and `recompra stop`: the engine on the configured environment.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, unbounded};
use log::{info, warn};

use super::connection::{Connection, read_credentials, wall_clock};
use super::journal_failure;
use super::live_feed::LiveFeed;
use crate::command_line;
use crate::config::{Config, Variables};
use crate::core::ledger::Ledger;
use crate::core::strategy::Goal;
use crate::engine::ports::{Signal, StopWish};
use crate::engine::{self, Assignment, CLOCK_INTERVAL, Engine, Outcome, READINESS_INTERVAL, RECONCILE_INTERVAL, World};
use crate::exit::{Exit, Failure};
use crate::inspection::status::Status;
use crate::journal::{self, FileStorage, JournalFile, Keeper, Recovery};
use crate::narrator::{Form, Narrator};
use crate::state_directory::starts::Start;
use crate::state_directory::{Lock, LockError, StateDirectory};

/// How long `stop` waits for a running bot to cancel, to sell and to end.
const STOP_PATIENCE: Duration = Duration::from_secs(120);
/// How often `stop` looks whether it has.
const STOP_LOOK: Duration = Duration::from_millis(200);

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
            println!("stopped: remove {} to trade again", directory.stop_file().display());
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
    result
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
            tell_stopped(options, &directory, &ledger);
            Ok(())
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
                tell_stopped(options, directory, &inspect(directory)?);
                return Ok(());
            }
            Err(failure) if failure.code != Exit::Locked => return Err(failure),
            Err(_) if begin.elapsed() >= STOP_PATIENCE => {
                let seconds = STOP_PATIENCE.as_secs();
                let message = format!("the running bot did not end within {seconds} s; it goes on trying: see its log");
                return Err(Failure::new(Exit::Locked, message));
            }
            Err(_) => std::thread::sleep(STOP_LOOK),
        }
    }
}

fn tell_stopped(options: &command_line::Stop, directory: &StateDirectory, ledger: &Ledger) {
    let path = directory.path().display().to_string();
    let status = Status { directory: &path, running: false, stopped: true, ledger };
    if options.json {
        println!("{}", status.json());
    } else {
        print!("{}", status.text());
    }
}

/// The engine from the journal's ledger to its end; gives back the ledger.
fn trade(
    config: &Config,
    directory: &StateDirectory,
    goal: Goal,
    on_signal: StopWish,
    form: Form,
    variables: Variables<'_>,
) -> Result<Ledger, Failure> {
    let (credentials, found) = read_credentials(config, variables)?;
    found.warnings.iter().for_each(|warning| warn!("{warning}"));
    let storage = FileStorage::open(&directory.journal()).map_err(|error| state_failure(directory, &error))?;
    let (mut journal, recovery) = JournalFile::open(storage).map_err(journal_failure)?;
    if recovery.torn > 0 {
        warn!("the journal's last {} bytes were torn, as a power cut does, and are cut off", recovery.torn);
    }
    refuse_foreign(config, directory, &recovery)?;
    let stop = Arc::new(AtomicBool::new(false));
    let mut connection = Connection::new(config, Some(credentials), Arc::clone(&stop))?;
    let (signals, received) = unbounded();
    on_signals(signals.clone(), on_signal, Arc::clone(&stop))?;
    if !connection.await_time(&stop) {
        return Ok(recovery.ledger);
    }
    // It connects while the engine asks its first questions.
    let (stream, reader) = connection.stream((signals, received))?;
    let clock = connection.clock.clone();
    let mut feed = LiveFeed::new(reader, &clock, Some(directory));
    let mut narrator = Narrator::new(std::io::stdout(), form);
    let world = World {
        exchange: &mut connection.client,
        feed: &mut feed,
        clock: &clock,
        journal: &mut journal,
        observer: &mut narrator,
    };
    let assignment = Assignment {
        bot: config.bot.clone(),
        environment: config.environment.name().to_owned(),
        parameters: config.parameters.clone(),
        goal,
        reconcile_interval: RECONCILE_INTERVAL,
        clock_interval: CLOCK_INTERVAL,
        readiness_interval: Some(READINESS_INTERVAL),
        stream_patience: Duration::ZERO,
    };
    let mut engine = Engine::new(world, assignment, recovery.ledger);
    let outcome = engine.run();
    let ledger = engine.ledger().clone();
    stream.stop();
    match outcome {
        Ok(Outcome::Finished | Outcome::Stopped) => Ok(ledger),
        Err(failure) => Err(exit_of(failure)),
    }
}

/// One bot, one state directory: going on from another's journal would trade by its orders and its money.
fn refuse_foreign(config: &Config, directory: &StateDirectory, recovery: &Recovery) -> Result<(), Failure> {
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

/// What a failure of the engine means to a supervisor.
pub fn exit_of(failure: engine::Failure) -> Failure {
    let code = match &failure {
        engine::Failure::Unreachable(_) => Exit::Unreachable,
        engine::Failure::KeyRefused(_) => Exit::KeyRefused,
        engine::Failure::ConfigurationRefused(_) | engine::Failure::Ladder(_) => Exit::Configuration,
        engine::Failure::Journal(_) => Exit::State,
    };
    Failure::new(code, failure)
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

fn lock(directory: &StateDirectory) -> Result<Lock, Failure> {
    directory.lock().map_err(|error| match error {
        LockError::Held { pid } => {
            let holder = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            Failure::new(Exit::Locked, format!("{}: another instance{holder} is running", directory.path().display()))
        }
        LockError::Unusable(error) => state_failure(directory, &error),
    })
}

/// What the journal adds up to, without changing it.
///
/// # Errors
/// [`Failure`] when there is a journal and it is damaged.
pub fn inspect(directory: &StateDirectory) -> Result<Ledger, Failure> {
    let recovery = journal::read(&directory.journal()).map_err(journal_failure)?;
    Ok(recovery.ledger)
}

fn state_failure(directory: &StateDirectory, error: &std::io::Error) -> Failure {
    let path = directory.path().display();
    Failure::new(Exit::State, format!("{path}: {error}: give this user write access, make room, or set state_dir"))
}
