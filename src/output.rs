//! What the program says: on standard output, and as the log on standard error.
//!
//! A command that runs to its end prints ([`print()`]) and waits for whoever reads. A bot that trades waits for nobody: a stopped
//! terminal, or a pipe that nobody reads, must not hold an order up. From [`without_waiting`] on both outputs are written by
//! one thread, `output`, out of a queue of bounded length, and what finds no room in it is dropped and counted. How many lines
//! are missing is said where they are missing, once the output flows again. Since there is one queue, an output that is stuck
//! holds the other one up too.
//!
//! In: whole lines. Out: the same lines, in order. What can go wrong: an output that is closed is not written to again. One that
//! fails (a full disk) costs a bot the lines, and ends any other command.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::exit::{Exit, Failure};
use crate::printable::printable_lines;

/// So many pieces wait for the writer before others are dropped.
const ROOM: usize = 1024;
/// At its end the program waits so long for the writer.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// The queue of a bot that trades.
static QUEUE: OnceLock<Queue> = OnceLock::new();

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Output,
    Error,
}

enum Message {
    Piece(Target, Vec<u8>),
    /// Is answered when all before it is written.
    Settle(Sender<()>),
}

/// The way to the writer.
struct Queue {
    messages: Sender<Message>,
    missing: Arc<Missing>,
}

/// How many lines were dropped that nobody has been told of.
struct Missing {
    lines: [AtomicU64; 2],
    /// Whether standard output is for machines: one JSON object a line.
    json: bool,
}

impl Missing {
    fn add(&self, target: Target, lines: u64) {
        self.lines[target as usize].fetch_add(lines, Ordering::Relaxed);
    }

    /// The line that says how many are missing, and that number, which counts as told.
    fn take(&self, target: Target) -> Option<(String, u64)> {
        let lines = self.lines[target as usize].swap(0, Ordering::Relaxed);
        let note = match (lines, target, self.json) {
            (0, ..) => return None,
            (_, Target::Output, true) => format!("{{\"type\":\"dropped\",\"lines\":{lines}}}\n"),
            _ => format!("recompra: {lines} lines are missing here: nobody read this output\n"),
        };
        Some((note, lines))
    }
}

impl Queue {
    fn start(outputs: [Box<dyn Write + Send>; 2], json: bool) -> io::Result<Self> {
        let (messages, received) = bounded(ROOM);
        let missing = Arc::new(Missing { lines: Default::default(), json });
        let shared = Arc::clone(&missing);
        thread::Builder::new().name("output".to_owned()).spawn(move || write_all(&received, outputs, &shared))?;
        Ok(Self { messages, missing })
    }

    /// Hands lines to the writer, or drops them: never waits.
    fn say(&self, target: Target, text: &[u8]) {
        let (note, before) = self.missing.take(target).unwrap_or_default();
        let piece = [note.as_bytes(), text].concat();
        if self.messages.try_send(Message::Piece(target, piece)).is_err() {
            self.missing.add(target, before + lines(text));
        }
    }

    /// Waits until all that was said before is written, until `deadline` at most.
    fn settle(&self, deadline: Instant) {
        let (settled, is_settled) = bounded(1);
        if self.messages.send_deadline(Message::Settle(settled), deadline).is_ok() {
            let _ = is_settled.recv_deadline(deadline);
        }
    }
}

/// The writer's life: it ends with the process.
fn write_all(messages: &Receiver<Message>, mut outputs: [Box<dyn Write + Send>; 2], missing: &Missing) {
    let mut is_closed = [false; 2];
    let mut write = |target: Target, text: &[u8], count: u64| {
        if is_closed[target as usize] {
            return;
        }
        match outputs[target as usize].write_all(text) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                is_closed[target as usize] = true;
                log::warn!("standard {} is closed: nothing more is told there", words(target));
            }
            Err(_) => missing.add(target, count),
        }
    };
    for message in messages {
        match message {
            Message::Piece(target, text) => write(target, &text, lines(&text)),
            Message::Settle(settled) => {
                let _ = settled.try_send(());
            }
        }
        for target in [Target::Output, Target::Error] {
            if messages.is_empty()
                && let Some((note, count)) = missing.take(target)
            {
                write(target, note.as_bytes(), count);
            }
        }
    }
}

fn words(target: Target) -> &'static str {
    match target {
        Target::Output => "output",
        Target::Error => "error",
    }
}

