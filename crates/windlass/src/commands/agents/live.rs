//! Whether the gateway that runs knows of a change of the file.

use protocol::agents::{AgentRow, ListResult};
use protocol::health::Status;
use protocol::{Method, Scope};
use serde_json::json;
use types::AgentId;

use crate::client::Client;
use crate::setup::Setup;

/// Says whether an agent is as the file has it now, for those who talk to the gateway; `there` if
/// it is in the file.
pub async fn words(now: &Setup, id: &AgentId, there: bool) -> String {
    let asked = async {
        let target = now.target()?;
        let mut client = Client::connect_as(&target, &[Scope::Read, Scope::Admin]).await?;
        let status: Status = client.get(Method::Status, json!({})).await?;
        // It looks at the file soon anyway; who goes on in a second is met by what he has written.
        if status.config.is_some_and(|standing| standing.watched) {
            client.call(Method::ConfigReload, json!({})).await?;
        }
        let listed: ListResult = client.get(Method::AgentsList, json!({})).await?;
        anyhow::Ok((target.url, listed))
    };
    let Ok((url, listed)) = asked.await else {
        return "no gateway answers; the next start takes it up".to_owned();
    };
    let known = listed.agents.iter().find(|row| row.id == *id);
    let default = listed.default_id == *id;
    if there == known.is_some() && known.is_none_or(|row| is_same(now, row, default)) {
        format!("the gateway at {url} knows of it")
    } else {
        format!(
            "the gateway at {url} takes it up at its next start, or by `windlass config reload`"
        )
    }
}

/// Does the gateway have what it tells of an agent from the file as it is?
fn is_same(now: &Setup, row: &AgentRow, default: bool) -> bool {
    let Some(agent) = now.config.agents.entries.get(&row.id) else { return false };
    let limits = now.limits().unwrap_or_default();
    let model = limits.agents.get(&row.id).map(|limits| limits.model.clone());
    let (primary, fallbacks) = match &row.model {
        Some(model) => (model.primary.clone(), model.fallbacks.clone()),
        None => (None, Vec::new()),
    };
    let expected = limits.agents.get(&row.id).map(|limits| limits.fallbacks.clone());
    row.name == agent.name
        && row.workspace == Some(agent.workspace.display().to_string())
        && primary == model
        && fallbacks == expected.unwrap_or_default()
        && default == (now.default_agent() == row.id)
}
