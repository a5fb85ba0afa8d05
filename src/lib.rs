//! Recompra: a rebuy bot for Bybit spot that is small enough to trust.
//!
//! # Map
//!
//! Three circles, each of which knows only those inside it:
//!
//! ```text
//!  the outside    bybit        REST, signing, the private stream's thread, Bybit's words
//!                 simulation   the exchange inside the binary, for paper trading and tests
//!                 journal      records in a file, one JSON object a line
//!                 narrator     records told to people
//!                 http         one request and its answer as plain data: the seam between the first two
//!  ─────────────────────────────────────────────────────────────────────────────────────────────
//!  engine         the only loop, and the owner of all waiting; `engine::ports` is what it needs of the outside
//!  ─────────────────────────────────────────────────────────────────────────────────────────────
//!  core           what trading is: money, instrument, orders, ladder, records, ledger, strategy, reconcile.
//!                 Pure: no I/O, no clock, no threads, no floats
//! ```
//!
//! Rooms that are built on these:
//!
//! | room | what it does |
//! |---|---|
//! | `backtest` | the engine on the simulated exchange without a wire, and the measures of what came of it |
//! | `sweep` | many backtests, over sets of parameters: the file of results, and the best of them |
//! | `report` | a backtest, a journal or a sweep as a page with plots |
//! | `inspection` | what explains a bot: `plan`, `doctor`, `status`, `explain` and `audit` |
//! | `download` | candles from the exchange into a file |
//!
//! Around them: `command_line` reads what the user types and `config` what the user wrote. Each file of `commands` wires the
//! parts of one command together. `state_directory` knows the files of a bot. `logging`, `progress` and `exit` are how the
//! program speaks and ends.
//!
//! # How a fill becomes an order
//!
//! A frame of the private stream is parsed in `bybit::frame` and reaches the engine as a signal. `core::reconcile` says
//! which facts follow from it; the engine appends them to the journal and applies them to the ledger
//! (`core::ledger::Ledger::apply`, the one place where state changes, live and at recovery). `core::strategy::decide`
//! looks at the ledger and says what should be done; the engine writes that down too, and then sends it.

pub mod backtest;
pub mod bybit;
pub mod command_line;
pub mod commands;
pub mod config;
pub mod core;
pub mod download;
pub mod engine;
pub mod exit;
pub mod http;
pub mod inspection;
pub mod journal;
pub mod logging;
pub mod narrator;
pub mod progress;
pub mod report;
pub mod simulation;
pub mod state_directory;
pub mod sweep;
#[cfg(test)]
mod temporary_folder;
pub mod wall_clock;
