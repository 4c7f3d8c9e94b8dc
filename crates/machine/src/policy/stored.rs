//! The set that is kept with a session, and what it is at this moment.

use types::{Access, AgentId, Hash, SessionKey, SpawnRequest};

use super::{Link, Policy, Requester, Rule, Subject, along, decide, grants};
use crate::failover;
use crate::internal::Reply;
use crate::rows::Session;
use crate::state::State;

/// What a child of a spawn may do.
#[derive(Clone, Debug)]
pub struct ForChild {
    pub access: Access,
    /// Names the blob with its tools.
    pub hash: Hash,
}

/// Computes and keeps what a child of this spawn may do, or refuses a spawn that could do nothing.
pub fn for_child(
    state: &mut State<'_>,
    requester: &Session,
    depth: u32,
    target: &AgentId,
    request: &SpawnRequest,
    model: &str,
) -> Result<ForChild, Reply> {
    let access = match requester.access {
        Access::Full => request.access,
        // What may not be changed here may not be changed below.
        Access::ReadOnly => Access::ReadOnly,
    };
    let above = now(state, &requester.key);
    let requester = Requester { agent: &requester.agent, has: &above.allowed };
    let subject = Subject { agent: target, depth, access, model, requester: Some(requester) };
    let policy = decide(state.limits, &subject);
    if policy.allowed.is_empty() {
        let why = format!(
            "agent \"{target}\" would have no tool at depth {depth}: {}",
            policy.emptied_by()
        );
        return Err(Reply::error("empty_toolset", &why));
    }
    Ok(ForChild { access, hash: keep(state, &policy) })
}

/// May `requester` set a session to work that is there already? What it may not do itself it must
/// not do through another, unless the configuration lets it give that.
pub fn for_existing(
    state: &mut State<'_>,
    requester: &SessionKey,
    target: &SessionKey,
) -> Result<(), Reply> {
    // What is below got what it has from here.
    if state.way_up(target).contains(requester) {
        return Ok(());
    }
    let (from, to) = (state.session(requester).clone(), state.session(target).clone());
    if from.access == Access::ReadOnly && to.access != Access::ReadOnly {
        let why = format!(
            "session {target} may change things (access \"full\"), and this one is read-only; \
             spawn a session of its own"
        );
        return Err(Reply::error("agent_not_allowed", &why));
    }
    let (own, theirs) = (now(state, requester), now(state, target));
    let granted = grants(&state.limits.tools, &from.agent, &to.agent);
    let catalogue = &state.limits.tools.catalogue;
    let more = own.removed.iter().find(|removed| {
        let fact = catalogue.iter().find(|fact| fact.name == removed.tool);
        let given = fact.is_some_and(|fact| granted.iter().any(|entry| entry.names(fact)));
        // A place in the tree is not a matter of trust.
        removed.rule != Rule::Role && theirs.allowed.contains(&removed.tool) && !given
    });
    let Some(more) = more else { return Ok(()) };
    let why = format!(
        "session {target} has `{}`, and this session may not give it: {} (see \
         agents.entries.{}.subagents.delegateTools)",
        more.tool,
        more.why(),
        from.agent
    );
    Err(Reply::error("agent_not_allowed", &why))
}

/// The tools of a session at this moment: what is kept with it, narrowed by what the configuration
/// and the sessions above it say now.
pub fn now(state: &mut State<'_>, key: &SessionKey) -> Policy {
    let mut way = Vec::new();
    for key in state.way_up(key) {
        let session = state.session(&key).clone();
        let kept = session.policy_hash.and_then(|hash| state.tx().blob(hash));
        let kept = kept.and_then(|text| Policy::read(&text));
        let model = called(state, &session);
        let (agent, depth, access) = (session.agent, session.depth, session.access);
        way.push(Link { agent, depth, access, model, kept });
    }
    way.reverse();
    along(state.limits, way)
}

/// The model that the calls of a session go to at this moment.
fn called(state: &mut State<'_>, session: &Session) -> String {
    match session.open_run {
        Some(run) => state.run(&run).model.clone(),
        None => failover::model_of(state.limits, session),
    }
}

/// Computes the set of a session anew, and keeps it: an episode begins.
pub fn renew(state: &mut State<'_>, key: &SessionKey) -> Policy {
    let session = state.session(key).clone();
    let above = session.parent_key.as_ref().and_then(|key| state.find_session(key)).cloned();
    let has = above.as_ref().map(|above| now(state, &above.key));
    let requester = match (&above, &has) {
        (Some(above), Some(has)) => Some(Requester { agent: &above.agent, has: &has.allowed }),
        _ => None,
    };
    let (agent, depth, access) = (&session.agent, session.depth, session.access);
    // Of the model that was chosen, whichever is called in its place: the prefix follows from it.
    let model = &failover::model_of(state.limits, &session);
    let policy = decide(state.limits, &Subject { agent, depth, access, model, requester });
    let hash = keep(state, &policy);
    if session.policy_hash != Some(hash) {
        state.session_mut(key).policy_hash = Some(hash);
    }
    policy
}

fn keep(state: &mut State<'_>, policy: &Policy) -> Hash {
    let text = serde_json::to_string(policy).expect("words are JSON");
    let hash = Hash::of(&text);
    state.tx().add_blob(hash, &text);
    hash
}
