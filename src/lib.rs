//! Recompra: a rebuy bot for Bybit spot that is small enough to trust.

pub mod command_line;
pub mod commands;
pub mod config;
pub mod core;
pub mod engine;
pub mod exit;
pub mod http;
pub mod journal;
pub mod logging;
pub mod narrator;
pub mod state_directory;
