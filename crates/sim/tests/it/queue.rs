//! Messages to a session that is busy: what each mode does, and what a full queue does.

use machine::event::Inbound;
use machine::queue::{Drop, QueueMode};
use machine::rows::{InboxKind, InboxState, LaneName, Outcome};
use machine::run::Phase;
use machine::{Answer, Event, Refusal};
use sim::plan::{inbound, limits};
use sim::script::{external, spawn};
use types::{EffectClass, Hash, InternalCall, SpawnRequest};

use crate::bench::{Bench, key, main_session};

/// A session whose run has a tool out.
fn busy() -> Bench {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    bench.answer(run, "", vec![external("t", EffectClass::Opaque)]);
    bench
}

fn message(mode: QueueMode, origin: &str) -> Inbound {
    Inbound { mode: Some(mode), origin: origin.to_owned(), ..inbound(&main_session(), "more") }
}

/// A second message while a run is busy: how many runs there are, and how they end.
#[test]
fn modes() {
    use Outcome::*;
    use QueueMode::*;

    #[rustfmt::skip]
    let table = [
        // mode       origin  first run   runs
        (Steer,      "web",  Completed,  1),
        (Steer,      "chat", Completed,  2),
        (Followup,   "web",  Completed,  2),
        (Collect,    "web",  Completed,  2),
        (Collect,    "chat", Completed,  2),
        (Interrupt,  "web",  Cancelled,  2),
        (Interrupt,  "chat", Cancelled,  2),
    ];

    for (mode, origin, outcome, runs) in table {
        let mut bench = busy();
        let first = bench.open(&main_session());
        let answer = bench.send_as(message(mode, origin));
        assert!(matches!(answer, Answer::Accepted(_)), "{mode}: {answer:?}");
        if !bench.phase(first).ended() {
            bench.tool_done(first);
            bench.say(first, "done");
        }
        bench.pass(limits().queue.debounce);
        while bench.disk.world.sessions[0].open_run.is_some() {
            let run = bench.open(&main_session());
            bench.say(run, "done");
        }
        let all = &bench.disk.world.runs;
        assert_eq!(all.len(), runs, "{mode} from {origin}");
        assert_eq!(bench.phase(first), Phase::Ended(outcome), "{mode} from {origin}");
        assert_eq!(all.last().unwrap().origin, if runs == 1 { "web" } else { origin });
        assert!(bench.disk.world.inbox.iter().all(|row| row.state == InboxState::Consumed));
    }
}

/// Messages that are collected become one run; those from elsewhere another.
#[test]
fn collected_messages_share_a_run() {
    let mut bench = busy();
    for origin in ["web", "chat", "web"] {
        bench.send_as(message(QueueMode::Collect, origin));
    }
    let first = bench.open(&main_session());
    bench.tool_done(first);
    bench.say(first, "done");
    let collected = bench.open(&main_session());
    assert_eq!(bench.phase(collected), Phase::Queued, "it waits for more");
    bench.pass(limits().queue.debounce);
    bench.say(collected, "done");
    let elsewhere = bench.open(&main_session());
    let taken = |run| bench.disk.world.inbox.iter().filter(|row| row.run == Some(run)).count();
    assert_eq!(taken(collected), 2);
    assert_eq!(taken(elsewhere), 1);
}

/// Interrupting a run that has not begun ends nothing: it takes both messages in.
#[test]
fn an_interrupt_of_a_queued_run_joins_it() {
    let mut bench = Bench::new(limits());
    let others =
        ["agent:ops:main", "agent:main:thread:a", "agent:main:thread:b", "agent:main:thread:c"];
    for session in others {
        bench.send(&key(session), "go");
    }
    bench.send(&main_session(), "this");
    let queued = bench.open(&main_session());
    assert_eq!(bench.phase(queued), Phase::Queued);
    bench.send_as(message(QueueMode::Interrupt, "web"));
    assert_eq!(bench.open(&main_session()), queued);
    let run = bench.open(&key(others[0]));
    bench.say(run, "done");
    let taken = bench.disk.world.inbox.iter().filter(|row| row.run == Some(queued));
    assert_eq!(taken.count(), 2);
}

