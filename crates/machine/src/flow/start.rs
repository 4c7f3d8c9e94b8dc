//! The start of a flow, checked whole; and the start of each of its nodes, which is a spawn.

use std::time::Duration;

use serde_json::{Value, json};
use types::{
    Announce, Cleanup, FlowId, FlowRequest, FlowTask, Hash, Reuse, RunId, SessionKey, SessionRef,
    SpawnRequest, TaskId,
};

use super::declare::{self, Bounds};
use super::{advance, note_end, report};
use crate::budget::{self, Asker};
use crate::effect::Notice;
use crate::inbox;
use crate::internal::{Caller, Reply};
use crate::policy;
use crate::rows::{Flow, FlowNode, FlowNodeState, Lifecycle, Session, Task, TaskKind};
use crate::spawn::{self, Lineage};
use crate::state::State;

/// Starts a flow, or says why not. Nothing of it is stored if one of its tasks could never start.
pub fn start(state: &mut State<'_>, caller: &Caller, request: &FlowRequest) -> Reply {
    try_start(state, caller, request).unwrap_or_else(|refusal| refusal)
}

fn try_start(
    state: &mut State<'_>,
    caller: &Caller,
    request: &FlowRequest,
) -> Result<Reply, Reply> {
    let requester = state.session(&caller.session).clone();
    let definition = serde_json::to_string(request).expect("a declaration is JSON");
    let dup_hash = Hash::of(format!("flow\n{definition}"));
    if let Some(existing) = duplicate(state, caller, request, dup_hash) {
        return Ok(duplicate_reply(state, existing));
    }
    spawn::check_open(state, caller)?;
    let limits = state.limits;
    let bounds =
        Bounds { tasks_max: limits.tasks_per_tree_max, brief_bytes_max: limits.message_bytes_max };
    declare::check(request, bounds)
        .map_err(|fault| Reply::error("invalid_argument", &fault.to_string()))?;
    for (i, task) in request.tasks.iter().enumerate() {
        check_task(state, caller, &requester, request, task)
            .map_err(|refusal| below(&refusal, i))?;
    }
    let lineage = Lineage::of(state, &requester, caller.task);
    spawn::check_room(state, &requester, &lineage)?;
    check_tree(state, &lineage, request.tasks.len())?;
    let asker = Asker::of(caller, &lineage.root);
    let cap = budget::left(state, &asker, request.budget.unwrap_or_default())?;

    let flow = create(state, caller, &lineage, request, &definition, dup_hash);
    budget::open(state, flow.task, cap);
    advance(state, flow.id, false);
    Ok(accepted_reply(state, &flow))
}

/// Finds the flow that this would start again: of the same idempotency key, whether open or ended;
/// or, for a model, which may have forgotten, an open one of the same words.
fn duplicate(
    state: &mut State<'_>,
    caller: &Caller,
    request: &FlowRequest,
    dup_hash: Hash,
) -> Option<TaskId> {
    if let Some(key) = &request.idempotency_key
        && let Some(task) = state.tx().task_by_idem(&caller.session, key)
    {
        return Some(task);
    }
    caller.run?;
    state.tx().open_tasks_by_hash(&caller.session, dup_hash).first().copied()
}

fn duplicate_reply(state: &mut State<'_>, id: TaskId) -> Reply {
    let task = state.task(&id);
    let note = match task.outcome {
        None => "An equal flow is open: its result will come. Do not start it again.",
        Some(_) => "A flow with this idempotencyKey has ended already.",
    };
    Reply::ok(json!({
        "status": "duplicate", "flowId": task.flow, "taskId": task.id, "note": note,
    }))
}

/// Could this task be started? Asked of all before any is.
fn check_task(
    state: &mut State<'_>,
    caller: &Caller,
    requester: &Session,
    flow: &FlowRequest,
    task: &FlowTask,
) -> Result<(), Reply> {
    let request = SpawnRequest {
        agent: task.agent_id.clone(),
        session: task.session_key.clone(),
        model: task.model.clone(),
        access: task.access,
        budget: task.budget.or(flow.budget),
        ..SpawnRequest::of(&task.task)
    };
    let target = spawn::target(requester, &request)?;
    let agent = spawn::allowed_agent(state, requester, &request, &target)?;
    let model = spawn::usable_model(state, &request, &agent)?;
    let lineage = Lineage::of(state, requester, caller.task);
    budget::for_child(state, &Asker::of(caller, &lineage.root), &request, &target, &model)?;
    policy::for_child(state, requester, lineage.depth + 1, &target, &request, &model)?;
    Ok(())
}

/// Says in which task of the declaration the fault lies.
fn below(refusal: &Reply, i: usize) -> Reply {
    let value: Value = serde_json::from_str(&refusal.text).unwrap_or_default();
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    Reply::error(&text("code"), &format!("`tasks[{i}]`: {}", text("error")))
}

