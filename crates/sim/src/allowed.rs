//! What must hold of tools when everything has come to rest: nobody has more than was given.

use std::collections::{BTreeMap, BTreeSet};

use machine::policy::{Policy, grants};
use machine::rows::{EntryKind, Run, Session, Step, StepState};
use types::{Access, EffectClass, Hash, RunId, SessionKey, Timestamp};

use crate::world::Sim;

const TOUCHING: &[EffectClass] =
    &[EffectClass::Idempotent, EffectClass::Probed, EffectClass::Opaque];

/// # Panics
///
/// If a child has what its requester may not give, or a call was made too often.
pub fn check(sim: &Sim) {
    let sessions = &sim.disk.world.sessions;
    let by_key: BTreeMap<&SessionKey, &Session> = sessions.iter().map(|s| (&s.key, s)).collect();
    for child in sessions {
        let above = child.parent_key.as_ref().and_then(|key| by_key.get(key));
        // A key that was deleted and taken again names another conversation than the child's
        // requester was. At the call such a child is narrowed by the new one.
        let above = above.filter(|above| above.created <= child.created);
        if let Some(above) = above {
            gives(sim, above, child);
        }
    }
    repeated(sim);
}

fn tools(sim: &Sim, session: &Session) -> Option<BTreeSet<String>> {
    let text = &sim.disk.world.policies[&session.policy_hash?];
    Some(Policy::read(text).expect("a policy is whole").allowed)
}

/// The rules do not change in a simulated life, so what is kept can be compared.
fn gives(sim: &Sim, above: &Session, child: &Session) {
    let read_only = above.access != Access::ReadOnly || child.access == Access::ReadOnly;
    assert!(read_only, "{} may change more than {}", child.key, above.key);
    let (Some(has), Some(given)) = (tools(sim, above), tools(sim, child)) else { return };
    let rules = &sim.limits.tools;
    let granted = grants(rules, &above.agent, &child.agent);
    for tool in given.difference(&has) {
        let fact = rules.catalogue.iter().find(|fact| fact.name == *tool);
        let granted = fact.is_some_and(|fact| granted.iter().any(|entry| entry.names(fact)));
        assert!(granted, "{} has {tool}, which {} has not", child.key, above.key);
    }
}

/// No session has made the same call with the same result more often in a row than it may. An
/// order from outside clears the counts of its tree, so only trees that had one are looked at.
fn repeated(sim: &Sim) {
    let world = &sim.disk.world;
    let runs: BTreeMap<RunId, &Run> = world.runs.iter().map(|run| (run.id, run)).collect();
    let mut orders: BTreeMap<&SessionKey, u32> = BTreeMap::new();
    for entry in world.entries.iter().filter(|entry| entry.kind == EntryKind::User) {
        *orders.entry(&runs[&entry.run].root_key).or_default() += 1;
    }
    // So does what somebody asks for in the name of a session.
    for order in &sim.orders {
        let session = world.sessions.iter().find(|session| session.key == order.session);
        if let Some(session) = session {
            *orders.entry(&session.root_key).or_default() += 1;
        }
    }
    // By session and name, as no call of these lives has other arguments than another: what was
    // heard, at a time. What only looks may look again once something was changed; what the
    // machine does itself has another result each time.
    let mut heard: BTreeMap<(&SessionKey, &str), BTreeMap<Timestamp, Vec<&Step>>> = BTreeMap::new();
    for step in &world.steps {
        let run = runs[&step.run];
        let counts = matches!(step.effect, Some(effect) if TOUCHING.contains(&effect));
        if !counts || orders.get(&run.root_key) != Some(&1) {
            continue;
        }
        let of_call = heard.entry((&run.session_key, step.name.as_deref().unwrap_or_default()));
        if let Some(ended) = step.ended {
            of_call.or_default().entry(ended).or_default().push(step);
        }
    }
    for ((session, name), times) in heard {
        let own = sim.limits.tools.agents.get(&session.agent);
        let max = own.map_or(Some(3), |own| own.repeats_max).unwrap_or(u32::MAX);
        let most = in_a_row(times.into_values());
        assert!(most <= max, "{session} made `{name}` {most} times");
    }
}

/// How often one result was heard in a row at most. Of what was heard at one time nobody knows the
/// order; and that nobody knows what became of a call is another result.
fn in_a_row<'s>(heard: impl Iterator<Item = Vec<&'s Step>>) -> u32 {
    let (mut last, mut times, mut most) = (None, 0, 0);
    for steps in heard {
        let results: BTreeSet<Option<Hash>> = steps
            .iter()
            .map(|step| step.result_hash.filter(|_| step.state == StepState::Done))
            .collect();
        let result = results.first().copied().flatten().filter(|_| results.len() == 1);
        times = if result == last { times } else { 0 };
        last = result;
        if result.is_some() {
            times += steps.len() as u32;
            most = most.max(times);
        }
    }
    most
}
