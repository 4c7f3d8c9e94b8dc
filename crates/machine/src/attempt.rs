//! `tasks retry`: work that has ended without being completed is carried again.
//!
//! ```text
//!  task (failed) ◀── retry_of ── attempt 2 (open) ── the same session, told what was before
//! ```
//!
//! An ended task stays as it ended; each attempt is a task of its own, in the session that knows
//! what was done so far. An attempt has one next attempt at most, so however often and of whichever
//! attempt a retry is asked for, nothing is carried twice at a time.

use std::time::Duration;

use serde_json::json;
use types::{RunId, SessionKey, TaskId};

use crate::announce;
use crate::internal::{Caller, Reply, is_below};
use crate::policy;
use crate::rows::{Lifecycle, Outcome, Task, TaskKind};
use crate::spawn::{self, Lineage};
use crate::state::State;

/// Attempts of one task that are followed to the newest. More are no retries any more.
const CHAIN_MAX: usize = 1_000;

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Any attempt of the work that is meant.
    pub task: TaskId,
    /// Who asks: the owner of the tree.
    pub owner: String,
    /// Only if it is below this session.
    pub below: Option<SessionKey>,
    /// The same key is the same attempt, also once that has ended.
    pub idem_key: Option<String>,
}

/// Who hears of the end of an attempt, and below what it is.
struct Stand {
    requester: SessionKey,
    parent: Option<TaskId>,
    origin: String,
}

/// Carries a task again, or says why not.
pub fn retry(state: &mut State<'_>, asked: &Retry) -> Reply {
    try_retry(state, asked).unwrap_or_else(|refusal| refusal)
}

fn try_retry(state: &mut State<'_>, asked: &Retry) -> Result<Reply, Reply> {
    let first = find(state, asked)?;
    let chain = attempts(state, &first);
    let same = |task: &&Task| asked.idem_key.is_some() && task.idem_key == asked.idem_key;
    if let Some(task) = chain.iter().skip(1).find(same) {
        return Ok(duplicate(task));
    }
    let last = chain.last().expect("a task is an attempt of itself").clone();
    if let Some(open) = open_again(&chain) {
        return Ok(duplicate(open));
    }
    check_ended(&last)?;
    check_session(state, &last)?;
    let stand = stand_in(state, &last)?;
    let requester = state.session(&stand.requester).clone();
    let caller = caller(&stand, asked);
    spawn::check_open(state, &caller)?;
    let lineage = Lineage::of(state, &requester, stand.parent);
    spawn::check_room(state, &requester, &lineage)?;
    spawn::check_goes_on(state, &requester.key, last.announce, &lineage, &last.session_key)?;
    policy::for_existing(state, &requester.key, &last.session_key)?;
    check_key(state, &requester.key, asked)?;
    let (brief, timeout) = brief(state, &last)?;

    // Somebody counts on what it remembers: it is no session like any other any more.
    state.session_mut(&last.session_key).pool_key = None;
    let task = Task {
        id: TaskId::new(state.at.mint()),
        requester_key: stand.requester,
        parent: stand.parent,
        root_key: lineage.root,
        depth: lineage.depth + 1,
        run: RunId::new(state.at.mint()),
        task_name: free_name(state, &requester.key, &last),
        idem_key: asked.idem_key.clone(),
        origin: stand.origin,
        attempt: last.attempt.saturating_add(1),
        retry_of: Some(last.id),
        waited_by: None,
        cancelled: None,
        outcome: None,
        result_hash: None,
        created: state.now(),
        ended: None,
        ..last
    };
    spawn::add_task(state, &task);
    spawn::put_whole_brief(state, &task, &brief, timeout);
    Ok(accepted(&task))
}

/// Finds the task that is meant. One of another owner is as good as not there.
fn find(state: &mut State<'_>, asked: &Retry) -> Result<Task, Reply> {
    let unknown = || {
        let why = match &asked.below {
            Some(key) => format!("no task `{}` below {key}", asked.task),
            None => {
                format!("no task `{}`; `windlass tasks list` shows those there are", asked.task)
            }
        };
        Err(Reply::error("task_not_found", &why))
    };
    let Some(task) = state.find_task(&asked.task).cloned() else { return unknown() };
    let owner = state.find_session(&task.requester_key).map(|session| session.owner.clone());
    let below = asked.below.as_ref().is_none_or(|key| is_below(state, task.id, key));
    if owner.as_deref() != Some(asked.owner.as_str()) || !below {
        return unknown();
    }
    Ok(task)
}

