//! Budgets in the spawns and flows of a script: some too small for what is asked.

use machine::event::{CallPlan, PlannedCall};
use types::{Budget, InternalCall, MicroUsd};

use super::Said;
use crate::rng::Rng;

/// Gives some of what is spawned a budget.
pub fn vary(rng: &mut Rng, said: &mut Said) {
    let Said::Calls(calls) = said else { return };
    for PlannedCall { plan, .. } in calls {
        match plan {
            CallPlan::Internal(InternalCall::Spawn(request)) if rng.chance(400) => {
                request.budget = Some(budget(rng));
            }
            CallPlan::Internal(InternalCall::StartFlow(request)) if rng.chance(400) => {
                request.budget = rng.chance(600).then(|| budget(rng));
                for task in &mut request.tasks {
                    task.budget = rng.chance(300).then(|| budget(rng));
                }
            }
            _ => {}
        }
    }
}

fn budget(rng: &mut Rng) -> Budget {
    Budget {
        usd: rng.chance(200).then(|| MicroUsd(10 + rng.below(2_000))),
        tokens: rng.chance(800).then(|| 100 + rng.below(2_500)),
    }
}
