//! Rows: where everything that was promised is kept.
//!
//! > The machine decides. The runtime does. The store remembers.
//!
//! A store takes events and a function that decides on them, and does one transaction:
//!
//! ```text
//!            ┌──────────────────── one transaction ────────────────────┐
//!  events ─▶ │ savepoint ─▶ apply ─▶ write ─▶ release, for each event  │ ─▶ answers, actions,
//!            └─────────────────────────────────────────────────────────┘    news, next wake
//! ```
//!
//! Two stores keep to one conformance suite: [`Sqlite`], a file that survives kill -9 and power
//! loss, and [`Memory`], in which the simulator lives thousands of lives.
//!
//! # Invariants
//!
//! - Nothing is answered before its commit is on disk.
//! - An event that hits a bug leaves no row behind; those beside it stand.
//! - Reads see whole transactions.
//! - There is no copy of live rows beside the database.
//!
//! Reading order: [`commit`], [`view`], [`query`], [`error`], then the two stores.

pub mod commit;
pub mod error;
pub mod memory;
pub mod query;
pub mod sqlite;
pub mod view;

pub use commit::{Apply, Done, EventError, Moment, Store};
pub use error::StoreError;
pub use memory::Memory;
pub use query::{Query, Reads};
pub use sqlite::{Options, Reader, Sqlite};
