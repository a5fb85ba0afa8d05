//! `recompra sweep`: many backtests over one market, and the best of them; `recompra sweep merge`: the parts of one joined.
//!
//! In: candles, the strategy's parameters, axes. Out: the file of results ([`crate::sweep`] has its format), and a table of
//! the best sets, or one JSON object. A file that is there already is gone on with if it is of this very sweep.

mod progress;
mod shown;

use std::num::NonZeroUsize;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::trade::exit_of;
use super::{load_or_example, market};
use crate::backtest::Obstacle;
use crate::command_line::{CandlePath, Sweep as Options, SweepMerge, SweepRun};
use crate::config::{self, Config, Variations};
use crate::core::money::{self, text};
use crate::core::parameters::Parameters;
use crate::core::{Decimal, Timestamp};
use crate::exit::{Exit, Failure};
use crate::simulation::market::{Path as CandleOrder, Recording};
use crate::simulation::settings::Listing;
use crate::simulation::{Exchange, Settings};
use crate::sweep::in_order::in_order;
use crate::sweep::measures::Measure;
use crate::sweep::ranking::Ranking;
use crate::sweep::results::{FORMAT, Head, Joined, Line, MarketHead, Trouble, Writer};
use crate::sweep::space::{Axis, Shard, Space};
use crate::sweep::{Refusal, Sweep};
use progress::Progress;

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let code = match &trouble {
            Trouble::Io(..) => Exit::State,
            Trouble::Busy(_) => Exit::Locked,
            Trouble::Wrong(..) => Exit::Configuration,
        };
        Self::new(code, trouble)
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
    shown::show(&joined.head, &ranking, &options.shown)
}

fn run(options: &SweepRun) -> Result<(), Failure> {
    let space = space(options)?;
    let shard = options.shard.as_deref().map(Shard::parse).transpose().map_err(mistake)?;
    if shard.is_some() && options.out.is_none() {
        return Err(mistake("--shard needs --out FILE: what a part finds is joined with the others by sweep merge"));
    }
    let mut ranking = Ranking::new(Measure::named(&options.shown.rank).map_err(mistake)?, options.shown.top);
    let (config, variations) = configuration(options.config.as_deref())?;
    let mut listing = market::listing(&config.parameters.symbol);
    listing.slippage = money::fraction(options.slippage);
    let recording = match options.no_cache {
        true => Recording::read(&options.market, listing.instrument.tick_size),
        false => Recording::open(&options.market, listing.instrument.tick_size),
    };
    let recording = recording.map_err(|error| Failure::new(Exit::Configuration, error))?;
    let split = options.split.as_deref().map(|split| place_of(split, &recording)).transpose().map_err(mistake)?;
    let head = Head {
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        market: market_head(&options.market, &recording),
        parameters: serde_json::to_value(&config.parameters).map_err(|error| Failure::new(Exit::Bug, error))?,
        axes: space.axes().to_vec(),
        sample: space.sample(),
        sets: space.sets(),
        split: split.and_then(|at| recording.starts().get(at)).map(Timestamp::to_string),
        path: path_name(options.path).to_owned(),
        slippage: text(options.slippage),
        fee_maker: text(options.fee_maker),
        fee_taker: text(options.fee_taker),
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
        path: order(options.path),
        bot: &config.bot,
        taker_fee: options.fee_taker,
        read: &|changes| read(&variations, changes),
        exchange: &|parameters| exchange(parameters, &listing, options),
    };
    try_sets(&sweep, &head, options, &mut ranking)?;
    shown::show(&head, &ranking, &options.shown)
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
    let mut progress = Progress::new(done, head.sets_here());
    let work = |place| sweep.line(head.number(place));
    let take = |line: Result<Line, Obstacle>| -> Result<(), Failure> {
        let line = line.map_err(|obstacle| match obstacle {
            Obstacle::Market(error) => Failure::new(Exit::Configuration, error),
            Obstacle::Engine(failure) => exit_of(failure),
        })?;
        if let Some(writer) = &mut writer {
            writer.append(&line)?;
        }
        ranking.add(line);
        progress.step();
        Ok(())
    };
    in_order(done..head.sets_here(), threads, work, take)
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

fn read(variations: &Variations, changes: &[(&str, &str)]) -> Result<Parameters, Refusal> {
    variations.with(changes).map_err(|problem| {
        let key = problem.key.strip_prefix("strategy.").unwrap_or(&problem.key).to_owned();
        Refusal { key, reason: problem.message }
    })
}

fn exchange(parameters: &Parameters, listing: &Listing, options: &SweepRun) -> Exchange {
    let (maker_fee, taker_fee) = (options.fee_maker, options.fee_taker);
    Exchange::new(Settings { maker_fee, taker_fee, ..market::settings(parameters, listing.clone()) })
}

fn market_head(file: &Path, recording: &Recording) -> MarketHead {
    let mut digest = Sha256::new();
    digest.update(text(recording.tick_size()));
    for (start, prices) in recording.starts().iter().zip(recording.prices()) {
        let mut candle = [0; 24];
        candle[..8].copy_from_slice(&start.0.to_le_bytes());
        candle[8..]
            .as_chunks_mut::<4>()
            .0
            .iter_mut()
            .zip(prices)
            .for_each(|(bytes, price)| *bytes = price.to_le_bytes());
        digest.update(candle);
    }
    let moment = |start: Option<&Timestamp>| start.map(Timestamp::to_string).unwrap_or_default();
    MarketHead {
        file: file.display().to_string(),
        digest: format!("sha256:{}", hex::encode(digest.finalize())),
        candles: recording.len() as u64,
        from: moment(recording.starts().first()),
        to: moment(recording.starts().last()),
    }
}

/// The first candle of the second part: after so many per cent of all, or from a date on.
fn place_of(split: &str, recording: &Recording) -> Result<usize, String> {
    let at = match split.strip_suffix('%') {
        Some(percent) => {
            let percent = money::parse(percent).map_err(|wrong| format!("--split {split:?} is {wrong}: write 70%"))?;
            let place = Decimal::from(recording.len()).checked_mul(money::fraction(percent)).unwrap_or_default();
            usize::try_from(place.floor().max(Decimal::ZERO)).unwrap_or(usize::MAX)
        }
        None => {
            let date = if split.len() == 10 { format!("{split} 00:00:00") } else { split.to_owned() };
            let wrong = || format!("--split {split:?}: write 70%, or a date, 2022-01-20 or 2022-01-20T12:00:00Z");
            let moment = Timestamp::of_date(&date).ok_or_else(wrong)?;
            recording.starts().partition_point(|start| *start < moment)
        }
    };
    match at {
        1.. if at < recording.len() => Ok(at),
        _ => Err(format!("--split {split:?} leaves one part without candles: write for example 70%")),
    }
}

fn order(path: CandlePath) -> CandleOrder {
    match path {
        CandlePath::Nearest => CandleOrder::Nearest,
        CandlePath::Pessimistic => CandleOrder::HighFirst,
        CandlePath::Optimistic => CandleOrder::LowFirst,
    }
}

fn path_name(path: CandlePath) -> &'static str {
    match path {
        CandlePath::Nearest => "nearest",
        CandlePath::Pessimistic => "pessimistic",
        CandlePath::Optimistic => "optimistic",
    }
}
