//! Waiting and waking: `sessions_yield`, the end of a wait, and the opening of a run.
//!
//! # Invariants
//!
//! - A run that waits holds no slot.
//! - A wait ends once: the wake puts the run back in line, and a run that is in line is not
//!   woken again.
//! - A session with queued rows has an open run, unless all of them are held.

use std::time::Duration;

use types::{RunId, SessionKey, WaitFor, YieldRequest};

use crate::approve;
use crate::circle;
use crate::deadline;
use crate::effect::Notice;
use crate::event::{Event, Inbound};
use crate::failover;
use crate::finish::{End, finish};
use crate::inbox;
use crate::internal::Reply;
use crate::lane;
use crate::reply;
use crate::rows::{InboxKind, LaneName, Outcome, Place, Run, TimerKind};
use crate::run::{Phase, RunEvent, WaitKind};
use crate::state::State;
use crate::transcript;

/// Lets the session know of the row `seq` in its inbox.
pub fn wake(state: &mut State<'_>, key: &SessionKey, seq: i64) {
    let (kind, place, origin) = {
        let row = state.inbox(&seq);
        (row.kind, row.place, row.origin.clone())
    };
    let Some(run) = state.session(key).open_run else {
        if place != Place::Hold {
            open_run(state, key, seq);
        }
        return;
    };
    let (phase, enters) = {
        let row = state.run(&run);
        (row.phase, row.origin == origin)
    };
    match (phase, kind, place) {
        // A child that ends counts the wait down itself.
        (_, InboxKind::Announce, _) | (_, _, Place::Hold) => {}
        (Phase::Waiting(WaitKind::Children), _, Place::Steer) if enters => {
            requeue(state, run, Turn::InLine);
        }
        // It waits for another answer than this one.
        (_, InboxKind::Reply, _) => {}
        (Phase::Waiting(WaitKind::Reply), _, Place::Steer) if enters => {
            reply::give_up_all(state, run, "something else has come that you should hear now");
        }
        // The answer of this run goes to somebody else than this person: it ends here, and the
        // results still to come open another towards the first person.
        (Phase::Waiting(WaitKind::Children), InboxKind::User, Place::Own | Place::Merge)
            if !enters =>
        {
            let why = "the wait was ended by a message from elsewhere";
            finish(state, run, End::without_answer(Outcome::Interrupted, why));
        }
        // A run of its own, later.
        _ => {}
    }
}

/// Opens the run that takes the row `seq` in.
pub fn open_run(state: &mut State<'_>, key: &SessionKey, seq: i64) {
    let row = state.inbox(&seq).clone();
    let session = state.session(key).clone();
    let task = row.task.filter(|_| row.kind == InboxKind::Brief);
    let (id, root) = match task {
        Some(task) => (state.task(&task).run, state.task(&task).root_key.clone()),
        None => (RunId::new(state.at.mint()), session.root_key.clone()),
    };
    let wire_id = wire_id(state, &row.idem_key, row.kind, id);
    let lane = lane_of(row.kind, session.depth);
    let model = failover::model_of(state.limits, &session);
    let run = Run {
        id,
        wire_id: wire_id.clone(),
        session_key: key.clone(),
        session_id: session.session_id,
        task,
        lane,
        root_key: root,
        phase: Phase::Queued,
        wait_need: 0,
        rank: None,
        lined: None,
        slot: None,
        node: None,
        generation: 0,
        nonce: 0,
        next_step: 0,
        recoveries: 0,
        retries: 0,
        asked: model.clone(),
        model,
        answered: None,
        switched: None,
        origin: row.origin,
        hops: row.hops,
        timeout_ms: row.timeout_ms,
        deadline: None,
        usage: Default::default(),
        cost: Default::default(),
        budget: None,
        background: false,
        error_class: None,
        error: None,
        queued: state.now(),
        started: None,
        ended: None,
    };
    state.add_run(run);
    state.inbox_mut(&seq).run = Some(id);
    let now = state.now();
    let session = state.session_mut(key);
    session.open_run = Some(id);
    // What was said of the last run does not hold of this one.
    session.declared = None;
    session.active = now;
    session.rev += 1;
    state.clear_timer(TimerKind::Archive, key);
    state.notices.push(Notice::RunQueued { run: id, wire_id, session: key.clone(), lane });

    let debounce = inbox::queue_of(state, key).debounce;
    if row.place == Place::Merge && debounce > Duration::ZERO {
        state.set_timer(TimerKind::Debounce, id, row.at + debounce);
    } else {
        lane::enqueue(state, id, Turn::InLine);
    }
}

