//! Reads one line of a candle file: which column is which, moments and prices.

use super::candle::Candle;
use crate::core::{Decimal, Timestamp, money};

/// The columns that are read, in the order they have in a file without a header.
pub(super) const COLUMNS: [&str; 6] = ["timestamp", "open", "high", "low", "close", "volume"];

/// Other names of the timestamp's column, among them those of Bybit's kline archives.
pub(super) const TIMESTAMP_NAMES: [&str; 10] =
    ["timestamp", "time", "date", "datetime", "start", "starttime", "start_time", "start_at", "open_time", "opentime"];

/// Where each of [`COLUMNS`] is in a line. The volume may be missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout([Option<usize>; 6]);

/// A complaint about a line: its column, if one is wrong, and then what is wrong and what is allowed.
pub(super) type Complaint = (Option<&'static str>, String);

pub(super) fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|field| field.trim().trim_matches('"').trim())
}

/// Whether a first line names columns instead of holding a candle.
pub(super) fn is_header(line: &str) -> bool {
    fields(line).next().is_some_and(|first| first.starts_with(|letter: char| letter.is_ascii_alphabetic()))
        || fields(line).any(|field| COLUMNS[1..5].contains(&field.to_ascii_lowercase().as_str()))
}

impl Layout {
    /// The order of [`COLUMNS`].
    pub(super) fn default_order() -> Self {
        Self([Some(0), Some(1), Some(2), Some(3), Some(4), Some(5)])
    }

    /// Which column is at a place.
    pub(super) fn column_at(&self, place: usize) -> Option<usize> {
        self.0.iter().position(|own| *own == Some(place))
    }

    /// The order that a header names; unknown columns are passed over.
    pub(super) fn of_header(line: &str) -> Result<Self, Complaint> {
        let mut layout = [None; 6];
        for (place, name) in fields(line).enumerate() {
            let name = name.to_ascii_lowercase();
            let column = if TIMESTAMP_NAMES.contains(&name.as_str()) {
                Some(0)
            } else {
                COLUMNS.iter().position(|column| *column == name)
            };
            let Some(column) = column else { continue };
            if layout[column].replace(place).is_some() {
                return Err((Some(COLUMNS[column]), "the header names this column twice".to_owned()));
            }
        }
        match COLUMNS.iter().zip(layout).find(|(name, place)| place.is_none() && **name != "volume") {
            None => Ok(Self(layout)),
            Some((name, _)) => {
                Err((Some(*name), format!("the header lacks this column; needed are {}", COLUMNS[..5].join(", "))))
            }
        }
    }

    /// A line's candle.
    pub(super) fn read(&self, line: &str) -> Result<Candle, Complaint> {
        let fields: Vec<&str> = fields(line).collect();
        let field = |column: usize| {
            let place = self.0[column].and_then(|place| fields.get(place).copied());
            place
                .filter(|text| !text.is_empty())
                .ok_or_else(|| (Some(COLUMNS[column]), "the field is missing".to_owned()))
        };
        let price = |column: usize| read_price(field(column)?).map_err(|reason| (Some(COLUMNS[column]), reason));
        let start = read_moment(field(0)?).map_err(|reason| (Some(COLUMNS[0]), reason))?;
        let candle = Candle { start, open: price(1)?, high: price(2)?, low: price(3)?, close: price(4)? };
        if let Ok(volume) = field(5) {
            read_volume(volume).map_err(|reason| (Some(COLUMNS[5]), reason))?;
        }
        check(&candle)?;
        Ok(candle)
    }
}

fn check(candle: &Candle) -> Result<(), Complaint> {
    let text = money::text;
    let (low, high) = (candle.low, candle.high);
    if high < low {
        return Err((Some("high"), format!("{} is below the low of {}", text(high), text(low))));
    }
    for (name, price) in [("open", candle.open), ("close", candle.close)] {
        if price < low || price > high {
            let range = format!("between the low of {} and the high of {}", text(low), text(high));
            return Err((Some(name), format!("{} is not {range}", text(price))));
        }
    }
    Ok(())
}

pub(super) fn read_price(text: &str) -> Result<Decimal, String> {
    match money::parse(text) {
        Ok(price) if price > Decimal::ZERO => Ok(price),
        _ => Err(format!("{text:?} is not a price: allowed are plain decimal numbers above zero")),
    }
}

