//! What must hold when everything has come to rest: nothing lost, nothing doubled, nothing stuck.

use std::collections::BTreeMap;

use machine::audit::{Fault, audit};
use machine::check::World;
use machine::event::Act;
use machine::queue::Drop;
use machine::rows::{
    FlowNodeState, HaltState, InboxKind, InboxRow, InboxState, Lifecycle, NodeState, Outcome,
    Place, Session, StepState, Task, TaskKind, Timer, TimerKind,
};
use machine::{Answer, Refusal};
use machine::{cut, deadline, deliver};
use types::{Announce, Hash, InternalCall, Scope, SessionKey, TaskId};

use crate::change::has_changes;
use crate::order::{Order, What};
use crate::world::Sim;

/// Looks at a life that has come to rest.
///
/// # Panics
///
/// If something is lost, doubled or stuck: it says what.
pub fn check(sim: &Sim) {
    nothing_stuck(sim);
    audited(sim);
    letters(sim);
    inputs(sim);
    announces(sim);
    told(sim);
    restarts(sim);
    handed_in(sim);
    histories(sim);
    commands(sim);
    crate::allowed::check(sim);
    crate::replies::check(sim);
}

fn nothing_stuck(sim: &Sim) {
    let world = &sim.disk.world;
    for run in &world.runs {
        assert!(run.phase.ended(), "{} is stuck: {:?}", run.id, run.phase);
        assert!(sim.truth.ended.contains_key(&run.id), "nobody was told that {} ended", run.id);
    }
    for task in &world.tasks {
        assert!(task.outcome.is_some(), "{} is stuck", task.id);
    }
    for halt in &world.halts {
        assert_eq!(halt.state, HaltState::Stopped, "nobody has proved the end of {}", halt.run);
    }
    for node in &world.flow_nodes {
        let open = matches!(node.state, FlowNodeState::Pending | FlowNodeState::Running);
        assert!(!open, "{} of {} is stuck: {}", node.name, node.flow, node.state);
    }
    for step in &world.steps {
        let open = matches!(step.state, StepState::Intent | StepState::Waiting);
        assert!(!open, "step {} of {} is open", step.n, step.run);
    }
    for session in &world.sessions {
        let bound = sim.limits.agents.get(&session.agent).and_then(|agent| agent.archive_after);
        let unnamed = matches!(session.key.scope, Scope::Subagent(_));
        let over = bound.is_some() && unnamed && session.lifecycle == Lifecycle::Open;
        assert!(!over, "{} is kept for longer than {bound:?}", session.key);
    }
    let waits = world.timers.iter().filter(|timer| timer.kind != TimerKind::Retention);
    let waits: Vec<&Timer> = waits.collect();
    assert!(waits.is_empty(), "timers are left: {waits:?}");
    assert!(sim.flights.is_empty(), "work is left: {:?}", sim.flights);
}

/// At rest nothing lies and nothing hangs; what waits for a person is what has really happened.
fn audited(sim: &Sim) {
    let world = &sim.disk.world;
    let found = audit(world, sim.now, &sim.limits);
    let dead = world.inbox.iter().filter(|row| row.state == InboxState::Dead).count();
    let letters = found.iter().filter(|one| one.fault == Fault::DeadLetter).count();
    assert_eq!(letters, dead, "dead letters: {found:#?}");
    for finding in &found {
        let real = match finding.fault {
            Fault::DeadLetter => true,
            // In a simulated life it is never looked through.
            Fault::TimerOverdue => finding.what.starts_with("the retention timer"),
            Fault::OutcomeUnknown => world
                .steps
                .iter()
                .any(|step| Some(step.run) == finding.run_id && step.state == StepState::Unknown),
            _ => false,
        };
        assert!(real, "the audit finds {finding:#?}");
    }
}

