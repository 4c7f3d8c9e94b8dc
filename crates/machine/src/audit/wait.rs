//! Waits: each ends by something that is still to come.

use types::RunId;

use super::facts::Facts;
use super::{Fault, Finding, stop_run};
use crate::rows::{ApprovalState, GateKey, GateState, InboxState, Run, StepState, TimerKind};
use crate::run::{Phase, WaitKind};

pub(super) fn waits(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for run in facts.runs.values() {
        let Phase::Waiting(kind) = run.phase else { continue };
        let over = match kind {
            WaitKind::Retry => {
                let timed = facts.has_timer(TimerKind::Retry, run.id);
                (!timed).then(|| "for another try, and has no timer".to_owned())
            }
            WaitKind::Children => children(facts, run),
            WaitKind::Reply => reply(facts, run.id),
            WaitKind::Gate => gate(facts, run),
            WaitKind::Approval => approval(facts, run),
            WaitKind::Budget => {
                over_budget(run, found);
                None
            }
        };
        if let Some(over) = over {
            let what = format!("{} waits {over}", run.id);
            found.push(Finding::of_run(Fault::WaitOver, run, what, stop_run(facts, run)));
        }
    }
}

/// Fewer are open than have to end, and nothing else wakes it.
fn children(facts: &Facts<'_>, run: &Run) -> Option<String> {
    let waited =
        |task: &&&crate::rows::Task| task.outcome.is_none() && task.waited_by == Some(run.id);
    let open = facts.tasks.values().filter(waited).count();
    let ends = open > 0 && open >= run.wait_need as usize;
    let timed = facts.has_timer(TimerKind::YieldTimeout, run.id);
    let answered = facts.steps.get(&run.id).into_iter().flatten();
    let answered = answered.filter_map(|step| step.waits_on).any(|id| is_open(facts, id));
    if ends || timed || (open == 0 && answered) {
        return None;
    }
    Some(format!("for {} sub-agents, and {open} of those are open", run.wait_need))
}

/// A call that waits for an answer has one to come, or a time at which it goes on without.
fn reply(facts: &Facts<'_>, run: RunId) -> Option<String> {
    let steps = facts.steps.get(&run).into_iter().flatten();
    let comes = |step: &&&crate::rows::Step| {
        let timed = facts.has_timer(TimerKind::ReplyTimeout, format!("{run}/{}", step.n));
        timed || step.waits_on.is_some_and(|id| is_open(facts, id))
    };
    // One that waits for nobody's answer waits to be allowed.
    let asked =
        |step: &&&crate::rows::Step| step.state == StepState::Waiting && step.waits_on.is_some();
    let waiting: Vec<_> = steps.filter(asked).collect();
    let lost = waiting.iter().find(|step| !comes(step));
    match (waiting.is_empty(), lost) {
        (true, _) => Some("for an answer, and has asked nobody".to_owned()),
        (_, Some(step)) => {
            let message = step.waits_on.map(|id| id.to_string()).unwrap_or_default();
            Some(format!("for the answer to {message}, which will not come"))
        }
        _ => None,
    }
}

/// Can the message still be answered?
fn is_open(facts: &Facts<'_>, message: types::MessageId) -> bool {
    let Some(row) = facts.messages.get(&message) else { return false };
    match (row.state, row.run) {
        (InboxState::Queued, _) => true,
        (InboxState::Consumed, Some(run)) => {
            facts.runs.get(&run).is_some_and(|run| !run.phase.ended())
        }
        _ => false,
    }
}

/// Nothing is wrong, and a person decides; but for the day, which ends by itself.
fn over_budget(run: &Run, found: &mut Vec<Finding>) {
    let Some(key) = run.budget.as_ref().filter(|key| !key.scope.is_daily()) else { return };
    let what = format!("{} waits for more of the budget {key}", run.id);
    let fix = format!("windlass budget raise {key} --usd 1 (or --tokens 100000)");
    found.push(Finding::of_run(Fault::OverBudget, run, what, fix));
}

/// The gate of its model or account has a timer, or is being tried.
fn gate(facts: &Facts<'_>, run: &Run) -> Option<String> {
    let gate = GateKey::of_model(&run.model);
    let probed =
        facts.world.gates.iter().any(|row| row.key == gate && row.state == GateState::Probing);
    let timed = |key: &GateKey| facts.has_timer(TimerKind::Gate, key);
    let looked_at = probed || timed(&gate) || timed(&gate.account_wide());
    (!looked_at).then(|| format!("at the gate {gate}, which nobody will open"))
}

/// A person is asked, and the question has a deadline.
fn approval(facts: &Facts<'_>, run: &Run) -> Option<String> {
    let mut asked = facts
        .world
        .approvals
        .iter()
        .filter(|row| row.run == run.id && row.state == ApprovalState::Pending);
    let timed = |id| facts.has_timer(TimerKind::Approval, id);
    let lost = !asked.any(|row| timed(row.id));
    lost.then(|| "to be allowed something, and nobody is asked".to_owned())
}
