//! Orders: their names, what they ask for, what the exchange reports of them, and executions.
//!
//! An order's name is computed, never random: bot, cycle, slot and attempt make the `orderLinkId`. A bot that
//! lost its memory gives the same order the same name again, and the exchange refuses the duplicate.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::money::{self, Decimal};
use super::time::Timestamp;

/// The name of a bot: 1 to 8 of `[a-z0-9]`. The name of each of its orders begins with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BotName(String);

impl BotName {
    /// # Errors
    /// When the name is not 1 to 8 of `[a-z0-9]`.
    pub fn new(name: &str) -> Result<Self, String> {
        let fits = (1..=8).contains(&name.len()) && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9'));
        if fits {
            Ok(Self(name.to_owned()))
        } else {
            Err(format!("{name:?} is not a bot name: 1 to 8 of the letters a-z and the digits 0-9"))
        }
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for BotName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        Self::new(&name)
    }
}

impl From<BotName> for String {
    fn from(name: BotName) -> Self {
        name.0
    }
}

impl fmt::Display for BotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which way an order trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Quote coin for base coin.
    Buy,
    /// Base coin for quote coin.
    Sell,
}

/// A place in a cycle that holds at most one live order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    /// The buy of a level: 0 is the base order, 1 and up are rebuys.
    Buy(u8),
    /// The take profit of a level's lot; in `average` mode level 0 sells everything.
    Sell(u8),
    /// The market sell that closes the whole cycle.
    Exit,
}

impl Slot {
    /// The side of the slot's orders.
    pub fn side(self) -> Side {
        match self {
            Self::Buy(_) => Side::Buy,
            Self::Sell(_) | Self::Exit => Side::Sell,
        }
    }
}

impl fmt::Display for Slot {
    /// For people: `base order`, `rebuy 2`, `take profit 0`, `exit`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Buy(0) => f.write_str("base order"),
            Self::Buy(level) => write!(f, "rebuy {level}"),
            Self::Sell(level) => write!(f, "take profit {level}"),
            Self::Exit => f.write_str("exit"),
        }
    }
}

/// The last cycle whose names surely fit the exchange. A name of a later one is not this bot's.
const LAST_CYCLE: u64 = 9_999_999_999;

/// Which order of this bot: one attempt in one slot of one cycle. With the bot's name it makes the `orderLinkId`.
///
/// Orders of one cycle sort by slot, then attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderKey {
    /// The cycle the order belongs to, from 1.
    pub cycle: u64,
    /// Its place in the cycle.
    pub slot: Slot,
    /// From 1; grows only when the attempt before is known to be closed.
    pub attempt: u32,
}

impl OrderKey {
    /// The `orderLinkId`: `btc-17-2b-1` is bot `btc`, cycle 17, level 2, buy, attempt 1; the side letter is `b`,
    /// `s` or, for the exit, `x`. At most 36 of `[a-z0-9-]`.
    pub fn link_id(self, bot: &BotName) -> String {
        format!("{bot}-{self}")
    }

    /// The key in an `orderLinkId`, if it is one of this bot's.
    pub fn of_link_id(bot: &BotName, link_id: &str) -> Option<Self> {
        Self::parse(link_id.strip_prefix(bot.as_str())?.strip_prefix('-')?)
    }

    /// Accepts only what this program writes: no leading zeros, no plus signs, and no attempt that cannot be followed.
    fn parse(text: &str) -> Option<Self> {
        fn number<N: std::str::FromStr>(digits: &str) -> Option<N> {
            let plain = digits == "0" || digits.starts_with(|first| matches!(first, '1'..='9'));
            plain.then(|| digits.parse().ok())?
        }
        let mut parts = text.split('-');
        let (cycle, place, attempt) = (parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() {
            return None;
        }
        let slot = if let Some(level) = place.strip_suffix('b') {
            Slot::Buy(number(level)?)
        } else if let Some(level) = place.strip_suffix('s') {
            Slot::Sell(number(level)?)
        } else if place == "0x" {
            Slot::Exit
        } else {
            return None;
        };
        let (cycle, attempt) = (number(cycle)?, number(attempt)?);
        (cycle <= LAST_CYCLE && attempt < u32::MAX).then_some(Self { cycle, slot, attempt })
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (level, side) = match self.slot {
            Slot::Buy(level) => (level, 'b'),
            Slot::Sell(level) => (level, 's'),
            Slot::Exit => (0, 'x'),
        };
        write!(f, "{}-{level}{side}-{}", self.cycle, self.attempt)
    }
}

impl TryFrom<String> for OrderKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is not an order key"))
    }
}

impl From<OrderKey> for String {
    fn from(key: OrderKey) -> Self {
        key.to_string()
    }
}

/// What an order asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderSpec {
    /// Spend this much quote coin at market (`marketUnit: quoteCoin`).
    MarketBuy {
        /// In quote coin.
        amount: Decimal,
    },
    /// Sell this much base coin at market.
    MarketSell {
        /// In base coin.
        quantity: Decimal,
    },
    /// Rest at a price.
    Limit {
        /// Which way.
        side: Side,
        /// In quote coin.
        price: Decimal,
        /// In base coin.
        quantity: Decimal,
        /// Whether the exchange must refuse it rather than let it take (`timeInForce: PostOnly`, else `GTC`).
        post_only: bool,
    },
}

impl OrderSpec {
    /// Which way it trades.
    pub fn side(&self) -> Side {
        match self {
            Self::MarketBuy { .. } => Side::Buy,
            Self::MarketSell { .. } => Side::Sell,
            Self::Limit { side, .. } => *side,
        }
    }

