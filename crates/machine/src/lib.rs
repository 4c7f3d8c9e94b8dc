//! All decisions of Windlass, pure.
//!
//! > The machine decides. The runtime does. The store remembers.
//!
//! [`apply()`] takes one [`Event`], reads and changes rows through [`State`], and says what
//! follows: [`Action`]s to start after the commit, [`Notice`]s for whoever watches, an [`Answer`]
//! for the submitter. It knows no clock, store, network or thread: time, ids and random numbers
//! come in with [`At`], so a seed fixes everything.
//!
//! Reading order: [`rows`] and [`run`] (what there is), [`event`] and [`effect`] (what happens),
//! `state` (rows in view), then the decisions, from `inbox` to `recover`.

pub mod rows;
pub mod run;
pub mod queue;
pub mod policy;
pub mod limits;
pub mod event;
pub mod effect;
mod news;
mod state;
pub mod held;
mod tx;
pub mod retry;
pub mod receipt;
pub mod status;
mod inbox;
mod interrupt;
mod lane;
mod wait;
mod transcript;
mod guard;
pub mod kept;
pub mod context;
pub mod approve;
mod calls;
mod step;
mod answer;
mod repin;
pub mod cut;
mod announce;
pub mod person;
pub mod finish;
mod internal;
mod card;
mod again;
pub mod attempt;
mod redeliver;
mod refresh;
mod send;
mod reply;
mod circle;
mod spawn;
pub mod flow;
mod gate;
pub mod failover;
pub mod naming;
pub mod halt;
pub mod budget;
mod stop;
pub mod archive;
mod session;
mod command;
mod timer;
pub mod deadline;
pub mod deliver;
mod node;
pub mod restart;
mod recover;
pub mod check;
pub mod audit;
pub mod apply;

pub use announce::MARKER as ANNOUNCE_MARKER;
pub use apply::apply;
pub use effect::{Action, Answer, Notice, Refusal};
pub use event::{Event, Token};
pub use limits::Limits;
pub use state::{At, State};
pub use tx::{Rows, Tx};
