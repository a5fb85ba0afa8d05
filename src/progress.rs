//! The progress of something long: a bar on standard error, if that is a terminal.
//!
//! In: how much there is to do, and now and then how much is done. Out: one line, drawn again in its place and gone at the
//! end. Nothing can go wrong: where nobody reads it, it is not drawn.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Letters of the bar.
const WIDTH: u64 = 30;
/// The bar is drawn at most this often.
const PAUSE: Duration = Duration::from_millis(200);

/// The bar; it is gone when it is dropped.
pub struct Progress {
    is_shown: bool,
    /// What was done before this began, which says nothing about how long the rest takes.
    known: u64,
    all: u64,
    begun: Instant,
    drawn: Option<Instant>,
}

impl Progress {
    /// `known` of `all` was done before.
    pub fn new(known: u64, all: u64) -> Self {
        let is_shown = std::io::stderr().is_terminal();
        Self { is_shown, known, all, begun: Instant::now(), drawn: None }
    }

    /// Shows that `done` is finished; `words` say it for people.
    pub fn show(&mut self, done: u64, words: &str) {
        if self.is_shown && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            self.drawn = Some(Instant::now());
            let line = self.line(done, words, self.begun.elapsed());
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
        }
    }

    fn line(&self, done: u64, words: &str, took: Duration) -> String {
        let done = done.min(self.all);
        let filled = usize::try_from((done * WIDTH).checked_div(self.all).unwrap_or(WIDTH)).unwrap_or(0);
        let (full, empty) = ("#".repeat(filled), ".".repeat(WIDTH as usize - filled));
        let left = took.as_secs_f64() * (self.all - done) as f64 / done.saturating_sub(self.known).max(1) as f64;
        let left = humantime::format_duration(Duration::from_secs(left as u64));
        format!("[{full}{empty}] {words}, {left} left")
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_says_how_far_it_is_and_what_is_left() {
        let progress = |known, all| Progress { is_shown: false, known, all, begun: Instant::now(), drawn: None };
        let line = progress(200, 1_000).line(250, "250 of 1000 sets", Duration::from_secs(5));
        assert_eq!(line, "[#######.......................] 250 of 1000 sets, 1m 15s left");
        let line = progress(0, 0).line(0, "0 of 0 sets", Duration::ZERO);
        assert_eq!(line, format!("[{}] 0 of 0 sets, 0s left", "#".repeat(30)));
        assert!(progress(0, 3_000).line(9_000, "", Duration::ZERO).starts_with(&format!("[{}]", "#".repeat(30))));
    }
}
