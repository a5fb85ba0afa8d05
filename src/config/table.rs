//! Reading one table of the file: asks for its keys one by one, and gathers every problem on the way.
//!
//! Numbers keep the text they were written as, so that amounts are read as exact decimals.

use std::ops::{Bound, RangeBounds as _};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{Problem, nearest, place};
use crate::core::Decimal;
use crate::core::money;

/// A value of the file could not be used: what was found and what is allowed.
pub(super) type Wrong = String;

/// One table while it is read. Every question about a key is answered with `None` if there is no usable value;
/// a value that is there but wrong is a problem, a required one that is not there is missing.
pub(super) struct Table<'t> {
    text: &'t str,
    /// `strategy`, or empty for the top of the file.
    name: &'static str,
    values: Option<&'t DeTable<'t>>,
    pub(super) problems: Vec<Problem>,
    missing: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// A table of the file; an absent one has no keys.
    pub(super) fn new(text: &'t str, name: &'static str, values: Option<&'t DeTable<'t>>) -> Self {
        Self { text, name, values, problems: Vec::new(), missing: Vec::new() }
    }

    /// The value of an optional key.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.values?.get(key)?;
        match read(value.get_ref()) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.wrong(key, wrong);
                None
            }
        }
    }

    /// The value of a key that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if self.values.is_none_or(|values| !values.contains_key(key)) {
            self.missing.push(key);
        }
        self.optional(key, read)
    }

    /// Notes a problem with the value of a key.
    pub(super) fn wrong(&mut self, key: &str, message: Wrong) {
        let offset = self.values.and_then(|values| values.get(key)).map(|value| value.span().start);
        self.problem(key, offset, message);
    }

    fn problem(&mut self, key: &str, offset: Option<usize>, message: String) {
        let place = offset.map(|offset| place(self.text, offset));
        let key = if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) };
        self.problems.push(Problem { place, key, message });
    }

    /// Notes every key that is not among `known`; `hint` may know better than the nearest name.
    pub(super) fn refuse_unknown(&mut self, known: &[&'static str], hint: impl Fn(&str) -> Option<String>) {
        let Some(values) = self.values else { return };
        for key in values.keys() {
            let name = key.get_ref().as_ref();
            if known.contains(&name) {
                continue;
            }
            let advice = hint(name)
                .or_else(|| nearest(name, known.iter().copied()).map(|near| format!("did you mean {near}?")))
                .unwrap_or_else(|| format!("known here are {}", known.join(", ")));
            self.problem(&shown(name), Some(key.span().start), format!("unknown key: {advice}"));
        }
    }

    /// The problems found, the missing keys named together.
    pub(super) fn finish(mut self) -> Vec<Problem> {
        if !self.missing.is_empty() {
            let table = if self.name.is_empty() { String::new() } else { format!(" in [{}]", self.name) };
            let message = format!("missing{table}: {}", self.missing.join(", "));
            self.problems.push(Problem { place: None, key: String::new(), message });
        }
        self.problems
    }
}

/// What was found, for an error: short, on one line.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("{:?}", shown(text)),
        DeValue::Integer(number) => shown(&number.to_string()),
        DeValue::Float(number) => shown(&number.to_string()),
        DeValue::Boolean(truth) => truth.to_string(),
        other => format!("a TOML {}", other.type_str()),
    }
}

/// At most 40 characters, none of them a control character.
fn shown(text: &str) -> String {
    let mut short: String = text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(40).collect();
    if text.chars().nth(40).is_some() {
        short.push('…');
    }
    short
}

/// Any text in quotes, but not an empty one.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, Wrong> {
    match value {
        DeValue::String(text) if text.is_empty() => Err("is empty".to_owned()),
        DeValue::String(text) if text.chars().any(char::is_control) => {
            Err(format!("{} has control characters", found(value)))
        }
        DeValue::String(text) => Ok(text.clone().into_owned()),
        other => Err(format!("found {}, must be a text in quotes", found(other))),
    }
}

/// `true` or `false`.
pub(super) fn truth(value: &DeValue<'_>) -> Result<bool, Wrong> {
    match value {
        DeValue::Boolean(truth) => Ok(*truth),
        other => Err(format!("found {}, must be true or false (without quotes)", found(other))),
    }
}

