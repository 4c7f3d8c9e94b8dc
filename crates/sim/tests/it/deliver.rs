//! Deliverables: looked at before a task counts as completed, and sent back twice.

use machine::effect::Check;
use machine::event::Asked;
use machine::rows::{EntryKind, Outcome};
use machine::run::{Phase, WaitKind};
use machine::{Action, Answer, Event};
use sim::plan::limits;
use sim::script::spawn;
use types::{Deliverables, InternalCall, RunId, SpawnRequest};

use crate::bench::{Bench, main_session};

/// A child that has to hand in a file.
fn child() -> (Bench, RunId) {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    let wanted = Deliverables { files: vec!["a.md".to_owned()], schema: None };
    let request = SpawnRequest { deliverables: Some(wanted), ..spawn("write a.md") };
    bench.call(parent, "s", InternalCall::spawn(request));
    let child = bench.tasks()[0].run;
    (bench, child)
}

/// The check that the last event has asked for.
fn asked(bench: &Bench) -> Option<Check> {
    bench.done.actions.iter().find_map(|action| match action {
        Action::Check(check) => Some(check.clone()),
        _ => None,
    })
}

fn found(bench: &mut Bench, missing: &[&str]) -> Answer {
    let check = asked(bench).expect("a check is asked for");
    let missing = missing.iter().map(|text| (*text).to_owned()).collect();
    let (run, token, step) = (check.run, check.token, check.step);
    bench.apply(Event::Checked { run, token, step, missing })
}

fn notes(bench: &Bench, run: RunId) -> usize {
    let entries = bench.disk.world.entries.iter();
    entries.filter(|entry| entry.run == run && entry.kind == EntryKind::System).count()
}

#[test]
fn a_task_completes_when_it_is_all_there() {
    let (mut bench, child) = child();
    let session = bench.tasks()[0].session_key.clone();
    assert!(
        bench.body(&session, "brief:").contains("not be empty: a.md."),
        "the brief says what is wanted"
    );
    bench.say(child, "here it is");
    assert_eq!(bench.outcomes(), [None], "nobody has looked yet");
    assert_eq!(asked(&bench).unwrap().wanted.files, ["a.md"]);
    assert_eq!(found(&mut bench, &[]), Answer::Done);
    assert_eq!(bench.outcomes(), [Some(Outcome::Completed)]);
    assert!(bench.body(&main_session(), "announce:").contains("<result>\nhere it is\n</result>"));
}

/// Twice the child is told what is missing; after the third look the task ends without a result,
/// and its requester reads why, and what the child had said.
#[test]
fn what_is_missing_is_sent_back_twice() {
    let (mut bench, child) = child();
    for times in 1..=2 {
        bench.say(child, "done, I think");
        found(&mut bench, &["file `a.md`: there is none"]);
        assert_eq!(bench.outcomes(), [None]);
        assert_eq!(notes(&bench, child), times);
        let session = bench.tasks()[0].session_key.clone();
        assert!(bench.body(&session, "missing:").contains("- file `a.md`: there is none\n"));
    }
    bench.say(child, "really");
    found(&mut bench, &["file `a.md`: there is none"]);
    assert_eq!(bench.outcomes(), [Some(Outcome::NoResult)]);
    let body = bench.body(&main_session(), "announce:");
    for part in ["outcome=no_result", "a.md`: there is none", "PARTIAL RESULT", "really"] {
        assert!(body.contains(part), "no `{part}` in {body}");
    }
}

#[test]
fn what_is_handed_in_late_counts() {
    let (mut bench, child) = child();
    bench.say(child, "done");
    found(&mut bench, &["file `a.md`: it is empty"]);
    bench.say(child, "now");
    found(&mut bench, &[]);
    assert_eq!(bench.outcomes(), [Some(Outcome::Completed)]);
}

/// A look that a crash has cut is begun again, and the answer is not paid for again.
#[test]
fn a_look_survives_a_crash() {
    let (mut bench, child) = child();
    bench.say(child, "here it is");
    let late = asked(&bench).unwrap();
    bench.restart();
    let again = asked(&bench).expect("it is looked for again");
    assert_eq!((again.step, again.asked_by), (late.step, late.asked_by));
    let (run, token, step) = (late.run, late.token, late.step);
    let answer = bench.apply(Event::Checked { run, token, step, missing: Vec::new() });
    assert_eq!(answer, Answer::Fenced, "the look of a life that is over");
    let (run, token, step) = (again.run, again.token, again.step);
    bench.apply(Event::Checked { run, token, step, missing: Vec::new() });
    assert_eq!(bench.outcomes(), [Some(Outcome::Completed)]);
    let calls = bench.disk.world.ledger.iter().filter(|row| row.run == child).count();
    assert_eq!(calls, 1, "the answer was paid for again");
}

/// What comes for the child while it is looked at is read first.
#[test]
fn a_message_during_the_look_is_read() {
    let (mut bench, child) = child();
    bench.say(child, "here it is");
    let check = asked(&bench).unwrap();
    let session = bench.tasks()[0].session_key.clone();
    bench.send(&session, "and b.md");
    let (run, token, step) = (check.run, check.token, check.step);
    bench.apply(Event::Checked { run, token, step, missing: Vec::new() });
    assert_eq!(bench.phase(child), Phase::AwaitingModel);
    bench.say(child, "both");
    found(&mut bench, &[]);
    assert!(bench.body(&main_session(), "announce:").contains("\nboth\n"));
}

/// What a program asks for in the child's name while it is looked at is waited for.
#[test]
fn a_spawn_during_the_look_is_waited_for() {
    let (mut bench, child) = child();
    bench.say(child, "here it is");
    let check = asked(&bench).unwrap();
    let session = bench.tasks()[0].session_key.clone();
    let origin = bench.tasks()[0].origin.clone();
    let call = InternalCall::spawn(spawn("one thing more"));
    let (owner, mark) = ("owner".to_owned(), "m".to_owned());
    bench.apply(Event::Ask(Asked { session, owner, origin, mark, call }));
    let (run, token, step) = (check.run, check.token, check.step);
    bench.apply(Event::Checked { run, token, step, missing: Vec::new() });
    assert_eq!(bench.phase(child), Phase::Waiting(WaitKind::Children));
    let more = bench.tasks()[1].run;
    bench.pin(more);
    bench.say(more, "more");
    bench.say(child, "both");
    found(&mut bench, &[]);
    assert_eq!(bench.outcomes(), [Some(Outcome::Completed); 2]);
}

/// A stop during the look leaves nothing open, and no answer is nothing to look at.
#[test]
fn a_look_ends_with_its_run() {
    let (mut bench, run) = child();
    bench.say(run, "here it is");
    let task = bench.tasks()[0].id;
    bench.apply(Event::StopTask { task, by: "me".to_owned() });
    assert_eq!(bench.outcomes(), [Some(Outcome::Cancelled)]);

    let (mut bench, run) = child();
    bench.say(run, "  ");
    assert_eq!(asked(&bench), None);
    assert_eq!(bench.outcomes(), [Some(Outcome::NoResult)]);
}
