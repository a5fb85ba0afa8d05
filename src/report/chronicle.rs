//! What a page tells, gathered from records in their order: cycles with their fills, what rested and how long, and how
//! much capital was bound.
//!
//! In: records and the ledger after each, live from a backtest or out of a journal. Out: [`Chronicle`]. The measures
//! ([`Course`]) are those of the backtest, so that a report and a backtest never differ.

use std::collections::{BTreeMap, BTreeSet};

use crate::backtest::course::{Course, Position, Trade};
use crate::core::ledger::{Contradiction, Ledger};
use crate::core::money::Decimal;
use crate::core::order::{OrderKey, OrderSpec, Side, Slot};
use crate::core::parameters::Parameters;
use crate::core::record::{ExitCause, Record};
use crate::core::time::Timestamp;
use crate::engine::ports::Observer;

/// Who traded, and by which parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trader {
    /// The program's version.
    pub version: String,
    /// `demo`, `testnet`, `mainnet` or `paper`.
    pub environment: String,
    /// The bot's name.
    pub bot: String,
    /// Its parameters.
    pub parameters: Parameters,
}

/// One cycle, from its first buy on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CycleStory {
    /// Its number.
    pub number: u64,
    /// When it began.
    pub opened: Timestamp,
    /// When it ended; `None` while it is open.
    pub closed: Option<Timestamp>,
    /// Net proceeds less cost, in quote coin; zero while it is open.
    pub profit: Decimal,
    /// Its fills, in their order.
    pub fills: Vec<Trade>,
    /// Why it was closed at market, if it was.
    pub exit: Option<ExitCause>,
}

/// A limit order while it rested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resting {
    /// Its name.
    pub key: OrderKey,
    /// In quote coin.
    pub price: Decimal,
    /// From when on.
    pub from: Timestamp,
    /// Until when; `None` while it rests.
    pub to: Option<Timestamp>,
}

/// Capital in use from a moment on, in quote coin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// From when on.
    pub time: Timestamp,
    /// What is held has cost this much.
    pub held: Decimal,
    /// What resting buys can still cost.
    pub offered: Decimal,
}

/// Everything that happened, ready to be told.
#[derive(Clone, Debug, Default)]
pub struct Chronicle {
    /// The backtest's measures.
    pub course: Course,
    /// The latest one.
    pub trader: Option<Trader>,
    /// How many processes began to trade.
    pub starts: u64,
    /// When the first record was written.
    pub began: Option<Timestamp>,
    /// In their order; the last may be open.
    pub cycles: Vec<CycleStory>,
    /// In the order in which they began to rest.
    pub resting: Vec<Resting>,
    /// Each change.
    pub bound: Vec<Bound>,
    /// Cycles from before the first record that is left: only the sums know them.
    pub forgotten_cycles: u64,
    /// Where in `resting` each order is that still rests.
    live: BTreeMap<OrderKey, usize>,
}

impl Chronicle {
    /// Adds up what a journal holds.
    ///
    /// # Errors
    /// [`Contradiction`] if the records cannot follow one another.
    pub fn of_entries(entries: &[(Timestamp, Record)]) -> Result<(Self, Ledger), Contradiction> {
        let (mut chronicle, mut ledger) = (Self::default(), Ledger::default());
        for (time, record) in entries {
            ledger.apply(*time, record)?;
            chronicle.recorded(*time, record, &ledger);
        }
        Ok((chronicle, ledger))
    }

    /// Every fill, in order.
    pub fn fills(&self) -> impl Iterator<Item = &Trade> {
        self.cycles.iter().flat_map(|cycle| &cycle.fills)
    }

    /// The cycles that were closed.
    pub fn closed(&self) -> impl Iterator<Item = &CycleStory> {
        self.cycles.iter().filter(|cycle| cycle.closed.is_some())
    }

    /// What came before the first record is known only as a sum.
    fn begin_with(&mut self, ledger: &Ledger) {
        let cycle = ledger.cycle.as_ref();
        let held = cycle.map_or_else(|| ledger.carry.clone(), crate::core::ledger::Cycle::held);
        let cash = ledger.totals.profit + cycle.map_or(Decimal::ZERO, |cycle| cycle.profit) - held.cost;
        self.course.positions = vec![Position { time: ledger.time, cash, quantity: held.quantity }];
        self.forgotten_cycles = ledger.totals.cycles;
        self.cycles.extend(cycle.map(|cycle| CycleStory::new(cycle.number, cycle.opened)));
        for (key, order) in cycle.into_iter().flat_map(|cycle| cycle.live_orders()) {
            self.rests(key, &order.spec, order.planned);
        }
    }

