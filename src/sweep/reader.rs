//! Reading a file of results, or the parts of one sweep as if they were one file.
//!
//! In: files. Out: the head and the results, in the order of their numbers. A last line that is torn does not count. What
//! can go wrong: a file cannot be read, holds something else, or is a part of another sweep; the [`ResultsFileError`] says
//! which file, and what to do.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::results::{FORMAT, Head, ResultsFileError, SetResult};
use super::space::Shard;

/// No line is longer.
pub(super) const LONGEST_LINE: u64 = 1 << 24;

/// Reads a file of results from its beginning.
pub struct Reader {
    path: PathBuf,
    lines: BufReader<File>,
    /// What it says first.
    pub head: Head,
    /// Results that were read.
    pub lines_read: u64,
    /// Bytes of the lines that were read.
    pub(super) bytes_read: u64,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// [`ResultsFileError`].
    pub fn open(path: &Path) -> Result<Self, ResultsFileError> {
        let file = File::open(path).map_err(|error| ResultsFileError::Io(path.to_owned(), error))?;
        Self::begin(path, file)?.ok_or_else(|| ResultsFileError::Wrong(path.to_owned(), "is empty".to_owned()))
    }

    /// Reads the first line; `None` if not even that was written whole.
    pub(super) fn begin(path: &Path, file: File) -> Result<Option<Self>, ResultsFileError> {
        let mut lines = BufReader::new(file);
        let Some(bytes) = next_line(&mut lines, path)? else { return Ok(None) };
        let head: Head = serde_json::from_slice(&bytes).map_err(|_| no_results(path))?;
        if !head.part().is_one() {
            return Err(no_results(path));
        }
        if head.format != FORMAT {
            let what = format!("has format {}, this program knows {FORMAT}", head.format);
            return Err(ResultsFileError::Wrong(path.to_owned(), what));
        }
        Ok(Some(Self { path: path.to_owned(), lines, head, lines_read: 0, bytes_read: bytes.len() as u64 }))
    }

