//! What a file of the journal adds up to, or where it is damaged.

use std::fmt;

use super::line::{self, BadLine, Entry, FORMAT};
use crate::core::Timestamp;
use crate::core::ledger::Ledger;
use crate::core::order::BotName;
use crate::core::record::Record;

/// A journal that is damaged where it was safe from a power cut, or cannot be read at all.
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
    /// How many bytes a power cut has spoilt, at the end of the file: they are to be cut off.
    pub torn: u64,
    /// How many whole lines are among them. They stand behind a hole: what is not synced yet reaches the disk in any order.
    pub behind_hole: u64,
    /// The number of the first line.
    pub first: u64,
    /// All lines before this number were safe from a power cut, as the lines say; `None` if none says so.
    pub(super) safe: Option<u64>,
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
///
/// What stands behind the first line that is missing or not as it was written is cut off, if that line was not yet safe from
/// a power cut. Where the lines say that it was, or where good ones behind it do not say what was safe, it is damage.
pub(super) fn recover(bytes: &[u8], file: &str, keep: bool) -> Result<(Recovery, u64), Damage> {
    let mut recovery = Recovery {
        ledger: Ledger::default(),
        records: 0,
        torn: 0,
        behind_hole: 0,
        first: 0,
        safe: None,
        continued: false,
        started: None,
        entries: Vec::new(),
    };
    let mut next = None;
    let mut position = 0;
    let mut problem = "it is missing".to_owned();
    let mut number = 1;
    for raw in bytes.split_inclusive(|byte| *byte == b'\n') {
        let damaged = |problem: String| Damage::Line { file: file.to_owned(), line: number, problem };
        let entry = match read_line(raw) {
            Ok(entry) => entry,
            Err(BadLine::Content(problem)) => return Err(damaged(format!("not understood: {problem}"))),
            Err(BadLine::Checksum) => {
                problem = "its checksum is wrong".to_owned();
                break;
            }
        };
        if let Some(expected) = next.filter(|next| *next != entry.n) {
            problem = format!("it is number {}, {expected} was expected", entry.n);
            break;
        }
        if next.is_none() {
            recovery.first = entry.n;
        }
        next = Some(entry.n.saturating_add(1));
        recovery.safe = recovery.safe.max(entry.synced);
        take(&mut recovery, entry, keep, file, damaged)?;
        position += raw.len();
        number += 1;
    }
    let next = next.unwrap_or(0);
    let damaged =
        |why: &str| Damage::Line { file: file.to_owned(), line: number, problem: format!("{problem}, {why}") };
    let rest = bytes.get(position..).unwrap_or_default();
    for raw in rest.split_inclusive(|byte| *byte == b'\n') {
        let synced = match read_line(raw) {
            Err(BadLine::Checksum) => continue,
            Ok(entry) => entry.synced.filter(|_| entry.n > next),
            Err(BadLine::Content(_)) => None,
        };
        if synced.is_none() {
            return Err(damaged("and good lines follow"));
        }
        recovery.safe = recovery.safe.max(synced);
        recovery.behind_hole += 1;
    }
    if recovery.safe.is_some_and(|safe| next < safe) {
        return Err(damaged("and other lines say that it was safe from a power cut"));
    }
    recovery.torn = rest.len() as u64;
    Ok((recovery, next))
}

