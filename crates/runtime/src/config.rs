//! What the runtime is given: agents with their folders, models with their providers, limits.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use machine::Limits;
use providers::Provider;
use types::AgentId;

/// Everything that the runtime needs and the store does not hold.
#[derive(Clone, Debug)]
pub struct Config {
    pub limits: Arc<Limits>,
    pub agents: BTreeMap<AgentId, Agent>,
    /// Usable models, by `provider/model`.
    pub models: BTreeMap<String, Model>,
    pub tools: tools::Config,
    /// How long a drain waits for runs to reach their next committed step.
    pub drain: Duration,
}

/// What the runtime knows of an agent; what the machine decides on is in its limits.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Folder that its file tools work in.
    pub workspace: PathBuf,
    pub name: Option<String>,
    /// What it is good for, as other agents read it.
    pub description: Option<String>,
}

/// A model that can be called.
#[derive(Clone, Debug)]
pub struct Model {
    pub provider: Arc<dyn Provider>,
    /// As the provider names it.
    pub name: String,
    pub max_output_tokens: u32,
}
