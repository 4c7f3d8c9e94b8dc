//! The whole binary against the stub: real processes, a real database, real HTTP.

mod blank;
mod chat;
mod commands;
mod deadline;
mod deliver;
mod demo;
mod disk;
mod errors;
mod flow;
mod house;
mod http;
mod judge;
mod kill;
mod lanes;
mod ledger;
mod main_job;
mod policy;
mod send;
mod orchestra;
mod status;
mod stop;
mod threads;
mod tools;
mod truth;
mod warm;
