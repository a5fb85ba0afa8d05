//! What explains: the journal, the ladder, the key, the clock, looked at and told.
//!
//! In: what the commands have read or asked for. Out: text, JSON and findings. It reads no file, asks nobody and prints
//! nothing: whatever can be told about a bot can be tried on made-up data.

pub mod audit;
pub mod doctor;
pub mod explain;
pub mod plan;
pub mod status;
