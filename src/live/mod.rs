//! What a bot needs that trades in real time: the exchange that its configuration names, a place to wait, a sane clock.
//!
//! ```text
//!   stream's thread ──┐
//!                     ├──▶ channel ──▶ feed ──▶ engine (main thread) ──▶ exchange: one blocking call a request
//!   signal handler ───┘
//! ```
//!
//! Goes in: a configuration and a state directory. Comes out: the ports that the engine wants. What can go wrong is told by
//! each part.

mod bot;
mod exchange;
mod feed;
mod sane_clock;

pub use bot::{on_signals, refuse_foreign, state_failure, trade};
pub use exchange::{LiveExchange, read_credentials};
pub use feed::LiveFeed;
pub use sane_clock::is_unset;
