//! `agents`: who there is, on which models, and how many children they may have.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Serialize, Serializer};
use tools::sandbox::Mode;
use types::{AgentId, Budget, Thinking};

use super::approvals::ExecRules;
use super::bootstrap::{Bootstrap, BootstrapBounds};
use super::compaction::Compaction;
use super::inventory;
use super::model_choice::{self, ModelWish, model, thinking};
use super::model_ref::{ModelChoice, ModelRef};
use super::money::{self, or_default};
use super::section::{Section, Spot};
use super::tool_lists::{self, ByProvider, LoopDetectionOf, Profile, ToolLists};
use super::warm::Warm;

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Agents {
    pub defaults: AgentDefaults,
    /// Never empty; one of them is the default.
    pub entries: BTreeMap<AgentId, Agent>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentDefaults {
    /// None until someone chooses: models come and go faster than releases.
    pub model: Option<ModelChoice>,
    /// What is said of single models.
    pub models: BTreeMap<ModelRef, ModelWish>,
    /// How long models think before they answer; as their providers like if none.
    pub thinking_default: Option<Thinking>,
    pub workspace: PathBuf,
    #[serde(flatten)]
    pub bootstrap: Bootstrap,
    /// The skills of all agents that name none; all there are if none.
    pub skills: Option<Vec<String>>,
    /// Runs of people's sessions at one time, in the whole gateway.
    pub max_concurrent: u32,
    /// Longest time of one run; zero means no limit.
    pub timeout_seconds: u64,
    /// Of each session, with all that it has spawned.
    pub budget: Budget,
    pub compaction: Compaction,
    pub subagents: Subagents,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Subagents {
    /// Runs of children at one time, in the whole gateway.
    pub max_concurrent: u32,
    /// Levels of children below a person's session.
    pub max_spawn_depth: u32,
    /// Open children of one session.
    pub max_children_per_agent: u32,
    /// Tasks of one tree, ended ones among them: an end to a tree that feeds itself.
    pub max_tasks_per_tree: u32,
    /// Longest time of a child's run; zero means no limit.
    pub run_timeout_seconds: u64,
    /// Of children; their agent's own model if none.
    pub model: Option<ModelChoice>,
    /// Of children.
    pub thinking: Option<Thinking>,
    pub allow_agents: AllowAgents,
    /// Must a spawn name its agent?
    pub require_agent_id: bool,
    /// Of each task, unless its spawn says it.
    pub budget: Budget,
    #[serde(flatten)]
    pub warm: Warm,
}

/// One agent, what it does not say itself taken from the defaults.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    pub default: bool,
    pub name: Option<String>,
    pub description: Option<String>,
    pub model: Option<ModelChoice>,
    pub models: BTreeMap<ModelRef, ModelWish>,
    pub thinking_default: Option<Thinking>,
    pub workspace: PathBuf,
    #[serde(flatten)]
    pub bootstrap: BootstrapBounds,
    pub skills: Option<Vec<String>>,
    pub budget: Budget,
    pub subagents: AgentSubagents,
    pub tools: AgentTools,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentSubagents {
    pub model: Option<ModelChoice>,
    pub thinking: Option<Thinking>,
    pub allow_agents: AllowAgents,
    pub require_agent_id: bool,
    pub budget: Budget,
    #[serde(flatten)]
    pub warm: Warm,
    /// Tools that it may give to children of an agent (`*` is any) without having them.
    pub delegate_tools: BTreeMap<String, Vec<String>>,
}

/// Narrows `tools` for one agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentTools {
    /// In the place of `tools.profile`.
    pub profile: Option<Profile>,
    #[serde(flatten)]
    pub lists: ToolLists,
    /// Beside those of `tools`; a profile in the place of theirs.
    #[serde(skip_serializing_if = "ByProvider::is_empty")]
    pub by_provider: ByProvider,
    /// What is not said here is as in `tools.loopDetection`.
    pub loop_detection: LoopDetectionOf,
    /// What is not said here is as in `tools.exec`.
    pub exec: ExecOf,
}

/// What one agent's entry says of its commands.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExecOf {
    pub sandbox: Option<Mode>,
    #[serde(flatten)]
    pub rules: ExecRules,
}

/// As which agents a session may spawn children. Always as its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowAgents {
    Own,
    Any,
    Listed(Vec<AgentId>),
}

impl AllowAgents {
    pub fn allows(&self, requester: &AgentId, target: &AgentId) -> bool {
        requester == target
            || match self {
                AllowAgents::Own => false,
                AllowAgents::Any => true,
                AllowAgents::Listed(ids) => ids.contains(target),
            }
    }
}

impl Serialize for AllowAgents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            AllowAgents::Own => serializer.collect_seq([""; 0]),
            AllowAgents::Any => serializer.collect_seq(["*"]),
            AllowAgents::Listed(ids) => serializer.collect_seq(ids),
        }
    }
}

/// OpenClaw's limit of one run: two days.
const RUN_SECONDS: u64 = 172_800;

