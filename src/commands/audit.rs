//! `recompra audit`: the journal against the exchange.
//!
//! In: the state directory's journal, and what the exchange answers. Out: the text or the JSON of an [`Audit`], and the exit
//! code. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{directory_of, load, show};
use crate::bybit::Environment;
use crate::command_line;
use crate::config::{Config, Variables};
use crate::core::Timestamp;
use crate::engine::ports::{Clock as _, Exchange as _, Fault};
use crate::exit::{Exit, Failure};
use crate::inspection::audit::{Audit, Books, booked, compare};
use crate::journal::{self, History};
use crate::live::{LiveExchange, read_credentials};
use crate::state_directory::StateDirectory;

/// How long the demo environment keeps executions.
const KEPT_ON_DEMO: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the others do.
const KEPT: Duration = Duration::from_secs(730 * 24 * 3600);
/// The exchange may drop its oldest executions while it is asked for them.
const MARGIN: Duration = Duration::from_secs(60);
/// How many looks are taken: a running bot may not have booked yet what the exchange already reports.
const LOOKS: u32 = 5;
/// The pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// `recompra audit`; the exit code is 1 if there is a difference.
///
/// # Errors
/// [`Failure`] when the journal is damaged or the exchange cannot be asked.
pub fn audit(options: &command_line::Audit, variables: Variables<'_>) -> Result<Exit, Failure> {
    let config = load(&options.config)?;
    let directory = directory_of(&config, variables)?;
    let (credentials, _) = read_credentials(&config, variables)?;
    let mut connection = LiveExchange::new(&config, Some(credentials), Arc::new(AtomicBool::new(false)))?;
    connection.client.synchronise_clock()?;
    let mut looks = 1;
    let audit = loop {
        let found = look(&config, &directory, &mut connection, options)?;
        if found.differences.is_empty() || looks == LOOKS || !directory.is_in_use() {
            break found;
        }
        looks += 1;
        std::thread::sleep(LOOK_AGAIN);
    };
    show(options.json, || audit.json(), || audit.report())?;
    Ok(if audit.differences.is_empty() { Exit::Finished } else { Exit::Amiss })
}

fn look(
    config: &Config,
    directory: &StateDirectory,
    connection: &mut LiveExchange,
    options: &command_line::Audit,
) -> Result<Audit, Failure> {
    // The journal is read before and after: what a running bot books meanwhile is then on both sides, or is looked at again.
    let earlier = history(directory)?;
    let books = ask(config, &earlier, connection)?;
    let opening = options.opening.iter().cloned().collect();
    Ok(compare(&config.bot, &history(directory)?, &books, &opening))
}

fn ask(config: &Config, history: &History, connection: &mut LiveExchange) -> Result<Books, Fault> {
    let now = connection.clock.now();
    let kept = if config.environment == Environment::Demo { KEPT_ON_DEMO } else { KEPT };
    let kept_since = now.before(kept).after(MARGIN);
    let client = &mut connection.client;
    let instrument = client.instrument()?;
    let mut coins = BTreeSet::from([instrument.base_coin, instrument.quote_coin]);
    coins.extend(booked(history).map(|execution| execution.fee_coin.clone()));
    let first: Option<Timestamp> = history.entries.first().map(|(time, _)| *time);
    let first = booked(history).map(|execution| execution.time).chain(first).min().unwrap_or(now);
    let from = first.max(kept_since).before(MARGIN);
    let executions = client.executions(from, now.after(MARGIN))?;
    let open = client.open_orders()?;
    let balances = coins.into_iter().map(|coin| client.balance(&coin).map(|balance| (coin, balance)));
    Ok(Books { executions, open, balances: balances.collect::<Result<BTreeMap<_, _>, _>>()?, kept_since, asked: now })
}

fn history(directory: &StateDirectory) -> Result<History, Failure> {
    journal::history(&directory.journal()).map_err(Failure::from)
}
