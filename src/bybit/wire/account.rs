//! What Bybit says about the account and the key.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{FieldError, Text};
use crate::bybit::client::KeyInfo;
use crate::core::{Decimal, Timestamp};
use crate::engine::ports::Balance;

/// `/v5/account/wallet-balance`.
#[derive(Deserialize)]
pub(in crate::bybit) struct BalanceAnswer<'a> {
    #[serde(borrow)]
    list: Vec<AccountRow<'a>>,
}

#[derive(Deserialize)]
struct AccountRow<'a> {
    #[serde(borrow)]
    coin: Vec<CoinRow<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CoinRow<'a> {
    #[serde(borrow)]
    coin: Text<'a>,
    #[serde(borrow, default)]
    wallet_balance: Text<'a>,
    #[serde(borrow, default)]
    locked: Text<'a>,
    #[serde(borrow, default)]
    spot_borrow: Text<'a>,
}

impl BalanceAnswer<'_> {
    /// The balance of a coin; zero where the account does not list it.
    pub(in crate::bybit) fn balance(&self, coin: &str) -> Result<Balance, FieldError> {
        let row = self.list.iter().flat_map(|account| &account.coin).find(|row| row.coin.as_str() == coin);
        let Some(row) = row else {
            return Ok(Balance { total: Decimal::ZERO, free: Decimal::ZERO });
        };
        let total = row.wallet_balance.decimal("walletBalance")?;
        // Older answers know no loans in spot.
        let borrowed = row.spot_borrow.decimal_or_zero("spotBorrow")?;
        let free = total - row.locked.decimal("locked")? - borrowed;
        Ok(Balance { total, free: free.max(Decimal::ZERO) })
    }
}

/// `/v5/user/query-api`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::bybit) struct KeyAnswer<'a> {
    #[serde(borrow)]
    read_only: Text<'a>,
    #[serde(default)]
    permissions: BTreeMap<String, Option<Vec<String>>>,
    #[serde(default)]
    ips: Option<Vec<String>>,
    #[serde(borrow, default)]
    expired_at: Text<'a>,
    #[serde(borrow, default)]
    deadline_day: Text<'a>,
}

impl KeyAnswer<'_> {
    pub(in crate::bybit) fn key_info(self) -> KeyInfo {
        let may = |group: &str, action: &str| {
            self.permissions.get(group).into_iter().flatten().flatten().any(|known| known == action)
        };
        KeyInfo {
            read_only: self.read_only.as_str() != "0",
            can_trade_spot: may("Spot", "SpotTrade"),
            can_withdraw: may("Wallet", "Withdraw"),
            // `*` is how a key that is bound to no address may be shown.
            expires: moment(self.expired_at.as_str()),
            days_left: self.deadline_day.as_str().parse().ok(),
            ips: self.ips.into_iter().flatten().filter(|ip| !ip.is_empty() && ip != "*").collect(),
        }
    }
}

/// An RFC 3339 moment; `None` for the 1970 that stands for "never".
fn moment(text: &str) -> Option<Timestamp> {
    Timestamp::of_date(text).filter(|moment| *moment != Timestamp(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::money;

    const BALANCE: &str = r#"{"list":[{"accountType":"UNIFIED","totalEquity":"","coin":[{"coin":"USDT",
        "walletBalance":"1000.5","locked":"200.25","spotBorrow":"0","availableToWithdraw":"","free":""}]}]}"#;

    fn balance(json: &str, coin: &str) -> Result<Balance, String> {
        let answer: BalanceAnswer<'_> = serde_json::from_str(json).map_err(|error| error.to_string())?;
        answer.balance(coin).map_err(|error| error.to_string())
    }

    #[test]
    fn free_is_what_is_neither_locked_nor_borrowed() {
        let read = balance(BALANCE, "USDT").unwrap();
        assert_eq!((money::text(read.total), money::text(read.free)), ("1000.5".to_owned(), "800.25".to_owned()));
        let borrowed = balance(&BALANCE.replace("\"spotBorrow\":\"0\"", "\"spotBorrow\":\"900\""), "USDT").unwrap();
        assert_eq!(borrowed.free, Decimal::ZERO);
        let extreme = BALANCE.replace("1000.5", "99999999999999").replace("200.25", "0.0000000000000000000000000001");
        assert!(balance(&extreme, "USDT").is_ok());
    }

    #[test]
    fn a_coin_that_is_not_listed_is_zero_but_an_empty_balance_is_an_error() {
        assert_eq!(balance(BALANCE, "BTC").unwrap().total, Decimal::ZERO);
        assert_eq!(balance(&BALANCE.replace("1000.5", ""), "USDT").unwrap_err(), "field walletBalance: missing");
        assert_eq!(balance(&BALANCE.replace("200.25", ""), "USDT").unwrap_err(), "field locked: missing");
    }

    #[test]
    fn a_key_s_rights_are_read() {
        let json = r#"{"id":"1","readOnly":0,"permissions":{"Spot":["SpotTrade"],"Wallet":["AccountTransfer","Withdraw"],
            "Options":[]},"ips":["1.2.3.4"],"expiredAt":"2027-01-01T00:00:00Z","deadlineDay":40,"uta":1}"#;
        let read = |json: &str| serde_json::from_str::<KeyAnswer<'_>>(json).unwrap().key_info();
        let info = read(json);
        assert!(!info.read_only && info.can_trade_spot && info.can_withdraw);
        let before = |days: u64| info.expires.unwrap().before(std::time::Duration::from_secs(days * 86_400));
        assert_eq!(
            [1, 13, 14, 400].map(|days| info.expires_soon(before(days)).map(|(left, _)| left)),
            [Some(1), Some(13), None, None]
        );
        assert_eq!((info.ips, info.days_left), (vec!["1.2.3.4".to_owned()], Some(40)));
        assert_eq!(info.expires.unwrap().to_string(), "2027-01-01T00:00:00.000Z");
        let never =
            read(r#"{"readOnly":1,"permissions":{"Spot":null},"ips":["*"],"expiredAt":"1970-01-01T00:00:00Z"}"#);
        assert!(never.read_only && !never.can_trade_spot && never.ips.is_empty() && never.expires.is_none());
    }
}
