//! The table `[strategy]`: every parameter's key, default and range.
//!
//! | key | allowed | default |
//! |---|---|---|
//! | `symbol` | 2 to 30 of `A-Z`, `0-9` | required |
//! | `base_order_amount`, `max_capital` | above 0 | required |
//! | `take_profit_percent` | above 0, at most 1000 | required |
//! | `take_profit_mode` | `average`, `per_level` | `average` |
//! | `max_rebuys` | 0 to 100 | required |
//! | `rebuy_amount` | above 0 | `base_order_amount` |
//! | `rebuy_step_percent` | above 0, below 100 | required if `max_rebuys` > 0 |
//! | `step_scale`, `amount_scale` | above 0, at most 100 | 1 |
//! | `deviation_from` | `base`, `previous` | `base` |
//! | `active_rebuys` | 1 to 100 | 1 |
//! | `sell_delay`, `rebuy_delay`, `cycle_delay` | 0 to 7 days | 2s, 500ms, 30s |
//! | `max_cycles` | 0 (never stops) to 10^12 | 0 |
//! | `stop_loss_percent` | above 0, below 100, or `off` | `off` |
//! | `time_limit` | 1 s to 10 years, or `off` | `off` |
//! | `post_only` | `true`, `false` | `false` |
//! | `fee_rate` | 0 to 0.1, a fraction | 0.001 |
//!
//! Beyond the single values, the whole ladder's cost must not exceed `max_capital`.

use std::ops::Bound::{Excluded, Included, Unbounded};
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::problem::Problem;
use super::table::{self, Table, Wrong};
use crate::core::Decimal;
use crate::core::ladder;
use crate::core::parameters::{DeviationFrom, Parameters, TakeProfitMode};

/// The keys of `[strategy]`, in the order of the strategy's own table.
pub(super) const KEYS: &[&str] = &[
    "symbol",
    "base_order_amount",
    "take_profit_percent",
    "take_profit_mode",
    "max_rebuys",
    "rebuy_amount",
    "rebuy_step_percent",
    "step_scale",
    "amount_scale",
    "deviation_from",
    "active_rebuys",
    "sell_delay",
    "rebuy_delay",
    "cycle_delay",
    "max_cycles",
    "max_capital",
    "stop_loss_percent",
    "time_limit",
    "post_only",
    "fee_rate",
];

const MOST_LEVELS: u64 = 100;
const MOST_CYCLES: u64 = 1_000_000_000_000;
const LONGEST_DELAY: Duration = Duration::from_secs(7 * 86_400);
const LONGEST_CYCLE: Duration = Duration::from_secs(3_650 * 86_400);
/// Bybit's usual spot fee, 0.1 %.
const USUAL_FEE: Decimal = Decimal::from_parts(1, 0, 0, false, 3);
/// 10 %: no spot fee comes near; whoever writes more has written a percentage.
const LARGEST_FEE: Decimal = Decimal::from_parts(1, 0, 0, false, 1);

/// Reads the table; an absent one lacks every required key. `above` are the keys that belong above the table.
pub(super) fn read(text: &str, values: Option<&DeTable<'_>>, above: &[&str]) -> (Option<Parameters>, Vec<Problem>) {
    let mut table = Table::new(text, "strategy", values);
    let parameters = read_parameters(&mut table);
    table.refuse_unknown(KEYS, |name| above.contains(&name).then(|| "it belongs above the line [strategy]".to_owned()));
    if let Some(parameters) = &parameters
        && let Err(error) = ladder::cost(parameters)
    {
        table.wrong("max_capital", error.to_string());
    }
    (parameters, table.finish())
}

