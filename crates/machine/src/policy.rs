//! Which tools a session has, and what took the others away: one function, asked wherever a tool
//! is offered, called, passed on or explained.
//!
//! ```text
//! profile ─▶ byProvider ─▶ tools ─▶ agents.entries.<id>.tools ─▶ place in the tree
//!         ─▶ tools.subagents.tools ─▶ access ─▶ what the requester may give
//! ```
//!
//! A layer only takes away, so their order decides nothing but which of them is named as the
//! reason. The set is computed when a session is made and when an episode of it begins, kept with
//! the session, and from then on only narrowed: what the configuration denies by now is refused
//! at the call, and what it newly allows comes with the next episode. So it is with the rules for a
//! provider: the set is that of the model that was chosen, and what the rules for the one that is
//! called in its place deny is refused at the call.
//!
//! # Invariants
//!
//! - A child has no tool that its requester has not, unless the configuration lets that requester
//!   give it to that agent.
//! - A read-only session has no tool that changes anything outside this gateway, and neither has
//!   anything below it.

mod entry;
pub mod provider;
mod stored;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use types::{Access, AgentId, EffectClass, word_enum};

use crate::limits::Limits;

pub use entry::{Entry, matches as covers};
pub use provider::{ByProvider, ProviderRules};
pub use stored::{ForChild, for_child, for_existing, now, renew};

/// Tools of a session itself, which change nothing outside the gateway: a read-only session keeps
/// them. What it spawns is read-only as it is.
const INSIDE: &[&str] =
    &["sessions_spawn", "sessions_yield", "sessions_send", "subagents", "flows", "progress_card"];

/// What no sub-agent has: it works to a brief, and what is for all or for a person is not its own.
const NOT_BELOW: &[&str] = &["gateway", "automations", "message"];

/// What a session at the last depth does not have: there is nothing below it.
const NOT_LEAF: &[&str] = &[
    "sessions_spawn",
    "sessions_yield",
    "subagents",
    "sessions_list",
    "sessions_history",
    "sessions_search",
    "agents_list",
    "flows",
];

word_enum! {
    /// A named set of tools to begin with.
    pub enum Profile {
        Minimal = "minimal",
        Coding = "coding",
        Messaging = "messaging",
        Full = "full",
    }
}

impl Profile {
    /// Is the tool one of it?
    pub fn has(self, fact: &ToolFact) -> bool {
        self.entries().iter().any(|text| Entry::of(text).names(fact))
    }

    fn entries(self) -> &'static [&'static str] {
        match self {
            Profile::Minimal => &["session_status", "gateway"],
            Profile::Coding => &[
                "group:fs",
                "group:runtime",
                "group:web",
                "group:memory",
                "group:sessions",
                "group:agents",
                "group:mcp",
                "automations",
            ],
            Profile::Messaging => {
                &["message", "sessions_*", "subagents", "session_status", "group:mcp"]
            }
            Profile::Full => &["*"],
        }
    }
}

word_enum! {
    /// What a session is in its tree, by the depth that may be spawned to now.
    pub enum Role {
        Main = "main",
        Orchestrator = "orchestrator",
        /// It can have no children.
        Leaf = "leaf",
    }
}

impl Role {
    pub fn at(depth: u32, limits: &Limits) -> Role {
        match depth {
            0 => Role::Main,
            depth if depth < limits.spawn_depth_max => Role::Orchestrator,
            _ => Role::Leaf,
        }
    }
}

/// A tool, as far as policy goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToolFact {
    pub name: String,
    pub effect: EffectClass,
    /// Without the `group:` by which entries name them.
    pub groups: Vec<String>,
    /// For people who ask what there is.
    pub description: String,
}

/// `allow`, `alsoAllow` and `deny` of one section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolLists {
    /// Only these, if it is written.
    pub allow: Option<Vec<Entry>>,
    /// These beside `allow`, and beside the profile.
    pub also_allow: Vec<Entry>,
    pub deny: Vec<Entry>,
}

