//! Transcripts: append only, every tool call with exactly one result, and where inputs may enter.
//!
//! # Invariants
//!
//! - `seq` has no gap.
//! - Inputs enter only while no tool call of the run is open: an entry between a call and its
//!   result would spoil the history for every later turn.

use types::{Hash, RunId, SessionId, ToolResult, usage::estimate_tokens};

use crate::archive;
use crate::context;
use crate::effect::Notice;
use crate::guard;
use crate::kept;
use crate::reply;
use crate::rows::{Body, Entry, EntryKind, InboxKind, InboxRow, InboxState, Place, StepState};
use crate::state::State;

/// Rows that one run takes in at most before its first call, announces not counted.
const FEED_ROWS_MAX: usize = 1_000;

/// What is appended; number and time are given to it.
#[derive(Debug)]
pub struct NewEntry {
    pub run: RunId,
    pub step: Option<u32>,
    pub kind: EntryKind,
    pub call_id: Option<String>,
    pub body: Body,
    pub tokens: u64,
    /// Part of the taking of notes, or an order that no model is shown.
    pub silent: bool,
}

/// Appends an entry.
pub fn append(state: &mut State<'_>, session_id: SessionId, new: NewEntry) {
    let at = state.now();
    let transcript = state.transcript_mut(&session_id);
    assert!(transcript.ended.is_none(), "{session_id} has ended, and would get an entry");
    let seq = transcript.next_seq;
    transcript.next_seq += 1;
    let likely = transcript.gauge.likely(new.tokens);
    transcript.context_tokens = transcript.context_tokens.saturating_add(likely);
    let NewEntry { run, step, kind, call_id, body, tokens, silent } = new;
    let entry = Entry { session_id, seq, run, step, kind, call_id, body, tokens, silent, at };
    state.tx().add_entry(&entry);
}

/// Lets the queued rows that may enter now become entries.
///
/// A run takes the row that it was opened for (of merged rows all), and whatever steers. Only
/// rows of its own origin enter: its answer goes there and nowhere else. Of announces, as many as
/// a quarter of the context window holds, and one at least.
///
/// # Panics
///
/// If a tool call of the run is open.
pub fn feed(state: &mut State<'_>, run: RunId) {
    let tx = state.tx();
    let closed = tx.open_steps(run).is_empty() && tx.waiting_steps(run).is_empty();
    assert!(closed, "{run} takes inputs in while a call is open");
    let model = state.run(&run).model.clone();
    let mut announce_tokens = state.limits_of(run).announce_tokens(&model);
    let mut announces = 0;
    for row in entering(state, run) {
        if row.kind == InboxKind::Announce {
            if announces > 0 && row.tokens > announce_tokens {
                continue;
            }
            announces += 1;
            announce_tokens = announce_tokens.saturating_sub(row.tokens);
        }
        consume(state, run, &row);
    }
}

/// Queued rows that may enter the run at its next model boundary, oldest first.
pub fn entering(state: &mut State<'_>, run: RunId) -> Vec<InboxRow> {
    let (key, origin) = {
        let row = state.run(&run);
        (row.session_key.clone(), row.origin.clone())
    };
    let limit = FEED_ROWS_MAX + state.limits.tasks_per_tree_max as usize;
    let mut rows: Vec<InboxRow> = Vec::new();
    for seq in state.tx().queued_rows(&key, limit) {
        rows.push(state.inbox(&seq).clone());
    }
    let merging = rows.iter().any(|row| row.run == Some(run) && row.place == Place::Merge);
    let enters = |row: &InboxRow| {
        row.run == Some(run)
            || row.origin == origin
                && match row.place {
                    Place::Steer | Place::Hold => true,
                    Place::Merge => merging,
                    Place::Own => false,
                }
    };
    rows.retain(enters);
    rows
}

fn consume(state: &mut State<'_>, run: RunId, row: &InboxRow) {
    let now = state.now();
    let head = state.inbox_mut(&row.seq);
    head.state = InboxState::Consumed;
    head.run = Some(run);
    head.done = Some(now);
    guard::ordered(state, run, row.kind);
    let hops = reply::hops_brought(state, run, row);
    let taker = state.run_mut(&run);
    taker.hops = taker.hops.max(hops);
    let session_id = taker.session_id;
    let silent = context::is_order(row);
    let (body, tokens) = entering_body(state, run, row);
    append(
        state,
        session_id,
        NewEntry {
            run,
            step: None,
            kind: row.kind.into(),
            call_id: None,
            body,
            tokens: if silent { 0 } else { tokens },
            silent,
        },
    );
    if row.kind == InboxKind::Announce
        && let Some(task) = row.task
    {
        let session = state.task(&task).session_key.clone();
        archive::on_idle(state, &session);
    }
}

/// The text of an input as a model is shown it. One that would take too much of the window enters
/// by its beginning and its end, and is kept whole beside.
fn entering_body(state: &mut State<'_>, run: RunId, row: &InboxRow) -> (Body, u64) {
    let model = state.run(&run).model.clone();
    let max = state.limits_of(run).input_tokens(&model);
    if row.tokens <= max {
        return (Body::Inbox(row.seq), row.tokens);
    }
    let whole = state.tx().inbox_body(row.seq).unwrap_or_default();
    match kept::bounded_input(state, run, &whole) {
        Some(cut) => {
            let tokens = estimate_tokens(&cut);
            (Body::Shortened { inbox: row.seq, text: cut }, tokens)
        }
        None => (Body::Inbox(row.seq), row.tokens),
    }
}

/// What closes a tool call.
#[derive(Debug)]
pub struct Closing<'a> {
    pub text: &'a str,
    pub is_error: bool,
    pub state: StepState,
}

/// Closes an open tool step with its one result.
pub fn close_tool(state: &mut State<'_>, run: RunId, n: u32, closing: Closing<'_>) {
    let now = state.now();
    let step = state.step_mut(&(run, n));
    let open = matches!(step.state, StepState::Intent | StepState::Waiting);
    assert!(open, "step {n} of {run} is closed twice");
    step.state = closing.state;
    step.ended = Some(now);
    step.result_hash = Some(Hash::of(closing.text));
    let call_id = step.call_id.clone().unwrap_or_default();
    let name = step.name.clone().unwrap_or_default();
    let silent = context::is_silent(step.purpose);
    let row = state.run(&run);
    let (session_id, session) = (row.session_id, row.session_key.clone());
    // What the machine tells itself is bounded here; what a tool has told is already.
    let bytes_max = kept::share_of_window(state, run);
    let text = kept::bounded(state, run, closing.text, bytes_max);
    let result = ToolResult {
        call_id: call_id.clone(),
        name: name.clone(),
        text: text.into_owned(),
        is_error: closing.is_error,
    };
    let body = serde_json::to_string(&result).expect("a struct of strings is JSON");
    append(
        state,
        session_id,
        NewEntry {
            run,
            step: Some(n),
            kind: EntryKind::ToolResult,
            call_id: Some(call_id.clone()),
            tokens: estimate_tokens(&result.text),
            body: Body::Text(body),
            silent,
        },
    );
    let is_error = closing.is_error;
    state.notices.push(Notice::ToolFinished { run, session, call_id, name, is_error });
}
