//! Lanes: who may run now, and who waits.
//!
//! A run needs two slots before it may call a model:
//!
//! ```text
//!  inbox row ─▶ session lane ─▶ global lane ─▶ running
//!               one open run    N slots
//!               per session     `main`, `subagent`, `cron`
//! ```
//!
//! The session lane keeps one conversation in order. The global lane bounds the whole process,
//! and is split so that a burst of sub-agents cannot keep a person waiting.
//!
//! # Invariants
//!
//! - A run takes its session slot first and gives it up last. Two runs therefore never wait for
//!   each other.
//! - A run that waits for children, an answer or a retry holds no global slot.
//! - A lane is fair between trees, and first in, first out within one: a run's rank is one more
//!   than that of the run before it in its tree, and never below that of the run admitted last.
//!   (Start-time fair queueing: P. Goyal, H. Vin, H. Cheng, SIGCOMM 1996.)
//! - Only [`admit`] takes a slot.

use types::RunId;

use crate::effect::{Answer, Notice};
use crate::event::{Event, Token};
use crate::limits::{ADMIT_PAGE, QUEUE_NOTICES};
use crate::rows::{Lane, LaneName, NodeState, TimerKind};
use crate::run::RunEvent;
use crate::state::State;
use crate::wait::{Turn, transition};
use crate::{deadline, step, transcript};

/// Puts a queued run in line, and looks whether there is room.
pub fn enqueue(state: &mut State<'_>, run: RunId, turn: Turn) {
    let (lane, root) = {
        let row = state.run(&run);
        (row.lane, row.root_key.clone())
    };
    let vtime = lane_row(state, lane).vtime;
    let rank = match turn {
        // Whoever is in line has at least the rank that was admitted last.
        Turn::First => vtime - 1,
        Turn::InLine => {
            let last = state.tx().last_rank(lane, &root).unwrap_or(vtime);
            1 + last.max(vtime)
        }
    };
    let now = state.now();
    let goes_on = has_room(state, lane);
    let row = state.run_mut(&run);
    (row.rank, row.lined) = (Some(rank), Some(now));
    if !goes_on {
        state.set_timer(TimerKind::QueueNotice, run, now + QUEUE_NOTICES[0]);
    }
    raise_admit(state, lane);
}

/// Does whoever lines up now get a slot in the same commit? Then nobody has to be told of a wait.
fn has_room(state: &mut State<'_>, lane: LaneName) -> bool {
    if state.this_node().is_none_or(|node| node.state != NodeState::Up) {
        return false;
    }
    let capacity = configured(state, lane) as usize;
    let tx = state.tx();
    tx.queued_runs(lane, 1).is_empty() && tx.held_slots(lane).len() < capacity
}

/// One look at a lane serves all who have come in this event.
fn raise_admit(state: &mut State<'_>, lane: LaneName) {
    if !state.raised.contains(&Event::Admit(lane)) {
        state.raised.push(Event::Admit(lane));
    }
}

fn configured(state: &State<'_>, name: LaneName) -> u32 {
    state.limits.lanes.get(&name).copied().unwrap_or(1).max(1)
}

/// Gives a lane the slots that are configured. One that has fewer by now keeps those that runs
/// still hold.
pub fn fit(state: &mut State<'_>, name: LaneName) {
    let held = state.tx().held_slots(name).last().map_or(0, |slot| slot + 1);
    let capacity = configured(state, name).max(held);
    if lane_row(state, name).capacity != capacity {
        state.lane_mut(&name).capacity = capacity;
    }
}

/// The configuration has changed, and with it perhaps how many may run.
pub fn refit(state: &mut State<'_>) {
    for &name in LaneName::ALL {
        fit(state, name);
        raise_admit(state, name);
    }
}

fn lane_row(state: &mut State<'_>, name: LaneName) -> Lane {
    let capacity = configured(state, name);
    match state.find_lane(&name) {
        Some(lane) => lane.clone(),
        None => {
            let lane = Lane { name, capacity, vtime: 0, generation: 0 };
            state.add_lane(lane.clone());
            lane
        }
    }
}

