//! The outside of a bot that trades on Bybit: clock, TLS, REST client and the private stream's thread.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crossbeam_channel::Sender;

use crate::bybit::{
    Client, Credentials, ExchangeClock, Hosts, HttpTimings, HttpTransport, KeyInfo, PrivateStream, StreamHandle,
    StreamTimings, Tls,
};
use crate::config::credentials::Found;
use crate::config::{Config, Variables, credentials};
use crate::engine::ports::{Exchange as _, Fault, FaultKind, Signal};
use crate::exit::{Exit, Failure};

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

    /// Starts the private stream's thread.
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

    /// Refuses a key that may not trade, or may withdraw. A question that is not answered is no refusal: the engine
    /// finds out soon enough whether the exchange can be reached.
    ///
    /// # Errors
    /// [`Failure`] with [`Exit::KeyRefused`].
    pub fn check_key(&mut self) -> Result<(), Failure> {
        // First of all the clock: what is signed with a wrong one, here and on the stream, is refused.
        if let Err(fault) = self.client.synchronise_clock() {
            unless_refused(&fault)?;
        }
        match self.client.key_info() {
            Ok(info) => refuse_key(&info),
            Err(fault) => unless_refused(&fault),
        }
    }
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
