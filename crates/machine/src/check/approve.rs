//! Questions to people: each belongs to a call that waits, and has an end.

use std::collections::BTreeMap;

use types::RunId;

use super::{Found, World, run_of};
use crate::rows::{Approval, ApprovalState, Step, StepState, TimerKind};
use crate::run::{Phase, WaitKind};

pub(super) fn check(world: &World, found: &mut Found) {
    let steps: BTreeMap<(RunId, u32), &Step> =
        world.steps.iter().map(|step| ((step.run, step.n), step)).collect();
    let timers = world.timers.iter().filter(|timer| timer.kind == TimerKind::Approval);
    let mut timers: Vec<&str> = timers.map(|timer| timer.subject.as_str()).collect();
    let mut asked: BTreeMap<(RunId, u32), &Approval> = BTreeMap::new();
    for row in &world.approvals {
        let again = asked.insert((row.run, row.step), row);
        found.unless(again.is_none(), "approvals", || format!("{} asks again", row.id));
        let step = steps.get(&(row.run, row.step)).copied();
        let pending = row.state == ApprovalState::Pending;
        let waits = step.is_some_and(|step| step.state == StepState::Waiting);
        found.unless(pending == waits, "approvals", || {
            format!("{} is {}, and its call {:?}", row.id, row.state, step.map(|s| s.state))
        });
        let subject = row.id.to_string();
        let timer = timers.iter().position(|timer| *timer == subject);
        found.unless(pending == timer.is_some(), "waits", || {
            format!("{} is {}, timer: {}", row.id, row.state, timer.is_some())
        });
        timer.map(|at| timers.swap_remove(at));
        never_started(row, step, found);
    }
    found.unless(timers.is_empty(), "waits", || format!("{timers:?} have timers, and are not"));
    runs(world, &asked, found);
}

/// What was not allowed has not been started: its call has its end at the time of the answer.
fn never_started(row: &Approval, step: Option<&Step>, found: &mut Found) {
    let refused = matches!(
        row.state,
        ApprovalState::Denied | ApprovalState::Expired | ApprovalState::Cancelled
    );
    let ended = step.and_then(|step| step.ended);
    found.unless(!refused || ended == row.decided, "approvals", || {
        format!("{} is {}, and its call ended at {ended:?}", row.id, row.state)
    });
}

/// A run waits for a person if and only if it has a call that waits for nothing else.
fn runs(world: &World, asked: &BTreeMap<(RunId, u32), &Approval>, found: &mut Found) {
    let runs = run_of(world);
    for row in asked.values().filter(|row| row.state == ApprovalState::Pending) {
        let phase = runs.get(&row.run).map(|run| run.phase);
        let fits = matches!(
            phase,
            Some(
                Phase::Waiting(WaitKind::Approval | WaitKind::Reply)
                    | Phase::AwaitingTools
                    | Phase::Queued
            )
        );
        found.unless(fits, "approvals", || format!("{} is pending in {phase:?}", row.id));
    }
    for run in world.runs.iter().filter(|run| run.phase == Phase::Waiting(WaitKind::Approval)) {
        let of_run = asked.range((run.id, 0)..=(run.id, u32::MAX));
        let pending = of_run.filter(|(_, row)| row.state == ApprovalState::Pending).count();
        found.unless(pending > 0, "waits", || format!("{} waits for nobody's word", run.id));
        let replies = world.steps.iter().filter(|step| {
            step.run == run.id && step.state == StepState::Waiting && step.waits_on.is_some()
        });
        let replies = replies.count();
        found.unless(replies == 0, "waits", || format!("{} waits for an answer first", run.id));
    }
}