fn read_line(raw: &[u8]) -> Result<Entry, BadLine> {
    raw.strip_suffix(b"\n").ok_or(BadLine::Checksum).and_then(line::read)
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

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;

    /// Ten lines; what each says was safe when it was written.
    fn lines(synced: [u64; 10]) -> Vec<Vec<u8>> {
        let line = |(n, synced): (u64, u64)| {
            let record = if n == 0 { Record::Journal { format: FORMAT } } else { Record::Reconciled };
            let mut line = Vec::new();
            line::write(&mut line, n, synced, Timestamp(1), &record).unwrap();
            line
        };
        (0..).zip(synced).map(line).collect()
    }

    /// The same, as earlier versions wrote it.
    fn lines_of_an_earlier_version() -> Vec<Vec<u8>> {
        let earlier = |line: Vec<u8>| {
            let text = String::from_utf8(line).unwrap().replace("\"synced\":0,", "");
            let body = &text.trim_end()["{'sum':'01234567',".len()..];
            format!("{{\"sum\":\"{:08x}\",{body}\n", crc32fast::hash(body.as_bytes())).into_bytes()
        };
        lines([0; 10]).into_iter().map(earlier).collect()
    }

    /// With zeros where a page was never written.
    fn with_hole(lines: &[Vec<u8>], hole: Range<usize>) -> Vec<u8> {
        let mut bytes = lines.concat();
        bytes[hole].fill(0);
        bytes
    }

    fn start(lines: &[Vec<u8>], line: usize) -> usize {
        lines[..line].concat().len()
    }

    #[test]
    fn a_hole_where_it_was_not_safe_yet_is_cut_off_with_all_behind_it() {
        let lines = lines([0, 0, 0, 0, 4, 4, 4, 4, 4, 4]);
        let (from, end) = (start(&lines, 4), lines.concat().len());
        for (begin, length) in (from..end).flat_map(|begin| [1, 40, 150, 400].map(|length| (begin, length))) {
            let hole = begin..(begin + length).min(end);
            let bytes = with_hole(&lines, hole.clone());
            let (recovery, next) = recover(&bytes, "", false).unwrap();
            let kept = (0..=10).rfind(|line| start(&lines, *line) <= begin).unwrap();
            // A line whose predecessor has lost its end cannot be told from it.
            let whole = (0..10).filter(|line| start(&lines, *line) > hole.end).count();
            assert_eq!((next, recovery.records), (kept as u64, kept as u64), "{hole:?}");
            assert_eq!(recovery.torn as usize, end - start(&lines, kept), "{hole:?}");
            assert_eq!(recovery.behind_hole as usize, whole, "{hole:?}");
        }
    }

    #[test]
    fn a_hole_where_it_was_safe_is_refused_as_long_as_one_line_says_so() {
        let lines = lines([0, 0, 0, 0, 4, 4, 4, 4, 4, 4]);
        for begin in 0..start(&lines, 4) - 1 {
            let damage = recover(&with_hole(&lines, begin..begin + 1), "", false).unwrap_err().to_string();
            let line = (0..10).filter(|line| start(&lines, *line) <= begin).count();
            assert!(damage.contains(&format!("line {line}: its checksum is wrong, and other lines say")), "{damage}");
            // What a power cut took besides does not excuse it.
            let mut worse = with_hole(&lines, begin..start(&lines, 8) - 1);
            worse.truncate(start(&lines, 9) + 10);
            let damage = recover(&worse, "", false).unwrap_err().to_string();
            assert!(damage.contains(&format!("line {line}: ")), "{damage}");
        }
    }

    #[test]
    fn a_missing_line_counts_as_a_hole_and_one_that_comes_again_is_damage() {
        let mut missing = lines([0, 0, 0, 0, 4, 4, 4, 4, 4, 4]);
        missing.remove(6);
        let (recovery, next) = recover(&missing.concat(), "", false).unwrap();
        assert_eq!((next, recovery.behind_hole), (6, 3));
        missing.remove(2);
        let damage = recover(&missing.concat(), "", false).unwrap_err().to_string();
        assert!(
            damage.contains("line 3: it is number 3, 2 was expected, and other lines say that it was safe"),
            "{damage}"
        );
        let mut again = lines([0, 0, 0, 0, 4, 4, 4, 4, 4, 4]);
        again.insert(7, again[6].clone());
        let damage = recover(&again.concat(), "", false).unwrap_err().to_string();
        assert!(damage.contains("line 8: it is number 6, 7 was expected, and good lines follow"), "{damage}");
    }

    #[test]
    fn damage_in_the_journal_of_an_earlier_version_is_refused_and_its_torn_tail_is_cut_off() {
        let lines = lines_of_an_earlier_version();
        let last = start(&lines, 9);
        // Without its end the last line but one is a part of the tail.
        for begin in 0..last - 1 {
            let damage = recover(&with_hole(&lines, begin..begin + 1), "", false).unwrap_err().to_string();
            assert!(damage.contains("its checksum is wrong, and good lines follow"), "{damage}");
        }
        let (recovery, next) = recover(&with_hole(&lines, last..last + 1), "", false).unwrap();
        assert_eq!((next, recovery.behind_hole, recovery.safe), (9, 0, None));
    }

    #[test]
    fn what_an_earlier_version_wrote_behind_a_hole_is_damage_too() {
        // Two versions took turns: the lines of the earlier one may have been safe, and do not say so.
        let (mut mixed, earlier) = (lines([0, 0, 0, 0, 4, 4, 4, 4, 4, 4]), lines_of_an_earlier_version());
        mixed[8..].clone_from_slice(&earlier[8..]);
        let hole = start(&mixed, 5);
        let damage = recover(&with_hole(&mixed, hole..hole + 1), "", false).unwrap_err().to_string();
        assert!(damage.contains("line 6: its checksum is wrong, and good lines follow"), "{damage}");
        // And the other way round, after an upgrade.
        let (later, mut mixed) = (lines([8; 10]), earlier);
        mixed[8..].clone_from_slice(&later[8..]);
        for line in 0..8 {
            let hole = start(&mixed, line);
            assert!(recover(&with_hole(&mixed, hole..hole + 1), "", false).is_err(), "line {line}");
        }
        let hole = start(&mixed, 8);
        assert_eq!(recover(&with_hole(&mixed, hole..hole + 1), "", false).unwrap().1, 8);
    }
}
