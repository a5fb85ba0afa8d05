//! REST as a client meets it: signatures, codes, headers, lists.

use serde_json::{Value, json};

use crate::core::{Decimal, Timestamp};
use crate::http::{Method, Request, Response};
use crate::simulation::api_error;
use crate::simulation::exchange::Exchange;
use crate::simulation::testing::*;

fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

fn send(exchange: &mut Exchange, request: &Request, now: Timestamp) -> (i64, Value) {
    let response = exchange.handle(request, now);
    assert_eq!(response.status, 200);
    let body = body(&response);
    assert_eq!(body["time"], now.0);
    assert_eq!(body["retExtInfo"], json!({}));
    (body["retCode"].as_i64().unwrap(), body["result"].clone())
}

fn get(exchange: &mut Exchange, path: &str, query: &str) -> (i64, Value) {
    send(exchange, &signed(Method::Get, path, query, NOW), NOW)
}

fn post(exchange: &mut Exchange, path: &str, body: &Value) -> (i64, Value) {
    send(exchange, &signed(Method::Post, path, &body.to_string(), NOW), NOW)
}

fn create(exchange: &mut Exchange, more: Value) -> (i64, Value) {
    let mut order = json!({ "category": "spot", "symbol": BTC, "side": "Buy", "orderType": "Limit", "price": "50000", "qty": "0.001" });
    order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    post(exchange, "/v5/order/create", &order)
}

const BALANCE: &str = "/v5/account/wallet-balance";
const UNIFIED: &str = "accountType=UNIFIED";

#[test]
fn a_signature_covers_time_key_window_and_payload() {
    let mut exchange = exchange();
    let good = signed(Method::Get, BALANCE, UNIFIED, NOW);
    assert_eq!(send(&mut exchange, &good, NOW).0, 0);
    let with = |name: &'static str, value: &str| {
        let mut request = good.clone();
        request.headers.retain(|(key, _)| *key != name);
        if !value.is_empty() {
            request.headers.push((name, value.to_owned()));
        }
        request
    };
    let other_query = Request { query: format!("{UNIFIED}&coin=BTC"), ..good.clone() };
    for (request, code) in [
        (with("X-BAPI-API-KEY", "nobody"), api_error::KEY),
        (with("X-BAPI-API-KEY", ""), api_error::KEY),
        (with("X-BAPI-SIGN", "00"), api_error::SIGNATURE),
        (with("X-BAPI-SIGN", "no hex"), api_error::SIGNATURE),
        (with("X-BAPI-SIGN", ""), api_error::PARAMETER),
        (with("X-BAPI-TIMESTAMP", ""), api_error::PARAMETER),
        (with("X-BAPI-TIMESTAMP", "1700000000001"), api_error::SIGNATURE),
        (with("X-BAPI-RECV-WINDOW", "6000"), api_error::SIGNATURE),
        (with("X-BAPI-RECV-WINDOW", ""), api_error::SIGNATURE),
        (other_query, api_error::SIGNATURE),
    ] {
        assert_eq!(send(&mut exchange, &request, NOW).0, code);
    }
}

