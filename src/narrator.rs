//! Tells people, or machines, what happens: one line for each record that matters to them.
//!
//! In: records as they are written, and the ledger after each. Out: lines on standard output. What the lines say can
//! also be told from the journal afterwards, for both come from the same records.

use std::io::{self, Write};

use serde::Serialize;

use crate::core::Timestamp;
use crate::core::ledger::Ledger;
use crate::core::money::{self, Decimal};
use crate::core::order::{Execution, OrderKey, OrderSpec, OrderStatus, Side};
use crate::core::record::{ExitCause, MissingCause, Reason, Record, Shortfall, Waits};
use crate::engine::ports::Observer;
use crate::printable::printable;

/// In which form things are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A line of text for each thing that people care about.
    Text,
    /// One JSON object a line, for every record.
    Json,
    /// Nothing: under cron, all being well is no news.
    Silent,
}

/// Writes what it is told to an output, when nothing is urgent: until then it is only noted.
pub struct Narrator<W: Write> {
    output: W,
    form: Form,
    /// Names of base and quote coin.
    coins: (String, String),
    noted: Vec<Note>,
    failure: Option<io::Error>,
}

/// A record, and what its sentence says beside it.
struct Note {
    time: Timestamp,
    record: Record,
    /// For an order that was closed: whether the bot had asked for that.
    own_cancel: bool,
    /// Over all cycles closed so far.
    profit: Decimal,
    cycles: u64,
}

#[derive(Serialize)]
struct JsonLine<'r> {
    time: Timestamp,
    #[serde(flatten)]
    record: &'r Record,
}

impl<W: Write> Narrator<W> {
    /// A narrator that writes to `output`.
    pub fn new(output: W, form: Form) -> Self {
        Self { output, form, coins: Default::default(), noted: Vec::new(), failure: None }
    }

    /// Why nothing more is told, if its output has failed.
    pub fn into_outcome(mut self) -> io::Result<()> {
        self.rest();
        self.failure.take().map_or(Ok(()), Err)
    }

    fn write(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        for note in self.noted.drain(..) {
            match self.form {
                Form::Silent => {}
                Form::Json => {
                    let line = serde_json::to_string(&JsonLine { time: note.time, record: &note.record })?;
                    writeln!(lines, "{}", printable(&line))?;
                }
                Form::Text => {
                    if let Some(sentence) = sentence(&note, &self.coins) {
                        writeln!(lines, "{}  {}", moment(note.time), printable(&sentence))?;
                    }
                }
            }
        }
        self.output.write_all(&lines)?;
        self.output.flush()
    }
}

impl<W: Write> Observer for Narrator<W> {
    fn recorded(&mut self, time: Timestamp, record: &Record, ledger: &Ledger) {
        if self.failure.is_some() || self.form == Form::Silent || (self.form == Form::Text && is_bookkeeping(record)) {
            return;
        }
        if let Some(instrument) = &ledger.instrument
            && (self.coins.0 != instrument.base_coin || self.coins.1 != instrument.quote_coin)
        {
            self.coins = (instrument.base_coin.clone(), instrument.quote_coin.clone());
        }
        let own_cancel = match record {
            Record::OrderClosed { key, .. } => ledger.order(*key).is_some_and(|order| order.cancel_asked.is_some()),
            _ => false,
        };
        let (profit, cycles) = (ledger.totals.profit, ledger.totals.cycles);
        self.noted.push(Note { time, record: record.clone(), own_cancel, profit, cycles });
    }

    fn rest(&mut self) {
        if self.noted.is_empty() {
            return;
        }
        // It is for whoever owns the output to say what follows from that.
        self.failure = self.write().err();
    }
}

impl<W: Write> Drop for Narrator<W> {
    fn drop(&mut self) {
        self.rest();
    }
}

/// `2022-01-01 00:00:02`, UTC.
pub fn moment(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => seconds.replacen('T', " ", 1),
        None => text,
    }
}

/// Whether a record says nothing to people.
fn is_bookkeeping(record: &Record) -> bool {
    matches!(
        record,
        Record::Journal { .. }
            | Record::InstrumentSeen { .. }
            | Record::OrderAccepted { .. }
            | Record::NameTaken { .. }
            | Record::OrderAbsent { .. }
            | Record::CancelAsked { .. }
            | Record::CancelFailed { .. }
            | Record::Reconciled
            | Record::Snapshot { .. }
    )
}

