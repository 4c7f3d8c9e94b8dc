//! `tasks.list`, the ledger of detached work; and `subagents.list`, the same as a tree.

use serde::{Deserialize, Serialize};
use types::{AgentId, Card, FlowId, RunId, SessionKey, TaskId, Timestamp, word_enum};

use crate::fields::{Fields, InvalidField, SessionRef};
use crate::message::WireUsage;
use crate::method::Params;
use crate::stop::StopReport;

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

word_enum! {
    /// Who asked for a task, and what carries it.
    pub enum TaskRuntime {
        Subagent = "subagent",
        Cli = "cli",
        Flow = "flow",
        FlowNode = "flow_node",
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
    /// Those that this session asked for or carries.
    pub session: Option<SessionRef>,
    /// Those of the tree that this session belongs to.
    pub tree: Option<SessionRef>,
    pub runtime: Option<TaskRuntime>,
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
            tree: fields.session("treeSessionKey")?,
            runtime: fields.word("runtime", TaskRuntime::ALL)?,
            limit: fields.integer("limit", 1..=LIST_LIMIT_MAX)?.unwrap_or(LIST_LIMIT),
            cursor: fields.text("cursor")?,
        })
    }
}

/// Names one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskParams {
    pub task: TaskId,
}

impl Params for TaskParams {
    fn read(fields: &Fields<'_>) -> Result<TaskParams, InvalidField> {
        let expected = "a task id: `tsk_` and 32 hex digits";
        let task = fields.parsed("taskId", expected)?;
        Ok(TaskParams { task: fields.required("taskId", expected, task)? })
    }
}

/// `tasks.retry`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryParams {
    pub task: TaskId,
    /// The same key is the same attempt, also once that has ended.
    pub idempotency_key: Option<String>,
}

impl Params for RetryParams {
    fn read(fields: &Fields<'_>) -> Result<RetryParams, InvalidField> {
        let TaskParams { task } = TaskParams::read(fields)?;
        Ok(RetryParams { task, idempotency_key: fields.text("idempotencyKey")? })
    }
}

word_enum! {
    pub enum RetryStatus {
        Accepted = "accepted",
        /// It is being carried again already, or was under this idempotency key.
        Duplicate = "duplicate",
    }
}

/// The attempt that carries a task again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskRetryResult {
    pub status: RetryStatus,
    pub task_id: TaskId,
    /// The attempt before it.
    pub retry_of: TaskId,
    pub attempt: u32,
    pub run_id: RunId,
    /// The session that goes on with it: the one that it had.
    pub session_key: SessionKey,
    /// Who gets its result.
    pub requester_session_key: SessionKey,
    pub note: String,
}

/// One task, and those below it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskGetResult {
    pub task: TaskSummary,
    /// How it stands, in one sentence.
    pub note: String,
    /// The whole result, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// The plan that its session shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_card: Option<Card>,
    /// Depth first.
    pub below: Vec<TaskSummary>,
    /// If it or something below was ended: how far that is proved.
    #[serde(default, skip_serializing_if = "StopReport::is_empty")]
    pub stop: StopReport,
}

/// What a cancel has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskCancelResult {
    pub found: bool,
    pub cancelled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The task and those below it, by how far their end is proved.
    #[serde(default, skip_serializing_if = "StopReport::is_empty")]
    pub stop: StopReport,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskSummary>,
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
    /// Who carries it: `subagent`, `cli`, `flow`, `flow_node`.
    pub runtime: String,
    /// The flow that it stands for, or is a task of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_id: Option<FlowId>,
    /// From 1.
    #[serde(default = "one")]
    pub attempt: u32,
    /// The ended task that it carries again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<TaskId>,
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

fn one() -> u32 {
    1
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
