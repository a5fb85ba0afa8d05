//! A start: what is asked before anything is traded, and what an absence means.
//!
//! A start should not take longer than it must when the exchange is far away: the instrument is asked for together with the
//! time, open orders together with executions, the key's rights together with the market. The stream may come up later: what
//! it has missed by then is asked for when it is up.

use std::time::Duration;

use log::{info, warn};

use super::contact::{Chore, OUTAGE_PAUSE};
use super::ports::{Fault, FaultKind, StopWish};
use super::questions::quote_of;
use super::{Engine, EngineConfig, Failure, rebuilding};
use crate::core::absence::{self, Unwatched};
use crate::core::instrument::Instrument;
use crate::core::ledger::Ledger;
use crate::core::record::{AlarmCause, MissingCause, Record};
use crate::core::strategy;
use crate::core::{Decimal, Timestamp, money};

/// So often the exchange is tried at a start before "start again later" is the answer.
const START_ATTEMPTS: u32 = 5;
/// The key is looked at again this often: it may lose rights, or be about to expire.
const KEY_CHECK_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// Whoever took no turn for so long was suspended: the longest wait for an answer is shorter, and so is every other one.
const SUSPENDED: Duration = Duration::from_secs(3600);

impl Engine<'_> {
    /// Compares clocks, and asks for the instrument.
    pub(super) fn start(&mut self) -> Result<(), Failure> {
        let Some(instrument) = self.at_start(Self::handshake)? else { return Ok(()) };
        self.set_deadlines();
        let EngineConfig { bot, environment, parameters, .. } = self.config.clone();
        if !instrument.trading && self.books.ledger.cycle.is_none() {
            return Err(Failure::ConfigurationRefused(format!("{} is not trading now", parameters.symbol)));
        }
        let seen = self.books.ledger.instrument.as_ref() == Some(&instrument);
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let lost = self.after_absence();
        let mut records = vec![Record::Started { version, environment, bot, parameters }];
        if !seen {
            records.push(Record::InstrumentSeen { instrument: instrument.clone() });
        }
        records.extend(lost);
        self.record(records)
    }

    /// Time and instrument. With a cycle open both are known well enough without the endpoints that tell them: the journal has
    /// the instrument, and the exchange answers no signed question of a clock that is far off.
    fn handshake(&mut self) -> Result<Instrument, Fault> {
        let fault = match self.exchange.handshake() {
            Ok(instrument) => return Ok(instrument),
            Err(fault) => fault,
        };
        match self.books.ledger.instrument.clone().filter(|_| self.books.ledger.cycle.is_some()) {
            Some(instrument) if self.exchange.open_orders().is_ok() => {
                warn!("{fault}; a cycle is open: it goes on with what the journal knows");
                Ok(instrument)
            }
            _ => Err(fault),
        }
    }

    /// Looks whether the key may trade, now and every day. The first time also whether the ladder may be placed at the market's
    /// price.
    pub(super) fn preflight(&mut self) -> Result<(), Failure> {
        let ticker = match self.exchange.preflight() {
            Ok(ticker) => ticker,
            Err(fault) => return self.chore_failed(Chore::Preflight, &fault),
        };
        self.contact.succeeded(Chore::Preflight);
        self.key_check_due = self.now().after(KEY_CHECK_INTERVAL);
        if self.preflight_passed {
            return Ok(());
        }
        let Ledger { instrument, cycle, .. } = &self.books.ledger;
        let Some(instrument) = instrument else { return Ok(()) };
        if let Err(error) = strategy::check(ticker.ask_or_last(), &self.config.parameters, instrument) {
            if cycle.is_none() {
                return Err(Failure::Ladder(error));
            }
            warn!(
                "the ladder breaks a rule of the exchange, the open cycle goes on without the rebuys it forbids: {error}"
            );
        }
        self.preflight_passed = true;
        self.quote = Some((quote_of(ticker), self.now()));
        Ok(())
    }

    /// The exchange has corrected the clock: deadlines are counted from here. What an uncorrected clock said before may
    /// lie years ahead.
    pub(super) fn set_deadlines(&mut self) {
        self.clock_synchronised = true;
        let now = self.now();
        self.contact.answered();
        // A comparison over a connection that was only just opened is a rough one.
        self.heartbeat_due = now;
        self.key_check_due = self.key_check_due.min(now.after(KEY_CHECK_INTERVAL));
        self.contact.quiet_until = now;
        self.connected = self.connected.min(now);
        self.funds = None;
        self.reconcile_due = if self.stream_up { now } else { now.after(self.config.stream_patience) };
        let Ledger { watched, time, .. } = self.books.ledger;
        let known = if self.books.ledger.is_blank() { now } else { watched.min(now) };
        self.executions_from = known.max(now.before(rebuilding::REACH));
        // A ledger that was rebuilt was seen whole when it was written, and watched by nobody yet.
        let seen = if watched == Timestamp::default() { time } else { watched };
        let lasted = now.since(seen.min(now));
        if !self.books.ledger.is_blank() && lasted >= absence::SHORTEST_RETENTION {
            self.unwatched = Some(Unwatched { until: now, lasted });
        }
    }

    fn is_history_lost(&self) -> bool {
        self.unwatched.is_some_and(|unwatched| unwatched.lasted >= absence::RETENTION)
    }

    /// A process that was suspended for long knows no more than one that starts.
    pub(super) fn notice_suspension(&mut self) -> Result<(), Failure> {
        let now = self.now();
        let before = std::mem::replace(&mut self.awake, now);
        if now < before {
            return self.notice_step_back(before);
        }
        let away = now.since(before);
        if away < SUSPENDED || !self.reconciled_once {
            return Ok(());
        }
        info!("nothing happened here for {} s: comparing everything with the exchange", away.as_secs());
        (self.reconciled, self.reconciled_once) = (false, false);
        self.reconcile_due = now;
        if away >= absence::SHORTEST_RETENTION {
            self.unwatched = Some(Unwatched { until: now, lasted: away });
            let lost = self.after_absence();
            self.record(lost)?;
        }
        Ok(())
    }

    /// The clock was ahead of the exchange's, and is no longer: what is due lies as far ahead as the clock was. All is asked anew.
    fn notice_step_back(&mut self, before: Timestamp) -> Result<(), Failure> {
        info!(
            "the clock was {} s ahead of the exchange's: comparing everything anew",
            before.since(self.awake).as_secs()
        );
        self.set_deadlines();
        self.contact.connected();
        self.queries.clear();
        self.quote = None;
        self.shortage = None;
        self.reconciled = false;
        Ok(())
    }

    /// After an absence that is longer than the exchange remembers, what a power cut took from the journal's end cannot be
    /// found there any more. That it took nothing is sure only after an end in peace. Coins that were not offered then may
    /// have been offered and sold by what is lost: they are written off, because those in the wallet may be the user's own.
    pub(super) fn after_absence(&self) -> Vec<Record> {
        if !self.is_history_lost() || self.books.ledger.ended {
            return Vec::new();
        }
        let lots = self.books.ledger.cycle.iter().flat_map(|cycle| cycle.lots.values());
        let free = lots.fold(Decimal::ZERO, |sum, lot| sum + lot.quantity);
        let instrument = self.books.ledger.instrument.as_ref();
        let quantity = instrument.map_or(Decimal::ZERO, |instrument| instrument.quantity_down(free));
        let doubtful = quantity > Decimal::ZERO;
        let cause = AlarmCause::LostHistory;
        let mut records = Vec::new();
        if doubtful || !self.books.ledger.alarms.contains_key(&cause) {
            let coins = if doubtful {
                format!(", and {} that were not offered are no longer counted as held", money::text(quantity))
            } else {
                String::new()
            };
            let message = format!(
                "the bot did not end in peace, and was away for longer than the exchange remembers: orders of its last moments \
                 may be unknown{coins}. No new buys: compare the account with `recompra status`, then let `recompra stop --close` \
                 sell what is held"
            );
            records.push(Record::Alarmed { cause, message });
        }
        if doubtful {
            records.push(Record::CoinsMissing { quantity, cause: MissingCause::LongAbsence, counts: true });
        }
        records
    }

    /// Asks something that trading cannot begin without, a few times. `None` if a stop was asked for meanwhile.
    fn at_start<T>(&mut self, mut ask: impl FnMut(&mut Self) -> Result<T, Fault>) -> Result<Option<T>, Failure> {
        let mut attempt = 1;
        loop {
            let fault = match ask(self) {
                Ok(answer) => return Ok(Some(answer)),
                Err(fault) => fault,
            };
            // What was counted before the clock was corrected may lie years ahead.
            self.contact.quiet_until = Timestamp::default();
            self.on_fault(&fault)?;
            let refused = matches!(fault.kind, FaultKind::KeyRefused | FaultKind::ConfigurationRefused);
            if attempt >= START_ATTEMPTS && !refused {
                return Err(Failure::Unreachable(fault));
            }
            let pause = self.now().after(OUTAGE_PAUSE * 2_u32.pow(attempt.min(START_ATTEMPTS)));
            let pause = if refused { self.now().after(self.contact.refused_pause()) } else { pause };
            let pause = self.contact.quiet_until.max(pause);
            warn!("{fault}; trying again");
            attempt += 1;
            while self.now() < pause {
                if let Some(signal) = self.wait(pause) {
                    self.take(signal)?;
                }
                if self.stop == Some(StopWish::Leave) {
                    return Ok(None);
                }
            }
        }
    }
}