/// The client's key is the run's name on the wire, unless another run has it already.
fn wire_id(state: &mut State<'_>, idem_key: &str, kind: InboxKind, id: RunId) -> String {
    if kind == InboxKind::User && state.tx().run_by_wire_id(idem_key).is_none() {
        idem_key.to_owned()
    } else {
        id.to_string()
    }
}

/// The lane follows from the cause. An announce goes to the lane of the run that had spawned,
/// which is that of people at the head of a tree and that of children below.
fn lane_of(kind: InboxKind, depth: u32) -> LaneName {
    match kind {
        InboxKind::User => LaneName::Main,
        InboxKind::Brief | InboxKind::Agent => LaneName::Subagent,
        InboxKind::Cron | InboxKind::Hook => LaneName::Cron,
        InboxKind::Announce | InboxKind::Reply | InboxKind::System if depth == 0 => LaneName::Main,
        InboxKind::Announce | InboxKind::Reply | InboxKind::System => LaneName::Subagent,
    }
}

/// Where a run goes in its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Fair between trees, first in first out within one.
    InLine,
    /// Ahead of all: it had a slot already, and lost it through no fault of its own.
    First,
}

/// Puts an open run back in line; whatever it waited for is over.
pub fn requeue(state: &mut State<'_>, run: RunId, turn: Turn) {
    stop_waiting(state, run);
    back_in_line(state, run, turn);
}

/// Puts an open run back in line. What a yield of it waits for stays marked: the run goes on with
/// the tools that were called beside the yield, and waits after them.
pub fn back_in_line(state: &mut State<'_>, run: RunId, turn: Turn) {
    transition(state, run, RunEvent::Requeued);
    state.clear_timer(TimerKind::Retry, run);
    let row = state.run_mut(&run);
    let freed = row.slot.take().map(|_| row.lane);
    row.node = None;
    row.budget = None;
    lane::enqueue(state, run, turn);
    if let Some(lane) = freed {
        state.raised.push(Event::Admit(lane));
    }
}

/// Moves the run along its table.
///
/// # Panics
///
/// If the event cannot happen in the run's phase: every caller has looked at the phase, so that
/// would be a bug.
pub fn transition(state: &mut State<'_>, run: RunId, event: RunEvent) {
    let row = state.run_mut(&run);
    row.phase = row.phase.next(event).unwrap_or_else(|illegal| panic!("{run}: {illegal}"));
}

/// Forgets the wait set of a run.
pub fn stop_waiting(state: &mut State<'_>, run: RunId) {
    let key = state.run(&run).session_key.clone();
    for child in state.tx().open_children(&key) {
        if state.task(&child).waited_by == Some(run) {
            state.task_mut(&child).waited_by = None;
        }
    }
    state.run_mut(&run).wait_need = 0;
    state.clear_timer(TimerKind::YieldTimeout, run);
}

/// Frees the run's slot until `kind` is over.
pub fn suspend(state: &mut State<'_>, run: RunId, kind: WaitKind) {
    transition(state, run, RunEvent::Waits(kind));
    let row = state.run_mut(&run);
    row.slot = None;
    row.node = None;
    let lane = row.lane;
    state.raised.push(Event::Admit(lane));
}

