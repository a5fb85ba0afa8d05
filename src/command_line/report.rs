//! What `recompra report` takes.

use std::path::{Path, PathBuf};

use bpaf::{OptionParser, Parser, construct, long};

use super::Backtest;
use super::options::{assumptions, files, json, no_cache, other_config, recorded, state_dir};

/// `recompra report`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is about.
    pub subject: Subject,
    /// Where the page is written; `-` is standard output.
    pub output: PathBuf,
    /// Print the figures as one JSON object.
    pub json: bool,
}

/// What a report is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A backtest, which is run for it.
    Backtest(Backtest),
    /// A bot's journal.
    Journal(JournalSource),
    /// The file of results that a sweep left.
    Sweep(PathBuf),
}

/// Where a journal is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalSource {
    /// The configuration file; not read when `state_dir` is given.
    pub config: PathBuf,
    /// The state directory to read, without any configuration.
    pub state_dir: Option<PathBuf>,
    /// Candles that show the prices between fills.
    pub candles: Option<PathBuf>,
}

pub(super) fn report() -> OptionParser<Report> {
    let subject = subject();
    let output = long("output")
        .short('o')
        .help("Where the page is written; - is standard output")
        .argument::<PathBuf>("FILE")
        .complete_shell(files("*.html"))
        .fallback(PathBuf::from("report.html"))
        .format_fallback(|path, f| write!(f, "{}", path.display()));
    let json = json("Print the figures as one JSON object");
    construct!(Report { subject, output, json })
        .parse(|report: Report| match report.json && report.output == Path::new("-") {
            true => Err("--json and --output - would both go to standard output"),
            false => Ok(report),
        })
        .to_options()
        .descr("One page of HTML with figures and plots: of a bot's journal, with --market of a backtest, with --sweep of a sweep")
        .footer("Example:\n   recompra report --market btc-1m-2022-01.csv.gz --output january.html\n What a bot did:\n   recompra report --config recompra.toml")
}

/// With candles it is a backtest, else a journal.
fn subject() -> impl Parser<Subject> {
    let market = recorded().optional();
    let config = other_config(
        "The configuration: whose journal, or with --market by which parameters; default recompra.toml, or with \
               --market the built-in example",
    );
    let assumptions = assumptions(
        "Fee of resting orders in a backtest, a fraction",
        "Fee of orders that take in a backtest, a fraction",
    );
    let no_cache = no_cache();
    let state_dir = state_dir();
    let candles = long("candles")
        .help("For a journal: candles that show the prices between its fills")
        .argument::<PathBuf>("FILE")
        .complete_shell(files("*.csv*"))
        .optional();
    let sweep = long("sweep")
        .help("The file of results that a sweep left: a heat map, and whether what was best lasted")
        .argument::<PathBuf>("FILE")
        .complete_shell(files("*.jsonl"))
        .optional();
    construct!(market, config, assumptions, no_cache, state_dir, candles, sweep).parse(
        |(market, config, assumptions, no_cache, state_dir, candles, sweep)| match (sweep, market) {
            (Some(sweep), None) if state_dir.is_none() && candles.is_none() && config.is_none() => {
                Ok(Subject::Sweep(sweep))
            }
            (Some(_), _) => Err("--sweep stands alone: its file says what was swept"),
            (None, Some(_)) if state_dir.is_some() => Err(
                "--market is for a backtest, --state-dir for a journal; for prices between a journal's fills give --candles",
            ),
            (None, Some(_)) if candles.is_some() => {
                Err("--candles goes with a journal; a backtest has those of --market")
            }
            (None, Some(market)) => {
                Ok(Subject::Backtest(Backtest { market, config, assumptions, trades: None, no_cache, json: false }))
            }
            (None, None) => {
                let config = config.unwrap_or_else(|| PathBuf::from("recompra.toml"));
                Ok(Subject::Journal(JournalSource { config, state_dir, candles }))
            }
        },
    )
}
