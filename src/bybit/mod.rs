//! Everything that speaks Bybit V5, on the client's side.
//!
//! Goes in: the calls of [`crate::engine::ports::Exchange`] and the bytes that Bybit answers or pushes. Comes out:
//! the core's words (instrument, order report, execution) or a [`Fault`](crate::engine::ports::Fault) named after
//! what its receiver should do. What can go wrong is listed per module; nothing from outside makes it panic.
//!
//! ```text
//! environment   demo, testnet or mainnet: which hosts        clock       the exchange's time, kept by a monotonic clock
//! address       one host, checked                            sign        key, secret and signatures
//! codes         what a retCode or HTTP status asks for       wire        Bybit's field names, only here
//! client        REST: the port `Exchange`                    transport   carries REST: one request, one blocking call
//! stream        the private stream's thread                  public      the public stream's thread: quotes
//! frame         private frames, parsed (pure)                websocket   a WebSocket that notices its own death
//! reconnect     one connection after the other              query       query strings, byte for byte as signed
//! connect       names, TCP and TLS with one deadline         connector   the same for the HTTP library's pool
//! tls           the one TLS connector and its roots
//! ```

pub mod address;
pub mod client;
pub mod clock;
pub mod codes;
mod connect;
mod connector;
pub mod environment;
pub mod frame;
pub mod public;
mod query;
mod reconnect;
pub mod sign;
pub mod stream;
pub mod tls;
pub mod transport;
mod websocket;
mod wire;

pub use address::Address;
pub use client::{Client, Interval, KLINES_A_PAGE, KeyInfo, Kline, TimeCheck};
pub use clock::{ExchangeClock, Steering};
pub use environment::{Environment, Hosts};
pub use sign::Credentials;
pub use stream::PrivateStream;
pub use tls::{Tls, TlsRoots};
pub use transport::{HttpLimits, HttpTransport};
pub use websocket::{StreamHandle, StreamTimings};
