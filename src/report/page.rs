//! The page itself: its sections in their order.

use std::fmt::Write as _;

use super::html::{escaped, json};
use super::market::Market;
use super::words;
use super::{Report, RunSource};

const STYLE: &str = include_str!("style.css");

/// The marks that the plots use by name. Each points at its place: a buy from below, a sell from above, so that a sell and
/// the buy that follows it at once are both seen.
const SYMBOLS: &str = "<svg width=0 height=0 style=\"position:absolute\" aria-hidden=true><defs>\
    <path id=buy class=buy d=\"M0 .5L4.4 8.5H-4.4Z\" /><path id=sell class=sell d=\"M0-.5L4.4-8.5H-4.4Z\" />\
    <circle id=dot class=dot r=3 /><circle id=best class=best r=6 /></defs></svg>";

impl Report<'_> {
    /// The whole page.
    pub fn page(&self) -> String {
        let market = Market::of(self);
        let mut body = self.head();
        body.push_str(&self.warnings());
        if market.is_empty() || self.chronicle.cycles.is_empty() {
            body.push_str("<p class=lead>Nothing has been traded yet: there is nothing to draw.</p>");
        } else {
            let quote = escaped(&self.quote);
            let _ = write!(
                body,
                "{}{}<h2>Price and orders, {quote}</h2>{}<h2>Equity and drawdown, {quote}</h2>{}<h2>Capital in use, {quote}</h2>{}",
                self.lead(),
                self.figure_list(),
                market.price(),
                market.equity(),
                market.capital()
            );
            body.push_str(&self.profits());
            body.push_str(&self.resting_at_the_end());
            let _ = write!(body, "<h2>Cycles and fills</h2>{}", self.cycle_list());
        }
        body.push_str(&self.parameters());
        body.push_str(&self.origin());
        document(&self.title(), &body, &json(self.figures))
    }

    fn title(&self) -> String {
        let kind = match self.source {
            RunSource::Backtest(_) => "backtest",
            RunSource::Journal(_) => "report",
        };
        format!("{} {kind}", self.symbol).trim().to_owned()
    }

    fn head(&self) -> String {
        let (from, to) = (self.summary.from, self.summary.to);
        let (over, under) = match &self.source {
            RunSource::Backtest(backtest) => (
                "Backtest: what the bot would have done".to_owned(),
                format!("{} candles of {}", words::apart(&backtest.candles.to_string()), backtest.market),
            ),
            RunSource::Journal(journal) => {
                let environment = self.chronicle.trader.as_ref().map_or("", |trader| trader.environment.as_str());
                let bot = self.chronicle.trader.as_ref().map_or("", |trader| trader.bot.as_str());
                let who = if bot.is_empty() { String::new() } else { format!("bot {bot} on {environment}, ") };
                ("What the bot did".to_owned(), format!("{who}journal in {}", journal.directory))
            }
        };
        let symbol = if self.symbol.is_empty() { "Nothing traded" } else { &self.symbol };
        let heading = match self.chronicle.began {
            None => symbol.to_owned(),
            Some(_) if words::day(from) == words::day(to) => format!("{symbol}, {}", words::day(from)),
            Some(_) => format!("{symbol}, {} to {}", words::day(from), words::day(to)),
        };
        let [over, heading, under] = [over, heading, under].map(|text| escaped(&text));
        format!("<header><p class=over>{over}</p><h1>{heading}</h1><p class=under>{under}</p></header>")
    }

    fn warnings(&self) -> String {
        let mut out = String::new();
        if self.chronicle.forgotten_cycles > 0 {
            let _ = write!(
                out,
                "<p class=alarm>Older files of this journal are not there: of {} before {} only the sums are known. They are \
                 in the profit, and not in the plots and lists.",
                words::count(self.chronicle.forgotten_cycles, "cycle", "cycles"),
                words::moment(self.chronicle.began.unwrap_or_default())
            );
        }
        if let RunSource::Journal(journal) = &self.source
            && let Some(alarm) = &journal.alarm
        {
            let _ = write!(out, "<p class=alarm>Alarm: {}", escaped(alarm));
        }
        out
    }

    fn profits(&self) -> String {
        if self.chronicle.closed().next().is_none() {
            return String::new();
        }
        format!("<h2>Profit, {}</h2>{}{}", escaped(&self.quote), self.profit_per_cycle(), self.profit_per_month())
    }
}

/// A page of its own; `figures` is JSON that is fit to stand in a script element.
pub(super) fn document(title: &str, body: &str, figures: &str) -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "<!doctype html>\n<html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width,initial-scale=1\">\
         <meta name=color-scheme content=\"light dark\"><meta name=generator content=\"recompra {version}\">\
         <title>{}</title><link rel=icon href=\"data:,\"><style>{STYLE}</style>\n<body>{SYMBOLS}<main>{body}</main>\n\
         <footer>Made by recompra {version}. All moments are UTC. <span class=screen>Rest the pointer on a figure for its exact \
         value, on a plot for what it shows there.</span></footer>\n<script type=\"application/json\" id=figures>{figures}</script>\n</html>\n",
        escaped(title)
    )
}
