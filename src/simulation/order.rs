//! Orders and executions as the exchange keeps them.

use std::collections::BTreeMap;

use crate::core::order::Side;
use crate::core::{Decimal, Timestamp};

/// What a client asks for, read but not yet checked against the instrument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// The instrument.
    pub symbol: String,
    /// Which way.
    pub side: Side,
    /// How, and for market orders in which unit.
    pub kind: Kind,
    /// In base coin, or in quote coin for [`Kind::MarketQuote`].
    pub quantity: Decimal,
    /// The order's own name; empty if it has none.
    pub link_id: String,
}

/// How an order trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At a price or better.
    Limit {
        /// In quote coin.
        price: Decimal,
        /// How long.
        time_in_force: TimeInForce,
    },
    /// At market, sized in base coin.
    MarketBase,
    /// At market, sized in quote coin.
    MarketQuote,
}

impl Kind {
    /// The limit price.
    pub fn price(self) -> Option<Decimal> {
        match self {
            Self::Limit { price, .. } => Some(price),
            Self::MarketBase | Self::MarketQuote => None,
        }
    }

    /// How long it may work; at market it takes what it can.
    pub fn time_in_force(self) -> TimeInForce {
        match self {
            Self::Limit { time_in_force, .. } => time_in_force,
            Self::MarketBase | Self::MarketQuote => TimeInForce::Ioc,
        }
    }
}

/// How long a limit order may work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeInForce {
    /// Until cancelled.
    Gtc,
    /// What it can take at once; the rest is cancelled.
    Ioc,
    /// All of it at once, or nothing.
    Fok,
    /// Only as maker: cancelled if it would take.
    PostOnly,
}

impl TimeInForce {
    /// Bybit's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gtc => "GTC",
            Self::Ioc => "IOC",
            Self::Fok => "FOK",
            Self::PostOnly => "PostOnly",
        }
    }
}

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It rests, untouched.
    New,
    /// It rests, filled in part.
    PartiallyFilled,
    /// Done in full.
    Filled,
    /// Ended without a fill.
    Cancelled,
    /// Ended with fills, but not in full.
    PartiallyFilledCanceled,
}

impl Status {
    /// Whether it may still be filled.
    pub fn is_open(self) -> bool {
        matches!(self, Self::New | Self::PartiallyFilled)
    }

    /// Bybit's word.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "New",
            Self::PartiallyFilled => "PartiallyFilled",
            Self::Filled => "Filled",
            Self::Cancelled => "Cancelled",
            Self::PartiallyFilledCanceled => "PartiallyFilledCanceled",
        }
    }
}

/// Why an order ended unfilled or partly filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It has not, or it was filled.
    None,
    /// The client cancelled it.
    ByUser,
    /// A maker-only order would have taken.
    WouldTake,
    /// Nothing to take at once.
    NothingToTake,
    /// It took what it could; the rest may not wait.
    RestCancelled,
    /// It could not be filled in full at once.
    NotFillable,
}

impl Ending {
    /// Bybit's `rejectReason`.
    pub fn reject_reason(self) -> &'static str {
        match self {
            Self::None => "EC_NoError",
            Self::ByUser => "EC_PerCancelRequest",
            Self::WouldTake => "EC_PostOnlyWillTakeLiquidity",
            Self::NothingToTake => "EC_NoImmediateQtyToFill",
            Self::RestCancelled => "EC_CancelForNoFullFill",
            Self::NotFillable => "EC_NoEnoughQtyToFill",
        }
    }

    /// Bybit's `cancelType`.
    pub fn cancel_type(self) -> &'static str {
        match self {
            Self::ByUser => "CancelByUser",
            _ => "UNKNOWN",
        }
    }
}

/// An order, open or closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Unique on this exchange; grows.
    pub id: u64,
    /// The client's name for it; may be empty.
    pub link_id: String,
    /// Whose it is: the account's place in the settings.
    pub account: usize,
    /// The instrument's place in the settings.
    pub listing: usize,
    /// The instrument.
    pub symbol: String,
    /// Which way.
    pub side: Side,
    /// How.
    pub kind: Kind,
    /// As asked for or amended: base coin, or quote coin for [`Kind::MarketQuote`].
    pub quantity: Decimal,
    /// Where it stands.
    pub status: Status,
    /// Why it ended.
    pub ending: Ending,
    /// Base coin filled so far.
    pub executed_quantity: Decimal,
    /// Quote coin of those fills.
    pub executed_value: Decimal,
    /// Fees so far, by coin.
    pub fees: BTreeMap<String, Decimal>,
    /// When it was taken.
    pub created: Timestamp,
    /// When it last changed.
    pub updated: Timestamp,
    /// Its place in the queue of its price: amending to another price or more quantity puts it at the end.
    pub(super) rank: u64,
}

impl Order {
    /// The limit price.
    pub fn price(&self) -> Option<Decimal> {
        self.kind.price()
    }

    /// Base coin still to be filled; zero once closed, and for orders sized in quote coin.
    pub fn leaves_quantity(&self) -> Decimal {
        if self.status.is_open() && self.kind != Kind::MarketQuote {
            self.quantity - self.executed_quantity
        } else {
            Decimal::ZERO
        }
    }

    /// Quote coin still to be traded: what an open limit order waits for at its price, or what a closed
    /// quote-sized order could not spend.
    pub fn leaves_value(&self) -> Decimal {
        match self.kind {
            Kind::Limit { price, .. } => price * self.leaves_quantity(),
            Kind::MarketBase => Decimal::ZERO,
            Kind::MarketQuote => self.quantity - self.executed_value,
        }
    }

    /// What it holds back of which side's coin: quote coin for a buy, base coin for a sell. Only resting orders do.
    pub fn locked(&self) -> Decimal {
        match self.side {
            Side::Buy => self.price().map_or(Decimal::ZERO, |price| price * self.leaves_quantity()),
            Side::Sell => self.leaves_quantity(),
        }
    }

    /// The average price of its fills, to 12 decimals.
    pub fn average_price(&self) -> Option<Decimal> {
        if self.executed_quantity.is_zero() {
            return None;
        }
        self.executed_value.checked_div(self.executed_quantity).map(|average| average.round_dp(12))
    }
}

/// One fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fill {
    /// Unique on this exchange; grows.
    pub id: u64,
    /// The order it belongs to.
    pub order_id: u64,
    /// The order's own name.
    pub link_id: String,
    /// The instrument.
    pub symbol: String,
    /// Which way.
    pub side: Side,
    /// How the order trades.
    pub kind: Kind,
    /// The order's quantity.
    pub order_quantity: Decimal,
    /// What the order had left afterwards.
    pub leaves_quantity: Decimal,
    /// In quote coin.
    pub price: Decimal,
    /// In base coin.
    pub quantity: Decimal,
    /// `price × quantity`, in quote coin.
    pub value: Decimal,
    /// In `fee_coin`.
    pub fee: Decimal,
    /// The coin the fee was taken in.
    pub fee_coin: String,
    /// The fraction that was charged.
    pub fee_rate: Decimal,
    /// Whether the order rested.
    pub maker: bool,
    /// When.
    pub time: Timestamp,
}
