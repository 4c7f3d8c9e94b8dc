//! Steps: a model call or a tool call, begun, finished, and what comes next.

use types::{EffectClass, Hash, RunId, TaskId, Timestamp, Usage};

use crate::answer;
use crate::approve;
use crate::budget;
use crate::calls;
use crate::context::{self, Next};
use crate::cut;
use crate::deadline;
use crate::deliver;
use crate::effect::{Action, Answer, ModelCall, Notice, ToolStart};
use crate::event::{ModelFailure, ModelReply, Token, ToolDone};
use crate::failover;
use crate::finish::{End, finish};
use crate::lane::token;
use crate::policy::{self, Role};
use crate::refresh;
use crate::retry;
use crate::rows::{
    Body, EntryKind, LedgerRow, NodeState, Outcome, Purpose, Step, StepKind, StepState, TimerKind,
};
use crate::run::{Phase, RunEvent, WaitKind};
use crate::state::State;
use crate::transcript::{self, Closing, NewEntry, close_tool};
use crate::wait::{self, Turn, requeue, suspend, transition};
use crate::{gate, guard, kept, naming};

/// The tool with which a session looks at what it has left running.
const LOOKS_AT_COMMANDS: &str = "process";

/// Sends the run to its model, or to whatever comes before that.
///
/// In this order: a stopped tree ends the run; a draining gateway puts it back in line; an
/// episode without a prefix gets one; a run that a budget does not let through waits for it, or
/// ends; one that its provider does not let through waits at the gate; otherwise a model call is
/// recorded and goes out. What it is made for is up to [`context::next`].
pub fn call(state: &mut State<'_>, run: RunId) {
    if ends_here(state, run) || drains_here(state, run) {
        return;
    }
    let row = state.run(&run).clone();
    let session = state.session(&row.session_key).clone();
    let n = state.transcript(&row.session_id).episode;
    let episode = state.episode(&(row.session_id, n)).clone();
    let Some(prefix) = episode.prefix_hash else {
        transition(state, run, RunEvent::AdmittedUnpinned);
        pin(state, run);
        return;
    };
    if !failover::choose(state, run) {
        return;
    }
    let (purpose, plan) = match context::next(state, run) {
        Next::Call(purpose, plan) => (purpose, plan),
        Next::Again => return call(state, run),
        Next::Over => return,
    };
    if !budget::pass(state, run) || !gate::pass(state, run) {
        return;
    }
    // It may have been sent to another model than before.
    let row = state.run(&run).clone();
    transition(state, run, RunEvent::Calls);
    context::issued(state, run, purpose, plan.as_ref());
    let shown = context::projection(state, run, purpose, plan.as_ref());
    let step = new_step(state, run, StepKind::Model);
    budget::reserve(state, run);
    let row_of_step = state.step_mut(&(run, step));
    (row_of_step.purpose, row_of_step.model) = (purpose, Some(row.model.clone()));
    let token = token(state, run);
    let call = ModelCall {
        run,
        token,
        step,
        session: row.session_key,
        session_id: row.session_id,
        wire_id: row.wire_id,
        thinking: failover::thinking(state.limits_of(run), &session, &row.model),
        model: row.model,
        purpose,
        shown,
        prefix,
    };
    state.actions.push(Action::CallModel(call));
}

/// Decides which tools the run's episode has, and has its prefix rendered.
pub fn pin(state: &mut State<'_>, run: RunId) {
    let token = token(state, run);
    let key = state.run(&run).session_key.clone();
    let tools = policy::renew(state, &key).allowed;
    let session = state.session(&key).clone();
    let role = Role::at(session.depth, state.limits);
    let (session, agent) = (session.key, session.agent);
    state.actions.push(Action::Pin { run, token, session, agent, role, tools });
}

/// Ends the run if it, or something above it, has been stopped, or its time is over.
pub fn ends_here(state: &mut State<'_>, run: RunId) -> bool {
    if cancelled_above(state, run) {
        finish(state, run, End::without_answer(Outcome::Cancelled, "stopped").quietly());
        return true;
    }
    let now = state.now();
    if state.run(&run).deadline.is_some_and(|deadline| deadline <= now) {
        deadline::time_out(state, run);
        return true;
    }
    false
}

/// A draining gateway starts no step: the run goes on at the next start.
pub fn drains_here(state: &mut State<'_>, run: RunId) -> bool {
    let draining = state.this_node().is_none_or(|node| node.state != NodeState::Up);
    if draining {
        put_back(state, run);
    }
    draining
}

