//! `tasks.flow.start`, `.list`, `.get`, `.cancel`: declared flows.

use serde::{Deserialize, Serialize};
use types::{
    Access, AgentId, FlowId, FlowRequest, FlowTarget, NodeName, OnFailure, SessionKey, TaskId,
    Timestamp, word_enum,
};

use crate::fields::{Fields, InvalidField, SessionRef};
use crate::method::Params;
use crate::tasks::TaskStatus;

const LIST_LIMIT: u64 = 50;
const LIST_LIMIT_MAX: u64 = 500;

const FLOW_ID: &str = "a flow id `flw_…`, or the id `tsk_…` of its task";

#[derive(Clone, Debug, PartialEq)]
pub struct StartParams {
    /// Who starts it, and gets its announce; the default agent's main session if none.
    pub session: Option<SessionRef>,
    pub flow: FlowRequest,
}

impl Params for StartParams {
    fn read(fields: &Fields<'_>) -> Result<StartParams, InvalidField> {
        let expected = "a declared flow: an object with `name` and `tasks`";
        let declared = fields.required("flow", expected, fields.value("flow"))?;
        let mut flow = FlowRequest::read(declared).map_err(|fault| fields.fault("flow", &fault))?;
        if let Some(key) = fields.text("idempotencyKey")? {
            flow.idempotency_key = Some(key);
        }
        Ok(StartParams { session: fields.session("sessionKey")?, flow })
    }
}

/// What has become of the wish to start one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartResult {
    /// `accepted`, or `duplicate`.
    pub status: String,
    pub flow_id: FlowId,
    pub task_id: TaskId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListParams {
    pub status: Vec<TaskStatus>,
    /// Those that this session has started.
    pub session: Option<SessionRef>,
    pub limit: u64,
}

impl Params for ListParams {
    fn read(fields: &Fields<'_>) -> Result<ListParams, InvalidField> {
        Ok(ListParams {
            status: fields.words("status", TaskStatus::ALL)?,
            session: fields.session("sessionKey")?,
            limit: fields.integer("limit", 1..=LIST_LIMIT_MAX)?.unwrap_or(LIST_LIMIT),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListResult {
    pub flows: Vec<FlowSummary>,
}

/// One flow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowSummary {
    pub flow_id: FlowId,
    pub task_id: TaskId,
    pub name: String,
    pub status: TaskStatus,
    /// Who has started it.
    pub session_key: SessionKey,
    pub max_parallel: u32,
    pub on_failure: OnFailure,
    /// How many tasks it has, and how many of them stand how.
    pub tasks: u32,
    pub completed: u32,
    pub running: u32,
    /// Failed, skipped or cancelled.
    pub lost: u32,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// Names one flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowParams {
    pub flow: FlowTarget,
}

impl Params for FlowParams {
    fn read(fields: &Fields<'_>) -> Result<FlowParams, InvalidField> {
        let flow = fields.parsed("flowId", FLOW_ID)?;
        Ok(FlowParams { flow: fields.required("flowId", FLOW_ID, flow)? })
    }
}

/// One flow with its tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetResult {
    pub flow: FlowSummary,
    /// In the order of the declaration.
    pub nodes: Vec<NodeRow>,
    /// What was announced at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
}

word_enum! {
    pub enum NodeState {
        Pending = "pending",
        Running = "running",
        Completed = "completed",
        Failed = "failed",
        Skipped = "skipped",
        Cancelled = "cancelled",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRow {
    pub id: NodeName,
    pub state: NodeState,
    pub depends_on: Vec<NodeName>,
    pub agent_id: AgentId,
    pub access: Access,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Attempts that have been begun, and how many more there may be than one.
    pub attempt: u32,
    pub retries: u32,
    /// What its session does now, in the words of `sessions.list`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<String>,
    /// The task of the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<SessionKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The beginning of its result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}
