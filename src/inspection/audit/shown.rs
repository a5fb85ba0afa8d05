//! An audit as text for people and as JSON for machines.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::{Audit, Difference};
use crate::core::money::text;
use crate::narrator::{moment, signed};

impl Audit {
    /// For people.
    pub fn report(&self) -> String {
        let mut out = String::new();
        let mut line = |what: &str, says: String| {
            let _ = writeln!(out, "{what:<11} {says}");
        };
        match self.begins {
            Some(begins) if self.is_complete => line("journal", format!("whole, since {}", moment(begins))),
            Some(begins) => line("journal", format!("since {}; what was before has been removed", moment(begins))),
            None => line("journal", "empty".to_owned()),
        }
        line("executions", format!("{} equal to the last digit", self.equal_executions));
        if self.no_longer_kept > 0 {
            let since = moment(self.kept_since);
            line("", format!("{} not compared: the exchange keeps none from before {since}", self.no_longer_kept));
        }
        if self.before_journal > 0 {
            line("", format!("{} on the exchange are from before the journal begins", self.before_journal));
        }
        if self.not_booked_yet > 0 {
            line(
                "",
                format!("{} happened after the journal's last entry: the next start books them", self.not_booked_yet),
            );
        }
        line("orders", format!("{} resting on both sides alike", self.equal_orders));
        if self.in_doubt > 0 {
            line("", format!("{} in doubt: the bot asks for them when it runs", self.in_doubt));
        }
        for coin in &self.coins {
            line(
                "wallet",
                format!(
                    "{} {}; the bot's trades made {} of it: {} without them",
                    text(coin.wallet),
                    coin.coin,
                    signed(coin.change),
                    text(coin.before)
                ),
            );
        }
        for difference in &self.differences {
            let Difference { subject, journal, exchange } = difference;
            line("DIFFERENCE", format!("{subject}\n{:11}   journal:  {journal}\n{:11}   exchange: {exchange}", "", ""));
        }
        line(
            "result",
            match self.differences.len() {
                0 => "journal and exchange agree".to_owned(),
                1 => "1 difference".to_owned(),
                count => format!("{count} differences"),
            },
        );
        out
    }

    /// For machines.
    pub fn json(&self) -> Value {
        json!({
            "agree": self.differences.is_empty(),
            "differences": self.differences,
            "executions": {
                "equal": self.equal_executions,
                "no_longer_kept": self.no_longer_kept,
                "kept_since": self.kept_since,
                "before_journal": self.before_journal,
                "not_booked_yet": self.not_booked_yet,
            },
            "orders": { "equal": self.equal_orders, "in_doubt": self.in_doubt },
            "wallet": self.coins.iter().map(|coin| json!({
                "coin": coin.coin,
                "change": text(coin.change),
                "wallet": text(coin.wallet),
                "before": text(coin.before),
            })).collect::<Vec<_>>(),
            "journal": { "complete": self.is_complete, "begins": self.begins },
        })
    }
}
