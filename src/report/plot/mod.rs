//! Plots as inline SVG that fit every width without a script.
//!
//! In: where things are on two axes. Out: HTML. Places along the width are percentages and places along the height are
//! pixels, so letters and marks keep their size on a phone and on paper; only lines are stretched, in a layer whose
//! thousand units are the width. The labels of the values stand in a column beside the plot.
//!
//! Colours and widths are the style sheet's: a layer only names its class.

pub mod axis;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use self::axis::{Tick, Values};
use super::html::escaped;

/// Units of the width in the layer that is stretched.
const WIDTH: f64 = 1000.0;
/// Pixels above the highest value.
const ABOVE: f64 = 8.0;
/// Pixels below the lowest value, for the labels of the width.
const BELOW: f64 = 24.0;

/// A plot being drawn.
#[derive(Clone, Debug, Default)]
pub struct Plot {
    label: String,
    height: f64,
    values: Values,
    grid: String,
    lines: String,
    marks: String,
    hovers: String,
    axis: String,
}

/// A number of an attribute: one decimal is a tenth of a pixel.
fn number(value: f64) -> String {
    let rounded = if value.is_finite() { (value * 10.0).round() / 10.0 } else { 0.0 };
    format!("{}", if rounded == 0.0 { 0.0 } else { rounded })
}

impl Plot {
    /// An empty plot. `label` says to those who cannot see it what it shows; `height` is in pixels.
    pub fn new(label: &str, height: f64, values: Values) -> Self {
        let mut plot = Self { label: label.to_owned(), height, values, ..Self::default() };
        plot.draw_values();
        plot
    }

    fn y(&self, value: f64) -> f64 {
        ABOVE + (1.0 - self.values.share(value)) * (self.height - ABOVE - BELOW)
    }

    fn draw_values(&mut self) {
        for tick in self.values.ticks() {
            let y = number(self.y(tick.at));
            let class = if tick.at == 0.0 { "zero" } else { "grid" };
            let _ = write!(self.grid, "<line class={class} x1=0 x2=100% y1={y} y2={y} />");
            let _ = write!(self.axis, "<text x=100% y={y} dy=.32em>{}</text>", escaped(&tick.label));
        }
    }

    /// Lines at shares of the width.
    pub fn width_lines(&mut self, ticks: &[Tick]) {
        for tick in ticks {
            let (x, top, bottom) = (number(tick.at * 100.0), number(ABOVE), number(self.height - BELOW));
            let _ = write!(self.grid, "<line class=grid x1={x}% x2={x}% y1={top} y2={bottom} />");
        }
    }

    /// Lines at shares of the width, and their names below.
    pub fn width_ticks(&mut self, ticks: &[Tick]) {
        self.width_lines(ticks);
        for (place, tick) in ticks.iter().enumerate() {
            let (x, y) = (number(tick.at * 100.0), number(self.height - 7.0));
            // Every other label gives way where there is little room.
            let class = if place % 2 == 1 { " class=other" } else { "" };
            let anchor = match tick.at {
                ..0.04 => " text-anchor=start",
                0.04..=0.96 => "",
                _ => " text-anchor=end",
            };
            let _ = write!(self.marks, "<text{class}{anchor} x={x}% y={y}>{}</text>", escaped(&tick.label));
        }
    }

    /// A line through values at shares of the width.
    pub fn line(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let path = self.path(points);
        let _ = write!(self.lines, "<path class=\"line {class}\" d=\"{path}\" />");
    }

    /// The area between two lines.
    pub fn area(&mut self, class: &str, upper: &[(f64, f64)], lower: &[(f64, f64)]) {
        let path = self.path(upper.iter().copied().chain(lower.iter().rev().copied()));
        let _ = write!(self.lines, "<path class=\"area {class}\" d=\"{path}Z\" />");
    }

    fn path(&self, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (share, value) in points {
            let letter = if path.is_empty() { 'M' } else { 'L' };
            let _ = write!(path, "{letter}{} {}", number(share * WIDTH), number(self.y(value)));
        }
        path
    }

    /// Level strokes, each from one share of the width to another at a value. Those that look the same are drawn once.
    pub fn levels(&mut self, class: &str, strokes: impl Iterator<Item = (f64, f64, f64)>) {
        let drawn: BTreeSet<String> = strokes
            .map(|(from, to, value)| {
                let y = number(self.y(value));
                format!("M{} {y}H{}", number(from * WIDTH), number((to * WIDTH).max(from * WIDTH + 0.5)))
            })
            .collect();
        let _ = write!(self.lines, "<path class=\"line {class}\" d=\"{}\" />", String::from_iter(drawn));
    }