/// `tools`, and what there is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToolRules {
    /// In the order in which a model sees them.
    pub catalogue: Vec<ToolFact>,
    pub profile: Option<Profile>,
    pub lists: ToolLists,
    /// `tools.byProvider`
    pub providers: ByProvider,
    /// `tools.subagents.tools`
    pub subagents: ToolLists,
    /// `agents.entries.<id>`
    pub agents: BTreeMap<AgentId, AgentRules>,
}

/// What one agent's entry says of tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRules {
    /// In the place of that of `tools`.
    pub profile: Option<Profile>,
    pub lists: ToolLists,
    /// `tools.byProvider`
    pub providers: ByProvider,
    /// `subagents.delegateTools`: what it may give to children of an agent without having it.
    pub delegate: BTreeMap<String, Vec<Entry>>,
    /// `loopDetection`: how often the same call may have the same result; none is for ever.
    pub repeats_max: Option<u32>,
}

impl Default for AgentRules {
    fn default() -> AgentRules {
        AgentRules {
            profile: None,
            lists: ToolLists::default(),
            providers: ByProvider::new(),
            delegate: BTreeMap::new(),
            repeats_max: Some(3),
        }
    }
}

/// For whom a set is computed.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    pub agent: &'a AgentId,
    pub depth: u32,
    pub access: Access,
    /// The model that is asked, as `provider/model`.
    pub model: &'a str,
    /// The session that asked for it; none at the root of a tree.
    pub requester: Option<Requester<'a>>,
}

/// What a session may give to those that it spawns.
#[derive(Clone, Debug)]
pub struct Requester<'a> {
    pub agent: &'a AgentId,
    pub has: &'a BTreeSet<String>,
}

/// The tools of a session, and why it has no others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    pub allowed: BTreeSet<String>,
    /// In the order of the catalogue.
    pub removed: Vec<Removed>,
}

/// Why a session does not have a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    pub tool: String,
    pub rule: Rule,
    /// The configuration's key that decides it, if one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Its value, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

word_enum! {
    /// The layer that took a tool away.
    pub enum Rule {
        Profile = "profile",
        /// `tools.byProvider` and that of the agent's entry.
        Provider = "provider",
        /// `tools.allow` and `tools.deny`
        Tools = "tools",
        /// Those of the agent's entry.
        Agent = "agent",
        /// Its place in the tree.
        Role = "role",
        /// `tools.subagents.tools`
        Subagents = "subagents",
        /// Its requester does not have it.
        Requester = "requester",
        /// It is read-only.
        Access = "access",
        /// It was not there when the session's episode began.
        Episode = "episode",
    }
}

/// Computes the tools of a session from the configuration of this moment.
pub fn decide(limits: &Limits, subject: &Subject<'_>) -> Policy {
    let limits = limits.of_agent(subject.agent);
    let mut policy = Policy::default();
    for fact in &limits.tools.catalogue {
        match removed(limits, subject, fact) {
            Some(removed) => policy.removed.push(removed),
            None => {
                policy.allowed.insert(fact.name.clone());
            }
        }
    }
    policy
}

/// The first layer that takes the tool away.
fn removed(limits: &Limits, subject: &Subject<'_>, fact: &ToolFact) -> Option<Removed> {
    let rules = &limits.tools;
    let own = rules.agents.get(subject.agent);
    let entry = format!("agents.entries.{}", subject.agent);
    let of_agent =
        own.and_then(|own| lists(fact, Rule::Agent, &format!("{entry}.tools"), &own.lists));
    by_profile(rules, own, &entry, fact)
        .or_else(|| provider::removed(rules, subject, &entry, fact))
        .or_else(|| lists(fact, Rule::Tools, "tools", &rules.lists))
        .or(of_agent)
        .or_else(|| by_role(limits, subject.depth, fact))
        .or_else(|| {
            let child = subject.depth > 0;
            child
                .then(|| lists(fact, Rule::Subagents, "tools.subagents.tools", &rules.subagents))?
        })
        // A grant to the requester would not help one that is read-only, so that is named first.
        .or_else(|| by_access(subject.access, fact))
        .or_else(|| by_requester(rules, subject, fact))
}

