//! An order does not pay for opening a connection, as long as the exchange keeps one that is idle for half a minute. If it
//! closes them sooner, an order after a quiet time costs one handshake for each connection that is needed, and nothing else:
//! nothing is lost, doubled or in doubt. And each request leaves in one write.
//!
//! Between the bot and the exchange's REST stands a proxy that closes idle connections, and notes when each was accepted and
//! what came on it. How the bot keeps its connections open is not looked at.

mod kit;
mod rest_proxy;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kit::{Bot, Venue, account, holds, until};
use recompra::core::order::Side;
use recompra::core::{Decimal, Timestamp};
use recompra::simulation::market::PricePoint;
use rest_proxy::{Manners, Request, RestProxy};

/// An exchange that keeps idle connections for as long as most do, and one that does not.
const KEEPS: Duration = Duration::from_secs(30);
const CLOSES: Duration = Duration::from_secs(5);
/// The way to an exchange takes some time: requests that leave together are under way together.
const WAY: Duration = Duration::from_millis(20);
/// For so long nothing happens before the fill.
const QUIET: Duration = Duration::from_secs(61);
/// Within this time of it, as many connections are open as will be needed.
const WARM: Duration = Duration::from_secs(25);
const PATIENCE: Duration = Duration::from_secs(60);

/// Above the take profit of any cycle that began below 60,500, and between the first rebuy and the second.
const SELLS: i64 = 61_000;
const FIRST_REBUY: i64 = 59_700;

#[test]
fn after_a_quiet_minute_what_a_fill_leads_to_leaves_on_connections_that_were_open_before_it() {
    // Side by side: each of them waits for a minute.
    std::thread::scope(|scope| {
        for (name, rebuys, price) in [
            ("one-cancel", 1, SELLS),
            ("three-cancels", 3, SELLS),
            ("eight-cancels", 8, SELLS),
            ("rebuy-filled", 3, FIRST_REBUY),
        ] {
            scope.spawn(move || reaction_after_a_quiet_minute(name, rebuys, price));
        }
    });
}

