//! The stub over real HTTP: what it refuses, what it says, how it goes wrong, what it remembers.

mod answers;
mod client;
mod faults;
mod program;
mod refused_anthropic;
mod refused_google;
mod refused_openai;
mod refused_responses;
mod tree;
