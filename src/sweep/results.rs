//! The file of results: written line by line, read line by line, gone on with, joined. Its format is in [`super`].
//!
//! In: the head, which says what is swept, and the lines in the order of their numbers. What can go wrong: the file is of
//! another sweep, holds what is no result, cannot be read or written, or another process writes it; [`Trouble`] says which,
//! and what to do. A torn last line is dropped.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::measures::Measures;
use super::space::{Axis, Sample, Shard};

/// Changes when older programs could not read the file any more.
pub const FORMAT: u32 = 1;
/// No line is longer.
const LONGEST_LINE: u64 = 1 << 24;

/// The first line: what was swept, and by which rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "sweep")]
pub struct Head {
    /// [`FORMAT`].
    pub format: u32,
    /// The program's version.
    pub version: String,
    /// The candles.
    pub market: MarketHead,
    /// The parameters that hold where no axis says otherwise.
    pub parameters: Value,
    /// The axes.
    pub axes: Vec<Axis>,
    /// Out of how many sets these were drawn, if they were.
    pub sample: Option<Sample>,
    /// How many sets the whole sweep has.
    pub sets: u64,
    /// The first moment of the second part.
    pub split: Option<String>,
    /// `nearest`, `pessimistic` or `optimistic`.
    pub path: String,
    /// Of market orders, in per cent.
    pub slippage: String,
    /// A fraction.
    pub fee_maker: String,
    /// A fraction.
    pub fee_taker: String,
    /// Which part of the sweep this file holds, if not all of it.
    pub shard: Option<Shard>,
}

/// The candles of a sweep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MarketHead {
    /// As it was named; two files of the same candles are the same market.
    pub file: String,
    /// Over all candles as they are played.
    pub digest: String,
    /// How many.
    pub candles: u64,
    /// The first one's first moment.
    pub from: String,
    /// The last one's.
    pub to: String,
}

impl Head {
    /// How many sets this file is to hold.
    pub fn sets_here(&self) -> u64 {
        self.part().sets(self.sets)
    }

    /// The number of the `place`-th line, from 0.
    pub fn number(&self, place: u64) -> u64 {
        self.part().number(place)
    }

    fn part(&self) -> Shard {
        self.shard.unwrap_or(Shard { index: 1, of: 1 })
    }

    /// The first thing in which another sweep differs, shards and the name of the candles' file aside.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let (ours, theirs) = (&self.market, &other.market);
        let differs = [
            (self.format != other.format, "the format"),
            (self.version != other.version, "the program's version"),
            (ours.digest != theirs.digest, "the candles"),
            (self.axes != other.axes || self.sample != other.sample || self.sets != other.sets, "what is swept"),
            (self.parameters != other.parameters, "the other parameters"),
            (self.split != other.split, "the split"),
            (self.path != other.path, "--path"),
            (self.slippage != other.slippage, "--slippage"),
            (self.fee_maker != other.fee_maker || self.fee_taker != other.fee_taker, "the fees"),
        ];
        differs.into_iter().find_map(|(differs, what)| differs.then_some(what))
    }
}

/// What came of one set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Its number.
    pub set: u64,
    /// The axes' values.
    pub parameters: BTreeMap<String, String>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What can come of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Outcome {
    /// It was traded.
    Result {
        /// Before the split, or all of the market.
        in_sample: Box<Measures>,
        /// After the split.
        out_of_sample: Option<Box<Measures>>,
    },
    /// Its parameters are wrong together, or its ladder breaks a rule of the exchange.
    Refused {
        /// The parameter that the reason is about, or `ladder`.
        key: String,
        /// Why.
        reason: String,
    },
}

/// Why a file of results cannot be used.
#[derive(Debug)]
pub enum Trouble {
    /// It cannot be read or written.
    Io(PathBuf, io::Error),
    /// Another process writes it.
    Busy(PathBuf),
    /// It is not what it should be: what it is, and what to do.
    Wrong(PathBuf, String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Busy(path) => write!(f, "{}: another sweep is writing to it: name another file", path.display()),
            Self::Wrong(path, what) => write!(f, "{}: {what}", path.display()),
        }
    }
}

impl std::error::Error for Trouble {}