/// Gives free slots of `lane` to the runs that are next.
pub fn admit(state: &mut State<'_>, lane: LaneName) -> Answer {
    if state.this_node().is_none_or(|node| node.state != NodeState::Up) {
        return Answer::Done;
    }
    fit(state, lane);
    let capacity = configured(state, lane);
    let held = state.tx().held_slots(lane);
    let mut free: Vec<u32> =
        (0..capacity).filter(|slot| held.binary_search(slot).is_err()).collect();
    // After a change to fewer, those beyond them count too.
    free.truncate((capacity as usize).saturating_sub(held.len()));
    if free.is_empty() {
        return Answer::Done;
    }
    let page = free.len().min(ADMIT_PAGE);
    let next = state.tx().queued_runs(lane, page);
    let more = next.len() == page && free.len() > page;
    for (run, slot) in next.into_iter().zip(free) {
        start(state, run, slot);
    }
    if more {
        raise_admit(state, lane);
    }
    Answer::Done
}

/// Gives the run its slot and lets it go on from where it stands.
fn start(state: &mut State<'_>, run: RunId, slot: u32) {
    let now = state.now();
    let node = state.at.node;
    let nonce = i64::from_le_bytes(state.at.random().to_le_bytes()) & i64::MAX;
    let row = state.run_mut(&run);
    let rank = row.rank.take().unwrap_or(0);
    row.lined = None;
    row.slot = Some(slot);
    row.node = Some(node);
    row.generation += 1;
    row.nonce = nonce;
    let first = row.started.is_none();
    if first {
        row.started = Some(now);
    }
    let lane = row.lane;
    let lane = state.lane_mut(&lane);
    lane.vtime = lane.vtime.max(rank);
    if first {
        deadline::set(state, run);
    }
    state.clear_timer(TimerKind::QueueNotice, run);
    announce_start(state, run, first);

    let open = state.tx().open_steps(run);
    if open.is_empty() && !state.tx().waiting_steps(run).is_empty() {
        // A drain took its place while it had other calls out, and those are closed by now.
        transition(state, run, RunEvent::AdmittedWithTools);
        step::after_tool(state, run);
    } else if open.is_empty() {
        transcript::feed(state, run);
        step::call(state, run);
    } else {
        // Tools that a drain or a crash has left behind.
        if step::ends_here(state, run) {
            return;
        }
        transition(state, run, RunEvent::AdmittedWithTools);
        step::restart_tools(state, run, open);
    }
}

fn announce_start(state: &mut State<'_>, run: RunId, first: bool) {
    let row = state.run(&run);
    let notice = Notice::RunStarted {
        run,
        wire_id: row.wire_id.clone(),
        session: row.session_key.clone(),
        recovered: !first,
    };
    state.notices.push(notice);
}

/// A run stands in line for long: whoever watches is told where, and who holds the slots.
pub fn on_queue_notice(state: &mut State<'_>, run: RunId) {
    let (now, row) = (state.now(), state.run(&run).clone());
    let (Some(rank), Some(lined)) = (row.rank, row.lined) else { return };
    let waited = now.since(lined);
    let mut holders = Vec::new();
    for holder in state.tx().slot_holders(row.lane) {
        holders.push(state.run(&holder).session_key.clone());
    }
    let notice = Notice::QueueWait {
        run,
        wire_id: row.wire_id,
        session: row.session_key,
        lane: row.lane,
        place: state.tx().place_in_line(row.lane, rank, run),
        waited_ms: i64::try_from(waited.as_millis()).unwrap_or(i64::MAX),
        holders,
    };
    state.notices.push(notice);
    if let Some(next) = QUEUE_NOTICES.iter().find(|next| **next > waited) {
        state.set_timer(TimerKind::QueueNotice, run, lined + *next);
    }
}

/// The token that results of the run's present life carry.
pub fn token(state: &mut State<'_>, run: RunId) -> Token {
    let row = state.run(&run);
    Token { generation: row.generation, nonce: row.nonce }
}
