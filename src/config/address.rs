//! Addresses that override Bybit's own: complete, without surprises, encrypted unless on loopback.

use std::net::IpAddr;

use crate::bybit::environment::Environment;

/// What an address is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// `https://host[:port]`, `http` on loopback.
    Rest,
    /// `wss://host[:port]/path`, `ws` on loopback.
    Stream,
}

/// Checks an address; gives it back without a trailing slash.
///
/// # Errors
/// What is wrong with it and what is allowed.
pub(super) fn check(text: &str, purpose: Purpose) -> Result<String, String> {
    let (secure, plain, example) = match purpose {
        Purpose::Rest => ("https", "http", "https://api-demo.bybit.com"),
        Purpose::Stream => ("wss", "ws", "wss://stream-demo.bybit.com/v5/private"),
    };
    let wrong = |what: &str| Err(format!("{text:?} {what}: write it as \"{example}\""));
    let Some((scheme, rest)) = text.split_once("://") else {
        return wrong("is no address");
    };
    if scheme != secure && scheme != plain {
        return wrong(&format!("does not start with {secure}:// (or {plain}:// on loopback)"));
    }
    if !rest.bytes().all(|byte| byte.is_ascii_graphic()) || rest.contains(['@', '?', '#', '\\', '"']) {
        return wrong("has characters that an address here may not have");
    }
    let rest = rest.trim_end_matches('/');
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let Some(host) = host(authority) else {
        return wrong("has no valid host and port");
    };
    if purpose == Purpose::Rest && !path.is_empty() {
        return wrong("has a path");
    }
    if scheme == plain && !is_loopback(host) {
        return Err(format!("{text:?} is not encrypted: {plain}:// is allowed for this machine itself only"));
    }
    Ok(format!("{scheme}://{rest}"))
}

/// Whether an address is Bybit's own and of another environment than the configured one. Demo and testnet
/// hosts carry their name (`api-demo.bybit.com`); whatever else Bybit has, in any region, moves real money.
pub(super) fn contradicts(url: &str, environment: Environment) -> bool {
    let authority = url.split("://").nth(1).unwrap_or_default().split('/').next().unwrap_or_default();
    let Some(host) = host(authority).map(str::to_ascii_lowercase) else { return false };
    let mut labels = host.split('.');
    let first = labels.next().unwrap_or_default();
    if !labels.any(|label| label.starts_with("bybit") || label.starts_with("bytick")) {
        return false;
    }
    let of = |name: &str| first.split('-').any(|part| part == name);
    match environment {
        Environment::Demo => !of("demo"),
        Environment::Testnet => !of("testnet"),
        Environment::Mainnet => of("demo") || of("testnet"),
    }
}

/// The host of `host[:port]`, `[v6]` included, if both are well formed.
fn host(authority: &str) -> Option<&str> {
    let (host, port) = if authority.starts_with('[') {
        let end = authority.find(']')? + 1;
        (authority.get(..end)?, authority.get(end..)?.strip_prefix(':').or((authority.len() == end).then_some("80"))?)
    } else {
        authority.split_once(':').unwrap_or((authority, "80"))
    };
    let name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    let named = !host.is_empty() && !host.starts_with('.') && host.bytes().all(name);
    let well_formed = named || ip(host).is_some();
    let port_fits = port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    (well_formed && port_fits).then_some(host)
}

fn ip(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::from),
        None => host.parse().ok(),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || ip(host).is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encrypted_addresses_and_loopback_are_taken() {
        for (url, purpose) in [
            ("https://api.bybit.nl", Purpose::Rest),
            ("https://10.0.0.1:8443", Purpose::Rest),
            ("http://127.0.0.1:8080", Purpose::Rest),
            ("http://localhost:1", Purpose::Rest),
            ("http://[::1]:8080", Purpose::Rest),
            ("wss://stream.bybit.eu/v5/private", Purpose::Stream),
            ("ws://127.0.0.1:8080/v5/private", Purpose::Stream),
        ] {
            assert_eq!(check(url, purpose).as_deref(), Ok(url));
        }
        assert_eq!(check("http://127.0.0.1:80/", Purpose::Rest).as_deref(), Ok("http://127.0.0.1:80"));
    }

    #[test]
    fn other_addresses_are_refused() {
        for url in [
            "",
            "api.bybit.com",
            "ftp://api.bybit.com",
            "wss://api.bybit.com",
            "http://api.bybit.com",
            "http://127.0.0.1.evil.com",
            "http://127.0.0.1@evil.com",
            "http://127.0.0.1\\@evil.com",
            "https://",
            "https://:8080",
            "https://host:",
            "https://host:0",
            "https://host:99999",
            "https://host:+80",
            "https://host/v5",
            "https://host?x=1",
            "https://ho st",
            "https://[::1",
            "https://[::1]x",
            "https://é.com",
        ] {
            assert!(check(url, Purpose::Rest).is_err(), "{url:?}");
        }
    }

    #[test]
    fn a_host_of_bybits_belongs_to_one_environment() {
        use Environment::{Demo, Mainnet, Testnet};
        for (url, environment, contradiction) in [
            ("https://api-demo.bybit.com", Demo, false),
            ("https://api.bybit.com", Demo, true),
            ("https://API.Bybit.nl:443", Demo, true),
            ("https://api.bytick.com", Testnet, true),
            ("https://api-testnet.bybit.com", Testnet, false),
            ("https://api-testnet.bybit.com", Demo, true),
            ("https://api.bybit.kz", Mainnet, false),
            ("https://api-demo.bybit.com", Mainnet, true),
            ("wss://stream.bybit.com/v5/private", Demo, true),
            ("http://127.0.0.1:8080", Demo, false),
            ("https://exchange.example", Demo, false),
        ] {
            assert_eq!(contradicts(url, environment), contradiction, "{url} in {environment}");
        }
    }
}
