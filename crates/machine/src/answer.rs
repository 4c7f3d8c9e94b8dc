//! The end of a model's turn: it has given a text and asks for nothing more.

use types::RunId;

use crate::cut;
use crate::deadline;
use crate::deliver;
use crate::event::ModelReply;
use crate::finish::{End, finish};
use crate::rows::{InboxKind, InboxRow, Outcome};
use crate::run::WaitKind;
use crate::state::State;
use crate::step::call;
use crate::transcript;
use crate::wait;

/// The run has given a text and asks for nothing more. A child whose own children are open waits
/// for them as if it had yielded, and one in whose inbox something lies goes on with that: so
/// results climb one level at a time, and a task does not end with one unread.
///
/// A person's run goes on, too, if there were results that did not fit in with the others: the
/// person gets one answer, for all of them.
pub fn answer(state: &mut State<'_>, run: RunId, step: u32, reply: ModelReply) {
    let is_task = state.run(&run).task.is_some();
    if is_task && wait::wait_for_children(state, run) > 0 {
        wait::rest(state, run, WaitKind::Children);
        return;
    }
    let asked = state.step(&(run, step)).started;
    // A warning that its time ends has come too late for a model that has answered.
    let unread = |row: &InboxRow| is_task && !deadline::is_warning(row);
    let left_out = |row: &InboxRow| row.kind == InboxKind::Announce && row.at <= asked;
    if transcript::entering(state, run).iter().any(|row| unread(row) || left_out(row)) {
        transcript::feed(state, run);
        call(state, run);
        return;
    }
    let blank = reply.text.trim().is_empty();
    let outcome = if blank { Outcome::NoResult } else { Outcome::Completed };
    if outcome == Outcome::Completed && deliver::begin(state, run, step) {
        return;
    }
    let error = reply.cut_at.map(cut::why);
    finish(state, run, End { outcome, text: Some(reply.text), error, quiet: false });
}

/// Lets a run that has answered go on, if something for it has come meanwhile.
pub fn reads_on(state: &mut State<'_>, run: RunId) -> bool {
    let unread = transcript::entering(state, run).iter().any(|row| !deadline::is_warning(row));
    if unread {
        transcript::feed(state, run);
        call(state, run);
    }
    unread
}
