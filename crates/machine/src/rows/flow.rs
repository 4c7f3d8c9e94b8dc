//! Rows of declared flows: the flow, and its nodes with what they wait for.

use types::{
    Access, AgentId, Budget, FlowId, Hash, NodeName, OnFailure, SessionKey, TaskId, Timestamp,
    word_enum,
};

word_enum! {
    /// Where a node of a flow stands.
    pub enum FlowNodeState {
        /// It waits for others, or for room.
        Pending = "pending",
        /// A task of it is open.
        Running = "running",
        Completed = "completed",
        /// For good: no attempt is left.
        Failed = "failed",
        /// It will never be started.
        Skipped = "skipped",
        Cancelled = "cancelled",
    }
}

/// A declared flow. How it stands is said by its task and its nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub id: FlowId,
    /// The task that stands for it: requester, announce, stop and outcome are there.
    pub task: TaskId,
    pub name: String,
    pub max_parallel: u32,
    pub on_failure: OnFailure,
    /// Names the blob with the declaration, as JSON.
    pub definition: Hash,
    pub created: Timestamp,
}

/// One task of a flow, over all its attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowNode {
    pub flow: FlowId,
    pub name: NodeName,
    /// Its place in the declaration, from zero.
    pub place: u32,
    /// Nodes that must have completed before it, in the order of the declaration.
    pub after: Vec<NodeName>,
    pub agent: AgentId,
    /// Names the blob with its brief.
    pub brief: Hash,
    pub label: Option<String>,
    pub session_key: Option<SessionKey>,
    pub access: Access,
    pub model: Option<String>,
    /// Attempts after the first.
    pub retries: u32,
    /// Bound on each attempt: none is the agent's default, zero no bound.
    pub timeout_ms: Option<i64>,
    /// Cap of each attempt: none is the agent's default.
    pub budget: Option<Budget>,
    pub state: FlowNodeState,
    /// Attempts that have been begun.
    pub attempt: u32,
    /// The task of the last attempt.
    pub task: Option<TaskId>,
    /// Why it could not be started.
    pub error: Option<String>,
}

impl FlowNode {
    /// Does it wait, for what it depends on, for room, or between two attempts?
    pub fn is_pending(&self) -> bool {
        self.state == FlowNodeState::Pending
    }
}
