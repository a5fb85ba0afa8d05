//! `recompra stop`, and what else ends a bot: whose directory it is, a disk that takes nothing, an exchange that is away, a
//! terminal that hangs up.

mod kit;

use std::fs;
use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use kit::{STRATEGY, Venue, account, holds, outcome, program, recompra, trading, until};

const SOON: Duration = Duration::from_secs(30);

fn resting(venue: &Venue) -> usize {
    venue.hub.with(|exchange, _| exchange.orders().filter(|order| order.status.is_open()).count())
}

#[test]
fn a_stop_in_another_bots_directory_is_refused_and_leaves_no_stop() {
    let venue = Venue::new("stop-foreign", account());
    let config = venue.configure("btc", STRATEGY);
    let mut bot = trading(&venue, &config);
    let other = venue.configure("eth", STRATEGY);
    let (code, _, error) = outcome(&["stop", "--config", &other]);
    assert!(code == Some(78) && error.contains("the journal there is of bot btc"), "{error}");
    std::thread::sleep(Duration::from_secs(2));
    assert!(bot.is_running() && !venue.state().join("STOP").exists());
    assert_eq!(resting(&venue), 2);
}

#[test]
fn a_stop_that_cannot_be_written_down_cancels_first_if_no_bot_runs_and_says_what_else_helps_if_one_does() {
    let venue = Venue::new("stop-full", account());
    let config = venue.configure("btc", STRATEGY);
    let bot = trading(&venue, &config);
    // In the way of the file, as a full disk is.
    fs::create_dir(venue.state().join("STOP.new")).unwrap();
    let (code, _, error) = outcome(&["stop", "--config", &config]);
    assert!(code == Some(74) && error.contains("STOP: cannot be written"), "{error}");
    assert!(error.contains(&format!("kill -TERM {}", bot.id())), "{error}");
    assert_eq!(bot.terminate().code(), Some(0));
    assert_eq!(resting(&venue), 2);
    let (code, out, error) = outcome(&["stop", "--config", &config]);
    assert!(code == Some(74) && error.contains("STOP: cannot be written"), "{out}{error}");
    assert!(out.contains("nothing rests"), "{out}");
    assert_eq!(resting(&venue), 0);
}

#[test]
fn a_stop_while_the_exchange_is_away_says_what_rests_and_is_1() {
    let mut venue = Venue::new("stop-away", account());
    let config = venue.configure("btc", STRATEGY);
    drop(trading(&venue, &config));
    venue.close();
    let (code, _, error) = outcome(&["stop", "--config", &config]);
    assert_eq!(code, Some(1), "{error}");
    assert!(error.contains("NOT cancelled: 2 orders rest: btc-1-1b-1, btc-1-0s-1"), "{error}");
    assert!(venue.state().join("STOP").exists());
}

#[test]
fn a_stop_that_waits_for_a_running_bot_says_what_for() {
    let mut venue = Venue::new("stop-waits", account());
    let config = venue.configure("btc", STRATEGY);
    let _bot = trading(&venue, &config);
    venue.close();
    let mut stop =
        recompra(&["stop", "--config", &config]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(Duration::from_secs(7));
    stop.kill().unwrap();
    let mut said = String::new();
    stop.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    stop.wait().unwrap();
    assert!(said.contains("waiting for the running bot to cancel btc-1-1b-1, btc-1-0s-1"), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_hang_up_that_was_ignored_at_the_start_stays_ignored() {
    let venue = Venue::new("stop-hangup", account());
    let config = venue.configure("btc", STRATEGY);
    for (is_ignored, is_left) in [("", false), ("trap '' HUP;", true)] {
        let line = format!("{is_ignored} exec \"$0\" run --config \"$1\"");
        let mut bot = Command::new("sh")
            .args(["-c", &line])
            .arg(program())
            .arg(&config)
            .envs([("BYBIT_API_KEY", kit::KEY), ("BYBIT_API_SECRET", kit::SECRET)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let id = bot.id().to_string();
        until("it runs", SOON, || holds(&venue.state().join("lock"), &id));
        std::thread::sleep(Duration::from_secs(1));
        let send = |signal: &str| assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
        send("-HUP");
        std::thread::sleep(Duration::from_secs(2));
        let left = bot.try_wait().unwrap().is_none();
        if left {
            send("-TERM");
        }
        let code = bot.wait().unwrap().code();
        assert_eq!((left, code), (is_left, Some(0)), "{line}");
    }
}
