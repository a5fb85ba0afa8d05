//! What a decision wants to be told: the price, and the balance that the next base order needs. Each is asked for when it is
//! wanted, counts for a while, and is asked for again after that.

use std::time::Duration;

use super::contact::Chore;
use super::ports::Ticker;
use super::{Engine, Failure};
use crate::core::strategy::{FUNDS_PATIENCE, Quote};
use crate::core::{Decimal, Timestamp};

/// A quote older than this is fetched again when the strategy wants one.
pub(super) const QUOTE_AGE: Duration = Duration::from_secs(5);

impl Engine<'_> {
    pub(super) fn fresh_quote(&self, now: Timestamp) -> Option<&Quote> {
        self.quote.as_ref().filter(|(_, at)| now.since(*at) < QUOTE_AGE).map(|(quote, _)| quote)
    }

    pub(super) fn quote_due(&self) -> Timestamp {
        let fetched = self.quote.as_ref().map_or(Timestamp::default(), |(_, at)| at.after(QUOTE_AGE));
        fetched.max(self.contact.due(Chore::Price))
    }

    pub(super) fn is_quote_due(&self, now: Timestamp) -> bool {
        now >= self.quote_due()
    }

    pub(super) fn fetch_quote(&mut self) -> Result<(), Failure> {
        match self.exchange.ticker() {
            Ok(ticker) => {
                self.contact.succeeded(Chore::Price);
                self.quote = Some((quote_of(ticker), self.now()));
                Ok(())
            }
            Err(fault) => self.chore_failed(Chore::Price, &fault),
        }
    }

    /// Quote coin that new orders can use, if that was asked for a short while ago.
    pub(super) fn free_funds(&self, now: Timestamp) -> Option<Decimal> {
        self.funds.filter(|(_, at)| now.since(*at) < FUNDS_PATIENCE).map(|(free, _)| free)
    }

    /// When the balance is to be asked for, if something needs it.
    pub(super) fn funds_due(&self) -> Timestamp {
        let asked = self.funds.map_or(Timestamp::default(), |(_, at)| at.after(FUNDS_PATIENCE));
        asked.max(self.contact.due(Chore::Funds))
    }

    /// Asks for the balance.
    pub(super) fn ask_funds(&mut self) -> Result<(), Failure> {
        let Some(instrument) = &self.books.ledger.instrument else { return Ok(()) };
        let coin = instrument.quote_coin.clone();
        match self.exchange.balance(&coin) {
            Ok(balance) => {
                self.contact.succeeded(Chore::Funds);
                self.funds = Some((balance.free, self.now()));
                Ok(())
            }
            Err(fault) => self.chore_failed(Chore::Funds, &fault),
        }
    }
}

pub(super) fn quote_of(ticker: Ticker) -> Quote {
    Quote { last: ticker.last, bid: ticker.bid, ask: ticker.ask }
}
