//! The commands: what each takes, and the words that explain it.

use std::net::SocketAddr;
use std::path::PathBuf;

use bpaf::{OptionParser, Parser, construct, long};

use super::fetch::fetch;
use super::options::{assumptions, config, decimal, fee, json, market, no_cache, other_config, recorded, state_dir};
use super::report::report;
use super::sweep::sweep;
use super::{Audit, Backtest, Command, Doctor, Exchange, Inspect, Paper, Plan, Resume, Run, Stop, Tls};
use crate::core::Decimal;

/// The names of the commands.
pub(super) const NAMES: &[&str] = &[
    "paper", "plan", "doctor", "run", "status", "explain", "audit", "stop", "resume", "backtest", "sweep", "report",
    "fetch", "exchange",
];

/// All commands, in the order a newcomer needs them.
pub(super) fn command() -> impl Parser<Command> {
    let paper = paper().command("paper").map(Command::Paper);
    let plan = plan().command("plan").map(Command::Plan);
    let doctor = doctor().command("doctor").map(Command::Doctor);
    let run = run().command("run").map(Command::Run);
    let status = status().command("status").map(Command::Status);
    let explain = explain().command("explain").map(Command::Explain);
    let audit = audit().command("audit").map(Command::Audit);
    let stop = stop().command("stop").map(Command::Stop);
    let resume = resume().command("resume").map(Command::Resume);
    let backtest = backtest().command("backtest").map(Command::Backtest);
    let sweep = sweep().command("sweep").map(Command::Sweep);
    let report = report().command("report").map(Command::Report);
    let fetch = fetch().command("fetch").map(Command::Fetch);
    let exchange = exchange().command("exchange").map(Command::Exchange);
    construct!([
        paper, plan, doctor, run, status, explain, audit, stop, resume, backtest, sweep, report, fetch, exchange
    ])
}

fn paper() -> OptionParser<Paper> {
    let cycles = long("cycles")
        .help("End after so many cycles")
        .argument::<u64>("N")
        .guard(|n| *n > 0, "must be at least 1")
        .optional();
    let market = market();
    let config = other_config("Take the strategy's parameters from this file instead of the built-in example");
    let json = json("One JSON object a line");
    construct!(Paper { cycles, market, config, json })
        .to_options()
        .descr("The whole bot, with money that is not real, against the exchange inside this program")
        .footer("Example:\n   recompra paper --cycles 3 --speed 60\n It needs no file, no key and no network.")
}

fn run() -> OptionParser<Run> {
    let config = config();
    let real_money = long("real-money").help("Needed when the configuration says mainnet").switch();
    let cron = long("cron").help("If the bot runs already, end at once, silently and with success").switch();
    let cancel_on_exit =
        long("cancel-on-exit").help("On SIGINT or SIGTERM cancel the resting orders; else they stay").switch();
    let json = json("One JSON object a line");
    construct!(Run { config, real_money, cron, cancel_on_exit, json })
        .to_options()
        .descr("Trade on the configured environment")
        .footer("Example:\n   recompra run --config recompra.toml\n Under cron:\n   * * * * * recompra run --cron --config /etc/recompra.toml")
}

fn plan() -> OptionParser<Plan> {
    let config = config();
    let price = long("price")
        .help("The base order's price; then the exchange is not asked")
        .argument::<String>("P")
        .parse(decimal)
        .guard(|price| *price > Decimal::ZERO, "must be above 0")
        .optional();
    let json = json("One JSON object instead of the table");
    construct!(Plan { config, price, json })
        .to_options()
        .descr("Show the ladder: every buy and its take profit, exactly as run would place them")
        .footer("Example:\n   recompra plan --price 60000")
}

fn doctor() -> OptionParser<Doctor> {
    let config = config();
    let json = json("One JSON object instead of text");
    let demo_money = long("demo-money")
        .help("On demo, first ask Bybit for play money: so much of the quote coin, once a minute")
        .argument::<String>("AMOUNT")
        .parse(decimal)
        .guard(|amount| *amount > Decimal::ZERO, "must be above 0")
        .optional();
    construct!(Doctor { config, demo_money, json })
        .to_options()
        .descr("Check configuration, key, clock, filters, balance and state directory; places nothing")
        .footer("Example:\n   recompra doctor --config recompra.toml\n The first time on demo:\n   recompra doctor --demo-money 10000")
}

fn inspect() -> impl Parser<Inspect> {
    let config = config();
    let state_dir = state_dir();
    let json = json("One JSON object instead of text");
    construct!(Inspect { config, state_dir, json })
}

