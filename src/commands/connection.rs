//! The outside of a bot that trades on Bybit: clock, TLS, REST client and the private stream's thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crossbeam_channel::{Receiver, Sender};

use super::sane_clock::{Awaited, Surroundings, await_time};
use crate::bybit::{
    Client, Credentials, ExchangeClock, Hosts, HttpTimings, HttpTransport, KeyInfo, PrivateStream, StreamHandle,
    StreamReader, StreamTimings, Tls,
};
use crate::config::credentials::Found;
use crate::config::{Config, Variables, credentials};
use crate::core::Timestamp;
use crate::engine::ports::{AdjustableClock as _, Clock as _, Exchange as _, Fault, FaultKind, Signal};
use crate::exit::{Exit, Failure};

/// While this machine's clock is not set, it is looked at this often.
const CLOCK_PAUSE: Duration = Duration::from_secs(2);

/// What is needed to reach the exchange that a configuration names.
pub struct Connection {
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

impl Connection {
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
        let transport = HttpTransport::new(&hosts.rest_url, &tls, HttpTimings::default());
        let symbol = config.parameters.symbol.clone();
        let client = Client::new(transport, clock.clone(), &symbol, credentials.clone());
        Ok(Self { clock, tls, client, hosts, symbol, credentials })
    }

    /// Starts the private stream's thread; what else the reader should hear comes through the same channel.
    ///
    /// # Errors
    /// [`Failure`] when there are no credentials or the system has no thread left.
    pub fn stream(&self, channel: (Sender<Signal>, Receiver<Signal>)) -> Result<(StreamHandle, StreamReader), Failure> {
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
        stream.spawn_reader(channel).map_err(|error| bug(format!("the stream's thread cannot be started: {error}")))
    }

    /// Waits until there is a time to work by; what is signed with a wrong one, here and on the stream, is refused.
    /// `false` if `stop` was set meanwhile. A `STOP` file does not end the wait: its orders are still to be cancelled.
    ///
    /// # Errors
    /// [`Failure`] with [`Exit::KeyRefused`] when the exchange refuses even that question.
    pub fn await_time(&mut self, stop: &AtomicBool) -> Result<bool, Failure> {
        match await_time(&mut AtTheDoor { connection: self, stop }) {
            Awaited::Exchange => Ok(true),
            Awaited::Stopped => Ok(false),
            Awaited::Unanswered(fault) => unless_refused(&fault).map(|()| true),
        }
    }

    /// Refuses a key that may not trade, or may withdraw. A question that is not answered is no refusal: the engine
    /// finds out soon enough whether the exchange can be reached.
    ///
    /// # Errors
    /// [`Failure`] with [`Exit::KeyRefused`].
    pub fn check_key(&mut self) -> Result<(), Failure> {
        match self.client.key_info() {
            Ok(info) => refuse_key(&info),
            Err(fault) => unless_refused(&fault),
        }
    }
}

/// Before the first connection: what the wait for the time asks.
struct AtTheDoor<'a> {
    connection: &'a mut Connection,
    stop: &'a AtomicBool,
}

impl Surroundings for AtTheDoor<'_> {
    fn wall(&self) -> Timestamp {
        wall_clock()
    }

    fn ask_exchange(&mut self) -> Result<Timestamp, Fault> {
        self.connection.client.synchronise_clock()?;
        Ok(self.connection.clock.exchange_time())
    }

    fn pause(&mut self) -> bool {
        self.connection.clock.sleep(CLOCK_PAUSE);
        !self.stop.load(Ordering::SeqCst)
    }
}

/// This machine's clock.
pub fn wall_clock() -> Timestamp {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(0).after(now)
}

fn refuse_key(info: &KeyInfo) -> Result<(), Failure> {
    let refused = |message: &str| Err(Failure::new(Exit::KeyRefused, message));
    if info.read_only {
        refused("the API key may only read: make one with read-write access and spot trading")
    } else if !info.can_trade_spot {
        refused("the API key may not trade spot: allow it (Unified Trading: Spot, Trade)")
    } else if info.can_withdraw {
        refused("the API key may withdraw: make one without that right, so that who steals it cannot empty the account")
    } else {
        Ok(())
    }
}

fn unless_refused(fault: &Fault) -> Result<(), Failure> {
    if fault.kind == FaultKind::KeyRefused {
        return Err(Failure::new(Exit::KeyRefused, fault));
    }
    log::warn!("the key could not be checked: {fault}");
    Ok(())
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