/// The whole flow takes its room in the tree at once, so that no node waits for room later.
fn check_tree(state: &mut State<'_>, lineage: &Lineage, tasks: usize) -> Result<(), Reply> {
    let max = state.limits.tasks_per_tree_max;
    let open = state.tx().open_tasks_of_tree(&lineage.root);
    let needed = u32::try_from(tasks).unwrap_or(u32::MAX).saturating_add(1);
    if open.saturating_add(needed) <= max {
        return Ok(());
    }
    let why = format!(
        "{open} tasks of this tree are open, the flow and its tasks are {needed} more, and \
         agents.defaults.subagents.maxTasksPerTree is {max}; wait until some have ended"
    );
    Err(Reply::error("tree_exceeded", &why))
}

fn create(
    state: &mut State<'_>,
    caller: &Caller,
    lineage: &Lineage,
    request: &FlowRequest,
    definition: &str,
    dup_hash: Hash,
) -> Flow {
    let requester = &state.session(&caller.session).clone();
    let now = state.now();
    let task = flow_task(state, caller, lineage, request, dup_hash);
    let id = task.flow.expect("it stands for a flow");
    let count = u32::try_from(request.tasks.len()).unwrap_or(u32::MAX);
    let flow = Flow {
        id,
        task: task.id,
        name: request.name.clone(),
        max_parallel: request.max_parallel.unwrap_or(count),
        on_failure: request.on_failure,
        definition: Hash::of(definition),
        created: now,
    };
    state.add_task(task);
    state.tx().add_blob(flow.definition, definition);
    let mut nodes: Vec<FlowNode> =
        (0..count).zip(&request.tasks).map(|(at, task)| node(&flow, requester, at, task)).collect();
    // One order of results in a brief, however the dependencies were written.
    for node in &mut nodes {
        node.after.sort_by_key(|name| request.tasks.iter().position(|task| task.id == *name));
    }
    for task in &request.tasks {
        state.tx().add_blob(Hash::of(&task.task), &task.task);
    }
    state.tx().add_flow(&flow, &nodes);
    state.notices.push(Notice::FlowStarted {
        flow: id,
        task: flow.task,
        requester: requester.key.clone(),
        name: flow.name.clone(),
        nodes: count,
    });
    flow
}

/// The task that stands for a flow: open for as long as the flow is.
fn flow_task(
    state: &mut State<'_>,
    caller: &Caller,
    lineage: &Lineage,
    request: &FlowRequest,
    dup_hash: Hash,
) -> Task {
    let requester = &state.session(&caller.session).clone();
    let now = state.now();
    let flow = FlowId::new(state.at.mint());
    Task {
        id: TaskId::new(state.at.mint()),
        kind: TaskKind::Flow,
        requester_key: requester.key.clone(),
        parent: caller.task,
        root_key: lineage.root.clone(),
        depth: lineage.depth + 1,
        // It has no session of its own, and no run is ever written under this id.
        session_key: requester.key.clone(),
        run: RunId::new(state.at.mint()),
        task_name: None,
        label: Some(request.name.clone()),
        idem_key: request.idempotency_key.clone(),
        dup_hash,
        announce: request.announce,
        cleanup: Cleanup::Keep,
        origin: caller.origin.clone(),
        deliverables: None,
        attempt: 1,
        retry_of: None,
        flow: Some(flow),
        node: None,
        waited_by: None,
        cancelled: None,
        outcome: None,
        result_hash: None,
        created: now,
        ended: None,
    }
}

fn node(flow: &Flow, requester: &Session, place: u32, task: &FlowTask) -> FlowNode {
    let session = task.session_key.as_ref();
    let of_key = session.and_then(|session| match session {
        SessionRef::Full(key) => Some(&key.agent),
        SessionRef::Short(_) => None,
    });
    let agent = task.agent_id.as_ref().or(of_key).unwrap_or(&requester.agent).clone();
    FlowNode {
        flow: flow.id,
        name: task.id.clone(),
        place,
        after: task.depends_on.clone(),
        session_key: session.map(|session| session.under(&agent)),
        agent,
        brief: Hash::of(&task.task),
        label: task.label.clone(),
        access: task.access,
        model: task.model.clone(),
        retries: task.retries,
        timeout_ms: task.timeout.map(inbox::whole_ms),
        budget: task.budget,
        state: FlowNodeState::Pending,
        attempt: 0,
        task: None,
        error: None,
    }
}

