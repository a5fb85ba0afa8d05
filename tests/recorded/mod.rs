//! Recorded candles that tests use where they are there.

use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A month of one-minute candles beside the repository, or in the folder that `RECOMPRA_SHARED` names. Where it is absent,
/// that is said past the test runner's capture: a test that is skipped must not look as if it had run.
pub(crate) fn january() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("RECOMPRA_SHARED").map_or(beside, PathBuf::from);
    let file = shared.join("data/btc-1m-2022-01.csv.gz");
    if !file.exists() {
        let told = format!("SKIPPED: {} is not there; name its folder with RECOMPRA_SHARED\n", file.display());
        std::io::stderr().write_all(told.as_bytes()).unwrap();
        return None;
    }
    Some(file)
}
