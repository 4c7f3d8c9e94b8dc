//! Every bound, with its reason and default.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{AgentId, Budget, Name, Price, Reuse, SessionKey, Thinking, word_enum};

use crate::approve::ExecRules;
use crate::held::Held;
use crate::policy::ToolRules;
use crate::queue::{Drop, QueueMode};
use crate::rows::{GateKey, LaneName, Session};

/// Events in one transaction at most: one fsync covers them, and their answers wait for it.
pub const BATCH: usize = 64;

/// Runs that one `Admit` looks at; it raises itself for more.
pub const ADMIT_PAGE: usize = 8;

/// Timers that one `Tick` makes due, and stranded runs that one `Recover` finds.
pub const SWEEP_PAGE: usize = 64;

/// A run that stands in line longer than this says so: after each of these times, once.
pub const QUEUE_NOTICES: [Duration; 3] =
    [Duration::from_secs(2), Duration::from_secs(10), Duration::from_secs(60)];

/// How long inbox rows that are done with, and lines of the journal, are kept. A repeated input
/// is known by its row, so this is also how long an idempotency key answers.
pub const RETENTION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Rows that one look for what is too old deletes. It is a commit of a few ms, between others.
pub const RETENTION_PAGE: usize = 200;

/// Texts that one such look deletes: each may be megabytes.
pub const KEPT_PAGE: usize = 8;

/// How often it is looked for what is too old.
pub const RETENTION_EVERY: Duration = Duration::from_secs(60 * 60);

/// An answer up to this long is in the announce whole; a longer one by its beginning, length and
/// hash. Model context is dear, and the whole text stays readable.
pub const ANNOUNCE_BYTES_MAX: usize = 32 * 1024;

/// How much of a longer answer is in the announce.
pub const ANNOUNCE_HEAD_BYTES: usize = 4 * 1024;

/// Take-overs of a run without a committed step in between. A run that kills its process must
/// not do so for ever.
pub const RECOVERIES_MAX: u32 = 3;

/// How long a node's lease lasts, and how often it is beaten. Readers of the file see the truth
/// at most one lease after a kill.
pub const LEASE: Duration = Duration::from_secs(20);
pub const BEAT: Duration = Duration::from_secs(5);

/// How long an unnamed child is kept idle, if nobody says otherwise: as OpenClaw.
pub const ARCHIVE_AFTER: Duration = Duration::from_secs(60 * 60);

/// Tokens that are kept free for an answer: OpenClaw's `reserveTokens`.
pub const RESERVE_TOKENS: u64 = 20_000;

/// No entry is cut to fewer tokens on its way in, however small a window is.
const ENTRY_TOKENS_MIN: u64 = 256;

/// A session that should be archived at once has open children: it is looked at again so much
/// later, if nothing else happens to it.
pub const ARCHIVE_AGAIN: Duration = Duration::from_secs(60);

/// What the operator has configured, as far as the machine decides on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Runs of each lane at a time.
    pub lanes: BTreeMap<LaneName, u32>,
    pub agents: BTreeMap<AgentId, AgentLimits>,
    /// `models.providers.<id>.limits`, of those providers that have some.
    pub providers: BTreeMap<String, ProviderLimits>,
    /// Usable models, and the context window of each in tokens. Those at an account of their own
    /// too, as `provider/model#account`.
    pub models: BTreeMap<String, u64>,
    /// Other names of models, in small letters.
    pub aliases: BTreeMap<String, String>,
    /// `auth.order`: accounts of a provider, in the order in which they are tried; its own key if
    /// it has none.
    pub accounts: BTreeMap<String, Vec<String>>,
    /// `answersAs`: other names under which models may answer; `*` is any.
    pub answers_as: BTreeMap<String, Vec<String>>,
    /// What is known of single models.
    pub traits: BTreeMap<String, Traits>,
    /// `agents.defaults.thinkingDefault`
    pub thinking: Option<Thinking>,
    /// What a call of each of them can cost.
    pub rates: BTreeMap<String, Rate>,
    /// Where the price of each is from, and what it is: kept with every call that it was used for.
    pub price_ids: BTreeMap<String, String>,
    pub budgets: Budgets,
    /// `agents.defaults.subagents.maxSpawnDepth`
    pub spawn_depth_max: u32,
    /// `agents.defaults.subagents.maxChildrenPerAgent`: open children of one requester.
    pub children_max: u32,
    /// `agents.defaults.subagents.maxTasksPerTree`: open tasks of one tree.
    pub tasks_per_tree_max: u32,
    pub queue: QueueLimits,
    pub send: SendLimits,
    /// Bytes of one input. It is held in memory and in the transaction; what a model is shown of
    /// it is bounded by its window.
    pub message_bytes_max: usize,
    /// Bytes of a tool's result that enter a transcript: every later call sends them again. A
    /// longer one is kept whole beside it.
    pub result_bytes_max: usize,
    /// Rows waiting in one inbox from which on inputs are refused. Announces come all the same:
    /// those are bounded by the tasks.
    pub queued_rows_max: usize,
    /// What tools there are, and who has them.
    pub tools: ToolRules,
    pub retention: Retention,
    pub compaction: Compaction,
    /// Earlier limits, with which open work goes on.
    pub held: Held,
}

