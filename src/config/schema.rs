//! The file as a whole: its top-level keys, and the rules that join several keys.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::address::{self, Purpose};
use super::problem::{ConfigError, Problem, place};
use super::table::{self, Table};
use super::{Config, strategy};
use crate::bybit::environment::Environment;
use crate::core::order::BotName;

/// The keys above `[strategy]`.
pub(super) const KEYS: &[&str] = &[
    "bot",
    "environment",
    "rest_url",
    "stream_url",
    "public_stream_url",
    "ca_file",
    "state_dir",
    "api_key_file",
    "api_secret_file",
];

/// Reads and checks the text of a configuration. Pure: relative paths in it are joined to the folder of `file`,
/// nothing is looked up.
///
/// # Errors
/// Every problem of the text at once: of its syntax if that is broken, else of its keys and values.
pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let failed = |problems| ConfigError::new(file.display().to_string(), problems);
    // A byte order mark is what some editors put before UTF-8.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let syntax = |error: &toml::de::Error| Problem {
            place: error.span().map(|span| place(text, span.start)),
            key: String::new(),
            message: format!("not TOML: {}", error.message()),
        };
        return Err(failed(errors.iter().map(syntax).collect()));
    }
    let (config, problems) = read(text, document.get_ref(), file);
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(failed(problems)),
    }
}

