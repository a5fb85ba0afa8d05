//! A process that writes its journal, and begins it anew all the time, is killed at random moments: what it has written is
//! there, once.

use std::io::Read as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use recompra::core::record::Record;
use recompra::core::{Decimal, Timestamp};
use recompra::engine::ports::Journal as _;
use recompra::journal::{FileStorage, JournalFile, history};

/// Where the process that is killed writes.
const JOURNAL: &str = "RECOMPRA_TEST_JOURNAL";
const KILLS: u64 = 40;
/// On a busy machine few of them find the process at work: then there are more, until the journal was begun anew so often.
const MOST_KILLS: u64 = 800;
const FILES: usize = 10;

#[test]
#[ignore = "it is the process that the other test kills"]
fn writes_until_it_is_killed() {
    let path = PathBuf::from(std::env::var_os(JOURNAL).unwrap());
    let (mut journal, recovery) = JournalFile::open(FileStorage::open(&path).unwrap()).unwrap();
    journal.begin_anew_at(1500);
    let last = recovery.ledger.last_cycle;
    let moment = |cycle| Timestamp(i64::try_from(cycle).unwrap());
    let closed = |cycle| Record::CycleClosed { cycle, profit: Decimal::ZERO };
    if recovery.ledger.cycle.is_some() {
        journal.append(moment(last), &[closed(last)]).unwrap();
    }
    for cycle in last + 1.. {
        journal.append(moment(cycle), &[Record::CycleOpened { cycle, began: moment(cycle) }]).unwrap();
        journal.append(moment(cycle), &[closed(cycle)]).unwrap();
        journal.sync().unwrap();
        println!("cycle={cycle}");
    }
}

#[test]
fn a_journal_that_is_begun_anew_while_its_process_is_killed_loses_nothing() {
    let folder = std::env::temp_dir().join(format!("recompra-journal-kills-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("journal.jsonl");
    let mut random = StdRng::seed_from_u64(1);
    let files = || std::fs::read_dir(&folder).unwrap().count();
    for kill in 0..MOST_KILLS {
        if kill >= KILLS && files() > FILES {
            break;
        }
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_killed", "--ignored", "--nocapture"])
            .env(JOURNAL, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(random.random_range(1..60)));
        child.kill().unwrap();
        let mut told = String::new();
        child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        child.wait().unwrap();
        let told = told.rsplit('\n').find_map(|line| line.strip_prefix("cycle=")?.parse::<u64>().ok()).unwrap_or(0);
        let history = history(&path).unwrap_or_else(|damage| panic!("kill {kill}: {damage}"));
        let opened: Vec<u64> = history.entries.iter().filter_map(opened).collect();
        assert!(history.is_complete, "kill {kill}: a file is missing");
        assert!(opened.iter().copied().eq(1..=history.ledger.last_cycle), "kill {kill}: {opened:?}");
        assert!(history.ledger.last_cycle >= told, "kill {kill}: cycle {told} is lost");
    }
    let files = files();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(files > FILES, "it was begun anew {files} times only: that shows little");
}

fn opened((_, record): &(Timestamp, Record)) -> Option<u64> {
    match record {
        Record::CycleOpened { cycle, .. } => Some(*cycle),
        _ => None,
    }
}
