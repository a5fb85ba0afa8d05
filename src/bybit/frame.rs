//! One message of the private stream, parsed. Pure: no socket, no time.
//!
//! Goes in: the text of a message and our symbol. Comes out: the rows that concern the symbol, an answer to something
//! that was asked, or a pong. A row that cannot be read is not dropped in silence: it is reported beside the others,
//! and whoever listens has to ask over REST what it missed.

use std::fmt;

use serde::Deserialize;

use super::codes;
use super::wire::{ExecutionRow, FieldError, OrderRow, Text};
use crate::core::Timestamp;
use crate::engine::ports::{FaultKind, StreamEvent};

/// A message of the private stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A push of `order` or `execution`.
    Rows {
        /// The rows of our symbol, in their order; may be empty.
        events: Vec<StreamEvent>,
        /// What could not be read, for people.
        unreadable: Vec<String>,
    },
    /// The answer to an operation.
    Answer(Answer),
    /// The answer to a ping.
    Pong,
    /// Something else: a topic that was not asked for.
    Other,
}

/// The answer to `auth` or `subscribe`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Which operation; empty where Bybit does not say.
    pub op: String,
    /// `None` if it was done.
    pub rejection: Option<Rejection>,
}

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Bybit's `retCode`, if there was one.
    pub code: Option<i64>,
    /// Bybit's words.
    pub message: String,
}

impl Rejection {
    /// Whether the key is at fault, so that trying again is of no use.
    pub fn is_about_the_key(&self) -> bool {
        if self.code.is_some_and(|code| codes::kind_of_code(code, Timestamp(0)) == FaultKind::KeyRefused) {
            return true;
        }
        let message = self.message.to_ascii_lowercase();
        let about_key = message.contains("api key") || message.contains("apikey") || message.contains("api_key");
        let refused = ["invalid", "expired", "not exist", "not found"].iter().any(|word| message.contains(word));
        about_key && refused
            || ["error sign", "invalid sign", "permission denied", "unmatched ip"]
                .iter()
                .any(|text| message.contains(text))
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(code) = self.code {
            write!(f, "{code} ")?;
        }
        f.write_str(&self.message)
    }
}

/// A message that is no JSON object of Bybit's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError(String);

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message of the stream cannot be read: {}", self.0)
    }
}

impl std::error::Error for FrameError {}

/// What tells one kind of message from another.
#[derive(Deserialize)]
pub(super) struct Head<'a> {
    #[serde(borrow, default)]
    pub(super) topic: Text<'a>,
    #[serde(borrow, default)]
    op: Text<'a>,
    success: Option<bool>,
    #[serde(rename = "retCode")]
    code: Option<i64>,
    #[serde(borrow, default)]
    ret_msg: Text<'a>,
    #[serde(borrow, rename = "retMsg", default)]
    other_ret_msg: Text<'a>,
}

impl<'a> Head<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, FrameError> {
        serde_json::from_str(text).map_err(|error| FrameError(error.to_string()))
    }

    pub(super) fn is_pong(&self) -> bool {
        self.op.as_str() == "pong" || (self.op.as_str() == "ping" && self.success != Some(false))
    }

    /// `None` if this is no answer at all.
    pub(super) fn answer(&self) -> Option<Answer> {
        if self.op.is_absent() && self.success.is_none() && self.code.is_none() {
            return None;
        }
        let code = self.code.filter(|code| *code != 0);
        let rejection = (code.is_some() || self.success == Some(false)).then(|| {
            let message = if self.ret_msg.is_absent() { &self.other_ret_msg } else { &self.ret_msg };
            Rejection { code, message: message.as_str().chars().take(160).collect() }
        });
        Some(Answer { op: self.op.as_str().to_owned(), rejection })
    }
}

/// A push: its topic and its rows.
#[derive(Deserialize)]
struct Push<'a, R> {
    #[serde(borrow, default)]
    topic: Text<'a>,
    data: Vec<R>,
}