fn read_parameters(table: &mut Table<'_>) -> Option<Parameters> {
    // Every key is asked for before the first `?`, so that every problem is found.
    let symbol = table.required("symbol", symbol);
    let base_order_amount = table.required("base_order_amount", positive());
    let take_profit_percent = table.required("take_profit_percent", up_to(1_000));
    let modes = [("average", TakeProfitMode::Average), ("per_level", TakeProfitMode::PerLevel)];
    let take_profit_mode = table.optional("take_profit_mode", table::one_of(&modes));
    let max_rebuys = table.required("max_rebuys", table::whole(0, MOST_LEVELS));
    let rebuy_amount = table.optional("rebuy_amount", positive());
    let rebuy_step_percent = if max_rebuys.is_some_and(|levels| levels > 0) {
        table.required("rebuy_step_percent", percent())
    } else {
        table.optional("rebuy_step_percent", percent()).or(Some(Decimal::ZERO))
    };
    let step_scale = table.optional("step_scale", up_to(100));
    let amount_scale = table.optional("amount_scale", up_to(100));
    let origins = [("base", DeviationFrom::Base), ("previous", DeviationFrom::Previous)];
    let deviation_from = table.optional("deviation_from", table::one_of(&origins));
    let active_rebuys = table.optional("active_rebuys", table::whole(1, MOST_LEVELS));
    let mut delay = |key| table.optional(key, table::duration(Duration::ZERO, LONGEST_DELAY));
    let (sell_delay, rebuy_delay, cycle_delay) = (delay("sell_delay"), delay("rebuy_delay"), delay("cycle_delay"));
    let max_cycles = table.optional("max_cycles", table::whole(0, MOST_CYCLES));
    let max_capital = table.required("max_capital", positive());
    let stop_loss_percent = table.optional("stop_loss_percent", table::or_off(percent()));
    let time_limit = table::duration(Duration::from_secs(1), LONGEST_CYCLE);
    let time_limit = table.optional("time_limit", table::or_off(time_limit));
    let post_only = table.optional("post_only", table::truth);
    let fee_rate = table.optional("fee_rate", table::decimal(Included(Decimal::ZERO), Included(LARGEST_FEE)));
    let base_order_amount = base_order_amount?;
    Some(Parameters {
        symbol: symbol?,
        base_order_amount,
        take_profit_percent: take_profit_percent?,
        take_profit_mode: take_profit_mode.unwrap_or(TakeProfitMode::Average),
        max_rebuys: u8::try_from(max_rebuys?).ok()?,
        rebuy_amount: rebuy_amount.unwrap_or(base_order_amount),
        rebuy_step_percent: rebuy_step_percent?,
        step_scale: step_scale.unwrap_or(Decimal::ONE),
        amount_scale: amount_scale.unwrap_or(Decimal::ONE),
        deviation_from: deviation_from.unwrap_or(DeviationFrom::Base),
        active_rebuys: u8::try_from(active_rebuys.unwrap_or(1)).ok()?,
        sell_delay: sell_delay.unwrap_or(Duration::from_secs(2)),
        rebuy_delay: rebuy_delay.unwrap_or(Duration::from_millis(500)),
        cycle_delay: cycle_delay.unwrap_or(Duration::from_secs(30)),
        max_cycles: max_cycles.unwrap_or(0),
        max_capital: max_capital?,
        stop_loss_percent: stop_loss_percent.flatten(),
        time_limit: time_limit.flatten(),
        post_only: post_only.unwrap_or(false),
        fee_rate: fee_rate.unwrap_or(USUAL_FEE),
    })
}

