//! Stop: one mark, and everything below is over.
//!
//! The commit that marks a node is the stop: every model call, tool start and spawn below looks
//! up its ancestors, so nothing begins in the subtree afterwards. The cascade that follows frees
//! things sooner, one level an event.

use std::collections::BTreeSet;

use types::{RunId, SessionKey, TaskId};

use crate::effect::{Answer, Refusal, Stopped};
use crate::event::Event;
use crate::finish::{self, End, finish};
use crate::flow;
use crate::inbox;
use crate::rows::{InboxKind, InboxRow, Outcome, Run, Task, TaskKind};
use crate::state::State;

/// Stops a session: its run, what waits in it, and all its open children; if a run is named,
/// nothing unless that is the one that is open.
pub fn stop_session(
    state: &mut State<'_>,
    key: &SessionKey,
    only: Option<RunId>,
    by: &str,
) -> Answer {
    let Some(session) = state.find_session(key) else {
        return Answer::Refused(Refusal::SessionNotFound(key.clone()));
    };
    let other = only.is_some() && only != session.open_run;
    Answer::Stopped(if other { Stopped::default() } else { stop_all(state, key, by) })
}

/// Stops a session that is there, and says what has stopped and what is stopping.
pub fn stop_all(state: &mut State<'_>, key: &SessionKey, by: &str) -> Stopped {
    let open = state.session(key).open_run;
    let mut stopped = Stopped::default();
    // The children are marked first: the end of the run must not find them waited for.
    mark_children(state, key, by, &mut stopped, |_| true);
    mark_orphans(state, by, &mut stopped, |above| above.requester_key == *key);
    for task in inbox::cancel_queued(state, key, false, |_| true) {
        end_in_line(state, task, by, false);
        stopped.tasks.push(task);
    }
    if let Some(run) = open {
        end_run(state, run, by, false);
        stopped.runs.push(run);
    }
    stopped
}

/// Stops a task and everything below it. Its requester is told.
pub fn stop_task(state: &mut State<'_>, id: TaskId, by: &str) -> Answer {
    if state.find_task(&id).is_none() {
        return Answer::Refused(Refusal::TaskNotFound(id));
    }
    Answer::Stopped(stop_tree(state, id, by, false))
}

/// One level of a cascade.
pub fn stop_below(state: &mut State<'_>, id: TaskId, by: &str) -> Answer {
    if state.find_task(&id).is_some_and(|task| task.outcome.is_none()) {
        stop_level(state, id, by, true);
    }
    Answer::Done
}

/// Stops an open task and everything below it.
///
/// `quiet` says that the requester has been stopped as well, so that the announce does not wake
/// it.
pub fn stop_tree(state: &mut State<'_>, id: TaskId, by: &str, quiet: bool) -> Stopped {
    let mut stopped = stop_level(state, id, by, quiet);
    if !stopped.tasks.is_empty() {
        mark_orphans(state, by, &mut stopped, |above| above.id == id);
    }
    stopped
}

/// Ends an open task's run, and raises the stop of each open child.
pub fn stop_level(state: &mut State<'_>, id: TaskId, by: &str, quiet: bool) -> Stopped {
    let mut stopped = Stopped::default();
    let now = state.now();
    let task = state.task_mut(&id);
    if task.outcome.is_some() {
        return stopped;
    }
    task.cancelled.get_or_insert(now);
    let task = task.clone();
    stopped.tasks.push(id);
    if let Some(flow) = task.flow.filter(|_| task.kind == TaskKind::Flow) {
        let below = flow::stop(state, flow, by, quiet);
        stopped.runs.extend(below.runs);
        stopped.tasks.extend(below.tasks);
        return stopped;
    }
    let key = &task.session_key;
    if state.find_run(&task.run).is_none() {
        // It stands in line behind another run of the session, which is none of its business.
        inbox::cancel_queued(state, key, quiet, |row| is_brief_of(row, id));
        end_in_line(state, id, by, quiet);
        return stopped;
    }
    mark_below(state, key, id, by, &mut stopped);
    let own = |row: &InboxRow| {
        is_brief_of(row, id) || row.kind != InboxKind::Brief && row.origin == task.origin
    };
    inbox::cancel_queued(state, key, quiet, own);
    end_run(state, task.run, by, quiet);
    stopped.runs.push(task.run);
    end_behind(state, id, quiet);
    stopped
}

/// A task that is open while its run has ended is a fault, which the audit finds; its outcome is
/// that of the run.
fn end_behind(state: &mut State<'_>, id: TaskId, quiet: bool) {
    let (open, run) = (state.task(&id).outcome.is_none(), state.task(&id).run);
    if let Some(outcome) = state.run(&run).phase.outcome().filter(|_| open) {
        let why = state.run(&run).error.clone().unwrap_or_else(|| "its run had ended".to_owned());
        finish::end_task(state, id, &End { quiet, ..End::without_answer(outcome, &why) });
        flow::on_task_ended(state, id, quiet);
    }
}

