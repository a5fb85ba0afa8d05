//! What is held, resting and earned, what the bot waits for, and whether it is well: `recompra status`.
//!
//! In: the ledger that the journal adds up to, and whether a bot runs. Out: text or JSON. Nothing can go wrong.
//!
//! A bot is well unless a person should look: an alarm is raised, the exchange has not answered for minutes, or it is not
//! started again after crashes. Whoever waits for money or for a delay is well.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::core::Timestamp;
use crate::core::ledger::{Cycle, Ledger, Order};
use crate::core::money::text;
use crate::core::order::{OrderKey, Slot};
use crate::core::parameters::Parameters;
use crate::core::record::{AlarmCause, Shortfall};
use crate::core::strategy::{next_cycle_due, rebuys_due};
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
    /// The parameters of the newest start, if they are known.
    pub parameters: Option<&'a Parameters>,
    /// Why no bot may be started now, if too many crashed.
    pub back_off: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

impl Status<'_> {
    /// Why a person should look; `None` if the bot is well.
    pub fn amiss(&self) -> Option<&'static str> {
        if !self.ledger.alarms.is_empty() {
            Some("an alarm is raised")
        } else if self.silent_since().is_some() {
            Some("the exchange does not answer")
        } else {
            self.back_off.map(|_| "it is not started again, because it crashed too often")
        }
    }

    /// What a process that has ended waited for, it waits for no longer.
    fn silent_since(&self) -> Option<Timestamp> {
        self.ledger.waits.silent_since.filter(|_| self.running)
    }

    fn shortfall(&self) -> Option<&Shortfall> {
        self.ledger.waits.funds.as_ref().filter(|_| self.running)
    }

    /// The delay that a running bot waits for, and when it is over.
    fn delay(&self) -> Option<(&'static str, Timestamp)> {
        let parameters = self.parameters.filter(|_| self.running)?;
        let mut delays = Vec::new();
        match &self.ledger.cycle {
            None => delays.push(("cycle_delay", next_cycle_due(self.ledger, parameters))),
            Some(cycle) if cycle.exit.is_none() && cycle.live(Slot::Buy(0)).is_none() => {
                let since = cycle.lots.values().filter_map(|lot| lot.since).min();
                delays.extend(since.map(|since| ("sell_delay", since.after(parameters.sell_delay))));
                let rebuys = cycle.base_price().is_some() && parameters.max_rebuys > 0;
                delays.extend(rebuys.then(|| ("rebuy_delay", rebuys_due(cycle, parameters))));
            }
            Some(_) => {}
        }
        delays.into_iter().filter(|(_, until)| *until > self.now).min_by_key(|(_, until)| *until)
    }

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
        if let Some(back_off) = self.back_off {
            let _ = writeln!(out, "NOT STARTED AGAIN: {}", printable(back_off));
        }
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
        self.attention(quote, &mut out);
        match &ledger.cycle {
            Some(cycle) => cycle_text(cycle, base, quote, &mut out),
            None => {
                let _ = writeln!(out, "no cycle is open; carried over: {} {base}", text(ledger.carry.quantity));
            }
        }
        out
    }

    /// What a person should know, and what the bot waits for.
    fn attention(&self, quote: &str, out: &mut String) {
        for (cause, message) in &self.ledger.alarms {
            let buys = if cause.forbids_buys() { ", no new buys" } else { "" };
            let _ = writeln!(out, "ALARM{buys}: {}\n  what to do: {}", printable(message), remedy(*cause));
        }
        if let Some(since) = self.silent_since() {
            let _ = writeln!(
                out,
                "waits for the exchange, which has not answered since {}: what rests goes on resting, and the bot goes on asking",
                moment(since)
            );
        }
        if let Some(Shortfall { needed, free, since }) = self.shortfall() {
            let _ = writeln!(
                out,
                "waits for money since {}: the ladder may still cost {} {quote}, {} are free; nothing is bought before",
                moment(*since),
                text(*needed),
                text(*free)
            );
        }
        if let Some((name, until)) = self.delay() {
            let _ = writeln!(out, "waits until {} for {name}", moment(until));
        }
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
            "well": self.amiss().is_none(),
            "alarm": ledger.alarm(),
            "alarms": ledger.alarms.iter().map(alarm_json).collect::<Vec<_>>(),
            "waits": {
                "funds": self.shortfall(),
                "silent_since": self.silent_since(),
                "delay": self.delay().map(|(name, until)| json!({ "name": name, "until": until })),
            },
            "back_off": self.back_off,
            "carried": { "quantity": text(ledger.carry.quantity), "cost": text(ledger.carry.cost) },
            "cycle": ledger.cycle.as_ref().map(cycle_json),
        })
    }
}

