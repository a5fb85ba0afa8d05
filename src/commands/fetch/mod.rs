//! `recompra fetch`: one-minute candles from Bybit's public endpoint, into the CSV that `backtest` reads.
//!
//! In: a symbol and a stretch of time. Out: a file that goes on where it ended, and what is missing in it. Only candles
//! that are closed are taken. The exchange is asked page after page, a thousand minutes each; a stretch before the first
//! trade is passed over by asking for days.
//!
//! What can go wrong: the exchange cannot be reached, or says no; what was fetched before stays, and the same command goes
//! on from there.

mod file;
mod progress;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use self::file::CandleFile;
use self::progress::Progress;
use crate::bybit::transport::{HttpLimits, HttpTransport};
use crate::bybit::{Client, Environment, ExchangeClock, Hosts, Interval, KLINES_A_PAGE, Kline, Tls};
use crate::command_line;
use crate::core::Timestamp;
use crate::engine::ports::{Clock as _, Fault, FaultKind};
use crate::exit::{Exit, Failure};
use crate::narrator::moment;

const MINUTE: i64 = 60_000;
/// A candle counts as closed so long after its end: the last trades of a minute may be told late.
const SETTLED: Duration = Duration::from_secs(5);
/// So often a question is asked again that brought no answer.
const ATTEMPTS: u32 = 5;
/// The first wait before that; each further one is twice as long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Gaps that are told one by one.
const MOST_GAPS: usize = 20;

/// Minutes that the exchange has no candle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    from: Timestamp,
    /// The first minute that is there again.
    to: Timestamp,
}

impl Gap {
    fn minutes(self) -> i64 {
        (self.to.0 - self.from.0) / MINUTE
    }
}

/// What came of it.
struct Fetched {
    candles: u64,
    gaps: Vec<Gap>,
}

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
    let mut asking = Asking { client: Client::new(transport, clock.clone(), &options.symbol, None), clock, stop };
    if options.from.is_none() && !path.exists() {
        return Err(wrong(format!("{}: a new file needs --from, for example --from 2024-01-01", path.display())));
    }
    // An unknown symbol or a host that is not there must not leave an empty file behind.
    let until = asking.until(options.to)?;
    asking.ask(|client| client.klines(Interval::Minute, until.before(Interval::Minute.length())).map(drop))?;
    let mut file = CandleFile::open(&path)?;
    let from = begin(&file, options.from, &path)?;
    let fetched = asking.fetch(&mut file, from, until);
    file.sync()?;
    let go_on = |failure: Failure| {
        let rest = format!("{} keeps what was fetched: the same command goes on from there", path.display());
        Failure::new(failure.code, format!("{}\n{rest}", failure.message))
    };
    tell(options, &path, &file, &fetched.map_err(go_on)?);
    Ok(())
}

/// Where to go on.
fn begin(file: &CandleFile, from: Option<Timestamp>, path: &Path) -> Result<Timestamp, Failure> {
    match (file.last, from) {
        (Some(last), from) => {
            if let (Some(first), Some(from)) = (file.first, from)
                && from < first
            {
                log::warn!(
                    "{} begins at {}, and only grows at its end: for what was before give another --output",
                    path.display(),
                    moment(first)
                );
            }
            // A later --from would leave a hole.
            Ok(Timestamp(last.0 + MINUTE))
        }
        (None, Some(from)) => Ok(from),
        (None, None) => {
            let message = format!("{}: holds no candle yet, so --from is needed", path.display());
            Err(Failure::new(Exit::CommandLine, message))
        }
    }
}

/// The exchange, and the patience to ask it.
struct Asking {
    client: Client<HttpTransport>,
    clock: ExchangeClock,
    stop: Arc<AtomicBool>,
}

impl Asking {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Asks until there is an answer, a few times.
    fn ask<A>(
        &mut self,
        mut question: impl FnMut(&mut Client<HttpTransport>) -> Result<A, Fault>,
    ) -> Result<A, Failure> {
        let mut attempt = 1;
        loop {
            let fault = match question(&mut self.client) {
                Ok(answer) => return Ok(answer),
                Err(fault) => fault,
            };
            let wait = match fault.kind {
                FaultKind::RateLimited { until } => until.since(self.clock.now()).max(PATIENCE),
                FaultKind::Unreachable | FaultKind::Unknown | FaultKind::Malformed | FaultKind::Busy => {
                    PATIENCE * 2_u32.pow(attempt - 1)
                }
                FaultKind::Refused | FaultKind::ConfigurationRefused => {
                    return Err(Failure::new(Exit::CommandLine, format!("{fault}; check --symbol")));
                }
                _ => return Err(fault.into()),
            };
            if attempt == ATTEMPTS || self.is_stopped() {
                return Err(fault.into());
            }
            log::warn!("{fault}; asking again in {} s", wait.as_secs());
            self.clock.sleep(wait);
            attempt += 1;
        }
    }

    /// The first minute that is not fetched: that of `--to`, or the one that is not over yet by the exchange's clock.
    fn until(&mut self, to: Option<Timestamp>) -> Result<Timestamp, Failure> {
        let now = self.ask(Client::server_time)?.exchange.before(SETTLED);
        let until = to.map_or(now, |to| to.min(now));
        Ok(Timestamp(until.0 - until.0.rem_euclid(MINUTE)))
    }

