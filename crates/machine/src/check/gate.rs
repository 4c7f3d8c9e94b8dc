//! Gates and lines: whoever waits for a provider or a slot will be looked at again.

use std::collections::{BTreeMap, BTreeSet};

use types::{AgentId, RunId};

use super::{Found, World};
use crate::limits::Limits;
use crate::rows::{Gate, GateKey, GateState, Step, StepKind, StepState, TimerKind};
use crate::run::{Phase, WaitKind};

/// Looks at all gates.
pub(super) fn check(world: &World, limits: &Limits, found: &mut Found) {
    let open = |step: &&Step| step.kind == StepKind::Model && step.state == StepState::Intent;
    let agents: BTreeMap<RunId, &AgentId> =
        world.runs.iter().map(|run| (run.id, &run.session_key.agent)).collect();
    // A model that is not configured any more is nobody's: the call itself says so.
    let asks = |step: &&Step| {
        let (Some(agent), Some(model)) = (agents.get(&step.run), &step.model) else { return true };
        limits.models.is_empty() || limits.of_run(step.run, agent).models.contains_key(model)
    };
    let calls: Vec<&Step> = world.steps.iter().filter(open).collect();
    let asking: Vec<&Step> = calls.iter().copied().filter(asks).collect();
    for gate in &world.gates {
        one_probe(gate, &calls, found);
        none_since(gate, &asking, found);
    }
    in_flight(limits, &asking, found);
    waits_end(world, found);
    lines(world, found);
}

/// A probing gate has its probe out.
fn one_probe(gate: &Gate, calls: &[&Step], found: &mut Found) {
    let model = gate.key.reference();
    let probing = gate.state == GateState::Probing;
    let of_probe =
        |step: &&&Step| Some(step.run) == gate.probe && step.model == Some(model.clone());
    let out = calls.iter().filter(of_probe).count();
    found.unless(probing == (gate.probe.is_some() && out == 1), "gates", || {
        format!("{} is {}, and {out} calls of its probe are out", gate.key, gate.state)
    });
}

/// From a closing on, one call is out at most.
fn none_since(gate: &Gate, calls: &[&Step], found: &mut Found) {
    if gate.state == GateState::Open {
        return;
    }
    let model = gate.key.reference();
    let since = |step: &&&Step| {
        step.model.as_ref() == Some(&model) && gate.closed.is_some_and(|at| step.started > at)
    };
    let begun = calls.iter().filter(since).count();
    found.unless(begun <= 1, "gates", || {
        format!("{begun} calls have begun since {} was closed", gate.key)
    });
}

fn in_flight(limits: &Limits, calls: &[&Step], found: &mut Found) {
    let mut out: BTreeMap<GateKey, u32> = BTreeMap::new();
    for step in calls {
        let model = step.model.as_deref().unwrap_or_default();
        *out.entry(GateKey::of_model(model).account_wide()).or_default() += 1;
    }
    for (account, calls) in out {
        let Some(limits) = limits.providers.get(&account.provider) else { continue };
        found.unless(limits.concurrent.is_none_or(|most| calls <= most), "gates", || {
            format!("{calls} calls of `{account}` are out, and {limits:?}")
        });
    }
}

/// A run waits at a gate only if somebody will look at it: the gate of its model or its account
/// has a timer, or the probe is out.
fn waits_end(world: &World, found: &mut Found) {
    let timers = world.timers.iter().filter(|timer| timer.kind == TimerKind::Gate);
    let timers: BTreeSet<&str> = timers.map(|timer| timer.subject.as_str()).collect();
    let gates: BTreeMap<&GateKey, &Gate> =
        world.gates.iter().map(|gate| (&gate.key, gate)).collect();
    let waits = |phase| phase == Phase::Waiting(WaitKind::Gate);
    for run in world.runs.iter().filter(|run| waits(run.phase)) {
        let gate = GateKey::of_model(&run.model);
        let probed = gates.get(&gate).is_some_and(|gate| gate.state == GateState::Probing);
        let timed = |key: &GateKey| timers.contains(key.to_string().as_str());
        let lasts = gates.get(&gate).and_then(|gate| gate.kind).filter(|kind| kind.lasts());
        found.unless(lasts.is_none(), "failover", || {
            format!("{} waits at {gate}, which only a person can open", run.id)
        });
        found.unless(probed || timed(&gate) || timed(&gate.account_wide()), "gates", || {
            format!("{} waits at {gate}, and nobody will open it", run.id)
        });
    }
}

/// A run in line says since when, and is told of when it stands there for long.
fn lines(world: &World, found: &mut Found) {
    for run in world.runs.iter().filter(|run| run.lined.is_some() != run.rank.is_some()) {
        let what =
            |id: RunId| format!("{id} has rank {:?}, in line since {:?}", run.rank, run.lined);
        found.unless(false, "gates", || what(run.id));
    }
}
