//! A new episode: what is left out, what is kept, and what stands at its head.

use std::collections::BTreeMap;

use types::usage::estimate_tokens;
use types::{Hash, RunId};

use super::projection::{Span, spans};
use super::tail::{self, Tail};
use super::{Size, text};
use crate::effect::{FoldedBy, Notice};
use crate::rows::{Clip, EntryMark, Episode, EpisodeReason, Fold};
use crate::state::State;

/// Entries of one span that are looked at. Older ones are left out of the summary, and counted.
const MARKS_MAX: usize = 20_000;

/// Entries among which the newest is looked for that is not silent.
const LOOK: usize = 64;

/// Bounds of a summary, in tokens.
const SUMMARY_TOKENS_MIN: u64 = 100;
const SUMMARY_TOKENS_MAX: u64 = 16_000;

/// A compaction that leaves out less than a tenth of the room is not worth a call.
const WORTH: u64 = 10;

/// What a compaction would do.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub first_seq: i64,
    pub anchor: Option<i64>,
    pub clip: Option<Clip>,
    /// Entries that are sent now, and will not be.
    pub dropped: u64,
    /// Likely tokens of those.
    pub dropped_tokens: u64,
    /// Likely tokens of what is kept.
    pub kept_tokens: u64,
    /// Most tokens of its summary.
    pub summary_tokens: u64,
}

/// The newest entry that a model would be shown.
pub(super) fn newest(state: &mut State<'_>, run: RunId) -> Option<EntryMark> {
    let id = state.run(&run).session_id;
    let next = state.transcript(&id).next_seq;
    let marks = state.tx().marks(id, 1, next, LOOK);
    marks.into_iter().find(|mark| !mark.silent)
}

/// The entries of a span that a model is shown, newest first.
pub(super) fn marks(state: &mut State<'_>, span: &Span) -> Vec<EntryMark> {
    let (first, before) = (span.first_seq, span.last_seq.saturating_add(1));
    let mut marks = state.tx().marks(span.session_id, first, before, MARKS_MAX);
    marks.retain(|mark| !mark.silent);
    if let Some(clip) = span.clip {
        let cap = Some(clip.bytes / 4);
        for mark in marks.iter_mut().filter(|mark| mark.seq < clip.before) {
            mark.tokens = tail::cut(mark, cap);
        }
    }
    marks
}

/// Estimated tokens of what stands at the heads of spans.
pub(super) fn head_tokens(state: &mut State<'_>, spans: &[Span]) -> u64 {
    let heads = spans.iter().filter_map(|span| span.head);
    heads.map(|hash| state.tx().blob(hash).map_or(0, |text| estimate_tokens(&text))).sum()
}

/// What a compaction would leave out now; none if it would not make the request smaller.
pub(super) fn plan(state: &mut State<'_>, run: RunId, size: &Size) -> Option<Plan> {
    make(state, run, size, None)
}

/// The same, of the summary that was asked for.
pub(super) fn planned(state: &mut State<'_>, run: RunId, size: &Size) -> Option<Plan> {
    let id = state.run(&run).session_id;
    let cut = state.transcript(&id).gauge.fold.cut?;
    make(state, run, size, Some(cut))
}

fn make(state: &mut State<'_>, run: RunId, size: &Size, cut: Option<i64>) -> Option<Plan> {
    let id = state.run(&run).session_id;
    let (gauge, next, n) = {
        let row = state.transcript(&id);
        (row.gauge.clone(), row.next_seq, row.episode)
    };
    let fold = &gauge.fold;
    let episode = state.episode(&(id, n)).clone();
    let all = spans(state, id);
    let (own, before): (Vec<Span>, Vec<Span>) =
        all.into_iter().partition(|span| span.session_id == id);
    let mut marked: Vec<EntryMark> = Vec::new();
    for span in own.iter().rev() {
        marked.extend(marks(state, span));
    }
    let mut left_behind = Vec::new();
    for span in &before {
        left_behind.extend(marks(state, span));
    }
    // The second refusal in a row says that our count is wrong: half of it, then. The last try must
    // not fail for that.
    let part = match (fold.overflowed && fold.folds > 0, super::is_last_try(fold)) {
        (false, _) => 1,
        (true, false) => 2,
        (true, true) => 4,
    };
    let room = size.room() / part;
    let summary_tokens = (room / 4).clamp(SUMMARY_TOKENS_MIN, SUMMARY_TOKENS_MAX);
    let for_tail = gauge.unlikely(room.saturating_sub(summary_tokens));
    let keep = gauge.unlikely(state.limits.compaction.keep_recent_tokens.min(room / 2));
    let Tail { first_seq, anchor, tokens, cap } = match cut {
        Some(first) => tail::from(&marked, next, first, for_tail),
        None => tail::choose(&marked, next, keep, for_tail),
    };
    let older: Vec<&EntryMark> = marked
        .iter()
        .filter(|mark| mark.seq < first_seq && Some(mark.seq) != anchor)
        .chain(&left_behind)
        .collect();
    let dropped_estimate: u64 = older.iter().map(|mark| mark.tokens).sum();
    let kept = marked.iter().filter(|mark| mark.seq >= first_seq || Some(mark.seq) == anchor);
    let kept_estimate: u64 = match cap {
        Some(_) => kept.map(|mark| tail::cut(mark, cap)).sum(),
        None => tokens,
    };
    let least = episode.clip.map_or(u64::MAX, |old| old.bytes);
    let clip = cap.map(|cap| Clip { before: next, bytes: cap.saturating_mul(4).min(least) });
    let plan = Plan {
        first_seq,
        anchor,
        clip: clip.or(episode.clip),
        dropped: older.len() as u64,
        dropped_tokens: gauge.likely(dropped_estimate),
        kept_tokens: gauge.likely(kept_estimate),
        summary_tokens,
    };
    let plan = match plan.dropped {
        // Nothing lies between what is sent already.
        0 => Plan { first_seq: episode.first_seq, anchor: episode.anchor, ..plan },
        _ => plan,
    };
    let shorter = clip.is_some_and(|clip| clips_more(clip, &episode, &marked));
    let worth = fold.overflowed
        || fold.asked.is_some()
        || cut.is_some()
        || size.now > size.hard
        || plan.dropped_tokens.saturating_mul(WORTH) >= room;
    (shorter || plan.dropped > 0 && worth).then_some(plan)
}

