//! What a model is shown: entries of transcripts, in the order in which they are sent.

use types::{Hash, RunId, SessionId};

use super::fold::{self, Plan};
use super::{Size, tail, text};
use crate::rows::{Clip, Purpose};
use crate::spawn;
use crate::state::State;

/// All that is sent behind the prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Projection {
    /// Oldest first.
    pub spans: Vec<Span>,
    /// What the gateway itself asks at the end.
    pub ask: Option<Ask>,
}

/// Entries of one transcript, from one number to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub session_id: SessionId,
    pub first_seq: i64,
    pub last_seq: i64,
    /// Names the blob with the message that comes before them.
    pub head: Option<Hash>,
    pub clip: Option<Clip>,
}

/// A question of the gateway. It is no entry of the transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    pub text: String,
    /// The silent entries of the run behind it: what was done about it so far.
    pub silent: bool,
}

/// What a call of the run for `purpose` shows.
pub fn of(state: &mut State<'_>, run: RunId, purpose: Purpose, plan: Option<&Plan>) -> Projection {
    match (purpose, plan) {
        (Purpose::Summary, Some(plan)) => summary(state, run, plan),
        (Purpose::Notes, _) => {
            let id = state.run(&run).session_id;
            let notes = state.transcript(&id).gauge.fold.notes.clone();
            let text = text::ask_for_notes(&notes.map(|notes| notes.day).unwrap_or_default());
            Projection { spans: spans(state, id), ask: Some(Ask { text, silent: true }) }
        }
        _ => {
            let id = state.run(&run).session_id;
            Projection { spans: spans(state, id), ask: None }
        }
    }
}

/// The spans of a session's conversation as it stands.
pub fn spans(state: &mut State<'_>, id: SessionId) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    for base in spawn::fork::bases(state, id) {
        extend(state, &mut spans, base.session_id, base.episode, base.first_seq, base.last_seq);
    }
    let transcript = state.transcript(&id);
    let (n, last) = (transcript.episode, transcript.next_seq - 1);
    let first = state.episode(&(id, n)).first_seq;
    extend(state, &mut spans, id, n, first, last);
    spans
}

/// Adds the entries of an episode, from `first` on, with what comes before them there.
fn extend(
    state: &mut State<'_>,
    spans: &mut Vec<Span>,
    session_id: SessionId,
    n: u32,
    first: i64,
    last: i64,
) {
    // A branch that an older program has made names no episode that is there.
    let episode = state.find_episode(&(session_id, n)).cloned();
    let (mut head, anchor, clip) =
        episode.map_or((None, None, None), |row| (row.head, row.anchor, row.clip));
    if let Some(anchor) = anchor.filter(|anchor| *anchor < first) {
        let (first_seq, last_seq) = (anchor, anchor);
        spans.push(Span { session_id, first_seq, last_seq, head: head.take(), clip });
    }
    spans.push(Span { session_id, first_seq: first, last_seq: last, head, clip });
}

/// What a summary is asked about: all that will be left out, cut so that it fits.
fn summary(state: &mut State<'_>, run: RunId, plan: &Plan) -> Projection {
    let id = state.run(&run).session_id;
    let size = Size::of(state, run);
    let gauge = state.transcript(&id).gauge.clone();
    let all = spans(state, id);
    let mut older: Vec<Span> = all
        .into_iter()
        .filter(|span| span.session_id != id || span.first_seq < plan.first_seq)
        .collect();
    for span in older.iter_mut().filter(|span| span.session_id == id) {
        span.last_seq = span.last_seq.min(plan.first_seq - 1);
    }
    let hint = gauge.fold.asked.clone().unwrap_or_default();
    let ask = text::ask_for_summary(plan.summary_tokens, &hint);
    let room = size.hard.saturating_sub(size.prefix).saturating_sub(NEEDED);
    let room = gauge.unlikely(room).saturating_sub(fold::head_tokens(state, &older));
    let mut marks = Vec::new();
    for span in older.iter().rev() {
        marks.extend(fold::marks(state, span));
    }
    let (count, cap) = tail::fitting(&marks, room);
    if count < marks.len() {
        older = later(state, older, count);
    }
    if let Some(cap) = cap {
        let clip = Clip { before: i64::MAX, bytes: cap.saturating_mul(4) };
        older.iter_mut().for_each(|span| span.clip = Some(shorter(span.clip, clip)));
    }
    Projection { spans: older, ask: Some(Ask { text: ask, silent: false }) }
}

/// Tokens for the question, and for what the framing of messages takes.
const NEEDED: u64 = 400;

/// Leaves out the oldest entries, so that the newest `count` are left.
fn later(state: &mut State<'_>, spans: Vec<Span>, count: usize) -> Vec<Span> {
    let mut left = count;
    let mut kept: Vec<Span> = Vec::new();
    let mut head = None;
    for mut span in spans.into_iter().rev() {
        let marks = fold::marks(state, &span);
        head = span.head.take();
        if left == 0 {
            continue;
        }
        let own = marks.len().min(left);
        left -= own;
        if let Some(oldest) = marks[..own].last() {
            span.first_seq = oldest.seq;
            kept.push(span);
        }
    }
    // What stood at the beginning is short, and worth more than any entry. No conversation begins
    // with an answer, so something stands there in any case.
    let head = head.unwrap_or_else(|| {
        let hash = Hash::of(text::LEFT_OUT);
        state.tx().add_blob(hash, text::LEFT_OUT);
        hash
    });
    if let Some(first) = kept.last_mut() {
        first.head = Some(head);
    }
    kept.reverse();
    kept
}

fn shorter(one: Option<Clip>, other: Clip) -> Clip {
    match one {
        Some(one) if one.bytes < other.bytes => Clip { before: i64::MAX, bytes: one.bytes },
        _ => other,
    }
}
