//! The client against a transport that plays what it is told.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::protocol::{PATIENCE, RETRY};
use super::*;
use crate::core::Timestamp;
use crate::core::money;
use crate::core::order::{OrderSpec, OrderStatus, Side};
use crate::engine::ports::{Clock, Exchange};
use crate::http::{Response, TransportError};

/// A clock that stands still, except that sleeping moves it.
#[derive(Clone, Default)]
struct TestClock(Rc<Cell<i64>>, Rc<RefCell<Vec<Duration>>>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.get())
    }

    fn sleep(&self, duration: Duration) {
        self.0.set(self.now().after(duration).0);
        self.1.borrow_mut().push(duration);
    }
}

impl AdjustableClock for TestClock {
    fn exchange_time(&self) -> Timestamp {
        self.now()
    }

    fn correct(&self, milliseconds: i64) {
        self.0.set(self.0.get() + milliseconds);
    }
}

/// Answers from a list and remembers what was asked.
#[derive(Default)]
struct Script {
    answers: VecDeque<Result<Response, TransportError>>,
    requests: Vec<Request>,
    /// How long each answer takes, in milliseconds, and the clock that shows it.
    delays: VecDeque<i64>,
    clock: TestClock,
}

impl Transport for Script {
    fn send(&mut self, request: &Request) -> Result<Response, TransportError> {
        self.requests.push(request.clone());
        self.clock.correct(self.delays.pop_front().unwrap_or(0));
        self.answers.pop_front().expect("the script has no answer left")
    }
}

type TestClient = Client<Script, TestClock>;

fn answer(status: u16, body: &str) -> Result<Response, TransportError> {
    Ok(Response { status, headers: vec![], body: body.as_bytes().to_vec() })
}

fn ok(result: &str) -> Result<Response, TransportError> {
    answer(200, &format!(r#"{{"retCode":0,"retMsg":"OK","result":{result},"retExtInfo":{{}},"time":1}}"#))
}

fn code(code: i64) -> Result<Response, TransportError> {
    answer(200, &format!(r#"{{"retCode":{code},"retMsg":"no","result":{{}},"retExtInfo":{{}},"time":1}}"#))
}

fn client(answers: impl IntoIterator<Item = Result<Response, TransportError>>) -> TestClient {
    let clock = TestClock::default();
    clock.0.set(1_700_000_000_000);
    let credentials = Credentials::new("KEY", "SECRET").unwrap();
    let script = Script { answers: answers.into_iter().collect(), clock: clock.clone(), ..Script::default() };
    Client::new(script, clock, "BTCUSDT", Some(credentials))
}

fn place(client: &mut TestClient) -> Result<String, Fault> {
    client.place("btc-1-0b-1", &OrderSpec::MarketBuy { amount: money::parse("50").unwrap() })
}

fn order_row(link_id: &str, status: &str, created: i64) -> String {
    format!(
        r#"{{"orderId":"id-{link_id}","orderLinkId":"{link_id}","symbol":"BTCUSDT","side":"Buy","orderType":"Limit",
        "orderStatus":"{status}","price":"100","qty":"1","cumExecQty":"0","cumExecValue":"0","timeInForce":"GTC",
        "createdTime":"{created}","updatedTime":"{created}","extra":{{"deep":[1,2]}}}}"#
    )
}

fn execution_row(id: &str, time: i64) -> String {
    format!(
        r#"{{"symbol":"BTCUSDT","execId":"{id}","orderId":"1","side":"Sell","execPrice":"100","execQty":"1",
        "execValue":"100","execFee":"0.1","feeCurrency":"USDT","isMaker":true,"execTime":"{time}"}}"#
    )
}

