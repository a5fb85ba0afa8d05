//! Orders and executions, as REST lists them and the private stream pushes them; and the requests that act on them.

use serde::{Deserialize, Serialize};

use super::{FieldError, Text};
use crate::core::order::{Execution, OrderReport, OrderSpec, OrderStatus, Refusal, Side};
use crate::core::{Decimal, money};

/// Bybit's word for a maker-only order that would have taken liquidity.
const WOULD_TAKE: &str = "EC_PostOnlyWillTakeLiquidity";
/// The price of an order that was accepted lies beyond what Bybit allows around the index.
const PRICE_LIMITS: [&str; 2] = ["EC_ReachRiskPriceLimit", "EC_ReachMarketPriceLimit"];

/// Why Bybit did not let an order rest, if this reason says so.
fn refusal(reason: &str) -> Option<Refusal> {
    match reason {
        WOULD_TAKE => Some(Refusal::MakerOnly),
        limit if PRICE_LIMITS.contains(&limit) => Some(Refusal::Filter),
        _ => None,
    }
}
/// What Bybit writes where there is no reason.
const NO_REASON: [&str; 3] = ["EC_NoError", "UNKNOWN", ""];

/// One order. Source: <https://bybit-exchange.github.io/docs/v5/order/open-order>, `…/websocket/private/order`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::bybit) struct OrderRow<'a> {
    #[serde(borrow)]
    category: Text<'a>,
    #[serde(borrow)]
    symbol: Text<'a>,
    #[serde(borrow)]
    order_id: Text<'a>,
    #[serde(borrow)]
    order_link_id: Text<'a>,
    #[serde(borrow)]
    side: Text<'a>,
    #[serde(borrow)]
    order_type: Text<'a>,
    #[serde(borrow)]
    order_status: Text<'a>,
    #[serde(borrow)]
    price: Text<'a>,
    #[serde(borrow)]
    qty: Text<'a>,
    #[serde(borrow)]
    market_unit: Text<'a>,
    #[serde(borrow)]
    time_in_force: Text<'a>,
    #[serde(borrow)]
    cum_exec_qty: Text<'a>,
    #[serde(borrow)]
    cum_exec_value: Text<'a>,
    #[serde(borrow)]
    reject_reason: Text<'a>,
    #[serde(borrow)]
    cancel_type: Text<'a>,
    #[serde(borrow)]
    created_time: Text<'a>,
    #[serde(borrow)]
    updated_time: Text<'a>,
}

impl OrderRow<'_> {
    /// Whether the row is about this spot symbol.
    pub(in crate::bybit) fn concerns(&self, symbol: &str) -> bool {
        concerns(&self.category, &self.symbol, symbol)
    }

    /// The row in the core's words.
    ///
    /// # Errors
    /// The first field that is missing or unreadable.
    pub(in crate::bybit) fn report(&self) -> Result<OrderReport, FieldError> {
        let executed_value = self.cum_exec_value.decimal_or_zero("cumExecValue")?;
        let status = status(self.order_status.required("orderStatus")?);
        let created = self.created_time.time("createdTime")?;
        let reason = [&self.reject_reason, &self.cancel_type]
            .into_iter()
            .map(Text::as_str)
            .find(|reason| !NO_REASON.contains(reason))
            .unwrap_or_default();
        Ok(OrderReport {
            link_id: self.order_link_id.as_str().to_owned(),
            order_id: self.order_id.required("orderId")?.to_owned(),
            spec: self.spec(executed_value)?,
            status,
            executed_quantity: self.cum_exec_qty.decimal_or_zero("cumExecQty")?,
            executed_value,
            refusal: [&self.reject_reason, &self.cancel_type]
                .into_iter()
                .filter(|_| status.is_closed())
                .find_map(|reason| refusal(reason.as_str())),
            reason: reason.to_owned(),
            created,
            updated: if self.updated_time.is_absent() { created } else { self.updated_time.time("updatedTime")? },
        })
    }

    fn spec(&self, executed_value: Decimal) -> Result<OrderSpec, FieldError> {
        let side = side(&self.side)?;
        let quantity = self.qty.decimal("qty")?;
        match (self.order_type.required("orderType")?, side) {
            ("Limit", side) => Ok(OrderSpec::Limit {
                side,
                price: self.price.decimal("price")?,
                quantity,
                post_only: self.time_in_force.as_str() == "PostOnly",
            }),
            ("Market", Side::Sell) => Ok(OrderSpec::MarketSell { quantity }),
            // This bot sizes its market buys in quote coin, which is also what Bybit means where it says nothing. One
            // sized in base coin is somebody else's; what it has cost so far is the amount that is known of it.
            ("Market", Side::Buy) if self.market_unit.as_str() == "baseCoin" => {
                Ok(OrderSpec::MarketBuy { amount: executed_value })
            }
            ("Market", Side::Buy) => Ok(OrderSpec::MarketBuy { amount: quantity }),
            (other, _) => Err(FieldError::unreadable("orderType", other, "neither Market nor Limit")),
        }
    }
}

