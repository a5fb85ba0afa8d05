//! Exact decimal money.
//!
//! Every price, quantity, amount and fee is a [`Decimal`]: a 96-bit integer and a power of ten. Binary
//! floats are not used anywhere in the core: `make check` refuses them.
//!
//! How numbers stay in range:
//!
//! 1. Numbers from outside enter through [`parse`] alone, which bounds them so that a product of two cannot overflow.
//! 2. A sum that the ledger keeps is checked by `kept_sum`: one that is too large contradicts the facts before it.
//! 3. A formula that may overflow (a power, a quotient, a price) uses checked operations; the ladder names the level.
//! 4. What is only compared or summed for a moment saturates. Kept sums are so far below the largest `Decimal` that a
//!    sum of them does not; and an amount that does is above every limit, so that no order is placed.

use std::fmt;

pub use rust_decimal::Decimal;

/// Numbers from outside are smaller than this: the product of two still fits 28 digits.
const BOUND: Decimal = Decimal::from_parts(0x107A_4000, 0x0000_5AF3, 0, false, 0); // 10^14
/// Sums that are kept are smaller than this: ten thousand of them still add up.
const KEPT_BOUND: Decimal = Decimal::from_parts(0xA100_0000, 0x1BCE_CCED, 0x0000_D3C2, false, 0); // 10^24

/// Why a text is refused as a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotADecimal {
    /// Not of the form `-?digits[.digits]`; exponents, plus signs, blanks and NaN are refused.
    Malformed,
    /// More than 28 significant digits, or not smaller than 10^14.
    OutOfRange,
}

impl fmt::Display for NotADecimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a plain decimal number",
            Self::OutOfRange => "out of range: below 10^14, at most 28 digits",
        })
    }
}

impl std::error::Error for NotADecimal {}

/// Reads a plain decimal number exactly.
///
/// # Errors
/// [`NotADecimal`] when the text is not a plain decimal or cannot be held exactly. Nothing is ever rounded.
pub fn parse(text: &str) -> Result<Decimal, NotADecimal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (digits, None),
    };
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !plain(whole) || !fraction.is_none_or(plain) {
        return Err(NotADecimal::Malformed);
    }
    // Trailing zeros carry no value, but would count against the 28 digits.
    let text = if fraction.is_some() { text.trim_end_matches('0').trim_end_matches('.') } else { text };
    let value = Decimal::from_str_exact(text).map_err(|_| NotADecimal::OutOfRange)?;
    if value.abs() >= BOUND {
        return Err(NotADecimal::OutOfRange);
    }
    Ok(value.normalize())
}

/// The largest multiple of `step` that is not above `value`. A step of zero leaves the value as it is.
pub fn floor_to(value: Decimal, step: Decimal) -> Decimal {
    if step.is_zero() {
        return value;
    }
    let rest = value.checked_rem(step).unwrap_or(value);
    let floor = value.saturating_sub(rest);
    let floor = if rest.is_zero() || rest.is_sign_positive() { floor } else { floor.saturating_sub(step) };
    floor.normalize()
}

/// The smallest multiple of `step` that is not below `value`. A step of zero leaves the value as it is.
pub fn ceil_to(value: Decimal, step: Decimal) -> Decimal {
    let floor = floor_to(value, step);
    if floor == value { floor } else { floor.saturating_add(step) }
}

/// `a + b`, to be kept. `None` if the sum is not smaller than 10^24.
pub(super) fn kept_sum(a: Decimal, b: Decimal) -> Option<Decimal> {
    a.checked_add(b).filter(|sum| is_kept(*sum))
}

/// Whether a number is small enough to be kept.
pub(super) fn is_kept(value: Decimal) -> bool {
    value.abs() < KEPT_BOUND
}

/// `amount·part / whole`, cut to so many decimals: what of an amount goes with a part. Zero if there is no whole.
pub(super) fn share(amount: Decimal, part: Decimal, whole: Decimal, decimals: u32) -> Decimal {
    let exact = amount.checked_mul(part).and_then(|product| product.checked_div(whole));
    let share = exact.or_else(|| amount.checked_mul(part.checked_div(whole)?));
    share.unwrap_or_default().trunc_with_scale(decimals).normalize()
}

