//! The promises of the architecture, each as a check that fails when it is broken, and each check with a test
//! that shows it catching a violation.
//!
//! The checks read the sources and `cargo tree`; they take text, so that a bad example can be fed to them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The most packages that `cargo tree -e normal` may show, this one included.
const MOST_PACKAGES: usize = 80;
/// The most lines of a file in `src`.
const MOST_LINES: usize = 600;

/// What a part of the program may import of this program, and why no more. A path stands for all below it.
struct Part {
    name: &'static str,
    may_import: &'static [&'static str],
    because: &'static str,
}

/// Every module of `src/lib.rs`; a new one needs a row.
const PARTS: &[Part] = &[
    Part { name: "core", may_import: &[], because: "the core is pure: it imports nothing of ours" },
    Part { name: "http", may_import: &["core"], because: "http is plain data between two sides" },
    Part { name: "engine", may_import: &["core"], because: "the engine reaches the outside through its own ports" },
    Part {
        name: "narrator",
        may_import: &["core", "engine::ports", "printable"],
        because: "the narrator tells what happened and takes no part in it",
    },
    Part { name: "journal", may_import: &["core", "engine::ports"], because: "the journal only keeps records" },
    Part {
        name: "bybit",
        may_import: &["core", "http", "engine::ports", "wall_clock"],
        because: "Bybit stands behind the engine's ports, and must not know the simulation",
    },
    Part {
        name: "simulation",
        may_import: &["core", "http", "engine::ports", "wall_clock"],
        because: "the simulated exchange stands behind the same seams, and must not know Bybit's client",
    },
    Part {
        name: "backtest",
        may_import: &["core", "engine", "journal", "simulation"],
        because: "a backtest is the engine on the simulated exchange, and no more",
    },
    Part {
        name: "report",
        may_import: &["core", "engine::ports", "backtest", "simulation::market", "sweep"],
        because: "a report tells what records, prices and results say, and opens no file",
    },
    Part {
        name: "sweep",
        may_import: &["temporary_folder", "core", "backtest", "engine::Failure", "narrator", "simulation"],
        because: "a sweep is many backtests, and tells of them as the narrator does; what parameters may be is told to it",
    },
    Part {
        name: "download",
        may_import: &["core", "bybit", "engine::ports", "exit", "narrator", "progress"],
        because: "a download asks Bybit for candles and keeps them; it plays none",
    },
    Part {
        name: "config",
        may_import: &["core", "bybit::address", "bybit::environment"],
        because: "the configuration is read before anything else exists",
    },
    Part {
        name: "command_line",
        may_import: &["core", "exit"],
        because: "the command line only turns words into wishes",
    },
    Part {
        name: "exit",
        may_import: &["engine", "journal", "printable"],
        because: "an exit code says what a failure means to a supervisor, whichever part met it",
    },
    Part {
        name: "inspection",
        may_import: &[
            "core",
            "bybit::KeyInfo",
            "bybit::TlsRoots",
            "config",
            "engine::ports",
            "exit",
            "journal::History",
            "narrator",
            "printable",
        ],
        because: "an inspection explains what it is handed: it reads no file, asks nobody, and knows no command",
    },
    Part {
        name: "state_directory",
        may_import: &["core", "engine::ports"],
        because: "the state directory knows its files, not what is in them",
    },
    Part {
        name: "live",
        may_import: &[
            "core",
            "engine",
            "journal",
            "narrator",
            "output",
            "bybit",
            "config",
            "exit",
            "state_directory",
            "wall_clock",
        ],
        because: "what is live joins engine, journal and Bybit, and knows no simulation",
    },
    Part { name: "progress", may_import: &[], because: "a bar does not know of what" },
    Part {
        name: "logging",
        may_import: &["core", "output", "printable", "wall_clock"],
        because: "the log needs moments, and a way out",
    },
    Part { name: "output", may_import: &["exit", "printable"], because: "an output does not know what it carries" },
    Part { name: "hang_up", may_import: &[], because: "a signal knows no command" },
    Part { name: "printable", may_import: &[], because: "foreign text is made printable without knowing whose it is" },
    Part { name: "wall_clock", may_import: &["core"], because: "a clock only tells moments" },
    Part { name: "temporary_folder", may_import: &[], because: "a folder for tests knows no test" },
    Part { name: "commands", may_import: EVERYTHING, because: "commands wire" },
    Part { name: "lib", may_import: EVERYTHING, because: "the library lists its parts" },
    Part { name: "main", may_import: EVERYTHING, because: "main wires" },
];

