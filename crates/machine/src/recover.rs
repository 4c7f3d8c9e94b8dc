//! Recovery: what goes on after a cut, by what each open step has been.
//!
//! Nothing is replayed. A run that held a slot for a node that is gone is orphaned: its open
//! steps are looked at, and it goes back in line, ahead of all. From there on it is admitted like
//! any other.
//!
//! | open step | what happens |
//! |---|---|
//! | none | it goes on from where it stands |
//! | model call | closed as failed, booked as estimated, made again as a new step |
//! | `pure`, `idempotent`, `probed`, `internal` tool | started again |
//! | `opaque` tool | closed as unknown: the model is told to check |
//! | waiting for an answer, or to be allowed | it stays, and so does its timer |

use types::{EffectClass, FailureClass, RunId};

use crate::approve;
use crate::effect::{Answer, Cut, Notice};
use crate::event::Event;
use crate::finish::{End, finish};
use crate::halt;
use crate::limits::{RECOVERIES_MAX, SWEEP_PAGE};
use crate::restart;
use crate::rows::{LaneName, Outcome, StepKind, StepState};
use crate::run::WaitKind;
use crate::state::State;
use crate::step::fail_model_step;
use crate::transcript::{Closing, close_tool};
use crate::wait::{self, Turn, back_in_line};

/// Looks for what a lost node has left, a page at a time.
pub fn recover(state: &mut State<'_>) -> Answer {
    let node = state.at.node;
    let stranded = state.tx().stranded_runs(node, SWEEP_PAGE);
    if !stranded.is_empty() {
        state.raised.extend(stranded.into_iter().map(|run| Event::Orphaned { run }));
        state.raised.push(Event::Recover);
        return Answer::Done;
    }
    if restart::bury(state) {
        state.raised.push(Event::Recover);
        return Answer::Done;
    }
    restart::tell(state);
    halt::look_at_all(state);
    // Stops that were cut in the middle of their cascade.
    let cancelled = state.tx().cancelled_open_tasks(SWEEP_PAGE);
    let more = cancelled.len() == SWEEP_PAGE;
    for task in cancelled {
        state.raised.push(Event::StopBelow { task, by: "recovery".to_owned() });
    }
    if more {
        state.raised.push(Event::Recover);
        return Answer::Done;
    }
    // What a flow does next follows in the commit that ends a node; this is for one whose event
    // was rolled back by a bug.
    let mut after = None;
    loop {
        let flows = state.tx().open_flows(after, SWEEP_PAGE);
        state.raised.extend(flows.iter().map(|flow| Event::AdvanceFlow(*flow)));
        if flows.len() < SWEEP_PAGE {
            break;
        }
        after = flows.last().copied();
    }
    state.raised.extend(LaneName::ALL.iter().map(|lane| Event::Admit(*lane)));
    state.raised.push(Event::Tick);
    Answer::Done
}

/// Takes over a run whose node is gone.
pub fn orphaned(state: &mut State<'_>, run: RunId) -> Answer {
    let here = state.at.node;
    let Some(row) = state.find_run(&run) else { return Answer::Done };
    if row.slot.is_none() || row.node == Some(here) {
        return Answer::Done;
    }
    // Counted before it runs again, so that a run which kills its process cannot do so for ever.
    let row = state.run_mut(&run);
    row.recoveries += 1;
    row.generation += 1;
    let (recoveries, session) = (row.recoveries, row.session_key.clone());
    let mut cut = Cut { given_up: recoveries > RECOVERIES_MAX, ..Cut::default() };
    for n in state.tx().open_steps(run) {
        settle(state, run, n, &mut cut);
    }
    state.notices.push(Notice::Recovered { run, session, recoveries, cut });
    if cut.given_up {
        let why = format!(
            "given up: the gateway was lost {recoveries} times in a row while this run was at \
             the same step"
        );
        finish(state, run, End::without_answer(Outcome::Interrupted, &why));
        return Answer::Done;
    }
    let tx = state.tx();
    let (open, waiting) = (!tx.open_steps(run).is_empty(), !tx.waiting_steps(run).is_empty());
    if !open && waiting {
        // What it waits for is still missing, and has its timer.
        let kind = approve::wait_kind(state, run);
        wait::rest(state, run, kind);
    } else if !open && state.run(&run).wait_need > 0 {
        // It had yielded, and the tool beside the yield will not be begun again.
        wait::rest(state, run, WaitKind::Children);
    } else {
        back_in_line(state, run, Turn::First);
    }
    Answer::Done
}

/// Ends a run of which an event could not be applied. Without this it would hold its slot, and its
/// session, until the next start, and then hit the same bug.
pub fn broken(state: &mut State<'_>, run: RunId, why: &str) -> Answer {
    if state.find_run(&run).is_some_and(|row| !row.phase.ended()) {
        let error = Some((FailureClass::Internal, format!("internal error, a bug: {why}")));
        finish(state, run, End { outcome: Outcome::Failed, text: None, error, quiet: false });
    }
    Answer::Done
}

/// Closes a step that must not be begun again, and leaves one that may.
fn settle(state: &mut State<'_>, run: RunId, n: u32, cut: &mut Cut) {
    let step = state.step(&(run, n)).clone();
    match (step.kind, step.effect) {
        // The call was in flight: the provider may charge for it.
        (StepKind::Model, _) => {
            let before = state.run(&run).usage.total();
            fail_model_step(state, run, n, true);
            cut.calls += 1;
            cut.tokens += state.run(&run).usage.total() - before;
        }
        (StepKind::Tool, Some(EffectClass::Opaque) | None) => {
            let text = format!(
                "Interrupted by a gateway restart at {}. The outcome is unknown. Check before \
                 doing it again.",
                state.now()
            );
            let closing = Closing { text: &text, is_error: true, state: StepState::Unknown };
            close_tool(state, run, n, closing);
            cut.unknown += 1;
        }
        (StepKind::Tool, Some(_)) => {}
    }
}
