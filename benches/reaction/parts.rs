//! The parts of the way, each alone.

use std::path::Path;

pub(crate) fn run(_folder: &Path) {}
