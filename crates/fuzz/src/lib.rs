//! What strangers send us, as functions of bytes: a search for new paths runs them, and tests do.
//!
//! | target     | what                                                     | from whom       |
//! |------------|----------------------------------------------------------|-----------------|
//! | [`stream`] | a stream of server-sent events, on each wire             | providers       |
//! | [`event`]  | the JSON of such events, and bodies of refusals          | providers       |
//! | [`config`] | the configuration's file                                 | people          |
//! | [`frame`]  | frames of the WebSocket, calls in them, slash commands   | clients         |
//!
//! A target panics if what it reads breaks a promise, and not only if the reader panics. `cargo
//! xtask fuzz` runs them; what it finds becomes a test of [`tests`].

mod configuration;
mod frames;
mod streams;
#[cfg(test)]
mod tests;

pub use configuration::config;
pub use frames::frame;
pub use streams::{event, stream};
