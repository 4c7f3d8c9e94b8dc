//! The same work, asked for again after it has failed: it is continued, not begun anew.
//!
//! While a task is open, the duplicate guard of the spawn answers with its ids. This is the same
//! guard for work that has ended and has not completed: its session is alive and knows what was
//! done so far, and a second session would do it twice.

use std::time::Duration;

use serde_json::json;
use types::{Hash, Scope, SessionKey, SpawnRequest, TaskId};

use crate::internal::{Caller, Reply};
use crate::rows::{Lifecycle, Outcome};
use crate::spawn::pool;
use crate::state::State;

/// How long after its end equal words mean the same work. Later they are as likely a new order,
/// such as what is asked for every morning.
const SAME_WORK: Duration = Duration::from_secs(12 * 3_600);

/// Finds the task in whose session the work of this spawn can be continued: the requester has asked
/// for it under the same `taskName`, or in the same words under no other name, and it has ended
/// without being completed.
///
/// Only an agent is led there. A person or a program who asks again means it, and so does an agent
/// who names the session himself.
pub fn unfinished(
    state: &mut State<'_>,
    caller: &Caller,
    request: &SpawnRequest,
    dup_hash: Hash,
) -> Option<TaskId> {
    if caller.run.is_none() || request.session.is_some() || request.reuse.is_some() {
        return None;
    }
    let requester = caller.session.clone();
    let named = match &request.task_name {
        Some(name) => state.tx().last_task_by_name(&requester, name),
        None => None,
    };
    let worded = match state.tx().last_task_by_hash(&requester, dup_hash) {
        Some(id) if other_name(state, id, request) => None,
        found => found,
    };
    let asked = named.or(worded)?;
    let task = state.task(&asked).clone();
    let session = task.session_key.clone();
    // A session with a name is where such a spawn goes by itself, and what others had it do since
    // is none of this work; one of the pool may have forgotten it.
    if !matches!(session.scope, Scope::Subagent(_)) || pool::is_taken_since(state, &task) {
        return None;
    }
    // What was done about it since counts, not how it ended first.
    let newest = state.tx().task_of_session(&session)?;
    let open = state.session(&session).lifecycle == Lifecycle::Open;
    (open && is_unfinished(state, &requester, newest)).then_some(newest)
}

fn other_name(state: &mut State<'_>, id: TaskId, request: &SpawnRequest) -> bool {
    request.task_name.is_some() && request.task_name != state.task(&id).task_name
}

fn is_unfinished(state: &mut State<'_>, requester: &SessionKey, id: TaskId) -> bool {
    let now = state.now();
    let task = state.task(&id);
    let recent = task.ended.is_none_or(|ended| now.since(ended) < SAME_WORK);
    task.requester_key == *requester && task.outcome != Some(Outcome::Completed) && recent
}

/// What the spawn answers: the session that has the work, and the exact call that continues it.
pub fn reply(state: &mut State<'_>, id: TaskId) -> Reply {
    let task = state.task(&id).clone();
    let key = &task.session_key;
    let note = match task.outcome {
        None => "This work goes on in this session already: its result will come.".to_owned(),
        Some(outcome) => format!(
            "This work was begun before and has ended ({outcome}). Its session is alive and knows \
             what was done: continue it with sessions_send \
             {{\"sessionKey\":\"{key}\",\"mode\":\"resume\",\"message\":\"...\"}} (or subagents, action \
             \"steer\"). For a new session on purpose, pass another taskName."
        ),
    };
    Reply::ok(json!({
        "status": "duplicate",
        "taskId": task.id,
        "runId": task.run,
        "childSessionKey": key,
        "outcome": task.outcome,
        "resumable": task.outcome.is_some(),
        "note": note,
    }))
}
