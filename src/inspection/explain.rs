//! For each resting order why it exists, and the arithmetic behind its price and quantity: `recompra explain`.
//!
//! In: the journal's records. Out: an [`Explanation`] for each order, as text or JSON. Every number is computed again from
//! what was known when the order was planned, and compared with what the order asks for. Nothing can go wrong: what the
//! records do not tell is said.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::core::instrument::Instrument;
use crate::core::ladder;
use crate::core::ledger::{Cycle, Ledger, Order};
use crate::core::money::{self, text};
use crate::core::order::{BotName, OrderKey, OrderSpec, Side, Slot};
use crate::core::parameters::{DeviationFrom, Parameters};
use crate::core::record::{Offer, Reason, Record};
use crate::core::{Decimal, Timestamp};

/// Digits of a quotient that people are shown.
const SHOWN_DIGITS: usize = 12;

/// One step of the arithmetic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calculation {
    /// What is computed: `price`, `quantity`, …
    pub what: &'static str,
    /// How, with the numbers.
    pub arithmetic: String,
    /// What comes out.
    pub value: Decimal,
}

impl Calculation {
    fn json(&self) -> Value {
        json!({ "what": self.what, "how": self.arithmetic, "value": text(self.value) })
    }
}

/// Why an order exists and where its numbers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The order.
    pub key: OrderKey,
    /// What it asks for.
    pub spec: OrderSpec,
    /// Why it exists.
    pub why: String,
    /// The arithmetic.
    pub calculations: Vec<Calculation>,
    /// What people should know besides: it was amended, raised for a maker, adopted.
    pub notes: Vec<String>,
}

/// Explains every live order, in the order of their slots.
pub fn explain(entries: &[(Timestamp, Record)]) -> Vec<Explanation> {
    let mut story = Story::default();
    for (time, record) in entries {
        story.take(*time, record);
    }
    story.tell()
}

/// What has been read so far.
#[derive(Default)]
struct Story {
    ledger: Ledger,
    parameters: Option<Parameters>,
    /// Explanations of the open cycle's orders.
    orders: BTreeMap<OrderKey, Explanation>,
}

impl Story {
    fn take(&mut self, time: Timestamp, record: &Record) {
        match record {
            Record::Started { parameters, .. } => self.parameters = Some(parameters.clone()),
            Record::CycleOpened { .. } => self.orders.clear(),
            Record::OrderPlanned { key, spec, offer, reason } => {
                let explanation = self.planned(*key, spec, offer.as_ref(), reason);
                self.orders.insert(*key, explanation);
            }
            _ => {}
        }
        // The records were applied one by one when they were read: none contradicts another.
        let _ = self.ledger.apply(time, record);
    }

    fn tell(mut self) -> Vec<Explanation> {
        let Some(cycle) = self.ledger.cycle.clone() else { return Vec::new() };
        let explain = |(key, order): (OrderKey, &Order)| {
            let mut explanation = match (self.orders.remove(&key), &order.reason) {
                (Some(explanation), _) => explanation,
                // It was planned before the oldest record that is left.
                (None, Some(reason)) => self.planned(key, &order.spec, None, reason),
                (None, None) => Explanation::adopted(key, &order.spec),
            };
            if order.amended {
                explanation.notes.push(format!("somebody amended it on the exchange: it now asks to {}", order.spec));
            }
            if order.is_unknown() {
                explanation.notes.push("no answer came to it yet: whether it rests is asked for".to_owned());
            }
            explanation
        };
        cycle.live_orders().map(explain).collect()
    }

    fn planned(&self, key: OrderKey, spec: &OrderSpec, offer: Option<&Offer>, reason: &Reason) -> Explanation {
        let mut explanation =
            Explanation { key, spec: spec.clone(), why: String::new(), calculations: Vec::new(), notes: Vec::new() };
        let (Some(parameters), Some(instrument)) = (&self.parameters, &self.ledger.instrument) else {
            explanation.why = "the records it came from are gone".to_owned();
            return explanation;
        };
        let known = Known { parameters, instrument, cycle: self.ledger.cycle.as_ref() };
        match reason {
            Reason::Base => explanation.base(&known),
            Reason::Rebuy { base_price, amount } => explanation.rebuy(&known, *base_price, *amount),
            Reason::TakeProfit { cost, take_profit_percent, fee_rate } => {
                explanation.take_profit(&known, offer, *cost, *take_profit_percent, *fee_rate);
            }
            Reason::Exit => explanation.exit(&known, offer),
        }
        explanation
    }
}

