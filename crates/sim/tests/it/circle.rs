//! What would never end: waits in a circle, and agents that always answer each other.

use machine::Event;
use machine::event::{Change, Inbound};
use machine::rows::{InboxKind, Outcome};
use machine::run::{Phase, WaitKind};
use sim::plan::{inbound, limits};
use sim::script::{internal, spawn, wait};
use types::{InternalCall, SendMode, SendRequest, SessionRef, SpawnRequest, WaitFor};

use crate::bench::{Bench, key, main_session};
use crate::send::{note, ops, plan, question, rows, send, two_agents};

/// A writes to B, B to C, and C to A: whoever closes the circle is told so, and nobody waits for
/// himself, whichever lane the first came from and however few slots there are.
#[test]
fn a_circle_of_waits_is_refused() {
    for kind in [InboxKind::User, InboxKind::Cron, InboxKind::Hook] {
        let mut limits = limits();
        limits.lanes.values_mut().for_each(|slots| *slots = 1);
        let mut bench = Bench::new(limits);
        for session in [ops(), plan()] {
            bench.send(&session, "hello");
            let run = bench.open(&session);
            bench.say(run, "hello");
        }
        bench.send_as(Inbound { kind, ..inbound(&main_session(), "go round") });
        let a = bench.open(&main_session());
        bench.answer(a, "", vec![internal("a", send(question(&ops(), "b?")))]);
        let b = bench.open(&ops());
        bench.answer(b, "", vec![internal("b", send(question(&plan(), "c?")))]);
        let c = bench.open(&plan());
        let result = bench.call(c, "c", send(question(&main_session(), "a?")));
        assert_eq!(result["code"], "wait_cycle", "{kind}: {result}");
        let path = "agent:main:main, which waits for agent:ops:main, which waits for \
                    agent:main:thread:plan";
        assert!(result["error"].as_str().unwrap().contains(path), "{result}");
        // Without waiting it may: the message lies behind the run of A.
        let result = bench.call(c, "d", send(note(&main_session(), "a!")));
        assert_eq!(result["state"], "accepted", "{result}");

        bench.say(c, "from c");
        assert_eq!(bench.result(b, "b")["reply"], "from c");
        bench.say(b, "from b");
        assert_eq!(bench.result(a, "a")["reply"], "from b");
        bench.say(a, "done");
        let next = bench.open(&main_session());
        bench.say(next, "to c");
        assert_eq!(rows(&bench, &plan(), InboxKind::Reply).len(), 1);
    }
}

/// The message would lie behind a run that waits for its own sender.
#[test]
fn a_circle_through_a_queue_is_refused() {
    let (mut bench, a) = two_agents(limits());
    bench.send(&ops(), "think");
    let busy = bench.open(&ops());
    bench.answer(a, "", vec![internal("a", send(question(&ops(), "b?")))]);
    let result = bench.call(busy, "b", send(question(&main_session(), "a?")));
    assert_eq!(result["code"], "wait_cycle", "{result}");
}

/// A child cannot wait for the run that waits for it. What it says wakes that run, and what it is
/// told then steers into its own.
#[test]
fn a_child_asks_the_run_that_it_works_for() {
    let (mut bench, top) = two_agents(limits());
    bench.answer(
        top,
        "",
        vec![
            internal("s", InternalCall::spawn(spawn("count lakes"))),
            internal("y", InternalCall::Yield(wait(WaitFor::All))),
        ],
    );
    let task = bench.tasks()[0].clone();
    let child = task.run;
    let refused = bench.call(child, "q", send(question(&main_session(), "ponds too?")));
    assert_eq!(refused["code"], "wait_cycle", "{refused}");
    bench.answer(
        child,
        "",
        vec![
            internal("n", send(note(&main_session(), "ponds too?"))),
            internal("y", InternalCall::Yield(wait(WaitFor::Message))),
        ],
    );
    assert_eq!(bench.phase(top), Phase::AwaitingModel, "it is woken");
    assert_eq!(bench.phase(child), Phase::Waiting(WaitKind::Children));

    let told = bench.call(top, "a", send(note(&task.session_key, "yes")));
    assert_eq!(told["state"], "accepted");
    assert_eq!(bench.phase(child), Phase::AwaitingModel, "it is woken");
    bench.call(top, "y2", InternalCall::Yield(wait(WaitFor::All)));
    bench.say(child, "12 and 7");
    bench.say(top, "19");
    // Each was answered by what came anyway: a steering word, an announce.
    assert!(rows(&bench, &main_session(), InboxKind::Reply).is_empty());
    assert!(rows(&bench, &task.session_key, InboxKind::Reply).is_empty());
    assert_eq!(bench.outcomes(), [Some(Outcome::Completed)]);
}

