//! `tasks.list` and `subagents.list`: the ledger of detached work, flat and as trees.

use std::collections::BTreeMap;

use machine::attempt::Retry;
use machine::limits::RETENTION;
use machine::rows::{InboxState, Lifecycle, Outcome, TaskKind};
use machine::{Answer, Event};
use protocol::ErrorShape;
use protocol::tasks::{
    DeliveryStatus, RetryParams, SubagentRow, SubagentsListParams, SubagentsListResult,
    TaskCancelResult, TaskGetResult, TaskRuntime, TaskStatus, TaskSummary, TasksListParams,
    TasksListResult,
};
use serde_json::Value;
use store::StoreError;
use store::query::{Query, ask};
use store::view::{Below, Ends, InputView, TaskFilter, TaskView};
use types::{Announce, SessionKey, TaskId, Timestamp};

use crate::gateway::{Gateway, unreadable};
use crate::methods::chat::OWNER;
use crate::methods::spawn;
use crate::refusal::{not_submitted, refused, unexpected};
use crate::standing;
use crate::view;

/// Tasks that are read at a time, until a page of those that are wanted is full.
const PAGE: usize = 200;

/// Tasks below one that are named with it, newest first: more than a tree has open by default.
const BELOW_MAX: usize = 1_000;

/// Longest excerpt of a result, in characters.
const SUMMARY_CHARS_MAX: usize = 400;

/// `tasks.list`
pub async fn list(
    gateway: &Gateway,
    params: TasksListParams,
) -> Result<TasksListResult, ErrorShape> {
    let now = gateway.now();
    let agent = &gateway.default_agent();
    let wanted = TaskFilter {
        session: params.session.clone().map(|key| key.resolve(agent)),
        root: params.tree.clone().map(|key| key.resolve(agent)),
        agent: params.agent.clone(),
        kind: params.runtime.map(kind_of),
        ends: ends(&params.status),
        before: cursor(params.cursor.as_deref())?,
        ..TaskFilter::default()
    };
    ask(gateway.handle.store(), move |rows| page(rows, &params, wanted, now))
        .await
        .map_err(unreadable)
}

/// A cursor is the id of the last task of the page before.
fn cursor(text: Option<&str>) -> Result<Option<TaskId>, ErrorShape> {
    let invalid = |error| ErrorShape::invalid_request(format!("invalid cursor: {error}"));
    text.map(str::parse).transpose().map_err(invalid)
}

fn page(
    rows: &dyn Query,
    params: &TasksListParams,
    wanted: TaskFilter,
    now: Timestamp,
) -> Result<TasksListResult, StoreError> {
    let limit = usize::try_from(params.limit).unwrap_or(usize::MAX);
    let root = match &wanted.root {
        // The tree of a session, which may stand in the middle of it.
        Some(key) => match rows.session(key)? {
            Some(session) => Some(session.root_key),
            None => return Ok(TasksListResult { tasks: Vec::new(), next_cursor: None }),
        },
        None => None,
    };
    // What is wanted is decided in the store, but for what only a lease tells: of those that are
    // open, which run and which wait.
    let mut filter = TaskFilter { root, limit: limit.saturating_add(1).min(PAGE), ..wanted };
    let stands = |task: &TaskView| {
        params.status.is_empty() || params.status.contains(&task_status(task, now))
    };
    let mut found: Vec<TaskView> = Vec::new();
    while found.len() <= limit {
        let page = rows.tasks(&filter)?;
        let last = page.last().map(|task| task.id).filter(|_| page.len() == filter.limit);
        found.extend(page.into_iter().filter(stands));
        match last {
            // The cursor's own task may have left the selection since. Ids sort by creation.
            Some(last) => filter.before = Some(last),
            None => break,
        }
    }
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| has_more).map(|task| task.id.to_string());
    let tasks = found.into_iter().map(|task| summary(rows, task, now));
    Ok(TasksListResult { tasks: tasks.collect::<Result<_, _>>()?, next_cursor })
}

/// What of a selection by status the store can decide.
fn ends(status: &[TaskStatus]) -> Option<Ends> {
    if status.is_empty() {
        return None;
    }
    let mut ends = Ends { open: status.iter().any(|word| word.is_open()), outcomes: Vec::new() };
    for word in status {
        ends.outcomes.extend_from_slice(match word {
            TaskStatus::Queued | TaskStatus::Running => &[],
            TaskStatus::Completed => &[Outcome::Completed],
            TaskStatus::Failed => &[Outcome::Failed, Outcome::NoResult, Outcome::Interrupted],
            TaskStatus::Cancelled => &[Outcome::Cancelled],
            TaskStatus::TimedOut => &[Outcome::TimedOut],
        });
    }
    Some(ends)
}

