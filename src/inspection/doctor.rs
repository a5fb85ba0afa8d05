//! What would keep the bot from trading well, found before it trades: `recompra doctor`.
//!
//! In: what the command found out, each piece as an answer or as the fault that came instead. Out: [`Finding`]s, and a
//! [`Diagnosis`] that shows them as text or JSON and gives the exit code of the first problem. Every check is a pure
//! function, so that it can be tried without an exchange. Nothing can go wrong here: what goes wrong is a finding.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bybit::{KeyInfo, TlsRoots};
use crate::config::credentials::Found;
use crate::config::{Config, ConfigError, Environment};
use crate::core::instrument::Instrument;
use crate::core::ledger::Ledger;
use crate::core::money::text;
use crate::core::parameters::Parameters;
use crate::core::{Decimal, Timestamp, ladder};
use crate::engine::ports::{Balance, Fault};
use crate::exit::{Exit, Failure};
use crate::printable::printable;

/// Bybit refuses what is signed more than this ahead of its clock.
const MOST_AHEAD: Duration = Duration::from_secs(1);
/// A round trip beyond this makes orders late.
const SLOW: Duration = Duration::from_secs(1);
/// A round trip beyond this leaves nothing of the five seconds in which Bybit takes a request.
const TOO_SLOW: Duration = Duration::from_secs(5);

/// How grave a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Gravity {
    /// As it should be.
    Good,
    /// The bot would trade, but a person should know.
    Warning,
    /// The bot would not trade, or must not.
    Problem(Exit),
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What was looked at: `clock`, `key`, `balance`.
    pub about: &'static str,
    /// How grave it is.
    pub gravity: Gravity,
    /// What was found.
    pub found: String,
    /// What to do about it; empty when there is nothing to do.
    pub advice: String,
}

impl Finding {
    fn good(about: &'static str, found: impl Into<String>) -> Self {
        Self { about, gravity: Gravity::Good, found: found.into(), advice: String::new() }
    }

    fn warning(about: &'static str, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, gravity: Gravity::Warning, found: found.into(), advice: advice.into() }
    }

    fn problem(about: &'static str, code: Exit, found: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { about, gravity: Gravity::Problem(code), found: found.into(), advice: advice.into() }
    }
}

/// The configuration file.
pub fn configuration(file: &Path, config: Result<&Config, &ConfigError>) -> Vec<Finding> {
    let file = file.display();
    match config {
        Ok(config) if config.environment == Environment::Mainnet => vec![Finding::warning(
            "configuration",
            format!("{file}: {} on mainnet: real money", config.parameters.symbol),
            "run needs --real-money; try the same on demo first",
        )],
        Ok(config) => vec![Finding::good(
            "configuration",
            format!("{file}: {} on {}", config.parameters.symbol, config.environment),
        )],
        Err(error) => error
            .to_string()
            .lines()
            .map(|line| Finding::problem("configuration", Exit::Configuration, line, "correct the file"))
            .collect(),
    }
}

/// Whether key and secret are there, and safely kept.
pub fn credentials(found: Result<&Found, &str>) -> Vec<Finding> {
    match found {
        Ok(found) => {
            let [key, secret] = &found.sources;
            let there = Finding::good("credentials", format!("key from {key}, secret from {secret}"));
            let warnings = found.warnings.iter().map(|warning| Finding::warning("credentials", warning, ""));
            std::iter::once(there).chain(warnings).collect()
        }
        Err(missing) => missing
            .lines()
            .map(|line| Finding::problem("credentials", Exit::Configuration, line, "Bybit's site: API management"))
            .collect(),
    }
}

