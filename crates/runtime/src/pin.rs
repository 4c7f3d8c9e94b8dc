//! The stable prefix: tools, system prompt and workspace files, rendered once per episode.
//!
//! It is a function of the agent, the role and the files, and of nothing else: no clock, session
//! key, id, channel or count. So it is the same bytes for all sessions of one agent and role, and
//! the provider's cache is warm for each new one.

mod files;
mod system;

use std::collections::BTreeSet;
use std::sync::Arc;

use machine::policy::Role;
use serde::{Deserialize, Serialize};
use types::usage::estimate_tokens;
use types::{AgentId, Hash, Prefix, RunId, ToolSpec, word_enum};

use crate::config::Agent;
use crate::perform::Shared;
use crate::skills::{self, Skills};
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
        /// The list of skills.
        Skills = "skills",
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
    run: RunId,
    agent: &AgentId,
    role: Role,
    allowed: &BTreeSet<String>,
) -> (String, u64) {
    let edition = shared.handle.of_run(run, agent);
    let config = &edition.config;
    let mut tools: Vec<ToolSpec> = tools::sessions::specs().to_vec();
    tools.extend(edition.specs());
    tools.retain(|tool| allowed.contains(&tool.name));
    let known = config.agents.get(agent).cloned();
    let (id, skills) = (agent.clone(), Arc::clone(&config.skills));
    // Folders may be slow; the runtime's own threads wait for none.
    let stored =
        tokio::task::spawn_blocking(move || stored(&id, role, known.as_ref(), &skills, tools));
    let stored = stored.await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
    let tokens = stored.tokens();
    (serde_json::to_string(&stored).expect("a prefix is JSON"), tokens)
}

fn stored(
    id: &AgentId,
    role: Role,
    known: Option<&Agent>,
    skills: &Skills,
    tools: Vec<ToolSpec>,
) -> Stored {
    let files = known.map(|agent| pinned_files(agent, role)).unwrap_or_default();
    let listed = known.and_then(|agent| listed(agent, skills, &tools));
    let mut parts: Vec<Part> = listed.iter().map(list_part).collect();
    parts.extend(files.iter().map(part));
    let list = listed.as_ref().map(|(text, _)| text.as_str());
    let system = system::prompt(id, role, &tools, known, list, &files);
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

/// The list of an agent's skills, and whether it is cut; for those only who can read them.
fn listed(agent: &Agent, skills: &Skills, tools: &[ToolSpec]) -> Option<(String, bool)> {
    if !tools.iter().any(|tool| tool.name == "read") {
        return None;
    }
    let found = skills::survey(skills, &agent.workspace, agent.skills.as_ref());
    skills::listing(skills, &found)
}

fn list_part((text, cut): &(String, bool)) -> Part {
    Part {
        kind: PartKind::Skills,
        name: "skills".to_owned(),
        tokens: estimate_tokens(text),
        hash: Hash::of(text),
        cut: *cut,
    }
}

/// The parts of a prefix with these tools that would be pinned now. Nothing is made.
pub(crate) fn parts_now(
    agent: &Agent,
    role: Role,
    skills: &Skills,
    tools: &[ToolSpec],
) -> Vec<Part> {
    let files = files::read(&agent.workspace, role, agent.bootstrap);
    let mut parts: Vec<Part> = listed(agent, skills, tools).iter().map(list_part).collect();
    parts.extend(files.iter().map(part));
    parts
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
        let tools: u64 = self.prefix.tools.iter().map(tool_tokens).sum();
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
    // Without what an estimate adds for a whole text: there are many of them.
    (serde_json::to_string(tool).expect("a spec is JSON").len() as u64).div_ceil(4)
}

#[cfg(test)]
mod tests;
