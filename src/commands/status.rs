//! `recompra status`: what is held, resting and earned.
//!
//! In: a state directory. Out: the text or the JSON of [`Status`]. It changes nothing.

use super::{directory_to_read, show};
use crate::command_line;
use crate::config::Variables;
use crate::core::record::Record;
use crate::exit::{Exit, Failure};
use crate::inspection::status::Status;
use crate::journal;
use crate::wall_clock::wall_clock;

/// `recompra status`.
///
/// # Errors
/// [`Failure`], with [`Exit::Amiss`] when the bot is not well; else when the journal is damaged or no state directory can be
/// found.
pub fn status(options: &command_line::Inspect, variables: Variables<'_>) -> Result<(), Failure> {
    let directory = directory_to_read(options.state_dir.as_deref(), &options.config, variables)?;
    let recovery = journal::read(&directory.journal()).map_err(Failure::from)?;
    let parameters = match &recovery.started {
        Some(Record::Started { parameters, .. }) => Some(parameters),
        _ => None,
    };
    let path = directory.path().display().to_string();
    let (running, stopped, now) = (directory.is_in_use(), directory.stop_wish().is_some(), wall_clock());
    // A bot that runs has noted its own start.
    let back_off = directory.back_off(now).filter(|_| !running).map(|back_off| back_off.to_string());
    let (ledger, back_off) = (&recovery.ledger, back_off.as_deref());
    let status = Status { directory: &path, running, stopped, ledger, parameters, back_off, now };
    show(options.json, || status.json(), || status.text())?;
    status.amiss().map_or(Ok(()), |amiss| Err(Failure::new(Exit::Amiss, format!("the bot is not well: {amiss}"))))
}
