//! The few things that the journal asks of a disk, so that a test can put a worse disk in its place.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// Whoever only looks whether the file is locked holds it for a moment: so often it is tried again.
const LOCK_ATTEMPTS: u32 = 10;
/// And so much later.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// A file that grows.
pub trait Storage {
    /// All that is in it.
    ///
    /// # Errors
    /// As the operating system says.
    fn read(&mut self) -> io::Result<Vec<u8>>;

    /// Writes at this place: at the end, or again what is there. After an error, any part of the bytes may have been written.
    ///
    /// # Errors
    /// As the operating system says.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts it to its first `length` bytes.
    ///
    /// # Errors
    /// As the operating system says.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// Makes all of it safe from a power cut. After an error, what was written since the last one that succeeded may be lost, and
    /// the next one may say nothing of it: it is to be written again first.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync(&mut self) -> io::Result<()>;

    /// The same without waiting for the disk: begins it, or looks whether it has ended; `None` while it is under way. What is
    /// appended meanwhile need not be safe then.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_aside(&mut self) -> Option<io::Result<()>> {
        Some(self.sync())
    }

    /// Sets all that is in it aside, under a name made of `first`, and begins it anew with `bytes`. `false` if this
    /// disk cannot do that; nothing has changed then.
    ///
    /// Wherever it fails or the power is cut, the file holds either all that it did or `bytes`, and in the second case
    /// what was set aside is safe. Which of them it is after a power cut is decided by the next [`Storage::sync`].
    ///
    /// # Errors
    /// As the operating system says; the file is then as it was.
    fn begin_anew(&mut self, _first: u64, _bytes: &[u8]) -> io::Result<bool> {
        Ok(false)
    }

    /// What people call it.
    fn name(&self) -> String;
}

/// A real file, and the compressed ones beside it that were set aside: `journal-000000000000.jsonl.gz` holds what
/// `journal.jsonl` held from line 0 on.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    path: PathBuf,
    folder: PathBuf,
    held: Held,
    /// Whether a name in the folder is not yet safe from a power cut.
    names_changed: bool,
    /// A sync that somebody else waits for: memory cards take their time, up to seconds.
    aside: Option<JoinHandle<io::Result<()>>>,
}

impl FileStorage {
    /// Opens the file, or makes it, locks it, and makes its name safe from a power cut. What an interrupted
    /// [`Storage::begin_anew`] left behind is removed. Readers use [`super::read`] and [`super::history`].
    ///
    /// # Errors
    /// As the operating system says; [`io::ErrorKind::WouldBlock`] if another process writes it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let new = !path.exists();
        let file = open_and_lock(path)?;
        for leftover in [unfinished(path), unfinished(&archive(path, 0))] {
            remove_if_there(&leftover)?;
        }
        if new {
            File::open(&folder)?.sync_all()?;
        }
        let held = Held { path: path.to_owned(), file: Arc::new(Mutex::new(identity(&file.metadata()?))) };
        Ok(Self { file, path: path.to_owned(), folder, held, names_changed: false, aside: None })
    }

    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }

    /// See [`super::JournalFile::rescue`].
    pub(super) fn rescue(&self, bytes: &[u8]) -> io::Result<PathBuf> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".rescued-{}", std::process::id()));
        let rescued = self.path.with_file_name(name);
        let mut file = File::create(&rescued)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        // A link takes no name that somebody has.
        let place = match fs::hard_link(&rescued, &self.path) {
            Ok(()) => {
                fs::remove_file(rescued)?;
                self.path.clone()
            }
            Err(_) => rescued,
        };
        File::open(&self.folder)?.sync_all()?;
        Ok(place)
    }

    fn set_aside(&mut self, first: u64) -> io::Result<()> {
        let bytes = self.read()?;
        let unfinished = unfinished(&archive(&self.path, 0));
        // An attempt that was interrupted has left the same lines, or fewer of them. Anything else under this name is of
        // another journal, whose file was lost or moved away.
        if !bytes.starts_with(&unpacked(&archive(&self.path, first))?) {
            let other = archive(&self.path, first).display().to_string();
            return Err(io::Error::other(format!("{other} is of another journal: move it to a place of its own")));
        }
        let mut encoder = GzEncoder::new(File::create(&unfinished)?, Compression::best());
        encoder.write_all(&bytes)?;
        encoder.finish()?.sync_all()?;
        fs::rename(unfinished, archive(&self.path, first))
    }

    fn begin_sync(&self) -> io::Result<JoinHandle<io::Result<()>>> {
        let file = self.file.try_clone()?;
        thread::Builder::new().name("sync".to_owned()).spawn(move || file.sync_data())
    }

    /// What became of the sync on the side, which has ended or is waited for here.
    fn join(thread: JoinHandle<io::Result<()>>) -> io::Result<()> {
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs it has died")))
    }

    fn write_new(&self, bytes: &[u8]) -> io::Result<File> {
        let path = unfinished(&self.path);
        remove_if_there(&path)?;
        let mut file = OpenOptions::new().read(true).write(true).create_new(true).open(&path)?;
        // Nobody else may have it for a moment once it has the journal's name.
        file.lock()?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(file)
    }
}