/// What the key may do. `now` is the exchange's time.
pub fn key(info: Result<&KeyInfo, &Fault>, environment: Environment, now: Timestamp) -> Vec<Finding> {
    let info = match info {
        Ok(info) => info,
        Err(fault) => {
            let advice = format!("the key must be one of {environment}'s, its secret the one shown when it was made");
            return vec![unanswered("key", fault, &advice)];
        }
    };
    let refused = |found: &str, advice: &str| Finding::problem("key", Exit::KeyRefused, found, advice);
    let mut findings = Vec::new();
    if info.read_only {
        findings.push(refused("it may only read", "make a key with read-write access and spot trading"));
    } else if !info.can_trade_spot {
        findings.push(refused("it may not trade spot", "allow spot trading for it (Unified Trading: Spot, Trade)"));
    } else {
        findings.push(Finding::good("key", format!("accepted by {environment}, may trade spot")));
    }
    if info.can_withdraw {
        findings.push(refused(
            "it may withdraw: whoever steals it can empty the account",
            "make a key without that right; the bot does not start with this one",
        ));
    }
    findings.push(if info.ips.is_empty() {
        Finding::warning("key", "it works from any address", "bind it to this machine's address, if that is fixed")
    } else {
        Finding::good("key", format!("bound to {}", info.ips.join(", ")))
    });
    findings.extend(info.expires.map(|expires| {
        if expires <= now {
            refused(&format!("it expired at {expires}"), "make a new one")
        } else if let Some((days, expires)) = info.expires_soon(now) {
            Finding::warning("key", format!("it expires in {days} days, at {expires}"), "make a new one in time")
        } else {
            Finding::good("key", format!("expires at {expires}"))
        }
    }));
    findings
}

/// This machine's clock against the exchange's (`local − exchange`, in milliseconds), and how long an answer takes on a connection
/// that is open, as an order's is.
pub fn clock(measured: Result<(i64, Duration), &Fault>) -> Vec<Finding> {
    let (ahead_ms, round_trip) = match measured {
        Ok(measured) => measured,
        Err(fault) => return vec![unanswered("clock", fault, "check the network; try again later")],
    };
    let side = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let skew = format!("{} ms {side} the exchange", ahead_ms.unsigned_abs());
    let clock = if u128::from(ahead_ms.unsigned_abs()) > MOST_AHEAD.as_millis() {
        let advice = "the bot corrects for it; let the system keep time (timedatectl set-ntp true)";
        Finding::warning("clock", skew, advice)
    } else {
        Finding::good("clock", skew)
    };
    let trip = format!("an answer takes {} ms", round_trip.as_millis());
    let trip = if round_trip >= TOO_SLOW {
        Finding::problem("network", Exit::Unreachable, trip, "orders would be refused as too late: a better connection")
    } else if round_trip >= SLOW {
        Finding::warning("network", trip, "orders will be late: a better connection, or a host nearer to the exchange")
    } else {
        Finding::good("network", trip)
    };
    vec![clock, trip]
}

/// This machine's clock was never set and the exchange cannot be asked: the clock may be why.
pub fn unset_clock(wall: Timestamp) -> Vec<Finding> {
    let found = format!("this machine's clock says {wall}: no certificate can be checked by that");
    let advice = "let the system keep time (timedatectl set-ntp true, or ntpd); the bot waits until it is set";
    vec![Finding::warning("clock", found, advice)]
}

/// The ladder against the instrument's filters, from the current ask.
pub fn ladder(market: Result<(&Instrument, Decimal), &Fault>, parameters: &Parameters) -> Vec<Finding> {
    let (instrument, ask) = match market {
        Ok(market) => market,
        Err(fault) => return vec![unanswered("ladder", fault, "check symbol and network")],
    };
    let wrong = |found: String, advice| vec![Finding::problem("ladder", Exit::Configuration, found, advice)];
    if !instrument.trading {
        return wrong(format!("{} is not traded now", instrument.symbol), "choose another symbol, or wait");
    }
    match ladder::plan(ask, parameters, instrument) {
        Ok(levels) => {
            let found = format!("{} levels from {} pass every filter", levels.len(), text(ask));
            vec![Finding::good("ladder", format!("{found}; recompra plan shows them"))]
        }
        Err(error) => wrong(error.to_string(), "change the named parameter"),
    }
}

/// Whether the play money that was asked for was given.
pub fn demo_money(given: Result<(), &Fault>, amount: Decimal, quote_coin: &str) -> Vec<Finding> {
    vec![match given {
        Ok(()) => Finding::good("demo money", format!("{} {quote_coin} asked for and granted", text(amount))),
        Err(fault) => Finding::warning(
            "demo money",
            format!("not granted: {fault}"),
            "it is given on demo only, once a minute, up to 100000 USDT at a time",
        ),
    }]
}