impl Removed {
    fn new(fact: &ToolFact, rule: Rule) -> Removed {
        Removed { tool: fact.name.clone(), rule, key: None, value: None }
    }

    fn by_key(fact: &ToolFact, rule: Rule, key: String, value: &impl Serialize) -> Removed {
        let value = serde_json::to_string(value).expect("words are JSON");
        Removed { key: Some(key), value: Some(value), ..Removed::new(fact, rule) }
    }

    /// One sentence for a model or a person.
    pub fn why(&self) -> String {
        let tool = &self.tool;
        let key = match (&self.key, &self.value) {
            (Some(key), Some(value)) => format!("{key} is {value}"),
            (Some(key), None) => key.clone(),
            _ => String::new(),
        };
        match self.rule {
            Rule::Provider => {
                format!("`{tool}` is denied to this session's model by the configuration: {key}")
            }
            Rule::Profile | Rule::Tools | Rule::Agent | Rule::Subagents => {
                format!("`{tool}` is denied by the configuration: {key}")
            }
            Rule::Role if self.key.is_none() => format!("sub-agents do not have `{tool}`"),
            Rule::Role => {
                format!("`{tool}` is not for a sub-agent at the last depth: {key}")
            }
            Rule::Requester => {
                format!("the session that asked for this one may not give it `{tool}`: {key}")
            }
            Rule::Access => format!(
                "`{tool}` can change things, and this session is read-only (access \
                 \"read-only\"); only whoever asked for it can ask for one with access \"full\""
            ),
            Rule::Episode => format!(
                "`{tool}` was not among the tools of this session when its episode began; it \
                 comes with the next one"
            ),
        }
    }
}

fn by_profile(
    rules: &ToolRules,
    own: Option<&AgentRules>,
    entry: &str,
    fact: &ToolFact,
) -> Option<Removed> {
    let (key, profile) = match own.and_then(|own| own.profile) {
        Some(profile) => (format!("{entry}.tools.profile"), profile),
        None => ("tools.profile".to_owned(), rules.profile?),
    };
    let in_profile = profile.has(fact);
    let also = match own.map(|own| &own.lists.also_allow) {
        Some(also) if !also.is_empty() => also,
        _ => &rules.lists.also_allow,
    };
    let stays = in_profile || also.iter().any(|entry| entry.names(fact));
    (!stays).then(|| Removed::by_key(fact, Rule::Profile, key, &profile))
}

/// Deny wins; then only what is allowed stays, if anything is said of it.
fn lists(fact: &ToolFact, rule: Rule, section: &str, lists: &ToolLists) -> Option<Removed> {
    let named = |entries: &[Entry]| entries.iter().any(|entry| entry.names(fact));
    if named(&lists.deny) {
        return Some(Removed::by_key(fact, rule, format!("{section}.deny"), &lists.deny));
    }
    let allow = lists.allow.as_ref()?;
    let stays = named(allow) || named(&lists.also_allow);
    (!stays).then(|| Removed::by_key(fact, rule, format!("{section}.allow"), allow))
}

fn by_role(limits: &Limits, depth: u32, fact: &ToolFact) -> Option<Removed> {
    let name = fact.name.as_str();
    let role = Role::at(depth, limits);
    if role != Role::Main && NOT_BELOW.contains(&name) {
        return Some(Removed::new(fact, Rule::Role));
    }
    let lacks = role == Role::Leaf && NOT_LEAF.contains(&name);
    let key = "agents.defaults.subagents.maxSpawnDepth".to_owned();
    lacks.then(|| Removed::by_key(fact, Rule::Role, key, &limits.spawn_depth_max))
}