/// This attempt and those after it.
fn attempts(state: &mut State<'_>, first: &Task) -> Vec<Task> {
    let mut chain = vec![first.clone()];
    while let Some(next) = state.tx().attempt_after(chain[chain.len() - 1].id) {
        chain.push(state.task(&next).clone());
        if chain.len() >= CHAIN_MAX {
            break;
        }
    }
    chain
}

/// The attempt that goes on already, if it is another than the one that was named.
fn open_again(chain: &[Task]) -> Option<&Task> {
    chain.iter().skip(1).find(|task| task.outcome.is_none())
}

fn check_ended(last: &Task) -> Result<(), Reply> {
    let (id, key) = (last.id, &last.session_key);
    if matches!(last.kind, TaskKind::Flow | TaskKind::FlowNode) {
        let why = format!(
            "{id} is of a declared flow, which tries its tasks again by itself, as often as their \
             `retries` say, and is over as a whole; start it anew with `windlass flow run FILE`"
        );
        return Err(Reply::error("not_retriable", &why));
    }
    match last.outcome {
        None => {
            let why = format!(
                "{id} is open: its result will come. Stop it first with `windlass tasks cancel \
                 {id}`, if it is to begin again"
            );
            Err(Reply::error("open", &why))
        }
        Some(Outcome::Completed) => {
            let why = format!(
                "{id} has completed, so there is nothing to try again; to go on with its session, \
                 send to it: `windlass agent --session-key {key} --message …`"
            );
            Err(Reply::error("completed", &why))
        }
        Some(_) => Ok(()),
    }
}

/// The session must be there, and must know the work.
fn check_session(state: &mut State<'_>, last: &Task) -> Result<(), Reply> {
    let key = &last.session_key;
    let session = state.session(key).clone();
    if session.deleted.is_some_and(|_| session.lifecycle == Lifecycle::Archived) {
        let why = format!(
            "session {key} was deleted, and with it what the task had done; start the work anew \
             with `windlass spawn`"
        );
        return Err(Reply::error("session_not_found", &why));
    }
    if session.lifecycle == Lifecycle::Archived {
        let why = format!(
            "session {key} is archived; take it back with `windlass sessions restore {key}`, then \
             try again"
        );
        return Err(Reply::error("session_archived", &why));
    }
    // Under a name that was deleted and taken again there is another conversation.
    if session.created > last.created {
        let why = format!(
            "session {key} is another conversation since the task has ended; start the work anew \
             with `windlass spawn`"
        );
        return Err(Reply::error("session_reused", &why));
    }
    spawn::check_still_its_own(state, last.id)
}

/// Whoever asked, if it still works for somebody; else the one that it worked for, and so on up to
/// a person's session: an agent whose own task has ended would never look at what comes. Where that
/// one is put away, whoever gets its announces.
fn stand_in(state: &mut State<'_>, last: &Task) -> Result<Stand, Reply> {
    let mut stand = Stand {
        requester: last.requester_key.clone(),
        parent: last.parent,
        origin: last.origin.clone(),
    };
    while let Some(id) = stand.parent {
        let above = state.task(&id);
        // What a flow has asked for are its nodes, and nothing else.
        if above.outcome.is_none() && above.kind != TaskKind::Flow {
            break;
        }
        stand = Stand {
            requester: above.requester_key.clone(),
            parent: above.parent,
            origin: above.origin.clone(),
        };
    }
    match announce::nearest_open(state, &stand.requester, &last.root_key) {
        Some(open) if open == stand.requester => Ok(stand),
        Some(open) => Ok(Stand { requester: open, parent: None, ..stand }),
        None => {
            let key = &stand.requester;
            let why = format!(
                "nobody is left to take the result: {key}, which has asked for it, is archived; \
                 take it back with `windlass sessions restore {key}`, then try again"
            );
            Err(Reply::error("session_archived", &why))
        }
    }
}

