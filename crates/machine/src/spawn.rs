//! `sessions_spawn`: a task, a child session with its brief, and the answer, in one commit.
//! And the resuming of a task that has ended, which is the same without a new session.

use std::time::Duration;

use serde_json::json;
use types::{
    AgentId, Announce, Cleanup, Hash, MessageId, RunId, Scope, SessionId, SessionKey, SpawnRequest,
    TaskId,
};

use crate::again;
use crate::effect::Notice;
use crate::inbox;
use crate::internal::{Caller, Reply};
use crate::limits::{AgentLimits, AllowAgents};
use crate::policy::{self, ForChild};
use crate::rows::{
    InboxKind, InboxRow, InboxState, Lifecycle, NodeState, Place, Session, Task, TaskKind,
};
use crate::state::State;
use crate::step::stopped;
use crate::wait;

/// Starts a child, or says why not. Everything is checked in the transaction that creates it.
pub fn spawn(state: &mut State<'_>, caller: &Caller, request: &SpawnRequest) -> Reply {
    match try_spawn(state, caller, request) {
        Ok(reply) | Err(reply) => reply,
    }
}

fn try_spawn(
    state: &mut State<'_>,
    caller: &Caller,
    request: &SpawnRequest,
) -> Result<Reply, Reply> {
    let requester = state.session(&caller.session).clone();
    let target = request.agent.clone().unwrap_or_else(|| requester.agent.clone());
    let dup_hash = dup_hash(&target, &request.task);
    if let Some(existing) = duplicate(state, &requester.key, request, dup_hash) {
        return Ok(duplicate_reply(state, existing));
    }
    if let Some(begun) = again::unfinished(state, caller, request, dup_hash) {
        return Ok(again::reply(state, begun));
    }
    check_open(state, caller)?;
    let agent = allowed_agent(state, &requester, request, &target)?;
    let model = usable_model(state, request, &agent)?;
    check_room(state, &requester)?;
    let policy = policy::for_child(state, &requester, &target, request)?;

    let child = create_child(state, &requester, &target, request, &model, policy);
    let task = create_task(state, caller, &requester, &child, request, dup_hash);
    let timeout = match request.run_timeout {
        Some(timeout) => (!timeout.is_zero()).then_some(timeout),
        None => agent.child_timeout,
    };
    put_brief(state, &task, &request.task, timeout);
    Ok(accepted_reply(state, &task, &child, &model))
}

/// Nothing is born below a stop, nor while the gateway drains.
pub fn check_open(state: &mut State<'_>, caller: &Caller) -> Result<(), Reply> {
    if stopped(state, caller.task) {
        return Err(Reply::error("cancelled_ancestor", "a task above this one is being stopped"));
    }
    if state.this_node().is_none_or(|node| node.state != NodeState::Up) {
        let why = "the gateway is draining for a restart; try again after it";
        return Err(Reply::error("draining", why));
    }
    Ok(())
}

/// Goes on with a session whose runs have ended: a new task of the caller in it, with `message` as
/// its brief. So its result is announced, it can be waited for, and a stop finds it.
pub fn resume(
    state: &mut State<'_>,
    caller: &Caller,
    session: &SessionKey,
    message: &str,
    idem_key: Option<&str>,
) -> Reply {
    try_resume(state, caller, session, message, idem_key).unwrap_or_else(|refusal| refusal)
}

