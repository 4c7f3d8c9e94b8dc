//! Invariants of conversations as a whole: what a reset, a deletion or a restore must leave.

use std::collections::{BTreeMap, BTreeSet};

use types::{SessionId, SessionKey, TaskId};

use super::{Found, World, run_of};
use crate::rows::{InboxKind, InboxState, Lifecycle, Task, Transcript};

/// S4: no session is above itself. Whoever looks upwards comes to an end.
pub fn nobody_is_above_himself(world: &World, found: &mut Found) {
    let above: BTreeMap<&SessionKey, &SessionKey> = world
        .sessions
        .iter()
        .filter_map(|row| Some((&row.key, row.parent_key.as_ref()?)))
        .collect();
    let mut ends = BTreeSet::new();
    for session in &world.sessions {
        let mut way = BTreeSet::new();
        let mut next = Some(&session.key);
        while let Some(key) = next.filter(|key| !ends.contains(key)) {
            if !way.insert(key) {
                found.unless(false, "S4", || format!("{key} is above itself"));
                break;
            }
            next = above.get(key).copied();
        }
        ends.extend(way);
    }
}

/// S1: a key has one transcript that has not ended, and its session names it.
pub fn one_live_transcript(world: &World, found: &mut Found) {
    let mut live: BTreeMap<&SessionKey, Vec<SessionId>> = BTreeMap::new();
    for transcript in world.transcripts.iter().filter(|transcript| transcript.ended.is_none()) {
        live.entry(&transcript.session_key).or_default().push(transcript.session_id);
    }
    for session in &world.sessions {
        let own = live.remove(&session.key).unwrap_or_default();
        found.unless(own == [session.session_id], "S1", || {
            format!("{} is {}, and live are {own:?}", session.key, session.session_id)
        });
    }
    found.unless(live.is_empty(), "S1", || format!("transcripts without a session: {live:?}"));
    let current: BTreeSet<SessionId> = world.sessions.iter().map(|s| s.session_id).collect();
    for run in world.runs.iter().filter(|run| !run.phase.ended()) {
        found.unless(current.contains(&run.session_id), "S1", || {
            format!("{} goes on in {}, which has ended", run.id, run.session_id)
        });
    }
}

/// S2: a session that is deleted is archived, and nothing runs or waits in it.
pub fn deleted_is_at_rest(world: &World, found: &mut Found) {
    let deleted: BTreeSet<&SessionKey> =
        world.sessions.iter().filter(|s| s.deleted.is_some()).map(|s| &s.key).collect();
    for session in world.sessions.iter().filter(|session| session.deleted.is_some()) {
        let at_rest = session.lifecycle == Lifecycle::Archived && session.open_run.is_none();
        found.unless(at_rest, "S2", || format!("{} is deleted, and open", session.key));
    }
    for row in world.inbox.iter().filter(|row| row.state == InboxState::Queued) {
        found.unless(!deleted.contains(&row.session_key), "S2", || {
            format!("`{}` waits in {}, which is deleted", row.idem_key, row.session_key)
        });
    }
}

/// S3: a result comes into the conversation that has asked for it. One that was begun under the key
/// since, by a reset or after a deletion, has not: what the earlier one had asked for was stopped
/// with it.
pub fn results_come_to_who_asked(world: &World, found: &mut Found) {
    let tasks: BTreeMap<TaskId, &Task> = world.tasks.iter().map(|task| (task.id, task)).collect();
    let transcripts: BTreeMap<SessionId, &Transcript> =
        world.transcripts.iter().map(|row| (row.session_id, row)).collect();
    let present: BTreeMap<&SessionKey, SessionId> =
        world.sessions.iter().map(|session| (&session.key, session.session_id)).collect();
    let runs = run_of(world);
    for row in world.inbox.iter().filter(|row| row.kind == InboxKind::Announce) {
        let Some(task) = row.task.and_then(|id| tasks.get(&id)) else { continue };
        if task.requester_key != row.session_key {
            continue;
        }
        let into = match row.state {
            InboxState::Queued => present.get(&row.session_key).copied(),
            InboxState::Consumed => row.run.map(|run| runs[&run].session_id),
            InboxState::Dropped | InboxState::Cancelled | InboxState::Dead => None,
        };
        let Some(into) = into.and_then(|id| transcripts.get(&id)) else { continue };
        found.unless(task.created >= into.started, "S3", || {
            format!(
                "the result of {} comes into {}, which was begun later",
                task.id, into.session_id
            )
        });
    }
}
