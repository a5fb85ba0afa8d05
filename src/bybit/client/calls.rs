//! The calls of the port, one by one.

use std::collections::BTreeSet;

use super::pages::page;
use super::scan::Scan;
use super::{Client, Endpoint, KEY, KeyInfo, TIME, parse};
use crate::bybit::query::Query;
use crate::bybit::wire::{self, CancelRequest, CreateRequest, Created, ExecutionRow, OrderRow};
use crate::core::Timestamp;
use crate::core::instrument::Instrument;
use crate::core::order::{Execution, OrderReport, OrderSpec};
use crate::engine::ports::{Action, AdjustableClock, Balance, Exchange, Fault, FaultKind, Ticker};
use crate::http::{Method, Transport};

endpoint!(INSTRUMENTS, GET "/v5/market/instruments-info", false);
endpoint!(TICKERS, GET "/v5/market/tickers", false);
endpoint!(BALANCE, GET "/v5/account/wallet-balance", true);
endpoint!(CREATE, POST "/v5/order/create");
endpoint!(CANCEL, POST "/v5/order/cancel");
endpoint!(REALTIME, GET "/v5/order/realtime", true);
endpoint!(HISTORY, GET "/v5/order/history", true);
endpoint!(EXECUTIONS, GET "/v5/execution/list", true);

/// The largest page of orders, and of executions.
const ORDERS_A_PAGE: &str = "50";
const EXECUTIONS_A_PAGE: &str = "100";

impl<T: Transport, C: AdjustableClock> Exchange for Client<T, C> {
    fn synchronise_clock(&mut self) -> Result<(), Fault> {
        self.correct_clock()
    }

    fn heartbeat(&mut self, connections: usize) -> Result<(), Fault> {
        let questions: Vec<_> = (0..connections.max(1)).map(|_| (&TIME, String::new())).collect();
        self.correct_clock_with(&questions, drop).map(drop)
    }

    fn handshake(&mut self) -> Result<Instrument, Fault> {
        let questions = [(&TIME, String::new()), (&INSTRUMENTS, self.of_symbol().finish())];
        let mut instrument = Err(INSTRUMENTS.fault(FaultKind::Unreachable, "it was never asked"));
        let moved = self.correct_clock_with(&questions, |outcome| instrument = outcome)?;
        self.read_instrument(&instrument.map_err(|fault| fault.after_correction(moved))?)
    }

    fn preflight(&mut self) -> Result<Ticker, Fault> {
        let [key, ticker] = self.ask_together([(&KEY, String::new()), (&TICKERS, self.of_symbol().finish())]);
        match key.and_then(|body| read_key(&body)) {
            Ok(info) => {
                info.permit().map_err(|why| KEY.fault(FaultKind::KeyRefused, why))?;
                if let Some((days, moment)) = info.expires_soon(self.protocol.clock.exchange_time()) {
                    log::warn!("the API key expires in {days} days, at {moment}: make a new one in time");
                }
            }
            Err(fault) if fault.kind == FaultKind::KeyRefused => return Err(fault),
            // No answer is no refusal: what the key may not do is refused when it is asked for.
            Err(fault) => log::warn!("the key could not be checked: {fault}"),
        }
        self.read_ticker(&ticker?)
    }

    fn snapshot(&mut self, from: Timestamp, to: Timestamp) -> Result<(Vec<OrderReport>, Vec<Execution>), Fault> {
        let (from, to) = self.protocol.in_exchange_time(from, to);
        let mut scan = self.executions.go_on(from);
        let began = self.protocol.clock.exchange_time();
        let Some(next) = scan.question(to, began) else {
            return Ok((self.open_orders()?, self.executions_from(scan, from, to, None)?));
        };
        let symbol = &self.protocol.symbol;
        let [open, executions] = self.ask_together([
            (&REALTIME, open_orders_of(symbol).finish()),
            (&EXECUTIONS, executions_of(symbol, next.window).cursor(&next.cursor).finish()),
        ]);
        match open.and_then(|first| self.open_orders_from(Some(first))) {
            Ok(open) => Ok((open, self.executions_from(scan, from, to, Some(executions))?)),
            Err(fault) => {
                if let Ok((page, cursor)) = executions.and_then(|body| executions_on(&body, &self.protocol.symbol)) {
                    scan.take(&next, page, cursor, began);
                }
                self.executions.keep(scan, &fault);
                Err(fault)
            }
        }
    }

    fn instrument(&mut self) -> Result<Instrument, Fault> {
        let body = self.ask(&INSTRUMENTS, self.of_symbol())?;
        self.read_instrument(&body)
    }

    fn ticker(&mut self) -> Result<Ticker, Fault> {
        let body = self.ask(&TICKERS, self.of_symbol())?;
        self.read_ticker(&body)
    }

    fn balance(&mut self, coin: &str) -> Result<Balance, Fault> {
        let body = self.ask(&BALANCE, Query::new().add("accountType", "UNIFIED").add("coin", coin))?;
        parse::<wire::BalanceAnswer<'_>>(&BALANCE, &body)?.balance(coin).map_err(|error| BALANCE.unreadable(error))
    }