fn caller(stand: &Stand, asked: &Retry) -> Caller {
    Caller {
        session: stand.requester.clone(),
        run: None,
        step: None,
        task: stand.parent,
        origin: stand.origin.clone(),
        mark: format!("retry:{}", asked.task),
        hops: 0,
        by: asked.owner.clone(),
    }
}

/// The key may name this work only.
fn check_key(state: &mut State<'_>, requester: &SessionKey, asked: &Retry) -> Result<(), Reply> {
    let Some(key) = &asked.idem_key else { return Ok(()) };
    let Some(other) = state.tx().task_by_idem(requester, key) else { return Ok(()) };
    let why = format!("idempotency key `{key}` was used before, for {other}");
    Err(Reply::error("idempotency_conflict", &why))
}

fn free_name(state: &mut State<'_>, requester: &SessionKey, last: &Task) -> Option<String> {
    let name = last.task_name.clone()?;
    state.tx().open_task_by_name(requester, &name).is_none().then_some(name)
}

/// What the session is told: what became of the attempt before, and the brief of the first one.
/// With it the bound on the run, as it was given then.
fn brief(state: &mut State<'_>, last: &Task) -> Result<(String, Option<Duration>), Reply> {
    let mut first = last.clone();
    let mut steps = 0;
    while let Some(before) = first.retry_of.filter(|_| steps < CHAIN_MAX) {
        first = state.task(&before).clone();
        steps += 1;
    }
    let seq = state.tx().inbox_by_idem(&first.session_key, &format!("brief:{}", first.id));
    let kept = seq.and_then(|seq| {
        let bound = state.inbox(&seq).timeout_ms.and_then(|ms| u64::try_from(ms).ok());
        state.tx().inbox_body(seq).map(|body| (body, bound.map(Duration::from_millis)))
    });
    let Some((body, timeout)) = kept else {
        let why = format!(
            "the brief of {} is not kept any more; tell its session what to do: `windlass agent \
             --session-key {} --message …`",
            first.id, last.session_key
        );
        return Err(Reply::error("brief_not_kept", &why));
    };
    let run = state.find_run(&last.run).cloned();
    let error = run.as_ref().and_then(|run| run.error.clone());
    Ok((words(last, run.is_some(), error.as_deref(), &body), timeout))
}

fn words(last: &Task, had_begun: bool, error: Option<&str>, brief: &str) -> String {
    let outcome = last.outcome.map_or("open", Outcome::as_str);
    let why = error.map(|why| format!(": {why}")).unwrap_or_default();
    let done = match had_begun {
        true => {
            "What was done then stands above, in so far as it got there, and may be half done: \
             look what is there before you do anything again, and go on from it."
        }
        false => "It had not begun then.",
    };
    format!(
        "[System] This is attempt {} of this task. The attempt before ({}) has ended \
         ({outcome}){why}. {done} The task, as it was given:\n\n{brief}",
        last.attempt.saturating_add(1),
        last.id,
    )
}

fn accepted(task: &Task) -> Reply {
    Reply::ok(json!({
        "status": "accepted",
        "taskId": task.id,
        "retryOf": task.retry_of,
        "attempt": task.attempt,
        "runId": task.run,
        "sessionKey": task.session_key,
        "requesterSessionKey": task.requester_key,
        "announces": task.announce.reaches_requester(),
        "note": "The same session goes on with it. Its result comes once, at the end.",
    }))
}

fn duplicate(task: &Task) -> Reply {
    let note = match task.outcome {
        None => "It is being carried again already: nothing was begun.",
        Some(_) => "This idempotencyKey has begun this attempt before: nothing was begun.",
    };
    Reply::ok(json!({
        "status": "duplicate",
        "taskId": task.id,
        "retryOf": task.retry_of,
        "attempt": task.attempt,
        "runId": task.run,
        "sessionKey": task.session_key,
        "requesterSessionKey": task.requester_key,
        "outcome": task.outcome,
        "note": note,
    }))
}
