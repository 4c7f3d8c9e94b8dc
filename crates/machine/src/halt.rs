//! What becomes of the calls of a run that was ended while they were out.
//!
//! The commit that ends a run is the end of it: nothing of it is taken any more. What it had out
//! still runs for a moment, and a stop that says "stopped" of a process which lives on lies. The
//! same holds of a run that has left commands running in the background, however it ends. So there
//! is a row for each such run, until somebody has looked:
//!
//! ```text
//!  run ends ──▶ Stopping ──┬─ nothing is left ──────▶ Stopped
//!                          └─ something is there ──▶ Unproved ──▶ looked at again
//! ```
//!
//! # Invariants
//!
//! - A row that is not `Stopped` has a timer, after which it is looked at again; so does a start.
//! - `Stopped` is said once, and for good.
//! - Only a run that has ended has a row, and one that has ended by its own answer only for what it
//!   had in the background.

use std::time::Duration;

use serde_json::{Value, json};
use types::{RunId, SessionKey, TaskId};

use crate::effect::{Action, Answer, Notice, Stopped};
use crate::rows::{Halt, HaltState, TimerKind};
use crate::state::State;

/// If nobody has said by then what he has seen, it is looked again: twice what a stop may take.
pub const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// And so long after something was found.
pub const LOOK_AT_REST: Duration = Duration::from_secs(5);

/// Halts of one tree that an answer lists, and that a start looks at at once.
const HALTS_MAX: usize = 100;

/// The run has ended with something out: that is to be ended too, and somebody is to look.
pub fn begin(state: &mut State<'_>, run: RunId) {
    let asked = state.now();
    let root_key = state.run(&run).root_key.clone();
    let halt = Halt {
        run,
        root_key,
        state: HaltState::Stopping,
        asked,
        looks: 0,
        looked: None,
        pids: Vec::new(),
        calls: 0,
    };
    look(state, halt);
}

fn look(state: &mut State<'_>, halt: Halt) {
    let (run, look) = (halt.run, halt.looks + 1);
    state.tx().put_halt(&Halt { looks: look, ..halt });
    let due = state.now() + LOOK_AGAIN;
    state.set_timer(TimerKind::Halt, run, due);
    state.actions.push(Action::Prove { run, look });
}

/// Somebody has looked: this is left. What an earlier look has seen, or one of a gateway that is
/// gone, counts for nothing.
pub fn on_halted(
    state: &mut State<'_>,
    run: RunId,
    look: u32,
    pids: Vec<u32>,
    calls: u32,
) -> Answer {
    let found = state.tx().halt(run);
    let awaited = |halt: &Halt| halt.state != HaltState::Stopped && halt.looks == look;
    let Some(halt) = found.filter(awaited) else { return Answer::Fenced };
    let now = state.now();
    let over = pids.is_empty() && calls == 0;
    if over {
        state.clear_timer(TimerKind::Halt, run);
    } else {
        state.set_timer(TimerKind::Halt, run, now + LOOK_AT_REST);
    }
    let session = state.run(&run).session_key.clone();
    // The same again is no news.
    if (&halt.pids, halt.calls, halt.looked.is_some()) != (&pids, calls, true) {
        let pids = pids.clone();
        state.notices.push(Notice::Halted { run, session, pids, calls });
    }
    let to = if over { HaltState::Stopped } else { HaltState::Unproved };
    state.tx().put_halt(&Halt { state: to, looked: Some(now), pids, calls, ..halt });
    Answer::Done
}

/// `halt`: nobody has said for a while that it is over.
pub fn look_again(state: &mut State<'_>, run: RunId) {
    let halt = state.tx().halt(run);
    if let Some(halt) = halt.filter(|halt| halt.state != HaltState::Stopped) {
        look(state, halt);
    }
}

/// A gateway has started: whoever was to look is gone. The timers have the rest of a long list.
pub fn look_at_all(state: &mut State<'_>) {
    for halt in state.tx().open_halts(None, HALTS_MAX) {
        look(state, halt);
    }
}

/// What a stop has come to when it is committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Runs whose calls are being ended.
    pub runs: Vec<(RunId, SessionKey)>,
    /// Tasks that the cascade has not reached.
    pub tasks: Vec<(TaskId, SessionKey)>,
    /// What an earlier stop in this tree could not prove.
    pub unproved: Vec<(SessionKey, Halt)>,
}

impl Report {
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty() && self.tasks.is_empty() && self.unproved.is_empty()
    }

    /// As a model reads it.
    pub fn json(&self) -> Value {
        let runs = self.runs.iter();
        let runs = runs.map(|(run, session)| json!({ "runId": run, "sessionKey": session }));
        let tasks = self.tasks.iter();
        let tasks = tasks.map(|(task, session)| json!({ "taskId": task, "sessionKey": session }));
        let unproved = self.unproved.iter().map(|(session, halt)| {
            json!({
                "runId": halt.run, "sessionKey": session, "pids": halt.pids, "calls": halt.calls,
            })
        });
        json!({
            "stopping": runs.chain(tasks).collect::<Vec<_>>(),
            "unproved": unproved.collect::<Vec<_>>(),
        })
    }
}

/// Says of what was stopped in the tree of `root` how much is not proved to be over.
pub fn report(state: &mut State<'_>, root: &SessionKey, stopped: &Stopped) -> Report {
    let mut report = Report::default();
    for run in &stopped.runs {
        let open = state.tx().halt(*run).is_some_and(|halt| halt.state != HaltState::Stopped);
        if open {
            report.runs.push((*run, state.run(run).session_key.clone()));
        }
    }
    for id in &stopped.tasks {
        let task = state.task(id);
        if task.outcome.is_none() {
            report.tasks.push((*id, task.session_key.clone()));
        }
    }
    for halt in state.tx().open_halts(Some(root), HALTS_MAX) {
        if halt.state == HaltState::Unproved {
            report.unproved.push((state.run(&halt.run).session_key.clone(), halt));
        }
    }
    report
}

/// What is left of a run, in words.
pub fn left(pids: &[u32], calls: u32) -> String {
    let numbers: Vec<String> = pids.iter().map(u32::to_string).collect();
    match (pids.len(), calls) {
        (0, calls) => format!("{calls} calls have not come back"),
        (_, 0) => format!("these processes live on: {}", numbers.join(", ")),
        (_, calls) => format!(
            "these processes live on: {}, and {calls} calls have not come back",
            numbers.join(", ")
        ),
    }
}