/// The free balance of the quote coin against the whole ladder's cost.
pub fn balance(
    balance: Result<&Balance, &Fault>,
    quote_coin: &str,
    parameters: &Parameters,
    environment: Environment,
) -> Vec<Finding> {
    let balance = match balance {
        Ok(balance) => balance,
        Err(fault) => return vec![unanswered("balance", fault, "check key and network")],
    };
    // A ladder that costs too much is the configuration's problem, told there.
    let Ok(cost) = ladder::cost(parameters) else { return Vec::new() };
    let found = format!("{} {quote_coin} free, the ladder costs {}", text(balance.free), text(cost));
    let more = match environment {
        Environment::Demo => "recompra doctor --demo-money 10000 asks for play money",
        Environment::Testnet => "ask for test coins on Bybit's testnet",
        Environment::Mainnet => "deposit more, or lower the amounts",
    };
    vec![if balance.free < cost {
        Finding::warning("balance", found, format!("no cycle starts until there is enough: {more}"))
    } else {
        Finding::good("balance", found)
    }]
}

/// Whether the state directory can be written, and whether a bot runs on it.
pub fn state_directory(directory: &Path, writable: Result<(), &str>, is_running: bool) -> Vec<Finding> {
    let directory = directory.display();
    let mut findings = vec![match writable {
        Ok(()) => Finding::good("state directory", format!("{directory} can be written")),
        Err(reason) => Finding::problem(
            "state directory",
            Exit::State,
            format!("{directory}: {reason}"),
            "give this user write access, or set state_dir",
        ),
    }];
    if is_running {
        findings.push(Finding::warning(
            "state directory",
            "a bot is running on it",
            "fine if that is meant; recompra stop ends it",
        ));
    }
    findings
}

/// What the journal says, and whether a `STOP` file forbids trading.
pub fn journal(read: Result<&Ledger, &Failure>, stop_file: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![match read {
        Ok(ledger) if ledger.last_cycle == 0 => Finding::good("journal", "nothing traded yet"),
        Ok(ledger) => {
            let open =
                ledger.cycle.as_ref().map_or("none is open".to_owned(), |cycle| format!("{} is open", cycle.number));
            Finding::good("journal", format!("{} cycles closed, {open}", ledger.totals.cycles))
        }
        Err(failure) => Finding::problem("journal", failure.code, failure.message.clone(), "see the README: files"),
    }];
    findings.extend(
        read.ok()
            .and_then(|ledger| ledger.alarm())
            .map(|alarm| Finding::warning("journal", format!("alarm: {alarm}"), "resolve it, then start the bot")),
    );
    if let Some(file) = stop_file {
        findings.push(Finding::warning(
            "state directory",
            "the file STOP forbids trading: run ends at once",
            format!("rm {} to trade again", file.display()),
        ));
    }
    findings
}

/// Where trust in the exchange's certificate comes from.
pub fn tls(roots: &TlsRoots) -> Vec<Finding> {
    vec![match roots {
        TlsRoots::System => Finding::good("certificates", "the system's"),
        TlsRoots::CompiledIn => Finding::warning(
            "certificates",
            "those inside the program: the system has none",
            "install the system's (apt-get install ca-certificates), which are kept up to date",
        ),
        TlsRoots::Nobody => Finding::good("certificates", "none needed: the exchange is on this machine"),
        TlsRoots::Pinned(file) => Finding::good("certificates", format!("only those of {}", file.display())),
    }]
}

/// Something that could not be checked at all.
pub fn failed(about: &'static str, failure: &Failure) -> Vec<Finding> {
    vec![Finding::problem(about, failure.code, failure.message.clone(), "correct that first")]
}

fn unanswered(about: &'static str, fault: &Fault, advice: &str) -> Finding {
    let Failure { code, message } = Failure::from(fault.clone());
    Finding::problem(about, code, message, advice)
}

