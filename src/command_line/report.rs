//! What `recompra report` takes.

use std::path::{Path, PathBuf};

use bpaf::{OptionParser, Parser, construct, long};

use super::options::{assumptions, files, json, no_cache, other_config, recorded, state_dir};
use super::{Assumptions, Backtest};

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

/// What `report` is given: with candles it is about a backtest, else about a journal.
struct ReportWords {
    market: Option<PathBuf>,
    config: Option<PathBuf>,
    assumptions: Assumptions,
    no_cache: bool,
    state_dir: Option<PathBuf>,
    candles: Option<PathBuf>,
    sweep: Option<PathBuf>,
    output: PathBuf,
    json: bool,
}

pub(super) fn report() -> OptionParser<Report> {
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
    let output = long("output")
        .short('o')
        .help("Where the page is written; - is standard output")
        .argument::<PathBuf>("FILE")
        .complete_shell(files("*.html"))
        .fallback(PathBuf::from("report.html"))
        .format_fallback(|path, f| write!(f, "{}", path.display()));
    let json = json("Print the figures as one JSON object");
    construct!(ReportWords {
        market,
        config,
        assumptions,
        no_cache,
        state_dir,
        candles,
        sweep,
        output,
        json
    })
    .parse(about)
    .to_options()
    .descr("One page of HTML with figures and plots: of a bot's journal, with --market of a backtest, with --sweep of a sweep")
    .footer("Example:\n   recompra report --market btc-1m-2022-01.csv.gz --output january.html\n What a bot did:\n   recompra report --config recompra.toml")
}

fn about(words: ReportWords) -> Result<Report, &'static str> {
    let ReportWords { market, config, assumptions, no_cache, state_dir, candles, sweep, output, json } = words;
    if json && output == Path::new("-") {
        return Err("--json and --output - would both go to standard output");
    }
    if let Some(sweep) = sweep {
        if market.is_some() || state_dir.is_some() || candles.is_some() || config.is_some() {
            return Err("--sweep stands alone: its file says what was swept");
        }
        return Ok(Report { subject: Subject::Sweep(sweep), output, json });
    }
    let subject = match market {
        Some(_) if state_dir.is_some() => {
            return Err(
                "--market is for a backtest, --state-dir for a journal; for prices between a journal's fills give --candles",
            );
        }
        Some(_) if candles.is_some() => return Err("--candles goes with a journal; a backtest has those of --market"),
        Some(market) => {
            Subject::Backtest(Backtest { market, config, assumptions, trades: None, no_cache, json: false })
        }
        None => {
            let config = config.unwrap_or_else(|| PathBuf::from("recompra.toml"));
            Subject::Journal(JournalSource { config, state_dir, candles })
        }
    };
    Ok(Report { subject, output, json })
}
