//! The context of a conversation: how large the next request is, and what is done before it is too
//! large.
//!
//! ```text
//!  call ─▶ fits ─────────────────────────────────────────────────▶ the model is asked
//!    │
//!    └─ too large, refused as too large, or asked for:
//!         notes (silent) ─▶ summary ─▶ new episode: summary, and the newest entries ─▶ call
//!                              │
//!                              └─ fails: a digest of our own, without a model
//! ```
//!
//! The transcript itself is never changed: what is sent is a projection of it, made of an
//! episode's head, its entries, and cuts in those that are too long.
//!
//! # Invariants
//!
//! - Every new episode sends less than the one before, or sends its entries shorter.
//! - No tool call is sent without its results.
//! - From one answer to the next a conversation makes at most [`CALLS_MAX`] calls, with those that
//!   are refused as too long, those for notes and those for a summary; then the run ends and says
//!   what helps. Not counted is a call that a provider fails for reasons of its own.

mod fold;
mod order;
mod projection;
mod tail;
mod text;

use types::{FailureClass, RunId, SessionId};

use crate::effect::Notice;
use crate::event::{ModelFailure, ModelReply};
use crate::finish::{End, NO_REPLY, finish};
use crate::limits::Limits;
use crate::policy;
use crate::rows::{EntryKind, Fold, Gauge, Notes, Outcome, Purpose, Run, Told};
use crate::state::State;

pub use fold::Plan;
pub use order::{carry_on, is_order, order};
pub use projection::{Ask, Projection, Span, of as projection};
pub use text::clip;

/// Calls from one answer to the next, with that answer.
pub const CALLS_MAX: u32 = 5;

/// Refusals as too long, since the last answer, that are answered with another try.
const OVERFLOWS_MAX: u32 = 2;

/// New episodes, since the last answer, that are begun before a provider has refused anything.
const FOLDS_MAX: u32 = 2;

/// Calls for notes in one cycle: one that writes them, and one more if it had to look first.
const NOTES_MAX: u32 = 2;

/// Room that the notes need, the question and what is written: an eighth of what a prompt may hold,
/// and no more than this.
const NOTES_TOKENS: u64 = 2_000;

/// The tools with which notes are written. What else a model asks for meanwhile is refused.
const NOTES_TOOLS: [&str; 6] =
    ["read", "write", "edit", "apply_patch", "memory_search", "memory_get"];

/// Those of them without which there is no way to write any.
const WRITING: [&str; 3] = ["write", "edit", "apply_patch"];

/// Less than this was never a window, whatever a provider's words seem to say.
const WINDOW_MIN: u64 = 1_000;

/// Of an estimate smaller than this, what a provider counts says little.
const LEARN_MIN: u64 = 200;

/// What a request may hold, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub window: u64,
    /// The window without what is kept free for the answer.
    pub hard: u64,
    /// Beyond this the conversation is compacted.
    pub soft: u64,
    /// Tools, system prompt and files, which no compaction makes smaller.
    pub prefix: u64,
    /// What the next request is likely to hold.
    pub now: u64,
}

impl Size {
    pub fn of(state: &mut State<'_>, run: RunId) -> Size {
        let row = state.run(&run).clone();
        let transcript = state.transcript(&row.session_id).clone();
        let episode = state.episode(&(row.session_id, transcript.episode));
        let (prefix, now) = (episode.prefix_tokens, transcript.context_tokens);
        let limits = state.limits_of(run);
        let window = window(limits, &transcript.gauge, &row);
        let hard = window.saturating_sub(limits.reserve(&row.model, window));
        let ratio = u64::from(state.limits.compaction.soft_permille);
        Size {
            window,
            hard,
            soft: hard / 1_000 * ratio + hard % 1_000 * ratio / 1_000,
            prefix,
            now,
        }
    }

    /// Tokens for the conversation itself, below the point where it would be compacted.
    fn room(&self) -> u64 {
        let least = self.hard.saturating_sub(self.prefix) / 2;
        self.soft.saturating_sub(self.prefix).max(least).max(ROOM_MIN)
    }
}

/// Tokens that a conversation needs at least: a question and half an answer.
const ROOM_MIN: u64 = 200;

fn window(limits: &Limits, gauge: &Gauge, run: &Run) -> u64 {
    gauge.window(&run.model, limits.window(&run.model))
}

/// What a run does at a model boundary.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    Call(Purpose, Option<Plan>),
    /// A new episode has begun: it is looked again.
    Again,
    /// The run is over.
    Over,
}

