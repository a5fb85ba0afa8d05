//! `recompra resume`: a person has seen what went wrong, whether the bot runs or not.

mod kit;

use std::fs;
use std::process::Command;
use std::time::Duration;

use kit::{Bot, STRATEGY, Venue, account, holds, outcome, trading, until};
use recompra::core::Decimal;
use recompra::core::ledger::{Ledger, Lot};
use recompra::core::record::{AlarmCause, Record};
use recompra::engine::ports::Journal as _;
use recompra::journal::{self, FileStorage, JournalFile};

const SOON: Duration = Duration::from_secs(30);

/// The state directory of a bot that has ended in peace, with these facts at the end of its journal.
fn ended_with(venue: &Venue, config: &str, facts: impl FnOnce(Ledger) -> Vec<Record>) {
    assert_eq!(trading(venue, config).terminate().code(), Some(0));
    let (mut journal, recovery) = JournalFile::open(FileStorage::open(&venue.journal()).unwrap()).unwrap();
    journal.append(recovery.ledger.time, &facts(recovery.ledger)).unwrap();
}

fn alarm(cause: AlarmCause, message: &str) -> Record {
    Record::Alarmed { cause, message: message.to_owned() }
}

fn strays(_: Ledger) -> Vec<Record> {
    vec![alarm(AlarmCause::Strays, "who is that?")]
}

fn coins_left(mut ledger: Ledger) -> Vec<Record> {
    ledger.written_off = Lot { quantity: Decimal::ONE, cost: Decimal::TEN, since: None };
    vec![Record::Snapshot { ledger: Box::new(ledger) }, alarm(AlarmCause::CoinsLeft, "coins are gone")]
}

#[test]
fn where_nothing_is_wrong_there_is_nothing_to_resume() {
    let venue = Venue::new("resume-nothing", account());
    let config = venue.configure("btc", STRATEGY);
    let (code, out, error) = outcome(&["resume", "--config", &config]);
    assert!(code == Some(0) && out.contains("no alarm is raised"), "{out}{error}");
    assert!(!venue.journal().exists());
}

#[test]
fn an_alarm_is_listed_and_cleared_where_no_bot_runs() {
    let venue = Venue::new("resume-alone", account());
    let config = venue.configure("btc", STRATEGY);
    ended_with(&venue, &config, strays);
    let before = journal::read(&venue.journal()).unwrap().ledger;
    let (code, out, error) = outcome(&["resume", "--config", &config]);
    assert_eq!(code, Some(0), "{out}{error}");
    assert!(out.contains("who is that?") && out.contains("cleared"), "{out}");
    let after = journal::read(&venue.journal()).unwrap().ledger;
    assert_eq!(after.alarm(), None);
    // Nobody was watching meanwhile, and the bot's end is as peaceful as it was.
    assert_eq!((after.watched, after.time, after.ended), (before.watched, before.time, before.ended));
    let (code, out, _) = outcome(&["resume", "--json", "--config", &config]);
    assert_eq!(
        (code, serde_json::from_str::<serde_json::Value>(&out).unwrap()["cleared"].to_string()),
        (Some(0), "[]".to_owned())
    );
}

#[test]
fn where_money_was_lost_nothing_is_cleared_until_that_is_said() {
    let venue = Venue::new("resume-lost", account());
    let config = venue.configure("btc", STRATEGY);
    ended_with(&venue, &config, |_| vec![alarm(AlarmCause::LostHistory, "what is held is not known")]);
    let (code, out, error) = outcome(&["resume", "--config", &config]);
    assert!(code == Some(1) && out.contains("what is held is not known"), "{out}{error}");
    assert!(error.contains("nothing was cleared") && error.contains("--yes"), "{error}");
    assert!(journal::read(&venue.journal()).unwrap().ledger.alarm().is_some());
    let (code, out, error) = outcome(&["resume", "--yes", "--config", &config]);
    assert_eq!(code, Some(0), "{out}{error}");
    assert_eq!(journal::read(&venue.journal()).unwrap().ledger.alarm(), None);
}

#[test]
fn a_running_bot_clears_what_a_person_has_seen_and_goes_on() {
    let venue = Venue::new("resume-running", account());
    let config = venue.configure("btc", STRATEGY);
    ended_with(&venue, &config, coins_left);
    let mut bot = Bot::start(&config);
    // It says the same with figures of its own.
    until("the alarm is raised", SOON, || holds(&venue.journal(), "Of max_capital"));
    let (code, out, error) = outcome(&["resume", "--yes", "--config", &config]);
    assert_eq!(code, Some(0), "{out}{error}");
    assert!(out.contains("Of max_capital") && out.contains("cleared"), "{out}");
    assert!(bot.is_running() && !venue.state().join("RESUME").exists());
    let ledger = journal::read(&venue.journal()).unwrap().ledger;
    assert!(ledger.alarm().is_none() && ledger.written_off.cost.is_zero(), "{:?}", ledger.written_off);
}

#[test]
fn a_file_of_somebody_elses_clears_nothing_and_is_removed() {
    let venue = Venue::new("resume-touched", account());
    let config = venue.configure("btc", STRATEGY);
    ended_with(&venue, &config, coins_left);
    let _bot = Bot::start(&config);
    until("the alarm is raised", SOON, || holds(&venue.journal(), "Of max_capital"));
    fs::write(venue.state().join("RESUME"), "").unwrap();
    until("the file is gone", SOON, || !venue.state().join("RESUME").exists());
    // What the person saw before the bot said it with other figures.
    fs::write(venue.state().join("RESUME"), r#"{"coins_left":"coins are gone"}"#).unwrap();
    until("the file is gone", SOON, || !venue.state().join("RESUME").exists());
    assert!(journal::read(&venue.journal()).unwrap().ledger.alarm().is_some());
}

#[test]
fn another_bots_directory_is_left_alone() {
    let venue = Venue::new("resume-foreign", account());
    let config = venue.configure("btc", STRATEGY);
    ended_with(&venue, &config, strays);
    let other = venue.configure("eth", STRATEGY);
    let (code, _, error) = outcome(&["resume", "--config", &other]);
    assert!(code == Some(78) && error.contains("the journal there is of bot btc"), "{error}");
    assert!(!venue.state().join("RESUME").exists());
    assert!(journal::read(&venue.journal()).unwrap().ledger.alarm().is_some());
}

#[test]
fn a_bot_that_does_not_look_is_said_to_be_late() {
    let venue = Venue::new("resume-late", account());
    let config = venue.configure("btc", STRATEGY);
    ended_with(&venue, &config, coins_left);
    let bot = Bot::start(&config);
    until("the alarm is raised", SOON, || holds(&venue.journal(), "Of max_capital"));
    let id = bot.id().to_string();
    let send = |signal: &str| assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    send("-STOP");
    let (code, _, error) = outcome(&["resume", "--yes", "--config", &config]);
    send("-CONT");
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("has not looked") && error.contains("waiting for the running bot"), "{error}");
    // It does so all the same as soon as it can.
    until("the file is gone", SOON, || !venue.state().join("RESUME").exists());
    assert!(journal::read(&venue.journal()).unwrap().ledger.alarm().is_none());
}