fn try_resume(
    state: &mut State<'_>,
    caller: &Caller,
    session: &SessionKey,
    message: &str,
    idem_key: Option<&str>,
) -> Result<Reply, Reply> {
    let requester = state.session(&caller.session).clone();
    if let Some(key) = idem_key
        && let Some(task) = state.tx().task_by_idem(&requester.key, key)
    {
        return Ok(duplicate_reply(state, task));
    }
    check_open(state, caller)?;
    let session = state.session(session).clone();
    check_room(state, &requester)?;
    // What it was asked before goes on, if it was asked from here.
    let ended = state.tx().task_of_session(&session.key);
    let ended = ended.map(|id| state.task(&id).clone());
    let ended = ended.filter(|task| task.requester_key == requester.key);
    // The name goes with the work, unless another open task has it by now.
    let task_name = match ended.as_ref().and_then(|task| task.task_name.clone()) {
        Some(name) if state.tx().open_task_by_name(&requester.key, &name).is_none() => Some(name),
        _ => None,
    };
    let words = ended.as_ref().map_or(session.session_id.to_string(), |task| task.id.to_string());
    let task = Task {
        id: TaskId::new(state.at.mint()),
        kind: kind_of(caller),
        requester_key: requester.key.clone(),
        parent: caller.task,
        root_key: requester.root_key.clone(),
        depth: requester.depth + 1,
        session_key: session.key.clone(),
        run: RunId::new(state.at.mint()),
        task_name,
        label: ended.as_ref().map_or(session.label, |task| task.label.clone()),
        idem_key: idem_key.map(str::to_owned),
        // The same words mean something else to a session that has heard others.
        dup_hash: dup_hash(&session.agent, &format!("{words} {message}")),
        announce: ended.as_ref().map_or(Announce::Parent, |task| task.announce),
        cleanup: ended.as_ref().map_or(Cleanup::Keep, |task| task.cleanup),
        deliverables: ended.and_then(|task| task.deliverables),
        origin: caller.origin.clone(),
        flow: None,
        node: None,
        attempt: 1,
        waited_by: None,
        cancelled: None,
        outcome: None,
        result_hash: None,
        created: state.now(),
        ended: None,
    };
    add_task(state, &task);
    let timeout = state.limits.agents.get(&session.agent).and_then(|agent| agent.child_timeout);
    put_brief(state, &task, message, timeout);
    Ok(Reply::ok(json!({
        "status": "accepted",
        "taskId": task.id,
        "runId": task.run,
        "sessionKey": task.session_key,
        "resumed": true,
        "note": "The task had ended, so this is a new one in its session. Its result will come as \
                 a message marked as a sub-agent's result.",
    })))
}

fn kind_of(caller: &Caller) -> TaskKind {
    if caller.run.is_some() { TaskKind::Subagent } else { TaskKind::Cli }
}

pub fn add_task(state: &mut State<'_>, task: &Task) {
    state.add_task(task.clone());
    state.notices.push(Notice::TaskSpawned {
        task: task.id,
        requester: task.requester_key.clone(),
        child: task.session_key.clone(),
        run: task.run,
    });
}

/// Hash of agent and brief, the brief without regard to white space and case.
fn dup_hash(agent: &AgentId, brief: &str) -> Hash {
    let words: Vec<String> = brief.split_whitespace().map(str::to_lowercase).collect();
    Hash::of(format!("{agent}\n{}", words.join(" ")))
}

/// Finds the task that this spawn would do again: of the same idempotency key whether open or
/// ended, or an open one of the same name, or one with the same brief under no other name.
fn duplicate(
    state: &mut State<'_>,
    requester: &SessionKey,
    request: &SpawnRequest,
    dup_hash: Hash,
) -> Option<TaskId> {
    if let Some(key) = &request.idempotency_key
        && let Some(task) = state.tx().task_by_idem(requester, key)
    {
        return Some(task);
    }
    if let Some(name) = &request.task_name
        && let Some(task) = state.tx().open_task_by_name(requester, name)
    {
        return Some(task);
    }
    let equal = state.tx().open_tasks_by_hash(requester, dup_hash);
    equal
        .into_iter()
        .find(|id| request.task_name.is_none() || request.task_name == state.task(id).task_name)
}

