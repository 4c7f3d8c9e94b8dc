//! Flows: what can start has started, and what has ended is counted as ended.

use super::facts::Facts;
use super::{Fault, Finding};
use crate::flow::schedule;
use crate::rows::{Flow, FlowNode, FlowNodeState};

pub(super) fn flows(facts: &Facts<'_>, found: &mut Vec<Finding>) {
    for flow in &facts.world.flows {
        let Some(task) = facts.tasks.get(&flow.task) else { continue };
        if task.outcome.is_some() || facts.is_stopped(task) {
            continue;
        }
        let nodes: Vec<FlowNode> =
            facts.world.flow_nodes.iter().filter(|node| node.flow == flow.id).cloned().collect();
        if let Some(what) = stalls(facts, flow, &nodes) {
            let fix = format!("windlass tasks flow cancel {}", flow.id);
            found.push(Finding {
                flow_id: Some(flow.id),
                task_id: Some(flow.task),
                session_key: Some(task.requester_key.clone()),
                ..Finding::new(Fault::FlowStalled, what, fix)
            });
        }
    }
}

fn stalls(facts: &Facts<'_>, flow: &Flow, nodes: &[FlowNode]) -> Option<String> {
    let id = flow.id;
    let dead = nodes.iter().find(|node| {
        let task = node.task.and_then(|task| facts.tasks.get(&task));
        node.state == FlowNodeState::Running && task.is_none_or(|task| task.outcome.is_some())
    });
    if let Some(node) = dead {
        return Some(format!("`{}` of {id} is said to run, and its task is over", node.name));
    }
    let next = schedule::next(nodes, flow.max_parallel, flow.on_failure, false);
    if let Some(ready) = next.start.first() {
        return Some(format!("`{}` of {id} is ready, and is not started", nodes[*ready].name));
    }
    (!next.is_rest()).then(|| format!("{id} is open, and nothing of it runs or can start"))
}
