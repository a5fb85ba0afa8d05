//! The parameters of the run, and what rests at its end.
//!
//! In: a report. Out: HTML.

use std::fmt::Write as _;
use std::time::Duration;

use super::html::{escaped, row};
use super::words;
use super::{Report, RunSource};
use crate::core::money::{Decimal, text};
use crate::core::parameters::{DeviationFrom, Parameters, TakeProfitMode};

/// The parameters under the names of the configuration, in its order.
pub(super) fn parameters(parameters: &Parameters) -> Vec<(&'static str, String)> {
    let duration = |duration: Duration| humantime::format_duration(duration).to_string();
    let off = || "off".to_owned();
    vec![
        ("symbol", parameters.symbol.clone()),
        ("base_order_amount", text(parameters.base_order_amount)),
        ("take_profit_percent", text(parameters.take_profit_percent)),
        (
            "take_profit_mode",
            match parameters.take_profit_mode {
                TakeProfitMode::Average => "average".to_owned(),
                TakeProfitMode::PerLevel => "per_level".to_owned(),
            },
        ),
        ("max_rebuys", parameters.max_rebuys.to_string()),
        ("rebuy_amount", text(parameters.rebuy_amount)),
        ("rebuy_step_percent", text(parameters.rebuy_step_percent)),
        ("step_scale", text(parameters.step_scale)),
        ("amount_scale", text(parameters.amount_scale)),
        (
            "deviation_from",
            match parameters.deviation_from {
                DeviationFrom::Base => "base".to_owned(),
                DeviationFrom::Previous => "previous".to_owned(),
            },
        ),
        ("active_rebuys", parameters.active_rebuys.to_string()),
        ("sell_delay", duration(parameters.sell_delay)),
        ("rebuy_delay", duration(parameters.rebuy_delay)),
        ("cycle_delay", duration(parameters.cycle_delay)),
        ("max_cycles", parameters.max_cycles.to_string()),
        ("max_capital", text(parameters.max_capital)),
        ("stop_loss_percent", parameters.stop_loss_percent.map_or_else(off, text)),
        ("time_limit", parameters.time_limit.map_or_else(off, duration)),
        ("post_only", parameters.post_only.to_string()),
        ("fee_rate", text(parameters.fee_rate)),
    ]
}

/// Names and what they stand for.
pub(super) fn table(rows: &[(&str, String)]) -> String {
    let mut out = "<div class=scroll><table class=words><tbody>".to_owned();
    for (name, value) in rows {
        let _ = write!(out, "<tr><th scope=row><code>{}</code><td>{}", escaped(name), escaped(value));
    }
    out + "</table></div>"
}

impl Report<'_> {
    /// The strategy's parameters.
    pub(super) fn parameters(&self) -> String {
        let Some(trader) = &self.chronicle.trader else { return String::new() };
        let rows = parameters(&trader.parameters);
        let (first, second) = rows.split_at(rows.len() / 2);
        format!("<h2>Parameters</h2><div class=pair>{}{}</div>", table(first), table(second))
    }

    /// Where the numbers come from.
    pub(super) fn origin(&self) -> String {
        let summary = self.summary;
        let mut rows = match &self.source {
            RunSource::Backtest(backtest) => {
                vec![("market", backtest.market.clone()), ("candles", words::apart(&backtest.candles.to_string()))]
            }
            RunSource::Journal(journal) => {
                let mut rows = vec![
                    ("state directory", journal.directory.clone()),
                    ("journal files", journal.files.to_string()),
                    ("starts", self.chronicle.starts.to_string()),
                ];
                rows.extend(journal.candles.iter().map(|file| ("candles", file.clone())));
                rows
            }
        };
        if let Some(trader) = &self.chronicle.trader {
            rows.push(("bot", trader.bot.clone()));
            rows.push(("environment", trader.environment.clone()));
        }
        if self.chronicle.began.is_some() {
            rows.push(("from", format!("{} UTC", words::moment(summary.from))));
            rows.push(("to", format!("{} UTC", words::moment(summary.to))));
        }
        if !summary.last_price.is_zero() {
            rows.push(("first price", format!("{} {}", words::exact(summary.first_price), self.quote)));
            rows.push(("last price", format!("{} {}", words::exact(summary.last_price), self.quote)));
        }
        let version =
            self.chronicle.trader.as_ref().map(|trader| ("traded by", format!("recompra {}", trader.version)));
        rows.extend(version);
        let assumptions = if summary.executions == 0 { String::new() } else { self.assumptions() };
        format!("<h2>Where these numbers come from</h2>{}{assumptions}", table(&rows))
    }

    /// The orders that rest when it ends; nothing if none does.
    pub(super) fn resting_at_the_end(&self) -> String {
        let orders = self.end.ledger.cycle.iter().flat_map(|cycle| cycle.live_orders());
        let mut rows = String::new();
        for (key, order) in orders {
            let resting = self.chronicle.resting.iter().rfind(|resting| resting.key == key && resting.to.is_none());
            let Some(resting) = resting else { continue };
            let away = (resting.price - self.summary.last_price).checked_div(self.summary.last_price);
            let away = away.map_or(String::new(), |share| words::percent(share * Decimal::ONE_HUNDRED));
            rows.push_str(&row(&[
                key.slot.to_string(),
                words::exact(resting.price),
                words::exact(order.leaves_quantity()),
                away,
                words::short_moment(resting.from),
            ]));
        }
        if rows.is_empty() {
            return String::new();
        }
        let (base, quote) = (escaped(&self.base), escaped(&self.quote));
        format!(
            "<h2>Resting at the end</h2><div class=scroll><table><thead><tr><th>Order<th>Price, {quote}<th>Quantity, {base}\
             <th>From the last price<th>Since, UTC<tbody>{rows}</table></div>"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_parameter_is_named() {
        let config = crate::config::parse(crate::config::EXAMPLE, std::path::Path::new("example")).unwrap();
        let named: Vec<String> = parameters(&config.parameters).into_iter().map(|(name, _)| name.to_owned()).collect();
        let serde_json::Value::Object(fields) = serde_json::to_value(&config.parameters).unwrap() else {
            unreachable!()
        };
        let mut named_sorted = named;
        named_sorted.sort();
        assert_eq!(named_sorted, fields.keys().cloned().collect::<Vec<_>>());
    }
}
