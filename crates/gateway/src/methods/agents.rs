//! `agents.list`, and `agents.create`, `agents.update`, `agents.delete`, which write the file.

use std::sync::Arc;

use protocol::ErrorShape;
use protocol::agents::{
    AgentModel, AgentRow, CreateParams, CreateResult, DeleteParams, DeleteResult, ListResult,
    UpdateParams, UpdateResult,
};
use store::query::ask;
use store::view::SessionFilter;
use types::AgentId;

use crate::gateway::{Gateway, unreadable};
use crate::roster::{Changed, Roster, Wish};

/// Sessions with an open run that a deletion names.
const OPEN_MAX: usize = 20;

/// Longest id of an agent.
const ID_MAX: usize = 64;

pub fn list(gateway: &Gateway) -> ListResult {
    let (config, shown) = (gateway.handle.config(), gateway.shown());
    let rows = config.agents.iter().map(|(id, agent)| {
        let model = config.limits.agents.get(id).map(|limits| AgentModel {
            primary: Some(limits.model.clone()),
            fallbacks: limits.fallbacks.clone(),
        });
        AgentRow {
            id: id.clone(),
            name: shown.agents.get(id).and_then(|title| title.name.clone()),
            workspace: Some(agent.workspace.display().to_string()),
            model,
        }
    });
    ListResult::new(shown.default_agent.clone(), rows.collect())
}

/// `agents.create`
pub async fn create(gateway: &Gateway, params: CreateParams) -> Result<CreateResult, ErrorShape> {
    let CreateParams { name, workspace, model } = params;
    let id = id_of(&name)?;
    let wish = Wish { name: Some(name.clone()), workspace, model: model.map(Some) };
    let at = id.clone();
    let changed = change(gateway, move |roster| roster.create(&at, &wish)).await?;
    Ok(CreateResult {
        ok: true,
        live: is_live(gateway, &id, Some(&changed)),
        agent_id: id,
        name,
        workspace: changed.workspace.display().to_string(),
        model: changed.model,
    })
}

/// `agents.update`
pub async fn update(gateway: &Gateway, params: UpdateParams) -> Result<UpdateResult, ErrorShape> {
    let UpdateParams { agent: id, name, workspace, model } = params;
    let (wish, at) = (Wish { name, workspace, model }, id.clone());
    let changed = change(gateway, move |roster| roster.update(&at, &wish)).await?;
    Ok(UpdateResult { ok: true, live: is_live(gateway, &id, Some(&changed)), agent_id: id })
}

/// `agents.delete`. Nothing of what it has done is deleted.
pub async fn delete(gateway: &Gateway, params: DeleteParams) -> Result<DeleteResult, ErrorShape> {
    let id = params.agent;
    let filter =
        SessionFilter { agent: Some(id.clone()), limit: OPEN_MAX, ..SessionFilter::default() };
    let held = ask(gateway.handle.store(), move |rows| {
        let open = SessionFilter { open_only: true, ..filter.clone() };
        Ok((rows.count_sessions(&filter)?, rows.sessions(&open)?))
    });
    let (sessions, open) = held.await.map_err(unreadable)?;
    let at = id.clone();
    let changed = change(gateway, move |roster| roster.delete(&at)).await?;
    Ok(DeleteResult {
        ok: true,
        removed_bindings: 0,
        live: is_live(gateway, &id, None),
        agent_id: id,
        workspace: changed.workspace.display().to_string(),
        sessions,
        open: open.iter().map(|session| session.key.to_string()).collect(),
    })
}

/// Makes an id of what people call an agent, as OpenClaw does: `Night watch` is `night-watch`.
fn id_of(name: &str) -> Result<AgentId, ErrorShape> {
    let lower = name.trim().to_lowercase();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    let words = lower.split(|c: char| !plain(c)).filter(|word| !word.is_empty());
    let mut id = words.collect::<Vec<_>>().join("-");
    id.truncate(ID_MAX);
    let id = id.trim_matches(['-', '_']);
    id.parse().map_err(|_| {
        let message =
            format!("invalid agents.create params: `name`: no id can be made of {name:?}");
        ErrorShape::invalid_request(format!("{message}: expected a letter or digit in it"))
    })
}

/// Writes the file, where that may block, and has it read if it is watched.
async fn change(
    gateway: &Gateway,
    change: impl FnOnce(&dyn Roster) -> Result<Changed, String> + Send + 'static,
) -> Result<Changed, ErrorShape> {
    let Some(roster) = gateway.info.roster.as_ref().map(Arc::clone) else {
        let message = "this gateway was started without a file that it could write";
        return Err(ErrorShape::invalid_request(message));
    };
    let done = tokio::task::spawn_blocking(move || change(&*roster)).await;
    let done = done.map_err(|error| ErrorShape::unavailable(format!("a bug: {error}")))?;
    let changed = done.map_err(ErrorShape::invalid_request)?;
    // It is looked at soon anyway; whoever has asked can go on at once.
    let configured = &gateway.info.configured;
    if configured.standing().watched {
        configured.reload(false).await;
    }
    Ok(changed)
}

/// Does this gateway have an agent as the file has it now?
fn is_live(gateway: &Gateway, id: &AgentId, expected: Option<&Changed>) -> bool {
    let config = gateway.handle.config();
    match (config.agents.get(id), expected) {
        (None, expected) => expected.is_none(),
        (Some(_), None) => false,
        (Some(agent), Some(changed)) => {
            let model = config.limits.agents.get(id).map(|limits| limits.model.as_str());
            let same = changed.model.as_deref().is_none_or(|wanted| model == Some(wanted));
            agent.workspace == changed.workspace && same
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_made_of_a_name() {
        for (name, id) in [
            ("Night watch", Some("night-watch")),
            ("  OPS_2 ", Some("ops_2")),
            ("Zoë & Co.", Some("zo-co")),
            ("-x-", Some("x")),
            ("日本", None),
            ("--", None),
        ] {
            assert_eq!(id_of(name).ok().map(|id| id.to_string()).as_deref(), id, "{name}");
        }
        assert_eq!(id_of(&"a".repeat(80)).unwrap().as_str().len(), ID_MAX);
    }
}
