//! The faults: what can go wrong, how likely each is in one seed, and how often it happened.

use std::ops::Range;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// A page of the simulated disk, in bytes: about a line of the journal.
const PAGE: usize = 256;

macro_rules! faults {
    ($($name:ident => $text:literal,)*) => {
        /// One kind of fault.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum Fault {
            $($name,)*
        }

        /// Every kind with its words, in the order of the enumeration.
        pub(crate) const FAULTS: &[(Fault, &str)] = &[$((Fault::$name, $text),)*];
    };
}

faults! {
    RequestNotSent => "request not sent",
    RequestLost => "request lost",
    RequestLate => "request arrives after the client gave up",
    AnswerLost => "answer lost after execution",
    AnswerLate => "answer late",
    AnswerCut => "answer cut short",
    AnswerHtml => "answer is HTML",
    AnswerServerError => "answer is a 5xx",
    AnswerTooMany => "HTTP 429 or 403",
    CodeUnknownDone => "unknown outcome by code, executed",
    CodeUnknownNotDone => "unknown outcome by code, not executed",
    CodeClock => "10002",
    CodeRateLimit => "10006 and its kin",
    CodeBusy => "170191 and its kin",
    CodeNotOpen => "170213 on a cancel of an open order",
    CodeFilter => "a filter's code",
    CodeFunds => "170131 although there is enough",
    CodeMakerOnly => "170217",
    CodeRefused => "a code without a rule",
    CodeKey => "the key refused",
    CodeConfiguration => "the configuration refused",
    HiddenOrder => "order not yet in realtime",
    HiddenHistory => "order not yet in history",
    HiddenExecution => "execution not yet listed",
    RealtimeForgotten => "realtime forgets closed orders",
    StreamDropped => "stream dropped",
    StreamMute => "stream mute",
    FrameLate => "frame late",
    FrameTwice => "frame doubled",
    FrameReordered => "frame out of order",
    FrameLost => "frame lost",
    FrameUnreadable => "frame unreadable",
    PartialFill => "liquidity short: partial fills, market orders with a rest",
    CancelRace => "cancel races a fill",
    CancelledByOthers => "order cancelled by the exchange or the user",
    AmendedByOthers => "order amended by the user",
    ManualOrder => "manual order on the symbol",
    Deposit => "deposit",
    Withdrawal => "withdrawal",
    FeeCoin => "fee coin changed",
    Filters => "filters changed",
    ClockJump => "clock jumped",
    ClockWrong => "clock wrong at a start",
    CrashBeforeRequest => "crash before a request",
    CrashAfterRequest => "crash after a request",
    CrashBeforeWrite => "crash before a journal write",
    CrashInWrite => "crash inside a journal write",
    CrashAfterWrite => "crash after a journal write",
    CrashWaiting => "crash while waiting",
    PowerCut => "power cut: the unsynced tail lost",
    DiskFull => "disk full",
    WriteError => "write error",
    SyncError => "sync error",
    DirectoryLost => "state directory lost",
    OutageOfMinutes => "outage of minutes",
    OutageOfADay => "outage longer than 24 hours",
    OutageOfAWeek => "outage longer than 7 days",
    Stop => "stopped and started again",
    CrashAnew => "crash while the journal is begun anew",
    OldFileBack => "power cut: the journal's old file is back",
    SyncSlow => "sync takes its time",
    TailHole => "power cut: a hole in the unsynced tail",
    SyncLoses => "sync error that loses what it was to write",
    PagesForgotten => "what a sync lost is forgotten by the machine too",
}

/// Drawn apart, so that the seeds that were looked at before there were these faults mean what they meant.
const APART: [Fault; 4] = [Fault::SyncSlow, Fault::TailHole, Fault::SyncLoses, Fault::PagesForgotten];

/// How often each kind happened.
pub(crate) type Counts = [u64; FAULTS.len()];

/// The faults of one seed.
pub(crate) struct Faults {
    rng: SmallRng,
    /// See [`APART`].
    slow_syncs: SmallRng,
    disk: SmallRng,
    chance: [f64; FAULTS.len()],
    /// How often each kind happened.
    pub(crate) counts: Counts,
    /// No faults any more.
    pub(crate) ceased: bool,
}

