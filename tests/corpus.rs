//! The fuzzer's corpus, replayed: every committed seed, cut short at many places, with bytes changed and pieces doubled,
//! through the same entries that the fuzzer drives. Nothing may panic.

#[path = "../fuzz/entries.rs"]
#[allow(unreachable_pub, reason = "the fuzzer's targets include it too")]
mod entries;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use entries::{TARGETS, Target};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

/// Places at which a seed is cut.
const CUTS: usize = 60;
/// Random changes of a seed.
const CHANGES: usize = 600;

#[test]
fn no_bytes_from_outside_make_a_parser_panic() {
    let workers: Vec<_> = TARGETS.iter().map(|target| std::thread::spawn(|| replay(target))).collect();
    for worker in workers {
        worker.join().unwrap();
    }
}

fn replay(target: &Target) {
    let (name, entry) = *target;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no seed");
    for file in files {
        let seed = std::fs::read(&file).unwrap();
        let feed = |bytes: &[u8], how: &str| {
            let outcome = catch_unwind(AssertUnwindSafe(|| entry(bytes)));
            assert!(outcome.is_ok(), "{}, {how}: {}", file.display(), String::from_utf8_lossy(bytes));
        };
        feed(&seed, "as it is");
        for cut in 0..=CUTS {
            let length = seed.len() * cut / CUTS;
            feed(&seed[..length], "cut");
        }
        let mut random = StdRng::seed_from_u64(seed.len() as u64);
        for number in 0..CHANGES {
            feed(&changed(&seed, &mut random), &format!("change {number}"));
        }
    }
}

/// A few bytes flipped, or a piece of it put somewhere else once more.
fn changed(seed: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    if bytes.is_empty() {
        return bytes;
    }
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] ^= 1 << random.random_range(0..8),
            1 => bytes[at] = *b"0-9.\"e{}[],:\n\xff\0 ".get(random.random_range(0..18)).unwrap_or(&b'1'),
            2 => bytes.insert(at, random.random_range(b'0'..=b'9')),
            _ => {
                let end = (at + random.random_range(1..=40)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}
