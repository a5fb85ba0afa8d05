//! The strategy: which orders should rest now, and the steps that lead there.
//!
//! In: the ledger, the parameters, the market if it was asked for, and the time. Out: steps that do not depend on
//! each other, and the moment at which the answer may change by itself. It writes nothing and remembers nothing:
//! the same inputs give the same answer, before and after a restart.
//!
//! ```text
//!   no cycle ──(cycle_delay over, balance enough)──▶ buying the base order
//!      ▲                                                   │ settled with fills
//!      │ nothing live: CloseCycle                          ▼
//!   ending ◀── take profit 0 filled, or exit decided ── trading: sells and rebuys rest side by side
//! ```
//!
//! Where a lot that can be sold is carried over, the cycle does not wait for the balance: the lot is offered and protected, and
//! the base order waits instead (`opening`).
//!
//! Each slot is judged on its own. A live order is kept or cancelled; a free slot gets an order when it is due. An order
//! is replaced by a cancel and, once that is settled, a new order in the free slot.

mod opening;
mod reading;
mod rebuys;
mod sells;

use std::rc::Rc;
use std::time::Duration;

use super::instrument::Instrument;
use super::ladder::{self, LadderError, Rebuy};
use super::ledger::{End, Ledger, Order, OrderState};
use super::money::{self, Decimal};
use super::order::{OrderKey, OrderSpec, Slot};
use super::parameters::Parameters;
use super::record::{ExitCause, Offer, Reason, Refusal};
use super::time::{Timestamp, doubled};
pub use opening::next_cycle_due;
use reading::Reading;
pub use rebuys::rebuys_due;

/// The pause after a refusal for lack of funds. A balance counts for so long, and is asked for again then.
pub const FUNDS_PATIENCE: Duration = Duration::from_secs(30);
/// The first pause after any other refusal; it doubles with each one in a row.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// The first pause after maker-only was refused.
const MAKER_ONLY_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after refusals.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// What did not get through is repeated at once, then after this pause, which doubles,
const REPEAT_PAUSE: Duration = Duration::from_secs(1);
/// and grows to this one at most. A new connection ends it: an outage is over.
const LONGEST_REPEAT_PAUSE: Duration = Duration::from_secs(120);

/// What the bot is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Trade cycle after cycle.
    Trade,
    /// Cancel the bot's own orders, then stop.
    Cancel,
    /// Cancel them, sell what is held at market, then stop.
    Close,
}

/// Best bid and ask and the last price, as fresh as the engine has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    /// Price of the last trade.
    pub last: Decimal,
    /// Best bid, if it is told.
    pub bid: Option<Decimal>,
    /// Best ask, if it is told.
    pub ask: Option<Decimal>,
}

/// What a decision is made from.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// What is known.
    pub ledger: &'a Ledger,
    /// What the user chose.
    pub parameters: &'a Parameters,
    /// What the bot is to do.
    pub goal: Goal,
    /// The market, if it was asked for and is fresh.
    pub quote: Option<&'a Quote>,
    /// Quote coin that new orders can use, if it was asked for a short while ago.
    pub free: Option<Decimal>,
    /// Whether something outside the ledger forbids new buys: an unknown order with this bot's prefix.
    pub hold_buys: bool,
    /// When the exchange was last connected anew: what did not get through before is repeated at once.
    pub connected: Timestamp,
    /// The time.
    pub now: Timestamp,
}

impl Situation<'_> {
    /// What may be spent in all.
    fn capital(&self) -> Decimal {
        self.ledger.capital(self.parameters.max_capital)
    }

    fn bid(&self) -> Option<Decimal> {
        self.quote.and_then(|quote| quote.bid)
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Record that this cycle begins.
    OpenCycle {
        /// Its number.
        cycle: u64,
    },
    /// Record the plan, then submit the order.
    Place {
        /// Its name.
        key: OrderKey,
        /// What it asks for.
        spec: OrderSpec,
        /// For sells: what it offers.
        offer: Option<Offer>,
        /// Why.
        reason: Reason,
    },
    /// Record it, then ask for the cancel.
    Cancel {
        /// The order's name.
        key: OrderKey,
    },
    /// Record that the cycle is to be closed at market.
    DecideExit {
        /// Why.
        cause: ExitCause,
    },
    /// Record that the cycle is over.
    CloseCycle {
        /// Its number.
        cycle: u64,
        /// Its profit, in quote coin.
        profit: Decimal,
    },
}

