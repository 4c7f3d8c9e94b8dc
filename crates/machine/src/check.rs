//! The invariants, as questions to all rows at once: for tests, the simulator and `doctor`.

mod approve;
mod budget;
mod card;
mod policy;
mod gate;
mod warm;
mod session;
mod context;
mod ends;
mod halt;
mod kept;
mod naming;
mod circle;
mod send;

use std::collections::{BTreeMap, BTreeSet};

use types::{Hash, RunId, SessionId, SessionKey, TaskId, Timestamp};

use crate::deliver;
use crate::limits::Limits;
use crate::rows::{
    Approval, BudgetRow, EntryKind, Episode, Flow, FlowNode, Gate, Grant, Halt, InboxKind,
    InboxRow, InboxState, Kept, Lane, LedgerRow, Node, NodeState, Outcome, Place, Reservation, Run,
    Session, Step, StepKind, StepState, Task, TaskKind, Timer, TimerKind, Transcript,
};
use crate::run::{Phase, WaitKind};

mod attempt;
mod flow;

pub use budget::spent;

/// Every row there is, without bodies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct World {
    pub lanes: Vec<Lane>,
    pub nodes: Vec<Node>,
    pub sessions: Vec<Session>,
    pub transcripts: Vec<Transcript>,
    pub episodes: Vec<Episode>,
    /// By session id, then number.
    pub entries: Vec<EntryHead>,
    pub inbox: Vec<InboxRow>,
    pub runs: Vec<Run>,
    pub steps: Vec<Step>,
    pub tasks: Vec<Task>,
    pub timers: Vec<Timer>,
    pub ledger: Vec<LedgerRow>,
    pub flows: Vec<Flow>,
    /// By flow, then place.
    pub flow_nodes: Vec<FlowNode>,
    /// Bodies of the policies that sessions name.
    pub policies: BTreeMap<Hash, String>,
    pub gates: Vec<Gate>,
    pub approvals: Vec<Approval>,
    pub grants: Vec<Grant>,
    /// By run.
    pub halts: Vec<Halt>,
    pub budgets: Vec<BudgetRow>,
    pub reservations: Vec<Reservation>,
    /// By root, then hash; without the texts.
    pub kept: Vec<Kept>,
}

/// An entry without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryHead {
    pub session_id: SessionId,
    pub seq: i64,
    pub run: RunId,
    pub step: Option<u32>,
    pub kind: EntryKind,
    pub call_id: Option<String>,
    pub tokens: u64,
    pub silent: bool,
}

/// A sentence that should hold and does not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{invariant}: {what}")]
pub struct Violation {
    /// Its number in the manual of durability.
    pub invariant: &'static str,
    pub what: String,
}

/// Looks for violations of the invariants that hold between any two commits.
pub fn check(world: &World, limits: &Limits) -> Vec<Violation> {
    let mut found = Found(Vec::new());
    one_open_run(world, &mut found);
    inputs_once(world, limits, &mut found);
    one_outcome_one_announce(world, limits, &mut found);
    transcripts(world, &mut found);
    nothing_below_a_stop(world, &mut found);
    ledger(world, &mut found);
    slots(world, &mut found);
    waits_have_an_end(world, &mut found);
    policy::tools_are_allowed(world, &mut found);
    policy::providers_are_obeyed(world, limits, &mut found);
    gate::check(world, limits, &mut found);
    budget::check(world, limits, &mut found);
    warm::warm(world, &mut found);
    session::nobody_is_above_himself(world, &mut found);
    session::one_live_transcript(world, &mut found);
    card::of_the_task_at_hand(world, &mut found);
    session::deleted_is_at_rest(world, &mut found);
    session::results_come_to_who_asked(world, &mut found);
    context::check(world, &mut found);
    ends::check(world, &mut found);
    halt::check(world, &mut found);
    kept::check(world, &mut found);
    naming::check(world, limits, &mut found);
    approve::check(world, &mut found);
    flow::flows(world, &mut found);
    attempt::attempts(world, &mut found);
    send::messages(world, limits, &mut found);
    circle::nobody_waits_for_himself(world, &mut found);
    circle::nobody_works_for_himself(world, &mut found);
    found.0
}