/// Each message was accepted and is a row, or was refused with a reason that holds.
fn letters(sim: &Sim) {
    // A key is free again when the row that had it is gone.
    let mut rows: BTreeMap<(&SessionKey, &str), Vec<&InboxRow>> = BTreeMap::new();
    for row in sim.disk.all_rows() {
        rows.entry((&row.session_key, row.idem_key.as_str())).or_default().push(row);
    }
    for letter in &sim.letters {
        let inbound = &letter.inbound;
        let of_key = rows.get(&(&inbound.session, inbound.idem_key.as_str()));
        let of_key = of_key.map_or(&[][..], Vec::as_slice);
        match (letter.accepted, &letter.refused) {
            (Some(id), None) => {
                let row = of_key.iter().find(|row| row.id == id);
                let row = row.unwrap_or_else(|| panic!("I1: accepted {id} is lost: {of_key:?}"));
                assert_eq!(row.body_hash, Hash::of(&inbound.body), "{id} has another body");
            }
            (None, Some(Refusal::IdempotencyConflict(key))) => {
                let other = of_key.iter().any(|row| row.body_hash != Hash::of(&inbound.body));
                assert!(other, "`{key}` is refused, and there is no other message of it");
            }
            (None, Some(Refusal::SessionArchived(_) | Refusal::SessionNotFound(_))) => {}
            (None, Some(Refusal::UnknownAgent(_))) if has_changes(sim.seed) => {}
            (accepted, refused) => {
                panic!("`{}` is left with {accepted:?}, {refused:?}", inbound.idem_key)
            }
        }
    }
}

/// Each input is one entry, or it says why not.
fn inputs(sim: &Sim) {
    for row in sim.disk.all_rows() {
        let entered = sim.disk.entered.contains(&row.seq);
        assert_eq!(row.state == InboxState::Consumed, entered, "I3: entry of {row:?}");
        let fine = match row.state {
            InboxState::Consumed => true,
            // Nobody has written to the session since.
            InboxState::Queued => {
                let kept = is_result(row.kind) || row.kind == InboxKind::System;
                row.place == Place::Hold && kept
            }
            InboxState::Dropped => dropped_is_said(sim, row),
            InboxState::Cancelled => ends_with_its_run(row) || was_stopped(sim, row),
            InboxState::Dead => is_result(row.kind),
        };
        assert!(fine, "I1: {row:?} was not taken in, for no reason");
    }
}

/// What comes back to whoever has asked for it.
fn is_result(kind: InboxKind) -> bool {
    matches!(kind, InboxKind::Announce | InboxKind::Reply)
}

fn dropped_is_said(sim: &Sim, row: &InboxRow) -> bool {
    let note = format!("dropped:{}", row.id);
    let said = sim.disk.all_rows().any(|other| other.idem_key == note);
    let of_session =
        |order: &Order| order.session == row.session_key && order.drops() == Some(Drop::Old);
    // Whoever has asked for it is not told.
    said || sim.limits.queue.drop == Drop::Old || sim.orders.iter().any(of_session)
}

/// What is said to one run, and to no other.
fn ends_with_its_run(row: &InboxRow) -> bool {
    deadline::is_warning(row) || cut::is_note(row)
}

/// A stop takes what waits in a session, and an end before its run what a task was to do.
fn was_stopped(sim: &Sim, row: &InboxRow) -> bool {
    let mut tasks = sim.disk.world.tasks.iter().filter(|task| task.session_key == row.session_key);
    row.kind == InboxKind::Brief
        || sim.truth.stopped_sessions.contains(&row.session_key)
        || tasks.any(|task| task.cancelled.is_some())
}

