//! Carrying out what was decided: the journal first, then the exchange.

use log::{info, warn};

use super::ports::{Fault, FaultKind};
use super::{Engine, Failure};
use crate::core::ladder;
use crate::core::money;
use crate::core::order::{OrderKey, OrderSpec, Side};
use crate::core::record::{Record, Refusal};
use crate::core::strategy::{FUNDS_PATIENCE, Goal, Step};

impl Engine<'_> {
    /// Carries out one step. What did not go through is decided again from what is known then.
    pub(super) fn carry_out(&mut self, step: Step) -> Result<(), Failure> {
        match step {
            Step::OpenCycle { cycle } => self.open_cycle(cycle),
            Step::Place { key, spec, offer, reason } => {
                self.record(vec![Record::OrderPlanned { key, spec: spec.clone(), offer, reason }])?;
                self.place(key, &spec)
            }
            Step::Cancel { key } => {
                self.record(vec![Record::CancelAsked { key }])?;
                self.cancel(key)
            }
            Step::DecideExit { cause } => self.record(vec![Record::ExitDecided { cause }]),
            Step::CloseCycle { cycle, profit } => self.record(vec![Record::CycleClosed { cycle, profit }]),
        }
    }

    /// Opens a cycle if the free balance is enough for the whole ladder.
    fn open_cycle(&mut self, cycle: u64) -> Result<(), Failure> {
        if self.assignment.goal == Goal::Trade {
            let cost = ladder::cost(&self.assignment.parameters).map_err(Failure::Ladder)?;
            let Some(coin) = self.ledger.instrument.as_ref().map(|instrument| instrument.quote_coin.clone()) else {
                return Ok(());
            };
            let free = match self.world.exchange.balance(&coin) {
                Ok(balance) => balance.free,
                Err(fault) => return self.weigh(&fault),
            };
            self.answered();
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
        let first = self.ledger.is_blank();
        let began = self.now();
        self.record(vec![Record::CycleOpened { cycle, began }])?;
        if first {
            // A power cut must not leave a journal that knows of no trading: a later process would begin anew.
            self.sync();
        }
        Ok(())
    }

    /// Sends a planned order. Whatever the answer, the ledger knows afterwards what is known.
    fn place(&mut self, key: OrderKey, spec: &OrderSpec) -> Result<(), Failure> {
        let fault = match self.world.exchange.place(&key.link_id(&self.assignment.bot), spec) {
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
        self.record(fact.into_iter().collect())?;
        self.weigh(&fault)?;
        if fault.kind == FaultKind::InsufficientFunds && key.slot.side() == Side::Sell {
            self.suspect_coins();
        }
        if fault.kind == FaultKind::Filter {
            warn!("{} refused: {fault}", key.slot);
            self.look_at_filters()?;
        }
        Ok(())
    }

    /// Asks for a cancel. What became of it is told by the stream, or asked for.
    fn cancel(&mut self, key: OrderKey) -> Result<(), Failure> {
        match self.world.exchange.cancel(&key.link_id(&self.assignment.bot)) {
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
