//! Bybit's REST, as a function of a request: routing, signatures, permissions, rate limits, and the JSON around
//! every answer.
//!
//! In goes a [`Request`] and the exchange's time, out comes a [`Response`]. Whatever the request holds, there is an
//! answer: an unknown path is 404, everything else is HTTP 200 with a `retCode`.

mod account;
mod market;
mod parameters;
#[cfg(test)]
mod tests;
mod trade;

use hmac::{Hmac, KeyInit, Mac};
pub(super) use market::{shown_size, ticker};
use parameters::Parameters;
use serde_json::{Value, json};
use sha2::Sha256;

use super::api_error::{self, ApiError};
use super::exchange::Exchange;
use super::settings::RateLimits;
use crate::core::Timestamp;
use crate::http::{Method, Request, Response};

/// What an endpoint needs of the key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Public,
    Read,
    Trade,
}

/// The result of a call, or Bybit's error.
type ApiResult = Result<Value, ApiError>;
type Public = fn(&Exchange, &Parameters, Timestamp) -> ApiResult;
type Private = fn(&mut Exchange, usize, &Parameters, Timestamp) -> ApiResult;

enum Handler {
    Public(Public),
    Private(Private),
}

/// One endpoint: its handler, what it needs of the key, and its requests a second.
struct Endpoint {
    path: &'static str,
    handler: Handler,
    access: Access,
    per_second: fn(&RateLimits) -> u32,
}

fn public(path: &'static str, handler: Public) -> Endpoint {
    Endpoint { path, handler: Handler::Public(handler), access: Access::Public, per_second: |_| 0 }
}

fn read(path: &'static str, handler: Private) -> Endpoint {
    Endpoint { path, handler: Handler::Private(handler), access: Access::Read, per_second: |limits| limits.read }
}

fn act(path: &'static str, handler: Private, per_second: fn(&RateLimits) -> u32) -> Endpoint {
    Endpoint { path, handler: Handler::Private(handler), access: Access::Trade, per_second }
}

fn endpoint(method: Method, path: &str) -> Option<Endpoint> {
    let endpoint = match (method, path) {
        (Method::Get, "/v5/market/time") => public("/v5/market/time", market::time),
        (Method::Get, "/v5/market/instruments-info") => public("/v5/market/instruments-info", market::instruments),
        (Method::Get, "/v5/market/tickers") => public("/v5/market/tickers", market::tickers),
        (Method::Get, "/v5/market/kline") => public("/v5/market/kline", market::kline),
        (Method::Get, "/v5/market/recent-trade") => public("/v5/market/recent-trade", market::recent_trade),
        (Method::Get, "/v5/market/orderbook") => public("/v5/market/orderbook", market::orderbook),
        (Method::Get, "/v5/account/wallet-balance") => read("/v5/account/wallet-balance", account::wallet_balance),
        (Method::Get, "/v5/account/info") => read("/v5/account/info", account::info),
        (Method::Get, "/v5/account/fee-rate") => read("/v5/account/fee-rate", account::not_on_demo),
        (Method::Get, "/v5/user/query-api") => read("/v5/user/query-api", account::query_api),
        (Method::Get, "/v5/order/realtime") => read("/v5/order/realtime", trade::realtime),
        (Method::Get, "/v5/order/history") => read("/v5/order/history", trade::history),
        (Method::Get, "/v5/execution/list") => read("/v5/execution/list", trade::executions),
        (Method::Post, "/v5/account/demo-apply-money") => {
            act("/v5/account/demo-apply-money", account::demo_money, |limits| limits.amend)
        }
        (Method::Post, "/v5/order/create") => act("/v5/order/create", trade::create, |limits| limits.create),
        (Method::Post, "/v5/order/amend") => act("/v5/order/amend", trade::amend, |limits| limits.amend),
        (Method::Post, "/v5/order/cancel") => act("/v5/order/cancel", trade::cancel, |limits| limits.cancel),
        (Method::Post, "/v5/order/cancel-all") => {
            act("/v5/order/cancel-all", trade::cancel_all, |limits| limits.cancel)
        }
        (Method::Post, "/v5/order/create-batch" | "/v5/order/amend-batch" | "/v5/order/cancel-batch") => {
            act("/v5/order/*-batch", account::not_on_demo, |limits| limits.create)
        }
        _ => return None,
    };
    Some(endpoint)
}

/// What is left of a rate limit.
struct Quota {
    limit: u32,
    left: u32,
    reset: Timestamp,
}

impl Exchange {
    /// Answers one request.
    pub fn handle(&mut self, request: &Request, now: Timestamp) -> Response {
        let Some(endpoint) = endpoint(request.method, &request.path) else {
            let error = ApiError::new(api_error::ROUTE, "Request path not found or request method is invalid.");
            return respond(404, Err(error), None, now);
        };
        let mut quota = None;
        let result = self.serve(&endpoint, request, now, &mut quota);
        respond(200, result, quota.as_ref(), now)
    }

