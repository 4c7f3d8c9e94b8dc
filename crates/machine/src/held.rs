//! What open work goes on with when the configuration changes: each run ends with what it began
//! with.
//!
//! ```text
//!  new limits ─▶ new runs, new messages, bounds and lanes for all
//!       └─ held ─▶ runs that were open: model, fallbacks, accounts, prices, windows
//!               └▶ agents that are gone: all of it, for what had been accepted for them
//! ```
//!
//! # Invariants
//!
//! - A run is held if and only if it was open when the limits changed; it is let go at its end.
//! - Nothing new is accepted by what is held: not a message, a spawn or a choice of a model.
//! - What forbids holds for all at once: tools that are denied, commands that have to be allowed,
//!   lanes, limits of providers, budgets.
//!
//! # Not here
//!
//! Nothing of it is stored. After a restart there is one configuration, for all.

use std::collections::BTreeMap;
use std::sync::Arc;

use types::{AgentId, RunId};

use crate::limits::Limits;
use crate::state::State;

/// Earlier limits, and who goes on with them. None of them holds others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Held {
    runs: BTreeMap<RunId, Arc<Limits>>,
    /// Those that are not configured any more: children may still come back to their sessions.
    agents: BTreeMap<AgentId, Arc<Limits>>,
}

impl Held {
    /// Runs that go on with earlier limits.
    pub fn runs(&self) -> usize {
        self.runs.len()
    }
}

impl Limits {
    /// These limits in the place of `before`, while these runs are open.
    #[must_use]
    pub fn in_place_of(self, before: &Limits, open: &[(RunId, AgentId)]) -> Limits {
        let bare = Arc::new(Limits { held: Held::default(), ..before.clone() });
        let began_with = |(run, agent): &(RunId, AgentId)| {
            let held = before.held.of_run(*run, agent, before);
            (*run, held.unwrap_or_else(|| Arc::clone(&bare)))
        };
        let runs = open.iter().map(began_with).collect();
        let mut agents = before.held.agents.clone();
        agents.extend(before.agents.keys().map(|agent| (agent.clone(), Arc::clone(&bare))));
        agents.retain(|agent, _| !self.agents.contains_key(agent));
        Limits { held: Held { runs, agents }, ..self }
    }

    /// A run has ended. Says whether it was held.
    pub fn let_go(&mut self, run: RunId) -> bool {
        self.held.runs.remove(&run).is_some()
    }

    /// What a run of this agent began with.
    pub fn of_run(&self, run: RunId, agent: &AgentId) -> &Limits {
        self.held.runs.get(&run).map_or_else(|| self.of_agent(agent), |held| &**held)
    }

    /// What holds for an agent: as it was when it went, if it is gone.
    pub fn of_agent(&self, agent: &AgentId) -> &Limits {
        self.held.of_agent(agent, self).map_or(self, |held| &**held)
    }
}

impl Held {
    fn of_agent(&self, agent: &AgentId, present: &Limits) -> Option<&Arc<Limits>> {
        if present.agents.contains_key(agent) { None } else { self.agents.get(agent) }
    }

    fn of_run(&self, run: RunId, agent: &AgentId, present: &Limits) -> Option<Arc<Limits>> {
        self.runs.get(&run).or_else(|| self.of_agent(agent, present)).cloned()
    }
}

impl<'a> State<'a> {
    /// What a run works with: what it began with, unless a person has chosen a model for it since
    /// that is newer.
    pub fn limits_of(&mut self, run: RunId) -> &'a Limits {
        let limits = self.limits;
        let row = self.run(&run);
        let held = limits.of_run(run, &row.session_key.agent);
        let chosen =
            !held.models.contains_key(&row.asked) && limits.models.contains_key(&row.asked);
        if chosen { limits } else { held }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::limits::AgentLimits;

    fn agent(id: &str) -> AgentId {
        id.parse().unwrap()
    }

    fn limits(agents: &[(&str, &str)]) -> Limits {
        let of = |(id, model): &(&str, &str)| (agent(id), AgentLimits::of(model));
        Limits { agents: agents.iter().map(of).collect(), ..Limits::default() }
    }

    fn run(n: u128) -> RunId {
        RunId::new(Uuid::from_u128(n))
    }

    /// The model that an agent has, as far as a run of it is concerned.
    fn model(limits: &Limits, run: RunId, id: &str) -> Option<String> {
        let of = limits.of_run(run, &agent(id));
        of.agents.get(&agent(id)).map(|agent| agent.model.clone())
    }

    #[test]
    fn a_run_keeps_what_it_began_with_over_any_number_of_changes() {
        let first = limits(&[("main", "a"), ("ops", "a")]);
        let (early, late, after) = (run(1), run(2), run(3));
        let open = [(early, agent("main"))];
        let second = limits(&[("main", "b")]).in_place_of(&first, &open);
        // One that was opened for `ops` after it had gone, and one of `main` on the new model.
        let open = [(early, agent("main")), (late, agent("main")), (after, agent("ops"))];
        let third = limits(&[("main", "c")]).in_place_of(&second, &open);

        let of = |limits: &Limits, run, id| model(limits, run, id).unwrap_or_default();
        assert_eq!(of(&second, early, "main"), "a");
        assert_eq!(of(&second, late, "main"), "b");
        assert_eq!(of(&second, after, "ops"), "a", "what was accepted for it is done");
        assert_eq!([early, late].map(|run| of(&third, run, "main")), ["a", "b"]);
        assert_eq!(of(&third, after, "ops"), "a");
        assert_eq!(of(&third, run(4), "main"), "c");
        assert_eq!(third.held.runs(), 3);

        let back = limits(&[("main", "d"), ("ops", "d")]).in_place_of(&third, &open[..1]);
        assert_eq!(of(&back, after, "ops"), "d", "it has ended, and its agent is there again");
        assert_eq!(of(&back, early, "main"), "a");
        assert_eq!(back.held.runs(), 1);
    }

    #[test]
    fn a_run_is_let_go_once() {
        let open = [(run(1), agent("main"))];
        let mut limits = limits(&[]).in_place_of(&limits(&[("main", "a")]), &open);
        assert!(limits.let_go(run(1)));
        assert!(!limits.let_go(run(1)));
        assert_eq!(limits.held.runs(), 0);
    }

    #[test]
    fn what_is_held_holds_nothing_itself() {
        let mut before = limits(&[("main", "a")]);
        for n in 0..50 {
            before = limits(&[("main", "b")]).in_place_of(&before, &[(run(n), agent("main"))]);
        }
        let deep = before.held.runs.values().filter(|held| held.held != Held::default());
        assert_eq!(deep.count(), 0);
        assert_eq!(before.held.runs(), 1, "those that have ended are not kept");
    }
}
