//! What a run had out when it was ended is looked after until nothing of it is left.

use machine::event::{Act, Command};
use machine::halt::{LOOK_AGAIN, LOOK_AT_REST};
use machine::rows::{Halt, HaltState, Outcome};
use machine::{Action, Answer, Event};
use sim::plan::limits;
use sim::script::{external, internal, spawn, wait};
use types::{EffectClass, InternalCall, RunId, TaskTarget, WaitFor};

use crate::bench::{Bench, main_session};

/// A person's run that waits, and its child with a command out.
fn pair() -> (Bench, RunId, RunId) {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let top = bench.open(&main_session());
    bench.call(top, "s", InternalCall::spawn(spawn("part")));
    let child = bench.tasks()[0].run;
    bench.answer(child, "", vec![external("t", EffectClass::Opaque)]);
    bench.answer(top, "", vec![internal("y", InternalCall::Yield(wait(WaitFor::All)))]);
    (bench, top, child)
}

fn stop(bench: &mut Bench, key: &str) -> String {
    let answer = bench.apply(Event::Command(Command {
        session: main_session(),
        owner: "owner".to_owned(),
        origin: "web".to_owned(),
        idem_key: key.to_owned(),
        text: "/stop".to_owned(),
        act: Act::Stop,
    }));
    let Answer::Commanded(told) = answer else { panic!("{answer:?}") };
    told.answer
}

fn halted(bench: &mut Bench, run: RunId, pids: &[u32], calls: u32) -> Answer {
    let look = halt(bench, run).map_or(0, |halt| halt.looks);
    bench.apply(Event::Halted { run, look, pids: pids.to_vec(), calls })
}

fn halt(bench: &Bench, run: RunId) -> Option<&Halt> {
    bench.disk.world.halts.iter().find(|halt| halt.run == run)
}

fn is_looked_at(bench: &Bench, run: RunId) -> bool {
    let looks = |action: &Action| matches!(action, Action::Prove { run: of, .. } if *of == run);
    bench.done.actions.iter().any(looks)
}

#[test]
fn a_stop_is_stopping_until_somebody_has_looked() {
    let (mut bench, top, child) = pair();
    let told = stop(&mut bench, "first");
    assert!(told.contains("Stopping: "), "{told}");
    // The one that waited had nothing out.
    assert_eq!(halt(&bench, top), None);
    assert_eq!(halt(&bench, child).unwrap().state, HaltState::Stopping);
    assert!(is_looked_at(&bench, child) && !is_looked_at(&bench, top));

    assert_eq!(halted(&mut bench, child, &[], 0), Answer::Done);
    let seen = halt(&bench, child).unwrap();
    assert_eq!((seen.state, seen.looked), (HaltState::Stopped, Some(bench.at.now)));
    // Said once, and for good.
    assert_eq!(halted(&mut bench, child, &[7], 0), Answer::Fenced);
    assert_eq!(halted(&mut bench, top, &[7], 0), Answer::Fenced);
    assert_eq!(stop(&mut bench, "second"), "Nothing was running.");
    bench.pass(LOOK_AGAIN * 2);
    assert!(!is_looked_at(&bench, child));
}

#[test]
fn what_could_not_be_proved_is_named_and_looked_at_again() {
    let (mut bench, _, child) = pair();
    stop(&mut bench, "first");
    halted(&mut bench, child, &[41, 42], 1);
    let lines: Vec<_> = bench.disk.journal.iter().filter(|line| line.0 == "run.halted").collect();
    assert!(lines[0].2.contains("[41,42]"), "{lines:?}");

    let told = stop(&mut bench, "second");
    let left = "these processes live on: 41, 42, and 1 calls have not come back";
    let expected = format!(
        "Nothing was running.\nNot proved to be over: {child} of {}: {left}.",
        bench.run(child).session_key
    );
    assert_eq!(told, expected);
    bench.pass(LOOK_AT_REST);
    assert!(is_looked_at(&bench, child));
    // Nobody answers: it is asked again.
    bench.pass(LOOK_AGAIN);
    assert!(is_looked_at(&bench, child));
    // The same again is no news.
    halted(&mut bench, child, &[41, 42], 1);
    assert!(bench.done.notices.is_empty());
    halted(&mut bench, child, &[], 0);
    assert_eq!(halt(&bench, child).unwrap().state, HaltState::Stopped);
    assert_eq!(stop(&mut bench, "third"), "Nothing was running.");
}

/// Whoever was to look is gone with its gateway.
#[test]
fn a_start_looks_at_what_is_not_proved() {
    let (mut bench, _, child) = pair();
    stop(&mut bench, "first");
    bench.restart();
    assert!(is_looked_at(&bench, child));
    // The one that is gone is heard after all.
    let late = Event::Halted { run: child, look: 1, pids: Vec::new(), calls: 0 };
    assert_eq!(bench.apply(late), Answer::Fenced);
    assert_eq!(halt(&bench, child).unwrap().state, HaltState::Stopping);
    halted(&mut bench, child, &[], 0);
    bench.restart();
    assert!(!is_looked_at(&bench, child));
}

#[test]
fn an_agent_is_told_what_is_stopping_and_what_could_not_be_proved() {
    let mut bench = Bench::new(limits());
    bench.send(&main_session(), "go");
    let top = bench.open(&main_session());
    let mut replies = Vec::new();
    for n in 0..2 {
        bench.call(top, &format!("s{n}"), InternalCall::spawn(spawn(format!("part {n}"))));
        let child = bench.tasks()[n].run;
        bench.answer(child, "", vec![external("t", EffectClass::Opaque)]);
        let target = TaskTarget(bench.tasks()[n].id.to_string());
        replies.push(bench.call(top, &format!("k{n}"), InternalCall::Kill { target }));
        halted(&mut bench, child, &[9], 0);
    }
    assert_eq!(replies[0]["stop"]["stopping"][0]["runId"], bench.tasks()[0].run.to_string());
    assert_eq!(replies[0]["stop"]["unproved"].as_array().unwrap().len(), 0);
    let unproved = &replies[1]["stop"]["unproved"][0];
    assert_eq!(unproved["runId"], bench.tasks()[0].run.to_string());
    assert_eq!(unproved["pids"][0], 9);
}

/// Commands in the background end with their run, however it ends; until then they are its own.
#[test]
fn what_goes_on_in_the_background_is_looked_after_at_the_end() {
    let (mut bench, top, child) = pair();
    bench.tool_left(child);
    assert_eq!(halt(&bench, child), None);
    bench.restart();
    bench.answer(child, "done", Vec::new());
    assert_eq!(bench.run(child).phase.outcome(), Some(Outcome::Completed));
    assert!(is_looked_at(&bench, child));
    halted(&mut bench, child, &[], 0);
    assert_eq!(halt(&bench, child).unwrap().state, HaltState::Stopped);

    // The other has nothing out when it is stopped: it waits.
    bench.answer(top, "", vec![external("t", EffectClass::Opaque)]);
    bench.tool_left(top);
    bench.call(top, "s", InternalCall::spawn(spawn("another part")));
    bench.answer(top, "", vec![internal("y", InternalCall::Yield(wait(WaitFor::All)))]);
    assert_eq!((halt(&bench, top), bench.run(top).slot), (None, None));
    stop(&mut bench, "first");
    assert!(is_looked_at(&bench, top));
    assert_eq!(halt(&bench, top).unwrap().state, HaltState::Stopping);
}
