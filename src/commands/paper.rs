//! `recompra paper`: the whole bot against the exchange inside the binary, over loopback HTTP and WebSocket, with money
//! that is not real. It needs no file, no key and no network, except for the live market.
//!
//! On a random walk or recorded candles, bot and exchange share one virtual clock and move in lockstep: one seed gives
//! one result, at any speed. On the live market both follow the wall clock.

use std::io::{self, Stdout, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use serde_json::json;

use super::{load_or_example, market};
use crate::backtest;
use crate::bybit::{
    Client, Credentials, Environment, ExchangeClock, Hosts, HttpLimits, HttpTransport, PrivateStream, StreamTimings,
    Tls,
};
use crate::command_line;
use crate::config::Config;
use crate::core::Decimal;
use crate::core::ledger::Ledger;
use crate::core::money::text;
use crate::core::strategy::Goal;
use crate::engine::ports::{AdjustableClock, Feed, Signal, StopWish};
use crate::engine::{Engine, EngineConfig, STREAM_PATIENCE, World};
use crate::exit::{Exit, Failure};
use crate::journal::Forgetful;
use crate::live::LiveFeed;
use crate::live::on_signals;
use crate::narrator::{Form, Narrator, cycles, signed};
use crate::output;
use crate::simulation::driver::{Driver, Pace, PriceSource};
use crate::simulation::lockstep::Lockstep;
use crate::simulation::server::{Server, ServerOptions};
use crate::simulation::settings::{DEFAULT_KEY, DEFAULT_SECRET};
use crate::simulation::{Exchange, Hub};

/// Market seconds that pass in one second, if nobody says otherwise.
const SPEED: u32 = 60;
/// The random walk's seed, if nobody says otherwise.
const SEED: u64 = 1;

/// `recompra paper`.
///
/// # Errors
/// [`Failure`] when the configuration or the market is wrong.
pub fn paper(options: &command_line::Paper) -> Result<(), Failure> {
    let mut config = load_or_example(options.config.as_deref())?;
    if let Some(cycles) = options.cycles {
        config.parameters.max_cycles = cycles;
    }
    let wishes = &options.market;
    let pace = Pace::of_speed(wishes.speed.unwrap_or(SPEED));
    let listing = market::listing(&config.parameters.symbol);
    match &wishes.market {
        command_line::Market::Random => {
            in_lockstep(&config, options, market::random(wishes.seed.unwrap_or(SEED), &listing), pace)
        }
        command_line::Market::File(path) => in_lockstep(&config, options, market::candles(path)?, pace),
        command_line::Market::Live => live(&config, options),
    }
}

fn exchange_for(config: &Config, start_price: Option<Decimal>) -> Exchange {
    let mut listing = market::listing(&config.parameters.symbol);
    listing.start_price = start_price.unwrap_or(listing.start_price);
    Exchange::new(market::settings(&config.parameters, listing))
}

fn in_lockstep(
    config: &Config,
    options: &command_line::Paper,
    market: Box<dyn crate::simulation::market::Market + Send>,
    pace: Pace,
) -> Result<(), Failure> {
    let wrong = |error| Failure::new(Exit::Configuration, error);
    let symbol = &config.parameters.symbol;
    let lockstep = Lockstep::new(exchange_for(config, None), symbol, market, pace).map_err(wrong)?;
    let (signals, received) = unbounded();
    let feed = lockstep.feed(received);
    on_signals(signals.clone(), StopWish::Leave, Arc::new(AtomicBool::new(false)))?;
    let engine = backtest::config(&config.bot, &config.parameters);
    trade(config, options, &lockstep.hub(), &lockstep, feed, signals, engine)?;
    if lockstep.market_has_ended() && !options.json {
        output::print("the market ended there\n")?;
    }
    lockstep.market_error().map_or(Ok(()), |error| Err(wrong(error)))
}

fn live(config: &Config, options: &command_line::Paper) -> Result<(), Failure> {
    let tls = Tls::build(config.ca_file.as_deref()).map_err(|error| Failure::new(Exit::Configuration, error))?;
    let public_stream = options.market.public_stream.as_deref().or(config.public_stream_url.as_deref());
    let symbol = &config.parameters.symbol;
    let market = market::live(symbol, public_stream, &tls)?;
    let hub = Hub::on_wall_clock(exchange_for(config, Some(market.first.price)));
    let bug = |error: std::io::Error| Failure::new(Exit::Bug, format!("no thread for the market: {error}"));
    let mut driver = Driver::start(Arc::clone(&hub), symbol.clone(), PriceSource::Live(market.points)).map_err(bug)?;
    let stop = Arc::new(AtomicBool::new(false));
    let clock = ExchangeClock::new(Arc::clone(&stop));
    let (signals, received): (Sender<Signal>, Receiver<Signal>) = unbounded();
    on_signals(signals.clone(), StopWish::Leave, stop)?;
    let feed = LiveFeed::new(received, &clock, None, None);
    let engine = EngineConfig {
        stream_patience: STREAM_PATIENCE,
        ..EngineConfig::new(config.bot.clone(), "paper", config.parameters.clone(), Goal::Trade)
    };
    let result = trade(config, options, &hub, &clock, feed, signals, engine);
    driver.stop();
    market.stream.stop();
    result
}

/// Serves the exchange on loopback and lets the bot trade on it through real sockets.
fn trade<C: AdjustableClock + Clone + Send + Sync + 'static>(
    config: &Config,
    options: &command_line::Paper,
    hub: &Arc<Hub>,
    clock: &C,
    mut feed: impl Feed,
    signals: Sender<Signal>,
    engine: EngineConfig,
) -> Result<(), Failure> {
    let bug = |error: String| Failure::new(Exit::Bug, error);
    let server = Server::start("127.0.0.1:0", Arc::clone(hub), ServerOptions::default())
        .map_err(|error| bug(format!("the exchange cannot listen on loopback: {error}")))?;
    let (rest, stream) = (format!("http://{}", server.address()), format!("ws://{}/v5/private", server.address()));
    let hosts =
        Hosts::new(Environment::Demo, Some(&rest), Some(&stream), None).map_err(|error| bug(error.to_string()))?;
    // Loopback is plain: no roots need to be read.
    let tls = Tls::none();
    let credentials = Credentials::new(DEFAULT_KEY, DEFAULT_SECRET).map_err(bug)?;
    let symbol = &config.parameters.symbol;
    // Time stands still meanwhile: what the exchange hears first must not depend on the machine.
    let limits = HttpLimits { at_once: 1, ..HttpLimits::default() };
    let transport = HttpTransport::new(&hosts.rest_url, &tls, limits);
    let mut client = Client::new(transport, clock.clone(), symbol, Some(credentials.clone()));
    let stream = PrivateStream {
        address: hosts.stream_url,
        tls,
        credentials,
        clock: Arc::new(clock.clone()),
        symbol: symbol.clone(),
        timings: StreamTimings::default(),
    };
    let stream = stream
        .spawn(signals.clone())
        .map_err(|error| bug(format!("the stream's thread cannot be started: {error}")))?;
    let form = if options.json { Form::Json } else { Form::Text };
    let mut narrator = Narrator::new(EndsTheBot { output: std::io::stdout(), signals: signals.clone() }, form);
    let mut journal = Forgetful;
    let world = World { exchange: &mut client, feed: &mut feed, clock, journal: &mut journal, observer: &mut narrator };
    let began = clock.now();
    let mut engine = Engine::new(world, engine, Ledger::default());
    let outcome = engine.run();
    let (ledger, duration) = (engine.into_ledger(), clock.now().since(began));
    let told =
        output::outcome(narrator.into_outcome()).and_then(|()| output::print(&result(&ledger, duration, options.json)));
    stream.join();
    outcome.map(drop).map_err(Failure::from).and(told)
}

