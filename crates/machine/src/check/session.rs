//! Invariants of conversations as a whole: what a reset, a deletion or a restore must leave.

use std::collections::{BTreeMap, BTreeSet};

use types::{SessionId, SessionKey};

use super::{Found, World};
use crate::rows::{InboxState, Lifecycle};

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
