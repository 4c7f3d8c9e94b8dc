//! Agents of the file, added, changed and taken out: for commands, and for clients of the gateway.

use std::path::PathBuf;

use anyhow::bail;
use gateway::roster::{Changed, Wish};
use serde_json::{Value, json};
use types::AgentId;

use crate::setup::Setup;
use windlass::config::roster::{self, Said};
use windlass::config::{self, Config};

/// Adds an agent, and returns the file and what it says then.
pub fn add(
    setup: &Setup,
    id: &AgentId,
    said: &Said,
    default: bool,
) -> anyhow::Result<config::Changed<()>> {
    let changed = setup.change(|present| {
        check_folder(setup, said)?;
        Ok((roster::add(present, id, said, default, setup.state_dir())?, ()))
    })?;
    Ok(changed)
}

/// Changes what is said of an agent.
pub fn update(
    setup: &Setup,
    id: &AgentId,
    said: &Said,
    default: bool,
) -> anyhow::Result<config::Changed<()>> {
    setup.change(|present| {
        check_folder(setup, said)?;
        Ok((roster::update(present, id, said, default)?, ()))
    })
}

/// Takes an agent out, and returns where its folder is: that stays.
pub fn remove(
    setup: &Setup,
    id: &AgentId,
    drop_references: bool,
) -> anyhow::Result<config::Changed<PathBuf>> {
    setup.change(|present| {
        let changes = roster::remove(present, id, drop_references)?;
        Ok((changes, present.config.agents.entries[id].workspace.clone()))
    })
}

/// A workspace is a folder, or is made into one.
fn check_folder(setup: &Setup, said: &Said) -> anyhow::Result<()> {
    let workspace = said.iter().find(|(key, _)| *key == "workspace");
    let Some(text) = workspace.and_then(|(_, value)| value.as_ref()?.as_str()) else {
        return Ok(());
    };
    let folder = setup.absolute(text);
    let there = folder.ancestors().find(|path| path.exists());
    match there.filter(|path| !path.is_dir()) {
        Some(file) if *file == *folder => {
            bail!("{} is a file: a workspace is a folder", file.display())
        }
        Some(file) => bail!("{} cannot be made: {} is a file", folder.display(), file.display()),
        None => Ok(()),
    }
}

/// Other agents that work in the same folder: that may be meant, and is worth a word.
pub fn sharers(config: &Config, id: &AgentId) -> Vec<String> {
    let Some(own) = config.agents.entries.get(id) else { return Vec::new() };
    let others = config.agents.entries.iter().filter(|(other, _)| *other != id);
    let same = others.filter(|(_, agent)| agent.workspace == own.workspace);
    same.map(|(other, _)| other.to_string()).collect()
}

/// The file of a gateway, changed by its clients.
#[derive(Debug)]
pub struct FileRoster(pub Setup);

impl gateway::roster::Roster for FileRoster {
    fn create(&self, id: &AgentId, wish: &Wish) -> Result<Changed, String> {
        told(add(&self.0, id, &said(wish), false), id)
    }

    fn update(&self, id: &AgentId, wish: &Wish) -> Result<Changed, String> {
        told(update(&self.0, id, &said(wish), false), id)
    }

    fn delete(&self, id: &AgentId) -> Result<Changed, String> {
        let removed = remove(&self.0, id, false).map_err(|error| format!("{error:#}"))?;
        Ok(Changed { workspace: removed.decided, model: None })
    }
}

fn said(wish: &Wish) -> Said {
    let name = wish.name.as_ref().map(|name| ("name", Some(json!(name))));
    let workspace = wish.workspace.as_ref().map(|folder| ("workspace", Some(json!(folder))));
    let model = wish.model.as_ref().map(|model| ("model", model.as_ref().map(|m| json!(m))));
    [name, workspace, model].into_iter().flatten().collect::<Vec<(&str, Option<Value>)>>()
}

fn told(changed: anyhow::Result<config::Changed<()>>, id: &AgentId) -> Result<Changed, String> {
    let changed = changed.map_err(|error| format!("{error:#}"))?;
    let agent = &changed.config.agents.entries[id];
    let model = agent.model.as_ref().map(|choice| choice.primary.to_string());
    Ok(Changed { workspace: agent.workspace.clone(), model })
}
