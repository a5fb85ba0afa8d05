//! The command line: words in, a [`CommandLine`] out, or what to print instead and with which exit code.
//!
//! The grammar is also the data for help, shell completion and man page. Nothing is done here: the commands open the
//! files and use the numbers.

mod commands;
mod fetch;
mod options;
mod report;
mod sweep;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use bpaf::{Args, OptionParser, ParseFailure, Parser, construct};

use crate::core::Decimal;
use crate::exit::Exit;
pub use fetch::Fetch;
pub use report::{JournalSource, Report, Subject};
pub use sweep::{Shown, Sweep, SweepMerge, SweepRun};

/// What the user asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// How often `-v` was given, less how often `-q` was.
    pub verbosity: i32,
    /// What to do.
    pub command: Command,
}

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The whole bot against the exchange inside the binary.
    Paper(Paper),
    /// Trade on the configured environment.
    Run(Run),
    /// Show the ladder.
    Plan(Plan),
    /// Check everything, place nothing.
    Doctor(Doctor),
    /// What is held, resting, earned.
    Status(Inspect),
    /// Why each resting order exists.
    Explain(Inspect),
    /// Journal against exchange.
    Audit(Audit),
    /// End a running bot and its orders.
    Stop(Stop),
    /// Clear the alarms.
    Resume(Resume),
    /// The bot over recorded candles.
    Backtest(Backtest),
    /// A page about a backtest or a journal.
    Report(Report),
    /// Candles from Bybit into a file.
    Fetch(Fetch),
    /// Many backtests.
    Sweep(Sweep),
    /// The simulated exchange alone.
    Exchange(Exchange),
}

/// Where the simulated exchange's prices come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Market {
    /// A random walk from the seed.
    Random,
    /// Bybit's public spot stream.
    Live,
    /// Recorded candles, a CSV file, plain or gzip.
    File(PathBuf),
}

/// The market of the simulated exchange, and how it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarketOptions {
    /// Where prices come from.
    pub market: Market,
    /// Seconds of market time a second; `None` leaves it to the command. Always `None` or 1 for the live market.
    pub speed: Option<u32>,
    /// Decides the random walk; `None` leaves it to the command.
    pub seed: Option<u64>,
    /// Where the live market is read from; `None` is Bybit.
    pub public_stream: Option<String>,
}

/// `recompra paper`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paper {
    /// End after this many cycles; `None` leaves it to the command.
    pub cycles: Option<u64>,
    /// The market.
    pub market: MarketOptions,
    /// The strategy's parameters; without it, the built-in example's.
    pub config: Option<PathBuf>,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// `recompra run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The configuration file.
    pub config: PathBuf,
    /// Whether `mainnet` is meant.
    pub real_money: bool,
    /// Silent and successful if another instance is already running.
    pub cron: bool,
    /// Cancel the bot's own orders when it is ended by a signal.
    pub cancel_on_exit: bool,
    /// One JSON object a line instead of text.
    pub json: bool,
}

/// `recompra plan`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The configuration file.
    pub config: PathBuf,
    /// The base order's price; without it, the exchange is asked.
    pub price: Option<Decimal>,
    /// One JSON object instead of the table.
    pub json: bool,
}

/// `recompra doctor`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doctor {
    /// The configuration file.
    pub config: PathBuf,
    /// Play money to ask for on demo, in quote coin.
    pub demo_money: Option<Decimal>,
    /// One JSON object instead of text.
    pub json: bool,
}

/// `recompra status` and `recompra explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspect {
    /// The configuration file; not read when `state_dir` is given.
    pub config: PathBuf,
    /// The state directory to read, without any configuration.
    pub state_dir: Option<PathBuf>,
    /// One JSON object instead of text.
    pub json: bool,
}

/// `recompra audit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The configuration file.
    pub config: PathBuf,
    /// What the account held before the bot's first trade, by coin.
    pub opening: Vec<(String, Decimal)>,
    /// One JSON object instead of text.
    pub json: bool,
}

/// `recompra stop`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The configuration file.
    pub config: PathBuf,
    /// Also sell what is held, at market.
    pub close: bool,
    /// One JSON object instead of text.
    pub json: bool,
}

/// `recompra resume`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The configuration file.
    pub config: PathBuf,
    /// Whether the person has looked where money was lost.
    pub yes: bool,
    /// One JSON object instead of text.
    pub json: bool,
}

