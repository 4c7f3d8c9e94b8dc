//! Stop: one mark, and everything below is over.

use machine::event::Inbound;
use machine::rows::{InboxKind, InboxState, Outcome, Place};
use machine::run::Phase;
use machine::{Action, Answer, Event};
use sim::plan::limits;
use sim::script::{external, internal, spawn, wait};
use types::{
    Announce, EffectClass, InternalCall, NodeId, RunId, SpawnRequest, TaskTarget, WaitFor,
};
use uuid::Uuid;

use crate::bench::{Bench, main_session};

const CANCELLED: Phase = Phase::Ended(Outcome::Cancelled);

/// A session, its child, and the child of that, each with a call out.
fn chain() -> (Bench, [RunId; 3]) {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let top = bench.open(&main_session());
    bench.call(top, "s", InternalCall::spawn(spawn("part")));
    let child = bench.tasks()[0].run;
    bench.call(child, "s", InternalCall::spawn(spawn("part of it")));
    let leaf = bench.tasks()[1].run;
    bench.pin(leaf);
    (bench, [top, child, leaf])
}

fn stop(bench: &mut Bench) -> Answer {
    bench.apply(Event::Stop { session: main_session(), run: None, by: "owner".to_owned() })
}

#[test]
fn a_session_is_stopped_with_all_below() {
    let (mut bench, runs) = chain();
    let answer = stop(&mut bench);
    let Answer::Stopped(stopped) = answer else { panic!("{answer:?}") };
    assert_eq!(stopped.runs, [runs[0]]);
    assert_eq!(stopped.tasks, [bench.tasks()[0].id]);
    for run in runs {
        assert_eq!(bench.phase(run), CANCELLED);
        assert!(bench.done.actions.contains(&Action::Abort { run }), "{run} goes on");
    }
    // What the children had to say waits for the person, and wakes nobody.
    let held: Vec<_> = bench.queued(&main_session()).iter().map(|row| row.place).collect();
    assert_eq!(held, [Place::Hold]);

    bench.send(&main_session(), "and now?");
    let next = bench.open(&main_session());
    let taken = bench.disk.world.inbox.iter().filter(|row| row.run == Some(next));
    let kinds: Vec<InboxKind> = taken.map(|row| row.kind).collect();
    assert_eq!(kinds, [InboxKind::Announce, InboxKind::User]);
}

#[test]
fn a_stopped_task_is_announced_and_its_requester_goes_on() {
    let (mut bench, [top, child, leaf]) = chain();
    bench.answer(top, "", vec![internal("y", InternalCall::Yield(wait(WaitFor::All)))]);
    let task = bench.tasks()[0].id;
    bench.apply(Event::StopTask { task, by: "owner".to_owned() });
    assert_eq!(bench.phase(child), CANCELLED);
    assert_eq!(bench.phase(leaf), CANCELLED);
    assert_eq!(bench.phase(top), Phase::AwaitingModel);
}

#[test]
fn an_agent_kills_what_is_below_it_and_nothing_else() {
    let (mut bench, [top, child, leaf]) = chain();
    let (first, second) = (bench.tasks()[0].clone(), bench.tasks()[1].clone());
    let target = TaskTarget(first.id.to_string());
    let reply = bench.call(leaf, "k", InternalCall::Kill { target });
    assert_eq!(reply["code"], "task_not_found");

    let target = TaskTarget(second.session_key.to_string());
    let reply = bench.call(top, "k", InternalCall::Kill { target: target.clone() });
    assert_eq!(reply["status"], "stopped");
    assert_eq!(bench.phase(leaf), CANCELLED);
    assert_eq!(bench.phase(child), Phase::AwaitingModel);
    let reply = bench.call(top, "k2", InternalCall::Kill { target });
    assert_eq!(reply["status"], "already_ended");
}