    /// The next result; `None` at the end, or where the last line is torn.
    ///
    /// # Errors
    /// [`ResultsFileError`]: the line is not the one that belongs here.
    pub fn next_result(&mut self) -> Result<Option<SetResult>, ResultsFileError> {
        let Some(bytes) = next_line(&mut self.lines, &self.path)? else { return Ok(None) };
        let wrong = |what: String| {
            let advice = "remove the file, or name another";
            ResultsFileError::Wrong(self.path.clone(), format!("line {}: {what}: {advice}", self.lines_read + 2))
        };
        let line: SetResult = match serde_json::from_slice(&bytes) {
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

/// The file begins with something else than the head of a sweep.
pub(super) fn no_results(path: &Path) -> ResultsFileError {
    let what = "line 1: this is no file of a sweep's results: those begin with {\"type\":\"sweep\"";
    ResultsFileError::Wrong(path.to_owned(), what.to_owned())
}

/// The next line with its end; `None` where there is none, or it is torn.
fn next_line(lines: &mut BufReader<File>, path: &Path) -> Result<Option<Vec<u8>>, ResultsFileError> {
    let mut bytes = Vec::new();
    let read = lines.take(LONGEST_LINE).read_until(b'\n', &mut bytes);
    read.map_err(|error| ResultsFileError::Io(path.to_owned(), error))?;
    Ok(Some(bytes).filter(|bytes| bytes.last() == Some(&b'\n')))
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
    /// [`ResultsFileError`]: one is of another sweep, missing or given twice.
    pub fn open(paths: &[PathBuf]) -> Result<Self, ResultsFileError> {
        let mut parts = paths.iter().map(|path| Reader::open(path)).collect::<Result<Vec<_>, _>>()?;
        parts.sort_by_key(|part| part.head.part().index);
        check_parts(&parts)?;
        match parts.first() {
            Some(first) => Ok(Self { head: Head { shard: None, ..first.head.clone() }, parts, next: 0 }),
            None => Err(ResultsFileError::Wrong(PathBuf::from("merge"), "no file is named".to_owned())),
        }
    }

    /// The next result, in the order of the numbers; `None` after the last.
    ///
    /// # Errors
    /// [`ResultsFileError`]: a part is not finished, or holds what is no result.
    pub fn next_result(&mut self) -> Result<Option<SetResult>, ResultsFileError> {
        let place = self.next % self.parts.len() as u64;
        let part = usize::try_from(place).ok().and_then(|place| self.parts.get_mut(place));
        let Some(part) = part.filter(|_| self.next < self.head.sets) else { return Ok(None) };
        let line = part.next_result()?;
        if line.is_none() {
            let (done, all) = (part.lines_read, part.head.sets_here());
            let what = format!("has {done} of {all} sets: run it again with the same --out, it goes on");
            return Err(ResultsFileError::Wrong(part.path.clone(), what));
        }
        self.next += 1;
        Ok(line)
    }
}

/// Whether the parts, in the order of their indices, are all of one sweep.
fn check_parts(parts: &[Reader]) -> Result<(), ResultsFileError> {
    let Some(first) = parts.first() else { return Ok(()) };
    let of = first.head.part().of;
    for part in parts {
        let what = match first.head.difference(&part.head) {
            Some(what) => what,
            None if part.head.part().of != of => "the number of parts",
            None => continue,
        };
        let message = format!("is of another sweep than {} ({what} differs)", first.path.display());
        return Err(ResultsFileError::Wrong(part.path.clone(), message));
    }
    for pair in parts.windows(2) {
        if pair[0].head.shard == pair[1].head.shard {
            let message = format!("is the same part as {}", pair[0].path.display());
            return Err(ResultsFileError::Wrong(pair[1].path.clone(), message));
        }
    }
    let given = |index: &u64| parts.iter().any(|part| part.head.part().index == *index);
    let missing: Vec<String> =
        (1..=of).filter(|index| !given(index)).take(20).map(|index| Shard { index, of }.to_string()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!("is one of {of} parts, missing: {}", missing.join(", "));
    Err(ResultsFileError::Wrong(first.path.clone(), message))
}

#[cfg(test)]
mod tests {
    use super::super::results::tests::{head, known, results};
    use super::*;
    use crate::temporary_folder::TemporaryFolder;

    #[test]
    fn a_line_that_is_missing_in_the_middle_is_named() {
        let folder = TemporaryFolder::new("results-gap");
        let head = head(4, None);
        let path = results(&folder, "r", &head, 4);
        let text = std::fs::read_to_string(&path).unwrap();
        let gap: String =
            text.lines().enumerate().filter(|(at, _)| *at != 2).map(|(_, line)| format!("{line}\n")).collect();
        std::fs::write(&path, gap).unwrap();
        let told = known(&path, &head).unwrap_err().to_string();
        assert!(told.contains("line 3: is set 2, set 1 belongs here"), "{told}");
    }

    #[test]
    fn each_error_names_its_file_line_and_field() {
        let folder = TemporaryFolder::new("results-errors");
        let path = results(&folder, "r", &head(2, None), 1);
        let text = std::fs::read_to_string(&path).unwrap();
        let read = |text: &str| -> Result<Option<SetResult>, ResultsFileError> {
            std::fs::write(&path, text).unwrap();
            let mut reader = Reader::open(&path)?;
            reader.next_result()?;
            reader.next_result()
        };
        let told = |text: &str| read(text).unwrap_err().to_string();
        assert!(told("").ends_with("r: is empty"));
        assert!(
            told("a,b\n")
                .ends_with("r: line 1: this is no file of a sweep's results: those begin with {\"type\":\"sweep\"")
        );
        assert!(told(&text.replace("\"format\":1", "\"format\":2")).contains("has format 2, this program knows 1"));
        let without_axes = text.replace("\"axes\"", "\"a\"");
        assert!(told(&without_axes).contains("line 1: this is no file of a sweep's results"));
        let field = text.replace("drawdown_percent", "d") + &text;
        assert!(
            told(&field).contains("line 2: is no result of a sweep (missing field `drawdown_percent`"),
            "{}",
            told(&field)
        );
        assert_eq!(read(&(text + "{\"type\":\"res")).unwrap(), None, "torn");
    }

    fn joined(paths: &[PathBuf]) -> Result<Vec<u64>, ResultsFileError> {
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
        let folder = TemporaryFolder::new("results-join");
        let part = |text: &str, done| results(&folder, &text.replace('/', "-"), &head(7, Some(text)), done);
        let (first, second, third) = (part("1/3", 3), part("2/3", 2), part("3/3", 2));
        assert_eq!(joined(&[third.clone(), first.clone(), second.clone()]).unwrap(), (0..7).collect::<Vec<_>>());
        let told = |paths: &[&PathBuf]| {
            joined(&paths.iter().map(|path| (*path).clone()).collect::<Vec<_>>()).unwrap_err().to_string()
        };
        assert!(told(&[&third]).contains("missing: 1/3, 2/3"));
        assert!(told(&[&first, &second, &first, &third]).contains("is the same part as"));
        let unfinished = results(&folder, "u", &head(7, Some("2/3")), 1);
        assert!(told(&[&first, &unfinished, &third]).contains("has 1 of 2 sets"));
        let other = results(&folder, "o", &head(8, Some("2/3")), 3);
        assert!(told(&[&first, &other, &third]).contains("what is swept differs"));
        let halves = results(&folder, "h", &head(7, Some("2/2")), 3);
        assert!(told(&[&first, &halves]).contains("the number of parts differs"));
        assert_eq!(joined(&[results(&folder, "all", &head(2, None), 2)]).unwrap(), [0, 1]);
    }
}
