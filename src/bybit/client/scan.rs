//! A list of the past that is read in windows of time and pages, and goes on where a refused request has ended it.
//!
//! In: what is asked for, and pages. Out: the next question, and at the end every row. No I/O.
//!
//! ```text
//!            ┌───────────── its last page, and time is left ─────────────┐
//!            ▼                                                           │
//!  from ── window, first page ── next page, by the cursor ── … ──────────┤
//!            │         a refusal: kept, and gone on with                 └── its last page, all is read
//!            └────────── from this very page in the next call
//! ```
//!
//! What was read stays true: executions never change, and an order that is closed stays closed. Two things are not in it.
//! Executions that came after the first page of a window was read, if that window reached into the present: what an earlier call
//! has read of the present is read again. And orders that closed after their window was read: whoever wants them too must know
//! what was open before the first call. Open orders themselves are few, and a list of them holds for one moment: it is never gone
//! on with, and begins anew.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::core::Timestamp;
use crate::engine::ports::{Fault, FaultKind};

/// The longest range that one question about the past may span.
const WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
/// What lies further back than this when a page is asked for is listed by then.
const LISTED: Duration = Duration::from_secs(600);
/// More pages than any account can fill in one window: 500 open orders are 10 of them.
pub(super) const MOST_PAGES: usize = 2_000;
/// A range that begins so much later than another is the same question, asked again: some begin a fixed time ago.
const SAME: Duration = Duration::from_secs(3600);
/// So many lists are kept; of more, the oldest is read from its beginning.
const MOST_KEPT: usize = 4;

/// One list, as far as it was read.
#[derive(Debug)]
pub(super) struct Scan<R> {
    from: Timestamp,
    /// Where the window begins that is read now.
    start: Timestamp,
    /// When the first page of the window before it was asked for.
    asked: Timestamp,
    /// What was read of that window; `None` before its first page.
    window: Option<Window<R>>,
    /// The rows of the windows before it, oldest first.
    rows: Vec<R>,
}

#[derive(Debug)]
struct Window<R> {
    end: Timestamp,
    /// When its first page was asked for.
    asked: Timestamp,
    /// As the exchange gives them: newest first.
    rows: Vec<R>,
    /// The next page, and those before it.
    cursor: String,
    seen: BTreeSet<String>,
}

/// A page to be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// From when to when; both are part of it.
    pub(super) window: (Timestamp, Timestamp),
    /// Empty for the first page.
    pub(super) cursor: String,
    asked: Timestamp,
}

impl<R> Scan<R> {
    fn new(from: Timestamp) -> Self {
        Self { from, start: from, asked: from, window: None, rows: Vec::new() }
    }

    /// What to ask for, now, to have all up to `to`; `None` once that is read.
    pub(super) fn question(&self, to: Timestamp, now: Timestamp) -> Option<Question> {
        if let Some(window) = &self.window {
            let Window { end, asked, cursor, .. } = window;
            return Some(Question { window: (self.start, *end), cursor: cursor.clone(), asked: *asked });
        }
        // The end of time must not make a window that begins anew for ever.
        let left = self.start <= to && self.start < Timestamp(i64::MAX);
        left.then(|| Question {
            window: (self.start, self.start.after(WINDOW).min(to)),
            cursor: String::new(),
            asked: now,
        })
    }

    /// Takes the page that was asked for, and the cursor of the next one, which is empty after the last. `began` is when this
    /// call began. `false` if the pages do not end.
    pub(super) fn take(&mut self, question: &Question, page: Vec<R>, next: String, began: Timestamp) -> bool {
        let Question { window: (_, end), asked, .. } = *question;
        let new = || Window { end, asked, rows: Vec::new(), cursor: String::new(), seen: BTreeSet::new() };
        let mut window = self.window.take().unwrap_or_else(new);
        window.rows.extend(page);
        if next.is_empty() {
            self.start = Timestamp(window.end.0.saturating_add(1));
            self.asked = window.asked;
            if window.asked < began {
                self.step_back();
            }
            self.rows.extend(window.rows.into_iter().rev());
            return true;
        }
        if window.seen.len() >= MOST_PAGES || !window.seen.insert(next.clone()) {
            return false;
        }
        window.cursor = next;
        self.window = Some(window);
        true
    }

