//! A declared flow as readers are shown it: the flow, its task, and each node with its last one.

use machine::rows::{Flow, FlowNode, FlowNodeState};
use serde::Serialize;
use types::{Access, AgentId, FlowId, NodeName, OnFailure, Timestamp};

use super::TaskView;

/// A flow with all its nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowView {
    pub id: FlowId,
    pub name: String,
    pub max_parallel: u32,
    pub on_failure: OnFailure,
    pub created: Timestamp,
    /// The task that stands for it.
    pub task: TaskView,
    /// In the order of the declaration.
    pub nodes: Vec<FlowNodeView>,
}

/// A node of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FlowNodeView {
    pub name: NodeName,
    pub after: Vec<NodeName>,
    pub agent: AgentId,
    pub label: Option<String>,
    pub access: Access,
    pub model: Option<String>,
    pub state: FlowNodeState,
    pub attempt: u32,
    pub retries: u32,
    pub error: Option<String>,
    /// The task of the last attempt.
    pub task: Option<TaskView>,
}

impl FlowView {
    pub(crate) fn new(flow: Flow, task: TaskView, nodes: Vec<FlowNodeView>) -> FlowView {
        FlowView {
            id: flow.id,
            name: flow.name,
            max_parallel: flow.max_parallel,
            on_failure: flow.on_failure,
            created: flow.created,
            task,
            nodes,
        }
    }

    /// How many of its nodes are in one of these states.
    pub fn count(&self, states: &[FlowNodeState]) -> u32 {
        let nodes = self.nodes.iter().filter(|node| states.contains(&node.state));
        u32::try_from(nodes.count()).unwrap_or(u32::MAX)
    }
}

impl FlowNodeView {
    pub(crate) fn new(node: FlowNode, task: Option<TaskView>) -> FlowNodeView {
        FlowNodeView {
            name: node.name,
            after: node.after,
            agent: node.agent,
            label: node.label,
            access: node.access,
            model: node.model,
            state: node.state,
            attempt: node.attempt,
            retries: node.retries,
            error: node.error,
            task,
        }
    }
}
