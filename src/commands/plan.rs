//! `recompra plan`: the ladder as the bot would place it.
//!
//! In: the configuration, and a price or the exchange's. Out: the table or the JSON of [`inspection::plan`]. It changes
//! nothing.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::{directory_of, inspect, load, show};
use crate::command_line;
use crate::config::Variables;
use crate::engine::ports::Exchange as _;
use crate::exit::{Exit, Failure};
use crate::inspection::{self, plan::Origin};
use crate::live::LiveExchange;

/// `recompra plan`.
///
/// # Errors
/// [`Failure`] when the configuration or the ladder is wrong, or the exchange cannot be asked.
pub fn plan(options: &command_line::Plan, variables: Variables<'_>) -> Result<(), Failure> {
    let config = load(&options.config)?;
    let (price, instrument, origin) = match options.price {
        None => {
            let mut connection = LiveExchange::new(&config, None, Arc::new(AtomicBool::new(false)))?;
            let instrument = connection.client.instrument()?;
            (connection.client.ticker()?.ask_or_last(), instrument, Origin::Exchange)
        }
        Some(price) => {
            // Without the exchange a state directory is a help, not a need.
            let known =
                directory_of(&config, variables).ok().and_then(|directory| inspect(&directory).ok()?.instrument);
            match known {
                Some(instrument) => (price, instrument, Origin::StateDirectory),
                None => (price, inspection::plan::assumed_instrument(&config.parameters.symbol), Origin::Assumed),
            }
        }
    };
    let sheet = inspection::plan::sheet(price, &config.parameters, &instrument, origin)
        .map_err(|error| Failure::new(Exit::Configuration, format!("the ladder cannot be placed: {error}")))?;
    show(options.json, || sheet.json(), || sheet.table())
}
