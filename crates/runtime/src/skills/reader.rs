//! `read`, which also reads skills: `skills/<name>/…` is a path of its own.
//!
//! A skill of the workspace is a file of the workspace like any other. One of the user, of an extra
//! folder or of the binary lies elsewhere, and only its own folder can be read this way, not
//! written. What an agent may not use is not read either.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;
use store::Store;
use tools::{Tool, ToolContext, ToolOutput};
use types::{AgentId, EffectClass, ToolSpec};

use super::{FILE, Skill, Standing, bundled_text, survey};
use crate::config::Config;

/// The tool `read` of a toolbox, and where the skills of its agents are.
#[derive(Debug)]
pub(crate) struct SkillReader {
    inner: Arc<dyn Tool>,
    store: Arc<dyn Store>,
    config: Arc<Config>,
}

impl SkillReader {
    pub(crate) fn new(
        inner: Arc<dyn Tool>,
        store: Arc<dyn Store>,
        config: Arc<Config>,
    ) -> SkillReader {
        SkillReader { inner, store, config }
    }

    /// The skill that a path means, if it means one that is not below the working folder.
    async fn skill(&self, context: &ToolContext, path: &str) -> Option<(Skill, String)> {
        let rest = path.strip_prefix("./").unwrap_or(path).strip_prefix("skills/")?;
        let (name, rest) = rest.split_once('/').unwrap_or((rest, FILE));
        let rest = if rest.is_empty() { FILE } else { rest };
        if name.is_empty() || context.workspace.join("skills").join(name).exists() {
            return None;
        }
        let run = self.store.run(context.run).await.ok()??;
        let found = found(&self.config, &run.session_key.agent, name).await?;
        Some((found, rest.to_owned()))
    }
}

/// A skill that an agent may use, by name.
async fn found(config: &Config, agent: &AgentId, name: &str) -> Option<Skill> {
    let agent = config.agents.get(agent)?.clone();
    let skills = Arc::clone(&config.skills);
    let name = name.to_owned();
    let search = move || {
        let found = survey(&skills, &agent.workspace, agent.skills.as_ref());
        let usable = |skill: &Skill| {
            skill.name == name && matches!(skill.standing, Standing::Ready | Standing::Unlisted)
        };
        found.into_iter().find(usable)
    };
    tokio::task::spawn_blocking(search).await.ok()?
}

#[async_trait]
impl Tool for SkillReader {
    fn spec(&self) -> &ToolSpec {
        self.inner.spec()
    }

    fn effect(&self) -> EffectClass {
        self.inner.effect()
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        let written: Value = serde_json::from_str(arguments).unwrap_or_default();
        let path = written["path"].as_str().unwrap_or_default();
        let Some((skill, rest)) = self.skill(context, path).await else {
            return self.inner.call(context, arguments).await;
        };
        let Some(folder) = &skill.folder else {
            return bundled(&skill.name, &rest);
        };
        // In its own folder as if that were the workspace: no path leads out of it.
        let elsewhere = ToolContext { workspace: folder.clone(), ..context.clone() };
        let mut call = written.clone();
        call["path"] = Value::from(rest.clone());
        let output = self.inner.call(&elsewhere, &call.to_string()).await;
        if rest != FILE || output.is_error {
            return output;
        }
        ToolOutput::ok(format!("{}\n[this skill's folder: {}]", output.text, shown(folder)))
    }
}

fn bundled(name: &str, rest: &str) -> ToolOutput {
    match bundled_text(name).filter(|_| rest == FILE) {
        Some(text) => ToolOutput::ok(text),
        None => ToolOutput::error(format!("the skill `{name}` has no file but {FILE}")),
    }
}

fn shown(folder: &Path) -> String {
    folder.display().to_string()
}
