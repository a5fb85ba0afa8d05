//! The man page and the shell completions in `contrib` are what the command line's own definition says.
//!
//! `RECOMPRA_WRITE=1 cargo test --test manual` writes them anew; without it a difference is a failure.

use std::path::Path;
use std::process::Command;

use bpaf::doc::Section;
use recompra::command_line;
use recompra::exit::Exit;

/// Exit codes by what a supervisor should do, which the grammar does not know.
const EXIT_CODES: &[(Exit, &str)] = &[
    (Exit::Finished, "finished, or stopped as asked; with run --cron also: it is running already"),
    (
        Exit::Amiss,
        "audit found a difference, stop left an order resting, resume left an alarm, or status found the bot not well: a person must look",
    ),
    (Exit::CommandLine, "the command line is wrong"),
    (Exit::JournalDamaged, "the journal is damaged, or of a newer version: a person must look"),
    (Exit::Unreachable, "the exchange could not be reached: start again later"),
    (Exit::Bug, "a bug"),
    (Exit::Locked, "another instance holds the lock"),
    (Exit::State, "the state directory cannot be used, or standard output is a full disk: a person must look"),
    (Exit::BackOff, "started too often after crashes: back-off is in force"),
    (Exit::KeyRefused, "the key was refused, or may not trade, or may withdraw"),
    (Exit::Configuration, "the configuration is wrong"),
];

/// Compares a file of `contrib` with what it should be, or writes it.
fn is_up_to_date(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("contrib").join(name);
    if std::env::var_os("RECOMPRA_WRITE").is_some() {
        std::fs::write(&path, expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "contrib/{name} is old: RECOMPRA_WRITE=1 cargo test --test manual");
}

#[test]
fn the_man_page_is_that_of_the_command_line() {
    let page = command_line::parser().render_manpage(
        "recompra",
        Section::General,
        None,
        None,
        Some("Recompra: a rebuy bot for Bybit spot"),
    );
    let mut page = page.trim_end().to_owned();
    page.push_str("\n.SH \"EXIT STATUS\"\n");
    for (code, meaning) in EXIT_CODES {
        page.push_str(&format!(".TP\n\\fB{}\\fR\n{meaning}\n", *code as u8));
    }
    for command in
        ["run", "paper", "plan", "doctor", "status", "explain", "audit", "stop", "resume", "backtest", "exchange"]
    {
        assert!(page.contains(&format!("recompra {command}")), "{command} is not in the page");
    }
    is_up_to_date("recompra.1", &page);
}

#[test]
fn the_completions_are_those_of_the_command_line() {
    for (shell, file) in [("bash", "recompra.bash"), ("zsh", "_recompra"), ("fish", "recompra.fish")] {
        let asked = format!("--bpaf-complete-style-{shell}");
        let output = Command::new(env!("CARGO_BIN_EXE_recompra")).arg(asked).output().unwrap();
        assert!(output.status.success(), "{shell}");
        is_up_to_date(&format!("completions/{file}"), &String::from_utf8(output.stdout).unwrap());
    }
}
