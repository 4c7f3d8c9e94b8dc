//! Messages between agents: whoever waits can be answered, and nobody is answered twice.

use std::collections::{BTreeMap, BTreeSet};

use types::{MessageId, RunId, Timestamp};

use super::{Found, World, horizon, run_of};
use crate::limits::Limits;
use crate::rows::{InboxKind, InboxRow, InboxState, Place, Run, Step, StepState, TimerKind};
use crate::run::{Phase, WaitKind};

/// What is asked of messages, by their ids.
struct Post<'a> {
    rows: BTreeMap<MessageId, &'a InboxRow>,
    runs: BTreeMap<RunId, &'a Run>,
}

impl<'a> Post<'a> {
    fn new(world: &'a World) -> Post<'a> {
        let rows = world.inbox.iter().map(|row| (row.id, row)).collect();
        Post { rows, runs: run_of(world) }
    }

    /// Can the message still be answered?
    fn is_open(&self, message: MessageId) -> bool {
        self.rows.get(&message).is_some_and(|row| match (row.state, row.run) {
            (InboxState::Queued, _) => true,
            (InboxState::Consumed, Some(run)) => !self.runs[&run].phase.ended(),
            _ => false,
        })
    }
}

/// Messages that can still be answered.
pub(super) fn unanswered(world: &World) -> BTreeSet<MessageId> {
    let post = Post::new(world);
    let sent = world.steps.iter().filter_map(|step| step.waits_on);
    sent.filter(|message| post.is_open(*message)).collect()
}

/// Runs that have sent one of them.
pub(super) fn askers(world: &World) -> BTreeSet<RunId> {
    let open = unanswered(world);
    let sent = world.steps.iter().filter(|step| step.waits_on.is_some_and(|id| open.contains(&id)));
    sent.map(|step| step.run).collect()
}

/// A call that waits has a run that is open, a timer, and a message that can be answered; a
/// message has one answer.
pub(super) fn messages(world: &World, limits: &Limits, found: &mut Found) {
    let post = Post::new(world);
    let timers: BTreeSet<&str> = world
        .timers
        .iter()
        .filter(|timer| timer.kind == TimerKind::ReplyTimeout)
        .map(|timer| timer.subject.as_str())
        .collect();
    // What a person has to allow is looked at elsewhere.
    let asked: BTreeSet<(RunId, u32)> =
        world.approvals.iter().map(|row| (row.run, row.step)).collect();
    let mut waiting: BTreeMap<RunId, u32> = BTreeMap::new();
    let mut waits = BTreeSet::new();
    for step in world.steps.iter().filter(|step| step.state == StepState::Waiting) {
        if asked.contains(&(step.run, step.n)) {
            continue;
        }
        *waiting.entry(step.run).or_default() += 1;
        let subject = format!("{}/{}", step.run, step.n);
        found.unless(timers.contains(subject.as_str()), "waits", || {
            format!("step {subject} waits for an answer without a timer")
        });
        waits.insert(subject);
        step_that_waits(step, &post, found);
    }
    for subject in timers.iter().filter(|subject| !waits.contains(**subject)) {
        found.unless(false, "waits", || format!("{subject} has a timer and waits for nothing"));
    }
    for run in world.runs.iter().filter(|run| run.phase == Phase::Waiting(WaitKind::Reply)) {
        let count = waiting.get(&run.id).copied().unwrap_or(0);
        found.unless(count > 0, "waits", || format!("{} waits for no answer", run.id));
        let called = world.inbox.iter().find(|row| {
            let for_it = row.session_key == run.session_key && row.origin == run.origin;
            let now = row.state == InboxState::Queued && row.place == Place::Steer;
            for_it && now && matches!(row.kind, InboxKind::User | InboxKind::Agent)
        });
        found.unless(called.is_none(), "waits", || {
            format!("{} waits for an answer while {called:?} lies in its inbox", run.id)
        });
    }
    one_answer(world, &post, horizon(world, limits), found);
}

fn step_that_waits(step: &Step, post: &Post<'_>, found: &mut Found) {
    let phase = post.runs.get(&step.run).map(|run| run.phase);
    let fits = matches!(
        phase,
        Some(Phase::Waiting(WaitKind::Reply) | Phase::AwaitingTools | Phase::Queued)
    );
    found.unless(fits, "waits", || {
        format!("step {} of {} waits for an answer in {phase:?}", step.n, step.run)
    });
    found.unless(step.waits_on.is_some_and(|id| post.is_open(id)), "waits", || {
        format!("step {} of {} waits for what will not be answered", step.n, step.run)
    });
}

/// Messages from before `horizon` may be gone.
fn one_answer(world: &World, post: &Post<'_>, horizon: Option<Timestamp>, found: &mut Found) {
    let mut sent: BTreeMap<MessageId, &Step> = BTreeMap::new();
    for step in &world.steps {
        let Some(message) = step.waits_on else { continue };
        let before = sent.insert(message, step);
        found.unless(before.is_none(), "I4", || format!("{message} was sent by two calls"));
        let row = post.rows.get(&message);
        let gone = row.is_none() && Some(step.started) < horizon;
        found.unless(gone || row.is_some_and(|row| row.kind == InboxKind::Agent), "I1", || {
            format!("step {} of {} has sent {message}, which is not there", step.n, step.run)
        });
    }
    let mut answered = BTreeSet::new();
    for row in world.inbox.iter().filter(|row| row.kind == InboxKind::Reply) {
        let message: Option<MessageId> =
            row.idem_key.strip_prefix("reply:").and_then(|id| id.parse().ok());
        let step = message.and_then(|message| sent.get(&message));
        found.unless(step.is_some_and(|step| step.state != StepState::Waiting), "I4", || {
            format!("{} answers nothing that was sent, or a call that still waits", row.id)
        });
        found.unless(answered.insert(message), "I4", || format!("{message:?} has two answers"));
        found.unless(message.is_none_or(|id| !post.is_open(id)), "I4", || {
            format!("{message:?} has an answer before its run has ended")
        });
    }
}
