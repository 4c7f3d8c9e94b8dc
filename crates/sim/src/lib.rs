//! Thousands of lives of a gateway, from seeds: nothing lost, nothing doubled, nothing stuck.

pub mod rng;
pub mod fault;
pub mod plan;
pub mod disk;
pub mod script;
pub mod truth;
pub mod world;
pub mod flight;
pub mod rest;
pub mod life;
pub mod meta;
pub mod seeds;

pub use life::{Failure, Lived, live};
pub use plan::Plan;
pub use world::Sim;