/// Puts a run back in line, from whatever phase it is admitted in.
fn put_back(state: &mut State<'_>, run: RunId) {
    // A run that has just been admitted is `queued` by its phase and holds a slot.
    if state.run(&run).phase == Phase::Queued {
        transition(state, run, RunEvent::Calls);
    }
    requeue(state, run, Turn::First);
}

/// Is the run's task, or one above it, being stopped?
pub fn cancelled_above(state: &mut State<'_>, run: RunId) -> bool {
    let task = state.run(&run).task;
    stopped(state, task)
}

/// Is this task, or one above it, being stopped?
pub fn stopped(state: &mut State<'_>, task: Option<TaskId>) -> bool {
    let mut next = task;
    while let Some(id) = next {
        let task = state.task(&id);
        if task.cancelled.is_some() {
            return true;
        }
        next = task.parent;
    }
    false
}

pub fn new_step(state: &mut State<'_>, run: RunId, kind: StepKind) -> u32 {
    let started = state.now();
    let row = state.run_mut(&run);
    let n = row.next_step;
    row.next_step += 1;
    state.add_step(Step {
        run,
        n,
        kind,
        purpose: Purpose::Reply,
        asked_by: None,
        name: None,
        call_id: None,
        args_hash: None,
        effect: None,
        state: StepState::Intent,
        result_hash: None,
        waits_on: None,
        model: None,
        started,
        ended: None,
    });
    n
}

/// Does a result belong to the run's present life, and is its step still open?
pub fn is_current(state: &mut State<'_>, run: RunId, life: Token, step: Option<u32>) -> bool {
    let Some(row) = state.find_run(&run) else { return false };
    let same = row.generation == life.generation && row.nonce == life.nonce;
    if !same || !row.phase.holds_slot() {
        return false;
    }
    match step {
        None => true,
        Some(n) => state.find_step(&(run, n)).is_some_and(|step| step.state == StepState::Intent),
    }
}

/// The prefix of the run's episode has been rendered.
pub fn on_pinned(
    state: &mut State<'_>,
    run: RunId,
    life: Token,
    prefix: &str,
    tokens: u64,
) -> Answer {
    if !is_current(state, run, life, None) || state.run(&run).phase != Phase::Preparing {
        return Answer::Fenced;
    }
    let hash = Hash::of(prefix);
    state.tx().add_blob(hash, prefix);
    let session_id = state.run(&run).session_id;
    refresh::pinned(state, run, session_id, hash, tokens);
    transcript::feed(state, run);
    call(state, run);
    Answer::Done
}

/// A model has answered: the answer is recorded, and its tools are begun, or the run ends.
pub fn on_model_replied(
    state: &mut State<'_>,
    run: RunId,
    life: Token,
    step: u32,
    reply: ModelReply,
) -> Answer {
    if !is_current(state, run, life, Some(step)) {
        return Answer::Fenced;
    }
    let purpose = state.step(&(run, step)).purpose;
    record_reply(state, run, step, &reply);
    // Calls are recorded first, so that each of them gets its result with the end.
    if reply.calls.is_empty() && naming::ends(state, run) {
        return Answer::Done;
    }
    if purpose == Purpose::Summary || reply.calls.is_empty() && purpose == Purpose::Notes {
        context::on_replied(state, run, purpose, &reply.text);
        call(state, run);
    } else if !reply.calls.is_empty() {
        if let Some(limit) = reply.cut_at {
            cut::note(state, run, step, reply.calls.len(), limit);
        }
        calls::plan(state, run, step, reply.calls);
    } else if !ends_here(state, run) {
        answer::answer(state, run, step, reply);
    }
    Answer::Done
}

fn record_reply(state: &mut State<'_>, run: RunId, step: u32, reply: &ModelReply) {
    let session_id = state.run(&run).session_id;
    let purpose = state.step(&(run, step)).purpose;
    let estimated = state.transcript(&session_id).context_tokens;
    let asked = state.run(&run).model.clone();
    gate::settle(state, &asked, estimated, reply.usage.total());
    close_model_step(state, run, step, StepState::Done);
    book(state, run, step, &reply.model, reply.usage, false);
    budget::release(state, run);
    note_model(state, run, &asked, &reply.model);
    let row = state.run_mut(&run);
    row.recoveries = 0;
    row.retries = 0;
    context::counted(state, run, purpose, reply);
    if purpose == Purpose::Summary {
        return;
    }
    transcript::append(
        state,
        session_id,
        NewEntry {
            run,
            step: Some(step),
            kind: EntryKind::Assistant,
            call_id: None,
            body: Body::Text(reply.body.clone()),
            tokens: reply.usage.output,
            silent: context::is_silent(purpose),
        },
    );
    // From here on the provider's count is known, and estimates start from it.
    let transcript = state.transcript_mut(&session_id);
    transcript.context_tokens = reply.usage.total();
    transcript.gauge.counted = reply.usage.total();
}

