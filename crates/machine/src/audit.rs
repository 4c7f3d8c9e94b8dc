//! `tasks audit`: every row that lies or hangs, why, and the command that puts it right. Pure.
//!
//! [`crate::check`] asks whether the rows can be what this program has written. This asks what a
//! person wants to know: is everything that is said to be in progress in somebody's hands, does
//! every wait end, has every result reached somebody? A gateway that works has no findings, also
//! right after a kill and the next start.
//!
//! # Invariants
//!
//! - Each finding names one command that there is, and that resolves it.
//! - It looks only at what is open, and at what has ended lately: see `Query::open_rows` of the
//!   store.

mod facts;
mod flow;
mod heard;
mod wait;

use serde::Serialize;
use types::{FlowId, RunId, SessionKey, TaskId, Timestamp, word_enum};

use crate::check::World;
use crate::limits::Limits;
use crate::rows::{NodeState, Run, TaskKind, TimerKind};
use crate::run::Phase;
use facts::Facts;

/// How late something may be. What is due is done within milliseconds; a machine that was asleep,
/// or a large commit, may take longer.
const GRACE_MS: i64 = 30_000;

word_enum! {
    pub enum Severity {
        /// A row lies, or hangs: no gateway would leave it so.
        Error = "error",
        /// All is as it should be, and waits for a person.
        Warning = "warning",
    }
}

word_enum! {
    /// What is wrong.
    pub enum Fault {
        /// A run is at work, and its gateway has no lease.
        LeaseLost = "lease_lost",
        /// A task is in progress, and nothing carries it.
        NotCarried = "not_carried",
        /// A task is in progress, and its run has ended.
        RunEnded = "run_ended",
        /// A run waits for a slot, and stands in no line.
        InNoLine = "in_no_line",
        /// A run waits for something that is over.
        WaitOver = "wait_over",
        /// The time of a run is over, and it goes on.
        DeadlinePassed = "deadline_passed",
        /// A timer is due, and nobody acts on it.
        TimerOverdue = "timer_overdue",
        /// A task was stopped, and goes on.
        StopUnfinished = "stop_unfinished",
        /// A flow has something to do, and does not do it.
        FlowStalled = "flow_stalled",
        /// A task has ended, and its requester was told nothing.
        AnnounceMissing = "announce_missing",
        /// An input waits in a session in which nothing runs.
        NotTakenIn = "not_taken_in",
        /// What was to be told reached nobody.
        DeadLetter = "dead_letter",
        /// A task is open whose result nobody could take.
        NoTaker = "no_taker",
        /// Nobody knows whether a tool call was carried out, and nobody has looked.
        OutcomeUnknown = "outcome_unknown",
        /// A run waits until a person allows it to spend more.
        OverBudget = "over_budget",
    }
}

impl Fault {
    pub fn severity(self) -> Severity {
        match self {
            Fault::DeadLetter | Fault::NoTaker | Fault::OutcomeUnknown | Fault::OverBudget => {
                Severity::Warning
            }
            _ => Severity::Error,
        }
    }
}

/// One row that lies, hangs, or waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    pub severity: Severity,
    pub fault: Fault,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_id: Option<FlowId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_key: Option<SessionKey>,
    /// One sentence.
    pub what: String,
    /// The command that resolves it.
    pub fix: String,
}

impl Finding {
    fn new(fault: Fault, what: String, fix: String) -> Finding {
        Finding {
            severity: fault.severity(),
            fault,
            task_id: None,
            run_id: None,
            flow_id: None,
            session_key: None,
            what,
            fix,
        }
    }

    /// Of a run, whose task or session is stopped.
    fn of_run(fault: Fault, run: &Run, what: String, fix: String) -> Finding {
        Finding {
            task_id: run.task,
            run_id: Some(run.id),
            session_key: Some(run.session_key.clone()),
            ..Finding::new(fault, what, fix)
        }
    }
}

/// What has ended before this may be forgotten: rows are kept for so long.
pub fn since(now: Timestamp, limits: &Limits) -> Timestamp {
    let keep = i64::try_from(limits.retention.keep.as_millis()).unwrap_or(i64::MAX);
    Timestamp(now.ms().saturating_sub(keep))
}

