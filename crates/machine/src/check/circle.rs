//! Nobody waits for himself: between any two commits no way leads from a session along those that
//! it waits for back to it. And nobody works for himself, so that nobody will come to wait so.

use std::collections::{BTreeMap, BTreeSet};

use types::{MessageId, RunId, SessionKey, TaskId};

use super::{Found, World, send};
use crate::rows::{InboxRow, Run, StepState, Task, TaskKind};
use crate::run::{Phase, WaitKind};

/// Sessions, and those without which their open runs cannot go on.
type Waits<'a> = BTreeMap<&'a SessionKey, BTreeSet<&'a SessionKey>>;

pub(super) fn nobody_waits_for_himself(world: &World, found: &mut Found) {
    let waits = in_circles(waits(world));
    found.unless(waits.is_empty(), "waits", || format!("they wait in a circle: {waits:?}"));
}

/// A session that has asked for something will wait for it before its own task ends: so what works
/// for it, and for whom that works, is never it.
pub(super) fn nobody_works_for_himself(world: &World, found: &mut Found) {
    let mut works = Waits::new();
    let will_hear = |task: &&Task| task.outcome.is_none() && task.announce.reaches_requester();
    for task in world.tasks.iter().filter(will_hear) {
        works.entry(&task.requester_key).or_default().extend(workers(world, task));
    }
    let works = in_circles(works);
    found.unless(works.is_empty(), "circle", || format!("they work in a circle: {works:?}"));
}

/// What is left without those who wait for nobody, and those who wait only for such.
fn in_circles(mut waits: Waits<'_>) -> Waits<'_> {
    loop {
        let stuck: BTreeSet<&SessionKey> = waits.keys().copied().collect();
        let before = waits.len();
        for others in waits.values_mut() {
            others.retain(|other| stuck.contains(other));
        }
        waits.retain(|_, others| !others.is_empty());
        if waits.len() == before {
            return waits;
        }
    }
}

fn waits(world: &World) -> Waits<'_> {
    let rows: BTreeMap<MessageId, &InboxRow> =
        world.inbox.iter().map(|row| (row.id, row)).collect();
    let open: BTreeMap<RunId, &Run> =
        world.runs.iter().filter(|run| !run.phase.ended()).map(|run| (run.id, run)).collect();
    let mut waits = Waits::new();
    let mut rests: BTreeSet<RunId> =
        open.values().filter(|run| rests(run)).map(|run| run.id).collect();
    for task in world.tasks.iter().filter(|task| task.outcome.is_none()) {
        let Some(run) = task.waited_by.and_then(|run| open.get(&run)) else { continue };
        rests.remove(&run.id);
        if run.phase == Phase::Waiting(WaitKind::Children) {
            waits.entry(&run.session_key).or_default().extend(workers(world, task));
        }
    }
    let unanswered = send::unanswered(world);
    for step in &world.steps {
        let Some(run) = open.get(&step.run) else { continue };
        let Some(row) = step.waits_on.and_then(|id| rows.get(&id)) else { continue };
        // One that rests for its messages, and not for children, waits for those that are open.
        let rests = rests.contains(&run.id) && unanswered.contains(&row.id);
        if step.state == StepState::Waiting || rests {
            waits.entry(&run.session_key).or_default().insert(&row.session_key);
        }
    }
    waits
}

fn rests(run: &Run) -> bool {
    run.phase == Phase::Waiting(WaitKind::Children)
}

/// The session that carries a task, or those of the nodes of a flow that are open.
fn workers<'a>(world: &'a World, task: &'a Task) -> Vec<&'a SessionKey> {
    if task.kind != TaskKind::Flow {
        return vec![&task.session_key];
    }
    let nodes: BTreeSet<TaskId> = world
        .flow_nodes
        .iter()
        .filter(|node| Some(node.flow) == task.flow)
        .filter_map(|node| node.task)
        .collect();
    let tasks = world.tasks.iter();
    let open = tasks.filter(|task| task.outcome.is_none() && nodes.contains(&task.id));
    open.map(|task| &task.session_key).collect()
}