/// `numerator / denominator`, rounded down to `step` without passing through a rounded quotient: the result
/// `r` satisfies `r·denominator ≤ numerator < (r + step)·denominator`.
///
/// `None` if the denominator is not positive or a number overflows.
pub fn quotient_floor(numerator: Decimal, denominator: Decimal, step: Decimal) -> Option<Decimal> {
    if denominator <= Decimal::ZERO {
        return None;
    }
    let mut result = floor_to(numerator.checked_div(denominator)?, step);
    // The quotient was rounded at its 28th digit: one step either way makes it exact.
    if result.checked_mul(denominator)? > numerator {
        result = result.checked_sub(step)?;
    } else if !step.is_zero() {
        let next = result.checked_add(step)?;
        if next.checked_mul(denominator)? <= numerator {
            result = next;
        }
    }
    Some(result)
}

/// `numerator / denominator`, rounded up to `step`; the mirror of [`quotient_floor`].
pub fn quotient_ceil(numerator: Decimal, denominator: Decimal, step: Decimal) -> Option<Decimal> {
    let floor = quotient_floor(numerator, denominator, step)?;
    if floor.checked_mul(denominator)? == numerator { Some(floor) } else { floor.checked_add(step) }
}

/// The number as the wire, the journal and people get it: no exponent, no trailing zeros.
pub fn text(value: Decimal) -> String {
    value.normalize().to_string()
}

/// A percentage as a fraction: 1.5 is 0.015.
pub fn fraction(percent: Decimal) -> Decimal {
    percent.saturating_mul(Decimal::new(1, 2))
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::d;
    use super::*;

    #[test]
    fn plain_decimals_are_read_exactly() {
        assert_eq!(text(d("0.000000833")), "0.000000833");
        assert_eq!(text(d("60000.10")), "60000.1");
        assert_eq!(text(d("-12.50")), "-12.5");
        assert_eq!(text(d("100")), "100");
        assert_eq!(text(d("0.00")), "0");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", ".", "1.", ".5", "+1", "1e5", "NaN", "1_000", " 1", "1 ", "0x1", "--1", "1,5", "∞"] {
            assert_eq!(parse(text), Err(NotADecimal::Malformed), "{text:?}");
        }
        for text in ["100000000000000", "0.12345678901234567890123456789", "123456789012345678901234567890"] {
            assert_eq!(parse(text), Err(NotADecimal::OutOfRange), "{text:?}");
        }
    }

    #[test]
    fn the_product_of_two_numbers_from_outside_never_overflows() {
        let largest = d("99999999999999.99999999999999");
        assert!(largest.checked_mul(largest).is_some());
    }

    #[test]
    fn a_kept_sum_stays_below_10_to_the_24() {
        let half = Decimal::from_i128_with_scale(500_000_000_000_000_000_000_000, 0);
        assert_eq!(kept_sum(half, half), None);
        assert!(kept_sum(half, half - Decimal::ONE).is_some());
        assert_eq!(kept_sum(Decimal::MAX, Decimal::MAX), None);
    }

    #[test]
    fn a_share_is_cut_even_where_the_product_overflows() {
        assert_eq!(share(d("10"), d("1"), d("3"), 12), d("3.333333333333"));
        assert_eq!(share(Decimal::MAX, d("50"), d("50"), 12), Decimal::MAX);
        assert_eq!(share(d("10"), d("1"), Decimal::ZERO, 12), Decimal::ZERO);
    }

    #[test]
    fn steps_round_both_ways() {
        assert_eq!(floor_to(d("59400.099"), d("0.01")), d("59400.09"));
        assert_eq!(ceil_to(d("60733.672"), d("0.01")), d("60733.68"));
        assert_eq!(ceil_to(d("60733.68"), d("0.01")), d("60733.68"));
        assert_eq!(floor_to(d("-0.015"), d("0.01")), d("-0.02"));
        assert_eq!(ceil_to(d("-0.015"), d("0.01")), d("-0.01"));
        assert_eq!(floor_to(d("7"), Decimal::ZERO), d("7"));
    }

    #[test]
    fn quotients_are_exact_at_the_step() {
        assert_eq!(quotient_floor(d("1"), d("3"), d("0.01")), Some(d("0.33")));
        assert_eq!(quotient_ceil(d("1"), d("3"), d("0.01")), Some(d("0.34")));
        assert_eq!(quotient_ceil(d("0.99"), d("3"), d("0.01")), Some(d("0.33")));
        assert_eq!(quotient_floor(d("1"), Decimal::ZERO, d("0.01")), None);
        // 2/3 rounds up at its 28th digit; a multiple of that must not reach the next step.
        assert_eq!(quotient_floor(d("2"), d("3"), Decimal::new(1, 27)).map(|q| q * d("3") <= d("2")), Some(true));
    }
}