const EVERYTHING: &[&str] = &[""];

/// Words that the core may not contain, and why.
const NOT_IN_CORE: &[(&str, &str)] = &[
    ("f32", "money is exact decimals"),
    ("f64", "money is exact decimals"),
    ("HashMap", "unordered iteration makes two runs differ"),
    ("HashSet", "unordered iteration makes two runs differ"),
    ("Instant", "the core is handed the time"),
    ("SystemTime", "the core is handed the time"),
    ("println", "the core does no I/O"),
    ("eprintln", "the core does no I/O"),
    ("static", "the core has no state of its own"),
];

/// Libraries and parts of the standard library that the core may not use outside its tests, and why.
const NO_PATH_IN_CORE: &[(&str, &str)] = &[
    ("std::fs", "the core does no I/O"),
    ("std::io", "the core does no I/O"),
    ("std::net", "the core does no I/O"),
    ("std::process", "the core does no I/O"),
    ("std::env", "the same inputs give the same outputs"),
    ("std::thread", "the core has no threads"),
    ("std::sync", "the core has no threads"),
    ("std::hash", "unordered iteration makes two runs differ"),
    ("log", "the core does no I/O"),
    ("rand", "the same inputs give the same outputs"),
    ("crossbeam_channel", "the core has no threads"),
];

/// The user's card, as far as imports show it: one thread reads the private stream, blocking, and pushes events into a channel;
/// the main thread runs the strategy, makes blocking requests and sleeps. A path of a library, the modules that may name it, and
/// why those.
const CARD: &[(&str, &[&str], &str)] = &[
    (
        "tungstenite",
        &["bybit::websocket", "simulation::http1", "simulation::server", "simulation::websocket"],
        "a stream is read in one place, the thread of that stream; the simulated exchange is the other end",
    ),
    ("ureq::unversioned", &["bybit::connector"], "what the library does not keep stable is used in one file"),
    (
        "ureq",
        &["bybit::address", "bybit::connector", "bybit::transport"],
        "a request is one blocking call of one agent; an address is read as the library reads it",
    ),
    (
        "native_tls",
        &["bybit::connect", "bybit::tls", "simulation::tls"],
        "there is one TLS connector, and one place that connects; the simulated exchange accepts",
    ),
    (
        "std::thread",
        &[
            // The stream's thread, and what lives as long as one call: a lookup, requests that leave together, a sync.
            "bybit::websocket",
            "bybit::connect",
            "bybit::transport",
            "journal::storage",
            // What a bot says is written by a thread of its own, so that a stopped terminal holds nothing up. A panic names its
            // thread.
            "output",
            "main",
            // These only sleep.
            "bybit::clock",
            "live::feed",
            "commands::audit",
            "commands::resume",
            "commands::stop",
            // Not the bot: the simulated exchange, a market that is followed, a sweep's workers.
            "simulation",
            "commands::market",
            "commands::sweep",
            "sweep::in_order",
        ],
        "the bot's threads are the user's: main, the stream's, that of signals, and none that outlives its one call or the lines \
         that it writes",
    ),
    (
        "crossbeam_channel",
        &[
            // Events of the stream and stops, to the main thread.
            "bybit::stream",
            "bybit::public",
            "live",
            "commands::paper",
            // Outcomes of calls that leave together, an address that is looked up.
            "bybit::transport",
            "bybit::connect",
            // Not the bot.
            "simulation",
            "commands::exchange",
            "commands::market",
            "sweep::in_order",
        ],
        "the engine hears of the outside through one channel, which its feed reads: it names none itself",
    ),
];

