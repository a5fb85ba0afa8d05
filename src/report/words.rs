//! Numbers, durations and moments as people read them.
//!
//! In: exact values. Out: text. Only what is shown is rounded, half to even; nothing here is computed with again.

use std::time::Duration;

use super::calendar::Date;
use crate::core::money::{self, Decimal};
use crate::core::time::Timestamp;

/// With this many decimals, and thousands separated: `−12,345.60`.
pub fn rounded(value: Decimal, decimals: u32) -> String {
    let rounded = value.round_dp(decimals);
    let rounded = if rounded.is_zero() { Decimal::ZERO } else { rounded };
    apart(&format!("{rounded:.*}", usize::try_from(decimals).unwrap_or(0)))
}

/// The same with its sign, a plus too; zero has none.
pub fn signed(value: Decimal, decimals: u32) -> String {
    let text = rounded(value, decimals);
    let positive = value.round_dp(decimals) > Decimal::ZERO;
    if positive { format!("+{text}") } else { text }
}

/// Every digit, with thousands separated.
pub fn exact(value: Decimal) -> String {
    apart(&money::text(value))
}

/// Every digit, with its sign.
pub fn exact_signed(value: Decimal) -> String {
    let text = exact(value);
    if value > Decimal::ZERO { format!("+{text}") } else { text }
}

/// A percentage with two decimals and its sign; no line ends before its `%`.
pub fn percent(value: Decimal) -> String {
    format!("{}\u{a0}%", signed(value, 2))
}

/// Commas between thousands, and a true minus sign.
pub(super) fn apart(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("−", rest));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let mut out = sign.to_owned();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// How many decimals show amounts like this one: two, and more where the amounts are small.
pub fn decimals_for(amount: Decimal) -> u32 {
    let mut decimals = 2;
    let mut amount = amount.abs();
    while !amount.is_zero() && amount < Decimal::TEN && decimals < 8 {
        amount *= Decimal::TEN;
        decimals += 1;
    }
    decimals
}

/// The two largest units: `3 d 4 h`, `12 min 5 s`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(length, _)| seconds >= *length);
    let Some(first) = first else { return "0 s".to_owned() };
    let part = |place: usize| {
        let (length, name) = *units.get(place)?;
        let above = if place == 0 { u64::MAX } else { units[place - 1].0 };
        let count = seconds % above / length;
        (count > 0).then(|| format!("{count} {name}"))
    };
    [part(first), part(first + 1)].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// In whole words: `31 days and 6 hours`.
pub fn long_span(duration: Duration) -> String {
    let short = span(duration);
    let mut words = short.split(' ');
    let mut parts = Vec::new();
    while let (Some(number), Some(unit)) = (words.next(), words.next()) {
        let unit = match unit {
            "d" => "day",
            "h" => "hour",
            "min" => "minute",
            _ => "second",
        };
        parts.push(format!("{number} {unit}{}", if number == "1" { "" } else { "s" }));
    }
    parts.join(" and ")
}

/// `2022-01-03 12:04:15`, UTC.
pub fn moment(time: Timestamp) -> String {
    let date = Date::of(time);
    format!("{:04}-{:02}-{:02} {}", date.year, date.month, date.day, clock(time, true))
}

/// `3 Jan 2022, 12:04`, UTC.
pub fn short_moment(time: Timestamp) -> String {
    format!("{} {}, {}", short_day(time), Date::of(time).year, clock(time, false))
}

/// `3 January 2022`.
pub fn day(time: Timestamp) -> String {
    let date = Date::of(time);
    format!("{} {} {}", date.day, date.month_name(), date.year)
}

/// `3 Jan`.
pub fn short_day(time: Timestamp) -> String {
    let date = Date::of(time);
    format!("{} {}", date.day, &date.month_name()[..3])
}

/// `12:04`, or `12:04:15`.
pub fn clock(time: Timestamp, seconds: bool) -> String {
    let second = time.0.div_euclid(1000).rem_euclid(86_400);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    if seconds { format!("{hour:02}:{minute:02}:{:02}", second % 60) } else { format!("{hour:02}:{minute:02}") }
}

/// `1 cycle`, `2 cycles`, `1,234 cycles`.
pub fn count(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", apart(&number.to_string()), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn d(text: &str) -> Decimal {
        money::parse(text).unwrap()
    }

    #[test]
    fn numbers_have_thousands_apart_and_a_true_minus() {
        assert_eq!(rounded(d("-1234567.891"), 2), "−1,234,567.89");
        assert_eq!(rounded(d("999"), 2), "999.00");
        assert_eq!(exact(d("60000.10")), "60,000.1");
        assert_eq!(exact(d("0.000000833")), "0.000000833");
    }

    #[test]
    fn zero_has_no_sign() {
        assert_eq!((signed(d("0.001"), 2), signed(d("-0.001"), 2)), ("0.00".to_owned(), "0.00".to_owned()));
        assert_eq!((signed(d("0.01"), 2), signed(d("-0.01"), 2)), ("+0.01".to_owned(), "−0.01".to_owned()));
    }

    #[test]
    fn small_amounts_are_shown_with_more_decimals() {
        assert_eq!([d("200"), d("12"), d("9"), d("0.02"), d("0")].map(decimals_for), [2, 2, 3, 5, 2]);
    }

    #[test]
    fn spans_have_at_most_two_units() {
        let text = |seconds| span(Duration::from_secs(seconds));
        assert_eq!(text(0), "0 s");
        assert_eq!(text(59), "59 s");
        assert_eq!(text(725), "12 min 5 s");
        assert_eq!(text(3 * 86_400 + 4 * 3_600 + 59), "3 d 4 h");
        assert_eq!(text(86_400 + 59), "1 d");
        assert_eq!(long_span(Duration::from_secs(31 * 86_400 + 3_600)), "31 days and 1 hour");
    }

    #[test]
    fn moments_are_utc() {
        let time = Timestamp(1_641_211_455_999);
        assert_eq!(moment(time), "2022-01-03 12:04:15");
        assert_eq!(short_moment(time), "3 Jan 2022, 12:04");
        assert_eq!(day(time), "3 January 2022");
    }
}
