//! Inputs: accepted once, into the right session, at the right place in its queue.

use std::time::Duration;

use types::{
    Access, Footer, Hash, MessageId, Reasoning, RunId, SessionId, SessionKey, TaskId,
    usage::estimate_tokens,
};

use crate::cut;
use crate::deadline;
use crate::effect::{Accepted, Answer, Notice, Refusal};
use crate::event::Inbound;
use crate::interrupt::{interrupt, joins};
use crate::limits::QueueLimits;
use crate::policy;
use crate::queue::{Busy, Drop, Placement, QueueMode, place};
use crate::reply;
use crate::rows::{InboxKind, InboxRow, InboxState, Lifecycle, NodeState, Place, Session};
use crate::session;
use crate::state::State;
use crate::wait;

/// Takes an input in, or refuses it whole.
///
/// The same idempotency key in the same session is the same input: it gets the earlier answer,
/// also when the gateway is draining or the queue is full.
pub fn accept(state: &mut State<'_>, inbound: Inbound) -> Answer {
    match try_accept(state, inbound) {
        Ok(accepted) => Answer::Accepted(accepted),
        Err(refusal) => Answer::Refused(refusal),
    }
}

fn try_accept(state: &mut State<'_>, inbound: Inbound) -> Result<Accepted, Refusal> {
    if let Some(earlier) = duplicate_of(state, &inbound)? {
        return Ok(earlier);
    }
    check_bounds(state, &inbound)?;
    if open_session(state, &inbound.session, &inbound.owner)? {
        let model = inbound.model.as_ref().and_then(|name| state.limits.model_named(name).ok());
        let session = state.session_mut(&inbound.session);
        session.label = inbound.label.clone();
        session.model = model;
    }

    let key = inbound.session.clone();
    let busy = busyness(state, &key, &inbound.origin);
    let mode = inbound.mode.unwrap_or(queue_of(state, &key).mode);
    let placement = match place(mode, busy) {
        Placement::AbortThenNewRun if joins(state, &key, busy) => Placement::ActiveRun,
        placement => placement,
    };
    make_room(state, &inbound)?;

    let row_place = match placement {
        Placement::NewRun | Placement::NextRun | Placement::AbortThenNewRun => Place::Own,
        Placement::ActiveRun => Place::Steer,
        Placement::NextRunMerged => Place::Merge,
    };
    let timeout_ms = run_bound(state, &inbound);
    let seq = put(state, &Inbound { timeout_ms, ..inbound }, row_place);
    if placement == Placement::AbortThenNewRun {
        interrupt(state, &key, seq);
    }
    wait::wake(state, &key, seq);
    let row = state.inbox(&seq).clone();
    Ok(accepted(state, &row, false))
}

/// Finds the input that has come before under the same key.
fn duplicate_of(state: &mut State<'_>, inbound: &Inbound) -> Result<Option<Accepted>, Refusal> {
    let Some(seq) = state.tx().inbox_by_idem(&inbound.session, &inbound.idem_key) else {
        let conflict = || Err(Refusal::IdempotencyConflict(inbound.idem_key.clone()));
        let typed = state.tx().command(&inbound.session, &inbound.idem_key);
        return typed.map_or(Ok(None), |_| conflict());
    };
    let row = state.inbox(&seq).clone();
    if row.body_hash != Hash::of(&inbound.body) {
        return Err(Refusal::IdempotencyConflict(inbound.idem_key.clone()));
    }
    Ok(Some(accepted(state, &row, true)))
}

fn accepted(state: &mut State<'_>, row: &InboxRow, duplicate: bool) -> Accepted {
    let session = state.session(&row.session_key).clone();
    let steers = row.place == Place::Steer && row.state == InboxState::Queued;
    Accepted {
        message: row.id,
        session: session.key,
        session_id: session.session_id,
        run: row.run.or(if steers { session.open_run } else { None }),
        duplicate,
    }
}

/// Is it a message that could be taken in at all?
pub fn check_bounds(state: &mut State<'_>, inbound: &Inbound) -> Result<(), Refusal> {
    if state.this_node().is_some_and(|node| node.state != NodeState::Up) {
        return Err(Refusal::Draining);
    }
    if inbound.body.trim().is_empty() {
        return Err(Refusal::EmptyMessage);
    }
    let (bytes, limit) = (inbound.body.len(), state.limits.message_bytes_max);
    if bytes > limit {
        return Err(Refusal::TooLarge { bytes, limit });
    }
    if let Some(model) = &inbound.model {
        state.limits.model_named(model).map_err(Refusal::UnknownModel)?;
    }
    Ok(())
}

