//! `recompra doctor`: what would keep the bot from trading well.
//!
//! In: the configuration, the state directory and the exchange's answers. Out: the findings of [`mod@doctor`]. It places nothing;
//! it asks for play money if it is told to.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{directory_of, inspect, show};
use crate::command_line;
use crate::config::{self, Config, Variables};
use crate::core::Decimal;
use crate::engine::ports::{Clock as _, Exchange as _};
use crate::exit::{Exit, Failure};
use crate::inspection::doctor::{self, Diagnosis, Finding};
use crate::live::is_unset;
use crate::live::{LiveExchange, read_credentials};
use crate::wall_clock::wall_clock;

/// `recompra doctor`; the exit code is that of its first problem.
///
/// # Errors
/// [`Failure`] when standard output cannot be written: what else is wrong is a finding.
pub fn doctor(options: &command_line::Doctor, variables: Variables<'_>) -> Result<Exit, Failure> {
    let loaded = config::load(&options.config);
    let mut diagnosis = Diagnosis { findings: doctor::configuration(&options.config, loaded.as_ref()) };
    if let Ok(config) = &loaded {
        examine(config, options.demo_money, variables, &mut diagnosis.findings);
    }
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    show(options.json, || diagnosis.json(), || diagnosis.text(colour))?;
    Ok(diagnosis.exit())
}

fn examine(config: &Config, demo_money: Option<Decimal>, variables: Variables<'_>, findings: &mut Vec<Finding>) {
    match directory_of(config, variables) {
        Ok(directory) => {
            let writable = directory.probe_writable().map_err(|error| error.to_string());
            let writable = writable.as_ref().copied().map_err(String::as_str);
            findings.extend(doctor::state_directory(directory.path(), writable, directory.is_in_use()));
            let stop_file = directory.stop_wish().map(|_| directory.stop_file());
            findings.extend(doctor::journal(inspect(&directory).as_ref(), stop_file.as_deref()));
        }
        Err(failure) => findings.extend(doctor::failed("state directory", &failure)),
    }
    let credentials = match read_credentials(config, variables) {
        Ok((credentials, found)) => {
            findings.extend(doctor::credentials(Ok(&found)));
            Some(credentials)
        }
        Err(failure) => {
            findings.extend(doctor::credentials(Err(&failure.message)));
            None
        }
    };
    let has_key = credentials.is_some();
    let mut connection = match LiveExchange::new(config, credentials, Arc::new(AtomicBool::new(false))) {
        Ok(connection) => connection,
        Err(failure) => {
            findings.extend(doctor::failed("connection", &failure));
            return;
        }
    };
    findings.extend(doctor::tls(connection.tls.roots()));
    let client = &mut connection.client;
    // The first answer tells how long it takes to open a connection, which an order does not wait for.
    let time = client.server_time().and_then(|_| client.server_time());
    findings.extend(doctor::clock(time.as_ref().map(|check| (-check.behind_ms, check.round_trip))));
    if time.is_err() {
        let wall = wall_clock();
        if is_unset(wall) {
            findings.extend(doctor::unset_clock(wall));
        }
        // Nothing else can be asked either; the same finding six times helps nobody.
        return;
    }
    // What follows is signed, and must be with a wrong clock too.
    let _ = client.synchronise_clock();
    let market =
        client.instrument().and_then(|instrument| client.ticker().map(|ticker| (instrument, ticker.ask_or_last())));
    findings.extend(doctor::ladder(market.as_ref().map(|(instrument, ask)| (instrument, *ask)), &config.parameters));
    if has_key {
        let info = client.key_info();
        findings.extend(doctor::key(info.as_ref(), config.environment, connection.clock.now()));
        if let Ok((instrument, _)) = &market {
            if let Some(amount) = demo_money {
                let given = connection.client.demo_apply_money(&instrument.quote_coin, amount);
                findings.extend(doctor::demo_money(given.as_ref().copied(), amount, &instrument.quote_coin));
            }
            let balance = connection.client.balance(&instrument.quote_coin);
            let (quote_coin, parameters) = (&instrument.quote_coin, &config.parameters);
            findings.extend(doctor::balance(balance.as_ref(), quote_coin, parameters, config.environment));
        }
    }
}
