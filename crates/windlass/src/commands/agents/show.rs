//! `windlass agents show`: all that holds for an agent, and which key decides it.

use std::io::Write;
use std::path::Path;

use machine::Limits;
use machine::approve;
use machine::policy::{self, Link, Removed};
use runtime::skills::{Standing, survey};
use runtime::workspace::FILES;
use serde::Serialize;
use serde_json::{Value, json};
use types::{Access, AgentId};

use super::remove::holdings;
use crate::commands::mcp;
use crate::output::{json_lines, table};
use crate::setup::Setup;
use crate::wire;
use crate::{EXIT_USAGE, Exit};
use windlass::config::roster::{at, below, written};
use windlass::config::{Agent, KeyPath, Present};

/// One value, and where it is decided.
#[derive(Debug, Serialize)]
struct Setting {
    what: &'static str,
    value: Value,
    /// The key of the file that says it, or `default` if none does.
    key: String,
}

/// A file of the workspace.
#[derive(Debug, Serialize)]
struct File {
    name: &'static str,
    /// None if it is not there.
    bytes: Option<u64>,
}

/// Tools that one rule has taken away.
#[derive(Debug, Serialize)]
struct Taken {
    rule: String,
    why: String,
    tools: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    id: AgentId,
    default: bool,
    settings: Vec<Setting>,
    files: Vec<File>,
    tools: Vec<String>,
    removed_tools: Vec<Taken>,
    skills: Vec<String>,
    sessions: u64,
    /// Sessions in which it is at work, a few of them.
    open: Vec<String>,
}

pub async fn run(id: Option<AgentId>, setup: &Setup, out: &mut impl Write) -> anyhow::Result<()> {
    let id = id.unwrap_or_else(|| setup.default_agent());
    let present = setup.present()?;
    let Some(agent) = present.config.agents.entries.get(&id) else {
        let known: Vec<&str> = present.config.agents.entries.keys().map(AgentId::as_str).collect();
        let message = format!("no agent `{id}` is configured; there are: {}", known.join(", "));
        return Err(Exit { code: EXIT_USAGE, message }.into());
    };
    let more = mcp::known_tools(setup);
    let limits = wire::limits(&present.config, more.as_deref())?;
    let (tools, removed_tools) = tools(&id, &limits);
    let held = holdings(setup, &id).await?;
    let shown = Shown {
        default: agent.default,
        settings: Keys::of(&id, &present).settings(agent, &limits),
        files: FILES.iter().map(|file| file_of(&agent.workspace, file.name)).collect(),
        tools,
        removed_tools,
        skills: skills(setup, agent)?,
        sessions: held.sessions,
        open: held.open,
        id,
    };
    if setup.json {
        return Ok(json_lines(out, &[shown])?);
    }
    print(&shown, out)
}

fn file_of(workspace: &Path, name: &'static str) -> File {
    File { name, bytes: std::fs::metadata(workspace.join(name)).ok().map(|found| found.len()) }
}

/// What a new conversation with a person has, and what took the others.
fn tools(id: &AgentId, limits: &Limits) -> (Vec<String>, Vec<Taken>) {
    let model = limits.agents.get(id).map(|agent| agent.model.clone()).unwrap_or_default();
    let link = Link { agent: id.clone(), depth: 0, access: Access::Full, model, kept: None };
    let policy = policy::along(limits, vec![link]);
    let mut taken: Vec<Taken> = Vec::new();
    for removed in &policy.removed {
        let (rule, why) = (removed.rule.to_string(), words(removed));
        match taken.iter_mut().find(|taken| taken.rule == rule && taken.why == why) {
            Some(taken) => taken.tools.push(removed.tool.clone()),
            None => taken.push(Taken { rule, why, tools: vec![removed.tool.clone()] }),
        }
    }
    (policy.allowed.into_iter().collect(), taken)
}

fn words(removed: &Removed) -> String {
    match (&removed.key, &removed.value) {
        (Some(key), Some(value)) => format!("{key} is {value}"),
        _ => removed.why(),
    }
}

fn skills(setup: &Setup, agent: &Agent) -> anyhow::Result<Vec<String>> {
    let skills = wire::skills(&setup.config, setup.state_dir())?;
    let found = survey(&skills, &agent.workspace, wire::allowed_skills(agent).as_ref());
    let ready = found.into_iter().filter(|skill| matches!(skill.standing, Standing::Ready));
    Ok(ready.map(|skill| skill.name).collect())
}