/// One fill. Source: <https://bybit-exchange.github.io/docs/v5/order/execution>, `…/websocket/private/execution`.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(in crate::bybit) struct ExecutionRow<'a> {
    #[serde(borrow)]
    category: Text<'a>,
    #[serde(borrow)]
    symbol: Text<'a>,
    #[serde(borrow)]
    exec_id: Text<'a>,
    #[serde(borrow)]
    order_id: Text<'a>,
    #[serde(borrow)]
    order_link_id: Text<'a>,
    #[serde(borrow)]
    side: Text<'a>,
    #[serde(borrow)]
    exec_price: Text<'a>,
    #[serde(borrow)]
    exec_qty: Text<'a>,
    #[serde(borrow)]
    exec_value: Text<'a>,
    #[serde(borrow)]
    exec_fee: Text<'a>,
    #[serde(borrow)]
    fee_currency: Text<'a>,
    is_maker: bool,
    #[serde(borrow)]
    exec_time: Text<'a>,
}

impl ExecutionRow<'_> {
    /// Whether the row is about this spot symbol.
    pub(in crate::bybit) fn concerns(&self, symbol: &str) -> bool {
        concerns(&self.category, &self.symbol, symbol)
    }

    /// The row in the core's words.
    ///
    /// # Errors
    /// The first field that is missing or unreadable.
    pub(in crate::bybit) fn execution(&self) -> Result<Execution, FieldError> {
        let fee = self.exec_fee.decimal("execFee")?;
        // Without a fee there may be no coin of it.
        let fee_coin =
            if fee.is_zero() { self.fee_currency.as_str() } else { self.fee_currency.required("feeCurrency")? };
        Ok(Execution {
            exec_id: self.exec_id.required("execId")?.to_owned(),
            link_id: self.order_link_id.as_str().to_owned(),
            order_id: self.order_id.required("orderId")?.to_owned(),
            side: side(&self.side)?,
            price: self.exec_price.decimal("execPrice")?,
            quantity: self.exec_qty.decimal("execQty")?,
            value: self.exec_value.decimal("execValue")?,
            fee,
            fee_coin: fee_coin.to_owned(),
            maker: self.is_maker,
            time: self.exec_time.time("execTime")?,
        })
    }
}

/// A row without category or symbol (they are optional in places) counts as ours: dropping it would be silent.
fn concerns(category: &Text<'_>, row_symbol: &Text<'_>, symbol: &str) -> bool {
    (category.is_absent() || category.as_str() == "spot") && (row_symbol.is_absent() || row_symbol.as_str() == symbol)
}

fn side(text: &Text<'_>) -> Result<Side, FieldError> {
    match text.required("side")? {
        "Buy" => Ok(Side::Buy),
        "Sell" => Ok(Side::Sell),
        other => Err(FieldError::unreadable("side", other, "neither Buy nor Sell")),
    }
}

/// A status that this program does not know counts as open: such an order is asked for again.
fn status(text: &str) -> OrderStatus {
    match text {
        "Filled" => OrderStatus::Filled,
        "Cancelled" | "PartiallyFilledCanceled" | "Deactivated" => OrderStatus::Cancelled,
        "Rejected" => OrderStatus::Rejected,
        _ => OrderStatus::Open,
    }
}

/// The body of a create.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bybit) struct CreateRequest<'a> {
    category: &'static str,
    symbol: &'a str,
    side: &'static str,
    order_type: &'static str,
    qty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    price: Option<String>,
    time_in_force: &'static str,
    order_link_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    market_unit: Option<&'static str>,
}

impl<'a> CreateRequest<'a> {
    pub(in crate::bybit) fn new(symbol: &'a str, link_id: &'a str, spec: &OrderSpec) -> Self {
        let (order_type, qty, price, time_in_force, market_unit) = match spec {
            OrderSpec::MarketBuy { amount } => ("Market", amount, None, "IOC", Some("quoteCoin")),
            OrderSpec::MarketSell { quantity } => ("Market", quantity, None, "IOC", Some("baseCoin")),
            OrderSpec::Limit { price, quantity, post_only, .. } => {
                ("Limit", quantity, Some(money::text(*price)), if *post_only { "PostOnly" } else { "GTC" }, None)
            }
        };
        let side = match spec.side() {
            Side::Buy => "Buy",
            Side::Sell => "Sell",
        };
        Self {
            category: "spot",
            symbol,
            side,
            order_type,
            qty: money::text(*qty),
            price,
            time_in_force,
            order_link_id: link_id,
            market_unit,
        }
    }
}