/// Suspends a run that has yielded, or that waits for an answer. A message that has come since the
/// model was called counts as if it came now: otherwise nobody would wake the run for it.
pub fn rest(state: &mut State<'_>, run: RunId, kind: WaitKind) {
    suspend(state, run, kind);
    let key = state.run(&run).session_key.clone();
    let limit = state.limits.inbox_rows_max();
    for seq in state.tx().queued_rows(&key, limit) {
        if state.run(&run).phase != Phase::Waiting(kind) {
            return;
        }
        // A note of the gateway to the run waits with it, but for that its time is nearly over.
        let row = state.inbox(&seq);
        if row.kind != InboxKind::System || deadline::is_warning(row) {
            wake(state, &key, seq);
        }
    }
    if kind == WaitKind::Children && state.run(&run).phase == Phase::Waiting(kind) {
        reply::look_again(state, run, None);
        circle::open_up(state, run);
    }
}

/// A call that waited for somebody has its result. Its run goes on if it was the last.
pub fn on_answered(state: &mut State<'_>, run: RunId) {
    if !state.tx().open_steps(run).is_empty() {
        // It has other calls out, or stands in line with them: there it goes on.
        return;
    }
    let row = state.run(&run);
    let (phase, yielded) = (row.phase, row.wait_need > 0);
    let Phase::Waiting(kind @ (WaitKind::Reply | WaitKind::Approval)) = phase else { return };
    if !state.tx().waiting_steps(run).is_empty() {
        let next = approve::wait_kind(state, run);
        if next != kind {
            transition(state, run, RunEvent::Waits(next));
        }
    } else if yielded {
        rest(state, run, WaitKind::Children);
    } else {
        back_in_line(state, run, Turn::InLine);
    }
}

/// Makes the run wait for all its open children whose results will enter it. Returns how many
/// there are.
pub fn wait_for_children(state: &mut State<'_>, run: RunId) -> u32 {
    let (key, origin) = {
        let row = state.run(&run);
        (row.session_key.clone(), row.origin.clone())
    };
    let mut need = 0;
    for child in state.tx().open_children(&key) {
        let task = state.task(&child);
        if task.announce.reaches_requester() && task.origin == origin {
            state.task_mut(&child).waited_by = Some(run);
            need += 1;
        }
    }
    state.run_mut(&run).wait_need = need;
    need
}

/// Carries `sessions_yield` out. The run gives up its slot when no other tool of it is out.
pub fn on_yield(state: &mut State<'_>, run: RunId, step: u32, request: &YieldRequest) -> Reply {
    let key = state.run(&run).session_key.clone();
    if let Err(reply) = check_tasks(state, &key, request) {
        return reply;
    }
    // The last of several yields in one answer counts.
    stop_waiting(state, run);
    let arrived = announces_waiting(state, run);
    let open = wait_for_children(state, run);
    let asked = if open + arrived == 0 { reply::outstanding(state, run) } else { Vec::new() };
    if open + arrived == 0 && (asked.is_empty() || matches!(request.wait_for, WaitFor::Tasks(_))) {
        return Reply::error(
            "nothing_to_wait_for",
            "no child of this session is open, no result is on its way and no message of this run \
             is unanswered; do not yield, but answer, or call sessions_spawn first",
        );
    }
    for other in &asked {
        if other == &key || circle::path(state, other, &key).is_some() {
            let why = format!(
                "{other} waits for this session: you would wait for yourself. Answer, and its \
                 message comes by itself"
            );
            return Reply::error("wait_cycle", &why);
        }
    }
    // Whatever comes next wakes a run that has only written to others.
    let chosen = if asked.is_empty() { choose(state, run, request) } else { 1 };
    let need = match &request.wait_for {
        WaitFor::Any | WaitFor::Message => 1,
        WaitFor::All | WaitFor::Tasks(_) => request.at_least.unwrap_or(u32::MAX),
    };
    // Results that have come already count, but for those of `all`: that means the children that
    // are open now.
    let counted = if need == u32::MAX { 0 } else { arrived };
    let need = need.saturating_sub(counted).min(chosen);
    state.run_mut(&run).wait_need = need;
    if need == 0 {
        stop_waiting(state, run);
    } else if let Some(timeout) = request.timeout {
        let due = state.now() + timeout;
        state.set_timer(TimerKind::YieldTimeout, run, due);
    }
    if let Some(note) = &request.message {
        note_to_self(state, run, step, note);
    }
    state.notices.push(Notice::Yielded {
        run,
        session: key,
        waiting_for: need,
        acknowledgment: request.acknowledgment.clone(),
    });
    Reply::ok(serde_json::json!({
        "status": if need == 0 { "ready" } else { "waiting" },
        "waitingFor": need,
        "openChildren": open,
        "unanswered": asked.len(),
        "arrived": arrived,
    }))
}

