//! The calendar: days, months and years of a moment, in UTC.
//!
//! In: moments. Out: dates, and back. The year is taken to begin in March, so that the leap day is its last.

use crate::core::time::Timestamp;

/// Milliseconds of a day.
pub const DAY: i64 = 86_400_000;
/// Days from 0000-03-01 to 1970-01-01.
const EPOCH: i64 = 719_468;
/// Days of four hundred years.
const ERA: i64 = 146_097;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    /// For example 2022.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
}

impl Date {
    /// The day of a moment.
    pub fn of(time: Timestamp) -> Self {
        let days = time.0.div_euclid(DAY) + EPOCH;
        let (era, day_of_era) = (days.div_euclid(ERA), days.rem_euclid(ERA));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        Self {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: day_of_year - (153 * from_march + 2) / 5 + 1,
        }
    }

    /// Its first moment.
    pub fn start(self) -> Timestamp {
        let (year, month) = if self.month > 2 { (self.year, self.month - 3) } else { (self.year - 1, self.month + 9) };
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        Timestamp((year * 365 + leap_days + (month * 153 + 2) / 5 + self.day - 1 - EPOCH) * DAY)
    }

    /// The first day of its month.
    pub fn month_start(self) -> Self {
        Self { day: 1, ..self }
    }

    /// The first day of the month so many months later.
    pub fn months_later(self, months: i64) -> Self {
        let month = self.year * 12 + self.month - 1 + months;
        Self { year: month.div_euclid(12), month: month.rem_euclid(12) + 1, day: 1 }
    }

    /// `January`.
    pub fn month_name(self) -> &'static str {
        usize::try_from(self.month - 1).ok().and_then(|month| MONTHS.get(month)).copied().unwrap_or("January")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_gregorian_calendar() {
        for (ms, (year, month, day)) in [
            (0, (1970, 1, 1)),
            (1_640_991_660_000, (2021, 12, 31)),
            (1_709_164_800_000, (2024, 2, 29)),
            (951_782_400_000, (2000, 2, 29)),
            (4_107_542_400_000, (2100, 3, 1)),
            (-1, (1969, 12, 31)),
        ] {
            assert_eq!(Date::of(Timestamp(ms)), Date { year, month, day }, "{ms}");
        }
    }

    #[test]
    fn every_day_of_four_hundred_years_comes_back() {
        for day in 0..ERA {
            let start = Timestamp((day - 20_000) * DAY);
            assert_eq!(Date::of(start).start(), start);
            assert_eq!(Date::of(Timestamp(start.0 + DAY - 1)).start(), start);
        }
    }

    #[test]
    fn months_go_on_over_the_turn_of_the_year() {
        let november = Date { year: 2021, month: 11, day: 30 };
        assert_eq!(november.months_later(3), Date { year: 2022, month: 2, day: 1 });
        assert_eq!(november.month_start().months_later(-11), Date { year: 2020, month: 12, day: 1 });
        assert_eq!(november.month_name(), "November");
    }
}
