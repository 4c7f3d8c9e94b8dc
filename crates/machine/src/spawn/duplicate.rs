//! The same work twice: found by key, name or brief, and answered with what there is.

use serde_json::json;
use types::{AgentId, Hash, SessionKey, SpawnRequest, TaskId};

use crate::internal::Reply;
use crate::state::State;

/// Hash of agent and brief, the brief without regard to white space and case.
pub(super) fn dup_hash(agent: &AgentId, brief: &str) -> Hash {
    let words: Vec<String> = brief.split_whitespace().map(str::to_lowercase).collect();
    Hash::of(format!("{agent}\n{}", words.join(" ")))
}

/// Finds the task that this spawn would do again: of the same idempotency key whether open or
/// ended, or an open one of the same name, or one with the same brief under no other name.
pub(super) fn duplicate(
    state: &mut State<'_>,
    requester: &SessionKey,
    request: &SpawnRequest,
    dup_hash: Hash,
) -> Option<TaskId> {
    if let Some(key) = &request.idempotency_key
        && let Some(task) = state.tx().task_by_idem(requester, key)
    {
        return Some(task);
    }
    if let Some(name) = &request.task_name
        && let Some(task) = state.tx().open_task_by_name(requester, name)
    {
        return Some(task);
    }
    let equal = state.tx().open_tasks_by_hash(requester, dup_hash);
    equal
        .into_iter()
        .find(|id| request.task_name.is_none() || request.task_name == state.task(id).task_name)
}

pub(super) fn duplicate_reply(state: &mut State<'_>, id: TaskId) -> Reply {
    let task = state.task(&id).clone();
    let send =
        format!("sessions_send {{\"sessionKey\":\"{}\",\"message\":\"...\"}}", task.session_key);
    let advice = match task.outcome {
        None => format!(
            "An equal task is open: its result will come. To tell it more, do not spawn again: \
             {send} (or subagents, action \"steer\"). For a second one on purpose, pass another \
             taskName."
        ),
        Some(_) => format!(
            "A task with this idempotencyKey has ended already; its result was announced. To go \
             on with it: {send} (or subagents, action \"steer\")."
        ),
    };
    Reply::ok(json!({
        "status": "duplicate",
        "taskId": task.id,
        "runId": task.run,
        "childSessionKey": task.session_key,
        "note": advice,
    }))
}
