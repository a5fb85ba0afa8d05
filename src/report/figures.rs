//! The headline figures, and the sentences that say what they mean.
//!
//! In: a report. Out: HTML. Each figure shows a rounded number and carries the exact one.

use std::time::Duration;

use super::html::{datum, escaped};
use super::words::{self, count};
use super::{Report, RunSource};
use crate::core::money::{Decimal, text};

/// One figure: what it is, the exact value, what is shown, and a word more.
struct Figure {
    key: String,
    name: &'static str,
    exact: String,
    shown: String,
    /// HTML.
    more: String,
    tone: &'static str,
}

/// The class that colours an amount.
pub(super) fn tone(amount: Decimal) -> &'static str {
    if amount.is_zero() {
        ""
    } else if amount > Decimal::ZERO {
        "gain"
    } else {
        "loss"
    }
}

/// A figure without a colour.
fn plain(key: &str, name: &'static str, exact: String, shown: String, more: String) -> Figure {
    Figure { key: key.to_owned(), name, exact, shown, more: escaped(&more), tone: "" }
}

fn span(key: &str, name: &'static str, span: Duration, more: &str) -> Figure {
    plain(key, name, span.as_secs().to_string(), words::span(span), more.to_owned())
}

fn number(key: &str, name: &'static str, number: u64, more: String) -> Figure {
    plain(key, name, number.to_string(), words::apart(&number.to_string()), more)
}

