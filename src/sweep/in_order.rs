//! Work on many threads, results in the order of the work.
//!
//! In: a range of numbers, what is to be done for each. Out: what came of each, handed over one after another in the order
//! of the numbers, on the thread that asks. Nothing runs far ahead of what was handed over, so that the memory does not grow
//! with the range.

use std::collections::BTreeMap;
use std::ops::Range;

use crossbeam_channel::unbounded;

/// How far ahead of the oldest unfinished number the work may run, for each thread.
const AHEAD: u64 = 16;

/// Does the work on this many threads, and hands over each result until `take` fails.
///
/// # Errors
/// The error of `take`; what is not handed over by then is lost.
pub fn in_order<T: Send, E>(
    numbers: Range<u64>,
    threads: usize,
    work: impl Fn(u64) -> T + Sync,
    mut take: impl FnMut(T) -> Result<(), E>,
) -> Result<(), E> {
    let threads = threads.max(1);
    let window = AHEAD * threads as u64;
    std::thread::scope(|scope| {
        // Both go before the scope joins its threads: they end when nothing is to be done any more.
        let (sender, numbers_to_do) = unbounded();
        let (done, results) = unbounded();
        for _ in 0..threads {
            let (numbers_to_do, done, work) = (numbers_to_do.clone(), done.clone(), &work);
            scope.spawn(move || {
                for number in numbers_to_do {
                    if done.send((number, work(number))).is_err() {
                        return;
                    }
                }
            });
        }
        let (mut next_to_do, mut next) = (numbers.start, numbers.start);
        let mut early = BTreeMap::new();
        while next < numbers.end {
            while next_to_do < numbers.end.min(next + window) && sender.send(next_to_do).is_ok() {
                next_to_do += 1;
            }
            let Ok((number, result)) = results.recv() else { break };
            early.insert(number, result);
            while let Some(result) = early.remove(&next) {
                next += 1;
                take(result)?;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn results_come_in_the_order_of_the_numbers_and_none_runs_far_ahead() {
        let (taken, furthest) = (AtomicU64::new(5), AtomicU64::new(0));
        let mut seen = Vec::new();
        let work = |number: u64| {
            furthest.fetch_max(number - taken.load(Ordering::SeqCst).min(number), Ordering::SeqCst);
            // The first of each ten is the slowest.
            std::hint::black_box((0..if number.is_multiple_of(10) { 200_000 } else { 10 }).sum::<u64>());
            number
        };
        let take = |number| {
            seen.push(number);
            taken.store(number + 1, Ordering::SeqCst);
            Ok::<(), ()>(())
        };
        assert_eq!(in_order(5..500, 4, work, take), Ok(()));
        assert_eq!(seen, (5..500).collect::<Vec<_>>());
        assert!(furthest.into_inner() <= AHEAD * 4);
    }

    #[test]
    fn an_error_ends_it() {
        let mut seen = 0;
        let end = in_order(
            0..1_000_000,
            2,
            |number| number,
            |number| {
                seen += 1;
                if number == 7 { Err("full") } else { Ok(()) }
            },
        );
        assert_eq!((end, seen), (Err("full"), 8));
        assert_eq!(in_order(3..3, 2, |_| (), |()| Err("called")), Ok(()), "nothing to do");
    }
}
