//! Instructions between fill and order, counted by callgrind: steady where times are not. A long run less a short one leaves
//! out what a start costs.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::bot;
use super::venue::Venue;

/// What a cycle took when this was last looked at: two fills, the two orders that follow, and what is done after them.
const KNOWN: u64 = 604_000;
/// More or less than this by a hundred is to be looked at: a regression, or a figure to be brought up to date.
const TOLERANCE_PERCENT: u64 = 10;
const SHORT: u64 = 50;
const LONG: u64 = 250;

/// Whether the figure is within its tolerance.
pub(crate) fn are_as_known(folder: &Path) -> bool {
    let counts = [SHORT, LONG].map(|cycles| count(folder, cycles));
    let cycle = (counts[1] - counts[0]) / (LONG - SHORT);
    let percent = (i128::from(cycle) - i128::from(KNOWN)) * 100 / i128::from(KNOWN);
    println!("instructions a cycle (two fills, two orders): {cycle}, known {KNOWN}, {percent:+} %");
    cycle.abs_diff(KNOWN) * 100 <= KNOWN * TOLERANCE_PERCENT
}

fn count(folder: &Path, cycles: u64) -> u64 {
    let folder = folder.join(format!("instructions-{cycles}"));
    std::fs::create_dir_all(&folder).expect("a folder for the bot");
    let out = folder.join("callgrind.out");
    let mut venue = Venue::start();
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", out.display())])
        .arg(super::program());
    let mut client = bot(&folder, &venue, valgrind);
    for _ in 0..cycles {
        for bought in [true, false] {
            venue.fill(bought);
            // Until it has written down what follows from the answer.
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    let killed = Command::new("kill").arg(client.0.id().to_string()).stdin(Stdio::null()).status();
    assert!(killed.is_ok_and(|status| status.success()), "the bot is there to be ended");
    client.0.wait().expect("the bot ends");
    let text = std::fs::read_to_string(out).expect("what callgrind has counted");
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a sum");
    total.trim().parse().expect("a number")
}
