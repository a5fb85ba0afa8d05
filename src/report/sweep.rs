//! A page about a sweep: which parameters did well, and whether that lasted.
//!
//! In: the results that a sweep leaves. Out: a page with a heat map for each pair of axes, the sets beside what became of
//! them in the part of the market that no choice had seen, and the best of them. Nothing can go wrong.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::html::{self, escaped, row};
use super::page::document;
use super::plot::Plot;
use super::plot::axis::{Tick, Values};
use super::series::coordinate;
use super::settings;
use super::words::{self, count};
use crate::core::money::{Decimal, text};
use crate::core::parameters::Parameters;
use crate::sweep::measures::{Measure, Measures};
use crate::sweep::results::{Head, SetOutcome, SetResult, to_the_minute};
use crate::sweep::space::Axis;

/// More pairs of axes than this are not drawn.
const MOST_PAIRS: usize = 6;
/// Sets that are listed.
const BEST: usize = 25;
/// More dots than this are drawn without telling each.
const MOST_TOLD: usize = 1500;

/// The measure that decides: profit with what is held, as a percentage of the most that was bound.
const MEASURE: Measure = Measure::EquityPercent;

/// One set of parameters and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    /// A value for each axis.
    values: Vec<String>,
    first: PartResult,
    second: Option<PartResult>,
}

/// What a set did in a part of the market.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PartResult {
    measure: Decimal,
    drawdown: Decimal,
    cycles: u64,
}

impl From<&Measures> for PartResult {
    fn from(measures: &Measures) -> Self {
        let measure = MEASURE.of(measures).unwrap_or_default();
        Self { measure, drawdown: measures.drawdown_percent, cycles: measures.cycles }
    }
}

/// A sweep, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepReport {
    head: Head,
    /// The best first.
    sets: Vec<Set>,
    refused: u64,
}

impl SweepReport {
    /// The report on a file of results.
    ///
    /// # Errors
    /// The first of `results` that could not be read.
    pub fn new<E>(head: Head, results: impl Iterator<Item = Result<SetResult, E>>) -> Result<Self, E> {
        let mut report = Self { head, sets: Vec::new(), refused: 0 };
        for result in results {
            let SetResult { parameters, outcome, .. } = result?;
            let SetOutcome::Result { in_sample, out_of_sample } = outcome else {
                report.refused += 1;
                continue;
            };
            let value = |axis: &Axis| parameters.get(&axis.key).cloned().unwrap_or_default();
            report.sets.push(Set {
                values: report.head.axes.iter().map(value).collect(),
                first: PartResult::from(&*in_sample),
                second: out_of_sample.as_deref().map(PartResult::from),
            });
        }
        report.sets.sort_by_key(|set| std::cmp::Reverse(set.first.measure));
        Ok(report)
    }

    /// What the page holds as JSON.
    pub fn figures(&self) -> Value {
        let best = self.sets.first().map(|set| {
            let parameters: BTreeMap<&str, &str> = self
                .head
                .axes
                .iter()
                .map(|axis| axis.key.as_str())
                .zip(set.values.iter().map(String::as_str))
                .collect();
            json!({
                "parameters": parameters,
                "in_sample": text(set.first.measure),
                "out_of_sample": set.second.as_ref().map(|second| text(second.measure)),
            })
        });
        json!({ "type": "sweep", "measure": MEASURE.name(), "sets": self.sets.len(), "refused": self.refused, "best": best })
    }

    /// The whole page. `file` is the name of the file of results.
    pub fn page(&self, file: &str) -> String {
        let symbol = self.head.parameters["symbol"].as_str().unwrap_or_default();
        let market = &self.head.market;
        let head = format!(
            "<header><p class=over>Sweep: which parameters would have done best</p><h1>{} on {}</h1><p class=under>{} candles \
             of {}, {} to {}; results in {}</p></header>",
            escaped(&count(self.sets.len() as u64, "set", "sets")),
            escaped(symbol),
            escaped(&words::apart(&market.candles.to_string())),
            escaped(&market.file),
            escaped(&to_the_minute(&market.from)),
            escaped(&to_the_minute(&market.to)),
            escaped(file),
        );
        let body = if self.sets.is_empty() {
            format!("{head}<p class=lead>No set has a result yet: there is nothing to draw.</p>")
        } else {
            format!("{head}{}{}{}{}{}", self.lead(), self.heat_maps(), self.lasting(), self.best(), self.origin())
        };
        document(&format!("{symbol} sweep"), &body, &html::json(&self.figures()))
    }

