//! The gateway's wire: OpenClaw's protocol, version 4, as types. No IO.
//!
//! ```text
//!  text ─▶ Request::parse ─▶ Call::parse ─▶ the gateway's work
//!                                              │
//!  text ◀─ Response, EventFrame ◀─ results, Event
//! ```
//!
//! The same types serve both ends: the gateway reads requests and writes the rest, a client the
//! other way round.
//!
//! # Promises
//!
//! - What we write carries no field that the published schema of OpenClaw 2026.9.1 refuses, in
//!   frames, events, `hello-ok` and the results that the schema describes.
//! - What we read may carry fields that we do not know: they are ignored, because clients are
//!   newer than this crate.
//! - A wrong field is answered with its name, what was expected and what came; see [`fields`].
//!   Text for people is in `message`, the same for programs in `details`.
//!
//! # Not here
//!
//! Who may connect, and what a call does: that is the gateway's. Binding a device's key to a
//! connection is not served yet; its fields are read and kept.
//!
//! Reading order: [`frame`], [`method`], [`fields`], [`handshake`], [`hello`], [`chat`],
//! [`agent`], [`event`].

pub mod administer;
pub mod agent;
pub mod agents;
pub mod approvals;
pub mod audit;
pub mod card;
pub mod chat;
pub mod command;
pub mod config;
pub mod context;
pub mod error;
pub mod event;
pub mod fields;
pub mod flows;
pub mod frame;
pub mod handshake;
pub mod health;
pub mod hello;
pub mod message;
pub mod method;
pub mod models;
pub mod notice;
pub mod openai;
pub mod receipt;
pub mod scope;
pub mod sessions;
pub mod spawn;
pub mod stop;
pub mod tasks;
pub mod tools;
pub mod usage;

pub use error::{Details, ErrorCode, ErrorShape};
pub use event::Event;
pub use fields::SessionRef;
pub use frame::{BadFrame, EventFrame, Request, Response, ServerFrame, StateVersion};
pub use handshake::{Challenge, ConnectParams};
pub use hello::{HelloOk, Policy};
pub use message::ChatMessage;
pub use method::{Call, Method};
pub use scope::{Scope, Scopes};

/// The version that we speak.
pub const PROTOCOL_VERSION: u32 = 4;
