//! The stable prefix: tools, system prompt and workspace files, rendered once per episode.
//!
//! It is a function of the agent, the role and the files, and of nothing else: no clock, session
//! key, id, channel or count. So it is the same bytes for all sessions of one agent and role, and
//! the provider's cache is warm for each new one.

mod files;
mod system;

use std::collections::BTreeSet;

use machine::policy::Role;
use serde::{Deserialize, Serialize};
use types::usage::estimate_tokens;
use types::{AgentId, Hash, Prefix, ToolSpec, word_enum};

use crate::config::Agent;
use crate::perform::Shared;
use crate::workspace;

/// A prefix as it is stored: what is sent, and what it was made of.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stored {
    #[serde(flatten)]
    pub prefix: Prefix,
    /// What the system prompt was made of, besides our own words.
    #[serde(default)]
    pub parts: Vec<Part>,
}

word_enum! {
    /// What a part of a system prompt is.
    pub enum PartKind {
        File = "file",
    }
}

/// A part of a system prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub kind: PartKind,
    /// `AGENTS.md`
    pub name: String,
    pub tokens: u64,
    /// Of what is sent of it.
    pub hash: Hash,
    /// There is more of it than is sent.
    #[serde(default)]
    pub cut: bool,
}

/// Renders the prefix of an agent in a role, with the tools that the machine has given it. Depth
/// itself is not in the prefix, so that all orchestrators below the head share one. Returns it as
/// JSON, with its estimated tokens.
pub async fn render(
    shared: &Shared,
    agent: &AgentId,
    role: Role,
    allowed: &BTreeSet<String>,
) -> (String, u64) {
    let config = shared.handle.config();
    let mut tools: Vec<ToolSpec> = tools::sessions::specs().to_vec();
    tools.extend(shared.specs());
    tools.retain(|tool| allowed.contains(&tool.name));
    let known = config.agents.get(agent).cloned();
    let id = agent.clone();
    // Folders may be slow; the runtime's own threads wait for none.
    let stored = tokio::task::spawn_blocking(move || stored(&id, role, known.as_ref(), tools));
    let stored = stored.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let tokens = stored.tokens();
    (serde_json::to_string(&stored).expect("a prefix is JSON"), tokens)
}

fn stored(id: &AgentId, role: Role, known: Option<&Agent>, tools: Vec<ToolSpec>) -> Stored {
    let files = known.map(|agent| pinned_files(agent, role)).unwrap_or_default();
    let parts = files.iter().map(part).collect();
    let system = system::prompt(id, role, &tools, known, &files);
    Stored { prefix: Prefix { system, tools }, parts }
}

fn part(file: &files::Pinned) -> Part {
    Part {
        kind: PartKind::File,
        name: file.name.to_owned(),
        tokens: estimate_tokens(&file.text),
        hash: file.hash(),
        cut: file.cut,
    }
}

/// The parts of a prefix that would be pinned now. Nothing is made.
pub(crate) fn parts_now(agent: &Agent, role: Role) -> Vec<Part> {
    files::read(&agent.workspace, role, agent.bootstrap).iter().map(part).collect()
}

/// Reads an agent's files, after making what is missing of a new workspace.
fn pinned_files(agent: &Agent, role: Role) -> Vec<files::Pinned> {
    if agent.bootstrap.fill
        && let Err(error) = workspace::prepare(&agent.workspace)
    {
        tracing::warn!(path = %agent.workspace.display(), %error, "no workspace is made");
    }
    files::read(&agent.workspace, role, agent.bootstrap)
}

impl Stored {
    /// Estimates the tokens of what is sent.
    pub fn tokens(&self) -> u64 {
        let tools = self.prefix.tools.iter().map(tool_tokens).sum::<u64>();
        estimate_tokens(&self.prefix.system) + tools
    }
}

impl Stored {
    /// Estimates the tokens of our own words in the system prompt.
    pub fn own_tokens(&self) -> u64 {
        let parts = self.parts.iter().map(|part| part.tokens).sum::<u64>();
        estimate_tokens(&self.prefix.system).saturating_sub(parts)
    }
}

/// Estimates the tokens of a tool's schema.
pub fn tool_tokens(tool: &ToolSpec) -> u64 {
    estimate_tokens(&serde_json::to_string(tool).expect("a spec is JSON"))
}
