//! How far a sweep is, on standard error, where that is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Letters of the bar.
const WIDTH: u64 = 30;
/// The bar is drawn at most this often.
const PAUSE: Duration = Duration::from_millis(200);

/// The bar; it is gone when it is dropped.
pub(super) struct Progress {
    shown: bool,
    known: u64,
    done: u64,
    all: u64,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// `known` of `all` sets were done before.
    pub(super) fn new(known: u64, all: u64) -> Self {
        let shown = std::io::stderr().is_terminal();
        Self { shown, known, done: known, all, begun: Instant::now(), drawn: None }
    }

    /// One more is done.
    pub(super) fn step(&mut self) {
        self.done += 1;
        if self.shown && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            self.drawn = Some(Instant::now());
            let line = bar(self.done, self.all, self.done - self.known, self.begun.elapsed());
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn bar(done: u64, all: u64, since: u64, took: Duration) -> String {
    let filled = (done * WIDTH).checked_div(all).unwrap_or(WIDTH);
    let (full, empty) = (repeat('#', filled), repeat('.', WIDTH.saturating_sub(filled)));
    let left = u32::try_from(since).ok().and_then(|since| took.checked_div(since)).unwrap_or_default();
    let left = left.saturating_mul(u32::try_from(all - done).unwrap_or(u32::MAX));
    let left = humantime::format_duration(Duration::from_secs(left.as_secs()));
    format!("[{full}{empty}] {done} of {all} sets, {left} left")
}

fn repeat(letter: char, times: u64) -> String {
    (0..times).map(|_| letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_how_far_it_is_and_what_is_left() {
        let line = bar(250, 1_000, 50, Duration::from_secs(5));
        assert_eq!(line, "[#######.......................] 250 of 1000 sets, 1m 15s left");
        assert_eq!(bar(0, 0, 0, Duration::ZERO), format!("[{}] 0 of 0 sets, 0s left", "#".repeat(30)));
    }
}