/// A run that stands in line for a brief, or for words from elsewhere, gives way to what
/// interrupts, and is opened again after it: nothing of it is lost, and its task goes on.
#[test]
fn what_stands_in_line_gives_way_to_an_interrupt() {
    let helper = key("agent:main:thread:helper");
    for brief in [true, false] {
        let mut narrow = limits();
        narrow.lanes.extend([(LaneName::Subagent, 1), (LaneName::Main, 1)]);
        let mut bench = Bench::new(narrow);
        bench.send(&main_session(), "go");
        let parent = bench.open(&main_session());
        bench.call(parent, "b", InternalCall::spawn(spawn("holds the lane")));
        if brief {
            let named = SpawnRequest {
                session: Some("thread:helper".parse().unwrap()),
                ..spawn("a part of it")
            };
            bench.call(parent, "s", InternalCall::spawn(named));
        } else {
            bench.send_as(Inbound { origin: "chat".to_owned(), ..inbound(&helper, "from chat") });
        }
        let old = bench.open(&helper);
        let name = bench.run(old).wire_id.clone();
        let message = inbound(&helper, "this first");
        let urgent = Inbound { mode: Some(QueueMode::Interrupt), ..message };
        let Answer::Accepted(accepted) = bench.send_as(urgent) else { panic!("refused") };
        let first = bench.open(&helper);
        assert_eq!(accepted.run, Some(first), "brief: {brief}");
        assert!(first != old && bench.disk.run_row(old).is_none(), "brief: {brief}");
        assert!(bench.outcomes().iter().all(Option::is_none), "the task is open");

        bench.restart();
        for _ in 0..20 {
            let at_work = bench.disk.world.runs.iter().find(|run| run.slot.is_some());
            let Some(run) = at_work.map(|run| run.id) else { break };
            bench.say(run, "done");
        }
        let second = bench.disk.world.runs.iter().find(|run| run.wire_id == name).unwrap().id;
        assert_eq!(second == old, brief, "a task keeps its run");
        let taken = bench.disk.world.inbox.iter().filter(|row| row.session_key == helper);
        let mut taken: Vec<_> = taken.map(|row| (row.done, row.run)).collect();
        taken.sort();
        assert_eq!(
            taken.iter().map(|(_, run)| *run).collect::<Vec<_>>(),
            [first, second].map(Some)
        );
    }
}

/// What interrupts comes next, before older messages that wait for a run of their own; they come
/// after it, in their order. The children of the run go on.
#[test]
fn the_newest_message_follows_an_interrupt() {
    let mut bench = busy();
    let first = bench.open(&main_session());
    bench.tool_done(first);
    bench.call(first, "s", InternalCall::spawn(spawn("a part of it")));
    for body in ["second", "third"] {
        let message = inbound(&main_session(), body);
        bench.send_as(Inbound { mode: Some(QueueMode::Followup), ..message });
    }
    let message = inbound(&main_session(), "stop, this first");
    bench.send_as(Inbound { mode: Some(QueueMode::Interrupt), ..message });
    assert_eq!(bench.phase(first), Phase::Ended(Outcome::Cancelled));
    assert_eq!(bench.outcomes(), [None], "the child goes on");

    let mut order = Vec::new();
    while bench.disk.world.sessions[0].open_run.is_some() && order.len() < 9 {
        let run = bench.open(&main_session());
        let own = bench.disk.world.inbox.iter();
        order.extend(own.filter(|row| row.run == Some(run)).map(|row| row.body_hash));
        bench.say(run, "done");
    }
    let bodies = ["stop, this first", "second", "third"];
    assert_eq!(order, bodies.map(Hash::of));
}

