//! The invariants about time and amount: 8 (what protects is done soon), 9 (requests), 12 (the bot does not leave its post)
//! and 13 (records). Looked after at every request and whenever the bot waits.

use std::collections::VecDeque;

use recompra::core::Decimal;
use recompra::core::ledger::Cycle;
use recompra::core::parameters::TakeProfitMode;
use recompra::core::record::{ExitCause, Record};
use recompra::core::strategy::Goal;
use recompra::engine::Failure;

use super::world::{Link, World};

/// What protects is done within this long, in milliseconds: four answers of nine seconds, a start among them, and some air.
const SOON: i64 = 90_000;
/// So many requests in ten seconds, and in one.
const MOST_IN_TEN: usize = 100;
const MOST_IN_ONE: usize = 40;
/// The journal grows by so much in an hour without fills, in bytes, and by so much at each start.
const MOST_AN_HOUR: usize = 60 * 1024;
const A_START: usize = 2 * 1024;
/// What was read from the exchange after the journal was lost is written all at once.
const A_REBUILT_LEDGER: usize = 16 * 1024;
/// A time limit comes at most so much too early, in milliseconds.
const EARLY: i64 = 15_000;
const HOUR: i64 = 3_600_000;
/// So often the bot may look at the signals while no time passes.
const MOST_LOOKS: u32 = 20_000;

/// What is remembered for them.
#[derive(Default)]
pub(crate) struct Bounds {
    requests: VecDeque<i64>,
    written: VecDeque<(i64, usize)>,
    fills: usize,
    /// Whether this process has compared its ledger with the exchange.
    compared: bool,
    /// When the open cycle began, in true time.
    opened: Option<i64>,
    /// Since when something protective is due.
    due: Option<(i64, &'static str)>,
    /// How often the bot has looked for signals at this moment.
    looks: (i64, u32),
}

impl World {
    /// Whether this invariant is looked after.
    fn checks(&self, invariant: u8) -> bool {
        let excused = self.options.sabotage.is_none() && self.conditions.excuse(invariant);
        !excused && !super::passed_over(invariant)
    }

    /// A request leaves.
    pub(crate) fn request_leaves(&mut self) {
        let now = self.now;
        let requests = &mut self.bounds.requests;
        requests.retain(|at| now - at < 10_000);
        requests.push_back(now);
        let (ten, one) = (requests.len(), requests.iter().filter(|at| now - **at < 1_000).count());
        if ten <= MOST_IN_TEN && one <= MOST_IN_ONE {
            return;
        }
        if self.checks(9) {
            self.broken(9, format!("{one} requests in a second, {ten} in ten"));
        }
        // So that the simulation comes to an end all the same.
        self.pass(5_000);
    }

    /// The journal grows.
    pub(crate) fn journal_grows(&mut self, bytes: usize) {
        let (now, fills) = (self.now, self.books.fills.len());
        if fills != self.bounds.fills {
            self.bounds.fills = fills;
            self.bounds.written.clear();
        }
        if bytes > A_REBUILT_LEDGER {
            return;
        }
        let written = &mut self.bounds.written;
        written.retain(|(at, _)| now - at < HOUR);
        written.push_back((now, bytes));
        let (sum, count) = (written.iter().map(|(_, bytes)| bytes).sum::<usize>(), written.len());
        // What a start writes it writes at once, and a machine may start often.
        let starts = usize::try_from(self.lives).unwrap_or(usize::MAX).saturating_mul(A_START);
        if sum > MOST_AN_HOUR.saturating_add(starts) {
            if self.checks(13) {
                self.broken(13, format!("{sum} bytes in {count} records of an hour without a fill"));
            }
            self.pass(1_000);
        }
    }

    /// A process begins.
    pub(crate) fn begin_bounds(&mut self) {
        self.bounds.requests.clear();
        self.bounds.compared = false;
    }

    /// The journal is lost: what it grew by was for nothing.
    pub(crate) fn forget_what_was_written(&mut self) {
        self.bounds.written.clear();
    }

    /// The machine was suspended: nobody can have done anything.
    pub(crate) fn forget_what_is_due(&mut self) {
        self.bounds.due = None;
    }