    fn place(&mut self, link_id: &str, spec: &OrderSpec) -> Result<String, Fault> {
        let body = CREATE.body(&CreateRequest::new(&self.protocol.symbol, link_id, spec))?;
        order_id(&self.call(&CREATE, &body)?)
    }

    fn cancel(&mut self, link_id: &str) -> Result<(), Fault> {
        let body = CANCEL.body(&CancelRequest::new(&self.protocol.symbol, link_id))?;
        self.call(&CANCEL, &body).map(drop)
    }

    fn submit(&mut self, actions: &[Action], arrived: &mut dyn FnMut(usize, Result<String, Fault>)) {
        let symbol = &self.protocol.symbol;
        let call = |action: &Action| match action {
            Action::Place { link_id, spec } => {
                CREATE.body(&CreateRequest::new(symbol, link_id, spec)).map(|body| (&CREATE, body))
            }
            Action::Cancel { link_id } => CANCEL.body(&CancelRequest::new(symbol, link_id)).map(|body| (&CANCEL, body)),
        };
        let calls: Vec<_> = match actions.iter().map(call).collect() {
            Ok(calls) => calls,
            // None was sent.
            Err(fault) => {
                let fault: Fault = fault;
                return (0..actions.len()).for_each(|place| arrived(place, Err(fault.clone())));
            }
        };
        self.call_together(&calls, &mut |_, place, outcome| {
            let outcome = match actions.get(place) {
                Some(Action::Place { .. }) => outcome.and_then(|body| order_id(&body)),
                _ => outcome.map(|_| String::new()),
            };
            arrived(place, outcome);
        });
    }

