//! Results that have reached nobody: brought to whoever stands for the requester now.
//!
//! A result goes to the nearest session above that is open. Where none was left it is a dead
//! letter. It is delivered when its session is restored; or, where that is gone for good, when
//! somebody asks for it, to the owner's main session, which is made if need be.

use serde_json::json;
use types::{FailureClass, SessionKey, TaskId};

use crate::announce;
use crate::deadline::text_of;
use crate::finish::End;
use crate::inbox;
use crate::internal::Reply;
use crate::person;
use crate::rows::{InboxState, Task, TaskKind};
use crate::state::State;
use crate::wait;

/// Dead letters of one session that a restore revives. More than an inbox holds never came.
fn letters_max(state: &State<'_>) -> usize {
    state.limits.inbox_rows_max()
}

/// Delivers what was for this session and has reached nobody: it is there again.
pub fn revive_letters(state: &mut State<'_>, key: &SessionKey) {
    let limit = letters_max(state);
    for seq in state.tx().dead_rows(key, limit) {
        revive(state, key, seq);
    }
}

fn revive(state: &mut State<'_>, key: &SessionKey, seq: i64) {
    let row = state.inbox_mut(&seq);
    row.state = InboxState::Queued;
    row.done = None;
    wait::wake(state, key, seq);
}

/// Delivers the result of an ended task that has reached nobody, or says why not.
pub fn redeliver(state: &mut State<'_>, id: TaskId, by: &str) -> Reply {
    try_redeliver(state, id, by).unwrap_or_else(|refusal| refusal)
}

fn try_redeliver(state: &mut State<'_>, id: TaskId, by: &str) -> Result<Reply, Reply> {
    let task = find(state, id, by)?;
    check_due(state, &task)?;
    let earlier = announce::row_of(state, &task);
    if let Some(seq) = earlier {
        check_dead(state, id, seq)?;
    }
    let target = target(state, &task, by)?;
    match earlier {
        Some(seq) if state.inbox(&seq).session_key == target => revive(state, &target, seq),
        earlier => {
            if let Some(seq) = earlier {
                // It is in the inbox of a session that is gone; the same words go elsewhere.
                state.inbox_mut(&seq).state = InboxState::Cancelled;
            }
            let end = end_of(state, &task);
            announce::put_announce(state, &task, &end);
        }
    }
    Ok(Reply::ok(json!({ "status": "delivered", "taskId": id, "sessionKey": target })))
}

fn find(state: &mut State<'_>, id: TaskId, by: &str) -> Result<Task, Reply> {
    let task = state.find_task(&id).cloned();
    let owner = |state: &mut State<'_>, key: &SessionKey| {
        state.find_session(key).is_some_and(|session| session.owner == by)
    };
    match task {
        Some(task) if owner(state, &task.requester_key) => Ok(task),
        _ => {
            let why = format!("no task `{id}`; `windlass tasks list` shows those there are");
            Err(Reply::error("task_not_found", &why))
        }
    }
}

/// Is there a result that somebody was to hear?
fn check_due(state: &mut State<'_>, task: &Task) -> Result<(), Reply> {
    let id = task.id;
    let Some(ended) = task.ended else {
        let why = format!("{id} is open: its result will come by itself");
        return Err(Reply::error("open", &why));
    };
    if !task.announce.reaches_requester() || announce::was_skipped(task) {
        let why = format!("{id} was to tell nobody; `windlass tasks show {id}` prints its result");
        return Err(Reply::error("not_announced", &why));
    }
    if state.now().since(ended) >= state.limits.retention.keep {
        let why = format!(
            "{id} has ended long ago, and what became of its result is not kept any more; \
             `windlass tasks show {id}` prints it"
        );
        return Err(Reply::error("too_old", &why));
    }
    Ok(())
}

fn check_dead(state: &mut State<'_>, id: TaskId, seq: i64) -> Result<(), Reply> {
    let row = state.inbox(&seq);
    let (key, became) = (&row.session_key, row.state);
    let said = match became {
        InboxState::Dead => return Ok(()),
        InboxState::Queued => "waits in",
        InboxState::Consumed => "was taken in by",
        InboxState::Dropped | InboxState::Cancelled => "was given up with the conversation of",
    };
    let why = format!("the result of {id} {said} {key}; nothing was delivered");
    Err(Reply::error("delivered", &why))
}

/// Who takes it now.
fn target(state: &mut State<'_>, task: &Task, by: &str) -> Result<SessionKey, Reply> {
    if let Some(open) = announce::nearest_open(state, &task.requester_key, &task.root_key) {
        return Ok(open);
    }
    let main = SessionKey::main(task.root_key.agent.clone());
    if inbox::open_session(state, &main, by).is_ok()
        && person::main_session(state, by, &main.agent).is_some()
    {
        return Ok(main);
    }
    let why = format!(
        "nobody is left to take it: {main} cannot; take it back with `windlass sessions restore \
         {main}`, then try again"
    );
    Err(Reply::error("session_archived", &why))
}

/// How the task has ended, told again from its rows.
fn end_of(state: &mut State<'_>, task: &Task) -> End {
    let run = state.find_run(&task.run).cloned();
    let said = match (task.kind, task.result_hash) {
        (TaskKind::Flow, Some(hash)) => state.tx().blob(hash),
        (TaskKind::Flow, None) => None,
        _ => state.tx().answer_before(task.run, u32::MAX).and_then(|(_, body)| text_of(&body)),
    };
    let outcome = task.outcome.expect("it has ended");
    let error = run.and_then(|run| {
        let class = run.error_class.unwrap_or(FailureClass::Internal);
        run.error.map(|why| (class, why))
    });
    End { outcome, text: said, error, quiet: false }
}
