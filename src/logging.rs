//! The log: one line an event on standard error, `2026-07-01T12:00:00.000Z INFO  message`.
//!
//! This program's own messages are shown from the chosen level up. Of the libraries only warnings and errors
//! are: their finer messages hold headers, and so keys. Control characters of a message, which may quote
//! bytes from outside, are shown escaped: nobody outside can forge a line or steer a terminal.

use std::io::IsTerminal as _;

use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::core::Timestamp;
use crate::output;
use crate::printable::printable;
use crate::wall_clock::wall_clock;

struct StandardError {
    level: LevelFilter,
    colour: bool,
}

/// The level for `-v` given so many times, less the times of `-q`.
pub fn level(verbosity: i32) -> LevelFilter {
    match verbosity {
        ..=-2 => LevelFilter::Error,
        -1 => LevelFilter::Warn,
        0 => LevelFilter::Info,
        1 => LevelFilter::Debug,
        2.. => LevelFilter::Trace,
    }
}

/// Starts logging to standard error, in colour on a terminal unless `NO_COLOR` is set. A second call changes
/// nothing.
pub fn start(level: LevelFilter) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    if log::set_boxed_logger(Box::new(StandardError { level, colour })).is_ok() {
        log::set_max_level(level.max(LevelFilter::Warn));
    }
}

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let limit = if is_own(metadata.target()) { self.level } else { self.level.min(LevelFilter::Warn) };
        metadata.level() <= limit
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = line(wall_clock(), record.level(), &record.args().to_string(), self.colour);
            output::tell(&line);
        }
    }

    fn flush(&self) {}
}

fn is_own(target: &str) -> bool {
    target.split("::").next() == Some("recompra")
}

fn line(now: Timestamp, level: Level, message: &str, colour: bool) -> String {
    let (start, end) = match (colour, level) {
        (false, _) | (_, Level::Info) => ("", ""),
        (_, Level::Error) => ("\x1b[31m", "\x1b[0m"),
        (_, Level::Warn) => ("\x1b[33m", "\x1b[0m"),
        (_, Level::Debug | Level::Trace) => ("\x1b[2m", "\x1b[0m"),
    };
    format!("{now} {start}{level:5} {}{end}\n", printable(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enabled(at: LevelFilter, level: Level, target: &str) -> bool {
        let logger = StandardError { level: at, colour: false };
        logger.enabled(&Metadata::builder().level(level).target(target).build())
    }

    #[test]
    fn a_line_has_time_level_and_message() {
        assert_eq!(
            line(Timestamp(1_640_995_260_000), Level::Warn, "clock off", false),
            "2022-01-01T00:01:00.000Z WARN  clock off\n"
        );
    }

    #[test]
    fn text_from_outside_can_neither_forge_a_line_nor_steer_the_terminal() {
        let shown = line(Timestamp(0), Level::Info, "a\nb\x1b[2J\u{9b}c", false);
        assert_eq!(shown, "1970-01-01T00:00:00.000Z INFO  a\\nb\\u001b[2J\\u009bc\n");
    }

    #[test]
    fn colour_marks_what_matters() {
        assert!(line(Timestamp(0), Level::Error, "x", true).contains("\x1b[31mERROR x\x1b[0m"));
        assert!(!line(Timestamp(0), Level::Info, "x", true).contains('\x1b'));
    }

    #[test]
    fn the_libraries_debug_messages_never_come_through() {
        assert!(enabled(LevelFilter::Trace, Level::Trace, "recompra::engine"));
        assert!(enabled(LevelFilter::Trace, Level::Warn, "ureq::pool"));
        for level in [Level::Info, Level::Debug, Level::Trace] {
            assert!(!enabled(LevelFilter::Trace, level, "tungstenite::client"), "{level}");
            assert!(!enabled(LevelFilter::Trace, level, "recompracy"), "{level}");
        }
    }

    #[test]
    fn each_v_shows_more_and_each_q_less() {
        let levels: Vec<LevelFilter> = (-3..=3).map(level).collect();
        use LevelFilter::{Debug, Error, Info, Trace, Warn};
        assert_eq!(levels, [Error, Error, Warn, Info, Debug, Trace, Trace]);
        assert!(!enabled(Error, Level::Warn, "recompra") && !enabled(Error, Level::Warn, "ureq"));
    }
}