fn is_brief_of(row: &InboxRow, task: TaskId) -> bool {
    row.kind == InboxKind::Brief && row.task == Some(task)
}

/// Ends a task that has no run yet. A flow that it is a part of hears of it, as of any other end.
fn end_in_line(state: &mut State<'_>, task: TaskId, by: &str, quiet: bool) {
    let end = End::without_answer(Outcome::Cancelled, &format!("stopped by {by}"));
    finish::end_task(state, task, &End { quiet, ..end });
    flow::on_task_ended(state, task, quiet);
}

/// Marks what a task has asked for, and what earlier tasks of the same requester have left in its
/// session. A session with a name may have children of others: those go on.
fn mark_below(
    state: &mut State<'_>,
    key: &SessionKey,
    task: TaskId,
    by: &str,
    stopped: &mut Stopped,
) {
    let below = below(state, key, task);
    mark_children(state, key, by, stopped, |child| below.contains(&child));
}

/// Open children of a task, and those that earlier tasks of its session have left behind.
fn below(state: &mut State<'_>, key: &SessionKey, task: TaskId) -> BTreeSet<TaskId> {
    let requester = state.task(&task).requester_key.clone();
    let mut below = BTreeSet::new();
    for child in state.tx().open_children(key) {
        let Some(parent) = state.task(&child).parent else { continue };
        let left = state.task(&parent);
        if parent == task || left.outcome.is_some() && left.requester_key == requester {
            below.insert(child);
        }
    }
    below
}

/// Marks what a run that ends below a stop has left open, unless the cascade has done so.
pub fn take_along(state: &mut State<'_>, run: &Run) {
    let Some(task) = run.task else { return };
    let now = state.now();
    for child in below(state, &run.session_key, task) {
        let left = state.task_mut(&child);
        if left.cancelled.is_none() {
            left.cancelled = Some(now);
            state.raised.push(Event::StopBelow { task: child, by: "the stop above".to_owned() });
        }
    }
}

fn mark_children(
    state: &mut State<'_>,
    key: &SessionKey,
    by: &str,
    stopped: &mut Stopped,
    goes: impl Fn(TaskId) -> bool,
) {
    let now = state.now();
    for child in state.tx().open_children(key) {
        if goes(child) {
            state.task_mut(&child).cancelled.get_or_insert(now);
            stopped.tasks.push(child);
            state.raised.push(Event::StopBelow { task: child, by: by.to_owned() });
        }
    }
}

/// Marks what goes on behind tasks that have ended: one that announces to nobody, or whose parent
/// has failed. A cascade goes from open task to open task, and would not come there.
fn mark_orphans(
    state: &mut State<'_>,
    by: &str,
    stopped: &mut Stopped,
    is_top: impl Fn(&Task) -> bool,
) {
    let now = state.now();
    for orphan in state.tx().orphans() {
        let task = state.task(&orphan);
        if task.cancelled.is_some() {
            continue;
        }
        let mut next = task.parent;
        while let Some(above) = next.map(|id| state.task(&id)) {
            if !is_top(above) {
                next = above.parent;
                continue;
            }
            state.task_mut(&orphan).cancelled = Some(now);
            stopped.tasks.push(orphan);
            state.raised.push(Event::StopBelow { task: orphan, by: by.to_owned() });
            break;
        }
    }
}

fn end_run(state: &mut State<'_>, run: RunId, by: &str, quiet: bool) {
    if state.run(&run).phase.ended() {
        return;
    }
    let end = End::without_answer(Outcome::Cancelled, &format!("stopped by {by}"));
    finish(state, run, End { quiet, ..end });
}

/// Stops what a session has spawned, and leaves the session itself alone.
pub fn stop_children(state: &mut State<'_>, key: &SessionKey, by: &str) -> Stopped {
    let mut stopped = Stopped::default();
    mark_children(state, key, by, &mut stopped, |_| true);
    mark_orphans(state, by, &mut stopped, |above| above.requester_key == *key);
    stopped
}

/// Stops what a run has spawned, and leaves the run itself alone.
pub fn stop_below_run(state: &mut State<'_>, run: RunId, by: &str) {
    let row = state.run(&run);
    let (key, task) = (row.session_key.clone(), row.task);
    let stopped = &mut Stopped::default();
    match task {
        Some(task) => {
            mark_below(state, &key, task, by, stopped);
            mark_orphans(state, by, stopped, |above| above.id == task);
        }
        None => {
            mark_children(state, &key, by, stopped, |_| true);
            mark_orphans(state, by, stopped, |above| above.requester_key == key);
        }
    }
}
