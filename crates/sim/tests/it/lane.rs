//! Lanes: fair between trees, first in first out within one, never over their capacity.

use std::time::Duration;

use machine::event::{ModelFailure, Overflow};
use machine::rows::LaneName;
use machine::run::Phase;
use machine::{Answer, Event, Notice};
use sim::plan::limits;
use sim::script::spawn;
use types::{FailureClass, InternalCall, RunId};

use crate::bench::{Bench, key, main_session};

fn bench(capacity: u32) -> Bench {
    let mut limits = limits();
    limits.lanes.insert(LaneName::Subagent, capacity);
    Bench::new(limits)
}

fn spawn_from(bench: &mut Bench, session: &str, count: usize) {
    let run = bench.open(&key(session));
    for n in 0..count {
        let (id, brief) = (format!("s{}", bench.tasks().len()), format!("{session} {n}"));
        bench.call(run, &id, InternalCall::spawn(spawn(brief)));
    }
}

/// The child that holds a slot, by its number.
fn running(bench: &Bench) -> Option<usize> {
    bench.tasks().iter().position(|task| bench.phase(task.run).holds_slot())
}

/// A tree with many children does not keep one with few waiting.
#[test]
fn fair_between_trees() {
    let mut bench = bench(1);
    let other = key("agent:ops:main");
    bench.send(&main_session(), "go");
    bench.send(&other, "go");
    spawn_from(&mut bench, "agent:main:main", 4);
    spawn_from(&mut bench, "agent:ops:main", 2);

    let mut order = Vec::new();
    while let Some(child) = running(&bench) {
        order.push(child);
        let run = bench.tasks()[child].run;
        bench.say(run, "done");
    }
    // 0 to 3 are of the first tree, 4 and 5 of the second.
    let place = |child| order.iter().position(|c| *c == child).unwrap();
    assert_eq!(order.len(), 6);
    assert!((0..3).all(|child| place(child) < place(child + 1)), "{order:?}");
    assert!(place(4) < place(5), "{order:?}");
    assert!(place(4) <= 2 && place(5) <= 4, "the second tree waits too long: {order:?}");
}

#[test]
fn a_lane_is_never_over_its_capacity() {
    let mut bench = bench(2);
    bench.send(&main_session(), "go");
    spawn_from(&mut bench, "agent:main:main", 5);
    let holds = |bench: &Bench| -> Vec<bool> {
        bench.tasks().iter().map(|task| bench.phase(task.run).holds_slot()).collect()
    };
    assert_eq!(holds(&bench), [true, true, false, false, false]);
    let second = bench.tasks()[1].run;
    bench.say(second, "done");
    assert_eq!(holds(&bench), [true, false, true, false, false]);
}

/// Who lost its slot with its gateway comes before all who are in line.
#[test]
fn a_cut_run_comes_first() {
    let mut bench = bench(1);
    bench.send(&main_session(), "go");
    spawn_from(&mut bench, "agent:main:main", 3);
    let first = bench.tasks()[0].run;
    bench.say(first, "done");
    assert_eq!(running(&bench), Some(1));
    bench.restart();
    assert_eq!(running(&bench), Some(1));
}

/// Children, however many, hold no slot of people; and a run that waits holds none at all.
#[test]
fn people_have_slots_of_their_own() {
    let mut limits = limits();
    limits.lanes.insert(LaneName::Main, 1);
    limits.lanes.insert(LaneName::Subagent, 1);
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    spawn_from(&mut bench, "agent:main:main", 2);
    let main = bench.open(&main_session());
    bench.say(main, "on its way");

    let other = key("agent:ops:main");
    bench.send(&other, "go");
    let run: RunId = bench.open(&other);
    assert_eq!(bench.phase(run), Phase::Preparing);

    // The child splits: its own child needs the only slot of the lane, and gets it.
    let child = bench.tasks()[0].run;
    bench.call(child, "s", InternalCall::spawn(spawn("deeper")));
    bench.say(child, "I wait");
    let second = bench.tasks()[1].run;
    bench.say(second, "done");
    let deeper = bench.tasks()[2].run;
    assert!(bench.phase(deeper).holds_slot());
}

/// A run that stands in line for long says so after 2, 10 and 60 s: where it stands, and who
/// holds the slots.
#[test]
fn a_long_wait_is_said() {
    let mut limits = limits();
    limits.lanes.insert(LaneName::Main, 1);
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "hang");
    for n in 1..=2 {
        bench.send(&key(&format!("agent:main:thread:t{n}")), "and me");
    }
    let last = bench.open(&key("agent:main:thread:t2"));
    let mut said = Vec::new();
    for second in 1..=100_u64 {
        bench.pass(Duration::from_secs(1));
        for notice in &bench.done.notices {
            if let Notice::QueueWait { run, lane, place, holders, .. } = notice
                && *run == last
            {
                assert_eq!((*lane, *place), (LaneName::Main, 2));
                assert_eq!(*holders, [main_session()]);
                said.push(second);
            }
        }
    }
    assert_eq!(said, [2, 10, 60]);
    let hung = bench.open(&main_session());
    bench.say(hung, "at last");
    assert!(bench.run(last).lined.is_some(), "the other one is first");
}

/// A session whose model never answers holds one slot. Whoever comes after it starts.
#[test]
fn a_hung_session_delays_only_itself() {
    let mut limits = limits();
    limits.lanes.insert(LaneName::Main, 2);
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "hang");
    bench.send(&main_session(), "are you there?");
    for n in 0..20 {
        let other = key(&format!("agent:main:thread:t{n}"));
        bench.send(&other, "hello");
        let run = bench.open(&other);
        assert!(bench.phase(run).holds_slot(), "session {n} has to wait");
        bench.say(run, "hello");
    }
    assert_eq!(bench.queued(&main_session()).len(), 1);
}

/// Each start of a gateway is a generation, and what an earlier one has begun is not taken any
/// more: by the store, whatever the machine thinks.
#[test]
fn a_generation_grows_with_each_start() {
    let mut bench = bench(1);
    let generation = |bench: &Bench| -> Vec<i64> {
        bench.disk.world.lanes.iter().map(|lane| lane.generation).collect()
    };
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    bench.pin(run);
    let (before, token) = (generation(&bench), bench.token(run));
    bench.restart();
    assert!(generation(&bench).iter().zip(&before).all(|(now, before)| now > before));
    let failure = ModelFailure {
        class: FailureClass::Network,
        message: "late".to_owned(),
        retry_after_ms: None,
        paid: false,
        overflow: Overflow::default(),
    };
    let late = Event::ModelFailed { run, token, step: 0, failure };
    assert_eq!(bench.apply(late), Answer::Fenced);
}
