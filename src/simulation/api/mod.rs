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
use Endpoint::{Public, Read, Trade};
use Method::{Get, Post};

/// The result of a call, or Bybit's error.
type ApiResult = Result<Value, ApiError>;

/// A call of an account whose key may make it.
struct Call<'c> {
    exchange: &'c mut Exchange,
    account: usize,
    parameters: &'c Parameters,
    now: Timestamp,
}

/// What answers at a path.
#[derive(Clone, Copy)]
enum Endpoint {
    /// Everybody.
    Public(fn(&Exchange, &Parameters, Timestamp) -> ApiResult),
    /// Every key.
    Read(fn(Call<'_>) -> ApiResult),
    /// A key that may trade, so many times a second.
    Trade(fn(Call<'_>) -> ApiResult, fn(&RateLimits) -> u32),
}

const ENDPOINTS: [(Method, &str, Endpoint); 21] = [
    (Get, "/v5/market/time", Public(market::time)),
    (Get, "/v5/market/instruments-info", Public(market::instruments)),
    (Get, "/v5/market/tickers", Public(market::tickers)),
    (Get, "/v5/market/kline", Public(market::kline)),
    (Get, "/v5/market/recent-trade", Public(market::recent_trade)),
    (Get, "/v5/market/orderbook", Public(market::orderbook)),
    (Get, "/v5/account/wallet-balance", Read(account::wallet_balance)),
    (Get, "/v5/account/info", Read(account::info)),
    (Get, "/v5/account/fee-rate", Read(account::not_on_demo)),
    (Get, "/v5/user/query-api", Read(account::query_api)),
    (Get, "/v5/order/realtime", Read(trade::realtime)),
    (Get, "/v5/order/history", Read(trade::history)),
    (Get, "/v5/execution/list", Read(trade::executions)),
    (Post, "/v5/account/demo-apply-money", Trade(account::demo_money, |limits| limits.amend)),
    (Post, "/v5/order/create", Trade(trade::create, |limits| limits.create)),
    (Post, "/v5/order/amend", Trade(trade::amend, |limits| limits.amend)),
    (Post, "/v5/order/cancel", Trade(trade::cancel, |limits| limits.cancel)),
    (Post, "/v5/order/cancel-all", Trade(trade::cancel_all, |limits| limits.cancel)),
    (Post, "/v5/order/create-batch", Trade(account::not_on_demo, |limits| limits.create)),
    (Post, "/v5/order/amend-batch", Trade(account::not_on_demo, |limits| limits.create)),
    (Post, "/v5/order/cancel-batch", Trade(account::not_on_demo, |limits| limits.create)),
];

/// What is left of a rate limit.
struct Quota {
    limit: u32,
    left: u32,
    reset: Timestamp,
}

impl Exchange {
    /// Answers one request.
    pub fn handle(&mut self, request: &Request, now: Timestamp) -> Response {
        let here = |(method, path, _): &&(Method, &str, Endpoint)| *method == request.method && *path == request.path;
        let Some((_, path, endpoint)) = ENDPOINTS.iter().find(here) else {
            let error = ApiError::new(api_error::ROUTE, "Request path not found or request method is invalid.");
            return respond(404, Err(error), None, now);
        };
        let mut quota = None;
        let result = self.serve(path, *endpoint, request, now, &mut quota);
        respond(200, result, quota.as_ref(), now)
    }

    fn serve(
        &mut self,
        path: &'static str,
        endpoint: Endpoint,
        request: &Request,
        now: Timestamp,
        quota: &mut Option<Quota>,
    ) -> ApiResult {
        let parameters = || match request.method {
            Get => Parameters::of_query(&request.query),
            Post => Parameters::of_body(&request.body),
        };
        let limits = &self.rules.rate_limits;
        let (handler, is_trade, limit) = match endpoint {
            Public(handler) => return handler(self, &parameters()?, now),
            Read(handler) => (handler, false, limits.read),
            Trade(handler, per_second) => (handler, true, per_second(limits)),
        };
        let account = self.authenticate(request, now)?;
        let permissions = &self.accounts[account].permissions;
        if is_trade && (permissions.read_only || !permissions.spot_trade) {
            return Err(ApiError::new(
                api_error::PERMISSION,
                "Permission denied, please check your API key permissions.",
            ));
        }
        let counted = self.count_request(account, path, limit, now);
        *quota = Some(match counted {
            Ok(left) => Quota { limit, left, reset: now },
            Err(_) => Quota { limit, left: 0, reset: next_second(now) },
        });
        counted?;
        handler(Call { exchange: self, account, parameters: &parameters()?, now })
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
            Get => &request.query,
            Post => &request.body,
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

    /// Counts a request; gives how many more this second may see.
    pub(super) fn count_request(
        &mut self,
        account: usize,
        path: &'static str,
        limit: u32,
        now: Timestamp,
    ) -> Result<u32, ApiError> {
        let second = now.0.div_euclid(1000);
        let (counted, used) = self.accounts[account].requests.entry(path).or_insert((second, 0));
        if *counted != second {
            (*counted, *used) = (second, 0);
        }
        if *used >= limit {
            return Err(ApiError::new(api_error::RATE_LIMIT, "Too many visits. Exceeded the API Rate Limit."));
        }
        *used += 1;
        Ok(limit - *used)
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
