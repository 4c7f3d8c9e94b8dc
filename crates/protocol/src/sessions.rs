//! `sessions.list`, `sessions.describe`, `sessions.subscribe`, and the event of a change.

use serde::{Deserialize, Serialize};
use types::{AgentId, SessionId, SessionKey, Timestamp, word_enum};

use crate::administer::TranscriptRow;
use crate::fields::{Fields, InvalidField, SessionRef};
use crate::method::Params;
use crate::receipt::WaitsFor;

/// Most rows of one page.
pub const LIST_LIMIT_MAX: u64 = 1_000;
const LIST_LIMIT: u64 = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListParams {
    pub limit: u64,
    pub offset: u64,
    /// Only those with activity in the last so many minutes.
    pub active_minutes: Option<u64>,
    /// Only those with a run in progress.
    pub active_only: bool,
    pub agent: Option<AgentId>,
    pub spawned_by: Option<SessionRef>,
    pub exclude_subagents: bool,
    /// Only those whose key, label or title contains this.
    pub search: Option<String>,
    pub include_derived_titles: bool,
    pub include_last_message: bool,
}

impl Params for ListParams {
    fn read(fields: &Fields<'_>) -> Result<ListParams, InvalidField> {
        let flag = |name| Ok(fields.boolean(name)?.unwrap_or(false));
        Ok(ListParams {
            limit: fields.integer("limit", 1..=u64::MAX)?.map_or(LIST_LIMIT, clamp_limit),
            offset: fields.integer("offset", 0..=u64::MAX)?.unwrap_or(0),
            active_minutes: fields.integer("activeMinutes", 1..=u64::MAX)?,
            active_only: flag("activeOnly")?,
            agent: fields.agent("agentId")?,
            spawned_by: fields.parsed("spawnedBy", "a session key such as `agent:main:main`")?,
            exclude_subagents: flag("excludeSubagents")?,
            search: fields.text("search")?,
            include_derived_titles: flag("includeDerivedTitles")?,
            include_last_message: flag("includeLastMessage")?,
        })
    }
}

/// The protocol sets no upper limit, so a larger wish is met in part and not refused.
fn clamp_limit(limit: u64) -> u64 {
    limit.min(LIST_LIMIT_MAX)
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeParams {
    pub session: SessionRef,
    pub include_derived_titles: bool,
    pub include_last_message: bool,
}

impl Params for DescribeParams {
    fn read(fields: &Fields<'_>) -> Result<DescribeParams, InvalidField> {
        Ok(DescribeParams {
            session: fields.required_session("key")?,
            include_derived_titles: fields.boolean("includeDerivedTitles")?.unwrap_or(false),
            include_last_message: fields.boolean("includeLastMessage")?.unwrap_or(false),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscribeParams {}

impl Params for SubscribeParams {
    fn read(_: &Fields<'_>) -> Result<SubscribeParams, InvalidField> {
        Ok(SubscribeParams {})
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubscribeResult {
    pub subscribed: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListResult {
    pub ts: Timestamp,
    /// The database.
    pub path: String,
    /// Rows of this page.
    pub count: u64,
    pub total_count: u64,
    pub limit_applied: u64,
    pub has_more: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    pub defaults: ModelDefaults,
    pub sessions: Vec<SessionRow>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelDefaults {
    pub model_provider: Option<String>,
    pub model: Option<String>,
    pub context_tokens: Option<u64>,
}

/// The result of `sessions.describe`: nothing if there is no such session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DescribeResult {
    pub session: Option<SessionRow>,
    /// Its transcripts, the present one first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transcripts: Vec<TranscriptRow>,
}

word_enum! {
    pub enum SessionKind {
        Direct = "direct",
        Group = "group",
        Global = "global",
        Unknown = "unknown",
    }
}

word_enum! {
    /// How the last run stands.
    pub enum SessionStatus {
        Queued = "queued",
        Running = "running",
        Done = "done",
        Failed = "failed",
        Killed = "killed",
        Timeout = "timeout",
    }
}

word_enum! {
    pub enum SubagentRole {
        Orchestrator = "orchestrator",
        Leaf = "leaf",
    }
}

/// One conversation. The schema lets rows carry more: what comes after the model is ours. Its
/// words are derived from facts when they are asked for, and none of them is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionRow {
    pub key: SessionKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    pub kind: SessionKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived_title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_message_preview: Option<String>,
    pub agent_id: AgentId,
    pub is_main: bool,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<SessionStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_run_error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<SessionKey>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub child_sessions: Vec<SessionKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawn_depth: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subagent_role: Option<SubagentRole>,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Tokens of the context that the next model call starts from.
    pub total_tokens: u64,
    /// The model's window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_tokens: Option<u64>,
    /// Ours: what is configured as the window, if the provider has refused less than that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub configured_context_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its own level; what is configured holds if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking_level: Option<String>,
    /// Ours: who has answered in the place of the model that was asked, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    pub queued_inputs: u64,
    /// What it does now: `idle`, `queued`, `running`, `waiting`, `recovering`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// `open` or `archived`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<String>,
    /// How its last run ended, or that one is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_turn: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_status: Option<String>,
    /// Can it receive a message now?
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumable: Option<bool>,
    /// The same in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// The run that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_run_id: Option<String>,
    #[serde(default)]
    pub open_children: u32,
    /// If it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<WaitsFor>,
}

/// Calls of a session's newest run go elsewhere than to its model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fallback {
    /// The model that was chosen.
    pub asked: String,
    /// What is called in its place.
    pub model: String,
    pub reason: String,
}

impl SessionRow {
    /// A row with nothing in it but its names and its age.
    pub fn new(key: SessionKey, created_at: Timestamp, updated_at: Timestamp) -> SessionRow {
        SessionRow {
            agent_id: key.agent.clone(),
            is_main: key.scope == types::Scope::Main,
            key,
            session_id: None,
            kind: SessionKind::Direct,
            label: None,
            derived_title: None,
            last_message_preview: None,
            created_at,
            updated_at,
            status: None,
            last_run_id: None,
            last_run_error: None,
            spawned_by: None,
            child_sessions: Vec::new(),
            spawn_depth: None,
            subagent_role: None,
            input_tokens: 0,
            output_tokens: 0,
            total_tokens: 0,
            context_tokens: None,
            configured_context_tokens: None,
            model_provider: None,
            model: None,
            thinking_level: None,
            fallback: None,
            queued_inputs: 0,
            activity: None,
            lifecycle: None,
            last_turn: None,
            task_status: None,
            resumable: None,
            note: None,
            open_run_id: None,
            open_children: 0,
            waits_for: None,
        }
    }
}

/// Payload of `sessions.changed`, for those who subscribed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionsChanged {
    pub session_key: SessionKey,
    pub agent_id: AgentId,
    /// Why: `send`, `agent.run.started`, `spawn`.
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    pub ts: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionRow>,
}