#[test]
fn the_signature_of_a_post_is_over_its_exact_body() {
    let mut exchange = exchange();
    let good = signed(Method::Post, "/v5/order/cancel-all", r#"{"category":"spot"}"#, NOW);
    let spaced = Request { body: r#"{"category": "spot"}"#.to_owned(), ..good.clone() };
    assert_eq!(send(&mut exchange, &good, NOW).0, 0);
    assert_eq!(send(&mut exchange, &spaced, NOW).0, api_error::SIGNATURE);
}

#[test]
fn a_request_is_taken_from_its_window_before_to_a_second_after() {
    let mut exchange = exchange();
    for (skew, code) in [(-5001, api_error::TIMESTAMP), (-5000, 0), (0, 0), (999, 0), (1000, api_error::TIMESTAMP)] {
        let request = signed(Method::Get, BALANCE, UNIFIED, Timestamp(NOW.0 + skew));
        assert_eq!(send(&mut exchange, &request, NOW).0, code, "{skew}");
    }
}

#[test]
fn a_key_without_the_right_may_ask_but_not_act() {
    for (read_only, spot_trade) in [(true, true), (false, false)] {
        let mut settings = settings();
        settings.accounts[0].permissions.read_only = read_only;
        settings.accounts[0].permissions.spot_trade = spot_trade;
        let mut exchange = Exchange::new(settings);
        assert_eq!(create(&mut exchange, json!({})).0, api_error::PERMISSION);
        let (code, info) = get(&mut exchange, "/v5/user/query-api", "");
        assert_eq!(code, 0);
        assert_eq!(info["readOnly"], i32::from(read_only));
        assert_eq!(info["permissions"]["Spot"], if spot_trade { json!(["SpotTrade"]) } else { json!([]) });
        assert_eq!((&info["ips"], &info["secret"]), (&json!(["*"]), &json!("")));
        assert_eq!(info["createdAt"], "2023-11-14T22:13:20Z");
    }
}

#[test]
fn the_twenty_first_create_of_a_second_is_too_many_and_the_headers_count() {
    let mut exchange = exchange();
    let path = "/v5/order/create";
    let request = |now| signed(Method::Post, path, r#"{"category":"spot"}"#, now);
    for left in (0..20).rev() {
        let response = exchange.handle(&request(NOW), NOW);
        assert_eq!(body(&response)["retCode"], api_error::PARAMETER);
        assert_eq!(response.header("X-Bapi-Limit"), Some("20"));
        assert_eq!(response.header("X-Bapi-Limit-Status"), Some(left.to_string().as_str()));
        assert_eq!(response.header("X-Bapi-Limit-Reset-Timestamp"), Some(NOW.0.to_string().as_str()));
    }
    let response = exchange.handle(&request(NOW), NOW);
    assert_eq!(body(&response)["retCode"], api_error::RATE_LIMIT);
    assert_eq!(response.header("X-Bapi-Limit-Status"), Some("0"));
    assert_eq!(response.header("X-Bapi-Limit-Reset-Timestamp"), Some((NOW.0 + 1000).to_string().as_str()));
    assert_eq!(get(&mut exchange, BALANCE, UNIFIED).0, 0, "other endpoints count for themselves");
    let later = Timestamp(NOW.0 + 1000);
    assert_eq!(send(&mut exchange, &request(later), later).0, api_error::PARAMETER);
}

#[test]
fn unknown_paths_and_methods_are_not_found() {
    let mut exchange = exchange();
    for (method, path) in [(Method::Get, "/"), (Method::Get, "/v5/order/create"), (Method::Post, "/v5/market/time")] {
        let response = exchange.handle(&signed(method, path, "", NOW), NOW);
        assert_eq!((response.status, &body(&response)["retCode"]), (404, &json!(api_error::ROUTE)), "{path}");
    }
}

#[test]
fn bodies_that_are_no_orders_are_refused() {
    let mut exchange = exchange();
    for (payload, code) in [
        ("", api_error::PARAMETER),
        ("[]", api_error::PARAMETER),
        ("{\"category\":", api_error::PARAMETER),
        (r#"{"category":"linear"}"#, api_error::PARAMETER),
    ] {
        let request = signed(Method::Post, "/v5/order/create", payload, NOW);
        assert_eq!(send(&mut exchange, &request, NOW).0, code, "{payload}");
    }
    for (more, code) in [
        (json!({ "symbol": null }), api_error::PARAMETER),
        (json!({ "side": "Long" }), api_error::SIDE),
        (json!({ "orderType": "Iceberg" }), api_error::ORDER_TYPE),
        (json!({ "timeInForce": "DAY" }), api_error::TIME_IN_FORCE),
        (json!({ "qty": 0.001 }), api_error::PARAMETER),
        (json!({ "qty": "1e-3" }), api_error::INVALID),
        (json!({ "price": "" }), api_error::PARAMETER),
        (json!({ "orderType": "Market", "marketUnit": "bananas" }), api_error::PARAMETER),
        (json!({ "orderLinkId": "a b" }), api_error::PARAMETER),
        (json!({ "orderLinkId": "a".repeat(37) }), api_error::PARAMETER),
        (json!({ "triggerPrice": "1" }), api_error::PARAMETER),
        (json!({ "takeProfit": "1" }), api_error::PARAMETER),
        (json!({ "isLeverage": 1 }), api_error::PARAMETER),
        (json!({ "orderFilter": "StopOrder" }), api_error::PARAMETER),
        (json!({ "symbol": "NOPE" }), api_error::SYMBOL),
    ] {
        assert_eq!(create(&mut exchange, more.clone()).0, code, "{more}");
    }
    assert_eq!(exchange.orders().count(), 0);
}

#[test]
fn a_market_buy_counts_quote_coin_unless_told_otherwise() {
    let mut exchange = exchange();
    let market = |more: Value| {
        let mut order = json!({ "orderType": "Market", "price": null });
        order.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        order
    };
    for (more, unit) in [
        (json!({ "qty": "50" }), "quoteCoin"),
        (json!({ "qty": "50", "marketUnit": "quoteCoin" }), "quoteCoin"),
        (json!({ "qty": "0.001", "marketUnit": "baseCoin" }), "baseCoin"),
        (json!({ "qty": "0.001", "side": "Sell" }), "baseCoin"),
    ] {
        let (code, result) = create(&mut exchange, market(more));
        assert_eq!(code, 0);
        let query = format!("category=spot&orderId={}", result["orderId"].as_str().unwrap());
        let (_, list) = get(&mut exchange, "/v5/order/realtime", &query);
        let row = &list["list"][0];
        assert_eq!(
            (&row["marketUnit"], &row["orderType"], &row["timeInForce"]),
            (&json!(unit), &json!("Market"), &json!("IOC"))
        );
    }
}

#[test]
fn an_order_is_created_amended_listed_and_cancelled() {
    let mut exchange = exchange();
    let (code, names) = create(&mut exchange, json!({ "orderLinkId": "my-1", "timeInForce": "PostOnly" }));
    assert_eq!((code, &names["orderLinkId"]), (0, &json!("my-1")));
    assert_eq!(create(&mut exchange, json!({ "orderLinkId": "my-1" })).0, api_error::DUPLICATE);
    let amend = json!({ "category": "spot", "symbol": BTC, "orderLinkId": "my-1", "price": "51000", "qty": "0.002" });
    assert_eq!(post(&mut exchange, "/v5/order/amend", &amend), (0, names.clone()));
    let (_, open) = get(&mut exchange, "/v5/order/realtime", "category=spot&symbol=BTCUSDT");
    let row = &open["list"][0];
    for (field, value) in [
        ("orderId", names["orderId"].as_str().unwrap()),
        ("orderLinkId", "my-1"),
        ("symbol", BTC),
        ("side", "Buy"),
        ("orderType", "Limit"),
        ("timeInForce", "PostOnly"),
        ("orderStatus", "New"),
        ("price", "51000"),
        ("qty", "0.002"),
        ("leavesQty", "0.002"),
        ("leavesValue", "102"),
        ("cumExecQty", "0"),
        ("cumExecValue", "0"),
        ("avgPrice", ""),
        ("rejectReason", "EC_NoError"),
        ("createdTime", "1700000000000"),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    let cancel = json!({ "category": "spot", "symbol": BTC, "orderId": names["orderId"] });
    assert_eq!(post(&mut exchange, "/v5/order/cancel", &cancel), (0, names));
    assert_eq!(post(&mut exchange, "/v5/order/cancel", &cancel).0, api_error::NOT_OPEN);
    let (_, history) = get(&mut exchange, "/v5/order/history", "category=spot&orderLinkId=my-1");
    assert_eq!(history["list"][0]["orderStatus"], "Cancelled");
    let nameless = json!({ "category": "spot", "symbol": BTC });
    assert_eq!(post(&mut exchange, "/v5/order/cancel", &nameless).0, api_error::PARAMETER);
}

#[test]
fn lists_are_paged_with_a_cursor() {
    let mut exchange = exchange();
    for _ in 0..3 {
        create(&mut exchange, json!({}));
    }
    let query = "category=spot&limit=2";
    let (_, first) = get(&mut exchange, "/v5/order/realtime", query);
    assert_eq!(first["list"].as_array().unwrap().len(), 2);
    let next = format!("{query}&cursor={}", first["nextPageCursor"].as_str().unwrap());
    let (_, second) = get(&mut exchange, "/v5/order/realtime", &next);
    assert_eq!((second["list"].as_array().unwrap().len(), &second["nextPageCursor"]), (1, &json!("")));
    assert_eq!(get(&mut exchange, "/v5/order/realtime", "category=spot&limit=51").0, api_error::PARAMETER);
    assert_eq!(get(&mut exchange, "/v5/execution/list", "category=spot&limit=100").0, 0);
}

#[test]
fn executions_say_what_was_paid_in_which_coin() {
    let mut exchange = exchange();
    move_to(&mut exchange, "60000.09");
    create(&mut exchange, json!({ "orderType": "Market", "qty": "50", "marketUnit": "quoteCoin", "orderLinkId": "b" }));
    let (_, list) = get(&mut exchange, "/v5/execution/list", "category=spot&orderLinkId=b");
    let row = &list["list"][0];
    for (field, value) in [
        ("execPrice", "60000.1"),
        ("execQty", "0.000833"),
        ("execValue", "49.9800833"),
        ("execFee", "0.000000833"),
        ("feeCurrency", "BTC"),
        ("feeRate", "0.001"),
        ("execType", "Trade"),
        ("orderLinkId", "b"),
        ("execTime", "1700000000000"),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    assert_eq!(row["isMaker"], false);
    let (_, orders) = get(&mut exchange, "/v5/order/history", "category=spot");
    let row = &orders["list"][0];
    assert_eq!(row["orderStatus"], "PartiallyFilledCanceled");
    assert_eq!(row["cumFeeDetail"], json!({ "BTC": "0.000000833" }));
    assert_eq!((&row["avgPrice"], &row["leavesQty"]), (&json!("60000.1"), &json!("0")));
}

#[test]
fn the_wallet_shows_what_is_locked_and_leaves_dead_fields_empty() {
    let mut exchange = exchange();
    create(&mut exchange, json!({}));
    let (_, wallet) = get(&mut exchange, BALANCE, UNIFIED);
    let coins = wallet["list"][0]["coin"].as_array().unwrap();
    assert_eq!(coins.len(), 2);
    let usdt = coins.iter().find(|coin| coin["coin"] == "USDT").unwrap();
    assert_eq!((&usdt["walletBalance"], &usdt["locked"]), (&json!("10000"), &json!("50")));
    assert_eq!(
        (&usdt["free"], &usdt["availableToWithdraw"], &usdt["spotBorrow"]),
        (&json!(""), &json!(""), &json!("0"))
    );
    assert_eq!(wallet["list"][0]["totalEquity"], "70000");
    let (_, two) = get(&mut exchange, BALANCE, "accountType=UNIFIED&coin=ETH,BTC");
    let rows: Vec<_> =
        two["list"][0]["coin"].as_array().unwrap().iter().map(|row| row["walletBalance"].clone()).collect();
    assert_eq!(rows, ["0", "1"]);
    assert_eq!(get(&mut exchange, BALANCE, "accountType=SPOT").0, api_error::PARAMETER);
}

#[test]
fn demo_money_is_given_once_a_minute_up_to_its_limits() {
    let mut exchange = exchange();
    let path = "/v5/account/demo-apply-money";
    let ask = |coin: &str, amount: &str| json!({ "adjustType": 0, "utaDemoApplyMoney": [{ "coin": coin, "amountStr": amount }] });
    let no_list = json!({ "utaDemoApplyMoney": "USDT" });
    for wrong in [ask("DOGE", "1"), ask("USDT", "100000.1"), ask("BTC", "15.1"), ask("USDT", "0"), no_list] {
        assert_eq!(post(&mut exchange, path, &wrong).0, api_error::PARAMETER, "{wrong}");
    }
    assert_eq!(post(&mut exchange, path, &ask("USDT", "100000")).0, 0);
    assert_eq!(free_and_locked(&exchange, "USDT").0, Decimal::from(110_000));
    assert_eq!(post(&mut exchange, path, &ask("USDT", "1")).0, api_error::RATE_LIMIT);
    let later = Timestamp(NOW.0 + 60_000);
    let back = json!({ "adjustType": 1, "utaDemoApplyMoney": [{ "coin": "USDT", "amountStr": "10000" }] }).to_string();
    assert_eq!(send(&mut exchange, &signed(Method::Post, path, &back, later), later).0, 0);
    assert_eq!(free_and_locked(&exchange, "USDT").0, Decimal::from(100_000));
}

#[test]
fn demo_money_without_a_coin_is_a_hundred_thousand_usdt() {
    let mut exchange = exchange();
    assert_eq!(post(&mut exchange, "/v5/account/demo-apply-money", &json!({})).0, 0);
    assert_eq!(free_and_locked(&exchange, "USDT").0, Decimal::from(110_000));
}

#[test]
fn what_demo_lacks_is_said() {
    let mut exchange = exchange();
    assert_eq!(get(&mut exchange, "/v5/account/fee-rate", "category=spot").0, api_error::NOT_ON_DEMO);
    let batch = json!({ "category": "spot", "request": [] });
    assert_eq!(post(&mut exchange, "/v5/order/create-batch", &batch).0, api_error::NOT_ON_DEMO);
    assert_eq!(get(&mut exchange, "/v5/account/info", "").1["dcpStatus"], "OFF");
}

#[test]
fn public_endpoints_need_no_key() {
    let mut exchange = exchange();
    let mut ask = |path: &str, query: &str| {
        let request = Request { headers: Vec::new(), ..signed(Method::Get, path, query, NOW) };
        send(&mut exchange, &request, NOW)
    };
    let (_, time) = ask("/v5/market/time", "");
    assert_eq!(time, json!({ "timeSecond": "1700000000", "timeNano": "1700000000000000000" }));
    let (_, info) = ask("/v5/market/instruments-info", "category=spot&symbol=BTCUSDT");
    let row = &info["list"][0];
    assert_eq!((&row["status"], &row["baseCoin"]), (&json!("Trading"), &json!("BTC")));
    assert_eq!(row["priceFilter"]["tickSize"], "0.01");
    assert_eq!(row["riskParameters"]["priceLimitRatioX"], "0.05");
    let lots = &row["lotSizeFilter"];
    assert_eq!((&lots["basePrecision"], &lots["quotePrecision"]), (&json!("0.000001"), &json!("0.00000001")));
    assert_eq!((&lots["minOrderAmt"], &lots["maxLimitOrderQty"]), (&json!("5"), &json!("83")));
    assert_eq!(ask("/v5/market/instruments-info", "category=spot").1["list"].as_array().unwrap().len(), 2);
    let (_, ticker) = ask("/v5/market/tickers", "category=spot&symbol=BTCUSDT");
    let row = &ticker["list"][0];
    assert_eq!(
        (&row["lastPrice"], &row["bid1Price"], &row["ask1Price"]),
        (&json!("60000"), &json!("60000"), &json!("60000.01"))
    );
    let (_, book) = ask("/v5/market/orderbook", "category=spot&symbol=BTCUSDT");
    assert_eq!((&book["b"][0][0], &book["a"][0][0]), (&json!("60000"), &json!("60000.01")));
    let (_, trades) = ask("/v5/market/recent-trade", "category=spot&symbol=BTCUSDT");
    assert_eq!(trades["list"][0]["price"], "60000");
    for path in ["/v5/market/tickers", "/v5/market/orderbook", "/v5/market/instruments-info"] {
        assert_eq!(ask(path, "category=spot&symbol=NOPE").0, api_error::SYMBOL);
        assert_eq!(ask(path, "category=linear&symbol=BTCUSDT").0, api_error::PARAMETER);
    }
}

#[test]
fn klines_are_drawn_from_the_market_newest_first() {
    let mut exchange = exchange();
    let minute = NOW.0 - NOW.0 % 300_000;
    for (second, price) in [(0, "100"), (20, "130"), (40, "90"), (59, "110"), (60, "111"), (300, "112")] {
        let now = Timestamp(minute + second * 1000);
        exchange.advance(BTC, &crate::simulation::market::PricePoint::new(now, d(price)), now);
    }
    let mut rows = |query: &str| {
        let (_, list) = get(&mut exchange, "/v5/market/kline", &format!("category=spot&symbol=BTCUSDT&{query}"));
        list["list"].clone()
    };
    let row = |at: i64, prices: [&str; 4]| {
        json!([(minute + at * 1000).to_string(), prices[0], prices[1], prices[2], prices[3], "0", "0"])
    };
    let first = row(0, ["100", "130", "90", "110"]);
    let (second, last) = (row(60, ["111"; 4]), row(300, ["112"; 4]));
    assert_eq!(rows("interval=1"), json!([last, second, first]));
    assert_eq!(rows("interval=1&limit=1"), json!([last]));
    assert_eq!(rows(&format!("interval=1&start={minute}&end={}", minute + 60_000)), json!([second, first]));
    assert_eq!(rows("interval=5"), json!([last, row(0, ["100", "130", "90", "111"])]));
    assert!(rows("interval=7").is_null());
}
