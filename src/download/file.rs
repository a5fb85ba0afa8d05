//! The file that candles are fetched into: CSV that `backtest` reads, which only grows.
//!
//! In: candles, in order of time. Out: lines. A page of candles is one write. Whatever ends the program, the file is whole
//! but for a last line that may be torn, and that one is cut off when the file is opened again.
//!
//! What can go wrong: the file is somebody else's, or another process writes it.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::bybit::Kline;
use crate::core::Timestamp;
use crate::core::money::text;
use crate::exit::{Exit, Failure};
use crate::narrator::moment;

/// The first line.
const HEADER: &str = "timestamp,open,high,low,close,volume,turnover\n";
/// No line is longer.
const LONGEST_LINE: u64 = 4096;

/// A candle file, open for more.
pub struct CandleFile {
    path: PathBuf,
    file: File,
    /// The start of its first candle.
    pub first: Option<Timestamp>,
    /// The start of its last candle.
    pub last: Option<Timestamp>,
}

impl CandleFile {
    /// Opens or makes it, and mends its end.
    ///
    /// # Errors
    /// [`Failure`] when it cannot be used, is being written, or is not such a file.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let unusable = |error: io::Error| Failure::new(Exit::State, format!("{}: {error}", path.display()));
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).truncate(false).open(path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("{}: another fetch is writing it", path.display());
                return Err(Failure::new(Exit::Locked, message));
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        check_header(&mut file, path)?;
        mend(&mut file).map_err(unusable)?;
        let length = file.seek(SeekFrom::End(0)).map_err(unusable)?;
        let header = HEADER.len() as u64;
        let mut line_at = |from: u64, last: bool| -> Result<Option<Timestamp>, Failure> {
            let part = read_part(&mut file, from).map_err(unusable)?;
            let text = String::from_utf8_lossy(&part);
            let line = if last { text.lines().next_back() } else { text.lines().next() };
            line.filter(|line| !line.is_empty()).map(|line| moment_of(line, path)).transpose()
        };
        let (first, last) = if length > header {
            (line_at(header, false)?, line_at(length.saturating_sub(LONGEST_LINE).max(header), true)?)
        } else {
            (None, None)
        };
        Ok(Self { path: path.to_owned(), file, first, last })
    }

    /// Where to go on: behind its last candle, or in a new file at `from`.
    ///
    /// # Errors
    /// [`Failure`] when it is new and `from` is not given.
    pub fn go_on_from(&self, from: Option<Timestamp>) -> Result<Timestamp, Failure> {
        match (self.last, from) {
            (Some(last), from) => {
                if let (Some(first), Some(from)) = (self.first, from)
                    && from < first
                {
                    log::warn!(
                        "{} begins at {}, and only grows at its end: for what was before give another --output",
                        self.path.display(),
                        moment(first)
                    );
                }
                // A later --from would leave a hole.
                Ok(Timestamp(last.0 + 60_000))
            }
            (None, Some(from)) => Ok(from),
            (None, None) => {
                let message = format!("{}: holds no candle yet, so --from is needed", self.path.display());
                Err(Failure::new(Exit::CommandLine, message))
            }
        }
    }

    /// Adds candles behind its last one.
    ///
    /// # Errors
    /// [`Failure`] when they cannot be written.
    pub fn append(&mut self, klines: &[Kline]) -> Result<(), Failure> {
        let mut lines = String::new();
        for Kline { start, open, high, low, close, volume, turnover } in klines {
            let [open, high, low, close] = [open, high, low, close].map(|price| text(*price));
            let _ = writeln!(lines, "{},{open},{high},{low},{close},{volume},{turnover}", start.0);
        }
        self.file.write_all(lines.as_bytes()).map_err(|error| self.failure(&error))?;
        self.first = self.first.or(klines.first().map(|kline| kline.start));
        self.last = klines.last().map(|kline| kline.start).or(self.last);
        Ok(())
    }

    /// Makes it safe from a power cut.
    ///
    /// # Errors
    /// [`Failure`] when the disk refuses.
    pub fn sync(&self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let message = format!("{}: cannot be written: {error}; what is in it is whole", self.path.display());
        Failure::new(Exit::State, message)
    }
}

