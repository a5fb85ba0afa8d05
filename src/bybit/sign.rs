//! Key, secret and the signatures made with them.
//!
//! Goes in: the text that Bybit signs. Comes out: HMAC-SHA256 in lower-case hex. The secret is turned into a keyed
//! hash once and is not kept.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// An API key and its secret. Neither can be read from its `Debug`.
#[derive(Clone)]
pub struct Credentials {
    key: String,
    keyed: Hmac<Sha256>,
}

impl Credentials {
    /// A key and its secret, as Bybit shows them. Blanks around them (a file's last newline) are dropped.
    ///
    /// # Errors
    /// When one is empty, or the key holds something that cannot be a header's value.
    pub fn new(key: &str, secret: &str) -> Result<Self, String> {
        let (key, secret) = (key.trim(), secret.trim());
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the API key is empty or has characters that no key has".to_owned());
        }
        if secret.is_empty() {
            return Err("the API secret is empty".to_owned());
        }
        let keyed = Hmac::new_from_slice(secret.as_bytes()).map_err(|_| "the API secret is unusable".to_owned())?;
        Ok(Self { key: key.to_owned(), keyed })
    }

    /// The key, for the header and for the stream's `auth`.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The signature of a REST request: over timestamp, key, window and payload (query string or body, byte for
    /// byte as sent).
    pub(crate) fn sign_request(&self, timestamp: &str, window: &str, payload: &str) -> String {
        self.sign(&[timestamp, &self.key, window, payload])
    }

    /// The signature of the stream's `auth`, which is good until `expires` (ms).
    pub(crate) fn sign_stream(&self, expires: i64) -> String {
        self.sign(&["GET/realtime", &expires.to_string()])
    }

    /// The text without the key: Bybit quotes the signed text, key and all, when a signature is wrong.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.key, "…")
    }

    fn sign(&self, parts: &[&str]) -> String {
        let mut hash = self.keyed.clone();
        for part in parts {
            hash.update(part.as_bytes());
        }
        hex::encode(hash.finalize().into_bytes())
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The expected values come from: printf '<text>' | openssl dgst -sha256 -hmac TESTSECRET
    fn credentials() -> Credentials {
        Credentials::new("XXXXXXXXXX", "TESTSECRET\n").unwrap()
    }

    #[test]
    fn a_get_signs_its_query_and_a_post_its_body() {
        assert_eq!(
            credentials().sign_request("1658384314791", "5000", "category=option&symbol=BTC-29JUL22-25000-C"),
            "faf76debd29add8316b0b1cec70b5eb111d9fa21ce62719d1f47011b7c4814ef"
        );
        assert_eq!(
            credentials().sign_request("1658385579423", "5000", r#"{"category":"spot"}"#),
            "b45480776b0a13fedcc43e2850be1a64e9b7b5aa069a685d197c298a858362c1"
        );
    }

    #[test]
    fn the_stream_signs_its_expiry() {
        assert_eq!(
            credentials().sign_stream(1_658_384_324_791),
            "a4b79717d4f5644a9804da56866ac7a21adbaceebcd8423e904f1188568988aa"
        );
    }

    #[test]
    fn debug_reveals_nothing() {
        assert_eq!(format!("{:?}", credentials()), "Credentials(…)");
    }

    #[test]
    fn the_key_is_taken_out_of_what_the_exchange_says() {
        let message = "error sign! origin_string[1658384314791XXXXXXXXXX5000category=spot]";
        assert_eq!(credentials().redact(message), "error sign! origin_string[1658384314791…5000category=spot]");
    }

    #[test]
    fn empty_or_impossible_keys_are_refused_without_showing_them() {
        for (key, secret) in [("", "s"), ("k", " \n"), ("k y", "s"), ("k\r\nHost: x", "s"), ("clé", "s")] {
            let error = Credentials::new(key, secret).unwrap_err();
            assert!(error.contains("API"), "{error}");
        }
    }
}
