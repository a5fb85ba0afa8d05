//! From fill to order: how long the bot needs from the packet that carries a fill to the packet that carries the next
//! order, beside a floor client that does nothing else (`floor`), with one thread and with two, in the same run. `make bench`
//! prints it, whether the goals are met, and what the parts of the way take alone; `make instructions` counts instead of
//! timing.
//!
//! Each is a process of its own and trades on a venue of its own (`venue`), over loopback without TLS, in turns of a few
//! cycles. The clock starts before the venue's one `write` of the fill and stops after its first `read` of the order, so
//! two hops through the kernel and two wake-ups of a process are in all figures. The bot is the program as released: its
//! journal is on this machine's disk.

mod floor;
mod instructions;
mod parts;
mod venue;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use floor::Form;
use venue::Venue;

/// Cycles of each client; each has two fills.
const CYCLES: usize = 300;
/// The first ones are not counted: caches fill, connections open.
const WARM_UP: usize = 20;
/// After so many cycles it is the other client's turn.
const TURN: usize = 10;
/// The bot's p50 may be so many times that of the floor client with one thread, which saves a wake-up, and so many times that
/// of the one with two threads, whose shape it has.
const GOALS: [f64; 2] = [2.0, 1.35];
/// Before each fill the client has been idle for about so long: the bot lets no more than ten requests a second leave in the mean.
const QUIET: Duration = Duration::from_millis(60);

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    for form in [Form::OneThread, Form::TwoThreads] {
        if let Some(at) = arguments.iter().position(|argument| argument == form.option()) {
            return floor::run(form, &arguments[at + 1], &arguments[at + 2]);
        }
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
    let venues = [Venue::start(), Venue::start(), Venue::start()];
    let [bot_venue, one_venue, two_venue] = &venues;
    let clients = [
        bot(folder, bot_venue, Command::new(program())),
        floor_client(Form::OneThread, one_venue),
        floor_client(Form::TwoThreads, two_venue),
    ];
    let mut runs = venues.map(|venue| (venue, Vec::new()));
    for turn in 0..(WARM_UP + CYCLES) / TURN {
        for (venue, times) in &mut runs {
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
    drop(clients);
    let times = runs.map(|(_, times)| times);
    println!("from the packet of a fill to the packet of the next order, {} fills each", 2 * CYCLES);
    let ratios = table(&times);
    for ((ratio, goal), name) in ratios.iter().zip(GOALS).zip(&NAMES[1..]) {
        let verdict = if *ratio <= goal { "met" } else { "NOT MET" };
        println!("  goal: p50 at most {goal:.2} times that of {name}: {ratio:.2}, {verdict}");
    }
    // Even samples are of base orders.
    for (what, odd) in [("base order filled: the sell", 0), ("sell filled: the next base order", 1)] {
        println!("{what}");
        table(&times.each_ref().map(|times| times.iter().skip(odd).step_by(2).copied().collect()));
    }
}

/// Who is measured, in the order of the table: the bot, and what it is compared with.
const NAMES: [&str; 3] = ["recompra run", "floor, one thread", "floor, two threads"];

/// Prints a row for each, and gives back the bot's p50 beside that of each floor client.
fn table(times: &[Vec<Duration>; 3]) -> [f64; 2] {
    println!("{:<32}{:>10}{:>10}{:>10}{:>18}{:>18}", "", "p50", "p90", "p99", "p50 to 1 thread", "p50 to 2 threads");
    let rows = times.each_ref().map(|times| {
        let mut sorted = times.clone();
        sorted.sort_unstable();
        [50, 90, 99].map(|percent| sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)].as_secs_f64() * 1e6)
    });
    let [_, [one, ..], [two, ..]] = rows;
    for (name, [p50, p90, p99]) in NAMES.iter().zip(rows) {
        println!("  {name:<30}{p50:>7.0} µs{p90:>7.0} µs{p99:>7.0} µs{:>18.2}{:>18.2}", p50 / one, p50 / two);
    }
    [one, two].map(|floor| rows[0][0] / floor)
}

fn floor_client(form: Form, venue: &Venue) -> Client {
    Command::new(std::env::current_exe().expect("the bench's own file"))
        .args([form.option(), &venue.rest(), &venue.stream()])
        .stdin(Stdio::null())
        .spawn()
        .map(Client)
        .expect("the floor client")
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