fn duplicate_reply(state: &mut State<'_>, id: TaskId) -> Reply {
    let task = state.task(&id).clone();
    let advice = match task.outcome {
        None => {
            "An equal task is open: its result will come. To tell it more, use subagents with \
             action \"steer\". For a second one on purpose, pass another taskName."
        }
        Some(_) => {
            "A task with this idempotencyKey has ended already; its result was announced. To go \
             on with it, use subagents with action \"steer\"."
        }
    };
    Reply::ok(json!({
        "status": "duplicate",
        "taskId": task.id,
        "runId": task.run,
        "childSessionKey": task.session_key,
        "note": advice,
    }))
}

pub fn allowed_agent(
    state: &mut State<'_>,
    requester: &Session,
    request: &SpawnRequest,
    target: &AgentId,
) -> Result<AgentLimits, Reply> {
    let limits = state.limits;
    let own = limits.agents.get(&requester.agent);
    if request.agent.is_none() && own.is_some_and(|own| own.require_agent) {
        let why = "agentId is required: agents.defaults.subagents.requireAgentId is true";
        return Err(Reply::error("invalid_argument", why));
    }
    let Some(agent) = limits.agents.get(target) else {
        let known: Vec<&str> = limits.agents.keys().map(AgentId::as_str).collect();
        let why = format!(
            "agentId \"{target}\" is not configured in agents.entries (there are: {})",
            known.join(", ")
        );
        return Err(Reply::error("agent_not_allowed", &why));
    };
    let allowed = *target == requester.agent
        || own.is_some_and(|own| match &own.allow_agents {
            AllowAgents::All => true,
            AllowAgents::These(agents) => agents.contains(target),
        });
    if !allowed {
        let why = format!(
            "agent \"{}\" may not spawn \"{target}\": it is not in \
             agents.entries.{}.subagents.allowAgents",
            requester.agent, requester.agent
        );
        return Err(Reply::error("agent_not_allowed", &why));
    }
    Ok(agent.clone())
}

/// The model of the child. An unusable one is an error, never silently another.
pub fn usable_model(
    state: &mut State<'_>,
    request: &SpawnRequest,
    agent: &AgentLimits,
) -> Result<String, Reply> {
    let model = request.model.as_ref().or(agent.child_model.as_ref()).unwrap_or(&agent.model);
    if state.limits.models.contains_key(model) {
        return Ok(model.clone());
    }
    let known: Vec<&str> = state.limits.models.keys().map(String::as_str).collect();
    let why = format!(
        "model \"{model}\" is not configured in models.providers (there are: {})",
        known.join(", ")
    );
    Err(Reply::error("model_unavailable", &why))
}

/// Depth, children and tree must have room; each refusal names the key and its present value.
pub fn check_room(state: &mut State<'_>, requester: &Session) -> Result<(), Reply> {
    let limits = state.limits;
    let max = limits.spawn_depth_max;
    if requester.depth >= max {
        let why = format!(
            "this session is at depth {}, and agents.defaults.subagents.maxSpawnDepth is {max}; \
             do the work here",
            requester.depth
        );
        return Err(Reply::error("depth_exceeded", &why));
    }
    let open = state.tx().open_children(&requester.key).len();
    if open >= limits.children_max as usize {
        let why = format!(
            "{open} children are open, and agents.defaults.subagents.maxChildrenPerAgent is {}; \
             yield until some have ended",
            limits.children_max
        );
        return Err(Reply::error("children_exceeded", &why));
    }
    let tree = state.tx().open_tasks_of_tree(&requester.root_key);
    if tree >= limits.tasks_per_tree_max {
        let why = format!(
            "{tree} tasks of this tree are open, and agents.defaults.subagents.maxTasksPerTree \
             is {}; yield until some have ended",
            limits.tasks_per_tree_max
        );
        return Err(Reply::error("tree_exceeded", &why));
    }
    Ok(())
}

