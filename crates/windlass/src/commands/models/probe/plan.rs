//! What a probe may cost, and the configuration that it is played under.

use std::path::Path;

use anyhow::{Context, bail};
use machine::failover;
use machine::limits::Rate;
use types::{Budget, MicroUsd, Thinking};

use super::ProbeArgs;
use super::case::{CALLS_MAX, Case, OUTPUT_MAX, TIME_MAX};
use super::stage::WORKER;
use crate::setup::Setup;
use crate::wire;
use windlass::config::{
    Agent, AgentTools, AllowAgents, AuthMode, Bind, Config, Mode, ModelChoice, ModelEntry,
    ModelRef, ReloadMode, Secret, SubagentTools, ToolLists,
};

/// Tokens of a prompt of a probe, more or less: that of a gateway with the tools of sessions, and
/// a short conversation.
const PROMPT: u64 = 8_000;

/// Tokens of one case, if nobody knows what they cost.
const TOKENS_MAX: u64 = 250_000;

/// The tools of sessions: nothing on this machine is within reach.
const TOOLS: &[&str] = &["sessions_*", "session_status", "subagents", "agents_list"];

#[derive(Debug)]
pub struct Plan {
    pub model: ModelRef,
    pub thinking: Option<Thinking>,
    /// Of all cases together; none if the price is not known.
    pub max: Option<MicroUsd>,
    entry: ModelEntry,
}

impl Plan {
    pub fn of(args: &ProbeArgs, setup: &Setup) -> anyhow::Result<Plan> {
        let limits = setup.limits()?;
        let name = limits.model_named(&args.model).map_err(|error| {
            anyhow::anyhow!(
                "{error}. Another model of a provider is known once \
                 models.providers.<id>.models or agents.defaults.models names it"
            )
        })?;
        let model: ModelRef = name.parse()?;
        if args.thinking.is_some() && !failover::thinks(&limits, &name) {
            bail!(
                "{name} cannot be told how long to think; if it can, say `reasoning: true` in its \
                 entry in models.providers.<id>.models"
            );
        }
        let max = MicroUsd::from_usd(args.max_usd).context("--max-usd")?;
        let mut entry = wire::models::entry(&setup.config, &model)
            .with_context(|| format!("`{name}` names an account; name the model alone"))?;
        entry.max_tokens = entry.max_tokens.min(OUTPUT_MAX);
        let rate = limits.rates.get(&name).copied().unwrap_or_default();
        let max = cap(&name, &rate, max, args.unpriced)?;
        Ok(Plan { model, thinking: args.thinking, max, entry })
    }

    /// Of one case.
    fn budget(&self) -> Budget {
        let cases = Case::ALL.len() as u64;
        match self.max {
            Some(max) => Budget { usd: Some(MicroUsd(max.0 / cases)), tokens: None },
            None => Budget { usd: None, tokens: Some(TOKENS_MAX) },
        }
    }

    /// The upper bound, before anything is spent.
    pub fn words(&self) -> String {
        let cases = Case::ALL.len();
        let cost = match self.max {
            Some(max) => format!("at most {max} in all (--max-usd)"),
            None => format!("at most {TOKENS_MAX} tokens each; its price is not known"),
        };
        format!(
            "{}: {cases} cases of at most {CALLS_MAX} model calls and {} s each; {cost}. Its \
             sub-agents are played by a script and cost nothing.",
            self.model,
            TIME_MAX.as_secs(),
        )
    }

    /// The configuration of whoever asks, as far as it is about this model, and nothing else of
    /// it.
    pub fn config(&self, setup: &Setup, folder: &Path, token: &str) -> Config {
        let mut config = setup.config.clone();
        let gateway = &mut config.gateway;
        (gateway.port, gateway.mode, gateway.bind) = (0, Mode::Local, Bind::Loopback);
        (gateway.auth.mode, gateway.auth.token) = (AuthMode::Token, Some(Secret::new(token)));
        // No file says what it is made of, so none is looked at.
        gateway.reload.mode = ReloadMode::Off;

        let own = |id: &String| *id == self.model.provider || id == "scripted";
        config.models.providers.retain(|id, _| own(id));
        for provider in config.models.providers.values_mut() {
            provider.models.clear();
        }
        if let Some(provider) = config.models.providers.get_mut(&self.model.provider) {
            provider.models.push(self.entry.clone());
        }
        self.shape_agents(&mut config, setup, folder);
        config.tools.profile = None;
        config.tools.lists = ToolLists {
            allow: Some(TOOLS.iter().map(|tool| (*tool).to_owned()).collect()),
            ..ToolLists::default()
        };
        config.tools.by_provider.clear();
        config.tools.subagents = SubagentTools::default();
        config.mcp.servers.clear();
        config.skills.load.extra_dirs.clear();
        config.budget = windlass::config::Budgets { tree: self.budget(), ..Default::default() };
        config
    }