/// One object as a line of the file.
fn line_of(object: &impl Serialize) -> String {
    let mut line = serde_json::to_string(object).expect("plain data becomes JSON");
    line.push('\n');
    line
}

/// Reads a file of results from its beginning.
pub struct Reader {
    path: PathBuf,
    lines: BufReader<File>,
    /// What it says first.
    pub head: Head,
    /// Results that were read.
    pub lines_read: u64,
    /// Bytes of the lines that were read.
    bytes_read: u64,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn open(path: &Path) -> Result<Self, Trouble> {
        let file = File::open(path).map_err(|error| Trouble::Io(path.to_owned(), error))?;
        Self::begin(path, file)?.ok_or_else(|| Trouble::Wrong(path.to_owned(), "is empty".to_owned()))
    }

    /// Reads the first line; `None` if not even that was written whole.
    fn begin(path: &Path, file: File) -> Result<Option<Self>, Trouble> {
        let mut lines = BufReader::new(file);
        let Some(bytes) = next_line(&mut lines, path)? else { return Ok(None) };
        let stranger = || Trouble::Wrong(path.to_owned(), "is no file of a sweep's results".to_owned());
        let head: Head = serde_json::from_slice(&bytes).map_err(|_| stranger())?;
        if !head.part().is_one() {
            return Err(stranger());
        }
        if head.format != FORMAT {
            let what = format!("has format {}, this program knows {FORMAT}", head.format);
            return Err(Trouble::Wrong(path.to_owned(), what));
        }
        Ok(Some(Self { path: path.to_owned(), lines, head, lines_read: 0, bytes_read: bytes.len() as u64 }))
    }

    /// The next result; `None` at the end, or where the last line is torn.
    ///
    /// # Errors
    /// [`Trouble`]: the line is not the one that belongs here.
    pub fn next_result(&mut self) -> Result<Option<Line>, Trouble> {
        let Some(bytes) = next_line(&mut self.lines, &self.path)? else { return Ok(None) };
        let wrong = |what: String| {
            let advice = "remove the file, or name another";
            Trouble::Wrong(self.path.clone(), format!("line {}: {what}: {advice}", self.lines_read + 2))
        };
        let line: Line = match serde_json::from_slice(&bytes) {
            Ok(line) => line,
            // What a power cut left of the last line.
            Err(_) if self.lines.fill_buf().is_ok_and(<[u8]>::is_empty) => return Ok(None),
            Err(error) => return Err(wrong(format!("is no result of a sweep ({error})"))),
        };
        let expected = self.head.number(self.lines_read);
        if line.set != expected || expected >= self.head.sets {
            return Err(wrong(format!("is set {}, set {expected} belongs here", line.set)));
        }
        self.lines_read += 1;
        self.bytes_read += bytes.len() as u64;
        Ok(Some(line))
    }
}

/// The next line with its end; `None` where there is none, or it is torn.
fn next_line(lines: &mut BufReader<File>, path: &Path) -> Result<Option<Vec<u8>>, Trouble> {
    let mut bytes = Vec::new();
    let read = lines.take(LONGEST_LINE).read_until(b'\n', &mut bytes);
    read.map_err(|error| Trouble::Io(path.to_owned(), error))?;
    Ok(Some(bytes).filter(|bytes| bytes.last() == Some(&b'\n')))
}

/// Appends to a file of results. No other process can meanwhile.
pub struct Writer {
    path: PathBuf,
    file: File,
}

impl Writer {
    /// Begins a file, or goes on with one that an earlier run of the same sweep left: its results are handed to `known`, in
    /// their order. Returns how many there were.
    ///
    /// # Errors
    /// [`Trouble`]; a file of anything else is left as it is.
    pub fn open(path: &Path, head: &Head, mut known: impl FnMut(Line)) -> Result<(Self, u64), Trouble> {
        let failed = |error| Trouble::Io(path.to_owned(), error);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Trouble::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut writer = Self { path: path.to_owned(), file };
        let Some(mut reader) = Reader::begin(path, writer.file.try_clone().map_err(failed)?)? else {
            writer.begin(head)?;
            return Ok((writer, 0));
        };
        let another = |what: &str| format!("is of another sweep ({what} differs): remove it, or name another file");
        if let Some(what) = head.difference(&reader.head) {
            return Err(Trouble::Wrong(path.to_owned(), another(what)));
        }
        if head.shard != reader.head.shard {
            return Err(Trouble::Wrong(path.to_owned(), another("the shard")));
        }
        while let Some(line) = reader.next_result()? {
            known(line);
        }
        writer.cut(reader.bytes_read)?;
        Ok((writer, reader.lines_read))
    }

