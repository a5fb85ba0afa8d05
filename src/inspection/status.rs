//! What is held, resting and earned: `recompra status`.
//!
//! In: the ledger that the journal adds up to, and whether a bot runs. Out: text or JSON. Nothing can go wrong.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::core::ledger::{Cycle, Ledger, Order};
use crate::core::money::text;
use crate::core::order::OrderKey;
use crate::narrator::{cycles, moment, signed};
use crate::printable::printable;

/// What the journal adds up to, ready to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Status<'a> {
    /// The state directory, for people.
    pub directory: &'a str,
    /// Whether a bot holds its lock now.
    pub running: bool,
    /// Whether a `STOP` file lies in it.
    pub stopped: bool,
    /// What the journal adds up to.
    pub ledger: &'a Ledger,
}

impl Status<'_> {
    /// For people.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let ledger = self.ledger;
        let state = match (self.running, self.stopped) {
            (true, true) => "running, asked to stop",
            (true, false) => "running",
            (false, true) => "stopped by the file STOP: remove it to trade again",
            (false, false) => "not running",
        };
        let _ = writeln!(out, "{}: {state}", self.directory);
        let Some(instrument) = &ledger.instrument else {
            out.push_str("nothing traded yet\n");
            return out;
        };
        let (base, quote) = (&instrument.base_coin, &instrument.quote_coin);
        let totals = &ledger.totals;
        let _ = writeln!(
            out,
            "{}: {} closed, {} {quote}, {} executions, last entry {}",
            instrument.symbol,
            cycles(totals.cycles),
            signed(totals.profit),
            totals.executions,
            moment(ledger.time)
        );
        if !totals.fees.is_empty() {
            let fees: Vec<String> = totals.fees.iter().map(|(coin, fee)| format!("{} {coin}", text(*fee))).collect();
            let _ = writeln!(out, "fees paid: {}", fees.join(", "));
        }
        if let Some(alarm) = ledger.alarm() {
            let _ = writeln!(out, "ALARM: {}", printable(&alarm));
        }
        match &ledger.cycle {
            Some(cycle) => cycle_text(cycle, base, quote, &mut out),
            None => {
                let _ = writeln!(out, "no cycle is open; carried over: {} {base}", text(ledger.carry.quantity));
            }
        }
        out
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let ledger = self.ledger;
        json!({
            "state_dir": self.directory,
            "running": self.running,
            "stopped": self.stopped,
            "symbol": ledger.instrument.as_ref().map(|instrument| &instrument.symbol),
            "last_entry": ledger.time,
            "cycles": ledger.totals.cycles,
            "profit": text(ledger.totals.profit),
            "executions": ledger.totals.executions,
            "fees": ledger.totals.fees.iter().map(|(coin, fee)| (coin.clone(), text(*fee).into())).collect::<serde_json::Map<_, _>>(),
            "alarm": ledger.alarm(),
            "carried": { "quantity": text(ledger.carry.quantity), "cost": text(ledger.carry.cost) },
            "cycle": ledger.cycle.as_ref().map(cycle_json),
        })
    }
}

fn cycle_text(cycle: &Cycle, base: &str, quote: &str, out: &mut String) {
    let held = cycle.held();
    let _ = writeln!(
        out,
        "cycle {} since {}: holds {} {base}, which cost {} {quote}",
        cycle.number,
        moment(cycle.opened),
        text(held.quantity),
        text(held.cost)
    );
    if let Some(exit) = &cycle.exit {
        let _ = writeln!(out, "  being closed at market: {exit:?}");
    }
    let mut live = cycle.live_orders().peekable();
    if live.peek().is_none() {
        out.push_str("  nothing rests\n");
    }
    for (key, order) in live {
        let _ = writeln!(out, "  {:<14}  {}{}", key.slot.to_string(), order.spec, progress(order));
    }
}

fn progress(order: &Order) -> String {
    if order.is_unknown() {
        return "  (in doubt: it is asked for at the next start)".to_owned();
    }
    let filled = if order.executed_quantity.is_zero() {
        String::new()
    } else {
        format!("  ({} filled)", text(order.executed_quantity))
    };
    let cancel = if order.cancel_asked.is_some() { "  (being cancelled)" } else { "" };
    filled + cancel
}

fn cycle_json(cycle: &Cycle) -> Value {
    let held = cycle.held();
    json!({
        "number": cycle.number,
        "opened": cycle.opened,
        "held": { "quantity": text(held.quantity), "cost": text(held.cost) },
        "committed": text(cycle.committed()),
        "exit": cycle.exit,
        "orders": cycle.live_orders().map(|(key, order)| order_json(key, order)).collect::<Vec<_>>(),
    })
}

fn order_json(key: OrderKey, order: &Order) -> Value {
    json!({
        "key": key,
        "slot": key.slot.to_string(),
        "spec": order.spec,
        "order_id": order.order_id,
        "in_doubt": order.is_unknown(),
        "executed_quantity": text(order.executed_quantity),
        "executed_value": text(order.executed_value),
        "planned": order.planned,
        "cancel_asked": order.cancel_asked,
    })
}
