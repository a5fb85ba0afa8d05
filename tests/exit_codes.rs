//! Every exit code that supervisors act on, with the real binary against an exchange on loopback.

mod kit;

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, SystemTime};

use kit::{Bot, STRATEGY, Venue, account, holds, outcome, recompra, until};
use recompra::core::Decimal;
use recompra::simulation::settings::{AccountSettings, Permissions};

const SOON: Duration = Duration::from_secs(30);

/// A bot that trades: its take profit rests.
fn trading(venue: &Venue, config: &str) -> Bot {
    let starts = || fs::read_to_string(venue.journal()).unwrap_or_default().matches("\"type\":\"started\"").count();
    let before = starts();
    let bot = Bot::start(config);
    // Orders may rest that an earlier process has placed.
    until("the bot trades", SOON, || {
        starts() > before && holds(&venue.journal(), "\"type\":\"order_accepted\",\"key\":\"1-0s-1\"")
    });
    bot
}

#[test]
fn a_bot_that_is_asked_to_stop_ends_with_0_and_leaves_its_orders() {
    let venue = Venue::new("code-0", account());
    let config = venue.configure("btc", STRATEGY);
    let bot = trading(&venue, &config);
    assert!(venue.state().join("starts").exists());
    assert_eq!(bot.terminate().code(), Some(0));
    assert!(holds(&venue.journal(), "\"type\":\"stopped\""));
    assert!(!venue.state().join("starts").exists(), "an end in peace leaves no note");
    let resting = venue.hub.with(|exchange, _| exchange.orders().filter(|order| order.status.is_open()).count());
    assert!(resting > 0);
}

#[test]
fn an_audit_that_finds_a_difference_is_1_and_shows_it() {
    let venue = Venue::new("code-1", account());
    let config = venue.configure("btc", STRATEGY);
    assert_eq!(trading(&venue, &config).terminate().code(), Some(0));
    let audit = ["audit", "--opening", "USDT=10000", "--config", &config];
    let (code, out, error) = outcome(&audit);
    assert!(code == Some(0) && out.contains("journal and exchange agree"), "{out}{error}");
    // Somebody moves the smallest part of a dollar.
    let gift = Decimal::new(1, 8);
    venue.hub.with(|exchange, now| exchange.adjust_balance(0, "USDT", gift, now)).unwrap();
    let (code, out, _) = outcome(&audit);
    assert!(code == Some(1) && out.contains("DIFFERENCE  wallet: USDT"), "{out}");
    let (code, out, _) = outcome(&[&audit[..], &["--json"]].concat());
    assert!(code == Some(1) && out.starts_with("{\"agree\":false"), "{out}");
    // Without the opening the wallet may hold whatever else it does.
    assert_eq!(outcome(&["audit", "--config", &config]).0, Some(0));
}

#[test]
fn a_stop_file_keeps_the_bot_ended_with_0() {
    let venue = Venue::new("code-stop", account());
    let config = venue.configure("btc", STRATEGY);
    let bot = trading(&venue, &config);
    std::fs::write(venue.state().join("STOP"), "").unwrap();
    let mut bot = bot;
    until("the bot ends", SOON, || !bot.is_running());
    let (code, out, _) = outcome(&["run", "--config", &config]);
    assert!(code == Some(0) && out.contains("remove"), "{out}");
    assert_eq!(outcome(&["run", "--cron", "--config", &config]), (Some(0), String::new(), String::new()));
    let resting = venue.hub.with(|exchange, _| exchange.orders().filter(|order| order.status.is_open()).count());
    assert_eq!(resting, 0, "STOP cancels what rests");
}

#[test]
fn a_wrong_command_line_is_64() {
    let (code, _, error) = outcome(&["runn"]);
    assert!(code == Some(64) && error.contains("Usage:"), "{error}");
}

#[test]
fn a_damaged_journal_is_65_and_nothing_is_changed() {
    let venue = Venue::new("code-65", account());
    let config = venue.configure("btc", STRATEGY);
    drop(trading(&venue, &config));
    let mut journal = std::fs::read(venue.journal()).unwrap();
    journal[40] ^= 1;
    std::fs::write(venue.journal(), &journal).unwrap();
    let (code, _, error) = outcome(&["run", "--config", &config]);
    assert!(code == Some(65) && error.contains("journal.jsonl: line 1: its checksum is wrong"), "{error}");
    assert_eq!(std::fs::read(venue.journal()).unwrap(), journal);
    for command in ["status", "explain", "audit"] {
        assert_eq!(outcome(&[command, "--config", &config]).0, Some(65), "{command}");
    }
}

