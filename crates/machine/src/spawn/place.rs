//! Which session a spawn goes to: a new one, the one of a name, or an idle one of the pool.
//!
//! | asked for | the session | there already | busy |
//! |---|---|---|---|
//! | nothing, `never` | a new one | | |
//! | `sessionKey` | of that key | refused, but for `resumeIfExists` | queue |
//! | `reuse: "key"` | `agent:<id>:subagent:<reuseKey>` | goes on | queue |
//! | `reuse: "main"` | `agent:<id>:main` | goes on | a new one |
//! | `reuse: "pool"` | an idle one that is alike | behind an episode boundary | a new one |
//!
//! A key opens nothing that a spawn without one could not: a session of another owner is as good
//! as not there, and what is above the caller, or waits for it, is refused.

use std::collections::BTreeSet;

use types::{
    Access, Announce, Cleanup, Name, Reuse, Scope, SessionKey, SpawnContext, SpawnRequest,
    Thinking, WhenBusy,
};

use super::{Lineage, pool};
use crate::archive;
use crate::inbox;
use crate::internal::Reply;
use crate::limits::{AgentLimits, Relation};
use crate::policy;
use crate::rows::{FlowNodeState, Lifecycle, Place, Session, TaskKind};
use crate::session::begin_again;
use crate::state::State;

/// Sessions that are looked at when a circle is searched for. More are not open at a time.
const CIRCLE_MAX: usize = 10_000;

/// The session that carries a task, and why it is this one.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub session: Session,
    pub reused: bool,
    /// For the caller: what was reused and why, or why not.
    pub why: Option<String>,
}

