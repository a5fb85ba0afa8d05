//! Text from outside, made fit to be shown: the one place that takes its control characters from it.
//!
//! What the exchange says (reasons, messages, names of orders) may hold anything. A control character in it could forge a line
//! or steer a terminal; so could the marks that turn the direction of writing around. In: any text. Out: the same, with each of
//! them written as JSON writes it (`\n`, `\u001b`), so that a JSON line stays one, and means what it meant.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The text on one line: line breaks are control characters too.
pub fn printable(text: &str) -> Cow<'_, str> {
    without(text, steers)
}

/// The text with its line breaks, which are those of this program.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    without(text, |character| character != '\n' && steers(character))
}

fn steers(character: char) -> bool {
    character.is_control() || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn without(text: &str, is_bad: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_bad) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            good if !is_bad(good) => shown.push(good),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            // All of them have four digits; writing into a string cannot fail.
            other => {
                let _ = write!(shown, "\\u{:04x}", u32::from(other));
            }
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_forges_a_line_is_shown_instead_of_obeyed() {
        let foreign = "a\nb\r\t\x1b[2J\u{9b}c\u{202e}d\x7f";
        assert_eq!(printable(foreign), "a\\nb\\r\\t\\u001b[2J\\u009bc\\u202ed\\u007f");
        assert_eq!(printable_lines(foreign), "a\nb\\r\\t\\u001b[2J\\u009bc\\u202ed\\u007f");
    }

    #[test]
    fn other_text_stays_as_it_is() {
        let text = "ação 中文 🙂 \\n";
        assert!(matches!(printable(text), Cow::Borrowed(same) if same == text));
    }

    #[test]
    fn json_stays_json_and_means_the_same() {
        let value = serde_json::json!({ "message": "\x1b\u{9b}\u{202e}\n\x7f" });
        let shown: serde_json::Value = serde_json::from_str(&printable(&value.to_string())).unwrap();
        assert_eq!(shown, value);
    }
}
