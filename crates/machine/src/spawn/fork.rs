//! A branch of the requester's transcript: what a forked child begins with.
//!
//! Nothing is copied. The child's transcript names the entries of the other that come before its
//! own; those are never rewritten, so a branch stays what it was. The answer that holds the spawn
//! is left out: its calls have no results yet, and no provider takes a call without one.

use types::{AgentId, SessionId, SpawnRequest};

use crate::context;
use crate::event::Inbound;
use crate::inbox;
use crate::internal::{Caller, Reply};
use crate::rows::{Base, Place, Session, Task};
use crate::state::State;

/// Branches of branches, at most. Each is read for every call, and a tree is not deeper.
const CHAIN_MAX: usize = 16;

/// The entries that a branch of the caller's conversation begins with.
pub(super) fn base_of(
    state: &mut State<'_>,
    caller: &Caller,
    requester: &Session,
    target: &AgentId,
) -> Result<Option<Base>, Reply> {
    let invalid = |why: String| Err(Reply::error("invalid_argument", &why));
    if *target != requester.agent {
        return invalid(format!(
            "context \"fork\" is a branch of your own conversation, and \"{target}\" is another \
             agent than \"{}\"; leave agentId out, or put what it needs into task",
            requester.agent
        ));
    }
    let session_id = requester.session_id;
    let last_seq = match caller.run.zip(caller.step) {
        Some((run, step)) => {
            let asked_by = state.step(&(run, step)).asked_by.unwrap_or(0);
            state.tx().seq_of_step(run, asked_by).unwrap_or(1) - 1
        }
        None if requester.open_run.is_some() => {
            let why = "a run of this session is open; a branch can be made when it has ended";
            return Err(Reply::error("busy", why));
        }
        None => state.transcript(&session_id).next_seq - 1,
    };
    let (episode, first_seq) = head(state, session_id);
    if last_seq < first_seq {
        return Ok(None);
    }
    let chain = bases(state, session_id).len() + 1;
    if chain > CHAIN_MAX {
        return invalid(format!(
            "this session is the branch of a branch already, {chain} times; {CHAIN_MAX} are allowed"
        ));
    }
    Ok(Some(Base { session_id, first_seq, last_seq, episode }))
}

/// The episode that a session is in, and its first entry.
fn head(state: &mut State<'_>, session_id: SessionId) -> (u32, i64) {
    let n = state.transcript(&session_id).episode;
    (n, state.episode(&(session_id, n)).first_seq)
}

/// Does something stand in the place of all that came before this episode?
fn has_head(state: &mut State<'_>, session_id: SessionId, n: u32) -> bool {
    state.find_episode(&(session_id, n)).is_some_and(|episode| episode.head.is_some())
}

/// What comes before the first entry of a session's prompt, in the order in which it is sent. An
/// episode that begins later than the transcript, or behind a summary, has left its base behind.
pub(crate) fn bases(state: &mut State<'_>, session_id: SessionId) -> Vec<Base> {
    let mut bases: Vec<Base> = Vec::new();
    let (mut n, mut first) = head(state, session_id);
    let mut id = session_id;
    while first == 1
        && !has_head(state, id, n)
        && bases.len() <= CHAIN_MAX
        && let Some(base) = state.transcript(&id).base
    {
        (id, n, first) = (base.session_id, base.episode, base.first_seq);
        bases.push(base);
    }
    bases.reverse();
    bases
}

/// Makes the new session `child` a branch.
pub(super) fn graft(state: &mut State<'_>, child: &Session, base: Base) {
    state.transcript_mut(&child.session_id).base = Some(base);
    let tokens = context::tokens(state, child.session_id);
    state.transcript_mut(&child.session_id).context_tokens = tokens;
}

/// Tells the branch that it is one: its prefix says that the first message is the brief.
pub(super) fn say_so(state: &mut State<'_>, task: &Task) {
    let body = "[System] You are a branch of the conversation above: it goes on without you. The \
                next message is your brief, and your final answer goes back to it.";
    let note = Inbound::system(
        task.session_key.clone(),
        task.origin.clone(),
        format!("fork:{}", task.id),
        body.to_owned(),
    );
    inbox::put(state, &note, Place::Steer);
}

/// Does the spawn begin with a branch?
pub(super) fn wanted(request: &SpawnRequest) -> bool {
    request.context == types::SpawnContext::Fork
}
