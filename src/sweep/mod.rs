//! Many backtests over one market: which parameters would have done best, and whether that means anything.
//!
//! In: a recording, axes of parameters ([`space`]), the rules of the runs. Out: a file of results, one JSON object a line
//! ([`results`]), and the best of them ([`ranking`]). Each set of parameters is one backtest, or two when the market is
//! split: the sets are ranked by what they did in the first part, and the second, which no choice has seen, shows how much
//! of that was luck.
//!
//! The sets have numbers from 0, and a number alone says which parameters it stands for. So a sweep can be cut in shards
//! that run anywhere, a run that was ended goes on where it stopped, and the parts joined are, byte for byte, the file that
//! one run writes: results stand in it in the order of their numbers, however many threads found them.
//!
//! # The file of results
//!
//! One JSON object a line. Amounts, prices, percentages and ratios are decimals in quotes, in quote coin where they are
//! money; counts and seconds are numbers; moments are RFC 3339 in UTC. Programs should pass over fields that they do not
//! know.
//!
//! The first line says what was swept:
//!
//! ```json
//! {"type":"sweep","format":1,"version":"0.1.0",
//!  "market":{"file":"btc.csv.gz","digest":"sha256:…","candles":44640,"from":"…","to":"…"},
//!  "parameters":{"symbol":"BTCUSDT","…":"…"},
//!  "axes":[{"key":"rebuy_step_percent","values":["0.5","0.75","1"]},{"key":"max_rebuys","values":["3","5"]}],
//!  "sample":null, "sets":6,
//!  "split":"2022-01-21T21:00:00.000Z",
//!  "path":"nearest","slippage":"0","fee_maker":"0.001","fee_taker":"0.001",
//!  "shard":null}
//! ```
//!
//! `parameters` is what holds where no axis says otherwise, as the journal has it. `sample` is `{"of":6000,"seed":1}` when
//! `sets` were drawn out of so many. `split` is the first moment of the second part, or null. `shard` is
//! `{"index":1,"of":4}` in a part, whose sets are those with `number % of == index - 1`.
//!
//! Then one line for each set, in the order of the numbers. `parameters` has the axes' keys alone, with values as in `axes`:
//!
//! ```json
//! {"type":"result","set":0,"parameters":{"rebuy_step_percent":"0.5","max_rebuys":"3"},
//!  "in_sample":{"from":"…","to":"…","cycles":41,"executions":130,
//!   "profit":"20.5","profit_percent":"10.25","equity":"18.2","equity_percent":"9.1",
//!   "most_bound":"200","drawdown":"7.9","drawdown_percent":"3.95",
//!   "profit_per_drawdown":"2.5949","equity_per_drawdown":"2.3038",
//!   "under_water_seconds":86400,"longest_cycle_seconds":43200,"buy_and_hold":"-34.1"},
//!  "out_of_sample":{"…":"as in_sample"}}
//! {"type":"refused","set":1,"parameters":{"…":"…"},"key":"max_capital","reason":"rebuy 5: the ladder costs …"}
//! ```
//!
//! `profit` is that of closed cycles after fees; `equity` adds what is still held, at the last price. Percentages are of
//! `most_bound`. The two ratios are null where there was no drawdown. Without a split `out_of_sample` is null. A set is
//! refused where its parameters are wrong together or its ladder breaks a rule of the exchange; `key` is the parameter that
//! the reason is about, or `ladder`.
//!
//! A last line that is torn, because the run was ended while it was written, does not count.

pub mod in_order;
pub mod market;
pub mod measures;
pub mod ranking;
pub mod reader;
pub mod results;
pub mod shown;
pub mod space;
pub mod writer;

use crate::backtest::course::Course;
use crate::backtest::summary::Summary;
use crate::backtest::{self, Obstacle};
use crate::core::Decimal;
use crate::core::order::BotName;
use crate::core::parameters::Parameters;
use crate::engine::Failure;
use crate::simulation::Exchange;
use crate::simulation::market::{Path, Recording};
use measures::Measures;
#[cfg(test)]
pub(crate) use results::tests::{head, measures};
use results::{SetOutcome, SetResult};
use space::Space;

/// Why values of the axes are not valid parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidParameters {
    /// The parameter that the reason is about.
    pub key: String,
    /// Why.
    pub reason: String,
}

/// Turns values of the axes into parameters, or says why they are not valid.
pub type Read<'a> = &'a (dyn Fn(&[(&str, &str)]) -> Result<Parameters, InvalidParameters> + Sync);

/// What all backtests of a sweep have in common.
pub struct Sweep<'a> {
    /// The sets.
    pub space: &'a Space,
    /// The market, or its first part.
    pub in_sample: &'a Recording,
    /// Its second part, if it is split.
    pub out_of_sample: Option<&'a Recording>,
    /// Which of a candle's high and low came first.
    pub path: Path,
    /// The bot's name.
    pub bot: &'a BotName,
    /// What a market order pays, a fraction.
    pub taker_fee: Decimal,
    /// What parameters may be.
    pub read: Read<'a>,
    /// An exchange on which nothing has happened, with money enough for the parameters.
    pub exchange: &'a (dyn Fn(&Parameters) -> Exchange + Sync),
}

impl Sweep<'_> {
    /// What comes of one set.
    ///
    /// # Errors
    /// [`Obstacle`]: something that has nothing to do with the parameters.
    pub fn line(&self, number: u64) -> Result<SetResult, Obstacle> {
        let set = self.space.set(number);
        let parameters = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let outcome = match (self.read)(&set) {
            Ok(parameters) => self.trade(&parameters)?,
            Err(InvalidParameters { key, reason }) => SetOutcome::Refused { key, reason },
        };
        Ok(SetResult { set: number, parameters, outcome })
    }

    fn trade(&self, parameters: &Parameters) -> Result<SetOutcome, Obstacle> {
        let traded = self.backtest(self.in_sample, parameters).and_then(|in_sample| {
            let out_of_sample = self.out_of_sample.map(|part| self.backtest(part, parameters)).transpose()?;
            Ok(SetOutcome::Result { in_sample, out_of_sample })
        });
        match traded {
            Err(Obstacle::Engine(Failure::Ladder(error))) => {
                Ok(SetOutcome::Refused { key: "ladder".to_owned(), reason: error.to_string() })
            }
            other => other,
        }
    }

    fn backtest(&self, part: &Recording, parameters: &Parameters) -> Result<Box<Measures>, Obstacle> {
        let mut course = Course::default();
        let exchange = (self.exchange)(parameters);
        let end = backtest::run(exchange, part.play(self.path), self.bot, parameters, &mut course)?;
        Ok(Box::new(Measures::from(&Summary::new(&end, &course, part, self.path, self.taker_fee))))
    }
}
