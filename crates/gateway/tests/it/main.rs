//! The gateway from outside: real sockets, a real driver, a model that follows a script.

mod chat;
mod commands;
mod handshake;
mod lists;
mod pressure;
mod runs;
mod world;
