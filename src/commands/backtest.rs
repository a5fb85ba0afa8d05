//! `recompra backtest`: what the bot would have done over recorded candles.
//!
//! In: candles, the strategy's parameters, assumptions about fills and fees. Out: a summary, and every fill as CSV if
//! asked for. The bot, its ledger and the fill rules are those of `run` and `paper`.

use std::fmt::Write as _;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::{load_or_example, market, obstacle_failure, show};
use crate::backtest::course::{Course, Trade};
use crate::backtest::summary::Summary;
use crate::backtest::{self, End};
use crate::command_line::{self, CandlePath};
use crate::core::instrument::Instrument;
use crate::core::money::{Decimal, text};
use crate::core::order::Side;
use crate::engine::ports::Observer;
use crate::exit::{Exit, Failure};
use crate::narrator::{moment, signed};
use crate::simulation::market::{self as prices, Recording};

/// A backtest that was run.
pub(super) struct Played {
    /// How it ended.
    pub(super) end: End,
    /// The candles.
    pub(super) recording: Recording,
    /// How they were played.
    pub(super) path: prices::Path,
}

/// `recompra backtest`.
///
/// # Errors
/// [`Failure`] when the configuration or the candles are wrong, or the fills cannot be written.
pub fn backtest(options: &command_line::Backtest) -> Result<(), Failure> {
    let mut course = if options.trades.is_some() { Course::with_trades() } else { Course::default() };
    let played = play(options, &mut course)?;
    if let (Some(file), Some(trades)) = (&options.trades, &course.trades) {
        write_trades(file, trades)
            .map_err(|error| Failure::new(Exit::State, format!("{}: cannot be written: {error}", file.display())))?;
    }
    let summary = played.summary(&course, options);
    let figures = || figures(&summary, options, played.recording.len());
    show(options.json, figures, || as_text(&summary, options, &played))
}

/// Runs a backtest, and lets somebody watch it.
///
/// # Errors
/// [`Failure`] when the configuration or the candles are wrong.
pub(super) fn play(options: &command_line::Backtest, observer: &mut dyn Observer) -> Result<Played, Failure> {
    let config = load_or_example(options.config.as_deref())?;
    let parameters = &config.parameters;
    let listing = market::slipping(&parameters.symbol, options.assumptions.slippage);
    let recording = market::recording(&options.market, &listing, options.no_cache)?;
    let exchange = market::backtest_exchange(parameters, listing, &options.assumptions);
    let path = market::order(options.assumptions.path);
    // What the engine tells while it trades would be told a year at once.
    log::set_max_level(log::max_level().min(log::LevelFilter::Warn));
    let end =
        backtest::run(exchange, recording.play(path), &config.bot, parameters, observer).map_err(obstacle_failure)?;
    Ok(Played { end, recording, path })
}

impl Played {
    /// What came of it.
    pub(super) fn summary(&self, course: &Course, options: &command_line::Backtest) -> Summary {
        Summary::new(&self.end, course, &self.recording, self.path, options.assumptions.fee_taker)
    }
}

fn write_trades(file: &Path, trades: &[Trade]) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(file)?);
    writeln!(out, "time,cycle,order,side,price,quantity,value,fee,fee_coin,maker")?;
    for Trade { key, execution } in trades {
        writeln!(
            out,
            "{},{},{},{},{},{},{},{},{},{}",
            execution.time,
            key.cycle,
            key.slot,
            if execution.side == Side::Buy { "buy" } else { "sell" },
            text(execution.price),
            text(execution.quantity),
            text(execution.value),
            text(execution.fee),
            execution.fee_coin,
            execution.maker,
        )?;
    }
    out.flush()
}

/// The figures for machines.
pub(super) fn figures(summary: &Summary, options: &command_line::Backtest, candles: usize) -> Value {
    let mut figures = summary.figures();
    figures["type"] = "backtest".into();
    figures["market"] = options.market.display().to_string().into();
    figures["path"] = options.assumptions.path.name().into();
    figures["candles"] = candles.into();
    figures
}

/// What is assumed of the order of high and low in a candle.
pub(super) fn assumed(path: CandlePath) -> &'static str {
    match path {
        CandlePath::Nearest => "whichever of high and low is nearer to a minute's open came first",
        CandlePath::Pessimistic => "a minute's high came before its low",
        CandlePath::Optimistic => "a minute's low came before its high",
    }
}

fn as_text(summary: &Summary, options: &command_line::Backtest, played: &Played) -> String {
    let name = |of: fn(&Instrument) -> &String| played.end.ledger.instrument.as_ref().map_or("", |known| of(known));
    let (symbol, base, quote) = (name(|i| &i.symbol), name(|i| &i.base_coin), name(|i| &i.quote_coin));
    let candles = played.recording.len();
    let percent = |amount| format!("{} %", signed(summary.percent(amount).round_dp(2)));
    let amount = |amount: Decimal| format!("{} {quote}", text(amount.round_dp(4)));
    let gain = |amount: Decimal| format!("{} {quote}", signed(amount.round_dp(4)));
    let span = |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs() / 60 * 60)).to_string();
    let fees: Vec<String> = summary.fees.iter().map(|(coin, fee)| format!("{} {coin}", text(*fee))).collect();
    let held = format!("{} {base}, which cost {}", text(summary.held), amount(summary.held_cost));
    let rows = [
        ("cycles", format!("{} closed, {} fills", summary.cycles, summary.executions)),
        (
            "profit after fees",
            format!("{}, {} of the most that was bound", gain(summary.profit), percent(summary.profit)),
        ),
        ("held at the end", held),
        ("profit with that", format!("{}, {} at the last price", gain(summary.equity), percent(summary.equity))),
        ("capital bound at most", amount(summary.most_bound)),
        ("worst drawdown", format!("{}, {}", gain(-summary.drawdown), percent(-summary.drawdown))),
        ("longest under water", span(summary.under_water)),
        ("longest cycle", span(summary.longest_cycle)),
        ("fees", if fees.is_empty() { "none".to_owned() } else { fees.join(" and ") }),
        (
            "buy and hold",
            format!("{}, {} on the same capital", gain(summary.buy_and_hold), percent(summary.buy_and_hold)),
        ),
    ];
    let mut out = String::new();
    let (from, to) = (moment(summary.from), moment(summary.to));
    let _ = writeln!(out, "{symbol}, {candles} candles, {from} to {to}\n");
    for (name, value) in rows {
        let _ = writeln!(out, "  {name:<22}{value}");
    }
    let assumed = assumed(options.assumptions.path);
    let _ = writeln!(
        out,
        "\nAssumed: {assumed}; a resting order is filled when the price goes through it, at its own price.\nThe bounds: \
         --path pessimistic (the high first, always) and --path optimistic (the low first)."
    );
    out
}
