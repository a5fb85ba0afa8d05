//! The plots along time: price with fills and the resting ladder, equity beside buy-and-hold, drawdown, capital in use.
//!
//! In: a report. Out: HTML.

use super::Report;
use super::html::escaped;
use super::plot::Plot;
use super::plot::axis::{Times, Values};
use super::series::{self, Column, Columns, coordinate};
use super::words;
use crate::backtest::course::Trade;
use crate::core::money::Decimal;
use crate::core::order::Side;

/// Points along a line.
const COLUMNS: usize = 1000;
/// Columns that share one tooltip.
const TOLD_TOGETHER: usize = 8;
/// More fills than this are drawn as dots, without telling each: the list below has them.
const MOST_TOLD: usize = 1500;

/// One entry of a legend: the drawing that stands for it, and its name.
fn key(drawing: &str, name: &str) -> String {
    format!("<li><svg viewBox=\"0 0 20 12\" aria-hidden=true>{drawing}</svg>{}", escaped(name))
}

fn line_key(class: &str, name: &str) -> String {
    key(&format!("<path class=\"line {class}\" d=\"M0 6H20\" />"), name)
}

fn area_key(class: &str, name: &str) -> String {
    key(&format!("<rect class={class} y=1 width=20 height=10 />"), name)
}

fn figure(keys: &[String], plots: &[String]) -> String {
    format!("<figure><ul class=keys>{}</ul>{}</figure>", keys.concat(), plots.concat())
}

/// The plots of one report, which share their width.
pub(super) struct Market<'r> {
    report: &'r Report<'r>,
    columns: Columns,
    times: Times,
    line: Vec<Column>,
}

impl<'r> Market<'r> {
    /// Looks at the whole run.
    pub(super) fn of(report: &'r Report<'r>) -> Self {
        let (from, to) = (report.summary.from, report.summary.to);
        let columns = Columns { from, to, count: COLUMNS };
        let positions = &report.chronicle.course.positions;
        let line = series::market(&columns, report.recording, report.path, positions);
        Self { report, columns, times: Times { from, to }, line }
    }

    /// Nothing can be drawn without a price.
    pub(super) fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    #[expect(clippy::cast_precision_loss, reason = "a coordinate needs no more than 52 bits")]
    fn share(place: usize) -> f64 {
        (place as f64 + 0.5) / COLUMNS as f64
    }

    fn points(&self, value: impl Fn(&Column) -> f64) -> Vec<(f64, f64)> {
        self.line.iter().enumerate().map(|(place, column)| (Self::share(place), value(column))).collect()
    }

    /// One tooltip for every few columns.
    fn hovers(&self, plot: &mut Plot, tell: impl Fn(std::ops::Range<usize>) -> String) {
        for first in (0..COLUMNS).step_by(TOLD_TOGETHER) {
            let last = (first + TOLD_TOGETHER).min(COLUMNS);
            let half = 0.5 / 1000.0;
            let (from, to) = (Self::share(first) - half, Self::share(last - 1) + half);
            let begin = if first == 0 { self.columns.from } else { self.columns.end(first - 1) };
            plot.hover(from, to, &format!("{}: {}", words::short_moment(begin), tell(first..last)));
        }
    }

    fn number(&self, value: f64) -> String {
        let decimals = usize::try_from(self.report.decimals).unwrap_or(2);
        let text = format!("{value:.decimals$}");
        let zero = text.trim_start_matches('-').bytes().all(|byte| matches!(byte, b'0' | b'.'));
        words::apart(if zero { text.trim_start_matches('-') } else { &text })
    }

    /// The price, what was bought and sold, and what rested.
    pub(super) fn price(&self) -> String {
        let chronicle = self.report.chronicle;
        let resting = || chronicle.resting.iter().map(|order| coordinate(order.price));
        let fills = || chronicle.fills().map(|fill| coordinate(fill.execution.price));
        let seen = self.line.iter().flat_map(|column| [column.low, column.high]);
        let values = Values::covering(seen.chain(resting()).chain(fills())).with_margin(0.02);
        let label = format!("Price of {} with buys, sells and resting orders", self.report.symbol);
        let mut plot = Plot::new(&label, 380.0, values);
        plot.width_ticks(&self.times.ticks());
        let dense = if chronicle.resting.len() > MOST_TOLD { " dense" } else { "" };
        for (class, side) in [("buys", Side::Buy), ("sells", Side::Sell)] {
            let strokes = chronicle.resting.iter().filter(|order| order.key.slot.side() == side).map(|order| {
                let to = order.to.unwrap_or(self.columns.to);
                (self.times.share(order.from), self.times.share(to), coordinate(order.price))
            });
            plot.levels(&format!("{class}{dense}"), strokes);
        }
        plot.area("range", &self.points(|column| column.high), &self.points(|column| column.low));
        plot.line("price", self.points(|column| column.last).into_iter());
        self.hovers(&mut plot, |places| {
            let columns = self.line.get(places).unwrap_or_default();
            let low = columns.iter().map(|column| column.low).fold(f64::INFINITY, f64::min);
            let high = columns.iter().map(|column| column.high).fold(0.0, f64::max);
            format!("{} to {} {}", self.number(low), self.number(high), self.report.quote)
        });
        self.mark_fills(&mut plot);
        let mark = |symbol: &str, y: u8| format!("<use href=#{symbol} x=10 y={y} />");
        let keys = [
            line_key("price", if self.report.has_candles() { "price" } else { "price, at the bot's own fills" }),
            key(&mark("buy", 2), "bought"),
            key(&mark("sell", 11), "sold"),
            line_key("buys", "resting buys"),
            line_key("sells", "resting sells"),
        ];
        figure(&keys, &[plot.finish()])
    }

