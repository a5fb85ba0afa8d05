//! The same market through paper trading, over real sockets, and through the backtest, in memory: every record is the
//! same, to the last digit.

mod recorded;

use std::path::Path;
use std::sync::Arc;

use crossbeam_channel::unbounded;
use recompra::backtest;
use recompra::bybit::{
    Client, Credentials, Environment, Hosts, HttpLimits, HttpTransport, PrivateStream, StreamTimings, Tls,
};
use recompra::config;
use recompra::core::ledger::Ledger;
use recompra::core::order::BotName;
use recompra::core::parameters::Parameters;
use recompra::core::record::Record;
use recompra::core::{Decimal, Timestamp, money};
use recompra::engine::ports::Observer;
use recompra::engine::{Engine, World};
use recompra::journal::Forgetful;
use recompra::simulation::driver::Pace;
use recompra::simulation::lockstep::Lockstep;
use recompra::simulation::market::random_walk::Liveliness;
use recompra::simulation::market::{Candles, Fixed, Market, PricePoint, RandomWalk, Recording, candles, recording};
use recompra::simulation::server::{Server, ServerOptions};
use recompra::simulation::settings::{AccountSettings, DEFAULT_KEY, DEFAULT_SECRET, Listing};
use recompra::simulation::{Exchange, Settings};

/// Keeps every record.
#[derive(Default)]
struct Diary(Vec<(Timestamp, Record)>);

impl Observer for Diary {
    fn recorded(&mut self, time: Timestamp, record: &Record, _ledger: &Ledger) {
        self.0.push((time, record.clone()));
    }
}

fn bot() -> BotName {
    BotName::new("same").unwrap()
}

fn parameters(strategy: &str) -> Parameters {
    let text = format!("bot = \"b\"\nenvironment = \"demo\"\n[strategy]\nsymbol = \"BTCUSDT\"\n{strategy}");
    config::parse(&text, Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}")).parameters
}

fn exchange() -> Exchange {
    let account = AccountSettings::new(DEFAULT_KEY, DEFAULT_SECRET, "USDT", Decimal::from(10_000));
    let settings = Settings { listings: vec![Listing::btcusdt()], accounts: vec![account], ..Settings::default() };
    Exchange::new(settings)
}

/// The whole bot over loopback, as `recompra paper` wires it.
fn paper(market: Box<dyn Market + Send>, parameters: &Parameters) -> Diary {
    let lockstep = Lockstep::new(exchange(), &parameters.symbol, market, Pace::Unpaced).unwrap();
    let server = Server::start("127.0.0.1:0", lockstep.hub(), ServerOptions::default()).unwrap();
    let (rest, stream) = (format!("http://{}", server.address()), format!("ws://{}/v5/private", server.address()));
    let hosts = Hosts::new(Environment::Demo, Some(&rest), Some(&stream), None).unwrap();
    let credentials = Credentials::new(DEFAULT_KEY, DEFAULT_SECRET).unwrap();
    let limits = HttpLimits { at_once: 1, ..HttpLimits::default() };
    let transport = HttpTransport::new(&hosts.rest_url, &Tls::none(), limits);
    let mut client = Client::new(transport, lockstep.clone(), &parameters.symbol, Some(credentials.clone()));
    let (signals, received) = unbounded();
    let mut feed = lockstep.feed(received);
    let stream = PrivateStream {
        address: hosts.stream_url,
        tls: Tls::none(),
        credentials,
        clock: Arc::new(lockstep.clone()),
        symbol: parameters.symbol.clone(),
        timings: StreamTimings::default(),
    };
    let stream = stream.spawn(signals).unwrap();
    let (mut journal, mut diary) = (Forgetful, Diary::default());
    let world =
        World { exchange: &mut client, feed: &mut feed, clock: &lockstep, journal: &mut journal, observer: &mut diary };
    let config = backtest::config(&bot(), parameters);
    Engine::new(world, config, Ledger::default()).run().unwrap();
    stream.join();
    diary
}

fn backtest(market: impl Market, parameters: &Parameters) -> Diary {
    let mut diary = Diary::default();
    backtest::run(exchange(), market, &bot(), parameters, &mut diary).unwrap();
    diary
}

