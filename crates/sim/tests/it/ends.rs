//! How work ends, and who is told what: deadlines, results for people, the same work again.

use std::time::Duration;

use machine::event::Inbound;
use machine::rows::{EntryKind, InboxKind, InboxState, Lifecycle, NodeState, Outcome, Place};
use machine::run::{Phase, WaitKind};
use machine::{Answer, Event, Notice, Rows};
use sim::plan::{inbound, limits};
use sim::script::{external, internal, spawn, wait};
use types::{
    Announce, Cleanup, EffectClass, InternalCall, RunId, SessionKey, SpawnRequest, TaskTarget,
    WaitFor,
};

use crate::bench::{Bench, key, main_session};

const WAITING: Phase = Phase::Waiting(WaitKind::Children);

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A parent that waits for one child, made by `request`.
fn waiting_for(request: SpawnRequest) -> (Bench, RunId, RunId) {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    bench.call(parent, "s", InternalCall::spawn(request));
    let child = bench.tasks()[0].run;
    bench.call(parent, "y", InternalCall::Yield(wait(WaitFor::All)));
    bench.pin(child);
    (bench, parent, child)
}

fn bounded(seconds: u64) -> SpawnRequest {
    SpawnRequest { run_timeout: Some(secs(seconds)), ..spawn("dig") }
}

fn entries(bench: &Bench, run: RunId, kind: EntryKind) -> usize {
    let entries = bench.disk.world.entries.iter();
    entries.filter(|entry| entry.run == run && entry.kind == kind).count()
}

fn warnings(bench: &Bench) -> Vec<InboxState> {
    let rows = bench.disk.world.inbox.iter();
    rows.filter(|row| machine::deadline::is_warning(row)).map(|row| row.state).collect()
}

#[test]
fn a_child_is_warned_and_hands_in_what_it_has() {
    let (mut bench, parent, child) = waiting_for(bounded(100));
    bench.answer(child, "half of it", vec![external("t", EffectClass::Opaque)]);
    bench.pass(secs(70));
    assert!(warnings(&bench).is_empty());
    bench.pass(secs(11));
    assert_eq!(warnings(&bench), [InboxState::Queued]);
    bench.tool_done(child);
    assert_eq!(entries(&bench, child, EntryKind::System), 1);
    bench.say(child, "all of it");
    assert_eq!(bench.phase(child), Phase::Ended(Outcome::Completed));
    assert_eq!(bench.phase(parent), Phase::AwaitingModel);
}

/// The last words come whole, marked as partial, with the call that goes on with the session; and
/// the call does.
#[test]
fn at_the_deadline_the_parent_gets_the_partial_result() {
    let (mut bench, parent, child) = waiting_for(bounded(100));
    bench.answer(child, "half of it", vec![external("t", EffectClass::Pure)]);
    bench.tool_done(child);
    // The next answer has no text, and the call after it hangs.
    bench.answer(child, "", vec![external("u", EffectClass::Opaque)]);
    bench.pass(secs(101));

    assert_eq!(bench.phase(child), Phase::Ended(Outcome::TimedOut));
    let body = bench.body(&main_session(), "announce:");
    for part in ["outcome=timed_out", "PARTIAL RESULT", "<result>\nhalf of it\n</result>"] {
        assert!(body.contains(part), "no `{part}` in {body}");
    }
    let session = bench.tasks()[0].session_key.clone();
    assert!(body.contains(&format!("sessions_send {{\"sessionKey\":\"{session}\"")), "{body}");
    let ended = bench.done.notices.iter().find_map(|notice| match notice {
        Notice::RunEnded(end) if end.run == child => end.text.clone(),
        _ => None,
    });
    assert_eq!(ended.as_deref(), Some("half of it"));

    let target = TaskTarget(session.to_string());
    let message = "go on".to_owned();
    let reply = bench.call(parent, "c", InternalCall::Steer { target, message });
    assert_eq!(reply["status"], "accepted");
    assert_eq!(bench.tasks()[1].session_key, session);
}

/// A run whose time is over while no gateway lives ends at the start of the next.
#[test]
fn a_deadline_holds_over_a_restart() {
    let (mut bench, parent, child) = waiting_for(bounded(100));
    bench.at.now = bench.at.now + secs(101);
    bench.restart();
    assert_eq!(bench.phase(child), Phase::Ended(Outcome::TimedOut));
    assert_eq!(bench.phase(parent), Phase::AwaitingModel);
    assert!(warnings(&bench).iter().all(|state| *state == InboxState::Cancelled));
}

