//! Every endpoint, and every way in which it can fail for an hour: refused in ways that are known and in ways that are not, answered
//! late, by something else or not at all, and with each field of the answer missing or null. Nothing else goes wrong meanwhile.
//! Requests stay bounded, the journal too, what protects is done where it can be, the bot does not leave its post, and
//! afterwards it reaches the state that it should have reached. The same of every other condition by itself.

use super::conditions::{self, Conditions};
use super::faults::Faults;
use super::run;
use super::world::{Options, World};

const ENDPOINTS: [&str; 10] = [
    "time",
    "instruments-info",
    "tickers",
    "wallet-balance",
    "query-api",
    "realtime",
    "history",
    "list",
    "create",
    "cancel",
];
const FAILURES: [&str; 9] = ["no-rule", "404", "401", "429", "403", "5xx", "html", "unanswered", "slow"];
/// An answer has fewer fields than this that a client could read.
const FIELDS: u64 = 32;

/// What broke, if anything did.
fn broken_by(endpoint: &str, failure: &str, detail: u64) -> Option<String> {
    broken_by_condition(&format!("{failure}:{endpoint}"), detail)
}

fn broken_by_condition(name: &str, detail: u64) -> Option<String> {
    let mut world = World::new(detail, Options::default());
    world.faults = Faults::none(detail);
    world.conditions = Conditions::for_an_hour(name, detail, world.now);
    let end = world.conditions.end().unwrap_or(world.now) + 30_000;
    world.walk.pace = world.walk.pace.max((end - world.now) / 250);
    world.faults_end = end;
    let violation = run::run(world).0.violation?;
    Some(format!("{name} {detail}: invariant {}: {:.150}", violation.invariant, violation.what))
}

fn assert_none(broken: &[String]) {
    assert!(broken.is_empty(), "{} broke something:\n{}", broken.len(), broken.join("\n"));
}

#[test]
fn an_endpoint_that_fails_for_an_hour_breaks_nothing() {
    let mut broken = Vec::new();
    for endpoint in ENDPOINTS {
        for failure in FAILURES {
            broken.extend((0..2).filter_map(|detail| broken_by(endpoint, failure, detail)));
        }
    }
    assert_none(&broken);
}

#[test]
fn a_field_that_is_missing_or_null_for_an_hour_breaks_nothing() {
    let mut broken = Vec::new();
    for endpoint in ENDPOINTS {
        for failure in ["lacks-a-field", "a-field-is-null"] {
            broken.extend((0..FIELDS).filter_map(|detail| broken_by(endpoint, failure, detail)));
        }
    }
    assert_none(&broken);
}

#[test]
fn each_condition_alone_breaks_nothing() {
    let mut broken = Vec::new();
    for name in conditions::names() {
        broken.extend((0..2).filter_map(|detail| broken_by_condition(&name, detail)));
    }
    assert_none(&broken);
}
