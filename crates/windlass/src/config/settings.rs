//! `session`, `messages`, `tools` and `logging`: the small sections.

use std::path::PathBuf;

use serde::Serialize;
use tools::sandbox;
use types::word_enum;

use super::approvals::ExecRules;
use super::between::{AgentToAgent, Exchange, SessionTools};
use super::section::Section;
use super::tool_lists::{self, ByProvider, LoopDetection, Profile, SubagentTools, ToolLists};
use super::web::Web;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    pub scope: SessionScope,
    pub agent_to_agent: Exchange,
}

word_enum! {
    pub enum SessionScope {
        /// Each sender, channel and thread has a conversation of its own.
        PerSender = "per-sender",
    }
}

impl Session {
    pub(super) fn read(s: &mut Section<'_>) -> Session {
        let scope = s.word("scope", SessionScope::ALL, &["global"]);
        Session {
            scope: scope.unwrap_or(SessionScope::PerSender),
            agent_to_agent: s.section("agentToAgent", Exchange::read),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Messages {
    pub queue: Queue,
}

/// What becomes of a message that arrives during a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    pub mode: QueueMode,
    /// How long to wait for more before a queued message begins a run.
    pub debounce_ms: u64,
    /// Most messages that wait in one session.
    pub cap: u32,
    pub drop: DropPolicy,
}

word_enum! {
    pub enum QueueMode {
        Steer = "steer",
        Followup = "followup",
        Collect = "collect",
        Interrupt = "interrupt",
    }
}

word_enum! {
    /// What goes when the queue is full.
    pub enum DropPolicy {
        Old = "old",
        New = "new",
        Summarize = "summarize",
    }
}

/// Longest wait for more messages: a minute of silence is the end of any thought.
const DEBOUNCE_MS_MAX: u64 = 60_000;

impl Messages {
    pub(super) fn read(s: &mut Section<'_>) -> Messages {
        Messages { queue: s.section("queue", Queue::read) }
    }
}

impl Queue {
    fn read(s: &mut Section<'_>) -> Queue {
        Queue {
            mode: s.word("mode", QueueMode::ALL, &[]).unwrap_or(QueueMode::Steer),
            debounce_ms: s.integer("debounceMs", 0..=DEBOUNCE_MS_MAX).unwrap_or(500),
            cap: s.count("cap", 1..=1_000).unwrap_or(20),
            drop: s.word("drop", DropPolicy::ALL, &[]).unwrap_or(DropPolicy::Summarize),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tools {
    pub exec: Exec,
    /// What an agent begins with; all there is if none.
    pub profile: Option<Profile>,
    #[serde(flatten)]
    pub lists: ToolLists,
    #[serde(skip_serializing_if = "ByProvider::is_empty")]
    pub by_provider: ByProvider,
    pub subagents: SubagentTools,
    pub loop_detection: LoopDetection,
    pub agent_to_agent: AgentToAgent,
    pub sessions: SessionTools,
    pub web: Web,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exec {
    /// Longest time of one command.
    pub timeout_seconds: u64,
    /// How long a command is waited for before it goes on in the background.
    pub background_ms: u64,
    /// How long one of the background can be looked at after its end.
    pub cleanup_ms: u64,
    /// The walls around commands.
    pub sandbox: sandbox::Mode,
    /// What puts them up.
    pub sandbox_backend: sandbox::Backend,
    /// Folders that may be read inside, beside those of the system.
    pub sandbox_read: Vec<PathBuf>,
    #[serde(flatten)]
    pub rules: ExecRules,
    pub apply_patch: ApplyPatch,
}

/// `tools.exec.applyPatch`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ApplyPatch {
    pub enabled: bool,
}

/// A day: a command that runs longer is a service.
const EXEC_SECONDS_MAX: u64 = 86_400;

impl Tools {
    pub(super) fn read(s: &mut Section<'_>) -> Tools {
        Tools {
            exec: s.section("exec", |s| Exec {
                timeout_seconds: s.integer("timeoutSeconds", 1..=EXEC_SECONDS_MAX).unwrap_or(1_800),
                background_ms: s
                    .integer("backgroundMs", 0..=EXEC_SECONDS_MAX * 1_000)
                    .unwrap_or(10_000),
                // OpenClaw's default and least.
                cleanup_ms: s
                    .integer("cleanupMs", 60_000..=EXEC_SECONDS_MAX * 1_000)
                    .unwrap_or(1_800_000),
                sandbox: s.word("sandbox", sandbox::Mode::ALL, &[]).unwrap_or_default(),
                sandbox_backend: s
                    .word("sandboxBackend", sandbox::Backend::ALL, &[])
                    .unwrap_or(sandbox::Backend::Auto),
                sandbox_read: s.paths("sandboxRead").unwrap_or_default(),
                rules: ExecRules::read(s),
                apply_patch: s.section("applyPatch", |s| ApplyPatch {
                    enabled: s.flag("enabled").unwrap_or(true),
                }),
            }),
            profile: s.word("profile", Profile::ALL, &[]),
            lists: ToolLists::read(s),
            by_provider: tool_lists::by_provider(s),
            subagents: s.section("subagents", |s| SubagentTools {
                tools: s.section("tools", ToolLists::read),
            }),
            loop_detection: s.section("loopDetection", LoopDetection::read),
            agent_to_agent: s.section("agentToAgent", AgentToAgent::read),
            sessions: s.section("sessions", SessionTools::read),
            web: s.section("web", Web::read),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Logging {
    pub level: Level,
}

word_enum! {
    pub enum Level {
        Silent = "silent",
        Fatal = "fatal",
        Error = "error",
        Warn = "warn",
        Info = "info",
        Debug = "debug",
        Trace = "trace",
    }
}

impl Logging {
    pub(super) fn read(s: &mut Section<'_>) -> Logging {
        Logging { level: s.word("level", Level::ALL, &[]).unwrap_or(Level::Info) }
    }
}
