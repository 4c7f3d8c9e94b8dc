//! The gateway: the protocol of `protocol`, served over WebSocket.
//!
//! ```text
//!  socket ─▶ connection ─▶ dispatch ─▶ methods ─▶ Handle::submit, Handle::store
//!    ▲           │                                        │
//!    └─ outbox ◀─┴──────────── subscribe ◀── feed ◀── Handle::subscribe
//! ```
//!
//! To serve: [`bind`] the port, then [`serve`] it.
//!
//! # Invariants
//!
//! - Closed by default: loopback and a token, and no web page but our own.
//! - A message is acknowledged only when the store has it.
//! - Nothing waits for a client: what is to be sent to it is bounded. Of one that reads too slowly
//!   events give way, and it is told which; one that does not even read its answers is dropped.
//! - Only what is served is listed in `hello-ok`.
//! - Nothing that matters is kept here. A client that comes again reads the store.
//!
//! Reading order: [`config`], `server`, `connection`, `dispatch`, `methods`; then `ending` (how a
//! call waits for its run), `feed` and `subscribe` (what clients see meanwhile), `outbox`; `http`
//! for programs that speak no WebSocket.

pub mod config;
mod configured;
mod auth;
mod card;
mod connection;
mod dispatch;
mod ending;
mod feed;
mod footer;
mod gateway;
mod http;
mod meter;
mod methods;
mod notice;
mod outbox;
mod phase;
mod refusal;
pub mod roster;
mod server;
mod standing;
mod subscribe;
mod view;

pub use config::{BindError, Config, ConfigError, Origin, Token, bind};
pub use configured::{Configured, ProviderKeys, Shown, Title};
pub use gateway::Info;
pub use server::serve;
