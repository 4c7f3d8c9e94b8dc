//! Archiving: unnamed children after a time, what is thrown away at once, names never.

use std::time::Duration;

use machine::limits::AgentLimits;
use machine::rows::{Lifecycle, Session, TimerKind};
use machine::{Event, Limits};
use sim::plan::limits;
use sim::script::{internal, spawn, wait};
use types::{AgentId, Announce, Cleanup, InternalCall, SessionKey, SpawnRequest, WaitFor};

use crate::bench::{Bench, main_session};

const MINUTE: Duration = Duration::from_secs(60);

fn limits_of(minutes: u32) -> Limits {
    let mut limits = limits();
    let archive_after = (minutes > 0).then(|| minutes * MINUTE);
    let agent = AgentLimits { archive_after, ..limits.agents[&AgentId::main()].clone() };
    limits.agents.insert(AgentId::main(), agent);
    limits
}

/// A person's session whose child has ended; the child's key.
fn one_child(bench: &mut Bench, request: SpawnRequest) -> SessionKey {
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    bench.call(run, "c", InternalCall::spawn(request));
    let task = bench.tasks().last().unwrap();
    let (child, key) = (task.run, task.session_key.clone());
    bench.say(child, "42");
    key
}

fn session<'a>(bench: &'a Bench, key: &SessionKey) -> &'a Session {
    bench.disk.world.sessions.iter().find(|row| row.key == *key).unwrap()
}

fn lifecycle(bench: &Bench, key: &SessionKey) -> Lifecycle {
    session(bench, key).lifecycle
}

fn archive_timers(bench: &Bench) -> usize {
    bench.disk.world.timers.iter().filter(|timer| timer.kind == TimerKind::Archive).count()
}

#[test]
fn an_unnamed_child_is_archived_when_it_has_been_idle_for_long_enough() {
    let mut bench = Bench::new(limits_of(60));
    let child = one_child(&mut bench, spawn("count"));
    bench.pass(59 * MINUTE);
    assert_eq!(lifecycle(&bench, &child), Lifecycle::Open);
    bench.restart();
    bench.pass(MINUTE);
    assert_eq!(lifecycle(&bench, &child), Lifecycle::Archived);
    assert_eq!(lifecycle(&bench, &main_session()), Lifecycle::Open);
    assert_eq!(archive_timers(&bench), 0);
}

#[test]
fn zero_minutes_are_for_ever_and_the_key_that_stands_decides() {
    let mut bench = Bench::new(limits_of(0));
    one_child(&mut bench, spawn("count"));
    assert_eq!(archive_timers(&bench), 0);

    // The timer was set under another key.
    let mut bench = Bench::new(limits_of(60));
    let other = one_child(&mut bench, spawn("count"));
    bench.limits = limits_of(120);
    bench.pass(61 * MINUTE);
    assert_eq!(lifecycle(&bench, &other), Lifecycle::Open);
    bench.pass(60 * MINUTE);
    assert_eq!(lifecycle(&bench, &other), Lifecycle::Archived);
}

/// Its time begins anew with each run, and while a child of it is open it is not over.
#[test]
fn what_is_in_use_is_not_archived() {
    let mut bench = Bench::new(limits_of(60));
    let child = one_child(&mut bench, spawn("count"));
    bench.pass(30 * MINUTE);
    bench.send(&child, "and the rivers?");
    let run = bench.open(&child);
    let quiet = SpawnRequest { announce: Announce::None, ..spawn("far away") };
    bench.answer(run, "", vec![internal("c", InternalCall::spawn(quiet))]);
    bench.say(run, "7");
    let below = bench.tasks().last().unwrap().run;
    bench.pass(40 * MINUTE);
    assert_eq!(lifecycle(&bench, &child), Lifecycle::Open, "it has been used since");
    bench.pass(40 * MINUTE);
    assert_eq!(lifecycle(&bench, &child), Lifecycle::Open, "a child of it is open");
    bench.say(below, "done");
    bench.pass(60 * MINUTE);
    assert_eq!(lifecycle(&bench, &child), Lifecycle::Archived);
}

/// With `cleanup: "delete"` the session goes when the result has been taken in; if it was busy at
/// that moment, when it is idle again.
#[test]
fn what_is_thrown_away_goes_when_its_result_has_been_taken_in() {
    let thrown = || SpawnRequest { cleanup: Cleanup::Delete, ..spawn("count") };
    let mut bench = Bench::new(limits());
    let child = one_child(&mut bench, thrown());
    let main = bench.open(&main_session());
    assert_eq!(lifecycle(&bench, &child), Lifecycle::Open, "nobody has read the result");

    // A person talks to the child while its requester reads.
    bench.send(&child, "what else?");
    let talk = bench.open(&child);
    bench.answer(main, "", vec![internal("y", InternalCall::Yield(wait(WaitFor::All)))]);
    bench.say(main, "thanks");
    assert_eq!(lifecycle(&bench, &child), Lifecycle::Open, "it is busy");
    bench.say(talk, "nothing");
    assert_eq!(lifecycle(&bench, &child), Lifecycle::Archived);

    let silent = SpawnRequest { announce: Announce::None, ..thrown() };
    let child = one_child(&mut bench, silent);
    assert_eq!(lifecycle(&bench, &child), Lifecycle::Archived, "nobody is to read it");
}

/// Its children are open when it should go: it is looked at again.
#[test]
fn what_is_thrown_away_with_open_children_goes_later() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    let thrown = SpawnRequest { cleanup: Cleanup::Delete, ..spawn("count") };
    bench.call(run, "c", InternalCall::spawn(thrown));
    let (child, key) = (bench.tasks()[0].run, bench.tasks()[0].session_key.clone());
    let quiet = SpawnRequest { announce: Announce::None, ..spawn("far away") };
    bench.answer(child, "", vec![internal("c", InternalCall::spawn(quiet))]);
    bench.say(child, "42");
    bench.say(run, "thanks");
    let main = bench.disk.world.sessions.iter().find(|row| row.key == main_session()).unwrap();
    if let Some(open) = main.open_run {
        bench.say(open, "thanks");
    }
    assert_eq!(lifecycle(&bench, &key), Lifecycle::Open);
    let below = bench.tasks()[1].run;
    bench.say(below, "done");
    bench.apply(Event::Tick);
    bench.pass(MINUTE);
    assert_eq!(lifecycle(&bench, &key), Lifecycle::Archived);
}