    /// Small dots, where marks would hide each other. Those at one place are drawn once.
    pub fn dots(&mut self, class: &str, points: impl Iterator<Item = (f64, f64)>) {
        let drawn: BTreeSet<String> = points
            .map(|(share, value)| format!("M{} {}h0", number(share * WIDTH), number(self.y(value).round())))
            .collect();
        let _ = write!(self.lines, "<path class=\"dots {class}\" d=\"{}\" />", String::from_iter(drawn));
    }

    /// A bar between two shares of the width, from zero to a value.
    pub fn bar(&mut self, class: &str, from: f64, to: f64, value: f64, title: Option<&str>) {
        let (low, high) = (self.y(0.0).max(self.y(value)), self.y(0.0).min(self.y(value)));
        let (x, width) = (number(from * 100.0), format!("{:.3}", (to - from) * 100.0));
        let (y, height) = (number(high), number((low - high).max(0.5)));
        let _ = write!(self.marks, "<rect class={class} x={x}% width={width}% y={y} height={height}");
        self.close_mark("rect", title);
    }

    /// One of the page's symbols at a place.
    pub fn mark(&mut self, symbol: &str, share: f64, value: f64, title: Option<&str>) {
        let (x, y) = (format!("{:.2}", share * 100.0), number(self.y(value)));
        let _ = write!(self.marks, "<use href=#{symbol} x={x}% y={y}");
        self.close_mark("use", title);
    }

    fn close_mark(&mut self, element: &str, title: Option<&str>) {
        let _ = match title {
            Some(title) => write!(self.marks, "><title>{}</title></{element}>", escaped(title)),
            None => write!(self.marks, " />"),
        };
    }

    /// Tells a title when the pointer is between two shares of the width.
    pub fn hover(&mut self, from: f64, to: f64, title: &str) {
        let (x, width) = (format!("{:.2}", from * 100.0), format!("{:.2}", (to - from) * 100.0));
        let height = number(self.height - BELOW);
        let title = escaped(title);
        let _ = write!(self.hovers, "<rect x={x}% width={width}% height={height}><title>{title}</title></rect>");
    }

    /// The finished plot.
    pub fn finish(self) -> String {
        let Self { label, height, grid, lines, marks, hovers, axis, .. } = self;
        let (label, height) = (escaped(&label), number(height));
        format!(
            "<div class=plot role=img aria-label=\"{label}\"><svg class=axis height={height} aria-hidden=true>{axis}</svg>\
             <svg class=field height={height} aria-hidden=true>{grid}\
             <svg viewBox=\"0 0 1000 {height}\" width=100% height={height} preserveAspectRatio=none>{lines}</svg>\
             <g class=hovers>{hovers}</g>{marks}</svg></div>"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot() -> Plot {
        Plot::new("a <label>", 132.0, Values::covering([0.0, 10.0]))
    }

    #[test]
    fn values_go_up_and_shares_go_right() {
        let mut plot = plot();
        plot.line("price", [(0.0, 0.0), (1.0, 10.0)].into_iter());
        assert!(plot.finish().contains("d=\"M0 108L1000 8\""));
    }

    #[test]
    fn strokes_that_look_the_same_are_drawn_once() {
        let mut plot = plot();
        plot.levels("buys", [(0.1, 0.2, 5.0), (0.100_01, 0.200_01, 5.0), (0.1, 0.1, 5.0)].into_iter());
        let html = plot.finish();
        assert!(html.contains("d=\"M100 58H100.5M100 58H200\""), "{html}");
    }

    #[test]
    fn nothing_from_outside_reaches_the_page_unescaped() {
        let mut plot = plot();
        plot.mark("buy", 0.5, 5.0, Some("<script>"));
        let html = plot.finish();
        assert!(html.contains("a &lt;label&gt;") && html.contains("&lt;script&gt;") && !html.contains("<script>"));
    }

    #[test]
    fn what_is_no_number_is_drawn_at_the_edge() {
        assert_eq!(
            (number(f64::NAN), number(-0.01), number(12.34)),
            ("0".to_owned(), "0".to_owned(), "12.3".to_owned())
        );
    }
}
