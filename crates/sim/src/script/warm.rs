//! Spawns that name their session, take a warm one, or branch: whatever fits together or not.

use machine::event::CallPlan;
use types::{Access, InternalCall, Reuse, SpawnContext, SpawnRequest, WhenBusy};

use super::Said;
use crate::rng::Rng;

/// Gives some of the spawns of an answer a session of their choice.
pub(super) fn vary(rng: &mut Rng, said: &mut Said) {
    let Said::Calls(calls) = said else { return };
    for call in calls {
        if let CallPlan::Internal(InternalCall::Spawn(request)) = &mut call.plan
            && rng.chance(800)
        {
            choose(rng, request);
        }
    }
}

fn choose(rng: &mut Rng, request: &mut SpawnRequest) {
    if rng.chance(200) {
        request.when_busy = Some(*rng.pick(WhenBusy::ALL));
    }
    if rng.chance(100) {
        request.access = Access::ReadOnly;
    }
    match rng.below(10) {
        0..5 => {
            let names = [
                "thread:plan",
                "thread:plan",
                "thread:budget",
                "subagent:helper",
                "main",
                "agent:ops:thread:plan",
                "agent:ops:main",
                "cron:nightly",
            ];
            request.session = Some(rng.pick(&names).parse().expect("a session key"));
            request.resume_if_exists = rng.chance(850);
        }
        5..7 => request.reuse = Some(Reuse::Pool),
        7 => {
            request.reuse = Some(Reuse::Key);
            let names = ["helper", "scout"];
            request.reuse_key = rng.chance(800).then(|| rng.pick(&names).parse().expect("a name"));
        }
        8 => request.reuse = Some(Reuse::Main),
        _ => request.context = SpawnContext::Fork,
    }
}
