//! From fill to order: how long the bot needs from the packet that carries a fill to the packet that carries the next
//! order, beside a floor client that does nothing else, in the same run. `make bench` prints it, and what the parts of the way
//! take alone; `make instructions` counts instead of timing.
//!
//! Both are processes of their own and trade on venues of their own (`venue`), over loopback without TLS, in turns of a few
//! cycles. The clock starts before the venue's one `write` of the fill and stops after its first `read` of the order, so
//! two hops through the kernel and two wake-ups of a process are in both figures. The bot is the program as released: its
//! journal is on this machine's disk.

mod floor;
mod instructions;
mod parts;
mod venue;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use venue::Venue;

/// Cycles of each client; each has two fills.
const CYCLES: usize = 2_000;
/// The first ones are not counted: caches fill, connections open.
const WARM_UP: usize = 100;
/// After so many cycles it is the other client's turn.
const TURN: usize = 50;
/// Before each fill the client has been idle for about so long.
const QUIET: Duration = Duration::from_micros(500);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == "--floor") {
        return floor::run(&arguments[at + 1], &arguments[at + 2]);
    }
    let folder = std::env::temp_dir().join(format!("recompra-reaction-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the bot");
    let passed = if arguments.iter().any(|argument| argument == "--instructions") {
        instructions::are_as_known(&folder)
    } else {
        reactions(&folder);
        parts::run(&folder);
        true
    };
    let _ = std::fs::remove_dir_all(&folder);
    if !passed {
        println!("more than a tenth away from it: mend that, or bring benches/reaction/instructions.rs up to date");
        std::process::exit(1);
    }
}

fn reactions(folder: &Path) {
    let (floor_venue, bot_venue) = (Venue::start(), Venue::start());
    let floor = Command::new(std::env::current_exe().expect("the bench's own file"))
        .args(["--floor", &floor_venue.rest(), &floor_venue.stream()])
        .stdin(Stdio::null())
        .spawn()
        .map(Client)
        .expect("the floor client");
    let bot = bot(folder, &bot_venue, Command::new(program()));
    let mut clients = [("floor client, by hand", floor_venue, Vec::new()), ("recompra run", bot_venue, Vec::new())];
    for turn in 0..(WARM_UP + CYCLES) / TURN {
        for (_, venue, times) in &mut clients {
            for _ in 0..TURN {
                // First the fill of the base order, which a sell answers; then that one's, which the next base order answers.
                for bought in [true, false] {
                    std::thread::sleep(QUIET);
                    let time = venue.fill(bought);
                    if turn >= WARM_UP / TURN {
                        times.push(time);
                    }
                }
            }
        }
    }
    drop((floor, bot));
    let all: Vec<(&str, &[Duration])> = clients.iter().map(|(name, _, times)| (*name, times.as_slice())).collect();
    println!("from the packet of a fill to the packet of the next order, {} fills each", 2 * CYCLES);
    table(&all);
    // Even samples are of base orders.
    for (what, odd) in [("base order filled: the sell", 0), ("sell filled: the next base order", 1)] {
        println!("{what}");
        let halves: Vec<(&str, Vec<Duration>)> =
            all.iter().map(|(name, times)| (*name, times.iter().skip(odd).step_by(2).copied().collect())).collect();
        table(&halves.iter().map(|(name, times)| (*name, times.as_slice())).collect::<Vec<_>>());
    }
}

fn table(rows: &[(&str, &[Duration])]) {
    println!("{:<40}{:>10}{:>10}{:>10}{:>14}", "", "p50", "p90", "p99", "p50 to floor");
    let quantiles = |times: &[Duration]| {
        let mut sorted = times.to_vec();
        sorted.sort_unstable();
        [50, 90, 99].map(|percent| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)].as_secs_f64() * 1e6)
    };
    let floor = rows.first().map_or(1.0, |(_, times)| quantiles(times)[0]);
    for (name, times) in rows {
        let [p50, p90, p99] = quantiles(times);
        println!("  {name:<38}{p50:>7.0} µs{p90:>7.0} µs{p99:>7.0} µs{:>14.2}", p50 / floor);
    }
}

/// The program that is measured: another than the one just built, if `RECOMPRA` names it.
fn program() -> PathBuf {
    std::env::var_os("RECOMPRA").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_recompra")), PathBuf::from)
}

/// The bot, as this program or what runs it.
fn bot(folder: &Path, venue: &Venue, mut program: Command) -> Client {
    let config = folder.join("recompra.toml");
    let text = format!(
        "bot = \"b\"\nenvironment = \"demo\"\nrest_url = \"{}\"\nstream_url = \"{}\"\nstate_dir = \"{}\"\n\
         [strategy]\nsymbol = \"BTCUSDT\"\nbase_order_amount = 50\ntake_profit_percent = 1\nmax_rebuys = 0\n\
         max_capital = 1000\nsell_delay = \"0s\"\ncycle_delay = \"0s\"\n",
        venue.rest(),
        venue.stream(),
        folder.join("state").display()
    );
    std::fs::write(&config, text).expect("room for the configuration");
    program
        .arg("run")
        .arg("--config")
        .arg(&config)
        .envs([("BYBIT_API_KEY", "key"), ("BYBIT_API_SECRET", "secret")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map(Client)
        .expect("the bot")
}

/// A process that dies with the bench.
struct Client(Child);

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
