//! The pool: idle children of one kind, which a spawn may take for a task of its own.
//!
//! A claim is made in the spawn's transaction and opens a run there, so no other finds the session
//! idle. The earlier task is behind an episode boundary: people can read it, the model cannot.

use std::time::Duration;

use serde_json::json;
use types::{Cleanup, Hash, Reuse, SpawnContext, SpawnRequest, Timestamp};

use super::place::is_above;
use crate::announce;
use crate::queue::QueueWish;
use crate::refresh;
use crate::rows::{Episode, EpisodeReason, Fold, Session, Task};
use crate::state::State;

/// Candidates that are looked at, most recently active first. One whose result has not been read
/// is passed over; so many of them at once are rare.
const LOOK: usize = 16;

/// Names the sessions that are alike.
pub(super) fn key_of(session: &Session) -> Hash {
    let alike = json!([
        session.agent,
        session.model,
        session.access,
        session.policy_hash,
        session.cwd,
        session.owner,
        session.depth,
    ]);
    // Said only where it is, so that sessions from before it was known are alike still.
    match session.thinking {
        None => Hash::of(alike.to_string()),
        Some(level) => Hash::of(format!("{alike}{level}")),
    }
}

/// May the child of this spawn be taken for other work when it is idle? Not if the spawn says that
/// it is to be shared with nothing, nor if it is a branch or thrown away.
pub(super) fn joins(request: &SpawnRequest) -> bool {
    request.reuse != Some(Reuse::Never)
        && request.session.is_none()
        && request.context == SpawnContext::Isolated
        && request.cleanup == Cleanup::Keep
}

/// Takes an idle session that is like `draft` and was active less than `kept` ago.
pub(super) fn claim(
    state: &mut State<'_>,
    draft: &Session,
    kept: Option<Duration>,
) -> Option<Session> {
    let age = kept.map_or(i64::MAX, crate::inbox::whole_ms);
    let since = Timestamp(state.now().ms().saturating_sub(age));
    for key in state.tx().pooled(key_of(draft), since, LOOK) {
        let session = state.session(&key).clone();
        if is_free(state, &session, draft) {
            return Some(begin_episode(state, &session, draft));
        }
    }
    None
}

/// Has the session of an ended task been taken for another since? It has forgotten this one.
pub(crate) fn is_taken_since(state: &mut State<'_>, ended: &Task) -> bool {
    let id = state.session(&ended.session_key).session_id;
    let episode = refresh::original(state, id);
    let since = ended.ended.is_some_and(|at| at <= episode.at);
    episode.reason == EpisodeReason::Pool && since
}

/// Does nobody need it any more? Its last task has ended, the result has been taken, and nothing
/// of it is on its way. What it is like is looked at again: its row may have been changed.
fn is_free(state: &mut State<'_>, session: &Session, draft: &Session) -> bool {
    let alike = key_of(session) == key_of(draft) && session.queue == QueueWish::default();
    let above = draft.parent_key.as_ref().is_some_and(|requester| {
        *requester == session.key || is_above(state, &session.key, requester)
    });
    if !alike || above || session.open_run.is_some() {
        return false;
    }
    let quiet = state.tx().queued_rows(&session.key, 1).is_empty()
        && state.tx().count_open_children(&session.key) == 0;
    let Some(task) = state.tx().task_of_session(&session.key).filter(|_| quiet) else {
        return false;
    };
    let task = state.task(&task).clone();
    task.outcome.is_some() && !announce::is_on_way(state, &task)
}

/// Draws a line behind the earlier task, and puts the session where the new one is in the tree.
fn begin_episode(state: &mut State<'_>, session: &Session, draft: &Session) -> Session {
    let now = state.now();
    let id = session.session_id;
    let transcript = state.transcript_mut(&id);
    transcript.episode += 1;
    transcript.context_tokens = 0;
    // What is known of the model's window and count stays true.
    transcript.gauge.counted = 0;
    transcript.gauge.fold = Fold::default();
    let (n, first_seq) = (transcript.episode, transcript.next_seq);
    state.add_episode(Episode {
        session_id: id,
        n,
        first_seq,
        reason: EpisodeReason::Pool,
        head: None,
        anchor: None,
        clip: None,
        prefix_hash: None,
        prefix_tokens: 0,
        pinned: None,
        at: now,
    });
    let row = state.session_mut(&session.key);
    row.parent_key = draft.parent_key.clone();
    row.root_key = draft.root_key.clone();
    row.label = draft.label.clone();
    row.declared = None;
    row.card = None;
    row.rev += 1;
    row.clone()
}
