//! `tools.effective`, `tools.catalog`

use std::collections::BTreeSet;

use machine::Limits;
use machine::policy::{self, Link, Policy, Profile, Role, ToolFact};
use machine::rows::GateKey;
use protocol::ErrorShape;
use protocol::tools::{
    CatalogParams, CatalogResult, CatalogTool, EffectiveParams, EffectiveResult, EffectiveTool,
    Group, ProfileRow, RemovedTool,
};
use store::StoreError;
use store::query::{Query, ask};
use types::{AgentId, SessionKey};

use crate::gateway::{Gateway, unreadable};
use crate::methods::models::model_of;

/// What a session may do at this moment, and what took the rest away.
pub async fn effective(
    gateway: &Gateway,
    params: EffectiveParams,
) -> Result<EffectiveResult, ErrorShape> {
    let default = &gateway.default_agent();
    let agent = params.agent.clone().unwrap_or_else(|| default.clone());
    let Some(session) = params.session else {
        known(gateway, &agent)?;
        // A child of an agent's own kind, all the way down.
        let limits = gateway.handle.limits();
        let named = params.model.as_deref().map(|model| limits.model_named(model)).transpose();
        let named = named.map_err(|error| ErrorShape::invalid_request(error.to_string()))?;
        let link = |depth| Link {
            agent: agent.clone(),
            depth,
            access: params.access,
            model: named.clone().unwrap_or_else(|| configured(&limits, &agent, depth)),
            kept: None,
        };
        return Ok(result(gateway, None, (0..=params.depth).map(link).collect()));
    };
    let key = session.resolve(&agent);
    let asked = key.clone();
    let limits = gateway.handle.limits();
    let way = ask(gateway.handle.store(), move |rows| way(rows, &limits, &asked)).await;
    let way = way.map_err(unreadable)?;
    if way.is_empty() {
        return Err(ErrorShape::invalid_request(format!("no session {key}")));
    }
    Ok(result(gateway, Some(key), way))
}

fn known(gateway: &Gateway, agent: &AgentId) -> Result<(), ErrorShape> {
    if gateway.handle.config().agents.contains_key(agent) {
        return Ok(());
    }
    let message = format!("no agent `{agent}` is configured; see `agents.entries`");
    Err(ErrorShape::invalid_request(message))
}

/// The model of an agent's sessions at a depth.
fn configured(limits: &Limits, agent: &AgentId, depth: u32) -> String {
    let Some(agent) = limits.agents.get(agent) else { return String::new() };
    let child = agent.child_model.clone().filter(|_| depth > 0);
    child.unwrap_or_else(|| agent.model.clone())
}

/// The sessions from the root of a tree to this one, with what is kept with each.
fn way(rows: &dyn Query, limits: &Limits, key: &SessionKey) -> Result<Vec<Link>, StoreError> {
    let mut way = Vec::new();
    let mut next = Some(key.clone());
    while let Some(key) = next.take() {
        let Some(session) = rows.session(&key)? else { break };
        let kept = match session.policy_hash {
            Some(hash) => rows.blob(hash)?.and_then(|text| Policy::read(&text)),
            None => None,
        };
        let open = session.open_run.as_ref().map(|run| run.model.clone());
        let model = open.unwrap_or_else(|| model_of(limits, &session));
        let (agent, depth, access) = (session.agent, session.depth, session.access);
        way.push(Link { agent, depth, access, model, kept });
        next = session.parent_key;
    }
    way.reverse();
    Ok(way)
}

fn result(gateway: &Gateway, key: Option<SessionKey>, way: Vec<Link>) -> EffectiveResult {
    let limits = &gateway.handle.limits();
    let last = way.last().expect("a way has an end").clone();
    let policy = policy::along(limits, way);
    let tools = limits.tools.catalogue.iter().filter(|fact| policy.allowed.contains(&fact.name));
    let own = limits.tools.agents.get(&last.agent).and_then(|own| own.profile);
    EffectiveResult {
        profile: own.or(limits.tools.profile).unwrap_or(Profile::Full).to_string(),
        groups: vec![Group {
            id: "core".to_owned(),
            label: "Built-in tools".to_owned(),
            source: "core".to_owned(),
            tools: tools.map(tool).collect(),
        }],
        session_key: key,
        role: Role::at(last.depth, limits).to_string(),
        depth: last.depth,
        access: last.access,
        model: GateKey::base(&last.model).to_owned(),
        removed: policy.removed.iter().map(removed).collect(),
        agent_id: last.agent,
    }
}

fn tool(fact: &ToolFact) -> EffectiveTool {
    EffectiveTool {
        id: fact.name.clone(),
        label: fact.name.clone(),
        description: first_sentence(&fact.description),
        raw_description: fact.description.clone(),
        source: "core".to_owned(),
    }
}

fn first_sentence(text: &str) -> String {
    text.split_inclusive(". ").next().unwrap_or_default().trim_end().to_owned()
}

fn removed(removed: &policy::Removed) -> RemovedTool {
    RemovedTool {
        id: removed.tool.clone(),
        rule: removed.rule.to_string(),
        key: removed.key.clone(),
        value: removed.value.clone(),
        why: removed.why(),
    }
}

/// What there is, by group.
pub fn catalog(gateway: &Gateway, params: CatalogParams) -> Result<CatalogResult, ErrorShape> {
    let agent = params.agent.unwrap_or_else(|| gateway.default_agent());
    known(gateway, &agent)?;
    let limits = gateway.handle.limits();
    let facts = &limits.tools.catalogue;
    let ids: BTreeSet<&String> = facts.iter().flat_map(|fact| &fact.groups).collect();
    let groups = ids.into_iter().map(|id| Group {
        id: id.clone(),
        label: format!("group:{id}"),
        source: "core".to_owned(),
        tools: facts.iter().filter(|fact| fact.groups.contains(id)).map(listed).collect(),
    });
    let profile =
        |profile: &Profile| ProfileRow { id: profile.to_string(), label: profile.to_string() };
    let profiles = Profile::ALL.iter().map(profile).collect();
    Ok(CatalogResult { agent_id: agent, profiles, groups: groups.collect() })
}

fn listed(fact: &ToolFact) -> CatalogTool {
    let profiles = Profile::ALL.iter().filter(|profile| profile.has(fact));
    CatalogTool {
        id: fact.name.clone(),
        label: fact.name.clone(),
        description: first_sentence(&fact.description),
        source: "core".to_owned(),
        default_profiles: profiles.map(|profile| profile.to_string()).collect(),
        effect: fact.effect,
    }
}
