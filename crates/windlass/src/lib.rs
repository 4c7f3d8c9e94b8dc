//! The parts of the binary that stand on their own: its configuration, and files with flows.

pub mod config;
pub mod flow_file;