/// What a person can do about an alarm.
fn remedy(cause: AlarmCause) -> &'static str {
    match cause {
        AlarmCause::Strays => "end the other bot of this name, or cancel its orders; then the alarm ends by itself",
        AlarmCause::Refused => "see to it on the exchange's site; the bot goes on asking, and the alarm ends by itself",
        AlarmCause::LostHistory => {
            "compare the account (`recompra audit`); then `recompra stop --close` sells what is held, or `recompra resume --yes` \
             goes on with what is counted"
        }
        AlarmCause::Untold => "look at the order history on the exchange's site; the alarm ends by itself",
        AlarmCause::CoinsLeft => "compare the account (`recompra audit`); then `recompra resume --yes`",
    }
}

fn alarm_json((cause, message): (&AlarmCause, &String)) -> Value {
    let (remedy, forbids_buys) = (remedy(*cause), cause.forbids_buys());
    json!({ "cause": cause, "message": message, "remedy": remedy, "forbids_buys": forbids_buys })
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{self, EXAMPLE};
    use crate::core::record::Record;

    /// A bot whose last cycle has just ended, with delays of an hour.
    fn shown(running: bool, facts: &[Record]) -> (String, Value, Option<&'static str>) {
        let mut parameters = config::parse(EXAMPLE, std::path::Path::new("example")).unwrap().parameters;
        parameters.cycle_delay = Duration::from_secs(3_600);
        let instrument = super::super::plan::assumed_instrument("BTCUSDT");
        let mut ledger = Ledger { last_end: Some(Timestamp(1_000)), instrument: Some(instrument), ..Ledger::default() };
        facts.iter().for_each(|fact| ledger.apply(Timestamp(1_000), fact).unwrap());
        let status = Status {
            directory: "state",
            running,
            stopped: false,
            ledger: &ledger,
            parameters: Some(&parameters),
            back_off: None,
            now: Timestamp(2_000),
        };
        (status.text(), status.json(), status.amiss())
    }

    #[test]
    fn whoever_waits_for_a_delay_is_well_and_says_how_long() {
        let (text, json, amiss) = shown(true, &[]);
        assert!(text.contains("waits until 1970-01-01 01:00:01 for cycle_delay"), "{text}");
        assert_eq!((json["waits"]["delay"]["name"].as_str(), amiss), (Some("cycle_delay"), None));
        let (text, json, _) = shown(false, &[]);
        assert!(!text.contains("waits") && json["waits"]["delay"].is_null(), "{text}");
    }

    #[test]
    fn whoever_waits_for_money_is_well_and_says_how_much() {
        let funds = Some(Shortfall { needed: 80.into(), free: 20.into(), since: Timestamp(1_000) });
        let facts = [Record::Waits(crate::core::record::Waits { funds, silent_since: None })];
        let (text, json, amiss) = shown(true, &facts);
        assert!(text.contains("the ladder may still cost 80 USDT, 20 are free"), "{text}");
        assert_eq!(
            (json["waits"]["funds"]["free"].as_str(), json["well"].as_bool(), amiss),
            (Some("20"), Some(true), None)
        );
        assert!(!shown(false, &facts).0.contains("80 USDT"));
    }

    #[test]
    fn an_exchange_that_does_not_answer_is_amiss_while_the_bot_runs() {
        let waits = crate::core::record::Waits { funds: None, silent_since: Some(Timestamp(0)) };
        let facts = [Record::Waits(waits)];
        let (text, json, amiss) = shown(true, &facts);
        assert!(text.contains("has not answered since 1970-01-01 00:00:00"), "{text}");
        assert!(json["well"] == false && amiss.is_some());
        assert!(shown(false, &facts).2.is_none());
    }

    #[test]
    fn every_alarm_says_what_to_do() {
        for cause in [AlarmCause::Strays, AlarmCause::Refused, AlarmCause::LostHistory, AlarmCause::CoinsLeft] {
            let (text, json, amiss) = shown(true, &[Record::Alarmed { cause, message: "what is wrong".to_owned() }]);
            assert!(text.contains("what is wrong") && text.contains("what to do: "), "{text}");
            assert_eq!(text.contains("no new buys"), cause.forbids_buys());
            assert_eq!(
                (json["alarms"][0]["remedy"].as_str(), amiss),
                (Some(remedy(cause)), Some("an alarm is raised"))
            );
        }
    }
}
