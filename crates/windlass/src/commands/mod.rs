//! One file a command: it asks one question of the gateway and prints; it decides nothing.

pub mod agent;
pub mod agents;
pub mod approvals;
pub mod chat;
pub mod config;
pub mod context;
pub mod db;
pub mod demo;
pub mod doctor;
pub mod flow;
pub mod gateway;
pub mod mcp;
pub mod models;
pub mod sandbox;
pub mod sessions;
pub mod skills;
pub mod spawn;
pub mod status;
pub mod tasks;
pub mod tools;
pub mod usage;
pub mod watch;
