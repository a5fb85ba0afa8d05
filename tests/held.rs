//! What a running bot holds: whatever is done to its state directory, two bots never trade from one, and what the bot knew is
//! not lost.

mod kit;

use std::fs;
use std::path::PathBuf;
use std::process::Child;
use std::time::Duration;

use kit::{STRATEGY, Venue, account, holds, outcome, recompra, until};

const SOON: Duration = Duration::from_secs(30);
/// A running bot sees within this time that its directory is not what it was.
const SECONDS: Duration = Duration::from_secs(5);

/// A bot that trades, and whose words are kept.
struct Held(Child, PathBuf);

impl Held {
    fn start(venue: &Venue, config: &str) -> Self {
        let log = venue.folder.join("log");
        let file = fs::File::create(&log).unwrap();
        let bot =
            recompra(&["run", "--config", config]).stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
        until("the ladder rests", SOON, || {
            let rests = |key: &str| holds(&venue.journal(), &format!("\"type\":\"order_accepted\",\"key\":\"{key}\""));
            rests("1-0s-1") && rests("1-1b-1")
        });
        Self(bot, log)
    }

    /// How it ended by itself, and what it said.
    fn ended(mut self) -> (Option<i32>, String) {
        until("it ends", SECONDS, || self.0.try_wait().unwrap().is_some());
        (self.0.wait().unwrap().code(), fs::read_to_string(&self.1).unwrap())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn orders(venue: &Venue) -> usize {
    venue.hub.with(|exchange, _| exchange.orders().count())
}

#[test]
fn without_the_file_lock_the_journal_itself_is_held() {
    let venue = Venue::new("held-lock", account());
    let config = venue.configure("btc", STRATEGY);
    let mut bot = Held::start(&venue, &config);
    fs::remove_file(venue.state().join("lock")).unwrap();
    let before = fs::read(venue.journal()).unwrap();
    let (code, _, error) = outcome(&["run", "--config", &config]);
    assert!(code == Some(73) && error.contains("another instance"), "{error}");
    assert_eq!(outcome(&["run", "--cron", "--config", &config]), (Some(0), String::new(), String::new()));
    assert_eq!(fs::read(venue.journal()).unwrap(), before);
    // And `stop` leaves the work to the one that runs.
    let (code, out, error) = outcome(&["stop", "--config", &config]);
    assert!(code == Some(0) && out.contains("nothing rests"), "{out}{error}");
    assert!(bot.0.try_wait().unwrap().is_some());
}

#[test]
fn a_journal_that_is_removed_while_the_bot_runs_ends_it_with_74_and_is_written_again() {
    let venue = Venue::new("held-journal", account());
    let config = venue.configure("btc", STRATEGY);
    let bot = Held::start(&venue, &config);
    let before = fs::read(venue.journal()).unwrap();
    fs::remove_file(venue.journal()).unwrap();
    let (code, said) = bot.ended();
    assert!(code == Some(74) && said.contains("removed or moved") && said.contains("written there again"), "{said}");
    assert_eq!(fs::read(venue.journal()).unwrap(), before);
    // The next one goes on from there.
    let placed = orders(&venue);
    let again = Held::start(&venue, &config);
    until("it has reconciled", SOON, || {
        fs::read_to_string(venue.journal()).unwrap().matches("\"type\":\"reconciled\"").count() > 1
    });
    drop(again);
    assert_eq!(orders(&venue), placed);
}

#[test]
fn a_state_directory_that_is_removed_ends_the_bot_with_74_and_is_made_again() {
    let venue = Venue::new("held-directory", account());
    let config = venue.configure("btc", STRATEGY);
    let bot = Held::start(&venue, &config);
    let before = fs::read(venue.journal()).unwrap();
    fs::remove_dir_all(venue.state()).unwrap();
    let (code, said) = bot.ended();
    assert!(code == Some(74) && said.contains("written there again"), "{said}");
    assert_eq!(fs::read(venue.journal()).unwrap(), before);
}

#[test]
fn a_state_directory_that_is_replaced_ends_the_bot_with_74_and_nobodys_journal_is_overwritten() {
    let venue = Venue::new("held-replaced", account());
    let config = venue.configure("btc", STRATEGY);
    let bot = Held::start(&venue, &config);
    let before = fs::read(venue.journal()).unwrap();
    fs::rename(venue.state(), venue.folder.join("old")).unwrap();
    fs::create_dir(venue.state()).unwrap();
    fs::write(venue.journal(), "somebody else's").unwrap();
    let (code, said) = bot.ended();
    assert!(code == Some(74) && said.contains("replaced by another file"), "{said}");
    assert_eq!(fs::read_to_string(venue.journal()).unwrap(), "somebody else's");
    let is_rescued = |name: &str| name.starts_with("journal.jsonl.rescued-");
    let rescued = fs::read_dir(venue.state()).unwrap().map(|entry| entry.unwrap());
    let rescued = rescued.filter(|entry| is_rescued(entry.file_name().to_str().unwrap())).map(|entry| entry.path());
    let rescued: Vec<PathBuf> = rescued.collect();
    assert_eq!(rescued.iter().map(|path| fs::read(path).unwrap()).collect::<Vec<_>>(), [before]);
}
