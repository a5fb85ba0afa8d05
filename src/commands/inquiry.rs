//! `recompra plan`, `doctor` and `status`: what they find out before they show it. None of them changes anything.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::doctor::{self, Report};
use super::plan::{self, Origin};
use super::status::Status;
use super::trade::{directory_of, inspect, load};
use crate::bybit::TlsRoots;
use crate::command_line;
use crate::config::{self, Config, Variables};
use crate::core::Decimal;
use crate::engine::ports::{Clock as _, Exchange as _};
use crate::exit::{Exit, Failure};
use crate::live::{LiveExchange, read_credentials, wall_clock};
use crate::state_directory::{LockError, StateDirectory};

/// `recompra plan`.
///
/// # Errors
/// [`Failure`] when the configuration or the ladder is wrong, or the exchange cannot be asked.
pub fn plan(options: &command_line::Plan, variables: Variables<'_>) -> Result<(), Failure> {
    let config = load(&options.config)?;
    let (price, instrument, origin) = match options.price {
        None => {
            let mut connection = LiveExchange::new(&config, None, Arc::new(AtomicBool::new(false)))?;
            let (ask, instrument) = plan::ask(&mut connection.client)?;
            (ask, instrument, Origin::Exchange)
        }
        Some(price) => {
            // Offline a state directory is a help, not a need.
            let known =
                directory_of(&config, variables).ok().and_then(|directory| inspect(&directory).ok()?.instrument);
            match known {
                Some(instrument) => (price, instrument, Origin::StateDirectory),
                None => (price, plan::assumed_instrument(&config.parameters.symbol), Origin::Assumed),
            }
        }
    };
    let sheet = plan::sheet(price, &config.parameters, &instrument, origin)?;
    if options.json {
        println!("{}", sheet.json());
    } else {
        print!("{}", sheet.table());
    }
    Ok(())
}

/// `recompra status`.
///
/// # Errors
/// [`Failure`] when the journal is damaged or no state directory can be found.
pub fn status(options: &command_line::Status, variables: Variables<'_>) -> Result<(), Failure> {
    let directory = match &options.state_dir {
        Some(path) => StateDirectory::new(path.clone()),
        None => directory_of(&load(&options.config)?, variables)?,
    };
    if options.state_dir.is_some() && !directory.path().is_dir() {
        return Err(Failure::new(Exit::State, format!("{}: there is no such directory", directory.path().display())));
    }
    let ledger = inspect(&directory)?;
    let path = directory.path().display().to_string();
    let (running, stopped) = (is_held(&directory), directory.stop_wish().is_some());
    let status = Status { directory: &path, running, stopped, ledger: &ledger };
    if options.json {
        println!("{}", status.json());
    } else {
        print!("{}", status.text());
    }
    Ok(())
}

/// Whether a bot runs on a state directory; a directory that is not there is not made.
fn is_held(directory: &StateDirectory) -> bool {
    directory.path().is_dir() && matches!(directory.lock(), Err(LockError::Held { .. }))
}

/// `recompra doctor`; the exit code is that of its first problem.
///
/// # Errors
/// Never: what is wrong is a finding.
pub fn doctor(options: &command_line::Doctor, variables: Variables<'_>) -> Result<Exit, Failure> {
    let loaded = config::load(&options.config);
    let mut report = Report { findings: doctor::configuration(&options.config, loaded.as_ref()) };
    if let Ok(config) = &loaded {
        examine(config, options.demo_money, variables, &mut report);
    }
    if options.json {
        println!("{}", report.json());
    } else {
        let colour =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        print!("{}", report.text(colour));
    }
    Ok(report.exit())
}

fn examine(config: &Config, demo_money: Option<Decimal>, variables: Variables<'_>, report: &mut Report) {
    let findings = &mut report.findings;
    match directory_of(config, variables) {
        Ok(directory) => {
            let writable = doctor::probe_writable(&directory);
            let held = if is_held(&directory) { doctor::Lock::Held } else { doctor::Lock::Free };
            findings.extend(doctor::state_directory(
                directory.path(),
                writable.as_ref().copied().map_err(String::as_str),
                held,
            ));
            findings.extend(doctor::journal(&directory, inspect(&directory).as_ref()));
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
    let roots: &TlsRoots = connection.tls.roots();
    findings.extend(doctor::tls(roots));
    let client = &mut connection.client;
    let time = client.server_time();
    findings.extend(doctor::clock(time.as_ref().map(|check| (-check.behind_ms, check.round_trip))));
    if time.is_err() {
        findings.extend(doctor::wall_clock(wall_clock()));
        // Nothing else can be asked either; the same finding six times helps nobody.
        return;
    }
    // What follows is signed, and must be with a wrong clock too.
    let _ = client.synchronise_clock();
    let market = client.instrument().and_then(|instrument| client.ticker().map(|ticker| (instrument, ticker.ask)));
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
            findings.extend(doctor::balance(
                balance.as_ref(),
                &instrument.quote_coin,
                &config.parameters,
                config.environment,
            ));
        }
    }
}
