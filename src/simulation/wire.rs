//! The exchange's state in Bybit's JSON: rows of orders, executions and coins. Numbers are decimal strings.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::account::{Holding, Push, Rows};
use super::exchange::Exchange;
use super::order::{Fill, Kind, Order};
use crate::core::order::Side;
use crate::core::{Decimal, money};

pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "Buy",
        Side::Sell => "Sell",
    }
}

fn order_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Limit { .. } => "Limit",
        Kind::MarketBase | Kind::MarketQuote => "Market",
    }
}

fn market_unit(kind: Kind) -> &'static str {
    match kind {
        Kind::Limit { .. } => "",
        Kind::MarketBase => "baseCoin",
        Kind::MarketQuote => "quoteCoin",
    }
}

/// An order as `order/realtime` and `order/history` show it.
pub(super) fn order(order: &Order) -> Value {
    let fees: BTreeMap<&str, String> =
        order.fees.iter().map(|(coin, fee)| (coin.as_str(), money::text(*fee))).collect();
    let fee_sum: Decimal = order.fees.values().sum();
    let row = json!({
        "orderId": order.id.to_string(),
        "orderLinkId": order.link_id,
        "symbol": order.symbol,
        "price": money::text(order.price().unwrap_or_default()),
        "qty": money::text(order.quantity),
        "side": side(order.side),
        "orderStatus": order.status.name(),
        "cancelType": order.ending.cancel_type(),
        "rejectReason": order.ending.reject_reason(),
        "avgPrice": order.average_price().map(money::text).unwrap_or_default(),
        "leavesQty": money::text(order.leaves_quantity()),
        "leavesValue": money::text(order.leaves_value()),
        "cumExecQty": money::text(order.executed_quantity),
        "cumExecValue": money::text(order.executed_value),
        "cumExecFee": money::text(fee_sum),
        "cumFeeDetail": fees,
        "timeInForce": order.kind.time_in_force().name(),
        "orderType": order_type(order.kind),
        "marketUnit": market_unit(order.kind),
        "createdTime": order.created.0.to_string(),
        "updatedTime": order.updated.0.to_string(),
    });
    joined(row, without_meaning())
}

/// Fields of an order that mean nothing for the plain spot orders simulated here; clients expect them.
fn without_meaning() -> Value {
    json!({
        "blockTradeId": "",
        "isLeverage": "0",
        "positionIdx": 0,
        "createType": "CreateByUser",
        "stopOrderType": "",
        "orderIv": "",
        "triggerPrice": "0",
        "takeProfit": "",
        "stopLoss": "",
        "tpslMode": "",
        "tpTriggerBy": "",
        "slTriggerBy": "",
        "triggerDirection": 0,
        "triggerBy": "",
        "lastPriceOnCreated": "",
        "reduceOnly": false,
        "closeOnTrigger": false,
        "placeType": "",
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "ocoTriggerBy": "",
    })
}

fn joined(mut row: Value, more: Value) -> Value {
    if let (Value::Object(row), Value::Object(mut more)) = (&mut row, more) {
        row.append(&mut more);
    }
    row
}

/// An execution as `execution/list` shows it.
pub(super) fn execution(fill: &Fill) -> Value {
    json!({
        "symbol": fill.symbol,
        "orderId": fill.order_id.to_string(),
        "orderLinkId": fill.link_id,
        "side": side(fill.side),
        "orderPrice": money::text(fill.kind.price().unwrap_or_default()),
        "orderQty": money::text(fill.order_quantity),
        "leavesQty": money::text(fill.leaves_quantity),
        "createType": "CreateByUser",
        "orderType": order_type(fill.kind),
        "marketUnit": market_unit(fill.kind),
        "stopOrderType": "",
        "execFee": money::text(fill.fee),
        "execFeeV2": "",
        "feeCurrency": fill.fee_coin,
        "execId": fill.id.to_string(),
        "execPrice": money::text(fill.price),
        "execQty": money::text(fill.quantity),
        "execType": "Trade",
        "execValue": money::text(fill.value),
        "execTime": fill.time.0.to_string(),
        "isMaker": fill.maker,
        "feeRate": money::text(fill.fee_rate),
        "tradeIv": "",
        "markIv": "",
        "markPrice": "",
        "indexPrice": "",
        "underlyingPrice": "",
        "blockTradeId": "",
        "closedSize": "",
        "extraFees": "",
        // Small enough for clients whose numbers have 53 bits.
        "seq": fill.id % 1_000_000_000_000_000,
    })
}