/// The parent rests for its child while that waits for others, who wait for the parent: the
/// innermost wait is over.
#[test]
fn a_rest_that_closes_a_circle_opens_it() {
    let (mut bench, top) = two_agents(limits());
    bench.call(top, "s", InternalCall::spawn(spawn("count lakes")));
    let child = bench.tasks()[0].run;
    bench.answer(child, "", vec![internal("c", send(question(&ops(), "lakes?")))]);
    let other = bench.open(&ops());
    bench.answer(other, "", vec![internal("o", send(question(&main_session(), "which?")))]);
    assert_eq!(bench.phase(other), Phase::Waiting(WaitKind::Reply));
    bench.call(top, "y", InternalCall::Yield(wait(WaitFor::All)));
    assert_eq!(bench.phase(top), Phase::Waiting(WaitKind::Children));
    // Not the one at the top: somebody in the circle goes on.
    let free = [child, other].into_iter().filter(|run| bench.phase(*run).holds_slot());
    assert_eq!(free.count(), 1);
}

#[test]
fn two_agents_that_always_answer_each_other_stop() {
    let (mut bench, first) = two_agents(limits());
    let mut sessions = [ops(), main_session()].into_iter().cycle();
    let mut run = first;
    let mut sent = 0;
    loop {
        let to = sessions.next().unwrap();
        let result = bench.call(run, "c", send(note(&to, "and you?")));
        if result["code"] == "hop_limit" {
            assert!(result["error"].as_str().unwrap().contains("maxPingPongTurns is 5"));
            break;
        }
        sent += 1;
        bench.say(run, "REPLY_SKIP");
        run = bench.open(&to);
    }
    assert_eq!(sent, 5);
}

/// Answers that come as results count as well: it is the same conversation.
#[test]
fn one_run_that_asks_the_same_session_again_and_again_stops() {
    let (mut bench, asker) = two_agents(limits());
    for n in 0..5 {
        let id = format!("c{n}");
        bench.answer(asker, "", vec![internal(&id, send(question(&ops(), "and now?")))]);
        let asked = bench.open(&ops());
        bench.say(asked, "not yet");
        assert_eq!(bench.result(asker, &id)["reply"], "not yet");
    }
    let result = bench.call(asker, "last", send(question(&ops(), "and now?")));
    assert_eq!(result["code"], "hop_limit", "{result}");
    // Another session is another conversation.
    bench.send(&plan(), "hello");
    let result = bench.call(asker, "plan", send(note(&plan(), "and you?")));
    assert_eq!(result["state"], "accepted", "{result}");
}

/// A task for a session that waits for a result of the caller would wait for itself.
#[test]
fn a_requester_is_not_given_a_task_by_its_own_child() {
    let (mut bench, top) = two_agents(limits());
    bench.call(top, "s", InternalCall::spawn(spawn("count lakes")));
    let child = bench.tasks()[0].run;
    bench.say(top, "they are being counted");
    let request = SendRequest { mode: SendMode::Resume, ..note(&main_session(), "count yourself") };
    let result = bench.call(child, "c", send(request));
    assert_eq!(result["code"], "wait_cycle", "{result}");
}

/// A thread is deleted, and a child that it once had goes on talking to a person: what it spawns
/// must not come to be above it. A policy that is looked up would be looked up for ever.
#[test]
fn a_deleted_thread_is_not_begun_anew_from_below() {
    let mut bench = Bench::new(limits());
    bench.send(&plan(), "go");
    let thread = bench.open(&plan());
    bench.call(thread, "s", InternalCall::spawn(spawn("part")));
    let child = bench.tasks()[0].session_key.clone();
    let change = Change::Delete;
    bench.apply(Event::Change { session: plan(), by: "owner".to_owned(), change });
    assert_eq!(bench.outcomes(), [Some(Outcome::Cancelled)]);

    bench.send(&child, "and now?");
    let run = bench.open(&child);
    let thread = |name: &str| {
        let session = Some(SessionRef::Full(key(name)));
        InternalCall::spawn(SpawnRequest { session, ..spawn("think") })
    };
    let refused = bench.call(run, "a", thread("agent:main:thread:plan"));
    assert_eq!(refused["code"], "wait_cycle", "{refused}");
    assert!(refused["error"].as_str().unwrap().contains("is deleted"), "{refused}");
    let told = bench.call(run, "b", thread("agent:main:thread:other"));
    assert_eq!(told["status"], "accepted", "{told}");
    // From elsewhere it may be.
    bench.send(&main_session(), "go");
    let main = bench.open(&main_session());
    let told = bench.call(main, "c", thread("agent:main:thread:plan"));
    assert_eq!(told["status"], "accepted", "{told}");
}

/// Rows that go in a circle are seen, and whoever looks upwards comes to an end.
#[test]
#[should_panic = "S4: agent:main:main is above itself"]
fn sessions_above_themselves_are_seen() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let top = bench.open(&main_session());
    bench.call(top, "s", InternalCall::spawn(spawn("part")));
    let child = bench.tasks()[0].session_key.clone();
    bench.disk.world.sessions[0].parent_key = Some(child);
    sim::world::check(&bench.disk.world, &bench.limits);
}
