//! The tool calls of an answer: recorded, judged, and begun.

use types::{CommandLine, EffectClass, Hash, InternalCall, RunId};

use crate::approve;
use crate::context;
use crate::event::{CallPlan, Event, PlannedCall};
use crate::guard;
use crate::internal::is_yield;
use crate::lane::token;
use crate::naming;
use crate::policy;
use crate::rows::{StepKind, StepState};
use crate::run::RunEvent;
use crate::state::State;
use crate::step;
use crate::transcript::{Closing, close_tool};
use crate::wait::transition;

/// Calls of one answer, by what comes of them.
#[derive(Default)]
struct Planned {
    /// They are started.
    external: Vec<u32>,
    /// The machine carries them out.
    own: Vec<(u32, InternalCall)>,
    /// A person is asked.
    asked: Vec<(u32, CommandLine)>,
}

/// Records the tool calls of an answer, and starts those that can be started. A yield comes last,
/// here and after a restart: it waits for what the others have begun.
pub fn plan(state: &mut State<'_>, run: RunId, asked_by: u32, mut calls: Vec<PlannedCall>) {
    transition(state, run, RunEvent::ToolsAsked);
    let session = state.run(&run).session_key.clone();
    let policy = policy::now(state, &session);
    let purpose = state.step(&(run, asked_by)).purpose;
    calls.sort_by_key(|call| matches!(&call.plan, CallPlan::Internal(own) if is_yield(own)));
    let mut answer = guard::Answer::default();
    let mut planned = Planned::default();
    for call in calls {
        // A model can name what it was not given.
        let refused = policy.refusal(&call.name).or_else(|| context::refusal(purpose, &call.name));
        let blocked = guard::blocked(state, run, &mut answer, &call);
        let n = step::new_step(state, run, StepKind::Tool);
        let step = state.step_mut(&(run, n));
        (step.asked_by, step.purpose) = (Some(asked_by), purpose);
        step.name = Some(call.name);
        step.call_id = Some(call.call_id);
        step.args_hash = Some(Hash::of(&call.arguments));
        // What is blocked is not counted again.
        if let Some(why) = blocked {
            let text = refused.unwrap_or(why);
            let closing = Closing { text: &text, is_error: true, state: StepState::Done };
            close_tool(state, run, n, closing);
            continue;
        }
        let plan = refused.map_or(call.plan, CallPlan::Refused);
        plan_one(state, run, n, plan, call.command, &mut planned);
    }
    // The end comes after the calls are recorded: each of them gets its result with it.
    let over = step::ends_here(state, run) || naming::ends(state, run);
    if over || guard::ends(state, run, &answer) {
        return;
    }
    for (n, command) in std::mem::take(&mut planned.asked) {
        approve::ask(state, run, n, &command);
    }
    begin(state, run, planned);
}

/// Finds out what comes of one call.
fn plan_one(
    state: &mut State<'_>,
    run: RunId,
    n: u32,
    plan: CallPlan,
    command: Option<CommandLine>,
    planned: &mut Planned,
) {
    let why = match plan {
        CallPlan::Internal(call) => {
            state.step_mut(&(run, n)).effect = Some(EffectClass::Internal);
            planned.own.push((n, call));
            return;
        }
        CallPlan::External(effect) => {
            state.step_mut(&(run, n)).effect = Some(effect);
            match (approve::judge(state, run, command.as_ref()), command) {
                (approve::Call::Refused(why), _) => why,
                (approve::Call::Waits, Some(command)) => {
                    planned.asked.push((n, command));
                    return;
                }
                _ => {
                    planned.external.push(n);
                    return;
                }
            }
        }
        CallPlan::Refused(why) => why,
    };
    guard::heard(state, run, n, &why, true);
    close_tool(state, run, n, Closing { text: &why, is_error: true, state: StepState::Done });
}

fn begin(state: &mut State<'_>, run: RunId, planned: Planned) {
    if planned.external.is_empty() && planned.own.is_empty() {
        step::after_tool(state, run);
        return;
    }
    if step::drains_here(state, run) {
        return;
    }
    for n in planned.external {
        step::start_tool(state, run, n, false);
    }
    let token = token(state, run);
    for (step, call) in planned.own {
        state.raised.push(Event::InternalCall { run, token, step, call });
    }
}
