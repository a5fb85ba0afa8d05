//! Query strings, byte for byte as they are signed and sent.

use std::fmt::Write as _;

/// A query string under construction.
#[derive(Default)]
pub(super) struct Query(String);

impl Query {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Adds a parameter; what is not allowed in a query is percent-encoded.
    pub(super) fn add(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        for byte in value.bytes() {
            self.push(byte, matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~'));
        }
        self
    }

    /// Adds the cursor of the next page, unless there is none. Bybit hands it out percent-encoded and wants it back as it is; only
    /// what could not stand in a query is encoded.
    pub(super) fn cursor(mut self, cursor: &str) -> Self {
        if cursor.is_empty() {
            return self;
        }
        self.name("cursor");
        let bytes = cursor.as_bytes();
        for (at, &byte) in bytes.iter().enumerate() {
            let encoded = byte == b'%'
                && bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
            let plain = matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9')
                || matches!(byte, b'-' | b'_' | b'.' | b'~' | b':' | b',' | b'/' | b'=' | b'!' | b'*' | b'@' | b'$');
            self.push(byte, encoded || plain);
        }
        self
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    fn name(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
    }

    fn push(&mut self, byte: u8, plain: bool) {
        if plain {
            self.0.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(self.0, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_and_names_joined() {
        let query = Query::new().add("category", "spot").add("orderLinkId", "a b&c=é").finish();
        assert_eq!(query, "category=spot&orderLinkId=a%20b%26c%3D%C3%A9");
    }

    #[test]
    fn a_cursor_goes_back_as_it_came_unless_that_would_break_the_query() {
        assert_eq!(Query::new().cursor("1%3A17%2C2%3A3").finish(), "cursor=1%3A17%2C2%3A3");
        assert_eq!(Query::new().cursor("a&b#c% d").finish(), "cursor=a%26b%23c%25%20d");
        assert_eq!(Query::new().cursor("").finish(), "");
    }
}
