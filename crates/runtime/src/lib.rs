//! The loop and the effects: events in, commits, and the work that follows from them.
//!
//! ```text
//!  Handle::submit ─▶ Driver::run ─▶ Store::commit(machine::apply) ─▶ answers, news, actions
//!        ▲                                                              │
//!        └────────────── results ◀── one supervised task an action ◀────┘
//! ```
//!
//! To embed Windlass, start here: open a store, make a [`Config`], call [`Driver::new`], keep the
//! [`Handle`], and run the driver until it is told to drain.
//!
//! Nothing that matters lives across an `.await`: a task of the runtime may die at any instant,
//! and what it was doing is found in the rows.

pub mod clock;
pub mod config;
mod catalogue;
pub mod context;
mod more;
pub mod live;
pub mod asked;
mod edition;
mod handle;
mod prompt;
pub mod pin;
mod model_call;
pub mod redact;
mod session_tools;
mod shown;
mod kept_read;
mod tool_call;
mod deliver;
mod perform;
pub mod skills;
pub mod workspace;
pub mod leftovers;
pub mod driver;

pub use catalogue::catalogue;
pub use clock::{Clock, SystemClock};
pub use config::{Agent, Bootstrap, Config, Model, Tuning};
pub use driver::{Driver, DriverError};
pub use handle::{Handle, SubmitError};
pub use live::{Live, LiveEvent};
pub use model_call::NO_MODEL;
pub use skills::Skills;