/// Does the cut shorten any entry that is sent longer now?
fn clips_more(clip: Clip, episode: &Episode, marks: &[EntryMark]) -> bool {
    let cap = Some(clip.bytes / 4);
    let lower = episode.clip.is_none_or(|old| clip.bytes < old.bytes);
    let longer = |mark: &EntryMark| tail::cut(mark, cap) < mark.tokens;
    marks.iter().any(|mark| {
        longer(mark) && (lower || episode.clip.is_some_and(|old| mark.seq >= old.before))
    })
}

/// Begins the episode: behind a summary, or behind a digest of our own if there is none.
pub(super) fn begin(state: &mut State<'_>, run: RunId, plan: &Plan, summary: Option<&str>) {
    let (id, session) = {
        let row = state.run(&run);
        (row.session_id, row.session_key.clone())
    };
    let transcript = state.transcript(&id).clone();
    let episode = state.episode(&(id, transcript.episode)).clone();
    let fold = transcript.gauge.fold.clone();
    let text = summary.map(str::trim).filter(|text| !text.is_empty());
    let by = match (plan.dropped, text) {
        (0, _) => FoldedBy::Cuts,
        (_, Some(_)) => FoldedBy::Summary,
        (_, None) => FoldedBy::Digest,
    };
    let head = if plan.dropped == 0 { None } else { Some(head_text(state, run, plan, text)) };
    let head_tokens = head.as_deref().map_or(0, estimate_tokens);
    let hash = head.map(|text| {
        let hash = Hash::of(&text);
        state.tx().add_blob(hash, &text);
        hash
    });
    let old_head = if plan.dropped == 0 { head_size(state, episode.head) } else { 0 };
    let now = state.now();
    let after = transcript.gauge.likely(head_tokens + old_head).saturating_add(plan.kept_tokens);
    let row = state.transcript_mut(&id);
    row.episode += 1;
    row.context_tokens = after;
    row.gauge.counted = 0;
    let (calls, overflows, folds) = (fold.calls, fold.overflows, fold.folds + 1);
    row.gauge.fold = Fold { calls, overflows, folds, ..Fold::default() };
    let n = row.episode;
    state.add_episode(Episode {
        session_id: id,
        n,
        first_seq: plan.first_seq,
        reason: EpisodeReason::Compaction,
        head: hash.or(episode.head),
        anchor: plan.anchor,
        clip: plan.clip,
        prefix_hash: None,
        prefix_tokens: 0,
        pinned: None,
        at: now,
    });
    let why = match (&fold.asked, fold.overflowed) {
        (_, true) => "overflow",
        (Some(_), false) => "asked",
        (None, false) => "size",
    };
    state.notices.push(Notice::Compacted {
        run,
        session,
        why,
        by,
        entries: plan.dropped,
        before: transcript.context_tokens,
        after: after.saturating_add(episode.prefix_tokens),
    });
}

fn head_size(state: &mut State<'_>, head: Option<Hash>) -> u64 {
    let Some(hash) = head else { return 0 };
    state.tx().blob(hash).map_or(0, |text| estimate_tokens(&text))
}

/// The message at the head of the new episode. One that is too long is cut, and says so.
fn head_text(state: &mut State<'_>, run: RunId, plan: &Plan, summary: Option<&str>) -> String {
    let id = state.run(&run).session_id;
    let transcript = state.transcript(&id).clone();
    let bytes = transcript.gauge.unlikely(plan.summary_tokens).saturating_mul(4);
    let (entries, tokens) = (plan.dropped, plan.dropped_tokens);
    if let Some(summary) = summary {
        let cut = text::clip(summary, bytes);
        return text::head(entries, tokens, cut.as_deref().unwrap_or(summary));
    }
    let all = spans(state, id);
    let mut kinds: BTreeMap<&'static str, u32> = BTreeMap::new();
    let mut before = None;
    for span in all.iter().rev() {
        for mark in marks(state, span) {
            let kept = mark.seq >= plan.first_seq || Some(mark.seq) == plan.anchor;
            if span.session_id != id || !kept {
                *kinds.entry(mark.kind.as_str()).or_default() += 1;
            }
        }
        before = span.head.or(before);
    }
    let kinds: Vec<String> = kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let before = before.and_then(|hash| state.tx().blob(hash));
    let before = before.map(|text| text::clip(&text, bytes).unwrap_or(text));
    text::digest(entries, tokens, &kinds.join(", "), before.as_deref())
}
