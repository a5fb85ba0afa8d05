//! A market out of recorded one-minute candles: a CSV file, plain or compressed with gzip. A file of trades is joined to
//! candles first (`trades`).
//!
//! Columns are `timestamp,open,high,low,close,volume`: in this order without a header, in any order and under
//! the usual names with one. Times are UTC: seconds, milliseconds, or ISO 8601. A byte order mark, CRLF, empty lines
//! and gaps in time are accepted; anything doubtful is refused with its file, line and column.
//!
//! # From candles to points
//!
//! Which of high and low came first is unknown. Each candle becomes four points: the open at its first moment; 15 s
//! later whichever of high and low is nearer to the open (the low if both are equally near); 30 s the other
//! one; 45 s the close. Candles longer than a minute are played the same way, within their first minute.
//!
//! The file is read as it is needed, never whole.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

pub use super::candle::{Candle, points};
use super::candle::{QUARTER, Row, in_ticks};
use super::columns::{Complaint, Layout, is_header};
use super::plain::{self, Tick};
use super::trades::{Minutes, TradeLayout};
use super::{Market, MarketError, PricePoint};
use crate::core::{Decimal, Timestamp};

/// Bytes of one line; no candle is longer.
const LONGEST_LINE: u64 = 4096;

/// A candle file being read.
pub struct Candles {
    file: String,
    lines: Box<dyn BufRead + Send>,
    /// The line being read.
    bytes: Vec<u8>,
    line: u64,
    layout: Option<Layout>,
    /// If the lines are trades.
    trades: Option<Minutes>,
    last: Option<Timestamp>,
    /// The first candle, until it is asked for.
    first: Option<Candle>,
    points: VecDeque<PricePoint>,
}

impl Candles {
    /// Opens a file and reads its first candle.
    ///
    /// # Errors
    /// [`MarketError`] when it cannot be opened, is empty, or begins with something wrong.
    pub fn open(path: &Path) -> Result<Self, MarketError> {
        let file = path.display().to_string();
        let unreadable = |error: io::Error| MarketError::of_file(&file, format!("cannot be read: {error}"));
        let mut raw = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
        let zipped = raw.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
        if !zipped && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz")) {
            let reason = "is not a gzip file although its name ends in .gz";
            return Err(MarketError::of_file(&file, reason.to_owned()));
        }
        let lines: Box<dyn BufRead + Send> =
            if zipped { Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(raw))) } else { Box::new(raw) };
        Self::read(file, lines)
    }

    /// Reads candles from anywhere; `file` is what errors call it.
    ///
    /// # Errors
    /// As [`Candles::open`].
    pub fn read(file: String, lines: Box<dyn BufRead + Send>) -> Result<Self, MarketError> {
        let mut candles = Self {
            file,
            lines,
            bytes: Vec::new(),
            line: 0,
            layout: None,
            trades: None,
            last: None,
            first: None,
            points: VecDeque::new(),
        };
        candles.first = candles.next_candle()?;
        if candles.first.is_none() {
            return Err(MarketError::of_file(&candles.file, "holds no candle".to_owned()));
        }
        Ok(candles)
    }

    /// The next candle that has not become points yet; `None` at the end of the file.
    ///
    /// # Errors
    /// [`MarketError`].
    pub fn next_candle(&mut self) -> Result<Option<Candle>, MarketError> {
        match self.first.take() {
            Some(first) => Ok(Some(first)),
            None if self.trades.is_some() => self.next_minute(),
            None => match self.next_row(|layout, line| layout.read(line).map(|candle| (candle.start, candle)))? {
                // The header has just said that the lines are trades.
                None if self.trades.is_some() => self.next_minute(),
                candle => Ok(candle),
            },
        }
    }

    /// The candle of the trades' next minute.
    fn next_minute(&mut self) -> Result<Option<Candle>, MarketError> {
        while self.next_line()? {
            let bytes = std::mem::take(&mut self.bytes);
            let line = text_of(&bytes).map(str::trim);
            let minute = match (line, &mut self.trades) {
                (Ok(line), Some(minutes)) if !line.is_empty() => minutes.take(line),
                (line, _) => line.map(|_| None),
            };
            self.bytes = bytes;
            if let Some(candle) = minute.map_err(|complaint| self.here(complaint))? {
                return Ok(Some(candle));
            }
        }
        Ok(self.trades.as_mut().and_then(Minutes::end))
    }

    /// The next candle as [`Candles::next_candle`] gives it, in whole ticks and quicker: its first moment, and its prices
    /// in the order in which they are played.
    pub(super) fn next_in_ticks(&mut self, tick_size: Decimal) -> Result<Option<Row>, MarketError> {
        let carefully = |candle: &Candle| {
            let too_large = || (Some("high"), format!("more than {} ticks of {tick_size} cannot be held", u32::MAX));
            in_ticks(candle, tick_size).map(|prices| (candle.start, prices)).ok_or_else(too_large)
        };
        if self.first.is_some() || self.trades.is_some() {
            let candle = self.next_candle()?;
            return candle.as_ref().map(carefully).transpose().map_err(|complaint| self.here(complaint));
        }
        let tick = Tick::new(tick_size);
        self.next_row(|layout, line| {
            let row = match tick.and_then(|tick| plain::read(layout, line, tick)) {
                Some(row) => row,
                None => carefully(&layout.read(line)?)?,
            };
            Ok((row.0, row))
        })
    }

    /// Reads the next line that holds a candle, which begins at the moment that `read` gives first.
    fn next_row<R>(
        &mut self,
        read: impl Fn(&Layout, &str) -> Result<(Timestamp, R), Complaint>,
    ) -> Result<Option<R>, MarketError> {
        while self.trades.is_none() && self.next_line()? {
            let bytes = std::mem::take(&mut self.bytes);
            let row = self.row(&bytes, &read);
            self.bytes = bytes;
            if let Some((start, row)) = row.map_err(|complaint| self.here(complaint))? {
                self.check_order(start)?;
                return Ok(Some(row));
            }
        }
        Ok(None)
    }

    /// What a line holds; `None` for a header and an empty one.
    fn row<R>(
        &mut self,
        bytes: &[u8],
        read: impl Fn(&Layout, &str) -> Result<(Timestamp, R), Complaint>,
    ) -> Result<Option<(Timestamp, R)>, Complaint> {
        let text = text_of(bytes)?;
        let line = text.strip_prefix('\u{feff}').filter(|_| self.line == 1).unwrap_or(text).trim();
        if line.is_empty() {
            return Ok(None);
        }
        if self.layout.is_none() {
            let header = is_header(line);
            self.trades = TradeLayout::of_header(line).filter(|_| header).map(Minutes::new);
            if self.trades.is_some() {
                return Ok(None);
            }
            self.layout = Some(if header { Layout::of_header(line)? } else { Layout::default_order() });
            if header {
                return Ok(None);
            }
        }
        self.layout.as_ref().map(|layout| read(layout, line)).transpose()
    }

    fn check_order(&mut self, start: Timestamp) -> Result<(), MarketError> {
        let last = self.last.replace(start);
        let Some(last) = last else { return Ok(()) };
        let reason = if start == last {
            format!("the minute {start} is there twice")
        } else if start < last {
            format!("{start} comes after {last}: the lines must be in order of time")
        } else if start.since(last) < QUARTER * 4 {
            format!("{start} is less than a minute after {last}: only candles of one minute or more are read")
        } else {
            return Ok(());
        };
        Err(self.here((Some("timestamp"), reason)))
    }

    /// Reads the next line into the buffer. Returns whether there is one.
    fn next_line(&mut self) -> Result<bool, MarketError> {
        self.bytes.clear();
        let read = (&mut self.lines).take(LONGEST_LINE).read_until(b'\n', &mut self.bytes);
        self.line += 1;
        match read {
            Ok(0) => Ok(false),
            Ok(_) if self.bytes.len() as u64 == LONGEST_LINE && self.bytes.last() != Some(&b'\n') => {
                Err(self.here((None, "the line is too long for a candle".to_owned())))
            }
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.here((None, "the gzip file is cut off here".to_owned())))
            }
            Err(error) => Err(self.here((None, format!("cannot be read: {error}")))),
        }
    }

    fn here(&self, (column, reason): Complaint) -> MarketError {
        MarketError { file: self.file.clone(), line: Some(self.line), column, reason }
    }
}

