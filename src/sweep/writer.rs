//! Writing a file of results, line by line; one that an earlier run left is gone on with.
//!
//! In: the head, and the results in the order of their numbers. Out: the file. What can go wrong: the file is of another
//! sweep, holds something else, cannot be written, or another process writes it; the [`ResultsFileError`] says which, and
//! what to do.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use super::reader::{LONGEST_LINE, Reader, no_results};
use super::results::{Head, ResultsFileError, SetResult, line_of};

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
    /// [`ResultsFileError`]; a file of anything else is left as it is.
    pub fn open(path: &Path, head: &Head, mut known: impl FnMut(SetResult)) -> Result<(Self, u64), ResultsFileError> {
        let failed = |error| ResultsFileError::Io(path.to_owned(), error);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(ResultsFileError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let mut writer = Self { path: path.to_owned(), file };
        let Some(mut reader) = Reader::begin(path, writer.file.try_clone().map_err(failed)?)? else {
            writer.begin(head)?;
            return Ok((writer, 0));
        };
        let another = |what: &str| format!("is of another sweep ({what} differs): remove it, or name another file");
        if let Some(what) = head.difference(&reader.head) {
            return Err(ResultsFileError::Wrong(path.to_owned(), another(what)));
        }
        if head.shard != reader.head.shard {
            return Err(ResultsFileError::Wrong(path.to_owned(), another("the shard")));
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
    /// [`ResultsFileError`].
    pub fn create(path: &Path, head: &Head) -> Result<Self, ResultsFileError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path);
        let mut writer =
            Self { path: path.to_owned(), file: file.map_err(|error| ResultsFileError::Io(path.to_owned(), error))? };
        writer.begin(head)?;
        Ok(writer)
    }

    /// Writes the first line over what is there of it: nothing else may be.
    fn begin(&mut self, head: &Head) -> Result<(), ResultsFileError> {
        let first = line_of(head);
        let failed = |error| ResultsFileError::Io(self.path.clone(), error);
        let mut there = String::new();
        if self.file.metadata().map_err(failed)?.len() > 0 {
            self.file.seek(SeekFrom::Start(0)).map_err(failed)?;
            let torn = (&self.file).take(LONGEST_LINE).read_to_string(&mut there).is_ok() && first.starts_with(&there);
            if !torn {
                return Err(no_results(&self.path));
            }
        }
        self.cut(0)?;
        self.put(&first)
    }

    fn cut(&mut self, length: u64) -> Result<(), ResultsFileError> {
        let cut = self.file.set_len(length).and_then(|()| self.file.seek(SeekFrom::Start(length)));
        cut.map(drop).map_err(|error| ResultsFileError::Io(self.path.clone(), error))
    }

    fn put(&mut self, line: &str) -> Result<(), ResultsFileError> {
        self.file.write_all(line.as_bytes()).map_err(|error| ResultsFileError::Io(self.path.clone(), error))
    }

    /// Appends one result.
    ///
    /// # Errors
    /// [`ResultsFileError`].
    pub fn append(&mut self, line: &SetResult) -> Result<(), ResultsFileError> {
        self.put(&line_of(line))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::results::tests::{head, known, result, results};
    use super::super::space::Shard;
    use super::*;
    use crate::temporary_folder::TemporaryFolder;

    #[test]
    fn a_file_that_was_cut_anywhere_goes_on_after_its_last_whole_line() {
        let folder = TemporaryFolder::new("results-torn");
        let head = head(4, None);
        let path = results(&folder, "r", &head, 4);
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
        let folder = TemporaryFolder::new("results-zeros");
        let head = head(4, None);
        let path = results(&folder, "r", &head, 2);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend(*b"\0\0\0\n");
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(known(&path, &head).unwrap(), [0, 1]);
    }

    #[test]
    fn a_file_of_anything_else_is_left_alone_and_named() {
        let folder = TemporaryFolder::new("results-other");
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
        let folder = TemporaryFolder::new("results-differs");
        let path = results(&folder, "r", &head(4, None), 1);
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
    fn two_processes_do_not_write_one_file() {
        let folder = TemporaryFolder::new("results-busy");
        let head = head(4, None);
        let path = folder.file("r");
        let _writer = Writer::open(&path, &head, |_| ()).unwrap();
        assert!(matches!(Writer::open(&path, &head, |_| ()), Err(ResultsFileError::Busy(_))));
    }
}