/// The configuration if every value of it is usable, and all problems.
fn read(text: &str, document: &DeTable<'_>, file: &Path) -> (Option<Config>, Vec<Problem>) {
    let (parameters, mut problems) = match document.get("strategy").map(|value| (value, value.get_ref())) {
        None => strategy::read(text, None, KEYS),
        Some((_, DeValue::Table(values))) => strategy::read(text, Some(values), KEYS),
        Some((value, _)) => (None, vec![table::no_table("strategy", value, text)]),
    };
    let mut top = Table::new(text, "", Some(document));
    let bot = top.required("bot", |value| BotName::new(&table::text(value)?));
    let environments = Environment::ALL.map(|environment| (environment.name(), environment));
    let environment = top.required("environment", table::one_of(&environments));
    let mut override_of = |key, purpose| top.optional(key, |value| address::check(&table::text(value)?, purpose));
    let rest_url = override_of("rest_url", Purpose::Rest);
    let stream_url = override_of("stream_url", Purpose::Stream);
    let public_stream_url = override_of("public_stream_url", Purpose::Stream);
    // Demo's public stream is mainnet's: only the addresses that keys are sent to must agree.
    for (key, url) in [("rest_url", &rest_url), ("stream_url", &stream_url)] {
        if let Some((url, environment)) = url.as_ref().zip(environment)
            && address::contradicts(url, environment)
        {
            top.wrong(key, format!("{url:?} is not Bybit's {environment}: change it, or environment"));
        }
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut path = |key| top.optional(key, |value| full_path(folder, table::text(value)?));
    let (ca_file, state_dir) = (path("ca_file"), path("state_dir"));
    let (api_key_file, api_secret_file) = (path("api_key_file"), path("api_secret_file"));
    top.refuse_unknown(&[KEYS, &["strategy"]].concat(), advice);
    problems.extend(top.finish());
    let config = || {
        Some(Config {
            bot: bot?,
            environment: environment?,
            rest_url,
            stream_url,
            public_stream_url,
            ca_file,
            state_dir,
            api_key_file,
            api_secret_file,
            parameters: parameters?,
        })
    };
    (config(), problems)
}

fn full_path(folder: &Path, written: String) -> Result<PathBuf, String> {
    if written == "~" || written.starts_with("~/") {
        return Err(format!("{written:?}: ~ stands for nothing here, write the whole path"));
    }
    Ok(folder.join(written))
}

/// What to do about a key that is known elsewhere.
fn advice(key: &str) -> Option<String> {
    if strategy::KEYS.contains(&key) {
        return Some("it belongs below the line [strategy]".to_owned());
    }
    matches!(key, "api_key" | "api_secret" | "key" | "secret").then(|| {
        "keys do not belong in this file: set BYBIT_API_KEY and BYBIT_API_SECRET, or write each into a file of its own \
         and name it with api_key_file and api_secret_file"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "bot = \"btc\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\n\
                           base_order_amount = 50\ntake_profit_percent = 1.0\nmax_rebuys = 0\nmax_capital = \"200\"\n";

    fn errors(text: &str) -> Vec<String> {
        parse(text, Path::new("recompra.toml")).unwrap_err().to_string().lines().map(str::to_owned).collect()
    }

    /// The minimal file with one line put on top.
    fn with(line: &str) -> String {
        format!("{line}\n{MINIMAL}")
    }

    #[test]
    fn the_smallest_file_is_enough() {
        let config = parse(MINIMAL, Path::new("recompra.toml")).unwrap();
        assert_eq!(config.bot.as_str(), "btc");
        assert_eq!(config.environment, Environment::Demo);
        assert_eq!(config.state_dir, None);
        assert_eq!(config.parameters.symbol, "BTCUSDT");
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_are_taken() {
        let text = format!("\u{feff}{}", MINIMAL.replace('\n', "\r\n"));
        assert!(parse(&text, Path::new("recompra.toml")).is_ok());
    }

    #[test]
    fn paths_are_relative_to_the_files_folder() {
        let text = with("state_dir = \"state\"\nca_file = \"/etc/ca.pem\"");
        let config = parse(&text, Path::new("/srv/bot/recompra.toml")).unwrap();
        assert_eq!(config.state_dir, Some(PathBuf::from("/srv/bot/state")));
        assert_eq!(config.ca_file, Some(PathBuf::from("/etc/ca.pem")));
        let error = errors(&with("state_dir = \"~/state\""));
        assert!(error[0].starts_with("recompra.toml:1:13: state_dir: \"~/state\": ~ stands for nothing"), "{error:?}");
    }

    #[test]
    fn an_empty_file_names_all_that_is_missing_together() {
        assert_eq!(
            errors(""),
            [
                "recompra.toml: missing in [strategy]: symbol, base_order_amount, take_profit_percent, max_rebuys, \
                 max_capital",
                "recompra.toml: missing: bot, environment",
            ]
        );
    }

    #[test]
    fn all_problems_are_told_at_once_in_the_order_of_their_lines() {
        let text = "bot = \"Bitcoin!\"\nenvironment = \"live\"\n[strategy]\nsymbol = \"btcusdt\"\nmax_rebuys = 101\n\
                    take_profit = 1\nbase_order_amount = \"1e3\"\n";
        let found = errors(text);
        let starts = [
            "recompra.toml:1:7: bot: ",
            "recompra.toml:2:15: environment: found \"live\", must be \"demo\" or \"testnet\" or \"mainnet\"",
            "recompra.toml:4:10: strategy.symbol: ",
            "recompra.toml:5:14: strategy.max_rebuys: found 101, must be a whole number from 0 to 100",
            "recompra.toml:6:1: strategy.take_profit: unknown key: ",
            "recompra.toml:7:21: strategy.base_order_amount: found \"1e3\" (not a plain decimal number), must be",
            "recompra.toml: missing in [strategy]: take_profit_percent, max_capital",
        ];
        assert_eq!(found.len(), starts.len(), "{found:#?}");
        for (line, start) in found.iter().zip(starts) {
            assert!(line.starts_with(start), "{line}\nshould start with\n{start}");
        }
    }

    #[test]
    fn an_unknown_key_gets_the_nearest_name_or_the_right_table() {
        assert!(errors(&with("enviroment = 1"))[0].ends_with("enviroment: unknown key: did you mean environment?"));
        assert!(
            errors(&with("symbol = \"X\""))[0].ends_with("symbol: unknown key: it belongs below the line [strategy]")
        );
        let below = errors(&format!("{MINIMAL}state_dir = \"x\"\n"));
        assert!(below[0].ends_with("state_dir: unknown key: it belongs above the line [strategy]"), "{below:?}");
    }

    #[test]
    fn a_secret_in_the_file_is_refused_and_not_repeated() {
        let error = errors(&with("api_secret = \"geheim\""));
        assert!(error[0].contains("api_secret_file") && !error[0].contains("geheim"), "{error:?}");
    }

    #[test]
    fn broken_syntax_is_told_with_its_place() {
        let error = errors("bot = \"btc\nenvironment = demo\n");
        assert!(error[0].starts_with("recompra.toml:1:") && error[0].contains("not TOML"), "{error:?}");
        assert!(errors("bot = 'a'\nbot = 'b'\n")[0].starts_with("recompra.toml:2:1: not TOML: duplicate key"));
    }

    #[test]
    fn strategy_must_be_a_table() {
        let error = errors("strategy = 3\nbot = \"a\"\nenvironment = \"demo\"\n");
        assert_eq!(
            error,
            ["recompra.toml:1:12: strategy: found 3, must be a table: a line [strategy] with its keys below"]
        );
    }

    #[test]
    fn an_address_must_fit_its_environment() {
        let error = errors(&with("rest_url = \"https://api.bybit.com\""));
        assert!(error[0].contains("is not Bybit's demo"), "{error:?}");
        assert!(errors(&with("rest_url = \"http://10.0.0.1\""))[0].contains("not encrypted"));
        let text = with("public_stream_url = \"wss://stream.bybit.com/v5/public/spot\"");
        assert!(parse(&text, Path::new("recompra.toml")).is_ok(), "demo's public stream is mainnet's");
    }

    #[test]
    fn no_text_makes_the_reader_panic() {
        use rand::{RngExt as _, SeedableRng as _};
        let mut random = rand::rngs::SmallRng::seed_from_u64(0x7031);
        let source = super::super::EXAMPLE.as_bytes();
        for _ in 0..2_000 {
            let mut bytes = source.to_vec();
            for _ in 0..random.random_range(1..6) {
                let at = random.random_range(0..bytes.len());
                match random.random_range(0..3) {
                    0 => bytes.truncate(at.max(1)),
                    1 => bytes[at] = random.random(),
                    _ => bytes.insert(at, b"=[]\"'\n.#{},-0"[random.random_range(0..13)]),
                }
            }
            let _ = parse(&String::from_utf8_lossy(&bytes), Path::new("x"));
        }
    }
}
