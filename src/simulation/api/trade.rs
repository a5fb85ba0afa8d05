//! `/v5/order/*` and `/v5/execution/list`.

use serde_json::{Value, json};

use super::{ApiResult, Call, Parameters};
use crate::core::Decimal;
use crate::core::order::Side;
use crate::simulation::api_error::{self, ApiError};
use crate::simulation::exchange::{Accepted, OrderRef};
use crate::simulation::order::{Kind, NewOrder, Order, TimeInForce};
use crate::simulation::query::Page;
use crate::simulation::wire;

/// Orders on a page.
const ORDERS: usize = 50;
/// Executions on a page.
const EXECUTIONS: usize = 100;

pub(super) fn create(Call { exchange, account, parameters, now }: Call<'_>) -> ApiResult {
    parameters.spot()?;
    refuse_unsupported(parameters)?;
    let new = NewOrder {
        symbol: parameters.required("symbol")?.to_owned(),
        side: side(parameters.required("side")?)?,
        kind: Kind::MarketBase,
        quantity: required_decimal(parameters, "qty")?,
        link_id: link_id(parameters.text("orderLinkId")?)?,
    };
    let kind = match parameters.required("orderType")? {
        "Limit" => Kind::Limit {
            price: required_decimal(parameters, "price")?,
            time_in_force: time_in_force(parameters.text("timeInForce")?)?,
        },
        "Market" => market_kind(parameters.text("marketUnit")?, new.side)?,
        other => return Err(ApiError::new(api_error::ORDER_TYPE, format!("Invalid orderType: {other:?}."))),
    };
    exchange.create(account, NewOrder { kind, ..new }, now).map(names)
}

/// What would change an order's meaning and is not simulated is refused rather than ignored.
fn refuse_unsupported(parameters: &Parameters) -> Result<(), ApiError> {
    let unsupported = |what: &str| Err(ApiError::parameter(format!("{what} is not supported by this exchange")));
    if parameters.text("orderFilter")?.is_some_and(|filter| filter != "Order") {
        return unsupported("orderFilter other than Order");
    }
    if parameters.integer("isLeverage")?.is_some_and(|leverage| leverage != 0) {
        return unsupported("isLeverage");
    }
    for name in ["triggerPrice", "takeProfit", "stopLoss", "slippageToleranceType"] {
        if parameters.text(name)?.is_some_and(|value| value != "0") {
            return unsupported(name);
        }
    }
    Ok(())
}

fn side(text: &str) -> Result<Side, ApiError> {
    match text {
        "Buy" => Ok(Side::Buy),
        "Sell" => Ok(Side::Sell),
        other => Err(ApiError::new(api_error::SIDE, format!("Invalid side: {other:?}."))),
    }
}

fn time_in_force(text: Option<&str>) -> Result<TimeInForce, ApiError> {
    match text {
        None | Some("GTC") => Ok(TimeInForce::Gtc),
        Some("IOC") => Ok(TimeInForce::Ioc),
        Some("FOK") => Ok(TimeInForce::Fok),
        Some("PostOnly") => Ok(TimeInForce::PostOnly),
        Some(other) => Err(ApiError::new(api_error::TIME_IN_FORCE, format!("Invalid timeInForce: {other:?}."))),
    }
}

/// Without `marketUnit` a buy counts quote coin, a sell base coin.
fn market_kind(unit: Option<&str>, side: Side) -> Result<Kind, ApiError> {
    match (unit, side) {
        (Some("baseCoin"), _) | (None, Side::Sell) => Ok(Kind::MarketBase),
        (Some("quoteCoin"), _) | (None, Side::Buy) => Ok(Kind::MarketQuote),
        (Some(other), _) => Err(ApiError::parameter(format!("params error: marketUnit {other:?} is not valid"))),
    }
}