/// Every task that the request names must be one of this session.
fn check_tasks(
    state: &mut State<'_>,
    key: &SessionKey,
    request: &YieldRequest,
) -> Result<(), Reply> {
    let WaitFor::Tasks(wanted) = &request.wait_for else { return Ok(()) };
    for id in wanted {
        if state.find_task(id).is_none_or(|task| task.requester_key != *key) {
            let why = format!("waitFor names {id}, which is no task of this session");
            return Err(Reply::error("invalid_argument", &why));
        }
    }
    Ok(())
}

/// Marks only the children that the request names. Returns how many are waited for.
fn choose(state: &mut State<'_>, run: RunId, request: &YieldRequest) -> u32 {
    let WaitFor::Tasks(wanted) = &request.wait_for else { return state.run(&run).wait_need };
    let key = state.run(&run).session_key.clone();
    let mut need = 0;
    for child in state.tx().open_children(&key) {
        let task = state.task_mut(&child);
        if wanted.contains(&child) {
            need += u32::from(task.waited_by.is_some());
        } else {
            task.waited_by = None;
        }
    }
    need
}

/// Results that lie in the inbox and will enter the run at its next boundary.
fn announces_waiting(state: &mut State<'_>, run: RunId) -> u32 {
    let rows = transcript::entering(state, run);
    let announces = rows.iter().filter(|row| row.kind == InboxKind::Announce);
    u32::try_from(announces.count()).unwrap_or(u32::MAX)
}

/// Leaves a private note of the yield for the run that goes on.
fn note_to_self(state: &mut State<'_>, run: RunId, step: u32, note: &str) {
    let body = format!("[System] Your note when you yielded: {note}");
    note_to(state, run, format!("note:{run}:{step}"), body);
}

/// Leaves a message of the gateway for the run's next model boundary.
pub fn note_to(state: &mut State<'_>, run: RunId, idem_key: String, body: String) {
    let row = state.run(&run);
    let inbound = Inbound::system(row.session_key.clone(), row.origin.clone(), idem_key, body);
    inbox::put(state, &inbound, Place::Steer);
}

/// One of the children that the run waits for has ended. Whoever counts down to zero wakes it,
/// so it wakes once.
pub fn count_down(state: &mut State<'_>, run: RunId) {
    let row = state.run_mut(&run);
    row.wait_need = row.wait_need.saturating_sub(1);
    if row.wait_need > 0 {
        return;
    }
    let next_step = row.next_step;
    if row.phase != Phase::Waiting(WaitKind::Children) {
        // It has not begun to wait yet, and will not.
        stop_waiting(state, run);
        return;
    }
    // A model cannot be asked to go on after its own last word.
    if transcript::entering(state, run).is_empty() {
        let body = "[System] The sub-agents that you waited for have ended, and have nothing to \
                    report.";
        note_to(state, run, format!("silent:{run}:{next_step}"), body.to_owned());
    }
    requeue(state, run, Turn::InLine);
}

/// The yield has waited long enough: the run goes on with what there is.
pub fn on_yield_timeout(state: &mut State<'_>, run: RunId) {
    let (phase, need, next_step) = {
        let row = state.run(&run);
        (row.phase, row.wait_need, row.next_step)
    };
    if phase.ended() || need == 0 {
        return;
    }
    let body = format!(
        "[System] The wait has timed out. Results still missing: {need}. Their children go on; \
         yield again to wait for them.",
    );
    note_to(state, run, format!("yield-timeout:{run}:{next_step}"), body);
    if phase == Phase::Waiting(WaitKind::Children) {
        requeue(state, run, Turn::InLine);
    } else {
        // Tools beside the yield are still out: after them the run goes on.
        stop_waiting(state, run);
    }
}