    /// A file that must not be there yet.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn create(path: &Path, head: &Head) -> Result<Self, Trouble> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let mut writer =
            Self { path: path.to_owned(), file: file.map_err(|error| Trouble::Io(path.to_owned(), error))? };
        writer.begin(head)?;
        Ok(writer)
    }

    /// Writes the first line over what is there of it: nothing else may be.
    fn begin(&mut self, head: &Head) -> Result<(), Trouble> {
        let first = line_of(head);
        let failed = |error| Trouble::Io(self.path.clone(), error);
        let mut there = String::new();
        if self.file.metadata().map_err(failed)?.len() > 0 {
            self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
            let torn = (&self.file).take(LONGEST_LINE).read_to_string(&mut there).is_ok() && first.starts_with(&there);
            if !torn {
                return Err(Trouble::Wrong(self.path.clone(), "is no file of a sweep's results".to_owned()));
            }
        }
        self.cut(0)?;
        self.put(&first)
    }

    fn cut(&mut self, length: u64) -> Result<(), Trouble> {
        let cut = self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)));
        cut.map(drop).map_err(|error| Trouble::Io(self.path.clone(), error))
    }

    fn put(&mut self, line: &str) -> Result<(), Trouble> {
        self.file.write_all(line.as_bytes()).map_err(|error| Trouble::Io(self.path.clone(), error))
    }

    /// Appends one result.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn append(&mut self, line: &Line) -> Result<(), Trouble> {
        self.put(&line_of(line))
    }
}

/// The parts of one sweep, read as if they were one file.
pub struct Joined {
    /// The head of the whole.
    pub head: Head,
    /// In the order of their indices.
    parts: Vec<Reader>,
    next: u64,
}

impl Joined {
    /// Opens the parts, named in any order.
    ///
    /// # Errors
    /// [`Trouble`]: one is of another sweep, missing or given twice.
    pub fn open(paths: &[PathBuf]) -> Result<Self, Trouble> {
        let mut parts = paths.iter().map(|path| Reader::open(path)).collect::<Result<Vec<_>, _>>()?;
        parts.sort_by_key(|part| part.head.part().index);
        check_parts(&parts)?;
        match parts.first() {
            Some(first) => Ok(Self { head: Head { shard: None, ..first.head.clone() }, parts, next: 0 }),
            None => Err(Trouble::Wrong(PathBuf::from("merge"), "no file is named".to_owned())),
        }
    }

    /// The next result, in the order of the numbers; `None` after the last.
    ///
    /// # Errors
    /// [`Trouble`]: a part is not finished, or holds what is no result.
    pub fn next_result(&mut self) -> Result<Option<Line>, Trouble> {
        let place = self.next % self.parts.len() as u64;
        let part = usize::try_from(place).ok().and_then(|place| self.parts.get_mut(place));
        let Some(part) = part.filter(|_| self.next < self.head.sets) else { return Ok(None) };
        let line = part.next_result()?;
        if line.is_none() {
            let (done, all) = (part.lines_read, part.head.sets_here());
            let what = format!("has {done} of {all} sets: run it again with the same --out, it goes on");
            return Err(Trouble::Wrong(part.path.clone(), what));
        }
        self.next += 1;
        Ok(line)
    }
}