/// Standard output of a bot that nobody needs once nobody listens: when it fails, the bot is asked to stop.
struct EndsTheBot {
    output: Stdout,
    signals: Sender<Signal>,
}

impl EndsTheBot {
    fn checked<T>(&self, written: io::Result<T>) -> io::Result<T> {
        // Nobody listens any more only when the engine has ended already.
        written.inspect_err(|_| drop(self.signals.send(Signal::Stop(StopWish::Leave))))
    }
}

impl Write for EndsTheBot {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let written = self.output.write(text);
        self.checked(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.output.flush();
        self.checked(flushed)
    }
}

/// What came of it, in whole lines.
fn result(ledger: &Ledger, duration: Duration, as_json: bool) -> String {
    let totals = &ledger.totals;
    let held = ledger.cycle.as_ref().map_or_else(|| ledger.carry.clone(), crate::core::ledger::Cycle::held);
    let fees = || totals.fees.iter().map(|(coin, fee)| (coin.clone(), text(*fee)));
    if as_json {
        let fees: serde_json::Map<_, _> = fees().map(|(coin, fee)| (coin, fee.into())).collect();
        return format!(
            "{}\n",
            json!({
                "type": "result",
                "cycles": totals.cycles,
                "profit": text(totals.profit),
                "executions": totals.executions,
                "fees": fees,
                "held": { "quantity": text(held.quantity), "cost": text(held.cost) },
                "market_seconds": duration.as_secs(),
            })
        );
    }
    let (base, quote) = ledger
        .instrument
        .as_ref()
        .map_or(("", ""), |instrument| (instrument.base_coin.as_str(), instrument.quote_coin.as_str()));
    let dust = if held.cost.is_zero() { " (dust)" } else { "" };
    let fees: Vec<String> = fees().map(|(coin, fee)| format!("{fee} {coin}")).collect();
    let earned = format!(
        "\n{} in {} of market time: {} {quote} after fees, {} executions, fees {}",
        cycles(totals.cycles),
        humantime::format_duration(Duration::from_secs(duration.as_secs())),
        signed(totals.profit),
        totals.executions,
        if fees.is_empty() { "none".to_owned() } else { fees.join(" and ") }
    );
    let (quantity, cost) = (text(held.quantity), text(held.cost));
    format!("{earned}\nheld now: {quantity} {base}{dust}, which cost {cost} {quote}\n")
}