/// Decides what the run calls its model for.
pub fn next(state: &mut State<'_>, run: RunId) -> Next {
    let id = state.run(&run).session_id;
    let fold = state.transcript(&id).gauge.fold.clone();
    let size = Size::of(state, run);
    if !wanted(&fold, &size, state.limits) {
        return reply(state, run);
    }
    if fold.notes.as_ref().is_some_and(|notes| notes.left > 0) && may_ask(&fold, Purpose::Notes) {
        return Next::Call(Purpose::Notes, None);
    }
    let plan = fold::plan(state, run, &size);
    let Some(plan) = plan.filter(|_| may_ask(&fold, Purpose::Reply)) else {
        let fold = &mut state.transcript_mut(&id).gauge.fold;
        fold.asked = None;
        if fold.overflowed {
            give_up(state, run, &size);
            return Next::Over;
        }
        return reply(state, run);
    };
    if plan.dropped == 0 {
        fold::begin(state, run, &plan, None);
        return Next::Again;
    }
    if notes_first(state, run, &fold, &size) {
        return Next::Call(Purpose::Notes, None);
    }
    let hopeless = fold.folds > 0 && fold.overflowed || fold.failures >= failures_max(&fold);
    if hopeless || !may_ask(&fold, Purpose::Summary) {
        fold::begin(state, run, &plan, None);
        return Next::Again;
    }
    Next::Call(Purpose::Summary, Some(plan))
}

/// May a call for `purpose` be made, so that those that have to follow can be made, too? After
/// notes that is a summary, after that the question, and the question once more.
fn may_ask(fold: &Fold, purpose: Purpose) -> bool {
    let after = match purpose {
        Purpose::Notes => 3,
        Purpose::Summary => 2,
        Purpose::Reply => 0,
    };
    fold.calls + after < CALLS_MAX && fold.overflows <= OVERFLOWS_MAX
}

/// Is the next call that is refused as too long the end?
fn is_last_try(fold: &Fold) -> bool {
    fold.calls + 1 >= CALLS_MAX || fold.overflows >= OVERFLOWS_MAX
}

fn wanted(fold: &Fold, size: &Size, limits: &Limits) -> bool {
    let large = limits.compaction.enabled && size.now > size.soft && fold.folds < FOLDS_MAX;
    fold.asked.is_some() || fold.overflowed || large
}

/// Tries of a summary: one less if notes have cost calls already.
fn failures_max(fold: &Fold) -> u32 {
    if fold.notes.is_some() { 1 } else { 2 }
}

/// The run answers; unless it was opened for a compaction only, and nobody waits for an answer.
fn reply(state: &mut State<'_>, run: RunId) -> Next {
    if fold::newest(state, run).is_none_or(|newest| newest.kind == EntryKind::Assistant) {
        let text = Some(NO_REPLY.to_owned());
        finish(state, run, End { outcome: Outcome::Completed, text, error: None, quiet: false });
        return Next::Over;
    }
    Next::Call(Purpose::Reply, None)
}

/// Are notes taken before the summary? Once in an episode, by who talks to a person and may write,
/// and only if the question still fits.
fn notes_first(state: &mut State<'_>, run: RunId, fold: &Fold, size: &Size) -> bool {
    let due = fold.notes.is_none() && !fold.overflowed && fold.failures == 0;
    let due = due && may_ask(fold, Purpose::Notes);
    let fits = size.now.saturating_add(NOTES_TOKENS.min(size.hard / 8)) <= size.hard;
    if !due || !fits || !state.limits.compaction.notes {
        return false;
    }
    let key = state.run(&run).session_key.clone();
    if state.session(&key).depth > 0 {
        return false;
    }
    let policy = policy::now(state, &key);
    WRITING.iter().any(|tool| policy.allowed.contains(*tool))
}

/// A call for `purpose` goes out.
pub fn issued(state: &mut State<'_>, run: RunId, purpose: Purpose, plan: Option<&Plan>) {
    let (id, day) = (state.run(&run).session_id, state.now().day());
    if purpose == Purpose::Reply {
        return;
    }
    let session = state.run(&run).session_key.clone();
    let fold = &mut state.transcript_mut(&id).gauge.fold;
    match purpose {
        Purpose::Notes => {
            let notes = fold.notes.get_or_insert(Notes { left: NOTES_MAX, day });
            notes.left -= 1;
            state.notices.push(Notice::TakingNotes { run, session });
        }
        Purpose::Summary => {
            fold.cut = plan.map(|plan| plan.first_seq);
            state.notices.push(Notice::Compacting { run, session });
        }
        Purpose::Reply => {}
    }
}

