//! Carrying out what was decided: the journal first, then the exchange.
//!
//! Steps of one decision do not depend on each other's outcome: cancels go out at once, and with them an order. A second
//! order waits for the first one's answer, because no order is placed while another's fate is unknown.

use std::time::Duration;

use log::{info, warn};

use super::ports::{Act, Fault, FaultKind};
use super::{Engine, Failure};
use crate::core::ladder;
use crate::core::money;
use crate::core::order::{OrderKey, Side};
use crate::core::record::{Record, Refusal};
use crate::core::strategy::{FUNDS_PATIENCE, Goal, Step};

/// So many requests go out at once; Bybit takes twenty a second of each kind.
const MOST_AT_ONCE: usize = 8;
/// So long after a refusal all is compared with the exchange: sooner than any attempt is made again.
const REFUSAL_LOOK: Duration = Duration::from_secs(4);

impl Engine<'_> {
    /// Of the steps of a decision those that are carried out now, at once.
    pub(super) fn together(&self, steps: Vec<Step>) -> Vec<Step> {
        let mut together: Vec<Step> = Vec::new();
        for step in steps.into_iter().filter(|step| !self.awaits_stray(step)) {
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
        let (mut records, mut keys, mut acts) = (Vec::new(), Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::OpenCycle { cycle } => return self.open_cycle(cycle),
                Step::DecideExit { cause } => records.push(Record::ExitDecided { cause }),
                Step::CloseCycle { cycle, profit } => records.push(Record::CycleClosed { cycle, profit }),
                Step::Place { key, spec, offer, reason } => {
                    acts.push(Act::Place { link_id: key.link_id(&self.assignment.bot), spec: spec.clone() });
                    keys.push(key);
                    records.push(Record::OrderPlanned { key, spec, offer, reason });
                }
                Step::Cancel { key } => {
                    acts.push(Act::Cancel { link_id: key.link_id(&self.assignment.bot) });
                    keys.push(key);
                    records.push(Record::CancelAsked { key });
                }
            }
        }
        self.record(records)?;
        if acts.is_empty() {
            return Ok(());
        }
        let outcomes = self.world.exchange.act(&acts);
        for ((key, act), outcome) in keys.into_iter().zip(&acts).zip(outcomes) {
            match act {
                Act::Place { .. } => self.placed(key, outcome)?,
                Act::Cancel { .. } => self.cancelled(key, outcome.map(drop))?,
            }
        }
        Ok(())
    }

    /// Opens a cycle if the free balance is enough for the whole ladder.
    fn open_cycle(&mut self, cycle: u64) -> Result<(), Failure> {
        if self.assignment.goal == Goal::Trade {
            let cost = ladder::cost(&self.assignment.parameters).map_err(Failure::Ladder)?;
            let Some((free, coin)) = self.ask_funds()? else { return Ok(()) };
            if free < cost {
                warn!(
                    "cycle {cycle} waits: the ladder costs up to {} {coin}, {} are free; asking again in {} s",
                    money::text(cost),
                    money::text(free),
                    FUNDS_PATIENCE.as_secs()
                );
                self.open_not_before = self.now().after(FUNDS_PATIENCE);
                return Ok(());
            }
        }
        self.begin_cycle(cycle)
    }

    /// Writes down that a cycle begins.
    pub(super) fn begin_cycle(&mut self, cycle: u64) -> Result<(), Failure> {
        let first = self.ledger.is_blank();
        let began = self.now();
        self.record(vec![Record::CycleOpened { cycle, began }])?;
        if first {
            // A power cut must not leave a journal that knows of no trading: a later process would begin anew.
            self.sync();
        }
        Ok(())
    }

    /// A planned order was sent. Whatever the answer, the ledger knows afterwards what is known.
    fn placed(&mut self, key: OrderKey, outcome: Result<String, Fault>) -> Result<(), Failure> {
        let fault = match outcome {
            Ok(order_id) => {
                self.answered();
                return self.record(vec![Record::OrderAccepted { key, order_id }]);
            }
            Err(fault) => fault,
        };
        let refused = |refusal| Record::OrderRefused { key, refusal, message: fault.to_string() };
        let fact = match fault.kind {
            // Surely not done: the name is free, and the decision is made again after a pause.
            FaultKind::Unreachable
            | FaultKind::ClockOff
            | FaultKind::RateLimited { .. }
            | FaultKind::KeyRefused
            | FaultKind::ConfigurationRefused => Some(Record::OrderAbsent { key }),
            FaultKind::InsufficientFunds => Some(refused(Refusal::InsufficientFunds)),
            FaultKind::Filter => Some(refused(Refusal::Filter)),
            FaultKind::MakerOnly => Some(refused(Refusal::MakerOnly)),
            FaultKind::Refused | FaultKind::NotOpen => Some(refused(Refusal::Other)),
            FaultKind::Unknown | FaultKind::Busy | FaultKind::Malformed => {
                warn!("{} in doubt, asking for it: {fault}", key.slot);
                self.doubt(key, false);
                None
            }
            // Recorded, because a process that starts later must not take the silence about it for absence.
            FaultKind::AlreadyThere => {
                self.doubt(key, true);
                Some(Record::NameTaken { key })
            }
        };
        if matches!(fact, Some(Record::OrderRefused { .. })) {
            // It may hide that the name was taken, by an order that the journal has lost: that is looked for before there is
            // another attempt.
            self.reconcile_due = self.reconcile_due.min(self.now().after(REFUSAL_LOOK));
        }
        self.record(fact.into_iter().collect())?;
        self.weigh(&fault)?;
        if fault.kind == FaultKind::InsufficientFunds {
            self.funds = None;
        }
        if fault.kind == FaultKind::InsufficientFunds && key.slot.side() == Side::Sell {
            self.suspect_coins();
        }
        if fault.kind == FaultKind::Filter {
            warn!("{} refused: {fault}", key.slot);
            self.look_at_filters()?;
        }
        Ok(())
    }

    /// A cancel was asked for. What became of it is told by the stream, or asked for.
    fn cancelled(&mut self, key: OrderKey, outcome: Result<(), Fault>) -> Result<(), Failure> {
        match outcome {
            Ok(()) => {
                self.answered();
                self.expect_cancel(key);
                Ok(())
            }
            Err(fault) => self.cancel_failed(key, &fault),
        }
    }

    fn cancel_failed(&mut self, key: OrderKey, fault: &Fault) -> Result<(), Failure> {
        match fault.kind {
            FaultKind::Unreachable
            | FaultKind::ClockOff
            | FaultKind::RateLimited { .. }
            | FaultKind::KeyRefused
            | FaultKind::ConfigurationRefused => self.record(vec![Record::CancelFailed { key }])?,
            _ => self.doubt(key, true),
        }
        self.weigh(fault)
    }

    /// A filter refused an order: perhaps the filters have changed.
    fn look_at_filters(&mut self) -> Result<(), Failure> {
        match self.world.exchange.instrument() {
            Ok(instrument) if self.ledger.instrument.as_ref() != Some(&instrument) => {
                info!("the filters of {} have changed", instrument.symbol);
                self.record(vec![Record::InstrumentSeen { instrument }])
            }
            Ok(_) => Ok(()),
            Err(fault) => self.weigh(&fault),
        }
    }
}
