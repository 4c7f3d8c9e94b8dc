//! The audit: what it finds in rows that somebody has spoiled, and that its command puts it right.

use std::time::Duration;

use machine::audit::{Fault, Finding, Severity, audit};
use machine::event::Change;
use machine::rows::{
    FlowNodeState, InboxKind, InboxState, NodeState, Outcome, Place, Task, TaskKind, TimerKind,
};
use machine::run::Phase;
use machine::{Answer, Event, Rows, Tx};
use sim::plan::limits;
use sim::script::{external, spawn, wait};
use types::{
    EffectClass, FlowRequest, FlowTask, InternalCall, MessageId, RunId, SpawnRequest, TaskId,
    Timestamp, WaitFor,
};
use uuid::Uuid;

use crate::bench::{Bench, main_session};

fn found(bench: &Bench) -> Vec<Finding> {
    audit(&bench.disk.world, bench.at.now, &bench.limits)
}

/// Does what the command does.
fn carry_out(bench: &mut Bench, fix: &str) {
    let by = || "owner".to_owned();
    let words: Vec<&str> = fix.split_whitespace().collect();
    match words[..] {
        ["windlass", "gateway"] => bench.restart(),
        ["windlass", "tasks", "cancel", id] => {
            bench.apply(Event::StopTask { task: id.parse().unwrap(), by: by() });
        }
        ["windlass", "tasks", "flow", "cancel", _] => {
            let flow = bench.tasks().iter().find(|task| task.kind == TaskKind::Flow).unwrap().id;
            bench.apply(Event::StopTask { task: flow, by: by() });
        }
        ["windlass", "tasks", "redeliver", id] => {
            let event = Event::Redeliver { task: id.parse().unwrap(), by: by() };
            let Answer::Told { is_error, text } = bench.apply(event) else { panic!("no answer") };
            assert!(!is_error, "{text}");
        }
        ["windlass", "sessions", "restore", key] => {
            let (session, change) = (key.parse().unwrap(), Change::Restore);
            bench.apply(Event::Change { session, by: by(), change });
        }
        ["windlass", "agent", "--session-key", key, "--message", "/stop"] => {
            let session = key.parse().unwrap();
            bench.apply(Event::Stop { session, run: None, by: by() });
        }
        ["windlass", "agent", "--session-key", key, "--message", ..] => {
            let session = key.parse().unwrap();
            bench.send(&session, "look");
            let run = bench.open(&session);
            bench.say(run, "looked");
        }
        _ => panic!("there is no command `{fix}`"),
    }
}

/// A parent that waits for one child, which is at work.
fn waiting(request: SpawnRequest) -> (Bench, RunId, Task) {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    bench.call(parent, "s", InternalCall::spawn(request));
    bench.call(parent, "y", InternalCall::Yield(wait(WaitFor::All)));
    let task = bench.tasks()[0].clone();
    bench.pin(task.run);
    assert_eq!(found(&bench), []);
    (bench, parent, task)
}

fn end(bench: &mut Bench, task: &Task) {
    bench.say(task.run, "done");
    assert_eq!(bench.tasks()[0].outcome, Some(Outcome::Completed));
}

type Spoil = fn(&mut Bench, RunId, &Task);

/// What can be wrong with a run that is at work.
#[rustfmt::skip]
const OF_RUNS: [(Fault, Spoil); 6] = [
    (Fault::LeaseLost, |bench, _, _| {
        let node = bench.disk.world.nodes.last().unwrap().id;
        let mut row = bench.disk.node(node).unwrap();
        (row.state, row.lease_until) = (NodeState::Down, bench.at.now);
        bench.disk.put_node(&row);
    }),
    (Fault::RunEnded, |bench, parent, task| {
        let mut run = bench.run(task.run).clone();
        run.phase = Phase::Ended(Outcome::Failed);
        (run.ended, run.slot, run.node) = (Some(bench.at.now), None, None);
        bench.disk.put_run(&run);
        let mut session = bench.disk.session(&task.session_key).unwrap();
        session.open_run = None;
        bench.disk.put_session(&session);
        close_steps(bench, task.run);
        let _ = parent;
    }),
    (Fault::InNoLine, |bench, _, task| {
        let mut run = bench.run(task.run).clone();
        (run.phase, run.slot, run.node, run.rank) = (Phase::Queued, None, None, None);
        bench.disk.put_run(&run);
        close_steps(bench, task.run);
    }),
    (Fault::WaitOver, |bench, _, task| {
        let mut task = task.clone();
        task.waited_by = None;
        bench.disk.put_task(&task);
    }),
    (Fault::DeadlinePassed, |bench, _, task| {
        let mut run = bench.run(task.run).clone();
        run.deadline = Some(bench.at.now);
        bench.disk.put_run(&run);
        bench.at.now = bench.at.now + Duration::from_secs(31);
    }),
    (Fault::TimerOverdue, |bench, _, task| {
        let due = bench.at.now;
        bench.disk.put_timer(&machine::rows::Timer {
            kind: TimerKind::QueueNotice, subject: task.run.to_string(), due,
        });
        bench.at.now = due + Duration::from_secs(31);
    }),
];

