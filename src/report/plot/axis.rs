//! Axes: a range of values or of time, and the round places in it that are named.
//!
//! In: the range. Out: shares between 0 and 1, and [`Tick`]s.

use crate::core::time::Timestamp;
use crate::report::calendar::{DAY, Date};
use crate::report::words;

/// Labels along the width; where there is little room every other one is hidden.
const MOST_TIMES: i64 = 9;
/// Lines across the height.
const MOST_VALUES: f64 = 6.0;

/// A place on an axis and what it is called.
#[derive(Clone, Debug, PartialEq)]
pub struct Tick {
    /// A value, or a share of the width.
    pub at: f64,
    /// Its name.
    pub label: String,
}

/// A range of values.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Values {
    low: f64,
    high: f64,
}

impl Values {
    /// The range that holds all of these, and a little more where it is narrow.
    pub fn covering(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { low: 0.0, high: 1.0 };
        }
        if high - low > high.abs().max(low.abs()) * 1e-9 {
            return Self { low, high };
        }
        let around = if high == 0.0 { 1.0 } else { high.abs() * 0.01 };
        Self { low: low - around, high: high + around }
    }

    /// With a part of its height more on both sides.
    pub fn with_margin(self, part: f64) -> Self {
        let margin = (self.high - self.low) * part;
        Self { low: self.low - margin, high: self.high + margin }
    }

    /// How far up a value is, from 0 to 1.
    pub fn share(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// Round values in it, a few.
    pub fn ticks(&self) -> Vec<Tick> {
        let step = round_step((self.high - self.low) / MOST_VALUES);
        let decimals = (-step.log10()).ceil().max(0.0);
        let first = (self.low / step).ceil();
        let count = ((self.high / step).floor() - first).max(0.0);
        let mut ticks = Vec::new();
        let mut number = 0.0;
        while number <= count {
            let at = (first + number) * step;
            let at = if at.abs() < step / 2.0 { 0.0 } else { at };
            ticks.push(Tick { at, label: label(at, decimals) });
            number += 1.0;
        }
        ticks
    }
}

/// 1, 2 or 5 times a power of ten, at least this much.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= least * 0.999_999);
    step.unwrap_or(10.0) * power
}

fn label(value: f64, decimals: f64) -> String {
    // At most eight decimals are ever drawn, so the cast cannot lose anything.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 8")]
    let places = decimals.min(8.0) as usize;
    words::apart(&format!("{value:.places$}"))
}

/// A stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Its first moment.
    pub from: Timestamp,
    /// Its last moment.
    pub to: Timestamp,
}

/// What lies between two labels of a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Milliseconds(i64),
    Months(i64),
}

impl Times {
    /// How far along a moment is, from 0 to 1.
    #[expect(clippy::cast_precision_loss, reason = "a coordinate needs no more than 52 bits")]
    pub fn share(&self, time: Timestamp) -> f64 {
        let length = (self.to.0 - self.from.0).max(1) as f64;
        ((time.0 - self.from.0) as f64 / length).clamp(0.0, 1.0)
    }

    fn step(&self) -> Step {
        const SECOND: i64 = 1000;
        const MINUTE: i64 = 60 * SECOND;
        const HOUR: i64 = 60 * MINUTE;
        let length = (self.to.0 - self.from.0).max(1);
        let fixed = [1, 2, 5, 10, 15, 30].map(|count| count * SECOND).into_iter();
        let fixed = fixed.chain([1, 2, 5, 10, 15, 30].map(|count| count * MINUTE));
        let fixed =
            fixed.chain([1, 2, 3, 6, 12].map(|count| count * HOUR)).chain([1, 2, 4, 7, 14].map(|count| count * DAY));
        if let Some(step) = fixed.into_iter().find(|step| length / step <= MOST_TIMES) {
            return Step::Milliseconds(step);
        }
        let months = [1, 2, 3, 6, 12, 24, 60, 120, 240, 600, 1200];
        let wanted = months.into_iter().find(|months| length / (months * 30 * DAY) <= MOST_TIMES);
        Step::Months(wanted.unwrap_or(12_000))
    }

    /// Round moments in it, as shares of the width.
    pub fn ticks(&self) -> Vec<Tick> {
        let step = self.step();
        let mut ticks = Vec::new();
        let mut time = match step {
            // Weeks begin on Mondays: the first day of 1970 was a Thursday.
            Step::Milliseconds(step) if step % (7 * DAY) == 0 => {
                Timestamp((self.from.0 + 3 * DAY).div_euclid(step) * step - 3 * DAY)
            }
            Step::Milliseconds(step) => Timestamp(self.from.0.div_euclid(step) * step),
            Step::Months(months) => {
                let start = Date::of(self.from).month_start();
                start.months_later(-((start.year * 12 + start.month - 1).rem_euclid(months))).start()
            }
        };
        let mut year = None;
        while time <= self.to {
            if time >= self.from {
                let date = Date::of(time);
                let new_year = year.replace(date.year).is_some_and(|before| before != date.year);
                ticks.push(Tick { at: self.share(time), label: name(time, step, new_year) });
            }
            time = match step {
                Step::Milliseconds(step) => Timestamp(time.0.saturating_add(step)),
                Step::Months(months) => Date::of(time).months_later(months).start(),
            };
        }
        ticks
    }
}