fn lines(text: &[u8]) -> u64 {
    text.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// From here on nobody waits for an output. `json` says whether standard output is for machines. A second call changes
/// nothing.
pub fn without_waiting(json: bool) {
    // Handles of its own: the standard library's are locked while somebody waits in them.
    let own = |output: io::Result<std::os::fd::OwnedFd>| output.map(|output| Box::new(File::from(output)) as Box<_>);
    let started = own(io::stdout().as_fd().try_clone_to_owned()).and_then(|output| {
        let error = own(io::stderr().as_fd().try_clone_to_owned())?;
        Queue::start([output, error], json)
    });
    match started {
        Ok(queue) => drop(QUEUE.set(queue)),
        Err(error) => {
            log::warn!("output cannot be written by a thread of its own: the bot waits for whoever reads it: {error}")
        }
    }
}

/// Standard output of a bot that trades: after [`without_waiting`] it neither waits nor fails.
#[derive(Clone, Copy, Debug)]
pub struct Lossy;

impl Write for Lossy {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match QUEUE.get() {
            Some(queue) => queue.say(Target::Output, text),
            None => io::stdout().write_all(text)?,
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if QUEUE.get().is_some() { Ok(()) } else { io::stdout().flush() }
    }
}

/// Writes whole lines to standard error. If that is closed, nobody is left to tell.
pub fn tell(text: &str) {
    match QUEUE.get() {
        Some(queue) => queue.say(Target::Error, text.as_bytes()),
        // One write, so that the lines of several threads do not mix.
        None => {
            let _ = io::stderr().lock().write_all(text.as_bytes());
        }
    }
}

/// Waits until all that was said is written, a second at most.
pub fn settle() {
    if let Some(queue) = QUEUE.get() {
        queue.settle(Instant::now() + LAST_PATIENCE);
    }
}

/// Prints text of whole lines on standard output, and waits for whoever reads it.
///
/// # Errors
/// As [`write()`].
pub fn print(text: &str) -> Result<(), Failure> {
    write(printable_lines(text).as_bytes())
}

/// The same with whatever bytes.
///
/// # Errors
/// As [`outcome`].
pub fn write(bytes: &[u8]) -> Result<(), Failure> {
    settle();
    let mut output = io::stdout().lock();
    outcome(output.write_all(bytes).and_then(|()| output.flush()))
}

/// What it means to a command that its standard output could not be written.
///
/// # Errors
/// [`Failure`], unless it is closed: then nobody wants to know more, and all is well.
pub fn outcome(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::State, format!("standard output: {error}: make room, or send it elsewhere")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc;

    use super::*;

    /// An output that waits for a permission before each write, as a stopped terminal does; what came through.
    #[derive(Clone)]
    struct Stopped(Arc<Mutex<mpsc::Receiver<()>>>, Arc<Mutex<Vec<u8>>>);

    impl Write for Stopped {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without anybody left to give permissions it flows.
            let _ = self.0.lock().unwrap().recv();
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What an output got that was stopped while so many lines were said.
    fn after_a_stop(said: usize, json: bool) -> Vec<String> {
        let (permissions, gate) = mpsc::channel();
        let shown = Arc::new(Mutex::new(Vec::new()));
        let output = Stopped(Arc::new(Mutex::new(gate)), Arc::clone(&shown));
        let queue = Queue::start([Box::new(output), Box::new(io::sink())], json).unwrap();
        let begin = Instant::now();
        for number in 0..said {
            queue.say(Target::Output, format!("{number}\n").as_bytes());
        }
        queue.settle(Instant::now() + Duration::from_millis(10));
        assert!(begin.elapsed() < Duration::from_secs(5), "somebody waited for the output");
        drop(permissions);
        queue.settle(Instant::now() + Duration::from_secs(10));
        queue.say(Target::Output, b"and on\n");
        queue.settle(Instant::now() + Duration::from_secs(10));
        String::from_utf8(shown.lock().unwrap().clone()).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_stopped_output_holds_nobody_up_and_says_once_it_flows_how_much_is_missing() {
        for json in [false, true] {
            let shown = after_a_stop(5000, json);
            let kept = shown.iter().take_while(|line| line.parse::<usize>().is_ok()).count();
            assert!((ROOM..=ROOM + 2).contains(&kept), "{kept}");
            let missing = 5000 - kept;
            let note = match json {
                true => format!("{{\"type\":\"dropped\",\"lines\":{missing}}}"),
                false => format!("recompra: {missing} lines are missing here: nobody read this output"),
            };
            assert_eq!(shown[kept..], [note, "and on".to_owned()]);
        }
    }

    #[test]
    fn nothing_is_dropped_while_there_is_room() {
        let shown = after_a_stop(ROOM / 2, false);
        assert_eq!(shown.len(), ROOM / 2 + 1);
    }

    #[test]
    fn a_closed_output_ends_quietly_and_a_full_disk_does_not() {
        assert_eq!(outcome(Err(ErrorKind::BrokenPipe.into())), Ok(()));
        let failure = outcome(Err(ErrorKind::StorageFull.into())).unwrap_err();
        assert!(failure.code == Exit::State && failure.message.starts_with("standard output: "), "{failure}");
    }
}