impl Agents {
    pub(super) fn read(s: &mut Section<'_>) -> Agents {
        // With several agents OpenClaw wants this; the default agent is explicit here anyway.
        s.ignore("ownership");
        let defaults = s.section("defaults", AgentDefaults::read);
        let mut drafts = Vec::new();
        s.section("entries", |s| {
            s.each(|id, s| {
                let spot = s.spot();
                drafts.extend(Draft::read(id, spot, s, &defaults));
            });
        });
        s.items("list", |s| match s.text("id") {
            Some(id) => drafts.extend(Draft::read(&id, s.spot(), s, &defaults)),
            None => s.cx.error(&s.spot(), "`id` is missing: expected an agent id"),
        });
        let default = default_of(s, &drafts);
        let mut entries: BTreeMap<AgentId, Agent> = BTreeMap::new();
        for Draft { id, spot, mut agent, workspace, .. } in drafts {
            if entries.contains_key(&id) {
                s.cx.error(&spot, format!("there is another agent `{id}`"));
                continue;
            }
            agent.default = id == default;
            agent.workspace = match workspace {
                Some(workspace) => workspace,
                None if agent.default => defaults.workspace.clone(),
                None => s.cx.paths.state.join(format!("workspace-{id}")),
            };
            entries.insert(id, agent);
        }
        if entries.is_empty() {
            entries.insert(default, Agent::only(&defaults));
        }
        Agents { defaults, entries }
    }

    /// Other names of models, in small letters.
    pub fn aliases(&self) -> BTreeMap<String, ModelRef> {
        let own = self.entries.values().flat_map(|agent| &agent.models);
        let all = own.chain(&self.defaults.models);
        all.filter_map(|(model, wish)| Some((wish.alias.as_ref()?.to_lowercase(), model.clone())))
            .collect()
    }

    /// The agent of whoever names none.
    pub fn default_id(&self) -> &AgentId {
        let default = self.entries.iter().find(|(_, agent)| agent.default);
        default.expect("one agent is the default, see `read`").0
    }
}

/// An agent as it is written, before the others are known.
struct Draft {
    id: AgentId,
    spot: Spot,
    agent: Agent,
    workspace: Option<PathBuf>,
    default: Option<bool>,
}

impl Draft {
    fn read(id: &str, spot: Spot, s: &mut Section<'_>, defaults: &AgentDefaults) -> Option<Draft> {
        let parsed: Option<AgentId> = id.parse().ok();
        if parsed.is_none() {
            let form = "a letter or digit, then up to 63 of `a-z 0-9 _ -`";
            s.cx.error(&spot, format!("expected an agent id: {form}; got `{id}`"));
        }
        // Before the model, which may be named by an alias.
        let models = model_choice::wishes(s);
        let agent = Agent {
            default: false,
            name: s.text("name"),
            description: s.text("description"),
            model: model(s, "model").or_else(|| defaults.model.clone()),
            models,
            thinking_default: thinking(s, "thinkingDefault"),
            workspace: PathBuf::new(),
            bootstrap: BootstrapBounds::read(s, defaults.bootstrap.bounds),
            skills: s.texts("skills").or_else(|| defaults.skills.clone()),
            budget: or_default(money::budget(s, "budget"), defaults.budget),
            subagents: s.section("subagents", |s| AgentSubagents {
                model: model(s, "model").or_else(|| defaults.subagents.model.clone()),
                thinking: thinking(s, "thinking").or(defaults.subagents.thinking),
                allow_agents: allow_agents(s)
                    .unwrap_or_else(|| defaults.subagents.allow_agents.clone()),
                require_agent_id: s
                    .flag("requireAgentId")
                    .unwrap_or(defaults.subagents.require_agent_id),
                budget: or_default(money::budget(s, "budget"), defaults.subagents.budget),
                warm: Warm::read(s, &defaults.subagents.warm),
                delegate_tools: delegate_tools(s),
            }),
            tools: s.section("tools", |s| AgentTools {
                profile: s.word("profile", Profile::ALL, &[]),
                lists: ToolLists::read(s),
                by_provider: tool_lists::by_provider(s),
                loop_detection: s.section("loopDetection", LoopDetectionOf::read),
                exec: s.section("exec", |s| ExecOf {
                    sandbox: s.word("sandbox", Mode::ALL, &[]),
                    rules: ExecRules::read(s),
                }),
            }),
        };
        let (workspace, default) = (s.path("workspace"), s.flag("default"));
        Some(Draft { id: parsed?, spot, agent, workspace, default })
    }
}

/// The agent that says so; else `main`; else the first.
fn default_of(s: &mut Section<'_>, drafts: &[Draft]) -> AgentId {
    let mut chosen = drafts.iter().filter(|draft| draft.default == Some(true));
    let first = chosen.next();
    for other in chosen {
        let first = first.map_or("", |draft| draft.id.as_str());
        s.cx.error(&other.spot, format!("`default` is true of `{first}` already"));
    }
    let main = AgentId::main();
    first
        .or_else(|| drafts.iter().find(|draft| draft.id == main))
        .or_else(|| drafts.first())
        .map_or(main, |draft| draft.id.clone())
}

