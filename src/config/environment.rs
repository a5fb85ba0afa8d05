//! Bybit's environments: whose money is traded. Keys belong to one of them.

use std::fmt;

/// An environment of Bybit's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Environment {
    /// Mainnet's prices, play money.
    Demo,
    /// Bybit's test system: its own prices, play money.
    Testnet,
    /// Real money.
    Mainnet,
}

impl Environment {
    /// All of them, in the order people should try them.
    pub const ALL: [Self; 3] = [Self::Demo, Self::Testnet, Self::Mainnet];

    /// As the configuration writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Demo => "demo",
            Self::Testnet => "testnet",
            Self::Mainnet => "mainnet",
        }
    }

    /// The environment of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|environment| environment.name() == name)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