    fn serve(
        &mut self,
        endpoint: &Endpoint,
        request: &Request,
        now: Timestamp,
        quota: &mut Option<Quota>,
    ) -> ApiResult {
        let parameters = || match request.method {
            Method::Get => Parameters::of_query(&request.query),
            Method::Post => Parameters::of_body(&request.body),
        };
        let handler = match endpoint.handler {
            Handler::Public(handler) => return handler(self, &parameters()?, now),
            Handler::Private(handler) => handler,
        };
        let account = self.authenticate(request, now)?;
        let permissions = &self.accounts[account].permissions;
        if endpoint.access == Access::Trade && (permissions.read_only || !permissions.spot_trade) {
            return Err(ApiError::new(
                api_error::PERMISSION,
                "Permission denied, please check your API key permissions.",
            ));
        }
        let used = self.count_request(account, endpoint.path, (endpoint.per_second)(&self.rules.rate_limits), now);
        let exceeded = used.is_none();
        *quota = Some(self.quota(endpoint, used, now));
        if exceeded {
            return Err(ApiError::new(api_error::RATE_LIMIT, "Too many visits. Exceeded the API Rate Limit."));
        }
        handler(self, account, &parameters()?, now)
    }

    /// Whose request it is, once key, time and signature are found right.
    fn authenticate(&self, request: &Request, now: Timestamp) -> Result<usize, ApiError> {
        let header = |name: &str| {
            let found = request.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        let missing = |name: &str| ApiError::parameter(format!("Request parameter error: header {name} is missing."));
        let key = header("X-BAPI-API-KEY").ok_or_else(invalid_key)?;
        let stamp = header("X-BAPI-TIMESTAMP").ok_or_else(|| missing("X-BAPI-TIMESTAMP"))?;
        let sign = header("X-BAPI-SIGN").ok_or_else(|| missing("X-BAPI-SIGN"))?;
        let window = header("X-BAPI-RECV-WINDOW");
        let account = self.account_of_key(key).ok_or_else(invalid_key)?;
        let payload = match request.method {
            Method::Get => &request.query,
            Method::Post => &request.body,
        };
        let signed = format!("{stamp}{key}{}{payload}", window.unwrap_or_default());
        if !is_signed(&self.accounts[account].secret, &signed, sign) {
            return Err(ApiError::new(
                api_error::SIGNATURE,
                "error sign! please check your signature generation algorithm.",
            ));
        }
        check_window(stamp, window.unwrap_or("5000"), now)?;
        Ok(account)
    }

    /// Counts a request; gives how many this second has seen, or none when that is too many.
    pub(super) fn count_request(
        &mut self,
        account: usize,
        path: &'static str,
        limit: u32,
        now: Timestamp,
    ) -> Option<u32> {
        let second = now.0.div_euclid(1000);
        let (counted, used) = self.accounts[account].requests.entry(path).or_insert((second, 0));
        if *counted != second {
            (*counted, *used) = (second, 0);
        }
        if *used >= limit {
            return None;
        }
        *used += 1;
        Some(*used)
    }

    fn quota(&self, endpoint: &Endpoint, used: Option<u32>, now: Timestamp) -> Quota {
        let limit = (endpoint.per_second)(&self.rules.rate_limits);
        match used {
            Some(used) => Quota { limit, left: limit.saturating_sub(used), reset: now },
            None => Quota { limit, left: 0, reset: next_second(now) },
        }
    }
}

/// When requests are counted anew.
pub(super) fn next_second(now: Timestamp) -> Timestamp {
    Timestamp((now.0.div_euclid(1000) + 1) * 1000)
}

/// Whether `sign` is the HMAC-SHA256 of the text, in hex.
pub(super) fn is_signed(secret: &str, text: &str, sign: &str) -> bool {
    let Ok(sign) = hex::decode(sign) else { return false };
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(secret.as_bytes()) else { return false };
    mac.update(text.as_bytes());
    mac.verify_slice(&sign).is_ok()
}

fn invalid_key() -> ApiError {
    ApiError::new(api_error::KEY, "API key is invalid.")
}

/// `server − window ≤ timestamp < server + 1000`.
fn check_window(stamp: &str, window: &str, now: Timestamp) -> Result<(), ApiError> {
    let (Ok(sent), Ok(width)) = (stamp.parse::<i64>(), window.parse::<u32>()) else {
        return Err(ApiError::parameter("Request parameter error: timestamp and recv_window are milliseconds."));
    };
    if now.0 - i64::from(width) <= sent && sent < now.0 + 1000 {
        return Ok(());
    }
    let server = now.0;
    Err(ApiError::new(
        api_error::TIMESTAMP,
        format!(
            "invalid request, please check your server timestamp or recv_window param. \
             req_timestamp[{sent}],server_timestamp[{server}],recv_window[{width}]"
        ),
    ))
}

fn respond(status: u16, result: ApiResult, quota: Option<&Quota>, now: Timestamp) -> Response {
    let (code, message, result) = match result {
        Ok(result) => (0, "OK".to_owned(), result),
        Err(error) => (error.code, error.message, json!({})),
    };
    let body = json!({ "retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": now.0 });
    let mut headers = vec![("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned())];
    if let Some(quota) = quota {
        headers.push(("X-Bapi-Limit".to_owned(), quota.limit.to_string()));
        headers.push(("X-Bapi-Limit-Status".to_owned(), quota.left.to_string()));
        headers.push(("X-Bapi-Limit-Reset-Timestamp".to_owned(), quota.reset.0.to_string()));
    }
    Response { status, headers, body: body.to_string().into_bytes() }
}
