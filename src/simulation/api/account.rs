//! `/v5/account/*` and `/v5/user/query-api`.

use std::time::Duration;

use serde_json::{Value, json};

use super::{ApiResult, Call};
use crate::core::{Decimal, Timestamp, money};
use crate::simulation::api_error::{self, ApiError};
use crate::simulation::wire;

pub(super) fn wallet_balance(Call { exchange, account, parameters, .. }: Call<'_>) -> ApiResult {
    if parameters.required("accountType")? != "UNIFIED" {
        return Err(ApiError::parameter("accountType only support UNIFIED."));
    }
    let account = &exchange.accounts()[account];
    let wallet = match parameters.text("coin")? {
        Some(coins) => {
            let wanted = coins.split(',').map(str::trim).filter(|coin| !coin.is_empty());
            wire::wallet(exchange, wanted.map(|coin| (coin, account.holding(coin))))
        }
        None => {
            let held = account.holdings().iter().filter(|(_, holding)| !holding.wallet.is_zero());
            wire::wallet(exchange, held.map(|(coin, holding)| (coin.as_str(), holding.clone())))
        }
    };
    Ok(json!({ "list": [wallet] }))
}

pub(super) fn info(Call { now, .. }: Call<'_>) -> ApiResult {
    Ok(json!({
        "marginMode": "REGULAR_MARGIN",
        "updatedTime": now.0.to_string(),
        "unifiedMarginStatus": 6,
        "dcpStatus": "OFF",
        "timeWindow": 0,
        "smpGroup": 0,
        "isMasterTrader": false,
        "spotHedgingStatus": "OFF",
    }))
}

pub(super) fn query_api(Call { exchange, account, now, .. }: Call<'_>) -> ApiResult {
    let id = account + 1;
    let account = &exchange.accounts()[account];
    let permissions = &account.permissions;
    let spot: &[&str] = if permissions.spot_trade { &["SpotTrade"] } else { &[] };
    let wallet: &[&str] = if permissions.withdraw { &["AccountTransfer", "Withdraw"] } else { &[] };
    let days = Duration::from_secs(90 * 24 * 3600);
    Ok(json!({
        "id": id.to_string(),
        "note": "simulated",
        "apiKey": account.key,
        "readOnly": i32::from(permissions.read_only),
        "secret": "",
        "permissions": {
            "ContractTrade": [], "Spot": spot, "Wallet": wallet, "Options": [], "Derivatives": [],
            "CopyTrading": [], "BlockTrade": [], "Exchange": [], "NFT": [], "Affiliate": [], "Earn": [],
        },
        "ips": permissions.ips,
        "type": 1,
        "deadlineDay": 90,
        "expiredAt": whole_seconds(now.after(days)),
        "createdAt": whole_seconds(now),
        "unified": 0,
        "uta": 1,
        "userID": id,
        "inviterID": 0,
        "vipLevel": "No VIP",
        "mktMakerLevel": "0",
        "affiliateID": 0,
        "rsaPublicKey": "",
        "isMaster": true,
        "parentUid": "0",
        "kycLevel": "LEVEL_DEFAULT",
        "kycRegion": "",
    }))
}

/// `2022-01-01T00:00:00Z`.
fn whole_seconds(moment: Timestamp) -> String {
    moment.to_string().split('.').next().map(|seconds| format!("{seconds}Z")).unwrap_or_default()
}

pub(super) fn not_on_demo(_: Call<'_>) -> ApiResult {
    Err(ApiError::new(api_error::NOT_ON_DEMO, "Demo trading are not supported."))
}

/// The most of each coin that one application gives.
fn demo_limit(coin: &str) -> Option<Decimal> {
    match coin {
        "BTC" => Some(Decimal::from(15)),
        "ETH" => Some(Decimal::from(200)),
        "USDT" | "USDC" => Some(Decimal::from(100_000)),
        _ => None,
    }
}

/// Once a minute: adds money (`adjustType` 0) or takes it away (1); 100,000 USDT if no coin is named.
pub(super) fn demo_money(Call { exchange, account, parameters, now }: Call<'_>) -> ApiResult {
    if !exchange.rules.demo_money {
        return Err(ApiError::new(api_error::PERMISSION, "Permission denied: this environment gives no demo money."));
    }
    let minute = Duration::from_secs(60);
    if exchange.accounts[account].demo_money_at.is_some_and(|at| now < at.after(minute)) {
        return Err(ApiError::new(api_error::RATE_LIMIT, "Too many visits. Demo money is given once a minute."));
    }
    let reduce = match parameters.integer("adjustType")? {
        None | Some(0) => false,
        Some(1) => true,
        Some(_) => return Err(ApiError::parameter("params error: adjustType must be 0 or 1")),
    };
    let malformed = || ApiError::parameter("params error: utaDemoApplyMoney must be a list of coin and amountStr");
    // Bybit's documentation leaves the list optional and unsaid what comes without it; its own client sends none.
    let usual = [json!({ "coin": "USDT", "amountStr": "100000" })];
    let rows = match parameters.value("utaDemoApplyMoney") {
        None => &usual[..],
        Some(rows) => rows.as_array().ok_or_else(malformed)?,
    };
    let mut changes = Vec::new();
    for row in rows {
        let coin = row.get("coin").and_then(Value::as_str).ok_or_else(malformed)?;
        let amount = row.get("amountStr").and_then(Value::as_str).ok_or_else(malformed)?;
        let amount = money::parse(amount).map_err(|_| malformed())?;
        let limit = demo_limit(coin).ok_or_else(|| ApiError::parameter(format!("coin {coin:?} is not supported")))?;
        if amount <= Decimal::ZERO || amount > limit {
            return Err(ApiError::parameter(format!("{coin}: at most {limit} at a time, above zero")));
        }
        changes.push((coin, if reduce { -amount } else { amount }));
    }
    for (coin, change) in changes {
        exchange.adjust_balance(account, coin, change, now)?;
    }
    exchange.accounts[account].demo_money_at = Some(now);
    Ok(json!({}))
}
