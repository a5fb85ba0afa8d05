//! Carrying out what was decided: the journal first, then the exchange.
//!
//! Steps of one decision do not depend on each other's outcome: cancels go out at once, and with them an order. A second
//! order waits for the first one's answer, because no order is placed while another's fate is unknown.

use std::time::Duration;

use log::{info, warn};

use super::ports::{Action, Fault, FaultKind};
use super::{Engine, Failure};
use crate::core::order::{OrderKey, OrderSpec, Side};
use crate::core::record::{Record, Refusal};
use crate::core::strategy::Step;

/// So many requests go out at once; Bybit takes twenty a second of each kind.
pub(super) const MOST_AT_ONCE: usize = 8;
/// So long after a refusal all is compared with the exchange: sooner than any attempt is made again.
const REFUSAL_LOOK: Duration = Duration::from_secs(4);

impl Engine<'_> {
    /// Of the steps of a decision those that are carried out now, at once.
    pub(super) fn batch(&self, steps: Vec<Step>) -> Vec<Step> {
        let mut together: Vec<Step> = Vec::new();
        for step in steps.into_iter().filter(|step| !self.waits_for_unexpected(step)) {
            let fits = match step {
                Step::Cancel { .. } => together.len() < MOST_AT_ONCE,
                Step::Place { .. } => together.iter().all(|other| matches!(other, Step::Cancel { .. })),
                Step::OpenCycle { .. } | Step::DecideExit { .. } | Step::CloseCycle { .. } => together.is_empty(),
            };
            if fits {
                together.push(step);
            }
        }
        together
    }

    /// Carries out steps. What did not go through is decided again from what is known then.
    pub(super) fn carry_out(&mut self, steps: Vec<Step>) -> Result<(), Failure> {
        let (mut records, mut keys, mut actions) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::OpenCycle { cycle } => return self.open_cycle(cycle),
                Step::DecideExit { cause } => records.push(Record::ExitDecided { cause }),
                Step::CloseCycle { cycle, profit } => records.push(Record::CycleClosed { cycle, profit }),
                Step::Place { key, spec, offer, reason } => {
                    // A name that was free is used again: nothing that was heard of it before counts.
                    self.queries.remove(&key);
                    if key.slot.side() == Side::Buy {
                        // It spends what was free.
                        self.funds = None;
                    }
                    actions.push(Action::Place { link_id: key.link_id(&self.config.bot), spec: spec.clone() });
                    keys.push(key);
                    records.push(Record::OrderPlanned { key, spec, offer, reason });
                }
                Step::Cancel { key } => {
                    actions.push(Action::Cancel { link_id: key.link_id(&self.config.bot) });
                    keys.push(key);
                    records.push(Record::CancelAsked { key });
                }
            }
        }
        self.record(records)?;
        if actions.is_empty() {
            return Ok(());
        }
        let Self { exchange, books, .. } = self;
        let mut outcomes = Vec::new();
        let mut written = Ok(());
        exchange.submit(&actions, &mut |place, outcome| {
            let (Some(action), Some(key)) = (actions.get(place), keys.get(place)) else { return };
            // What is known is written down as it arrives: another answer may take ten seconds.
            let result = books.record(what_follows(*key, action, &outcome).into_iter().collect());
            if written.is_ok() {
                written = result;
            }
            outcomes.push((*key, action, outcome));
        });
        for (key, action, outcome) in outcomes {
            match (action, outcome) {
                (Action::Place { spec, .. }, Ok(_)) => {
                    self.contact.answered();
                    self.accepted()?;
                    if matches!(spec, OrderSpec::MarketBuy { .. } | OrderSpec::MarketSell { .. }) {
                        self.expect_fill(key);
                    }
                }
                (Action::Place { .. }, Err(fault)) => self.place_failed(key, &fault)?,
                (Action::Cancel { .. }, Ok(_)) => {
                    self.contact.answered();
                    self.expect_cancel(key);
                }
                (Action::Cancel { .. }, Err(fault)) => self.cancel_failed(key, &fault)?,
            }
        }
        written
    }

    fn open_cycle(&mut self, cycle: u64) -> Result<(), Failure> {
        let first = self.books.ledger.is_blank();
        let began = self.now();
        self.record(vec![Record::CycleOpened { cycle, began }])?;
        if first {
            // A power cut must not leave a journal that knows of no trading: a later process would begin anew.
            self.books.sync();
        }
        Ok(())
    }

    /// What is to be done about an order that was not accepted, besides writing it down.
    fn place_failed(&mut self, key: OrderKey, fault: &Fault) -> Result<(), Failure> {
        match fault.kind {
            FaultKind::Unknown | FaultKind::Busy | FaultKind::Malformed => {
                warn!("{}: its fate is not known, asking for it: {fault}", key.slot);
                self.query_now(key, false);
            }
            FaultKind::AlreadyThere => self.query_now(key, true),
            FaultKind::InsufficientFunds if key.slot.side() == Side::Sell => self.suspect_shortage(),
            _ => {}
        }
        if refusal(fault.kind).is_some() {
            // It may hide that the name was taken, by an order that the journal has lost: that is looked for before there is
            // another attempt.
            self.reconcile_due = self.reconcile_due.min(self.now().after(REFUSAL_LOOK));
        }
        self.on_fault(fault)?;
        if refusal(fault.kind).is_some() {
            warn!("{} refused: {fault}", key.slot);
        }
        if matches!(fault.kind, FaultKind::Filter | FaultKind::BelowMinimum | FaultKind::Size) {
            self.refresh_instrument()?;
        }
        Ok(())
    }

    /// The same about a cancel. What became of one that was accepted is told by the stream, or asked for.
    fn cancel_failed(&mut self, key: OrderKey, fault: &Fault) -> Result<(), Failure> {
        if !surely_not_done(fault.kind) {
            self.query_now(key, true);
        }
        self.on_fault(fault)
    }

    /// A filter refused an order: perhaps the filters have changed.
    fn refresh_instrument(&mut self) -> Result<(), Failure> {
        match self.exchange.instrument() {
            Ok(instrument) if self.books.ledger.instrument.as_ref() != Some(&instrument) => {
                info!("the filters of {} have changed", instrument.symbol);
                self.record(vec![Record::InstrumentSeen { instrument }])
            }
            Ok(_) => Ok(()),
            Err(fault) => self.on_fault(&fault),
        }
    }
}

