//! `sessions_yield`: what is waited for, and what ends a wait.

use std::time::Duration;

use machine::event::{Inbound, PlannedCall};
use machine::rows::{EntryKind, Outcome};
use machine::run::{Phase, WaitKind};
use sim::plan::{inbound, limits};
use sim::script::{external, internal, spawn, wait};
use types::{EffectClass, InternalCall, RunId, WaitFor, YieldRequest};

use crate::bench::{Bench, main_session};

const WAITING: Phase = Phase::Waiting(WaitKind::Children);

fn yields(id: &str, request: YieldRequest) -> PlannedCall {
    internal(id, InternalCall::Yield(request))
}

/// A parent with `n` open children.
fn parent_of(n: usize) -> (Bench, RunId) {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    for i in 0..n {
        bench.call(run, &format!("s{i}"), InternalCall::spawn(spawn(format!("part {i}"))));
    }
    (bench, run)
}

fn end_child(bench: &mut Bench, n: usize, text: &str) {
    let child = bench.tasks()[n].run;
    bench.say(child, text);
}

fn entries(bench: &Bench, run: RunId, kind: EntryKind) -> usize {
    let entries = bench.disk.world.entries.iter();
    entries.filter(|entry| entry.run == run && entry.kind == kind).count()
}

/// Three children, some of which have ended: how many more must end.
#[test]
fn how_much_is_waited_for() {
    let some = |at_least| YieldRequest { at_least: Some(at_least), ..wait(WaitFor::All) };

    #[rustfmt::skip]
    let table = [
        // request              ended  status     need
        (wait(WaitFor::All),     0,    "waiting", 3),
        (wait(WaitFor::All),     1,    "waiting", 2),
        (wait(WaitFor::All),     3,    "ready",   0),
        (wait(WaitFor::Any),     0,    "waiting", 1),
        (wait(WaitFor::Any),     1,    "ready",   0),
        (wait(WaitFor::Message), 0,    "waiting", 1),
        (some(2),                0,    "waiting", 2),
        (some(2),                1,    "waiting", 1),
        (some(2),                2,    "ready",   0),
        (some(9),                0,    "waiting", 3),
        (some(0),                0,    "ready",   0),
    ];

    for (request, ended, status, need) in table {
        let (mut bench, run) = parent_of(3);
        for n in 0..ended {
            end_child(&mut bench, n, "done");
        }
        let what = format!("{request:?} after {ended}");
        let reply = bench.call(run, "y", InternalCall::Yield(request));
        assert_eq!(reply["status"], status, "{what}");
        assert_eq!(reply["waitingFor"], need, "{what}");
        assert_eq!(bench.phase(run) == WAITING, need > 0, "{what}");
        for n in ended..ended + need {
            assert_eq!(bench.phase(run), WAITING, "{what}: woken after {n}");
            end_child(&mut bench, n, "done");
        }
        assert_eq!(bench.phase(run), Phase::AwaitingModel, "{what}: not woken");
    }
}

#[test]
fn a_list_waits_for_what_it_names() {
    let (mut bench, run) = parent_of(3);
    let second = bench.tasks()[1].id;
    bench.call(run, "y", InternalCall::Yield(wait(WaitFor::Tasks(vec![second]))));
    end_child(&mut bench, 0, "done");
    assert_eq!(bench.phase(run), WAITING);
    end_child(&mut bench, 1, "done");
    assert_eq!(bench.phase(run), Phase::AwaitingModel);
    assert_eq!(entries(&bench, run, EntryKind::Announce), 2);
}

#[test]
fn a_yield_with_nothing_to_wait_for_is_refused() {
    let (mut bench, run) = parent_of(0);
    let reply = bench.call(run, "y", InternalCall::Yield(wait(WaitFor::All)));
    assert_eq!(reply["code"], "nothing_to_wait_for");
    assert_eq!(bench.phase(run), Phase::AwaitingModel);
}

/// What comes while a run waits, or while a tool beside the yield is still out: the same follows.
#[test]
fn what_ends_a_wait() {
    use machine::queue::QueueMode::*;

    #[rustfmt::skip]
    let table = [
        // mode      origin  the run
        (Steer,     "web",  Phase::AwaitingModel),
        (Followup,  "web",  WAITING),
        (Collect,   "web",  WAITING),
        (Interrupt, "web",  Phase::Ended(Outcome::Cancelled)),
        (Steer,     "chat", Phase::Ended(Outcome::Interrupted)),
        (Followup,  "chat", Phase::Ended(Outcome::Interrupted)),
    ];

    for (mode, origin, phase) in table {
        for early in [false, true] {
            let (mut bench, run) = parent_of(1);
            bench.answer(
                run,
                "",
                vec![external("t", EffectClass::Opaque), yields("y", wait(WaitFor::All))],
            );
            assert_eq!(bench.phase(run), Phase::AwaitingTools);
            let message = Inbound {
                mode: Some(mode),
                origin: origin.to_owned(),
                ..inbound(&main_session(), "one more thing")
            };
            if early {
                bench.send_as(message);
                if mode != Interrupt {
                    bench.tool_done(run);
                }
            } else {
                bench.tool_done(run);
                assert_eq!(bench.phase(run), WAITING);
                bench.send_as(message);
            }
            assert_eq!(bench.phase(run), phase, "{mode} from {origin}, early: {early}");
        }
    }
}