/// A warning wakes a run that waits, also if it came while a tool beside the yield was out.
#[test]
fn a_run_that_waits_is_warned() {
    for early in [false, true] {
        let (mut bench, _, child) = waiting_for(bounded(100));
        bench.call(child, "s", InternalCall::spawn(spawn("a part")));
        let calls = vec![
            external("t", EffectClass::Opaque),
            internal("y", InternalCall::Yield(wait(WaitFor::All))),
        ];
        bench.answer(child, "", calls);
        if early {
            bench.pass(secs(81));
            bench.tool_done(child);
        } else {
            bench.tool_done(child);
            assert_eq!(bench.phase(child), WAITING);
            bench.pass(secs(81));
        }
        assert_eq!(bench.phase(child), Phase::AwaitingModel, "early: {early}");
        assert_eq!(warnings(&bench), [InboxState::Consumed], "early: {early}");
    }
}

/// A model that has answered is not asked again because of a warning that came too late, and the
/// next run does not read it.
#[test]
fn a_warning_that_comes_too_late_ends_with_its_run() {
    let (mut bench, _, child) = waiting_for(bounded(100));
    bench.pass(secs(81));
    assert_eq!(warnings(&bench), [InboxState::Queued]);
    bench.say(child, "done");
    assert_eq!(bench.phase(child), Phase::Ended(Outcome::Completed));
    assert_eq!(warnings(&bench), [InboxState::Cancelled]);
    let session = bench.tasks()[0].session_key.clone();
    assert!(bench.queued(&session).is_empty());
}

#[test]
fn a_short_bound_has_no_warning() {
    let (mut bench, _, child) = waiting_for(bounded(4));
    bench.pass(secs(5));
    assert_eq!(bench.phase(child), Phase::Ended(Outcome::TimedOut));
    assert!(warnings(&bench).is_empty());
}

fn told(bench: &Bench) -> Vec<(SessionKey, String)> {
    let told = bench.done.notices.iter().filter_map(|notice| match notice {
        Notice::Told { session, text, .. } => Some((session.clone(), text.clone())),
        _ => None,
    });
    told.collect()
}

/// The person is told where the request came from: by the announce itself if it lies there, or by
/// a held row at the head of the tree. Either way once, and no model is asked for it.
#[test]
fn a_result_for_the_person_climbs_to_where_the_request_came_from() {
    let person = |brief: &str| SpawnRequest { announce: Announce::Person, ..spawn(brief) };
    let (mut bench, _, child) = waiting_for(person("part"));
    bench.call(child, "s", InternalCall::spawn(person("part of it")));
    let leaf = bench.tasks()[1].run;
    bench.say(leaf, "  the leaf's own words\n");
    assert_eq!(told(&bench), [(main_session(), "  the leaf's own words\n".to_owned())]);
    let held: Vec<_> = bench.queued(&main_session()).iter().map(|row| row.place).collect();
    assert_eq!(held, [Place::Hold]);
    assert!(bench.body(&main_session(), "person:").contains("  the leaf's own words\n"));

    // It has not read the leaf's result yet.
    bench.say(child, "done");
    bench.say(child, "and the child's");
    assert_eq!(told(&bench), [(main_session(), "and the child's".to_owned())]);
    let rows = bench.disk.world.inbox.iter().filter(|r| r.idem_key.starts_with("person:"));
    assert_eq!(rows.count(), 1, "the announce is in the person's session already");
}

#[test]
fn who_is_told_of_an_end() {
    use Announce::*;

    #[rustfmt::skip]
    let table = [
        // announce  answer            announces  told
        (Parent,    "found",           1,         0),
        (Person,    "found",           1,         1),
        (None,      "found",           0,         0),
        (Parent,    "ANNOUNCE_SKIP",   0,         0),
        (Person,    " ANNOUNCE_SKIP ", 0,         0),
        (Person,    "",                1,         1),
    ];

    for (announce, answer, announces, people) in table {
        let mut bench = Bench::new(limits());
        bench.send(&main_session(), "go");
        let parent = bench.open(&main_session());
        let request = SpawnRequest { announce, ..spawn("part") };
        bench.call(parent, "s", InternalCall::spawn(request));
        let child = bench.tasks()[0].run;
        bench.say(child, answer);
        let rows = bench.disk.world.inbox.iter().filter(|row| row.kind == InboxKind::Announce);
        let what = format!("{announce:?} {answer:?}");
        assert_eq!(rows.count(), announces, "{what}");
        assert_eq!(told(&bench).len(), people, "{what}");
        // The task row says how it ended in any case.
        let empty = answer.is_empty();
        let outcome = if empty { Outcome::NoResult } else { Outcome::Completed };
        assert_eq!(bench.outcomes(), [Some(outcome)], "{what}");
    }
}