/// `agents.defaults.compaction`: when a conversation is made smaller, and what stays of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Before a provider has refused anything.
    pub enabled: bool,
    /// `softRatio`, of 1,000: how much of the room for the prompt may be filled.
    pub soft_permille: u32,
    /// `keepRecentTokens`
    pub keep_recent_tokens: u64,
    /// `memoryFlush.enabled`: are notes taken first?
    pub notes: bool,
}

/// How long what is done with is kept, and how often it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub keep: Duration,
    pub every: Duration,
}

/// `models.providers.<id>.limits`: what one account may be asked for, by all runs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderLimits {
    /// Calls in a minute.
    pub rpm: Option<u32>,
    /// Tokens in a minute, prompts and answers.
    pub tpm: Option<u64>,
    /// Calls at a time.
    pub concurrent: Option<u32>,
}

/// What is known of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Can it be told how long to think?
    pub thinks: bool,
    /// `models.<model>.params.thinking`
    pub thinking: Option<Thinking>,
}

/// What one call of a model can cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// None if nobody knows it.
    pub price: Option<Price>,
    /// Most tokens of an answer.
    pub output_max: u64,
}

/// `budget`: caps of the operator that are not of one agent's sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// `budget.day`: of the whole gateway, on each day of UTC.
    pub day: Budget,
    /// `budget.agent`: of each agent, on each day of UTC.
    pub agent: Budget,
    /// `budget.tree`: of each conversation with all that it has spawned.
    pub tree: Budget,
}

/// `messages.queue`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueLimits {
    pub mode: QueueMode,
    pub debounce: Duration,
    /// Waiting messages of people and agents; over it `drop` decides.
    pub cap: usize,
    pub drop: Drop,
}

/// Who may write to whom, and for how long they may go on answering each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendLimits {
    /// `tools.agentToAgent.enabled`: may sessions of different agents write to each other?
    pub enabled: bool,
    /// `tools.agentToAgent.allow`: which agents may; both must be named. Everyone if none is.
    pub allow: AllowAgents,
    /// `tools.sessions.visibility`
    pub visibility: Visibility,
    /// `session.agentToAgent.maxPingPongTurns`: messages of a chain, each caused by the one
    /// before.
    pub hops_max: u32,
}

word_enum! {
    /// Which sessions of its owner an agent may see and write to. Its own children and its own
    /// requester it may always.
    pub enum Visibility {
        All = "all",
        /// Those of the same agent.
        Agent = "agent",
        /// Those of the same tree of sessions.
        Tree = "tree",
        /// Itself.
        Own = "self",
    }
}

/// What has to be known of a session to tell who may see it.
#[derive(Clone, Copy, Debug)]
pub struct Relation<'a> {
    pub key: &'a SessionKey,
    pub parent: Option<&'a SessionKey>,
    pub root: &'a SessionKey,
}

impl<'a> Relation<'a> {
    pub fn of(session: &'a Session) -> Relation<'a> {
        let Session { key, parent_key, root_key, .. } = session;
        Relation { key, parent: parent_key.as_ref(), root: root_key }
    }
}

impl Visibility {
    /// May `one` see `other`, which belongs to the same owner?
    pub fn shows(self, one: Relation<'_>, other: Relation<'_>) -> bool {
        let related = one.parent == Some(other.key) || other.parent == Some(one.key);
        one.key == other.key
            || related
            || match self {
                Visibility::All => true,
                Visibility::Agent => one.key.agent == other.key.agent,
                Visibility::Tree => one.root == other.root,
                Visibility::Own => false,
            }
    }
}

/// What one agent may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentLimits {
    pub model: String,
    /// What its calls go to when `model` cannot be asked, in order.
    pub fallbacks: Vec<String>,
    /// `subagents.model`: of its children; its own if none.
    pub child_model: Option<String>,
    pub child_fallbacks: Vec<String>,
    /// `thinkingDefault`
    pub thinking: Option<Thinking>,
    /// `models.<model>.params.thinking`
    pub model_thinking: BTreeMap<String, Thinking>,
    /// `subagents.thinking`
    pub child_thinking: Option<Thinking>,
    /// `subagents.allowAgents`: whom it may spawn; itself always.
    pub allow_agents: AllowAgents,
    /// `subagents.requireAgentId`
    pub require_agent: bool,
    /// `subagents.runTimeoutSeconds` for its children; none is no bound.
    pub child_timeout: Option<Duration>,
    /// `timeoutSeconds`: of its runs that a person opens without a bound of their own; none is no
    /// bound.
    pub run_timeout: Option<Duration>,
    /// `subagents.reuse`: which session a spawn goes to that does not say it.
    pub reuse: Reuse,
    /// `subagents.reuseKey`: of its standing helper, for a spawn that names none.
    pub reuse_key: Option<Name>,
    /// `subagents.allowReuseMain`: may a spawn go to its main session?
    pub allow_reuse_main: bool,
    /// `subagents.archiveAfterMinutes`: how long an unnamed child of it is kept idle; none is for
    /// ever.
    pub archive_after: Option<Duration>,
    /// `budget`: of each of its sessions, with all that it has spawned.
    pub budget: Budget,
    /// `subagents.budget`: of each task that it asks for, unless the spawn says it.
    pub child_budget: Budget,
    /// `tools.exec`: which commands it may run, and which a person has to allow.
    pub exec: ExecRules,
}