/// Refuses the name of an agent that does not exist, wherever agents are allowed.
pub(super) fn check_allowed(s: &Section<'_>, entries: &BTreeMap<AgentId, Agent>) {
    for (spot, id) in s.cx.agent_refs() {
        if !entries.contains_key(&id) {
            let near = inventory::nearest_word(id.as_str(), entries.keys().map(AgentId::as_str));
            let hint = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            s.cx.error(&spot, format!("no agent `{id}` in `agents.entries`{hint}"));
        }
    }
}

impl AgentDefaults {
    fn read(s: &mut Section<'_>) -> AgentDefaults {
        let workspace = s.path("workspace");
        let models = model_choice::wishes(s);
        AgentDefaults {
            model: model(s, "model"),
            models,
            thinking_default: thinking(s, "thinkingDefault"),
            workspace: workspace.unwrap_or_else(|| s.cx.paths.state.join("workspace")),
            bootstrap: Bootstrap::read(s),
            skills: s.texts("skills"),
            max_concurrent: s.count("maxConcurrent", 1..=1_000).unwrap_or(4),
            timeout_seconds: s.integer("timeoutSeconds", 0..=u64::MAX).unwrap_or(RUN_SECONDS),
            budget: money::budget(s, "budget"),
            compaction: s.section("compaction", Compaction::read),
            subagents: s.section("subagents", Subagents::read),
        }
    }
}

impl Subagents {
    fn read(s: &mut Section<'_>) -> Subagents {
        Subagents {
            max_concurrent: s.count("maxConcurrent", 1..=1_000).unwrap_or(8),
            // OpenClaw allows five. Ten is as deep as a tree was ever seen to help.
            max_spawn_depth: s.count("maxSpawnDepth", 1..=10).unwrap_or(5),
            max_children_per_agent: s.count("maxChildrenPerAgent", 1..=10_000).unwrap_or(5),
            max_tasks_per_tree: s.count("maxTasksPerTree", 1..=10_000).unwrap_or(200),
            run_timeout_seconds: s.integer("runTimeoutSeconds", 0..=u64::MAX).unwrap_or(0),
            model: model(s, "model"),
            thinking: thinking(s, "thinking"),
            allow_agents: allow_agents(s).unwrap_or(AllowAgents::Own),
            require_agent_id: s.flag("requireAgentId").unwrap_or(false),
            budget: money::budget(s, "budget"),
            warm: Warm::read(s, &Warm::default()),
        }
    }
}

impl Agent {
    /// The agent of a gateway whose file names none.
    fn only(defaults: &AgentDefaults) -> Agent {
        Agent {
            default: true,
            name: None,
            description: None,
            model: defaults.model.clone(),
            models: BTreeMap::new(),
            thinking_default: None,
            workspace: defaults.workspace.clone(),
            bootstrap: defaults.bootstrap.bounds,
            skills: defaults.skills.clone(),
            budget: defaults.budget,
            subagents: AgentSubagents {
                model: defaults.subagents.model.clone(),
                thinking: defaults.subagents.thinking,
                allow_agents: defaults.subagents.allow_agents.clone(),
                require_agent_id: defaults.subagents.require_agent_id,
                budget: defaults.subagents.budget,
                warm: defaults.subagents.warm.clone(),
                delegate_tools: BTreeMap::new(),
            },
            tools: AgentTools::default(),
        }
    }
}

/// Reads a list of agents' ids, or of `*` for any.
fn allow_agents(s: &mut Section<'_>) -> Option<AllowAgents> {
    agent_list(s, "allowAgents")
}

/// As [`allow_agents`], under any key.
pub(super) fn agent_list(s: &mut Section<'_>, key: &str) -> Option<AllowAgents> {
    let texts = s.texts(key)?;
    if texts.iter().any(|text| text == "*") {
        return Some(AllowAgents::Any);
    }
    let spot = s.spot_of(key);
    let ids = texts.iter().filter_map(|text| match text.parse::<AgentId>() {
        Ok(id) => Some(id),
        Err(error) => {
            s.cx.error(&spot, error.to_string());
            None
        }
    });
    let ids: Vec<AgentId> = ids.collect();
    for id in &ids {
        s.cx.refer_to_agent(spot.clone(), id.clone());
    }
    Some(AllowAgents::Listed(ids))
}

/// Reads for each agent the tools that its children may have beyond those of this one.
fn delegate_tools(s: &mut Section<'_>) -> BTreeMap<String, Vec<String>> {
    let mut tools = BTreeMap::new();
    s.section("delegateTools", |s| {
        for target in s.keys() {
            let entries = tool_lists::entries(s, &target).unwrap_or_default();
            let spot = s.spot_of(&target);
            match target.parse::<AgentId>() {
                _ if target == "*" => {}
                Ok(id) => s.cx.refer_to_agent(spot, id),
                Err(error) => s.cx.error(&spot, error.to_string()),
            }
            tools.insert(target, entries);
        }
    });
    tools
}
