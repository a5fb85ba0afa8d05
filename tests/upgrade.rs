//! An upgrade in the middle of a cycle: a journal that an earlier version of this format left behind is gone on from, and
//! the journal of a newer version is refused.
//!
//! `tests/journals/format-1.jsonl` is such a journal: a bot of version 0.1.0 was killed while its take profit and its first
//! rebuy rested. It is never written anew for a newer program, that is its purpose; for a new format
//! `RECOMPRA_WRITE=1 cargo test --test upgrade` makes another one.

mod kit;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use kit::{Bot, KEY, STRATEGY, Venue, account, holds, outcome, until};
use recompra::core::order::{BotName, OrderKey, OrderSpec};
use recompra::core::record::Record;
use recompra::core::{Decimal, Timestamp};
use recompra::journal::{self, FORMAT};
use recompra::simulation::Hub;
use recompra::simulation::market::PricePoint;
use recompra::simulation::order::{Kind, NewOrder, TimeInForce};

const SOON: Duration = Duration::from_secs(60);

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/journals/format-{FORMAT}.jsonl"))
}

/// The exchange's time goes on from this moment, whatever this machine's clock says.
fn from(moment: Timestamp) -> recompra::simulation::hub::TimeSource {
    let begin = Instant::now();
    Arc::new(move || moment.after(begin.elapsed()))
}

/// The orders that the journal tells of, placed on this exchange as they were on the one it was written for.
fn place_again(hub: &Hub, entries: &[(Timestamp, Record)]) {
    let bot = BotName::new("btc").unwrap();
    for (time, record) in entries {
        let Record::OrderPlanned { key, spec, .. } = record else { continue };
        let filled = entries.iter().find_map(|(_, record)| match record {
            Record::Executed { key: of, execution } if of == key => Some(execution.time),
            _ => None,
        });
        let (kind, quantity) = match *spec {
            OrderSpec::MarketBuy { amount } => (Kind::MarketQuote, amount),
            OrderSpec::MarketSell { quantity } => (Kind::MarketBase, quantity),
            OrderSpec::Limit { price, quantity, .. } => {
                (Kind::Limit { price, time_in_force: TimeInForce::Gtc }, quantity)
            }
        };
        let order =
            NewOrder { symbol: "BTCUSDT".to_owned(), side: spec.side(), kind, quantity, link_id: key.link_id(&bot) };
        let account = hub.with(|exchange, _| exchange.account_of_key(KEY)).unwrap();
        hub.with(|exchange, _| exchange.create(account, order, filled.unwrap_or(*time))).unwrap();
    }
}

/// Makes the fixture: a bot is killed when its first ladder rests.
fn write_fixture() {
    let venue = Venue::new("upgrade-write", account());
    let config = venue.configure("btc", STRATEGY);
    let bot = Bot::start(&config);
    until("the ladder rests", SOON, || holds(&venue.journal(), "\"type\":\"order_accepted\",\"key\":\"1-1b-1\""));
    drop(bot);
    std::fs::create_dir_all(fixture().parent().unwrap()).unwrap();
    std::fs::copy(venue.journal(), fixture()).unwrap();
}

#[test]
fn the_journal_of_an_earlier_version_is_gone_on_from_in_the_middle_of_a_cycle() {
    if std::env::var_os("RECOMPRA_WRITE").is_some() {
        write_fixture();
    }
    let before = std::fs::read(fixture()).unwrap();
    let history = journal::history(&fixture()).unwrap();
    let last = history.entries.last().unwrap().0;
    let venue = Venue::at("upgrade", account(), from(last.after(Duration::from_secs(1))));
    let config = venue.configure("btc", STRATEGY);
    place_again(&venue.hub, &history.entries);
    std::fs::create_dir_all(venue.state()).unwrap();
    std::fs::write(venue.journal(), &before).unwrap();

    let bot = Bot::start(&config);
    let reconciled = |journal: &str| journal.matches("\"type\":\"reconciled\"").count();
    let old = reconciled(&String::from_utf8(before.clone()).unwrap());
    until("the bot has reconciled", SOON, || reconciled(&std::fs::read_to_string(venue.journal()).unwrap()) > old);
    // The market rises to where the take profit of the earlier version rests.
    let target = Decimal::from(61_000);
    venue.hub.advance("BTCUSDT", &PricePoint::new(venue.hub.now(), target));
    until("the cycle closes", SOON, || holds(&venue.journal(), "\"type\":\"cycle_closed\",\"cycle\":1"));
    assert_eq!(bot.terminate().code(), Some(0));

    let after = std::fs::read(venue.journal()).unwrap();
    assert!(after.starts_with(&before), "what the earlier version wrote was changed");
    let first_cycle =
        |link: &str| OrderKey::of_link_id(&BotName::new("btc").unwrap(), link).is_some_and(|key| key.cycle == 1);
    let links = venue.hub.with(|exchange, _| exchange.orders().map(|order| order.link_id.clone()).collect::<Vec<_>>());
    let placed = links.iter().filter(|link| first_cycle(link)).count();
    assert_eq!(placed, 3, "nothing of the cycle is placed twice: {links:?}");
    let (code, out, error) = outcome(&["audit", "--opening", "USDT=10000", "--config", &config]);
    assert!(code == Some(0) && out.contains("journal and exchange agree"), "{out}{error}");
}

#[test]
fn the_journal_of_a_newer_version_is_refused_with_65_and_left_alone() {
    let venue = Venue::new("upgrade-newer", account());
    let config = venue.configure("btc", STRATEGY);
    let body = format!("\"n\":0,\"time\":1767312000000,\"type\":\"journal\",\"format\":{}}}", FORMAT + 1);
    let line = format!("{{\"sum\":\"{:08x}\",{body}\n", crc32fast::hash(body.as_bytes()));
    std::fs::create_dir_all(venue.state()).unwrap();
    std::fs::write(venue.journal(), &line).unwrap();
    for command in [&["run"][..], &["run", "--cron"], &["status"], &["stop"]] {
        let (code, _, error) = outcome(&[command, &["--config", &config]].concat());
        assert_eq!(code, Some(65), "{command:?}: {error}");
        let clear = format!("written by a newer recompra (format {}, this one reads up to {FORMAT})", FORMAT + 1);
        assert!(error.contains(&clear) && !error.contains("damaged"), "{command:?}: {error}");
    }
    assert_eq!(std::fs::read_to_string(venue.journal()).unwrap(), line);
    let placed = venue.hub.with(|exchange, _| exchange.orders().count());
    assert_eq!(placed, 0);
}
