//! The invariants of sessions that are kept, reused and put away.

use std::collections::{BTreeMap, BTreeSet};

use types::{Scope, SessionId, SessionKey, TaskId};

use super::{Found, World};
use crate::rows::{Lifecycle, Session, Task, TaskKind, TimerKind, Transcript};

/// Looks at what is archived, what is in the pool, and where episodes begin.
pub(super) fn warm(world: &World, found: &mut Found) {
    let sessions: BTreeMap<&SessionKey, &Session> =
        world.sessions.iter().map(|session| (&session.key, session)).collect();
    archived(world, &sessions, found);
    pooled(world, &sessions, found);
    episodes(world, found);
}

/// In an archived session nothing is open, and only an idle one waits to be archived.
fn archived(world: &World, sessions: &BTreeMap<&SessionKey, &Session>, found: &mut Found) {
    let away: BTreeSet<&SessionKey> = world
        .sessions
        .iter()
        .filter(|session| session.lifecycle == Lifecycle::Archived)
        .map(|session| &session.key)
        .collect();
    for run in world.runs.iter().filter(|run| !run.phase.ended()) {
        found.unless(!away.contains(&run.session_key), "archive", || {
            format!("{} is archived with the open run {}", run.session_key, run.id)
        });
    }
    // A deletion stops what is below, which may take more commits than the one that marks it.
    let tasks: BTreeMap<TaskId, &Task> = world.tasks.iter().map(|task| (task.id, task)).collect();
    let stopping = |task: &Task| {
        let requester = sessions.get(&task.requester_key);
        // A flow is marked before its nodes are, which have the same requester.
        let flow = task.parent.filter(|_| task.kind == TaskKind::FlowNode);
        let marked = task.cancelled.or_else(|| tasks.get(&flow?)?.cancelled);
        marked.is_some() && requester.is_some_and(|session| session.deleted.is_some())
    };
    for task in world.tasks.iter().filter(|task| task.outcome.is_none() && !stopping(task)) {
        found.unless(!away.contains(&task.requester_key), "archive", || {
            format!("{} is archived with the open child {}", task.requester_key, task.id)
        });
    }
    for timer in world.timers.iter().filter(|timer| timer.kind == TimerKind::Archive) {
        let key: Option<SessionKey> = timer.subject.parse().ok();
        let session = key.as_ref().and_then(|key| sessions.get(key));
        let idle = session.is_some_and(|session| {
            session.lifecycle == Lifecycle::Open && session.open_run.is_none()
        });
        found.unless(idle, "archive", || format!("the archive timer of {}", timer.subject));
    }
}

/// A session of the pool is an unnamed child, and carries one open task at most.
fn pooled(world: &World, sessions: &BTreeMap<&SessionKey, &Session>, found: &mut Found) {
    let mut open: BTreeMap<&SessionKey, u32> = BTreeMap::new();
    // A flow is carried by its nodes' sessions.
    let carried = |task: &&Task| task.outcome.is_none() && task.kind != TaskKind::Flow;
    for task in world.tasks.iter().filter(carried) {
        *open.entry(&task.session_key).or_default() += 1;
    }
    for session in sessions.values().filter(|session| session.pool_key.is_some()) {
        let unnamed = matches!(session.key.scope, Scope::Subagent(_));
        found.unless(unnamed, "pool", || format!("{} has a name and a pool", session.key));
        let tasks = open.get(&session.key).copied().unwrap_or(0);
        found.unless(tasks <= 1, "pool", || format!("{} has {tasks} open tasks", session.key));
    }
}

/// Episodes are numbered from 1, begin no earlier than the one before, and not behind the end.
fn episodes(world: &World, found: &mut Found) {
    let transcripts: BTreeMap<SessionId, &Transcript> =
        world.transcripts.iter().map(|row| (row.session_id, row)).collect();
    let mut last: BTreeMap<SessionId, (u32, i64)> = BTreeMap::new();
    let mut episodes: Vec<_> = world.episodes.iter().collect();
    episodes.sort_by_key(|episode| (episode.session_id, episode.n));
    for episode in episodes {
        let (n, seq) = last.get(&episode.session_id).copied().unwrap_or((0, 1));
        let follows = episode.n == n + 1 && episode.first_seq >= seq;
        found.unless(episode.pinned.is_some() == episode.prefix_hash.is_some(), "episodes", || {
            format!("{episode:?} has a prefix and no time of it, or the other way round")
        });
        let end = transcripts.get(&episode.session_id).map_or(0, |row| row.next_seq);
        found.unless(follows && episode.first_seq <= end, "episodes", || {
            format!("{episode:?} after episode {n} from {seq}, before {end}")
        });
        last.insert(episode.session_id, (episode.n, episode.first_seq));
    }
    for (id, row) in transcripts {
        let newest = last.get(&id).map_or(0, |(n, _)| *n);
        found.unless(row.episode == newest, "episodes", || {
            format!("{id} says episode {}, the newest is {newest}", row.episode)
        });
    }
}
