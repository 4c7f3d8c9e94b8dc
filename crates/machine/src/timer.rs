//! Timers: every wait of the system has one, and the earliest is the driver's only alarm.

use types::RunId;

use crate::archive;
use crate::effect::Answer;
use crate::event::Event;
use crate::finish::{End, finish};
use crate::lane;
use crate::limits::SWEEP_PAGE;
use crate::rows::{Outcome, Timer, TimerKind};
use crate::run::{Phase, WaitKind};
use crate::state::State;
use crate::stop;
use crate::wait::{self, Turn, requeue};

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
    let Ok(run) = timer.subject.parse::<RunId>() else { return Answer::Done };
    let Some(phase) = state.find_run(&run).map(|row| row.phase) else { return Answer::Done };
    match timer.kind {
        TimerKind::Retry if phase == Phase::Waiting(WaitKind::Retry) => {
            requeue(state, run, Turn::InLine);
        }
        TimerKind::YieldTimeout => wait::on_yield_timeout(state, run),
        TimerKind::Deadline if !phase.ended() => time_out(state, run),
        TimerKind::Debounce if phase == Phase::Queued => lane::enqueue(state, run, Turn::InLine),
        // The run has gone on in the meantime.
        _ => {}
    }
    Answer::Done
}

/// The run's time is over, and with it that of what it has spawned: nobody waits for it.
pub fn time_out(state: &mut State<'_>, run: RunId) {
    let row = state.run(&run).clone();
    let seconds = row.timeout_ms.unwrap_or(0) as f64 / 1_000.0;
    let why = format!("its time of {seconds} s is over");
    stop::stop_children(state, &row.session_key, "deadline");
    finish(state, run, End::without_answer(Outcome::TimedOut, &why));
}