    fn is_split(&self) -> bool {
        self.sets.iter().any(|set| set.second.is_some())
    }

    fn named(&self, set: &Set) -> String {
        let pairs = self.head.axes.iter().zip(&set.values).map(|(axis, value)| format!("{} {value}", axis.key));
        pairs.collect::<Vec<_>>().join(", ")
    }

    fn lead(&self) -> String {
        let Some(best) = self.sets.first() else { return String::new() };
        let gains = self.sets.iter().filter(|set| set.first.measure > Decimal::ZERO).count();
        let mut text = format!(
            "The best set ({}) came to {} of the capital it bound; {} of {} ended with a gain.",
            self.named(best),
            words::percent(best.first.measure),
            gains,
            count(self.sets.len() as u64, "set", "sets")
        );
        if let Some(second) = &best.second {
            let mut seconds: Vec<Decimal> =
                self.sets.iter().filter_map(|set| Some(set.second.as_ref()?.measure)).collect();
            seconds.sort_unstable();
            let better = seconds.iter().filter(|other| **other > second.measure).count();
            let _ = write!(
                text,
                " That was in the part of the market by which it was chosen. In the part after {}, which no choice has seen, \
                 it came to {}, and {} did better: what is best in one stretch of a market need not be in the next.",
                to_the_minute(self.head.split.as_deref().unwrap_or_default()),
                words::percent(second.measure),
                count(better as u64, "other set", "other sets")
            );
        }
        if self.refused > 0 {
            let refused = count(self.refused, "set was", "sets were");
            let _ = write!(text, " {refused} refused, because the ladder broke a rule or cost more than max_capital.");
        }
        format!("<p class=lead>{}</p>", escaped(&text))
    }

    fn heat_maps(&self) -> String {
        let several = |axis: &usize| self.head.axes[*axis].values.len() > 1;
        let axes: Vec<usize> = (0..self.head.axes.len()).filter(several).collect();
        let mut pairs: Vec<(usize, Option<usize>)> = Vec::new();
        for (place, across) in axes.iter().enumerate() {
            pairs.extend(axes.iter().skip(place + 1).map(|down| (*across, Some(*down))));
        }
        if let ([only], true) = (axes.as_slice(), pairs.is_empty()) {
            pairs.push((*only, None));
        }
        pairs.truncate(MOST_PAIRS);
        let mut out =
            "<h2>Profit with what is held, % of the capital</h2><p class=note>Each cell is the average of all sets \
                       that share its two values; blue is a gain and orange a loss.</p>"
                .to_owned();
        for (across, down) in pairs {
            let first = self.heat_map(across, down, |set| Some(set.first.measure));
            if self.is_split() {
                let second = self.heat_map(across, down, |set| set.second.as_ref().map(|second| second.measure));
                let _ = write!(
                    out,
                    "<div class=maps><div><h3>First part, by which is chosen</h3>{first}</div><div><h3>Second part, unseen</h3>\
                     {second}</div></div>"
                );
            } else {
                let _ = write!(out, "<h3></h3>{first}");
            }
        }
        out
    }