struct Found(Vec<Violation>);

impl Found {
    fn unless(&mut self, holds: bool, invariant: &'static str, what: impl FnOnce() -> String) {
        if !holds {
            self.0.push(Violation { invariant, what: what() });
        }
    }
}

fn run_of(world: &World) -> BTreeMap<RunId, &Run> {
    world.runs.iter().map(|run| (run.id, run)).collect()
}

/// I2: at most one open run per session; a session with queued rows has one, unless all are held.
fn one_open_run(world: &World, found: &mut Found) {
    let mut open: BTreeMap<&SessionKey, Vec<RunId>> = BTreeMap::new();
    for run in world.runs.iter().filter(|run| !run.phase.ended()) {
        open.entry(&run.session_key).or_default().push(run.id);
    }
    let queued = |row: &&InboxRow| row.state == InboxState::Queued && row.place != Place::Hold;
    let waiting: BTreeSet<&SessionKey> =
        world.inbox.iter().filter(queued).map(|row| &row.session_key).collect();
    for session in &world.sessions {
        let runs = open.remove(&session.key).unwrap_or_default();
        found.unless(runs.iter().copied().eq(session.open_run), "I2", || {
            format!("{} says open_run {:?}, and open are {runs:?}", session.key, session.open_run)
        });
        let waits = waiting.contains(&session.key);
        found.unless(!waits || session.open_run.is_some(), "I2", || {
            format!("{} has queued rows and no open run", session.key)
        });
    }
    found.unless(open.is_empty(), "I2", || format!("runs without a session: {open:?}"));
}

/// Before this time, rows that are done with may have been deleted.
fn horizon(world: &World, limits: &Limits) -> Option<Timestamp> {
    let now = world.nodes.iter().map(|node| node.beat).max()?;
    Some(Timestamp(now.ms().saturating_sub(limits.retention.keep.as_millis() as i64)))
}

/// I3: each row that was consumed is one entry, of its kind and of its run; order is kept among
/// rows that wait for a run of their own, and among those of one origin that steer. Rows of runs
/// that ended long ago may be gone.
fn inputs_once(world: &World, limits: &Limits, found: &mut Found) {
    let horizon = horizon(world, limits);
    let old = |run: &&Run| run.ended.is_some() && run.ended < horizon;
    let old: BTreeSet<RunId> = world.runs.iter().filter(old).map(|run| run.id).collect();
    let mut consumed: BTreeMap<(RunId, EntryKind), usize> = BTreeMap::new();
    for row in world.inbox.iter().filter(|row| row.state == InboxState::Consumed) {
        match row.run {
            Some(run) => *consumed.entry((run, row.kind.into())).or_default() += 1,
            None => found.unless(false, "I3", || format!("{} is consumed by no run", row.id)),
        }
    }
    let mut entered: BTreeMap<(RunId, EntryKind), usize> = BTreeMap::new();
    for entry in &world.entries {
        if crate::finish::is_input(entry.kind) {
            *entered.entry((entry.run, entry.kind)).or_default() += 1;
        }
    }
    for (key, entries) in &entered {
        let rows = consumed.remove(key).unwrap_or(0);
        let kept = rows == *entries || old.contains(&key.0) && rows < *entries;
        found.unless(kept, "I3", || format!("{key:?}: {rows} rows consumed, {entries} entries"));
    }
    found.unless(consumed.is_empty(), "I3", || format!("rows without entries: {consumed:?}"));
    in_order(world, found);
}