/// Keeps the name of the model that has answered, and says so if it is another than was asked.
fn note_model(state: &mut State<'_>, run: RunId, asked: &str, answered: &str) {
    let row = state.run_mut(&run);
    let before = row.answered.replace(answered.to_owned());
    let session = row.session_key.clone();
    if naming::differs(asked, answered) && before.as_deref() != Some(answered) {
        let (asked, answered) = (asked.to_owned(), answered.to_owned());
        state.notices.push(Notice::ModelDiffers { run, session, asked, answered });
    }
}

fn close_model_step(state: &mut State<'_>, run: RunId, n: u32, to: StepState) {
    let now = state.now();
    let step = state.step_mut(&(run, n));
    step.state = to;
    step.ended = Some(now);
    let model = step.model.clone().unwrap_or_default();
    gate::on_call_ended(state, run, &model, to == StepState::Done);
}

/// Writes the ledger row of a model step.
pub fn book(
    state: &mut State<'_>,
    run: RunId,
    step: u32,
    model: &str,
    usage: Usage,
    estimated: bool,
) {
    let at = state.now();
    // By the configured model, whatever the provider calls it.
    let asked = state.run(&run).model.clone();
    let limits = state.limits_of(run);
    let cost = budget::cost(limits, &asked, usage);
    let row = state.run_mut(&run);
    row.usage += usage;
    row.cost += cost.unwrap_or_default();
    let row = row.clone();
    let agent = state.session(&row.session_key).agent.clone();
    let line = LedgerRow {
        run,
        step,
        session_key: row.session_key,
        session_id: row.session_id,
        agent,
        task: row.task,
        root_key: row.root_key,
        model: model.to_owned(),
        usage,
        cost: cost.unwrap_or_default(),
        priced: cost.is_some(),
        price_id: cost.and_then(|_| limits.price_ids.get(&asked).cloned()),
        estimated,
        at,
    };
    budget::book(state, run, &line);
}

/// Starts an open tool step. The machine's own calls come back as an event of theirs.
pub fn start_tool(state: &mut State<'_>, run: RunId, n: u32, again: bool) {
    let token = token(state, run);
    let row = state.run(&run);
    let (session, session_id) = (row.session_key.clone(), row.session_id);
    let background = policy::now(state, &session).refusal(LOOKS_AT_COMMANDS).is_none();
    let step = state.step(&(run, n));
    let start = ToolStart {
        run,
        token,
        step: n,
        asked_by: step.asked_by.unwrap_or(0),
        session: session.clone(),
        session_id,
        name: step.name.clone().unwrap_or_default(),
        call_id: step.call_id.clone().unwrap_or_default(),
        again,
        background,
    };
    state.notices.push(Notice::ToolStarted {
        run,
        session,
        call_id: start.call_id.clone(),
        name: start.name.clone(),
    });
    state.actions.push(Action::StartTool(start));
}

/// Starts the tools again that a drain or a crash has left behind, but those that are denied by
/// now.
pub fn restart_tools(state: &mut State<'_>, run: RunId, open: Vec<u32>) {
    let session = state.run(&run).session_key.clone();
    let policy = policy::now(state, &session);
    for n in open {
        let step = state.step(&(run, n)).clone();
        // No policy denies the machine its own look.
        if deliver::is_check(&step) {
            deliver::start(state, run, n);
            continue;
        }
        let Some(why) = policy.refusal(&step.name.unwrap_or_default()) else {
            start_tool(state, run, n, true);
            continue;
        };
        // It may have been begun before.
        let unknown = matches!(step.effect, Some(EffectClass::Idempotent | EffectClass::Probed));
        let (text, to) = if unknown {
            let text =
                format!("{why} It was interrupted by a restart, and its outcome is unknown.");
            (text, StepState::Unknown)
        } else {
            (why, StepState::Done)
        };
        close_tool(state, run, n, Closing { text: &text, is_error: true, state: to });
    }
    after_tool(state, run);
}