/// Finds the keys that decide.
struct Keys<'a> {
    id: &'a AgentId,
    present: &'a Present,
    own: Option<KeyPath>,
}

impl<'a> Keys<'a> {
    fn of(id: &'a AgentId, present: &'a Present) -> Keys<'a> {
        let own = written(present).into_iter().find(|(known, _)| known == id);
        Keys { id, present, own: own.map(|(_, path)| path) }
    }

    /// The key of the agent's entry, else the first of the others that is written.
    fn decides(&self, own: &str, others: &[&str]) -> Option<String> {
        let own = self.own.as_ref().filter(|_| !own.is_empty()).map(|path| below(path, own));
        let others = others.iter().filter_map(|key| KeyPath::parse(key));
        let mut all = own.into_iter().chain(others);
        let found = all.find(|path| at(&self.present.written, path).is_some());
        found.map(|path| path.to_string())
    }

    /// A value that stands under a key of the entry, or of the defaults.
    fn setting(&self, what: &'static str, value: Value, own: &str, other: &str) -> Setting {
        let others: &[&str] = if other.is_empty() { &[] } else { &[other] };
        let key = self.decides(own, others).unwrap_or_else(|| "default".to_owned());
        Setting { what, value, key }
    }

    fn settings(&self, agent: &Agent, limits: &Limits) -> Vec<Setting> {
        let mut all = vec![
            self.setting("default", json!(agent.default), "default", ""),
            self.setting("name", json!(agent.name), "name", ""),
            self.setting("description", json!(agent.description), "description", ""),
            self.workspace(agent),
        ];
        all.extend(self.of_models(limits));
        all.extend(self.of_tools(agent));
        all.extend(self.of_subagents(agent));
        all
    }

    fn workspace(&self, agent: &Agent) -> Setting {
        // The folder of the defaults is the default agent's alone.
        let other = if agent.default { "agents.defaults.workspace" } else { "" };
        self.setting("workspace", json!(agent.workspace), "workspace", other)
    }

    fn of_models(&self, limits: &Limits) -> Vec<Setting> {
        let Some(own) = limits.agents.get(self.id) else { return Vec::new() };
        let defaults = "agents.defaults.model";
        let model = (!own.model.is_empty()).then_some(&own.model);
        let key = match self.decides("model", &[defaults]) {
            Some(key) => key,
            // Nobody has said one: it is that of the first provider with a key.
            None => match own.model.split_once('/') {
                Some((provider, _)) => format!("the key of {provider}"),
                None => "default".to_owned(),
            },
        };
        let thinking = own.thinking.or(limits.thinking);
        let child_thinking = own.child_thinking.or(thinking);
        let child = "agents.defaults.subagents";
        let child_model = own.child_model.as_ref().or(model);
        let child_fallbacks =
            if own.child_model.is_some() { &own.child_fallbacks } else { &own.fallbacks };
        vec![
            Setting { what: "model", value: json!(model), key },
            self.setting("in its place", json!(own.fallbacks), "model.fallbacks", defaults),
            self.setting(
                "thinking",
                json!(thinking.map(|level| level.to_string())),
                "thinkingDefault",
                "agents.defaults.thinkingDefault",
            ),
            self.of_child("model of sub-agents", json!(child_model), &format!("{child}.model")),
            self.of_child("in its place", json!(child_fallbacks), &format!("{child}.model")),
            self.setting(
                "thinking of sub-agents",
                json!(child_thinking.map(|level| level.to_string())),
                "subagents.thinking",
                &format!("{child}.thinking"),
            ),
        ]
    }

    /// The model of children is the agent's own where nothing is said of it.
    fn of_child(&self, what: &'static str, value: Value, child: &str) -> Setting {
        let key = self.decides("subagents.model", &[child]);
        let key = key.or_else(|| self.decides("model", &["agents.defaults.model"]));
        Setting { what, value, key: key.unwrap_or_else(|| "default".to_owned()) }
    }

    fn of_tools(&self, agent: &Agent) -> Vec<Setting> {
        let config = &self.present.config;
        let profile = agent.tools.profile.or(config.tools.profile);
        let profile = profile.map_or("full".to_owned(), |profile| profile.to_string());
        let rules = config.tools.exec.rules.with(&agent.tools.exec.rules);
        let sandbox = wire::sandbox_mode(config, agent).to_string();
        let approve::ExecRules { mode, allow, wait, .. } = rules;
        vec![
            self.setting("tools profile", json!(profile), "tools.profile", "tools.profile"),
            self.setting("sandbox", json!(sandbox), "tools.exec.sandbox", "tools.exec.sandbox"),
            self.setting("commands", json!(mode.to_string()), "tools.exec.mode", "tools.exec.mode"),
            self.setting(
                "allowed commands",
                json!(allow),
                "tools.exec.allowlist",
                "tools.exec.allowlist",
            ),
            self.setting(
                "a question waits, s",
                json!(wait.as_secs()),
                "tools.exec.approvalTimeoutSeconds",
                "tools.exec.approvalTimeoutSeconds",
            ),
            self.setting("skills", json!(agent.skills), "skills", "agents.defaults.skills"),
        ]
    }

    fn of_subagents(&self, agent: &Agent) -> Vec<Setting> {
        let defaults = &self.present.config.agents.defaults;
        let own = &agent.subagents;
        let child = |what, value, key: &str| {
            let key = format!("subagents.{key}");
            self.setting(what, value, &key, &format!("agents.defaults.{key}"))
        };
        let of_all = |what, value, key: &str| self.setting(what, value, "", key);
        let subagents = &defaults.subagents;
        vec![
            child("may start agents", json!(own.allow_agents), "allowAgents"),
            child("a spawn names its agent", json!(own.require_agent_id), "requireAgentId"),
            child("may give tools", json!(own.delegate_tools), "delegateTools"),
            child("sub-agents reuse", json!(own.warm.reuse.to_string()), "reuse"),
            child(
                "idle sub-agents kept, min",
                json!(own.warm.archive_after_minutes),
                "archiveAfterMinutes",
            ),
            of_all(
                "levels of sub-agents",
                json!(subagents.max_spawn_depth),
                "agents.defaults.subagents.maxSpawnDepth",
            ),
            of_all(
                "open children",
                json!(subagents.max_children_per_agent),
                "agents.defaults.subagents.maxChildrenPerAgent",
            ),
            self.setting("budget", json!(agent.budget), "budget", "agents.defaults.budget"),
            child("budget of a task", json!(own.budget), "budget"),
            of_all("budget of a day", json!(self.present.config.budget.agent), "budget.agent"),
        ]
    }
}

