//! Moments by the exchange's clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment in milliseconds since 1970-01-01 UTC, by the exchange's clock. 64 bits on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// Reads a date and time in UTC, from 1970 on: `2022-01-31 23:59:00`, perhaps with `T` for the space, a fraction, and `Z`
    /// or `+00:00` at the end. `None` if the text is none of these.
    pub fn of_date(text: &str) -> Option<Self> {
        // On 32-bit machines the library's time ends in 2038. Within a century the calendar repeats every 28 years.
        const ROUND: u16 = 28;
        const ROUND_TIME: Duration = Duration::from_secs((28 * 365 + 7) * 24 * 3600);
        let (year, rest) = text.split_at_checked(4)?;
        let number: u16 = year.parse().ok()?;
        let rounds = if (2038..2100).contains(&number) { number.saturating_sub(2010) / ROUND } else { 0 };
        let moment = match rounds {
            0 => humantime::parse_rfc3339_weak(text),
            rounds => {
                let earlier = number.saturating_sub(rounds.saturating_mul(ROUND));
                humantime::parse_rfc3339_weak(&format!("{earlier}{rest}"))
            }
        };
        let since = moment.ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
        Some(Self(0).after(since.checked_add(ROUND_TIME.saturating_mul(rounds.into()))?))
    }

    /// The moment `duration` later; saturates.
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(milliseconds(duration)))
    }

    /// The moment `duration` earlier; saturates.
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(milliseconds(duration)))
    }

    /// How long ago `earlier` was; zero if it is not in the past.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// The pause after so many in a row: it doubles each time, up to the longest.
pub fn doubled(first: Duration, times: u32, longest: Duration) -> Duration {
    first.saturating_mul(2_u32.saturating_pow(times.min(16))).min(longest)
}

/// In whole milliseconds; saturates.
pub fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds; a moment outside 1970–9999 as a plain number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const YEAR_10000: u64 = 253_402_300_800_000;
        match u64::try_from(self.0) {
            Ok(ms) if ms < YEAR_10000 => {
                let moment = std::time::UNIX_EPOCH.checked_add(Duration::from_millis(ms)).ok_or(fmt::Error)?;
                write!(f, "{}", humantime::format_rfc3339_millis(moment))
            }
            _ => write!(f, "{} ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_shown_in_utc_past_2038() {
        assert_eq!(Timestamp(1_640_995_260_000).to_string(), "2022-01-01T00:01:00.000Z");
        assert_eq!(Timestamp(2_147_483_648_000).to_string(), "2038-01-19T03:14:08.000Z");
        assert_eq!(Timestamp(-1).to_string(), "-1 ms");
    }

    #[test]
    fn dates_are_read_as_they_are_shown_past_2038() {
        for (text, moment) in [
            ("1970-01-01 00:00:00", 0),
            ("2022-01-01T00:01:00.250Z", 1_640_995_260_250),
            ("2038-01-19T03:14:08Z", 2_147_483_648_000),
            ("2041-01-30 23:41:00", 2_243_202_060_000),
            ("2096-02-29T12:00:00+00:00", 3_981_355_200_000),
            ("2099-12-31 23:59:59", 4_102_444_799_000),
        ] {
            let read = Timestamp::of_date(text);
            assert_eq!(read, Some(Timestamp(moment)), "{text}");
            let shown = Timestamp(moment).to_string();
            assert_eq!(Timestamp::of_date(&shown), read, "{shown}");
        }
        for text in
            ["", "2041", "2041-02-29 00:00:00", "2041-13-01 00:00:00", "20ä1-01-01 00:00:00", "1969-12-31 23:59:59"]
        {
            assert_eq!(Timestamp::of_date(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_day_of_a_century_follows_the_one_before() {
        let mut last = Timestamp::of_date("2030-12-31 00:00:00").unwrap();
        for year in 2031..2100 {
            for month in 1..=12 {
                for day in 1..=31 {
                    let Some(now) = Timestamp::of_date(&format!("{year}-{month:02}-{day:02} 00:00:00")) else {
                        continue;
                    };
                    assert_eq!(now.0 - last.0, 86_400_000, "{year}-{month}-{day}");
                    last = now;
                }
            }
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp(1).after(Duration::MAX), Timestamp(i64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
    }
}