/// Makes the session if it is not there: any form of key, but a child's, may be made by a
/// message. Says whether it has been made.
pub fn open_session(state: &mut State<'_>, key: &SessionKey, owner: &str) -> Result<bool, Refusal> {
    use types::Scope;

    if !state.limits.agents.contains_key(&key.agent) {
        return Err(Refusal::UnknownAgent(key.agent.clone()));
    }
    let found = state.find_session(key).map(|session| (session.lifecycle, session.deleted));
    match found {
        Some((Lifecycle::Open, _)) => return Ok(false),
        Some((Lifecycle::Archived, None)) => return Err(Refusal::SessionArchived(key.clone())),
        Some((Lifecycle::Archived, Some(_))) | None => {}
    }
    if matches!(key.scope, Scope::Subagent(_) | Scope::WarmSubagent(_) | Scope::Acp(_)) {
        return Err(Refusal::SessionNotFound(key.clone()));
    }
    if found.is_some() {
        session::begin_again(state, key, owner);
        return Ok(true);
    }
    let session_id = SessionId::new(state.at.mint());
    let now = state.now();
    create_session(
        state,
        Session {
            key: key.clone(),
            session_id,
            agent: key.agent.clone(),
            owner: owner.to_owned(),
            parent_key: None,
            root_key: key.clone(),
            depth: 0,
            lifecycle: Lifecycle::Open,
            open_run: None,
            label: None,
            model: None,
            thinking: None,
            cwd: None,
            access: Access::Full,
            policy_hash: None,
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
        },
    );
    policy::renew(state, key);
    Ok(true)
}

/// Adds a session with an empty transcript and its first episode.
pub fn create_session(state: &mut State<'_>, session: Session) {
    let (session_id, key) = (session.session_id, session.key.clone());
    state.add_session(session);
    session::add_transcript(state, &key, session_id);
}

/// The bound on the run that an input opens: its own, or that of the agent for what a person asks.
fn run_bound(state: &State<'_>, inbound: &Inbound) -> Option<i64> {
    match (inbound.timeout_ms, inbound.kind) {
        (Some(ms), _) => (ms > 0).then_some(ms),
        (None, InboxKind::User) => {
            let agent = state.limits.agents.get(&inbound.session.agent)?;
            agent.run_timeout.map(whole_ms)
        }
        (None, _) => None,
    }
}

/// A bound as rows keep it. One of more than 292 million years is cut to that.
pub fn whole_ms(bound: Duration) -> i64 {
    i64::try_from(bound.as_millis()).unwrap_or(i64::MAX)
}

fn busyness(state: &mut State<'_>, key: &SessionKey, origin: &str) -> Busy {
    let Some(run) = state.session(key).open_run else { return Busy::Idle };
    if state.run(&run).origin == origin { Busy::Steerable } else { Busy::Sealed }
}

/// What holds for the queue of a session.
pub fn queue_of(state: &mut State<'_>, key: &SessionKey) -> QueueLimits {
    let configured = state.limits;
    match state.find_session(key) {
        Some(session) => session.queue.over(&configured.queue),
        None => configured.queue.clone(),
    }
}

/// Keeps the queue of a session within its bounds: `queued_rows_max` whatever the rows are, `cap`
/// for messages. What is dropped is said.
pub fn make_room(state: &mut State<'_>, inbound: &Inbound) -> Result<(), Refusal> {
    let limits = state.limits;
    let key = &inbound.session;
    let queued = state.tx().queued_rows(key, limits.queued_rows_max + 1);
    let queue = queue_of(state, key);
    let full =
        |queued: usize, limit: usize| Refusal::QueueFull { session: key.clone(), queued, limit };
    if queued.len() >= limits.queued_rows_max {
        return Err(full(queued.len(), limits.queued_rows_max));
    }
    let message = |kind| matches!(kind, InboxKind::User | InboxKind::Agent);
    let mut waiting = Vec::new();
    for seq in queued {
        let row = state.inbox(&seq);
        if message(row.kind) {
            waiting.push((seq, row.run.is_some()));
        }
    }
    if !message(inbound.kind) || waiting.len() < queue.cap {
        return Ok(());
    }
    // A message for which a run stands in line is not waiting in the queue any more.
    let oldest = waiting.iter().find(|(_, has_run)| !has_run);
    match (queue.drop, oldest) {
        (Drop::New, _) | (_, None) => Err(full(waiting.len(), queue.cap)),
        (Drop::Old, Some(&(seq, _))) => {
            drop_row(state, seq);
            Ok(())
        }
        (Drop::Summarize, Some(&(seq, _))) => {
            let row = drop_row(state, seq);
            let body = format!(
                "[System] The queue of this session was full, so message {} of {} tokens was \
                 dropped unread.",
                row.id, row.tokens
            );
            let note = Inbound {
                kind: InboxKind::System,
                idem_key: format!("dropped:{}", row.id),
                body,
                origin: row.origin,
                timeout_ms: None,
                ..inbound.clone()
            };
            // It enters beside the next message: a note is not worth a run of its own.
            put(state, &note, Place::Steer);
            Ok(())
        }
    }
}

