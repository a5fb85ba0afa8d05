//! The bot over a recorded market: the same engine, strategy, ledger and fill rules as live, without a wire and
//! without waiting.
//!
//! In: an exchange on which nothing has happened, a market, the strategy's parameters. Out: every record, to whoever
//! watches, and the ledger at the end. The same market through [`crate::simulation::lockstep`] gives the same records.

pub mod course;
pub mod summary;

use std::time::Duration;

use crate::core::ledger::Ledger;
use crate::core::order::BotName;
use crate::core::parameters::Parameters;
use crate::core::strategy::Goal;
use crate::core::{Decimal, Timestamp};
use crate::engine::ports::{Clock as _, Observer};
use crate::engine::{Engine, EngineConfig, Failure, STREAM_PATIENCE, World};
use crate::journal::Forgetful;
use crate::simulation::Exchange;
use crate::simulation::direct::Direct;
use crate::simulation::market::{Market, MarketError};

/// Longer than any recording.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// How the engine runs where bot and exchange share one clock and time passes only while the bot waits: no message is ever
/// lost, so there is nothing to look for after the first reconciliation, and no connection grows old.
pub fn config(bot: &BotName, parameters: &Parameters) -> EngineConfig {
    EngineConfig {
        reconcile_interval: NEVER,
        heartbeat_interval: NEVER,
        stream_patience: STREAM_PATIENCE,
        ..EngineConfig::new(bot.clone(), "paper", parameters.clone(), Goal::Trade)
    }
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct End {
    /// Everything the bot knew.
    pub ledger: Ledger,
    /// When: the market's last moment, or when the last of `max_cycles` was done.
    pub time: Timestamp,
    /// The last price then, in quote coin.
    pub price: Decimal,
}

/// Why a run did not end.
#[derive(Debug)]
pub enum Obstacle {
    /// The market.
    Market(MarketError),
    /// The engine.
    Engine(Failure),
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Market(error) => error.fmt(f),
            Self::Engine(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for Obstacle {}

/// Lets the bot trade until the market ends or `max_cycles` are done.
///
/// # Errors
/// [`Obstacle`]: the market has no price or something wrong in it, or the ladder breaks a rule of the exchange.
pub fn run<M: Market>(
    exchange: Exchange,
    market: M,
    bot: &BotName,
    parameters: &Parameters,
    observer: &mut dyn Observer,
) -> Result<End, Obstacle> {
    let direct = Direct::new(exchange, &parameters.symbol, market).map_err(Obstacle::Market)?;
    let (mut port, mut feed, mut journal) = (direct.clone(), direct.clone(), Forgetful);
    let world = World { exchange: &mut port, feed: &mut feed, clock: &direct, journal: &mut journal, observer };
    let mut engine = Engine::new(world, config(bot, parameters), Ledger::default());
    engine.run().map_err(Obstacle::Engine)?;
    if let Some(error) = direct.market_error() {
        return Err(Obstacle::Market(error));
    }
    let price = direct.exchange().book(&parameters.symbol).map_or(Decimal::ZERO, |book| book.bid());
    Ok(End { ledger: engine.into_ledger(), time: direct.now(), price })
}
