//! Tool calls that the machine carries out itself: work and result are one commit.

use serde_json::{Value, json};
use types::{
    InternalCall, RunId, SessionKey, TaskId, TaskTarget, WaitFor, WaitRequest, YieldRequest,
};

use crate::effect::{Answer, Refusal, Stopped};
use crate::event::{Asked, Inbound, Token};
use crate::guard;
use crate::inbox;
use crate::queue::QueueMode;
use crate::rows::{InboxKind, Lifecycle, Place, StepState, TaskKind};
use crate::state::State;
use crate::transcript::{Closing, close_tool};
use crate::{card, flow, halt, send, spawn, step, stop, wait};

/// Tasks of one session that are looked through for one of the caller's.
const CARRIED_MAX: usize = 100;

/// What a call of ours answers to the model: one JSON object.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub text: String,
    pub is_error: bool,
}

impl Reply {
    pub fn ok(value: Value) -> Reply {
        Reply { text: value.to_string(), is_error: false }
    }

    /// A refusal that says what decides, so that a model cannot invent a reason.
    pub fn error(code: &str, why: &str) -> Reply {
        let value = json!({ "status": "error", "code": code, "error": why });
        Reply { text: value.to_string(), is_error: true }
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer::Told { text: reply.text, is_error: reply.is_error }
    }
}

/// Who asks: a run by a tool call, or a person or a program in the name of a session.
#[derive(Clone, Debug)]
pub struct Caller {
    pub session: SessionKey,
    /// The run whose tool call this is.
    pub run: Option<RunId>,
    /// Its step.
    pub step: Option<u32>,
    /// The task of that run: what is asked for is below it.
    pub task: Option<TaskId>,
    /// Where answers go.
    pub origin: String,
    /// Names this call. Rows that it makes carry it in their idempotency keys.
    pub mark: String,
    /// Messages of agents that led to this call.
    pub hops: u32,
    /// Who has stopped what is stopped.
    pub by: String,
}

impl Caller {
    /// The caller of a tool call.
    pub fn of_step(state: &mut State<'_>, run: RunId, step: u32) -> Caller {
        let row = state.run(&run);
        Caller {
            session: row.session_key.clone(),
            run: Some(run),
            step: Some(step),
            task: row.task,
            origin: row.origin.clone(),
            mark: format!("{run}:{step}"),
            hops: row.hops,
            by: row.session_key.to_string(),
        }
    }
}

/// Does what is asked for in the name of a session.
pub fn ask(state: &mut State<'_>, asked: Asked) -> Answer {
    if let Err(refusal) = inbox::open_session(state, &asked.session, &asked.owner) {
        return Answer::Refused(refusal);
    }
    let caller = Caller {
        session: asked.session,
        run: None,
        step: None,
        task: None,
        origin: asked.origin,
        mark: asked.mark,
        hops: 0,
        by: asked.owner,
    };
    let reply = match asked.call {
        // Only a run can be suspended.
        InternalCall::Yield(_) => return Answer::Refused(Refusal::NotARun("sessions_yield")),
        InternalCall::Wait(_) => return Answer::Refused(Refusal::NotARun("subagents wait")),
        call => dispatch(state, &caller, call),
    };
    reply.into()
}

/// Carries out a call that needs no run of the caller.
fn dispatch(state: &mut State<'_>, caller: &Caller, call: InternalCall) -> Reply {
    match call {
        InternalCall::Spawn(request) => spawn::spawn(state, caller, &request),
        InternalCall::Kill { target } => kill(state, caller, &target),
        InternalCall::Steer { target, message } => steer(state, caller, &target, message),
        InternalCall::StartFlow(request) => flow::start(state, caller, &request),
        InternalCall::CancelFlow { target } => flow::cancel(state, caller, target),
        InternalCall::Send(request) => send::ask(state, caller, &request),
        InternalCall::Card(card) => card::put(state, caller, &card),
        InternalCall::Say { text } => card::say(state, caller, &text),
        InternalCall::Yield(_) | InternalCall::Wait(_) => {
            unreachable!("a wait is carried out for its run")
        }
    }
}

pub fn is_yield(call: &InternalCall) -> bool {
    matches!(call, InternalCall::Yield(_) | InternalCall::Wait(_))
}