fn list(rows: &[String], cursor: &str) -> Result<Response, TransportError> {
    ok(&format!(r#"{{"category":"spot","nextPageCursor":"{cursor}","list":[{}]}}"#, rows.join(",")))
}

#[test]
fn a_post_signs_its_exact_body_and_a_get_its_exact_query() {
    let mut client = client([ok(r#"{"orderId":"17","orderLinkId":"btc-1-0b-1"}"#), list(&[], "")]);
    assert_eq!(place(&mut client).unwrap(), "17");
    client.open_orders().unwrap();
    let credentials = Credentials::new("KEY", "SECRET").unwrap();
    let [post, get] = &client.transport.requests[..] else { panic!("two requests") };
    for (request, payload) in [(post, &post.body), (get, &get.query)] {
        let header = |name: &str| request.headers.iter().find(|(key, _)| *key == name).unwrap().1.clone();
        assert_eq!(header("X-BAPI-API-KEY"), "KEY");
        assert_eq!(header("X-BAPI-TIMESTAMP"), "1700000000000");
        assert_eq!(
            header("X-BAPI-SIGN"),
            credentials.sign_request("1700000000000", &header("X-BAPI-RECV-WINDOW"), payload)
        );
    }
    assert!(post.query.is_empty() && get.body.is_empty());
    assert_eq!(get.query, "category=spot&symbol=BTCUSDT&limit=50");
}

#[test]
fn the_market_is_asked_without_a_key_and_the_account_is_not() {
    let ticker = ok(r#"{"list":[{"symbol":"BTCUSDT","lastPrice":"1","bid1Price":"0.9","ask1Price":"1.1"}]}"#);
    let mut client = client([ticker]);
    client.protocol.credentials = None;
    client.ticker().unwrap();
    assert!(client.transport.requests[0].headers.is_empty());
    assert_eq!(client.balance("USDT").unwrap_err().kind, FaultKind::KeyRefused);
    assert_eq!(client.transport.requests.len(), 1);
}

#[test]
fn an_unreadable_answer_to_a_create_is_unknown_and_to_a_question_malformed() {
    let bodies = [
        "",
        "<html><title>502</title></html>",
        "null",
        "[]",
        "{}",
        r#"{"retCode":"0"}"#,
        r#"{"retCode":0,"retMsg":"OK","resu"#,
        r#"{"retCode":0,"retMsg":"OK"}"#,
        r#"{"retCode":0,"retMsg":"OK","result":null}"#,
        r#"{"retCode":0,"retMsg":"OK","result":{}}"#,
        r#"{"retCode":0,"retMsg":"OK","result":{"orderId":"","list":7}}"#,
    ];
    for body in bodies {
        assert_eq!(place(&mut client([answer(200, body)])).unwrap_err().kind, FaultKind::Unknown, "{body}");
        let fault = client([answer(200, body)]).open_orders().unwrap_err();
        assert_eq!((fault.kind, fault.endpoint), (FaultKind::Malformed, "GET /v5/order/realtime"), "{body}");
    }
    let fault = client([answer(200, "\u{1}<html>")]).cancel("x").unwrap_err();
    assert_eq!(fault.kind, FaultKind::Unknown);
    assert!(fault.to_string().contains("POST /v5/order/cancel") && fault.to_string().contains("<html>"), "{fault}");
}

#[test]
fn http_says_what_the_body_does_not() {
    for (status, kind) in [(500, FaultKind::Unknown), (503, FaultKind::Unknown), (404, FaultKind::Refused)] {
        assert_eq!(place(&mut client([answer(status, "<html>")])).unwrap_err().kind, kind, "{status}");
    }
    let fault = place(&mut client([answer(403, "")])).unwrap_err();
    assert_eq!(fault.kind, FaultKind::RateLimited { until: Timestamp(1_700_000_600_000) });
    assert!(fault.message.contains("country"));
    // A code that has no rule is no refusal when the server itself failed.
    let failed = answer(500, r#"{"retCode":500,"retMsg":"oops"}"#);
    assert_eq!(place(&mut client([failed])).unwrap_err().kind, FaultKind::Unknown);
    let known = answer(403, r#"{"retCode":10010,"retMsg":"Unmatched IP"}"#);
    assert_eq!(place(&mut client([known])).unwrap_err().kind, FaultKind::KeyRefused);
    let half_done = answer(502, r#"{"retCode":0,"retMsg":"OK","result":{"orderId":"1"}}"#);
    assert_eq!(place(&mut client([half_done])).unwrap_err().kind, FaultKind::Unknown);
}

#[test]
fn a_refusal_carries_code_and_words() {
    let fault = place(&mut client([code(170131)])).unwrap_err();
    assert_eq!((fault.kind, fault.code), (FaultKind::InsufficientFunds, Some(170131)));
    assert_eq!(fault.to_string(), "POST /v5/order/create: 170131 no");
}

#[test]
fn the_key_is_in_no_fault_even_where_the_exchange_quotes_it() {
    for body in [r#"{"retCode":10004,"retMsg":"error sign! origin_string[1KEY5000]"}"#, "<html>\nKEY</html>"] {
        let fault = place(&mut client([answer(200, body)])).unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains("KEY"), "{fault}");
    }
}

#[test]
fn a_lost_answer_is_unknown_and_a_refused_connection_unreachable() {
    let lost = Err(TransportError::Unknown("reset".to_owned()));
    assert_eq!(place(&mut client([lost])).unwrap_err().kind, FaultKind::Unknown);
    let refused = Err(TransportError::NotSent("refused".to_owned()));
    assert_eq!(place(&mut client([refused])).unwrap_err().kind, FaultKind::Unreachable);
}

#[test]
fn after_10002_the_clock_is_synchronised_and_the_request_signed_and_sent_once_more() {
    let time = || ok(r#"{"timeSecond":"1700000060","timeNano":"1700000060000000000"}"#);
    let mut client_ = client([code(10002), time(), ok(r#"{"orderId":"17"}"#)]);
    assert_eq!(place(&mut client_).unwrap(), "17");
    let requests = &client_.transport.requests;
    assert_eq!(
        requests.iter().map(|r| r.path.as_str()).collect::<Vec<_>>(),
        ["/v5/order/create", "/v5/market/time", "/v5/order/create"]
    );
    assert_eq!(requests[0].body, requests[2].body);
    assert!(requests[2].headers.contains(&("X-BAPI-TIMESTAMP", "1700000060000".to_owned())));

    let mut twice = client([code(10002), time(), code(10002)]);
    assert_eq!(place(&mut twice).unwrap_err().kind, FaultKind::ClockOff);
    let mut no_time = client([code(10002), answer(500, "")]);
    assert_eq!(place(&mut no_time).unwrap_err().kind, FaultKind::ClockOff);
}

#[test]
fn the_skew_is_measured_and_changes_nothing_until_asked() {
    let time = || ok(r#"{"timeSecond":"1699999999","timeNano":"1699999997500000000"}"#);
    let mut client = client([time(), time()]);
    let check = client.server_time().unwrap();
    assert_eq!((check.behind_ms, check.round_trip), (-2_500, Duration::ZERO));
    assert_eq!(client.protocol.clock.now(), Timestamp(1_700_000_000_000));
    client.synchronise_clock().unwrap();
    assert_eq!(client.protocol.clock.now(), Timestamp(1_699_999_997_500));
}

#[test]
fn what_a_comparison_of_clocks_took_to_open_the_connection_puts_the_clock_ahead_by_little() {
    // The exchange's clock is 5 s ahead. Opening the connection took 900 ms before the question left.
    let start = 1_700_000_000_000_i64;
    let mut client = client([ok(&format!(r#"{{"timeNano":"{}000000"}}"#, start + 950 + 5_000))]);
    client.transport.delays = VecDeque::from([1_000]);
    let check = client.server_time().unwrap();
    assert_eq!((check.behind_ms, check.round_trip), (5_150, Duration::from_secs(1)));
}

#[test]
fn a_heartbeat_asks_for_the_time_on_each_connection_and_the_first_answer_counts() {
    let time = |ms: i64| ok(&format!(r#"{{"timeNano":"{ms}000000"}}"#));
    let start = 1_700_000_000_000;
    let mut client = client([time(start + 50 + 5_000), time(start + 900), answer(500, "")]);
    client.transport.delays = VecDeque::from([100, 5_000, 0]);
    client.heartbeat(3).unwrap();
    assert_eq!(client.transport.requests.len(), 3);
    assert_eq!(client.protocol.clock.now(), Timestamp(start + 100 + 5_000 + 5_000));
}

#[test]
fn a_start_asks_for_instrument_and_time_together_and_a_limit_moves_with_the_clock() {
    // The exchange's clock is 5 s behind.
    let time = || ok(r#"{"timeNano":"1699999995000000000"}"#);
    let mut client = client([time(), code(10006)]);
    let fault = client.handshake().unwrap_err();
    let paths: Vec<&str> = client.transport.requests.iter().map(|request| request.path.as_str()).collect();
    assert_eq!(paths, ["/v5/market/time", "/v5/market/instruments-info"]);
    assert_eq!(client.protocol.clock.now(), Timestamp(1_699_999_995_000));
    let until = Timestamp(1_699_999_995_000).after(RETRY);
    assert_eq!((fault.kind, fault.endpoint), (FaultKind::RateLimited { until }, "GET /v5/market/instruments-info"));
}

#[test]
fn a_key_with_the_wrong_rights_is_refused_before_trading_and_one_that_cannot_be_looked_at_is_not() {
    let key = |permissions: &str| ok(&format!(r#"{{"readOnly":0,"permissions":{{{permissions}}}}}"#));
    let market = || list(&[r#"{"symbol":"BTCUSDT","lastPrice":"3","bid1Price":"2","ask1Price":"4"}"#.to_owned()], "");
    let good = r#""Spot":["SpotTrade"]"#;
    assert_eq!(client([key(good), market()]).preflight().unwrap().ask, Some(Decimal::from(4)));
    assert_eq!(client([answer(500, ""), market()]).preflight().unwrap().ask, Some(Decimal::from(4)));
    for (answer, why) in [
        (key(r#""Spot":["SpotTrade"],"Wallet":["Withdraw"]"#), "may withdraw"),
        (key(r#""Spot":[]"#), "may not trade spot"),
        (code(10003), "10003"),
    ] {
        let fault = client([answer, market()]).preflight().unwrap_err();
        assert_eq!(fault.kind, FaultKind::KeyRefused);
        assert!(fault.to_string().contains(why), "{fault}");
    }
}

#[test]
fn a_snapshot_asks_for_orders_and_executions_together_and_goes_on_where_there_is_more() {
    let week = 7 * 24 * 3600 * 1000;
    let mut client = client([
        list(&[order_row("a", "New", 1)], "more"),
        list(&[execution_row("1", 10)], ""),
        list(&[order_row("b", "New", 2)], ""),
        list(&[execution_row("2", week + 10)], ""),
    ]);
    let (open, executions) = client.snapshot(Timestamp(1), Timestamp(week + 20)).unwrap();
    assert_eq!(open.iter().map(|order| order.link_id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(executions.iter().map(|one| one.exec_id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
    let asked: Vec<&str> = client.transport.requests.iter().map(|request| request.path.as_str()).collect();
    let (orders, fills) = ("/v5/order/realtime", "/v5/execution/list");
    assert_eq!(asked, [orders, fills, orders, fills]);
}

#[test]
fn an_exhausted_limit_delays_the_next_request_of_its_class_only() {
    let limited = |reset: i64| {
        ok(r#"{"orderId":"1"}"#).map(|mut response| {
            response.headers = vec![
                ("x-bapi-limit-status".to_owned(), "0".to_owned()),
                ("x-bapi-limit-reset-timestamp".to_owned(), reset.to_string()),
            ];
            response
        })
    };
    let now = 1_700_000_000_000;
    let mut client =
        client([limited(now + 300), list(&[], ""), limited(now + 60_000), limited(now - 5), ok(r#"{"orderId":"1"}"#)]);
    place(&mut client).unwrap();
    client.open_orders().unwrap();
    assert!(client.protocol.clock.1.borrow().is_empty());
    for _ in 0..3 {
        place(&mut client).unwrap();
    }
    // The first wait is the header's, the second is bounded, and a reset in the past is none.
    assert_eq!(*client.protocol.clock.1.borrow(), [Duration::from_millis(300), PATIENCE]);
}

#[test]
fn a_rate_limit_ends_at_the_header_s_time_or_in_a_second() {
    let limited = |reset: &str| {
        code(10006).map(|mut response| {
            response.headers = vec![("X-Bapi-Limit-Reset-Timestamp".to_owned(), reset.to_owned())];
            response
        })
    };
    let now = 1_700_000_000_000;
    for (reset, until) in [
        ((now + 400).to_string(), now + 400),
        ((now - 400).to_string(), now + 1_000),
        ("soon".to_owned(), now + 1_000),
        (i64::MAX.to_string(), now + 1_000),
    ] {
        let fault = place(&mut client([limited(&reset)])).unwrap_err();
        assert_eq!(fault.kind, FaultKind::RateLimited { until: Timestamp(until) }, "{reset}");
    }
}

#[test]
fn open_orders_are_gathered_from_all_pages_and_closed_ones_left_out() {
    let mut client = client([
        list(&[order_row("a", "New", 1), order_row("b", "Filled", 1)], "id%3A1%2C2"),
        list(&[order_row("a", "New", 1), order_row("c", "PartiallyFilled", 2)], ""),
    ]);
    let names: Vec<_> = client.open_orders().unwrap().into_iter().map(|report| report.link_id).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(client.transport.requests[1].query, "category=spot&symbol=BTCUSDT&limit=50&cursor=id%3A1%2C2");
}

#[test]
fn a_cursor_that_repeats_is_an_error_and_not_an_endless_loop() {
    let page = || list(&[order_row("a", "New", 1)], "same");
    let fault = client([page(), page()]).open_orders().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Malformed);
}

#[test]
fn a_row_that_cannot_be_read_fails_the_list_and_names_row_and_field() {
    let bad = order_row("b", "New", 1).replace("\"qty\":\"1\"", "\"qty\":\"many\"");
    let fault = client([list(&[order_row("a", "New", 1), bad], "")]).open_orders().unwrap_err();
    assert_eq!(fault.kind, FaultKind::Malformed);
    assert!(fault.message.contains("row 2, field qty"), "{fault}");
}

#[test]
fn one_order_is_looked_for_in_realtime_then_in_history() {
    let mut client_ = client([list(&[], ""), list(&[order_row("x", "Cancelled", 1)], "")]);
    assert_eq!(client_.order("x").unwrap().unwrap().status, OrderStatus::Cancelled);
    assert_eq!(client_.transport.requests[1].path, "/v5/order/history");
    assert_eq!(client_.transport.requests[1].query, "category=spot&symbol=BTCUSDT&orderLinkId=x");
    // "Not there" is an answer; an order of another name is not the one asked for.
    assert_eq!(client([code(170213), list(&[order_row("y", "New", 1)], "")]).order("x"), Ok(None));
    assert_eq!(client([code(10016)]).order("x").unwrap_err().kind, FaultKind::Unknown);
}

#[test]
fn executions_come_oldest_first_and_once_over_pages_and_windows() {
    let day = 24 * 3600 * 1000;
    let (from, to) = (Timestamp(1), Timestamp(8 * day));
    let mut client = client([
        list(&[execution_row("3", 30), execution_row("2", 20)], "next"),
        list(&[execution_row("2", 20), execution_row("1b", 10), execution_row("1a", 10)], ""),
        list(&[execution_row("9", 7 * day + 5)], ""),
    ]);
    let ids: Vec<_> = client.executions(from, to).unwrap().into_iter().map(|execution| execution.exec_id).collect();
    assert_eq!(ids, ["1a", "1b", "2", "3", "9"]);
    let queries: Vec<_> = client.transport.requests.iter().map(|request| request.query.clone()).collect();
    assert_eq!(
        queries,
        [
            format!("category=spot&symbol=BTCUSDT&startTime=1&endTime={}&limit=100", 7 * day + 1),
            format!("category=spot&symbol=BTCUSDT&startTime=1&endTime={}&limit=100&cursor=next", 7 * day + 1),
            format!("category=spot&symbol=BTCUSDT&startTime={}&endTime={}&limit=100", 7 * day + 2, 8 * day),
        ]
    );
}

/// The answers to a list of the past, by its queries without the cursor's name; every second request is refused.
struct Stingy {
    pages: Vec<(String, Result<Response, TransportError>)>,
    asked: Vec<String>,
    refuses: bool,
}

impl Transport for Stingy {
    fn send(&mut self, request: &Request) -> Result<Response, TransportError> {
        self.refuses = !self.refuses;
        if self.refuses {
            return code(10006);
        }
        let wanted = |query: &String| request.query.contains(query.as_str());
        let Some((_, answer)) = self.pages.iter().rfind(|(query, _)| wanted(query)) else {
            panic!("{}", request.query)
        };
        self.asked.push(request.query.clone());
        answer.clone()
    }
}

/// Asks until there is an answer; how often that was.
fn insist<R>(mut ask: impl FnMut() -> Result<R, Fault>) -> (R, usize) {
    for attempt in 1..100 {
        match ask() {
            Ok(answer) => return (answer, attempt),
            Err(fault) => assert!(matches!(fault.kind, FaultKind::RateLimited { .. }), "{fault}"),
        }
    }
    panic!("it never ends");
}

#[test]
fn a_list_of_the_past_ends_with_all_its_rows_although_every_second_request_is_refused() {
    let week = 7 * 24 * 3600 * 1000_i64;
    let starts = [1, week + 2, 2 * week + 3];
    let to = Timestamp(2 * week + 50);
    let rows = |row: &dyn Fn(&str, i64) -> String| {
        let at = |window: usize| format!("startTime={}&", starts[window]);
        vec![
            (at(0), list(&[row("f", 60), row("e", 50)], "p2")),
            ("cursor=p2".to_owned(), list(&[row("d", 40), row("c", 30)], "p3")),
            ("cursor=p3".to_owned(), list(&[row("b", 20), row("a", 10)], "")),
            (at(1), list(&[], "")),
            (at(2), list(&[row("h", 2 * week + 40), row("g", 2 * week + 30)], "p4")),
            ("cursor=p4".to_owned(), list(&[row("g", 2 * week + 30)], "")),
        ]
    };
    let client = |pages| {
        let clock = TestClock::default();
        clock.0.set(1_700_000_000_000);
        let transport = Stingy { pages, asked: Vec::new(), refuses: false };
        Client::new(transport, clock, "BTCUSDT", Some(Credentials::new("KEY", "SECRET").unwrap()))
    };
    // Some ranges begin a fixed time ago, and the clock goes on.
    let from = |attempt: &mut i64| {
        *attempt += 1;
        Timestamp(*attempt)
    };
    let all = ["a", "b", "c", "d", "e", "f", "g", "h"];

    let mut executions = client(rows(&execution_row));
    let mut attempt = -1;
    let (read, attempts) = insist(|| executions.executions(from(&mut attempt), to));
    assert_eq!(read.iter().map(|one| one.exec_id.as_str()).collect::<Vec<_>>(), all);
    assert_eq!((attempts, executions.transport.asked.len()), (7, 6), "{:?}", executions.transport.asked);

    let filled = |name: &str, created: i64| order_row(name, "Filled", created);
    let mut orders = client(rows(&filled));
    let mut attempt = -1;
    let (read, attempts) = insist(|| orders.closed_orders(from(&mut attempt), to));
    assert_eq!(read.iter().map(|one| one.link_id.as_str()).collect::<Vec<_>>(), all);
    assert_eq!((attempts, orders.transport.asked.len()), (7, 6), "{:?}", orders.transport.asked);
    // What was read is given away, not kept: the next one reads all of it.
    insist(|| orders.closed_orders(Timestamp(1), to));
    assert_eq!(orders.transport.asked.len(), 12);
}

#[test]
fn a_snapshot_that_is_refused_goes_on_with_the_executions_and_asks_anew_what_is_open() {
    let week = 7 * 24 * 3600 * 1000;
    let order = |name: &str| list(&[order_row(name, "New", 1)], "");
    let mut client = client([
        // Executions are answered, open orders are not.
        code(10006),
        list(&[execution_row("2", 20)], "next"),
        // Both, but not what follows.
        order("a"),
        list(&[execution_row("1", 10)], ""),
        code(10006),
        order("b"),
        list(&[execution_row("3", week + 10)], ""),
    ]);
    let ask = |client: &mut TestClient| client.snapshot(Timestamp(1), Timestamp(week + 20));
    assert!(ask(&mut client).is_err() && ask(&mut client).is_err());
    let (open, executions) = ask(&mut client).unwrap();
    assert_eq!(open.iter().map(|order| order.link_id.as_str()).collect::<Vec<_>>(), ["b"]);
    assert_eq!(executions.iter().map(|one| one.exec_id.as_str()).collect::<Vec<_>>(), ["1", "2", "3"]);
    let queries: Vec<&str> = client.transport.requests.iter().map(|request| request.query.as_str()).collect();
    assert!(queries[3].contains("startTime=1&") && queries[3].ends_with("cursor=next"), "{queries:?}");
    assert!(queries[4].contains(&format!("startTime={}&", week + 2)) && queries[4] == queries[6], "{queries:?}");
}

#[test]
fn open_orders_are_asked_for_anew_after_a_refusal() {
    let mut client = client([
        list(&[order_row("gone", "New", 1)], "more"),
        code(10006),
        list(&[order_row("a", "New", 1)], "more"),
        list(&[order_row("b", "New", 2)], ""),
    ]);
    assert!(client.open_orders().is_err());
    let names: Vec<_> = client.open_orders().unwrap().into_iter().map(|order| order.link_id).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn closed_orders_are_sorted_and_those_outside_the_range_left_out() {
    let mut client = client([list(
        &[
            order_row("c", "Filled", 30),
            order_row("o", "New", 25),
            order_row("b", "Rejected", 20),
            order_row("z", "Filled", 99),
        ],
        "",
    )]);
    let names: Vec<_> =
        client.closed_orders(Timestamp(10), Timestamp(50)).unwrap().into_iter().map(|report| report.link_id).collect();
    assert_eq!(names, ["b", "c"]);
}

#[test]
fn a_symbol_that_bybit_does_not_list_is_a_fault_of_the_configuration() {
    let fault = client([ok(r#"{"category":"spot","list":[]}"#)]).instrument().unwrap_err();
    assert_eq!(fault.kind, FaultKind::ConfigurationRefused);
    assert!(fault.message.contains("BTCUSDT"));
}

#[test]
fn demo_money_is_asked_for_in_bybit_s_form() {
    let mut client = client([ok("{}")]);
    client.demo_apply_money("USDT", money::parse("1000").unwrap()).unwrap();
    assert_eq!(
        client.transport.requests[0].body,
        r#"{"adjustType":0,"utaDemoApplyMoney":[{"coin":"USDT","amountStr":"1000"}]}"#
    );
}

#[test]
fn no_prefix_of_a_valid_answer_panics_or_passes() {
    let whole = list(&[order_row("a", "New", 1)], "").unwrap().body;
    for end in 0..whole.len() {
        let cut = || Ok(Response { status: 200, headers: vec![], body: whole[..end].to_vec() });
        assert!(client([cut()]).open_orders().is_err(), "{end}");
        assert_eq!(place(&mut client([cut()])).unwrap_err().kind, FaultKind::Unknown, "{end}");
        for read in [
            client([cut()]).instrument().err(),
            client([cut()]).ticker().err(),
            client([cut()]).balance("USDT").err(),
            client([cut()]).key_info().err(),
            client([cut()]).server_time().err(),
            client([cut()]).executions(Timestamp(0), Timestamp(1)).err(),
        ] {
            assert_eq!(read.unwrap().kind, FaultKind::Malformed, "{end}");
        }
    }
}

#[test]
fn limit_orders_say_whether_they_may_take() {
    for (post_only, word) in [(true, "PostOnly"), (false, "GTC")] {
        let mut client = client([ok(r#"{"orderId":"1"}"#)]);
        let price = money::parse("100").unwrap();
        client.place("x", &OrderSpec::Limit { side: Side::Sell, price, quantity: price, post_only }).unwrap();
        assert!(client.transport.requests[0].body.contains(word));
    }
}

#[test]
fn candles_come_oldest_first_from_a_window_of_one_page() {
    let row = |minute: i64| format!(r#"["{}","2","3","1","2","5","10"]"#, minute * 60_000);
    let list = |minutes: &[i64]| {
        let rows: Vec<String> = minutes.iter().map(|minute| row(*minute)).collect();
        ok(&format!(r#"{{"category":"spot","symbol":"BTCUSDT","list":[{}]}}"#, rows.join(",")))
    };
    let mut client = client([list(&[12, 10]), list(&[10, 12]), list(&[2000])]);
    let starts: Vec<i64> =
        client.klines(Interval::Minute, Timestamp(600_000)).unwrap().iter().map(|kline| kline.start.0).collect();
    assert_eq!(starts, [600_000, 720_000]);
    let query = &client.transport.requests[0].query;
    assert_eq!(query, "category=spot&symbol=BTCUSDT&interval=1&start=600000&end=60540000&limit=1000");
    // Not newest first, or not what was asked for: that is not the answer to this question.
    for _ in 0..2 {
        let fault = client.klines(Interval::Minute, Timestamp(600_000)).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Malformed, "{fault}");
    }
}
