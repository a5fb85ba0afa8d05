//! A page about a sweep: which parameters did well, and whether that lasted.
//!
//! In: the file of results that a sweep leaves, as text. Out: a page with a heat map for each pair of axes, the sets beside
//! what became of them in the part of the market that no choice had seen, and the best of them.
//!
//! What can go wrong: a line that is no result; the error names it. A torn last line does not count.

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
use crate::core::money::{self, Decimal, text};
use crate::core::parameters::Parameters;

/// More pairs of axes than this are not drawn.
const MOST_PAIRS: usize = 6;
/// Sets that are listed.
const BEST: usize = 25;
/// More dots than this are drawn without telling each.
const MOST_TOLD: usize = 1500;

/// The measure that decides: profit with what is held, as a percentage of the most that was bound.
const MEASURE: &str = "equity_percent";

/// One set of parameters and what it came to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Set {
    /// A value for each axis.
    values: Vec<String>,
    first: Outcome,
    second: Option<Outcome>,
}

/// What a set did in a part of the market.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Outcome {
    measure: Decimal,
    drawdown: Decimal,
    cycles: u64,
}

/// A sweep, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sweep {
    head: Value,
    /// Each axis: its parameter, and the values in their order.
    axes: Vec<(String, Vec<String>)>,
    /// The best first.
    sets: Vec<Set>,
    refused: u64,
}

impl Sweep {
    /// Reads a file of results.
    ///
    /// # Errors
    /// A sentence that names the line.
    pub fn read(results: &str) -> Result<Self, String> {
        let whole = results.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines = (1..).zip(whole.lines());
        let head = lines.next().map(|(_, line)| line).unwrap_or_default();
        let head: Value = serde_json::from_str(head).unwrap_or_default();
        if head["type"] != "sweep" {
            return Err("line 1: this is no file of a sweep's results: those begin with {\"type\":\"sweep\"".to_owned());
        }
        if head["format"] != 1 {
            return Err(format!("line 1: format {} is not known to this version of recompra", head["format"]));
        }
        let axes = axes(&head["axes"]).ok_or("line 1, field axes: a list of keys with their values is needed")?;
        let mut sweep = Self { axes, head, sets: Vec::new(), refused: 0 };
        for (number, line) in lines {
            let result: Value = serde_json::from_str(line).map_err(|error| format!("line {number}: {error}"))?;
            match result["type"].as_str() {
                Some("result") => sweep.sets.push(sweep.set(&result).map_err(|why| format!("line {number}, {why}"))?),
                Some("refused") => sweep.refused += 1,
                _ => return Err(format!("line {number}, field type: result or refused is needed")),
            }
        }
        sweep.sets.sort_by_key(|set| std::cmp::Reverse(set.first.measure));
        Ok(sweep)
    }

    fn set(&self, result: &Value) -> Result<Set, String> {
        let value = |key: &String| {
            let value = result["parameters"][key].as_str().map(str::to_owned);
            value.ok_or_else(|| format!("field parameters.{key}: a value in quotes is needed"))
        };
        let second = &result["out_of_sample"];
        Ok(Set {
            values: self.axes.iter().map(|(key, _)| value(key)).collect::<Result<_, _>>()?,
            first: outcome(&result["in_sample"], "in_sample")?,
            second: if second.is_null() { None } else { Some(outcome(second, "out_of_sample")?) },
        })
    }

    /// What the page holds as JSON.
    pub fn figures(&self) -> Value {
        let best = self.sets.first().map(|set| {
            let parameters: BTreeMap<&str, &str> =
                self.axes.iter().map(|(key, _)| key.as_str()).zip(set.values.iter().map(String::as_str)).collect();
            json!({
                "parameters": parameters,
                "in_sample": text(set.first.measure),
                "out_of_sample": set.second.as_ref().map(|second| text(second.measure)),
            })
        });
        json!({ "type": "sweep", "measure": MEASURE, "sets": self.sets.len(), "refused": self.refused, "best": best })
    }

    /// The whole page. `file` is the name of the file of results.
    pub fn page(&self, file: &str) -> String {
        let symbol = self.word(&["parameters", "symbol"]);
        let head = format!(
            "<header><p class=over>Sweep: which parameters would have done best</p><h1>{} on {}</h1><p class=under>{} candles \
             of {}, {} to {}; results in {}</p></header>",
            escaped(&count(self.sets.len() as u64, "set", "sets")),
            escaped(&symbol),
            escaped(&words::apart(&self.word(&["market", "candles"]))),
            escaped(&self.word(&["market", "file"])),
            escaped(&to_the_minute(&self.word(&["market", "from"]))),
            escaped(&to_the_minute(&self.word(&["market", "to"]))),
            escaped(file),
        );
        let body = if self.sets.is_empty() {
            format!("{head}<p class=lead>No set has a result yet: there is nothing to draw.</p>")
        } else {
            format!("{head}{}{}{}{}{}", self.lead(), self.heat_maps(), self.lasting(), self.best(), self.origin())
        };
        document(&format!("{symbol} sweep"), &body, &html::json(&self.figures()))
    }

    fn word(&self, path: &[&str]) -> String {
        match path.iter().fold(&self.head, |value, key| &value[*key]) {
            Value::String(word) => word.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        }
    }

    fn is_split(&self) -> bool {
        self.sets.iter().any(|set| set.second.is_some())
    }

