//! What the program says: on standard output, and as the log on standard error.
//!
//! A command that runs to its end prints ([`print()`]) and waits for whoever reads. A bot that trades waits for nobody: a stopped
//! terminal, or a pipe that nobody reads, must not hold an order up. From [`without_waiting`] on, lines go into a queue of
//! bounded length, and a thread, `output`, writes them. It is there while there is something to write; an idle bot has none.
//! What finds no room in the queue is dropped and counted. How many lines are missing is said where they are missing, once the
//! output flows again. Since there is one queue, an output that is stuck holds the other one up too.
//!
//! In: whole lines. Out: the same lines, in order. What can go wrong: an output that is closed is not written to again. One that
//! fails (a full disk) costs a bot the lines, and ends any other command.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::exit::{Exit, Failure};
use crate::printable::printable_lines;

/// So many pieces wait for the writer before others are dropped.
const ROOM: usize = 1024;
/// At its end the program waits so long for the writer.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

/// The queue of a bot that trades.
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    Output,
    Error,
}

struct Queue {
    waiting: Mutex<Waiting>,
    /// Is told when the writer has written everything.
    all_is_written: Condvar,
    /// The writer holds them while it lives.
    outputs: Mutex<[Option<Box<dyn Write + Send>>; 2]>,
    /// Whether standard output is for machines: one JSON object a line.
    json: bool,
}

/// What is to be written.
#[derive(Default)]
struct Waiting {
    pieces: VecDeque<(Target, Vec<u8>)>,
    /// How many lines were dropped that nobody has been told of.
    missing: [u64; 2],
    /// Whether there is a writer.
    is_written: bool,
}

impl Queue {
    fn new(outputs: [Box<dyn Write + Send>; 2], json: bool) -> Arc<Self> {
        let (waiting, outputs) = (Mutex::default(), Mutex::new(outputs.map(Some)));
        Arc::new(Self { waiting, all_is_written: Condvar::new(), outputs, json })
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts lines into the queue, or drops them: never waits.
    fn say(self: &Arc<Self>, target: Target, text: &[u8]) {
        let mut waiting = self.waiting();
        if waiting.pieces.len() >= ROOM {
            waiting.missing[target as usize] += lines(text);
            return;
        }
        let note = self.note(&mut waiting, target);
        waiting.pieces.extend(note.map(|note| (target, note)));
        waiting.pieces.push_back((target, text.to_owned()));
        if std::mem::replace(&mut waiting.is_written, true) {
            return;
        }
        drop(waiting);
        let queue = Arc::clone(self);
        if thread::Builder::new().name("output".to_owned()).spawn(move || queue.write_all()).is_err() {
            // No thread is to be had: the next line tries again.
            self.waiting().is_written = false;
        }
    }

    /// The line that says how many are missing. It counts as told.
    fn note(&self, waiting: &mut Waiting, target: Target) -> Option<Vec<u8>> {
        let lines = std::mem::take(&mut waiting.missing[target as usize]);
        let note = match (lines, target, self.json) {
            (0, ..) => return None,
            (_, Target::Output, true) => format!("{{\"type\":\"dropped\",\"lines\":{lines}}}\n"),
            _ => format!("recompra: {lines} lines are missing here: nobody read this output\n"),
        };
        Some(note.into_bytes())
    }

    /// The writer's life: until there is nothing left.
    fn write_all(&self) {
        let mut outputs = self.outputs.lock().unwrap_or_else(PoisonError::into_inner);
        let mut has_failed = false;
        loop {
            let mut waiting = self.waiting();
            let next = waiting.pieces.pop_front().or_else(|| {
                // What did not go through is not said into the same full disk at once.
                let targets = [Target::Output, Target::Error].into_iter().filter(|_| !has_failed);
                targets.into_iter().find_map(|target| Some((target, self.note(&mut waiting, target)?)))
            });
            let Some((target, text)) = next else {
                waiting.is_written = false;
                self.all_is_written.notify_all();
                return;
            };
            drop(waiting);
            let output = &mut outputs[target as usize];
            match output.as_mut().map_or(Ok(()), |output| output.write_all(&text)) {
                Ok(()) => has_failed = false,
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                    *output = None;
                    log::warn!("standard {} is closed: nothing more is told there", words(target));
                }
                Err(_) => {
                    has_failed = true;
                    self.waiting().missing[target as usize] += lines(&text);
                }
            }
        }
    }

    /// Waits until all is written, for so long at most.
    fn settle(&self, patience: Duration) {
        let all_is_written =
            self.all_is_written.wait_timeout_while(self.waiting(), patience, |waiting| waiting.is_written);
        drop(all_is_written);
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
    let outputs = own(io::stdout().as_fd().try_clone_to_owned())
        .and_then(|output| Ok([output, own(io::stderr().as_fd().try_clone_to_owned())?]));
    match outputs {
        Ok(outputs) => drop(QUEUE.set(Queue::new(outputs, json))),
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
        queue.settle(LAST_PATIENCE);
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
    use std::sync::mpsc;
    use std::time::Instant;

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
        let queue = Queue::new([Box::new(output), Box::new(io::sink())], json);
        let begin = Instant::now();
        for number in 0..said {
            queue.say(Target::Output, format!("{number}\n").as_bytes());
            while number == 0 && !queue.waiting().pieces.is_empty() {
                std::thread::yield_now();
            }
        }
        queue.settle(Duration::from_millis(10));
        assert!(begin.elapsed() < Duration::from_secs(5), "somebody waited for the output");
        drop(permissions);
        queue.settle(Duration::from_secs(10));
        queue.say(Target::Output, b"and on\n");
        queue.settle(Duration::from_secs(10));
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
