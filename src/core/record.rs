//! The facts that the journal holds, in order. The ledger is what they add up to.
//!
//! A record is written before it takes effect: before an order is sent ([`Record::OrderPlanned`]), before a
//! cancel is asked for, before a fill changes what the strategy sees.

use serde::{Deserialize, Serialize};

use super::instrument::Instrument;
use super::money::Decimal;
pub use super::order::Refusal;
use super::order::{BotName, Execution, OrderKey, OrderSpec, OrderStatus};
use super::parameters::Parameters;
use super::time::Timestamp;

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Record {
    /// The first line of each journal file.
    Journal {
        /// The version of the format; a program refuses one newer than its own.
        format: u32,
    },
    /// A process began to trade.
    Started {
        /// The program's version.
        version: String,
        /// `demo`, `testnet`, `mainnet` or `paper`.
        environment: String,
        /// The bot's name.
        bot: BotName,
        /// The parameters from here on.
        parameters: Parameters,
    },
    /// The process stopped in order.
    Stopped {
        /// Why, for people.
        reason: String,
    },
    /// The process has compared everything with the exchange and nothing is in doubt. From here on it misses nothing.
    Reconciled,
    /// The instrument as it is from here on.
    InstrumentSeen {
        /// Coins and filters.
        instrument: Instrument,
    },
    /// A cycle began.
    CycleOpened {
        /// Its number.
        cycle: u64,
        /// When, by the exchange's clock; earlier than this record if the cycle was found on the exchange.
        began: Timestamp,
    },
    /// An order is about to be sent. Until a later record settles it, its fate is unknown.
    OrderPlanned {
        /// Its name.
        key: OrderKey,
        /// What it asks for.
        spec: OrderSpec,
        /// For sells: what they offer.
        offer: Option<Offer>,
        /// Why it exists, and the numbers it was computed from.
        reason: Reason,
    },
    /// The exchange accepted the order.
    OrderAccepted {
        /// Its name.
        key: OrderKey,
        /// The exchange's id of it.
        order_id: String,
    },
    /// The exchange certainly did not accept the order.
    OrderRefused {
        /// Its name.
        key: OrderKey,
        /// What kind of refusal, for the next attempt.
        refusal: Refusal,
        /// What the exchange said.
        message: String,
    },
    /// The order certainly never arrived; its name is still free.
    OrderAbsent {
        /// Its name.
        key: OrderKey,
    },
    /// The exchange refused the order because an earlier one used its name. The fate of that one is still unknown; the name
    /// is never free again.
    NameTaken {
        /// Its name.
        key: OrderKey,
    },
    /// Somebody amended the order on the exchange.
    OrderAmended {
        /// Its name.
        key: OrderKey,
        /// What it asks for now.
        spec: OrderSpec,
    },
    /// The order is closed on the exchange. It is settled once executions of this quantity are booked.
    OrderClosed {
        /// Its name.
        key: OrderKey,
        /// How it ended.
        status: OrderStatus,
        /// All that was executed, in base coin.
        executed_quantity: Decimal,
        /// All that was executed, in quote coin.
        executed_value: Decimal,
        /// Why the exchange did not let it rest, if that is why it ended. Earlier versions wrote `maker_only_refused`, true or
        /// false.
        #[serde(default, alias = "maker_only_refused", deserialize_with = "refusal_or_flag")]
        refusal: Option<Refusal>,
        /// What the exchange said; may be empty.
        message: String,
    },
    /// The exchange no longer tells of the order, and says that there is nothing to cancel: it has ended with what is booked of
    /// it. Executions that turn up later are booked all the same.
    OrderUntold {
        /// Its name.
        key: OrderKey,
    },
    /// The exchange has an order of this bot that the journal does not know: its tail, or all of it, was lost.
    OrderAdopted {
        /// Its name.
        key: OrderKey,
        /// The exchange's id of it.
        order_id: String,
        /// What it asks for.
        spec: OrderSpec,
        /// For sells: what they offer.
        offer: Option<Offer>,
    },
    /// A fill.
    Executed {
        /// The order's name.
        key: OrderKey,
        /// The fill as the exchange reported it.
        execution: Execution,
    },
    /// A cancel is about to be sent.
    CancelAsked {
        /// The order's name.
        key: OrderKey,
    },
    /// The order is still open although its cancel was asked for. It may be asked for again.
    CancelFailed {
        /// The order's name.
        key: OrderKey,
    },
    /// The cycle is to be closed at market.
    ExitDecided {
        /// Why.
        cause: ExitCause,
    },
    /// No order of the cycle rests or is in flight. What is still held goes to the next cycle.
    CycleClosed {
        /// Its number.
        cycle: u64,
        /// Net proceeds less the cost of what was sold, in quote coin; fees in other coins are not in it.
        profit: Decimal,
    },
    /// Base coin that was held is gone, or may be. It is written off the lots that are not offered, deepest level first; its
    /// cost is a loss.
    CoinsMissing {
        /// In base coin.
        quantity: Decimal,
        /// Why it no longer counts as held. Older journals do not say.
        #[serde(default)]
        cause: MissingCause,
        /// Whether its cost counts against `max_capital` until a person has seen it. Earlier versions let it be spent again.
        #[serde(default)]
        counts: bool,
    },
    /// Something does not add up, or was lost: a person should know of it.
    Alarmed {
        /// What kind; alarms of different kinds are independent.
        cause: AlarmCause,
        /// What is wrong, and what to do.
        message: String,
    },
    /// The cause of the alarm is resolved.
    AlarmCleared {
        /// Which alarm.
        cause: AlarmCause,
    },
    /// What the bot waits for from here on; written when that begins, changes by much, or is over.
    Waits(Waits),
    /// What a lost journal is rebuilt from: all of these, in this order. They share one line of the journal, because half of
    /// them would make a wrong ledger.
    Rebuilt {
        /// What happened, by the exchange's account.
        records: Vec<Record>,
    },
    /// What all earlier records add up to; they may be dropped.
    Snapshot {
        /// The ledger.
        ledger: Box<super::ledger::Ledger>,
    },
}

