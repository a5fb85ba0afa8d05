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
//!                 live         the exchange of a configuration, and where a bot waits that trades in real time
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
//! parts of one command together. `state_directory` knows the files of a bot. `output`, `printable`, `logging`,
//! `progress` and `exit` are how the program speaks and ends.
//!
//! # How a fill becomes an order
//!
//! One way in, one way out. Nothing on it runs inside a callback of a library. The left column is the thread.
//!
//! ```text
//!  stream   bybit::websocket          reads the frame: a blocking read of the private stream's socket
//!    │      bybit::frame, wire        parses it: rows of orders and executions
//!    ▼      bybit::stream             pushes them, as one signal, into the channel
//!  ═══════════════════════════════════════════ channel ═══════════════════════════════════════════
//!  main     live::feed                takes the signal; the wait ends
//!    │      engine (take)             hands each row to
//!    │      engine::order_queries     on_execution, which asks
//!    │      core::reconcile           which fact follows from it: `Executed`
//!    │      engine::books             appends the fact to the journal, then applies it to the ledger
//!    │      journal::file             one write to the operating system
//!    ▼      core::ledger              `apply`: the one place where state changes, live and at recovery
//!           core::strategy            looks at the ledger and decides: `Place` a sell
//!    │      engine::carry_out         writes that down too (engine::books), then submits it
//!    │      bybit::client             makes the request's JSON, and signs it (client::protocol)
//!    │      bybit::transport          one blocking call of the HTTP library
//!    ▼      bybit::connector          one write to a socket that is open
//! ```

pub mod backtest;
pub mod bybit;
pub mod command_line;
pub mod commands;
pub mod config;
pub mod core;
pub mod download;
pub mod engine;
pub mod exit;
pub mod hang_up;
pub mod http;
pub mod inspection;
pub mod journal;
pub mod live;
pub mod logging;
pub mod narrator;
pub mod output;
pub mod printable;
pub mod progress;
pub mod report;
pub mod simulation;
pub mod state_directory;
pub mod sweep;
#[cfg(test)]
mod temporary_folder;
pub mod wall_clock;
