//! `recompra fetch`: one-minute candles from Bybit's public endpoint, into the CSV that `backtest` reads.
//!
//! In: a symbol and a stretch of time. Out: the file of [`crate::download`], and what is missing in it. What was fetched
//! stays whatever goes wrong, and the same command goes on from there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::bybit::transport::{HttpLimits, HttpTransport};
use crate::bybit::{Client, Environment, ExchangeClock, Hosts, Tls};
use crate::command_line;
use crate::download::{CandleFile, Download, Fetched};
use crate::exit::{Exit, Failure};
use crate::narrator::moment;
use crate::output;

/// Gaps that are told one by one.
const MOST_GAPS: usize = 20;

/// `recompra fetch`.
///
/// # Errors
/// [`Failure`] when the file cannot be used or the exchange cannot be asked.
pub fn fetch(options: &command_line::Fetch) -> Result<(), Failure> {
    let path = options.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}-1m.csv", options.symbol)));
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || flag.store(true, Ordering::SeqCst))
        .map_err(|error| Failure::new(Exit::Bug, format!("signals cannot be handled: {error}")))?;
    let wrong = |error: String| Failure::new(Exit::CommandLine, error);
    let hosts = Hosts::new(Environment::Mainnet, options.rest_url.as_deref(), None, None)
        .map_err(|error| wrong(format!("--rest-url: {error}")))?;
    let tls = Tls::build(None).map_err(|error| Failure::new(Exit::Configuration, error))?;
    let clock = ExchangeClock::new(Arc::clone(&stop));
    let transport = HttpTransport::new(&hosts.rest_url, &tls, HttpLimits::default());
    let client = Client::new(transport, clock.clone(), &options.symbol, None);
    let mut download = Download { client, clock, stop };
    if options.from.is_none() && !path.exists() {
        return Err(wrong(format!("{}: a new file needs --from, for example --from 2024-01-01", path.display())));
    }
    // An unknown symbol or a host that is not there must not leave an empty file behind.
    let until = download.until(options.to)?;
    let mut file = CandleFile::open(&path)?;
    let from = file.go_on_from(options.from)?;
    let fetched = download.fetch(&mut file, from, until);
    file.sync()?;
    let go_on = |failure: Failure| {
        let rest = format!("{} keeps what was fetched: the same command goes on from there", path.display());
        Failure::new(failure.code, format!("{}\n{rest}", failure.message))
    };
    tell(options, &path, &file, &fetched.map_err(go_on)?)
}

fn tell(options: &command_line::Fetch, path: &Path, file: &CandleFile, fetched: &Fetched) -> Result<(), Failure> {
    let missing: i64 = fetched.gaps.iter().map(|gap| gap.minutes()).sum();
    if options.json {
        let gaps: Vec<_> = fetched
            .gaps
            .iter()
            .map(|gap| json!({ "from": gap.from.to_string(), "to": gap.to.to_string(), "minutes": gap.minutes() }))
            .collect();
        let told = json!({
            "type": "fetch",
            "file": path.display().to_string(),
            "symbol": options.symbol,
            "candles": fetched.candles,
            "first": file.first.map(|first| first.to_string()),
            "last": file.last.map(|last| last.to_string()),
            "missing_minutes": missing,
            "gaps": gaps,
        });
        return output::print(&format!("{told}\n"));
    }
    let span = match (file.first, file.last) {
        (Some(first), Some(last)) => format!("; the file holds {} to {}", moment(first), moment(last)),
        _ => "; the file holds none".to_owned(),
    };
    let candles = if fetched.candles == 1 { "candle" } else { "candles" };
    let mut text = format!("{}: {} {candles} of {} fetched{span}\n", path.display(), fetched.candles, options.symbol);
    for gap in fetched.gaps.iter().take(MOST_GAPS) {
        text += &format!("  missing: {} minutes from {} until {}\n", gap.minutes(), moment(gap.from), moment(gap.to));
    }
    if fetched.gaps.len() > MOST_GAPS {
        text += &format!(
            "  and {} more gaps (--json lists all); {missing} minutes are missing in all\n",
            fetched.gaps.len() - MOST_GAPS
        );
    }
    output::print(&text)
}