/// How far into a message Bybit writes its topic.
const TOPIC_WITHIN: usize = 96;

/// Parses one message of the private stream.
///
/// # Errors
/// [`FrameError`] when it is not even clear what it is.
pub fn parse_frame(text: &str, symbol: &str) -> Result<Frame, FrameError> {
    let order = |row: &OrderRow<'_>| row.concerns(symbol).then(|| row.report().map(StreamEvent::Order)).transpose();
    let execution =
        |row: &ExecutionRow<'_>| row.concerns(symbol).then(|| row.execution().map(StreamEvent::Execution)).transpose();
    // A push is read once, not first for its topic, which shows at the beginning of the text.
    let beginning = text.get(..TOPIC_WITHIN).unwrap_or_default();
    let push = if beginning.contains(r#""topic":"execution"#) {
        whole_push(text, "execution", execution)
    } else if beginning.contains(r#""topic":"order"#) {
        whole_push(text, "order", order)
    } else {
        None
    };
    if let Some(push) = push {
        return Ok(push);
    }
    let head = Head::read(text)?;
    Ok(match head.topic.as_str() {
        topic if is_of(topic, "order") => rows(text, order),
        topic if is_of(topic, "execution") => rows(text, execution),
        "" if head.is_pong() => Frame::Pong,
        "" => head.answer().map_or(Frame::Other, Frame::Answer),
        _ => Frame::Other,
    })
}

/// `order.spot` pushes as `order` does.
fn is_of(topic: &str, name: &str) -> bool {
    topic.split('.').next() == Some(name)
}

/// The rows of a push, if the text is one of this topic.
fn whole_push<'a, R: Deserialize<'a>>(
    text: &'a str,
    name: &str,
    read: impl Fn(&R) -> Result<Option<StreamEvent>, FieldError>,
) -> Option<Frame> {
    let push = serde_json::from_str::<Push<'_, R>>(text).ok()?;
    is_of(push.topic.as_str(), name).then(|| understood(&push.data, read))
}

fn rows<'a, R: Deserialize<'a>>(text: &'a str, read: impl Fn(&R) -> Result<Option<StreamEvent>, FieldError>) -> Frame {
    match serde_json::from_str::<Push<'_, R>>(text) {
        Ok(push) => understood(&push.data, read),
        Err(error) => Frame::Rows { events: Vec::new(), unreadable: vec![error.to_string()] },
    }
}

