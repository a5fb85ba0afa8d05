//! The progress bar, on standard error and only on a terminal.

use std::io::{IsTerminal as _, Write as _};

use crate::core::Timestamp;
use crate::narrator::moment;

/// Letters of the bar.
const WIDTH: i64 = 30;

/// How far it has come between two moments.
pub(super) struct Progress {
    from: Timestamp,
    to: Timestamp,
    is_shown: bool,
}

impl Progress {
    /// A bar that shows itself only on a terminal.
    pub(super) fn new(from: Timestamp, to: Timestamp) -> Self {
        Self { from, to, is_shown: std::io::stderr().is_terminal() }
    }

    /// Shows how far it has come.
    pub(super) fn show(&self, now: Timestamp, candles: u64) {
        if self.is_shown {
            let _ = write!(std::io::stderr(), "\r{}", self.line(now, candles));
        }
    }

    /// Makes room for what is told next.
    pub(super) fn end(&self) {
        if self.is_shown {
            let _ = writeln!(std::io::stderr());
        }
    }

    fn line(&self, now: Timestamp, candles: u64) -> String {
        let part = |whole: i64| {
            let length = i128::from((self.to.0 - self.from.0).max(1));
            let done = i128::from(now.0 - self.from.0).clamp(0, length);
            usize::try_from(done * i128::from(whole) / length).unwrap_or(0)
        };
        let filled = part(WIDTH);
        let empty = usize::try_from(WIDTH).unwrap_or(filled).saturating_sub(filled);
        let (full, rest) = ("█".repeat(filled), "░".repeat(empty));
        format!("{full}{rest} {:>3} %  {}  {candles} candles", part(100), moment(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_from_the_first_moment_to_the_last() {
        let progress = Progress { from: Timestamp(0), to: Timestamp(3_000), is_shown: false };
        assert_eq!(progress.line(Timestamp(0), 0), format!("{}   0 %  1970-01-01 00:00:00  0 candles", "░".repeat(30)));
        let half = progress.line(Timestamp(1_500), 7);
        assert!(half.starts_with(&"█".repeat(15)) && half.contains(" 50 %"), "{half}");
        assert!(progress.line(Timestamp(9_000), 9).contains("100 %"));
    }
}
