//! A message that will not wait: it ends the open run, and comes next.
//!
//! | the open run | what becomes of it | the message |
//! |---|---|---|
//! | has begun | ends as cancelled; its children go on | gets the next run |
//! | stands in line, for words of the same person | stays: nothing is interrupted | enters it |
//! | stands in line, for a brief or for words from elsewhere | gives way | gets a run before it |
//!
//! What gives way has done nothing: its run is taken back, and the rows that it was opened for wait
//! again, in their order, for the run that comes after the message.

use types::{RunId, SessionKey};

use crate::effect::Notice;
use crate::finish::{End, finish_for};
use crate::queue::Busy;
use crate::rows::{InboxState, Outcome, TimerKind};
use crate::state::State;
use crate::wait::open_run;

/// Would the message enter the open run, together with the words for which that stands in line?
pub fn joins(state: &mut State<'_>, key: &SessionKey, busy: Busy) -> bool {
    let Some(run) = state.session(key).open_run else { return false };
    let row = state.run(&run);
    busy == Busy::Steerable && row.started.is_none() && row.task.is_none()
}

/// Makes room for the message `seq`, and opens its run.
pub fn interrupt(state: &mut State<'_>, key: &SessionKey, seq: i64) {
    let Some(run) = state.session(key).open_run else { return };
    if state.run(&run).started.is_some() {
        let why = "interrupted by a newer message";
        finish_for(state, run, End::without_answer(Outcome::Cancelled, why), seq);
        return;
    }
    give_way(state, key, run);
    open_run(state, key, seq);
}

/// Takes back a run that has not begun. It is opened again when its turn comes.
fn give_way(state: &mut State<'_>, key: &SessionKey, run: RunId) {
    let limit = state.limits.inbox_rows_max();
    for seq in state.tx().queued_rows(key, limit) {
        let row = state.inbox_mut(&seq);
        if row.run == Some(run) && row.state == InboxState::Queued {
            row.run = None;
        }
    }
    for kind in [TimerKind::Debounce, TimerKind::QueueNotice] {
        state.clear_timer(kind, run);
    }
    let session = state.session_mut(key);
    session.open_run = None;
    session.rev += 1;
    state.remove_run(run);
    state.notices.push(Notice::GaveWay { run, session: key.clone() });
}
