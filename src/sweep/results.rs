//! What a file of results holds: the head, which says what is swept, and what came of each set. The format is in [`super`].
//!
//! [`super::writer`] writes such files and [`super::reader`] reads them. What can go wrong with one is a [`ResultsFileError`].

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::market::MarketHead;
use super::measures::Measures;
use super::space::{Axis, Sample, Shard};

/// Changes when older programs could not read the file any more.
pub const FORMAT: u32 = 1;
/// The first line: what was swept, and by which rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "sweep")]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// The program's version.
    pub version: String,
    /// The candles.
    pub market: MarketHead,
    /// The parameters that hold where no axis says otherwise.
    pub parameters: Value,
    /// The axes.
    pub axes: Vec<Axis>,
    /// Out of how many sets these were drawn, if they were.
    pub sample: Option<Sample>,
    /// How many sets the whole sweep has.
    pub sets: u64,
    /// The first moment of the second part.
    pub split: Option<String>,
    /// `nearest`, `pessimistic` or `optimistic`.
    pub path: String,
    /// Of market orders, in per cent.
    pub slippage: String,
    /// A fraction.
    pub fee_maker: String,
    /// A fraction.
    pub fee_taker: String,
    /// Which part of the sweep this file holds, if not all of it.
    pub shard: Option<Shard>,
}

impl Head {
    /// How many sets this file is to hold.
    pub fn sets_here(&self) -> u64 {
        self.part().sets(self.sets)
    }

    /// The number of the `place`-th line, from 0.
    pub fn number(&self, place: u64) -> u64 {
        self.part().number(place)
    }

    pub(super) fn part(&self) -> Shard {
        self.shard.unwrap_or(Shard { index: 1, of: 1 })
    }

    /// The first thing in which another sweep differs, shards and the name of the candles' file aside.
    pub(super) fn difference(&self, other: &Self) -> Option<&'static str> {
        let (ours, theirs) = (&self.market, &other.market);
        let differs = [
            (self.format != other.format, "the format"),
            (self.version != other.version, "the program's version"),
            (ours.digest != theirs.digest, "the candles"),
            (self.axes != other.axes || self.sample != other.sample || self.sets != other.sets, "what is swept"),
            (self.parameters != other.parameters, "the other parameters"),
            (self.split != other.split, "the split"),
            (self.path != other.path, "--path"),
            (self.slippage != other.slippage, "--slippage"),
            (self.fee_maker != other.fee_maker || self.fee_taker != other.fee_taker, "the fees"),
        ];
        differs.into_iter().find_map(|(differs, what)| differs.then_some(what))
    }
}

/// What came of one set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetResult {
    /// Its number.
    pub set: u64,
    /// The axes' values.
    pub parameters: BTreeMap<String, String>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: SetOutcome,
}

/// What can come of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SetOutcome {
    /// It was traded.
    Result {
        /// Before the split, or all of the market.
        in_sample: Box<Measures>,
        /// After the split.
        out_of_sample: Option<Box<Measures>>,
    },
    /// Its parameters are wrong together, or its ladder breaks a rule of the exchange.
    Refused {
        /// The parameter that the reason is about, or `ladder`.
        key: String,
        /// Why.
        reason: String,
    },
}

/// Why a file of results cannot be used.
#[derive(Debug)]
pub enum ResultsFileError {
    /// It cannot be read or written.
    Io(PathBuf, io::Error),
    /// Another process writes it.
    Busy(PathBuf),
    /// It is not what it should be: what it is, and what to do.
    Wrong(PathBuf, String),
}

impl fmt::Display for ResultsFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Busy(path) => write!(f, "{}: another sweep is writing to it: name another file", path.display()),
            Self::Wrong(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for ResultsFileError {}

/// One object as a line of the file.
pub(super) fn line_of(object: &impl Serialize) -> String {
    let mut line = serde_json::to_string(object).expect("plain data becomes JSON");
    line.push('\n');
    line
}

/// A moment as a file of results has it, cut to its minute: `2022-01-21 21:00`.
pub fn to_the_minute(moment: &str) -> String {
    moment.get(..16).unwrap_or(moment).replacen('T', " ", 1)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::Decimal;
    use crate::sweep::writer::Writer;
    use crate::temporary_folder::TemporaryFolder;
    use std::path::Path;

    /// Measures of this equity and drawdown.
    pub(crate) fn measures(equity: i64, drawdown: i64) -> Measures {
        let (equity, drawdown) = (Decimal::from(equity), Decimal::from(drawdown));
        Measures {
            from: "2022-01-01T00:00:00.000Z".to_owned(),
            to: "2022-01-02T00:00:00.000Z".to_owned(),
            cycles: 1,
            executions: 2,
            profit: equity,
            profit_percent: equity,
            equity,
            equity_percent: equity,
            most_bound: Decimal::ONE_HUNDRED,
            drawdown,
            drawdown_percent: drawdown,
            profit_per_drawdown: equity.checked_div(drawdown),
            equity_per_drawdown: equity.checked_div(drawdown),
            under_water_seconds: 0,
            longest_cycle_seconds: 0,
            buy_and_hold: Decimal::ZERO,
        }
    }

    /// A result of this equity and drawdown.
    pub(in crate::sweep) fn result(set: u64, equity: i64, drawdown: i64) -> SetResult {
        let outcome = SetOutcome::Result { in_sample: Box::new(measures(equity, drawdown)), out_of_sample: None };
        SetResult { set, parameters: BTreeMap::from([("x".to_owned(), set.to_string())]), outcome }
    }

    /// A set that was refused for this parameter.
    pub(in crate::sweep) fn refused(set: u64, key: &str) -> SetResult {
        let outcome = SetOutcome::Refused { key: key.to_owned(), reason: "too much".to_owned() };
        SetResult { set, parameters: BTreeMap::new(), outcome }
    }

    /// The head of so many sets, or of a part of them.
    pub(crate) fn head(sets: u64, shard: Option<&str>) -> Head {
        let market = MarketHead {
            file: "x.csv".to_owned(),
            digest: "sha256:0".to_owned(),
            candles: 3,
            from: String::new(),
            to: String::new(),
        };
        Head {
            format: FORMAT,
            version: "0".to_owned(),
            market,
            parameters: Value::Null,
            axes: vec![Axis::parse("x=1,2").unwrap()],
            sample: None,
            sets,
            split: None,
            path: "nearest".to_owned(),
            slippage: "0".to_owned(),
            fee_maker: "0.001".to_owned(),
            fee_taker: "0.001".to_owned(),
            shard: shard.map(|text| Shard::parse(text).unwrap()),
        }
    }

    /// A file with the first `done` lines of a head's sets.
    pub(in crate::sweep) fn results(folder: &TemporaryFolder, name: &str, head: &Head, done: u64) -> PathBuf {
        let path = folder.file(name);
        let (mut writer, _) = Writer::open(&path, head, |_| ()).unwrap();
        for place in 0..done {
            writer.append(&result(head.number(place), 1, 1)).unwrap();
        }
        path
    }

    /// Goes on with a file, and gives back the sets that it has.
    pub(in crate::sweep) fn known(path: &Path, head: &Head) -> Result<Vec<u64>, ResultsFileError> {
        let mut sets = Vec::new();
        Writer::open(path, head, |line| sets.push(line.set)).map(|(_, done)| {
            assert_eq!(done, sets.len() as u64);
            sets
        })
    }
}