/// A child that ends while the parent has not begun to wait leaves nothing to wait for.
#[test]
fn a_child_may_end_before_the_wait_begins() {
    let (mut bench, run) = parent_of(1);
    bench.answer(
        run,
        "",
        vec![
            external("t", EffectClass::Opaque),
            yields(
                "y",
                YieldRequest { timeout: Some(Duration::from_secs(9)), ..wait(WaitFor::All) },
            ),
        ],
    );
    end_child(&mut bench, 0, "done");
    assert_eq!(bench.phase(run), Phase::AwaitingTools);
    bench.tool_done(run);
    assert_eq!(bench.phase(run), Phase::AwaitingModel);
    assert_eq!(entries(&bench, run, EntryKind::Announce), 1);
    assert!(bench.disk.next_wake().is_none(), "no timer of the wait is left");
}

/// A yield's time may come while it waits, or while a tool beside it is still out.
#[test]
fn a_yield_times_out() {
    for early in [false, true] {
        let (mut bench, run) = parent_of(1);
        let request = YieldRequest { timeout: Some(Duration::from_secs(9)), ..wait(WaitFor::All) };
        bench.answer(run, "", vec![external("t", EffectClass::Opaque), yields("y", request)]);
        if early {
            bench.pass(Duration::from_secs(10));
            bench.tool_done(run);
        } else {
            bench.tool_done(run);
            assert_eq!(bench.phase(run), WAITING);
            bench.pass(Duration::from_secs(10));
        }
        assert_eq!(bench.phase(run), Phase::AwaitingModel, "early: {early}");
        assert_eq!(entries(&bench, run, EntryKind::System), 1, "early: {early}");
    }
}

/// Several yields in one answer: the last one counts, and each keeps its note.
#[test]
fn the_last_yield_counts() {
    let (mut bench, run) = parent_of(2);
    let note =
        |text: &str, wait_for| YieldRequest { message: Some(text.to_owned()), ..wait(wait_for) };
    bench.answer(
        run,
        "",
        vec![yields("y1", note("one", WaitFor::All)), yields("y2", note("two", WaitFor::Any))],
    );
    end_child(&mut bench, 0, "done");
    assert_eq!(bench.phase(run), Phase::AwaitingModel);
    assert_eq!(entries(&bench, run, EntryKind::System), 2);
}

/// A child that answers while its own child is open has not ended; nor has one in whose inbox a
/// result, or a word of its parent, lies unread.
#[test]
fn results_climb_one_level_at_a_time() {
    let (mut bench, run) = parent_of(1);
    bench.say(run, "on its way");
    let child = bench.tasks()[0].run;
    bench.call(child, "s", InternalCall::spawn(spawn("a part of a part")));
    bench.say(child, "I wait");
    assert_eq!(bench.phase(child), WAITING);
    end_child(&mut bench, 1, "found");
    assert_eq!(bench.phase(child), Phase::AwaitingModel);
    assert_eq!(entries(&bench, child, EntryKind::Announce), 1);

    bench.call(child, "s2", InternalCall::spawn(spawn("another part")));
    end_child(&mut bench, 2, "found too");
    bench.say(child, "done, I think");
    assert_eq!(bench.phase(child), Phase::AwaitingModel, "a result lies unread");
    assert_eq!(entries(&bench, child, EntryKind::Announce), 2);

    bench.say(child, "done");
    assert_eq!(bench.phase(child), Phase::Ended(Outcome::Completed));
}

/// A wait that ends with nothing to read gives the model a word of the gateway.
#[test]
fn a_model_is_never_asked_about_its_own_last_word() {
    let (mut bench, _) = parent_of(1);
    let child = bench.tasks()[0].run;
    bench.call(child, "s", InternalCall::spawn(spawn("a part of a part")));
    bench.say(child, "I wait");
    end_child(&mut bench, 1, "ANNOUNCE_SKIP");
    assert_eq!(bench.phase(child), Phase::AwaitingModel);
    assert_eq!(entries(&bench, child, EntryKind::Announce), 0);
    assert_eq!(entries(&bench, child, EntryKind::System), 1);
}
