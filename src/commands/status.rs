//! `recompra status`: what is held, resting and earned.
//!
//! In: a state directory. Out: the text or the JSON of [`Status`]. It changes nothing.

use super::{directory_to_read, inspect, show};
use crate::command_line;
use crate::config::Variables;
use crate::exit::Failure;
use crate::inspection::status::Status;

/// `recompra status`.
///
/// # Errors
/// [`Failure`] when the journal is damaged or no state directory can be found.
pub fn status(options: &command_line::Inspect, variables: Variables<'_>) -> Result<(), Failure> {
    let directory = directory_to_read(options.state_dir.as_deref(), &options.config, variables)?;
    let ledger = inspect(&directory)?;
    let path = directory.path().display().to_string();
    let (running, stopped) = (directory.is_in_use(), directory.stop_wish().is_some());
    let status = Status { directory: &path, running, stopped, ledger: &ledger };
    show(options.json, || status.json(), || status.text())
}
