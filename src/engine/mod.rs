//! The engine: the only loop, which owns all waiting.

pub mod ports;