/// What is to be done now, and when to look again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In the order in which to take them; none depends on another's outcome.
    pub steps: Vec<Step>,
    /// The next deadline of the strategy, if nothing happens before it.
    pub wake: Option<Timestamp>,
    /// Whether the strategy needs the market.
    pub wants_quote: bool,
    /// If only the stop loss needs it: the last price at or below which it acts.
    pub trigger: Option<Decimal>,
    /// The balance that the next base order waits for, in quote coin: it is not known, or too small. It is to be asked for.
    pub needs_funds: Option<Decimal>,
    /// Whether the goal is reached.
    pub finished: bool,
    /// The first level that breaks a rule. Every rebuy that breaks one of the exchange's is left out; a ladder that costs too
    /// much is not begun.
    pub ladder_error: Option<LadderError>,
}

/// Says what is to be done now: nothing, as long as no instrument is known.
pub fn decide(situation: &Situation<'_>) -> Decision {
    decide_again(situation, &mut Memo::default())
}

/// Says the same as [`decide`], but faster if the memo already holds this ladder.
pub fn decide_again(situation: &Situation<'_>, memo: &mut Memo) -> Decision {
    let mut decider = Decider { situation, decision: Decision::default(), memo };
    if let Some(instrument) = &situation.ledger.instrument {
        match &situation.ledger.cycle {
            None => decider.between_cycles(instrument),
            Some(cycle) => decider.in_cycle(&Reading::new(cycle), instrument),
        }
    }
    decider.decision
}

/// The ladder last computed, and its inputs: most decisions of a cycle need the same one.
#[derive(Clone, Debug, Default)]
pub struct Memo(Option<Remembered>);

#[derive(Clone, Debug)]
struct Remembered {
    base_price: Decimal,
    parameters: Parameters,
    instrument: Instrument,
    ladder: (Rc<[Rebuy]>, Option<LadderError>),
}

impl Memo {
    /// What [`ladder::levels`] gives.
    fn levels(
        &mut self,
        base_price: Decimal,
        parameters: &Parameters,
        instrument: &Instrument,
    ) -> (Rc<[Rebuy]>, Option<LadderError>) {
        let same = |known: &&Remembered| {
            known.base_price == base_price && known.parameters == *parameters && known.instrument == *instrument
        };
        if let Some(known) = self.0.as_ref().filter(same) {
            return known.ladder.clone();
        }
        let (levels, broken) = ladder::levels(base_price, parameters, instrument);
        let ladder = (Rc::from(levels), broken);
        let (parameters, instrument) = (parameters.clone(), instrument.clone());
        self.0.insert(Remembered { base_price, parameters, instrument, ladder }).ladder.clone()
    }
}

/// The decision in the making.
struct Decider<'a> {
    situation: &'a Situation<'a>,
    decision: Decision,
    memo: &'a mut Memo,
}

impl<'a> Decider<'a> {
    fn in_cycle(&mut self, cycle: &Reading<'_>, instrument: &Instrument) {
        if self.situation.goal == Goal::Cancel {
            self.cancel_all(cycle);
            self.decision.finished = cycle.live_orders().next().is_none();
            return;
        }
        if cycle.exit.is_none()
            && let Some(cause) = self.exit_cause(cycle, instrument)
        {
            self.decision.steps.push(Step::DecideExit { cause });
            return;
        }
        if cycle.exit.is_some() {
            self.exit(cycle, instrument);
        } else if cycle.is_ending() || self.nothing_to_sell(cycle, instrument) {
            self.wind_up(cycle);
        } else {
            self.sells(cycle, instrument);
            self.base_order(cycle, instrument);
            self.rebuys(cycle, instrument);
        }
    }

