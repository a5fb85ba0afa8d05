//! Demo, testnet or mainnet, and the hosts of each.
//!
//! Source: <https://bybit-exchange.github.io/docs/v5/guide>, integration guidance; demo trading service.

use std::fmt;
use std::str::FromStr;

use super::address::{Address, BadAddress};

/// Which of Bybit's worlds; a key belongs to one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Real prices, money that is not real.
    Demo,
    /// Bybit's own test exchange, with its own prices.
    Testnet,
    /// Real money.
    Mainnet,
}

impl Environment {
    /// All of them, in the order people should try them.
    pub const ALL: [Self; 3] = [Self::Demo, Self::Testnet, Self::Mainnet];

    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Testnet => "testnet",
            Self::Mainnet => "mainnet",
        }
    }

    /// REST, private stream, public spot stream. Demo shares the public stream of mainnet.
    fn urls(self) -> [&'static str; 3] {
        match self {
            Self::Demo => [
                "https://api-demo.bybit.com",
                "wss://stream-demo.bybit.com/v5/private",
                "wss://stream.bybit.com/v5/public/spot",
            ],
            Self::Testnet => [
                "https://api-testnet.bybit.com",
                "wss://stream-testnet.bybit.com/v5/private",
                "wss://stream-testnet.bybit.com/v5/public/spot",
            ],
            Self::Mainnet => {
                ["https://api.bybit.com", "wss://stream.bybit.com/v5/private", "wss://stream.bybit.com/v5/public/spot"]
            }
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Environment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "demo" => Ok(Self::Demo),
            "testnet" => Ok(Self::Testnet),
            "mainnet" => Ok(Self::Mainnet),
            _ => Err(format!("{text:?} is no environment: demo, testnet or mainnet")),
        }
    }
}

/// The three hosts a bot talks to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Requests and answers.
    pub rest_url: Address,
    /// Orders and executions of the account.
    pub stream_url: Address,
    /// Trades and best prices of the market.
    pub public_stream_url: Address,
}

impl Hosts {
    /// The environment's hosts, each replaced by its override where one is given (a regional site, an exchange on
    /// loopback).
    ///
    /// # Errors
    /// [`BadAddress`] when an override is no address this program connects to.
    pub fn new(
        environment: Environment,
        rest_url: Option<&str>,
        stream_url: Option<&str>,
        public_stream_url: Option<&str>,
    ) -> Result<Self, BadAddress> {
        let [rest, stream, public] = environment.urls();
        Ok(Self {
            rest_url: Address::rest(rest_url.unwrap_or(rest))?,
            stream_url: Address::stream(stream_url.unwrap_or(stream))?,
            public_stream_url: Address::stream(public_stream_url.unwrap_or(public))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_environment_has_its_hosts_and_reads_its_name_back() {
        for environment in [Environment::Demo, Environment::Testnet, Environment::Mainnet] {
            assert_eq!(environment.name().parse(), Ok(environment));
            let hosts = Hosts::new(environment, None, None, None).unwrap();
            assert!(hosts.rest_url.is_secure() && hosts.stream_url.is_secure() && hosts.public_stream_url.is_secure());
        }
        assert!("Mainnet".parse::<Environment>().unwrap_err().contains("demo, testnet or mainnet"));
        let demo = Hosts::new(Environment::Demo, None, None, None).unwrap();
        assert_eq!(demo.public_stream_url.to_string(), "wss://stream.bybit.com/v5/public/spot");
    }

    #[test]
    fn an_override_replaces_one_host_and_is_checked() {
        let hosts = Hosts::new(Environment::Mainnet, Some("https://api.bybit.nl"), None, None).unwrap();
        assert_eq!(hosts.rest_url.host(), "api.bybit.nl");
        assert_eq!(hosts.stream_url.host(), "stream.bybit.com");
        assert!(Hosts::new(Environment::Demo, None, Some("ws://10.0.0.1/v5/private"), None).is_err());
    }
}