fn by_requester(rules: &ToolRules, subject: &Subject<'_>, fact: &ToolFact) -> Option<Removed> {
    let requester = subject.requester.as_ref()?;
    let granted = grants(rules, requester.agent, subject.agent);
    if requester.has.contains(&fact.name) || granted.iter().any(|entry| entry.names(fact)) {
        return None;
    }
    let key =
        format!("agents.entries.{}.subagents.delegateTools.{}", requester.agent, subject.agent);
    Some(Removed::by_key(fact, Rule::Requester, key, &granted))
}

/// What the configuration lets children of `target` have because `requester` asks for them.
pub fn grants<'a>(rules: &'a ToolRules, requester: &AgentId, target: &AgentId) -> Vec<&'a Entry> {
    let Some(own) = rules.agents.get(requester) else { return Vec::new() };
    let of = |target: &str| own.delegate.get(target).into_iter().flatten();
    of(target.as_str()).chain(of("*")).collect()
}

fn by_access(access: Access, fact: &ToolFact) -> Option<Removed> {
    let changes = fact.effect != EffectClass::Pure && !INSIDE.contains(&fact.name.as_str());
    (access == Access::ReadOnly && changes).then(|| Removed::new(fact, Rule::Access))
}

impl Policy {
    /// Reads what was kept; none if it is damaged.
    pub fn read(text: &str) -> Option<Policy> {
        serde_json::from_str(text).ok()
    }

    /// Why a tool is not there, for the model that has called it; none if it is.
    pub fn refusal(&self, tool: &str) -> Option<String> {
        if self.allowed.contains(tool) {
            return None;
        }
        if let Some(removed) = self.removed.iter().find(|removed| removed.tool == tool) {
            return Some(format!("Refused: {}.", removed.why()));
        }
        let names: Vec<&str> = self.allowed.iter().map(String::as_str).collect();
        Some(format!("There is no tool `{tool}`. There are: {}.", names.join(", ")))
    }

    /// What is left of a set that was kept, by the configuration of this moment.
    pub fn narrowed(self, now: Policy) -> Policy {
        let mut left = Policy::default();
        for tool in now.allowed {
            if self.allowed.contains(&tool) {
                left.allowed.insert(tool);
            } else {
                let mut removed = Removed { tool, rule: Rule::Episode, key: None, value: None };
                if let Some(before) = self.removed.iter().find(|other| other.tool == removed.tool) {
                    (removed.key, removed.value) = (before.key.clone(), before.value.clone());
                }
                left.removed.push(removed);
            }
        }
        left.removed.extend(now.removed);
        left
    }

    /// The rules that took everything away, one phrase each.
    pub fn emptied_by(&self) -> String {
        let mut phrases: Vec<String> = Vec::new();
        for removed in &self.removed {
            let phrase = match (&removed.key, &removed.value) {
                (Some(key), Some(value)) => format!("{key} is {value}"),
                _ => removed.why(),
            };
            if !phrases.contains(&phrase) {
                phrases.push(phrase);
            }
        }
        phrases.join("; ")
    }
}

/// A session on the way from the root of its tree, with what was kept with it.
#[derive(Clone, Debug)]
pub struct Link {
    pub agent: AgentId,
    pub depth: u32,
    pub access: Access,
    /// The model that is asked.
    pub model: String,
    pub kept: Option<Policy>,
}

/// The tools of the last session of a way from the root, at this moment.
pub fn along(limits: &Limits, way: Vec<Link>) -> Policy {
    let mut above: Option<(AgentId, Policy)> = None;
    for link in way {
        let requester =
            above.as_ref().map(|(agent, policy)| Requester { agent, has: &policy.allowed });
        let (agent, depth, access, model) =
            (&link.agent, link.depth, link.access, link.model.as_str());
        let now = decide(limits, &Subject { agent, depth, access, model, requester });
        let policy = match link.kept {
            Some(kept) => kept.narrowed(now),
            None => now,
        };
        above = Some((link.agent, policy));
    }
    above.map(|(_, policy)| policy).unwrap_or_default()
}

#[cfg(test)]
mod tests;