fn status() -> OptionParser<Inspect> {
    inspect()
        .to_options()
        .descr("What is held, resting and earned, what the bot waits for, and whether it is well; reads the state directory only")
        .footer("Example:\n   recompra status --json\n The exit code is 1 if a person should look: an alarm, an exchange that does not answer, crashes.")
}

fn explain() -> OptionParser<Inspect> {
    inspect()
        .to_options()
        .descr("For each resting order: why it exists, and the arithmetic of its price and quantity")
        .footer("Example:\n   recompra explain")
}

fn audit() -> OptionParser<Audit> {
    let config = config();
    let opening = long("opening")
        .help("What the account held of a coin before the bot's first trade; then the wallet is compared too")
        .argument::<String>("COIN=AMOUNT")
        .parse(|text| match text.split_once('=') {
            Some((coin, amount)) if !coin.is_empty() => Ok((coin.to_owned(), decimal(amount.to_owned())?)),
            _ => Err(format!("{text:?} is not of the form COIN=AMOUNT")),
        })
        .many();
    let json = json("One JSON object instead of text");
    construct!(Audit { config, opening, json })
        .to_options()
        .descr("Compare the journal with the exchange's executions, orders and wallet, to the last digit")
        .footer("Example:\n   recompra audit --opening USDT=10000\n The exit code is 1 if there is a difference.")
}

fn stop() -> OptionParser<Stop> {
    let config = config();
    let close = long("close").help("Also sell what is held, at market").switch();
    let json = json("One JSON object instead of text");
    construct!(Stop { config, close, json })
        .to_options()
        .descr("Cancel the bot's own orders and end it, whether it runs or not")
        .footer("Example:\n   recompra stop --close")
}

fn resume() -> OptionParser<Resume> {
    let config = config();
    let yes = long("yes")
        .help("Needed where money was lost: you have compared the account with what the alarm says")
        .switch();
    let json = json("One JSON object instead of text");
    construct!(Resume { config, yes, json })
        .to_options()
        .descr("List the alarms and clear them: you have seen what they say, and the bot may go on; whether it runs or not")
        .footer("Example:\n   recompra resume --yes\n The exit code is 1 if an alarm was not cleared.")
}

fn backtest() -> OptionParser<Backtest> {
    let market = recorded();
    let config = other_config("Take the strategy's parameters from this file instead of the built-in example");
    let assumptions = assumptions("Fee of resting orders, a fraction", "Fee of orders that take, a fraction");
    let trades = long("trades").help("Write every fill to this file, as CSV").argument::<PathBuf>("FILE").optional();
    let no_cache = no_cache();
    let json = json("One JSON object instead of text");
    construct!(Backtest { market, config, assumptions, trades, no_cache, json })
        .to_options()
        .descr("What the bot would have done over recorded candles: the same code that trades")
        .footer("Example:\n   recompra backtest --market btc-1m-2022-01.csv.gz --config recompra.toml")
}

fn exchange() -> OptionParser<Exchange> {
    let listen = long("listen")
        .help("Address and port; port 0 takes a free one")
        .argument::<SocketAddr>("ADDR")
        .fallback(SocketAddr::from(([127, 0, 0, 1], 8080)))
        .display_fallback();
    let market = market();
    let symbol = text("symbol", "The symbol that is traded", "SYMBOL", "BTCUSDT");
    let fee_maker = fee("fee-maker", "Fee of resting orders, a fraction");
    let fee_taker = fee("fee-taker", "Fee of orders that take, a fraction");
    let certificate = long("tls-cert").help("Speak TLS with this certificate chain, PEM").argument::<PathBuf>("FILE");
    let key = long("tls-key").help("The certificate's private key, PEM").argument::<PathBuf>("FILE");
    let tls = construct!(Tls { certificate, key }).optional();
    let key = text("key", "The API key that is accepted", "KEY", "paper");
    let secret = text("secret", "The secret that signs for it", "SECRET", "paper");
    construct!(Exchange { listen, market, symbol, fee_maker, fee_taker, tls, key, secret })
        .to_options()
        .descr("The simulated exchange alone, for any client of Bybit V5 spot")
        .footer("Example:\n   recompra exchange --listen 127.0.0.1:8080 --speed 10 --seed 7")
}

fn text(name: &'static str, help: &'static str, metavar: &'static str, default: &'static str) -> impl Parser<String> {
    long(name)
        .help(help)
        .argument::<String>(metavar)
        .guard(|text| !text.is_empty(), "must not be empty")
        .fallback(default.to_owned())
        .display_fallback()
}