/// What a record means to people; `None` if it is only bookkeeping.
fn sentence(note: &Note, (base, quote): &(String, String)) -> Option<String> {
    match &note.record {
        Record::Started { version, environment, bot, parameters } => {
            Some(format!("recompra {version}: bot {bot} trades {} on {environment}", parameters.symbol))
        }
        Record::Stopped { reason } => Some(format!("ended: {reason}")),
        Record::CycleOpened { cycle, .. } => Some(format!("cycle {cycle}")),
        Record::OrderPlanned { key, spec, reason, .. } => {
            Some(format!("  {}  {}{}", label(*key), spec_text(spec, base, quote), reason_text(reason, quote)))
        }
        Record::OrderAdopted { key, spec, .. } => {
            Some(format!("  {}  found on the exchange: {}", label(*key), spec_text(spec, base, quote)))
        }
        Record::OrderRefused { key, message, .. } => Some(format!("  {}  refused: {message}", label(*key))),
        Record::OrderClosed { key, status, executed_quantity, message, .. } => match status {
            OrderStatus::Cancelled | OrderStatus::Rejected if executed_quantity.is_zero() => {
                // Bybit's word for a cancel that the bot itself asked for says nothing to people.
                let reason =
                    if note.own_cancel || message.is_empty() { String::new() } else { format!(" ({message})") };
                Some(format!("  {}  cancelled{reason}", label(*key)))
            }
            _ => None,
        },
        Record::OrderUntold { key } => {
            Some(format!("  {}  has ended; the exchange no longer tells how, and has nothing to cancel", label(*key)))
        }
        Record::OrderAmended { key, spec } => {
            Some(format!("  {}  amended by somebody: {}", label(*key), spec_text(spec, base, quote)))
        }
        Record::Executed { key, execution } => {
            Some(format!("  {}  {}", label(*key), execution_text(execution, base, quote)))
        }
        Record::ExitDecided { cause } => Some(match cause {
            ExitCause::StopLoss { price, trigger } => {
                format!("  stop loss: the price is {}, the limit {}", money::text(*price), money::text(*trigger))
            }
            ExitCause::TimeLimit => "  time limit: the cycle is closed at market".to_owned(),
            ExitCause::Close => "  closing at market, as asked".to_owned(),
            ExitCause::Found => "  closing at market, as was decided before the journal was lost".to_owned(),
        }),
        Record::CycleClosed { cycle, profit } => Some(format!(
            "cycle {cycle} closed: {} {quote}; {} {quote} in {}",
            signed(*profit),
            signed(note.profit),
            cycles(note.cycles)
        )),
        Record::CoinsMissing { quantity, cause, .. } => Some(format!(
            "MISSING: {} that {}; they are written off, and their cost is a loss",
            money::text(*quantity),
            match cause {
                MissingCause::LeftAccount => "were held have left the account",
                MissingCause::LongAbsence => "were not offered may have been sold by an order that the journal lost",
                MissingCause::OrderForgotten => "were offered may have been sold: the exchange no longer tells",
            }
        )),
        Record::Alarmed { message, .. } => Some(format!("ALARM: {message}")),
        Record::AlarmCleared { .. } => Some("the alarm is over".to_owned()),
        Record::Waits(Waits { funds, silent_since }) => Some(match (funds, silent_since) {
            (_, Some(since)) => format!("waiting for the exchange, which has not answered since {}", moment(*since)),
            (Some(Shortfall { needed, free, .. }), None) => format!(
                "waiting for money: the ladder may still cost {} {quote}, {} are free",
                money::text(*needed),
                money::text(*free)
            ),
            (None, None) => "waiting no longer".to_owned(),
        }),
        _ => None,
    }
}

/// `1 cycle`, `2 cycles`.
pub fn cycles(count: u64) -> String {
    format!("{count} cycle{}", if count == 1 { "" } else { "s" })
}

/// `+0.5` or `-0.5`.
pub fn signed(value: Decimal) -> String {
    let sign = if value.is_sign_negative() { "" } else { "+" };
    format!("{sign}{}", money::text(value))
}

/// The order's slot, wide enough to stand in a column.
fn label(key: OrderKey) -> String {
    format!("{:<14}", key.slot.to_string())
}

fn spec_text(spec: &OrderSpec, base: &str, quote: &str) -> String {
    let text = money::text;
    match spec {
        OrderSpec::MarketBuy { amount } => format!("buy for {} {quote} at market", text(*amount)),
        OrderSpec::MarketSell { quantity } => format!("sell {} {base} at market", text(*quantity)),
        OrderSpec::Limit { side, price, quantity, .. } => {
            let verb = if *side == Side::Buy { "buy" } else { "sell" };
            format!("{verb} {} {base} at {}", text(*quantity), text(*price))
        }
    }
}

fn reason_text(reason: &Reason, quote: &str) -> String {
    match reason {
        Reason::TakeProfit { cost, take_profit_percent, .. } => {
            format!(" (cost {} {quote} + {} %)", money::text(*cost), money::text(*take_profit_percent))
        }
        Reason::Base | Reason::Rebuy { .. } | Reason::Exit => String::new(),
    }
}

fn execution_text(execution: &Execution, base: &str, quote: &str) -> String {
    let text = money::text;
    let verb = if execution.side == Side::Buy { "bought" } else { "sold" };
    format!(
        "{verb} {} {base} at {} for {} {quote}, fee {} {}",
        text(execution.quantity),
        text(execution.price),
        text(execution.value),
        text(execution.fee),
        execution.fee_coin
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coins_that_may_have_been_sold_are_not_said_to_have_left_the_account() {
        let told = |json: &str| {
            let record = serde_json::from_str(json).unwrap();
            let note = Note { time: Timestamp(0), record, own_cancel: false, profit: money::Decimal::ZERO, cycles: 0 };
            sentence(&note, &Default::default()).unwrap()
        };
        let earlier = told(r#"{"type":"coins_missing","quantity":"0.5"}"#);
        assert!(earlier.contains("0.5 that were held have left the account"), "{earlier}");
        for cause in ["long_absence", "order_forgotten"] {
            let doubtful = told(&format!(r#"{{"type":"coins_missing","quantity":"0.5","cause":"{cause}"}}"#));
            assert!(doubtful.contains("may have been sold") && !doubtful.contains("have left"), "{doubtful}");
        }
    }
}