/// Carries a call out and records its result.
pub fn carry_out(
    state: &mut State<'_>,
    run: RunId,
    life: Token,
    step: u32,
    call: InternalCall,
) -> Answer {
    if !step::is_current(state, run, life, Some(step)) {
        return Answer::Fenced;
    }
    let reply = match call {
        InternalCall::Yield(request) => wait::on_yield(state, run, step, &request),
        InternalCall::Wait(request) => wait_for_tasks(state, run, step, &request),
        InternalCall::Send(request) => match send::on_send(state, run, step, &request) {
            Some(reply) => reply,
            None => {
                step::after_tool(state, run);
                return Answer::Done;
            }
        },
        call => {
            let caller = Caller::of_step(state, run, step);
            dispatch(state, &caller, call)
        }
    };
    guard::heard(state, run, step, &reply.text, reply.is_error);
    let closing = Closing { text: &reply.text, is_error: reply.is_error, state: StepState::Done };
    close_tool(state, run, step, closing);
    state.run_mut(&run).recoveries = 0;
    step::after_tool(state, run);
    Answer::Done
}

/// Suspends the run until all of these tasks have ended, and says how each stands now. What they
/// have found comes with their announces, as after a yield.
fn wait_for_tasks(state: &mut State<'_>, run: RunId, step: u32, request: &WaitRequest) -> Reply {
    let caller = Caller::of_step(state, run, step);
    let (mut open, mut rows) = (Vec::new(), Vec::new());
    for target in &request.targets {
        let id = match find_below(state, &caller, target) {
            Ok(id) => id,
            Err(reply) => return reply,
        };
        let task = state.task(&id).clone();
        if task.requester_key != caller.session {
            let why = format!(
                "{id} is a task of {}: its result goes there. Wait for your own sub-agents",
                task.requester_key
            );
            return Reply::error("invalid_argument", &why);
        }
        if task.outcome.is_none() && !open.contains(&id) {
            open.push(id);
        }
        let standing = task.outcome.map_or("pending", |outcome| outcome.as_str());
        rows.push(json!({
            "taskId": id, "sessionKey": task.session_key, "taskName": task.task_name,
            "state": standing,
        }));
    }
    if open.is_empty() {
        let note = "All have ended; their results come, or have come, as messages.";
        return Reply::ok(json!({ "status": "ready", "tasks": rows, "note": note }));
    }
    let wait = YieldRequest {
        message: None,
        acknowledgment: None,
        wait_for: WaitFor::Tasks(open),
        at_least: None,
        timeout: Some(request.timeout),
    };
    let reply = wait::on_yield(state, run, step, &wait);
    if reply.is_error {
        return reply;
    }
    let note = "You go on when those that are pending have ended, or when the time is over; their \
                results come as messages.";
    Reply::ok(json!({ "status": "waiting", "tasks": rows, "note": note }))
}

fn kill(state: &mut State<'_>, caller: &Caller, target: &TaskTarget) -> Reply {
    let id = match find_below(state, caller, target) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    if state.task(&id).outcome.is_some() {
        return Reply::ok(json!({ "status": "already_ended", "taskId": id }));
    }
    let stopped = stop::stop_tree(state, id, &caller.by, false);
    stopped_reply(state, &caller.session, &stopped)
}

/// What a stop has ended, and what of it is not proved to be over.
pub fn stopped_reply(state: &mut State<'_>, asked: &SessionKey, stopped: &Stopped) -> Reply {
    let root = state.session(asked).root_key.clone();
    let report = halt::report(state, &root, stopped);
    let mut told = json!({ "status": "stopped", "runs": stopped.runs, "tasks": stopped.tasks });
    if !report.is_empty() {
        told["stop"] = report.json();
        told["note"] = json!(
            "Nothing of it is taken any more. What is stopping ends within 5 s; subagents with \
             action \"info\" says when that is proved."
        );
    }
    Reply::ok(told)
}

