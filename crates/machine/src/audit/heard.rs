//! What was to be heard: results, inputs, and calls of which nobody knows what became of them.

use std::collections::BTreeSet;

use types::{Hash, TaskId};

use super::facts::Facts;
use super::{Fault, Finding, stop};
use crate::announce::ANNOUNCE_SKIP;
use crate::rows::{
    InboxKind, InboxRow, InboxState, Lifecycle, Outcome, Place, Run, Step, StepKind, StepState,
};

fn restore(session: &types::SessionKey) -> String {
    format!("windlass sessions restore {session}")
}

fn redeliver(task: TaskId) -> String {
    format!("windlass tasks redeliver {task}")
}

/// An ended task that was to announce has done so. What ended long ago may be forgotten.
pub(super) fn announces(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let announced: BTreeSet<TaskId> = facts
        .world
        .inbox
        .iter()
        .filter(|row| row.kind == InboxKind::Announce)
        .filter_map(|row| row.task)
        .collect();
    let skip = Hash::of(ANNOUNCE_SKIP);
    for task in facts.tasks.values() {
        let (Some(outcome), Some(ended)) = (task.outcome, task.ended) else { continue };
        let lately = ended > facts.since;
        let skipped = outcome == Outcome::Completed && task.result_hash == Some(skip);
        let due = task.announce.reaches_requester() && lately && !skipped;
        if !due || announced.contains(&task.id) {
            continue;
        }
        let (id, requester) = (task.id, &task.requester_key);
        let what = format!("{id} has ended ({outcome}), and {requester} was told nothing");
        found.push(Finding {
            task_id: Some(id),
            session_key: Some(requester.clone()),
            ..Finding::new(Fault::AnnounceMissing, what, redeliver(id))
        });
    }
}

/// What waits is in a session that runs, and nothing has reached nobody.
pub(super) fn inputs(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let mut seen = BTreeSet::new();
    for row in &facts.world.inbox {
        let key = &row.session_key;
        let of_row = |fault, what, fix| Finding {
            task_id: row.task,
            session_key: Some(key.clone()),
            ..Finding::new(fault, what, fix)
        };
        let session = facts.sessions.get(key);
        if row.state == InboxState::Dead {
            let away = session.is_some_and(|session| {
                session.lifecycle == Lifecycle::Archived && session.deleted.is_none()
            });
            let (kind, id) = (row.kind, row.id);
            let what = format!("{kind} {id} was for {key}, and nobody was left to take it");
            let fix = if away { restore(key) } else { dead_fix(row) };
            found.push(of_row(Fault::DeadLetter, what, fix));
        }
        let waits = row.state == InboxState::Queued && row.place != Place::Hold;
        let runs = session.and_then(|session| session.open_run).is_some();
        if waits && !runs && seen.insert(key) {
            let what = format!("{} {} waits in {key}, in which nothing runs", row.kind, row.id);
            found.push(of_row(Fault::NotTakenIn, what, stop(key)));
        }
    }
}

fn dead_fix(row: &InboxRow) -> String {
    match row.task {
        Some(task) => redeliver(task),
        None => restore(&row.session_key),
    }
}

/// Somebody will take the result of what is open.
pub(super) fn takers(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let open = |task: &&&crate::rows::Task| {
        task.outcome.is_none() && task.cancelled.is_none() && task.announce.reaches_requester()
    };
    for task in facts.tasks.values().filter(open) {
        let (id, requester) = (task.id, &task.requester_key);
        if !facts.has_taker(requester, &task.root_key) {
            let what = format!("{id} is open, and nobody is left to take its result");
            found.push(Finding {
                task_id: Some(id),
                session_key: Some(requester.clone()),
                ..Finding::new(Fault::NoTaker, what, restore(requester))
            });
        }
    }
}

/// A call whose outcome nobody knows is looked at by the model that is asked next. Where a run was
/// ended before that, and not by a person, somebody should look.
pub(super) fn unknown(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let unknown = |step: &&Step| step.kind == StepKind::Tool && step.state == StepState::Unknown;
    for step in facts.world.steps.iter().filter(unknown) {
        let Some(run) = facts.runs.get(&step.run) else { continue };
        let outcome = run.phase.outcome();
        let by_a_person = outcome.is_none() || outcome == Some(Outcome::Cancelled);
        let lately = run.ended.is_some_and(|ended| ended > facts.since);
        if by_a_person || !lately || looked_at(facts, run, step) {
            continue;
        }
        let name = step.name.as_deref().unwrap_or("a tool");
        let what = format!(
            "`{name}` of {} was cut, nobody knows whether it was done, and the run is over",
            run.id
        );
        let key = &run.session_key;
        let fix = format!(
            "windlass agent --session-key {key} --message \"Check what became of your last call\""
        );
        found.push(Finding::of_run(Fault::OutcomeUnknown, run, what, fix));
    }
}

/// Has a model been asked in this conversation since?
fn looked_at(facts: &Facts<'_>, run: &Run, step: &Step) -> bool {
    let answered = |other: &&Step| other.kind == StepKind::Model && other.state == StepState::Done;
    let later = |of: &Run| {
        facts
            .steps
            .get(&of.id)
            .into_iter()
            .flatten()
            .copied()
            .filter(answered)
            .any(|other| of.id != run.id || other.n > step.n)
    };
    later(run)
        || facts.runs.values().any(|other| {
            other.session_id == run.session_id && other.started >= run.ended && later(other)
        })
}