/// A whole number in `low..=high`.
pub(super) fn whole(low: u64, high: u64) -> impl Fn(&DeValue<'_>) -> Result<u64, Wrong> {
    move |value| {
        let number = match value {
            DeValue::Integer(number) if number.radix() == 10 => number.as_str().parse::<u64>().ok(),
            _ => None,
        };
        number.filter(|number| (low..=high).contains(number)).ok_or_else(|| {
            format!("found {}, must be a whole number from {low} to {high} (without quotes)", found(value))
        })
    }
}

/// A number, as TOML number or as text, read exactly and within bounds.
pub(super) fn decimal(low: Bound<Decimal>, high: Bound<Decimal>) -> impl Fn(&DeValue<'_>) -> Result<Decimal, Wrong> {
    move |value| {
        let written = match value {
            DeValue::String(text) => text.as_ref(),
            DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
            DeValue::Float(number) => number.as_str(),
            _ => "",
        };
        let allowed = || format!("must be a decimal number {}, for example \"1.5\"", bounds(low, high));
        match money::parse(written.strip_prefix('+').unwrap_or(written)) {
            Ok(number) if (low, high).contains(&number) => Ok(number),
            Ok(_) => Err(format!("found {}, {}", found(value), allowed())),
            Err(reason) => Err(format!("found {} ({reason}), {}", found(value), allowed())),
        }
    }
}

/// Bounds for people: `above 0 and below 100`.
fn bounds(low: Bound<Decimal>, high: Bound<Decimal>) -> String {
    let low = match low {
        Bound::Included(low) => Some(format!("of at least {}", money::text(low))),
        Bound::Excluded(low) => Some(format!("above {}", money::text(low))),
        Bound::Unbounded => None,
    };
    let high = match high {
        Bound::Included(high) => Some(format!("of at most {}", money::text(high))),
        Bound::Excluded(high) => Some(format!("below {}", money::text(high))),
        Bound::Unbounded => None,
    };
    low.into_iter().chain(high).collect::<Vec<_>>().join(" and ")
}

/// A duration of whole milliseconds in `low..=high`, written like `"1h 30m"`.
pub(super) fn duration(low: Duration, high: Duration) -> impl Fn(&DeValue<'_>) -> Result<Duration, Wrong> {
    move |value| {
        let number = match value {
            DeValue::String(text) => humantime::parse_duration(text).ok(),
            _ => None,
        };
        number
            .filter(|duration| (low..=high).contains(duration) && duration.subsec_nanos() % 1_000_000 == 0)
            .ok_or_else(|| {
                format!(
                    "found {}, must be a duration in quotes from \"{}\" to \"{}\", in whole milliseconds, for example \
                     \"500ms\", \"2s\" or \"1h 30m\"",
                    found(value),
                    humantime::format_duration(low),
                    humantime::format_duration(high)
                )
            })
    }
}

/// One of a few names, each of which stands for a value.
pub(super) fn one_of<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Result<T, Wrong> {
    move |value| {
        let chosen = value.as_str().and_then(|name| choices.iter().find(|(choice, _)| *choice == name));
        chosen.map(|(_, chosen)| *chosen).ok_or_else(|| {
            let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
            format!("found {}, must be {}", found(value), names.join(" or "))
        })
    }
}

/// `"off"`, or what the other reader reads.
pub(super) fn or_off<T>(
    read: impl Fn(&DeValue<'_>) -> Result<T, Wrong>,
) -> impl Fn(&DeValue<'_>) -> Result<Option<T>, Wrong> {
    move |value| match value.as_str() {
        Some("off") => Ok(None),
        _ => read(value).map(Some).map_err(|wrong| format!("{wrong}, or \"off\"")),
    }
}

/// For the table `[name]` itself, when something else is written in its place.
pub(super) fn no_table(name: &str, value: &Spanned<DeValue<'_>>, text: &str) -> Problem {
    Problem {
        place: Some(place(text, value.span().start)),
        key: name.to_owned(),
        message: format!("found {}, must be a table: a line [{name}] with its keys below", found(value.get_ref())),
    }
}
