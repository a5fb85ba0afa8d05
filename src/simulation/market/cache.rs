//! A faster copy of a candle file, beside it: whole ticks, 24 bytes a candle, nothing to parse.
//!
//! In: the candle file and the tick. Out: the recording, if the copy is whole and was made from this very file, else
//! none: it is then made again. The copy carries the size, the time of the last change and a checksum of the beginning
//! and the end of the file that it was made from, and a checksum of itself. A copy that cannot be used costs
//! time and nothing else, so no error is reported.

use std::fs::{self, File};
use std::io::{self, BufWriter, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crc32fast::Hasher;

use super::MarketError;
use super::recording::Recording;
use crate::core::{Decimal, Timestamp};

/// Changes with the format, so that an older copy is not read.
const MAGIC: [u8; 16] = *b"recompra candle1";
/// Bytes of one candle.
const CANDLE: usize = 24;
/// Bytes at each end of the source that its checksum covers.
const SAMPLE: u64 = 64 * 1024;
/// Candles that are read or written at once.
const BATCH: usize = 2048;

/// What a copy says first: magic, size and time of change of the source, checksum of its ends, tick, candles.
const HEADER: usize = 16 + 8 + 16 + 4 + 16 + 8;

impl Recording {
    /// Reads a file of candles, or the faster copy of it that an earlier run left beside it; leaves one if there is none.
    ///
    /// # Errors
    /// As [`Recording::read`].
    pub fn open(path: &Path, tick_size: Decimal) -> Result<Self, MarketError> {
        if let Some(recording) = load(path, tick_size) {
            return Ok(recording);
        }
        let recording = Self::read(path, tick_size)?;
        store(path, &recording);
        Ok(recording)
    }
}

/// Where the copy of a file is.
fn path_of(source: &Path) -> PathBuf {
    let mut name = source.file_name().unwrap_or_default().to_owned();
    name.push(".recompra-cache");
    source.with_file_name(name)
}

/// The recording of a file's copy, if it is one.
fn load(source: &Path, tick_size: Decimal) -> Option<Recording> {
    let mut file = File::open(path_of(source)).ok()?;
    let length = file.metadata().ok()?.len();
    let mut header = [0; HEADER];
    file.read_exact(&mut header).ok()?;
    let count = u64::from_le_bytes(header[HEADER - 8..].try_into().ok()?);
    let whole = (HEADER as u64).checked_add(count.checked_mul(CANDLE as u64)?)?.checked_add(4)?;
    if length != whole || header != self::header(source, tick_size, count).ok()? {
        return None;
    }
    let mut left = usize::try_from(count).ok()?;
    let (mut starts, mut prices) = (Vec::with_capacity(left), Vec::with_capacity(left));
    let mut checksum = Hasher::new();
    checksum.update(&header);
    let mut bytes = vec![0; BATCH * CANDLE];
    while left > 0 {
        let batch = bytes.get_mut(..left.min(BATCH) * CANDLE)?;
        file.read_exact(batch).ok()?;
        checksum.update(batch);
        for candle in batch.as_chunks::<CANDLE>().0 {
            let (start, ticks) = candle.split_first_chunk::<8>()?;
            let ([open, second, third, close], []) = ticks.as_chunks::<4>() else { return None };
            starts.push(Timestamp(i64::from_le_bytes(*start)));
            prices.push([open, second, third, close].map(|bytes| u32::from_le_bytes(*bytes)));
        }
        left -= batch.len() / CANDLE;
    }
    let mut expected = [0; 4];
    file.read_exact(&mut expected).ok()?;
    let sound = checksum.finalize() == u32::from_le_bytes(expected);
    Recording::of_columns(tick_size, starts, prices).filter(|_| sound)
}

/// Leaves a copy of a recording beside its file; whoever cannot write there does without.
fn store(source: &Path, recording: &Recording) {
    let path = path_of(source);
    let mut unfinished = path.clone();
    unfinished.as_mut_os_string().push(format!(".{}", std::process::id()));
    let done = write(source, recording, &unfinished).and_then(|()| fs::rename(&unfinished, &path));
    if let Err(error) = done {
        let _ = fs::remove_file(&unfinished);
        log::debug!("{}: not kept: {error}", path.display());
    }
}

fn write(source: &Path, recording: &Recording, path: &Path) -> io::Result<()> {
    let header = header(source, recording.tick_size(), recording.len() as u64)?;
    let mut checksum = Hasher::new();
    let mut file = BufWriter::with_capacity(BATCH * CANDLE, File::create(path)?);
    let mut put = |bytes: &[u8]| {
        checksum.update(bytes);
        file.write_all(bytes)
    };
    put(&header)?;
    for candle in recording.bytes() {
        put(&candle)?;
    }
    file.write_all(&checksum.finalize().to_le_bytes())?;
    file.flush()
}

/// What the copy of a file as it is now begins with.
fn header(source: &Path, tick_size: Decimal, count: u64) -> io::Result<[u8; HEADER]> {
    let mut file = File::open(source)?;
    let about = file.metadata()?;
    let changed = about.modified()?.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let mut sample = Vec::new();
    (&mut file).take(SAMPLE).read_to_end(&mut sample)?;
    file.seek(SeekFrom::Start(about.len().saturating_sub(SAMPLE)))?;
    file.take(SAMPLE).read_to_end(&mut sample)?;
    let mut header = Cursor::new([0; HEADER]);
    header.write_all(&MAGIC)?;
    header.write_all(&about.len().to_le_bytes())?;
    header.write_all(&changed.to_le_bytes())?;
    header.write_all(&crc32fast::hash(&sample).to_le_bytes())?;
    header.write_all(&tick_size.normalize().serialize())?;
    header.write_all(&count.to_le_bytes())?;
    Ok(header.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporary_folder::TemporaryFolder;

    const TICK: Decimal = Decimal::from_parts(1, 0, 0, false, 2);

    fn candles(folder: &TemporaryFolder, count: i64) -> PathBuf {
        let line = |i: i64| format!("{},{},{},{},{},1\n", 1_640_995_200 + i * 60, 100 + i, 102 + i, 99 + i, 101 + i);
        folder.write("c.csv", (0..count).map(line).collect::<String>())
    }

    #[test]
    fn the_copy_is_what_was_read() {
        let folder = TemporaryFolder::new("cache-same");
        let path = candles(&folder, 5_000);
        let read = Recording::open(&path, TICK).unwrap();
        assert_eq!(read, Recording::read(&path, TICK).unwrap());
        assert_eq!(load(&path, TICK), Some(read.clone()));
        assert_eq!(Recording::open(&path, TICK).unwrap(), read);
    }

    #[test]
    fn a_copy_of_another_file_or_tick_is_not_taken() {
        let folder = TemporaryFolder::new("cache-stale");
        let path = candles(&folder, 50);
        Recording::open(&path, TICK).unwrap();
        assert_eq!(load(&path, Decimal::new(1, 1)), None);
        candles(&folder, 51);
        assert_eq!(load(&path, TICK), None);
        assert_eq!(Recording::open(&path, TICK).unwrap().len(), 51);
        assert_eq!(load(&path, TICK).map(|recording| recording.len()), Some(51));
    }

    #[test]
    fn a_damaged_copy_is_made_again() {
        let folder = TemporaryFolder::new("cache-damaged");
        let path = candles(&folder, 3_000);
        let read = Recording::open(&path, TICK).unwrap();
        let whole = fs::read(path_of(&path)).unwrap();
        for place in [0, 20, HEADER + 3, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(path_of(&path), &damaged).unwrap();
            assert_eq!(load(&path, TICK), None, "byte {place}");
            fs::write(path_of(&path), &whole[..place]).unwrap();
            assert_eq!(load(&path, TICK), None, "cut at {place}");
            assert_eq!(Recording::open(&path, TICK).unwrap(), read);
        }
    }

    #[test]
    fn where_nothing_can_be_written_nothing_is_kept_and_nothing_is_wrong() {
        let folder = TemporaryFolder::new("cache-blocked");
        let path = candles(&folder, 10);
        fs::create_dir(path_of(&path)).unwrap();
        assert_eq!(Recording::open(&path, TICK).unwrap().len(), 10);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no unfinished copy is left");
    }
}