    /// A cycle begins, or is to be closed because of its age: by a clock that is wrong nothing is sold.
    pub(crate) fn in_true_time(&mut self, record: &Record) {
        match record {
            Record::Reconciled => self.bounds.compared = true,
            Record::CycleOpened { .. } => self.bounds.opened = Some(self.now),
            Record::ExitDecided { cause: ExitCause::TimeLimit } => {
                let limit = self.parameters.time_limit.map_or(0, |limit| limit.as_millis() as i64);
                let age = self.bounds.opened.take().map(|opened| self.now - opened);
                if let Some(age) = age.filter(|age| self.conditions.calm && *age < limit - EARLY && self.checks(8)) {
                    self.broken(8, format!("sold {} s before its time limit", (limit - age) / 1000));
                }
            }
            _ => {}
        }
    }

    /// The bot looks for signals.
    pub(crate) fn bot_looks(&mut self) {
        let (at, looks) = self.bounds.looks;
        self.bounds.looks = if at == self.now { (at, looks + 1) } else { (self.now, 0) };
        if looks > MOST_LOOKS {
            self.broken(9, format!("it turns {looks} times and no time passes"));
        }
        if self.faults.ceased && self.now > self.faults_end + self.time_to_settle() + HOUR {
            self.broken(7, "it never comes to rest".to_owned());
        }
        self.protects_soon();
    }

    /// Invariant 12.
    pub(crate) fn ended_with(&mut self, failure: &Failure) {
        let refused = matches!(failure, Failure::KeyRefused(_) | Failure::ConfigurationRefused(_));
        if refused && self.mirror.cycle.is_some() && self.checks(12) {
            self.broken(12, format!("it leaves its post with a cycle open: {failure}"));
        }
    }

    /// Invariant 8.
    fn protects_soon(&mut self) {
        let what = self.protection_due().filter(|_| self.conditions.calm && !self.faults.ceased);
        let Some(what) = what else {
            self.bounds.due = None;
            return;
        };
        let (since, before) = *self.bounds.due.get_or_insert((self.now, what));
        if before != what {
            self.bounds.due = Some((self.now, what));
        } else if self.now - since > SOON && self.checks(8) {
            self.broken(8, format!("{what} for {} s", (self.now - since) / 1000));
        }
    }

    /// What should be done to protect what is held, by what the bot knows, if nothing excuses it.
    fn protection_due(&self) -> Option<&'static str> {
        let now = self.now;
        if self.goal != Goal::Trade || self.conditions.disturb_acts(now) {
            return None;
        }
        let book = self.exchange.book("BTCUSDT")?;
        let instrument = &book.listing().instrument;
        let sellable = |quantity: Decimal| {
            instrument.quantity_down(quantity) * book.bid() > instrument.min_notional * Decimal::new(105, 2)
        };
        let Some(cycle) = self.mirror.cycle.as_ref() else {
            // Its take profit lies above its cost: what cost enough can be offered, wherever the market is.
            let carried = &self.mirror.carry;
            let offerable = sellable(carried.quantity) && carried.cost > instrument.min_notional;
            return offerable.then_some("coins are carried over and not offered");
        };
        let disturbed = self.conditions.disturb_knowledge(now) || !matches!(self.link, Link::Up(_));
        // A process that cannot compare anything yet does not know what rests: what it sells may be offered already.
        if disturbed && !self.bounds.compared {
            return None;
        }
        let in_doubt = cycle.live_orders().any(|(_, order)| order.is_unknown() || order.cancel_asked.is_some());
        if cycle.exit.is_some() {
            let excused = disturbed && in_doubt;
            return (sellable(cycle.held().quantity) && !excused).then_some("an exit is not carried out");
        }
        if self.stop_loss_due(cycle, sellable) {
            return Some("a stop loss does not fire");
        }
        // A maker-only sell may have to wait for the market.
        if (disturbed && in_doubt) || self.parameters.post_only || cycle.is_ending() {
            return None;
        }
        let free = match self.parameters.take_profit_mode {
            TakeProfitMode::Average => sellable(cycle.lots.values().map(|lot| lot.quantity).sum()),
            TakeProfitMode::PerLevel => cycle.lots.values().any(|lot| sellable(lot.quantity)),
        };
        free.then_some("coins are held and not offered")
    }

    fn stop_loss_due(&self, cycle: &Cycle, sellable: impl Fn(Decimal) -> bool) -> bool {
        let Some(percent) = self.parameters.stop_loss_percent else { return false };
        let held = cycle.held();
        let average = held.cost.checked_div(held.quantity).unwrap_or_default();
        let trigger = average * (Decimal::ONE - percent / Decimal::ONE_HUNDRED);
        let Some(book) = self.exchange.book("BTCUSDT") else { return false };
        book.bid() < trigger * Decimal::new(999, 3)
            && sellable(held.quantity)
            && !self.conditions.disturb_price(self.now)
    }
}