/// Why a call is not carried out while notes are taken.
pub fn refusal(purpose: Purpose, tool: &str) -> Option<String> {
    let refused = purpose == Purpose::Notes && !NOTES_TOOLS.contains(&tool);
    refused.then(|| {
        format!(
            "`{tool}` cannot be called while notes are taken: only {} can",
            NOTES_TOOLS.join(", ")
        )
    })
}

/// A provider has counted: what is estimated from here on is nearer to it.
pub fn counted(state: &mut State<'_>, run: RunId, purpose: Purpose, reply: &ModelReply) {
    let id = state.run(&run).session_id;
    let transcript = state.transcript_mut(&id);
    let gauge = &mut transcript.gauge;
    gauge.fold.calls += 1;
    if purpose == Purpose::Summary {
        return;
    }
    let likely = transcript.context_tokens.saturating_sub(gauge.counted);
    let actual = reply.usage.prompt().saturating_sub(gauge.counted);
    if likely >= LEARN_MIN && actual > 0 {
        gauge.learn(likely, actual, 2);
    }
    if purpose == Purpose::Reply {
        (gauge.fold.calls, gauge.fold.overflows, gauge.fold.folds) = (0, 0, 0);
    }
}

/// A call for notes or a summary has its answer, and no tool is called. Says whether it was one.
pub fn on_replied(state: &mut State<'_>, run: RunId, purpose: Purpose, text: &str) -> bool {
    let id = state.run(&run).session_id;
    match purpose {
        Purpose::Reply => return false,
        Purpose::Notes => {
            if let Some(notes) = &mut state.transcript_mut(&id).gauge.fold.notes {
                notes.left = 0;
            }
        }
        Purpose::Summary => {
            let size = Size::of(state, run);
            match fold::planned(state, run, &size) {
                Some(plan) => fold::begin(state, run, &plan, Some(text)),
                None => state.transcript_mut(&id).gauge.fold.failures += 1,
            }
        }
    }
    true
}

/// A call has failed in a way that concerns the conversation, and not the provider. Says whether
/// the run goes on at once, in another way.
pub fn on_failed(
    state: &mut State<'_>,
    run: RunId,
    purpose: Purpose,
    failure: &ModelFailure,
) -> bool {
    use FailureClass as C;

    let id = state.run(&run).session_id;
    let overflow = failure.class == C::Overflow;
    if overflow {
        learn_window(state, run, purpose, failure);
    }
    let odd = matches!(failure.class, C::BadRequest | C::InvalidReply | C::Network | C::Internal);
    let fold = &mut state.transcript_mut(&id).gauge.fold;
    fold.calls += u32::from(overflow || odd && purpose != Purpose::Reply);
    match purpose {
        Purpose::Reply if overflow => {
            fold.overflowed = true;
            fold.overflows += 1;
            true
        }
        Purpose::Reply => false,
        Purpose::Notes => {
            if let Some(notes) = &mut fold.notes {
                notes.left = if overflow || odd { 0 } else { notes.left + 1 };
            }
            overflow || odd
        }
        Purpose::Summary => {
            let hopeless = overflow || failure.class == C::BadRequest;
            let max = failures_max(fold);
            fold.failures = match (hopeless, odd) {
                (true, _) => max,
                (false, true) => fold.failures + 1,
                (false, false) => fold.failures,
            };
            fold.failures >= max
        }
    }
}

/// Keeps what a refusal tells of the model's true window, and of our estimate.
fn learn_window(state: &mut State<'_>, run: RunId, purpose: Purpose, failure: &ModelFailure) {
    let row = state.run(&run).clone();
    let size = Size::of(state, run);
    let told = failure.overflow;
    // What a summary was asked about is not what is counted here.
    if purpose == Purpose::Summary && told.window.is_none() {
        return;
    }
    let gauge = &mut state.transcript_mut(&row.session_id).gauge;
    let counted = purpose != Purpose::Summary;
    if let Some(sent) = told.sent.filter(|sent| counted && *sent > size.now) {
        gauge.learn(size.now, sent, 4);
    }
    let window = match (told.window, told.sent) {
        (Some(window), _) => window,
        // It fits by our own count, or by what is configured, and does not.
        (None, Some(sent)) => sent,
        (None, None) => size.now,
    };
    let window = window.max(WINDOW_MIN);
    if window < size.window {
        gauge.told = Some(Told { model: row.model, tokens: window });
    } else if counted && told.sent.is_none() && size.now <= size.hard {
        gauge.learn(size.now, size.hard + size.hard / 10, 4);
    }
}