/// What can be wrong with a task and its result.
#[rustfmt::skip]
const OF_TASKS: [(Fault, Spoil); 4] = [
    (Fault::StopUnfinished, |bench, _, task| {
        let mut task = task.clone();
        task.cancelled = Some(bench.at.now + Duration::from_millis(1));
        bench.disk.put_task(&task);
    }),
    (Fault::AnnounceMissing, |bench, _, task| {
        end(bench, task);
        let row = bench.disk.world.inbox.iter().position(|r| r.kind == InboxKind::Announce);
        lose_row(bench, row.unwrap());
    }),
    (Fault::NotTakenIn, |bench, _, task| {
        end(bench, task);
        let key = &task.session_key;
        let row = bench.disk.world.inbox.iter().find(|row| row.session_key == *key).unwrap();
        let mut row = row.clone();
        row.seq = bench.disk.next_inbox_seq();
        (row.id, row.idem_key) = (MessageId::new(Uuid::from_u128(9)), "planted".to_owned());
        (row.kind, row.task, row.place) = (InboxKind::User, None, Place::Own);
        (row.state, row.run, row.done) = (InboxState::Queued, None, None);
        bench.disk.add_inbox(&row, "planted");
    }),
    (Fault::DeadLetter, |bench, _, task| {
        // The requester is stopped, so that its result is held.
        bench.apply(Event::Stop { session: main_session(), run: None, by: "owner".into() });
        assert_eq!(bench.tasks()[0].outcome, Some(Outcome::Cancelled), "{}", task.id);
        let row = bench.disk.world.inbox.iter().find(|r| r.kind == InboxKind::Announce);
        let mut row = row.unwrap().clone();
        (row.state, row.done) = (InboxState::Dead, Some(bench.at.now));
        bench.disk.put_inbox(&row);
        let mut session = bench.disk.session(&main_session()).unwrap();
        session.lifecycle = machine::rows::Lifecycle::Archived;
        session.archived = Some(bench.at.now);
        bench.disk.put_session(&session);
    }),
];

/// Each fault is planted alone in rows that were well, is found, and its command resolves it.
#[test]
fn what_is_planted_is_found_and_mended() {
    for (fault, spoil) in OF_RUNS.into_iter().chain(OF_TASKS) {
        let (mut bench, parent, task) = waiting(spawn("dig"));
        spoil(&mut bench, parent, &task);
        let findings = found(&bench);
        let finding = findings.iter().find(|finding| finding.fault == fault);
        let finding = finding.unwrap_or_else(|| panic!("{fault} is not found: {findings:?}"));
        assert!(!finding.what.is_empty() && finding.severity == fault.severity());
        let fix = finding.fix.clone();
        unchecked(&mut bench, |bench| carry_out(bench, &fix));
        let left = found(&bench);
        let left: Vec<_> = left.iter().filter(|finding| finding.fault == fault).collect();
        assert!(left.is_empty(), "{fault}: `{fix}` has not resolved {left:?}");
    }
}

/// Steps of a run that is made to have ended.
fn close_steps(bench: &mut Bench, run: RunId) {
    let open: Vec<_> = bench.disk.open_steps(run);
    for n in open {
        let mut step = bench.disk.step((run, n)).unwrap();
        (step.state, step.ended) = (machine::rows::StepState::Failed, Some(bench.at.now));
        bench.disk.put_step(&step);
    }
}

/// Makes the announce that of nobody.
fn lose_row(bench: &mut Bench, at: usize) {
    let row = &mut bench.disk.world.inbox[at];
    (row.kind, row.task, row.idem_key) = (InboxKind::System, None, "lost".to_owned());
    row.state = InboxState::Cancelled;
    bench.disk.forget_key(&main_session(), "announce:");
}