    /// A table: a column for each value of one axis, a row for each of the other.
    fn heat_map(&self, across: usize, down: Option<usize>, measure: impl Fn(&Set) -> Option<Decimal>) -> String {
        let mut cells: BTreeMap<(&str, &str), Vec<Decimal>> = BTreeMap::new();
        for set in &self.sets {
            let row = down.map_or("", |down| set.values[down].as_str());
            if let Some(value) = measure(set) {
                cells.entry((set.values[across].as_str(), row)).or_default().push(value);
            }
        }
        let average = |values: &[Decimal]| {
            values.iter().sum::<Decimal>().checked_div(Decimal::from(values.len())).unwrap_or_default()
        };
        let most = cells.values().map(|values| average(values).abs()).max().unwrap_or_default();
        let nothing = vec![String::new()];
        let axes = &self.head.axes;
        let (columns, rows) = (&axes[across].values, down.map_or(&nothing, |down| &axes[down].values));
        let corner = down.map_or("", |down| &axes[down].key);
        let mut out = format!(
            "<div class=scroll><table class=heat><thead><tr><th><th colspan={}>{}<tr><th>{}",
            columns.len(),
            escaped(&axes[across].key),
            escaped(corner)
        );
        for column in columns {
            let _ = write!(out, "<th scope=col>{}", escaped(column));
        }
        out.push_str("<tbody>");
        for row in rows {
            let _ = write!(out, "<tr><th scope=row>{}", escaped(row));
            for column in columns {
                let Some(values) = cells.get(&(column.as_str(), row.as_str())) else {
                    out.push_str("<td class=none>");
                    continue;
                };
                let mean = average(values);
                let worst = values.iter().min().copied().unwrap_or_default();
                let best = values.iter().max().copied().unwrap_or_default();
                let sets = count(values.len() as u64, "set", "sets");
                let title = format!("{sets}: {} to {}", words::percent(worst), words::percent(best));
                let (level, shown) = (level(mean, most), words::signed(mean, 1));
                let _ = write!(out, "<td class={level} title=\"{}\">{shown}", escaped(&title));
            }
        }
        out + "</table></div>"
    }

    /// Each set: what it did in the first part, and in the second.
    fn lasting(&self) -> String {
        let both: Vec<(&Set, Decimal, Decimal)> =
            self.sets.iter().filter_map(|set| Some((set, set.first.measure, set.second.as_ref()?.measure))).collect();
        if both.is_empty() {
            return String::new();
        }
        let values =
            Values::covering(both.iter().map(|(_, _, second)| coordinate(*second)).chain([0.0])).with_margin(0.05);
        let across =
            Values::covering(both.iter().map(|(_, first, _)| coordinate(*first)).chain([0.0])).with_margin(0.05);
        let mut plot = Plot::new("Each set: first part across, second part up", 320.0, values);
        let ticks: Vec<Tick> = across
            .ticks()
            .into_iter()
            .map(|tick| Tick { at: across.share(tick.at), label: tick.label + " %" })
            .collect();
        plot.width_ticks(&ticks);
        for (place, (set, first, second)) in both.iter().enumerate() {
            let title = (both.len() <= MOST_TOLD)
                .then(|| format!("{}: {}, then {}", self.named(set), words::percent(*first), words::percent(*second)));
            let symbol = if place == 0 { "best" } else { "dot" };
            plot.mark(symbol, across.share(coordinate(*first)), coordinate(*second), title.as_deref());
        }
        format!(
            "<h2>Did it last?</h2><p class=note>Each dot is a set: its profit in the first part across, in the second part up, \
             in % of the capital. Where what is good in the first part is good in the second, the dots rise to the right. The \
             ring is the set that the first part calls best.</p><figure>{}</figure>",
            plot.finish()
        )
    }

    fn best(&self) -> String {
        let mut out =
            "<h2>The best</h2><div class=scroll><table><thead><tr><th>Profit<th>Drawdown<th>Cycles".to_owned();
        if self.is_split() {
            out.push_str("<th>Second part<th>Drawdown<th>Cycles");
        }
        for axis in &self.head.axes {
            let _ = write!(out, "<th>{}", escaped(&axis.key));
        }
        out.push_str("<tbody>");
        for set in self.sets.iter().take(BEST) {
            let mut cells = Vec::new();
            for part in [Some(&set.first), set.second.as_ref()].into_iter().flatten() {
                cells.push(words::percent(part.measure));
                cells.push(words::percent(-part.drawdown));
                cells.push(words::apart(&part.cycles.to_string()));
            }
            cells.extend(set.values.iter().cloned());
            out.push_str(&row(&cells));
        }
        let _ = write!(
            out,
            "</table></div><p class=note>Ranked by profit with what is held, % of the most that was bound."
        );
        out
    }

