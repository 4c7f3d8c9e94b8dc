//! `agents.list`

use protocol::agents::{AgentModel, AgentRow, ListResult};

use crate::gateway::Gateway;

pub fn list(gateway: &Gateway) -> ListResult {
    let config = gateway.handle.config();
    let rows = config.agents.iter().map(|(id, agent)| {
        let model = config.limits.agents.get(id).map(|limits| AgentModel {
            primary: Some(limits.model.clone()),
            fallbacks: limits.fallbacks.clone(),
        });
        AgentRow {
            id: id.clone(),
            name: gateway.info.agents.get(id).and_then(|title| title.name.clone()),
            workspace: Some(agent.workspace.display().to_string()),
            model,
        }
    });
    ListResult::new(gateway.info.default_agent.clone(), rows.collect())
}
