//! Nothing is begun that its session may not do.

use std::collections::BTreeMap;

use types::{Access, SessionId, SessionKey};

use super::{Found, World};
use crate::deliver;
use crate::limits::Limits;
use crate::policy::{self, Policy, Rule, Subject};
use crate::rows::{Session, Step, StepKind, StepState};

/// A step whose tool was begun names one that its session has. What was refused has no effect.
pub fn tools_are_allowed(world: &World, found: &mut Found) {
    let mut policies: BTreeMap<&SessionKey, (&Session, Policy)> = BTreeMap::new();
    for session in &world.sessions {
        let Some(hash) = session.policy_hash else { continue };
        match world.policies.get(&hash).and_then(|text| Policy::read(text)) {
            Some(policy) => {
                policies.insert(&session.key, (session, policy));
            }
            None => found.unless(false, "policy", || {
                format!("{} names a policy that is missing or damaged: {hash}", session.key)
            }),
        }
    }
    let began = began(world);
    let runs: BTreeMap<_, _> = world.runs.iter().map(|run| (run.id, run)).collect();
    let tools = world.steps.iter().filter(|step| step.kind == StepKind::Tool);
    // The machine's own look at what was handed in is nobody's call.
    for step in tools.filter(|step| step.effect.is_some() && !deliver::is_check(step)) {
        let Some(run) = runs.get(&step.run) else { continue };
        let Some((session, policy)) = policies.get(&run.session_key) else { continue };
        // What is kept is the policy of the present episode; earlier ones had others.
        let (episode, at) = began.get(&session.session_id).copied().unwrap_or((1, step.started));
        let present = run.session_id == session.session_id && (episode == 1 || step.started > at);
        let name = step.name.as_deref().unwrap_or_default();
        found.unless(!present || policy.allowed.contains(name), "policy", || {
            format!("step {} of {} is a call of `{name}`, which it may not make", step.n, step.run)
        });
    }
}

/// No tool is out that the rules for the model which has asked for it deny.
pub fn providers_are_obeyed(world: &World, limits: &Limits, found: &mut Found) {
    let asked = |step: &Step| {
        let of = |other: &&Step| other.run == step.run && Some(other.n) == step.asked_by;
        world.steps.iter().find(of).and_then(|other| other.model.clone())
    };
    let runs: BTreeMap<_, _> = world.runs.iter().map(|run| (run.id, run)).collect();
    let out = |step: &&Step| step.kind == StepKind::Tool && step.state == StepState::Intent;
    for step in world.steps.iter().filter(out).filter(|step| !deliver::is_check(step)) {
        let (Some(run), Some(model)) = (runs.get(&step.run), asked(step)) else { continue };
        let name = step.name.as_deref().unwrap_or_default();
        let agent = &run.session_key.agent;
        let subject =
            Subject { agent, depth: 0, access: Access::Full, model: &model, requester: None };
        let policy = policy::decide(limits, &subject);
        let denied = policy
            .removed
            .iter()
            .any(|removed| removed.tool == name && removed.rule == Rule::Provider);
        found.unless(!denied, "policy", || {
            format!("step {} of {} calls `{name}`, denied to {model}", step.n, step.run)
        });
    }
}

/// The number of the episode whose policy is kept, of each transcript, and since when: the policy
/// is computed when the episode is pinned.
fn began(world: &World) -> BTreeMap<SessionId, (u32, types::Timestamp)> {
    let mut began = BTreeMap::new();
    for episode in &world.episodes {
        let Some(pinned) = episode.pinned else { continue };
        let last = began.entry(episode.session_id).or_insert((episode.n, pinned));
        if episode.n > last.0 {
            *last = (episode.n, pinned);
        }
    }
    began
}