/// Packages that bring an async runtime or a part of one.
const ASYNC_RUNTIMES: &[&str] = &[
    "tokio",
    "tokio-util",
    "async-std",
    "smol",
    "async-io",
    "async-executor",
    "async-global-executor",
    "async-task",
    "futures",
    "futures-util",
    "futures-executor",
    "mio",
    "polling",
    "hyper",
    "glommio",
    "monoio",
    "compio",
    "pollster",
    "embassy-executor",
    "actix-rt",
    "wasm-bindgen-futures",
];

/// What may lie at the top of the repository, besides names that start with a dot.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "LICENSE",
    "Makefile",
    "README.md",
    "README.pt-BR.md",
    "rustfmt.toml",
    "src",
    "tests",
    "benches",
    "contrib",
    "docs",
    "fuzz",
    // Not committed: what builds make, and what a user writes while trying.
    "target",
    "recompra.toml",
];

// ---------------------------------------------------------------------------------------------- the promises

#[test]
fn no_async_runtime_is_among_the_dependencies() {
    assert_eq!(async_runtimes(&cargo_tree()), Vec::<String>::new(), "this program waits in threads, never in futures");
}

#[test]
fn the_dependencies_are_few() {
    let packages = packages(&cargo_tree());
    assert!(
        packages.len() <= MOST_PACKAGES,
        "{} packages, {MOST_PACKAGES} are allowed: every one is code that handles people's money\n{packages:#?}",
        packages.len()
    );
}

#[test]
fn the_source_has_no_async_code() {
    let mut violations = Vec::new();
    for (file, text) in sources() {
        violations.extend(words(&blank(&text), &[("async", "no futures"), ("await", "no futures")], &file));
    }
    assert_eq!(violations, Vec::<String>::new());
}

#[test]
fn the_core_is_pure() {
    let mut violations = Vec::new();
    for (file, text) in sources().into_iter().filter(|(file, _)| file.starts_with("core")) {
        violations.extend(impurities(&text, &file));
    }
    assert_eq!(violations, Vec::<String>::new());
}

#[test]
fn imports_go_in_the_architectures_direction() {
    let mut violations = Vec::new();
    for (file, text) in sources() {
        violations.extend(wrong_imports(&text, &file));
    }
    assert_eq!(violations, Vec::<String>::new());
}

#[test]
fn the_threads_and_libraries_are_the_cards() {
    let mut violations = Vec::new();
    for (file, text) in sources() {
        violations.extend(off_the_card(&text, &file));
    }
    assert_eq!(violations, Vec::<String>::new());
}

