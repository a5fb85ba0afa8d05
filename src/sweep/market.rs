//! The market of a sweep: how the file of results names it, and where it is split.
//!
//! In: a recording, and what the user wrote. Out: a [`MarketHead`], and the place of the first candle of the second part.

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::core::money::{self, text};
use crate::core::{Decimal, Timestamp};
use crate::simulation::market::Recording;

/// The candles of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketHead {
    /// As it was named; two files of the same candles are the same market.
    pub file: String,
    /// Over all candles as they are played.
    pub digest: String,
    /// How many.
    pub candles: u64,
    /// The first one's first moment.
    pub from: String,
    /// The last one's.
    pub to: String,
}

impl MarketHead {
    /// The head of these candles.
    pub fn new(file: &Path, recording: &Recording) -> Self {
        let mut digest = Sha256::new();
        digest.update(text(recording.tick_size()));
        recording.bytes().for_each(|candle| digest.update(candle));
        let moment = |start: Option<&Timestamp>| start.map(Timestamp::to_string).unwrap_or_default();
        Self {
            file: file.display().to_string(),
            digest: format!("sha256:{}", hex::encode(digest.finalize())),
            candles: recording.len() as u64,
            from: moment(recording.starts().first()),
            to: moment(recording.starts().last()),
        }
    }
}

/// The place of the second part's first candle: after so many per cent of all, or from a date on.
///
/// # Errors
/// What is wrong with `split`, and how to write it.
pub fn split_place(split: &str, recording: &Recording) -> Result<usize, String> {
    let at = match split.strip_suffix('%') {
        Some(percent) => {
            let percent = money::parse(percent).map_err(|wrong| format!("--split {split:?} is {wrong}: write 70%"))?;
            let place = Decimal::from(recording.len()).checked_mul(money::fraction(percent)).unwrap_or_default();
            usize::try_from(place.floor().max(Decimal::ZERO)).unwrap_or(usize::MAX)
        }
        None => {
            let date = if split.len() == 10 { format!("{split} 00:00:00") } else { split.to_owned() };
            let wrong = || format!("--split {split:?}: write 70%, or a date, 2022-01-20 or 2022-01-20T12:00:00Z");
            let moment = Timestamp::of_date(&date).ok_or_else(wrong)?;
            recording.starts().partition_point(|start| *start < moment)
        }
    };
    match at {
        1.. if at < recording.len() => Ok(at),
        _ => Err(format!("--split {split:?} leaves one part without candles: write for example 70%")),
    }
}
