//! Behaviour broken on purpose, to see that each invariant's check can fail.

use std::cell::RefCell;
use std::rc::Rc;

use recompra::core::Timestamp;
use recompra::core::instrument::Instrument;
use recompra::core::order::{Execution, OrderReport, OrderSpec, Side};
use recompra::core::record::Record;
use recompra::engine::ports::{Balance, Exchange, Fault, FaultKind, Journal, JournalError, Ticker};

use super::world::World;
use recompra::core::Decimal;

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sabotage {
    /// Each order is sent a second time, under the next name.
    SendsTwice,
    /// Sells ask for twice what is held.
    OffersTwice,
    /// Buys ask for thirty times as much.
    IgnoresCapital,
    /// A market buy is never for less than one before it, whatever has been lost since.
    ForgetsLosses,
    /// Each listed execution comes a second time under another name.
    BooksTwice,
    /// The fee of an execution is forgotten.
    ForgetsFees,
    /// The user's own orders are cancelled too.
    CancelsAll,
    /// No answer is taken for "surely not done".
    TakesSilenceForRefusal,
    /// Lines of the journal about accepted orders are not written.
    DropsLines,
    /// Sells are never sent.
    NeverSells,
    /// The last price that it hears of is never the one that a stop loss waits for.
    SeesNoFall,
    /// Each look at the exchange asks fifty times more, past the client and its pace.
    AsksFiftyTimes,
    /// A stop ends it as a refused key would.
    LeavesItsPost,
    /// What a failed sync may have lost is not written again.
    BelievesASyncThatFailed,
    /// The journal is written to whenever it is synced, although nothing has happened.
    WritesForNothing,
}

/// The exchange as a bot would use it that is broken in this way.
pub(crate) struct Saboteur<E> {
    pub(crate) exchange: E,
    pub(crate) sabotage: Option<Sabotage>,
    /// The most that a market buy has been for.
    pub(crate) most: Decimal,
    pub(crate) world: Rc<RefCell<World>>,
}

fn scaled(spec: &OrderSpec, side: Side, factor: Decimal) -> OrderSpec {
    match spec.clone() {
        OrderSpec::MarketBuy { amount } if side == Side::Buy => OrderSpec::MarketBuy { amount: amount * factor },
        OrderSpec::MarketSell { quantity } if side == Side::Sell => {
            OrderSpec::MarketSell { quantity: quantity * factor }
        }
        OrderSpec::Limit { side: of, price, quantity, post_only } if of == side => {
            OrderSpec::Limit { side, price, quantity: quantity * factor, post_only }
        }
        other => other,
    }
}

fn next_name(link_id: &str) -> String {
    let (head, attempt) = link_id.rsplit_once('-').unwrap_or((link_id, "1"));
    format!("{head}-{}", attempt.parse::<u32>().unwrap_or(1) + 1)
}

impl<E: Exchange> Exchange for Saboteur<E> {
    fn synchronise_clock(&mut self) -> Result<(), Fault> {
        self.exchange.synchronise_clock()
    }

    fn instrument(&mut self) -> Result<Instrument, Fault> {
        self.exchange.instrument()
    }

    fn heartbeat(&mut self, connections: usize) -> Result<(), Fault> {
        self.exchange.heartbeat(connections)
    }

    fn handshake(&mut self) -> Result<Instrument, Fault> {
        self.exchange.handshake()
    }

    fn preflight(&mut self) -> Result<Ticker, Fault> {
        self.exchange.preflight()
    }

    fn snapshot(&mut self, from: Timestamp, to: Timestamp) -> Result<(Vec<OrderReport>, Vec<Execution>), Fault> {
        if self.is(Sabotage::AsksFiftyTimes) {
            (0..50).for_each(|_| self.world.borrow_mut().request_leaves());
        }
        let (open, executions) = self.exchange.snapshot(from, to)?;
        Ok((open, self.spoilt(executions)))
    }

    fn ticker(&mut self) -> Result<Ticker, Fault> {
        let ticker = self.exchange.ticker()?;
        let last = if self.is(Sabotage::SeesNoFall) { ticker.last * Decimal::TWO } else { ticker.last };
        Ok(Ticker { last, ..ticker })
    }

