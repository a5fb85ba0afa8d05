//! One host of the exchange, as a checked address.
//!
//! Goes in: a URL somebody wrote. Comes out: scheme, host, port and path. Plain (unencrypted) schemes are taken for
//! loopback hosts only: a key must not travel in the clear.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Why a text is no address this program connects to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadAddress {
    url: String,
    reason: &'static str,
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.url, self.reason)
    }
}

impl std::error::Error for BadAddress {}

/// Where a connection goes to: `https://api.bybit.com`, `wss://stream.bybit.com/v5/private`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    scheme: &'static str,
    host: String,
    port: u16,
    path: String,
}

/// The secure scheme, the plain one and the default port of each.
type Schemes = [(&'static str, u16); 2];
const HTTP: Schemes = [("https", 443), ("http", 80)];
const WEB_SOCKET: Schemes = [("wss", 443), ("ws", 80)];

impl Address {
    /// The address of a REST host: `https://host[:port]`, or `http://` on loopback. It has no path.
    ///
    /// # Errors
    /// [`BadAddress`] says what is wrong with the URL.
    pub fn rest(url: &str) -> Result<Self, BadAddress> {
        let address = Self::parse(url, HTTP, "give an https:// URL (http:// is taken for loopback hosts only)")?;
        if address.path != "/" {
            return Err(bad(url, "give the host alone, without a path"));
        }
        Ok(address)
    }

    /// The address of a stream: `wss://host[:port]/path`, or `ws://` on loopback.
    ///
    /// # Errors
    /// [`BadAddress`] says what is wrong with the URL.
    pub fn stream(url: &str) -> Result<Self, BadAddress> {
        Self::parse(url, WEB_SOCKET, "give a wss:// URL (ws:// is taken for loopback hosts only)")
    }

    fn parse(url: &str, schemes: Schemes, wanted: &'static str) -> Result<Self, BadAddress> {
        let uri: ureq::http::Uri = url.parse().map_err(|_| bad(url, "not a URL"))?;
        let authority = uri.authority().ok_or_else(|| bad(url, wanted))?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let Some(&(scheme, default_port)) = schemes.iter().find(|(name, _)| *name == scheme) else {
            return Err(bad(url, wanted));
        };
        if authority.as_str().contains('@') {
            return Err(bad(url, "a user name in a URL is not supported"));
        }
        if uri.query().is_some() || url.contains('#') {
            return Err(bad(url, "give it without a query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let port = match authority.as_str().get(authority.host().len()..).unwrap_or_default().strip_prefix(':') {
            None => default_port,
            Some(port) => match port.parse() {
                Ok(port) if port > 0 => port,
                _ => return Err(bad(url, "the port is no number from 1 to 65535")),
            },
        };
        if host.is_empty() {
            return Err(bad(url, "the host is missing"));
        }
        let address = Self { scheme, host, port, path: uri.path().to_owned() };
        if !address.is_secure() && !address.is_loopback() {
            return Err(bad(url, "unencrypted connections are for loopback hosts (127.0.0.0/8, ::1, localhost) only"));
        }
        Ok(address)
    }

    /// Whether the connection is encrypted.
    pub fn is_secure(&self) -> bool {
        matches!(self.scheme, "https" | "wss")
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// The host's name or IP address, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for Address {
    /// The URL, without the slash that stands for an empty path; the port only where it is not the scheme's own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.scheme)?;
        if self.host.parse::<Ipv6Addr>().is_ok() {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        if self.port != if self.is_secure() { 443 } else { 80 } {
            write!(f, ":{}", self.port)?;
        }
        f.write_str(if self.path == "/" { "" } else { &self.path })
    }
}

fn bad(url: &str, reason: &'static str) -> BadAddress {
    BadAddress { url: url.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secure_hosts_are_taken_anywhere() {
        let address = Address::rest("https://api.bybit.nl").unwrap();
        assert_eq!((address.host(), address.port(), address.is_secure()), ("api.bybit.nl", 443, true));
        assert_eq!(Address::rest("https://api.bybit.com/").unwrap().to_string(), "https://api.bybit.com");
        assert_eq!(Address::rest("https://Example.com:8443").unwrap().to_string(), "https://example.com:8443");
        let stream = Address::stream("wss://stream.bybit.com/v5/private").unwrap();
        assert_eq!(stream.to_string(), "wss://stream.bybit.com/v5/private");
    }

    #[test]
    fn plain_ones_only_on_loopback() {
        for url in ["http://127.0.0.1:8080", "http://127.9.8.7", "http://[::1]:8080", "http://localhost:1"] {
            assert_eq!(Address::rest(url).unwrap().to_string(), url);
        }
        for url in ["http://api.bybit.com", "http://192.168.0.1:80", "http://localhost.evil.com", "http://[fe80::1]"] {
            assert!(Address::rest(url).unwrap_err().to_string().contains("loopback"), "{url}");
        }
        assert!(Address::stream("ws://example.com/v5/private").is_err());
    }

    #[test]
    fn other_texts_are_refused_with_a_reason() {
        for url in [
            "",
            "api.bybit.com",
            "ftp://api.bybit.com",
            "wss://api.bybit.com",
            "https://api.bybit.com/v5",
            "https://user:secret@api.bybit.com",
            "https://api.bybit.com:0",
            "https://api.bybit.com:99999",
            "https://api.bybit.com?x=1",
            "https://",
            "https://a b",
        ] {
            assert!(Address::rest(url).is_err(), "{url}");
        }
    }
}