    /// What came since an earlier call asked for the first page of the last window is not in it, if that reached into the present:
    /// from there on it is read again.
    fn step_back(&mut self) {
        self.start = self.start.min(self.asked.before(LISTED)).max(self.from);
    }

    /// All rows, window by window, in each the oldest first; some of them twice.
    pub(super) fn into_rows(self) -> Vec<R> {
        self.rows
    }
}

/// The lists of one kind that were not read to their end, the oldest first.
#[derive(Debug)]
pub(super) struct Unfinished<R>(Vec<Scan<R>>);

impl<R> Default for Unfinished<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R> Unfinished<R> {
    /// The list that begins there, or shortly before it, as far as it is read.
    pub(super) fn go_on(&mut self, from: Timestamp) -> Scan<R> {
        let same = |scan: &Scan<R>| (scan.from..=scan.from.after(SAME)).contains(&from);
        let place = self.0.iter().rposition(same);
        place.map_or_else(|| Scan::new(from), |place| self.0.remove(place))
    }

    /// Keeps a list if the fault that ended it says nothing against what was asked.
    pub(super) fn keep(&mut self, mut scan: Scan<R>, fault: &Fault) {
        let passes = matches!(
            fault.kind,
            FaultKind::RateLimited { .. }
                | FaultKind::Unreachable
                | FaultKind::Unknown
                | FaultKind::ClockOff
                | FaultKind::Busy
        );
        let begun = scan.window.is_some() || scan.start > scan.from;
        if passes && begun {
            if scan.window.is_none() {
                scan.step_back();
            }
            let surplus = (self.0.len() + 1).saturating_sub(MOST_KEPT);
            drop(self.0.drain(..surplus));
            self.0.push(scan);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 24 * 3600 * 1000;

    fn fault(kind: FaultKind) -> Fault {
        Fault { kind, endpoint: "GET /v5/execution/list", code: None, message: String::new() }
    }

    /// The windows that a scan asks for whose pages are all empty.
    fn windows(from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let mut scan = Scan::<()>::new(from);
        let mut windows = Vec::new();
        while let Some(question) = scan.question(to, Timestamp(0)) {
            windows.push(question.window);
            assert!(scan.take(&question, Vec::new(), String::new(), Timestamp(0)));
        }
        windows
    }

    #[test]
    fn windows_cover_the_range_once_and_none_is_longer_than_seven_days() {
        let all = windows(Timestamp(5), Timestamp(5 + 20 * DAY));
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].0, all[2].1), (Timestamp(5), Timestamp(5 + 20 * DAY)));
        for pair in all.windows(2) {
            assert_eq!(pair[1].0.0, pair[0].1.0 + 1);
        }
        assert!(all.iter().all(|(start, end)| end.since(*start) <= WINDOW));
        assert_eq!(windows(Timestamp(3), Timestamp(3)).len(), 1);
        assert_eq!(windows(Timestamp(4), Timestamp(3)).len(), 0);
        assert_eq!(windows(Timestamp(i64::MAX - 1), Timestamp(i64::MAX)).len(), 1);
    }

    #[test]
    fn what_an_earlier_call_read_of_the_present_is_read_again() {
        let (from, now) = (Timestamp(0), Timestamp(10 * DAY));
        let to = |now: Timestamp| now.after(LISTED);
        let mut scan = Scan::new(from);
        // The first window lies in the past: half of it is read in one call, half in the next.
        let question = scan.question(to(now), now).unwrap();
        assert!(scan.take(&question, vec![1], "next".to_owned(), now));
        let now = Timestamp(now.0 + 5_000);
        let question = scan.question(to(now), now).unwrap();
        assert_eq!((question.window, question.cursor.as_str()), ((from, from.after(WINDOW)), "next"));
        assert!(scan.take(&question, vec![2], String::new(), now));
        // The second one reaches into the present, and a call ends in its middle.
        let began = now;
        let question = scan.question(to(now), now).unwrap();
        assert_eq!(question.window, (Timestamp(from.after(WINDOW).0 + 1), to(now)));
        assert!(scan.take(&question, vec![3], "more".to_owned(), now));
        let now = Timestamp(now.0 + DAY);
        let question = scan.question(to(now), now).unwrap();
        assert_eq!((question.window.1, question.cursor.as_str()), (to(began), "more"));
        assert!(scan.take(&question, vec![4], String::new(), now));
        let question = scan.question(to(now), now).unwrap();
        assert_eq!(question.window, (began.before(LISTED), to(now)));
        assert!(scan.take(&question, vec![5], String::new(), now));
        assert_eq!(scan.question(to(now), now), None);
        assert_eq!(scan.into_rows(), [2, 1, 4, 3, 5]);
    }

    #[test]
    fn a_window_that_was_read_whole_and_reached_into_the_present_is_gone_on_with_from_there() {
        let limited = fault(FaultKind::RateLimited { until: Timestamp(0) });
        // The first window ends in a minute, the second is never answered.
        let (from, now) = (Timestamp(0), Timestamp(7 * DAY - 60_000));
        let mut scan = Scan::new(from);
        let question = scan.question(now.after(LISTED), now).unwrap();
        assert_eq!(question.window.1, Timestamp(7 * DAY));
        assert!(scan.take(&question, vec![1], String::new(), now));
        let mut unfinished = Unfinished::default();
        unfinished.keep(scan, &limited);
        let later = now.after(Duration::from_secs(1));
        let scan = unfinished.go_on(from);
        let question = scan.question(later.after(LISTED), later).unwrap();
        assert_eq!(question.window, (now.before(LISTED), later.after(LISTED)));
    }

    #[test]
    fn a_list_is_gone_on_with_by_who_asks_for_it_again_and_by_nobody_else() {
        let begun = |from: i64, row: i64| {
            let mut scan = Scan::new(Timestamp(from));
            let question = scan.question(Timestamp(from + 30 * DAY), Timestamp(0)).unwrap();
            assert!(scan.take(&question, vec![row], String::new(), Timestamp(0)));
            scan
        };
        let limited = fault(FaultKind::RateLimited { until: Timestamp(0) });
        let mut unfinished = Unfinished::default();
        unfinished.keep(begun(0, 1), &limited);
        unfinished.keep(begun(5 * DAY, 2), &limited);
        assert_eq!(unfinished.go_on(Timestamp(5 * DAY - 1)).into_rows(), Vec::<i64>::new());
        assert_eq!(unfinished.go_on(Timestamp(3_000)).into_rows(), [1]);
        assert_eq!(unfinished.go_on(Timestamp(3_000)).into_rows(), Vec::<i64>::new());
        assert_eq!(unfinished.go_on(Timestamp(5 * DAY)).into_rows(), [2]);
        for place in 0..10 {
            unfinished.keep(begun(place * DAY, place), &limited);
        }
        assert_eq!(unfinished.0.len(), MOST_KEPT);
        assert_eq!(unfinished.go_on(Timestamp(9 * DAY)).into_rows(), [9]);
    }

    #[test]
    fn a_list_whose_question_is_refused_is_begun_anew() {
        for (kind, kept) in [
            (FaultKind::Unknown, 1),
            (FaultKind::Unreachable, 1),
            // The cursor may be too old, or the pages may not end.
            (FaultKind::Refused, 0),
            (FaultKind::Malformed, 0),
        ] {
            let mut unfinished = Unfinished::default();
            let mut scan = Scan::new(Timestamp(0));
            let question = scan.question(Timestamp(5), Timestamp(0)).unwrap();
            assert!(scan.take(&question, vec![1], "next".to_owned(), Timestamp(0)));
            unfinished.keep(scan, &fault(kind));
            assert_eq!(unfinished.0.len(), kept, "{kind:?}");
        }
    }
}
