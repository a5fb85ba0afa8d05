//! What tests of the real binary share: an exchange in this process, served on loopback, and a folder with a
//! configuration and a state directory of its own.

#![allow(dead_code, unreachable_pub, reason = "no test uses all of it, and each has its own copy")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use recompra::core::Decimal;
use recompra::simulation::hub::TimeSource;
use recompra::simulation::server::{Server, ServerOptions};
use recompra::simulation::settings::{AccountSettings, Listing, RateLimits};
use recompra::simulation::{Exchange, Hub, Settings};
use recompra::wall_clock::wall_clock;

/// Key and secret of the account.
pub const KEY: &str = "test-key";
/// See [`KEY`].
pub const SECRET: &str = "test-secret";

/// An account with 10,000 USDT.
pub fn account() -> AccountSettings {
    AccountSettings::new(KEY, SECRET, "USDT", Decimal::from(10_000))
}

/// A ladder of two rebuys.
pub const STRATEGY: &str = r#"
symbol = "BTCUSDT"
base_order_amount = "50"
take_profit_percent = "0.3"
max_rebuys = 2
rebuy_step_percent = "0.4"
max_capital = "200"
sell_delay = "0s"
rebuy_delay = "0s"
cycle_delay = "0s"
"#;

/// An exchange on loopback, and a folder that is removed at the end.
pub struct Venue {
    pub hub: Arc<Hub>,
    pub folder: PathBuf,
    server: Server,
}

impl Venue {
    pub fn new(name: &str, account: AccountSettings) -> Self {
        Self::at(name, account, Arc::new(wall_clock))
    }

    /// The same, with a time of its own.
    pub fn at(name: &str, account: AccountSettings, time: TimeSource) -> Self {
        let folder = std::env::temp_dir().join(format!("recompra-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let limits = RateLimits { create: 10_000, cancel: 10_000, amend: 10_000, read: 10_000 };
        let settings = Settings {
            listings: vec![Listing::btcusdt()],
            accounts: vec![account],
            rate_limits: limits,
            ..Settings::default()
        };
        let hub = Hub::new(Exchange::new(settings), time);
        let server = Server::start("127.0.0.1:0", Arc::clone(&hub), ServerOptions::default()).unwrap();
        Self { hub, folder, server }
    }

    /// Where the exchange listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// From here on nobody answers.
    pub fn close(&mut self) {
        self.server.stop();
    }

    /// A configuration for this exchange.
    pub fn configure(&self, bot: &str, strategy: &str) -> String {
        self.configure_behind(self.address(), bot, strategy)
    }

    /// The same, with something in front of its REST.
    pub fn configure_behind(&self, rest: SocketAddr, bot: &str, strategy: &str) -> String {
        self.configure_apart(rest, self.address(), bot, strategy)
    }

    /// The same, with something in front of both its REST and its stream.
    pub fn configure_apart(&self, rest: SocketAddr, stream: SocketAddr, bot: &str, strategy: &str) -> String {
        let text = format!(
            "bot = \"{bot}\"\nenvironment = \"demo\"\nrest_url = \"http://{rest}\"\n\
             stream_url = \"ws://{stream}/v5/private\"\nstate_dir = \"state\"\n[strategy]\n{strategy}"
        );
        self.write(&format!("{bot}.toml"), &text)
    }

    /// Writes a file into the folder; its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub fn state(&self) -> PathBuf {
        self.folder.join("state")
    }

    pub fn journal(&self) -> PathBuf {
        self.state().join("journal.jsonl")
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        self.server.stop();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The real binary: another than the one just built, if `RECOMPRA` names it.
pub fn program() -> PathBuf {
    std::env::var_os("RECOMPRA").map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_recompra")), PathBuf::from)
}

/// The real binary with these arguments.
pub fn recompra(arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(arguments).env("BYBIT_API_KEY", KEY).env("BYBIT_API_SECRET", SECRET).stdin(Stdio::null());
    command
}

/// Runs it to its end: exit code, standard output, standard error.
pub fn outcome(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = recompra(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// A process that is killed when it is dropped.
pub struct Bot(Child);

impl Bot {
    pub fn start(config: &str) -> Self {
        Self(recompra(&["run", "--config", config]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    /// SIGTERM, and how it ends.
    pub fn terminate(mut self) -> ExitStatus {
        let sent = Command::new("kill").args(["-TERM", &self.id().to_string()]).status().unwrap();
        assert!(sent.success());
        self.0.wait().unwrap()
    }
}

impl Drop for Bot {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A bot that was started on an empty state directory, once its ladder rests.
pub fn trading(venue: &Venue, config: &str) -> Bot {
    let bot = Bot::start(config);
    let rests = |key: &str| holds(&venue.journal(), &format!("\"type\":\"order_accepted\",\"key\":\"{key}\""));
    until("the ladder rests", Duration::from_secs(30), || rests("1-0s-1") && rests("1-1b-1"));
    bot
}

/// Waits until something is so.
pub fn until(what: &str, patience: Duration, mut is_so: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < patience, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Whether a file holds this text.
pub fn holds(path: &Path, text: &str) -> bool {
    std::fs::read_to_string(path).is_ok_and(|content| content.contains(text))
}
