//! What the runtime is given: agents with their folders, models with their providers, limits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use machine::Limits;
use providers::{Provider, Sampling};
use tools::sandbox::Mode;
use types::AgentId;

use crate::skills::Skills;

/// Everything that the runtime needs and the store does not hold.
#[derive(Clone, Debug)]
pub struct Config {
    pub limits: Arc<Limits>,
    pub agents: BTreeMap<AgentId, Agent>,
    /// Usable models, by `provider/model`.
    pub models: BTreeMap<String, Model>,
    /// What an agent wants of a model, by `provider/model`, where it is said.
    pub tuning: BTreeMap<(AgentId, String), Tuning>,
    pub tools: tools::Config,
    /// Tools beside the built-in ones.
    pub more: Option<Arc<dyn tools::Source>>,
    pub skills: Arc<Skills>,
    /// How long a drain waits for runs to reach their next committed step.
    pub drain: Duration,
}

/// How a model is asked by one agent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tuning {
    pub sampling: Sampling,
    /// Fewer tokens of an answer than the model has.
    pub output_max: Option<u32>,
}

/// What the runtime knows of an agent; what the machine decides on is in its limits.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Folder that its file tools work in.
    pub workspace: PathBuf,
    pub bootstrap: Bootstrap,
    /// The skills that it may use; all if none.
    pub skills: Option<BTreeSet<String>>,
    pub name: Option<String>,
    /// What it is good for, as other agents read it.
    pub description: Option<String>,
    /// The walls around its commands.
    pub sandbox: Mode,
}

impl Agent {
    /// An agent of which nothing is known but its folder.
    pub fn at(workspace: PathBuf) -> Agent {
        Agent {
            workspace,
            bootstrap: Bootstrap::default(),
            skills: None,
            name: None,
            description: None,
            sandbox: Mode::Off,
        }
    }
}

/// What of a workspace is sent with every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Does a new or empty workspace get files to begin with?
    pub fill: bool,
    /// Most characters of one file.
    pub file_chars_max: usize,
    /// Most characters of all files together.
    pub total_chars_max: usize,
}

impl Default for Bootstrap {
    fn default() -> Bootstrap {
        // OpenClaw's bounds.
        Bootstrap { fill: true, file_chars_max: 20_000, total_chars_max: 60_000 }
    }
}

/// A model that can be called.
#[derive(Clone, Debug)]
pub struct Model {
    pub provider: Arc<dyn Provider>,
    /// As the provider names it.
    pub name: String,
    pub max_output_tokens: u32,
}