    fn fetch(&mut self, file: &mut CandleFile, from: Timestamp, until: Timestamp) -> Result<Fetched, Failure> {
        let mut fetched = Fetched { candles: 0, gaps: Vec::new() };
        let progress = Progress::new(from, until);
        // A moment within a minute: that minute is not asked for in part.
        let mut next = Timestamp(from.0 + (-from.0).rem_euclid(MINUTE));
        while next < until && !self.is_stopped() {
            let klines = self.ask(|client| client.klines(Interval::Minute, next))?;
            let klines: Vec<Kline> = klines.into_iter().take_while(|kline| kline.start < until).collect();
            let begin = next;
            fetched.gaps_of(&klines, begin, until);
            fetched.candles += klines.len() as u64;
            file.append(&klines)?;
            next = Timestamp(next.0 + KLINES_A_PAGE * MINUTE);
            if klines.is_empty() {
                next = self.first_traded(next)?.min(until);
                fetched.missing(begin, next);
            }
            progress.show(next.min(until), fetched.candles);
        }
        progress.end();
        Ok(fetched)
    }

    /// The first moment, from here on, of a day that has a candle: a page was empty, and a thousand more may be.
    fn first_traded(&mut self, from: Timestamp) -> Result<Timestamp, Failure> {
        let day = i64::try_from(Interval::Day.length().as_millis()).unwrap_or(i64::MAX);
        let midnight = Timestamp(from.0 - from.0.rem_euclid(day));
        let days = self.ask(|client| client.klines(Interval::Day, midnight))?;
        let after = Timestamp(midnight.0.saturating_add(day * KLINES_A_PAGE));
        Ok(days.first().map_or(after, |first| first.start).max(from))
    }
}

impl Fetched {
    /// Notes what is missing before, between and behind the candles of a page.
    fn gaps_of(&mut self, klines: &[Kline], begin: Timestamp, until: Timestamp) {
        let mut expected = begin;
        for kline in klines {
            self.missing(expected, kline.start);
            expected = Timestamp(kline.start.0 + MINUTE);
        }
        if !klines.is_empty() {
            self.missing(expected, Timestamp(begin.0 + KLINES_A_PAGE * MINUTE).min(until));
        }
    }

    /// No candle from one moment until another; one gap with the last if it goes on from there.
    fn missing(&mut self, from: Timestamp, to: Timestamp) {
        if from >= to {
            return;
        }
        match self.gaps.last_mut().filter(|last| last.to == from) {
            Some(last) => last.to = to,
            None => self.gaps.push(Gap { from, to }),
        }
    }
}

fn tell(options: &command_line::Fetch, path: &Path, file: &CandleFile, fetched: &Fetched) {
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
        println!("{told}");
        return;
    }
    let span = match (file.first, file.last) {
        (Some(first), Some(last)) => format!("; the file holds {} to {}", moment(first), moment(last)),
        _ => "; the file holds none".to_owned(),
    };
    let candles = if fetched.candles == 1 { "candle" } else { "candles" };
    println!("{}: {} {candles} of {} fetched{span}", path.display(), fetched.candles, options.symbol);
    for gap in fetched.gaps.iter().take(MOST_GAPS) {
        println!("  missing: {} minutes from {} until {}", gap.minutes(), moment(gap.from), moment(gap.to));
    }
    if fetched.gaps.len() > MOST_GAPS {
        println!(
            "  and {} more gaps (--json lists all); {missing} minutes are missing in all",
            fetched.gaps.len() - MOST_GAPS
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Decimal;

    fn gaps(present: &[i64], begin: i64, until: i64) -> Vec<(i64, i64)> {
        let at = |minute: i64| Timestamp(minute * MINUTE);
        let kline = |minute: i64| Kline {
            start: at(minute),
            open: Decimal::ONE,
            high: Decimal::ONE,
            low: Decimal::ONE,
            close: Decimal::ONE,
            volume: "0".to_owned(),
            turnover: "0".to_owned(),
        };
        let klines: Vec<Kline> = present.iter().map(|minute| kline(*minute)).collect();
        let mut fetched = Fetched { candles: 0, gaps: Vec::new() };
        fetched.gaps_of(&klines, at(begin), at(until));
        fetched.gaps.iter().map(|gap| (gap.from.0 / MINUTE, gap.to.0 / MINUTE)).collect()
    }

    #[test]
    fn what_is_missing_before_between_and_behind_candles_is_named() {
        assert_eq!(gaps(&[3, 4, 7], 0, 10), [(0, 3), (5, 7), (8, 10)]);
        assert_eq!(gaps(&[0, 1, 2], 0, 3), []);
        // Behind the page nothing was asked for.
        assert_eq!(gaps(&[0], 0, 5000), [(1, 1000)]);
    }

    #[test]
    fn a_gap_over_two_pages_is_one() {
        let mut fetched = Fetched { candles: 0, gaps: Vec::new() };
        for (from, to) in [(0, 10), (10, 12), (13, 13), (20, 21)] {
            fetched.missing(Timestamp(from), Timestamp(to));
        }
        assert_eq!(
            fetched.gaps,
            [Gap { from: Timestamp(0), to: Timestamp(12) }, Gap { from: Timestamp(20), to: Timestamp(21) }]
        );
    }
}