    fn origin(&self) -> String {
        // What another version wrote may lack a parameter of this one; it is then left out as a whole.
        let held: Option<Parameters> = serde_json::from_value(self.head.parameters.clone()).ok();
        let rows = held.map(|held| settings::parameters(&held)).unwrap_or_default();
        let mut out = format!("<h2>What held where no axis says otherwise</h2>{}", settings::table(&rows));
        let _ = write!(
            out,
            "<p class=note>Path {}, slippage {} %, fees {} (maker) and {} (taker), swept by recompra {}. The past \
             promises nothing.",
            escaped(&self.head.path),
            escaped(&self.head.slippage),
            escaped(&self.head.fee_maker),
            escaped(&self.head.fee_taker),
            escaped(&self.head.version),
        );
        out
    }
}

/// The class that colours a value, by its part of the largest.
fn level(value: Decimal, most: Decimal) -> String {
    let part = (value.abs() * Decimal::from(5)).checked_div(most).unwrap_or_default().ceil().min(Decimal::from(5));
    if part.is_zero() { "none".to_owned() } else { format!("{}{part}", if value > Decimal::ZERO { 'p' } else { 'n' }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sweep::market::MarketHead;

    fn head() -> Head {
        let axis = |text| Axis::parse(text).unwrap();
        let head = crate::sweep::head(4, None);
        Head {
            market: MarketHead { file: "b<.csv".to_owned(), ..head.market },
            parameters: json!({ "symbol": "BTCUSDT" }),
            axes: vec![axis("rebuy_step_percent=0.5,1"), axis("max_rebuys=3,5")],
            split: Some("2022-01-21T21:00:00.000Z".to_owned()),
            ..head
        }
    }

    fn result(step: &str, rebuys: &str, first: i64, second: Option<i64>) -> SetResult {
        // Two decimals.
        let part = |measure: i64| {
            Box::new(Measures { equity_percent: Decimal::new(measure, 2), ..crate::sweep::measures(0, 2) })
        };
        let parameters = [("rebuy_step_percent", step), ("max_rebuys", rebuys)];
        SetResult {
            set: 0,
            parameters: parameters.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            outcome: SetOutcome::Result { in_sample: part(first), out_of_sample: second.map(part) },
        }
    }

    fn report(results: Vec<SetResult>) -> SweepReport {
        SweepReport::new(head(), results.into_iter().map(Ok::<_, ()>)).unwrap()
    }

    #[test]
    fn sets_are_ranked_by_the_first_part_and_shown_with_the_second() {
        let refused = SetOutcome::Refused { key: "max_capital".to_owned(), reason: "x".to_owned() };
        let sweep = report(vec![
            result("0.5", "3", 150, Some(-200)),
            result("1", "3", 925, Some(-750)),
            SetResult { set: 2, parameters: BTreeMap::new(), outcome: refused },
        ]);
        let figures = sweep.figures();
        assert_eq!((figures["sets"].as_u64(), figures["refused"].as_u64()), (Some(2), Some(1)));
        assert_eq!(figures["best"]["parameters"]["rebuy_step_percent"], "1");
        assert_eq!(figures["best"]["out_of_sample"], "-7.5");
        let page = sweep.page("r.jsonl");
        for part in [
            "<td class=p5 title=\"1 set: +9.25\u{a0}% to +9.25\u{a0}%\">+9.2",
            "<td class=n5",
            "Did it last?",
            "b&lt;.csv",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(page.contains("1 other set did better") && page.contains("after 2022-01-21 21:00,"), "{page}");
    }

    #[test]
    fn without_a_split_there_is_one_map_and_nothing_to_last() {
        let page = report(vec![result("0.5", "3", -100, None)]).page("r");
        assert!(!page.contains("Did it last?") && page.matches("<table class=heat>").count() == 1);
        assert!(report(Vec::new()).page("r").contains("No set has a result yet"));
    }

    #[test]
    fn colours_go_by_the_part_of_the_largest() {
        let d = Decimal::from;
        // A third is not exact: five of it must not become a sixth shade.
        let third = d(56) / d(3);
        assert_eq!(level(-third, third), "n5");
        assert_eq!(
            [level(d(10), d(10)), level(d(-1), d(10)), level(d(0), d(10)), level(d(0), d(0))],
            ["p5", "n1", "none", "none"]
        );
    }
}
