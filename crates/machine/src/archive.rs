//! Archiving: a session that is not to run again, until somebody restores it.
//!
//! ```text
//!            a run ends, nothing is open       the time is over
//!   busy ───────────────────────────▶ idle ──────────────────────▶ archived
//!     ▲                                │  an unnamed child alone      │
//!     └──────── a run is opened ───────┘◀───────── restore ───────────┘
//! ```
//!
//! # Invariants
//!
//! - An archived session has no open run and no open child.
//! - Only an idle session has an archive timer. Named threads, standing helpers and main sessions
//!   never get one: their names are promises.

use std::time::Duration;

use types::{Cleanup, Scope, SessionKey};

use crate::announce;
use crate::effect::{Notice, Refusal};
use crate::limits::ARCHIVE_AGAIN;
use crate::redeliver;
use crate::rows::{Lifecycle, Session, TimerKind};
use crate::state::State;

/// Archives a session in which nothing is open. Says whether it was open before.
pub fn archive_session(state: &mut State<'_>, key: &SessionKey, by: &str) -> Result<bool, Refusal> {
    let Some(session) = state.find_session(key) else {
        return Err(Refusal::SessionNotFound(key.clone()));
    };
    let (lifecycle, open_run) = (session.lifecycle, session.open_run);
    if lifecycle == Lifecycle::Archived {
        return Ok(false);
    }
    let not = |why: String| Err(Refusal::NotArchived { session: key.clone(), why });
    if let Some(run) = open_run {
        return not(format!("its run {run} is open; stop it, or wait for its end"));
    }
    let children = state.tx().count_open_children(key);
    if children > 0 {
        return not(format!("{children} children of it are open; stop them, or wait for them"));
    }
    let now = state.now();
    let session = state.session_mut(key);
    session.lifecycle = Lifecycle::Archived;
    session.archived = Some(now);
    session.rev += 1;
    state.clear_timer(TimerKind::Archive, key);
    state.notices.push(Notice::SessionArchived { session: key.clone(), by: by.to_owned() });
    Ok(true)
}

/// Opens an archived session again, with its whole history. Says whether it was archived.
pub fn restore_session(state: &mut State<'_>, key: &SessionKey, by: &str) -> Result<bool, Refusal> {
    let Some(session) = state.find_session(key) else {
        return Err(Refusal::SessionNotFound(key.clone()));
    };
    if session.lifecycle == Lifecycle::Open {
        return Ok(false);
    }
    reopen(state, key, by);
    redeliver::revive_letters(state, key);
    Ok(true)
}

/// Opens a session that is archived, and looks for nothing that was meant for it.
pub fn reopen(state: &mut State<'_>, key: &SessionKey, by: &str) {
    let now = state.now();
    let session = state.session_mut(key);
    session.lifecycle = Lifecycle::Open;
    session.archived = None;
    session.active = now;
    session.rev += 1;
    let session = session.clone();
    state.notices.push(Notice::SessionRestored { session: key.clone(), by: by.to_owned() });
    if let Some(bound) = idle_bound(state, &session) {
        state.set_timer(TimerKind::Archive, key, now + bound);
    }
}

/// Looks at a session in which something has just ended: one that is thrown away is archived, one
/// that is kept for a time gets its timer.
pub fn on_idle(state: &mut State<'_>, key: &SessionKey) {
    let Some(session) = idle(state, key) else { return };
    if is_thrown_away(state, &session) {
        if archive_session(state, key, "cleanup").is_err() {
            let due = state.now() + ARCHIVE_AGAIN;
            state.set_timer(TimerKind::Archive, key, due);
        }
    } else if let Some(bound) = idle_bound(state, &session) {
        state.set_timer(TimerKind::Archive, key, session.active + bound);
    }
}

/// The time of an idle session is over, by the keys that stand now.
pub fn due(state: &mut State<'_>, key: &SessionKey) {
    let Some(session) = idle(state, key) else { return };
    if is_thrown_away(state, &session) {
        on_idle(state, key);
        return;
    }
    let Some(bound) = idle_bound(state, &session) else { return };
    let (now, over) = (state.now(), session.active + bound);
    if now < over {
        state.set_timer(TimerKind::Archive, key, over);
    } else if archive_session(state, key, "idle").is_err() {
        // A child of it is open.
        state.set_timer(TimerKind::Archive, key, now + bound.max(ARCHIVE_AGAIN));
    }
}

/// The session, if it is open and nothing runs in it.
fn idle(state: &mut State<'_>, key: &SessionKey) -> Option<Session> {
    let session = state.find_session(key)?;
    let idle = session.lifecycle == Lifecycle::Open && session.open_run.is_none();
    idle.then(|| session.clone())
}

/// How long an idle session is kept; none if for ever.
fn idle_bound(state: &State<'_>, session: &Session) -> Option<Duration> {
    let unnamed = matches!(session.key.scope, Scope::Subagent(_));
    let agent = state.limits.of_agent(&session.agent).agents.get(&session.agent)?;
    agent.archive_after.filter(|_| unnamed)
}

/// Was it made for one task alone, and is the result of that task with its requester?
fn is_thrown_away(state: &mut State<'_>, session: &Session) -> bool {
    let Some(task) = state.tx().task_of_session(&session.key) else { return false };
    let task = state.task(&task).clone();
    let over = task.cleanup == Cleanup::Delete && task.outcome.is_some();
    over && !announce::is_on_way(state, &task)
}
