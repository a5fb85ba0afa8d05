//! The few things that the journal asks of a disk, so that a test can put a worse disk in its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// A file that grows.
pub trait Storage {
    /// All that is in it.
    ///
    /// # Errors
    /// As the operating system says.
    fn read(&mut self) -> io::Result<Vec<u8>>;

    /// Appends; after an error, any part of the bytes may have been written.
    ///
    /// # Errors
    /// As the operating system says.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Cuts it to its first `length` bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Makes all of it safe from a power cut.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync(&mut self) -> io::Result<()>;

    /// What people call it.
    fn name(&self) -> String;
}

/// A real file.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    path: PathBuf,
}

impl FileStorage {
    /// Opens the file, or makes it, and makes its name safe from a power cut.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let new = !path.exists();
        let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        if new && let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(Self { file, path: path.to_owned() })
    }
}

impl Storage for FileStorage {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}