    fn balance(&mut self, coin: &str) -> Result<Balance, Fault> {
        self.exchange.balance(coin)
    }

    fn place(&mut self, link_id: &str, spec: &OrderSpec) -> Result<String, Fault> {
        let spec = match self.sabotage {
            Some(Sabotage::OffersTwice) => scaled(spec, Side::Sell, Decimal::TWO),
            Some(Sabotage::IgnoresCapital) => scaled(spec, Side::Buy, Decimal::from(30)),
            _ => spec.clone(),
        };
        let spec = match spec {
            OrderSpec::MarketBuy { amount } if self.is(Sabotage::ForgetsLosses) => {
                self.most = self.most.max(amount);
                OrderSpec::MarketBuy { amount: self.most }
            }
            spec => spec,
        };
        if self.is(Sabotage::NeverSells) && spec.side() == Side::Sell {
            let message = "sabotage".to_owned();
            return Err(Fault { kind: FaultKind::Refused, endpoint: "POST /v5/order/create", code: None, message });
        }
        let answer = self.exchange.place(link_id, &spec);
        match (&answer, self.sabotage) {
            (Ok(_), Some(Sabotage::SendsTwice)) => {
                drop(self.exchange.place(&next_name(link_id), &spec));
                answer
            }
            (Err(fault), Some(Sabotage::TakesSilenceForRefusal)) if fault.kind == FaultKind::Unknown => {
                Err(Fault { kind: FaultKind::Unreachable, ..fault.clone() })
            }
            _ => answer,
        }
    }

    fn cancel(&mut self, link_id: &str) -> Result<(), Fault> {
        if self.is(Sabotage::CancelsAll) {
            for other in self.exchange.open_orders()? {
                self.exchange.cancel(&other.link_id)?;
            }
            return Ok(());
        }
        self.exchange.cancel(link_id)
    }

    fn order(&mut self, link_id: &str) -> Result<Option<OrderReport>, Fault> {
        self.exchange.order(link_id)
    }

    fn open_orders(&mut self) -> Result<Vec<OrderReport>, Fault> {
        self.exchange.open_orders()
    }

    fn closed_orders(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<OrderReport>, Fault> {
        self.exchange.closed_orders(from, to)
    }

    fn executions(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<Execution>, Fault> {
        let executions = self.exchange.executions(from, to)?;
        Ok(self.spoilt(executions))
    }
}

impl<E> Saboteur<E> {
    fn is(&self, sabotage: Sabotage) -> bool {
        self.sabotage == Some(sabotage)
    }

    fn spoilt(&self, mut executions: Vec<Execution>) -> Vec<Execution> {
        if self.is(Sabotage::BooksTwice) {
            let again: Vec<Execution> = executions
                .iter()
                .map(|one| Execution { exec_id: format!("{}0", one.exec_id), ..one.clone() })
                .collect();
            executions.extend(again);
        }
        if self.is(Sabotage::ForgetsFees) {
            executions.iter_mut().for_each(|one| one.fee = Decimal::ZERO);
        }
        executions
    }
}

/// The journal as a bot would use it that is broken in this way.
pub(crate) struct Forgetful<J> {
    pub(crate) journal: J,
    pub(crate) world: Rc<RefCell<World>>,
}

impl<J: Journal> Journal for Forgetful<J> {
    fn append(&mut self, time: Timestamp, records: &[Record]) -> Result<(), JournalError> {
        let drops = self.world.borrow().options.sabotage == Some(Sabotage::DropsLines);
        if drops {
            let kept: Vec<Record> =
                records.iter().filter(|record| !matches!(record, Record::OrderAccepted { .. })).cloned().collect();
            return if kept.is_empty() { Ok(()) } else { self.journal.append(time, &kept) };
        }
        self.journal.append(time, records)
    }

    fn sync(&mut self) -> Result<(), JournalError> {
        self.journal.sync()
    }

    fn sync_aside(&mut self) -> Result<bool, JournalError> {
        if self.world.borrow().options.sabotage == Some(Sabotage::WritesForNothing) {
            let now = Timestamp(self.world.borrow().clock_now());
            self.journal.append(now, &vec![Record::Reconciled; 200])?;
        }
        self.journal.sync_aside()
    }
}
