//! Invariants of the card that a session shows.

use std::collections::BTreeMap;

use types::SessionId;

use super::{Found, World};
use crate::rows::EpisodeReason;

/// C1: a card is of the task at hand: none is left of a conversation that was begun anew, nor of
/// the task that a pooled session had before.
pub fn of_the_task_at_hand(world: &World, found: &mut Found) {
    let next: BTreeMap<SessionId, (i64, u32)> = world
        .transcripts
        .iter()
        .map(|transcript| (transcript.session_id, (transcript.next_seq, transcript.episode)))
        .collect();
    for session in world.sessions.iter().filter(|session| session.card.is_some()) {
        let Some(&(next_seq, n)) = next.get(&session.session_id) else { continue };
        let mut episodes = world.episodes.iter();
        let now =
            episodes.find(|episode| (episode.session_id, episode.n) == (session.session_id, n));
        let begins = now.is_some_and(|episode| {
            let anew = matches!(episode.reason, EpisodeReason::Start | EpisodeReason::Pool);
            anew && episode.first_seq == next_seq
        });
        found.unless(!begins, "C1", || {
            format!("{} shows a card, and nothing has been said yet", session.key)
        });
    }
}