fn symbol(value: &DeValue<'_>) -> Result<String, Wrong> {
    let text = table::text(value)?;
    let fits = |text: &str| {
        (2..=30).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    if fits(&text) {
        return Ok(text);
    }
    let meant: String = text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
    let advice = if fits(&meant) { format!(": did you mean \"{meant}\"?") } else { String::new() };
    Err(format!("must be Bybit's name of a spot symbol, capitals and digits, for example \"BTCUSDT\"{advice}"))
}

fn positive() -> impl Fn(&DeValue<'_>) -> Result<Decimal, Wrong> {
    table::decimal(Excluded(Decimal::ZERO), Unbounded)
}

/// Above 0 and at most `most`.
fn up_to(most: i64) -> impl Fn(&DeValue<'_>) -> Result<Decimal, Wrong> {
    table::decimal(Excluded(Decimal::ZERO), Included(Decimal::from(most)))
}

/// Part of a price: above 0 and below 100.
fn percent() -> impl Fn(&DeValue<'_>) -> Result<Decimal, Wrong> {
    table::decimal(Excluded(Decimal::ZERO), Excluded(Decimal::ONE_HUNDRED))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::core::money;

    const REQUIRED: [(&str, &str); 5] = [
        ("symbol", "\"BTCUSDT\""),
        ("base_order_amount", "\"50\""),
        ("take_profit_percent", "\"1.0\""),
        ("max_rebuys", "0"),
        ("max_capital", "\"200\""),
    ];

    /// The smallest configuration, with some keys of `[strategy]` set or replaced.
    fn parse(keys: &[(&str, &str)]) -> Result<Parameters, String> {
        let mut text = "bot = \"b\"\nenvironment = \"demo\"\n[strategy]\n".to_owned();
        let kept = REQUIRED.iter().filter(|(name, _)| keys.iter().all(|(key, _)| key != name));
        for (key, value) in kept.chain(keys) {
            text.push_str(&format!("{key} = {value}\n"));
        }
        crate::config::parse(&text, Path::new("x")).map(|config| config.parameters).map_err(|error| error.to_string())
    }

    fn d(text: &str) -> Decimal {
        money::parse(text).unwrap()
    }

    #[test]
    fn what_is_not_written_has_the_documented_default() {
        let parameters = parse(&[]).unwrap();
        assert_eq!(
            parameters,
            Parameters {
                symbol: "BTCUSDT".into(),
                base_order_amount: d("50"),
                take_profit_percent: d("1"),
                take_profit_mode: TakeProfitMode::Average,
                max_rebuys: 0,
                rebuy_amount: d("50"),
                rebuy_step_percent: d("0"),
                step_scale: d("1"),
                amount_scale: d("1"),
                deviation_from: DeviationFrom::Base,
                active_rebuys: 1,
                sell_delay: Duration::from_secs(2),
                rebuy_delay: Duration::from_millis(500),
                cycle_delay: Duration::from_secs(30),
                max_cycles: 0,
                max_capital: d("200"),
                stop_loss_percent: None,
                time_limit: None,
                post_only: false,
                fee_rate: d("0.001"),
            }
        );
    }

    #[test]
    fn what_is_written_is_taken() {
        let parameters = parse(&[
            ("take_profit_mode", "\"per_level\""),
            ("deviation_from", "\"previous\""),
            ("max_rebuys", "2"),
            ("rebuy_amount", "60"),
            ("rebuy_step_percent", "1.5"),
            ("step_scale", "1.1"),
            ("amount_scale", "\"1.2\""),
            ("active_rebuys", "2"),
            ("sell_delay", "\"0s\""),
            ("rebuy_delay", "\"250ms\""),
            ("cycle_delay", "\"1h 30m\""),
            ("max_cycles", "7"),
            ("stop_loss_percent", "20"),
            ("time_limit", "\"3d\""),
            ("post_only", "true"),
            ("fee_rate", "0.00075"),
        ])
        .unwrap();
        assert_eq!(parameters.take_profit_mode, TakeProfitMode::PerLevel);
        assert_eq!(parameters.deviation_from, DeviationFrom::Previous);
        assert_eq!((parameters.max_rebuys, parameters.active_rebuys), (2, 2));
        assert_eq!((parameters.rebuy_amount, parameters.rebuy_step_percent), (d("60"), d("1.5")));
        assert_eq!((parameters.step_scale, parameters.amount_scale), (d("1.1"), d("1.2")));
        assert_eq!((parameters.sell_delay, parameters.rebuy_delay), (Duration::ZERO, Duration::from_millis(250)));
        assert_eq!((parameters.cycle_delay, parameters.max_cycles), (Duration::from_secs(5_400), 7));
        assert_eq!(parameters.stop_loss_percent, Some(d("20")));
        assert_eq!(parameters.time_limit, Some(Duration::from_secs(3 * 86_400)));
        assert!(parameters.post_only);
        assert_eq!(parameters.fee_rate, d("0.00075"));
    }

    #[test]
    fn numbers_are_read_exactly_however_they_are_written() {
        // None of these is exact as a binary float; the last has more digits than one holds.
        for (written, number) in [
            ("0.1", "0.1"),
            ("\"0.1\"", "0.1"),
            ("1_000.10", "1000.1"),
            ("+50", "50"),
            ("50", "50"),
            ("12345678.123456789012345678", "12345678.123456789012345678"),
        ] {
            let parameters = parse(&[("base_order_amount", written), ("max_capital", "99999999")]).unwrap();
            assert_eq!(parameters.base_order_amount, d(number), "{written}");
        }
    }

    #[test]
    fn off_switches_an_option_off() {
        let parameters = parse(&[("stop_loss_percent", "\"off\""), ("time_limit", "\"off\"")]).unwrap();
        assert_eq!((parameters.stop_loss_percent, parameters.time_limit), (None, None));
    }

    #[test]
    fn every_range_is_enforced() {
        for (key, values) in [
            ("symbol", &["\"\"", "\"X\"", "\"BTC-USDT\"", "\"../etc\"", "1"][..]),
            (
                "base_order_amount",
                &["0", "-1", "\"\"", "\"1e2\"", "1e2", "nan", "inf", "true", "0x10", "\"1_0\"", "[1]"],
            ),
            ("take_profit_percent", &["0", "1000.1"]),
            ("take_profit_mode", &["\"Average\"", "1"]),
            ("max_rebuys", &["-1", "101", "1.0", "\"3\""]),
            ("rebuy_amount", &["0"]),
            ("rebuy_step_percent", &["0", "100"]),
            ("step_scale", &["0", "100.1"]),
            ("amount_scale", &["0", "100.1"]),
            ("deviation_from", &["\"last\""]),
            ("active_rebuys", &["0", "101"]),
            ("sell_delay", &["2", "\"2\"", "\"8d\"", "\"-1s\"", "\"1us\""]),
            ("rebuy_delay", &["\"soon\""]),
            ("cycle_delay", &["\"99999999999999999999y\""]),
            ("max_cycles", &["-1", "1000000000001"]),
            ("max_capital", &["0"]),
            ("stop_loss_percent", &["0", "100", "\"none\""]),
            ("time_limit", &["\"0s\"", "\"11y\""]),
            ("post_only", &["1", "\"true\""]),
            ("fee_rate", &["-0.001", "0.11"]),
        ] {
            for value in values {
                let error = parse(&[(key, value)]).unwrap_err();
                assert!(error.contains(&format!("strategy.{key}: ")), "{key} = {value}: {error}");
            }
        }
    }

    #[test]
    fn the_step_is_required_only_if_there_are_rebuys() {
        assert!(parse(&[("max_rebuys", "1")]).unwrap_err().contains("missing in [strategy]: rebuy_step_percent"));
        assert!(parse(&[("max_rebuys", "0")]).is_ok());
    }

    #[test]
    fn a_ladder_that_costs_more_than_the_capital_is_refused() {
        let error = parse(&[("max_rebuys", "4"), ("rebuy_step_percent", "1")]).unwrap_err();
        assert!(error.contains("strategy.max_capital: rebuy 4: the ladder costs 250 up to here"), "{error}");
        assert!(parse(&[("max_rebuys", "3"), ("rebuy_step_percent", "1")]).is_ok(), "exactly the capital is allowed");
    }

    #[test]
    fn a_symbol_in_small_letters_is_named_as_it_should_be() {
        let error = parse(&[("symbol", "\"btc/usdt\"")]).unwrap_err();
        assert!(error.contains("did you mean \"BTCUSDT\"?"), "{error}");
    }
}
