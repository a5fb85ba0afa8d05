//! The way of a request to the exchange and of its answer back, with everything that can befall them.

use std::cell::RefCell;
use std::rc::Rc;

use recompra::core::Timestamp;
use recompra::core::order::OrderKey;
use recompra::http::{Method, Request, Response, Sent, Transport, TransportError};
use serde_json::{Value, json};

use super::faults::Fault;
use super::world::World;

/// The transport's own time-out, in milliseconds.
const TIMEOUT: i64 = 10_000;
/// A signature is good for so long, in milliseconds.
const RECV_WINDOW: i64 = 5_000;
const UNKNOWN: [i64; 12] =
    [10_000, 10_014, 10_016, 170_001, 170_007, 170_032, 170_035, 170_146, 170_147, 170_149, 170_150, 170_234];
const BUSY: [i64; 3] = [170_191, 170_212, 110_079];
const NOT_OPEN: [i64; 8] = [110_001, 110_008, 110_010, 170_139, 170_142, 170_143, 170_190, 170_213];
const FILTERS: [i64; 6] = [170_124, 170_130, 170_132, 170_134, 170_140, 170_193];

/// The transport as the client holds it.
pub(crate) struct Wire(pub(crate) Rc<RefCell<World>>);

impl Transport for Wire {
    fn send(&mut self, request: &Request) -> Result<Response, TransportError> {
        let world = &mut *self.0.borrow_mut();
        let name = created_name(request);
        let answer = world.carry(request, name.as_deref());
        if world.options.trace {
            let answer = match &answer {
                Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
                Err(error) => error.to_string(),
            };
            world.say(&format!("{} {}{} → {answer}", request.path, request.query, request.body));
        }
        answer
    }

    /// One after another, but what is slow is slow for all of them at once.
    fn send_together(&mut self, requests: &[Request], arrived: &mut dyn FnMut(usize, Sent)) {
        self.0.borrow_mut().conditions.together = Some(0);
        for (place, request) in requests.iter().enumerate() {
            let sent = self.send(request);
            arrived(place, sent);
        }
        self.0.borrow_mut().conditions.together = None;
    }
}

/// The name of the order that a request creates.
fn created_name(request: &Request) -> Option<String> {
    if request.path != "/v5/order/create" {
        return None;
    }
    serde_json::from_str::<Value>(&request.body).ok()?.get("orderLinkId")?.as_str().map(str::to_owned)
}

fn lost(why: &str) -> Result<Response, TransportError> {
    Err(TransportError::Unknown(why.to_owned()))
}

impl World {
    fn carry(&mut self, request: &Request, name: Option<&str>) -> Result<Response, TransportError> {
        self.check_request(request, name);
        self.request_leaves();
        if let Some(name) = name {
            // Until an answer says otherwise, nobody knows what became of it.
            self.unknown.insert(name.to_owned());
        }
        self.crash_if(Fault::CrashBeforeRequest);
        if self.faults.hit(Fault::RequestNotSent) {
            self.pass(20);
            name.map(|name| self.unknown.remove(name));
            return Err(TransportError::NotSent("connection refused".to_owned()));
        }
        let reset = if self.faults.number(0, 1) == 0 { TIMEOUT } else { 50 };
        if self.faults.hit(Fault::RequestLost) {
            self.pass(reset);
            return lost("the request was lost");
        }
        if request.method == Method::Post && self.faults.hit(Fault::RequestLate) {
            self.late.push((self.now + self.faults.number(100, 8_000), request.clone()));
            self.pass(reset);
            return lost("the request is still on its way");
        }
        if let Some(time) = self.goes_unanswered(request) {
            let (done, waited) = (self.faults.number(0, 1), self.conditions.together.unwrap_or(0));
            if done == 1 {
                self.exchange.handle(request, Timestamp(self.now));
                self.told();
            }
            self.conditions.together = self.conditions.together.map(|waited| waited.max(time));
            self.pass((time - waited).max(1));
            return lost("nothing comes back");
        }
        let (there, back) = match self.conditions.way() {
            Some(way) => (way, way),
            None if self.faults.ceased => (20, 20),
            None => (self.faults.number(5, 120), self.faults.number(5, 120)),
        };
        self.pass(there);
        let refused = self.refused_for_a_while(request).or_else(|| self.refuse(request));
        let mut response = match refused {
            Some(response) => response,
            None => {
                if request.path == "/v5/order/cancel" && self.faults.hit(Fault::CancelRace) {
                    let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
                    self.race(body["orderLinkId"].as_str().unwrap_or_default());
                }
                let response = self.exchange.handle(request, Timestamp(self.now));
                self.told();
                response
            }
        };
        self.crash_if(Fault::CrashAfterRequest);
        if self.faults.hit(Fault::AnswerLost) {
            self.pass(reset);
            return lost("the answer was lost");
        }
        if self.faults.hit(Fault::AnswerLate) {
            let late = self.faults.number(1_000, TIMEOUT - 500);
            self.pass(late);
        }
        self.spoil(request, &mut response);
        self.hide(request, &mut response);
        self.changed_for_a_while(request, &mut response);
        self.pass(back);
        self.answered(request, name, &response);
        Ok(response)
    }