/// One coin of a wallet. `free` and `availableToWithdraw` are dead fields of Bybit's.
pub(super) fn coin(name: &str, holding: &Holding, usd_value: Option<Decimal>) -> Value {
    json!({
        "coin": name,
        "equity": money::text(holding.wallet),
        "usdValue": usd_value.map(money::text).unwrap_or_default(),
        "walletBalance": money::text(holding.wallet),
        "free": "",
        "locked": money::text(holding.locked),
        "spotHedgingQty": "0",
        "borrowAmount": "0",
        "spotBorrow": "0",
        "availableToWithdraw": "",
        "availableToBorrow": "",
        "accruedInterest": "0",
        "totalOrderIM": "0",
        "totalPositionIM": "0",
        "totalPositionMM": "0",
        "unrealisedPnl": "0",
        "cumRealisedPnl": "0",
        "bonus": "0",
        "marginCollateral": true,
        "collateralSwitch": true,
    })
}

/// A wallet of these coins, with its sums in US dollars as far as prices are known.
pub(super) fn wallet<'a>(exchange: &Exchange, coins: impl Iterator<Item = (&'a str, Holding)>) -> Value {
    let mut total = Decimal::ZERO;
    let rows: Vec<Value> = coins
        .map(|(name, holding)| {
            let value = exchange.usd_price(name).and_then(|price| price.checked_mul(holding.wallet));
            let value = value.map(|value| value.round_dp(8));
            total += value.unwrap_or_default();
            coin(name, &holding, value)
        })
        .collect();
    let total = money::text(total);
    json!({
        "accountType": "UNIFIED",
        "accountIMRate": "",
        "accountMMRate": "",
        "accountLTV": "",
        "totalEquity": total,
        "totalWalletBalance": total,
        "totalMarginBalance": total,
        "totalAvailableBalance": total,
        "totalPerpUPL": "0",
        "totalInitialMargin": "0",
        "totalMaintenanceMargin": "0",
        "coin": rows,
    })
}

/// The message of a push on the private stream, under the name of the topic that was subscribed.
pub(super) fn push(push: &Push, topic: &str, exchange: &Exchange) -> String {
    let with_category = |mut row: Value| {
        row["category"] = "spot".into();
        row
    };
    let data: Vec<Value> = match &push.rows {
        Rows::Orders(orders) => orders.iter().map(order).map(with_category).collect(),
        Rows::Executions(fills) => fills.iter().map(execution).map(with_category).collect(),
        Rows::Wallet(holdings) => {
            vec![wallet(exchange, holdings.iter().map(|(name, holding)| (name.as_str(), holding.clone())))]
        }
    };
    json!({
        "id": format!("push-{}", push.number),
        "topic": topic,
        "creationTime": push.time.0,
        "data": data,
    })
    .to_string()
}

impl Exchange {
    /// What a coin is worth in US dollars, by this exchange's own markets; USDT and USDC are worth one.
    pub(super) fn usd_price(&self, coin: &str) -> Option<Decimal> {
        if coin == "USDT" || coin == "USDC" {
            return Some(Decimal::ONE);
        }
        let market = self.books.iter().find(|book| {
            let instrument = &book.listing().instrument;
            instrument.base_coin == coin && instrument.quote_coin == "USDT"
        });
        market.map(super::book::Book::bid)
    }
}
