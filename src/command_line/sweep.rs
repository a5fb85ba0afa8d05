//! What `recompra sweep` takes.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use bpaf::{OptionParser, Parser, construct, long, positional};

use super::Assumptions;
use super::options::{assumptions, files, json, no_cache, other_config, recorded};

/// `recompra sweep`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Many backtests.
    Run(Box<SweepRun>),
    /// Joins the parts of one sweep.
    Merge(SweepMerge),
}

/// Many backtests over one market.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepRun {
    /// The candles.
    pub market: PathBuf,
    /// The parameters that are not swept; without it, the built-in example's.
    pub config: Option<PathBuf>,
    /// `KEY=FROM..TO/STEP` or `KEY=A,B,C`, one for each parameter.
    pub set: Vec<String>,
    /// Only this many sets, drawn from all.
    pub sample: Option<u64>,
    /// Decides which are drawn.
    pub seed: u64,
    /// Where the second part begins: `70%` or a date.
    pub split: Option<String>,
    /// Only this part of the sweep, `I/N`.
    pub shard: Option<String>,
    /// The file of results.
    pub out: Option<PathBuf>,
    /// How many threads; by default one for each core.
    pub threads: Option<NonZeroUsize>,
    /// What is assumed of the exchange.
    pub assumptions: Assumptions,
    /// Keep no faster copy beside the candles.
    pub no_cache: bool,
    /// How the sets are shown.
    pub shown: Shown,
}

/// Joins the parts of one sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepMerge {
    /// The parts.
    pub files: Vec<PathBuf>,
    /// Where they are joined; must not be there yet.
    pub out: Option<PathBuf>,
    /// How the sets are shown.
    pub shown: Shown,
}

/// How sets are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The measure that ranks them.
    pub rank: String,
    /// How many.
    pub top: usize,
    /// One JSON object instead of a table.
    pub json: bool,
}

/// Its grammar.
pub(super) fn sweep() -> OptionParser<Sweep> {
    let merge = merge().command("merge").map(Sweep::Merge);
    let run = run().map(|run| Sweep::Run(Box::new(run)));
    construct!([merge, run])
        .to_options()
        .descr("Many backtests over recorded candles: which parameters would have done best, and whether by luck")
        .footer(
            "Example:\n   recompra sweep --market candles.csv.gz --set rebuy_step_percent=0.5..3/0.25 --split 70%\n On \
             four machines, then joined:\n   recompra sweep … --shard 1/4 --out part1.jsonl\n   recompra sweep merge \
             part*.jsonl --out sweep.jsonl",
        )
}

fn run() -> impl Parser<SweepRun> {
    let market = recorded();
    let config = other_config("Take the other parameters from this file instead of the built-in example");
    let set = long("set")
        .help("Values to try for a parameter; given for several, every combination is tried")
        .argument::<String>("KEY=FROM..TO/STEP|A,B,C")
        .some("a sweep needs --set KEY=FROM..TO/STEP at least once, for example --set rebuy_step_percent=0.5..3/0.25");
    let sample = long("sample")
        .help("Try only so many of the combinations, drawn by the seed")
        .argument::<u64>("N")
        .guard(|sets| *sets > 0, "must be at least 1")
        .optional();
    let seed = long("seed").help("Decides which are drawn").argument::<u64>("S").fallback(1).display_fallback();
    let split = long("split")
        .help("Rank by what is before this, and show what is after it beside: 70% of the candles, or a date")
        .argument::<String>("PERCENT|DATE")
        .optional();
    let shard = long("shard").help("Only the I-th of N parts of the sweep").argument::<String>("I/N").optional();
    let out = out("Keep each result in this file; a run that was ended goes on where it stopped");
    let threads =
        long("threads").help("How many threads; default one for each core").argument::<NonZeroUsize>("N").optional();
    let assumptions = assumptions("Fee of resting orders, a fraction", "Fee of orders that take, a fraction");
    let no_cache = no_cache();
    let shown = shown();
    construct!(SweepRun { market, config, set, sample, seed, split, shard, out, threads, assumptions, no_cache, shown })
}

fn merge() -> OptionParser<SweepMerge> {
    let out = out("Join the parts in this file, which must not be there yet");
    let shown = shown();
    let files = positional::<PathBuf>("FILE")
        .help("The parts, or one whole file to show it again")
        .some("merge needs the files of the parts");
    construct!(SweepMerge { out, shown, files })
        .to_options()
        .descr("Join the parts that --shard made of one sweep, and show the best sets")
        .footer("Example:\n   recompra sweep merge part*.jsonl --out sweep.jsonl")
}

fn out(help: &'static str) -> impl Parser<Option<PathBuf>> {
    long("out").help(help).argument::<PathBuf>("FILE").complete_shell(files("*.jsonl")).optional()
}

fn shown() -> impl Parser<Shown> {
    let rank = long("rank")
        .help(
            "What sets are ranked by: equity, profit, equity_percent, profit_percent, equity_per_drawdown, \
             profit_per_drawdown or drawdown",
        )
        .argument::<String>("MEASURE")
        .fallback("equity".to_owned())
        .display_fallback();
    let top = long("top")
        .help("Show so many of the best sets")
        .argument::<usize>("K")
        .guard(|top| (1..=10_000).contains(top), "must be a whole number from 1 to 10000")
        .fallback(10)
        .display_fallback();
    let json = json("One JSON object instead of the table");
    construct!(Shown { rank, top, json })
}