impl Market for Candles {
    fn next(&mut self) -> Result<Option<PricePoint>, MarketError> {
        if self.points.is_empty()
            && let Some(candle) = self.next_candle()?
        {
            self.points.extend(points(&candle));
        }
        Ok(self.points.pop_front())
    }
}

fn text_of(bytes: &[u8]) -> Result<&str, Complaint> {
    std::str::from_utf8(bytes).map_err(|_| (None, "the line is not text (UTF-8)".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Decimal;
    use crate::temporary_folder::TemporaryFolder;
    use std::io::{Cursor, Write};

    const HEADER: &str = "timestamp,open,high,low,close,volume\n";
    const LINE: &str = "1640995200,100,110,99,104,5\n";

    fn read(text: &[u8]) -> Result<Vec<PricePoint>, MarketError> {
        let mut candles = Candles::read("c.csv".to_owned(), Box::new(Cursor::new(text.to_vec())))?;
        let mut points = Vec::new();
        while let Some(point) = candles.next()? {
            points.push(point);
        }
        Ok(points)
    }

    fn message(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    fn shown(points: &[PricePoint]) -> Vec<(i64, String)> {
        points.iter().map(|point| (point.time.0 / 1000 - 1_640_995_200, point.price.to_string())).collect()
    }

    #[test]
    fn a_candle_is_four_points_with_the_nearer_extreme_first() {
        let row = |rows: &[(i64, &str)]| rows.iter().map(|(at, price)| (*at, (*price).to_owned())).collect::<Vec<_>>();
        let low_first = read(LINE.as_bytes()).unwrap();
        assert_eq!(shown(&low_first), row(&[(0, "100"), (15, "99"), (30, "110"), (45, "104")]));
        let high_first = read(b"1640995200,108,110,99,104,5").unwrap();
        assert_eq!(shown(&high_first), row(&[(0, "108"), (15, "110"), (30, "99"), (45, "104")]));
        let tie = read(b"1640995200,100,101,99,100,5").unwrap();
        assert_eq!(shown(&tie), row(&[(0, "100"), (15, "99"), (30, "101"), (45, "100")]));
    }

    #[test]
    fn marks_line_ends_gaps_and_empty_lines_are_accepted() {
        let text = format!("\u{feff}{HEADER}\r\n{LINE}\n1640999940,104,104,104,104\r\n\n").replace('\n', "\r\n");
        let points = read(text.as_bytes()).unwrap();
        assert_eq!(points.len(), 8);
        assert_eq!(points[4], PricePoint::new(Timestamp(1_640_999_940_000), Decimal::from(104)));
    }

    #[test]
    fn each_error_names_line_and_column_and_what_is_allowed() {
        let price = |text: &str| format!("{text:?} is not a price: allowed are plain decimal numbers above zero");
        let cases = [
            ("1640995200,abc,1,1,1,1", format!("c.csv, line 1, column open: {}", price("abc"))),
            ("1640995200,1,NaN,1,1,1", format!("c.csv, line 1, column high: {}", price("NaN"))),
            ("1640995200,1,1,-1,1,1", format!("c.csv, line 1, column low: {}", price("-1"))),
            ("1640995200,1,1,1,0,1", format!("c.csv, line 1, column close: {}", price("0"))),
            (
                "1640995200,1,1,1,1,-5",
                "c.csv, line 1, column volume: \"-5\" is not a volume: allowed are numbers from zero".to_owned(),
            ),
            ("1640995200,1,1", "c.csv, line 1, column low: the field is missing".to_owned()),
            ("1640995200,5,4,6,5,1", "c.csv, line 1, column high: 4 is below the low of 6".to_owned()),
            (
                "1640995200,9,8,6,7,1",
                "c.csv, line 1, column open: 9 is not between the low of 6 and the high of 8".to_owned(),
            ),
            (
                "1640995200,7,8,6,5,1",
                "c.csv, line 1, column close: 5 is not between the low of 6 and the high of 8".to_owned(),
            ),
            (
                "today,1,1,1,1,1",
                "c.csv, line 1, column timestamp: the header lacks this column; needed are timestamp, open, high, low, close"
                    .to_owned(),
            ),
            ("", "c.csv: holds no candle".to_owned()),
            (HEADER, "c.csv: holds no candle".to_owned()),
        ];
        for (text, expected) in cases {
            assert_eq!(message(text), expected, "{text}");
        }
    }

    #[test]
    fn doubled_and_unsorted_minutes_are_refused() {
        let doubled = format!("{HEADER}{LINE}{LINE}");
        assert_eq!(
            message(&doubled),
            "c.csv, line 3, column timestamp: the minute 2022-01-01T00:00:00.000Z is there twice"
        );
        let unsorted = format!("{LINE}1640995140,1,1,1,1,1");
        assert_eq!(
            message(&unsorted),
            "c.csv, line 2, column timestamp: 2021-12-31T23:59:00.000Z comes after 2022-01-01T00:00:00.000Z: the lines \
             must be in order of time"
        );
        assert!(message(&format!("{LINE}1640995230,1,1,1,1,1")).contains("less than a minute"));
    }

    #[test]
    fn what_is_no_text_or_no_line_is_refused() {
        assert_eq!(read(b"\xff\xfe\n").unwrap_err().to_string(), "c.csv, line 1: the line is not text (UTF-8)");
        assert_eq!(message(&"1".repeat(5000)), "c.csv, line 1: the line is too long for a candle");
    }

    fn zipped(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_is_recognised_by_its_content() {
        let folder = TemporaryFolder::new("candles-gzip");
        let file = folder.write("whole.csv", zipped(&format!("{HEADER}{LINE}")));
        assert_eq!(Candles::open(&file).unwrap().next().unwrap().unwrap().price, Decimal::from(100));
        let file = folder.write("plain.csv.gz", LINE);
        let error = Candles::open(&file).err().unwrap().to_string();
        assert!(error.ends_with("plain.csv.gz: is not a gzip file although its name ends in .gz"), "{error}");
        let missing = Candles::open(Path::new("/nowhere/candles.csv")).err().unwrap().to_string();
        assert!(missing.starts_with("/nowhere/candles.csv: cannot be read: "), "{missing}");
    }

    #[test]
    fn a_cut_off_gzip_file_is_an_error_at_its_end_and_not_a_shorter_market() {
        let lines: String = (0..2000).map(|i| format!("{},1,1,1,1,{i}\n", 1_640_995_200 + i * 60)).collect();
        let whole = zipped(&lines);
        let folder = TemporaryFolder::new("candles-cut");
        let file = folder.write("cut.csv.gz", &whole[..whole.len() / 2]);
        let mut candles = Candles::open(&file).unwrap();
        let error = loop {
            match candles.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the market ended as if it were whole"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.ends_with(": the gzip file is cut off here") && error.contains(", line "), "{error}");
    }
}
