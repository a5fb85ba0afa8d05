//! Coins that left the account while the bot held them.
//!
//! Somebody withdraws or sells them: a sell is then refused for lack of money (170131), and would be for ever. So after
//! such a refusal, and only when every order's fate is known and everything is reconciled, the wallet is asked. If it holds less
//! than the ledger says, several times over a minute, the difference is written off and said
//! ([`Record::CoinsMissing`]). If the wallet holds enough, somebody's order has locked the coins: the sell is tried again
//! until they are free.
//!
//! What was paid for coins that are gone has been spent and does not come back. It counts against `max_capital`, or else the bot
//! would buy them again and again, until a person says that all of it may be spent: that is what the alarm
//! [`CoinsLeft`](crate::core::record::AlarmCause::CoinsLeft) is for.

use std::time::Duration;

use log::{error, warn};

use super::contact::Chore;
use super::{Engine, Failure};
use crate::core::Timestamp;
use crate::core::ledger::{Ledger, OrderState};
use crate::core::money::{self, Decimal};
use crate::core::record::{MissingCause, Record};

/// So often the wallet must say that coins are missing,
const SIGHTINGS: u32 = 3;
/// and over so long, before that is believed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Coins that the wallet does not have.
#[derive(Clone, Debug)]
pub(super) struct Shortage {
    since: Timestamp,
    sightings: u32,
    /// The least that was missing at any sighting, in base coin.
    quantity: Decimal,
}

impl Engine<'_> {
    /// A sell was refused for lack of coins: the wallet is asked once everything else is known.
    pub(super) fn suspect_shortage(&mut self) {
        self.wallet_check_due = true;
        self.reconcile_due = self.now();
    }

    /// Compares the wallet with what is held.
    pub(super) fn check_wallet(&mut self) -> Result<(), Failure> {
        self.wallet_check_due = false;
        let Some(coin) = self.books.ledger.instrument.as_ref().map(|instrument| instrument.base_coin.clone()) else {
            return Ok(());
        };
        let Some(cycle) = &self.books.ledger.cycle else { return Ok(()) };
        if cycle.live_orders().any(|(_, order)| order.state != OrderState::Open) {
            return Ok(());
        }
        let (held, free) = (cycle.held().quantity, cycle.lots.values().map(|lot| lot.quantity).sum::<Decimal>());
        let total = match self.exchange.balance(&coin) {
            Ok(balance) => balance.total,
            Err(fault) => {
                self.wallet_check_due = true;
                return self.chore_failed(Chore::Wallet, &fault);
            }
        };
        self.contact.succeeded(Chore::Wallet);
        // What is offered is locked, so it is there: only the rest can be missing.
        let missing = (held - total).min(free);
        if missing <= Decimal::ZERO {
            self.shortage = None;
            return Ok(());
        }
        self.note_shortage(missing, &coin)
    }

    /// What the last cycle left over that cost something and is too little to be sold, for whoever reads how the bot ended.
    pub(super) fn left_over(&self) -> Option<String> {
        let Ledger { instrument: Some(instrument), carry, .. } = &self.books.ledger else { return None };
        (carry.cost > Decimal::ZERO && !carry.quantity.is_zero()).then(|| {
            format!(
                "; {} {}, which cost {} {}, are too little to be sold and stay in the account",
                money::text(carry.quantity),
                instrument.base_coin,
                money::text(carry.cost),
                instrument.quote_coin
            )
        })
    }

    fn note_shortage(&mut self, missing: Decimal, coin: &str) -> Result<(), Failure> {
        let now = self.now();
        let shortage = self.shortage.get_or_insert(Shortage { since: now, sightings: 0, quantity: missing });
        shortage.sightings = shortage.sightings.saturating_add(1);
        shortage.quantity = shortage.quantity.min(missing);
        let (quantity, text) = (shortage.quantity, money::text(shortage.quantity));
        if shortage.sightings < SIGHTINGS || now.since(shortage.since) < PATIENCE {
            warn!("{text} {coin} that the bot holds are not in the account; looking again before they are written off");
            return Ok(());
        }
        error!("{text} {coin} that the bot held have left the account: they are written off, their cost is a loss");
        self.shortage = None;
        self.record(vec![Record::CoinsMissing { quantity, cause: MissingCause::LeftAccount, counts: true }])
    }
}
