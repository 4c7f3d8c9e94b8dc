//! What a tool is to a model, and what its effect is to the world.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::word_enum;

/// A tool as the model sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolSpec {
    pub name: String,
    pub description: String,
    /// JSON schema of the arguments, an object.
    pub input_schema: Value,
}

word_enum! {
    /// May a tool call run again after a crash, and how is that found out?
    pub enum EffectClass {
        /// Changes nothing: run it again.
        Pure = "pure",
        /// Takes an idempotency key: run it again with the same key.
        Idempotent = "idempotent",
        /// Done in our own commit: if it is not recorded, it was not done.
        Internal = "internal",
        /// The world can be asked whether it was done.
        Probed = "probed",
        /// Nobody can tell: never run twice. The model is told that the outcome is unknown.
        Opaque = "opaque",
    }
}

/// A shell command that a call would run, as far as it can be read without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// As the model wrote it.
    pub text: String,
    /// The words of each program that it starts, in order. None if that cannot be told: what it
    /// does then depends on variables, on files, or on the output of another command.
    pub programs: Option<Vec<Vec<String>>>,
}