fn kind_of(runtime: TaskRuntime) -> TaskKind {
    match runtime {
        TaskRuntime::Subagent => TaskKind::Subagent,
        TaskRuntime::Cli => TaskKind::Cli,
        TaskRuntime::Flow => TaskKind::Flow,
        TaskRuntime::FlowNode => TaskKind::FlowNode,
    }
}

pub fn task_status(task: &TaskView, now: Timestamp) -> TaskStatus {
    // The words are OpenClaw's, and so are those of the enum: only `idle`, of a task whose run
    // is gone, has none.
    task.words(Lifecycle::Open, now).status.parse().unwrap_or(TaskStatus::Queued)
}

fn summary(rows: &dyn Query, task: TaskView, now: Timestamp) -> Result<TaskSummary, StoreError> {
    let status = task_status(&task, now);
    let result = result(rows, &task)?;
    let announce = rows.input(&task.requester_key, &format!("announce:{}", task.id))?;
    let run = task.run.as_ref();
    Ok(TaskSummary {
        id: task.id,
        runtime: task.kind.to_string(),
        flow_id: task.flow,
        attempt: task.attempt,
        retry_of: task.retry_of,
        status,
        title: task.label.clone().or_else(|| task.task_name.clone()),
        agent_id: task.session_key.agent.clone(),
        run_id: Some(task.run_id),
        parent_task_id: task.parent,
        created_at: task.created,
        updated_at: task.ended.or_else(|| run.and_then(|run| run.started)).unwrap_or(task.created),
        started_at: run.and_then(|run| run.started),
        ended_at: task.ended,
        progress_summary: None,
        terminal_summary: result.map(|text| view::clip(&text, SUMMARY_CHARS_MAX)),
        error: run.and_then(|run| run.error.clone()),
        delivery_status: Some(delivery(&task, announce, now)),
        session_key: task.requester_key,
        child_session_key: task.session_key,
    })
}

fn delivery(task: &TaskView, announce: Option<InputView>, now: Timestamp) -> DeliveryStatus {
    if task.announce == Announce::None {
        return DeliveryStatus::NotApplicable;
    }
    match announce.map(|input| input.state) {
        None if task.outcome.is_none() => DeliveryStatus::Pending,
        // Its row has been deleted, which no row is that still waits.
        None if task.ended.is_some_and(|ended| now.since(ended) > RETENTION) => {
            DeliveryStatus::Delivered
        }
        None => DeliveryStatus::ParentMissing,
        Some(InboxState::Queued) => DeliveryStatus::SessionQueued,
        Some(InboxState::Consumed) => DeliveryStatus::Delivered,
        Some(InboxState::Dropped | InboxState::Cancelled) => DeliveryStatus::Dismissed,
        Some(InboxState::Dead) => DeliveryStatus::Failed,
    }
}

/// The result of a task that has ended: of a flow what was announced, else its last answer.
fn result(rows: &dyn Query, task: &TaskView) -> Result<Option<String>, StoreError> {
    match (task.outcome, task.kind, task.result_hash) {
        (None, ..) => Ok(None),
        (Some(_), TaskKind::Flow, Some(hash)) => rows.blob(hash),
        (Some(_), ..) => rows.final_text(task.run_id),
    }
}

/// `tasks.get`
pub async fn get(gateway: &Gateway, id: TaskId) -> Result<TaskGetResult, ErrorShape> {
    let now = gateway.now();
    let found = ask(gateway.handle.store(), move |rows| {
        let Some(task) = rows.task(id)? else { return Ok(None) };
        let note = task.words(Lifecycle::Open, now).note.to_owned();
        let mut all = vec![task.clone()];
        all.extend(below_task(rows, &task)?);
        let stop = standing::of_tasks(rows, &all)?;
        let below = all.into_iter().skip(1).map(|task| summary(rows, task, now));
        let below = below.collect::<Result<_, _>>()?;
        let result = result(rows, &task)?;
        let session = rows.session(&task.session_key)?;
        let progress_card = match session.filter(|_| task.outcome.is_none()) {
            Some(session) => view::progress_card(rows, &session)?,
            None => None,
        };
        let task = summary(rows, task, now)?;
        Ok(Some(TaskGetResult { note, result, progress_card, below, stop, task }))
    });
    found.await.map_err(unreadable)?.ok_or_else(|| unknown(id))
}

fn unknown(id: TaskId) -> ErrorShape {
    ErrorShape::invalid_request(format!("no task `{id}`; tasks.list shows those there are"))
}

/// Tasks below one, depth first.
pub fn below_task(rows: &dyn Query, top: &TaskView) -> Result<Vec<TaskView>, StoreError> {
    let below = Some(Below::Task(top.id));
    let filter = TaskFilter { below, limit: BELOW_MAX, ..TaskFilter::default() };
    Ok(in_tree_order(rows.tasks(&filter)?))
}