/// Each task that was to be announced is in one inbox once.
fn announces(sim: &Sim) {
    let skip = Hash::of("ANNOUNCE_SKIP");
    for task in &sim.disk.world.tasks {
        let rows = sim.disk.all_rows();
        let rows = rows.filter(|r| r.kind == InboxKind::Announce && r.task == Some(task.id));
        let rows: Vec<&InboxRow> = rows.collect();
        let kept = rows.iter().filter(|row| row.state != InboxState::Cancelled).count();
        let count = if kept > 0 { kept } else { rows.len() };
        let wanted = task.announce.reaches_requester()
            && !(task.outcome == Some(Outcome::Completed) && task.result_hash == Some(skip));
        assert_eq!(count, usize::from(wanted), "I4: announces of {task:?}");
    }
}

fn below_a_stop(world: &World, task: &Task) -> bool {
    let above = task.parent.and_then(|id| world.tasks.iter().find(|task| task.id == id));
    task.cancelled.is_some() || above.is_some_and(|above| below_a_stop(world, above))
}

/// A person is told each result that was to go to him, unless it was stopped, and can read it
/// where he was told.
fn told(sim: &Sim) {
    let world = &sim.disk.world;
    let skip = Hash::of("ANNOUNCE_SKIP");
    for task in world.tasks.iter().filter(|task| task.announce == Announce::Person) {
        let with_all_above = task.outcome == Some(Outcome::Cancelled) || below_a_stop(world, task);
        let quiet = task.result_hash == Some(skip) || with_all_above;
        let told = sim.truth.told.get(&task.id);
        assert!(told.is_some() || quiet, "the person is not told of {task:?}");
        let kept = [format!("announce:{}", task.id), format!("person:{}", task.id)];
        let kept = |row: &&InboxRow| Some(&row.session_key) == told && kept.contains(&row.idem_key);
        let count = sim.disk.all_rows().filter(kept).count();
        // Where a conversation was deleted nothing is kept for it.
        let gone = world.sessions.iter().any(|s| Some(&s.key) == told && s.deleted.is_some());
        let begun_anew =
            world.transcripts.iter().any(|t| Some(&t.session_key) == told && t.ended.is_some());
        let fine = count == usize::from(told.is_some()) || (gone || begun_anew) && count == 0;
        assert!(fine, "the person was told {count} times of {task:?}");
    }
}

/// A task that had something to hand in has completed if and only if the last look found it.
fn handed_in(sim: &Sim) {
    let world = &sim.disk.world;
    for task in world.tasks.iter().filter(|task| task.deliverables.is_some()) {
        let mut steps = world.steps.iter().rev().filter(|step| step.run == task.run);
        let last = steps.find(|step| deliver::is_check(step) && step.state == StepState::Done);
        let found = last.is_some_and(|step| sim.truth.checked[&(step.run, step.n)]);
        let completed = task.outcome == Some(Outcome::Completed);
        assert!(!completed || found, "{} has completed without what it had to hand in", task.id);
    }
}

/// No gateway that is gone is said to be there, and what the last restart has cut was said.
fn restarts(sim: &Sim) {
    let world = &sim.disk.world;
    let there = world.nodes.iter().filter(|node| node.state != NodeState::Down);
    assert!(there.count() <= 1, "two gateways are there: {:?}", world.nodes);
    let start = sim.disk.journal.iter().rposition(|(kind, ..)| *kind == "node.started");
    let since = &sim.disk.journal[start.map_or(0, |at| at)..];
    let cut = since.iter().filter(|(kind, ..)| *kind == "run.recovered").count();
    let node = since.first().map(|(_, node, _)| node.clone()).unwrap_or_default();
    let key = format!("restart:{node}");
    let said = sim.disk.all_rows().filter(|row| row.idem_key == key).count();
    assert!(said <= usize::from(cut > 0), "{node} has taken {cut} runs over, told {said} times");
    // The only ones who could be told have put everything away.
    let away = |session: &Session| session.lifecycle == Lifecycle::Archived;
    let nowhere = world.sessions.iter().any(|session| session.depth == 0 && away(session));
    assert!(said > 0 || cut == 0 || nowhere, "{node} has taken {cut} runs over, told nobody");
}