fn archive(bench: &mut Bench, session: &SessionKey) {
    let mut row = bench.disk.session(session).unwrap();
    row.lifecycle = Lifecycle::Archived;
    row.archived = Some(bench.at.now);
    bench.disk.put_session(&row);
}

/// Requester archived: the nearest open ancestor; none: the owner's main session; none: a dead
/// letter.
#[test]
fn the_result_of_a_child_whose_parent_is_gone() {
    let plan = key("agent:main:thread:plan");
    #[rustfmt::skip]
    let table = [
        // archived              main  goes to
        (vec![],                 true, Some("child")),
        (vec!["child"],          true, Some("plan")),
        (vec!["child", "plan"],  true, Some("main")),
        (vec!["child", "plan"],  false, None),
    ];
    for (archived, main, expected) in table {
        let mut bench = Bench::new(limits());
        if main {
            bench.send(&main_session(), "hello");
            let run = bench.open(&main_session());
            bench.say(run, "hello");
        }
        bench.send(&plan, "go");
        let top = bench.open(&plan);
        bench.call(top, "s", InternalCall::spawn(spawn("part")));
        let child = bench.tasks()[0].run;
        bench.call(child, "s", InternalCall::spawn(spawn("part of it")));
        let leaf = bench.tasks()[1].run;
        bench.pin(leaf);
        // Their own runs end without waiting: they fail.
        for run in [child, top] {
            let why = "broken".to_owned();
            bench.apply(Event::Broken { run, why });
        }
        // The run that the child's failure has opened.
        let heard = bench.open(&plan);
        bench.say(heard, "so it is");
        let child_session = bench.tasks()[0].session_key.clone();
        for name in &archived {
            let session = if *name == "child" { &child_session } else { &plan };
            archive(&mut bench, &session.clone());
        }
        bench.say(leaf, "found");
        let task = bench.tasks()[1].id;
        let rows = bench.disk.world.inbox.iter();
        let row = rows.filter(|row| row.task == Some(task)).find(|r| r.kind == InboxKind::Announce);
        let row = row.expect("the result is somewhere");
        let place = match expected {
            Some("child") => &child_session,
            Some("main") => &main_session(),
            _ => &plan,
        };
        match expected {
            Some(_) => assert_eq!(row.session_key, *place, "{archived:?}"),
            None => assert_eq!(row.state, InboxState::Dead, "{archived:?}"),
        }
    }
}

/// The same work asked for again, by name or by its words, is led to the session that has it,
/// unless it was done.
#[test]
fn failed_work_is_continued_and_not_begun_anew() {
    let named =
        |name: &str, brief: &str| SpawnRequest { task_name: Some(name.to_owned()), ..spawn(brief) };
    #[rustfmt::skip]
    let table = [
        // first                 how it ends         then                     duplicate
        (named("map", "dig"),    Outcome::TimedOut,  named("map", "dig"),     true),
        (named("map", "dig"),    Outcome::TimedOut,  named("map", "dig more"), true),
        (named("map", "dig"),    Outcome::Failed,    spawn("Dig "),           true),
        (spawn("dig"),           Outcome::Failed,    spawn("dig"),            true),
        (spawn("dig"),           Outcome::NoResult,  spawn("dig"),            true),
        (spawn("dig"),           Outcome::Completed, spawn("dig"),            false),
        (named("map", "dig"),    Outcome::Completed, named("map", "dig"),     false),
        (named("map", "dig"),    Outcome::TimedOut,  named("map2", "dig"),    false),
        (spawn("dig"),           Outcome::Failed,    named("new", "dig"),     false),
        (spawn("dig"),           Outcome::Failed,    spawn("climb"),          false),
    ];
    for (first, outcome, then, duplicate) in table {
        let what = format!("{:?} {outcome}, then {:?}", first.task_name, then.task_name);
        let request = SpawnRequest { run_timeout: Some(secs(4)), ..first };
        let (mut bench, parent, child) = waiting_for(request);
        match outcome {
            Outcome::TimedOut => bench.pass(secs(5)),
            Outcome::Failed => drop(bench.apply(Event::Broken { run: child, why: "x".into() })),
            Outcome::NoResult => drop(bench.say(child, " ")),
            _ => drop(bench.say(child, "done")),
        }
        assert_eq!(bench.outcomes(), [Some(outcome)], "{what}");
        let reply = bench.call(parent, "again", InternalCall::spawn(then));
        let status = if duplicate { "duplicate" } else { "accepted" };
        assert_eq!(reply["status"], status, "{what}: {reply}");
        if duplicate {
            assert_eq!(reply["resumable"], true, "{what}");
            let session = bench.tasks()[0].session_key.to_string();
            assert_eq!(reply["childSessionKey"], session, "{what}");
            assert!(reply["note"].as_str().unwrap().contains("sessions_send"), "{what}");
        }
    }
}