impl Storage for FileStorage {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(0))?;
        self.file.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, at)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        if let Some(thread) = self.aside.take() {
            // The operating system tells an error once: it must not go with the thread.
            Self::join(thread)?;
        }
        if self.names_changed {
            File::open(&self.folder)?.sync_all()?;
            self.names_changed = false;
        }
        self.file.sync_data()
    }

    fn sync_aside(&mut self) -> Option<io::Result<()>> {
        match self.aside.take() {
            Some(thread) if thread.is_finished() => return Some(Self::join(thread)),
            Some(thread) => self.aside = Some(thread),
            None if self.names_changed => return Some(self.sync()),
            None => match self.begin_sync() {
                Ok(thread) => self.aside = Some(thread),
                // No thread is to be had: then here.
                Err(_) => return Some(self.sync()),
            },
        }
        None
    }

    fn begin_anew(&mut self, first: u64, bytes: &[u8]) -> io::Result<bool> {
        let prepared = self.set_aside(first).and_then(|()| {
            let new = self.write_new(bytes)?;
            // The archive must be safe before the file gives way.
            File::open(&self.folder)?.sync_all()?;
            let new_identity = identity(&new.metadata()?);
            fs::rename(unfinished(&self.path), &self.path)?;
            *self.held.file.lock().unwrap_or_else(PoisonError::into_inner) = new_identity;
            Ok(new)
        });
        match prepared {
            Ok(new) => {
                self.file = new;
                self.names_changed = true;
                Ok(true)
            }
            Err(error) => {
                // On a full disk their room is needed.
                for leftover in [unfinished(&self.path), unfinished(&archive(&self.path, 0))] {
                    let _ = fs::remove_file(leftover);
                }
                Err(error)
            }
        }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }
}

/// Which file a journal is, and under which name.
#[derive(Clone, Debug)]
pub struct Held {
    path: PathBuf,
    /// Device and number; another after the journal was begun anew.
    file: Arc<Mutex<(u64, u64)>>,
}

impl Held {
    /// What has become of it, if the name is no longer that of this file. A folder that cannot be looked into says nothing.
    pub fn lost(&self) -> Option<String> {
        let held = *self.file.lock().unwrap_or_else(PoisonError::into_inner);
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) == held => None,
            Ok(_) => Some("it was replaced by another file while this bot ran".to_owned()),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Some("it was removed or moved while this bot ran".to_owned())
            }
            Err(_) => None,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// The file under this name, and its lock.
fn open_and_lock(path: &Path) -> io::Result<File> {
    for attempt in 1.. {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            // It may have been begun anew in between: then this is the file that gave way.
            Ok(())
                if fs::metadata(path)
                    .is_ok_and(|named| file.metadata().is_ok_and(|own| identity(&named) == identity(&own))) =>
            {
                return Ok(file);
            }
            Ok(()) | Err(TryLockError::WouldBlock) if attempt < LOCK_ATTEMPTS => thread::sleep(LOCK_PAUSE),
            Ok(()) | Err(TryLockError::WouldBlock) => break,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::WouldBlock, "another instance writes it"))
}

/// Where what a journal held from this line on is set aside. The names sort by the number.
pub(super) fn archive(path: &Path, first: u64) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-{first:012}.jsonl.gz"))
}

/// What a file that was set aside holds; nothing if it is not there.
pub(super) fn unpacked(path: &Path) -> io::Result<Vec<u8>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        other => other?,
    };
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(bytes);
    }
    let mut text = Vec::new();
    MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut text)?;
    Ok(text)
}

/// The name of a file that is being written.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
