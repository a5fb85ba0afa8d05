//! `recompra status`: what a bot waits for, and whether it is well.

mod kit;

use std::fs;
use std::time::Duration;

use kit::{Bot, KEY, SECRET, STRATEGY, Venue, account, holds, outcome, until};
use recompra::core::Decimal;
use recompra::core::record::{AlarmCause, Record};
use recompra::engine::ports::Journal as _;
use recompra::journal::{FileStorage, JournalFile};
use recompra::simulation::settings::AccountSettings;
use recompra::wall_clock::wall_clock;
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

fn json(config: &str) -> (Option<i32>, Value) {
    let (code, out, error) = outcome(&["status", "--json", "--config", config]);
    (code, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{error}")))
}

#[test]
fn a_bot_that_waits_for_money_says_for_how_much_and_since_when() {
    let venue = Venue::new("status-money", AccountSettings::new(KEY, SECRET, "USDT", Decimal::from(20)));
    let config = venue.configure("btc", STRATEGY);
    let _bot = Bot::start(&config);
    until("it waits", SOON, || holds(&venue.journal(), "\"type\":\"waits\""));
    let (code, out, error) = outcome(&["status", "--config", &config]);
    assert_eq!(code, Some(0), "waiting for money is no reason to wake somebody: {out}{error}");
    assert!(out.contains(": the ladder may still cost 150 USDT, 20 are free"), "{out}");
    let (_, shown) = json(&config);
    assert_eq!((shown["waits"]["funds"]["needed"].as_str(), shown["well"].as_bool()), (Some("150"), Some(true)));
}

#[test]
fn an_alarm_makes_it_1_and_says_what_to_do() {
    let venue = Venue::new("status-alarm", account());
    let config = venue.configure("btc", STRATEGY);
    let bot = Bot::start(&config);
    until("the ladder rests", SOON, || holds(&venue.journal(), "\"type\":\"order_accepted\",\"key\":\"1-1b-1\""));
    assert_eq!(json(&config).0, Some(0));
    assert_eq!(bot.terminate().code(), Some(0));
    let (mut journal, recovery) = JournalFile::open(FileStorage::open(&venue.journal()).unwrap()).unwrap();
    let alarm = Record::Alarmed { cause: AlarmCause::LostHistory, message: "what is held is not known".to_owned() };
    journal.append(recovery.ledger.time, &[alarm]).unwrap();
    drop(journal);
    let (code, out, error) = outcome(&["status", "--config", &config]);
    assert!(code == Some(1) && error.contains("the bot is not well: an alarm is raised"), "{out}{error}");
    assert!(out.contains("what is held is not known") && out.contains("what to do: "), "{out}");
    let (code, shown) = json(&config);
    assert_eq!((code, shown["alarms"][0]["cause"].as_str()), (Some(1), Some("lost_history")));
}

#[test]
fn the_back_off_of_a_crash_loop_makes_it_1_and_says_until_when() {
    let venue = Venue::new("status-crashes", account());
    let config = venue.configure("btc", STRATEGY);
    fs::create_dir_all(venue.state()).unwrap();
    let now = wall_clock();
    let notes = (0..6).map(|second| format!("{}\n", now.0 - 6_000 + second * 1_000)).collect::<String>();
    fs::write(venue.state().join("starts"), &notes).unwrap();
    let (code, out, error) = outcome(&["status", "--config", &config]);
    assert!(code == Some(1) && error.contains("it crashed too often"), "{out}{error}");
    assert!(out.contains("the last 6 starts all ended in a crash") && out.contains("not again before"), "{out}");
    assert_eq!(fs::read_to_string(venue.state().join("starts")).unwrap(), notes, "it only looks");
}
