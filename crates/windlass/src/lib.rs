//! The parts of the binary that stand on their own: its configuration, files with flows, prices.

pub mod config;
pub mod flow_file;
pub mod prices;