/// A child has ended, and one of its own that tells nobody goes on: it is below the stop as well.
#[test]
fn what_an_ended_child_has_left_is_stopped_with_the_rest() {
    type Way = fn(&mut Bench, RunId) -> Answer;
    let ways: [(&str, Way); 4] = [
        ("session", |bench, _| stop(bench)),
        ("task", |bench, _| {
            let task = bench.tasks()[0].id;
            bench.apply(Event::StopTask { task, by: "owner".to_owned() })
        }),
        ("kill", |bench, top| {
            let target = TaskTarget(bench.tasks()[0].id.to_string());
            bench.call(top, "k", InternalCall::Kill { target });
            Answer::Done
        }),
        ("deadline", |bench, _| {
            bench.pass(std::time::Duration::from_secs(61));
            Answer::Done
        }),
    ];
    for (way, stopped) in ways {
        let mut bench = Bench::new(limits());
        bench.send(&main_session(), "go");
        let top = bench.open(&main_session());
        let run_timeout = Some(std::time::Duration::from_secs(60));
        let request = SpawnRequest { run_timeout, ..spawn("part") };
        bench.call(top, "s", InternalCall::spawn(request));
        let child = bench.tasks()[0].run;
        bench.call(child, "s", InternalCall::spawn(spawn("part of it")));
        let middle = bench.tasks()[1].run;
        let request = SpawnRequest { announce: Announce::None, ..spawn("a part of that") };
        bench.call(middle, "s", InternalCall::spawn(request));
        let leaf = bench.tasks()[2].run;
        bench.pin(leaf);
        bench.say(middle, "done");
        let completed = Some(Outcome::Completed);
        assert_eq!(bench.outcomes(), [None, completed, None], "{way}");

        stopped(&mut bench, top);
        assert_eq!(bench.outcomes()[1..], [completed, Some(Outcome::Cancelled)], "{way}");
        assert!(bench.phase(child).ended() && bench.phase(leaf) == CANCELLED, "{way}");
        assert!(bench.done.actions.contains(&Action::Abort { run: leaf }), "{way}");
    }
    // What somebody else has asked for goes on.
    let (mut bench, [top, child, leaf]) = chain();
    bench.call(top, "s2", InternalCall::spawn(spawn("another part")));
    let other = bench.tasks()[2].clone();
    bench.apply(Event::StopTask { task: other.id, by: "owner".to_owned() });
    assert!(!bench.phase(child).ended() && !bench.phase(leaf).ended());
}

/// An answer that comes after the stop of something above leaves a history that can be sent.
#[test]
fn calls_of_an_answer_that_comes_too_late_get_their_results() {
    let (mut bench, [_, _, leaf]) = chain();
    let calls = vec![external("t", EffectClass::Opaque), external("u", EffectClass::Pure)];
    // The cascade is not there yet: only the mark is.
    let mut task = bench.tasks()[0].clone();
    task.cancelled = Some(bench.at.now);
    machine::Rows::put_task(&mut bench.disk, &task);

    bench.answer(leaf, "", calls);
    assert_eq!(bench.phase(leaf), CANCELLED);
    assert!(bench.result(leaf, "t").as_str().unwrap().contains("ended"));
    assert!(bench.result(leaf, "u").as_str().unwrap().contains("ended"));
    let starts = |action: &Action| matches!(action, Action::StartTool(_));
    assert!(!bench.done.actions.iter().any(starts));
}

/// A run may meet the mark of a stop before the cascade comes to its task, and end by itself: it
/// takes along what is below it, also if the cascade never comes.
#[test]
fn a_run_that_ends_below_a_mark_takes_along_what_it_has_left() {
    let (mut bench, [_, child, leaf]) = chain();
    let mut task = bench.tasks()[0].clone();
    task.cancelled = Some(bench.at.now);
    machine::Rows::put_task(&mut bench.disk, &task);
    bench.answer(child, "", vec![external("t", EffectClass::Pure)]);
    assert_eq!((bench.phase(child), bench.phase(leaf)), (CANCELLED, CANCELLED));
}

