//! How work ends: warnings come before deadlines, and a person is told of ends only.

use std::collections::BTreeMap;

use types::{Announce, RunId, TaskId};

use super::{Found, World};
use crate::cut;
use crate::deadline::is_warning;
use crate::deliver;
use crate::person::RESTART;
use crate::rows::{InboxKind, InboxState, Outcome, Place, Step, StepState, Task, Timer, TimerKind};

pub(super) fn check(world: &World, found: &mut Found) {
    warnings(world, found);
    held_for_people(world, found);
    handed_in(world, found);
}

/// A task that had something to hand in has completed behind a look at it, and was told of what was
/// missing twice at most.
fn handed_in(world: &World, found: &mut Found) {
    let mut looks: BTreeMap<RunId, u32> = BTreeMap::new();
    let done = |step: &&Step| deliver::is_check(step) && step.state == StepState::Done;
    for step in world.steps.iter().filter(done) {
        *looks.entry(step.run).or_default() += 1;
    }
    let has_to = |task: &&Task| {
        let wanted = task.deliverables.as_ref();
        wanted.is_some_and(|wanted| !wanted.files.is_empty() || wanted.schema.is_some())
    };
    for task in world.tasks.iter().filter(has_to) {
        let looked = looks.contains_key(&task.run);
        found.unless(looked || task.outcome != Some(Outcome::Completed), "deliverables", || {
            format!("{} has completed, and nobody has looked", task.id)
        });
        let missing = format!("missing:{}:", task.run);
        let told = world.inbox.iter().filter(|row| row.idem_key.starts_with(&missing)).count();
        found.unless(told <= 2, "deliverables", || {
            format!("{} was told {told} times of what was missing", task.id)
        });
    }
}

/// A warning's timer is set for a run with a deadline, before it; and what is said to one run
/// alone waits no longer than for its end.
fn warnings(world: &World, found: &mut Found) {
    let runs: BTreeMap<String, _> =
        world.runs.iter().map(|run| (run.id.to_string(), run)).collect();
    let warning = |timer: &&Timer| timer.kind == TimerKind::DeadlineWarning;
    for timer in world.timers.iter().filter(warning) {
        let deadline = runs.get(&timer.subject).and_then(|run| run.deadline);
        found.unless(deadline.is_some_and(|deadline| timer.due < deadline), "deadline", || {
            format!("{} is warned at {}, its deadline is {deadline:?}", timer.subject, timer.due)
        });
    }
    let waiting = |row: &&crate::rows::InboxRow| row.state == InboxState::Queued;
    let of_run = |row: &&crate::rows::InboxRow| is_warning(row) || cut::is_note(row);
    for row in world.inbox.iter().filter(waiting).filter(of_run) {
        let run = row.run.and_then(|run| runs.get(&run.to_string()));
        found.unless(run.is_some_and(|run| !run.phase.ended()), "deadline", || {
            format!("{} is said to a run that is over", row.id)
        });
    }
}

/// What is kept for a person is a restart, or the result of a task that was to go to him and has
/// ended, once.
fn held_for_people(world: &World, found: &mut Found) {
    let tasks: BTreeMap<TaskId, &Task> = world.tasks.iter().map(|task| (task.id, task)).collect();
    let mut told: BTreeMap<TaskId, u32> = BTreeMap::new();
    let held =
        |row: &&crate::rows::InboxRow| row.kind == InboxKind::System && row.place == Place::Hold;
    for row in world.inbox.iter().filter(held) {
        if row.idem_key.starts_with(RESTART) {
            continue;
        }
        let id = row.idem_key.strip_prefix("person:").and_then(|id| id.parse().ok());
        let task = id.and_then(|id: TaskId| tasks.get(&id));
        let due = task.is_some_and(|task| {
            *told.entry(task.id).or_default() += 1;
            task.announce == Announce::Person && task.outcome.is_some() && told[&task.id] == 1
        });
        found.unless(due, "person", || format!("{} is held as `{}`", row.id, row.idem_key));
    }
}