/// What is assumed of a candle: which of its high and low came first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandlePath {
    /// The one nearer to the open.
    Nearest,
    /// The high: against a bot that buys low.
    Pessimistic,
    /// The low: for it.
    Optimistic,
}

impl CandlePath {
    /// What the user writes for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nearest => "nearest",
            Self::Pessimistic => "pessimistic",
            Self::Optimistic => "optimistic",
        }
    }
}

/// What a backtest assumes of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumptions {
    /// What is assumed of each candle.
    pub path: CandlePath,
    /// By how many per cent market orders trade worse than the best price.
    pub slippage: Decimal,
    /// The maker's fee, a fraction.
    pub fee_maker: Decimal,
    /// The taker's fee, a fraction.
    pub fee_taker: Decimal,
}

/// `recompra backtest`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backtest {
    /// The candles.
    pub market: PathBuf,
    /// The strategy's parameters; without it, the built-in example's.
    pub config: Option<PathBuf>,
    /// What is assumed of the exchange.
    pub assumptions: Assumptions,
    /// Where every fill is written as CSV.
    pub trades: Option<PathBuf>,
    /// Read the candles themselves, and keep no faster copy of them.
    pub no_cache: bool,
    /// One JSON object instead of the table.
    pub json: bool,
}

/// `recompra exchange`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The market.
    pub market: MarketOptions,
    /// The one symbol that is traded.
    pub symbol: String,
    /// The maker's fee, a fraction.
    pub fee_maker: Decimal,
    /// The taker's fee, a fraction.
    pub fee_taker: Decimal,
    /// Certificate chain and private key (PEM); with them it speaks TLS.
    pub tls: Option<Tls>,
    /// The API key it accepts.
    pub key: String,
    /// The secret that signs for it. Play money: no secret worth hiding.
    pub secret: String,
}

/// The files of a TLS server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
}

/// What to print instead of doing anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Help, version or completion: to standard output, and the exit code is 0.
    Information(String),
    /// The command line is wrong: to standard error, and the exit code is 64.
    Mistake(String),
}

impl Answer {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Information(_) => Exit::Finished,
            Self::Mistake(_) => Exit::CommandLine,
        }
    }
}

/// Reads the words after the program's name.
///
/// # Errors
/// [`Answer`]: what to print instead.
pub fn parse(words: &[OsString]) -> Result<CommandLine, Answer> {
    parser().run_inner(Args::from(words).set_name("recompra")).map_err(|failure| match failure {
        ParseFailure::Stdout(text, _) => {
            let text = text.monochrome(true);
            Answer::Information(match text.strip_prefix("Version: ") {
                Some(version) => format!("recompra {version}"),
                None => text,
            })
        }
        ParseFailure::Completion(text) => Answer::Information(text),
        ParseFailure::Stderr(text) => {
            let text = text.monochrome(true);
            Answer::Mistake(format!("recompra: {}\n\n{}\n", text.trim_end(), usage(words)))
        }
    })
}

/// The whole grammar.
pub fn parser() -> OptionParser<CommandLine> {
    let verbosity = options::verbosity();
    let command = commands::command();
    construct!(CommandLine { verbosity, command })
        .to_options()
        .version(env!("CARGO_PKG_VERSION"))
        .descr("A rebuy bot for Bybit spot: it buys, sells at a profit, and rebuys below when the price falls.")
        .footer(
            "Start with `recompra paper`: it needs no file, no key and no money. `recompra COMMAND --help` explains a \
             command; -v and -q work with each.",
        )
}