fn understood<R>(rows: &[R], read: impl Fn(&R) -> Result<Option<StreamEvent>, FieldError>) -> Frame {
    let (mut events, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows {
        match read(row) {
            Ok(event) => events.extend(event),
            Err(error) => unreadable.push(error.to_string()),
        }
    }
    Frame::Rows { events, unreadable }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDER: &str = r#"{"id":"1","topic":"order","creationTime":1700000000001,"data":[
        {"category":"spot","symbol":"BTCUSDT","orderId":"17","orderLinkId":"btc-1-1b-1","side":"Buy",
        "orderType":"Limit","orderStatus":"New","price":"59400.09","qty":"0.000841","cumExecQty":"0",
        "cumExecValue":"0","timeInForce":"GTC","createdTime":"1700000000000","updatedTime":"1700000000001"},
        {"category":"linear","symbol":"BTCUSDT","orderId":"","side":"?"},
        {"category":"spot","symbol":"ETHUSDT","orderId":"18","side":"?"}]}"#;
    const EXECUTION: &str = r#"{"topic":"execution.spot","data":[{"category":"spot","symbol":"BTCUSDT","execId":"e1",
        "orderId":"17","orderLinkId":"btc-1-1b-1","side":"Buy","execPrice":"60000","execQty":"0.001",
        "execValue":"60","execFee":"0.000001","feeCurrency":"BTC","isMaker":true,"execTime":"1700000000000"}]}"#;

    fn parse(text: &str) -> Result<Frame, FrameError> {
        parse_frame(text, "BTCUSDT")
    }

    #[test]
    fn only_rows_of_our_spot_symbol_are_read() {
        let Ok(Frame::Rows { events, unreadable }) = parse(ORDER) else { panic!("no rows") };
        assert_eq!((events.len(), unreadable), (1, vec![]));
        assert!(matches!(&events[0], StreamEvent::Order(report) if report.order_id == "17"));
        let Ok(Frame::Rows { events, .. }) = parse(EXECUTION) else { panic!("no rows") };
        assert!(matches!(&events[0], StreamEvent::Execution(execution) if execution.maker));
        assert_eq!(parse_frame(ORDER, "XRPUSDT"), Ok(Frame::Rows { events: vec![], unreadable: vec![] }));
    }

    #[test]
    fn one_bad_row_is_reported_and_does_not_hide_the_others() {
        let bad = ORDER.replace(r#""symbol":"ETHUSDT""#, r#""symbol":"BTCUSDT""#);
        let Ok(Frame::Rows { events, unreadable }) = parse(&bad) else { panic!("no rows") };
        assert_eq!(events.len(), 1);
        assert_eq!(unreadable.len(), 1);
        assert!(unreadable[0].starts_with("field "), "{unreadable:?}");
    }

    #[test]
    fn a_push_without_rows_that_can_be_read_is_still_a_push() {
        for text in [r#"{"topic":"order"}"#, r#"{"topic":"order","data":{}}"#, r#"{"topic":"order","data":[1]}"#] {
            let Ok(Frame::Rows { events, unreadable }) = parse(text) else { panic!("no rows") };
            assert!(events.is_empty() && unreadable.len() == 1, "{text}");
        }
    }

    #[test]
    fn answers_pongs_and_strangers_are_told_apart() {
        let answer = |text: &str| match parse(text) {
            Ok(Frame::Answer(answer)) => answer,
            other => panic!("{text}: {other:?}"),
        };
        let done = answer(r#"{"success":true,"ret_msg":"","op":"auth","conn_id":"x"}"#);
        assert_eq!(done, Answer { op: "auth".to_owned(), rejection: None });
        assert_eq!(answer(r#"{"retCode":0,"retMsg":"OK","op":"auth"}"#).rejection, None);
        let refused = answer(r#"{"retCode":10004,"retMsg":"Invalid sign","op":"auth"}"#).rejection.unwrap();
        assert_eq!(refused.to_string(), "10004 Invalid sign");
        assert_eq!(parse(r#"{"req_id":"1","op":"pong","args":["1675418560633"],"conn_id":"x"}"#), Ok(Frame::Pong));
        assert_eq!(parse(r#"{"success":true,"ret_msg":"pong","op":"ping","conn_id":"x"}"#), Ok(Frame::Pong));
        assert_eq!(parse(r#"{"topic":"wallet","data":[]}"#), Ok(Frame::Other));
        assert_eq!(parse("{}"), Ok(Frame::Other));
    }

    #[test]
    fn a_refused_key_is_recognised_by_code_and_by_words() {
        let rejection = |code, message: &str| Rejection { code, message: message.to_owned() }.is_about_the_key();
        for code in [10003, 10004, 10005, 33004] {
            assert!(rejection(Some(code), ""), "{code}");
        }
        assert!(rejection(None, "API key is invalid."));
        assert!(rejection(None, "Your api key has expired."));
        assert!(rejection(None, "error sign!"));
        assert!(!rejection(None, "Params Error"));
        assert!(!rejection(Some(10016), "Internal server error"));
        assert!(!rejection(None, "request expired"));
    }

    #[test]
    fn nothing_panics_on_truncated_or_foreign_text() {
        for text in [ORDER, EXECUTION, r#"{"success":true,"op":"auth"}"#] {
            for end in 0..text.len() {
                assert!(parse(&text[..end]).is_err(), "{end}");
            }
        }
        for text in ["", "null", "[]", "1", "<html>", "\u{0}", r#"{"topic":{}}"#, r#"{"op":[]}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
