//! `tasks.list`, the ledger of detached work; and `subagents.list`, the same as a tree.

use serde::{Deserialize, Serialize};
use types::{AgentId, RunId, SessionKey, TaskId, Timestamp, word_enum};

use crate::fields::{Fields, InvalidField, SessionRef};
use crate::message::WireUsage;
use crate::method::Params;

word_enum! {
    pub enum TaskStatus {
        Queued = "queued",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        TimedOut = "timed_out",
    }
}

impl TaskStatus {
    pub fn is_open(self) -> bool {
        matches!(self, TaskStatus::Queued | TaskStatus::Running)
    }
}

/// Most tasks of one page.
pub const LIST_LIMIT_MAX: u64 = 500;
const LIST_LIMIT: u64 = 100;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TasksListParams {
    /// Those in one of these states; empty for all.
    pub status: Vec<TaskStatus>,
    pub agent: Option<AgentId>,
    /// Those that this session asked for.
    pub session: Option<SessionRef>,
    pub limit: u64,
    /// Where the page before ended.
    pub cursor: Option<String>,
}

impl Params for TasksListParams {
    fn read(fields: &Fields<'_>) -> Result<TasksListParams, InvalidField> {
        Ok(TasksListParams {
            status: fields.words("status", TaskStatus::ALL)?,
            agent: fields.agent("agentId")?,
            session: fields.session("sessionKey")?,
            limit: fields.integer("limit", 1..=LIST_LIMIT_MAX)?.unwrap_or(LIST_LIMIT),
            cursor: fields.text("cursor")?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TasksListResult {
    pub tasks: Vec<TaskSummary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskSummary {
    pub id: TaskId,
    /// Always `subagent` so far.
    pub runtime: String,
    pub status: TaskStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    pub agent_id: AgentId,
    /// Who asked.
    pub session_key: SessionKey,
    pub child_session_key: SessionKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_task_id: Option<TaskId>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_summary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal_summary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery_status: Option<DeliveryStatus>,
}

word_enum! {
    /// Has the requester heard of the end?
    pub enum DeliveryStatus {
        Pending = "pending",
        Delivered = "delivered",
        SessionQueued = "session_queued",
        Failed = "failed",
        Dismissed = "dismissed",
        ParentMissing = "parent_missing",
        NotApplicable = "not_applicable",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubagentsListParams {
    /// Below this session; without it, every tree.
    pub session: Option<SessionRef>,
    /// Also tasks that have ended.
    pub include_ended: bool,
    pub limit: u64,
}

impl Params for SubagentsListParams {
    fn read(fields: &Fields<'_>) -> Result<SubagentsListParams, InvalidField> {
        Ok(SubagentsListParams {
            session: fields.session("sessionKey")?,
            include_ended: fields.boolean("includeEnded")?.unwrap_or(false),
            limit: fields.integer("limit", 1..=LIST_LIMIT_MAX)?.unwrap_or(LIST_LIMIT),
        })
    }
}

/// Trees as a list: a row comes after its parent and before its parent's next sibling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubagentsListResult {
    pub ts: Timestamp,
    pub has_more: bool,
    pub subagents: Vec<SubagentRow>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubagentRow {
    pub task_id: TaskId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_task_id: Option<TaskId>,
    /// The child's session.
    pub session_key: SessionKey,
    /// Who asked.
    pub requester: SessionKey,
    pub agent_id: AgentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_name: Option<String>,
    /// One for a child of a person's session.
    pub depth: u32,
    pub status: TaskStatus,
    /// What its session does now, in the words of `sessions.list`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_turn: Option<String>,
    /// How it stands, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    pub open_children: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<WireUsage>,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
