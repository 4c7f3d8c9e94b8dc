//! The end of a run, and all that follows from it in the same commit.

use types::{EffectClass, FailureClass, RunId, SessionKey, TaskId};

use crate::announce;
use crate::approve;
use crate::archive;
use crate::context;
use crate::deliver;
use crate::effect::{Action, Notice, RunEnded};
use crate::event::Event;
use crate::flow;
use crate::halt;
use crate::inbox;
use crate::reply;
use crate::rows::{EntryKind, Outcome, Place, StepKind, StepState, TaskKind, TimerKind};
use crate::run::RunEvent;
use crate::state::State;
use crate::step;
use crate::stop;
use crate::transcript::{Closing, close_tool};
use crate::wait::{open_run, stop_waiting, transition};

/// How a run ends.
#[derive(Clone, Debug)]
pub struct End {
    pub outcome: Outcome,
    pub text: Option<String>,
    pub error: Option<(FailureClass, String)>,
    /// The requester has been stopped too: the announce does not wake it.
    pub quiet: bool,
}

impl End {
    /// An end that is not the model's: `why` is what people read.
    pub fn without_answer(outcome: Outcome, why: &str) -> End {
        let error = Some((FailureClass::Internal, why.to_owned()));
        End { outcome, text: None, error, quiet: false }
    }

    pub fn quietly(self) -> End {
        End { quiet: true, ..self }
    }
}

/// The exact answer of an agent that wants nothing sent to the person.
pub const NO_REPLY: &str = "NO_REPLY";

/// The text of an answer, if it says anything to the person.
pub fn said(text: String) -> Option<String> {
    let words = text.trim();
    (!words.is_empty() && words != NO_REPLY).then_some(text)
}

/// Timers that a run may have, but that of a yield, which ends with the wait.
const RUN_TIMERS: [TimerKind; 5] = [
    TimerKind::Retry,
    TimerKind::Deadline,
    TimerKind::DeadlineWarning,
    TimerKind::Debounce,
    TimerKind::QueueNotice,
];

/// Ends a run: its open calls are closed, its task gets its outcome and its requester the
/// announce, its slot is free, and the next run of the session is opened if something waits.
pub fn finish(state: &mut State<'_>, run: RunId, end: End) {
    let closed = close(state, run, end);
    open_next(state, &closed.session);
    context::carry_on(state, &closed.session, &closed.origin);
    go_on(state, &closed);
}

/// Ends a run, and lets the session go on with the row `seq`, whatever else waits there.
pub fn finish_for(state: &mut State<'_>, run: RunId, end: End, seq: i64) {
    let closed = close(state, run, end);
    if state.session(&closed.session).open_run.is_none() {
        open_run(state, &closed.session, seq);
    }
    go_on(state, &closed);
}

/// A run that has ended.
struct Closed {
    session: SessionKey,
    origin: String,
    task: Option<TaskId>,
    quiet: bool,
}

/// What follows once the next run of the session is open: another attempt at a flow's node may
/// begin in this very session, behind what waits there.
fn go_on(state: &mut State<'_>, closed: &Closed) {
    if let Some(task) = closed.task {
        flow::on_task_ended(state, task, closed.quiet);
    }
    archive::on_idle(state, &closed.session);
}

