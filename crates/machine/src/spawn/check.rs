//! What a spawn may do: whom it may start, on which model, and whether there is room.

use types::{AgentId, SessionRef, SpawnRequest};

use super::Lineage;
use crate::internal::{Caller, Reply};
use crate::limits::{AgentLimits, AllowAgents, NoSuchModel};
use crate::rows::{NodeState, Session};
use crate::state::State;
use crate::step::stopped;

/// Nothing is born below a stop, nor while the gateway drains.
pub(crate) fn check_open(state: &mut State<'_>, caller: &Caller) -> Result<(), Reply> {
    if stopped(state, caller.task) {
        return Err(Reply::error("cancelled_ancestor", "a task above this one is being stopped"));
    }
    if state.this_node().is_none_or(|node| node.state != NodeState::Up) {
        let why = "the gateway is draining for a restart; try again after it";
        return Err(Reply::error("draining", why));
    }
    Ok(())
}

/// The agent that is to do the work: the one that is named, also by a full session key, or the
/// caller's own.
pub(crate) fn target(requester: &Session, request: &SpawnRequest) -> Result<AgentId, Reply> {
    let by_key = match &request.session {
        Some(SessionRef::Full(key)) => Some(&key.agent),
        _ => None,
    };
    match (&request.agent, by_key) {
        (Some(agent), Some(other)) if agent != other => {
            let why =
                format!("agentId is \"{agent}\", and sessionKey names a session of \"{other}\"");
            Err(Reply::error("invalid_argument", &why))
        }
        (agent, by_key) => Ok(agent.as_ref().or(by_key).unwrap_or(&requester.agent).clone()),
    }
}

pub(crate) fn allowed_agent(
    state: &mut State<'_>,
    requester: &Session,
    request: &SpawnRequest,
    target: &AgentId,
) -> Result<AgentLimits, Reply> {
    let limits = state.limits;
    let own = limits.of_agent(&requester.agent).agents.get(&requester.agent);
    let named = request.agent.is_some() || matches!(request.session, Some(SessionRef::Full(_)));
    if !named && own.is_some_and(|own| own.require_agent) {
        let why = "agentId is required: agents.defaults.subagents.requireAgentId is true";
        return Err(Reply::error("invalid_argument", why));
    }
    let Some(agent) = limits.agents.get(target) else {
        let known: Vec<&str> = limits.agents.keys().map(AgentId::as_str).collect();
        let why = format!(
            "agentId \"{target}\" is not configured in agents.entries (there are: {})",
            known.join(", ")
        );
        return Err(Reply::error("agent_not_allowed", &why));
    };
    let allowed = *target == requester.agent
        || own.is_some_and(|own| match &own.allow_agents {
            AllowAgents::All => true,
            AllowAgents::These(agents) => agents.contains(target),
        });
    if !allowed {
        let why = format!(
            "agent \"{}\" may not spawn \"{target}\": it is not in \
             agents.entries.{}.subagents.allowAgents",
            requester.agent, requester.agent
        );
        return Err(Reply::error("agent_not_allowed", &why));
    }
    Ok(agent.clone())
}

/// The model of the child. An unusable one is an error, never silently another.
pub(crate) fn usable_model(
    state: &mut State<'_>,
    request: &SpawnRequest,
    agent: &AgentLimits,
) -> Result<String, Reply> {
    let model = request.model.as_ref().or(agent.child_model.as_ref()).unwrap_or(&agent.model);
    state.limits.model_named(model).map_err(|none| {
        let NoSuchModel { model, known, .. } = &none;
        let why =
            format!("model \"{model}\" is not configured in models.providers (there are: {known})");
        Reply::error("model_unavailable", &why)
    })
}

/// Depth, children and tree must have room; each refusal names the key and its present value.
pub(crate) fn check_room(
    state: &mut State<'_>,
    requester: &Session,
    lineage: &Lineage,
) -> Result<(), Reply> {
    let limits = state.limits;
    let max = limits.spawn_depth_max;
    if lineage.depth >= max {
        let why = format!(
            "this run is at depth {}, and agents.defaults.subagents.maxSpawnDepth is {max}; do \
             the work here",
            lineage.depth
        );
        return Err(Reply::error("depth_exceeded", &why));
    }
    let open = state.tx().count_open_children(&requester.key);
    if open >= limits.children_max {
        let why = format!(
            "{open} children are open, and agents.defaults.subagents.maxChildrenPerAgent is {}; \
             yield until some have ended",
            limits.children_max
        );
        return Err(Reply::error("children_exceeded", &why));
    }
    let tree = state.tx().open_tasks_of_tree(&lineage.root);
    if tree >= limits.tasks_per_tree_max {
        let why = format!(
            "{tree} tasks of this tree are open, and agents.defaults.subagents.maxTasksPerTree \
             is {}; yield until some have ended",
            limits.tasks_per_tree_max
        );
        return Err(Reply::error("tree_exceeded", &why));
    }
    Ok(())
}
