//! The best sets of a sweep as a table for people and as JSON for machines.
//!
//! In: the head of the file of results, and the ranking. Out: text. Nothing can go wrong.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::measures::{Measure, Measures};
use super::ranking::{Mean, Ranked, Ranking};
use super::results::{Head, to_the_minute};
use crate::core::money;
use crate::narrator::signed;

/// One JSON object.
pub fn json(head: &Head, ranking: &Ranking) -> Value {
    let mean = |mean: Mean| mean.value().map(|value| money::text(value.round_dp(8)));
    let best = ranking.best.iter().zip(1..).map(|(ranked, rank): (&Ranked, u64)| {
        json!({
            "rank": rank,
            "set": ranked.set,
            "parameters": ranked.parameters,
            "in_sample": ranked.in_sample,
            "out_of_sample": ranked.out_of_sample,
        })
    });
    let refused = ranking.refused.iter().map(
        |(key, refused)| json!({ "key": key, "sets": refused.sets, "first": refused.first, "reason": refused.reason }),
    );
    let (best_in, best_out) = ranking.means_of_best();
    json!({
        "type": "sweep",
        "sets": head.sets_here(),
        "results": ranking.results,
        "refused": refused.collect::<Vec<_>>(),
        "split": head.split,
        "rank": ranking.measure.name(),
        "best": best.collect::<Vec<_>>(),
        "mean": {
            "best_in_sample": mean(best_in),
            "best_out_of_sample": mean(best_out),
            "all_in_sample": mean(ranking.mean_in_sample),
            "all_out_of_sample": mean(ranking.mean_out_of_sample),
        },
    })
}

/// A table, the means, and what was refused.
pub fn text(head: &Head, ranking: &Ranking) -> String {
    let mut out = String::new();
    let symbol = head.parameters.get("symbol").and_then(Value::as_str).unwrap_or_default();
    let market = &head.market;
    let (from, to) = (to_the_minute(&market.from), to_the_minute(&market.to));
    let _ = writeln!(out, "{symbol}, {} candles, {from} to {to}", market.candles);
    if let Some(split) = &head.split {
        let _ = writeln!(out, "in sample before {}, out of sample from then on", to_the_minute(split));
    }
    let part = head.shard.map(|shard| format!(" of shard {shard}")).unwrap_or_default();
    let (sets, results) = (head.sets_here(), ranking.results);
    let _ = writeln!(out, "{sets} sets{part}, {results} with results; ranked by {} in sample\n", ranking.measure);
    table(&mut out, head, ranking);
    means(&mut out, ranking);
    for (key, refused) in &ranking.refused {
        let sets = if refused.sets == 1 { "1 set".to_owned() } else { format!("{} sets", refused.sets) };
        let _ = writeln!(out, "refused: {sets} for {key}, set {} for example: {}", refused.first, refused.reason);
    }
    out
}

/// What is shown of each set: what it is ranked by, and what everybody wants to know.
fn columns(measure: Measure) -> Vec<Measure> {
    let mut columns = vec![measure];
    columns.extend([Measure::Equity, Measure::Drawdown].into_iter().filter(|column| *column != measure));
    columns
}

fn table(out: &mut String, head: &Head, ranking: &Ranking) {
    if ranking.best.is_empty() {
        return;
    }
    let columns = columns(ranking.measure);
    let keys: Vec<&str> = head.axes.iter().map(|axis| axis.key.as_str()).collect();
    let names = || columns.iter().map(|column| column.name().to_owned()).chain([String::from("cycles")]);
    let mut titles: Vec<String> = ["rank", "set"].into_iter().chain(keys.iter().copied()).map(str::to_owned).collect();
    let first_measure = titles.len();
    titles.extend(names());
    let second_measure = titles.len();
    if head.split.is_some() {
        titles.extend(names());
    }
    let mut rows = vec![titles];
    for (ranked, rank) in ranking.best.iter().zip(1_u64..) {
        let mut row = vec![rank.to_string(), ranked.set.to_string()];
        row.extend(keys.iter().map(|key| ranked.parameters.get(*key).cloned().unwrap_or_default()));
        for measures in [Some(&ranked.in_sample), ranked.out_of_sample.as_ref()].into_iter().flatten() {
            row.extend(cells(&columns, measures));
        }
        rows.push(row);
    }
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|column| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    if head.split.is_some() {
        let span = |columns: std::ops::Range<usize>| widths[columns].iter().map(|width| width + 2).sum::<usize>();
        let (left, middle) = (span(0..first_measure), span(first_measure..second_measure));
        let _ = writeln!(out, "{:left$} | {:<middle$} | out of sample", "", "in sample");
    }
    for row in rows {
        for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let bar = if column == first_measure || column == second_measure { " |" } else { "" };
            let _ = write!(out, "{bar}  {cell:>width$}");
        }
        out.push('\n');
    }
    out.push('\n');
}

fn cells<'m>(columns: &'m [Measure], measures: &'m Measures) -> impl Iterator<Item = String> + 'm {
    let value = |column: &Measure| match (column, column.of(measures)) {
        (_, None) => "-".to_owned(),
        (Measure::Drawdown, Some(value)) => money::text(value.round_dp(2)),
        (_, Some(value)) => signed(value.round_dp(2)),
    };
    columns.iter().map(value).chain([measures.cycles.to_string()])
}

/// Whether the best did better than any would have, where it was not chosen for that.
fn means(out: &mut String, ranking: &Ranking) {
    let (best_in, best_out) = ranking.means_of_best();
    let shown = |mean: Mean| mean.value().map_or_else(|| "-".to_owned(), |value| signed(value.round_dp(2)));
    let Some((best, all)) = best_out.value().zip(ranking.mean_out_of_sample.value()) else { return };
    let measure = ranking.measure;
    let _ = writeln!(
        out,
        "mean {measure}: of these {} in sample and {} out of sample, of all sets {} and {}",
        shown(best_in),
        shown(best_out),
        shown(ranking.mean_in_sample),
        shown(ranking.mean_out_of_sample)
    );
    let better = if measure == Measure::Drawdown { best < all } else { best > all };
    let verdict = match (better, ranking.best.len() as u64 == ranking.results) {
        (_, true) => return,
        (true, _) => "out of sample these did better than all sets together",
        (false, _) => {
            "out of sample these did no better than all sets together: they fit the first part, and that is all"
        }
    };
    let _ = writeln!(out, "{verdict}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measure_that_ranks_comes_first_and_none_twice() {
        assert_eq!(columns(Measure::Profit), [Measure::Profit, Measure::Equity, Measure::Drawdown]);
        assert_eq!(columns(Measure::Drawdown), [Measure::Drawdown, Measure::Equity]);
    }
}