/// A stop that a crash has cut after its mark goes on at the next start.
#[test]
fn a_cut_cascade_goes_on_after_the_restart() {
    let (mut bench, runs) = chain();
    let stop = Event::Stop { session: main_session(), run: None, by: "owner".to_owned() };
    let done = bench.disk.commit(&mut bench.at, &bench.limits, vec![stop], 0);
    assert!(!done.left.is_empty());
    assert!(!bench.phase(runs[2]).ended());

    bench.restart();
    for run in runs {
        assert_eq!(bench.phase(run), CANCELLED);
    }
}

/// A tool that may be begun again is not, once something above its run is being stopped.
#[test]
fn tools_below_a_cut_stop_are_not_begun_again() {
    let (mut bench, [_, _, leaf]) = chain();
    bench.answer(leaf, "", vec![external("t", EffectClass::Pure)]);
    let mut task = bench.tasks()[0].clone();
    task.cancelled = Some(bench.at.now);
    machine::Rows::put_task(&mut bench.disk, &task);

    // The take-over comes before the rest of the cascade.
    bench.at.node = NodeId::new(Uuid::from_u128(99));
    let node = bench.at.node;
    let start = Event::NodeStarted { node, pid: 1, version: "test".to_owned() };
    bench.disk.commit(&mut bench.at, &bench.limits, vec![start], 0);
    bench.apply(Event::Orphaned { run: leaf });

    assert_eq!(bench.phase(leaf), CANCELLED);
    let starts = |action: &Action| matches!(action, Action::StartTool(_));
    assert!(!bench.done.actions.iter().any(starts));
}

#[test]
fn a_deadline_ends_the_run_and_what_it_has_begun() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let top = bench.open(&main_session());
    let run_timeout = Some(std::time::Duration::from_secs(60));
    let request = SpawnRequest { run_timeout, ..spawn("part") };
    bench.call(top, "s", InternalCall::spawn(request));
    let child = bench.tasks()[0].run;
    bench.call(child, "s", InternalCall::spawn(spawn("part of it")));

    bench.pass(std::time::Duration::from_secs(59));
    assert_eq!(bench.outcomes(), [None, None]);
    bench.pass(std::time::Duration::from_secs(2));
    assert_eq!(bench.outcomes(), [Some(Outcome::TimedOut), Some(Outcome::Cancelled)]);
    let rows = bench.queued(&main_session());
    assert!(rows.iter().any(|row| row.kind == InboxKind::Announce && row.place == Place::Steer));
}

/// `timeoutSeconds` of the agent holds where the person has said nothing, and zero is no bound.
#[test]
fn a_persons_run_has_the_bound_of_its_agent() {
    let mut limits = limits();
    for agent in limits.agents.values_mut() {
        agent.run_timeout = Some(std::time::Duration::from_secs(60));
    }
    for (own, expected) in [(None, Some(60_000)), (Some(0), None), (Some(5), Some(5))] {
        let mut bench = Bench::new(limits.clone());
        bench.send_as(Inbound { timeout_ms: own, ..sim::plan::inbound(&main_session(), "go") });
        assert_eq!(bench.run(bench.open(&main_session())).timeout_ms, expected, "{own:?}");
    }

    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    bench.pass(std::time::Duration::from_secs(61));
    assert_eq!(bench.phase(run), Phase::Ended(Outcome::TimedOut));
}

/// A run that ends leaves no call without a result, and no message behind.
#[test]
fn what_the_end_of_a_run_settles() {
    let (mut bench, [top, ..]) = chain();
    bench.answer(top, "", vec![external("t", EffectClass::Opaque)]);
    bench.send(&main_session(), "a word");
    stop(&mut bench);
    assert!(bench.result(top, "t").as_str().unwrap().contains("unknown"));
    let word = bench.disk.world.inbox.iter().rfind(|row| row.kind == InboxKind::User).unwrap();
    assert_eq!(word.state, InboxState::Cancelled);
    let late = bench.run(top);
    assert_eq!((late.slot, late.node, late.rank), (None, None, None));
}
