//! `sessions_spawn`: a task, the session that carries it with its brief, and the answer, in one
//! commit. And the resuming of a task that has ended, which is the same in the session that it
//! has.
//!
//! | here | decided |
//! |---|---|
//! | `duplicate` | is this work being done already? |
//! | `check` | may the caller, and is there room? |
//! | `place` | which session carries it: a new one, one of a name, one of the pool |
//! | `pool` | which idle session is alike, and what it forgets |
//! | `fork` | what a branch begins with |

use std::time::Duration;

use serde_json::json;
use types::{
    AgentId, Announce, Budget, Cleanup, Footer, Hash, MessageId, Reasoning, RunId, Scope,
    SessionId, SessionKey, SpawnRequest, TaskId,
};

mod check;
mod duplicate;
pub(crate) mod fork;
mod place;
pub(crate) mod pool;

pub(crate) use check::{allowed_agent, check_open, check_room, target, usable_model};
use duplicate::{dup_hash, duplicate, duplicate_reply};
pub(crate) use place::Chosen;
use place::choose;

use crate::again;
use crate::budget::{self, Asker};
use crate::deliver;
use crate::effect::Notice;
use crate::failover;
use crate::inbox;
use crate::internal::{Caller, Reply};
use crate::limits::AgentLimits;
use crate::policy::{self, ForChild};
use crate::rows::{
    EpisodeReason, InboxKind, InboxRow, InboxState, LaneName, Lifecycle, Place, Session, Task,
    TaskKind,
};
use crate::state::State;
use crate::wait;

/// Where a caller stands in its tree: by the task that its run carries, wherever the session was
/// made; by its session if it is talked to by a person. So a thread that is gone on with from far
/// down cannot spawn deeper than others, and its children belong to the tree that pays for them.
#[derive(Debug)]
pub(crate) struct Lineage {
    pub depth: u32,
    pub root: SessionKey,
    /// Sessions above, each of which has asked for the next.
    sessions: Vec<SessionKey>,
}

impl Lineage {
    /// Of a session whose run carries `task`, or none.
    pub fn of(state: &mut State<'_>, requester: &Session, task: Option<TaskId>) -> Lineage {
        let (mut depth, mut root) = (requester.depth, requester.root_key.clone());
        if let Some(task) = task {
            let task = state.task(&task);
            (depth, root) = (task.depth, task.root_key.clone());
        }
        let mut sessions = Vec::new();
        let mut next = task;
        while let Some(id) = next {
            let task = state.task(&id);
            sessions.push(task.requester_key.clone());
            next = task.parent;
        }
        Lineage { depth, root, sessions }
    }
}

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
    let target = target(&requester, request)?;
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
    let lineage = Lineage::of(state, &requester, caller.task);
    check_room(state, &requester, &lineage)?;
    let asker = Asker::of(caller, &lineage.root);
    let cap = budget::for_child(state, &asker, request, &target, &model)?;
    let base = match fork::wanted(request) {
        true => fork::base_of(state, caller, &requester, &target)?,
        false => None,
    };

    let chosen = carrier(state, &requester, &lineage, &agent, request, &model)?;
    let base = base.filter(|_| !chosen.reused);
    if let Some(base) = base {
        fork::graft(state, &chosen.session, base);
    }
    let task = create_task(state, caller, &lineage, &chosen.session, request, dup_hash);
    budget::open(state, task.id, cap);
    if base.is_some() {
        fork::say_so(state, &task);
    }
    let timeout = match request.run_timeout {
        Some(timeout) => (!timeout.is_zero()).then_some(timeout),
        None => agent.child_timeout,
    };
    put_brief(state, &task, &request.task, timeout);
    Ok(accepted_reply(state, &task, &chosen, base.is_some(), cap))
}

