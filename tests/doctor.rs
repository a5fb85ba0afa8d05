//! `recompra doctor` against an exchange whose connections take long to open.

mod kit;
mod rest_proxy;

use std::time::Duration;

use kit::{STRATEGY, Venue, account, outcome};
use rest_proxy::{Manners, RestProxy};

/// Beyond what the doctor calls slow, and what it calls too slow.
const DIAL: Duration = Duration::from_secs(3);

#[test]
fn how_long_an_answer_takes_does_not_count_what_it_takes_to_open_the_connection() {
    let venue = Venue::new("doctor-dial", account());
    let manners = Manners { idle: Duration::from_secs(30), dial: DIAL, way: Duration::ZERO, held: None };
    let proxy = RestProxy::start(venue.address(), manners);
    let config = venue.configure_behind(proxy.address, "btc", STRATEGY);
    let (_, out, error) = outcome(&["doctor", "--config", &config]);
    let (_, told) = out.split_once("an answer takes ").unwrap_or_else(|| panic!("{out}{error}"));
    let milliseconds: u64 = told.split(' ').next().unwrap().parse().unwrap();
    assert!(milliseconds < 1_000, "{out}");
    let (_, clock) = out.split_once("clock: ").unwrap();
    let off: u64 = clock.split(' ').next().unwrap().parse().unwrap();
    assert!(off < 1_000, "{out}");
}