/// The usage of the command among the words, or of the program.
fn usage(words: &[OsString]) -> String {
    let named = words.iter().find(|word| word.to_str().is_some_and(|word| commands::NAMES.contains(&word)));
    let help = |words: &[OsString]| match parser().run_inner(Args::from(words).set_name("recompra")) {
        Err(ParseFailure::Stdout(text, _)) => text.monochrome(true),
        _ => String::new(),
    };
    let asked: Vec<OsString> = named.cloned().into_iter().chain([OsString::from("--help")]).collect();
    let text = help(&asked);
    let lines = text.lines().skip_while(|line| !line.starts_with("Usage:")).take_while(|line| !line.is_empty());
    let usage = lines.collect::<Vec<_>>().join("\n");
    match named.and_then(|name| name.to_str()) {
        Some(name) => format!("{usage}\n`recompra {name} --help` explains it."),
        None => format!("{usage}\n`recompra --help` lists the commands."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Timestamp;

    fn read(line: &str) -> Result<CommandLine, Answer> {
        parse(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    fn command(line: &str) -> Command {
        read(line).unwrap().command
    }

    fn mistake(line: &str) -> String {
        match read(line) {
            Err(Answer::Mistake(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn information(line: &str) -> String {
        match read(line) {
            Err(Answer::Information(text)) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn the_grammar_has_no_contradictions() {
        parser().check_invariants(true);
    }

    #[test]
    fn every_command_needs_no_option() {
        let config = PathBuf::from("recompra.toml");
        let market = MarketOptions { market: Market::Random, speed: None, seed: None, public_stream: None };
        let rate = Decimal::new(1, 3);
        for (line, expected) in [
            ("paper", Command::Paper(Paper { cycles: None, market: market.clone(), config: None, json: false })),
            ("plan", Command::Plan(Plan { config: config.clone(), price: None, json: false })),
            ("doctor", Command::Doctor(Doctor { config: config.clone(), demo_money: None, json: false })),
            (
                "run",
                Command::Run(Run {
                    config: config.clone(),
                    real_money: false,
                    cron: false,
                    cancel_on_exit: false,
                    json: false,
                }),
            ),
            ("status", Command::Status(Inspect { config: config.clone(), state_dir: None, json: false })),
            ("explain", Command::Explain(Inspect { config: config.clone(), state_dir: None, json: false })),
            ("audit", Command::Audit(Audit { config: config.clone(), opening: Vec::new(), json: false })),
            ("stop", Command::Stop(Stop { config: config.clone(), close: false, json: false })),
            ("resume", Command::Resume(Resume { config: config.clone(), yes: false, json: false })),
            (
                "report",
                Command::Report(Report {
                    subject: Subject::Journal(JournalSource { config, state_dir: None, candles: None }),
                    output: "report.html".into(),
                    json: false,
                }),
            ),
            (
                "fetch",
                Command::Fetch(Fetch {
                    symbol: "BTCUSDT".into(),
                    from: None,
                    to: None,
                    output: None,
                    rest_url: None,
                    json: false,
                }),
            ),
            (
                "exchange",
                Command::Exchange(Exchange {
                    listen: ([127, 0, 0, 1], 8080).into(),
                    market,
                    symbol: "BTCUSDT".into(),
                    fee_maker: rate,
                    fee_taker: rate,
                    tls: None,
                    key: "paper".into(),
                    secret: "paper".into(),
                }),
            ),
        ] {
            assert_eq!(read(line), Ok(CommandLine { verbosity: 0, command: expected }), "{line}");
        }
    }

    #[test]
    fn every_option_reaches_its_field() {
        let Command::Paper(paper) = command("paper --cycles 3 --speed 100000 --market a.csv.gz --seed 7 -c x --json")
        else {
            panic!("not paper")
        };
        assert_eq!((paper.cycles, paper.market.speed, paper.market.seed), (Some(3), Some(100_000), Some(7)));
        assert_eq!(paper.market.market, Market::File("a.csv.gz".into()));
        assert_eq!((paper.config, paper.json), (Some("x".into()), true));
        let Command::Run(run) = command("run --config y --real-money --cron --cancel-on-exit --json") else {
            panic!("not run")
        };
        assert_eq!(run.config, PathBuf::from("y"));
        assert!(run.real_money && run.cron && run.cancel_on_exit && run.json);
        assert!(matches!(command("plan --price 60000.1"), Command::Plan(Plan { price: Some(price), .. })
            if price == Decimal::new(600_001, 1)));
        assert!(matches!(command("stop --close --json"), Command::Stop(Stop { close: true, json: true, .. })));
        assert!(matches!(command("resume --yes --json"), Command::Resume(Resume { yes: true, json: true, .. })));
        let Command::Report(report) = command("report --market m.csv -c x --path optimistic -o y --json") else {
            panic!("not report")
        };
        assert_eq!((report.output, report.json), ("y".into(), true));
        let Subject::Backtest(backtest) = report.subject else { panic!("not a backtest") };
        assert_eq!(backtest.assumptions.path, CandlePath::Optimistic);
        let line = "fetch --symbol ETHUSDT --from 2022-01-01 --to 2022-01-31T12:00 -o e.csv --rest-url u --json";
        let Command::Fetch(fetch) = command(line) else { panic!("not fetch") };
        assert_eq!((fetch.symbol.as_str(), fetch.output, fetch.json), ("ETHUSDT", Some("e.csv".into()), true));
        assert_eq!(fetch.from, Some(Timestamp(1_640_995_200_000)));
        assert_eq!(fetch.to, Some(Timestamp(1_643_630_400_000)));
        let Command::Audit(audit) = command("audit --opening USDT=1000 --opening BTC=0.5") else { panic!("not audit") };
        assert_eq!(audit.opening, [("USDT".to_owned(), Decimal::from(1000)), ("BTC".to_owned(), Decimal::new(5, 1))]);
        assert!(matches!(command("status --state-dir d"), Command::Status(Inspect { state_dir: Some(_), .. })));
        let line = "exchange --listen [::1]:0 --market live --symbol ETHUSDT --fee-maker=-0.0001 --fee-taker 0.002 \
                    --tls-cert c --tls-key k --key a --secret b";
        let Command::Exchange(exchange) = command(line) else { panic!("not exchange") };
        assert_eq!((exchange.listen.port(), exchange.market.market), (0, Market::Live));
        assert_eq!((exchange.fee_maker, exchange.fee_taker), (Decimal::new(-1, 4), Decimal::new(2, 3)));
        assert_eq!(exchange.tls, Some(Tls { certificate: "c".into(), key: "k".into() }));
        assert_eq!((exchange.symbol.as_str(), exchange.key.as_str(), exchange.secret.as_str()), ("ETHUSDT", "a", "b"));
    }

    #[test]
    fn verbosity_counts_before_and_after_the_command() {
        assert_eq!(read("-v status -vv").unwrap().verbosity, 3);
        assert_eq!(read("status -q").unwrap().verbosity, -1);
        assert_eq!(read("-v status --quiet").unwrap().verbosity, 0);
    }

    #[test]
    fn a_wrong_command_line_is_told_with_the_usage_and_64() {
        for (line, word) in [
            ("", "expected"),
            ("paly", "did you mean `plan`"),
            ("paper --cylces 3", "did you mean `--cycles`"),
            ("paper --cycles 0", "at least 1"),
            ("paper --speed 0", "1 to 1000000"),
            ("paper --seed x", "x"),
            ("paper --market live --speed 3", "the live market runs at speed 1"),
            ("plan --price 1e3", "not a plain decimal"),
            ("plan --price 0", "above 0"),
            ("exchange --listen somewhere", "somewhere"),
            ("exchange --tls-cert c", "--tls-key"),
            ("exchange --fee-maker 10", "must be a fraction"),
            ("run extra", "extra"),
            ("audit --opening 1000", "COIN=AMOUNT"),
            ("audit --opening USDT=1e3", "not a plain decimal"),
            ("report --market a.csv --state-dir d", "--candles"),
            ("report --market a.csv --candles b.csv", "--candles goes with a journal"),
            ("fetch --from yesterday", "2022-01-31"),
            ("fetch --from 2022-01-02 --to 2022-01-01", "before --to"),
            ("fetch --symbol btc/usdt", "letters and digits"),
            ("report --sweep r.jsonl --market a.csv", "--sweep stands alone"),
            ("report --json --output -", "standard output"),
        ] {
            let text = mistake(line);
            assert!(text.starts_with("recompra: ") && text.contains("\nUsage: recompra"), "{line}: {text}");
            assert!(text.contains(word), "{line}: {text}");
            assert_eq!(read(line).unwrap_err().exit(), Exit::CommandLine);
        }
        assert!(mistake("plan --price 0").contains("Usage: recompra plan "));
    }

    #[test]
    fn every_command_is_listed_and_explained_with_an_example() {
        let all = information("--help");
        for name in commands::NAMES {
            assert!(all.contains(&format!("    {name} ")), "{name} in {all}");
            let help = information(&format!("{name} --help"));
            assert!(help.contains(&format!("Usage: recompra {name}")), "{help}");
            let example = help.lines().find(|line| line.trim_start().starts_with(&format!("recompra {name}")));
            let words = example.unwrap_or_else(|| panic!("no example in {help}")).split_whitespace().skip(1);
            let words: Vec<OsString> = words.map(OsString::from).collect();
            assert!(parse(&words).is_ok(), "the example of {name} is no valid command line: {words:?}");
        }
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        assert_eq!(information("--version"), format!("recompra {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(read("--help").unwrap_err().exit(), Exit::Finished);
    }
}
