//! What is paid for while nobody asks for anything: nothing; and of what wakes a run, each once.

use std::time::Duration;

use machine::Event;
use machine::effect::{Action, ModelCall};
use machine::rows::{EntryKind, Outcome, StepKind};
use machine::run::Phase;
use sim::plan::limits;
use sim::script::{internal, spawn, wait};
use types::{EffectClass, InternalCall, RunId, SpawnRequest, WaitFor};

use crate::bench::{Bench, key, main_session};

const HOUR: Duration = Duration::from_secs(3_600);

fn named(name: &str) -> InternalCall {
    InternalCall::spawn(SpawnRequest { task_name: Some(name.to_owned()), ..spawn(name) })
}

/// The calls of models that the last event has led to.
fn asked(bench: &Bench) -> Vec<ModelCall> {
    let calls = bench.done.actions.iter().filter_map(|action| match action {
        Action::CallModel(call) => Some(call.clone()),
        _ => None,
    });
    calls.collect()
}

fn model_steps(bench: &Bench) -> usize {
    bench.disk.world.steps.iter().filter(|step| step.kind == StepKind::Model).count()
}

/// The parent of two children waits for both.
fn split(bench: &mut Bench) -> (RunId, [RunId; 2]) {
    bench.send(&main_session(), "split it");
    let parent = bench.open(&main_session());
    let both = internal("y", InternalCall::Yield(wait(WaitFor::All)));
    let calls = vec![internal("a", named("a")), internal("b", named("b")), both];
    bench.answer(parent, "", calls);
    let children = [bench.tasks()[0].run, bench.tasks()[1].run];
    (parent, children)
}

/// A day in which nobody says anything, after one in which all sorts of things were done: runs that
/// have ended, failed and were stopped, children, kept sessions, a conversation that was
/// compacted. Every timer becomes due, the gateway is started anew four times, and no model is
/// asked.
#[test]
fn a_day_without_input_costs_nothing() {
    let mut limits = limits();
    limits.compaction.keep_recent_tokens = 100;
    for agent in limits.agents.values_mut() {
        agent.archive_after = Some(HOUR);
    }
    let mut bench = Bench::new(limits);
    let (parent, children) = split(&mut bench);
    for child in children {
        bench.say(child, "found");
    }
    bench.say(parent, "both found it");
    assert_eq!(bench.phase(parent), Phase::Ended(Outcome::Completed));
    for text in ["one", "two"] {
        let session = key(&format!("agent:main:thread:{text}"));
        bench.send(&session, &format!("{text} {}", "and so on ".repeat(100)));
        let run = bench.open(&session);
        let look = sim::script::external("x", EffectClass::Opaque);
        bench.answer(run, "", vec![look]);
        bench.tool_done(run);
        bench.say(run, "seen");
    }
    let session = key("agent:main:thread:stopped");
    bench.send(&session, "begin");
    bench.apply(Event::Stop { session, run: None, by: "owner".to_owned() });

    let before = model_steps(&bench);
    assert!(before >= 8, "{before} calls: nothing was done");
    assert!(bench.disk.world.runs.iter().all(|run| run.phase.ended()), "something is open");
    for hour in 0..24 {
        bench.pass(HOUR);
        assert_eq!(asked(&bench), [], "hour {hour}");
        if hour % 6 == 5 {
            bench.restart();
            assert_eq!(asked(&bench), [], "the start of hour {hour}");
        }
    }
    assert_eq!(model_steps(&bench), before);
    assert!(bench.disk.world.runs.iter().all(|run| run.phase.ended()));
}

/// What wakes a run is new to its model in one prompt, and in no other: also if the gateway is
/// started anew between any two of the steps.
#[test]
fn what_wakes_a_run_is_in_one_prompt() {
    for restart_after in 0..5 {
        let mut bench = Bench::new(limits());
        let mut prompts: Vec<ModelCall> = Vec::new();
        let (parent, children) = split(&mut bench);
        prompts.extend(asked(&bench));
        let mut step = 0;
        let mut then = |bench: &mut Bench, prompts: &mut Vec<ModelCall>| {
            prompts.extend(asked(bench));
            if step == restart_after {
                bench.restart();
                prompts.extend(asked(bench));
            }
            step += 1;
        };
        then(&mut bench, &mut prompts);
        bench.say(children[0], "a is found");
        then(&mut bench, &mut prompts);
        bench.say(children[1], "b is found");
        then(&mut bench, &mut prompts);
        bench.say(parent, "both");
        then(&mut bench, &mut prompts);
        bench.send(&main_session(), "and now?");
        prompts.extend(asked(&bench));
        let last = bench.open(&main_session());
        bench.say(last, "nothing more");
        then(&mut bench, &mut prompts);

        let session = prompts.iter().find(|call| call.run == parent).unwrap().session_id;
        let entries = bench.disk.world.entries.iter();
        let woken: Vec<i64> = entries
            .filter(|entry| entry.session_id == session && entry.kind == EntryKind::Announce)
            .map(|entry| entry.seq)
            .collect();
        assert_eq!(woken.len(), 2, "restart after {restart_after}");
        // A call that a restart has cut is made again, and is the same prompt.
        let mut seen: Vec<(i64, i64)> = Vec::new();
        let mut before = 0;
        for call in prompts.iter().filter(|call| call.session_id == session) {
            let shown = bench.disk.shown(call);
            let newest = shown.iter().map(|(entry, _)| entry.seq).max().unwrap();
            if newest > before {
                seen.push((before, newest));
                before = newest;
            }
        }
        for seq in woken {
            let new = seen.iter().filter(|(after, to)| *after < seq && seq <= *to).count();
            assert_eq!(new, 1, "entry {seq}, restart after {restart_after}: {seen:?}");
        }
        let own = prompts.iter().filter(|call| call.session_id == session).count();
        // Woken, and asked again; and once more if the restart met the call.
        assert_eq!(own, 2 + usize::from(restart_after == 2), "restart after {restart_after}");
    }
}
