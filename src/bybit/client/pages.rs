//! Lists that come in pages, and ranges of time that come in windows.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Client, Endpoint, parse};
use crate::bybit::query::Query;
use crate::bybit::wire::{FieldError, Page};
use crate::core::Timestamp;
use crate::engine::ports::{AdjustableClock, Fault};
use crate::http::Transport;

/// The longest range that one question about the past may span.
const WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);
/// More pages than any account can fill: 500 open orders are 10 of them.
const MOST_PAGES: usize = 2_000;

/// The windows that cover `from..=to`, oldest first, without overlap.
pub(super) fn windows(from: Timestamp, to: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> {
    let mut start = from;
    std::iter::from_fn(move || {
        let window = (start, start.after(WINDOW).min(to));
        (start <= to).then(|| {
            start = Timestamp(window.1.0.saturating_add(1));
            window
        })
    })
    // The end of time must not make a window that begins anew for ever.
    .take_while(move |(start, _)| *start < Timestamp(i64::MAX))
}

impl<T: Transport, C: AdjustableClock> Client<T, C> {
    /// All rows of a list, page after page, in the order the exchange gives them.
    ///
    /// `query` makes the question without its cursor; `rows` reads one page; `first` is the first page, where it was asked
    /// for already.
    pub(super) fn pages<R>(
        &mut self,
        endpoint: &Endpoint,
        first: Option<Vec<u8>>,
        query: impl Fn() -> Query,
        rows: impl Fn(&[u8]) -> Result<(Vec<R>, String), Fault>,
    ) -> Result<Vec<R>, Fault> {
        let mut all = Vec::new();
        let mut seen = BTreeSet::new();
        let mut body = match first {
            Some(body) => body,
            None => self.ask(endpoint, query())?,
        };
        loop {
            let (page, next) = rows(&body)?;
            all.extend(page);
            if next.is_empty() {
                return Ok(all);
            }
            if seen.len() >= MOST_PAGES || !seen.insert(next.clone()) {
                return Err(endpoint.unreadable("its pages do not end (nextPageCursor repeats)"));
            }
            body = self.ask(endpoint, query().cursor(&next))?;
        }
    }
}

/// Reads one page: each row by `read`, and the cursor of the next one. A row that cannot be read fails the page: a
/// list that silently lacks an order is worse than none.
pub(super) fn page<'a, W: serde::Deserialize<'a>, R>(
    endpoint: &Endpoint,
    body: &'a [u8],
    read: impl Fn(&W) -> Result<Option<R>, FieldError>,
) -> Result<(Vec<R>, String), Fault> {
    let page: Page<'_, W> = parse(endpoint, body)?;
    let mut rows = Vec::with_capacity(page.list.len());
    for (number, row) in page.list.iter().enumerate() {
        match read(row) {
            Ok(row) => rows.extend(row),
            Err(error) => return Err(endpoint.unreadable(format_args!("row {}, {error}", number + 1))),
        }
    }
    // A page may be empty of our rows and still have a successor.
    let cursor = if page.list.is_empty() { String::new() } else { page.cursor.as_str().to_owned() };
    Ok((rows, cursor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_cover_the_range_once_and_none_is_longer_than_seven_days() {
        let day = 24 * 3600 * 1000;
        let all: Vec<_> = windows(Timestamp(5), Timestamp(5 + 20 * day)).collect();
        assert_eq!(all.len(), 3);
        assert_eq!((all[0].0, all[2].1), (Timestamp(5), Timestamp(5 + 20 * day)));
        for pair in all.windows(2) {
            assert_eq!(pair[1].0.0, pair[0].1.0 + 1);
        }
        assert!(all.iter().all(|(start, end)| end.since(*start) <= WINDOW));
        assert_eq!(windows(Timestamp(3), Timestamp(3)).count(), 1);
        assert_eq!(windows(Timestamp(4), Timestamp(3)).count(), 0);
        assert_eq!(windows(Timestamp(i64::MAX - 1), Timestamp(i64::MAX)).count(), 1);
    }
}