/// Ends a run whose request cannot be made smaller.
fn give_up(state: &mut State<'_>, run: RunId, size: &Size) {
    let model = state.run(&run).model.clone();
    let why = format!(
        "context_full: the request does not fit {model}, and nothing more of it can be left out: \
         its tools, system prompt and workspace files take about {} of {} tokens. `/new` begins \
         this conversation anew, and the old one stays readable; `/compact` tries again. Shorter \
         workspace files help, or a model with a larger `contextWindow`",
        size.prefix, size.window
    );
    let error = Some((FailureClass::Overflow, why));
    finish(state, run, End { outcome: Outcome::Failed, text: None, error, quiet: false });
}

/// A run has ended: what was begun for it is over. An order for a compaction that has failed is
/// forgotten: it would be tried again and again.
pub fn on_run_ended(state: &mut State<'_>, run: RunId, outcome: Outcome) {
    let id = state.run(&run).session_id;
    let was = state.transcript(&id).gauge.fold.clone();
    let asked = was.asked.clone().filter(|_| outcome == Outcome::Completed);
    let notes = was.notes.clone().map(|notes| Notes { left: 0, ..notes });
    let now = Fold { asked, notes, failures: was.failures, ..Fold::default() };
    if now != was {
        state.transcript_mut(&id).gauge.fold = now;
    }
}

/// Estimated tokens of all that is sent of a conversation, but its prefix.
pub fn tokens(state: &mut State<'_>, id: SessionId) -> u64 {
    let spans = projection::spans(state, id);
    let mut tokens = fold::head_tokens(state, &spans);
    for span in spans.iter().filter(|span| span.first_seq <= span.last_seq) {
        tokens += match span.clip {
            None => state.tx().tokens_between(span.session_id, span.first_seq, span.last_seq),
            Some(_) => fold::marks(state, span).iter().map(|mark| mark.tokens).sum(),
        };
    }
    tokens
}

/// Is this step part of the taking of notes?
pub fn is_silent(purpose: Purpose) -> bool {
    purpose == Purpose::Notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_asks_for_a_compaction() {
        let limits = Limits::default();
        let size = |now| Size { window: 10_000, hard: 8_000, soft: 6_400, prefix: 1_000, now };
        let fold = Fold::default();
        let asked = Fold { asked: Some(String::new()), ..fold.clone() };
        let refused = Fold { overflowed: true, overflows: 1, ..fold.clone() };
        let done = Fold { folds: FOLDS_MAX, ..fold.clone() };
        for (fold, now, expected) in [
            (&fold, 6_400, false),
            (&fold, 6_401, true),
            (&asked, 10, true),
            (&refused, 10, true),
            (&done, 7_000, false),
        ] {
            assert_eq!(wanted(fold, &size(now), &limits), expected, "{fold:?} {now}");
        }
    }

    /// Whatever was done before, the question can be asked, and once more if it is refused.
    #[test]
    fn what_may_still_be_asked() {
        use Purpose::{Notes, Reply, Summary};

        #[rustfmt::skip]
        let table = [
            // calls overflows  notes  summary reply
            (0,      0,         [true,  true,  true]),
            (1,      0,         [true,  true,  true]),
            (2,      0,         [false, true,  true]),
            (2,      2,         [false, true,  true]),
            (3,      1,         [false, false, true]),
            (3,      3,         [false, false, false]),
            (4,      1,         [false, false, true]),
            (5,      2,         [false, false, false]),
        ];
        for (calls, overflows, expected) in table {
            let fold = Fold { calls, overflows, ..Fold::default() };
            let may = [Notes, Summary, Reply].map(|purpose| may_ask(&fold, purpose));
            assert_eq!(may, expected, "{calls} calls, {overflows} overflows");
        }
    }

    #[test]
    fn only_files_are_touched_while_notes_are_taken() {
        assert_eq!(refusal(Purpose::Notes, "write"), None);
        assert_eq!(refusal(Purpose::Reply, "exec"), None);
        assert!(refusal(Purpose::Notes, "exec").is_some());
        assert!(refusal(Purpose::Notes, "sessions_spawn").is_some());
    }
}
