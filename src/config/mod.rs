//! The configuration: what the user wrote in `recompra.toml`, checked.
//!
//! In: the text of the file, its name, and the process's environment variables. Out: a [`Config`] that needs
//! no further checking, or every problem of the file at once, each with file, line, column, key, what was
//! found and what is allowed. Reading the text is a pure function; only [`load`] and [`credentials`]
//! touch the disk.

mod address;
pub mod credentials;
mod problem;
mod schema;
mod state_directory;
mod strategy;
mod table;
mod variation;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::core::order::BotName;
use crate::core::parameters::Parameters;

pub use crate::bybit::environment::Environment;
pub use problem::{ConfigError, Problem};
pub use schema::parse;
pub use variation::Variations;

/// A complete configuration to start from, with every key explained. It trades demo money.
pub const EXAMPLE: &str = include_str!("example.toml");

/// A file of this many bytes or more is not a configuration.
const LARGEST_FILE: u64 = 1 << 20;

/// How the program asks for an environment variable: `&|name| std::env::var_os(name)`, or a test's table.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A checked configuration. Relative paths in the file are already joined to the file's own folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name that is part of every order's name.
    pub bot: BotName,
    /// Whose money is traded.
    pub environment: Environment,
    /// Instead of the environment's REST host; without a trailing slash. Plain `http` on loopback only.
    pub rest_url: Option<String>,
    /// Instead of the environment's private stream. Plain `ws` on loopback only.
    pub stream_url: Option<String>,
    /// Instead of the environment's public spot stream. Plain `ws` on loopback only.
    pub public_stream_url: Option<String>,
    /// Certificates (PEM) that are trusted instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Where the journal lives, if the file says so; ask [`Config::state_directory`].
    pub state_dir: Option<PathBuf>,
    /// The file that holds the API key, if the file names one.
    pub api_key_file: Option<PathBuf>,
    /// The file that holds the API secret, if the file names one.
    pub api_secret_file: Option<PathBuf>,
    /// What is traded, and how.
    pub parameters: Parameters,
}

/// Reads and checks the configuration file.
///
/// # Errors
/// [`ConfigError`] when the file cannot be read, is no UTF-8, or has problems: then all of them.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let file = path.display().to_string();
    let unreadable = |reason: String| ConfigError::whole_file(&file, reason);
    let handle = std::fs::File::open(path).map_err(|error| {
        unreadable(match error.kind() {
            std::io::ErrorKind::NotFound => {
                "there is no such file: write one (the README has a first one) or name another with --config".to_owned()
            }
            _ => format!("cannot be read: {error}"),
        })
    })?;
    let mut bytes = Vec::new();
    handle
        .take(LARGEST_FILE)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(format!("cannot be read: {error}")))?;
    if bytes.len() as u64 >= LARGEST_FILE {
        return Err(unreadable("is larger than 1 MiB: that is no configuration".to_owned()));
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let good = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes().iter().take(good).filter(|byte| **byte == b'\n').count();
        unreadable(format!("is not UTF-8 text (first at line {line}): save it as UTF-8"))
    })?;
    parse(&text, path)
}

impl Config {
    /// Whether this environment may be traded with, or without, `--real-money` on the command line.
    ///
    /// # Errors
    /// When real money would be traded and the command line does not say so.
    pub fn permit_money(&self, real_money: bool) -> Result<(), String> {
        if self.environment == Environment::Mainnet && !real_money {
            return Err("environment is \"mainnet\": that is real money. Add --real-money to trade it, or set \
                        environment = \"demo\""
                .to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporary_folder::TemporaryFolder;

    #[test]
    fn the_example_is_a_valid_configuration_of_the_demo_environment() {
        let config = parse(EXAMPLE, Path::new("example.toml")).unwrap();
        assert_eq!(config.environment, Environment::Demo);
    }

    #[test]
    fn the_example_explains_every_key() {
        for key in schema::KEYS.iter().chain(strategy::KEYS) {
            let explained = |line: &str| line.trim_start_matches(['#', ' ']).starts_with(&format!("{key} = "));
            assert!(EXAMPLE.lines().any(explained), "{key} is not in example.toml");
        }
    }

    #[test]
    fn the_example_with_every_comment_removed_is_valid_too() {
        // A line that starts with `# key =` is an optional setting: switching all on must work.
        let known = |line: &str| {
            let key = line.split(" = ").next().unwrap_or_default();
            schema::KEYS.iter().chain(strategy::KEYS).any(|known| *known == key)
        };
        let text: String = EXAMPLE
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| known(rest)).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        parse(&text, Path::new("example.toml")).unwrap();
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let error = load(Path::new("/nonexistent/recompra.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/recompra.toml: there is no such file"), "{error}");
        assert!(error.contains("--config"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_utf8_is_refused_with_its_line() {
        let folder = TemporaryFolder::new("config-latin1");
        let error = load(&folder.write("c.toml", b"bot = \"btc\"\n# caf\xe9\n")).unwrap_err().to_string();
        assert!(error.contains("not UTF-8") && error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_directory_is_no_configuration() {
        assert!(load(&std::env::temp_dir()).unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn real_money_must_be_asked_for_twice() {
        let mut config = parse(EXAMPLE, Path::new("example.toml")).unwrap();
        assert_eq!(config.permit_money(false), Ok(()));
        config.environment = Environment::Mainnet;
        assert!(config.permit_money(false).unwrap_err().contains("--real-money"));
        assert_eq!(config.permit_money(true), Ok(()));
    }
}