/// Whether a fault says that the request had no effect, and may be made again after a pause.
fn surely_not_done(kind: FaultKind) -> bool {
    matches!(kind, FaultKind::Unreachable | FaultKind::ClockOff | FaultKind::RateLimited { .. } | FaultKind::KeyRefused)
}

/// How an order was refused, if it was.
fn refusal(kind: FaultKind) -> Option<Refusal> {
    match kind {
        FaultKind::InsufficientFunds => Some(Refusal::InsufficientFunds),
        FaultKind::Filter => Some(Refusal::Filter),
        FaultKind::MakerOnly => Some(Refusal::MakerOnly),
        FaultKind::BelowMinimum => Some(Refusal::BelowMinimum),
        FaultKind::Size => Some(Refusal::Size),
        // Under another name after a pause that grows.
        FaultKind::Refused
        | FaultKind::NotOpen
        | FaultKind::ConfigurationRefused
        | FaultKind::NotTrading
        | FaultKind::PersonMustAct => Some(Refusal::Other),
        _ => None,
    }
}

/// The fact in the outcome of a submission. `None` where it says nothing certain.
fn what_follows(key: OrderKey, action: &Action, outcome: &Result<String, Fault>) -> Option<Record> {
    match (action, outcome) {
        (Action::Place { .. }, Ok(order_id)) => Some(Record::OrderAccepted { key, order_id: order_id.clone() }),
        // The name is free, and the decision is made again.
        (Action::Place { .. }, Err(fault)) if surely_not_done(fault.kind) => Some(Record::OrderAbsent { key }),
        // Recorded, because a process that starts later must not take the silence about it for absence.
        (Action::Place { .. }, Err(fault)) if fault.kind == FaultKind::AlreadyThere => Some(Record::NameTaken { key }),
        (Action::Place { .. }, Err(fault)) => {
            refusal(fault.kind).map(|refusal| Record::OrderRefused { key, refusal, message: fault.to_string() })
        }
        (Action::Cancel { .. }, Err(fault)) if surely_not_done(fault.kind) => Some(Record::CancelFailed { key }),
        (Action::Cancel { .. }, _) => None,
    }
}