/// What was known when an order was planned.
struct Known<'a> {
    parameters: &'a Parameters,
    instrument: &'a Instrument,
    cycle: Option<&'a Cycle>,
}

impl Explanation {
    fn adopted(key: OrderKey, spec: &OrderSpec) -> Self {
        Self {
            key,
            spec: spec.clone(),
            why: "it was found on the exchange under this bot's name; the journal had lost why it was placed"
                .to_owned(),
            calculations: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// The order's `orderLinkId`, if the bot's name is known.
    pub fn name(&self, bot: Option<&BotName>) -> String {
        bot.map_or_else(|| self.key.to_string(), |bot| self.key.link_id(bot))
    }

    /// Whether what was computed again is what the order asks for; a maker's price may be on the better side of it.
    pub fn is_as_computed(&self) -> bool {
        let value = |what| self.calculations.iter().rfind(|one| one.what == what).map(|one| one.value);
        let equal = |what, asked| value(what).is_none_or(|value| value == asked);
        match self.spec {
            OrderSpec::MarketBuy { amount } => equal("amount", amount),
            OrderSpec::MarketSell { quantity } => equal("quantity", quantity),
            OrderSpec::Limit { side, price, quantity, post_only } => {
                let better = value("price").is_none_or(|value| match side {
                    Side::Buy => price <= value,
                    Side::Sell => price >= value,
                });
                equal("quantity", quantity) && (equal("price", price) || (post_only && better))
            }
        }
    }

    fn calculate(&mut self, what: &'static str, value: Decimal, arithmetic: String) {
        self.calculations.push(Calculation { what, arithmetic, value });
    }

    fn base(&mut self, known: &Known<'_>) {
        self.why = "it opens the cycle: base_order_amount is spent at market".to_owned();
        let Known { parameters, instrument, .. } = known;
        let amount = money::floor_to(parameters.base_order_amount, instrument.amount_step);
        let step = text(instrument.amount_step);
        self.calculate(
            "amount",
            amount,
            rounded(&text(parameters.base_order_amount), "down to the step", &step, amount),
        );
    }

    fn rebuy(&mut self, known: &Known<'_>, base_price: Decimal, amount: Decimal) {
        let Slot::Buy(level) = self.key.slot else { return };
        let Known { parameters, instrument, cycle } = known;
        self.why = format!("rebuy {level} of {}: it buys more where the price has fallen", parameters.max_rebuys);
        if let Some((value, quantity)) = cycle.and_then(base_order) {
            let arithmetic = format!("{} / {} = {}", text(value), text(quantity), shown(base_price));
            self.calculate("base price", base_price, arithmetic);
        }
        let Ok(rebuys) = ladder::rebuys(base_price, parameters, instrument) else {
            self.notes.push("by today's filters the ladder could not be placed".to_owned());
            return;
        };
        let Some(rebuy) = rebuys.iter().find(|rebuy| rebuy.level == level) else {
            self.notes.push(format!("max_rebuys is {} now", parameters.max_rebuys));
            return;
        };
        let above = rebuys.iter().find(|rebuy| rebuy.level + 1 == level).map_or(base_price, |rebuy| rebuy.price);
        let (from, deviation) = match parameters.deviation_from {
            DeviationFrom::Base => (base_price, self.whole_deviation(parameters, level)),
            DeviationFrom::Previous => (above, self.one_step(parameters, level)),
        };
        let exact = from * (Decimal::ONE - deviation);
        let product = format!("{} × (1 − {}) = {}", shown(from), shown(deviation), shown(exact));
        let tick = text(instrument.tick_size);
        self.calculate("price", rebuy.price, rounded(&product, "down to the tick", &tick, rebuy.price));
        let scale = match level {
            1 => format!("rebuy_amount {}", text(amount)),
            _ => format!(
                "{} × {}^{} = {}",
                text(parameters.rebuy_amount),
                text(parameters.amount_scale),
                level - 1,
                text(amount)
            ),
        };
        self.calculate("amount", amount, scale);
        let exact = amount.checked_div(rebuy.price).unwrap_or_default();
        let quotient = format!("{} / {} = {}", text(amount), text(rebuy.price), shown(exact));
        let step = text(instrument.quantity_step);
        self.calculate("quantity", rebuy.quantity, rounded(&quotient, "down to the step", &step, rebuy.quantity));
        self.note_maker(rebuy.price);
    }

    /// `d·(1 + s + … + s^{k−1})`.
    fn whole_deviation(&mut self, parameters: &Parameters, level: u8) -> Decimal {
        let (mut sum, mut power, mut terms) = (Decimal::ZERO, Decimal::ONE, Vec::new());
        for _ in 0..level {
            sum += power;
            terms.push(shown(power));
            power *= parameters.step_scale;
        }
        let deviation = parameters.rebuy_step() * sum;
        let steps = if terms.len() <= 4 {
            terms.join(" + ")
        } else {
            format!("{} + {} + … + {}", terms[0], terms[1], terms[terms.len() - 1])
        };
        let percent = text(parameters.rebuy_step_percent);
        self.calculate("deviation", deviation, format!("{percent} % × ({steps}) = {}", percentage(deviation)));
        deviation
    }

    /// `d·s^{k−1}`.
    fn one_step(&mut self, parameters: &Parameters, level: u8) -> Decimal {
        let power = (1..level).fold(Decimal::ONE, |power, _| power * parameters.step_scale);
        let deviation = parameters.rebuy_step() * power;
        let percent = text(parameters.rebuy_step_percent);
        let arithmetic =
            format!("{percent} % × {}^{} = {}", text(parameters.step_scale), level - 1, percentage(deviation));
        self.calculate("deviation", deviation, format!("{arithmetic}, from the level above"));
        deviation
    }

    fn take_profit(
        &mut self,
        known: &Known<'_>,
        offer: Option<&Offer>,
        cost: Decimal,
        percent: Decimal,
        fee_rate: Decimal,
    ) {
        let (percent_text, fee) = (text(percent), percentage(fee_rate));
        self.why = format!("it returns what its lots cost, {percent_text} % on top, and its own fee of {fee}");
        let Some(quantity) = self.spec.quantity() else { return };
        self.lots(known, offer);
        let wanted = Decimal::ONE + money::fraction(percent);
        let kept = Decimal::ONE - fee_rate;
        let exact = (cost * wanted).checked_div(quantity * kept).unwrap_or_default();
        let Some(price) =
            ladder::take_profit_price(cost, money::fraction(percent), quantity, fee_rate, known.instrument)
        else {
            return;
        };
        let quotient =
            format!("({} × {}) / ({} × {}) = {}", text(cost), text(wanted), text(quantity), text(kept), shown(exact));
        let tick = text(known.instrument.tick_size);
        self.calculate("price", price, rounded(&quotient, "up to the tick", &tick, price));
        let brings = (price * quantity * kept).normalize();
        let arithmetic = format!("{} × {} × {} = {}", text(quantity), text(price), text(kept), text(brings));
        self.calculate(
            "brings",
            brings,
            format!("{arithmetic}, {} more than it cost", text((brings - cost).normalize())),
        );
        self.note_maker(price);
    }

    /// The lots that a sell takes, and the quantity that they make.
    fn lots(&mut self, known: &Known<'_>, offer: Option<&Offer>) {
        let (Some(offer), Some(cycle)) = (offer, known.cycle) else { return };
        let (mut held, mut cost, mut quantities, mut costs) = (Decimal::ZERO, Decimal::ZERO, Vec::new(), Vec::new());
        for level in &offer.levels {
            let Some(lot) = cycle.lots.get(level).filter(|lot| !lot.quantity.is_zero()) else { continue };
            held += lot.quantity;
            cost += lot.cost;
            let place = Slot::Buy(*level);
            quantities.push(format!("{} ({place})", text(lot.quantity)));
            costs.push(format!("{} ({place})", text(lot.cost)));
        }
        let step = text(known.instrument.quantity_step);
        let quantity = known.instrument.quantity_down(held);
        if quantities.len() > 1 {
            self.calculate("held", held, format!("{} = {}", quantities.join(" + "), text(held)));
            self.calculate("cost", cost, format!("{} = {}", costs.join(" + "), text(cost)));
        } else {
            let from = offer.levels.first().map_or(Slot::Buy(0), |level| Slot::Buy(*level));
            self.calculate("cost", cost, format!("{}: what the {from} took, fees in quote coin included", text(cost)));
        }
        let largest = known.instrument.quantity_down(known.instrument.max_limit_quantity).min(quantity);
        if largest < quantity {
            let arithmetic = format!("{}, but an order may have {} at most", text(quantity), text(largest));
            self.calculate("quantity", largest, arithmetic);
        } else {
            let held = format!("{} held", text(held));
            self.calculate("quantity", quantity, rounded(&held, "down to the step", &step, quantity));
        }
    }

    fn exit(&mut self, known: &Known<'_>, offer: Option<&Offer>) {
        self.why = "the cycle is being closed: what is held is sold at market".to_owned();
        self.lots(known, offer);
    }

    fn note_maker(&mut self, computed: Decimal) {
        if let OrderSpec::Limit { price, post_only: true, .. } = self.spec
            && price != computed
        {
            self.notes.push(format!(
                "the market had already passed {}; {} is the nearest price at which it rests as a maker",
                text(computed),
                text(price)
            ));
        }
    }

    fn text(&self, bot: Option<&BotName>) -> String {
        let mut out = format!("{}  {}: {}\n", self.key.slot, self.name(bot), self.spec);
        let _ = writeln!(out, "  {:<11} {}", "why", self.why);
        for Calculation { what, arithmetic, .. } in &self.calculations {
            let _ = writeln!(out, "  {what:<11} {arithmetic}");
        }
        for note in &self.notes {
            let _ = writeln!(out, "  {:<11} {note}", "note");
        }
        if !self.is_as_computed() {
            let _ = writeln!(out, "  {:<11} THIS IS NOT WHAT THE ORDER ASKS FOR: please report it", "mismatch");
        }
        out
    }

    fn json(&self, bot: Option<&BotName>) -> Value {
        json!({
            "link_id": self.name(bot),
            "slot": self.key.slot.to_string(),
            "spec": self.spec,
            "why": self.why,
            "arithmetic": self.calculations.iter().map(Calculation::json).collect::<Vec<_>>(),
            "notes": self.notes,
            "as_computed": self.is_as_computed(),
        })
    }
}

/// All explanations, for people.
pub fn report(explanations: &[Explanation], bot: Option<&BotName>) -> String {
    if explanations.is_empty() {
        return "nothing rests\n".to_owned();
    }
    explanations.iter().map(|explanation| explanation.text(bot)).collect::<Vec<_>>().join("\n")
}

/// All explanations, for machines.
pub fn json(explanations: &[Explanation], bot: Option<&BotName>) -> Value {
    json!({ "orders": explanations.iter().map(|explanation| explanation.json(bot)).collect::<Vec<_>>() })
}

/// Value and quantity of the base order.
fn base_order(cycle: &Cycle) -> Option<(Decimal, Decimal)> {
    let (mut value, mut quantity) = (Decimal::ZERO, Decimal::ZERO);
    for (_, order) in cycle.attempts(Slot::Buy(0)) {
        value += order.executed_value;
        quantity += order.executed_quantity;
    }
    (!quantity.is_zero()).then_some((value, quantity))
}

/// `3.14159… → down to the tick 0.01 → 3.14`; just the number if there was nothing to round.
fn rounded(exact: &str, how: &str, step: &str, result: Decimal) -> String {
    format!("{exact} → {how} {step} → {}", text(result))
}

fn percentage(fraction: Decimal) -> String {
    format!("{} %", shown(fraction * Decimal::ONE_HUNDRED))
}

/// A number cut to the digits that people read; `…` stands for the rest.
fn shown(value: Decimal) -> String {
    let full = text(value);
    let digits = full.bytes().filter(u8::is_ascii_digit).count();
    let leading = full.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    let Some(point) = full.find('.').filter(|_| leading > SHOWN_DIGITS) else { return full };
    let whole = full[..point].bytes().filter(u8::is_ascii_digit).count();
    let decimals = SHOWN_DIGITS + (digits - leading) - whole.min(SHOWN_DIGITS);
    format!("{}…", &full[..(point + 1 + decimals).min(full.len())])
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::core::order::{Execution, OrderStatus};

    fn d(text: &str) -> Decimal {
        money::parse(text).unwrap()
    }

    const BUY: OrderKey = OrderKey { cycle: 1, slot: Slot::Buy(0), attempt: 1 };
    const SELL: OrderKey = OrderKey { cycle: 1, slot: Slot::Sell(0), attempt: 1 };
    const REBUY: OrderKey = OrderKey { cycle: 1, slot: Slot::Buy(2), attempt: 1 };

    fn limit(side: Side, price: &str, quantity: &str) -> OrderSpec {
        OrderSpec::Limit { side, price: d(price), quantity: d(quantity), post_only: false }
    }

    /// The strategy's rounded example: 50 USDT at 60000.10, 1 % profit, scales of 1.5.
    fn entries() -> Vec<(Timestamp, Record)> {
        let mut parameters =
            crate::config::parse(crate::config::EXAMPLE, Path::new("example.toml")).unwrap().parameters;
        parameters.base_order_amount = d("50");
        parameters.rebuy_amount = d("50");
        parameters.take_profit_percent = d("1");
        parameters.rebuy_step_percent = d("1");
        (parameters.step_scale, parameters.amount_scale) = (d("1.5"), d("1.5"));
        (parameters.max_rebuys, parameters.max_capital) = (3, d("1000"));
        let instrument = crate::simulation::settings::Listing::btcusdt().instrument;
        let execution = Execution {
            exec_id: "1".into(),
            link_id: "btc-1-0b-1".into(),
            order_id: "1".into(),
            side: Side::Buy,
            price: d("60000.1"),
            quantity: d("0.000833"),
            value: d("49.9800833"),
            fee: d("0.000000833"),
            fee_coin: "BTC".into(),
            maker: false,
            time: Timestamp(1),
        };
        let take_profit =
            Reason::TakeProfit { cost: d("49.9800833"), take_profit_percent: d("1"), fee_rate: d("0.001") };
        let records = [
            Record::Started {
                version: "0.1.0".into(),
                environment: "demo".into(),
                bot: BotName::new("btc").unwrap(),
                parameters,
            },
            Record::InstrumentSeen { instrument },
            Record::CycleOpened { cycle: 1, began: Timestamp(1) },
            Record::OrderPlanned {
                key: BUY,
                spec: OrderSpec::MarketBuy { amount: d("50") },
                offer: None,
                reason: Reason::Base,
            },
            Record::Executed { key: BUY, execution },
            Record::OrderClosed {
                key: BUY,
                status: OrderStatus::Cancelled,
                executed_quantity: d("0.000833"),
                executed_value: d("49.9800833"),
                maker_only_refused: false,
                message: String::new(),
            },
            Record::OrderPlanned {
                key: SELL,
                spec: limit(Side::Sell, "60733.68", "0.000832"),
                offer: Some(Offer { levels: vec![0], cost: d("49.9800833") }),
                reason: take_profit,
            },
            Record::OrderAccepted { key: SELL, order_id: "2".into() },
            Record::OrderPlanned {
                key: REBUY,
                spec: limit(Side::Buy, "58500.09", "0.001282"),
                offer: None,
                reason: Reason::Rebuy { base_price: d("60000.1"), amount: d("75") },
            },
            Record::OrderAccepted { key: REBUY, order_id: "3".into() },
        ];
        records.into_iter().map(|record| (Timestamp(1), record)).collect()
    }

    #[test]
    fn the_strategys_example_is_explained_to_the_digit() {
        let explanations = explain(&entries());
        let text = report(&explanations, Some(&BotName::new("btc").unwrap()));
        for line in [
            "take profit 0  btc-1-0s-1: sell 0.000832 at 60733.68",
            "quantity    0.000832167 held → down to the step 0.000001 → 0.000832",
            "price       (49.9800833 × 1.01) / (0.000832 × 0.999) = 60733.6713311… → up to the tick 0.01 → 60733.68",
            "brings      0.000832 × 60733.68 × 0.999 = 50.47989133824",
            "rebuy 2  btc-1-2b-1: buy 0.001282 at 58500.09",
            "base price  49.9800833 / 0.000833 = 60000.1",
            "deviation   1 % × (1 + 1.5) = 2.5 %",
            "price       60000.1 × (1 − 0.025) = 58500.0975 → down to the tick 0.01 → 58500.09",
            "amount      50 × 1.5^1 = 75",
            "quantity    75 / 58500.09 = 0.00128204930966… → down to the step 0.000001 → 0.001282",
        ] {
            assert!(text.contains(line), "{line}\n is not in\n{text}");
        }
        assert!(!text.contains("mismatch"), "{text}");
        assert_eq!(json(&explanations, None)["orders"][1]["as_computed"], true);
    }

    #[test]
    fn an_order_that_does_not_ask_for_what_is_computed_is_pointed_out() {
        for (index, spec) in
            [(6, limit(Side::Sell, "60733.69", "0.000832")), (8, limit(Side::Buy, "58500.09", "0.001281"))]
        {
            let mut entries = entries();
            if let Record::OrderPlanned { spec: planned, .. } = &mut entries[index].1 {
                *planned = spec;
            }
            let text = report(&explain(&entries), None);
            assert_eq!(text.matches("mismatch").count(), 1, "{text}");
        }
    }

    #[test]
    fn deviations_from_the_level_above_are_told_from_there() {
        let mut entries = entries();
        if let Record::Started { parameters, .. } = &mut entries[0].1 {
            parameters.deviation_from = DeviationFrom::Previous;
        }
        let text = report(&explain(&entries), None);
        assert!(text.contains("59400.09 × (1 − 0.015) = 58509.08865 → down to the tick 0.01 → 58509.08"), "{text}");
    }

    #[test]
    fn what_the_records_do_not_tell_is_said() {
        let mut entries = entries();
        entries.truncate(6);
        let adopted = Record::OrderAdopted {
            key: SELL,
            order_id: "2".into(),
            spec: limit(Side::Sell, "60733.68", "0.000832"),
            offer: Some(Offer { levels: vec![0], cost: d("49.9800833") }),
        };
        entries.push((Timestamp(1), adopted));
        assert!(report(&explain(&entries), None).contains("the journal had lost why"));
        assert_eq!(report(&explain(&entries[..2]), None), "nothing rests\n");
    }

    #[test]
    fn an_order_that_only_a_snapshot_knows_is_still_explained() {
        let entries = entries();
        let mut ledger = Ledger::default();
        for (time, record) in &entries {
            ledger.apply(*time, record).unwrap();
        }
        let snapshot = (Timestamp(1), Record::Snapshot { ledger: Box::new(ledger) });
        let text = report(&explain(&[snapshot, entries[0].clone()]), None);
        assert!(text.contains("up to the tick 0.01 → 60733.68") && text.contains("→ 58500.09"), "{text}");
        assert!(!text.contains("mismatch"), "{text}");
    }

    #[test]
    fn numbers_are_cut_where_people_stop_reading() {
        assert_eq!(shown(Decimal::ONE / d("3")), "0.333333333333…");
        assert_eq!(shown(d("2000") / d("3")), "666.666666666…");
        assert_eq!(shown(d("0.000832167")), "0.000832167");
        assert_eq!(shown(Decimal::ONE / d("7000")), "0.000142857142857…");
    }
}