/// Finds or makes the session that carries the task of a spawn.
pub(crate) fn carrier(
    state: &mut State<'_>,
    requester: &Session,
    lineage: &Lineage,
    agent: &AgentLimits,
    request: &SpawnRequest,
    model: &str,
) -> Result<Chosen, Reply> {
    let target = target(requester, request)?;
    let policy = policy::for_child(state, requester, lineage.depth + 1, &target, request, model)?;
    let draft = draft(state, requester, lineage, &target, request, model, policy);
    choose(state, requester, request, agent, lineage, draft)
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
    let lineage = Lineage::of(state, &requester, caller.task);
    check_room(state, &requester, &lineage)?;
    policy::for_existing(state, &requester.key, &session.key)?;
    // What it was asked before goes on, if it was asked from here.
    let ended = state.tx().task_of_session(&session.key);
    let ended = ended.map(|id| state.task(&id).clone());
    let ended = ended.filter(|task| task.requester_key == requester.key);
    let announce = ended.as_ref().map_or(Announce::Parent, |task| task.announce);
    check_goes_on(state, &requester.key, announce, &lineage, &session.key)?;
    // Somebody counts on what it remembers: it is no session like any other any more.
    state.session_mut(&session.key).pool_key = None;
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
        root_key: lineage.root,
        depth: lineage.depth + 1,
        session_key: session.key.clone(),
        run: RunId::new(state.at.mint()),
        task_name,
        label: ended.as_ref().map_or(session.label, |task| task.label.clone()),
        idem_key: idem_key.map(str::to_owned),
        // The same words mean something else to a session that has heard others.
        dup_hash: dup_hash(&session.agent, &format!("{words} {message}")),
        announce,
        cleanup: ended.as_ref().map_or(Cleanup::Keep, |task| task.cleanup),
        deliverables: ended.and_then(|task| task.deliverables),
        origin: caller.origin.clone(),
        flow: None,
        node: None,
        attempt: 1,
        retry_of: None,
        waited_by: None,
        cancelled: None,
        outcome: None,
        result_hash: None,
        created: state.now(),
        ended: None,
    };
    add_task(state, &task);
    let agent = state.limits.of_agent(&session.agent).agents.get(&session.agent);
    let timeout = agent.and_then(|agent| agent.child_timeout);
    let busy = session.open_run.is_some();
    put_brief(state, &task, message, timeout);
    Ok(resumed_reply(&task, busy))
}

fn resumed_reply(task: &Task, busy: bool) -> Reply {
    let note = if busy {
        "The session is at work: it takes this up as a task of its own when its run has ended. The \
         result will come as a message marked as a sub-agent's result. Do not send it again."
    } else {
        "The task had ended, so this is a new one in its session. Its result will come as a message \
         marked as a sub-agent's result."
    };
    Reply::ok(json!({
        "status": "accepted",
        "taskId": task.id,
        "runId": task.run,
        "sessionKey": task.session_key,
        "resumed": true,
        "queued": busy,
        "note": note,
    }))
}

/// May a session that is there go on with a task of `from`? Neither may wait for itself, and a
/// session that is busy must have room in its line.
pub(crate) fn check_goes_on(
    state: &mut State<'_>,
    from: &SessionKey,
    announce: Announce,
    lineage: &Lineage,
    session: &SessionKey,
) -> Result<(), Reply> {
    place::check_circle(state, from, announce, lineage, session)?;
    place::room_in_line(state, session).map(drop)
}

/// A session of the pool that has been taken for other work has forgotten the ended task.
pub(crate) fn check_still_its_own(state: &mut State<'_>, ended: TaskId) -> Result<(), Reply> {
    let ended = state.task(&ended).clone();
    if !pool::is_taken_since(state, &ended) {
        return Ok(());
    }
    let why = format!(
        "session {} was idle in the pool and has been taken for another task since; spawn anew, \
         and read what it had said with sessions_history",
        ended.session_key
    );
    Err(Reply::error("session_reused", &why))
}

fn kind_of(caller: &Caller) -> TaskKind {
    if caller.run.is_some() { TaskKind::Subagent } else { TaskKind::Cli }
}

pub(crate) fn add_task(state: &mut State<'_>, task: &Task) {
    state.add_task(task.clone());
    state.notices.push(Notice::TaskSpawned {
        task: task.id,
        requester: task.requester_key.clone(),
        child: task.session_key.clone(),
        run: task.run,
    });
}

