//! `recompra sweep`: many backtests over one market, and the best of them; `recompra sweep merge`: the parts of one joined.
//!
//! In: candles, the strategy's parameters, axes. Out: the file of results ([`crate::sweep`] has its format), and a table of
//! the best sets, or one JSON object. A file that is there already is gone on with if it is of this very sweep.

use std::num::NonZeroUsize;
use std::path::Path;

use super::{load_or_example, market, obstacle_failure};
use crate::backtest::Obstacle;
use crate::command_line::{Shown, Sweep as Options, SweepMerge, SweepRun};
use crate::config::{self, Config, Variations};
use crate::core::Timestamp;
use crate::core::money::text;
use crate::core::parameters::Parameters;
use crate::exit::{Exit, Failure};
use crate::progress::Progress;
use crate::sweep::in_order::in_order;
use crate::sweep::market::{MarketHead, split_place};
use crate::sweep::measures::Measure;
use crate::sweep::ranking::Ranking;
use crate::sweep::reader::Joined;
use crate::sweep::results::{FORMAT, Head, ResultsFileError, SetResult};
use crate::sweep::space::{Axis, Shard, Space};
use crate::sweep::writer::Writer;
use crate::sweep::{InvalidParameters, Sweep, shown};

impl From<ResultsFileError> for Failure {
    fn from(error: ResultsFileError) -> Self {
        let code = match &error {
            ResultsFileError::Io(..) => Exit::State,
            ResultsFileError::Busy(_) => Exit::Locked,
            ResultsFileError::Wrong(..) => Exit::Configuration,
        };
        Self::new(code, error)
    }
}

/// `recompra sweep` and `recompra sweep merge`.
///
/// # Errors
/// [`Failure`] when the command line, the configuration, the candles or a file of results are wrong, or every set was
/// refused.
pub fn sweep(options: &Options) -> Result<(), Failure> {
    match options {
        Options::Run(options) => run(options),
        Options::Merge(options) => merge(options),
    }
}

fn mistake(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::CommandLine, error)
}

fn merge(options: &SweepMerge) -> Result<(), Failure> {
    let mut ranking = Ranking::new(Measure::named(&options.shown.rank).map_err(mistake)?, options.shown.top);
    let mut joined = Joined::open(&options.files)?;
    let mut writer = options.out.as_ref().map(|out| Writer::create(out, &joined.head)).transpose()?;
    while let Some(line) = joined.next_result()? {
        if let Some(writer) = &mut writer {
            writer.append(&line)?;
        }
        ranking.add(line);
    }
    show(&joined.head, &ranking, &options.shown)
}

/// Prints the ranking.
fn show(head: &Head, ranking: &Ranking, wanted: &Shown) -> Result<(), Failure> {
    super::show(wanted.json, || shown::json(head, ranking), || shown::text(head, ranking))?;
    if ranking.results == 0 && !ranking.refused.is_empty() {
        return Err(Failure::new(Exit::Configuration, "every set was refused: change the axes or the configuration"));
    }
    Ok(())
}