fn print(shown: &Shown, out: &mut impl Write) -> anyhow::Result<()> {
    let default = if shown.default { " (default)" } else { "" };
    writeln!(out, "agent {}{default}", shown.id)?;
    let settings = shown.settings.iter().filter(|setting| setting.what != "default");
    let rows: Vec<Vec<String>> = settings
        .map(|setting| vec![setting.what.to_owned(), text(&setting.value), setting.key.clone()])
        .collect();
    table(out, &["WHAT", "VALUE", "DECIDED BY"], &rows)?;
    writeln!(out)?;
    for file in &shown.files {
        let size = file.bytes.map_or("not there".to_owned(), |bytes| format!("{bytes} bytes"));
        writeln!(out, "{:<14} {size}", file.name)?;
    }
    writeln!(out, "\n{} tools: {}", shown.tools.len(), shown.tools.join(" "))?;
    for taken in &shown.removed_tools {
        writeln!(out, "not {}: {}", taken.tools.join(" "), taken.why)?;
    }
    let skills = match &shown.skills[..] {
        [] => "none".to_owned(),
        names => names.join(" "),
    };
    writeln!(out, "skills that are ready: {skills}")?;
    let open = match &shown.open[..] {
        [] => String::new(),
        keys => format!(", at work in {}", keys.join(", ")),
    };
    Ok(writeln!(out, "sessions: {}{open}", shown.sessions)?)
}

/// A value as a person reads it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Object(fields) if fields.is_empty() => "none".to_owned(),
        Value::Object(fields) => {
            let pairs = fields.iter().map(|(key, value)| format!("{key}: {}", text(value)));
            pairs.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}
