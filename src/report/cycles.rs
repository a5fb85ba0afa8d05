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
use crate::core::time::Timestamp;

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
    /// Of the cycles that were closed in it.
    profit: Decimal,
    /// Of the equity, from its beginning to its end.
    change: Decimal,
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

    /// Every month of the run.
    fn months(&self) -> BTreeMap<Date, Month> {
        let (mut month, last) = (Date::of(self.summary.from).month_start(), Date::of(self.summary.to).month_start());
        let mut months = BTreeMap::from([(month, Month::default())]);
        while month < last {
            month = month.months_later(1);
            months.insert(month, Month::default());
        }
        for cycle in self.chronicle.closed() {
            let closed = cycle.closed.map(|closed| Date::of(closed).month_start());
            if let Some(sum) = closed.and_then(|month| months.get_mut(&month)) {
                sum.cycles += 1;
                sum.profit += cycle.profit;
            }
        }
        let mut before = Decimal::ZERO;
        for (date, month) in &mut months {
            let end = Timestamp(date.months_later(1).start().0 - 1).min(self.summary.to);
            let equity = if *date == last { self.summary.equity } else { self.equity_at(end) };
            month.change = equity - before;
            before = equity;
        }
        months
    }

    /// What the bot had at a moment beyond what it began with, at the price of that moment.
    fn equity_at(&self, moment: Timestamp) -> Decimal {
        let positions = &self.chronicle.course.positions;
        let place = positions.partition_point(|position| position.time <= moment);
        let Some(position) = place.checked_sub(1).and_then(|place| positions.get(place)) else { return Decimal::ZERO };
        if self.recording.is_empty() {
            return Decimal::ZERO;
        }
        let (candle, quarter) = self.recording.point_at(moment);
        let price = self.recording.price(self.recording.played(candle, self.path)[quarter]);
        position.cash + position.quantity * price
    }

    /// A line for each month.
    pub(super) fn profit_per_month(&self) -> String {
        let months = self.months();
        let most = months.values().map(|month| coordinate(month.profit).abs()).fold(0.0, f64::max);
        // Losses go to the left of a middle line; without any, the line is the edge.
        let (zero, room) =
            if months.values().any(|month| month.profit < Decimal::ZERO) { (50.0, 50.0) } else { (0.0, 100.0) };
        let mut rows = String::new();
        for (date, Month { cycles, profit, change }) in months {
            let share = if most > 0.0 { coordinate(profit) / most } else { 0.0 };
            let (x, width) = (zero + share.min(0.0) * room, share.abs() * room);
            let bar = if share < 0.0 { "down" } else { "up" };
            let cell = |key: &str, amount: Decimal| {
                let tone = Some(tone(amount)).filter(|tone| !tone.is_empty()).unwrap_or("none");
                let key = format!("{key}.{:04}-{:02}", date.year, date.month);
                format!("<td class={tone}>{}", datum(&key, &text(amount), &self.signed(amount)))
            };
            let _ = write!(
                rows,
                "<tr><th scope=row>{} {}<td>{}{}<td class=share><svg aria-hidden=true><line class=zero x1={zero}% x2={zero}% \
                 y1=0 y2=100% /><rect class={bar} x={x:.2}% width={width:.2}% height=100% /></svg>{}",
                date.month_name(),
                date.year,
                words::apart(&cycles.to_string()),
                cell("month", profit),
                cell("month-change", change),
            );
        }
        format!(
            "<h3>Each month</h3><div class=scroll><table class=months><thead><tr><th>Month<th>Cycles closed<th>Their \
             profit<th class=share><th>Change with what is held<tbody>{rows}</table></div>"
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
