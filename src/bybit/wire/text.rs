//! One value of Bybit's JSON: nearly everything there is a string, numbers too.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::core::{Decimal, Timestamp, money};

/// A field that is missing or cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bybit) struct FieldError {
    pub(in crate::bybit) field: &'static str,
    pub(in crate::bybit) problem: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "field {}: {}", self.field, self.problem)
    }
}

impl FieldError {
    pub(super) fn missing(field: &'static str) -> Self {
        Self { field, problem: "missing".to_owned() }
    }

    pub(super) fn unreadable(field: &'static str, text: &str, wanted: &str) -> Self {
        // An answer may hold anything, of any length.
        let shown: String = text.chars().take(40).collect();
        Self { field, problem: format!("{shown:?} is {wanted}") }
    }
}

/// A string, or an integer where Bybit writes one instead; empty when absent or null.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::bybit) struct Text<'a>(Cow<'a, str>);

impl Text<'_> {
    pub(in crate::bybit) fn as_str(&self) -> &str {
        &self.0
    }

    pub(in crate::bybit) fn is_absent(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of a field that must be there.
    pub(super) fn required(&self, field: &'static str) -> Result<&str, FieldError> {
        if self.is_absent() { Err(FieldError::missing(field)) } else { Ok(&self.0) }
    }

    /// The number in a field that must be there.
    pub(in crate::bybit) fn decimal(&self, field: &'static str) -> Result<Decimal, FieldError> {
        let text = self.required(field)?;
        money::parse(text).map_err(|error| FieldError::unreadable(field, text, &error.to_string()))
    }

    /// The number in a field whose absence means that there is nothing.
    pub(super) fn decimal_or_zero(&self, field: &'static str) -> Result<Decimal, FieldError> {
        if self.is_absent() { Ok(Decimal::ZERO) } else { self.decimal(field) }
    }

    /// The moment in a field of milliseconds that must be there.
    pub(in crate::bybit) fn time(&self, field: &'static str) -> Result<Timestamp, FieldError> {
        let text = self.required(field)?;
        match text.parse() {
            Ok(milliseconds) if milliseconds >= 0 => Ok(Timestamp(milliseconds)),
            _ => Err(FieldError::unreadable(field, text, "not a time in milliseconds")),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an integer")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(number.to_string())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Text::default())
            }
        }

        deserializer.deserialize_any(TextVisitor)
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<String, String> {
        serde_json::from_str::<Text<'_>>(json).map(|text| text.as_str().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn strings_integers_and_null_are_text() {
        assert_eq!(read(r#""0.10""#).unwrap(), "0.10");
        assert_eq!(read(r#""a\"b""#).unwrap(), "a\"b");
        assert_eq!(read("17").unwrap(), "17");
        assert_eq!(read("-17").unwrap(), "-17");
        assert_eq!(read("null").unwrap(), "");
    }

    #[test]
    fn a_binary_float_is_refused_because_it_is_not_exact() {
        for json in ["0.1", "1e5", "true", "[]", "{}"] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    #[test]
    fn absent_is_an_error_that_names_the_field_or_zero_where_that_is_meant() {
        let absent = Text::from("");
        assert_eq!(absent.decimal("qty").unwrap_err().to_string(), "field qty: missing");
        assert_eq!(absent.decimal_or_zero("cumExecQty"), Ok(Decimal::ZERO));
        assert!(Text::from("12,5").decimal("qty").unwrap_err().to_string().contains("qty"));
        assert!(Text::from("NaN").decimal_or_zero("qty").is_err());
        assert!(Text::from("-1").time("createdTime").is_err());
        assert_eq!(Text::from("4102444800000").time("createdTime"), Ok(Timestamp(4_102_444_800_000)));
        assert!(FieldError::unreadable("x", &"9".repeat(10_000), "long").to_string().len() < 100);
    }
}
