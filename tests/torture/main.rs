//! Deterministic simulation: the real engine, journal, recovery, client and wire code in one thread against the
//! simulated exchange, with a virtual clock and a simulated disk. A seed decides the market, the configuration and the
//! faults; the invariants of the strategy are checked against the exchange's own books.
//!
//! - `RECOMPRA_SEED=n` replays one seed and prints everything that happens in it.
//! - `RECOMPRA_SEEDS=n` runs so many seeds on all cores (`make torture`), from `RECOMPRA_FIRST` on.

mod books;
mod broken_on_purpose;
mod disk;
mod drawing;
mod facts;
mod faults;
mod invariants;
mod run;
mod sabotage;
mod stream;
mod table;
mod wire;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use table::Table;
use world::Options;

/// Seeds that `make test` runs every time.
const FIXED: u64 = 2_000;
/// Seeds that nobody has run before.
const FRESH: u64 = 50;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Runs seeds on all cores.
fn run_all(first: u64, count: u64) -> Table {
    let begin = Instant::now();
    let next = AtomicU64::new(first);
    let sum = Mutex::new(Table::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut table = Table::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || table.violations.len() >= 50 {
                        break;
                    }
                    table.add(seed, &run::seed(seed, Options::default()));
                }
                sum.lock().unwrap().join(table);
            });
        }
    });
    let mut table = sum.into_inner().unwrap();
    table.took = begin.elapsed();
    table.violations.sort();
    table
}

fn assert_clean(table: &Table) {
    let shown: Vec<String> = table
        .violations
        .iter()
        .take(20)
        .map(|(seed, what)| format!("seed {seed} (make sim SEED={seed}): {:.300}", what))
        .collect();
    assert!(shown.is_empty(), "{} of {} seeds failed\n{}", table.violations.len(), table.seeds, shown.join("\n"));
}

#[test]
fn whatever_fails_the_invariants_hold() {
    if let Some(seed) = variable("RECOMPRA_SEED") {
        let report = run::seed(seed, Options { trace: true, ..Options::default() });
        assert_eq!(report.violation, None, "seed {seed}");
        return;
    }
    let count = variable("RECOMPRA_SEEDS");
    let table = run_all(variable("RECOMPRA_FIRST").unwrap_or(0), count.unwrap_or(FIXED));
    println!("{table}");
    assert_clean(&table);
    if count.is_none() {
        assert_eq!(table.missing(), Vec::<&str>::new(), "faults that never happened");
        let fresh = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_micros() as u64);
        println!("fresh seeds from {fresh}");
        assert_clean(&run_all(fresh, FRESH));
    }
}