/// `tasks.cancel`: the task and all below it. Answers when the stop is committed; what of it had
/// not ended by then is named.
pub async fn cancel(gateway: &Gateway, id: TaskId) -> Result<TaskCancelResult, ErrorShape> {
    let asked = gateway.now();
    let before = gateway.handle.store().task(id).await.map_err(unreadable)?;
    let before = before.ok_or_else(|| unknown(id))?;
    if before.outcome.is_none() {
        let event = Event::StopTask { task: id, by: OWNER.to_owned() };
        match gateway.handle.submit(event).await {
            Ok(Answer::Stopped(_)) => {}
            Ok(Answer::Refused(refusal)) => return Err(refused(&refusal)),
            Ok(answer) => return Err(unexpected(&answer)),
            Err(error) => return Err(not_submitted(&error)),
        }
    }
    let now = gateway.now();
    let was_open = before.outcome.is_none();
    let answer = ask(gateway.handle.store(), move |rows| {
        let Some(task) = rows.task(id)? else { return Ok(None) };
        let all = std::iter::once(task.clone()).chain(below_task(rows, &task)?);
        let by_this = |task: &TaskView| task.ended.is_none_or(|ended| ended >= asked);
        let all: Vec<TaskView> = all.filter(by_this).collect();
        Ok(Some(TaskCancelResult {
            found: true,
            cancelled: was_open && task.outcome == Some(Outcome::Cancelled),
            reason: (!was_open).then(|| "it had ended before".to_owned()),
            stop: standing::of_tasks(rows, &all)?,
            task: Some(summary(rows, task, now)?),
        }))
    });
    answer.await.map_err(unreadable)?.ok_or_else(|| unknown(id))
}

/// `tasks.retry`
pub async fn retry(gateway: &Gateway, params: RetryParams) -> Result<Value, ErrorShape> {
    let asked = Retry {
        task: params.task,
        owner: OWNER.to_owned(),
        below: None,
        idem_key: params.idempotency_key,
    };
    spawn::asked(gateway, Event::RetryTask(asked)).await
}

/// `subagents.list`
pub async fn subagents(
    gateway: &Gateway,
    params: SubagentsListParams,
) -> Result<SubagentsListResult, ErrorShape> {
    let now = gateway.now();
    let below = params.session.clone().map(|key| key.resolve(&gateway.default_agent()));
    ask(gateway.handle.store(), move |rows| tree(rows, &params, below, now))
        .await
        .map_err(unreadable)
}

fn tree(
    rows: &dyn Query,
    params: &SubagentsListParams,
    below: Option<SessionKey>,
    now: Timestamp,
) -> Result<SubagentsListResult, StoreError> {
    let open_only = !params.include_ended;
    let limit = usize::try_from(params.limit).unwrap_or(usize::MAX);
    let below = below.map(Below::Session);
    let wanted = limit.saturating_add(1);
    let filter = TaskFilter { below, open_only, limit: wanted, ..TaskFilter::default() };
    let mut tasks = rows.tasks(&filter)?;
    let has_more = tasks.len() > limit;
    // The newest, as the trees that they form.
    tasks.truncate(limit);
    let subagents = in_tree_order(tasks).into_iter().map(|task| subagent(rows, task, now));
    Ok(SubagentsListResult { ts: now, has_more, subagents: subagents.collect::<Result<_, _>>()? })
}

/// The tasks below a session that are open or have ended since, the newest, as trees.
pub fn below(
    rows: &dyn Query,
    key: &SessionKey,
    ended_since: Timestamp,
    limit: usize,
) -> Result<Vec<TaskView>, StoreError> {
    let filter = TaskFilter {
        below: Some(Below::Session(key.clone())),
        ended_since: Some(ended_since),
        limit,
        ..TaskFilter::default()
    };
    Ok(in_tree_order(rows.tasks(&filter)?))
}

/// What a task does now, or how it has ended.
pub fn stands(task: &TaskView, now: Timestamp) -> String {
    let status = task_status(task, now);
    match &task.run {
        Some(_) if status.is_open() => task.words(Lifecycle::Open, now).activity.to_string(),
        _ => status.to_string(),
    }
}

/// Puts each task after the one that asked for it and before that one's next sibling; oldest
/// first. A task whose parent is not in the list stands at the top.
fn in_tree_order(tasks: Vec<TaskView>) -> Vec<TaskView> {
    let mut by_id: BTreeMap<TaskId, TaskView> =
        tasks.into_iter().map(|task| (task.id, task)).collect();
    let mut children: BTreeMap<Option<TaskId>, Vec<TaskId>> = BTreeMap::new();
    let mut tops = Vec::new();
    for task in by_id.values() {
        let parent = task.parent.filter(|parent| by_id.contains_key(parent));
        match parent {
            None => tops.push(task.id),
            parent => children.entry(parent).or_default().push(task.id),
        }
    }
    tops.reverse();
    let (mut stack, mut ordered) = (tops, Vec::new());
    while let Some(id) = stack.pop() {
        stack.extend(children.remove(&Some(id)).unwrap_or_default().into_iter().rev());
        ordered.extend(by_id.remove(&id));
    }
    ordered
}