/// Looks at all rows that are open, and at those that have ended lately.
pub fn audit(world: &World, now: Timestamp, limits: &Limits) -> Vec<Finding> {
    let facts = &Facts::of(world, now, since(now, limits));
    let mut found = Vec::new();
    carried(facts, &mut found);
    at_work(facts, &mut found);
    wait::waits(facts, &mut found);
    if !facts.draining {
        late(facts, &mut found);
    }
    flow::flows(facts, &mut found);
    heard::announces(facts, &mut found);
    heard::inputs(facts, &mut found);
    heard::takers(facts, &mut found);
    heard::unknown(facts, &mut found);
    found
}

fn cancel(task: TaskId) -> String {
    format!("windlass tasks cancel {task}")
}

fn stop(session: &SessionKey) -> String {
    format!("windlass agent --session-key {session} --message /stop")
}

/// What ends a run, with the task that it carries.
fn stop_run(facts: &Facts<'_>, run: &Run) -> String {
    let carried = run.task.filter(|id| facts.tasks.get(id).is_some_and(|t| t.outcome.is_none()));
    carried.map_or_else(|| stop(&run.session_key), cancel)
}

/// A task in progress is in a run's hands, or stands in a named line; below a stop it is over.
fn carried(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for task in facts.tasks.values().filter(|task| task.outcome.is_none()) {
        let id = task.id;
        let mut add = |fault, what| {
            found.push(Finding {
                task_id: Some(id),
                session_key: Some(task.session_key.clone()),
                flow_id: task.flow,
                ..Finding::new(fault, what, cancel(id))
            });
        };
        if facts.is_stopped(task) {
            add(Fault::StopUnfinished, format!("{id} was stopped, and is still open"));
            continue;
        }
        if task.kind == TaskKind::Flow {
            continue;
        }
        match facts.runs.get(&task.run) {
            None if !facts.briefs.contains(&id) => {
                add(Fault::NotCarried, format!("{id} is in progress, and nothing carries it"));
            }
            Some(run) if run.phase.ended() => {
                let word = run.phase.outcome().map_or("ended", |outcome| outcome.as_str());
                let run = run.id;
                add(Fault::RunEnded, format!("{id} is in progress, and its {run} is {word}"));
            }
            _ => {}
        }
    }
}

/// "Running" is said on the strength of a lease only, and "queued" of a place in a line.
fn at_work(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for run in facts.runs.values() {
        let (id, lane) = (run.id, run.lane);
        if run.phase.holds_slot() && !facts.lease_live(run) {
            let what = format!("{id} is at work, and the gateway that had it is gone");
            // Whatever starts next takes it over.
            let fix = "windlass gateway".to_owned();
            found.push(Finding::of_run(Fault::LeaseLost, run, what, fix));
        }
        let in_line = run.rank.is_some() || facts.has_timer(TimerKind::Debounce, id);
        if run.phase == Phase::Queued && !in_line {
            let what = format!("{id} waits for a slot of {lane}, and stands in no line");
            found.push(Finding::of_run(Fault::InNoLine, run, what, stop_run(facts, run)));
        }
    }
}

/// What is due is done.
fn late(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    let is_late = |due: Timestamp| due.ms().saturating_add(GRACE_MS) < facts.now.ms();
    for run in facts.runs.values().filter(|run| !run.phase.ended()) {
        if let Some(deadline) = run.deadline.filter(|at| is_late(*at)) {
            let what = format!("{} was to end at {deadline}, and is open", run.id);
            let fix = stop_run(facts, run);
            found.push(Finding::of_run(Fault::DeadlinePassed, run, what, fix));
        }
    }
    for timer in facts.world.timers.iter().filter(|timer| is_late(timer.due)) {
        let (kind, subject, due) = (timer.kind, &timer.subject, timer.due);
        let what = format!("the {kind} timer of {subject} was due at {due}");
        found.push(Finding::new(Fault::TimerOverdue, what, "windlass gateway".to_owned()));
    }
}

fn is_draining(world: &World) -> bool {
    let newest = world.nodes.iter().max_by_key(|node| node.started);
    newest.is_some_and(|node| node.state != NodeState::Up)
}
