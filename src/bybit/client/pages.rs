//! Lists that come in pages.

use std::collections::BTreeSet;

use super::scan::{MOST_PAGES, Scan};
use super::{Client, Endpoint, parse};
use crate::bybit::query::Query;
use crate::bybit::wire::{FieldError, Page};
use crate::core::Timestamp;
use crate::engine::ports::{AdjustableClock, Fault};
use crate::http::Transport;

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
                return Err(endless(endpoint));
            }
            body = self.ask(endpoint, query().cursor(&next))?;
        }
    }

    /// Reads a list of the past up to `to`, from where it was left. After an error it can be gone on with.
    ///
    /// `query` makes the question of one window without its cursor; `rows` reads one page; `first` is the next page, where it
    /// was asked for already.
    pub(super) fn read_on<R>(
        &mut self,
        endpoint: &Endpoint,
        scan: &mut Scan<R>,
        to: Timestamp,
        mut first: Option<Result<Vec<u8>, Fault>>,
        query: impl Fn((Timestamp, Timestamp)) -> Query,
        rows: impl Fn(&[u8]) -> Result<(Vec<R>, String), Fault>,
    ) -> Result<(), Fault> {
        let began = self.protocol.clock.exchange_time();
        while let Some(question) = scan.question(to, self.protocol.clock.exchange_time()) {
            let body = match first.take() {
                Some(outcome) => outcome?,
                None => self.ask(endpoint, query(question.window).cursor(&question.cursor))?,
            };
            let (page, next) = rows(&body)?;
            if !scan.take(&question, page, next, began) {
                return Err(endless(endpoint));
            }
        }
        Ok(())
    }
}

fn endless(endpoint: &Endpoint) -> Fault {
    endpoint.unreadable("its pages do not end (nextPageCursor repeats)")
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
