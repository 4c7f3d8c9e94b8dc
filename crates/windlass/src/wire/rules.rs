//! The configuration's lists of tools, as the machine decides by them.

use machine::policy::{AgentRules, Entry, ToolLists, ToolRules};
use tools::Toolbox;
use windlass::config::{self, Config};

/// All rules, over the tools that this gateway has.
pub fn tools(config: &Config, tools: &tools::Config) -> ToolRules {
    let said = &config.tools;
    let agents = config.agents.entries.iter();
    ToolRules {
        catalogue: runtime::catalogue(&Toolbox::builtin(tools)),
        profile: said.profile,
        lists: lists(&said.lists),
        subagents: lists(&said.subagents.tools),
        agents: agents.map(|(id, agent)| (id.clone(), of_agent(config, agent))).collect(),
    }
}

fn of_agent(config: &Config, agent: &config::Agent) -> AgentRules {
    let guard = config.tools.loop_detection.with(&agent.tools.loop_detection);
    let delegate = agent.subagents.delegate_tools.iter();
    AgentRules {
        profile: agent.tools.profile,
        lists: lists(&agent.tools.lists),
        delegate: delegate.map(|(target, tools)| (target.clone(), entries(tools))).collect(),
        repeats_max: guard.enabled.then_some(guard.max_repeats),
    }
}

fn lists(said: &config::ToolLists) -> ToolLists {
    ToolLists {
        allow: said.allow.as_deref().map(entries),
        also_allow: entries(&said.also_allow),
        deny: entries(&said.deny),
    }
}

fn entries(texts: &[String]) -> Vec<Entry> {
    texts.iter().map(|text| Entry::of(text)).collect()
}
