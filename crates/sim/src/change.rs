//! The configuration changes while life goes on: agents, models and lanes come and go.

use machine::Event;
use machine::event::{ModelFailure, Overflow};
use machine::limits::Limits;
use machine::rows::{LaneName, NodeState, Run};
use types::{AgentId, FailureClass};

use crate::rng::Rng;
use crate::world::{From, Post, Sim};

/// Does the configuration of this life change? Lives that older seeds have found stay as they were.
pub fn has_changes(seed: u64) -> bool {
    seed % 14 == 4
}

impl Sim {
    /// Puts other limits in the place of the present ones, between two commits, as a driver does.
    pub(crate) fn change_now_and_then(&mut self) {
        let due = has_changes(self.seed) && self.batches.is_none() && self.pending.is_empty();
        let up = self.node_state() == Some(NodeState::Up);
        if due && up && self.now < self.calm && self.rng.chance(80) {
            let limits = changed(&self.base, &mut self.rng);
            self.change(limits);
        }
    }

    /// Puts these limits in the place of the present ones.
    pub fn change(&mut self, limits: Limits) {
        let open = self.disk.world.runs.iter().filter(|run| !run.phase.ended());
        let open: Vec<_> = open.map(|run| (run.id, run.session_key.agent.clone())).collect();
        self.limits = limits.in_place_of(&self.limits, &open);
        self.pending.push_back(Post { event: Event::Reconfigured, from: From::Gateway });
    }

    /// Another process has one configuration, for all: that of the beginning. A start without a
    /// model that somebody was at work with lets him fail, which is not what is looked at here.
    pub(crate) fn begin_anew(&mut self) {
        if has_changes(self.seed) {
            self.limits = self.base.clone();
        }
    }

    /// A run asks the model that it began with, unless its session is bound to one that is gone.
    pub(crate) fn knows_its_model(&self, run: &Run, model: &str) -> Option<ModelFailure> {
        let held = self.limits.of_run(run.id, &run.session_key.agent);
        let known = held.models.contains_key(model) || self.limits.models.contains_key(model);
        if !has_changes(self.seed) || known {
            return None;
        }
        let sessions = &self.disk.world.sessions;
        let session = sessions.iter().find(|session| session.key == run.session_key);
        let chosen = session.is_some_and(|session| session.model.is_some());
        // A process that starts knows nothing of what the one before has held.
        let process = self.disk.world.nodes.iter().find(|node| Some(node.id) == self.node);
        let older = process.is_none_or(|process| run.queued < process.started);
        assert!(chosen || older, "{} of {} asks `{model}`, which is gone", run.id, run.session_key);
        Some(ModelFailure {
            class: FailureClass::UnknownModel,
            message: format!("`{model}` is gone"),
            retry_after_ms: None,
            paid: false,
            overflow: Overflow::default(),
        })
    }
}

/// A configuration like `base`, without an agent or a model that is used, or with other lanes.
fn changed(base: &Limits, rng: &mut Rng) -> Limits {
    let mut limits = base.clone();
    for lane in LaneName::ALL {
        limits.lanes.insert(*lane, 1 + rng.below(4) as u32);
    }
    if rng.chance(400) {
        limits.agents.retain(|agent, _| *agent == AgentId::main());
    }
    if rng.chance(500) {
        for of in ["m", "p/a", "p/a#one", "p/a#two"] {
            let Some(window) = limits.models.remove(of) else { continue };
            let renamed = of.replacen(['m', 'p'], "n", 1);
            limits.models.insert(renamed.clone(), window);
            if let Some(rate) = limits.rates.remove(of) {
                limits.rates.insert(renamed, rate);
            }
        }
        if let Some(accounts) = limits.accounts.remove("p") {
            limits.accounts.insert("n".to_owned(), accounts);
        }
        for agent in limits.agents.values_mut() {
            agent.model = agent.model.replacen(['m', 'p'], "n", 1);
            agent.child_fallbacks.clear();
        }
    }
    limits
}