#[test]
fn every_row_of_the_card_is_needed() {
    let sources = sources();
    for (library, modules, _) in CARD {
        for module in *modules {
            let names_it = |(file, text): &(PathBuf, String)| {
                is_below(&module_of(file), module) && names(without_tests(&blank(text)), library)
            };
            assert!(sources.iter().any(names_it), "{module} names {library} no more: take it out");
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    let silent: Vec<_> =
        sources().into_iter().filter(|(_, text)| !has_module_docs(text)).map(|(file, _)| file).collect();
    assert_eq!(silent, Vec::<PathBuf>::new(), "each file opens with //! docs: what goes in, what comes out");
}

#[test]
fn no_file_is_too_long() {
    let long: Vec<_> = sources().into_iter().filter(|(_, text)| too_long(text)).map(|(file, _)| file).collect();
    assert_eq!(long, Vec::<PathBuf>::new(), "more than {MOST_LINES} lines: one concept a file");
}

#[test]
fn the_top_level_stays_small() {
    let names = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(strangers(names), Vec::<String>::new(), "the top level holds only what is listed in TOP_LEVEL");
}

// ------------------------------------------------------------------------- each check catches what it is for

#[test]
fn an_async_runtime_would_be_caught() {
    let tree = "recompra v0.1.0 (/x)\nserde v1.0.0\ntokio v1.40.0\nserde v1.0.0 (*)\n\n";
    assert_eq!(async_runtimes(tree), ["tokio"]);
    assert_eq!(packages(tree).len(), 3);
}

#[test]
fn async_code_would_be_caught() {
    let found = words("async fn f() { g().await }", &[("async", ""), ("await", "")], Path::new("x.rs"));
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn every_impurity_of_the_core_would_be_caught() {
    for bad in [
        "fn f(x: f64) {}",
        "let x = 1.5;",
        "let x = 2.;",
        "let x = 1e9;",
        "let x = 1_f32;",
        "use std::collections::{BTreeMap, HashMap};",
        "use std::{fmt, fs};",
        "std::thread::sleep(d);",
        "use std::{time::{Duration, Instant}};",
        "std::env::var(\"X\")",
        "log::info!(\"x\")",
        "println!(\"x\")",
        "use rand::Rng;",
        "static X: u8 = 0;",
        "#[cfg(test)]\nmod tests { const X: f64 = 0; }",
        "#[cfg(test)]\nconst X: u8 = 0;\nuse std::fs;",
    ] {
        assert_ne!(impurities(bad, Path::new("core/x.rs")), Vec::<String>::new(), "{bad}");
    }
}

#[test]
fn pure_code_is_not_accused() {
    let good = r##"
        // f64 and 1.5 in a comment /* , std::fs */
        /* nested /* f64 */ 1.5 */
        const TEXT: &str = "f64 1.5 \" std::fs";
        const RAW: &str = r#"f64 " 1.5"#;
        fn f<'a>(x: &'a str) -> u8 { let c = '"'; let d = '\''; let e = b'"'; pair.0.1; for i in 0..3 { 1.max(2); } 0x1e9 }
        use std::time::Duration; use std::collections::BTreeMap; fn g(x: &'static str) {}
        #[cfg(test)]
        mod tests { use rand::Rng; }
    "##;
    assert_eq!(impurities(good, Path::new("core/x.rs")), Vec::<String>::new());
}

#[test]
fn every_wrong_import_would_be_caught() {
    for (file, bad) in [
        ("core/ladder.rs", "use crate::engine::ports::Clock;"),
        ("core/ladder.rs", "use crate::{core::money, http};"),
        ("core/deep/x.rs", "use super::super::super::config;"),
        ("engine/mod.rs", "use super::bybit::Client;"),
        ("bybit/rest.rs", "use crate::simulation::Market;"),
        ("bybit/rest.rs", "crate::engine::run();"),
        ("simulation/server.rs", "use crate::bybit::wire;"),
        ("simulation/server.rs", "use crate::{core::{money, time}, bybit::wire as w};"),
        ("engine/mod.rs", "let c = crate::config::Config;"),
        ("exit.rs", "use crate::commands;"),
        ("exit.rs", "use crate::*;"),
        ("newcomer/mod.rs", "fn f() {}"),
    ] {
        assert_ne!(wrong_imports(bad, Path::new(file)), Vec::<String>::new(), "{file}: {bad}");
    }
}

#[test]
fn what_is_off_the_card_would_be_caught() {
    for (file, bad) in [
        ("engine/mod.rs", "use crossbeam_channel::Receiver;"),
        ("engine/mod.rs", "std::thread::spawn(work);"),
        ("bybit/transport.rs", "use ureq::{Agent, unversioned::transport::Connector};"),
        ("bybit/client/mod.rs", "let agent = ureq::agent();"),
        ("live/feed.rs", "use tungstenite::WebSocket;"),
        ("bybit/connector.rs", "use std::{io, thread};"),
    ] {
        assert_ne!(off_the_card(bad, Path::new(file)), Vec::<String>::new(), "{file}: {bad}");
    }
    for (file, good) in [
        ("bybit/connector.rs", "use ureq::unversioned::transport::Connector;"),
        ("simulation/server.rs", "use std::thread; use crossbeam_channel::bounded;"),
        ("engine/mod.rs", "// std::thread\n#[cfg(test)]\nmod tests { use std::thread; }"),
    ] {
        assert_eq!(off_the_card(good, Path::new(file)), Vec::<String>::new(), "{file}: {good}");
    }
}

#[test]
fn right_imports_are_not_accused() {
    for (file, good) in [
        ("core/ladder.rs", "use super::money; use crate::core::{Decimal, time::Timestamp};"),
        ("bybit/rest.rs", "use crate::engine::ports::{Fault, FaultKind}; use crate::{core::Decimal, http::Request};"),
        (
            "engine/ports.rs",
            "// crate::bybit\nuse crate::core::Decimal;\n#[cfg(test)]\nmod tests { use crate::simulation::X; }",
        ),
        ("main.rs", "use recompra::bybit; use recompra::simulation;"),
        ("commands/doctor.rs", "use super::plan; use crate::{config, engine, exit};"),
    ] {
        assert_eq!(wrong_imports(good, Path::new(file)), Vec::<String>::new(), "{file}: {good}");
    }
}

#[test]
fn silent_and_long_files_and_strangers_would_be_caught() {
    assert!(!has_module_docs("use std::fmt;\n//! late\n") && has_module_docs("//! Docs.\n"));
    assert!(too_long(&"\n".repeat(MOST_LINES + 1)) && !too_long(&"\n".repeat(MOST_LINES)));
    assert_eq!(strangers(["src", ".git", "notes.txt"].map(str::to_owned).into_iter()), ["notes.txt"]);
}

// -------------------------------------------------------------------------------------------------- the checks

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file of `src` with its text, by its path below `src`, in order.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    let source = root().join("src");
    let mut files = Vec::new();
    walk(&source, &mut files);
    files.sort();
    assert!(files.len() > 10, "the sources were not found");
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        (path.strip_prefix(&source).unwrap().to_owned(), text)
    };
    files.into_iter().map(read).collect()
}

fn cargo_tree() -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["tree", "--edges", "normal", "--prefix", "none", "--locked", "--offline"];
    let output = Command::new(cargo).args(arguments).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Name and version of each package of a `cargo tree --prefix none`.
fn packages(tree: &str) -> BTreeSet<String> {
    let name_and_version = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    tree.lines().filter(|line| !line.is_empty()).map(name_and_version).collect()
}

fn async_runtimes(tree: &str) -> Vec<String> {
    let name = |package: String| package.split(' ').next().unwrap_or_default().to_owned();
    packages(tree).into_iter().map(name).filter(|name| ASYNC_RUNTIMES.contains(&name.as_str())).collect()
}

fn has_module_docs(text: &str) -> bool {
    text.starts_with("//! ")
}

fn too_long(text: &str) -> bool {
    text.lines().count() > MOST_LINES
}

fn strangers(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut strangers: Vec<_> =
        names.filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(&name.as_str())).collect();
    strangers.sort();
    strangers
}

