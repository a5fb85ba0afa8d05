//! The exchange that a configuration names: clock, TLS, REST client and the private stream's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::sane_clock::{Surroundings, await_time, is_unset};
use crate::bybit::{
    Client, Credentials, ExchangeClock, Hosts, HttpLimits, HttpTransport, PrivateStream, StreamHandle, StreamTimings,
    Tls,
};
use crate::config::credentials::Found;
use crate::config::{Config, Variables, credentials};
use crate::core::Timestamp;
use crate::engine::ports::{Clock as _, Exchange as _, Fault, Signal};
use crate::exit::{Exit, Failure};
use crate::wall_clock::wall_clock;

/// While this machine's clock is not set, it is looked at this often.
const CLOCK_PAUSE: Duration = Duration::from_secs(2);

/// What is needed to reach the exchange that a configuration names.
pub struct LiveExchange {
    /// The time.
    pub clock: ExchangeClock,
    /// The one TLS connector.
    pub tls: Tls,
    /// REST.
    pub client: Client<HttpTransport>,
    hosts: Hosts,
    symbol: String,
    credentials: Option<Credentials>,
}

impl LiveExchange {
    /// Prepares everything; nothing is connected yet. Sleeps end early when `stop` is set.
    ///
    /// # Errors
    /// [`Failure`] when an address or the certificates are not usable.
    pub fn new(config: &Config, credentials: Option<Credentials>, stop: Arc<AtomicBool>) -> Result<Self, Failure> {
        let wrong = |error: String| Failure::new(Exit::Configuration, error);
        let hosts = Hosts::new(
            config.environment,
            config.rest_url.as_deref(),
            config.stream_url.as_deref(),
            config.public_stream_url.as_deref(),
        )
        .map_err(|error| wrong(error.to_string()))?;
        let tls = Tls::build(config.ca_file.as_deref()).map_err(|error| wrong(error.to_string()))?;
        let clock = ExchangeClock::new(stop);
        let transport = HttpTransport::new(&hosts.rest_url, &tls, HttpLimits::default());
        let symbol = config.parameters.symbol.clone();
        let client = Client::new(transport, clock.clone(), &symbol, credentials.clone());
        Ok(Self { clock, tls, client, hosts, symbol, credentials })
    }

    /// Starts the private stream's thread, which tells `listener`.
    ///
    /// # Errors
    /// [`Failure`] when there are no credentials or the system has no thread left.
    pub fn stream(&self, listener: Sender<Signal>) -> Result<StreamHandle, Failure> {
        let bug = |message: String| Failure::new(Exit::Bug, message);
        let credentials = self.credentials.clone().ok_or_else(|| bug("a stream without credentials".to_owned()))?;
        let stream = PrivateStream {
            address: self.hosts.stream_url.clone(),
            tls: self.tls.clone(),
            credentials,
            clock: Arc::new(self.clock.clone()),
            symbol: self.symbol.clone(),
            timings: StreamTimings::default(),
        };
        stream.spawn(listener).map_err(|error| bug(format!("the stream's thread cannot be started: {error}")))
    }

    /// Waits until there is a time to work by, if this machine's clock cannot have been set: no certificate can be checked
    /// before. `false` if `stop` was set meanwhile. A `STOP` file does not end the wait: its orders are still to be cancelled.
    pub fn await_time(&mut self, stop: &AtomicBool) -> bool {
        !is_unset(wall_clock()) || await_time(&mut Unconnected { exchange: self, stop })
    }
}

/// What the wait for the time asks, before anything is connected.
struct Unconnected<'a> {
    exchange: &'a mut LiveExchange,
    stop: &'a AtomicBool,
}

impl Surroundings for Unconnected<'_> {
    fn wall(&self) -> Timestamp {
        wall_clock()
    }

    fn ask_exchange(&mut self) -> Result<(), Fault> {
        self.exchange.client.synchronise_clock()
    }

    fn pause(&mut self) -> bool {
        self.exchange.clock.sleep(CLOCK_PAUSE);
        !self.stop.load(Ordering::SeqCst)
    }
}

/// Reads key and secret.
///
/// # Errors
/// [`Failure`] when they are missing or malformed.
pub fn read_credentials(config: &Config, variables: Variables<'_>) -> Result<(Credentials, Found), Failure> {
    let wrong = |error: String| Failure::new(Exit::Configuration, error);
    let found = credentials::read(config, variables).map_err(wrong)?;
    let credentials = Credentials::new(&found.credentials.key, &found.credentials.secret).map_err(wrong)?;
    Ok((credentials, found))
}