fn subagent(rows: &dyn Query, task: TaskView, now: Timestamp) -> Result<SubagentRow, StoreError> {
    let session = rows.session(&task.session_key)?;
    let run = task.run.as_ref();
    let row = rows.run(task.run_id)?;
    let lifecycle = session.as_ref().map_or(Lifecycle::Open, |session| session.lifecycle);
    let words = task.words(lifecycle, now);
    Ok(SubagentRow {
        task_id: task.id,
        parent_task_id: task.parent,
        status: task_status(&task, now),
        activity: Some(words.activity.to_string()),
        last_turn: Some(words.last_turn.to_string()),
        note: Some(words.note.to_owned()),
        open_children: session.as_ref().map_or(0, |session| session.open_children),
        model: row.as_ref().map(|row| row.facts.model.clone()),
        usage: row.as_ref().map(|row| row.usage.into()),
        agent_id: task.session_key.agent.clone(),
        depth: task.depth,
        created_at: task.created,
        started_at: run.and_then(|run| run.started),
        ended_at: task.ended,
        error: run.and_then(|run| run.error.clone()),
        session_key: task.session_key,
        requester: task.requester_key,
        label: task.label,
        task_name: task.task_name,
    })
}

#[cfg(test)]
mod tests {
    use machine::rows::TaskKind;
    use types::{Cleanup, RunId};
    use uuid::Uuid;

    use super::*;

    fn task(id: u128, parent: Option<u128>) -> TaskView {
        let key = |id: u128| format!("agent:main:subagent:{}", Uuid::from_u128(id));
        let main = || "agent:main:main".to_owned();
        TaskView {
            id: TaskId::new(Uuid::from_u128(id)),
            kind: TaskKind::Subagent,
            requester_key: parent.map_or_else(main, key).parse().unwrap(),
            parent: parent.map(|id| TaskId::new(Uuid::from_u128(id))),
            root_key: main().parse().unwrap(),
            depth: 1,
            session_key: key(id).parse().unwrap(),
            run_id: RunId::new(Uuid::from_u128(id)),
            task_name: None,
            label: None,
            announce: Announce::Parent,
            cleanup: Cleanup::Keep,
            origin: String::new(),
            deliverables: None,
            attempt: 1,
            retry_of: None,
            flow: None,
            node: None,
            waited_by: None,
            cancelled: None,
            outcome: None,
            result_hash: None,
            created: Timestamp(1),
            ended: None,
            run: None,
        }
    }

    #[test]
    fn a_tree_is_listed_depth_first() {
        let tasks = || {
            vec![task(5, Some(2)), task(4, None), task(3, Some(1)), task(2, Some(1)), task(1, None)]
        };
        let order = |tasks: Vec<TaskView>| -> Vec<u128> {
            tasks.iter().map(|task| task.id.uuid().as_u128()).collect()
        };
        assert_eq!(order(in_tree_order(tasks())), [1, 2, 5, 3, 4]);
        // The parent is not listed: it has ended, or is on another page.
        let orphans = vec![task(5, Some(2)), task(4, None)];
        assert_eq!(order(in_tree_order(orphans)), [4, 5]);
    }

    #[test]
    fn a_delivery_is_told_from_the_row_of_the_announce() {
        let input = |state| {
            let message = types::MessageId::new(Uuid::from_u128(1));
            Some(InputView { message, state, run: None })
        };
        let open = task(1, None);
        let ended = TaskView { outcome: Some(Outcome::Completed), ..open.clone() };
        let silent = TaskView { announce: Announce::None, ..ended.clone() };
        assert_eq!(delivery(&open, None, Timestamp(1)), DeliveryStatus::Pending);
        assert_eq!(delivery(&ended, None, Timestamp(1)), DeliveryStatus::ParentMissing);
        assert_eq!(
            delivery(&ended, input(InboxState::Queued), Timestamp(1)),
            DeliveryStatus::SessionQueued
        );
        assert_eq!(
            delivery(&ended, input(InboxState::Consumed), Timestamp(1)),
            DeliveryStatus::Delivered
        );
        let old = TaskView { ended: Some(Timestamp(1)), ..ended.clone() };
        let late = Timestamp(0) + RETENTION + std::time::Duration::from_secs(1);
        assert_eq!(delivery(&old, None, late), DeliveryStatus::Delivered);
        assert_eq!(delivery(&silent, None, Timestamp(1)), DeliveryStatus::NotApplicable);
    }
}