impl Faults {
    /// No fault at all until [`Faults::set`].
    pub(crate) fn none(seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed ^ 0xFA17),
            slow_syncs: SmallRng::seed_from_u64(seed ^ 0x0005_109E),
            disk: SmallRng::seed_from_u64(seed ^ 0x0D15_C000),
            chance: [0.0; FAULTS.len()],
            counts: [0; FAULTS.len()],
            ceased: false,
        }
    }

    /// A seed's own faults: some kinds, each with its own probability.
    pub(crate) fn drawn(seed: u64) -> Self {
        let mut faults = Self::none(seed);
        let some = [0.0, 0.1, 0.25, 0.5][faults.rng.random_range(0..4)];
        for (fault, _) in FAULTS.iter().filter(|(fault, _)| !APART.contains(fault)) {
            if faults.rng.random_bool(some) {
                let chance = f64::from(faults.rng.random_range(5..100_u32)) / 1000.0;
                faults.set(*fault, chance * weight(*fault));
            }
        }
        if faults.slow_syncs.random_bool(some) {
            faults.set(Fault::SyncSlow, 0.3);
        }
        for fault in [Fault::TailHole, Fault::SyncLoses, Fault::PagesForgotten] {
            if faults.disk.random_bool(some) {
                faults.set(fault, 0.5);
            }
        }
        faults
    }

    /// Gives a kind its probability, for each time that it could happen.
    pub(crate) fn set(&mut self, fault: Fault, chance: f64) {
        self.chance[fault as usize] = chance;
    }

    /// Whether it happens now.
    pub(crate) fn hit(&mut self, fault: Fault) -> bool {
        let chance = self.chance[fault as usize];
        let hit = !self.ceased && chance > 0.0 && self.rng.random_bool(chance);
        self.counts[fault as usize] += u64::from(hit);
        hit
    }

    /// How long a sync takes, in milliseconds, if it does not end at once.
    pub(crate) fn slow_sync(&mut self) -> Option<i64> {
        let chance = self.chance[Fault::SyncSlow as usize];
        let slow = !self.ceased && chance > 0.0 && self.slow_syncs.random_bool(chance);
        self.counts[Fault::SyncSlow as usize] += u64::from(slow);
        slow.then(|| self.slow_syncs.random_range(1..=3_000))
    }

    /// Whether a fault of the disk happens now that is drawn apart.
    pub(crate) fn hits_disk(&mut self, fault: Fault) -> bool {
        let chance = self.chance[fault as usize];
        let hit = !self.ceased && chance > 0.0 && self.disk.random_bool(chance);
        self.counts[fault as usize] += u64::from(hit);
        hit
    }

    /// Some of the pages of this part of a file.
    pub(crate) fn some_pages(&mut self, part: Range<usize>) -> Vec<Range<usize>> {
        let pages = (part.start / PAGE..part.end.div_ceil(PAGE)).map(|page| page * PAGE..(page + 1) * PAGE);
        let pages = pages.map(|page| page.start.max(part.start)..page.end.min(part.end));
        pages.filter(|page| !page.is_empty() && self.disk.random_bool(0.5)).collect()
    }

    /// Counts one that follows from another.
    pub(crate) fn count(&mut self, fault: Fault) {
        self.counts[fault as usize] += 1;
    }

    /// A number for the details of a fault.
    pub(crate) fn number(&mut self, from: i64, to: i64) -> i64 {
        self.rng.random_range(from..=to)
    }
}

/// What is drastic happens more rarely than what is a nuisance.
fn weight(fault: Fault) -> f64 {
    match fault {
        Fault::CodeKey | Fault::CodeConfiguration | Fault::AnswerTooMany => 0.1,
        Fault::DirectoryLost | Fault::PowerCut => 4.0,
        Fault::OutageOfADay | Fault::OutageOfAWeek => 1.5,
        Fault::ClockWrong => 5.0,
        Fault::CrashAnew => 9.0,
        Fault::RealtimeForgotten | Fault::Filters | Fault::FeeCoin | Fault::Withdrawal | Fault::AmendedByOthers => 0.3,
        Fault::CrashWaiting | Fault::Stop => 0.2,
        _ => 1.0,
    }
}
