//! What a bot writes to its disk: an SD card must outlive it.

mod kit;

use std::sync::Arc;
use std::time::Duration;

use kit::{Bot, Venue, account, until};
use recompra::core::{Decimal, Timestamp};
use recompra::journal;
use recompra::simulation::driver::{Driver, Pace, PriceSource};
use recompra::simulation::market::random_walk::{Liveliness, RandomWalk};

/// Ten cycles a day.
const DAY: u64 = 10;
/// What a day may write.
const BUDGET: u64 = 1_000_000;
const STRATEGY: &str = r#"
symbol = "BTCUSDT"
base_order_amount = "50"
take_profit_percent = "0.1"
max_rebuys = 8
active_rebuys = 2
rebuy_step_percent = "0.1"
deviation_from = "previous"
max_capital = "1000"
sell_delay = "0s"
rebuy_delay = "0s"
cycle_delay = "0s"
max_cycles = 10
"#;

#[test]
fn a_day_of_ten_cycles_writes_less_than_a_megabyte() {
    let venue = Venue::new("volume", account());
    let config = venue.configure("btc", STRATEGY);
    let liveliness = Liveliness { largest_move: 500, pull_back: 200 };
    let walk = RandomWalk::new(3, Timestamp(0), Decimal::from(60_000), Decimal::new(1, 2), liveliness);
    let source = PriceSource::Market(Box::new(walk), Pace::Times(1000));
    let mut market = Driver::start(Arc::clone(&venue.hub), "BTCUSDT".to_owned(), source).unwrap();
    let mut bot = Bot::start(&config);
    until("ten cycles are done", Duration::from_secs(120), || !bot.is_running());
    market.stop();
    let history = journal::history(&venue.journal()).unwrap();
    let totals = &history.ledger.totals;
    assert_eq!(totals.cycles, DAY);
    // Every byte of the journal is written once; what else lies in the directory is smaller than a block.
    let written: u64 =
        std::fs::read_dir(venue.state()).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    println!("{DAY} cycles, {} executions, {} records: {written} bytes", totals.executions, history.entries.len());
    assert!(totals.executions > 2 * DAY, "no rebuy was ever filled: this says nothing");
    assert!(written < BUDGET, "{written} bytes");
}