/// The volume is not used, but a wrong one means that the line is not what it seems.
pub(super) fn read_volume(text: &str) -> Result<(), String> {
    let number = Decimal::from_str_exact(text).or_else(|_| Decimal::from_scientific(text));
    let digits = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let negative = number.as_ref().is_ok_and(|number| number.is_sign_negative() && !number.is_zero());
    if (number.is_ok() || digits) && !negative {
        Ok(())
    } else {
        Err(format!("{text:?} is not a volume: allowed are numbers from zero"))
    }
}

/// Seconds (with a fraction or without), milliseconds or microseconds since 1970, or ISO 8601 in UTC.
pub(super) fn read_moment(text: &str) -> Result<Timestamp, String> {
    const SECONDS: i64 = 100_000_000_000; // the year 5138 in seconds, March 1973 in milliseconds
    const MILLISECONDS: i64 = SECONDS * 1000;
    const MICROSECONDS: i64 = MILLISECONDS * 1000;
    let refused = || {
        format!(
            "{text:?} is not a time: allowed are seconds or milliseconds since 1970, or 2022-01-31 23:59:00, in UTC"
        )
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // Seconds with a fraction: what is less than a millisecond does not count.
    if let Some((seconds, fraction)) = text.split_once('.')
        && digits(seconds)
        && digits(fraction)
    {
        let seconds: i64 = seconds.parse().ok().filter(|seconds| *seconds < SECONDS).ok_or_else(refused)?;
        let thousandths: i64 = format!("{fraction:0<3.3}").parse().map_err(|_| refused())?;
        return Ok(Timestamp(seconds * 1000 + thousandths));
    }
    if digits(text) {
        let number: i64 = text.parse().map_err(|_| refused())?;
        return match number {
            0..SECONDS => Ok(Timestamp(number * 1000)),
            SECONDS..MILLISECONDS => Ok(Timestamp(number)),
            MILLISECONDS..MICROSECONDS => Ok(Timestamp(number / 1000)),
            _ => Err(refused()),
        };
    }
    let plain = text.strip_suffix("+00:00").or_else(|| text.strip_suffix(" UTC")).unwrap_or(text);
    let date = if plain.len() == 10 { format!("{plain} 00:00:00") } else { plain.to_owned() };
    Timestamp::of_date(&date).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_every_spelling() {
        for text in [
            "1640991660",
            "1640991660000",
            "1640991660000000",
            "1640991660.0",
            "1640991660.0009",
            "2021-12-31 23:01:00.000000",
            "2021-12-31T23:01:00Z",
            "2021-12-31T23:01:00.000+00:00",
            "2021-12-31 23:01:00 UTC",
        ] {
            assert_eq!(read_moment(text), Ok(Timestamp(1_640_991_660_000)), "{text}");
        }
        assert_eq!(read_moment("2022-01-01"), Ok(Timestamp(1_640_995_200_000)));
        assert_eq!(read_moment("1640991660.5"), Ok(Timestamp(1_640_991_660_500)));
        for text in [
            "-1",
            "1.",
            ".5",
            "1640991660.x",
            "1640991660000.5",
            "1e9",
            "yesterday",
            "2022-13-01 00:00:00",
            "2022-01-01T00:00:00+02:00",
            "99999999999999999999",
        ] {
            assert!(read_moment(text).is_err(), "{text}");
        }
    }

    #[test]
    fn columns_are_found_by_name_in_any_order() {
        let layout = Layout::of_header("Volume, close,LOW,High,extra,\"startTime\",open").unwrap();
        let candle = layout.read("5,104,99,110,x,1640995200,100").unwrap();
        let d = Decimal::from;
        assert_eq!((candle.open, candle.high, candle.low, candle.close), (d(100), d(110), d(99), d(104)));
        assert_eq!(Layout::of_header("time,open,high,low").unwrap_err().0, Some("close"));
        assert_eq!(Layout::of_header("time,date,open,high,low,close").unwrap_err().0, Some("timestamp"));
    }

    #[test]
    fn a_header_is_told_from_a_candle() {
        assert!(is_header("timestamp,open,high,low,close,volume"));
        assert!(is_header("open,1"));
        assert!(!is_header("1640995200,1,1,1,1,1"));
        assert!(!is_header("2022-01-01 00:00:00,1,1,1,1,1"));
    }

    #[test]
    fn volumes_may_be_written_with_an_exponent() {
        for text in ["0", "1.5", "1e-05", "2.3E7", "123456789012345678901234567890.1234567890"] {
            assert_eq!(read_volume(text), Ok(()), "{text}");
        }
        for text in ["-1", "nan", "x", "-1e3"] {
            assert!(read_volume(text).is_err(), "{text}");
        }
    }
}
