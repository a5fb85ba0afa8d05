//! One configuration with some of its strategy's keys written anew, over and over: what a sweep tries.
//!
//! In: the text of a file that is a configuration by itself, and for each try keys with values. Out: the parameters, checked
//! by the very rules of the file. A value is written as in the file, quotes or not.

use toml::de::DeTable;

use super::problem::Problem;
use super::strategy;
use crate::core::parameters::Parameters;

/// The strategy of a configuration, to be varied.
#[derive(Clone, Debug)]
pub struct Variations {
    text: String,
}

impl Variations {
    /// Of the text of a configuration that has been checked.
    pub fn of(text: &str) -> Self {
        Self { text: text.strip_prefix('\u{feff}').unwrap_or(text).to_owned() }
    }

    /// Whether the strategy has a parameter of this name.
    ///
    /// # Errors
    /// What was probably meant, or which there are.
    pub fn knows(key: &str) -> Result<(), String> {
        if strategy::KEYS.contains(&key) {
            return Ok(());
        }
        let near = super::problem::nearest(key, strategy::KEYS.iter().copied());
        let advice = near
            .map_or_else(|| format!("there are {}", strategy::KEYS.join(", ")), |near| format!("did you mean {near}?"));
        Err(format!("{key:?} is no parameter of the strategy: {advice}"))
    }

    /// The parameters with these keys written anew.
    ///
    /// # Errors
    /// The first problem: of one value, or of several together.
    pub fn with(&self, changes: &[(&str, &str)]) -> Result<Parameters, Problem> {
        let written: Vec<(&str, String)> = changes.iter().map(|(key, value)| (*key, as_toml(value))).collect();
        let anew: String = written.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        let (changes, _) = DeTable::parse_recoverable(&anew);
        let (document, _) = DeTable::parse_recoverable(&self.text);
        let mut strategy = document.get_ref().get("strategy").and_then(|value| value.get_ref().as_table()).cloned();
        if let Some(strategy) = &mut strategy {
            for (key, value) in changes.get_ref() {
                strategy.insert(key.clone(), value.clone());
            }
        }
        let (parameters, problems) = strategy::read(&self.text, strategy.as_ref(), &[]);
        let place_in_the_file = |problem: Problem| Problem { place: None, ..problem };
        match (problems.into_iter().next(), parameters) {
            (None, Some(parameters)) => Ok(parameters),
            (Some(problem), _) => Err(place_in_the_file(problem)),
            (None, None) => Err(Problem { place: None, key: "strategy".to_owned(), message: "is no table".to_owned() }),
        }
    }
}

/// A value as it stands in the file: numbers and truths as they are, all else in quotes.
fn as_toml(value: &str) -> String {
    let whole = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    if (whole && (value == "0" || !value.starts_with('0'))) || matches!(value, "true" | "false") {
        return value.to_owned();
    }
    let plain: String = value.trim_matches('"').chars().filter(|letter| !letter.is_control()).collect();
    format!("\"{}\"", plain.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::EXAMPLE;
    use crate::core::money;
    use crate::core::parameters::TakeProfitMode;

    #[test]
    fn keys_are_written_anew_and_the_others_stay() {
        let base = Variations::of(EXAMPLE);
        let changes = [
            ("rebuy_step_percent", "0.75"),
            ("take_profit_mode", "per_level"),
            ("max_rebuys", "2"),
            ("post_only", "true"),
            ("sell_delay", "5s"),
        ];
        let parameters = base.with(&changes).unwrap();
        assert_eq!(money::text(parameters.rebuy_step_percent), "0.75");
        assert_eq!((parameters.take_profit_mode, parameters.max_rebuys), (TakeProfitMode::PerLevel, 2));
        assert!(parameters.post_only);
        assert_eq!(parameters.sell_delay.as_secs(), 5);
        assert_eq!(parameters.symbol, "BTCUSDT");
        assert_eq!(
            base.with(&[]).unwrap(),
            crate::config::parse(EXAMPLE, std::path::Path::new("x")).unwrap().parameters
        );
    }

    #[test]
    fn the_rules_of_the_file_hold() {
        let base = Variations::of(EXAMPLE);
        let wrong = |changes: &[(&str, &str)]| base.with(changes).unwrap_err();
        assert_eq!(wrong(&[("max_rebuys", "101")]).key, "strategy.max_rebuys");
        assert_eq!(wrong(&[("max_rebuys", "x\" = \n\\")]).key, "strategy.max_rebuys");
        assert_eq!(wrong(&[("take_profit_percent", "")]).key, "strategy.take_profit_percent");
        let together = wrong(&[("max_rebuys", "9")]);
        assert_eq!(together.key, "strategy.max_capital");
        assert!(together.message.contains("the ladder costs"), "{together:?}");
        assert_eq!(together.place, None, "no line of the file is wrong by itself");
    }

    #[test]
    fn a_strange_name_is_told_with_the_nearest() {
        assert!(Variations::knows("rebuy_step_percent").is_ok());
        assert!(Variations::knows("rebuy_step_percnt").unwrap_err().contains("did you mean rebuy_step_percent?"));
        assert!(Variations::knows("leverage").unwrap_err().contains("there are symbol, "));
    }
}
