//! The loop guard: a call that is made again and again, and always has the same result, is blocked.
//!
//! Counted is per session, over restarts and episodes: how often in a row the same call (name and
//! arguments) has had the same result. Another result begins the count anew, so looking at what
//! changes is never blocked. An order from outside (a person's message, a schedule, a hook) clears
//! the counts of its whole tree; a call that may have changed something clears those of calls that
//! only look. A wait that was granted is no repetition.
//!
//! A run that goes on asking for what is blocked is ended: each of its answers costs money.

use std::collections::BTreeMap;

use types::{EffectClass, FailureClass, Hash, RunId, SessionKey};

use crate::effect::Notice;
use crate::event::{CallPlan, PlannedCall};
use crate::finish::{End, finish};
use crate::rows::{InboxKind, Outcome, Repeats};
use crate::state::State;

/// The calls of one answer, counted as they are planned: their results are not known yet.
#[derive(Debug, Default)]
pub struct Answer {
    planned: BTreeMap<Hash, u32>,
    /// A call that was asked for as often again as it is allowed.
    endless: Option<String>,
}

fn call_hash(name: &str, arguments: Hash) -> Hash {
    Hash::of(format!("{name}\n{arguments}"))
}

fn limit(state: &State<'_>, session: &SessionKey) -> Option<u32> {
    match state.limits.of_agent(&session.agent).tools.agents.get(&session.agent) {
        Some(own) => own.repeats_max,
        None => crate::policy::AgentRules::default().repeats_max,
    }
}

/// Why a planned call is not made, if it has been made often enough.
pub fn blocked(
    state: &mut State<'_>,
    run: RunId,
    answer: &mut Answer,
    call: &PlannedCall,
) -> Option<String> {
    let session = state.run(&run).session_key.clone();
    let max = limit(state, &session)?;
    let hash = call_hash(&call.name, Hash::of(&call.arguments));
    let beside = answer.planned.entry(hash).or_default();
    let row = state.tx().repeats(&session, hash);
    let count = row.as_ref().map_or(0, |row| row.count);
    // Of our own calls in one answer each finds what the one before it has done.
    if !matches!(call.plan, CallPlan::Internal(_)) {
        *beside += 1;
    }
    let made = count + beside.saturating_sub(1);
    if made < max {
        return None;
    }
    if let Some(row) = row {
        state.tx().put_repeats(&Repeats { count: count + 1, ..row });
        if count + 1 >= 2 * max {
            answer.endless = Some(call.name.clone());
        }
    }
    let name = call.name.clone();
    state.notices.push(Notice::CallBlocked { run, session, name, count: made });
    Some(format!(
        "Blocked: `{}` was called {made} times with these arguments and had the same result each \
         time. Calling it again changes nothing: use what you have, try something else, or answer. \
         (tools.loopDetection.maxRepeats is {max})",
        call.name
    ))
}

/// Ends a run that asks for nothing but what is blocked. Says whether it did.
pub fn ends(state: &mut State<'_>, run: RunId, answer: &Answer) -> bool {
    let Some(name) = &answer.endless else { return false };
    let session = state.run(&run).session_key.clone();
    let Some(max) = limit(state, &session) else { return false };
    // Whoever goes on with this session is told before it is ended again.
    for hash in answer.planned.keys() {
        if let Some(row) = state.tx().repeats(&session, *hash).filter(|row| row.count > max) {
            state.tx().put_repeats(&Repeats { count: max, ..row });
        }
    }
    let why = format!(
        "stopped by the loop guard: the model went on calling `{name}` after it had been blocked \
         (tools.loopDetection.maxRepeats is {max})"
    );
    let error = Some((FailureClass::InvalidReply, why));
    finish(state, run, End { outcome: Outcome::Failed, text: None, error, quiet: false });
    true
}

/// Counts the result that a call has had.
pub fn heard(state: &mut State<'_>, run: RunId, n: u32, text: &str, is_error: bool) {
    let step = state.step(&(run, n)).clone();
    let session = state.run(&run).session_key.clone();
    let (Some(name), Some(arguments)) = (step.name, step.args_hash) else { return };
    let Some(_) = limit(state, &session) else { return };
    if step.effect.is_some_and(|effect| effect != EffectClass::Pure) && !is_error {
        state.tx().clear_looks(&session);
    }
    if name == "sessions_yield" && !is_error {
        return;
    }
    let (call, result) = (call_hash(&name, arguments), Hash::of(text));
    let before = state.tx().repeats(&session, call).filter(|row| row.result_hash == result);
    let root_key = state.run(&run).root_key.clone();
    state.tx().put_repeats(&Repeats {
        root_key,
        session_key: session,
        call_hash: call,
        result_hash: result,
        count: before.map_or(0, |row| row.count) + 1,
        looks: step.effect == Some(EffectClass::Pure),
    });
}

/// An input has entered a session: an order from outside begins all counts of its tree anew.
pub fn ordered(state: &mut State<'_>, run: RunId, kind: InboxKind) {
    if matches!(kind, InboxKind::User | InboxKind::Cron | InboxKind::Hook) {
        let root = state.run(&run).root_key.clone();
        state.tx().clear_repeats(&root);
    }
}
