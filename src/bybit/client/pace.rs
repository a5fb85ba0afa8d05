//! How fast requests may leave, whoever asks for them and whatever is answered.
//!
//! In: the moment at which a request wants to leave. Out: how long it waits first. In the mean over any ten seconds no more than ten
//! a second leave, and no more than forty in any one: far below what Bybit allows an address (600 in five seconds), so that a bot
//! that goes wrong is not banned, and nor are those beside it. Questions leave a part of that to orders and cancels.

use std::collections::VecDeque;
use std::time::Duration;

use crate::bybit::codes::CallKind;
use crate::core::Timestamp;

const SECOND: Duration = Duration::from_secs(1);
const TEN_SECONDS: Duration = Duration::from_secs(10);
/// So many leave in ten seconds, and in one.
const MOST: (usize, usize) = (100, 40);
/// So many of them may have left when a question does.
const MOST_BEFORE_A_QUESTION: (usize, usize) = (80, 30);

/// When the last requests left, oldest first.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<Timestamp>);

impl Pace {
    /// How long a request must wait.
    pub(super) fn wait(&self, kind: CallKind, now: Timestamp) -> Duration {
        let (in_ten, in_one) = match kind {
            CallKind::Act => MOST,
            CallKind::Question => MOST_BEFORE_A_QUESTION,
        };
        let until = |most: usize, span: Duration| {
            let first = self.0.len().checked_sub(most).and_then(|place| self.0.get(place));
            first.map_or(Duration::ZERO, |first| first.after(span).since(now).min(span))
        };
        until(in_ten, TEN_SECONDS).max(until(in_one, SECOND))
    }

    /// A request leaves.
    pub(super) fn leaves(&mut self, now: Timestamp) {
        if self.0.len() >= MOST.0 {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When so many requests leave that all want to at once.
    fn left(kinds: impl Iterator<Item = CallKind>) -> Vec<i64> {
        let mut pace = Pace::default();
        let mut now = Timestamp(0);
        let mut left = Vec::new();
        for kind in kinds {
            now = now.after(pace.wait(kind, now));
            pace.leaves(now);
            left.push(now.0);
        }
        left
    }

    #[test]
    fn however_many_want_to_leave_no_second_has_more_than_forty_and_no_ten_seconds_more_than_a_hundred() {
        let mixed = (0..2_000).map(|number| if number % 3 == 0 { CallKind::Act } else { CallKind::Question });
        for left in [left((0..1_000).map(|_| CallKind::Act)), left(mixed)] {
            for (first, hundredth) in left.iter().zip(&left[100..]) {
                assert!(hundredth - first >= 10_000);
            }
            for (first, fortieth) in left.iter().zip(&left[40..]) {
                assert!(fortieth - first >= 1_000);
            }
        }
    }

    #[test]
    fn orders_do_not_wait_for_what_questions_have_used_up() {
        let questions = (0..80).map(|_| CallKind::Question);
        let acts = (0..10).map(|_| CallKind::Act);
        let left = left(questions.chain(acts));
        assert!(left[89] - left[79] < 1_000, "{left:?}");
    }

    #[test]
    fn what_is_rare_never_waits() {
        let mut pace = Pace::default();
        for number in 0..1_000 {
            let now = Timestamp(number * 125);
            assert_eq!(pace.wait(CallKind::Question, now), Duration::ZERO);
            pace.leaves(now);
        }
    }
}