/// Puts a message into the session of a task below. One whose last run has ended, however it
/// ended, can receive: sending to it is resuming it, as a new task.
fn steer(state: &mut State<'_>, caller: &Caller, target: &TaskTarget, message: String) -> Reply {
    let id = match find_below(state, caller, target) {
        Ok(id) => id,
        Err(reply) => return reply,
    };
    if state.task(&id).kind == TaskKind::Flow {
        let why = "a flow takes no messages; name the task of one of its nodes, which `flows` with \
                   the action \"show\" lists";
        return Reply::error("invalid_argument", why);
    }
    let session = state.task(&id).session_key.clone();
    if state.session(&session).lifecycle == Lifecycle::Archived {
        return Reply::error("session_archived", &format!("session {session} is archived"));
    }
    let open = match listening(state, id) {
        Listening::Run(open) => open,
        Listening::Nobody => {
            return match spawn::check_still_its_own(state, id) {
                Ok(()) => spawn::resume(state, caller, &session, &message, None),
                Err(refusal) => refusal,
            };
        }
        Listening::NotYet => {
            let why = format!(
                "task {id} waits in line behind another run of session {session}; tell it more \
                 when it has begun, or put that into a task of its own"
            );
            return Reply::error("busy", &why);
        }
    };
    let max = state.limits.queued_rows_max;
    if state.tx().queued_rows(&session, max).len() >= max {
        let why = format!("{max} messages wait in session {session}; let it take them in first");
        return Reply::error("queue_full", &why);
    }
    // An open run takes in what has its own origin; where its answer goes is decided already.
    let origin = state.run(&open).origin.clone();
    let inbound = Inbound {
        session: session.clone(),
        kind: InboxKind::Agent,
        body: message,
        idem_key: format!("steer:{}", caller.mark),
        origin,
        owner: String::new(),
        mode: Some(QueueMode::Steer),
        model: None,
        label: None,
        timeout_ms: None,
        sender: Some(caller.session.clone()),
        hops: caller.hops + 1,
    };
    if let Some(seq) = state.tx().inbox_by_idem(&session, &inbound.idem_key) {
        let message = state.inbox(&seq).id;
        return Reply::ok(json!({
            "status": "accepted", "messageId": message, "sessionKey": session, "duplicate": true,
        }));
    }
    let seq = inbox::put(state, &inbound, Place::Steer);
    wait::wake(state, &session, seq);
    let message = state.inbox(&seq).id;
    Reply::ok(json!({ "status": "accepted", "messageId": message, "sessionKey": session }))
}

/// Who hears a message to a task.
enum Listening {
    /// The run of the task, or the one that goes on with it.
    Run(RunId),
    /// It has ended: the message is a new task of its session.
    Nobody,
    /// It has not begun, and the run that is open in its session is not its own.
    NotYet,
}

fn listening(state: &mut State<'_>, id: TaskId) -> Listening {
    let task = state.task(&id).clone();
    let Some(open) = state.session(&task.session_key).open_run else { return Listening::Nobody };
    if open == task.run {
        return Listening::Run(open);
    }
    if task.outcome.is_none() {
        return Listening::NotYet;
    }
    // A session with a name may be at work for somebody else.
    let other = state.run(&open).task;
    let goes_on = other.is_none_or(|other| state.task(&other).requester_key == task.requester_key);
    if goes_on { Listening::Run(open) } else { Listening::Nobody }
}

/// Finds a task of the caller's tree by its id, its `taskName`, or its session key.
fn find_below(
    state: &mut State<'_>,
    caller: &Caller,
    target: &TaskTarget,
) -> Result<TaskId, Reply> {
    let key = caller.session.clone();
    let text = target.0.as_str();
    let found = if let Ok(id) = text.parse::<TaskId>() {
        state.find_task(&id).map(|task| task.id)
    } else if let Ok(session) = text.parse::<SessionKey>() {
        // Others may have asked the same session for other work since.
        let carried = state.tx().tasks_of_session(&session, CARRIED_MAX);
        carried.into_iter().find(|id| is_below(state, *id, &key))
    } else {
        state.tx().open_task_by_name(&key, text)
    };
    match found {
        Some(id) if is_below(state, id, &key) => Ok(id),
        _ => Err(Reply::error(
            "task_not_found",
            &format!(
                "no task `{text}` below this session; name it by its taskId, its taskName while \
                 it is open, or its session key"
            ),
        )),
    }
}

pub fn is_below(state: &mut State<'_>, task: TaskId, requester: &SessionKey) -> bool {
    let mut next = Some(task);
    while let Some(id) = next {
        let task = state.task(&id);
        if task.requester_key == *requester {
            return true;
        }
        next = task.parent;
    }
    false
}
