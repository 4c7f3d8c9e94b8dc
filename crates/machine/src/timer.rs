//! Timers: every wait of the system has one, and the earliest is the driver's only alarm.

use types::RunId;

use crate::archive;
use crate::effect::Answer;
use crate::event::Event;
use crate::limits::SWEEP_PAGE;
use crate::reply;
use crate::rows::{Timer, TimerKind};
use crate::run::{Phase, WaitKind};
use crate::state::State;
use crate::wait::{self, Turn, requeue};
use crate::{deadline, lane};

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
    if timer.kind == TimerKind::ReplyTimeout {
        reply::on_timeout(state, &timer.subject);
        return Answer::Done;
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
        TimerKind::Debounce if phase == Phase::Queued => lane::enqueue(state, run, Turn::InLine),
        // The run has gone on in the meantime.
        _ => {}
    }
    Answer::Done
}
