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