fn in_order(world: &World, found: &mut Found) {
    let mut last: BTreeMap<(&SessionKey, Place, &str), &InboxRow> = BTreeMap::new();
    // A message that has ended the open run comes before those that wait for a run of their own.
    let cut: BTreeSet<(&SessionKey, Timestamp)> = world
        .runs
        .iter()
        .filter(|run| run.phase == Phase::Ended(Outcome::Cancelled))
        .filter_map(|run| Some((&run.session_key, run.ended?)))
        .collect();
    // So does one before which a run that had not begun has given way: its own was opened at once.
    let at_once: BTreeSet<(RunId, Timestamp)> =
        world.runs.iter().map(|run| (run.id, run.queued)).collect();
    for row in world.inbox.iter().filter(|row| row.state == InboxState::Consumed) {
        let line = match row.place {
            Place::Own if row.run.is_some_and(|run| at_once.contains(&(run, row.at))) => continue,
            Place::Own if cut.contains(&(&row.session_key, row.at)) => continue,
            Place::Own => (&row.session_key, Place::Own, ""),
            // Results enter as far as the context holds them.
            Place::Steer if row.kind != InboxKind::Announce => {
                (&row.session_key, Place::Steer, row.origin.as_str())
            }
            _ => continue,
        };
        if let Some(before) = last.insert(line, row) {
            found.unless(before.done <= row.done, "I3", || {
                format!("row {} was taken in before row {}", row.seq, before.seq)
            });
        }
    }
}

/// I4: an ended task has one announce, if it was to have one; an open one has none, and is carried
/// by an open run, or stands in line in a session that is busy. A flow is carried by its nodes.
fn one_outcome_one_announce(world: &World, limits: &Limits, found: &mut Found) {
    let horizon = horizon(world, limits);
    let runs = run_of(world);
    let mut announced: BTreeMap<TaskId, usize> = BTreeMap::new();
    let mut cancelled: BTreeSet<TaskId> = BTreeSet::new();
    for row in world.inbox.iter().filter(|row| row.kind == InboxKind::Announce) {
        let Some(task) = row.task else {
            found.unless(false, "I4", || format!("{} announces no task", row.id));
            continue;
        };
        // One that was given up may have been delivered elsewhere instead.
        let given_up = row.state == InboxState::Cancelled;
        *announced.entry(task).or_default() += usize::from(!given_up);
        cancelled.extend(given_up.then_some(task));
    }
    let briefs = world.inbox.iter().filter(|row| row.kind == InboxKind::Brief);
    let waiting: BTreeSet<TaskId> =
        briefs.filter(|row| row.state == InboxState::Queued).filter_map(|row| row.task).collect();
    for task in &world.tasks {
        let announces = announced.get(&task.id).copied().unwrap_or(0);
        let run = runs.get(&task.run).map(|run| run.phase);
        let has_run = task.kind != TaskKind::Flow;
        found.unless(has_run || run.is_none(), "I4", || format!("flow {} has a run", task.id));
        match task.outcome {
            Some(outcome) => {
                let wanted = task.announce.reaches_requester();
                // A child may have asked not to be announced, with its whole answer.
                let old = task.ended < horizon;
                let given_up = cancelled.contains(&task.id);
                let skipped = outcome == Outcome::Completed;
                let enough = announces == 1 || given_up || !wanted || old || skipped;
                found.unless(announces <= 1 && enough, "I4", || {
                    format!("{} ended {outcome} with {announces} announces", task.id)
                });
                // One that was stopped while it stood in line never had a run.
                let unborn = run.is_none() && outcome == Outcome::Cancelled;
                found.unless(
                    !has_run || unborn || run == Some(Phase::Ended(outcome)),
                    "I4",
                    || format!("{} ended {outcome}, its run is {run:?}", task.id),
                );
            }
            None => {
                found.unless(announces == 0, "I4", || format!("open {} is announced", task.id));
                let in_line = !has_run || run.is_none() && waiting.contains(&task.id);
                found.unless(in_line || run.is_some_and(|phase| !phase.ended()), "I4", || {
                    format!("{} is open, its run is {run:?}", task.id)
                });
            }
        }
    }
}