#[test]
fn an_exchange_that_cannot_be_reached_is_69() {
    let venue = Venue::new("code-69", account());
    let config = venue.configure("btc", STRATEGY);
    // A port that nobody listens on any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = std::fs::read_to_string(&config).unwrap();
    let lines = text.lines().map(|line| match line.split_once("127.0.0.1:") {
        Some((before, _)) => format!("{before}127.0.0.1:{port}\""),
        None => line.to_owned(),
    });
    let config = venue.write("nobody.toml", &lines.collect::<Vec<_>>().join("\n"));
    let (code, _, error) = outcome(&["run", "--config", &config]);
    assert!(code == Some(69) && error.contains("the exchange cannot be reached"), "{error}");
    assert!(!venue.state().join("starts").exists(), "an orderly end is no crash");
}

#[test]
fn a_second_instance_is_73_and_under_cron_a_silent_0() {
    let venue = Venue::new("code-73", account());
    let config = venue.configure("btc", STRATEGY);
    let bot = trading(&venue, &config);
    let (code, _, error) = outcome(&["run", "--config", &config]);
    assert!(code == Some(73) && error.contains(&format!("another instance (process {})", bot.id())), "{error}");
    // Another bot with the same state directory.
    let other = venue.configure("eth", STRATEGY);
    assert_eq!(outcome(&["run", "--config", &other]).0, Some(73));
    assert_eq!(outcome(&["run", "--cron", "--config", &config]), (Some(0), String::new(), String::new()));
}

#[test]
fn a_state_directory_that_cannot_be_written_is_74() {
    let venue = Venue::new("code-74", account());
    let config = venue.configure("btc", STRATEGY);
    std::fs::write(venue.state(), "in the way").unwrap();
    let (code, _, error) = outcome(&["run", "--config", &config]);
    assert!(code == Some(74) && error.contains("state"), "{error}");
    // A journal that the disk does not give is not a damaged one.
    std::fs::remove_file(venue.state()).unwrap();
    std::fs::create_dir_all(venue.journal()).unwrap();
    for command in ["run", "status", "explain"] {
        let (code, _, error) = outcome(&[command, "--config", &config]);
        assert!(code == Some(74) && error.contains("state"), "{command}: {error}");
    }
}

#[test]
fn a_crash_loop_is_75_until_its_time_is_over_or_the_note_is_removed() {
    let venue = Venue::new("code-75", account());
    let config = venue.configure("btc", STRATEGY);
    for _ in 0..5 {
        let bot = Bot::start(&config);
        until("the start is noted", SOON, || venue.state().join("starts").exists());
        // Killed: its note stays, and the next one's is added.
        drop(bot);
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let notes: String = (0..5).map(|ago| format!("{}\n", now - 5000 + ago * 1000)).collect();
    let starts = venue.state().join("starts");
    std::fs::write(&starts, notes).unwrap();
    let (code, out, error) = outcome(&["run", "--config", &config]);
    assert!(
        code == Some(75) && error.contains("the last 5 starts") && error.contains("not again before 20"),
        "{error}"
    );
    assert_eq!(out, "");
    std::fs::remove_file(starts).unwrap();
    assert_eq!(trading(&venue, &config).terminate().code(), Some(0));
}

#[test]
fn a_key_that_is_refused_or_may_too_much_or_too_little_is_77() {
    let with = |permissions| AccountSettings { permissions, ..account() };
    for (name, account, word) in [
        ("withdraw", with(Permissions { withdraw: true, ..Permissions::default() }), "may withdraw"),
        ("read", with(Permissions { read_only: true, ..Permissions::default() }), "may only read"),
        ("spot", with(Permissions { spot_trade: false, ..Permissions::default() }), "may not trade spot"),
    ] {
        let venue = Venue::new(&format!("code-77-{name}"), account);
        let config = venue.configure("btc", STRATEGY);
        let (code, _, error) = outcome(&["run", "--config", &config]);
        assert!(code == Some(77) && error.contains(word), "{error}");
    }
    let venue = Venue::new("code-77", account());
    let config = venue.configure("btc", STRATEGY);
    let wrong = recompra(&["run", "--config", &config]).env("BYBIT_API_SECRET", "another").output().unwrap();
    assert_eq!(wrong.status.code(), Some(77));
    assert!(!String::from_utf8_lossy(&wrong.stderr).contains("another"), "the secret is told");
}

#[test]
fn a_wrong_configuration_is_78_and_so_is_the_journal_of_another_bot() {
    let venue = Venue::new("code-78", account());
    let config = venue.configure("btc", STRATEGY);
    let wrong = venue.write("wrong.toml", "bot = \"btc\"\nenvironment = \"moon\"\n[strategy]\nsymbol = \"BTCUSDT\"\n");
    let (code, _, error) = outcome(&["run", "--config", &wrong]);
    assert!(code == Some(78) && error.contains("wrong.toml:2:") && error.contains("moon"), "{error}");
    drop(trading(&venue, &config));
    let before = std::fs::read(venue.journal()).unwrap();
    let other = venue.configure("eth", STRATEGY);
    let (code, _, error) = outcome(&["run", "--config", &other]);
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("the journal there is of bot btc on demo for BTCUSDT"), "{error}");
    assert!(error.contains("the configuration is for bot eth"), "{error}");
    assert_eq!(std::fs::read(venue.journal()).unwrap(), before);
}