impl Record {
    /// The facts in it: those it contains, or itself.
    pub fn facts(&self) -> &[Record] {
        match self {
            Self::Rebuilt { records } => records,
            record => std::slice::from_ref(record),
        }
    }
}

/// What a sell offers: which lots, and their cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The levels whose lots it takes from; what it leaves stays with the first.
    pub levels: Vec<u8>,
    /// The part of their cost that goes with it, in quote coin.
    pub cost: Decimal,
}

/// Why an order exists, with the numbers its price and quantity came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It opens the cycle.
    Base,
    /// It waits below the base order.
    Rebuy {
        /// The base order's average price.
        base_price: Decimal,
        /// The level's amount by the parameters, in quote coin.
        amount: Decimal,
    },
    /// It takes the profit.
    TakeProfit {
        /// The cost it must return, in quote coin.
        cost: Decimal,
        /// The profit asked for, net of fees, in percent.
        take_profit_percent: Decimal,
        /// The fee rate expected when it was placed, as a fraction.
        fee_rate: Decimal,
    },
    /// It closes the cycle at market.
    Exit,
}

fn refusal_or_flag<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Refusal>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Flag(bool),
        Refusal(Option<Refusal>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::Flag(maker_only) => maker_only.then_some(Refusal::MakerOnly),
        Either::Refusal(refusal) => refusal,
    })
}

/// Why base coin no longer counts as held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingCause {
    /// It has left the account, as the wallet has said several times.
    #[default]
    LeftAccount,
    /// It was not offered when an absence began that was longer than the exchange's memory: an order that the journal lost
    /// may have sold it.
    LongAbsence,
    /// The exchange has forgotten the order that offered it: it may have been sold.
    OrderForgotten,
}

/// What the bot waits for that others must bring about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// Money for the next base order.
    pub funds: Option<Shortfall>,
    /// Any answer of the exchange, since then.
    pub silent_since: Option<Timestamp>,
}

/// Too little money for what the ladder may still cost, in quote coin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortfall {
    /// What it may still cost.
    pub needed: Decimal,
    /// What there is.
    pub free: Decimal,
    /// Since when it is too little.
    pub since: Timestamp,
}

/// What kind of alarm it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlarmCause {
    /// Orders with this bot's prefix that it does not know. Cleared when they are gone.
    Strays,
    /// The exchange refuses key, configuration or symbol, or wants something of a person. Cleared when it no longer does. It
    /// does not stop buys by itself: they are refused, and tried ever more slowly.
    Refused,
    /// What became of an order is not known, because the exchange tells nothing of it: it may be filled. Cleared when it is told.
    Untold,
    /// The exchange has forgotten what is needed to know the holdings. Cleared by a person who lets the bot close its
    /// position.
    LostHistory,
    /// Coins are gone that were paid for. It does not stop buys by itself: the capital does, of which less is left. Cleared by a
    /// person who lets all of it be spent again.
    CoinsLeft,
}

impl AlarmCause {
    /// Whether nothing is bought while it is raised.
    pub fn forbids_buys(self) -> bool {
        match self {
            Self::Strays | Self::Untold | Self::LostHistory => true,
            Self::Refused | Self::CoinsLeft => false,
        }
    }
}

/// Why a cycle is closed at market.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCause {
    /// The price fell to the stop loss.
    StopLoss {
        /// The last price seen.
        price: Decimal,
        /// The price at which it triggers.
        trigger: Decimal,
    },
    /// The cycle grew older than `time_limit`.
    TimeLimit,
    /// The user asked for it.
    Close,
    /// It was decided before the journal was lost: an order of the exit was found on the exchange.
    Found,
}