/// I5: numbers without gap; an answer's calls each have one result before the next answer, unless
/// they are open.
fn transcripts(world: &World, found: &mut Found) {
    let mut next: BTreeMap<SessionId, i64> = BTreeMap::new();
    for entry in &world.entries {
        let expected = next.entry(entry.session_id).or_insert(1);
        let seq = *expected;
        found.unless(entry.seq == seq, "I5", || {
            format!("{} has entry {} where {seq} was due", entry.session_id, entry.seq)
        });
        *expected = entry.seq + 1;
    }
    for transcript in &world.transcripts {
        let seq = next.get(&transcript.session_id).copied().unwrap_or(1);
        found.unless(transcript.next_seq == seq, "I5", || {
            format!("{} says next_seq {}, not {seq}", transcript.session_id, transcript.next_seq)
        });
    }
    let mut results: BTreeSet<(RunId, u32)> = BTreeSet::new();
    for entry in world.entries.iter().filter(|entry| entry.kind == EntryKind::ToolResult) {
        let key = (entry.run, entry.step.unwrap_or(u32::MAX));
        found.unless(results.insert(key), "I5", || format!("two results of step {key:?}"));
    }
    let mut models_open: BTreeSet<RunId> = BTreeSet::new();
    for step in &world.steps {
        let open = is_open(step);
        if step.kind == StepKind::Model {
            if open {
                models_open.insert(step.run);
            }
            continue;
        }
        // Nobody has called it, so nobody is answered.
        if deliver::is_check(step) {
            continue;
        }
        let has = results.contains(&(step.run, step.n));
        found.unless(has != open, "I5", || {
            format!("step {} of {} is {}, result: {has}", step.n, step.run, step.state)
        });
    }
    for step in &world.steps {
        let open_tool = step.kind == StepKind::Tool && is_open(step);
        found.unless(!(open_tool && models_open.contains(&step.run)), "I5", || {
            format!("{} calls its model while step {} is open", step.run, step.n)
        });
    }
}

fn is_open(step: &Step) -> bool {
    matches!(step.state, StepState::Intent | StepState::Waiting)
}

/// I8: below a stopped task nothing was begun after the stop.
fn nothing_below_a_stop(world: &World, found: &mut Found) {
    let tasks: BTreeMap<_, _> = world.tasks.iter().map(|task| (task.id, task)).collect();
    let stopped_at = |task: &Task| {
        let mut next = Some(task.id);
        let mut at = task.cancelled;
        while let Some(id) = next {
            at = at.or(tasks[&id].cancelled);
            next = tasks[&id].parent;
        }
        at
    };
    if world.tasks.iter().all(|task| task.cancelled.is_none()) {
        return;
    }
    let mut last_step: BTreeMap<RunId, &Step> = BTreeMap::new();
    // A call that was closed in the commit that recorded it was never begun.
    let begun = |step: &&Step| step.ended.is_none_or(|ended| ended > step.started);
    for step in world.steps.iter().filter(begun) {
        let last = last_step.entry(step.run).or_insert(step);
        if step.started > last.started {
            *last = step;
        }
    }
    for task in &world.tasks {
        let Some(at) = stopped_at(task) else { continue };
        let above = task.parent.and_then(|id| stopped_at(tasks[&id]));
        found.unless(above.is_none_or(|above| task.created <= above), "I8", || {
            format!("{} was born after the stop above it", task.id)
        });
        if let Some(step) = last_step.get(&task.run) {
            found.unless(step.started <= at, "I8", || {
                format!("step {} of {} began after its stop", step.n, step.run)
            });
        }
    }
}

/// I11: a ledger row for each model step that is done; none twice.
fn ledger(world: &World, found: &mut Found) {
    let mut booked: BTreeSet<(RunId, u32)> = BTreeSet::new();
    let mut sums: BTreeMap<RunId, u64> = BTreeMap::new();
    for row in &world.ledger {
        found.unless(booked.insert((row.run, row.step)), "I11", || {
            format!("step {} of {} is booked twice", row.step, row.run)
        });
        *sums.entry(row.run).or_default() += row.usage.total();
    }
    for step in world.steps.iter().filter(|step| step.kind == StepKind::Model) {
        let done = step.state == StepState::Done;
        found.unless(!done || booked.contains(&(step.run, step.n)), "I11", || {
            format!("step {} of {} is done and not booked", step.n, step.run)
        });
    }
    for run in &world.runs {
        let sum = sums.get(&run.id).copied().unwrap_or(0);
        found.unless(run.usage.total() == sum, "I11", || {
            format!("{} has used {}, its ledger says {sum}", run.id, run.usage.total())
        });
    }
}