impl AgentLimits {
    /// An agent on `model` with every other key at its default.
    pub fn of(model: &str) -> AgentLimits {
        AgentLimits {
            model: model.to_owned(),
            fallbacks: Vec::new(),
            child_model: None,
            child_fallbacks: Vec::new(),
            thinking: None,
            model_thinking: BTreeMap::new(),
            child_thinking: None,
            allow_agents: AllowAgents::These(Vec::new()),
            require_agent: false,
            child_timeout: None,
            run_timeout: None,
            reuse: Reuse::Never,
            reuse_key: None,
            allow_reuse_main: false,
            archive_after: Some(ARCHIVE_AFTER),
            budget: Budget::NONE,
            child_budget: Budget::NONE,
            exec: ExecRules::default(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowAgents {
    All,
    These(Vec<AgentId>),
}

/// A name that means no model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no model `{model}` is configured{hint}; known: {known}")]
pub struct NoSuchModel {
    pub model: String,
    pub known: String,
    hint: String,
}

/// Models that an error names at most: more are not read.
const NAMES_MAX: usize = 40;

impl NoSuchModel {
    fn of(text: &str, limits: &Limits) -> NoSuchModel {
        let aliases = limits.aliases.keys().map(String::as_str);
        let names: Vec<&str> = limits.model_names().chain(aliases).collect();
        let slips_max = text.chars().count().div_ceil(3).min(3);
        let slips = |name: &str| slips_between(text, name);
        let near = names.iter().min_by_key(|name| slips(name));
        let near = near.filter(|name| slips(name) <= slips_max);
        let hint = near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        let more = names.len().saturating_sub(NAMES_MAX);
        let mut known = names.into_iter().take(NAMES_MAX).collect::<Vec<_>>().join(", ");
        if more > 0 {
            known += &format!(" and {more} more");
        }
        NoSuchModel { model: text.to_owned(), known, hint }
    }
}

/// Characters that have to be added, left out or changed to make one word of the other.
fn slips_between(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, a) in one.chars().enumerate() {
        let mut corner = row[0];
        row[0] = n + 1;
        for (m, b) in other.iter().enumerate() {
            let changed = corner + usize::from(a != *b);
            corner = row[m + 1];
            row[m + 1] = changed.min(corner + 1).min(row[m] + 1);
        }
    }
    row[other.len()]
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            lanes: BTreeMap::from([
                (LaneName::Main, 4),
                (LaneName::Subagent, 8),
                (LaneName::Cron, 2),
            ]),
            agents: BTreeMap::new(),
            models: BTreeMap::new(),
            aliases: BTreeMap::new(),
            accounts: BTreeMap::new(),
            answers_as: BTreeMap::new(),
            traits: BTreeMap::new(),
            thinking: None,
            rates: BTreeMap::new(),
            price_ids: BTreeMap::new(),
            budgets: Budgets::default(),
            providers: BTreeMap::new(),
            spawn_depth_max: 5,
            children_max: 5,
            tasks_per_tree_max: 200,
            queue: QueueLimits {
                mode: QueueMode::Steer,
                debounce: Duration::from_millis(500),
                cap: 20,
                drop: Drop::Summarize,
            },
            send: SendLimits::default(),
            message_bytes_max: 16 * 1024 * 1024,
            result_bytes_max: 64 * 1024,
            queued_rows_max: 500,
            tools: ToolRules::default(),
            retention: Retention { keep: RETENTION, every: RETENTION_EVERY },
            compaction: Compaction::default(),
            held: Held::default(),
        }
    }
}

impl Default for Compaction {
    fn default() -> Compaction {
        Compaction { enabled: true, soft_permille: 800, keep_recent_tokens: 20_000, notes: true }
    }
}

impl Default for SendLimits {
    fn default() -> SendLimits {
        SendLimits {
            enabled: true,
            allow: AllowAgents::All,
            visibility: Visibility::All,
            hops_max: 5,
        }
    }
}

impl Limits {
    /// Rows that may wait in one inbox: inputs up to their bound, and the results of a whole tree.
    pub fn inbox_rows_max(&self) -> usize {
        self.queued_rows_max + self.tasks_per_tree_max as usize
    }

