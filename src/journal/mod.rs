//! The journal: every fact, one JSON object a line, in a file that only grows, until it is set aside and begun anew.
//!
//! In: records, before they take effect. Out: at a start, the ledger they add up to.
//!
//! Each line carries a number that grows by one and a checksum of its own bytes, and is readable with `jq`. It also says how
//! much was safe from a power cut when it was written: all lines before number `synced`.
//!
//! ```json
//! {"sum":"b3d1c2aa","n":7,"synced":5,"time":1767312000000,"type":"order_accepted","key":"1-0b-1","order_id":"1001"}
//! ```
//!
//! The write path:
//! 1. The records of one step become lines, and one `write` hands them to the operating system. From here on
//!    the death of this process loses nothing.
//! 2. The records take effect, and the request they announce is sent.
//! 3. When nothing else is to be done, one `fsync` makes all of it safe from a power cut, on a thread that lives as long as
//!    that takes: a fill meanwhile does not wait for it. What a power cut takes before that, reconciliation finds again on
//!    the exchange.
//! 4. After an `fsync` that failed, what it was to make safe is written again, with the same bytes in the same place, before the
//!    next one is believed: Linux takes what it could not write for written. A start cannot know how the last process ended,
//!    and does the same with what no line says is safe.
//!
//! Beginning anew, so that a start stays fast. It happens within a sync, which is called when nothing else is to be done,
//! once the file is long and no cycle is open:
//! 1. Everything is synced, read back and added up.
//! 2. The file is compressed into an archive beside it, `journal-<number of its first line>.jsonl.gz`, which is synced
//!    and only then given its name.
//! 3. The new file is written under another name and synced: a head line, a snapshot of what the old one adds up to, and
//!    by whom and by what is traded. Its numbers go on where the old ones end.
//! 4. The folder is synced; the new file takes the name `journal.jsonl` at once, and the folder is synced again.
//!
//! Whenever the power is cut, `journal.jsonl` is whole, old or new; unfinished files are removed at the next start, and an
//! archive of what `journal.jsonl` still holds is recognised by its number. Reports and the audit read all of them
//! ([`history()`]).
//!
//! What can go wrong: a power cut may tear the tail, or leave a hole in what was not safe yet, because its pages reach the disk
//! in any order. From there on it is cut off at the next start, and said; the exchange knows the rest. Whoever only reads
//! reads what stands before the hole. Anything else that does not read back is damage: a line that is bad or missing although
//! another says that it was safe, or although good ones follow that do not say what was (an earlier version wrote them), and
//! a fact that contradicts those before it. Then the start is refused and names the line, because a guess could double an
//! order. A disk that is full or broken fails the append, which leaves the file as it was: nothing is sent that was not
//! written.
//!
//! The file itself is locked, so that two bots never write into one, whatever becomes of the file `lock` beside it. A bot whose
//! file is removed or replaced while it runs sees that before it appends, and within a second else ([`Held`]): it takes no
//! further step, and leaves what it knows in the folder.

mod file;
mod fitting;
mod forgetful;
mod history;
mod line;
mod recovery;
mod storage;

pub use file::JournalFile;
pub use fitting::AsItFits;
pub use forgetful::Forgetful;
pub use history::{History, history, read};
pub use line::FORMAT;
pub use recovery::{Damage, Keeper, Recovery};
pub use storage::{FileStorage, Held, Storage};
