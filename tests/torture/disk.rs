//! A disk in memory: what is synced survives a power cut, what is not may be lost or torn, and its pages reach the disk in any
//! order. A sync that fails may lose what it was to write, and the next one does not know of it, as on Linux. A file that was
//! put in the place of another is there for certain only after the next sync.

use std::cell::RefCell;
use std::io;
use std::ops::Range;
use std::rc::Rc;

use recompra::journal::Storage;

use super::faults::Fault;
use super::sabotage::Sabotage;
use super::world::World;

/// The journal's file.
#[derive(Default)]
pub(crate) struct Disk {
    /// As the running process sees it.
    pub(crate) bytes: Vec<u8>,
    /// How much of it a power cut cannot take.
    pub(crate) synced: usize,
    /// What a failed sync has lost: it counts as written, and only what is written again reaches the disk.
    lost: Vec<Range<usize>>,
    /// What the file held before it was begun anew, all of it synced, until it is certain that it is gone.
    replaced: Option<Vec<u8>>,
    /// No room until this moment, in milliseconds.
    pub(crate) full_until: i64,
}

impl Disk {
    /// Keeps what was synced and some part of the rest, with holes, perhaps followed by nothing but zeros. How much is as it
    /// was.
    pub(crate) fn cut_power(&mut self, keep: usize, holes: Vec<Range<usize>>, zeros: bool) -> usize {
        let length = self.bytes.len();
        let kept = self.synced + keep.min(length - self.synced);
        self.lost.extend(holes);
        self.bytes.truncate(kept);
        let kept = self.forget_what_was_lost();
        if zeros {
            self.bytes.resize(length, 0);
        }
        self.synced = self.bytes.len();
        self.replaced = None;
        kept
    }

    /// What a sync has lost is read back as the disk has it. How much is as it was.
    pub(crate) fn forget_what_was_lost(&mut self) -> usize {
        let length = self.bytes.len();
        let holes = std::mem::take(&mut self.lost).into_iter().map(|hole| hole.start.min(length)..hole.end.min(length));
        let holes: Vec<_> = holes.filter(|hole| !hole.is_empty()).collect();
        holes.iter().for_each(|hole| self.bytes[hole.clone()].fill(0));
        holes.iter().map(|hole| hole.start).min().unwrap_or(length)
    }

    /// Whether a sync has lost something that was not written again.
    pub(crate) fn lacks_something(&self) -> bool {
        !self.lost.is_empty()
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let end = at + bytes.len();
        self.bytes.resize(self.bytes.len().max(end), 0);
        self.bytes[at..end].copy_from_slice(bytes);
        let rest = |hole: &Range<usize>| [hole.start..hole.end.min(at), hole.start.max(end)..hole.end];
        self.lost = self.lost.iter().flat_map(rest).filter(|hole| !hole.is_empty()).collect();
    }

    /// All that was written up to here is safe now, but for what an earlier sync has lost.
    fn sync(&mut self, length: usize) {
        let safe = self.lost.iter().map(|hole| hole.start).min().unwrap_or(length);
        self.synced = self.synced.max(safe.min(length).min(self.bytes.len()));
        self.replaced = None;
    }

    /// After a power cut the file is again the one that was replaced.
    pub(crate) fn bring_back(&mut self) {
        self.bytes = self.replaced.take().unwrap_or_default();
        self.lost.clear();
        self.synced = self.bytes.len();
    }

    /// Whether a power cut can bring back another file.
    pub(crate) fn is_replaced(&self) -> bool {
        self.replaced.is_some()
    }

    /// The directory is gone.
    pub(crate) fn lose(&mut self) {
        *self = Self::default();
    }
}

impl World {
    /// Some pages of what is not safe yet count as written from now on, although the disk has not got them.
    fn sync_loses(&mut self) {
        let pages = self.faults.some_pages(self.disk.synced..self.disk.bytes.len());
        self.say(&format!("fault: a sync loses {pages:?}"));
        self.disk.lost.extend(pages);
    }
}

/// The disk as the journal holds it.
pub(crate) struct DiskHandle {
    world: Rc<RefCell<World>>,
    /// Of a sync on the side: how much it makes safe, and when it ends.
    syncing: Option<(usize, i64)>,
}