    /// The model that is meant: by its own name, an alias, or `provider/model@account`.
    ///
    /// # Errors
    ///
    /// There is none: the names that there are, and the one that is nearest.
    pub fn model_named(&self, text: &str) -> Result<String, NoSuchModel> {
        if self.models.contains_key(text) {
            return Ok(text.to_owned());
        }
        // An account may be an address.
        let at_account = text.match_indices('@').map(|(at, _)| {
            let (model, account) = (&text[..at], &text[at + 1..]);
            let model = self.aliases.get(&model.to_lowercase()).map_or(model, String::as_str);
            GateKey::target(model, account)
        });
        let alias = self.aliases.get(&text.to_lowercase()).cloned();
        let mut meant = alias.into_iter().chain(at_account);
        let known = |model: &String| self.models.contains_key(model);
        meant.find(known).ok_or_else(|| NoSuchModel::of(text, self))
    }

    /// Usable models as a person names them: without accounts.
    pub fn model_names(&self) -> impl Iterator<Item = &str> {
        self.models.keys().map(String::as_str).filter(|model| GateKey::base(model) == *model)
    }

    /// Tokens of announces that enter at one boundary: a quarter of the window, so that the
    /// results of a large fan-in cannot push out the task that they are for.
    pub fn announce_tokens(&self, model: &str) -> u64 {
        self.window(model) / 4
    }

    /// The context window of a model, in tokens.
    pub fn window(&self, model: &str) -> u64 {
        self.models.get(model).copied().unwrap_or(128_000)
    }

    /// Tokens of a window that are kept free for the answer: as OpenClaw, and at least what the
    /// model may say, since some providers count both together.
    pub fn reserve(&self, model: &str, window: u64) -> u64 {
        let answer = self.rates.get(model).map_or(0, |rate| rate.output_max);
        RESERVE_TOKENS.min(window / 4).max(answer.min(window / 2))
    }

    /// Tokens of one input that a model is shown: a quarter of its window, so that no message can
    /// push out all others.
    pub fn input_tokens(&self, model: &str) -> u64 {
        (self.window(model) / 4).max(ENTRY_TOKENS_MIN)
    }

    /// Tokens of one tool's result: half of that, since one answer may call several.
    pub fn result_tokens(&self, model: &str) -> u64 {
        (self.window(model) / 8).max(ENTRY_TOKENS_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        let models = ["openai/gpt-5-mini", "openai/gpt-5-mini#work", "x/opus-4"];
        let aliases = [("opus", "x/opus-4"), ("mini", "openai/gpt-5-mini")];
        Limits {
            models: models.map(|model| (model.to_owned(), 1)).into(),
            aliases: aliases.map(|(alias, of)| (alias.to_owned(), of.to_owned())).into(),
            ..Limits::default()
        }
    }

    #[test]
    fn a_model_by_each_of_its_names() {
        for (text, model) in [
            ("openai/gpt-5-mini", Ok("openai/gpt-5-mini")),
            ("OPUS", Ok("x/opus-4")),
            ("mini@work", Ok("openai/gpt-5-mini#work")),
            ("openai/gpt-5-mini@work", Ok("openai/gpt-5-mini#work")),
            ("openai/gpt-5-mini@home", Err("")),
            ("opsu", Err("; did you mean `opus`?")),
            ("openai/gpt5-mini", Err("; did you mean `openai/gpt-5-mini`?")),
            ("nothing/like/it", Err("")),
        ] {
            let known = "openai/gpt-5-mini, x/opus-4, mini, opus";
            let model = model
                .map(str::to_owned)
                .map_err(|hint| format!("no model `{text}` is configured{hint}; known: {known}"));
            let named = limits().model_named(text).map_err(|none| none.to_string());
            assert_eq!(named, model, "{text}");
        }
    }

    #[test]
    fn slips_are_counted() {
        for (one, other, slips) in
            [("", "", 0), ("a", "", 1), ("opus", "opsu", 2), ("gpt", "get", 1)]
        {
            assert_eq!(slips_between(one, other), slips, "{one} {other}");
        }
    }
}
