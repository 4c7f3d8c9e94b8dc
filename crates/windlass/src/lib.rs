//! The parts of the binary that stand on their own: its configuration.

pub mod config;