/// The body of a cancel.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bybit) struct CancelRequest<'a> {
    category: &'static str,
    symbol: &'a str,
    order_link_id: &'a str,
}

impl<'a> CancelRequest<'a> {
    pub(in crate::bybit) fn new(symbol: &'a str, link_id: &'a str) -> Self {
        Self { category: "spot", symbol, order_link_id: link_id }
    }
}

/// What a create is answered with.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bybit) struct Created<'a> {
    #[serde(borrow, default)]
    order_id: Text<'a>,
}

impl Created<'_> {
    pub(in crate::bybit) fn order_id(&self) -> Result<String, FieldError> {
        self.order_id.required("orderId").map(str::to_owned)
    }
}

/// The body that asks for demo money.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bybit) struct DemoMoneyRequest<'a> {
    adjust_type: u8,
    uta_demo_apply_money: [DemoMoney<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DemoMoney<'a> {
    coin: &'a str,
    amount_str: String,
}

impl<'a> DemoMoneyRequest<'a> {
    pub(in crate::bybit) fn new(coin: &'a str, amount: Decimal) -> Self {
        Self { adjust_type: 0, uta_demo_apply_money: [DemoMoney { coin, amount_str: money::text(amount) }] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Timestamp;

    const LIMIT: &str = r#"{"orderId":"17","orderLinkId":"btc-1-1b-1","symbol":"BTCUSDT","side":"Buy",
        "orderType":"Limit","orderStatus":"PartiallyFilled","price":"59400.09","qty":"0.000841","avgPrice":"",
        "cumExecQty":"0.0004","cumExecValue":"23.760036","cumFeeDetail":{"BTC":"0.0000004"},"timeInForce":"PostOnly",
        "rejectReason":"EC_NoError","cancelType":"UNKNOWN","createdTime":"1700000000000",
        "updatedTime":"1700000001000","brandNew":[1,{"a":null}]}"#;

    fn report(json: &str) -> Result<OrderReport, String> {
        let row: OrderRow<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        row.report().map_err(|error| error.to_string())
    }

    fn d(text: &str) -> Decimal {
        money::parse(text).unwrap()
    }

    #[test]
    fn a_limit_order_is_read_and_new_fields_are_ignored() {
        let report = report(LIMIT).unwrap();
        assert_eq!(
            report.spec,
            OrderSpec::Limit { side: Side::Buy, price: d("59400.09"), quantity: d("0.000841"), post_only: true }
        );
        assert_eq!((report.status, report.executed_quantity), (OrderStatus::Open, d("0.0004")));
        assert_eq!((report.reason.as_str(), report.refusal), ("", None));
        assert_eq!((report.created, report.updated), (Timestamp(1_700_000_000_000), Timestamp(1_700_000_001_000)));
    }

    #[test]
    fn every_status_has_its_meaning_and_an_unknown_one_is_open() {
        for (word, meaning) in [
            ("New", OrderStatus::Open),
            ("PartiallyFilled", OrderStatus::Open),
            ("Untriggered", OrderStatus::Open),
            ("SomethingNew", OrderStatus::Open),
            ("Filled", OrderStatus::Filled),
            ("Cancelled", OrderStatus::Cancelled),
            ("PartiallyFilledCanceled", OrderStatus::Cancelled),
            ("Deactivated", OrderStatus::Cancelled),
            ("Rejected", OrderStatus::Rejected),
        ] {
            assert_eq!(report(&LIMIT.replace("\"PartiallyFilled\"", &format!("{word:?}"))).unwrap().status, meaning);
        }
    }

    #[test]
    fn a_market_buy_is_sized_in_quote_coin_with_and_without_the_unit() {
        let market = LIMIT.replace("\"Limit\"", "\"Market\"").replace("0.000841", "50");
        assert_eq!(report(&market).unwrap().spec, OrderSpec::MarketBuy { amount: d("50") });
        let quote = market.replace("\"side\"", "\"marketUnit\":\"quoteCoin\",\"side\"");
        assert_eq!(report(&quote).unwrap().spec, OrderSpec::MarketBuy { amount: d("50") });
        let base = market.replace("\"side\"", "\"marketUnit\":\"baseCoin\",\"side\"");
        assert_eq!(report(&base).unwrap().spec, OrderSpec::MarketBuy { amount: d("23.760036") });
        let sell = market.replace("\"Buy\"", "\"Sell\"");
        assert_eq!(report(&sell).unwrap().spec, OrderSpec::MarketSell { quantity: d("50") });
    }

    #[test]
    fn what_was_cancelled_for_its_price_is_a_refusal() {
        for (reason, refusal) in [
            (WOULD_TAKE, Some(Refusal::MakerOnly)),
            (PRICE_LIMITS[0], Some(Refusal::Filter)),
            (PRICE_LIMITS[1], Some(Refusal::Filter)),
            ("EC_SomethingElse", None),
        ] {
            let text = LIMIT.replace("EC_NoError", reason).replace("\"PartiallyFilled\"", "\"Cancelled\"");
            let report = report(&text).unwrap();
            assert_eq!((report.refusal, report.reason.as_str()), (refusal, reason));
        }
    }

    #[test]
    fn a_missing_or_unreadable_field_is_named() {
        for (field, value) in [
            ("orderId", "\"17\""),
            ("side", "\"Buy\""),
            ("orderType", "\"Limit\""),
            ("orderStatus", "\"PartiallyFilled\""),
            ("price", "\"59400.09\""),
            ("qty", "\"0.000841\""),
            ("createdTime", "\"1700000000000\""),
        ] {
            let absent = LIMIT.replace(&format!("\"{field}\":{value}"), &format!("\"{field}\":\"\""));
            assert_eq!(report(&absent).unwrap_err(), format!("field {field}: missing"));
        }
        for (field, old, new) in [
            ("qty", "\"0.000841\"", "\"0.0008x\""),
            ("cumExecQty", "\"0.0004\"", "\"NaN\""),
            ("cumExecValue", "\"23.760036\"", "\"1e5\""),
            ("side", "\"Buy\"", "\"Hold\""),
            ("updatedTime", "\"1700000001000\"", "\"yesterday\""),
        ] {
            let error = report(&LIMIT.replace(old, new)).unwrap_err();
            assert!(error.starts_with(&format!("field {field}: ")), "{error}");
        }
    }

    #[test]
    fn an_execution_is_read_and_may_lack_the_link_id() {
        let json = r#"{"symbol":"BTCUSDT","execId":"e1","orderId":"17","side":"Buy","execPrice":"60000.1",
            "execQty":"0.000833","execValue":"49.9800833","execFee":"0.000000833","feeCurrency":"BTC","isMaker":false,
            "execTime":"1700000000000","category":"spot"}"#;
        let row: ExecutionRow<'_> = serde_json::from_str(json).unwrap();
        let execution = row.execution().unwrap();
        assert_eq!((execution.link_id.as_str(), execution.fee_coin.as_str()), ("", "BTC"));
        assert_eq!(execution.value, d("49.9800833"));
        let no_coin = json.replace("\"BTC\"", "\"\"");
        let row: ExecutionRow<'_> = serde_json::from_str(&no_coin).unwrap();
        assert_eq!(row.execution().unwrap_err().to_string(), "field feeCurrency: missing");
    }

