//! Timers: every wait of the system has one, and the earliest is the driver's only alarm.

use std::time::Duration;

use types::{RunId, Timestamp};

use crate::archive;
use crate::deadline;
use crate::effect::Answer;
use crate::event::Event;
use crate::limits::{KEPT_PAGE, RETENTION_PAGE, SWEEP_PAGE};
use crate::rows::{Timer, TimerKind};
use crate::run::{Phase, WaitKind};
use crate::state::State;
use crate::wait::{self, Turn, requeue};
use crate::{approve, budget, gate, halt, lane, node, reply};

/// Between two pages of what is deleted, so that other work comes in between.
const PAGE_PAUSE: Duration = Duration::from_millis(200);

/// Makes due what is due, a page at a time.
pub fn tick(state: &mut State<'_>) -> Answer {
    let now = state.now();
    let due = state.tx().due_timers(now, SWEEP_PAGE);
    let more = due.len() == SWEEP_PAGE;
    state.raised.extend(due.into_iter().map(Event::Due));
    if more {
        state.raised.push(Event::Tick);
    }
    Answer::Done
}

/// A timer has gone off. It is deleted first, so each goes off once.
pub fn due(state: &mut State<'_>, timer: &Timer) -> Answer {
    state.clear_timer(timer.kind, &timer.subject);
    if timer.kind == TimerKind::Archive {
        if let Ok(session) = timer.subject.parse() {
            archive::due(state, &session);
        }
        return Answer::Done;
    }
    match timer.kind {
        TimerKind::ReplyTimeout => {
            reply::on_timeout(state, &timer.subject);
            return Answer::Done;
        }
        TimerKind::Gate => {
            if let Ok(gate) = timer.subject.parse() {
                gate::on_due(state, &gate);
            }
            return Answer::Done;
        }
        TimerKind::Budget => {
            if let Ok(budget) = timer.subject.parse() {
                budget::look(state, &budget);
            }
            return Answer::Done;
        }
        TimerKind::Retention => {
            forget(state);
            return Answer::Done;
        }
        TimerKind::Approval => {
            if let Ok(approval) = timer.subject.parse() {
                approve::on_timeout(state, approval);
            }
            return Answer::Done;
        }
        TimerKind::Halt => {
            if let Ok(run) = timer.subject.parse() {
                halt::look_again(state, run);
            }
            return Answer::Done;
        }
        _ => {}
    }
    let Ok(run) = timer.subject.parse::<RunId>() else { return Answer::Done };
    let Some(phase) = state.find_run(&run).map(|row| row.phase) else { return Answer::Done };
    match timer.kind {
        TimerKind::Retry if phase == Phase::Waiting(WaitKind::Retry) => {
            requeue(state, run, Turn::InLine);
        }
        TimerKind::YieldTimeout => wait::on_yield_timeout(state, run),
        TimerKind::DeadlineWarning if !phase.ended() => deadline::warn(state, run),
        TimerKind::Deadline if !phase.ended() => deadline::time_out(state, run),
        TimerKind::QueueNotice if phase == Phase::Queued => lane::on_queue_notice(state, run),
        TimerKind::Debounce if phase == Phase::Queued => lane::enqueue(state, run, Turn::InLine),
        // The run has gone on in the meantime.
        _ => {}
    }
    Answer::Done
}

/// Subject of a timer that there is one of.
pub const ALONE: &str = "-";

/// Deletes what has been kept long enough, a page at a time: inputs that are done with, and
/// history. What is queued or dead stays, and so does what an open task was given.
fn forget(state: &mut State<'_>) {
    // The invariants know by the last beat what may be gone.
    node::beat(state);
    let now = state.now();
    let retention = state.limits.retention;
    let before = Timestamp(now.ms().saturating_sub(retention.keep.as_millis() as i64));
    let inbox = state.tx().forget_inbox(before, RETENTION_PAGE);
    let journal = state.tx().forget_journal(before, RETENTION_PAGE);
    let kept = state.tx().forget_kept(before, KEPT_PAGE);
    let more = inbox == RETENTION_PAGE || journal == RETENTION_PAGE || kept == KEPT_PAGE;
    let next = if more { now + PAGE_PAUSE } else { now + retention.every };
    state.set_timer(TimerKind::Retention, ALONE, next);
}