impl DiskHandle {
    pub(crate) fn new(world: &Rc<RefCell<World>>) -> Self {
        Self { world: Rc::clone(world), syncing: None }
    }
}

impl Storage for DiskHandle {
    fn read(&mut self) -> io::Result<Vec<u8>> {
        Ok(self.world.borrow().disk.bytes.clone())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let grows = at == world.disk.bytes.len();
        if grows {
            world.journal_grows(bytes.len());
        } else if world.options.sabotage == Some(Sabotage::BelievesASyncThatFailed) {
            return Ok(());
        }
        world.crash_if(Fault::CrashBeforeWrite);
        let part = usize::try_from(world.faults.number(0, bytes.len() as i64 - 1)).unwrap_or(0);
        if world.faults.hit(Fault::DiskFull) {
            world.disk.full_until = world.now + world.faults.number(1_000, 120_000);
            world.say("fault: the disk is full");
        }
        if world.now < world.disk.full_until {
            world.disk.write(at, &bytes[..part]);
            // Whole lines of it may survive a death before the next write; they are true all the same.
            world.mirror_is_exact &= !grows;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if world.faults.hit(Fault::WriteError) {
            world.say("fault: a write error");
            world.disk.write(at, &bytes[..part]);
            // Whole lines of it may survive a death before the next write; they are true all the same.
            world.mirror_is_exact &= !grows;
            return Err(io::Error::other("the disk answers with an error"));
        }
        if world.faults.hit(Fault::CrashInWrite) {
            world.disk.write(at, &bytes[..part]);
            world.crash(Fault::CrashInWrite);
        }
        world.disk.write(at, bytes);
        world.crash_if(Fault::CrashAfterWrite);
        Ok(())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let world = &mut *self.world.borrow_mut();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        world.disk.bytes.truncate(length);
        world.disk.synced = world.disk.synced.min(length);
        world.disk.lost.iter_mut().for_each(|hole| hole.end = hole.end.min(length));
        world.disk.lost.retain(|hole| !hole.is_empty());
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        // One on the side would be waited for.
        self.syncing = None;
        let world = &mut *self.world.borrow_mut();
        if world.faults.hit(Fault::SyncError) {
            world.say("fault: a sync error");
            if world.faults.hits_disk(Fault::SyncLoses) {
                world.sync_loses();
            }
            return Err(io::Error::other("the disk cannot be synced"));
        }
        world.disk.sync(usize::MAX);
        Ok(())
    }

    fn sync_aside(&mut self) -> Option<io::Result<()>> {
        let Some((length, end)) = self.syncing else {
            let slow = self.world.borrow_mut().faults.slow_sync();
            let Some(time) = slow else { return Some(self.sync()) };
            let world = &mut *self.world.borrow_mut();
            world.say("fault: a slow sync");
            self.syncing = Some((world.disk.bytes.len(), world.now + time));
            return None;
        };
        let world = &mut *self.world.borrow_mut();
        if world.now < end {
            return None;
        }
        self.syncing = None;
        if world.faults.hits_disk(Fault::SyncLoses) {
            world.sync_loses();
            return Some(Err(io::Error::other("the disk cannot be synced")));
        }
        world.disk.sync(length);
        Some(Ok(()))
    }

    fn begin_anew(&mut self, _first: u64, bytes: &[u8]) -> io::Result<bool> {
        let world = &mut *self.world.borrow_mut();
        world.crash_if(Fault::CrashAnew);
        if world.faults.hit(Fault::WriteError) || world.now < world.disk.full_until {
            world.say("fault: the journal cannot be begun anew");
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        if world.disk.synced < world.disk.bytes.len() {
            world.broken(6, "the journal is begun anew before it is synced".to_owned());
        }
        world.disk.synced = bytes.len();
        world.disk.lost.clear();
        world.disk.replaced = Some(std::mem::replace(&mut world.disk.bytes, bytes.to_vec()));
        // What is booked so far is in either file.
        world.booked.values_mut().for_each(|end| *end = 0);
        world.crash_if(Fault::CrashAnew);
        Ok(true)
    }

    fn name(&self) -> String {
        "journal.jsonl".to_owned()
    }
}