/// What was spoiled breaks invariants until it is mended, and some of it for good.
fn unchecked(bench: &mut Bench, act: impl FnOnce(&mut Bench)) {
    bench.checked = false;
    act(bench);
}

/// A flow whose node was started and forgotten, or never started, is named, and its cancel ends it.
#[test]
fn a_flow_that_stands_still_is_found() {
    for spoiled in [FlowNodeState::Pending, FlowNodeState::Running] {
        let mut bench = Bench::new(limits());
        bench.send(&main_session(), "go");
        let parent = bench.open(&main_session());
        let tasks = ["a", "b"].map(|name| FlowTask::of(name.parse().unwrap(), "part"));
        let flow = FlowRequest::of("flow", tasks.to_vec());
        bench.call(parent, "f", InternalCall::StartFlow(Box::new(flow)));
        assert_eq!(found(&bench), []);
        let mut node = bench.disk.world.flow_nodes[0].clone();
        let task = bench.tasks().iter().find(|task| Some(task.id) == node.task).unwrap().clone();
        bench.checked = false;
        if spoiled == FlowNodeState::Running {
            bench.say(task.run, "done");
        }
        node.state = spoiled;
        bench.disk.world.flow_nodes[0] = node;
        let findings = found(&bench);
        let stalled: Vec<_> = findings.iter().filter(|f| f.fault == Fault::FlowStalled).collect();
        assert_eq!(stalled.len(), 1, "{spoiled}: {findings:?}");
        let fix = stalled[0].fix.clone();
        carry_out(&mut bench, &fix);
        let left = found(&bench);
        assert!(left.iter().all(|finding| finding.fault != Fault::FlowStalled), "{left:?}");
    }
}

/// A task that nothing carries is found, and stopped.
#[test]
fn a_task_without_a_carrier_is_found() {
    let (mut bench, _, task) = waiting(spawn("dig"));
    let mut orphan = task.clone();
    orphan.id = TaskId::new(Uuid::from_u128(99));
    (orphan.run, orphan.waited_by) = (RunId::new(Uuid::from_u128(99)), None);
    (orphan.task_name, orphan.idem_key) = (None, None);
    bench.disk.put_task(&orphan);
    let findings = found(&bench);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((findings[0].fault, findings[0].task_id), (Fault::NotCarried, Some(orphan.id)));
    let fix = findings[0].fix.clone();
    carry_out(&mut bench, &fix);
    assert_eq!(found(&bench), []);
}

/// A cut call is the model's to look at. Where the run was over before that, a person is told.
#[test]
fn a_call_of_unknown_outcome_is_somebodys_to_look_at() {
    let request = SpawnRequest { run_timeout: Some(Duration::from_secs(100)), ..spawn("dig") };
    let (mut bench, _, task) = waiting(request);
    bench.answer(task.run, "", vec![external("t", EffectClass::Opaque)]);
    bench.restart();
    // Its model is asked again, and told.
    assert_eq!(found(&bench), []);
    bench.answer(task.run, "", vec![external("u", EffectClass::Opaque)]);
    bench.pass(Duration::from_secs(101));
    let findings = found(&bench);
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].fault, Fault::OutcomeUnknown);
    assert_eq!(findings[0].severity, Severity::Warning);
    let fix = findings[0].fix.clone();
    carry_out(&mut bench, &fix);
    assert_eq!(found(&bench), []);
}

/// What is only late is no fault, and nothing is looked at while the gateway ends.
#[test]
fn a_moment_is_no_fault() {
    let (mut bench, _, task) = waiting(spawn("dig"));
    let due = bench.at.now;
    let timer =
        machine::rows::Timer { kind: TimerKind::QueueNotice, subject: task.run.to_string(), due };
    bench.disk.put_timer(&timer);
    let at = |seconds: i64| Timestamp(due.ms() + seconds * 1_000);
    let late = |bench: &Bench, seconds| {
        let found = audit(&bench.disk.world, at(seconds), &bench.limits);
        found.iter().any(|finding| finding.fault == Fault::TimerOverdue)
    };
    assert!(!late(&bench, 29) && late(&bench, 31));
    bench.checked = false;
    bench.apply(Event::Drain);
    assert!(!late(&bench, 31));
}