/// A draining gateway refuses inputs at once, and says when to come again.
#[test]
fn a_draining_gateway_refuses_inputs() {
    let mut bench = busy();
    bench.apply(Event::Drain);
    let answer = bench.send_as(message(QueueMode::Followup, "web"));
    let Answer::Refused(refusal) = answer else { panic!("{answer:?}") };
    assert_eq!((&refusal, refusal.retry_after_ms()), (&Refusal::Draining, Some(2_000)));
    let run = bench.open(&main_session());
    bench.tool_done(run);
    assert_eq!(bench.phase(run), Phase::Queued, "its step is committed, and it waits in line");
    bench.restart();
    assert_eq!(bench.phase(run), Phase::AwaitingModel, "the next start goes on");
}

/// A full queue: what gives way is said.
#[test]
fn drops() {
    #[rustfmt::skip]
    let table = [
        // drop             third is  dropped  notes
        (Drop::New,        false,    0,       0),
        (Drop::Old,        true,     1,       0),
        (Drop::Summarize,  true,     1,       1),
    ];

    for (drop, taken, dropped, notes) in table {
        let mut bench = busy();
        bench.limits.queue.cap = 2;
        bench.limits.queue.drop = drop;
        for _ in 0..2 {
            bench.send_as(message(QueueMode::Followup, "web"));
        }
        let answer = bench.send_as(message(QueueMode::Followup, "web"));
        assert_eq!(matches!(answer, Answer::Accepted(_)), taken, "{drop}: {answer:?}");
        let full = matches!(answer, Answer::Refused(Refusal::QueueFull { limit: 2, .. }));
        assert_eq!(full, !taken, "{drop}");
        let rows = &bench.disk.world.inbox;
        let count = |state| rows.iter().filter(|row| row.state == state).count();
        assert_eq!(count(InboxState::Dropped), dropped, "{drop}");
        let system = rows.iter().filter(|row| row.kind == InboxKind::System).count();
        assert_eq!(system, notes, "{drop}");
    }
}

/// The same key is the same message, also for a gateway that drains.
#[test]
fn a_key_is_answered_once() {
    let mut bench = Bench::new(limits());
    let first = Inbound { idem_key: "k".to_owned(), ..inbound(&main_session(), "go") };
    let Answer::Accepted(accepted) = bench.send_as(first.clone()) else { panic!("refused") };
    assert!(!accepted.duplicate);

    bench.apply(Event::Drain);
    let Answer::Accepted(again) = bench.send_as(first.clone()) else { panic!("refused") };
    assert!(again.duplicate);
    assert_eq!(again.message, accepted.message);
    let other = bench.send_as(inbound(&main_session(), "more"));
    assert_eq!(other, Answer::Refused(Refusal::Draining));
    let changed = Inbound { body: "stop".to_owned(), ..first };
    let conflict = Refusal::IdempotencyConflict("k".to_owned());
    assert_eq!(bench.send_as(changed), Answer::Refused(conflict));
}

/// What is refused leaves nothing behind.
#[test]
fn refusals() {
    let mut bench = Bench::new(limits());
    let child = key("agent:main:subagent:helper");
    let stranger = key("agent:nobody:main");
    let agent = stranger.agent.clone();
    let (bytes, limit) = (limits().message_bytes_max + 1, limits().message_bytes_max);
    let large = "x".repeat(bytes);
    let model = Some("x".to_owned());
    let unknown = Refusal::UnknownModel(limits().model_named("x").unwrap_err());

    let table = [
        (inbound(&main_session(), " "), Refusal::EmptyMessage),
        (inbound(&main_session(), &large), Refusal::TooLarge { bytes, limit }),
        (inbound(&stranger, "go"), Refusal::UnknownAgent(agent)),
        (inbound(&child, "go"), Refusal::SessionNotFound(child.clone())),
        (Inbound { model, ..inbound(&main_session(), "go") }, unknown),
    ];

    for (message, refusal) in table {
        assert_eq!(bench.send_as(message), Answer::Refused(refusal));
    }
    assert!(bench.disk.world.inbox.is_empty() && bench.disk.world.sessions.is_empty());
}