    /// Invariants 4 and 5: only own orders are touched, and no order is sent while another's fate is unknown.
    fn check_request(&mut self, request: &Request, name: Option<&str>) {
        if request.method == Method::Get || request.path.ends_with("demo-apply-money") {
            return;
        }
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let link_id = body["orderLinkId"].as_str().unwrap_or_default();
        let Some(key) = OrderKey::of_link_id(&self.bot, link_id) else {
            self.broken(4, format!("{} {} touches what is not the bot's", request.path, request.body));
        };
        if name.is_none() {
            return;
        }
        let bot = self.bot.clone();
        let of_slot = |other: &String| {
            OrderKey::of_link_id(&bot, other).is_some_and(|other| other.cycle == key.cycle && other.slot == key.slot)
        };
        let in_doubt = match body["side"].as_str() {
            Some("Buy") => self.unknown.iter().next().cloned(),
            _ => self.unknown.iter().find(|other| of_slot(other)).cloned(),
        };
        if let Some(in_doubt) = in_doubt {
            self.broken(5, format!("{link_id} is sent while nobody knows what became of {in_doubt}"));
        }
    }

    /// A refusal, executed or not, that the exchange itself would not give.
    fn refuse(&mut self, request: &Request) -> Option<Response> {
        let act = request.method == Method::Post;
        let create = request.path == "/v5/order/create";
        let code = |world: &mut Self, codes: &[i64]| {
            let which = usize::try_from(world.faults.number(0, codes.len() as i64 - 1)).unwrap_or(0);
            Some(answer(200, &json!({ "retCode": codes[which], "retMsg": "simulated fault", "result": {}, "time": 0 })))
        };
        if self.faults.hit(Fault::CodeUnknownDone) {
            self.exchange.handle(request, Timestamp(self.now));
            self.told();
            return code(self, &UNKNOWN);
        }
        if self.faults.hit(Fault::CodeUnknownNotDone) {
            return code(self, &UNKNOWN);
        }
        if !request.headers.is_empty() && self.faults.hit(Fault::CodeClock) {
            return code(self, &[10_002]);
        }
        if self.faults.hit(Fault::CodeRateLimit) {
            return code(self, &[10_006, 10_429, 170_005, 170_222]);
        }
        if self.faults.hit(Fault::CodeKey) {
            return code(self, &[10_003, 10_005, 33_004]);
        }
        if self.faults.hit(Fault::CodeConfiguration) {
            return code(self, &[10_028, 170_121, 170_157]);
        }
        if act && self.faults.hit(Fault::CodeBusy) {
            return code(self, &BUSY);
        }
        if request.path == "/v5/order/cancel" && self.faults.hit(Fault::CodeNotOpen) {
            return code(self, &[170_213, 170_142, 110_001]);
        }
        if create && self.faults.hit(Fault::CodeFilter) {
            return code(self, &FILTERS);
        }
        if create && self.faults.hit(Fault::CodeFunds) {
            return code(self, &[170_131, 170_033]);
        }
        if create && self.faults.hit(Fault::CodeMakerOnly) {
            return code(self, &[170_217, 170_218]);
        }
        if act && self.faults.hit(Fault::CodeRefused) {
            return code(self, &[10_001, 170_999, 12_345]);
        }
        if self.faults.hit(Fault::AnswerTooMany) {
            let status = if self.faults.number(0, 1) == 0 { 429 } else { 403 };
            return Some(Response { status, headers: Vec::new(), body: b"<html>Too many</html>".to_vec() });
        }
        None
    }

    /// What gateways make of an answer.
    fn spoil(&mut self, request: &Request, response: &mut Response) {
        // A body cut short is noticed by its length where the transport knows it; here it is not.
        if self.faults.hit(Fault::AnswerCut) {
            let half = response.body.len() / 2;
            response.body.truncate(half);
        } else if self.faults.hit(Fault::AnswerHtml) {
            response.body = b"<!DOCTYPE html><title>gateway</title>".to_vec();
        } else if self.faults.hit(Fault::AnswerServerError) {
            response.status = [500, 502, 503, 504][usize::try_from(self.faults.number(0, 3)).unwrap_or(0)];
            response.body = b"upstream error".to_vec();
        } else {
            return;
        }
        self.say(&format!("fault: the answer to {} is spoilt", request.path));
    }

