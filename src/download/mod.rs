//! One-minute candles from the exchange into a file that only grows.
//!
//! In: a stretch of time, and the file ([`CandleFile`]). Out: the candles in the file, and the [`Gap`]s among them. Only
//! candles that are closed are taken. The exchange is asked page after page, a thousand minutes each; a stretch before the
//! first trade is passed over by asking for days.
//!
//! What can go wrong: the exchange cannot be reached, or says no. What was fetched before stays, and the next download goes
//! on from there.

mod file;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use self::file::CandleFile;
use crate::bybit::transport::HttpTransport;
use crate::bybit::{Client, ExchangeClock, Interval, KLINES_A_PAGE, Kline};
use crate::core::Timestamp;
use crate::engine::ports::{Clock as _, Fault, FaultKind};
use crate::exit::{Exit, Failure};
use crate::narrator::moment;
use crate::progress::Progress;

const MINUTE: i64 = 60_000;
/// A candle counts as closed so long after its end: the last trades of a minute may be told late.
const SETTLED: Duration = Duration::from_secs(5);
/// How many times a question is asked until there is an answer.
const ATTEMPTS: u32 = 5;
/// The first wait before that; each further one is twice as long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Minutes that the exchange has no candle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first minute that is missing.
    pub from: Timestamp,
    /// The first minute that is there again.
    pub to: Timestamp,
}

impl Gap {
    /// How many minutes are missing.
    pub fn minutes(self) -> i64 {
        (self.to.0 - self.from.0) / MINUTE
    }
}

/// What came of it.
pub struct Fetched {
    /// How many candles.
    pub candles: u64,
    /// What the exchange has no candle of.
    pub gaps: Vec<Gap>,
}

/// The exchange, and the patience to ask it.
pub struct Download {
    /// Asks the exchange.
    pub client: Client<HttpTransport>,
    /// Paces the questions.
    pub clock: ExchangeClock,
    /// Ends the download at the next page.
    pub stop: Arc<AtomicBool>,
}

impl Download {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Asks until there is an answer, a few times.
    ///
    /// # Errors
    /// [`Failure`] when there is none, or the exchange says no.
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
    ///
    /// # Errors
    /// [`Failure`] when the exchange cannot be asked, or does not know the symbol: it is asked for a candle too.
    pub fn until(&mut self, to: Option<Timestamp>) -> Result<Timestamp, Failure> {
        let now = self.ask(Client::server_time)?.exchange.before(SETTLED);
        let until = to.map_or(now, |to| to.min(now));
        let until = Timestamp(until.0 - until.0.rem_euclid(MINUTE));
        self.ask(|client| client.klines(Interval::Minute, until.before(Interval::Minute.length())).map(drop))?;
        Ok(until)
    }

    /// Appends the candles from one moment until another to a file, or those before `stop` was set.
    ///
    /// # Errors
    /// [`Failure`] when the exchange cannot be asked or the file cannot be written; what was fetched before stays in it.
    pub fn fetch(&mut self, file: &mut CandleFile, from: Timestamp, until: Timestamp) -> Result<Fetched, Failure> {
        let mut fetched = Fetched { candles: 0, gaps: Vec::new() };
        let minutes = |to: Timestamp| u64::try_from((to.0 - from.0) / MINUTE).unwrap_or(0);
        let mut progress = Progress::new(0, minutes(until));
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
            let now = next.min(until);
            progress.show(minutes(now), &format!("{}  {} candles", moment(now), fetched.candles));
        }
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

#[cfg(test)]
mod tests {
    use super::file::tests::klines;
    use super::*;

    fn gaps(present: &[i64], begin: i64, until: i64) -> Vec<(i64, i64)> {
        let at = |minute: i64| Timestamp(minute * MINUTE);
        let klines = klines(present.iter().copied());
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
