//! How a cycle begins: when it may be opened, and when its base order is bought.
//!
//! A base order waits until the balance is enough for all that the ladder may still cost. What an earlier cycle left over does
//! not wait with it: where that can be sold, the cycle is opened without asking, and while the base order waits for money its
//! lot is offered and protected. Where nothing can be sold, the cycle itself waits, so that no empty one is opened. After the
//! last of `max_cycles`, a cycle is opened only to sell what was left over, and buys nothing.

use super::super::instrument::Instrument;
use super::super::ladder;
use super::super::ledger::{Ledger, Lot};
use super::super::money::{self, Decimal};
use super::super::order::{OrderSpec, Slot};
use super::super::parameters::Parameters;
use super::super::record::Reason;
use super::super::time::Timestamp;
use super::reading::Reading;
use super::{Decider, Goal, Situation, Step};

/// From when on the next cycle may be opened.
pub fn next_cycle_due(ledger: &Ledger, parameters: &Parameters) -> Timestamp {
    ledger.last_end.map_or(ledger.time, |end| end.after(parameters.cycle_delay))
}

impl Decider<'_> {
    pub(super) fn between_cycles(&mut self, instrument: &Instrument) {
        let Situation { ledger, parameters, goal, .. } = *self.situation;
        let sellable = match goal {
            Goal::Trade => self.could_offer(&ledger.carry, instrument),
            Goal::Close => self.could_sell_at_market(&ledger.carry, instrument),
            Goal::Cancel => false,
        };
        if !sellable && (goal != Goal::Trade || self.only_sells()) {
            self.decision.finished = true;
            return;
        }
        let due = self.within(next_cycle_due(ledger, parameters), parameters.cycle_delay);
        if !self.is_due(due) {
            return;
        }
        let opens = match goal {
            Goal::Trade => {
                sellable
                    || (self.base_amount(&ledger.carry, Decimal::ZERO, instrument).is_some()
                        && !self.buys_forbidden(None))
            }
            _ => self.situation.bid().is_some(),
        };
        if opens {
            self.decision.steps.push(Step::OpenCycle { cycle: ledger.last_cycle.saturating_add(1) });
        }
    }

    pub(super) fn base_order(&mut self, cycle: &Reading<'_>, instrument: &Instrument) {
        let done = cycle.base_price().is_some() || cycle.live(Slot::Buy(0)).is_some() || self.only_sells();
        if done || !self.is_due(self.retry_due(cycle, Slot::Buy(0))) {
            return;
        }
        let held = cycle.held();
        let resting = cycle.committed().saturating_sub(held.cost);
        if let Some(amount) = self.base_amount(&held, resting, instrument)
            && !self.buys_forbidden(Some(cycle))
        {
            self.place(cycle, Slot::Buy(0), OrderSpec::MarketBuy { amount }, None, Reason::Base);
        }
    }

    /// Whether the last of `max_cycles` is done: what is still held is sold, and nothing is bought.
    pub(super) fn only_sells(&self) -> bool {
        let Situation { ledger, parameters, goal, .. } = self.situation;
        *goal == Goal::Trade && parameters.max_cycles > 0 && ledger.totals.cycles >= parameters.max_cycles
    }

    /// What a base order spends beside what is held and what rests; `None` while there is no room for one, or no money.
    fn base_amount(&mut self, held: &Lot, resting: Decimal, instrument: &Instrument) -> Option<Decimal> {
        let Situation { parameters, free, .. } = *self.situation;
        // What an earlier cycle left over may be too little to sell. It uses up capital, but does not stop the base order.
        let capital = self.situation.capital();
        let room = capital.saturating_sub(held.cost).saturating_sub(resting);
        let amount = money::floor_to(parameters.base_order_amount.min(room), instrument.amount_step);
        if amount < instrument.min_notional {
            return None;
        }
        let cost = ladder::cost(parameters).map_err(|error| self.decision.ladder_error = Some(error)).ok()?;
        let needed = cost.min(capital).saturating_sub(held.cost).max(amount);
        if free.is_some_and(|free| free >= needed) {
            return Some(amount);
        }
        self.decision.needs_funds = Some(needed);
        None
    }

    /// Whether what the last cycle left over is large enough to be sold at market. Where the price is not known it may be; the
    /// answer is then asked for, and nothing happens before it is there.
    fn could_sell_at_market(&mut self, carry: &Lot, instrument: &Instrument) -> bool {
        let quantity = instrument.quantity_down(carry.quantity);
        if carry.cost <= Decimal::ZERO || quantity.is_zero() {
            return false;
        }
        self.want_quote();
        self.situation.bid().is_none_or(|bid| bid.saturating_mul(quantity) >= instrument.min_notional)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fixtures::{self, d};
    use super::super::super::order::{OrderKey, Side};
    use super::super::super::record::{AlarmCause, ExitCause, Record};
    use super::super::{Decision, Quote, decide};
    use super::*;

    /// The ladder costs 80, and so does all that may be spent.
    const LADDER: Decimal = Decimal::from_parts(80, 0, 0, false, 0);

    /// Between two cycles, with this much carried over for 20.
    fn carrying(quantity: &str) -> Ledger {
        Ledger {
            instrument: Some(fixtures::instrument()),
            last_cycle: 1,
            carry: Lot { quantity: d(quantity), cost: d("20"), since: None },
            last_end: Some(Timestamp(0)),
            ..Ledger::default()
        }
    }

    fn decision_by(parameters: &Parameters, ledger: &Ledger, free: Option<Decimal>) -> Decision {
        let quote = Quote { last: d("90"), bid: Some(d("90")), ask: Some(d("90.01")) };
        decide(&Situation {
            ledger,
            parameters,
            goal: Goal::Trade,
            quote: Some(&quote),
            free,
            hold_buys: false,
            connected: Timestamp::default(),
            now: Timestamp(1_000),
        })
    }

    fn decision(ledger: &Ledger, free: Option<Decimal>) -> Decision {
        decision_by(&fixtures::parameters(), ledger, free)
    }

    fn opened(ledger: &Ledger) -> Ledger {
        let mut ledger = ledger.clone();
        ledger.apply(Timestamp(1_000), &Record::CycleOpened { cycle: 2, began: Timestamp(1_000) }).unwrap();
        ledger
    }

    fn opens(decision: &Decision) -> bool {
        matches!(decision.steps.as_slice(), [Step::OpenCycle { cycle: 2 }])
    }

    /// The sides on which orders are placed.
    fn placed(decision: &Decision) -> Vec<Side> {
        let side = |step: &Step| match step {
            Step::Place { key: OrderKey { slot, .. }, .. } => Some(slot.side()),
            _ => None,
        };
        decision.steps.iter().filter_map(side).collect()
    }

    #[test]
    fn a_lot_that_is_carried_over_is_offered_while_the_base_order_waits_for_money() {
        let ledger = carrying("0.2");
        for free in [None, Some(d("1"))] {
            assert!(opens(&decision(&ledger, free)), "{free:?}");
            let waiting = decision(&opened(&ledger), free);
            assert_eq!((placed(&waiting), waiting.needs_funds), (vec![Side::Sell], Some(LADDER - d("20"))));
        }
        let rich = decision(&opened(&ledger), Some(LADDER - d("20")));
        assert_eq!((placed(&rich), rich.needs_funds), (vec![Side::Sell, Side::Buy], None));
    }

    #[test]
    fn where_nothing_can_be_sold_no_cycle_is_opened_without_money() {
        // A step, and less than a step.
        for quantity in ["0.000001", "0.0000001", "0"] {
            let ledger = Ledger { carry: Lot { quantity: d(quantity), ..Lot::default() }, ..carrying("0") };
            for free in [None, Some(LADDER - Decimal::ONE)] {
                let waiting = decision(&ledger, free);
                assert_eq!((waiting.steps, waiting.needs_funds), (vec![], Some(LADDER)), "{quantity} {free:?}");
            }
            assert!(opens(&decision(&ledger, Some(LADDER))), "{quantity}");
        }
    }

    #[test]
    fn an_alarm_stops_buys_and_not_the_sale_of_what_is_carried_over() {
        let mut ledger = carrying("0.2");
        let alarm = Record::Alarmed { cause: AlarmCause::LostHistory, message: String::new() };
        ledger.apply(Timestamp(1), &alarm).unwrap();
        assert!(opens(&decision(&ledger, Some(LADDER))));
        assert_eq!(placed(&decision(&opened(&ledger), Some(LADDER))), [Side::Sell]);
    }

    #[test]
    fn the_stop_loss_protects_what_is_carried_over_while_there_is_no_base_order() {
        let parameters = Parameters { stop_loss_percent: Some(d("5")), ..fixtures::parameters() };
        let [step] = &decision_by(&parameters, &opened(&carrying("0.2")), None).steps[..] else { panic!("no step") };
        assert!(matches!(step, Step::DecideExit { cause: ExitCause::StopLoss { .. } }), "{step:?}");
    }

    #[test]
    fn after_the_last_cycle_one_more_only_sells_what_is_left_over() {
        let parameters = Parameters { max_cycles: 1, ..fixtures::parameters() };
        let mut ledger = carrying("0.2");
        ledger.totals.cycles = 1;
        assert!(opens(&decision_by(&parameters, &ledger, Some(LADDER))));
        assert_eq!(placed(&decision_by(&parameters, &opened(&ledger), Some(LADDER))), [Side::Sell]);
        // The coins are gone: nothing is left to wait for.
        let mut empty = opened(&ledger);
        let cycle = empty.cycle.as_mut().unwrap();
        cycle.lots.clear();
        let step = decision_by(&parameters, &empty, Some(LADDER)).steps;
        assert!(matches!(step[..], [Step::CloseCycle { cycle: 2, .. }]), "{step:?}");
        // What is too little to sell keeps nobody.
        ledger.carry = Lot { quantity: d("0.000001"), cost: d("0.0001"), since: None };
        let last = decision_by(&parameters, &ledger, Some(LADDER));
        assert!(last.finished && last.steps.is_empty() && last.needs_funds.is_none(), "{last:?}");
    }
}
