//! Deliverables: a task that has to hand something in has completed when it is there.
//!
//! ```text
//!  answer ─▶ check, by the runtime ─▶ all there ───────────────▶ completed
//!    ▲              │
//!    └── system ◀── missing, twice at most; then ──────────────▶ no_result, and what was missing
//! ```
//!
//! The check is a `pure` tool step of the run that no model has asked for: it has no place in the
//! conversation, so no entry. It is begun again after a crash like any other.

use types::{Deliverables, EffectClass, Hash, RunId};

use crate::answer;
use crate::deadline::text_of;
use crate::effect::{Action, Answer, Check};
use crate::event::{Inbound, Token};
use crate::finish::{End, finish};
use crate::inbox;
use crate::lane;
use crate::rows::{Outcome, Place, Step, StepKind, StepState, Task};
use crate::run::{RunEvent, WaitKind};
use crate::state::State;
use crate::step;
use crate::wait;

/// The name of the step. No tool can have it, and a call of a model that names it has no effect
/// class.
const NAME: &str = "(deliverables)";

/// How often a child is told what is missing.
const TOLD_MAX: u32 = 2;

/// Is this step the machine's own check?
pub fn is_check(step: &Step) -> bool {
    step.effect == Some(EffectClass::Pure) && step.name.as_deref() == Some(NAME)
}

/// What the task of a run has to hand in, if it is to be looked at before the task ends.
fn wanted(state: &mut State<'_>, run: RunId) -> Option<Deliverables> {
    let task = state.run(&run).task?;
    let wanted = state.task(&task).deliverables.clone()?;
    (!wanted.files.is_empty() || wanted.schema.is_some()).then_some(wanted)
}

/// Begins the check of an answer, if its task has something to hand in. Says whether it has.
pub fn begin(state: &mut State<'_>, run: RunId, asked_by: u32) -> bool {
    if wanted(state, run).is_none() {
        return false;
    }
    wait::transition(state, run, RunEvent::ToolsAsked);
    let n = step::new_step(state, run, StepKind::Tool);
    let row = state.step_mut(&(run, n));
    row.asked_by = Some(asked_by);
    row.name = Some(NAME.to_owned());
    row.call_id = Some(format!("deliverables-{n}"));
    row.effect = Some(EffectClass::Pure);
    if !step::drains_here(state, run) {
        start(state, run, n);
    }
    true
}

/// Asks the runtime to look.
pub fn start(state: &mut State<'_>, run: RunId, n: u32) {
    let token = lane::token(state, run);
    let asked_by = state.step(&(run, n)).asked_by.unwrap_or(0);
    let wanted = wanted(state, run).unwrap_or_default();
    let row = state.run(&run);
    let (session, session_id) = (row.session_key.clone(), row.session_id);
    let check = Check { run, token, step: n, asked_by, session, session_id, wanted };
    state.actions.push(Action::Check(check));
}

/// The runtime has looked.
pub fn on_checked(
    state: &mut State<'_>,
    run: RunId,
    life: Token,
    n: u32,
    missing: &[String],
) -> Answer {
    if !step::is_current(state, run, life, Some(n)) || !is_check(state.step(&(run, n))) {
        return Answer::Fenced;
    }
    close(state, run, n, StepState::Done);
    state.step_mut(&(run, n)).result_hash = Some(Hash::of(missing.join("\n")));
    state.run_mut(&run).recoveries = 0;
    if step::ends_here(state, run) {
        return Answer::Done;
    }
    // Something has been asked for in its name meanwhile, or has come for it: it answers again, and
    // is looked at again.
    if wait::wait_for_children(state, run) > 0 {
        wait::rest(state, run, WaitKind::Children);
        return Answer::Done;
    }
    if answer::reads_on(state, run) {
        return Answer::Done;
    }
    if missing.is_empty() {
        let text = answer_of(state, run, n);
        finish(state, run, End { outcome: Outcome::Completed, text, error: None, quiet: false });
    } else {
        send_back(state, run, n, missing);
    }
    Answer::Done
}

/// Closes a check. It has no entry: nobody has called it.
pub fn close(state: &mut State<'_>, run: RunId, n: u32, to: StepState) {
    let now = state.now();
    let step = state.step_mut(&(run, n));
    step.state = to;
    step.ended = Some(now);
}

/// The whole text of the answer that was looked at.
fn answer_of(state: &mut State<'_>, run: RunId, n: u32) -> Option<String> {
    let asked_by = state.step(&(run, n)).asked_by.unwrap_or(0);
    let (_, body) = state.tx().answer_before(run, asked_by + 1)?;
    text_of(&body)
}

/// Tells the child what is missing, or ends its task if it has been told often enough.
fn send_back(state: &mut State<'_>, run: RunId, n: u32, missing: &[String]) {
    let row = state.run(&run).clone();
    let key = |times: u32| format!("missing:{run}:{times}");
    let mut times = 1;
    while state.tx().inbox_by_idem(&row.session_key, &key(times)).is_some() {
        times += 1;
    }
    if times > TOLD_MAX {
        let why = format!("what it had to hand in is missing: {}", missing.join("; "));
        let text = answer_of(state, run, n);
        finish(state, run, End { text, ..End::without_answer(Outcome::NoResult, &why) });
        return;
    }
    let list: String = missing.iter().map(|one| format!("- {one}\n")).collect();
    let body = format!(
        "[System] Your answer was not taken, because something that you have to hand in is \
         missing:\n{list}Put it right, then answer again in full: only your last answer counts. \
         This is time {times} of {TOLD_MAX}; after that the task ends without a result."
    );
    let inbound = Inbound::system(row.session_key, row.origin, key(times), body);
    let seq = inbox::put(state, &inbound, Place::Steer);
    state.inbox_mut(&seq).run = Some(run);
    step::go_on(state, run);
}

/// The brief of a task with what it has to hand in: a child that knows it seldom has to be told.
pub fn brief(task: &Task, brief: &str) -> String {
    let Some(wanted) = &task.deliverables else { return brief.to_owned() };
    let mut body = format!("{brief}\n\n[System] Before this task counts as completed, ");
    match (wanted.files.is_empty(), &wanted.schema) {
        (true, None) => return brief.to_owned(),
        (false, None) => body += "these files must exist and not be empty: ",
        (true, Some(_)) => body += "your final answer is checked. ",
        (false, Some(_)) => {
            body += "your final answer is checked, and these files must exist and not be empty: ";
        }
    }
    if !wanted.files.is_empty() {
        body += &format!("{}. ", wanted.files.join(", "));
    }
    if let Some(schema) = &wanted.schema {
        body +=
            &format!("Your final answer must be JSON and nothing else, of this schema: {schema}");
    }
    body.trim_end().to_owned()
}
