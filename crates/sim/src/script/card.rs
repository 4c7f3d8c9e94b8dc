//! Plans that are shown and words to a person, among the other calls of an answer.

use types::{Card, InternalCall, PlanStatus, PlanStep};

use super::{Said, internal};
use crate::rng::Rng;

/// Adds such a call to some answers that make calls.
pub(super) fn vary(rng: &mut Rng, said: &mut Said) {
    let Said::Calls(calls) = said else { return };
    if rng.chance(850) {
        return;
    }
    let call = if rng.chance(300) {
        InternalCall::Say { text: "half way".to_owned() }
    } else {
        let steps = 0..rng.below(4);
        let plan = steps
            .map(|n| PlanStep { step: format!("step {n}"), status: *rng.pick(PlanStatus::ALL) });
        InternalCall::Card(Box::new(Card { markdown: None, plan: plan.collect() }))
    };
    calls.push(internal("shown", call));
}
