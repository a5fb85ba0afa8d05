//! Recompra: a rebuy bot for Bybit spot that is small enough to trust.

pub mod core;
pub mod engine;
pub mod http;
pub mod simulation;
