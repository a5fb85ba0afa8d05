//! A hang-up that was ignored when the program began, as `nohup` has it, stays ignored.
//!
//! The handler of signals that a command installs takes SIGHUP too, and would end a bot that was meant to outlive its terminal.
//! In: what the system says of this process. Out: SIGHUP blocked in this thread, and in all that it starts. Where the system
//! says nothing, nothing is changed.

use ctrlc::Signal;

/// Blocks SIGHUP if it is ignored now. To be called before any thread is started and any handler installed.
#[expect(clippy::eq_op, reason = "the union of two signals is what this library makes a set of")]
pub fn keep_ignored() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if is_ignored(&status)
        && let Err(error) = (Signal::SIGHUP | Signal::SIGHUP).thread_block()
    {
        log::warn!("a hang-up of the terminal ends this process, against what was asked for: {error}");
    }
}

/// Whether the line `SigIgn` of such a file has SIGHUP, which is signal 1.
fn is_ignored(status: &str) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u128::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_signal_is_the_lowest_bit() {
        assert!(is_ignored("Name:\tx\nSigIgn:\t0000000000000001\n") && is_ignored("SigIgn:\t0000000000001001\n"));
        assert!(!is_ignored("SigIgn:\t0000000000001000\nSigCgt:\t0000000000000001\n"));
        assert!(!is_ignored("") && !is_ignored("SigIgn:\tnonsense\n"));
    }
}
