//! The configuration file: one JSON5 text becomes one checked [`Config`], or errors that point
//! at their line.
//!
//! ```text
//!  text ─▶ document ─▶ section ─▶ gateway, agents, models, … ─▶ Config
//!          JSON5 with   asks for    one reader for each part,
//!          positions    keys        with its defaults
//! ```
//!
//! The names of the keys are OpenClaw's.
//!
//! # Invariants
//!
//! - A key is read, or it is a key of OpenClaw's that is not served yet (a warning), or it is
//!   refused with its line and the nearest right key. Nothing is ignored in silence.
//! - All errors of a file are reported at once.
//! - A secret is in [`Secret`], which no log and no `config get` shows.
//! - Without a file, every default stands.

mod agents;
mod auth;
mod approvals;
mod between;
mod bootstrap;
mod changes;
mod compaction;
pub(crate) mod document;
mod edit;
mod gateway;
mod inventory;
pub(crate) mod key_path;
mod lookup;
mod mcp;
mod model_choice;
mod model_ref;
mod models;
mod money;
mod outside;
mod paths;
pub mod presets;
mod problem;
pub mod roster;
mod secret;
mod section;
mod settings;
mod skills;
mod warm;
mod web;
mod tool_lists;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;
use types::AgentId;

pub use agents::{
    Agent, AgentDefaults, AgentSubagents, AgentTools, Agents, AllowAgents, ExecOf, Subagents,
};
pub use approvals::ExecRules;
pub use between::{AgentToAgent, Exchange, SessionTools};
pub use bootstrap::{Bootstrap, BootstrapBounds};
pub use changes::Changes;
pub use compaction::{Compaction, MemoryFlush};
pub use edit::{Change, Changed, Edit, Present, change, edit, present};
pub use gateway::{Auth, AuthMode, Bind, ControlUi, Gateway, Mode, Reload, ReloadMode, Remote};
pub use key_path::{KeyPath, Step};
pub use mcp::{Mcp, McpServer, ToolFilter, Transport};
pub use model_choice::{ModelParams, ModelWish};
pub use model_ref::{ModelChoice, ModelRef};
pub use models::{ModelEntry, Models, Provider};
pub use money::Budgets;
pub use outside::{Outside, Process};
pub use paths::{NoHome, Paths};
pub use problem::{ConfigErrors, Place, Problem};
pub use secret::{Secret, Untold};
pub use settings::{
    ApplyPatch, DropPolicy, Exec, Level, Logging, Messages, Queue, QueueMode, Session,
    SessionScope, Tools,
};
pub use skills::{SkillEntry, SkillLimits, Skills};
pub use tool_lists::{
    ByProvider, LoopDetection, LoopDetectionOf, Profile, ProviderTools, SubagentTools, ToolLists,
};
pub use web::{SsrfPolicy, Web, WebFetch};

use document::Document;
pub use document::JSON5;
use section::{Context, Section};

/// Everything that can be configured, with its defaults filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    pub gateway: Gateway,
    pub agents: Agents,
    pub models: Models,
    pub session: Session,
    pub messages: Messages,
    pub tools: Tools,
    pub mcp: Mcp,
    pub skills: Skills,
    pub budget: Budgets,
    pub logging: Logging,
}

/// A configuration that may be used.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    pub config: Config,
    /// What a person should know and may leave as it is.
    pub warnings: Vec<Problem>,
    /// The file, if there is one.
    pub path: Option<PathBuf>,
}

/// Reads the file that `paths` names, in the environment of this process.
pub fn load(paths: &Paths) -> Result<Loaded, ConfigErrors> {
    load_in(paths, &Process)
}

/// As [`load`], in any environment.
pub fn load_in(paths: &Paths, outside: &dyn Outside) -> Result<Loaded, ConfigErrors> {
    let text = match outside.read(&paths.config) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(source) => {
            return Err(ConfigErrors::Unreadable { path: paths.config.clone(), source });
        }
    };
    let (config, mut warnings) = check(text.as_deref(), paths, outside)
        .map_err(|problems| ConfigErrors::Invalid { path: paths.config.clone(), problems })?;
    let path = text.map(|_| paths.config.clone());
    if path.is_none() && paths.config_named {
        let message = format!("no file at {}: all defaults stand", paths.config.display());
        warnings.insert(0, Problem { place: None, key: String::new(), message });
    }
    Ok(Loaded { config, warnings, path })
}

/// A text that is right.
struct Checked {
    config: Config,
    warnings: Vec<Problem>,
    /// Where an agent is named, and which one.
    references: Vec<(KeyPath, AgentId)>,
}

/// Checks a text, or the absence of one.
fn check(
    text: Option<&str>,
    paths: &Paths,
    outside: &dyn Outside,
) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    checked(text, paths, outside).map(|checked| (checked.config, checked.warnings))
}

fn checked(
    text: Option<&str>,
    paths: &Paths,
    outside: &dyn Outside,
) -> Result<Checked, Vec<Problem>> {
    let document = Document::parse(text).map_err(|problem| vec![problem])?;
    let context = Context::new(&document, paths, outside);
    let config = context.root(Config::read);
    let references = context.agent_refs().into_iter().map(|(spot, id)| (spot.path, id)).collect();
    context.finish().map(|warnings| Checked { config, warnings, references })
}

impl Config {
    fn read(root: &mut Section<'_>) -> Config {
        root.ignore("$schema");
        // Agents come first: a provider that no agent uses may lack its secrets.
        let agents = root.section("agents", Agents::read);
        let mut models = root.section("models", Models::read);
        root.section("auth", |s| auth::read(s, &mut models));
        models::warn_of_keys(root, &models.providers);
        let has_key = models.providers.values().any(Provider::has_key);
        if agents.entries.values().all(|agent| agent.model.is_none()) && !has_key {
            let mut spot = root.spot();
            spot.path = KeyPath::parse("agents.defaults.model").unwrap_or_default();
            let message =
                "no model is chosen, and no provider has a key: set it to `provider/model`";
            root.cx.warn(&spot, message);
        }
        let config = Config {
            gateway: root.section("gateway", Gateway::read),
            models,
            budget: root.section("budget", Budgets::read),
            session: root.section("session", Session::read),
            messages: root.section("messages", Messages::read),
            tools: root.section("tools", Tools::read),
            mcp: root.section("mcp", Mcp::read),
            skills: root.section("skills", Skills::read),
            logging: root.section("logging", Logging::read),
            agents,
        };
        agents::check_allowed(root, &config.agents.entries);
        let known = || config.models.providers.keys().map(String::as_str);
        tool_lists::check_providers(root, "tools", &config.tools.by_provider, known());
        for (id, agent) in &config.agents.entries {
            let above = format!("agents.entries.{id}.tools");
            tool_lists::check_providers(root, &above, &agent.tools.by_provider, known());
        }
        config
    }

    /// Returns what stands at `path`, such as `gateway.port` or
    /// `models.providers["my.host"].models[0].id`, defaults included and secrets hidden. An
    /// empty path is the whole.
    pub fn get(&self, path: &str) -> Option<Value> {
        let whole = serde_json::to_value(self).ok()?;
        lookup::lookup(whole, path)
    }
}

/// Makes a path absolute: `~` is the home folder, and what is relative stands beside the file.
pub fn absolute(text: &str, paths: &Paths) -> PathBuf {
    let home = paths.home.as_deref();
    match (text.strip_prefix('~'), home) {
        (Some(""), Some(home)) => home.to_owned(),
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(&rest[1..]),
        _ => paths.config.parent().unwrap_or(Path::new("/")).join(text),
    }
}
