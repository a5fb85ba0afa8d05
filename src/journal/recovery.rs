//! What a file of the journal adds up to, or where it is damaged.

use std::fmt;

use super::line::{self, BadLine, Entry, FORMAT};
use crate::core::Timestamp;
use crate::core::ledger::Ledger;
use crate::core::order::BotName;
use crate::core::record::Record;

/// A journal that is damaged beyond its torn tail, or cannot be read at all.
#[derive(Debug)]
pub enum Damage {
    /// The disk does not give the file.
    Unreadable {
        /// The file.
        file: String,
        /// As the operating system says.
        error: std::io::Error,
    },
    /// A line is not what it should be.
    Line {
        /// The file.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A newer program wrote it.
    Newer {
        /// The file.
        file: String,
        /// The version of its format.
        format: u32,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, error } => write!(f, "{file}: cannot be read: {error}"),
            Self::Line { file, line, problem } => write!(
                f,
                "{file}: line {line}: {problem}. The journal is damaged; nothing was changed and nothing is traded. \
                 Keep a copy, then restore the file from a backup, or move it away: a start without it rebuilds what it \
                 can from the exchange"
            ),
            Self::Newer { file, format } => write!(
                f,
                "{file}: written by a newer recompra (format {format}, this one reads up to {FORMAT}): use that version"
            ),
        }
    }
}

impl std::error::Error for Damage {}

/// What a start found in the journal.
#[derive(Debug)]
pub struct Recovery {
    /// What the records add up to.
    pub ledger: Ledger,
    /// How many records were read.
    pub records: u64,
    /// How many bytes of a torn tail are to be cut off.
    pub torn: u64,
    /// The number of the first line.
    pub first: u64,
    /// Whether a [`Record::Snapshot`] was read: all that stood before it is known.
    continued: bool,
    /// The latest [`Record::Started`].
    pub started: Option<Record>,
    /// The facts, for whoever shows them; kept only if asked for.
    pub entries: Vec<(Timestamp, Record)>,
}

/// Who keeps a journal: what its latest [`Record::Started`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keeper {
    /// The bot's name.
    pub bot: BotName,
    /// `demo`, `testnet`, `mainnet` or `paper`.
    pub environment: String,
    /// What it trades.
    pub symbol: String,
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bot {} on {} for {}", self.bot, self.environment, self.symbol)
    }
}

impl Recovery {
    /// Who keeps the journal; `None` while nobody has traded by it.
    pub fn keeper(&self) -> Option<Keeper> {
        match self.started.as_ref()? {
            Record::Started { bot, environment, parameters, .. } => {
                Some(Keeper { bot: bot.clone(), environment: environment.clone(), symbol: parameters.symbol.clone() })
            }
            _ => None,
        }
    }
}

/// Adds up the lines; answers with the number of the next line too.
pub(super) fn recover(bytes: &[u8], file: &str, keep: bool) -> Result<(Recovery, u64), Damage> {
    let mut recovery = Recovery {
        ledger: Ledger::default(),
        records: 0,
        torn: 0,
        first: 0,
        continued: false,
        started: None,
        entries: Vec::new(),
    };
    let mut next = None;
    let mut position = 0;
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    for (number, raw) in (1..).zip(lines) {
        let damaged = |problem: String| Damage::Line { file: file.to_owned(), line: number, problem };
        let entry = match raw.strip_suffix(b"\n").ok_or(BadLine::Checksum).and_then(line::read) {
            Ok(entry) => entry,
            Err(BadLine::Content(problem)) => return Err(damaged(format!("not understood: {problem}"))),
            Err(BadLine::Checksum) if is_tail(&bytes[position + raw.len()..]) => {
                recovery.torn = (bytes.len() - position) as u64;
                break;
            }
            Err(BadLine::Checksum) => return Err(damaged("its checksum is wrong, and good lines follow".to_owned())),
        };
        if next.is_some_and(|next| next != entry.n) {
            return Err(damaged(format!("it is number {}, {} was expected", entry.n, next.unwrap_or(0))));
        }
        if next.is_none() {
            recovery.first = entry.n;
        }
        next = Some(entry.n.saturating_add(1));
        take(&mut recovery, entry, keep, file, damaged)?;
        position += raw.len();
    }
    Ok((recovery, next.unwrap_or(0)))
}

fn take(
    recovery: &mut Recovery,
    entry: Entry,
    keep: bool,
    file: &str,
    damaged: impl Fn(String) -> Damage,
) -> Result<(), Damage> {
    if let Record::Journal { format } = entry.record
        && format > FORMAT
    {
        return Err(Damage::Newer { file: file.to_owned(), format });
    }
    let begins_well = match recovery.records {
        0 => matches!(entry.record, Record::Journal { .. }),
        _ if recovery.first == 0 || recovery.continued => true,
        1 => matches!(entry.record, Record::Started { .. } | Record::Snapshot { .. }),
        _ => matches!(entry.record, Record::Snapshot { .. }),
    };
    if !begins_well {
        return Err(damaged("what stood before it is missing".to_owned()));
    }
    recovery.ledger.apply(entry.time, &entry.record).map_err(|contradiction| damaged(contradiction.to_string()))?;
    recovery.records += 1;
    recovery.continued |= entry.record.facts().iter().any(|fact| matches!(fact, Record::Snapshot { .. }));
    if matches!(entry.record, Record::Started { .. }) {
        recovery.started = Some(entry.record.clone());
    }
    if keep {
        let facts = match entry.record {
            Record::Rebuilt { records } => records,
            record => vec![record],
        };
        recovery.entries.extend(facts.into_iter().map(|fact| (entry.time, fact)));
    }
    Ok(())
}

/// Whether no good line follows: then what is bad is the tail that a power cut tore.
fn is_tail(rest: &[u8]) -> bool {
    rest.split_inclusive(|byte| *byte == b'\n')
        .all(|raw| raw.strip_suffix(b"\n").is_none_or(|text| line::read(text) == Err(BadLine::Checksum)))
}