    /// Asks what is open or recently closed, then the history of the last seven days. Older orders are found by
    /// [`Exchange::closed_orders`] and [`Exchange::executions`] only.
    fn order(&mut self, link_id: &str) -> Result<Option<OrderReport>, Fault> {
        for endpoint in [&REALTIME, &HISTORY] {
            let query = || self.of_symbol().add("orderLinkId", link_id);
            let found = match self.ask(endpoint, query()) {
                Ok(body) => page(endpoint, &body, |row: &OrderRow<'_>| report(row, &self.protocol.symbol))?.0,
                // "No such order" is an answer.
                Err(fault) if fault.kind == FaultKind::NotOpen => continue,
                Err(fault) => return Err(fault),
            };
            let newest =
                found.into_iter().filter(|report| report.link_id == link_id).max_by_key(|report| report.updated);
            if newest.is_some() {
                return Ok(newest);
            }
        }
        Ok(None)
    }

    fn open_orders(&mut self) -> Result<Vec<OrderReport>, Fault> {
        self.open_orders_from(None)
    }

    fn closed_orders(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<OrderReport>, Fault> {
        let symbol = self.protocol.symbol.clone();
        let (from, to) = self.protocol.in_exchange_time(from, to);
        let mut scan = self.closed_orders.go_on(from);
        let outcome = self.read_on(
            &HISTORY,
            &mut scan,
            to,
            None,
            |window| in_window(of_symbol(&symbol), window).add("limit", ORDERS_A_PAGE),
            |body| page(&HISTORY, body, |row: &OrderRow<'_>| report(row, &symbol)),
        );
        if let Err(fault) = outcome {
            self.closed_orders.keep(scan, &fault);
            return Err(fault);
        }
        let mut orders = once_each(scan.into_rows(), |report| report.order_id.clone());
        orders.retain(|report| report.status.is_closed() && (from..=to).contains(&report.created));
        orders.sort_by_key(|report| report.created);
        Ok(orders)
    }

    fn executions(&mut self, from: Timestamp, to: Timestamp) -> Result<Vec<Execution>, Fault> {
        let (from, to) = self.protocol.in_exchange_time(from, to);
        let scan = self.executions.go_on(from);
        self.executions_from(scan, from, to, None)
    }
}

/// The exchange's own name of an order, in the answer to its creation.
fn order_id(body: &[u8]) -> Result<String, Fault> {
    parse::<Created<'_>>(&CREATE, body)?.order_id().map_err(|error| CREATE.unreadable(error))
}

/// What the exchange says of the key in use.
pub(super) fn read_key(body: &[u8]) -> Result<KeyInfo, Fault> {
    Ok(parse::<wire::KeyAnswer<'_>>(&KEY, body)?.key_info())
}

impl<T: Transport, C: AdjustableClock> Client<T, C> {
    fn of_symbol(&self) -> Query {
        of_symbol(&self.protocol.symbol)
    }

    /// Two questions at once.
    fn ask_together(&mut self, questions: [(&Endpoint, String); 2]) -> [Result<Vec<u8>, Fault>; 2] {
        let mut outcomes =
            questions.each_ref().map(|(endpoint, _)| Err(endpoint.fault(FaultKind::Unreachable, "it was never asked")));
        self.call_together(&questions, &mut |_, place, outcome| {
            if let Some(slot) = outcomes.get_mut(place) {
                *slot = outcome;
            }
        });
        outcomes
    }

    /// Asks several things at once, the time among them. Corrects the clock by the first answer about it, and hands on what
    /// became of the other questions. By how many milliseconds that moved the engine's time.
    fn correct_clock_with(
        &mut self,
        questions: &[(&Endpoint, String)],
        mut other: impl FnMut(Result<Vec<u8>, Fault>),
    ) -> Result<i64, Fault> {
        let before = self.protocol.clock.exchange_time();
        let mut check = Err(TIME.fault(FaultKind::Unreachable, "it was never asked"));
        self.call_together(questions, &mut |protocol, place, outcome| {
            let asks_time = questions.get(place).is_some_and(|(endpoint, _)| endpoint.path == TIME.path);
            if !asks_time {
                other(outcome);
            } else if check.is_err() {
                check = outcome.and_then(|body| protocol.time_check(before, &body));
            }
        });
        let (check, before) = (check?, self.protocol.clock.now());
        self.protocol.follow(check);
        Ok(self.protocol.clock.now().0.saturating_sub(before.0))
    }

    fn read_instrument(&self, body: &[u8]) -> Result<Instrument, Fault> {
        parse::<wire::InstrumentAnswer<'_>>(&INSTRUMENTS, body)?
            .instrument(&self.protocol.symbol)
            .map_err(|error| INSTRUMENTS.unreadable(error))?
            .ok_or_else(|| self.unlisted(&INSTRUMENTS))
    }

    fn read_ticker(&self, body: &[u8]) -> Result<Ticker, Fault> {
        parse::<wire::TickerAnswer<'_>>(&TICKERS, body)?
            .ticker(&self.protocol.symbol)
            .map_err(|error| TICKERS.unreadable(error))?
            .ok_or_else(|| self.unlisted(&TICKERS))
    }

    fn open_orders_from(&mut self, first: Option<Vec<u8>>) -> Result<Vec<OrderReport>, Fault> {
        let symbol = self.protocol.symbol.clone();
        let orders = self.pages(
            &REALTIME,
            first,
            || open_orders_of(&symbol),
            |body| page(&REALTIME, body, |row: &OrderRow<'_>| report(row, &symbol)),
        )?;
        Ok(once_each(orders.into_iter().filter(|report| !report.status.is_closed()).collect(), |report| {
            report.order_id.clone()
        }))
    }

    /// `first`: the next page of this list, where it was asked for already.
    fn executions_from(
        &mut self,
        mut scan: Scan<Execution>,
        from: Timestamp,
        to: Timestamp,
        first: Option<Result<Vec<u8>, Fault>>,
    ) -> Result<Vec<Execution>, Fault> {
        let symbol = self.protocol.symbol.clone();
        let outcome = self.read_on(
            &EXECUTIONS,
            &mut scan,
            to,
            first,
            |window| executions_of(&symbol, window),
            |body| executions_on(body, &symbol),
        );
        if let Err(fault) = outcome {
            self.executions.keep(scan, &fault);
            return Err(fault);
        }
        // New fills push older ones onto the next page while it is being asked for: some rows come twice. Both sides of one
        // trade may carry the same id.
        let mut executions =
            once_each(scan.into_rows(), |execution| (execution.order_id.clone(), execution.exec_id.clone()));
        executions.retain(|execution| (from..=to).contains(&execution.time));
        executions.sort_by_key(|execution| execution.time);
        Ok(executions)
    }

    fn unlisted(&self, endpoint: &Endpoint) -> Fault {
        endpoint.fault(
            FaultKind::ConfigurationRefused,
            format!("Bybit lists no spot symbol {:?}; check strategy.symbol", self.protocol.symbol),
        )
    }
}

fn of_symbol(symbol: &str) -> Query {
    Query::new().add("category", "spot").add("symbol", symbol)
}

fn open_orders_of(symbol: &str) -> Query {
    of_symbol(symbol).add("limit", ORDERS_A_PAGE)
}

fn executions_of(symbol: &str, window: (Timestamp, Timestamp)) -> Query {
    in_window(of_symbol(symbol), window).add("limit", EXECUTIONS_A_PAGE)
}

/// The symbol's executions on one page, and the cursor of the next.
fn executions_on(body: &[u8], symbol: &str) -> Result<(Vec<Execution>, String), Fault> {
    page(&EXECUTIONS, body, |row: &ExecutionRow<'_>| row.concerns(symbol).then(|| row.execution()).transpose())
}

fn in_window(query: Query, (start, end): (Timestamp, Timestamp)) -> Query {
    query.add("startTime", &start.0.to_string()).add("endTime", &end.0.to_string())
}

fn report(row: &OrderRow<'_>, symbol: &str) -> Result<Option<OrderReport>, wire::FieldError> {
    row.concerns(symbol).then(|| row.report()).transpose()
}

/// Keeps the first row of each name.
fn once_each<R, N: Ord>(rows: Vec<R>, name: impl Fn(&R) -> N) -> Vec<R> {
    let mut seen = BTreeSet::new();
    rows.into_iter().filter(|row| seen.insert(name(row))).collect()
}