fn same(paper: &Diary, backtest: &Diary, what: &str) -> usize {
    for (number, (expected, found)) in paper.0.iter().zip(&backtest.0).enumerate() {
        assert_eq!(found, expected, "{what}: record {number}");
    }
    assert_eq!(backtest.0.len(), paper.0.len(), "{what}");
    paper.0.iter().filter(|(_, record)| matches!(record, Record::Executed { .. })).count()
}

const SETS: [&str; 6] = [
    "base_order_amount = 50\ntake_profit_percent = 0.5\nmax_rebuys = 5\nrebuy_step_percent = 0.4\nmax_capital = 1000",
    "base_order_amount = 50\ntake_profit_percent = 0.4\nmax_rebuys = 6\nrebuy_step_percent = 0.3\nmax_capital = 2000\n\
     take_profit_mode = \"per_level\"\nactive_rebuys = 3\nstep_scale = 1.2\namount_scale = 1.3\ncycle_delay = \"0s\"",
    "base_order_amount = 40\ntake_profit_percent = 0.8\nmax_rebuys = 3\nrebuy_step_percent = 0.4\nmax_capital = 1000\n\
     stop_loss_percent = 1.1\ndeviation_from = \"previous\"\ncycle_delay = \"3s\"",
    "base_order_amount = 40\ntake_profit_percent = 0.6\nmax_rebuys = 4\nrebuy_step_percent = 0.5\nmax_capital = 1000\n\
     take_profit_mode = \"per_level\"\nstop_loss_percent = 1.3\ntime_limit = \"3h\"\nsell_delay = \"41s\"\nrebuy_delay = \"17s\"",
    "base_order_amount = 30\ntake_profit_percent = 0.3\nmax_rebuys = 4\nrebuy_step_percent = 0.2\nmax_capital = 1000\n\
     post_only = true\nactive_rebuys = 4\nsell_delay = \"0s\"\nrebuy_delay = \"0s\"\ncycle_delay = \"0s\"\ntime_limit = \"45m\"",
    "base_order_amount = 10\ntake_profit_percent = 0.3\nmax_rebuys = 30\nrebuy_step_percent = 0.05\nmax_capital = 1000\n\
     active_rebuys = 30\nsell_delay = \"1s\"\nrebuy_delay = \"0s\"\nstop_loss_percent = 2",
];

#[test]
fn a_random_walk_gives_the_same_records_over_sockets_and_in_memory() {
    for (seed, set) in (1..).zip(SETS) {
        let mut walk = RandomWalk::new(
            seed,
            Timestamp(1_767_225_600_000),
            Decimal::from(60_000),
            Decimal::new(1, 2),
            Liveliness::default(),
        );
        let points: Vec<PricePoint> = (0..20_000).map(|_| walk.next().unwrap().unwrap()).collect();
        let parameters = parameters(set);
        let paper = paper(Box::new(Fixed::new(points.clone())), &parameters);
        let executions = same(&paper, &backtest(Fixed::new(points), &parameters), set);
        assert!(executions > 10, "{executions} executions with\n{set}");
    }
}

#[test]
fn a_month_of_candles_gives_the_same_records_over_sockets_and_from_a_recording() {
    let Some(file) = recorded::january() else { return };
    let mut all = 0;
    for set in SETS {
        // Over sockets a stop loss asks for the price every five seconds of market time.
        let most = if set.contains("stop_loss") { 3_000 } else { usize::MAX };
        let mut recording = Recording::new(money::parse("0.01").unwrap());
        let (mut candles, mut points) = (Candles::open(&file).unwrap(), Vec::new());
        while let Some(candle) = candles.next_candle().unwrap().filter(|_| recording.len() < most) {
            assert!(recording.push(&candle));
            points.extend(candles::points(&candle));
        }
        let parameters = parameters(set);
        let paper = paper(Box::new(Fixed::new(points)), &parameters);
        let tape = recording.play(recording::Path::Nearest);
        let executions = same(&paper, &backtest(tape, &parameters), set);
        all += executions;
    }
    assert!(all > 300, "only {all} executions");
}