fn link_id(text: Option<&str>) -> Result<String, ApiError> {
    let text = text.unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if text.len() <= 36 && text.bytes().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(ApiError::parameter("OrderLinkID is not valid: at most 36 of letters, digits, dashes and underscores"))
    }
}

fn required_decimal(parameters: &Parameters, name: &str) -> Result<Decimal, ApiError> {
    parameters.required(name)?;
    Ok(parameters.decimal(name)?.unwrap_or_default())
}

pub(super) fn amend(Call { exchange, account, parameters, now }: Call<'_>) -> ApiResult {
    parameters.spot()?;
    let symbol = parameters.required("symbol")?;
    let order = required_order(parameters)?;
    let (price, quantity) = (parameters.decimal("price")?, parameters.decimal("qty")?);
    exchange.amend(account, symbol, &order, price, quantity, now).map(names)
}

pub(super) fn cancel(Call { exchange, account, parameters, now }: Call<'_>) -> ApiResult {
    parameters.spot()?;
    let symbol = parameters.required("symbol")?;
    exchange.cancel(account, symbol, &required_order(parameters)?, now).map(names)
}

pub(super) fn cancel_all(Call { exchange, account, parameters, now }: Call<'_>) -> ApiResult {
    parameters.spot()?;
    let (symbol, base_coin) = (parameters.text("symbol")?, parameters.text("baseCoin")?);
    let cancelled = exchange.cancel_all(account, symbol, base_coin, now)?;
    Ok(json!({ "list": cancelled.into_iter().map(names).collect::<Vec<_>>(), "success": "1" }))
}

fn required_order(parameters: &Parameters) -> Result<OrderRef, ApiError> {
    parameters.order()?.ok_or_else(|| ApiError::parameter("params error: orderId or orderLinkId is required"))
}

fn names(accepted: Accepted) -> Value {
    json!({ "orderId": accepted.id.to_string(), "orderLinkId": accepted.link_id })
}

pub(super) fn realtime(Call { exchange, account, parameters, now }: Call<'_>) -> ApiResult {
    parameters.spot()?;
    let selection = parameters.selection(ORDERS, 20, false, now)?;
    let page = match parameters.integer("openOnly")? {
        None | Some(0) => exchange.open_orders(account, &selection, now),
        Some(1 | 2) => exchange.recently_closed(account, &selection, now),
        Some(_) => return Err(ApiError::parameter("params error: openOnly must be 0, 1 or 2")),
    };
    Ok(list(&plain_orders_only(parameters, page)?, wire::order))
}

pub(super) fn history(Call { exchange, account, parameters, now }: Call<'_>) -> ApiResult {
    parameters.spot()?;
    let selection = parameters.selection(ORDERS, 20, true, now)?;
    let mut page = exchange.order_history(account, &selection, now);
    if let Some(status) = parameters.text("orderStatus")? {
        page.rows.retain(|order| order.status.name() == status);
    }
    Ok(list(&plain_orders_only(parameters, page)?, wire::order))
}

/// There are only plain orders here: any other `orderFilter` selects nothing.
fn plain_orders_only(parameters: &Parameters, page: Page<Order>) -> Result<Page<Order>, ApiError> {
    match parameters.text("orderFilter")? {
        None | Some("Order") => Ok(page),
        Some(_) => Ok(Page { rows: Vec::new(), next: None }),
    }
}

pub(super) fn executions(Call { exchange, account, parameters, now }: Call<'_>) -> ApiResult {
    parameters.spot()?;
    let selection = parameters.selection(EXECUTIONS, 50, true, now)?;
    let page = exchange.executions(account, &selection, now);
    Ok(list(&page, wire::execution))
}

fn list<T>(page: &Page<T>, row: fn(&T) -> Value) -> Value {
    json!({
        "category": "spot",
        "list": page.rows.iter().map(row).collect::<Vec<_>>(),
        "nextPageCursor": page.next.map(|id| id.to_string()).unwrap_or_default(),
    })
}