    fn rests(&mut self, key: OrderKey, spec: &OrderSpec, from: Timestamp) {
        if let OrderSpec::Limit { price, .. } = spec {
            self.live.insert(key, self.resting.len());
            self.resting.push(Resting { key, price: *price, from, to: None });
        }
    }

    fn rests_no_more(&mut self, key: OrderKey, time: Timestamp) {
        if let Some(resting) = self.live.remove(&key).and_then(|place| self.resting.get_mut(place)) {
            resting.to = Some(time);
        }
    }

    fn bind(&mut self, time: Timestamp, ledger: &Ledger) {
        let (held, committed) = match &ledger.cycle {
            Some(cycle) => (cycle.held().cost, cycle.committed()),
            None => (ledger.carry.cost, ledger.carry.cost),
        };
        let bound = Bound { time, held, offered: committed - held };
        match self.bound.last_mut() {
            Some(last) if last.held == bound.held && last.offered == bound.offered => {}
            Some(last) if last.time == time => *last = bound,
            _ => self.bound.push(bound),
        }
    }
}

impl CycleStory {
    fn new(number: u64, opened: Timestamp) -> Self {
        Self { number, opened, closed: None, profit: Decimal::ZERO, fills: Vec::new(), exit: None }
    }

    /// How many rebuys were filled, at least in part.
    pub fn rebuys(&self) -> usize {
        let rebuys = self.fills.iter().map(|fill| fill.key).filter(|key| matches!(key.slot, Slot::Buy(1..)));
        rebuys.collect::<BTreeSet<_>>().len()
    }

    /// Quote coin spent by its buys, fees in quote coin left out.
    pub fn spent(&self) -> Decimal {
        self.fills.iter().map(|fill| &fill.execution).filter(|fill| fill.side == Side::Buy).map(|fill| fill.value).sum()
    }
}

impl Observer for Chronicle {
    fn recorded(&mut self, time: Timestamp, record: &Record, ledger: &Ledger) {
        self.course.recorded(time, record, ledger);
        self.began.get_or_insert(time);
        match record {
            Record::Started { version, environment, bot, parameters } => {
                self.starts += 1;
                self.trader = Some(Trader {
                    version: version.clone(),
                    environment: environment.clone(),
                    bot: bot.to_string(),
                    parameters: parameters.clone(),
                });
            }
            Record::Snapshot { .. } => self.begin_with(ledger),
            Record::CycleOpened { cycle, began } => self.cycles.push(CycleStory::new(*cycle, *began)),
            Record::CycleClosed { profit, .. } => {
                if let Some(cycle) = self.cycles.last_mut() {
                    (cycle.closed, cycle.profit) = (Some(time), *profit);
                }
            }
            Record::ExitDecided { cause } => {
                if let Some(cycle) = self.cycles.last_mut() {
                    cycle.exit = Some(cause.clone());
                }
            }
            Record::OrderPlanned { key, spec, .. } | Record::OrderAdopted { key, spec, .. } => {
                self.rests(*key, spec, time);
            }
            Record::OrderAmended { key, spec } => {
                self.rests_no_more(*key, time);
                self.rests(*key, spec, time);
            }
            Record::Executed { key, execution } => {
                if let Some(cycle) = self.cycles.last_mut() {
                    cycle.fills.push(Trade { key: *key, execution: execution.clone() });
                }
            }
            // Its facts come one by one.
            Record::Rebuilt { .. } => return,
            Record::Journal { .. }
            | Record::Stopped { .. }
            | Record::Reconciled
            | Record::Waits(_)
            | Record::InstrumentSeen { .. }
            | Record::OrderAccepted { .. }
            | Record::NameTaken { .. }
            | Record::CancelAsked { .. }
            | Record::CancelFailed { .. }
            | Record::Alarmed { .. }
            | Record::AlarmCleared { .. } => return,
            Record::OrderRefused { .. }
            | Record::OrderAbsent { .. }
            | Record::OrderClosed { .. }
            | Record::OrderUntold { .. }
            | Record::CoinsMissing { .. } => {}
        }
        if let Record::Executed { key, .. }
        | Record::OrderClosed { key, .. }
        | Record::OrderRefused { key, .. }
        | Record::OrderAbsent { key }
        | Record::OrderUntold { key } = record
            && !ledger.order(*key).is_some_and(crate::core::ledger::Order::is_live)
        {
            self.rests_no_more(*key, time);
        }
        self.bind(time, ledger);
    }
}
