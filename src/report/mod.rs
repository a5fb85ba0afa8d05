//! The report: one page of HTML that says what a bot did, or would have done, and shows it.
//!
//! ```text
//!  records, from a backtest or a journal ──▶ chronicle ─┐
//!  candles, or the prices of the fills ─────▶ series ───┼──▶ figures, market, cycles, settings ──▶ page
//!  the backtest's own summary ──────────────────────────┘                  plot
//! ```
//!
//! A sweep has a page of its own ([`sweep`]).
//!
//! In: what a run recorded, and the summary that `backtest` prints. Out: a page that needs nothing else: no script, no font
//! and no picture from elsewhere, light or dark as the reader likes, fit for a phone and for paper. The same input gives
//! the same bytes. The figures are also in it as JSON (`<script type="application/json" id="figures">`).
//!
//! Nothing can go wrong here: what is missing is left out, and an empty run is told as one.

pub mod calendar;
pub mod chronicle;
mod cycles;
mod figures;
pub mod html;
mod market;
mod page;
pub mod plot;
pub mod prices;
pub mod series;
mod settings;
pub mod sweep;
pub mod words;

use serde_json::Value;

use self::chronicle::Chronicle;
use crate::backtest::End;
use crate::backtest::summary::Summary;
use crate::core::money::Decimal;
use crate::simulation::market::{Path, Recording};

/// Where a run comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunSource {
    /// Recorded candles.
    Backtest(Backtest),
    /// What a bot wrote down.
    Journal(Journal),
}

/// What a backtest was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backtest {
    /// The candles' file, as it was given.
    pub market: String,
    /// How many candles.
    pub candles: usize,
    /// What is assumed of high and low, as a sentence without its full stop.
    pub assumed: &'static str,
    /// The maker's fee, a fraction.
    pub maker_fee: Decimal,
    /// The taker's fee, a fraction.
    pub taker_fee: Decimal,
    /// By how many per cent market orders trade worse than the best price.
    pub slippage_percent: Decimal,
}

/// Where a journal was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The state directory, as it was given.
    pub directory: String,
    /// How many files were read.
    pub files: usize,
    /// The candles' file that shows the prices between fills, if there is one.
    pub candles: Option<String>,
    /// What no buys are made for, if there is an alarm.
    pub alarm: Option<String>,
}

/// A run, ready to be shown.
#[derive(Clone, Debug)]
pub struct Report<'r> {
    source: RunSource,
    chronicle: &'r Chronicle,
    end: &'r End,
    recording: &'r Recording,
    path: Path,
    summary: &'r Summary,
    figures: &'r Value,
    symbol: String,
    base: String,
    quote: String,
    taker_fee: Decimal,
    /// How many decimals amounts of quote coin are shown with.
    decimals: u32,
}

impl<'r> Report<'r> {
    /// A report on a run. `figures` is what the page holds as JSON; `path` is how the recording was played.
    pub fn new(
        source: RunSource,
        (chronicle, end): (&'r Chronicle, &'r End),
        (recording, path): (&'r Recording, Path),
        (summary, figures): (&'r Summary, &'r Value),
    ) -> Self {
        let instrument = end.ledger.instrument.as_ref();
        let name = |name: Option<&String>| name.cloned().unwrap_or_default();
        let traded = chronicle.trader.as_ref().map(|trader| &trader.parameters);
        let taker_fee = match &source {
            RunSource::Backtest(backtest) => backtest.taker_fee,
            RunSource::Journal(_) => traded.map_or(Decimal::ZERO, |parameters| parameters.fee_rate),
        };
        Self {
            symbol: name(instrument.map(|instrument| &instrument.symbol).or(traded.map(|traded| &traded.symbol))),
            base: name(instrument.map(|instrument| &instrument.base_coin)),
            quote: name(instrument.map(|instrument| &instrument.quote_coin)),
            decimals: words::decimals_for(summary.most_bound),
            source,
            chronicle,
            end,
            recording,
            path,
            summary,
            figures,
            taker_fee,
        }
    }

    /// An amount of quote coin with its sign.
    fn signed(&self, amount: Decimal) -> String {
        words::signed(amount, self.decimals)
    }

    /// Whether prices are known between fills.
    fn has_candles(&self) -> bool {
        match &self.source {
            RunSource::Backtest(_) => true,
            RunSource::Journal(journal) => journal.candles.is_some(),
        }
    }
}