/// Whether the parts, in the order of their indices, are all of one sweep.
fn check_parts(parts: &[Reader]) -> Result<(), Trouble> {
    let Some(first) = parts.first() else { return Ok(()) };
    let of = first.head.part().of;
    for part in parts {
        let what = match first.head.difference(&part.head) {
            Some(what) => what,
            None if part.head.part().of != of => "the number of parts",
            None => continue,
        };
        let message = format!("is of another sweep than {} ({what} differs)", first.path.display());
        return Err(Trouble::Wrong(part.path.clone(), message));
    }
    for pair in parts.windows(2) {
        if pair[0].head.shard == pair[1].head.shard {
            let message = format!("is the same part as {}", pair[0].path.display());
            return Err(Trouble::Wrong(pair[1].path.clone(), message));
        }
    }
    let given = |index: &u64| parts.iter().any(|part| part.head.part().index == *index);
    let missing: Vec<String> =
        (1..=of).filter(|index| !given(index)).take(20).map(|index| Shard { index, of }.to_string()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("is one of {of} parts, missing: {}", missing.join(", "));
    Err(Trouble::Wrong(first.path.clone(), message))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::Decimal;

    /// A result of this equity and drawdown.
    pub(in crate::sweep) fn result(set: u64, equity: i64, drawdown: i64) -> Line {
        let (equity, drawdown) = (Decimal::from(equity), Decimal::from(drawdown));
        let in_sample = Measures {
            from: "2022-01-01T00:00:00.000Z".to_owned(),
            to: "2022-01-02T00:00:00.000Z".to_owned(),
            cycles: 1,
            executions: 2,
            profit: equity,
            profit_percent: equity,
            equity,
            equity_percent: equity,
            most_bound: Decimal::ONE_HUNDRED,
            drawdown,
            drawdown_percent: drawdown,
            profit_per_drawdown: equity.checked_div(drawdown),
            equity_per_drawdown: equity.checked_div(drawdown),
            under_water_seconds: 0,
            longest_cycle_seconds: 0,
            buy_and_hold: Decimal::ZERO,
        };
        let outcome = Outcome::Result { in_sample: Box::new(in_sample), out_of_sample: None };
        Line { set, parameters: BTreeMap::from([("x".to_owned(), set.to_string())]), outcome }
    }

    /// A set that was refused for this parameter.
    pub(in crate::sweep) fn refused(set: u64, key: &str) -> Line {
        let outcome = Outcome::Refused { key: key.to_owned(), reason: "too much".to_owned() };
        Line { set, parameters: BTreeMap::new(), outcome }
    }

    fn head(sets: u64, shard: Option<&str>) -> Head {
        let market = MarketHead {
            file: "x.csv".to_owned(),
            digest: "sha256:0".to_owned(),
            candles: 3,
            from: String::new(),
            to: String::new(),
        };
        Head {
            format: FORMAT,
            version: "0".to_owned(),
            market,
            parameters: Value::Null,
            axes: vec![Axis::parse("x=1,2").unwrap()],
            sample: None,
            sets,
            split: None,
            path: "nearest".to_owned(),
            slippage: "0".to_owned(),
            fee_maker: "0.001".to_owned(),
            fee_taker: "0.001".to_owned(),
            shard: shard.map(|text| Shard::parse(text).unwrap()),
        }
    }

    /// A folder of its own for a test, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("recompra-results-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        /// A file with the first `done` lines of a head's sets.
        fn results(&self, name: &str, head: &Head, done: u64) -> PathBuf {
            let path = self.file(name);
            let (mut writer, _) = Writer::open(&path, head, |_| ()).unwrap();
            for place in 0..done {
                writer.append(&result(head.number(place), 1, 1)).unwrap();
            }
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn known(path: &Path, head: &Head) -> Result<Vec<u64>, Trouble> {
        let mut sets = Vec::new();
        Writer::open(path, head, |line| sets.push(line.set)).map(|(_, done)| {
            assert_eq!(done, sets.len() as u64);
            sets
        })
    }

    #[test]
    fn a_file_that_was_cut_anywhere_goes_on_after_its_last_whole_line() {
        let folder = Folder::new("torn");
        let head = head(4, None);
        let path = folder.results("r", &head, 4);
        let whole = std::fs::read(&path).unwrap();
        let ends: Vec<usize> = (0..whole.len()).filter(|at| whole[*at] == b'\n').collect();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let lines = ends.iter().filter(|end| **end < cut).count().saturating_sub(1);
            assert_eq!(known(&path, &head).unwrap(), (0..lines as u64).collect::<Vec<_>>(), "cut at {cut}");
            let (mut writer, done) = Writer::open(&path, &head, |_| ()).unwrap();
            (done..4).for_each(|set| writer.append(&result(set, 1, 1)).unwrap());
            assert_eq!(std::fs::read(&path).unwrap(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_last_line_of_zeros_is_what_a_power_cut_left() {
        let folder = Folder::new("zeros");
        let head = head(4, None);
        let path = folder.results("r", &head, 2);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(*b"\0\0\0\n");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(known(&path, &head).unwrap(), [0, 1]);
    }

    #[test]
    fn a_file_of_anything_else_is_left_alone_and_named() {
        let folder = Folder::new("other");
        let head = head(4, None);
        let path = folder.file("r");
        let notes = "my notes\nand more\n";
        let part = Shard { index: 0, of: 0 };
        let no_part = line_of(&Head { shard: Some(part), ..head.clone() });
        for text in [notes, "my notes", "{\"type\":\"backtest\"}\n", &no_part] {
            std::fs::write(&path, text).unwrap();
            assert!(known(&path, &head).unwrap_err().to_string().contains("no file of a sweep's results"), "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn another_sweeps_file_is_refused_and_the_difference_named() {
        let folder = Folder::new("differs");
        let path = folder.results("r", &head(4, None), 1);
        let mut market = head(4, None);
        market.market.digest = "sha256:1".to_owned();
        for (other, what) in [
            (market, "the candles"),
            (Head { version: "1".to_owned(), ..head(4, None) }, "version"),
            (Head { parameters: Value::Bool(true), ..head(4, None) }, "parameters"),
            (head(5, None), "what is swept"),
            (head(4, Some("1/2")), "the shard"),
        ] {
            assert!(known(&path, &other).unwrap_err().to_string().contains(what), "{what}");
        }
        let mut renamed = head(4, None);
        renamed.market.file = "elsewhere.csv".to_owned();
        assert_eq!(known(&path, &renamed).unwrap(), [0], "the same candles under another name");
    }

    #[test]
    fn a_line_that_is_missing_in_the_middle_is_named() {
        let folder = Folder::new("gap");
        let head = head(4, None);
        let path = folder.results("r", &head, 4);
        let text = std::fs::read_to_string(&path).unwrap();
        let gap: String =
            text.lines().enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| format!("{line}\n")).collect();
        std::fs::write(&path, gap).unwrap();
        let told = known(&path, &head).unwrap_err().to_string();
        assert!(told.contains("line 3: is set 2, set 1 belongs here"), "{told}");
    }

    #[test]
    fn two_processes_do_not_write_one_file() {
        let folder = Folder::new("busy");
        let head = head(4, None);
        let path = folder.file("r");
        let _writer = Writer::open(&path, &head, |_| ()).unwrap();
        assert!(matches!(Writer::open(&path, &head, |_| ()), Err(Trouble::Busy(_))));
    }

    fn joined(paths: &[PathBuf]) -> Result<Vec<u64>, Trouble> {
        let mut joined = Joined::open(paths)?;
        assert_eq!(joined.head.shard, None);
        let mut sets = Vec::new();
        while let Some(line) = joined.next_result()? {
            sets.push(line.set);
        }
        Ok(sets)
    }

    #[test]
    fn parts_are_joined_in_whatever_order_they_are_named() {
        let folder = Folder::new("join");
        let part = |text: &str, done| folder.results(&text.replace('/', "-"), &head(7, Some(text)), done);
        let (first, second, third) = (part("1/3", 3), part("2/3", 2), part("3/3", 2));
        assert_eq!(joined(&[third.clone(), first.clone(), second.clone()]).unwrap(), (0..7).collect::<Vec<_>>());
        let told = |paths: &[&PathBuf]| {
            joined(&paths.iter().map(|path| (*path).clone()).collect::<Vec<_>>()).unwrap_err().to_string()
        };
        assert!(told(&[&third]).contains("missing: 1/3, 2/3"));
        assert!(told(&[&first, &second, &first, &third]).contains("is the same part as"));
        let unfinished = folder.results("u", &head(7, Some("2/3")), 1);
        assert!(told(&[&first, &unfinished, &third]).contains("has 1 of 2 sets"));
        let other = folder.results("o", &head(8, Some("2/3")), 3);
        assert!(told(&[&first, &other, &third]).contains("what is swept differs"));
        let halves = folder.results("h", &head(7, Some("2/2")), 3);
        assert!(told(&[&first, &halves]).contains("the number of parts differs"));
        assert_eq!(joined(&[folder.results("all", &head(2, None), 2)]).unwrap(), [0, 1]);
    }
}