    /// Why the cycle should be closed at market now, if it should.
    fn exit_cause(&mut self, cycle: &Reading<'_>, instrument: &Instrument) -> Option<ExitCause> {
        let Situation { parameters, goal, quote, now, .. } = *self.situation;
        if goal == Goal::Close {
            return Some(ExitCause::Close);
        }
        if let Some(limit) = parameters.time_limit {
            let end = cycle.opened.after(limit);
            if now >= end {
                return Some(ExitCause::TimeLimit);
            }
            self.wake_at(end);
        }
        let fraction = money::fraction(parameters.stop_loss_percent?);
        let held = cycle.held();
        let average = held.cost.checked_div(held.quantity).filter(|average| *average > Decimal::ZERO)?;
        let trigger = average.saturating_mul(Decimal::ONE.saturating_sub(fraction));
        self.decision.wants_quote = true;
        self.decision.trigger = Some(trigger);
        let price = quote?.last;
        // What is too small to sell cannot be sold: the stop loss would fire in cycle after cycle.
        let worth = price.saturating_mul(instrument.quantity_down(held.quantity));
        (price <= trigger && worth >= instrument.min_notional).then_some(ExitCause::StopLoss { price, trigger })
    }

    /// Asks for the market for more than the stop loss.
    fn want_quote(&mut self) {
        self.decision.wants_quote = true;
        self.decision.trigger = None;
    }