fn drop_row(state: &mut State<'_>, seq: i64) -> InboxRow {
    let now = state.now();
    let row = state.inbox_mut(&seq);
    row.state = InboxState::Dropped;
    row.done = Some(now);
    let row = row.clone();
    state.notices.push(Notice::Dropped { session: row.session_key.clone(), message: row.id });
    reply::undeliverable(
        state,
        seq,
        "its queue was full, and the message was dropped unread",
        false,
    );
    row
}

/// Adds the row of an input and returns its number. It wakes nobody.
pub fn put(state: &mut State<'_>, inbound: &Inbound, place: Place) -> i64 {
    let row = InboxRow {
        seq: 0,
        id: MessageId::new(state.at.mint()),
        session_key: inbound.session.clone(),
        kind: inbound.kind,
        place,
        idem_key: inbound.idem_key.clone(),
        body_hash: Hash::of(&inbound.body),
        tokens: estimate_tokens(&inbound.body),
        origin: inbound.origin.clone(),
        sender: inbound.sender.clone(),
        hops: inbound.hops,
        watch: false,
        task: None,
        state: InboxState::Queued,
        run: None,
        timeout_ms: inbound.timeout_ms,
        at: state.now(),
        done: None,
    };
    put_row(state, row, &inbound.body)
}

/// Adds a row as it is.
pub fn put_row(state: &mut State<'_>, row: InboxRow, body: &str) -> i64 {
    state.notices.push(Notice::Accepted {
        session: row.session_key.clone(),
        message: row.id,
        kind: row.kind.as_str(),
    });
    state.add_inbox(row, body)
}

/// Cancels what waits in a session and `goes`, but results of children and answers, which are paid
/// for, and what a person has been told: those enter with whatever comes next. `quiet` says that
/// whoever is above has been stopped too. Returns the tasks that stood in line there, and will have
/// no run.
pub fn cancel_queued(
    state: &mut State<'_>,
    key: &SessionKey,
    quiet: bool,
    goes: impl Fn(&InboxRow) -> bool,
) -> Vec<TaskId> {
    let limit = state.limits.inbox_rows_max();
    let now = state.now();
    let mut in_line = Vec::new();
    for seq in state.tx().queued_rows(key, limit) {
        if !goes(state.inbox(&seq)) {
            continue;
        }
        let row = state.inbox_mut(&seq);
        let paid_for = matches!(row.kind, InboxKind::Announce | InboxKind::Reply);
        if paid_for || row.place == Place::Hold {
            row.place = Place::Hold;
            continue;
        }
        row.state = InboxState::Cancelled;
        row.done = Some(now);
        if row.kind == InboxKind::Brief && row.run.is_none() {
            in_line.extend(row.task);
        }
        reply::undeliverable(state, seq, "the session was stopped before it had read it", quiet);
    }
    in_line
}

/// Frees the rows that were meant for `run`, which has ended before it could take them in. A
/// brief ends with its task, and a warning with its run; anything else goes to the next run.
pub fn release_rows(state: &mut State<'_>, key: &SessionKey, run: RunId) {
    let now = state.now();
    let limit = state.limits.inbox_rows_max();
    for seq in state.tx().queued_rows(key, limit) {
        let row = state.inbox(&seq);
        if row.run != Some(run) {
            continue;
        }
        let ends_too =
            row.kind == InboxKind::Brief || deadline::is_warning(row) || cut::is_note(row);
        let row = state.inbox_mut(&seq);
        row.run = None;
        if ends_too {
            row.state = InboxState::Cancelled;
            row.done = Some(now);
        }
    }
}

impl Inbound {
    /// A message of the gateway itself to a session, towards `origin`.
    pub fn system(session: SessionKey, origin: String, idem_key: String, body: String) -> Inbound {
        Inbound {
            session,
            kind: InboxKind::System,
            body,
            idem_key,
            origin,
            owner: String::new(),
            mode: Some(QueueMode::Steer),
            model: None,
            label: None,
            timeout_ms: None,
            sender: None,
            hops: 0,
        }
    }
}
