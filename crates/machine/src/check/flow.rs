//! Flows: nothing that could start is left lying, and nothing is open behind an end.

use std::collections::BTreeMap;

use types::TaskId;

use super::{Found, World};
use crate::flow::schedule;
use crate::rows::{Flow, FlowNode, FlowNodeState, Outcome, Task, TaskKind};

type Tasks<'w> = BTreeMap<TaskId, &'w Task>;

/// "flows": an open flow is at rest with a node that runs, an ended one has none that is open;
/// each node says of itself what its task says; none has begun before what it depends on was done.
pub(super) fn flows(world: &World, found: &mut Found) {
    let tasks: Tasks<'_> = world.tasks.iter().map(|task| (task.id, task)).collect();
    let of_flows = world.tasks.iter().filter(|task| task.kind == TaskKind::Flow).count();
    found.unless(of_flows == world.flows.len(), "flows", || {
        format!("{of_flows} tasks stand for {} flows", world.flows.len())
    });
    for flow in &world.flows {
        let Some(task) = tasks.get(&flow.task) else {
            found.unless(false, "flows", || format!("{} has no task", flow.id));
            continue;
        };
        let own = task.kind == TaskKind::Flow && task.flow == Some(flow.id);
        found.unless(own, "flows", || format!("{} is not the task of {}", task.id, flow.id));
        let nodes: Vec<FlowNode> =
            world.flow_nodes.iter().filter(|node| node.flow == flow.id).cloned().collect();
        stands(flow, task, &nodes, &tasks, found);
        for node in &nodes {
            is_carried(flow, node, &tasks, found);
            in_turn(node, &nodes, found);
        }
    }
}

fn stands(flow: &Flow, task: &Task, nodes: &[FlowNode], tasks: &Tasks<'_>, found: &mut Found) {
    let count = |state| nodes.iter().filter(|node| node.state == state).count();
    let (running, pending) = (count(FlowNodeState::Running), count(FlowNodeState::Pending));
    if task.outcome.is_some() {
        found.unless(running + pending == 0, "flows", || {
            format!("{} has ended, and {running} nodes run, {pending} wait", flow.id)
        });
        return;
    }
    found.unless(running > 0 && running <= flow.max_parallel as usize, "flows", || {
        format!("{} is open, and {running} of {} nodes run", flow.id, flow.max_parallel)
    });
    let rests =
        |stopped| schedule::next(nodes, flow.max_parallel, flow.on_failure, stopped).is_rest();
    // A stop above may have come here, or not yet.
    let rest = rests(false) || (stopped(task, tasks) && rests(true));
    found.unless(rest, "flows", || format!("{} has something to start: {nodes:?}", flow.id));
}

fn stopped(task: &Task, tasks: &Tasks<'_>) -> bool {
    let mut next = Some(task.id);
    while let Some(task) = next.and_then(|id| tasks.get(&id)) {
        if task.cancelled.is_some() {
            return true;
        }
        next = task.parent;
    }
    false
}

/// What a node says of itself and what its task says are one thing.
fn is_carried(flow: &Flow, node: &FlowNode, tasks: &Tasks<'_>, found: &mut Found) {
    let task = node.task.and_then(|id| tasks.get(&id));
    if let Some(task) = task {
        let own = task.kind == TaskKind::FlowNode
            && task.parent == Some(flow.task)
            && task.flow == Some(flow.id)
            && task.node.as_deref() == Some(node.name.as_str());
        found.unless(own, "flows", || format!("{} is not a task of {}", task.id, node.name));
    }
    let outcome = task.map(|task| task.outcome);
    let fits = match node.state {
        FlowNodeState::Running => outcome == Some(None),
        FlowNodeState::Completed => outcome == Some(Some(Outcome::Completed)),
        FlowNodeState::Cancelled => outcome == Some(Some(Outcome::Cancelled)),
        FlowNodeState::Failed => node.error.is_some() || outcome.is_some_and(|end| end.is_some()),
        // Between two attempts, or before the first.
        FlowNodeState::Pending | FlowNodeState::Skipped => outcome != Some(None),
    };
    found.unless(fits, "flows", || {
        format!("{} of {} is {}, its task {outcome:?}", node.name, flow.id, node.state)
    });
}

/// A node that has begun depends on nothing that was not done.
fn in_turn(node: &FlowNode, nodes: &[FlowNode], found: &mut Found) {
    if node.attempt == 0 {
        return;
    }
    for needed in &node.after {
        let done = nodes
            .iter()
            .any(|other| other.name == *needed && other.state == FlowNodeState::Completed);
        found.unless(done, "flows", || format!("{} began before {needed} was done", node.name));
    }
}
