//! Which threads a running bot has and what each of them waits for, in the system's own words.
//!
//! The files below `/proc/PID/task` name each thread and the system call in which it is blocked. A bot whose orders rest has
//! three threads: the main one, which waits for the channel; `stream`, which is blocked in reading the private stream; and the
//! one that waits for Ctrl-C. The journal may have a fourth, `sync`, for as long as a sync takes. `output` is there only while
//! there is something to tell.
//!
//! REST and stream are served on two ports of one exchange, so that the port tells which connection a thread reads.
//! `RECOMPRA` may name another program than the one just built.

#![cfg(target_os = "linux")]

mod kit;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kit::{Bot, STRATEGY, Venue, account, until};
use recompra::core::order::Side;
use recompra::simulation::server::{Server, ServerOptions};
use recompra::simulation::tls::TlsFront;

const PATIENCE: Duration = Duration::from_secs(30);
/// So many looks, one after the other.
const LOOKS: usize = 300;
const PAUSE: Duration = Duration::from_millis(10);
/// A heartbeat or a sync may be under way in some of them. This many of a hundred must find the bot idle.
const IDLE_PERCENT: usize = 90;

#[test]
fn only_the_thread_called_stream_reads_the_stream_and_the_main_thread_waits_for_a_channel() {
    let venue = Venue::new("threads", account());
    let options = ServerOptions::default();
    let second = Server::start("127.0.0.1:0", Arc::clone(&venue.hub), options).unwrap();
    let config = venue.configure_apart(venue.address(), second.address(), "btc", STRATEGY);
    look_at_the_threads(&venue, &config, second.address());
}

#[test]
fn tls_changes_nothing_about_the_threads() {
    let venue = Venue::new("threads-tls", account());
    let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls");
    let read = |name: &str| fs::read(certificates.join(name)).unwrap();
    let front = || TlsFront::start("127.0.0.1:0", &read("server.pem"), &read("server.key"), venue.address()).unwrap();
    let (rest, stream) = (front(), front());
    let authority = certificates.join("ca.pem");
    let text = format!(
        "bot = \"btc\"\nenvironment = \"demo\"\nrest_url = \"https://localhost:{}\"\nca_file = {authority:?}\n\
         stream_url = \"wss://localhost:{}/v5/private\"\nstate_dir = \"state\"\n[strategy]\n{STRATEGY}",
        rest.address().port(),
        stream.address().port()
    );
    let config = venue.write("btc.toml", &text);
    look_at_the_threads(&venue, &config, stream.address());
}

/// Starts a bot, lets its ladder rest, and looks at its threads for some seconds.
fn look_at_the_threads(venue: &Venue, config: &str, stream: SocketAddr) {
    let bot = Bot::start(config);
    until("the ladder rests", PATIENCE, || resting(venue, Side::Sell) == 1 && resting(venue, Side::Buy) == 1);
    let process = Process::new(bot.id(), stream.port());
    until("the bot is idle", PATIENCE, || process.threads().is_some_and(|threads| has_the_names_of_idleness(&threads)));
    let mut looks = Vec::new();
    while looks.len() < LOOKS {
        looks.extend(process.threads());
        std::thread::sleep(PAUSE);
    }
    let enough = LOOKS * IDLE_PERCENT / 100;

    let idle = looks.iter().filter(|threads| has_the_names_of_idleness(threads)).count();
    assert!(
        idle >= enough,
        "in {idle} of {LOOKS} looks it had the threads of an idle bot; it had\n{}",
        counted(&looks)
    );

    if let Some(reason) = process.cannot_tell_calls() {
        return skip(&reason);
    }
    let count = |is_so: &dyn Fn(&Thread) -> bool| looks.iter().flatten().filter(|thread| is_so(thread)).count();
    let told = counted(&looks);
    let reading = count(&|thread| thread.name == "stream" && thread.call == Call::ReadsStream);
    assert!(reading >= enough, "in {reading} of {LOOKS} looks `stream` was reading the stream:\n{told}");
    let elsewhere = count(&|thread| thread.name == "stream" && !matches!(thread.call, Call::ReadsStream | Call::Runs));
    assert_eq!(elsewhere, 0, "`stream` waits for the stream and for nothing else:\n{told}");
    let others = count(&|thread| thread.name != "stream" && thread.call == Call::ReadsStream);
    assert_eq!(others, 0, "no other thread reads the stream:\n{told}");
    let waiting = count(&|thread| thread.name == "main" && thread.call == Call::WaitsForThread);
    assert!(waiting >= enough, "in {waiting} of {LOOKS} looks the main thread was waiting for another one:\n{told}");
}

fn resting(venue: &Venue, side: Side) -> usize {
    venue.hub.with(|exchange, _| exchange.orders().filter(|order| order.side == side && order.status.is_open()).count())
}

/// Nobody must take it for a success.
#[allow(clippy::print_stderr, reason = "a test that is skipped says so")]
fn skip(reason: &str) {
    eprintln!("SKIPPED: {reason}, so what the threads wait for was not tested here");
}

/// Main thread, Ctrl-C's and `stream`, and perhaps `sync`.
fn has_the_names_of_idleness(threads: &[Thread]) -> bool {
    let mut names: Vec<&str> =
        threads.iter().map(|thread| thread.name.as_str()).filter(|name| *name != "sync").collect();
    names.sort_unstable();
    names == ["ctrl-c", "main", "stream"] && threads.len() <= 4
}