fn name(time: Timestamp, step: Step, new_year: bool) -> String {
    let date = Date::of(time);
    match step {
        Step::Milliseconds(step) if step < DAY && time.0.rem_euclid(DAY) != 0 => words::clock(time, step < 60_000),
        Step::Milliseconds(_) => words::short_day(time),
        Step::Months(months) if months >= 12 || new_year || date.month == 1 => date.year.to_string(),
        Step::Months(_) => date.month_name()[..3].to_owned(),
    }
}

/// Round numbers among `1..=count`, as shares of a width that is divided among them.
#[expect(clippy::cast_precision_loss, reason = "a coordinate needs no more than 52 bits")]
pub fn places(count: usize, first: u64) -> Vec<Tick> {
    let step = [1, 2, 5].into_iter().cycle().zip(0..).map(|(factor, turn)| factor * 10_usize.pow(turn / 3));
    let step = step.take(30).find(|step| count / step <= 9).unwrap_or(count.max(1));
    let at = |place: usize| (place as f64 + 0.5) / count as f64;
    let name = |place: usize| first + place as u64;
    let round = |place: &usize| name(*place).is_multiple_of(step as u64);
    (0..count).filter(round).map(|place| Tick { at: at(place), label: name(place).to_string() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(ticks: Vec<Tick>) -> Vec<String> {
        ticks.into_iter().map(|tick| tick.label).collect()
    }

    fn times(from: &str, to: &str) -> Vec<String> {
        let moment = |text: &str| {
            let parts: Vec<i64> = text.split(['-', ' ', ':']).map(|part| part.parse().unwrap()).collect();
            let day = Date { year: parts[0], month: parts[1], day: parts[2] }.start();
            Timestamp(day.0 + parts.get(3).unwrap_or(&0) * 3_600_000 + parts.get(4).unwrap_or(&0) * 60_000)
        };
        labels(Times { from: moment(from), to: moment(to) }.ticks())
    }

    #[test]
    fn values_are_named_at_round_numbers() {
        assert_eq!(labels(Values::covering([33_000.0, 48_080.0]).ticks()), ["35,000", "40,000", "45,000"]);
        assert_eq!(labels(Values::covering([-0.031, 0.052]).ticks()), ["−0.02", "0.00", "0.02", "0.04"]);
        assert_eq!(labels(Values::covering([0.0, 200.0]).ticks()), ["0", "50", "100", "150", "200"]);
    }

    #[test]
    fn a_range_without_width_or_without_numbers_is_drawn_all_the_same() {
        assert!(Values::covering([5.0]).share(5.0) > 0.4);
        assert!(!Values::covering([]).ticks().is_empty());
        assert!(!Values::covering([f64::NAN, 0.0]).ticks().is_empty());
    }

    #[test]
    fn times_are_named_at_round_moments() {
        assert_eq!(
            times("2022-01-01 00:10", "2022-01-01 03:50"),
            ["00:30", "01:00", "01:30", "02:00", "02:30", "03:00", "03:30"]
        );
        assert_eq!(
            times("2022-01-01 20:00", "2022-01-02 06:00"),
            ["20:00", "22:00", "2 Jan", "02:00", "04:00", "06:00"]
        );
        assert_eq!(times("2021-12-31 23:01", "2022-02-01 05:31").len(), 8);
        assert_eq!(times("2021-10-05", "2022-03-20"), ["Nov", "Dec", "2022", "Feb", "Mar"]);
        assert_eq!(times("2019-05-05", "2022-03-20"), ["Jul", "2020", "Jul", "2021", "Jul", "2022"]);
        assert_eq!(times("2022-01-01 00:00", "2022-01-01 00:00"), ["1 Jan"]);
        assert_eq!(times("2022-01-01 01:00", "2022-01-01 01:01")[..2], ["01:00:00", "01:00:10"]);
    }

    #[test]
    fn cycles_are_named_at_round_numbers() {
        assert_eq!(labels(places(4, 1)), ["1", "2", "3", "4"]);
        assert_eq!(labels(places(60, 1)), ["10", "20", "30", "40", "50", "60"]);
        assert_eq!(labels(places(0, 1)), Vec::<String>::new());
    }
}