    /// The most quote coin that it can cost; zero for sells.
    pub fn notional(&self) -> Decimal {
        match self {
            Self::MarketBuy { amount } => *amount,
            Self::Limit { side: Side::Buy, price, quantity, .. } => price.saturating_mul(*quantity),
            Self::MarketSell { .. } | Self::Limit { .. } => Decimal::ZERO,
        }
    }

    /// The quantity, if the order is sized in base coin.
    pub fn quantity(&self) -> Option<Decimal> {
        match self {
            Self::MarketBuy { .. } => None,
            Self::MarketSell { quantity } | Self::Limit { quantity, .. } => Some(*quantity),
        }
    }
}

impl fmt::Display for OrderSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = money::text;
        match self {
            Self::MarketBuy { amount } => write!(f, "buy for {} at market", text(*amount)),
            Self::MarketSell { quantity } => write!(f, "sell {} at market", text(*quantity)),
            Self::Limit { side, price, quantity, post_only } => write!(
                f,
                "{} {} at {}{}",
                if *side == Side::Buy { "buy" } else { "sell" },
                text(*quantity),
                text(*price),
                if *post_only { ", maker only" } else { "" }
            ),
        }
    }
}

/// Where an order stands on the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// It may still be filled. An unknown status counts as open: the order is queried again.
    Open,
    /// Filled in full.
    Filled,
    /// Ended by a cancel, with or without fills before it (`Cancelled`, `PartiallyFilledCanceled`, `Deactivated`).
    Cancelled,
    /// Never accepted by the matching engine.
    Rejected,
}

impl OrderStatus {
    /// Whether nothing more can happen to the order.
    pub fn is_closed(self) -> bool {
        self != Self::Open
    }
}

/// Why the exchange refused an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Not enough money.
    InsufficientFunds,
    /// The price or quantity breaks a filter.
    Filter,
    /// It is worth less than the minimum. Only this says that something is too small to be sold.
    BelowMinimum,
    /// It is too large, there are too many orders, or the market does not take it now.
    Size,
    /// It was maker-only and would have taken liquidity.
    MakerOnly,
    /// Anything else.
    Other,
}

/// What the exchange says of one order at one moment, from the stream or from an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderReport {
    /// `orderLinkId`; empty for orders placed by hand.
    pub link_id: String,
    /// The exchange's own id of the order.
    pub order_id: String,
    /// What was asked for.
    pub spec: OrderSpec,
    /// Where it stands.
    pub status: OrderStatus,
    /// `cumExecQty`, in base coin.
    pub executed_quantity: Decimal,
    /// `cumExecValue`, in quote coin.
    pub executed_value: Decimal,
    /// Why the exchange did not let it rest, if that is why it ended (`EC_PostOnlyWillTakeLiquidity`,
    /// `EC_ReachRiskPriceLimit`, `EC_ReachMarketPriceLimit`).
    pub refusal: Option<Refusal>,
    /// `rejectReason` or `cancelType`, for people; may be empty.
    pub reason: String,
    /// When the exchange accepted it.
    pub created: Timestamp,
    /// When the exchange last changed it.
    pub updated: Timestamp,
}

/// One fill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Execution {
    /// Unique; each execution is booked once.
    pub exec_id: String,
    /// `orderLinkId`; empty for orders placed by hand.
    pub link_id: String,
    /// The exchange's own id of the order.
    pub order_id: String,
    /// Which way.
    pub side: Side,
    /// In quote coin.
    pub price: Decimal,
    /// In base coin.
    pub quantity: Decimal,
    /// `execValue`, in quote coin, as the exchange gives it.
    pub value: Decimal,
    /// In `fee_coin`; negative for a rebate.
    pub fee: Decimal,
    /// The coin the fee was taken in.
    pub fee_coin: String,
    /// Whether the order rested (maker) or took (taker).
    pub maker: bool,
    /// When it happened, by the exchange's clock.
    pub time: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bot() -> BotName {
        BotName::new("btc").unwrap()
    }

    #[test]
    fn a_name_is_computed_and_read_back() {
        for (slot, text) in [(Slot::Buy(0), "btc-17-0b-1"), (Slot::Sell(3), "btc-17-3s-1"), (Slot::Exit, "btc-17-0x-1")]
        {
            let key = OrderKey { cycle: 17, slot, attempt: 1 };
            assert_eq!(key.link_id(&bot()), text);
            assert_eq!(OrderKey::of_link_id(&bot(), text), Some(key));
        }
    }

    #[test]
    fn the_longest_name_fits_the_exchange() {
        let key = OrderKey { cycle: LAST_CYCLE, slot: Slot::Buy(100), attempt: u32::MAX };
        let link_id = key.link_id(&BotName::new("abcdefgh").unwrap());
        assert!(link_id.len() <= 36, "{link_id}");
    }

    #[test]
    fn names_of_others_are_not_ours() {
        let names = " btc btc-1 btc-1-0b eth-1-0b-1 btc2-1-0b-1 btc-1-0b-1- btc-01-0b-1 btc-1-0b-+1 btc-1-300b-1 \
                     btc-1-1x-1 btc-1-0q-1 btc-1--1 BTC-1-0b-1 btc-10000000000-0b-1 btc-1-0b-4294967295";
        for text in names.split(' ') {
            assert_eq!(OrderKey::of_link_id(&bot(), text), None, "{text:?}");
        }
    }

    #[test]
    fn bot_names_are_short_and_plain() {
        assert!(BotName::new("a1").is_ok());
        for name in ["", "abcdefghi", "Btc", "b-c", "b c", "é"] {
            assert!(BotName::new(name).is_err(), "{name:?}");
        }
    }
}
