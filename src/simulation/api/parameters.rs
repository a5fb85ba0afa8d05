//! Reads a request's parameters: a query string or a JSON body, field by field.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::core::{Decimal, Timestamp, money};
use crate::simulation::api_error::{self, ApiError};
use crate::simulation::exchange::OrderRef;
use crate::simulation::query::Selection;

const DAY: i64 = 24 * 3600 * 1000;

/// The parameters of one request. An empty text counts as absent.
pub(super) struct Parameters(BTreeMap<String, Value>);

impl Parameters {
    pub(super) fn of_query(query: &str) -> Result<Self, ApiError> {
        let mut fields = BTreeMap::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (decode(name), decode(value)) else {
                return Err(ApiError::parameter(format!("the query is not valid: {pair:?}")));
            };
            fields.insert(name, Value::String(value));
        }
        Ok(Self(fields))
    }

    pub(super) fn of_body(body: &str) -> Result<Self, ApiError> {
        match serde_json::from_str(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields.into_iter().collect())),
            Ok(_) => Err(ApiError::parameter("the request body is not a JSON object")),
            Err(_) => Err(ApiError::parameter("the request body is not JSON")),
        }
    }

    /// A field as it is, if it is there and not null.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text field.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::parameter(format!("params error: {name} must be a string"))),
        }
    }

    /// A text field that must be there.
    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?.ok_or_else(|| ApiError::parameter(format!("params error: {name} is missing")))
    }

    /// A decimal number in a text field.
    pub(super) fn decimal(&self, name: &str) -> Result<Option<Decimal>, ApiError> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        match money::parse(text) {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(ApiError::new(api_error::INVALID, format!("Data sent for parameter '{name}' is not valid."))),
        }
    }

    /// A whole number, as a number or in a text.
    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, ApiError> {
        let number = match self.value(name) {
            None => return Ok(None),
            Some(Value::String(text)) if text.is_empty() => return Ok(None),
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_i64(),
        };
        number.map(Some).ok_or_else(|| ApiError::parameter(format!("params error: {name} must be a whole number")))
    }

    /// The `category`, which must be `spot`.
    pub(super) fn spot(&self) -> Result<(), ApiError> {
        match self.required("category")? {
            "spot" => Ok(()),
            other => {
                Err(ApiError::parameter(format!("category {other:?} is not supported: this exchange has spot only")))
            }
        }
    }

    /// The order that `orderId` or `orderLinkId` name; `orderId` counts if both do.
    pub(super) fn order(&self) -> Result<Option<OrderRef>, ApiError> {
        if let Some(id) = self.text("orderId")? {
            // What is not a number is no order of this exchange.
            return Ok(Some(OrderRef::Id(id.parse().unwrap_or(0))));
        }
        Ok(self.text("orderLinkId")?.map(|name| OrderRef::Link(name.to_owned())))
    }

    /// How many rows are asked for at most.
    pub(super) fn limit(&self, largest: usize, default: usize) -> Result<usize, ApiError> {
        let Some(limit) = self.integer("limit")? else { return Ok(default) };
        let limit = usize::try_from(limit).ok().filter(|limit| (1..=largest).contains(limit));
        limit.ok_or_else(|| ApiError::parameter(format!("params error: limit must be 1 to {largest}")))
    }

    /// Which rows of a list are asked for. Without times the last `days` are; both together span at most seven.
    pub(super) fn selection(
        &self,
        largest: usize,
        default: usize,
        windowed: bool,
        now: Timestamp,
    ) -> Result<Selection, ApiError> {
        let limit = self.limit(largest, default)?;
        let before = self.text("cursor")?.map(str::parse).transpose();
        let before = before.map_err(|_| ApiError::parameter("params error: cursor is not valid"))?;
        let (from, to) = if windowed { self.window(now)? } else { (None, None) };
        Ok(Selection {
            symbol: self.text("symbol")?.map(str::to_owned),
            base_coin: self.text("baseCoin")?.map(str::to_owned),
            order: self.order()?,
            from,
            to,
            before,
            limit,
        })
    }

    fn window(&self, now: Timestamp) -> Result<(Option<Timestamp>, Option<Timestamp>), ApiError> {
        let (from, to) = match (self.integer("startTime")?, self.integer("endTime")?) {
            (None, None) => (now.0.saturating_sub(7 * DAY), i64::MAX),
            (Some(from), None) => (from, from.saturating_add(7 * DAY)),
            (None, Some(to)) => (to.saturating_sub(7 * DAY), to),
            (Some(from), Some(to)) => (from, to),
        };
        if from > to {
            return Err(ApiError::parameter("startTime is after endTime"));
        }
        let chosen = self.value("startTime").is_some() && self.value("endTime").is_some();
        if chosen && to.saturating_sub(from) > 7 * DAY {
            return Err(ApiError::parameter("The time range between startTime and endTime cannot exceed 7 days."));
        }
        Ok((Some(Timestamp(from)), Some(Timestamp(to))))
    }
}

/// Undoes percent-encoding; `None` when it is malformed or no UTF-8.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (char::from(rest.next()?).to_digit(16)?, char::from(rest.next()?).to_digit(16)?);
                u8::try_from(high * 16 + low).ok()?
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_decoded_and_empty_values_are_absent() {
        let parameters = Parameters::of_query("a=1%2C2&b=&c=x+y&d").unwrap();
        assert_eq!(parameters.text("a"), Ok(Some("1,2")));
        assert_eq!(parameters.text("b"), Ok(None));
        assert_eq!(parameters.text("c"), Ok(Some("x y")));
        assert_eq!(parameters.text("d"), Ok(None));
        for bad in ["a=%", "a=%2", "a=%zz", "a=%ff"] {
            assert!(Parameters::of_query(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_in_json_must_be_texts() {
        let parameters = Parameters::of_body(r#"{"qty":1.5,"price":"1e5","ok":"1.5","n":3,"m":"4"}"#).unwrap();
        assert_eq!(parameters.decimal("qty").unwrap_err().code, api_error::PARAMETER);
        assert_eq!(parameters.decimal("price").unwrap_err().code, api_error::INVALID);
        assert_eq!(parameters.decimal("ok"), Ok(Some(Decimal::new(15, 1))));
        assert_eq!((parameters.integer("n"), parameters.integer("m")), (Ok(Some(3)), Ok(Some(4))));
    }

    #[test]
    fn windows_are_seven_days_at_most() {
        let now = Timestamp(100 * DAY);
        let of = |query: &str| Parameters::of_query(query).unwrap().selection(50, 20, true, now);
        let window =
            |query: &str| of(query).map(|some| (some.from.unwrap().0 / DAY, some.to.unwrap().0 / DAY)).unwrap();
        assert_eq!(window("").0, 93);
        assert_eq!(window(&format!("startTime={}", 50 * DAY)), (50, 57));
        assert_eq!(window(&format!("endTime={}", 50 * DAY)), (43, 50));
        assert_eq!(window(&format!("startTime={}&endTime={}", 50 * DAY, 52 * DAY)), (50, 52));
        assert!(of(&format!("startTime={}&endTime={}", 50 * DAY, 57 * DAY + 1)).is_err());
        assert!(of(&format!("startTime={}&endTime={}", 50 * DAY, 49 * DAY)).is_err());
        assert!(of("limit=51").is_err() && of("limit=0").is_err() && of("cursor=x").is_err());
    }
}
