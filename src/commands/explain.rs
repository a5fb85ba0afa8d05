//! `recompra explain`: why each order rests.
//!
//! In: a state directory. Out: the text or the JSON of [`inspection::explain`]. It changes nothing.

use super::directory_to_read;
use crate::command_line;
use crate::config::Variables;
use crate::exit::Failure;
use crate::output;
use crate::{inspection, journal};

/// `recompra explain`.
///
/// # Errors
/// [`Failure`] when the journal is damaged or no state directory can be found.
pub fn explain(options: &command_line::Explain, variables: Variables<'_>) -> Result<(), Failure> {
    let directory = directory_to_read(options.state_dir.as_deref(), &options.config, variables)?;
    let keeper = journal::read(&directory.journal()).map_err(Failure::from)?.keeper();
    let bot = keeper.as_ref().map(|keeper| &keeper.bot);
    let history = journal::history(&directory.journal()).map_err(Failure::from)?;
    let explanations = inspection::explain::explain(&history.entries);
    if options.json {
        output::print(&format!("{}\n", inspection::explain::json(&explanations, bot)))
    } else {
        output::print(&inspection::explain::report(&explanations, bot))
    }
}
