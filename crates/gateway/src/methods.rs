//! What each method does: one module a subject.

pub mod agent_files;
pub mod agents;
pub mod approvals;
pub mod audit;
pub mod chat;
pub mod administer;
pub mod commands;
pub mod context;
pub mod history;
pub mod flows;
pub mod health;
pub mod last_restart;
pub mod models;
pub mod runs;
pub mod sessions;
pub mod spawn;
pub mod tasks;
pub mod tools;
pub mod usage;