fn impurities(text: &str, file: &Path) -> Vec<String> {
    let blanked = blank(text);
    let mut found = words(&blanked, NOT_IN_CORE, file);
    for (line, literal) in float_literals(&blanked) {
        found.push(format!("{}:{line}: {literal} is a float literal: money is exact decimals", file.display()));
    }
    let code = without_tests(&blanked);
    for path in ["std", "log", "rand", "crossbeam_channel"].into_iter().flat_map(|root| paths(code, root)) {
        let rule = NO_PATH_IN_CORE.iter().find(|(forbidden, _)| is_below(&path, forbidden));
        found.extend(rule.map(|(_, because)| format!("{}: {path}: {because}", file.display())));
    }
    found
}

fn wrong_imports(text: &str, file: &Path) -> Vec<String> {
    let blanked = blank(text);
    let code = without_tests(&blanked);
    let mut module: Vec<&str> = file.iter().filter_map(|part| part.to_str()).collect();
    let last = module.pop().unwrap_or_default();
    if !matches!(last, "mod.rs" | "lib.rs" | "main.rs") || module.is_empty() {
        module.push(last.trim_end_matches(".rs"));
    }
    let own = module[0];
    let Some(part) = PARTS.iter().find(|part| part.name == own) else {
        return vec![format!("{}: {own} has no row in PARTS: say what it may import, and why", file.display())];
    };
    let root = if own == "main" { "recompra" } else { "crate" };
    let mut imported: Vec<String> =
        paths(code, root).iter().map(|path| path.split_once("::").map_or("*", |(_, rest)| rest).to_owned()).collect();
    // As many `super` as the module is deep lead to the crate's root.
    for path in paths(code, "super") {
        let supers = path.split("::").take_while(|part| *part == "super").count();
        if supers >= module.len() {
            imported.push(path.split("::").skip(supers).collect::<Vec<_>>().join("::"));
        }
    }
    let allowed = |path: &String| {
        is_below(path, own) || part.may_import.iter().any(|allowed| allowed.is_empty() || is_below(path, allowed))
    };
    let wrong = imported.iter().filter(|path| !allowed(path));
    wrong.map(|path| format!("{}: imports {path}: {}", file.display(), part.because)).collect()
}

