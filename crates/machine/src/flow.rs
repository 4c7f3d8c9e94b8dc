//! Declared flows: a graph of tasks that the machine carries out, a wave at a time.
//!
//! ```text
//!  flows, or `windlass flow run`
//!    └─▶ task of the flow ──▶ node tasks, as their dependencies complete
//!          │   one announce         │ results: into the briefs of what depends on them,
//!          ▼                        ▼          and into the flow's announce
//!        requester ◀────────── the flow's end
//! ```
//!
//! A flow is a task of its requester without a run: yields wait for it, a stop finds it, and it
//! has one announce. Its nodes are tasks below it that announce to it and to nobody else.
//!
//! # Invariants
//!
//! - What starts, and whether the flow is over, is decided in the commit in which a node ends, so
//!   an open flow always has a node that runs or stands in line.
//! - An ended flow has no node that is open.
//! - See [`schedule`] for what starts when, and [`declare`] for what is refused.

pub mod declare;
pub mod schedule;
mod report;
mod start;

use serde_json::json;
use types::{FlowId, FlowTarget, TaskId};

use crate::announce;
use crate::effect::{Answer, Notice, Stopped};
use crate::finish::End;
use crate::internal::{Caller, Reply, is_below, stopped_reply};
use crate::rows::{Flow, FlowNode, FlowNodeState, Outcome, TaskKind};
use crate::state::State;
use crate::step::stopped;
use crate::stop;

pub use report::render;
pub use start::start;

/// Looks what of a flow is next, and does it, until there is nothing to do but to wait.
pub fn advance(state: &mut State<'_>, id: FlowId, quiet: bool) -> Answer {
    let Some(flow) = state.tx().flow(id) else { return Answer::Done };
    // Each round but the last takes a node that waits: for good, or for one of its attempts.
    let attempts = |node: &FlowNode| 1 + node.retries as usize;
    let rounds_max: usize = state.tx().flow_nodes(id).iter().map(attempts).sum();
    for round in 0.. {
        if state.task(&flow.task).outcome.is_some() {
            break;
        }
        assert!(round <= rounds_max, "{id} does not come to rest");
        let mut nodes = state.tx().flow_nodes(id);
        let stopped = stopped(state, Some(flow.task));
        count_ended(state, &mut nodes, stopped);
        let next = schedule::next(&nodes, flow.max_parallel, flow.on_failure, stopped);
        if next.is_rest() {
            break;
        }
        for i in next.skip {
            nodes[i].state = FlowNodeState::Skipped;
            note_end(state, &nodes[i]);
        }
        for i in next.start {
            start::start_node(state, &flow, &mut nodes, i);
        }
        if let Some(outcome) = next.over {
            end(state, &flow, &nodes, outcome, quiet);
        }
    }
    Answer::Done
}

/// A node whose task is over does not run, whatever its row says: a fault that the audit finds.
fn count_ended(state: &mut State<'_>, nodes: &mut [FlowNode], stopped: bool) {
    for node in nodes.iter_mut().filter(|node| node.state == FlowNodeState::Running) {
        let outcome = node.task.and_then(|task| state.task(&task).outcome);
        if let Some(outcome) = outcome {
            node.state = schedule::after_attempt(node, outcome, stopped);
            note_end(state, node);
        }
    }
}

/// A task has ended: if it was a node's, the flow goes on.
pub fn on_task_ended(state: &mut State<'_>, id: TaskId, quiet: bool) {
    let task = state.task(&id).clone();
    let (TaskKind::FlowNode, Some(flow), Some(outcome)) = (task.kind, task.flow, task.outcome)
    else {
        return;
    };
    let nodes = state.tx().flow_nodes(flow);
    let Some(mut node) = nodes.into_iter().find(|node| node.task == Some(id)) else { return };
    // A node may say otherwise while its task goes on: a fault that the audit finds.
    if node.state == FlowNodeState::Running {
        let stopped = stopped(state, task.parent);
        node.state = schedule::after_attempt(&node, outcome, stopped);
        note_end(state, &node);
    }
    advance(state, flow, quiet);
}

/// Writes down that an attempt of a node, or the node itself, is over.
fn note_end(state: &mut State<'_>, node: &FlowNode) {
    state.tx().put_flow_node(node);
    state.notices.push(Notice::FlowNodeEnded {
        flow: node.flow,
        node: node.name.clone(),
        task: node.task,
        attempt: node.attempt,
        state: node.state,
    });
}

/// Ends a flow: its task has its outcome, and whoever started it hears of it once.
fn end(state: &mut State<'_>, flow: &Flow, nodes: &[FlowNode], outcome: Outcome, quiet: bool) {
    let text = report::result(state, nodes);
    let hash = types::Hash::of(&text);
    state.tx().add_blob(hash, &text);
    let now = state.now();
    let task = state.task_mut(&flow.task);
    assert!(task.outcome.is_none(), "{} ended twice", flow.id);
    task.outcome = Some(outcome);
    task.ended = Some(now);
    task.result_hash = Some(hash);
    let requester = task.requester_key.clone();
    state.notices.push(Notice::FlowEnded { flow: flow.id, task: flow.task, requester, outcome });
    announce::on_task_ended(
        state,
        flow.task,
        &End { outcome, text: Some(text), error: None, quiet },
    );
}

/// Stops what runs of a flow, and so the flow. Its task is marked already.
pub fn stop(state: &mut State<'_>, id: FlowId, by: &str, quiet: bool) -> Stopped {
    let mut all = Stopped::default();
    let running = |node: &FlowNode| node.task.filter(|_| node.state == FlowNodeState::Running);
    let tasks: Vec<TaskId> = state.tx().flow_nodes(id).iter().filter_map(running).collect();
    for task in tasks {
        let Stopped { runs, tasks } = stop::stop_level(state, task, by, quiet);
        all.runs.extend(runs);
        all.tasks.extend(tasks);
    }
    advance(state, id, quiet);
    all
}

/// Carries `flows` with the action `cancel` out.
pub fn cancel(state: &mut State<'_>, caller: &Caller, target: FlowTarget) -> Reply {
    let task = match target {
        FlowTarget::Flow(flow) => state.tx().flow(flow).map(|flow| flow.task),
        FlowTarget::Task(task) => Some(task),
    };
    let task = task.filter(|id| {
        let is_flow = state.find_task(id).is_some_and(|task| task.kind == TaskKind::Flow);
        is_flow && is_below(state, *id, &caller.session)
    });
    let Some(id) = task else {
        let why = format!(
            "no flow `{target}` below this session; name it by its flowId, which `flows` with the \
             action \"list\" shows"
        );
        return Reply::error("flow_not_found", &why);
    };
    if state.task(&id).outcome.is_some() {
        return Reply::ok(json!({ "status": "already_ended", "taskId": id }));
    }
    let stopped = stop::stop_tree(state, id, &caller.by, false);
    stopped_reply(state, &caller.session, &stopped)
}
