//! The exchange inside the binary: Bybit V5 spot, simulated.
//!
//! One simulated exchange serves paper trading, tests, fault injection and backtests. It varies along two
//! axes, the feed that moves its market and the faults between it and its client; the fill rules exist once.
//!
//! # Map
//!
//! ```text
//!  market/*        where prices come from: random walk, recorded candles, a live channel
//!     │ PricePoint
//!     ▼
//!  driver, lockstep, direct   who moves the market, and what time it is
//!     │ advance
//!     ▼
//!  exchange ── filters ── matching ── book ── account     the rules; pure, single-threaded, deterministic
//!     ▲   │ Push                                        (settings, order, api_error: their words)
//!     │   ▼
//!  api, stream     Bybit's REST and WebSocket protocols as pure functions of text (wire: their JSON)
//!     ▲   │
//!     │   ▼
//!  hub             one lock around the exchange and the sessions listening to it
//!     ▲   │
//!     │   ▼
//!  server (http1, websocket), tls     sockets on loopback
//! ```
//!
//! Everything above `hub` is free of threads, sockets and clocks: the moment is handed in by the caller, and
//! the same calls give the same answers, ids included.
//!
//! # Fill rule
//!
//! The market is a sequence of price points. At each, the best bid is the point's price and the best ask is
//! that price plus the spread (one tick unless set otherwise).
//!
//! - A market order, and a limit order that crosses the market when it arrives, take at once: a buy at the ask,
//!   a sell at the bid, so a crossing limit gets the better price. They are takers.
//! - A market order may be made to trade worse than that, by [`settings::Listing::slippage`].
//! - A resting limit order is filled, as maker and at its own price, only when the market trades *through* it: a
//!   buy when a point's price is below its price, a sell when it is above. Touching is not enough, because others
//!   may have queued before it.
//! - A point may limit the base quantity that it brings ([`market::PricePoint::liquidity`]): orders then
//!   fill in part. All orders, takers included, share it until the next point.
//! - Orders trade with the market alone, never with each other.
//! - Orders that one point fills are filled by price (the best first), then by time of arrival.
//!
//! # Fees
//!
//! A fee is `rate × what is received`, exactly: in base coin for a buy, in quote coin for a sell. An account may
//! pay in a third coin instead ([`settings::FeeCoin`]) as long as it holds enough of it.
//!
//! # Use
//!
//! A standalone exchange, dated by the wall clock: [`Hub::on_wall_clock`], [`server::Server::start`] with it, and a
//! [`driver::Driver`] that moves the market; [`tls::TlsFront`] in front if TLS is wanted. Paper trading, where bot and
//! exchange share a virtual clock: [`lockstep::Lockstep::new`], a server on its hub, its clock and feed for the bot.
//! In memory, without sockets: a shared hub is a [`crate::http::Transport`], and [`stream::Session`] the stream. Without
//! even HTTP and JSON, for backtests: [`direct::Direct`].
//!
//! # Errors
//!
//! What a client does wrong is answered in Bybit's codes ([`api_error`]); nothing a client sends ends the
//! exchange. A bad candle file is a [`market::MarketError`], a port that cannot be used a [`std::io::Error`].

pub mod account;
pub mod api;
pub mod api_error;
pub mod book;
pub mod direct;
pub mod driver;
pub mod exchange;
mod filters;
mod http1;
pub mod hub;
pub mod lockstep;
pub mod market;
mod matching;
pub mod order;
#[cfg(test)]
mod properties;
pub mod query;
pub mod server;
pub mod settings;
pub mod stream;
#[cfg(test)]
mod testing;
pub mod tls;
mod websocket;
mod wire;

pub use exchange::Exchange;
pub use hub::Hub;
pub use settings::Settings;