impl Report<'_> {
    /// An amount of quote coin: its exact value, and what is shown of it with a sign.
    fn amount(&self, key: &str, name: &'static str, (exact, shown): (Decimal, Decimal), when: &str) -> Figure {
        let more = format!("{when}; {}", words::percent(self.summary.percent(shown)));
        plain(key, name, text(exact), format!("{} {}", self.signed(shown), self.quote), more)
    }

    fn figures(&self) -> Vec<Figure> {
        let summary = self.summary;
        let profit = self.amount("profit", "Profit after fees", (summary.profit, summary.profit), "of closed cycles");
        let equity =
            self.amount("equity", "Profit with what is held", (summary.equity, summary.equity), "at the last price");
        let hold = (summary.buy_and_hold.round_dp(8), summary.buy_and_hold);
        let open = if self.end.ledger.cycle.is_some() { "and one that is open" } else { "and none is open" };
        vec![
            Figure { tone: tone(summary.profit), ..profit },
            Figure { tone: tone(summary.equity), ..equity },
            self.amount("buy_and_hold", "Buy and hold instead", hold, "the same capital"),
            self.amount("drawdown", "Worst drawdown", (summary.drawdown, -summary.drawdown), "from the peak"),
            plain(
                "most_bound",
                "Capital bound at most",
                text(summary.most_bound),
                format!("{} {}", words::rounded(summary.most_bound, self.decimals), self.quote),
                "what percentages are of".to_owned(),
            ),
            span("under_water_seconds", "Longest under water", summary.under_water, "without a new peak"),
            number("cycles", "Cycles closed", summary.cycles, open.to_owned()),
            span("longest_cycle_seconds", "Longest cycle", summary.longest_cycle, "the open one counts"),
            number(
                "executions",
                "Fills",
                summary.executions,
                format!("in {}", words::span(summary.to.since(summary.from))),
            ),
            self.fees(),
            plain(
                "held.quantity",
                "Held at the end",
                text(summary.held),
                format!("{} {}", words::exact(summary.held), self.base),
                format!("cost {} {}", words::rounded(summary.held_cost, self.decimals), self.quote),
            ),
            plain(
                "last_price",
                "Last price",
                text(summary.last_price),
                format!("{} {}", words::exact(summary.last_price), self.quote),
                format!("the first was {}", words::exact(summary.first_price)),
            ),
        ]
    }

    /// Fees by coin, the quote coin's first.
    fn fees(&self) -> Figure {
        let mut fees: Vec<_> = self.summary.fees.iter().collect();
        fees.sort_by_key(|(coin, _)| **coin != self.quote);
        let shown = |coin: &str, fee: Decimal| {
            let decimals = if coin == self.quote { self.decimals } else { words::decimals_for(fee).max(self.decimals) };
            format!("{} {coin}", words::rounded(fee, decimals))
        };
        let Some((coin, fee)) = fees.first() else {
            return plain("executions", "Fees", self.summary.executions.to_string(), "none".to_owned(), String::new());
        };
        let others: Vec<String> = fees
            .iter()
            .skip(1)
            .map(|(coin, fee)| format!("and {}", datum(&format!("fees.{coin}"), &text(**fee), &shown(coin, **fee))))
            .collect();
        Figure {
            more: others.join(" "),
            ..plain(&format!("fees.{coin}"), "Fees", text(**fee), shown(coin, **fee), String::new())
        }
    }

    /// The list of figures.
    pub(super) fn figure_list(&self) -> String {
        let mut out = "<dl class=figures>".to_owned();
        for Figure { key, name, exact, shown, more, tone } in self.figures() {
            let (name, datum) = (escaped(name), datum(&key, &exact, &shown));
            let class = if tone.is_empty() { String::new() } else { format!(" class={tone}") };
            out.push_str(&format!(
                "<div><dt>{name}</dt><dd><span{class}>{datum}</span><small>{more}</small></dd></div>"
            ));
        }
        out + "</dl>"
    }

    /// What came of it, in a few sentences.
    pub(super) fn lead(&self) -> String {
        let summary = self.summary;
        // No line ends between a number and its coin.
        let amount = |amount: Decimal| format!("{}\u{a0}{}", words::rounded(amount, self.decimals), self.quote);
        let gain = |amount: Decimal| format!("{}\u{a0}{}", self.signed(amount), self.quote);
        let mut sentences = Vec::new();
        let span = words::long_span(summary.to.since(summary.from));
        sentences.push(match summary.cycles {
            0 => format!("In {span} no cycle was closed."),
            cycles => format!(
                "In {span} the bot closed {} for {} after fees, with at most {} in use.",
                count(cycles, "cycle", "cycles"),
                gain(summary.profit),
                amount(summary.most_bound)
            ),
        });
        if summary.held_cost > Decimal::ZERO {
            sentences.push(format!(
                "At the end it holds {}\u{a0}{}, which cost {} and would bring {} at the last price: with that, the whole \
                 stands at {}.",
                words::exact(summary.held),
                self.base,
                amount(summary.held_cost),
                amount(summary.held * summary.last_price),
                gain(summary.equity)
            ));
        }
        if summary.most_bound > Decimal::ZERO {
            sentences.push(format!(
                "Buying at the beginning for the same capital and holding would have come to {}.",
                gain(summary.buy_and_hold)
            ));
        }
        format!("<p class=lead>{}</p>", escaped(&sentences.join(" ")))
    }

    /// What must be known to read the figures rightly.
    pub(super) fn assumptions(&self) -> String {
        let mut out = String::new();
        let mut say = |sentence: &str| out.push_str(&format!("<p class=note>{}</p>", escaped(sentence)));
        match &self.source {
            RunSource::Backtest(backtest) => {
                say(&format!(
                    "A candle gives a minute's first, highest, lowest and last price, and not which of highest and lowest \
                     came first. Assumed here: {}.",
                    backtest.assumed
                ));
                say(&format!(
                    "A resting order is filled when the price goes through it, in full and at its own price; one that is \
                     only touched is not. A market order trades at the best price{}. Fees: {} % for orders that rest, {} % \
                     for those that take. The strategy's own waits are kept; a message takes no time.",
                    if backtest.slippage_percent.is_zero() {
                        String::new()
                    } else {
                        format!(", made worse by {} %", text(backtest.slippage_percent))
                    },
                    text(backtest.maker_fee * Decimal::ONE_HUNDRED),
                    text(backtest.taker_fee * Decimal::ONE_HUNDRED),
                ));
                say("The past promises nothing.");
            }
            RunSource::Journal(journal) => {
                say(&match &journal.candles {
                    Some(file) => format!("Between fills, equity and drawdown follow the candles of {file}."),
                    None => "Prices are known only from the bot's own fills: what lies between them, and how deep the \
                             drawdown was there, is not in a journal. With --candles FILE the page shows it."
                        .to_owned(),
                });
                say("Fees in a third coin are listed above, and are not part of profit or equity.");
            }
        }
        out
    }
}
