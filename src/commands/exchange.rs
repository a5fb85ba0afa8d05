//! `recompra exchange`: the simulated exchange alone, for any client of Bybit V5 spot.

use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};

use super::market;
use crate::bybit::{StreamHandle, Tls};
use crate::command_line;
use crate::core::Decimal;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::simulation::driver::{Driver, Pace, PriceSource};
use crate::simulation::server::{Server, ServerOptions};
use crate::simulation::settings::AccountSettings;
use crate::simulation::tls::TlsFront;
use crate::simulation::{Exchange, Hub, Settings};
use crate::wall_clock::wall_clock;

/// What the account owns, in quote coin.
const QUOTE_BALANCE: Decimal = Decimal::from_parts(100_000, 0, 0, false, 0);

/// Serves until a signal ends it.
///
/// # Errors
/// [`Failure`] when the market, the certificate or the address is not usable.
pub fn exchange(options: &command_line::Exchange) -> Result<(), Failure> {
    let (stop, stopped) = bounded(1);
    // A second signal finds the channel full: the first is being obeyed.
    let handler = move || {
        let _ = stop.try_send(());
    };
    ctrlc::set_handler(handler)
        .map_err(|error| Failure::new(Exit::Bug, format!("signals cannot be handled: {error}")))?;
    let mut listing = market::listing(&options.symbol);
    let (source, _stream) = source(options, &mut listing.start_price)?;
    let quote_coin = listing.instrument.quote_coin.clone();
    let settings = Settings {
        listings: vec![listing],
        accounts: vec![AccountSettings::new(&options.key, &options.secret, &quote_coin, QUOTE_BALANCE)],
        maker_fee: options.fee_maker,
        taker_fee: options.fee_taker,
        ..Settings::default()
    };
    // A client may remember ids of an exchange that ran here before.
    let hub = Hub::on_wall_clock(Exchange::new(settings.with_ids_from(wall_clock())));
    serve(options, &hub, source, &stopped)
}

fn serve(
    options: &command_line::Exchange,
    hub: &Arc<Hub>,
    source: PriceSource,
    stopped: &Receiver<()>,
) -> Result<(), Failure> {
    let refused = |error: std::io::Error| Failure::new(Exit::CommandLine, format!("{}: {error}", options.listen));
    let plain = ServerOptions::default();
    let (_server, front, address) = match &options.tls {
        None => {
            let server = Server::start(options.listen, Arc::clone(hub), plain).map_err(refused)?;
            let address = server.address();
            (server, None, address)
        }
        Some(files) => {
            let read = |path: &std::path::Path| {
                std::fs::read(path)
                    .map_err(|error| Failure::new(Exit::CommandLine, format!("{}: {error}", path.display())))
            };
            let (certificate, key) = (read(&files.certificate)?, read(&files.key)?);
            let server = Server::start("127.0.0.1:0", Arc::clone(hub), plain).map_err(refused)?;
            let front = TlsFront::start(options.listen, &certificate, &key, server.address()).map_err(refused)?;
            let address = front.address();
            (server, Some(front), address)
        }
    };
    let (http, ws) = if front.is_some() { ("https", "wss") } else { ("http", "ws") };
    output::print(&format!(
        "REST            {http}://{address}\nprivate stream  {ws}://{address}/v5/private\n\
         public stream   {ws}://{address}/v5/public/spot\n{}, one account with {QUOTE_BALANCE} and key {:?}; Ctrl-C ends it\n",
        options.symbol, options.key
    ))?;
    let mut driver = Driver::start(Arc::clone(hub), options.symbol.clone(), source)
        .map_err(|error| Failure::new(Exit::Bug, format!("no thread for the market: {error}")))?;
    // A disconnected channel means that the handler is gone, and nothing could end this.
    let _ = stopped.recv();
    driver.stop();
    Ok(())
}

/// Where prices come from, and the thread that must live as long as they are wanted.
fn source(
    options: &command_line::Exchange,
    start_price: &mut Decimal,
) -> Result<(PriceSource, Option<StreamHandle>), Failure> {
    let market = &options.market;
    let pace = Pace::of_speed(market.speed.unwrap_or(1));
    let listing = market::listing(&options.symbol);
    Ok(match &market.market {
        command_line::Market::Random => {
            (PriceSource::Market(market::random(market.seed.unwrap_or_else(rand::random), &listing), pace), None)
        }
        command_line::Market::File(path) => {
            let mut candles = market::candles(path)?;
            let first = candles.next().map_err(|error| Failure::new(Exit::Configuration, error))?;
            if let Some(point) = first {
                *start_price = point.price;
            }
            (PriceSource::Market(candles, pace), None)
        }
        command_line::Market::Live => {
            let tls = Tls::build(None).map_err(|error| Failure::new(Exit::Configuration, error))?;
            let live = market::live(&options.symbol, market.public_stream.as_deref(), &tls)?;
            *start_price = live.first.price;
            (PriceSource::Live(live.points), Some(live.stream))
        }
    })
}
