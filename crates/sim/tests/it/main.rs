//! The promises to users, lived through crashes; and the decisions of the machine, as tables.

mod archive;
mod attempt;
mod audit;
mod bench;
mod budget;
mod circle;
mod deliver;
mod ends;
mod flow;
mod guard;
mod halt;
mod gate;
mod lane;
mod policy;
mod queue;
mod recover;
mod seeds;
mod send;
mod session;
mod spawn;
mod stop;
mod stores;
mod story;
mod threads;
mod wait;
mod warm;
