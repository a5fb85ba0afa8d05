//! What each cycle and each month brought, and every cycle with its fills.
//!
//! In: a report. Out: HTML. A page stays readable and small: of very many cycles or fills only the newest are listed, and
//! it is said how many there are.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Report;
use super::calendar::Date;
use super::chronicle::CycleStory;
use super::figures::tone;
use super::html::{datum, escaped, row};
use super::plot::Plot;
use super::plot::axis::{Values, places};
use super::series::coordinate;
use super::words::{self, count};
use crate::core::money::{Decimal, text};
use crate::core::order::Side;
use crate::core::record::ExitCause;

/// More bars than this are drawn without telling each.
const MOST_TOLD: usize = 600;
/// More cycles than this are not listed.
const MOST_CYCLES: usize = 2500;
/// More fills than this are not listed.
const MOST_FILLS: usize = 5000;

/// What a month brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Month {
    cycles: u64,
    profit: Decimal,
}

impl Report<'_> {
    /// A bar for each closed cycle; nothing if there is none.
    #[expect(clippy::cast_precision_loss, reason = "a coordinate needs no more than 52 bits")]
    pub(super) fn profit_per_cycle(&self) -> String {
        let closed: Vec<&CycleStory> = self.chronicle.closed().collect();
        let Some(first) = closed.first() else { return String::new() };
        let values = closed.iter().map(|cycle| coordinate(cycle.profit)).chain([0.0]);
        let mut plot = Plot::new("Profit of each cycle", 170.0, Values::covering(values));
        plot.width_ticks(&places(closed.len(), first.number));
        let width = 1.0 / closed.len() as f64;
        // Bars stand apart, and a few of them are no walls.
        let (thick, told) = ((width * 0.78).min(0.03), closed.len() <= MOST_TOLD);
        for (place, cycle) in closed.iter().enumerate() {
            let middle = (place as f64 + 0.5) * width;
            let title = told.then(|| {
                let gain = format!("{} {}", words::exact_signed(cycle.profit), self.quote);
                format!(
                    "cycle {}, closed {}: {gain}",
                    cycle.number,
                    cycle.closed.map_or(String::new(), words::short_moment)
                )
            });
            let class = if cycle.profit < Decimal::ZERO { "down" } else { "up" };
            plot.bar(class, middle - thick / 2.0, middle + thick / 2.0, coordinate(cycle.profit), title.as_deref());
        }
        format!("<h3>Each cycle</h3><figure>{}</figure>", plot.finish())
    }

    fn months(&self) -> BTreeMap<Date, Month> {
        let mut months: BTreeMap<Date, Month> = BTreeMap::new();
        let closed = self.chronicle.closed().filter_map(|cycle| Some((Date::of(cycle.closed?).month_start(), cycle)));
        for (month, cycle) in closed {
            let sum = months.entry(month).or_default();
            sum.cycles += 1;
            sum.profit += cycle.profit;
        }
        let ends = months.first_key_value().zip(months.last_key_value()).map(|((first, _), (last, _))| (*first, *last));
        if let Some((mut month, last)) = ends {
            while month < last {
                month = month.months_later(1);
                months.entry(month).or_default();
            }
        }
        months
    }

    /// A line for each month, from the first to the last in which a cycle was closed.
    pub(super) fn profit_per_month(&self) -> String {
        let months = self.months();
        let most = months.values().map(|month| coordinate(month.profit).abs()).fold(0.0, f64::max);
        // Losses go to the left of a middle line; without any, the line is the edge.
        let (zero, room) =
            if months.values().any(|month| month.profit < Decimal::ZERO) { (50.0, 50.0) } else { (0.0, 100.0) };
        if months.is_empty() {
            return String::new();
        }
        let mut rows = String::new();
        for (date, Month { cycles, profit }) in months {
            let share = if most > 0.0 { coordinate(profit) / most } else { 0.0 };
            let (x, width) = (zero + share.min(0.0) * room, share.abs() * room);
            let (name, tone) = (format!("{} {}", date.month_name(), date.year), tone(profit));
            let bar = if share < 0.0 { "down" } else { "up" };
            let key = format!("month.{:04}-{:02}", date.year, date.month);
            let shown = datum(&key, &text(profit), &self.signed(profit));
            let _ = write!(
                rows,
                "<tr><th scope=row>{name}<td>{}<td class={tone}>{shown}<td class=share><svg aria-hidden=true><line class=zero \
                 x1={zero}% x2={zero}% y1=0 y2=100% /><rect class={bar} x={x:.2}% width={width:.2}% height=100% /></svg>",
                words::apart(&cycles.to_string()),
                tone = if tone.is_empty() { "none" } else { tone },
            );
        }
        format!(
            "<h3>Each month</h3><div class=scroll><table class=months><thead><tr><th>Month, by a cycle’s end<th>Cycles\
             <th>Profit, {}<th><tbody>{rows}</table></div>",
            escaped(&self.quote)
        )
    }

    /// Every cycle; its fills appear when it is opened.
    pub(super) fn cycle_list(&self) -> String {
        let cycles = &self.chronicle.cycles;
        let shown = cycles.len().min(MOST_CYCLES);
        let fills: usize = cycles.iter().map(|cycle| cycle.fills.len()).sum();
        let mut out = "<div class=cycles><div class=head aria-hidden=true><span>Cycle</span><span>Opened, UTC\
                       </span><span>Took</span><span>Rebuys</span><span>Spent</span><span>Profit</span><span>Ended by</span>\
                       </div>"
            .to_owned();
        let mut room = MOST_FILLS;
        for cycle in cycles.iter().rev().take(shown) {
            let with_fills = cycle.fills.len() <= room;
            room = if with_fills { room - cycle.fills.len() } else { 0 };
            out.push_str(&self.cycle(cycle, with_fills));
        }
        out.push_str("</div>");
        if shown < cycles.len() {
            let _ =
                write!(out, "<p class=note>The newest {shown} of {}.", count(cycles.len() as u64, "cycle", "cycles"));
        }
        if fills > MOST_FILLS {
            let _ = write!(
                out,
                "<p class=note>There are {}; those of the newest cycles are listed. All of them are in the journal, or in \
                 what <code>recompra backtest --trades FILE.csv</code> writes.",
                count(fills as u64, "fill", "fills")
            );
        }
        out
    }

    fn cycle(&self, cycle: &CycleStory, with_fills: bool) -> String {
        let end = cycle.closed.unwrap_or(self.end.time);
        let profit = if cycle.closed.is_some() { self.signed(cycle.profit) } else { "open".to_owned() };
        let tone = tone(cycle.profit);
        let mut out = format!(
            "<details><summary><span>{}</span><span>{}</span><span>{}</span><span>{}</span><span>{}</span>\
             <span class={tone}>{profit}</span><span>{}</span></summary>",
            cycle.number,
            words::short_moment(cycle.opened),
            words::span(end.since(cycle.opened)),
            cycle.rebuys(),
            words::rounded(cycle.spent(), self.decimals),
            ending(cycle),
            tone = if tone.is_empty() { "none" } else { tone },
        );
        if with_fills {
            out.push_str(&self.fills(cycle));
        }
        out + "</details>"
    }

    fn fills(&self, cycle: &CycleStory) -> String {
        let (base, quote) = (escaped(&self.base), escaped(&self.quote));
        let mut out = format!(
            "<div class=scroll><table><thead><tr><th>Time, UTC<th>Order<th><th>Price, {quote}<th>Quantity, {base}<th>Value, \
             {quote}<th>Fee<th><tbody>"
        );
        for fill in &cycle.fills {
            let execution = &fill.execution;
            out.push_str(&row(&[
                words::moment(execution.time),
                fill.key.slot.to_string(),
                if execution.side == Side::Buy { "bought" } else { "sold" }.to_owned(),
                words::exact(execution.price),
                words::exact(execution.quantity),
                words::exact(execution.value),
                format!("{} {}", words::exact(execution.fee), execution.fee_coin),
                if execution.maker { "maker" } else { "taker" }.to_owned(),
            ]));
        }
        out + "</table></div>"
    }
}

fn ending(cycle: &CycleStory) -> &'static str {
    match (&cycle.exit, cycle.closed) {
        (_, None) => "",
        (None, _) => "take profit",
        (Some(ExitCause::StopLoss { .. }), _) => "stop loss",
        (Some(ExitCause::TimeLimit), _) => "time limit",
        (Some(ExitCause::Close), _) => "hand",
        (Some(ExitCause::Found), _) => "an exit begun before",
    }
}