    fn named(&self, set: &Set) -> String {
        let pairs = self.axes.iter().zip(&set.values).map(|((key, _), value)| format!("{key} {value}"));
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
                to_the_minute(&self.word(&["split"])),
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
        let axes: Vec<usize> = (0..self.axes.len()).filter(|axis| self.axes[*axis].1.len() > 1).collect();
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
        let (columns, rows) = (&self.axes[across].1, down.map_or(&nothing, |down| &self.axes[down].1));
        let corner = down.map_or(String::new(), |down| self.axes[down].0.clone());
        let mut out = format!(
            "<div class=scroll><table class=heat><thead><tr><th><th colspan={}>{}<tr><th>{}",
            columns.len(),
            escaped(&self.axes[across].0),
            escaped(&corner)
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
        for (key, _) in &self.axes {
            let _ = write!(out, "<th>{}", escaped(key));
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
        let held: Option<Parameters> = serde_json::from_value(self.head["parameters"].clone()).ok();
        let rows = held.map(|held| settings::parameters(&held)).unwrap_or_default();
        let mut out = format!("<h2>What held where no axis says otherwise</h2>{}", settings::table(&rows));
        let _ = write!(
            out,
            "<p class=note>Path {}, slippage {} %, fees {} (maker) and {} (taker), swept by recompra {}. The past \
             promises nothing.",
            escaped(&self.word(&["path"])),
            escaped(&self.word(&["slippage"])),
            escaped(&self.word(&["fee_maker"])),
            escaped(&self.word(&["fee_taker"])),
            escaped(&self.word(&["version"])),
        );
        out
    }
}

fn axes(value: &Value) -> Option<Vec<(String, Vec<String>)>> {
    let axis = |axis: &Value| {
        let values = axis["values"].as_array()?.iter().map(|value| Some(value.as_str()?.to_owned()));
        Some((axis["key"].as_str()?.to_owned(), values.collect::<Option<Vec<_>>>()?))
    };
    value.as_array()?.iter().map(axis).collect()
}

/// `2022-01-21T21:00:00.000Z` as `2022-01-21 21:00`.
fn to_the_minute(moment: &str) -> String {
    moment.chars().take(16).map(|letter| if letter == 'T' { ' ' } else { letter }).collect()
}

fn outcome(value: &Value, part: &str) -> Result<Outcome, String> {
    let decimal = |name: &str| {
        let number = value[name].as_str().and_then(|text| money::parse(text).ok());
        number.ok_or_else(|| format!("field {part}.{name}: a decimal in quotes is needed"))
    };
    let cycles = value["cycles"].as_u64().ok_or_else(|| format!("field {part}.cycles: a whole number is needed"))?;
    Ok(Outcome { measure: decimal(MEASURE)?, drawdown: decimal("drawdown_percent")?, cycles })
}

/// The class that colours a value, by its part of the largest.
fn level(value: Decimal, most: Decimal) -> String {
    let part = (value.abs() * Decimal::from(5)).checked_div(most).unwrap_or_default().ceil().min(Decimal::from(5));
    if part.is_zero() { "none".to_owned() } else { format!("{}{part}", if value > Decimal::ZERO { 'p' } else { 'n' }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = r#"{"type":"sweep","format":1,"version":"0.1.0","market":{"file":"b<.csv","candles":9},"parameters":{"symbol":"BTCUSDT"},"axes":[{"key":"rebuy_step_percent","values":["0.5","1"]},{"key":"max_rebuys","values":["3","5"]}],"split":"2022-01-21T21:00:00.000Z"}"#;

    fn result(step: &str, rebuys: &str, first: &str, second: &str) -> String {
        let part = |measure: &str| format!(r#"{{"cycles":4,"equity_percent":"{measure}","drawdown_percent":"2"}}"#);
        format!(
            r#"{{"type":"result","set":0,"parameters":{{"rebuy_step_percent":"{step}","max_rebuys":"{rebuys}"}},"in_sample":{},"out_of_sample":{}}}"#,
            part(first),
            if second.is_empty() { "null".to_owned() } else { part(second) }
        )
    }

    #[test]
    fn sets_are_ranked_by_the_first_part_and_shown_with_the_second() {
        let results = [
            HEAD.to_owned(),
            result("0.5", "3", "1.5", "-2"),
            result("1", "3", "9.25", "-7.5"),
            r#"{"type":"refused","set":2,"parameters":{},"key":"max_capital","reason":"x"}"#.to_owned(),
            "{\"type\":\"res".to_owned(),
        ];
        let sweep = Sweep::read(&results.join("\n")).unwrap();
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
        let results = format!("{HEAD}\n{}\n", result("0.5", "3", "-1", ""));
        let page = Sweep::read(&results).unwrap().page("r");
        assert!(!page.contains("Did it last?") && page.matches("<table class=heat>").count() == 1);
        let empty = Sweep::read(&format!("{HEAD}\n")).unwrap().page("r");
        assert!(empty.contains("No set has a result yet"));
    }

    #[test]
    fn each_error_names_its_line_and_field() {
        let wrong = |text: &str| Sweep::read(text).unwrap_err();
        assert!(wrong("").starts_with("line 1: this is no file of a sweep"));
        assert!(wrong("{\"type\":\"sweep\",\"format\":2}\n").contains("format 2"));
        assert!(wrong("{\"type\":\"sweep\",\"format\":1}\n").contains("field axes"));
        assert!(wrong(&format!("{HEAD}\nx\n")).starts_with("line 2: "));
        let missing = result("0.5", "3", "1", "").replace("drawdown_percent", "d");
        assert_eq!(
            wrong(&format!("{HEAD}\n{missing}\n")),
            "line 2, field in_sample.drawdown_percent: a decimal in quotes is needed"
        );
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