/// Where a spawn wants to go.
enum Way {
    New,
    Pool,
    Named { key: SessionKey, may_exist: bool, busy: WhenBusy, what: &'static str },
}

/// Finds or makes the session of a spawn. `draft` is the new one that it would be.
pub(super) fn choose(
    state: &mut State<'_>,
    requester: &Session,
    request: &SpawnRequest,
    agent: &AgentLimits,
    lineage: &Lineage,
    draft: Session,
) -> Result<Chosen, Reply> {
    match way(request, agent, &draft)? {
        Way::New => Ok(fresh(state, draft, None)),
        Way::Pool => match pool::claim(state, &draft, agent.archive_after) {
            Some(session) => {
                let why = "reuse \"pool\": an idle session of the same agent, model and policy; \
                           it sees nothing of its earlier task";
                Ok(Chosen { session, reused: true, why: Some(why.to_owned()) })
            }
            None if request.when_busy == Some(WhenBusy::Refuse) => {
                let why =
                    "no idle session of this agent is in the pool, and whenBusy is \"refuse\"";
                Err(Reply::error("busy", why))
            }
            None => {
                let why = "reuse \"pool\": no idle session is alike, so this is a new one";
                Ok(fresh(state, draft, Some(why.to_owned())))
            }
        },
        Way::Named { key, may_exist, busy, what } => {
            if key.scope == Scope::Main && !agent.allow_reuse_main {
                return Err(main_refused(&key));
            }
            match own(state, &key, &draft)? {
                // Also of one that was deleted: what it has left would be above itself.
                None if is_above(state, &key, &requester.key) => Err(was_above(&key)),
                None => Ok(made(state, key, draft, what)),
                Some(_) if !may_exist => Err(exists(&key)),
                Some(session) => {
                    check_seen(state, requester, &session)?;
                    check_circle(state, &requester.key, request.announce, lineage, &key)?;
                    check_alike(request, &session, &draft)?;
                    check_tools(state, requester, &session)?;
                    take(state, session, draft, busy, what)
                }
            }
        }
    }
}

fn way(request: &SpawnRequest, agent: &AgentLimits, draft: &Session) -> Result<Way, Reply> {
    let target = &draft.agent;
    if let Some(name) = &request.session {
        return Ok(Way::Named {
            key: name.under(target),
            may_exist: request.resume_if_exists,
            busy: request.when_busy.unwrap_or(WhenBusy::Queue),
            what: "sessionKey",
        });
    }
    // A branch begins with its parent's words, and what is thrown away is not found again: what
    // is configured does not go for them.
    let new = request.context == SpawnContext::Fork || request.cleanup == Cleanup::Delete;
    let configured = if new { Reuse::Never } else { agent.reuse };
    let named = |scope, busy, what| Way::Named {
        key: SessionKey::new(target.clone(), scope),
        may_exist: true,
        busy: request.when_busy.unwrap_or(busy),
        what,
    };
    Ok(match request.reuse.unwrap_or(configured) {
        Reuse::Never => Way::New,
        Reuse::Pool => Way::Pool,
        Reuse::Main => named(Scope::Main, WhenBusy::Fresh, "reuse \"main\""),
        Reuse::Key => {
            let key = reuse_key(request, agent)?;
            named(Scope::WarmSubagent(key), WhenBusy::Queue, "reuse \"key\"")
        }
    })
}

fn reuse_key(request: &SpawnRequest, agent: &AgentLimits) -> Result<Name, Reply> {
    let key = request.reuse_key.as_ref().or(agent.reuse_key.as_ref());
    let why = "reuse is \"key\", and there is no key: pass reuseKey, or set \
               agents.defaults.subagents.reuseKey, which is not set";
    key.cloned().ok_or_else(|| Reply::error("invalid_argument", why))
}

fn main_refused(key: &SessionKey) -> Reply {
    let why = format!(
        "{key} is the agent's own conversation, and agents.defaults.subagents.allowReuseMain is \
         false for \"{}\"; use another sessionKey, such as thread:<name>",
        key.agent
    );
    Reply::error("session_not_found", &why)
}

/// The session of a key, if it is of the caller's owner; none if it can be made.
fn own(state: &mut State<'_>, key: &SessionKey, draft: &Session) -> Result<Option<Session>, Reply> {
    // Of a deleted one only the key is left, and that is free.
    let found = state.find_session(key).filter(|session| session.deleted.is_none()).cloned();
    let makes = matches!(key.scope, Scope::Thread(_) | Scope::WarmSubagent(_) | Scope::Main);
    match found {
        Some(session) if session.owner == draft.owner => Ok(Some(session)),
        None if makes => Ok(None),
        _ => {
            let why = format!(
                "no session {key} of yours; a spawn makes sessions named thread:<name> or \
                 subagent:<name>"
            );
            Err(Reply::error("session_not_found", &why))
        }
    }
}

fn exists(key: &SessionKey) -> Reply {
    let why = format!(
        "session {key} is there already; pass resumeIfExists true to go on with it, or another \
         sessionKey"
    );
    Reply::error("session_exists", &why)
}

fn was_above(key: &SessionKey) -> Reply {
    let why = format!(
        "session {key} is deleted and was above this session, so it cannot be begun anew from \
         below; use another sessionKey"
    );
    Reply::error("wait_cycle", &why)
}

/// A session that waits for the caller, or is above it, would wait for itself.
pub(super) fn check_circle(
    state: &mut State<'_>,
    from: &SessionKey,
    announce: Announce,
    lineage: &Lineage,
    key: &SessionKey,
) -> Result<(), Reply> {
    let why = if key == from {
        "it is the session that calls: do the work here".to_owned()
    } else if is_above(state, key, from) || lineage.sessions.contains(key) {
        "it is above this session, which works for it: answer, and it goes on".to_owned()
    } else if announce.reaches_requester() && waits_for(state, key, from) {
        "it waits for this session, directly or through others: both would wait for ever".to_owned()
    } else {
        return Ok(());
    };
    Err(Reply::error("wait_cycle", &format!("session {key} cannot take this task: {why}")))
}

/// Is `key` an ancestor of `from`, by whom made whom?
pub(super) fn is_above(state: &mut State<'_>, key: &SessionKey, from: &SessionKey) -> bool {
    state.way_up(from).iter().skip(1).any(|above| above == key)
}

/// Does `waiter` wait for `key`, by open tasks whose results it will get?
fn waits_for(state: &mut State<'_>, waiter: &SessionKey, key: &SessionKey) -> bool {
    let mut seen = BTreeSet::from([waiter.clone()]);
    let mut look = vec![waiter.clone()];
    while let Some(session) = look.pop() {
        for next in waited_for(state, &session) {
            // A search without an end is no answer: whoever cannot tell does not begin to wait.
            if next == *key || seen.len() >= CIRCLE_MAX {
                return true;
            }
            if seen.insert(next.clone()) {
                look.push(next);
            }
        }
    }
    false
}

/// Sessions that carry what this one waits for: its children, and the nodes of its flows.
fn waited_for(state: &mut State<'_>, session: &SessionKey) -> Vec<SessionKey> {
    let mut found = Vec::new();
    for child in state.tx().open_children(session) {
        let task = state.task(&child).clone();
        if !task.announce.reaches_requester() {
            continue;
        }
        match task.flow.filter(|_| task.kind == TaskKind::Flow) {
            Some(flow) => {
                for node in state.tx().flow_nodes(flow) {
                    let running = node.task.filter(|_| node.state == FlowNodeState::Running);
                    found.extend(running.map(|id| state.task(&id).session_key.clone()));
                }
            }
            None => found.push(task.session_key),
        }
    }
    found
}

/// What a session was made with stays: a spawn that asks for something else is told so.
fn check_alike(request: &SpawnRequest, session: &Session, draft: &Session) -> Result<(), Reply> {
    let key = &session.key;
    let differs = |what: &str, has: &str, asked: &str| {
        let why = format!(
            "session {key} has the {what} {has}, not {asked}; leave `{what}` out, or use another \
             sessionKey"
        );
        Err(Reply::error("invalid_argument", &why))
    };
    let asked = request.model.as_ref().and(draft.model.as_ref());
    if let (Some(asked), Some(has)) = (asked, &session.model)
        && asked != has
    {
        return differs("model", has, asked);
    }
    if let Some(asked) = request.thinking
        && session.thinking != Some(asked)
    {
        let has = session.thinking.map_or("that is configured", Thinking::as_str);
        return differs("thinking", has, asked.as_str());
    }
    if let Some(asked) = &request.cwd
        && session.cwd.as_ref() != Some(asked)
    {
        return differs("cwd", session.cwd.as_deref().unwrap_or("of its workspace"), asked);
    }
    // Less than asked for is no harm; more would be.
    if draft.access == Access::ReadOnly && session.access == Access::Full {
        return differs("access", session.access.as_str(), draft.access.as_str());
    }
    Ok(())
}

/// What the caller may not see it may not set to work either.
fn check_seen(state: &State<'_>, requester: &Session, session: &Session) -> Result<(), Reply> {
    let visibility = state.limits.send.visibility;
    if visibility.shows(Relation::of(requester), Relation::of(session)) {
        return Ok(());
    }
    let why = format!(
        "session {} may not see {}: tools.sessions.visibility is \"{visibility}\"",
        requester.key, session.key
    );
    Err(Reply::error("forbidden", &why))
}

/// A name is no way to tools that the caller could not give. That a main session may be used at
/// all is the operator's word.
fn check_tools(state: &mut State<'_>, requester: &Session, session: &Session) -> Result<(), Reply> {
    if session.key.scope == Scope::Main {
        return Ok(());
    }
    policy::for_existing(state, &requester.key, &session.key)
}

/// Goes on with a session that is there.
fn take(
    state: &mut State<'_>,
    session: Session,
    draft: Session,
    when_busy: WhenBusy,
    what: &str,
) -> Result<Chosen, Reply> {
    let key = session.key.clone();
    let mut why = format!("{what}: {key} goes on with its whole history");
    if session.open_run.is_some() {
        match when_busy {
            WhenBusy::Fresh => {
                let why = format!("{what}: {key} is busy, so this is a new session");
                return Ok(fresh(state, draft, Some(why)));
            }
            WhenBusy::Refuse => {
                let why = format!("session {key} is busy, and whenBusy is \"refuse\"");
                return Err(Reply::error("busy", &why));
            }
            WhenBusy::Queue => {
                let ahead = room_in_line(state, &key)?;
                why += &format!("; it is busy, so the brief waits in it, behind {ahead} others");
            }
        }
    }
    if session.lifecycle == Lifecycle::Archived {
        // It is there: a refusal would be a bug, and is said as one.
        archive::restore_session(state, &key, &format!("spawn of {}", draft.owner))
            .map_err(|refusal| Reply::error("session_not_found", &refusal.to_string()))?;
        why += "; it was archived and has been restored";
    }
    // Somebody counts on its key: it is no session like any other any more.
    state.session_mut(&key).pool_key = None;
    let session = state.session(&key).clone();
    Ok(Chosen { session, reused: true, why: Some(why) })
}

/// How many are before a brief that waits in a busy session: its run, and those in line.
pub(super) fn room_in_line(state: &mut State<'_>, key: &SessionKey) -> Result<usize, Reply> {
    let max = state.limits.queued_rows_max;
    let queued = state.tx().queued_rows(key, max).len();
    if queued >= max {
        let why = format!("session {key} is busy, and {queued} inputs wait in it; {max} may");
        return Err(Reply::error("busy", &why));
    }
    Ok(in_line(state, key) + 1)
}

/// Inputs that wait in a busy session for a run of their own.
pub(super) fn in_line(state: &mut State<'_>, key: &SessionKey) -> usize {
    let limit = state.limits.inbox_rows_max();
    let mut count = 0;
    for seq in state.tx().queued_rows(key, limit) {
        let row = state.inbox(&seq);
        let own = matches!(row.place, Place::Own | Place::Merge);
        count += usize::from(own && row.run.is_none());
    }
    count
}

fn fresh(state: &mut State<'_>, draft: Session, why: Option<String>) -> Chosen {
    inbox::create_session(state, draft.clone());
    Chosen { session: draft, reused: false, why }
}

/// Makes the session of a name.
fn made(state: &mut State<'_>, key: SessionKey, draft: Session, what: &str) -> Chosen {
    let why = format!("{what}: {key} was not there, and has been made");
    let mut session = Session { key: key.clone(), pool_key: None, ..draft };
    if key.scope == Scope::Main {
        // The head of a tree of its own, whoever was first to need it.
        session.parent_key = None;
        session.root_key = key;
        session.depth = 0;
        session.label = None;
    }
    if state.find_session(&session.key).is_some() {
        // It was deleted: its rows stay, under a transcript that has ended.
        begin_again(state, &session.key, &session.owner);
        let row = state.session_mut(&session.key);
        (session.session_id, session.rev) = (row.session_id, row.rev);
        *row = session.clone();
    } else {
        inbox::create_session(state, session.clone());
    }
    Chosen { session, reused: false, why: Some(why) }
}
