//! `agent`, `agent.wait`, and the `agent` event: one run, seen from a program.
//!
//! `agent` is answered twice on one id: [`AgentAccepted`] when the message is stored, then
//! [`AgentFinal`] when the run has ended.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use types::{AgentId, SessionId, SessionKey, Timestamp, word_enum};

use crate::fields::{Fields, InvalidField, SessionRef};
use crate::message::WireUsage;
use crate::method::Params;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentParams {
    pub message: String,
    pub agent: Option<AgentId>,
    /// The agent's main session if none.
    pub session: Option<SessionRef>,
    pub model: Option<String>,
    /// Longest time of the run; zero means no limit.
    pub timeout_seconds: Option<u64>,
    pub extra_system_prompt: Option<String>,
    pub label: Option<String>,
    pub cwd: Option<String>,
    pub idempotency_key: String,
}

impl Params for AgentParams {
    fn read(fields: &Fields<'_>) -> Result<AgentParams, InvalidField> {
        fields.not_supported("attachments")?;
        Ok(AgentParams {
            message: fields.required_text("message")?,
            agent: fields.agent("agentId")?,
            session: fields.session("sessionKey")?,
            model: fields.text("model")?,
            timeout_seconds: fields.integer("timeout", 0..=u64::MAX)?,
            extra_system_prompt: fields.text("extraSystemPrompt")?,
            label: fields.text("label")?,
            cwd: fields.text("cwd")?,
            idempotency_key: fields.required_text("idempotencyKey")?,
        })
    }
}

/// The first answer to `agent`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentAccepted {
    /// Always `accepted`.
    pub status: Accepted,
    pub run_id: String,
    pub session_key: SessionKey,
    pub agent_id: AgentId,
    pub accepted_at: Timestamp,
}

word_enum! {
    pub enum Accepted {
        Accepted = "accepted",
    }
}

word_enum! {
    pub enum AgentStatus {
        Ok = "ok",
        Error = "error",
        /// Only of `agent.wait`: the wait is over, the run is not.
        Timeout = "timeout",
    }
}

/// The second answer to `agent`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentFinal {
    pub run_id: String,
    pub status: AgentStatus,
    /// `completed`, `aborted`, or what went wrong.
    pub summary: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<AgentResult>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentResult {
    pub payloads: Vec<Payload>,
    pub meta: AgentMeta,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payload {
    pub text: String,
    /// Always null until media are served: clients read the field.
    pub media_url: Option<String>,
}

impl Payload {
    pub fn text(text: impl Into<String>) -> Payload {
        Payload { text: text.into(), media_url: None }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentMeta {
    pub duration_ms: u64,
    pub agent_meta: RunMeta,
    pub aborted: bool,
    /// `stop`; `length` for an answer that was cut at its output limit; `aborted`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunMeta {
    pub session_id: SessionId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<WireUsage>,
}

/// How long `agent.wait` waits if nobody says.
const WAIT_MS: u64 = 30_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentWaitParams {
    pub run_id: String,
    pub timeout_ms: u64,
}

impl Params for AgentWaitParams {
    fn read(fields: &Fields<'_>) -> Result<AgentWaitParams, InvalidField> {
        Ok(AgentWaitParams {
            run_id: fields.required_text("runId")?,
            timeout_ms: fields.integer("timeoutMs", 0..=u64::MAX)?.unwrap_or(WAIT_MS),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentWaitResult {
    pub run_id: String,
    pub status: AgentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal_reply: Option<TerminalReply>,
    /// Our own word for how it ended: `status` does not tell a timeout from a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
}

/// The last words of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalReply {
    pub disposition: Disposition,
    pub text: String,
}

word_enum! {
    pub enum Disposition {
        /// There is something to read.
        Reply = "reply",
        /// The agent chose to say nothing.
        Silent = "silent",
    }
}

/// One thing that a run did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentEvent {
    pub run_id: String,
    /// Counts the events of this run.
    pub seq: u64,
    pub ts: Timestamp,
    /// The session of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<SessionKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<SessionKey>,
    #[serde(flatten)]
    pub stream: AgentStream,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "stream", content = "data", rename_all = "camelCase")]
pub enum AgentStream {
    Lifecycle(Lifecycle),
    Assistant {
        /// All text of this answer so far.
        text: String,
        delta: String,
    },
    /// What the model thinks before it speaks. Only to clients with the capability
    /// `thinking-events`, and to all if the session has asked for it.
    Thinking {
        /// All that it has thought in this model call so far.
        text: String,
        delta: String,
    },
    /// A tool call in few words.
    Item(Item),
    /// Only to clients with the capability `tool-events`.
    Tool(ToolEvent),
    /// What the run does now, or what it waits for.
    #[serde(rename = "run_status")]
    RunStatus(RunStatus),
}

impl AgentStream {
    /// Does a later event say all that this one says?
    pub fn is_draft(&self) -> bool {
        matches!(self, AgentStream::Assistant { .. } | AgentStream::Thinking { .. })
    }
}

/// A tool call, at its start and at its end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The same at the start and at the end.
    pub item_id: String,
    pub tool_call_id: String,
    /// The tool.
    pub name: String,
    pub kind: ItemKind,
    pub phase: ItemPhase,
    /// What it is called with, on one line, without secrets.
    pub title: String,
    pub status: ItemStatus,
    pub started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
}

word_enum! {
    pub enum ItemKind {
        Tool = "tool",
    }
}

word_enum! {
    pub enum ItemPhase {
        Start = "start",
        End = "end",
    }
}

word_enum! {
    pub enum ItemStatus {
        Running = "running",
        Completed = "completed",
        Failed = "failed",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunStatus {
    pub phase: RunPhase,
    /// A sentence for people: how many children, which provider, why another try.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

word_enum! {
    /// OpenClaw's words where it has one, else ours.
    pub enum RunPhase {
        /// In line for a slot.
        Queued = "queued",
        PreparingContext = "preparing_context",
        StartingModel = "starting_model",
        /// A model call has failed and is made again.
        Retrying = "retrying",
        /// Another model answers in the place of the one that was asked for.
        Fallback = "fallback",
        /// Notes are written before older messages are summarised.
        MemoryFlushing = "memory_flushing",
        /// Older messages are summarised.
        Compacting = "compacting",
        WaitingChildren = "waiting_children",
        WaitingProvider = "waiting_provider",
        WaitingBudget = "waiting_budget",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum Lifecycle {
    Start {
        started_at: Timestamp,
    },
    End {
        ended_at: Timestamp,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        aborted: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop_reason: Option<String>,
    },
    Error {
        ended_at: Timestamp,
        error: String,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToolEvent {
    Start { name: String, tool_call_id: String, args: Value },
    Result { name: String, tool_call_id: String, is_error: bool, result: Value },
}