    /// Leaves out of a list what is too new to be shown yet.
    fn hide(&mut self, request: &Request, response: &mut Response) {
        let (fault, field, longest) = match request.path.as_str() {
            "/v5/order/realtime" => (Fault::HiddenOrder, "createdTime", 3_000),
            "/v5/order/history" => (Fault::HiddenHistory, "updatedTime", 20_000),
            "/v5/execution/list" => (Fault::HiddenExecution, "execTime", 20_000),
            _ => return,
        };
        let forgotten = fault == Fault::HiddenOrder && self.faults.hit(Fault::RealtimeForgotten);
        if !self.faults.hit(fault) && !forgotten {
            return;
        }
        let Ok(mut body) = serde_json::from_slice::<Value>(&response.body) else { return };
        let limit = self.now - self.faults.number(100, longest);
        if let Some(rows) = body.pointer_mut("/result/list").and_then(Value::as_array_mut) {
            let before = rows.len();
            rows.retain(|row| {
                let time: i64 = row[field].as_str().and_then(|text| text.parse().ok()).unwrap_or(0);
                let open = matches!(row["orderStatus"].as_str(), Some("New" | "PartiallyFilled"));
                if forgotten { open } else { time < limit }
            });
            if rows.len() < before {
                self.say(&format!("fault: {} of {before} rows are hidden", before - rows.len()));
                response.body = body.to_string().into_bytes();
            }
        }
    }

    /// What the bot can know from an answer about creates that were unclear.
    fn answered(&mut self, request: &Request, name: Option<&str>, response: &Response) {
        if let (Some(name), 400..=499) = (name, response.status) {
            self.unknown.remove(name);
        }
        let Ok(body) = serde_json::from_slice::<Value>(&response.body) else { return };
        let code = body["retCode"].as_i64().unwrap_or(-1);
        if response.status != 200 {
            return;
        }
        if let Some(name) = name {
            if !UNKNOWN.contains(&code) && !BUSY.contains(&code) && code != 170_141 {
                self.unknown.remove(name);
            }
            return;
        }
        if request.path == "/v5/order/cancel" {
            self.cancel_answered(request, code);
        }
        if self.unknown.is_empty() || code != 0 {
            return;
        }
        self.heard(&String::from_utf8_lossy(&response.body));
        // An order that is not there, and cannot come any more, was settled by asking; so was one that the exchange has
        // forgotten: it is closed, and nothing can tell more of it.
        let asked = self.unknown.iter().find(|name| request.query.contains(name.as_str())).cloned();
        if let Some(name) = asked.filter(|_| request.path == "/v5/order/history") {
            let there = self.exchange.orders().any(|order| order.link_id == name);
            let coming = self.late.iter().any(|(_, late)| late.body.contains(&name) && in_time(late, self.now));
            if !there && !coming || super::invariants::history_is_lost(self) {
                self.unknown.remove(&name);
            }
        }
    }

    /// A cancel under an order's own name settles what became of it: it was there, or there is nothing to cancel.
    fn cancel_answered(&mut self, request: &Request, code: i64) {
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        let name = body["orderLinkId"].as_str().unwrap_or_default();
        let open = self.books.orders.values().any(|order| order.open && order.row.link_id == name);
        let coming = self.late.iter().any(|(_, late)| late.body.contains(name) && in_time(late, self.now));
        if code == 0 || (NOT_OPEN.contains(&code) && !open && !coming) {
            self.unknown.remove(name);
        }
    }

    /// Names that appear in something that reached the bot.
    pub(crate) fn heard(&mut self, text: &str) {
        self.unknown.retain(|name| !text.contains(&format!("\"{name}\"")));
    }
}

/// Whether the exchange would still take a request that is under way, by the time in its signature.
fn in_time(request: &Request, now: i64) -> bool {
    let stamp = request.headers.iter().find(|(name, _)| *name == "X-BAPI-TIMESTAMP");
    stamp.is_none_or(|(_, sent)| sent.parse::<i64>().is_ok_and(|sent| now - sent <= RECV_WINDOW))
}

fn answer(status: u16, body: &Value) -> Response {
    Response { status, headers: Vec::new(), body: body.to_string().into_bytes() }
}
