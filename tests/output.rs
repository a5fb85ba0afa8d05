//! Whoever reads what the program says, and stops reading: a bot trades on, and any other command ends as it should.

mod kit;

use std::fs::File;
use std::io::{PipeWriter, Read as _, pipe};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kit::{STRATEGY, Venue, account, holds, recompra, until};
use recompra::core::Decimal;
use recompra::simulation::market::PricePoint;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/example.toml");
const SOON: Duration = Duration::from_secs(30);

/// A process that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Fills a pipe until there is no room in it, and keeps it so.
fn fill(pipe: &PipeWriter) -> Killed {
    let filler = Command::new("yes").stdout(pipe.try_clone().unwrap()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(500));
    Killed(filler)
}

#[test]
fn a_bot_whose_output_nobody_reads_trades_on_and_ends_when_it_is_told_to() {
    let venue = Venue::new("output-stuck", account());
    let config = venue.configure("btc", STRATEGY);
    let (_reader, writer) = pipe().unwrap();
    let _filler = fill(&writer);
    let bot = recompra(&["-vv", "run", "--config", &config])
        .stdout(writer.try_clone().unwrap())
        .stderr(writer.try_clone().unwrap())
        .spawn()
        .unwrap();
    let mut bot = Killed(bot);
    let rests = |key: &str| holds(&venue.journal(), &format!("\"type\":\"order_accepted\",\"key\":\"{key}\""));
    until("its ladder rests", SOON, || rests("1-0s-1") && rests("1-1b-1"));
    // A rebuy is filled: the take profit is replaced.
    let price = Decimal::from(59_700);
    venue.hub.advance("BTCUSDT", &PricePoint::new(venue.hub.now(), price));
    until("the take profit is replaced", SOON, || rests("1-0s-2"));
    let begin = Instant::now();
    assert!(Command::new("kill").args(["-TERM", &bot.0.id().to_string()]).status().unwrap().success());
    until("it ends", SOON, || bot.0.try_wait().unwrap().is_some());
    assert_eq!(bot.0.wait().unwrap().code(), Some(0));
    assert!(begin.elapsed() < Duration::from_secs(4), "it took {:?} to end", begin.elapsed());
}

#[test]
fn a_pipe_that_is_closed_ends_a_command_quietly() {
    for arguments in [
        &["plan", "--price", "60000", "--config", EXAMPLE][..],
        &["paper", "--cycles", "3", "--speed", "100000"],
        // For ever, if nobody stopped it.
        &["paper", "--speed", "100000"],
        &["--help"],
        &["--version"],
    ] {
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let mut command = recompra(arguments);
        let process = command.stdout(writer).stderr(Stdio::piped()).spawn().unwrap();
        drop(command);
        let mut process = Killed(process);
        until("it ends", SOON, || process.0.try_wait().unwrap().is_some());
        let mut said = String::new();
        process.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(
            (process.0.wait().unwrap().code(), said.contains("anic")),
            (Some(0), false),
            "{arguments:?}: {said}"
        );
        assert!(!said.contains("ipe"), "{arguments:?}: {said}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_under_standard_output_is_74() {
    for arguments in [
        &["plan", "--price", "60000", "--config", EXAMPLE][..],
        &["paper", "--cycles", "1", "--speed", "100000"],
        &["paper", "--cycles", "1", "--speed", "100000", "--json"],
        &["--help"],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let output =
            recompra(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(74), "{arguments:?}: {said}");
        assert!(said.contains("standard output: No space left on device"), "{arguments:?}: {said}");
    }
}

#[test]
fn what_the_exchange_says_reaches_no_terminal_as_it_is() {
    let venue = Venue::new("output-foreign", account());
    let config = venue.configure("btc", STRATEGY);
    // An alarm in the exchange's words, as it stands in a journal.
    let old = include_str!("journals/format-1.jsonl");
    let alarm = "\"type\":\"alarmed\",\"cause\":\"lost_history\",\"message\":\"bad\\u001b[2J\\u009bword\\u000aforged\"";
    let body = format!("\"n\":{},\"time\":1900000000000,{alarm}}}", old.lines().count());
    let line = format!("{{\"sum\":\"{:08x}\",{body}\n", crc32fast::hash(body.as_bytes()));
    std::fs::create_dir_all(venue.state()).unwrap();
    std::fs::write(venue.journal(), old.to_owned() + &line).unwrap();
    for arguments in [&["status"][..], &["status", "--json"], &["doctor"]] {
        let (_, out, error) = kit::outcome(&[arguments, &["--config", &config]].concat());
        let shown = out.clone() + &error;
        assert!(!shown.contains(['\x1b', '\u{9b}']), "{arguments:?}: {shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("forged")), "{arguments:?}: {shown}");
        assert!(arguments[0] == "doctor" || out.contains("bad\\u001b[2J\\u009bword\\nforged"), "{arguments:?}: {out}");
    }
}
