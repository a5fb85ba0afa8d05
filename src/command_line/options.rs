//! The options that commands share, and how their values are read.

use std::path::PathBuf;

use bpaf::{Parser, construct, long, short};

use super::{Assumptions, CandlePath, Market, MarketOptions};
use crate::core::money;
use crate::core::{Decimal, Timestamp};

/// `-v` and `-q`, each as often as wanted.
pub(super) fn verbosity() -> impl Parser<i32> {
    let count = |flag: bpaf::parsers::NamedArg| flag.req_flag(()).many().map(|given| given.len());
    let verbose = count(short('v').long("verbose").help("Say more on standard error; twice for everything"));
    let quiet = count(short('q').long("quiet").help("Warnings and errors only; twice for errors only"));
    construct!(verbose, quiet).map(|(verbose, quiet)| {
        let times = |count| i32::try_from(count).unwrap_or(i32::MAX);
        times(verbose) - times(quiet)
    })
}

/// `--config FILE`, by default `recompra.toml` here.
pub(super) fn config() -> impl Parser<PathBuf> {
    long("config")
        .short('c')
        .help("The configuration")
        .argument::<PathBuf>("FILE")
        .complete_shell(files("*.toml"))
        .fallback(PathBuf::from("recompra.toml"))
        .format_fallback(|path, f| write!(f, "{}", path.display()))
}

/// `--config FILE`, without a default.
pub(super) fn other_config(help: &'static str) -> impl Parser<Option<PathBuf>> {
    long("config").short('c').help(help).argument::<PathBuf>("FILE").complete_shell(files("*.toml")).optional()
}

/// `--state-dir DIR`.
pub(super) fn state_dir() -> impl Parser<Option<PathBuf>> {
    long("state-dir")
        .help("Read this state directory, without a configuration")
        .argument::<PathBuf>("DIR")
        .complete_shell(bpaf::ShellComp::Dir { mask: None })
        .optional()
}

/// `--market FILE`: recorded candles.
pub(super) fn recorded() -> impl Parser<PathBuf> {
    long("market")
        .help("Candles as CSV, also .gz: Bybit's kline archives, or timestamp,open,high,low,close,volume")
        .argument::<PathBuf>("FILE")
        .complete_shell(files("*.csv*"))
}

/// `--path`, `--slippage`, `--fee-maker`, `--fee-taker`.
pub(super) fn assumptions(maker_help: &'static str, taker_help: &'static str) -> impl Parser<Assumptions> {
    let path = path();
    let slippage = slippage();
    let fee_maker = fee("fee-maker", maker_help);
    let fee_taker = fee("fee-taker", taker_help);
    construct!(Assumptions { path, slippage, fee_maker, fee_taker })
}

/// `--path PATH`, by default `nearest`.
fn path() -> impl Parser<CandlePath> {
    long("path")
        .help("What came first in a minute: nearest (to the open), pessimistic (the high) or optimistic (the low)")
        .argument::<String>("PATH")
        .parse(|word| {
            let known = [CandlePath::Nearest, CandlePath::Pessimistic, CandlePath::Optimistic];
            known.into_iter().find(|path| path.name() == word).ok_or("must be nearest, pessimistic or optimistic")
        })
        .fallback(CandlePath::Nearest)
        .format_fallback(|_, f| f.write_str("nearest"))
}

/// `--slippage PERCENT`, by default none.
fn slippage() -> impl Parser<Decimal> {
    long("slippage")
        .help("By how many per cent market orders trade worse than the best price")
        .argument::<String>("PERCENT")
        .parse(decimal)
        .guard(|percent| (Decimal::ZERO..=Decimal::TEN).contains(percent), "must be from 0 to 10")
        .fallback(Decimal::ZERO)
        .display_fallback()
}

/// `--no-cache`.
pub(super) fn no_cache() -> impl Parser<bool> {
    long("no-cache").help("Keep no faster copy beside the candles, and use none").switch()
}

/// A fee, by default Bybit's usual 0.1 %.
pub(super) fn fee(name: &'static str, help: &'static str) -> impl Parser<Decimal> {
    let most = Decimal::new(1, 1);
    long(name)
        .help(help)
        .argument::<String>("RATE")
        .parse(decimal)
        .guard(move |rate| *rate >= -most && *rate <= most, "must be a fraction from -0.1 to 0.1")
        .fallback(Decimal::new(1, 3))
        .display_fallback()
}

/// `--json`.
pub(super) fn json(help: &'static str) -> impl Parser<bool> {
    long("json").help(help).switch()
}

/// `--market`, `--speed`, `--seed`, `--public-stream`: the market of the simulated exchange.
pub(super) fn market() -> impl Parser<MarketOptions> {
    let market = long("market")
        .help("random: a random walk; live: Bybit's public prices, no key needed; FILE: candles as CSV, also .gz")
        .argument::<PathBuf>("random|live|FILE")
        .map(|word| match word.to_str() {
            Some("random") => Market::Random,
            Some("live") => Market::Live,
            _ => Market::File(word),
        })
        .complete_shell(files("*.csv*"))
        .fallback(Market::Random)
        .format_fallback(|_, f| f.write_str("random"));
    let speed = long("speed")
        .help("Market seconds that pass in one second, 1 to 1000000")
        .argument::<u32>("X")
        .guard(|speed| (1..=1_000_000).contains(speed), "must be a whole number from 1 to 1000000")
        .optional();
    let seed =
        long("seed").help("Decides the random walk: the same seed, the same prices").argument::<u64>("N").optional();
    let public_stream = long("public-stream")
        .help("Take the live market from this stream instead of Bybit's, for example a regional one")
        .argument::<String>("URL")
        .optional();
    construct!(MarketOptions { market, speed, seed, public_stream }).parse(|options: MarketOptions| {
        match options.speed {
            Some(speed) if speed != 1 && options.market == Market::Live => Err("the live market runs at speed 1"),
            _ if options.public_stream.is_some() && options.market != Market::Live => {
                Err("--public-stream goes with --market live")
            }
            _ => Ok(options),
        }
    })
}

/// Files for the shell to complete.
pub(super) fn files(mask: &'static str) -> bpaf::ShellComp {
    bpaf::ShellComp::File { mask: Some(mask) }
}

/// A decimal of the command line, read exactly.
pub(super) fn decimal(text: String) -> Result<Decimal, String> {
    money::parse(&text).map_err(|reason| format!("{text:?} is {reason}"))
}

/// A moment of the command line, in UTC: a date, or a date and a time.
pub(super) fn moment(text: String) -> Result<Timestamp, String> {
    let refused =
        || format!("{text:?} is no moment: allowed are 2022-01-31, 2022-01-31T23:59 and 2022-01-31T23:59:00Z");
    let whole = match text.len() {
        10 => format!("{text}T00:00:00"),
        16 => format!("{text}:00"),
        _ => text.clone(),
    };
    Timestamp::of_date(&whole).ok_or_else(refused)
}