/// What was seen, and how often: for whoever reads that a test has failed.
fn counted(looks: &[Vec<Thread>]) -> String {
    let mut seen = BTreeMap::new();
    for threads in looks {
        let words: Vec<String> = threads.iter().map(|thread| format!("{} {:?}", thread.name, thread.call)).collect();
        *seen.entry(words.join(", ")).or_insert(0_usize) += 1;
    }
    seen.iter().map(|(words, times)| format!("  {times} times: {words}\n")).collect()
}

/// A thread at one moment.
#[derive(Debug)]
struct Thread {
    /// `main` for the first one, whatever the program is called.
    name: String,
    call: Call,
}

/// What a thread is doing.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// It runs, or waits for a processor, a disk or a page.
    Runs,
    /// It is blocked in reading the stream's connection, or in waiting until it can be read.
    ReadsStream,
    /// It is blocked in a futex: by a channel, a lock, or the end of a thread.
    WaitsForThread,
    /// It is blocked in this other system call.
    Other(u64),
    /// The system does not say.
    Unknown,
}

/// The numbers of the system calls that are looked for, on one kind of processor.
struct Calls {
    /// Their first argument is the file.
    reads: &'static [u64],
    /// Their first argument points to the files, the second says how many they are.
    polls: &'static [u64],
    futex: u64,
}

#[cfg(target_arch = "x86_64")]
const CALLS: Option<Calls> = Some(Calls { reads: &[0, 45, 47], polls: &[7, 271], futex: 202 });
#[cfg(target_arch = "aarch64")]
const CALLS: Option<Calls> = Some(Calls { reads: &[63, 207, 212], polls: &[73], futex: 98 });
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const CALLS: Option<Calls> = None;

/// A process, and the port to which its stream is connected.
struct Process {
    id: u32,
    folder: PathBuf,
    stream_port: u16,
}

impl Process {
    fn new(id: u32, stream_port: u16) -> Self {
        Self { id, folder: PathBuf::from(format!("/proc/{id}")), stream_port }
    }

    /// Why it cannot be told in which system call a thread is blocked, if it cannot.
    fn cannot_tell_calls(&self) -> Option<String> {
        if CALLS.is_none() {
            return Some("the numbers of this processor's system calls are not known here".to_owned());
        }
        let file = self.folder.join("syscall");
        fs::read_to_string(&file).err().map(|error| format!("{} cannot be read ({error})", file.display()))
    }

    /// All threads; `None` if one of them has ended meanwhile.
    fn threads(&self) -> Option<Vec<Thread>> {
        let folders = fs::read_dir(self.folder.join("task")).expect("a process that runs").map(|entry| entry.unwrap());
        folders.map(|entry| self.thread(&entry.path()).ok()).collect()
    }

    fn thread(&self, folder: &Path) -> io::Result<Thread> {
        let is_main = folder.ends_with(self.id.to_string());
        let name = if is_main { "main".to_owned() } else { fs::read_to_string(folder.join("comm"))?.trim().to_owned() };
        let call = match fs::read_to_string(folder.join("syscall")) {
            Ok(text) => self.call(&text),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Call::Unknown,
            // Kernels without the file have the folder all the same.
            Err(error) if error.kind() == ErrorKind::NotFound && folder.exists() => Call::Unknown,
            Err(error) => return Err(error),
        };
        Ok(Thread { name, call })
    }

    /// `running`, or `-1` and two addresses, or the call's number and its six arguments.
    fn call(&self, text: &str) -> Call {
        let mut words = text.split_whitespace();
        let Some(number) = words.next().and_then(|word| word.parse().ok()) else { return Call::Runs };
        let mut argument = || words.next().and_then(|word| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok());
        let (Some(first), Some(second), Some(calls)) = (argument(), argument(), CALLS) else { return Call::Unknown };
        let reads_stream = if calls.reads.contains(&number) {
            self.is_stream(first)
        } else if calls.polls.contains(&number) {
            self.polled(first, second).iter().any(|file| self.is_stream(*file))
        } else {
            false
        };
        match number {
            _ if reads_stream => Call::ReadsStream,
            _ if number == calls.futex => Call::WaitsForThread,
            _ => Call::Other(number),
        }
    }

    /// The files of an array of `struct pollfd`, which is in the process's memory; none if it cannot be read.
    fn polled(&self, address: u64, count: u64) -> Vec<u64> {
        let mut bytes = Vec::new();
        let length = 8 * count.min(64);
        let read = fs::File::open(self.folder.join("mem")).and_then(|mut memory| {
            memory.seek(SeekFrom::Start(address))?;
            memory.take(length).read_to_end(&mut bytes)
        });
        if read.is_err() {
            bytes.clear();
        }
        bytes.chunks_exact(8).map(|entry| u32::from_ne_bytes(entry[..4].try_into().unwrap()).into()).collect()
    }

    /// Whether this file is a socket that is connected to the stream's port.
    fn is_stream(&self, file: u64) -> bool {
        let Ok(link) = fs::read_link(self.folder.join(format!("fd/{file}"))) else { return false };
        let link = link.to_string_lossy();
        let Some(inode) = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')) else { return false };
        ["net/tcp", "net/tcp6"].into_iter().any(|table| {
            let text = fs::read_to_string(self.folder.join(table)).unwrap_or_default();
            text.lines().any(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                words.get(9) == Some(&inode)
                    && words[2].rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok())
                        == Some(self.stream_port)
            })
        })
    }
}
