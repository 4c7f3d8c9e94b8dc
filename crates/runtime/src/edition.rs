//! The configuration as work is done with it: the present one, and those that open runs began
//! with.
//!
//! ```text
//!  Handle::reconfigure ─▶ driver, between two commits ─▶ open runs keep theirs, all else: new
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use machine::Limits;
use store::Store;
use tools::{Tool, Toolbox};
use types::{AgentId, RunId, ToolSpec};

use crate::config::Config;
use crate::skills::reader::SkillReader;

/// A configuration, and the built-in tools as it wants them.
#[derive(Debug)]
pub(crate) struct Edition {
    pub config: Arc<Config>,
    pub toolbox: Toolbox,
}

impl Edition {
    /// `toolbox` has what is shared by all editions: the commands that run in the background.
    fn new(config: Arc<Config>, toolbox: Toolbox, store: &Arc<dyn Store>) -> Edition {
        let toolbox = match toolbox.get("read") {
            // `read` reads skills, too.
            Some(read) => {
                let reader = SkillReader::new(read, Arc::clone(store), Arc::clone(&config));
                toolbox.with(Arc::new(reader))
            }
            None => toolbox,
        };
        Edition { config, toolbox }
    }

    /// The tool of this name, built in or of a server.
    pub fn tool(&self, name: &str) -> Option<Arc<dyn Tool>> {
        self.toolbox.get(name).or_else(|| self.more()?.get(name))
    }

    /// What the model sees of all these tools, in a stable order.
    pub fn specs(&self) -> Vec<ToolSpec> {
        let more = self.more().map(|more| more.specs()).unwrap_or_default();
        self.toolbox.specs().into_iter().chain(more).collect()
    }

    /// The tools of servers: there is one set of them, whatever a run began with.
    pub fn more(&self) -> Option<Arc<Toolbox>> {
        Some(self.config.more.as_ref()?.toolbox())
    }
}

/// The editions that are in use.
#[derive(Debug)]
pub(crate) struct Editions {
    pub present: Arc<Edition>,
    /// What the machine decides by: as configured, with the tools that servers have told of since.
    pub limits: Arc<Limits>,
    runs: HashMap<RunId, Arc<Edition>>,
    /// Of agents that are gone, as they were.
    agents: HashMap<AgentId, Arc<Edition>>,
}

impl Editions {
    pub fn new(config: Arc<Config>, store: &Arc<dyn Store>) -> Editions {
        let toolbox = Toolbox::builtin(&config.tools);
        let limits = Arc::clone(&config.limits);
        let present = Arc::new(Edition::new(config, toolbox, store));
        Editions { present, limits, runs: HashMap::new(), agents: HashMap::new() }
    }

    /// What a run of this agent works with.
    pub fn of_run(&self, run: RunId, agent: &AgentId) -> Arc<Edition> {
        let held = self.runs.get(&run).or_else(|| self.of_gone(agent));
        Arc::clone(held.unwrap_or(&self.present))
    }

    /// What holds for an agent: as it was when it went, if it is gone.
    pub fn of_agent(&self, agent: &AgentId) -> Arc<Edition> {
        Arc::clone(self.of_gone(agent).unwrap_or(&self.present))
    }

    fn of_gone(&self, agent: &AgentId) -> Option<&Arc<Edition>> {
        let there = self.present.config.agents.contains_key(agent);
        if there { None } else { self.agents.get(agent) }
    }

    /// Puts another configuration in the place of the present one, for all but these runs.
    pub fn replace(&mut self, config: Config, open: &[(RunId, AgentId)], store: &Arc<dyn Store>) {
        let toolbox = self.present.toolbox.renewed(&config.tools);
        let began_with = |(run, agent): &(RunId, AgentId)| (*run, self.of_run(*run, agent));
        let runs = open.iter().map(began_with).collect();
        let before = Arc::clone(&self.present);
        for agent in before.config.agents.keys() {
            self.agents.insert(agent.clone(), Arc::clone(&before));
        }
        self.agents.retain(|agent, _| !config.agents.contains_key(agent));
        self.runs = runs;
        let limits = Limits::clone(&config.limits);
        self.limits = Arc::new(limits.in_place_of(&self.limits, open));
        self.present = Arc::new(Edition::new(Arc::new(config), toolbox, store));
    }

    /// A run has ended. Says whether it was held.
    pub fn let_go(&mut self, run: RunId) -> bool {
        if self.runs.remove(&run).is_none() {
            return false;
        }
        Arc::make_mut(&mut self.limits).let_go(run)
    }
}
