//! `recompra report`: a page about a backtest, which is run for it, about a journal, or about a sweep's results.
//!
//! In: candles, a state directory or a file of results. Out: a file of HTML, and one line that says where it is. Nothing else is changed.

use std::path::Path;

use serde_json::Value;

use super::{backtest, directory_to_read};
use crate::backtest::End;
use crate::backtest::summary::Summary;
use crate::command_line::{self, JournalSource, Subject};
use crate::config::Variables;
use crate::core::ledger::Ledger;
use crate::core::{Decimal, Timestamp};
use crate::exit::{Exit, Failure};
use crate::journal;
use crate::output;
use crate::report::chronicle::Chronicle;
use crate::report::sweep::SweepReport;
use crate::report::{self, Report, RunSource, prices};
use crate::simulation::market::{self, Recording};
use crate::sweep::reader::Reader;
use crate::sweep::results::ResultsFileError;

/// `recompra report`.
///
/// # Errors
/// [`Failure`] when what it is about cannot be read, or the page cannot be written.
pub fn report(options: &command_line::Report, variables: Variables<'_>) -> Result<(), Failure> {
    let (page, figures) = match &options.subject {
        Subject::Backtest(backtest) => of_backtest(backtest)?,
        Subject::Journal(source) => of_journal(source, variables)?,
        Subject::Sweep(file) => of_sweep(file)?,
    };
    if options.output == Path::new("-") {
        output::write(page.as_bytes())?;
    } else {
        write(&options.output, &page).map_err(|error| {
            Failure::new(Exit::State, format!("{}: cannot be written: {error}", options.output.display()))
        })?;
    }
    if options.json {
        output::print(&format!("{figures}\n"))?;
    } else if options.output != Path::new("-") {
        output::print(&format!("{}: {} kB\n", options.output.display(), page.len().div_ceil(1000)))?;
    }
    Ok(())
}

/// Whoever looks at the old page meanwhile sees it whole.
fn write(output: &Path, page: &str) -> std::io::Result<()> {
    let name = output.file_name().ok_or_else(|| std::io::Error::other("it names no file"))?;
    let new = output.with_file_name(format!(".{}.new", name.to_string_lossy()));
    std::fs::write(&new, page).and_then(|()| std::fs::rename(&new, output)).inspect_err(|_| {
        let _ = std::fs::remove_file(&new);
    })
}

fn of_backtest(options: &command_line::Backtest) -> Result<(String, Value), Failure> {
    let mut chronicle = Chronicle::default();
    let played = backtest::play(options, &mut chronicle)?;
    let summary = played.summary(&chronicle.course, options);
    let figures = backtest::figures(&summary, options, played.recording.len());
    let source = RunSource::Backtest(report::Backtest {
        market: name_of(&options.market),
        candles: played.recording.len(),
        assumed: backtest::assumed(options.assumptions.path),
        maker_fee: options.assumptions.fee_maker,
        taker_fee: options.assumptions.fee_taker,
        slippage_percent: options.assumptions.slippage,
    });
    let report = Report::new(source, (&chronicle, &played.end), (&played.recording, played.path), (&summary, &figures));
    Ok((report.page(), figures))
}

fn of_journal(source: &JournalSource, variables: Variables<'_>) -> Result<(String, Value), Failure> {
    let directory = directory_to_read(source.state_dir.as_deref(), &source.config, variables)?;
    let history = journal::history(&directory.journal()).map_err(Failure::from)?;
    let (chronicle, ledger) = Chronicle::of_entries(&history.entries)
        .map_err(|error| Failure::new(Exit::JournalDamaged, format!("{}: {error}", directory.journal().display())))?;
    let recording = recording(source, &chronicle, &ledger)?;
    let path = market::Path::Nearest;
    let last = recording.prices().last().map_or(Decimal::ZERO, |prices| recording.price(prices[3]));
    let fee = chronicle.trader.as_ref().map_or(Decimal::ZERO, |trader| trader.parameters.fee_rate);
    let alarm = ledger.alarm();
    let end = End { time: ledger.time, price: last, ledger };
    let summary = Summary::new(&end, &chronicle.course, &recording, path, fee);
    let mut figures = summary.figures();
    figures["type"] = "journal".into();
    figures["state_dir"] = directory.path().display().to_string().into();
    figures["is_complete"] = history.is_complete.into();
    let shown = RunSource::Journal(report::Journal {
        directory: directory.path().display().to_string(),
        files: history.files,
        candles: source.candles.as_deref().map(name_of),
        alarm,
    });
    let report = Report::new(shown, (&chronicle, &end), (&recording, path), (&summary, &figures));
    Ok((report.page(), figures))
}

fn of_sweep(file: &Path) -> Result<(String, Value), Failure> {
    let wrong = |error: ResultsFileError| match error {
        ResultsFileError::Io(path, error) => {
            Failure::new(Exit::Configuration, format!("{}: cannot be read: {error}", path.display()))
        }
        error => error.into(),
    };
    let mut reader = Reader::open(file).map_err(wrong)?;
    let head = reader.head.clone();
    let results = std::iter::from_fn(|| reader.next_result().transpose());
    let report = SweepReport::new(head, results).map_err(wrong)?;
    Ok((report.page(&name_of(file)), report.figures()))
}

/// The candles of the time in which the journal was written, or those that its fills make.
fn recording(source: &JournalSource, chronicle: &Chronicle, ledger: &Ledger) -> Result<Recording, Failure> {
    let tick_size = ledger.instrument.as_ref().map_or(Decimal::new(1, 2), |instrument| instrument.tick_size);
    let Some(file) = &source.candles else { return Ok(prices::of_fills(chronicle.fills(), tick_size)) };
    let wrong = |error: &dyn std::fmt::Display| Failure::new(Exit::Configuration, error);
    let whole = Recording::read(file, tick_size).map_err(|error| wrong(&error))?;
    let began = chronicle.began.unwrap_or(ledger.time);
    // The minute in which it began has begun before.
    let minute = Timestamp(began.0 - began.0.rem_euclid(60_000));
    let before = whole.starts().partition_point(|start| *start < minute);
    let until = whole.starts().partition_point(|start| *start <= ledger.time);
    let (part, _) = whole.split(until);
    let (_, part) = part.split(before);
    if part.is_empty() && chronicle.began.is_some() {
        return Err(wrong(&format!(
            "{}: holds no candle between {began} and {}, when the journal was written: give the candles of that time",
            file.display(),
            ledger.time
        )));
    }
    Ok(part)
}

/// A page may be shown to others: it names the file, not where it lies.
fn name_of(file: &Path) -> String {
    file.file_name().map_or_else(|| file.display().to_string(), |name| name.to_string_lossy().into_owned())
}
