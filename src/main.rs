//! The program: reads the command line and hands over to the command.

use std::ffi::OsString;
use std::process::ExitCode;

use recompra::command_line::{self, Answer, Command, CommandLine};
use recompra::commands::{
    audit, backtest, doctor, exchange, explain, fetch, paper, plan, report, resume, run, status, stop, sweep,
};
use recompra::exit::{Exit, Failure};
use recompra::{hang_up, logging, output};

fn main() -> ExitCode {
    exit_on_panic();
    hang_up::keep_ignored();
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let CommandLine { verbosity, command } = match command_line::parse(&words) {
        Ok(parsed) => parsed,
        Err(answer) => return tell(&answer).into(),
    };
    let silent = matches!(&command, Command::Run(run) if run.cron);
    logging::start(logging::level(if silent { verbosity - 1 } else { verbosity }));
    let exit = obey(command).unwrap_or_else(|failure| complain(&failure));
    output::settle();
    exit.into()
}

/// What is printed instead of obeying.
fn tell(answer: &Answer) -> Exit {
    match answer {
        Answer::Information(text) => output::print(text).map_or_else(|failure| complain(&failure), |()| answer.exit()),
        Answer::Mistake(text) => {
            output::tell(text);
            answer.exit()
        }
    }
}

fn complain(failure: &Failure) -> Exit {
    output::tell(&format!("{failure}\n"));
    failure.code
}

fn obey(command: Command) -> Result<Exit, Failure> {
    let variables = |name: &str| std::env::var_os(name);
    match command {
        Command::Paper(options) => paper::paper(&options)?,
        Command::Backtest(options) => backtest::backtest(&options)?,
        Command::Report(options) => report::report(&options, &variables)?,
        Command::Fetch(options) => fetch::fetch(&options)?,
        Command::Sweep(options) => sweep::sweep(&options)?,
        Command::Exchange(options) => exchange::exchange(&options)?,
        Command::Run(options) => run::run(&options, &variables)?,
        Command::Stop(options) => stop::stop(&options, &variables)?,
        Command::Resume(options) => resume::resume(&options, &variables)?,
        Command::Plan(options) => plan::plan(&options, &variables)?,
        Command::Status(options) => status::status(&options, &variables)?,
        Command::Explain(options) => explain::explain(&options, &variables)?,
        Command::Audit(options) => return audit::audit(&options, &variables),
        Command::Doctor(options) => return doctor::doctor(&options, &variables),
    }
    Ok(Exit::Finished)
}

/// A panic is a bug: it is told, and the exit code says so to a supervisor.
fn exit_on_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let (thread, trace) = (std::thread::current(), std::backtrace::Backtrace::capture());
        output::tell(&format!("recompra: thread {} {panic}\n{trace}\n", thread.name().unwrap_or("without a name")));
        output::settle();
        std::process::exit(i32::from(Exit::Bug as u8));
    }));
}