/// `bybit::client` for `bybit/client/mod.rs`.
fn module_of(file: &Path) -> String {
    let parts: Vec<&str> = file.iter().filter_map(|part| part.to_str()).collect();
    parts.join("::").trim_end_matches(".rs").trim_end_matches("::mod").to_owned()
}

fn names(code: &str, library: &str) -> bool {
    let root = library.split("::").next().unwrap_or_default();
    paths(code, root).iter().any(|path| is_below(path, library))
}

fn off_the_card(text: &str, file: &Path) -> Vec<String> {
    let (blanked, module) = (blank(text), module_of(file));
    let code = without_tests(&blanked);
    let broken = CARD.iter().filter(|(library, modules, _)| {
        names(code, library) && !modules.iter().any(|allowed| is_below(&module, allowed))
    });
    broken.map(|(library, _, because)| format!("{}: names {library}: {because}", file.display())).collect()
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

const TEST: &str = "#[cfg(test)]";

/// The text up to its tests, which stand at the foot of a file.
fn without_tests(blanked: &str) -> &str {
    let is_module = |at: &usize| {
        let module = blanked[at + TEST.len()..].trim_start();
        module.trim_start_matches("pub(super) ").starts_with("mod tests {")
    };
    let foot = blanked.match_indices(TEST).map(|(at, _)| at).find(is_module);
    &blanked[..foot.unwrap_or(blanked.len())]
}

fn words(blanked: &str, forbidden: &[(&str, &str)], file: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(blanked.lines()) {
        for word in line.split(|c: char| !c.is_alphanumeric() && c != '_' && c != '\'') {
            let rule = forbidden.iter().find(|(forbidden, _)| *forbidden == word);
            found.extend(rule.map(|(_, because)| format!("{}:{number}: {word}: {because}", file.display())));
        }
    }
    found
}

/// Line and text of each float literal.
fn float_literals(blanked: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in (1..).zip(blanked.lines()) {
        let mut rest = line;
        let mut before = ' ';
        while let Some(first) = rest.chars().next() {
            let starts = first.is_ascii_digit() && !before.is_alphanumeric() && !matches!(before, '_' | '.');
            let length = if starts { number_length(rest) } else { first.len_utf8() };
            let (token, tail) = rest.split_at(length);
            let radix = ["0x", "0b", "0o"].iter().any(|prefix| token.starts_with(prefix));
            let float = !radix && (token.contains(['.', 'e', 'E']) || token.ends_with("f32") || token.ends_with("f64"));
            if starts && float {
                found.push((number, token.to_owned()));
            }
            before = token.chars().last().unwrap_or(' ');
            rest = tail;
        }
    }
    found
}

/// The length of the number at the start of the text: digits, one point that is neither a range nor a method's,
/// more digits, exponent, suffix.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut length = 0;
    let mut point = false;
    while let Some(byte) = bytes.get(length) {
        let next = bytes.get(length + 1).copied().unwrap_or(b' ');
        match byte {
            b'.' if !point && next != b'.' && next != b'_' && !next.is_ascii_alphabetic() => point = true,
            byte if byte.is_ascii_alphanumeric() || *byte == b'_' => {}
            _ => break,
        }
        length += 1;
    }
    length
}

