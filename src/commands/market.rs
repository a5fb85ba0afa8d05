//! The market of the simulated exchange, as the command line asks for it.

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};

use crate::bybit::public::{MarketSignal, PublicStream};
use crate::bybit::{Environment, Hosts, StreamHandle, StreamTimings, Tls};
use crate::command_line::{Assumptions, CandlePath};
use crate::core::parameters::Parameters;
use crate::core::{Decimal, Timestamp, ladder, money};
use crate::exit::{Exit, Failure};
use crate::inspection::plan::assumed_instrument;
use crate::simulation::market::random_walk::Liveliness;
use crate::simulation::market::{Candles, Market, Path as CandleOrder, PricePoint, RandomWalk, Recording};
use crate::simulation::settings::{AccountSettings, DEFAULT_KEY, DEFAULT_SECRET, Listing};
use crate::simulation::{Exchange, Settings};

/// When the random walk begins: 2026-01-01 00:00 UTC.
const WALK_BEGINS: Timestamp = Timestamp(1_767_225_600_000);
/// The account's quote coin; more if the ladder needs more.
const QUOTE_BALANCE: Decimal = Decimal::from_parts(10_000, 0, 0, false, 0);
/// How long the live market may take to show its first price.
const FIRST_QUOTE: Duration = Duration::from_secs(20);

/// How the exchange lists a symbol: `BTCUSDT` and `ETHUSDT` as Bybit does, others with filters that fit most.
pub fn listing(symbol: &str) -> Listing {
    let known =
        [Listing::btcusdt(), Listing::ethusdt()].into_iter().find(|listing| listing.instrument.symbol == symbol);
    known.unwrap_or_else(|| Listing {
        instrument: assumed_instrument(symbol),
        start_price: Decimal::ONE_HUNDRED,
        ..Listing::btcusdt()
    })
}

/// The same, but market orders trade this many per cent worse than the best price.
pub fn slipping(symbol: &str, percent: Decimal) -> Listing {
    Listing { slippage: money::fraction(percent), ..listing(symbol) }
}

/// The candles of a file, to be played more than once. They are kept beside it in a faster form, unless `no_cache`.
///
/// # Errors
/// [`Failure`] that names file, line and column.
pub fn recording(file: &Path, listing: &Listing, no_cache: bool) -> Result<Recording, Failure> {
    let tick_size = listing.instrument.tick_size;
    let recording = if no_cache { Recording::read(file, tick_size) } else { Recording::open(file, tick_size) };
    recording.map_err(|error| Failure::new(Exit::Configuration, error))
}

/// In which order the prices of a candle came.
pub fn order(path: CandlePath) -> CandleOrder {
    match path {
        CandlePath::Nearest => CandleOrder::Nearest,
        CandlePath::Pessimistic => CandleOrder::HighFirst,
        CandlePath::Optimistic => CandleOrder::LowFirst,
    }
}

/// An exchange with this one listing, and an account with money enough for the parameters.
pub fn settings(parameters: &Parameters, listing: Listing) -> Settings {
    let cost = ladder::cost(parameters).unwrap_or(parameters.max_capital);
    let balance = QUOTE_BALANCE.max(cost + cost);
    let account = AccountSettings::new(DEFAULT_KEY, DEFAULT_SECRET, &listing.instrument.quote_coin, balance);
    Settings { listings: vec![listing], accounts: vec![account], ..Settings::default() }
}

/// The exchange of a backtest, and an account with money enough for the parameters.
pub fn backtest_exchange(parameters: &Parameters, listing: Listing, assumed: &Assumptions) -> Exchange {
    let (maker_fee, taker_fee) = (assumed.fee_maker, assumed.fee_taker);
    Exchange::new(Settings { maker_fee, taker_fee, ..settings(parameters, listing) })
}

/// The walk of a seed.
pub fn random(seed: u64, listing: &Listing) -> Box<dyn Market + Send> {
    let (price, tick) = (listing.start_price, listing.instrument.tick_size);
    Box::new(RandomWalk::new(seed, WALK_BEGINS, price, tick, Liveliness::default()))
}

/// The candles of a file.
///
/// # Errors
/// [`Failure`] that names file, line and column.
pub fn candles(path: &Path) -> Result<Box<dyn Market + Send>, Failure> {
    let candles = Candles::open(path).map_err(|error| Failure::new(Exit::Configuration, error))?;
    Ok(Box::new(candles))
}

/// The live market: the thread that reads it, its first price, and the channel of all that follow.
pub struct Live {
    /// The thread that reads the stream.
    pub stream: StreamHandle,
    /// The first price.
    pub first: PricePoint,
    /// The prices after it.
    pub points: Receiver<PricePoint>,
}

/// Follows Bybit's public prices, or those of another host, once the first has come.
///
/// # Errors
/// [`Failure`] when the address is wrong or no price comes.
pub fn live(symbol: &str, public_stream: Option<&str>, tls: &Tls) -> Result<Live, Failure> {
    let hosts = Hosts::new(Environment::Mainnet, None, None, public_stream)
        .map_err(|error| Failure::new(Exit::CommandLine, error))?;
    let address = hosts.public_stream_url;
    let wanted = PublicStream {
        address: address.clone(),
        tls: tls.clone(),
        symbol: symbol.to_owned(),
        timings: StreamTimings::default(),
    };
    let (signals, received) = unbounded();
    let bug = |error: std::io::Error| Failure::new(Exit::Bug, format!("no thread for the market: {error}"));
    let stream = wanted.spawn(signals).map_err(bug)?;
    let (sender, points) = unbounded();
    let forward = move || {
        for signal in received {
            match signal {
                MarketSignal::Up => log::info!("live market up"),
                MarketSignal::Down(reason) => log::warn!("live market down: {reason}"),
                MarketSignal::Quote(quote) => {
                    if sender.send(PricePoint::new(quote.time, quote.last)).is_err() {
                        return;
                    }
                }
            }
        }
    };
    std::thread::Builder::new().name("market-points".to_owned()).spawn(forward).map_err(bug)?;
    match points.recv_timeout(FIRST_QUOTE) {
        Ok(first) => Ok(Live { stream, first, points }),
        Err(_) => {
            stream.stop();
            let seconds = FIRST_QUOTE.as_secs();
            let message = format!("{address}: no price of {symbol} within {seconds} s: check symbol and network");
            Err(Failure::new(Exit::Unreachable, message))
        }
    }
}