/// All of an end but what the session goes on with.
fn close(state: &mut State<'_>, run: RunId, end: End) -> Closed {
    let was = state.run(&run).clone();
    // Below a stop whose cascade has not come here yet: whoever is above is stopped too, and what
    // is below would not be found any more, since a cascade goes from open task to open task.
    let below_a_stop = step::cancelled_above(state, run);
    if below_a_stop {
        stop::take_along(state, &was);
    }
    let overtaken = below_a_stop && end.outcome != Outcome::Cancelled;
    let end = if overtaken { end.quietly() } else { end };
    let were_out = close_open_steps(state, run, end.outcome);
    approve::abandon(state, run, end.outcome);
    reply::abandon(state, run, end.outcome);
    stop_waiting(state, run);
    transition(state, run, RunEvent::Ended(end.outcome));
    for kind in RUN_TIMERS {
        state.clear_timer(kind, run);
    }
    if was.slot.is_some() {
        state.raised.push(Event::Admit(was.lane));
        if end.outcome != Outcome::Completed {
            state.actions.push(Action::Abort { run });
        }
    }
    let now = state.now();
    let row = state.run_mut(&run);
    row.slot = None;
    row.rank = None;
    row.lined = None;
    row.node = None;
    row.budget = None;
    row.ended = Some(now);
    // A class is the provider's or our failure; a stop or a deadline is neither.
    row.error_class =
        end.error.as_ref().map(|(class, _)| *class).filter(|_| end.outcome == Outcome::Failed);
    row.error = end.error.as_ref().map(|(_, message)| message.clone());
    let session = state.session_mut(&was.session_key);
    session.open_run = None;
    session.active = now;
    session.rev += 1;

    if were_out && was.slot.is_some() || was.background {
        halt::begin(state, run);
    }
    if let Some(task) = was.task {
        end_task(state, task, &end);
    }
    reply::answer_all(state, run, &end);
    inbox::release_rows(state, &was.session_key, run);
    report(state, run, &end);
    context::on_run_ended(state, run, end.outcome);
    let (session, origin) = (was.session_key, was.origin);
    Closed { session, origin, task: was.task, quiet: end.quiet }
}

/// Every call that is out gets its one result, so that the history stays valid. Says whether any
/// was out in the world.
fn close_open_steps(state: &mut State<'_>, run: RunId, outcome: Outcome) -> bool {
    let mut were_out = false;
    for n in state.tx().open_steps(run) {
        if deliver::is_check(state.step(&(run, n))) {
            deliver::close(state, run, n, StepState::Failed);
            continue;
        }
        let step = state.step(&(run, n));
        were_out |= step.effect != Some(EffectClass::Internal);
        match step.kind {
            StepKind::Model => step::fail_model_step(state, run, n, true),
            StepKind::Tool => {
                let text = format!(
                    "The run was ended ({outcome}) before this call had finished. Its outcome is \
                     unknown. Check before doing it again."
                );
                let closing = Closing { text: &text, is_error: true, state: StepState::Unknown };
                close_tool(state, run, n, closing);
            }
        }
    }
    were_out
}

/// Ends a task: its requester gets the announce in the same commit.
pub fn end_task(state: &mut State<'_>, id: TaskId, end: &End) {
    let now = state.now();
    let task = state.task_mut(&id);
    assert!(task.outcome.is_none(), "{id} ended twice");
    task.outcome = Some(end.outcome);
    task.ended = Some(now);
    task.result_hash = announce::result_hash(end);
    let (requester, child) = (task.requester_key.clone(), task.session_key.clone());
    let kind = task.kind;
    let outcome = end.outcome;
    if kind == TaskKind::FlowNode
        && let Some(text) = &end.text
    {
        // Others depend on it, and it is not in any inbox.
        state.tx().add_blob(types::Hash::of(text), text);
    }
    state.notices.push(Notice::TaskEnded { task: id, requester, child, outcome });
    announce::on_task_ended(state, id, end);
}

fn report(state: &mut State<'_>, run: RunId, end: &End) {
    let text = end.text.clone().and_then(said);
    let row = state.run(&run).clone();
    state.notices.push(Notice::RunEnded(RunEnded {
        run,
        wire_id: row.wire_id,
        session: row.session_key,
        session_id: row.session_id,
        outcome: end.outcome,
        text,
        error: row.error,
    }));
}

/// Opens the next run of a session for the oldest row that waits, if there is one.
fn open_next(state: &mut State<'_>, key: &SessionKey) {
    if state.session(key).open_run.is_some() {
        return;
    }
    let limit = state.limits.inbox_rows_max();
    for seq in state.tx().queued_rows(key, limit) {
        if state.inbox(&seq).place != Place::Hold {
            open_run(state, key, seq);
            return;
        }
    }
}

/// Entries that a person has written or caused; for readers of a history.
pub fn is_input(kind: EntryKind) -> bool {
    !matches!(kind, EntryKind::Assistant | EntryKind::ToolResult)
}