/// A tool is done. The last one that is open lets the run go on.
pub fn on_tool_finished(
    state: &mut State<'_>,
    run: RunId,
    life: Token,
    step: u32,
    result: &ToolDone,
) -> Answer {
    if !is_current(state, run, life, Some(step)) {
        return Answer::Fenced;
    }
    let to = if result.unknown { StepState::Unknown } else { StepState::Done };
    let bytes_max = kept::result_bytes_max(state, run, step);
    let text = kept::bounded(state, run, &result.text, bytes_max);
    if !result.unknown {
        guard::heard(state, run, step, &text, result.is_error);
    }
    let closing = Closing { text: &text, is_error: result.is_error, state: to };
    close_tool(state, run, step, closing);
    let row = state.run_mut(&run);
    row.recoveries = 0;
    row.background |= result.background;
    after_tool(state, run);
    Answer::Done
}

/// Lets the run go on if no tool of it is open any more. If nothing but answers is missing, to its
/// messages or of a person, it waits for them without a slot.
pub fn after_tool(state: &mut State<'_>, run: RunId) {
    let tx = state.tx();
    if !tx.open_steps(run).is_empty() {
        return;
    }
    if tx.waiting_steps(run).is_empty() {
        go_on(state, run);
    } else if !ends_here(state, run) {
        let kind = approve::wait_kind(state, run);
        wait::rest(state, run, kind);
    }
}

/// The run is at a model boundary: it waits, if it has yielded, or takes inputs in and calls.
pub fn go_on(state: &mut State<'_>, run: RunId) {
    if ends_here(state, run) {
        return;
    }
    if state.run(&run).wait_need > 0 {
        wait::rest(state, run, WaitKind::Children);
        return;
    }
    transcript::feed(state, run);
    call(state, run);
}

/// A model call has failed: the run tries again later, or ends.
pub fn on_model_failed(
    state: &mut State<'_>,
    run: RunId,
    life: Token,
    step: u32,
    failure: &ModelFailure,
) -> Answer {
    if !is_current(state, run, life, Some(step)) {
        return Answer::Fenced;
    }
    let model = state.run(&run).model.clone();
    let reopens = gate::on_failed(state, run, &model, failure);
    fail_model_step(state, run, step, failure.paid);
    if ends_here(state, run) {
        return Answer::Done;
    }
    let purpose = state.step(&(run, step)).purpose;
    if context::on_failed(state, run, purpose, failure) {
        call(state, run);
        return Answer::Done;
    }
    let elsewhere = reopens.is_some()
        && state.run(&run).retries < gate::REFUSALS_MAX
        && failover::leads_elsewhere(state, run);
    let next =
        if elsewhere { Some(state.now()) } else { next_attempt(state, run, failure, reopens) };
    let (now, session) = (state.now(), state.run(&run).session_key.clone());
    state.notices.push(Notice::ModelCallFailed {
        run,
        session,
        error: failure.message.clone(),
        retry_in_ms: next.map(|due| due.since(now).as_millis() as i64),
    });
    let Some(due) = next else {
        let end = End {
            outcome: Outcome::Failed,
            text: None,
            error: Some((failure.class, failure.message.clone())),
            quiet: false,
        };
        finish(state, run, end);
        return Answer::Done;
    };
    state.run_mut(&run).retries += 1;
    if elsewhere {
        call(state, run);
    } else if reopens.is_some() {
        gate::wait_until(state, run, due);
    } else {
        suspend(state, run, WaitKind::Retry);
        state.set_timer(TimerKind::Retry, run, due);
    }
    Answer::Done
}

/// When the call may be made again: when its gate opens, if it has closed that, else by the class
/// of the failure. None if the run has tried often enough.
fn next_attempt(
    state: &mut State<'_>,
    run: RunId,
    failure: &ModelFailure,
    reopens: Option<Timestamp>,
) -> Option<Timestamp> {
    let retries = state.run(&run).retries;
    if reopens.is_some() {
        return reopens.filter(|_| retries < gate::REFUSALS_MAX);
    }
    let floor = failure.retry_after_ms.unwrap_or(0);
    let jitter = (state.at.random() >> 11) as f64 / (1_u64 << 53) as f64;
    let delay = retry::after_failure(failure.class, retries, floor, jitter)?;
    Some(state.now() + delay)
}

/// Closes a model step that has no answer. What the provider may charge is booked as estimated.
pub fn fail_model_step(state: &mut State<'_>, run: RunId, step: u32, paid: bool) {
    close_model_step(state, run, step, StepState::Failed);
    if paid {
        let row = state.run(&run).clone();
        let input = state.transcript(&row.session_id).context_tokens;
        book(state, run, step, &row.model, Usage { input, ..Usage::default() }, true);
    }
    budget::release(state, run);
}
