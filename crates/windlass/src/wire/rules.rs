//! The configuration's lists of tools, as the machine decides by them, and what tools may do.

use std::time::Duration;

use machine::policy::{AgentRules, ByProvider, Entry, ProviderRules, ToolLists, ToolRules};
use tools::Toolbox;
use tools::web_fetch::Reach;
use windlass::config::{self, Config};

/// All rules, over the tools that this gateway has, and those that servers are known to bring.
pub fn tools(config: &Config, tools: &tools::Config, more: Option<&Toolbox>) -> ToolRules {
    let said = &config.tools;
    let agents = config.agents.entries.iter();
    ToolRules {
        catalogue: runtime::catalogue(&Toolbox::builtin(tools), more),
        profile: said.profile,
        lists: lists(&said.lists),
        providers: by_provider(&said.by_provider),
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
        providers: by_provider(&agent.tools.by_provider),
        delegate: delegate.map(|(target, tools)| (target.clone(), entries(tools))).collect(),
        repeats_max: guard.enabled.then_some(guard.max_repeats),
    }
}

fn by_provider(said: &config::ByProvider) -> ByProvider {
    let rules =
        |of: &config::ProviderTools| ProviderRules { profile: of.profile, lists: lists(&of.lists) };
    said.iter().map(|(key, of)| (key.clone(), rules(of))).collect()
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

/// How pages are fetched.
pub fn web_fetch(said: &config::WebFetch) -> tools::web_fetch::WebFetch {
    let policy = &said.ssrf_policy;
    let base = tools::web_fetch::WebFetch::default();
    tools::web_fetch::WebFetch {
        enabled: said.enabled,
        chars: said.max_chars,
        chars_max: said.max_chars_cap,
        response_bytes_max: said.max_response_bytes,
        timeout: Duration::from_secs(said.timeout_seconds),
        redirects_max: said.max_redirects,
        user_agent: said.user_agent.clone().unwrap_or(base.user_agent),
        readability: said.readability,
        reach: Reach {
            private: policy.dangerously_allow_private_network,
            benchmark: policy.allow_rfc2544_benchmark_range,
            unique_local: policy.allow_ipv6_unique_local_range,
            allowed: policy.allowed_hostnames.clone(),
            blocked: policy.blocked_hostnames.clone(),
        },
    }
}