fn reaction_after_a_quiet_minute(name: &str, rebuys: usize, price: i64) {
    let scene = Scene::new(&format!("warm-{name}"), rebuys, KEEPS);
    let begin = Instant::now();
    let mut fewest = usize::MAX;
    while begin.elapsed() < QUIET {
        if begin.elapsed() > WARM {
            fewest = fewest.min(scene.proxy.open());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let (fill, requests) = scene.reaction(price);
    for request in &requests {
        let accepted = scene.proxy.notes().connections[request.connection].accepted;
        let late = accepted.checked_duration_since(fill);
        assert_eq!(late, None, "{name}: {} paid for a connection, opened so long after the fill", request.line());
    }
    assert!(fewest >= rebuys, "{name}: there was a time when only {fewest} connections were open");
}

#[test]
fn where_idle_connections_are_closed_soon_an_order_costs_a_handshake_and_nothing_else() {
    let scene = Scene::new("closes-soon", 3, CLOSES);
    // First three rebuys are to be cancelled; then only the take profit, which another follows.
    for price in [SELLS, SELLS * 995 / 1_000] {
        until("all connections are closed", PATIENCE, || scene.proxy.open() == 0);
        let (fill, requests) = scene.reaction(price);
        let (opened, needed) = (scene.proxy.opened_since(fill), most_at_once(&requests));
        assert!((1..=needed).contains(&opened), "{opened} connections were opened, {needed} are needed");
        let allowed =
            |request: &&Request| request.creates() || request.cancels() || !is_a_question_about_orders(request.path());
        let doubts: Vec<&str> = requests.iter().filter(|request| !allowed(request)).map(Request::line).collect();
        assert_eq!(doubts, [""; 0], "nothing was in doubt");
        let sent: Vec<String> = requests.iter().filter_map(order).collect();
        let different: BTreeSet<&String> = sent.iter().collect();
        assert_eq!(different.len(), sent.len(), "nothing was sent twice: {sent:?}");
    }
    // A base order each for two cycles, and a sell for each holding: one, one, and one after the rebuy.
    assert_eq!(scene.orders(|order| order.price().is_none()), 2);
    assert_eq!(scene.orders(|order| order.side == Side::Sell), 3);
    for doubt in ["order_refused", "order_absent", "name_taken", "cancel_failed"] {
        assert!(!holds(&scene.venue.journal(), &format!("\"type\":\"{doubt}\"")), "the journal has {doubt}");
    }
}

/// How many of them were under way at one time.
fn most_at_once(requests: &[Request]) -> usize {
    let is_under_way =
        |request: &Request, at| request.at <= at && request.answered.is_none_or(|answered| at < answered);
    let at_once = |at| requests.iter().filter(|request| is_under_way(request, at)).count();
    requests.iter().map(|request| at_once(request.at)).max().unwrap_or(0)
}

/// What is asked when it is not known what became of an order.
fn is_a_question_about_orders(path: &str) -> bool {
    path.starts_with("/v5/order/") || path.starts_with("/v5/execution/")
}

/// What it does to which order.
fn order(request: &Request) -> Option<String> {
    let name = request.field("orderLinkId").or_else(|| request.field("orderId"))?;
    Some(format!("{} {name}", request.path()))
}

#[test]
fn a_request_leaves_in_one_write() {
    let scene = Scene::new("one-write", 3, KEEPS);
    scene.reaction(SELLS);
    for request in &scene.proxy.notes().requests {
        assert!(request.came_at_once, "not all of it came with the first read: {}", request.text);
    }
}

/// A bot behind a proxy, whose ladder rests.
struct Scene {
    _bot: Bot,
    rebuys: usize,
    proxy: RestProxy,
    venue: Venue,
}

impl Scene {
    fn new(name: &str, rebuys: usize, idle: Duration) -> Self {
        let venue = Venue::new(name, account());
        let proxy = RestProxy::start(venue.address(), Manners { dial: Duration::ZERO, idle, way: WAY, held: None });
        let ladder = kit::STRATEGY
            .replace("max_rebuys = 2", &format!("max_rebuys = {}\nactive_rebuys = {rebuys}", rebuys + 1))
            .replace("max_capital = \"200\"", "max_capital = \"1000\"");
        let config = venue.configure_behind(proxy.address, "btc", &ladder);
        let scene = Self { _bot: Bot::start(&config), rebuys, proxy, venue };
        until("the ladder rests", PATIENCE, || scene.rests());
        until("the last answer has come", PATIENCE, || scene.is_answered());
        scene
    }

    fn orders(&self, which: impl Fn(&recompra::simulation::order::Order) -> bool) -> usize {
        self.venue.hub.with(|exchange, _| exchange.orders().filter(|order| which(order)).count())
    }

    /// One take profit, and the rebuys.
    fn rests(&self) -> bool {
        let resting = |side| self.orders(|order| order.side == side && order.status.is_open());
        resting(Side::Sell) == 1 && resting(Side::Buy) == self.rebuys
    }

    fn is_answered(&self) -> bool {
        self.proxy.notes().requests.iter().all(|request| request.answered.is_some())
    }

    /// Moves the market so that an order is filled: when, and what the bot asked until a new ladder rested.
    fn reaction(&self, price: i64) -> (Instant, Vec<Request>) {
        let sells =
            |venue: &Venue| venue.hub.with(|exchange, _| exchange.orders().filter(|o| o.side == Side::Sell).count());
        let before = sells(&self.venue);
        let fill = Instant::now();
        self.venue.hub.advance("BTCUSDT", &PricePoint::new(Timestamp(0), Decimal::from(price)));
        // Whatever is filled, another sell follows.
        until("a new ladder rests", PATIENCE, || sells(&self.venue) > before && self.rests());
        until("the last answer has come", PATIENCE, || self.is_answered());
        let requests = self.proxy.since(fill);
        assert!(requests.iter().any(Request::cancels) && requests.iter().any(Request::creates), "nothing was done");
        (fill, requests)
    }
}
