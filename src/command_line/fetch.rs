//! What `recompra fetch` takes.

use std::path::PathBuf;

use bpaf::{OptionParser, Parser, construct, long};

use super::options::{files, json, moment};
use crate::core::Timestamp;

/// `recompra fetch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// The symbol.
    pub symbol: String,
    /// The first candle's moment; a file that is there goes on from its end.
    pub from: Option<Timestamp>,
    /// Candles from this moment on are not fetched; `None` is now.
    pub to: Option<Timestamp>,
    /// The file; without it, named after the symbol.
    pub output: Option<PathBuf>,
    /// Another host than Bybit's.
    pub rest_url: Option<String>,
    /// One JSON object instead of text.
    pub json: bool,
}

pub(super) fn fetch() -> OptionParser<Fetch> {
    let symbol = long("symbol")
        .help("The symbol")
        .argument::<String>("SYMBOL")
        .guard(
            |symbol| {
                !symbol.is_empty() && symbol.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
            },
            "must be capital letters and digits, such as BTCUSDT",
        )
        .fallback("BTCUSDT".to_owned())
        .display_fallback();
    let from = long("from")
        .help("The first candle's moment, UTC; needed for a new file, for one that is there goes on from its end")
        .argument::<String>("DATE")
        .parse(moment)
        .optional();
    let to = long("to")
        .help("Up to this moment, UTC; candles from then on are left out; default now")
        .argument::<String>("DATE")
        .parse(moment)
        .optional();
    let output = long("output")
        .short('o')
        .help("The file; default SYMBOL-1m.csv")
        .argument::<PathBuf>("FILE")
        .complete_shell(files("*.csv"))
        .optional();
    let rest_url = long("rest-url")
        .help("Ask this host instead of Bybit's, for example a regional one")
        .argument::<String>("URL")
        .optional();
    let json = json("One JSON object instead of text");
    construct!(Fetch { symbol, from, to, output, rest_url, json })
        .guard(|fetch| fetch.from.zip(fetch.to).is_none_or(|(from, to)| from < to), "--from must be before --to")
        .to_options()
        .descr("One-minute candles from Bybit's public endpoint, as CSV that backtest reads; goes on where it stopped")
        .footer("Example:\n   recompra fetch --symbol BTCUSDT --from 2024-01-01 --output btc.csv\n It needs no key.")
}
