//! How far the end of what was stopped is proved: for the answer of a stop, and for later looks.

use std::collections::BTreeSet;

use machine::effect::Stopped;
use machine::rows::{Halt, HaltState, Outcome};
use protocol::stop::{StopItem, StopReport};
use store::view::TaskView;
use store::{Query, StoreError};
use types::{RunId, TaskId};

use crate::methods::tasks::below_task;

/// Runs of which an answer says that something is left.
const UNPROVED_MAX: usize = 100;

/// Of what a stop has named, and all below it.
pub fn of_stop(rows: &dyn Query, stopped: &Stopped) -> Result<StopReport, StoreError> {
    let mut tasks = Vec::new();
    let mut seen: BTreeSet<TaskId> = BTreeSet::new();
    for id in &stopped.tasks {
        let Some(task) = rows.task(*id)? else { continue };
        let below = below_task(rows, &task)?;
        tasks.extend(std::iter::once(task).chain(below).filter(|task| seen.insert(task.id)));
    }
    let mut report = of_tasks(rows, &tasks)?;
    let carried: BTreeSet<RunId> = tasks.iter().map(|task| task.run_id).collect();
    for run in stopped.runs.iter().filter(|run| !carried.contains(run)) {
        let Some(row) = rows.run(*run)? else { continue };
        let item = item(row.session_key, Some(*run), row.task);
        put(&mut report, item, rows.halt(*run)?, true);
    }
    Ok(report)
}

/// Of the tasks among these that were stopped, or ended with calls out.
pub fn of_tasks(rows: &dyn Query, tasks: &[TaskView]) -> Result<StopReport, StoreError> {
    let mut report = StopReport::default();
    let marked: BTreeSet<TaskId> =
        tasks.iter().filter(|task| task.cancelled.is_some()).map(|task| task.id).collect();
    for task in tasks {
        let halt = rows.halt(task.run_id)?;
        // One below a mark is being stopped, and may not know it yet.
        let below = marked.contains(&task.id) || task.parent.is_some_and(|p| marked.contains(&p));
        let stops = match task.outcome {
            None => below,
            Some(outcome) => halt.is_some() || outcome == Outcome::Cancelled,
        };
        if stops {
            let run = task.run.as_ref().filter(|run| run.started.is_some()).map(|run| run.id);
            let item = item(task.session_key.clone(), run, Some(task.id));
            put(&mut report, item, halt, task.outcome.is_some());
        }
    }
    Ok(report)
}

/// Runs of which it was looked, and something is left.
pub fn unproved(rows: &dyn Query) -> Result<(u64, Vec<StopItem>), StoreError> {
    let mut report = StopReport::default();
    for halt in rows.open_halts(UNPROVED_MAX)? {
        let Some(run) = rows.run(halt.run)? else { continue };
        let item = item(run.session_key, Some(halt.run), run.task);
        put(&mut report, item, Some(halt), true);
    }
    Ok((report.stopping.len() as u64, report.unproved))
}

fn item(session_key: types::SessionKey, run: Option<RunId>, task: Option<TaskId>) -> StopItem {
    StopItem { session_key, run_id: run, task_id: task, pids: Vec::new(), calls: 0 }
}

fn put(report: &mut StopReport, item: StopItem, halt: Option<Halt>, ended: bool) {
    match halt.map(|halt| (halt.state, halt)) {
        Some((HaltState::Stopping, _)) => report.stopping.push(item),
        Some((HaltState::Unproved, Halt { pids, calls, .. })) => {
            report.unproved.push(StopItem { pids, calls, ..item });
        }
        Some((HaltState::Stopped, _)) | None if ended => report.stopped.push(item),
        Some((HaltState::Stopped, _)) | None => report.stopping.push(item),
    }
}