    /// One agent on the model, without a file or a word of anybody's, and its sub-agents.
    fn shape_agents(&self, config: &mut Config, setup: &Setup, folder: &Path) {
        let only = |model: ModelRef| Some(ModelChoice { primary: model, fallbacks: Vec::new() });
        let worker = ModelRef { provider: "scripted".to_owned(), model: WORKER.to_owned() };
        let agents = &mut config.agents;
        let mut agent: Agent = agents.entries[&setup.default_agent()].clone();
        agent.default = true;
        (agent.name, agent.description) = (None, None);
        agent.model = only(self.model.clone());
        agent.models.retain(|model, _| *model == self.model);
        agent.thinking_default = self.thinking.or(agent.thinking_default);
        agent.workspace = folder.join("workspace");
        agent.skills = Some(Vec::new());
        agent.budget = Budget::NONE;
        agent.tools = AgentTools::default();
        let children = &mut agent.subagents;
        children.model = only(worker);
        children.thinking = None;
        children.allow_agents = AllowAgents::Own;
        children.require_agent_id = false;
        children.budget = Budget::NONE;
        children.warm = Default::default();
        children.delegate_tools.clear();

        let defaults = &mut agents.defaults;
        defaults.model = agent.model.clone();
        defaults.models.retain(|model, _| *model == self.model);
        defaults.workspace = agent.workspace.clone();
        defaults.bootstrap.skip_bootstrap = true;
        defaults.skills = None;
        defaults.budget = Budget::NONE;
        defaults.subagents.model = None;
        defaults.subagents.budget = Budget::NONE;
        // The depth, the width and the number of sub-agents that every gateway begins with.
        defaults.subagents.max_spawn_depth = 1;
        defaults.subagents.max_children_per_agent = 5;
        defaults.subagents.max_tasks_per_tree = 20;
        agents.entries = [(types::AgentId::main(), agent)].into();
    }
}

/// What may be spent, if a first call of each case fits into its part.
fn cap(name: &str, rate: &Rate, max: MicroUsd, unpriced: bool) -> anyhow::Result<Option<MicroUsd>> {
    let Some(price) = rate.price else {
        if unpriced {
            return Ok(None);
        }
        bail!(
            "no price of {name} is known, so --max-usd cannot hold: name it in `cost` of its \
             entry in models.providers.<id>.models, or accept {TOKENS_MAX} tokens for each case \
             with --unpriced (as for a model on your own machine)"
        );
    };
    let cases = Case::ALL.len() as u64;
    let call = price.at_most(PROMPT, rate.output_max.min(OUTPUT_MAX));
    let least = MicroUsd(call.0.saturating_mul(cases));
    if least > max {
        bail!(
            "one call of {name} can cost {call}, and each of {cases} cases begins with one: \
             allow at least --max-usd {:.2}",
            (least.usd() * 100.0).ceil() / 100.0
        );
    }
    Ok(Some(max))
}

#[cfg(test)]
mod tests {
    use types::Price;

    use super::*;

    #[test]
    fn a_cap_that_no_call_fits_under_is_refused_before_anything_is_spent() {
        let price: Price =
            serde_json::from_str(r#"{"input":3,"output":15,"cacheRead":0,"cacheWrite":0}"#)
                .unwrap();
        let rate = Rate { price: Some(price), output_max: 64_000 };
        let usd = |usd: f64| MicroUsd::from_usd(usd).unwrap();
        assert_eq!(cap("p/m", &rate, usd(0.5), false).unwrap(), Some(usd(0.5)));
        let error = cap("p/m", &rate, usd(0.1), false).unwrap_err().to_string();
        assert!(error.contains("at least --max-usd 0.26"), "{error}");
        let unknown = Rate { price: None, output_max: 100 };
        let error = cap("p/m", &unknown, usd(0.5), false).unwrap_err().to_string();
        assert!(error.contains("`cost`") && error.contains("--unpriced"), "{error}");
        assert_eq!(cap("p/m", &unknown, usd(0.5), true).unwrap(), None);
    }
}