/// Every path of the code that starts with `root::`, with the groups of `use` written out.
fn paths(code: &str, root: &str) -> Vec<String> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        let starts = *token == root && (index == 0 || tokens[index - 1] != "::");
        if starts && tokens.get(index + 1) == Some(&"::") {
            tree(&tokens, index, String::new(), &mut found);
        }
    }
    found
}

/// Reads one tree of a `use`, or the path of an expression, from `index`; gives back the index after it.
fn tree(tokens: &[&str], mut index: usize, mut path: String, found: &mut Vec<String>) -> usize {
    loop {
        match tokens.get(index) {
            Some(&"{") => {
                index += 1;
                while !matches!(tokens.get(index), Some(&"}") | None) {
                    let after = tree(tokens, index, path.clone(), found);
                    // `as name`, a comma, or anything else between two trees.
                    index = after.max(index + 1);
                    while !matches!(tokens.get(index), Some(&"}" | &",") | None) {
                        index += 1;
                    }
                    index += usize::from(tokens.get(index) == Some(&","));
                }
                return index + 1;
            }
            Some(token) if *token == "*" || is_word(token) => {
                path.push_str(if path.is_empty() { "" } else { "::" });
                path.push_str(token);
                index += 1;
            }
            _ => break,
        }
        if tokens.get(index) != Some(&"::") {
            break;
        }
        index += 1;
    }
    found.push(path);
    index
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::`, and every other character by itself.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let in_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = if in_word(first) {
            rest.find(|c| !in_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// The code with comments and the insides of strings and characters blanked out; lines stay where they are.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = ' ';
    while let Some(first) = rest.chars().next() {
        let literal = comment_length(rest).or_else(|| literal_length(rest, before));
        let length = literal.unwrap_or(first.len_utf8());
        let (piece, tail) = rest.split_at(length);
        if literal.is_some() {
            out.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            out.push_str(piece);
        }
        before = piece.chars().last().unwrap_or(' ');
        rest = tail;
    }
    out
}

fn comment_length(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if !text.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let step = if rest.starts_with(b"/*") {
            depth += 1;
            2
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            2
        } else {
            1
        };
        at += step;
        if depth == 0 {
            return Some(at);
        }
    }
    Some(text.len())
}

/// The length of the string or character literal at the start, raw and byte strings included.
fn literal_length(text: &str, before: char) -> Option<usize> {
    if before.is_alphanumeric() || before == '_' {
        return None;
    }
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
        text.strip_prefix(prefix).is_some_and(|rest| {
            rest.starts_with('"') || (*prefix == "b" && rest.starts_with('\'')) || (prefix.ends_with('r') && raw(rest))
        })
    });
    let body = prefix.map_or(text, |prefix| &text[prefix.len()..]);
    let offset = text.len() - body.len();
    if prefix.is_some_and(|prefix| prefix.ends_with('r')) {
        let hashes = body.find('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let inside = &body[hashes + 1..];
        return Some(offset + hashes + 1 + inside.find(&end).map_or(inside.len(), |at| at + end.len()));
    }
    let quote = body.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let mut escaped = false;
    for (at, c) in body.char_indices().skip(1) {
        if quote == '\'' && !escaped && at > 1 && c != '\'' && !body.starts_with("'\\") {
            // A lifetime: one letter after the quote is no closing quote.
            return None;
        }
        if c == quote && !escaped {
            return Some(offset + at + 1);
        }
        escaped = c == '\\' && !escaped;
    }
    (quote == '"').then_some(text.len())
}

fn raw(text: &str) -> bool {
    text.trim_start_matches('#').starts_with('"') && text.starts_with('#')
}
