//! Reads the lines of a candle file that are plain, quickly: whole numbers and points, no exponents, no blanks.
//!
//! In: a line. Out: a candle in whole ticks, the same that [`Layout::read`] would give, or `None` for a line that is not
//! plain or in which anything is wrong: it is then read, or refused with its reason, by [`Layout::read`].

use super::candle::{Row, in_order};
use super::columns::Layout;
use crate::core::{Decimal, Timestamp};

/// More digits could overflow what is computed here.
const MOST_DIGITS: usize = 17;

/// The size of a tick as `units · 10^-scale`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tick {
    units: u64,
    scale: u32,
}

impl Tick {
    /// `None` for a tick that plain numbers cannot be counted in.
    pub(super) fn new(size: Decimal) -> Option<Self> {
        let size = size.normalize();
        let units = u64::try_from(size.mantissa()).ok().filter(|units| *units > 0)?;
        Some(Self { units, scale: size.scale() })
    }

    /// Whole ticks in `units · 10^-scale`, rounded down.
    fn count(self, units: u64, scale: u32) -> Option<u32> {
        let (above, below) = if self.scale >= scale {
            (units.checked_mul(10_u64.checked_pow(self.scale - scale)?)?, self.units)
        } else {
            (units, self.units.checked_mul(10_u64.checked_pow(scale - self.scale)?)?)
        };
        u32::try_from(above / below).ok()
    }
}

/// A plain line's candle.
pub(super) fn read(layout: &Layout, line: &str, tick: Tick) -> Option<Row> {
    let (mut start, mut prices) = (None, [None; 4]);
    for (place, field) in line.as_bytes().split(|byte| *byte == b',').enumerate() {
        match layout.column_at(place) {
            Some(0) => start = Some(moment(field)?),
            Some(column @ 1..=4) => prices[column - 1] = Some(number(field)?),
            Some(_) => drop(number(field)?),
            None => {}
        }
    }
    let [Some(open), Some(high), Some(low), Some(close)] = prices else { return None };
    let scale = [open, high, low, close].iter().map(|(_, scale)| *scale).max()?;
    let units = |(units, own): (u64, u32)| {
        let units = units.checked_mul(10_u64.checked_pow(scale - own)?)?;
        i64::try_from(units).ok()
    };
    let (open, high, low, close) = (units(open)?, units(high)?, units(low)?, units(close)?);
    if low <= 0 || open < low || open > high || close < low || close > high {
        return None;
    }
    let mut ticks = [0; 4];
    for (ticks, units) in ticks.iter_mut().zip(in_order(open, high, low, close)) {
        *ticks = tick.count(u64::try_from(units).ok()?, scale)?;
    }
    Some((start?, ticks))
}

/// `digits[.digits]` as a whole number and its count of decimals.
fn number(field: &[u8]) -> Option<(u64, u32)> {
    let (mut units, mut scale, mut point) = (0_u64, 0, false);
    if field.len() > MOST_DIGITS || !field.first()?.is_ascii_digit() || !field.last()?.is_ascii_digit() {
        return None;
    }
    for byte in field {
        match byte {
            b'0'..=b'9' => {
                units = units * 10 + u64::from(byte - b'0');
                scale += u32::from(point);
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    Some((units, scale))
}

fn digits(field: &[u8]) -> Option<i64> {
    field.iter().try_fold(0, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
}

/// Seconds or milliseconds since 1970 of this century, or `2022-01-31 23:59:00` with a fraction of nothing but zeros.
fn moment(field: &[u8]) -> Option<Timestamp> {
    match field.len() {
        10 if !field.contains(&b'-') => return Some(Timestamp(digits(field)? * 1000)),
        13 => return digits(field).map(Timestamp),
        _ => {}
    }
    let (whole, fraction) = field.split_at_checked(19)?;
    if !matches!(fraction, [] | [b'.', b'0', ..]) || fraction.iter().skip(1).any(|byte| *byte != b'0') {
        return None;
    }
    if whole[4] != b'-'
        || whole[7] != b'-'
        || !matches!(whole[10], b' ' | b'T')
        || whole[13] != b':'
        || whole[16] != b':'
    {
        return None;
    }
    let part = |from: usize, to: usize| digits(&whole[from..to]);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    // The last days of a month are left to the calendar of others.
    if year < 1970 || !(1..=12).contains(&month) || !(1..=28).contains(&day) || hour > 23 || minute > 59 || second > 59
    {
        return None;
    }
    Some(Timestamp((((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000))
}

/// Days since 1970-01-01. The year is taken to begin in March, so that the leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::super::candle::in_ticks;
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    /// What the careful reader makes of a line.
    fn carefully(line: &str, tick_size: Decimal) -> Option<Row> {
        let candle = Layout::default_order().read(line).ok()?;
        Some((candle.start, in_ticks(&candle, tick_size)?))
    }

    #[test]
    fn a_plain_line_is_read_as_the_careful_reader_reads_it() {
        let mut random = SmallRng::seed_from_u64(5);
        let mut plain = 0;
        for _ in 0..20_000 {
            let mut price = || {
                let whole = random.random_range(0..30);
                match random.random_range(0..4) {
                    0 => whole.to_string(),
                    1 => format!("{whole}.{}", random.random_range(0..10)),
                    2 => format!("{whole}.{:03}", random.random_range(0..1000)),
                    _ => format!("{whole}.00{}", random.random_range(0..100_000)),
                }
            };
            let prices = format!("{},{},{},{},{}", price(), price(), price(), price(), price());
            let (day, minute) = (random.random_range(1..=31), random.random_range(0..60));
            let moment = match random.random_range(0..4) {
                0 => format!("16409952{minute:02}"),
                1 => format!("16409952{minute:02}123"),
                2 => format!("20{:02}-{:02}-{day:02} 23:{minute:02}:07.000000", minute, day % 13),
                _ => format!("2022-01-{day:02}T00:{minute:02}:00"),
            };
            let line = format!("{moment},{prices}");
            for tick_size in [Decimal::new(1, 2), Decimal::new(5, 1), Decimal::new(25, 4), Decimal::new(1, 8)] {
                let quickly = read(&Layout::default_order(), &line, Tick::new(tick_size).unwrap());
                if let Some(row) = quickly {
                    assert_eq!(Some(row), carefully(&line, tick_size), "{line}");
                    plain += 1;
                }
            }
        }
        assert!(plain > 2_000, "{plain}");
    }

    #[test]
    fn what_is_not_plain_is_left_to_the_careful_reader() {
        let tick = Tick::new(Decimal::new(1, 2)).unwrap();
        for line in [
            "",
            "x",
            "1640995200,1,1,1",
            "1640995200,1,1,1,NaN,1",
            "1640995200,1,1,1,0,1",
            "1640995200,1e3,1,1,1,1",
            "1640995200,-1,1,1,1,1",
            "1640995200,1.,1,1,1,1",
            "1640995200,5,4,6,5,1",
            "1640995200,9,8,6,7,1",
            "1640995200,1,1,1,1,-5",
            "2022-02-30 00:00:00,1,1,1,1,1",
            "2022-01-01 00:00:00.5,1,1,1,1,1",
            "1640995200, 1,1,1,1,1",
            "1640995200,1,99999999999999999,1,1,1",
        ] {
            assert_eq!(read(&Layout::default_order(), line, tick), None, "{line}");
        }
    }
}