/// Slots are held by runs that need one, on a node that is not down, within the lane's capacity.
fn slots(world: &World, found: &mut Found) {
    let mut taken = BTreeSet::new();
    for run in &world.runs {
        found.unless(run.slot.is_some() == run.phase.holds_slot(), "I10", || {
            format!("{} is {:?} with slot {:?}", run.id, run.phase, run.slot)
        });
        let Some(slot) = run.slot else { continue };
        let lane = world.lanes.iter().find(|lane| lane.name == run.lane);
        let capacity = lane.map_or(0, |lane| lane.capacity);
        found.unless(slot < capacity && taken.insert((run.lane, slot)), "I10", || {
            format!("{} has slot {slot} of {}, which has {capacity}", run.id, run.lane)
        });
        let node = world.nodes.iter().find(|node| Some(node.id) == run.node);
        found.unless(node.is_some_and(|node| node.state != NodeState::Down), "I10", || {
            format!("{} holds a slot for a node that is not there", run.id)
        });
    }
}

/// Every wait has a timer, open children that count it down, or a message without an answer, and
/// nothing that should have ended it; every queued run is in line; no timer outlives its reason.
fn waits_have_an_end(world: &World, found: &mut Found) {
    let timers: BTreeSet<(TimerKind, &str)> =
        world.timers.iter().map(|timer| (timer.kind, timer.subject.as_str())).collect();
    let mut waited: BTreeMap<RunId, Vec<&Task>> = BTreeMap::new();
    for task in world.tasks.iter().filter(|task| task.outcome.is_none()) {
        if let Some(run) = task.waited_by {
            waited.entry(run).or_default().push(task);
        }
    }
    let mut steering: BTreeSet<(&SessionKey, &str)> = BTreeSet::new();
    for row in world.inbox.iter().filter(|row| row.state == InboxState::Queued) {
        if row.place == Place::Steer && wakes(row.kind) {
            steering.insert((&row.session_key, &row.origin));
        }
    }
    let unanswered = send::askers(world);
    for run in world.runs.iter().filter(|run| !run.phase.ended()) {
        let subject = run.id.to_string();
        let timer = |kind: TimerKind| timers.contains(&(kind, subject.as_str()));
        let children = waited.get(&run.id).map_or(&[][..], Vec::as_slice);
        match run.phase {
            Phase::Waiting(WaitKind::Retry) => {
                found.unless(timer(TimerKind::Retry), "waits", || {
                    format!("{} waits for a retry without a timer", run.id)
                });
            }
            Phase::Waiting(WaitKind::Children) => {
                let enough = children.len() >= run.wait_need as usize;
                // One that has only written to others rests until one of them answers.
                let asked = children.is_empty() && unanswered.contains(&run.id);
                let ends = run.wait_need > 0 && (enough || asked);
                found.unless(ends, "waits", || {
                    format!("{} waits for {} of {}", run.id, run.wait_need, children.len())
                });
                let called = steering.contains(&(&run.session_key, run.origin.as_str()));
                found.unless(!called, "waits", || {
                    format!("{} waits while a message for it lies in its inbox", run.id)
                });
            }
            Phase::Queued => {
                let in_line = run.rank.is_some() || timer(TimerKind::Debounce);
                found.unless(in_line, "waits", || format!("{} is queued nowhere", run.id));
            }
            _ => {}
        }
        found.unless(run.deadline.is_none() || timer(TimerKind::Deadline), "waits", || {
            format!("{} has a deadline without a timer", run.id)
        });
        found.unless(run.wait_need > 0 || !timer(TimerKind::YieldTimeout), "waits", || {
            format!("{} has a yield's timer, and waits for nothing", run.id)
        });
        let foreign = children.iter().find(|task| task.origin != run.origin);
        found.unless(foreign.is_none(), "waits", || {
            format!("{} waits for a result that goes elsewhere: {foreign:?}", run.id)
        });
    }
    let open: BTreeSet<String> =
        world.runs.iter().filter(|run| !run.phase.ended()).map(|run| run.id.to_string()).collect();
    for (kind, subject) in timers.into_iter().filter(|(kind, _)| kind.of_run()) {
        found.unless(open.contains(subject), "waits", || {
            format!("the {kind} timer of {subject} outlives its run")
        });
    }
}

/// Does a message of this kind end a wait?
fn wakes(kind: InboxKind) -> bool {
    !matches!(kind, InboxKind::Announce | InboxKind::System | InboxKind::Brief)
}