/// Whatever became of its runs, a session can go on: its history can be sent.
fn histories(sim: &Sim) {
    for transcript in &sim.disk.world.transcripts {
        let entries = sim.disk.world.entries.iter();
        let own: Vec<_> = entries.filter(|e| e.session_id == transcript.session_id).collect();
        // What the gateway has asked for itself stands beside it.
        let own: Vec<_> = own.into_iter().filter(|entry| !entry.silent).collect();
        if let Err(why) = sim.truth.pairing(&own, false) {
            panic!("I5: no provider takes the history of {}: {why}", transcript.session_key);
        }
    }
}

/// Each command was carried out once, however often it was sent.
fn commands(sim: &Sim) {
    let mut spawned = 0;
    for order in &sim.orders {
        assert!(order.heard.is_some(), "nobody has heard of {:?}", order.what);
        let (key, act) = match &order.what {
            What::Act { key, act } => (key, act),
            What::Ask { mark, call } => {
                spawned += asked(sim, order, mark, call);
                continue;
            }
            What::Change(_) => continue,
            What::Retry { task, key, .. } => {
                spawned += carried_again(sim, order, *task, key.as_deref());
                continue;
            }
        };
        let row = sim.disk.commands.get(&(order.session.clone(), key.clone()));
        let carried_out = matches!(order.heard, Some(Answer::Commanded(_)));
        assert!(row.is_some() || !carried_out, "the answer to {key} is not kept");
        let begins = matches!(act, Act::Call(InternalCall::Spawn(_) | InternalCall::Steer { .. }));
        spawned += usize::from(row.is_some() && begins);
    }
    let tasks = sim.disk.world.tasks.iter().filter(|task| task.kind == TaskKind::Cli);
    let (tasks, most) = (tasks.count(), spawned);
    assert!(tasks <= most, "{tasks} tasks were begun by {most} commands");
}

/// What was to be carried again is, if somebody was told so; a key begins one attempt. Returns how
/// many there may be.
fn carried_again(sim: &Sim, order: &Order, task: TaskId, key: Option<&str>) -> usize {
    let accepted = match &order.heard {
        Some(Answer::Told { text, .. }) => text.contains(r#""status":"accepted""#),
        Some(Answer::Commanded(told)) => told.answer.starts_with("Carried again"),
        _ => false,
    };
    let tasks = &sim.disk.world.tasks;
    let attempts = tasks.iter().filter(|row| row.retry_of.is_some());
    let keyed = attempts.filter(|row| key.is_some() && row.idem_key.as_deref() == key).count();
    assert!(keyed <= 1, "{key:?} has begun {keyed} attempts");
    let session = tasks.iter().find(|row| row.id == task).map(|row| &row.session_key);
    let same = tasks.iter().any(|row| row.retry_of.is_some() && Some(&row.session_key) == session);
    assert!(same || !accepted, "{task} is said to be carried again, and is not");
    order.sent
}

/// What a program has asked for was begun once, if it was told that it is. Returns how many tasks
/// there may be for it.
fn asked(sim: &Sim, order: &Order, mark: &str, call: &InternalCall) -> usize {
    let Some(Answer::Told { text, .. }) = &order.heard else { return 0 };
    let accepted = text.contains(r#""status":"accepted""#);
    match call {
        InternalCall::Spawn(_) | InternalCall::StartFlow(_) => {
            let tasks = sim.disk.world.tasks.iter();
            let of_mark = tasks.filter(|task| {
                task.requester_key == order.session && task.idem_key.as_deref() == Some(mark)
            });
            let count = of_mark.count();
            assert!(count <= 1, "`{mark}` has begun {count} tasks");
            assert!(count == 1 || !accepted, "`{mark}` was accepted, and there is no task of it");
            1
        }
        // Each time that it is sent, the session may be at rest.
        InternalCall::Steer { .. } => order.sent,
        _ => 0,
    }
}