    fn mark_fills(&self, plot: &mut Plot) {
        let fills: Vec<&Trade> = self.report.chronicle.fills().collect();
        let place = |fill: &Trade| (self.times.share(fill.execution.time), coordinate(fill.execution.price));
        if fills.len() > MOST_TOLD {
            for (class, side) in [("buys", Side::Buy), ("sells", Side::Sell)] {
                plot.dots(class, fills.iter().filter(|fill| fill.execution.side == side).map(|fill| place(fill)));
            }
            return;
        }
        for fill in fills {
            let Trade { key, execution } = fill;
            let (share, value) = place(fill);
            let (symbol, verb) = if execution.side == Side::Buy { ("buy", "bought") } else { ("sell", "sold") };
            let (quantity, price) = (words::exact(execution.quantity), words::exact(execution.price));
            let moment = words::short_moment(execution.time);
            let title = format!("{moment}: cycle {}, {}: {verb} {quantity} at {price}", key.cycle, key.slot);
            plot.mark(symbol, share, value, Some(&title));
        }
    }

    /// What the bot had, what buying and holding would have had, and how deep it fell.
    pub(super) fn equity(&self) -> String {
        let hold = self.hold();
        let values = self.line.iter().map(|column| column.equity).chain(hold.iter().map(|point| point.1));
        let mut plot = Plot::new(
            "Equity beside buying and holding",
            240.0,
            Values::covering(values.chain([0.0])).with_margin(0.03),
        );
        plot.width_lines(&self.times.ticks());
        plot.line("hold", hold.iter().copied());
        plot.line("equity", self.points(|column| column.equity).into_iter());
        let quote = &self.report.quote;
        self.hovers(&mut plot, |places| {
            let last = places.end - 1;
            let (own, other) = (self.line.get(last).map_or(0.0, |c| c.equity), hold.get(last).map_or(0.0, |p| p.1));
            format!("{} {quote}; buy and hold {}", self.number(own), self.number(other))
        });
        let worst = self.line.iter().map(|column| column.fall).fold(0.0, f64::min);
        let mut under = Plot::new("Drawdown from the highest equity so far", 120.0, Values::covering([worst, 0.0]));
        under.width_ticks(&self.times.ticks());
        let zero = [(0.0, 0.0), (1.0, 0.0)];
        under.area("fall", &zero, &self.points(|column| column.fall));
        self.hovers(&mut under, |places| {
            let columns = self.line.get(places).unwrap_or_default();
            let deepest = columns.iter().map(|column| column.fall).fold(0.0, f64::min);
            format!("{} {quote} below the peak", self.number(-deepest))
        });
        let hold = line_key("hold", "buy and hold with the same capital");
        let keys =
            [line_key("equity", "the bot, marked to the market"), hold, area_key("fall", "drawdown from the peak")];
        figure(&keys, &[plot.finish(), under.finish()])
    }

    /// What the most that was bound would have come to, bought at the first price, if it were sold at each.
    fn hold(&self) -> Vec<(f64, f64)> {
        let summary = self.report.summary;
        let (bound, first) = (coordinate(summary.most_bound), coordinate(summary.first_price));
        let kept = coordinate(Decimal::ONE - self.report.taker_fee);
        if bound == 0.0 || first == 0.0 {
            return Vec::new();
        }
        self.points(|column| bound * (column.last / first * kept * kept - 1.0))
    }

    /// How much capital was bound.
    pub(super) fn capital(&self) -> String {
        let line = series::capital(&self.columns, &self.report.chronicle.bound);
        let points = |value: &dyn Fn(&series::Capital) -> f64| -> Vec<(f64, f64)> {
            line.iter().enumerate().map(|(place, capital)| (Self::share(place), value(capital))).collect()
        };
        let (held, committed) = (points(&|capital| capital.held), points(&|capital| capital.committed));
        let values = Values::covering(committed.iter().map(|point| point.1).chain([0.0]));
        let mut plot = Plot::new("Capital in use", 170.0, values);
        plot.width_ticks(&self.times.ticks());
        let zero = [(0.0, 0.0), (1.0, 0.0)];
        plot.area("offered", &committed, &zero);
        plot.area("held", &held, &zero);
        let quote = &self.report.quote;
        self.hovers(&mut plot, |places| {
            let last = line.get(places.end - 1).copied().unwrap_or_default();
            format!(
                "{} {quote} spent on what is held, {} in resting buys",
                self.number(last.held),
                self.number(last.committed - last.held)
            )
        });
        let keys = [area_key("held", "spent on what is held"), area_key("offered", "in resting buys")];
        figure(&keys, &[plot.finish()])
    }
}