pub fn create_child(
    state: &mut State<'_>,
    requester: &Session,
    agent: &AgentId,
    request: &SpawnRequest,
    model: &str,
    policy: ForChild,
) -> Session {
    let now = state.now();
    let child = Session {
        key: SessionKey::new(agent.clone(), Scope::Subagent(state.at.mint())),
        session_id: SessionId::new(state.at.mint()),
        agent: agent.clone(),
        owner: requester.owner.clone(),
        parent_key: Some(requester.key.clone()),
        root_key: requester.root_key.clone(),
        depth: requester.depth + 1,
        lifecycle: Lifecycle::Open,
        open_run: None,
        label: request.label.clone().or_else(|| request.task_name.clone()),
        model: Some(model.to_owned()),
        cwd: request.cwd.clone().or_else(|| requester.cwd.clone()),
        access: policy.access,
        policy_hash: Some(policy.hash),
        pool_key: None,
        declared: None,
        queue_mode: None,
        rev: 0,
        created: now,
        active: now,
        archived: None,
        deleted: None,
    };
    inbox::create_session(state, child.clone());
    child
}

fn create_task(
    state: &mut State<'_>,
    caller: &Caller,
    requester: &Session,
    child: &Session,
    request: &SpawnRequest,
    dup_hash: Hash,
) -> Task {
    let task = Task {
        id: TaskId::new(state.at.mint()),
        kind: kind_of(caller),
        requester_key: requester.key.clone(),
        parent: caller.task,
        root_key: requester.root_key.clone(),
        depth: child.depth,
        session_key: child.key.clone(),
        run: RunId::new(state.at.mint()),
        task_name: request.task_name.clone(),
        label: request.label.clone(),
        idem_key: request.idempotency_key.clone(),
        dup_hash,
        announce: request.announce,
        cleanup: request.cleanup,
        origin: caller.origin.clone(),
        deliverables: request.deliverables.clone(),
        attempt: 1,
        flow: None,
        node: None,
        waited_by: None,
        cancelled: None,
        outcome: None,
        result_hash: None,
        created: state.now(),
        ended: None,
    };
    add_task(state, &task);
    task
}

/// The brief is the child's first and only message: its context holds nothing else.
pub fn put_brief(state: &mut State<'_>, task: &Task, brief: &str, timeout: Option<Duration>) {
    // A chain of messages goes on through a task.
    let asking = state.session(&task.requester_key).open_run;
    let hops = asking.map_or(0, |run| state.run(&run).hops);
    let row = InboxRow {
        seq: 0,
        id: MessageId::new(state.at.mint()),
        session_key: task.session_key.clone(),
        kind: InboxKind::Brief,
        place: Place::Own,
        idem_key: format!("brief:{}", task.id),
        body_hash: Hash::of(brief),
        tokens: types::usage::estimate_tokens(brief),
        origin: task.origin.clone(),
        sender: Some(task.requester_key.clone()),
        hops,
        watch: false,
        task: Some(task.id),
        state: InboxState::Queued,
        run: None,
        timeout_ms: timeout.map(inbox::whole_ms),
        at: state.now(),
        done: None,
    };
    let seq = inbox::put_row(state, row, brief);
    wait::wake(state, &task.session_key, seq);
}

fn accepted_reply(state: &mut State<'_>, task: &Task, child: &Session, model: &str) -> Reply {
    let lane = state.run(&task.run).lane;
    let held = state.tx().held_slots(lane).len();
    let queued = state.tx().queued_runs(lane, 1_000);
    let ahead = queued.iter().position(|run| *run == task.run).unwrap_or(0) + held;
    Reply::ok(json!({
        "status": "accepted",
        "taskId": task.id,
        "runId": task.run,
        "childSessionKey": child.key,
        "sessionId": child.session_id,
        "taskName": task.task_name,
        "reused": false,
        "context": "isolated",
        "resolvedModel": model,
        "lane": { "name": lane, "ahead": ahead },
        "expectsCompletionMessage": task.announce.reaches_requester(),
        "note": "The result will come as a message marked as a sub-agent's result. Do not poll: \
                 spawn what else is needed, then call sessions_yield.",
    }))
}
