//! `recompra stop`, and what else ends a bot: whose directory it is, a disk that takes nothing, an exchange that is away, a
//! terminal that hangs up.

mod kit;

use std::process::{Command, Stdio};
use std::time::Duration;

use kit::{STRATEGY, Venue, account, holds, program, until};

const SOON: Duration = Duration::from_secs(30);

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