fn accepted_reply(state: &mut State<'_>, flow: &Flow) -> Reply {
    let nodes = state.tx().flow_nodes(flow.id);
    let running = nodes.iter().filter(|node| node.state == FlowNodeState::Running);
    let announces = state.task(&flow.task).announce.reaches_requester();
    Reply::ok(json!({
        "status": "accepted",
        "flowId": flow.id,
        "taskId": flow.task,
        "name": flow.name,
        "tasks": nodes.len(),
        "running": running.map(|node| node.name.as_str()).collect::<Vec<_>>(),
        "expectsCompletionMessage": announces,
        "note": "The gateway starts each task when those that it depends on have completed. One \
                 message with all outcomes will come at the end. Do not poll: call \
                 sessions_yield.",
    }))
}

/// Starts the next attempt of a node. If it cannot be started, it has failed.
pub fn start_node(state: &mut State<'_>, flow: &Flow, nodes: &mut [FlowNode], i: usize) {
    assert!(nodes[i].is_pending(), "{} of {} is started twice", nodes[i].name, flow.id);
    nodes[i].attempt += 1;
    match try_start_node(state, flow, nodes, i) {
        Ok(task) => {
            let node = &mut nodes[i];
            node.state = FlowNodeState::Running;
            node.task = Some(task);
            state.tx().put_flow_node(node);
            state.notices.push(Notice::FlowNodeStarted {
                flow: flow.id,
                node: node.name.clone(),
                task,
                attempt: node.attempt,
            });
        }
        Err(why) => {
            let node = &mut nodes[i];
            node.state = FlowNodeState::Failed;
            node.error = Some(why);
            note_end(state, node);
        }
    }
}

fn try_start_node(
    state: &mut State<'_>,
    flow: &Flow,
    nodes: &[FlowNode],
    i: usize,
) -> Result<TaskId, String> {
    let node = &nodes[i];
    let above = state.task(&flow.task).clone();
    let requester = state.session(&above.requester_key).clone();
    let brief = report::brief(state, nodes, i)?;
    let request = SpawnRequest {
        label: Some(node.label.clone().unwrap_or_else(|| format!("{}/{}", flow.name, node.name))),
        agent: Some(node.agent.clone()),
        model: node.model.clone(),
        access: node.access,
        // A node with a name goes on with its session; any other has one of its own.
        session: node.session_key.clone().map(SessionRef::Full),
        resume_if_exists: node.session_key.is_some(),
        reuse: node.session_key.is_none().then_some(Reuse::Never),
        budget: node.budget,
        ..SpawnRequest::of(&brief)
    };
    // The configuration may have changed since the flow was declared.
    let agent = spawn::allowed_agent(state, &requester, &request, &node.agent).map_err(why)?;
    let model = spawn::usable_model(state, &request, &agent).map_err(why)?;
    let asker = Asker {
        session: above.requester_key.clone(),
        task: Some(flow.task),
        root: above.root_key.clone(),
    };
    let cap = budget::for_child(state, &asker, &request, &node.agent, &model).map_err(why)?;
    let session_key = match earlier_session(state, node) {
        Some(key) => key,
        None => {
            // Of whoever started the flow: its nodes are at the depth of the flow itself.
            let lineage = Lineage::of(state, &requester, above.parent);
            let chosen = spawn::carrier(state, &requester, &lineage, &agent, &request, &model);
            chosen.map_err(why)?.session.key
        }
    };
    let task = Task {
        id: TaskId::new(state.at.mint()),
        kind: TaskKind::FlowNode,
        parent: Some(flow.task),
        session_key,
        run: RunId::new(state.at.mint()),
        label: request.label,
        idem_key: None,
        dup_hash: Hash::of(format!("{}/{}/{}", flow.id, node.name, node.attempt)),
        // Its result goes to the flow, and to nobody else.
        announce: Announce::None,
        attempt: node.attempt,
        node: Some(node.name.to_string()),
        waited_by: None,
        created: state.now(),
        ..above
    };
    spawn::add_task(state, &task);
    budget::open(state, task.id, cap);
    let timeout = match node.timeout_ms {
        Some(0) => None,
        Some(ms) => Some(Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
        None => agent.child_timeout,
    };
    spawn::put_brief(state, &task, &brief, timeout);
    Ok(task.id)
}

fn why(refusal: Reply) -> String {
    let value: Value = serde_json::from_str(&refusal.text).unwrap_or_default();
    value["error"].as_str().unwrap_or("it could not be started").to_owned()
}

/// The session of the attempt before, in which the next one goes on; none if it has something else
/// to do by now.
fn earlier_session(state: &mut State<'_>, node: &FlowNode) -> Option<SessionKey> {
    let task = state.task(&node.task?).clone();
    let key = task.session_key.clone();
    let session = state.session(&key);
    let idle = session.lifecycle == Lifecycle::Open && session.open_run.is_none();
    let free = idle && !spawn::pool::is_taken_since(state, &task);
    free.then_some(key)
}