    /// The market, if the slot's latest order was refused: its price may have passed the order's.
    fn quote_after_refusal(&mut self, cycle: &Reading<'_>, slot: Slot) -> Option<&'a Quote> {
        let (_, order) = cycle.latest(slot)?;
        if !matches!(order.end(), Some(End::Refused(_))) {
            return None;
        }
        self.want_quote();
        self.situation.quote
    }

    /// The market sell of everything, once nothing else is live.
    fn exit(&mut self, cycle: &Reading<'_>, instrument: &Instrument) {
        if cycle.live_orders().any(|(key, _)| key.slot != Slot::Exit) {
            return self.cancel_all(cycle);
        }
        let latest = cycle.latest(Slot::Exit);
        if latest.is_some_and(|(_, order)| order.is_live()) {
            return;
        }
        let held = cycle.held();
        let quantity = instrument.quantity_down(held.quantity.min(instrument.max_market_quantity));
        let refusal = latest.and_then(|(_, order)| match order.end() {
            Some(End::Refused(refusal)) => Some((refusal, order.refused_in_a_row())),
            _ => None,
        });
        // A known price tells what is dust; without one, the exchange does, by this refusal and no other.
        let dust = self.situation.bid().is_some_and(|bid| bid.saturating_mul(quantity) < instrument.min_notional)
            || matches!(refusal, Some((Refusal::BelowMinimum, _)));
        if quantity.is_zero() || dust {
            return self.close_cycle(cycle);
        }
        self.want_quote();
        let due = self.retry_due(cycle, Slot::Exit);
        if self.is_due(due) {
            let quantity = match refusal {
                Some((Refusal::Size, times)) => self.smaller(quantity, times, instrument),
                _ => quantity,
            };
            let levels: Vec<u8> = cycle.lots.keys().copied().collect();
            let offer = Offer { levels, cost: held.cost_of_part(quantity, instrument) };
            self.place(cycle, Slot::Exit, OrderSpec::MarketSell { quantity }, Some(offer), Reason::Exit);
        }
    }

    /// Half of a quantity for each time that the exchange has found it too large, as long as that is not too small.
    fn smaller(&self, quantity: Decimal, times: u32, instrument: &Instrument) -> Decimal {
        let mut smaller = quantity;
        for _ in 0..times {
            let half = instrument.quantity_down(smaller.checked_div(Decimal::TWO).unwrap_or_default());
            let worth = self.situation.bid().map(|bid| bid.saturating_mul(half));
            if half.is_zero() || worth.is_some_and(|worth| worth < instrument.min_notional) {
                break;
            }
            smaller = half;
        }
        smaller
    }

    /// Nothing is offered any more: cancels what rests, and ends the cycle once everything is settled.
    fn wind_up(&mut self, cycle: &Reading<'_>) {
        if cycle.live_orders().next().is_none() {
            self.close_cycle(cycle);
        } else {
            self.cancel_all(cycle);
        }
    }

    fn close_cycle(&mut self, cycle: &Reading<'_>) {
        self.decision.steps.push(Step::CloseCycle { cycle: cycle.number, profit: cycle.profit });
    }

    fn cancel_all(&mut self, cycle: &Reading<'_>) {
        for (key, order) in cycle.live_orders() {
            self.cancel(key, order);
        }
    }

    /// Asks once for the cancel of an order that is known to be open. The engine follows it up.
    fn cancel(&mut self, key: OrderKey, order: &Order) {
        let due = order.failed_cancels.map(|(times, at)| self.repeat_due(times, at));
        if order.is_cancellable() && due.is_none_or(|due| self.is_due(due)) {
            self.decision.steps.push(Step::Cancel { key });
        }
    }

    /// When something is repeated that did not get through so many times, lastly at `at`.
    fn repeat_due(&self, times: u32, at: Timestamp) -> Timestamp {
        if times <= 1 || at < self.situation.connected {
            return at.min(self.situation.now);
        }
        self.after(at, doubled(REPEAT_PAUSE, times.saturating_sub(2), LONGEST_REPEAT_PAUSE))
    }

    /// Whether no new buy may be placed: an order's fate is unknown, or an alarm is raised.
    fn buys_forbidden(&self, cycle: Option<&Reading<'_>>) -> bool {
        self.situation.hold_buys
            || self.situation.ledger.alarms.keys().any(|cause| cause.forbids_buys())
            || cycle.is_some_and(|cycle| cycle.live_orders().any(|(_, order)| order.is_unknown()))
    }

    fn place(&mut self, cycle: &Reading<'_>, slot: Slot, spec: OrderSpec, offer: Option<Offer>, reason: Reason) {
        self.decision.steps.push(Step::Place { key: cycle.next_key(slot), spec, offer, reason });
    }

    /// Whether `due` has come. If not, the strategy decides again then.
    fn is_due(&mut self, due: Timestamp) -> bool {
        let is_due = due <= self.situation.now;
        if !is_due {
            self.wake_at(due);
        }
        is_due
    }

    /// So long after a moment. One that lies ahead was dated by a clock that was wrong: nothing waits for it.
    fn after(&self, moment: Timestamp, pause: Duration) -> Timestamp {
        self.within(moment.after(pause), pause)
    }

    /// The same of something that is due within so long of a moment.
    fn within(&self, due: Timestamp, longest: Duration) -> Timestamp {
        if due > self.situation.now.after(longest) { self.situation.now } else { due }
    }

    /// When a free slot may be tried again after what became of its latest order.
    fn retry_due(&self, cycle: &Reading<'_>, slot: Slot) -> Timestamp {
        let Some((_, order)) = cycle.latest(slot) else { return cycle.opened };
        let OrderState::Settled { end, at } = order.state else { return cycle.opened };
        let after = |pause| self.after(at, pause);
        let refused = |first| after(doubled(first, order.refused_in_a_row().saturating_sub(1), LONGEST_PAUSE));
        let unasked = order.cancel_asked.is_none() && order.executed_quantity.is_zero();
        match end {
            End::Refused(Refusal::InsufficientFunds) => after(FUNDS_PATIENCE),
            End::Refused(Refusal::MakerOnly) => refused(MAKER_ONLY_PAUSE),
            End::Refused(Refusal::Filter | Refusal::BelowMinimum | Refusal::Size | Refusal::Other) => {
                refused(REFUSED_PAUSE)
            }
            // Somebody else cancelled it. The two must not race at full speed.
            End::Cancelled if unasked => after(REFUSED_PAUSE),
            End::Absent => self.repeat_due(order.absent_in_a_row(), at),
            End::Cancelled | End::Filled => at.min(self.situation.now),
        }
    }

    fn wake_at(&mut self, moment: Timestamp) {
        self.decision.wake = Some(self.decision.wake.unwrap_or(moment).min(moment));
    }
}

/// Checks, before the first order and whenever the filters change, that the whole ladder could be placed if the
/// base order were filled at `ask`.
///
/// # Errors
/// The level and the rule that it breaks.
pub fn check(ask: Decimal, parameters: &Parameters, instrument: &Instrument) -> Result<(), LadderError> {
    ladder::plan(ask, parameters, instrument).map(drop)
}