/// An empty file, or one whose header was being written, gets the header; another beginning is refused.
fn check_header(file: &mut File, path: &Path) -> Result<(), Failure> {
    let unusable = |error: io::Error| Failure::new(Exit::State, format!("{}: {error}", path.display()));
    let mut begin = read_part(file, 0).map_err(unusable)?;
    begin.truncate(HEADER.len());
    if begin == HEADER.as_bytes() {
        return Ok(());
    }
    if !HEADER.as_bytes().starts_with(&begin) {
        let shown: String =
            String::from_utf8_lossy(&begin).lines().next().unwrap_or_default().chars().take(60).collect();
        let message = format!(
            "{}, line 1: begins with {shown:?}, not with {:?}: fetch did not write this file; give another --output",
            path.display(),
            HEADER.trim_end()
        );
        return Err(Failure::new(Exit::Configuration, message));
    }
    file.set_len(0).and_then(|()| file.write_all(HEADER.as_bytes())).map_err(unusable)
}

/// Cuts off a last line without its end.
fn mend(file: &mut File) -> io::Result<()> {
    let length = file.seek(SeekFrom::End(0))?;
    let from = length.saturating_sub(LONGEST_LINE);
    let tail = read_part(file, from)?;
    let whole = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |place| place as u64 + 1);
    if from + whole < length {
        log::warn!("the last line was torn and is fetched again");
        file.set_len(from + whole)?;
    }
    Ok(())
}

fn read_part(file: &mut File, from: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    (&*file).take(LONGEST_LINE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn moment_of(line: &str, path: &Path) -> Result<Timestamp, Failure> {
    let field = line.split(',').next().unwrap_or_default();
    let start = field.parse().ok().filter(|start| start % 60_000 == 0 && line.split(',').count() == 7);
    start.map(Timestamp).ok_or_else(|| {
        let message = format!(
            "{}, column timestamp: {line:?} is no line that fetch writes: mend or remove it, or give another --output",
            path.display()
        );
        Failure::new(Exit::Configuration, message)
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::core::Decimal;
    use crate::temporary_folder::TemporaryFolder;

    pub(in crate::download) fn klines(minutes: impl IntoIterator<Item = i64>) -> Vec<Kline> {
        let kline = |minute: i64| Kline {
            start: Timestamp(minute * 60_000),
            open: Decimal::from(10),
            high: Decimal::from(12),
            low: Decimal::from(9),
            close: Decimal::new(115, 1),
            volume: "1.5".to_owned(),
            turnover: "15".to_owned(),
        };
        minutes.into_iter().map(kline).collect()
    }

    #[test]
    fn wherever_it_is_cut_off_it_goes_on_from_its_last_whole_line() {
        let folder = TemporaryFolder::new("download-cut");
        let file = folder.file("candles.csv");
        let mut whole = CandleFile::open(&file).unwrap();
        whole.append(&klines(0..3)).unwrap();
        drop(whole);
        let bytes = std::fs::read(&file).unwrap();
        for length in 0..=bytes.len() {
            std::fs::write(&file, &bytes[..length]).unwrap();
            let mut again = CandleFile::open(&file).unwrap();
            let next = again.last.map_or(0, |last| last.0 / 60_000 + 1);
            again.append(&klines(next..3)).unwrap();
            assert_eq!((again.first, again.last), (Some(Timestamp(0)), Some(Timestamp(120_000))));
            drop(again);
            assert_eq!(std::fs::read(&file).unwrap(), bytes, "cut at {length}");
        }
    }

    #[test]
    fn somebody_elses_file_is_not_touched() {
        let folder = TemporaryFolder::new("download-other");
        let file = folder.file("candles.csv");
        std::fs::write(&file, "a,b\n1,2").unwrap();
        let failure = CandleFile::open(&file).err().unwrap();
        assert_eq!(failure.code, Exit::Configuration);
        assert!(failure.message.contains("line 1: begins with \"a,b\""), "{failure}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a,b\n1,2");
        std::fs::write(&file, format!("{HEADER}yesterday,1,2,1,2,5,5\n")).unwrap();
        assert!(CandleFile::open(&file).err().unwrap().message.contains("column timestamp: \"yesterday"));
    }

    #[test]
    fn two_do_not_write_one_file() {
        let folder = TemporaryFolder::new("download-twice");
        let file = folder.file("candles.csv");
        let _first = CandleFile::open(&file).unwrap();
        assert_eq!(CandleFile::open(&file).err().map(|failure| failure.code), Some(Exit::Locked));
    }
}