fn run(options: &SweepRun) -> Result<(), Failure> {
    let space = space(options)?;
    let shard = options.shard.as_deref().map(Shard::parse).transpose().map_err(mistake)?;
    if shard.is_some() && options.out.is_none() {
        return Err(mistake("--shard needs --out FILE: what a part finds is joined with the others by sweep merge"));
    }
    let mut ranking = Ranking::new(Measure::named(&options.shown.rank).map_err(mistake)?, options.shown.top);
    let (config, variations) = configuration(options.config.as_deref())?;
    let assumed = &options.assumptions;
    let listing = market::slipping(&config.parameters.symbol, assumed.slippage);
    let recording = market::recording(&options.market, &listing, options.no_cache)?;
    let split = options.split.as_deref().map(|split| split_place(split, &recording)).transpose().map_err(mistake)?;
    let head = Head {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        market: MarketHead::new(&options.market, &recording),
        parameters: serde_json::to_value(&config.parameters).map_err(|error| Failure::new(Exit::Bug, error))?,
        axes: space.axes().to_vec(),
        sample: space.sample(),
        sets: space.sets(),
        split: split.and_then(|at| recording.starts().get(at)).map(Timestamp::to_string),
        path: assumed.path.name().to_owned(),
        slippage: text(assumed.slippage),
        fee_maker: text(assumed.fee_maker),
        fee_taker: text(assumed.fee_taker),
        shard,
    };
    let (in_sample, out_of_sample) = match split {
        None => (recording, None),
        Some(at) => {
            let (first, second) = recording.split(at);
            (first, Some(second))
        }
    };
    let sweep = Sweep {
        space: &space,
        in_sample: &in_sample,
        out_of_sample: out_of_sample.as_ref(),
        path: market::order(assumed.path),
        bot: &config.bot,
        taker_fee: assumed.fee_taker,
        read: &|changes| read(&variations, changes),
        exchange: &|parameters| market::backtest_exchange(parameters, listing.clone(), assumed),
    };
    try_sets(&sweep, &head, options, &mut ranking)?;
    show(&head, &ranking, &options.shown)
}

/// Runs every set that the file of results does not have yet.
fn try_sets(sweep: &Sweep<'_>, head: &Head, options: &SweepRun, ranking: &mut Ranking) -> Result<(), Failure> {
    let mut writer = None;
    let mut done = 0;
    if let Some(out) = &options.out {
        let (opened, known) = Writer::open(out, head, |line| ranking.add(line))?;
        (writer, done) = (Some(opened), known);
    }
    // What a bot would tell while it trades, thousands would tell at once.
    log::set_max_level(log::max_level().min(log::LevelFilter::Error));
    let threads = options.threads.or(std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get);
    let first = done;
    let mut progress = Progress::new(first, head.sets_here());
    let work = |place| sweep.line(head.number(place));
    let take = |line: Result<SetResult, Obstacle>| -> Result<(), Failure> {
        let line = line.map_err(obstacle_failure)?;
        if let Some(writer) = &mut writer {
            writer.append(&line)?;
        }
        ranking.add(line);
        done += 1;
        progress.show(done, &format!("{done} of {} sets", head.sets_here()));
        Ok(())
    };
    in_order(first..head.sets_here(), threads, work, take)
}

fn space(options: &SweepRun) -> Result<Space, Failure> {
    let axes = options.set.iter().map(|text| Axis::parse(text).map_err(|wrong| format!("--set {wrong}")));
    let axes = axes.collect::<Result<Vec<_>, _>>().map_err(mistake)?;
    for Axis { key, .. } in &axes {
        Variations::knows(key).map_err(|wrong| mistake(format!("--set {wrong}")))?;
        if key == "symbol" {
            return Err(mistake("--set symbol: the candles are those of one symbol, sweep each by itself"));
        }
    }
    Space::new(axes, options.sample.map(|sets| (sets, options.seed)))
        .map_err(|wrong| mistake(format!("--set: {wrong}")))
}

/// The configuration, and the same to be varied.
fn configuration(path: Option<&Path>) -> Result<(Config, Variations), Failure> {
    let config = load_or_example(path)?;
    let Some(path) = path else { return Ok((config, Variations::of(config::EXAMPLE))) };
    let unreadable = |error| Failure::new(Exit::Configuration, format!("{}: {error}", path.display()));
    Ok((config, Variations::of(&std::fs::read_to_string(path).map_err(unreadable)?)))
}

fn read(variations: &Variations, changes: &[(&str, &str)]) -> Result<Parameters, InvalidParameters> {
    variations.with(changes).map_err(|problem| {
        let key = problem.key.strip_prefix("strategy.").unwrap_or(&problem.key).to_owned();
        InvalidParameters { key, reason: problem.message }
    })
}
