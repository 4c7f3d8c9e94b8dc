//! `/context refresh`: what stands before a conversation is read anew, and what that costs is said.
//!
//! A refresh begins an episode at the entry at which the present one began: the conversation goes
//! on, behind another prefix. The next model call renders it, whichever run makes that. A provider
//! has cached the conversation behind the old prefix, so all of it is paid for as new once.

use types::{Hash, MicroUsd, RunId, SessionId, SessionKey, Usage};

use crate::budget;
use crate::effect::Notice;
use crate::limits::Limits;
use crate::rows::{Episode, EpisodeReason};
use crate::state::State;

/// Begins the episode. `changed` names the files that are not as they were pinned. Returns the
/// words for whoever has asked.
pub fn refresh(state: &mut State<'_>, key: &SessionKey, changed: &[String]) -> String {
    let session = state.session(key).clone();
    let transcript = state.transcript(&session.session_id).clone();
    let now = state.now();
    let present = state.episode(&(session.session_id, transcript.episode)).clone();
    if present.prefix_hash.is_none() {
        return "Nothing is pinned yet: the next call reads the files.".to_owned();
    }
    let n = present.n + 1;
    state.add_episode(Episode {
        n,
        reason: EpisodeReason::Refresh,
        prefix_hash: None,
        prefix_tokens: 0,
        pinned: None,
        at: now,
        ..present
    });
    state.transcript_mut(&session.session_id).episode = n;
    state.notices.push(Notice::SessionChanged { session: key.clone(), what: "refresh" });
    let limits = state.limits.of_agent(&session.agent);
    let agent = limits.agents.get(&session.agent);
    let model = session.model.or_else(|| agent.map(|agent| agent.model.clone()));
    let tokens = transcript.context_tokens;
    let price = price(limits, &model.unwrap_or_default(), tokens);
    words(changed, tokens, price)
}

fn words(changed: &[String], tokens: u64, price: Option<Price>) -> String {
    let found = match changed {
        [] => "No file has changed since it was pinned; if the tools are the same too, it costs \
               nothing more."
            .to_owned(),
        changed => format!("Changed since it was pinned: {}.", changed.join(", ")),
    };
    let price = price.map_or_else(String::new, |Price { written, read }| {
        format!(", which costs {written} as a cache write instead of {read} as a read")
    });
    format!(
        "The next call reads files and tools anew. {found} A change sends about {tokens} tokens \
         anew{price}."
    )
}

/// What tokens cost that are sent anew, and what they would have cost from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Price {
    written: MicroUsd,
    read: MicroUsd,
}

fn price(limits: &Limits, model: &str, tokens: u64) -> Option<Price> {
    let written = Usage { cache_write: tokens, ..Usage::default() };
    let read = Usage { cache_read: tokens, ..Usage::default() };
    let cost = |usage| budget::cost(limits, model, usage);
    Some(Price { written: cost(written)?, read: cost(read)? })
}

/// Enters the prefix of a transcript's present episode, and says what it is sent for.
pub fn pinned(state: &mut State<'_>, run: RunId, session_id: SessionId, hash: Hash, tokens: u64) {
    let now = state.now();
    let n = state.transcript(&session_id).episode;
    let episode = state.episode_mut(&(session_id, n));
    episode.prefix_hash = Some(hash);
    episode.prefix_tokens = tokens;
    episode.pinned = Some(now);
    let reason = episode.reason;
    let before = (n > 1).then(|| state.episode(&(session_id, n - 1)).clone());
    let transcript = state.transcript_mut(&session_id);
    if reason == EpisodeReason::Refresh {
        // The one that it takes the place of was counted with the conversation.
        let old = before.as_ref().map_or(0, |before| before.prefix_tokens);
        transcript.context_tokens = transcript.context_tokens.saturating_sub(old);
    }
    transcript.context_tokens = transcript.context_tokens.saturating_add(tokens);
    let resent = transcript.context_tokens;
    let row = state.run(&run).clone();
    let price = price(state.limits_of(run), &row.model, resent);
    state.notices.push(Notice::Pinned {
        run,
        session: row.session_key,
        reason,
        prefix: hash,
        tokens,
        same: before.is_some_and(|before| before.prefix_hash == Some(hash)),
        resent,
        written: price.map(|price| price.written),
        read: price.map(|price| price.read),
    });
}

/// The episode that the present one is a refresh of, or the present one.
pub fn original(state: &mut State<'_>, session_id: SessionId) -> Episode {
    let mut n = state.transcript(&session_id).episode;
    loop {
        let episode = state.episode(&(session_id, n)).clone();
        if episode.reason != EpisodeReason::Refresh || n == 1 {
            return episode;
        }
        n -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_costs_is_said_if_it_is_known() {
        let price = Price { written: MicroUsd(150_000), read: MicroUsd(12_000) };
        assert_eq!(
            words(&["SOUL.md".to_owned(), "USER.md".to_owned()], 40_000, Some(price)),
            "The next call reads files and tools anew. Changed since it was pinned: SOUL.md, \
             USER.md. A change sends about 40000 tokens anew, which costs $0.15 as a cache write \
             instead of $0.012 as a read."
        );
        assert!(words(&[], 7, None).ends_with("A change sends about 7 tokens anew."));
    }
}