/// All findings, in the order of the checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// The findings.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// 0 if there is no problem, else the code of the first.
    pub fn exit(&self) -> Exit {
        let problem = |finding: &Finding| match finding.gravity {
            Gravity::Problem(code) => Some(code),
            Gravity::Good | Gravity::Warning => None,
        };
        self.findings.iter().find_map(problem).unwrap_or(Exit::Finished)
    }

    /// One line a finding, what to do about it below, and a summary.
    pub fn text(&self, colour: bool) -> String {
        let mut out = String::new();
        for finding in &self.findings {
            let (word, code) = match finding.gravity {
                Gravity::Good => ("ok", "32"),
                Gravity::Warning => ("warning", "33"),
                Gravity::Problem(_) => ("problem", "31"),
            };
            let word = if colour { format!("\x1b[{code}m{word:8}\x1b[0m") } else { format!("{word:8}") };
            let _ = writeln!(out, "{word} {}: {}", printable(finding.about), printable(&finding.found));
            if !finding.advice.is_empty() {
                let _ = writeln!(out, "         → {}", printable(&finding.advice));
            }
        }
        let count = |wanted: fn(&Gravity) -> bool| self.findings.iter().filter(|one| wanted(&one.gravity)).count();
        let problems = count(|gravity| matches!(gravity, Gravity::Problem(_)));
        let warnings = count(|gravity| *gravity == Gravity::Warning);
        let plural = |number: usize, word: &str| format!("{number} {word}{}", if number == 1 { "" } else { "s" });
        let _ = writeln!(out, "\n{}, {}", plural(problems, "problem"), plural(warnings, "warning"));
        out
    }

    /// One object: `findings`, and the `exit` code.
    pub fn json(&self) -> Value {
        let finding = |finding: &Finding| {
            json!({
                "about": finding.about,
                "gravity": match finding.gravity {
                    Gravity::Good => "ok",
                    Gravity::Warning => "warning",
                    Gravity::Problem(_) => "problem",
                },
                "found": finding.found,
                "advice": finding.advice,
            })
        };
        json!({ "findings": self.findings.iter().map(finding).collect::<Vec<_>>(), "exit": self.exit() as u8 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::engine::ports::FaultKind;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn example() -> Config {
        config::parse(config::EXAMPLE, Path::new("example.toml")).unwrap()
    }

    fn fault(kind: FaultKind, message: &str) -> Fault {
        Fault { kind, endpoint: "GET /v5/user/query-api", code: Some(10003), message: message.into() }
    }

    fn good_key() -> KeyInfo {
        KeyInfo {
            read_only: false,
            can_trade_spot: true,
            can_withdraw: false,
            ips: vec!["203.0.113.7".into()],
            expires: Some(NOW.after(Duration::from_secs(90 * 86_400))),
            days_left: None,
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_named_beside_the_network() {
        let findings = unset_clock(Timestamp(60_000));
        assert!(findings[0].found.contains("1970-01-01T00:01:00") && worst(&findings) == Gravity::Warning);
    }

    fn worst(findings: &[Finding]) -> Gravity {
        findings.iter().map(|finding| finding.gravity).max().unwrap()
    }

    fn key_gravity(change: fn(&mut KeyInfo)) -> Gravity {
        let mut info = good_key();
        change(&mut info);
        worst(&key(Ok(&info), Environment::Demo, NOW))
    }

    #[test]
    fn every_problem_of_the_configuration_is_a_finding() {
        let error = config::parse("bot = 1\n", Path::new("r.toml")).unwrap_err();
        let findings = configuration(Path::new("r.toml"), Err(&error));
        assert_eq!(findings.len(), error.problems.len());
        assert_eq!(worst(&findings), Gravity::Problem(Exit::Configuration));
        assert_eq!(worst(&configuration(Path::new("r.toml"), Ok(&example()))), Gravity::Good);
        let mainnet = Config { environment: Environment::Mainnet, ..example() };
        assert_eq!(worst(&configuration(Path::new("r.toml"), Ok(&mainnet))), Gravity::Warning);
    }

    #[test]
    fn a_key_that_may_withdraw_or_may_not_trade_is_refused() {
        assert_eq!(key_gravity(|_| ()), Gravity::Good);
        for change in [
            (|key| key.read_only = true) as fn(&mut KeyInfo),
            |key| key.can_trade_spot = false,
            |key| key.can_withdraw = true,
            |key| key.expires = Some(NOW),
        ] {
            assert_eq!(key_gravity(change), Gravity::Problem(Exit::KeyRefused));
        }
        // The engine judges a key by `permit`: what it refuses must be a problem here too.
        for bits in 0..8 {
            let rights = [1, 2, 4].map(|bit| bits & bit != 0);
            let [read_only, can_trade_spot, can_withdraw] = rights;
            let info = KeyInfo { read_only, can_trade_spot, can_withdraw, ..good_key() };
            let is_refused = worst(&key(Ok(&info), Environment::Demo, NOW)) != Gravity::Good;
            assert_eq!(is_refused, info.permit().is_err(), "{info:?}");
        }
    }

    #[test]
    fn a_key_without_binding_or_near_its_end_is_warned_of() {
        assert_eq!(key_gravity(|key| key.ips.clear()), Gravity::Warning);
        assert_eq!(key_gravity(|key| key.expires = Some(NOW.after(Duration::from_secs(86_400)))), Gravity::Warning);
        assert_eq!(key_gravity(|key| key.expires = None), Gravity::Good);
    }

    #[test]
    fn a_refused_key_and_an_unreachable_exchange_differ() {
        let gravity = |kind| worst(&key(Err(&fault(kind, "API key is invalid.")), Environment::Demo, NOW));
        assert_eq!(gravity(FaultKind::KeyRefused), Gravity::Problem(Exit::KeyRefused));
        assert_eq!(gravity(FaultKind::Unreachable), Gravity::Problem(Exit::Unreachable));
    }

    #[test]
    fn clock_and_round_trip_have_limits() {
        let at = |ahead_ms, trip_ms| worst(&clock(Ok((ahead_ms, Duration::from_millis(trip_ms)))));
        assert_eq!(at(-900, 250), Gravity::Good);
        assert_eq!(at(1_001, 250), Gravity::Warning);
        assert_eq!(at(i64::MIN, 250), Gravity::Warning);
        assert_eq!(at(0, 1_000), Gravity::Warning);
        assert_eq!(at(0, 5_000), Gravity::Problem(Exit::Unreachable));
        assert!(clock(Ok((-1_500, SLOW)))[0].found.contains("1500 ms behind"));
    }

    #[test]
    fn a_ladder_the_exchange_would_refuse_is_a_problem() {
        let Config { parameters, .. } = example();
        let mut instrument = super::super::plan::assumed_instrument("BTCUSDT");
        let at = |instrument: &Instrument| worst(&ladder(Ok((instrument, Decimal::from(60_000))), &parameters));
        assert_eq!(at(&instrument), Gravity::Good);
        instrument.min_notional = Decimal::from(51);
        assert_eq!(at(&instrument), Gravity::Problem(Exit::Configuration));
        instrument.min_notional = Decimal::ONE;
        instrument.trading = false;
        assert_eq!(at(&instrument), Gravity::Problem(Exit::Configuration));
    }

    #[test]
    fn too_little_money_is_a_warning_because_the_bot_waits() {
        let Config { parameters, .. } = example();
        let at = |free: i64| {
            let held = Balance { total: Decimal::from(free), free: Decimal::from(free) };
            worst(&balance(Ok(&held), "USDT", &parameters, Environment::Demo))
        };
        assert_eq!(at(199), Gravity::Warning);
        assert_eq!(at(200), Gravity::Good, "exactly the ladder's cost is enough");
    }

    #[test]
    fn missing_credentials_are_a_problem_and_open_files_a_warning() {
        assert_eq!(worst(&credentials(Err("no API key: …\nno API secret: …"))), Gravity::Problem(Exit::Configuration));
        let credentials_found = config::credentials::Credentials { key: "kkk".into(), secret: "sss".into() };
        let found = Found {
            credentials: credentials_found,
            sources: ["a".into(), "b".into()],
            warnings: vec!["chmod 600 a".into()],
        };
        let findings = credentials(Ok(&found));
        assert_eq!(worst(&findings), Gravity::Warning);
        assert!(findings.iter().all(|one| !one.found.contains("kkk") && !one.found.contains("sss")));
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_a_problem_and_a_running_bot_a_warning() {
        let directory = Path::new("state");
        let unwritable = state_directory(directory, Err("read-only file system"), false);
        assert_eq!(worst(&unwritable), Gravity::Problem(Exit::State));
        assert_eq!(worst(&state_directory(directory, Ok(()), true)), Gravity::Warning);
    }

    #[test]
    fn the_diagnosis_counts_advises_and_exits_with_the_first_problem() {
        let mut findings = clock(Ok((0, TOO_SLOW)));
        findings.extend(tls(&TlsRoots::CompiledIn));
        findings.extend(key(Ok(&KeyInfo { can_withdraw: true, ..good_key() }), Environment::Demo, NOW));
        let diagnosis = Diagnosis { findings };
        assert_eq!(diagnosis.exit(), Exit::Unreachable);
        let text = diagnosis.text(false);
        assert!(text.starts_with("ok       clock: 0 ms ahead of the exchange\nproblem  network: "), "{text}");
        assert!(text.contains("\n         → ") && text.ends_with("\n2 problems, 1 warning\n"), "{text}");
        assert!(!text.contains('\x1b') && diagnosis.text(true).contains("\x1b[31mproblem"));
        assert_eq!(diagnosis.json()["exit"], 69);
        assert_eq!(diagnosis.json()["findings"][1]["gravity"], "problem");
        assert_eq!(Diagnosis::default().exit(), Exit::Finished);
    }
}