    #[test]
    fn rows_of_other_categories_and_symbols_are_told_apart() {
        let row = |json: &str| serde_json::from_str::<OrderRow<'_>>(json).map(|row| row.concerns("BTCUSDT")).unwrap();
        assert!(row(r#"{"category":"spot","symbol":"BTCUSDT"}"#));
        assert!(row(r#"{"symbol":"BTCUSDT"}"#));
        assert!(!row(r#"{"category":"linear","symbol":"BTCUSDT"}"#));
        assert!(!row(r#"{"category":"spot","symbol":"ETHUSDT"}"#));
    }

    #[test]
    fn creates_are_decimal_strings_and_market_orders_name_their_unit() {
        let json = |spec: &OrderSpec| serde_json::to_string(&CreateRequest::new("BTCUSDT", "b-1-0b-1", spec)).unwrap();
        assert_eq!(
            json(&OrderSpec::MarketBuy { amount: d("50.00") }),
            r#"{"category":"spot","symbol":"BTCUSDT","side":"Buy","orderType":"Market","qty":"50","timeInForce":"IOC","orderLinkId":"b-1-0b-1","marketUnit":"quoteCoin"}"#
        );
        assert_eq!(
            json(&OrderSpec::MarketSell { quantity: d("0.00000001") }),
            r#"{"category":"spot","symbol":"BTCUSDT","side":"Sell","orderType":"Market","qty":"0.00000001","timeInForce":"IOC","orderLinkId":"b-1-0b-1","marketUnit":"baseCoin"}"#
        );
        let limit =
            OrderSpec::Limit { side: Side::Sell, price: d("60733.68"), quantity: d("0.000832"), post_only: false };
        assert_eq!(
            json(&limit),
            r#"{"category":"spot","symbol":"BTCUSDT","side":"Sell","orderType":"Limit","qty":"0.000832","price":"60733.68","timeInForce":"GTC","orderLinkId":"b-1-0b-1"}"#
        );
    }
}