/// What was done about failed work since counts: while it is continued it is a duplicate, when it
/// has been completed it is done, and when its session is archived it is begun anew.
#[test]
fn continued_work_is_judged_by_its_last_run() {
    let again = || InternalCall::spawn(spawn("dig"));
    let (mut bench, parent, child) = waiting_for(spawn("dig"));
    bench.apply(Event::Broken { run: child, why: "x".into() });
    let session = bench.tasks()[0].session_key.clone();
    let (target, message) = (TaskTarget(session.to_string()), "go on".to_owned());
    bench.call(parent, "c", InternalCall::Steer { target, message });
    let reply = bench.call(parent, "a1", again());
    assert_eq!(reply["taskId"], bench.tasks()[1].id.to_string());
    assert_eq!(reply["resumable"], false);
    let resumed = bench.tasks()[1].run;
    bench.say(resumed, "done");
    assert_eq!(bench.call(parent, "a2", again())["status"], "accepted");

    let request = SpawnRequest { cleanup: Cleanup::Delete, ..spawn("climb") };
    bench.call(parent, "b1", InternalCall::spawn(request.clone()));
    let run = bench.tasks().last().unwrap().run;
    bench.apply(Event::Broken { run, why: "x".into() });
    let session = bench.tasks().last().unwrap().session_key.clone();
    archive(&mut bench, &session);
    assert_eq!(bench.call(parent, "b2", InternalCall::spawn(request))["status"], "accepted");
}

/// Half a day later the same words are a new order.
#[test]
fn old_failures_are_forgotten() {
    let (mut bench, parent, child) = waiting_for(spawn("dig"));
    bench.apply(Event::Broken { run: child, why: "x".into() });
    bench.at.now = bench.at.now + secs(13 * 3_600);
    let reply = bench.call(parent, "a", InternalCall::spawn(spawn("dig")));
    assert_eq!(reply["status"], "accepted");
}

/// A stop that names a run stops it and not the one that came after it.
#[test]
fn a_stop_for_a_run_spares_its_successor() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "one");
    let first = bench.open(&main_session());
    bench.say(first, "done");
    bench.send(&main_session(), "two");
    let second = bench.open(&main_session());
    let stop = |run| Event::Stop { session: main_session(), run: Some(run), by: "me".to_owned() };

    let answer = bench.apply(stop(first));
    assert_eq!(answer, Answer::Stopped(Default::default()));
    assert!(!bench.phase(second).ended());
    bench.apply(stop(second));
    assert_eq!(bench.phase(second), Phase::Ended(Outcome::Cancelled));
}

/// One message for each restart that has cut something, in the owner's main session, which wakes
/// nobody; none if nothing was cut. And a gateway that was killed is down.
#[test]
fn a_restart_says_what_it_has_cut() {
    let said = |bench: &Bench| {
        let rows = bench.disk.world.inbox.iter();
        rows.filter(|row| row.idem_key.starts_with("restart:")).count()
    };
    let mut bench = Bench::new(limits());
    bench.send_as(Inbound { ..inbound(&key("agent:main:thread:plan"), "go") });
    bench.restart();
    assert_eq!(said(&bench), 1, "a run was at work");
    let plan = bench.open(&key("agent:main:thread:plan"));
    bench.pin(plan);
    bench.restart();
    assert_eq!(said(&bench), 2);
    let body = bench.body(&main_session(), "restart:");
    assert!(body.contains("Model calls cut: 1"), "{body}");
    let main = bench.disk.session(&main_session()).unwrap();
    assert_eq!(main.open_run, None, "a message about a restart opens no run");

    bench.pin(plan);
    bench.say(plan, "done");
    bench.restart();
    assert_eq!(said(&bench), 2, "nothing was at work");
    let up = bench.disk.world.nodes.iter().filter(|node| node.state == NodeState::Up);
    let up: Vec<_> = up.map(|node| node.id).collect();
    assert_eq!(up, [bench.at.node], "a gateway that was killed is said to be up");

    // The agent reads of it with the next message, and not before.
    bench.send(&main_session(), "what happened?");
    let run = bench.open(&main_session());
    bench.pin(run);
    assert_eq!(entries(&bench, run, EntryKind::System), 2);
}