/// The session that a spawn makes if it takes none that is there.
fn draft(
    state: &mut State<'_>,
    requester: &Session,
    lineage: &Lineage,
    agent: &AgentId,
    request: &SpawnRequest,
    model: &str,
    policy: ForChild,
) -> Session {
    let now = state.now();
    let mut draft = Session {
        key: SessionKey::new(agent.clone(), Scope::Subagent(state.at.mint())),
        session_id: SessionId::new(state.at.mint()),
        agent: agent.clone(),
        owner: requester.owner.clone(),
        parent_key: Some(requester.key.clone()),
        root_key: lineage.root.clone(),
        depth: lineage.depth + 1,
        lifecycle: Lifecycle::Open,
        open_run: None,
        label: request.label.clone().or_else(|| request.task_name.clone()),
        model: Some(model.to_owned()),
        thinking: request.thinking,
        cwd: request.cwd.clone().or_else(|| requester.cwd.clone()),
        access: policy.access,
        policy_hash: Some(policy.hash),
        pool_key: None,
        declared: None,
        queue: Default::default(),
        reasoning: Reasoning::Off,
        footer: Footer::Off,
        card: None,
        rev: 0,
        created: now,
        active: now,
        archived: None,
        deleted: None,
    };
    draft.pool_key = pool::joins(request).then(|| pool::key_of(&draft));
    draft
}

fn create_task(
    state: &mut State<'_>,
    caller: &Caller,
    lineage: &Lineage,
    child: &Session,
    request: &SpawnRequest,
    dup_hash: Hash,
) -> Task {
    let task = Task {
        id: TaskId::new(state.at.mint()),
        kind: kind_of(caller),
        requester_key: caller.session.clone(),
        parent: caller.task,
        root_key: lineage.root.clone(),
        depth: lineage.depth + 1,
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
        retry_of: None,
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

/// A brief is never steered into another run: it opens its own, at once or when the session is
/// free.
pub(crate) fn put_brief(
    state: &mut State<'_>,
    task: &Task,
    brief: &str,
    timeout: Option<Duration>,
) {
    let brief = deliver::brief(task, brief);
    put_whole_brief(state, task, &brief, timeout);
}

/// The same, of a brief that says already what has to be handed in.
pub(crate) fn put_whole_brief(
    state: &mut State<'_>,
    task: &Task,
    brief: &str,
    timeout: Option<Duration>,
) {
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

fn accepted_reply(
    state: &mut State<'_>,
    task: &Task,
    chosen: &Chosen,
    forked: bool,
    cap: Budget,
) -> Reply {
    let session = &chosen.session;
    let n = state.transcript(&session.session_id).episode;
    let pooled = state.episode(&(session.session_id, n)).reason == EpisodeReason::Pool;
    let context = match (forked, chosen.reused && !pooled) {
        (true, _) => "fork",
        (_, true) => "continued",
        _ => "isolated",
    };
    let lane = LaneName::Subagent;
    let mut reply = json!({
        "status": "accepted",
        "taskId": task.id,
        "runId": task.run,
        "childSessionKey": session.key,
        "sessionId": session.session_id,
        "taskName": task.task_name,
        "reused": chosen.reused,
        "reuseReason": chosen.why,
        "context": context,
        "resolvedModel": failover::model_of(state.limits, session),
        "resolvedThinking": failover::thinking_words(state.limits, session),
        "lane": { "name": lane, "ahead": ahead_of(state, task, lane) },
        "expectsCompletionMessage": task.announce.reaches_requester(),
        "note": "The result will come as a message marked as a sub-agent's result. Do not poll: \
                 spawn what else is needed, then call sessions_yield.",
    });
    if !cap.is_none() {
        reply["budget"] = json!(cap);
    }
    Reply::ok(reply)
}

/// How many runs go before that of a task: in its lane, or first in its session.
fn ahead_of(state: &mut State<'_>, task: &Task, lane: LaneName) -> usize {
    if state.find_run(&task.run).is_none() {
        // The one that is open there, and those in line; its own brief is the last of them.
        return place::in_line(state, &task.session_key);
    }
    let held = state.tx().held_slots(lane).len();
    let ahead = match state.run(&task.run).rank {
        Some(rank) => state.tx().place_in_line(lane, rank, task.run) - 1,
        None => 0,
    };
    held + ahead as usize
}
