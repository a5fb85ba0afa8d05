//! `recompra explain`: why each order rests.
//!
//! In: a state directory. Out: the text or the JSON of [`mod@explain`]. It changes nothing.

use super::{directory_to_read, show};
use crate::command_line;
use crate::config::Variables;
use crate::exit::Failure;
use crate::inspection::explain;
use crate::journal;

/// `recompra explain`.
///
/// # Errors
/// [`Failure`] when the journal is damaged or no state directory can be found.
pub fn explain(options: &command_line::Inspect, variables: Variables<'_>) -> Result<(), Failure> {
    let directory = directory_to_read(options.state_dir.as_deref(), &options.config, variables)?;
    let keeper = journal::read(&directory.journal()).map_err(Failure::from)?.keeper();
    let bot = keeper.as_ref().map(|keeper| &keeper.bot);
    let history = journal::history(&directory.journal()).map_err(Failure::from)?;
    let explanations = explain::explain(&history.entries);
    show(options.json, || explain::json(&explanations, bot), || explain::report(&explanations, bot))
}
