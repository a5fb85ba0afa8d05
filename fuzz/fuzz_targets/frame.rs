//! Any bytes for [`entries::frame`].

#![no_main]

#[path = "../entries.rs"]
#[allow(dead_code, unreachable_pub, reason = "each target uses one entry")]
mod entries;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| entries::frame(bytes));
