//! The loop guard: what is repeated without end is blocked, and what is not is left alone.

use machine::Event;
use machine::event::{CallPlan, ToolDone};
use machine::policy::AgentRules;
use machine::rows::{Outcome, StepKind, StepState};
use machine::{Action, Limits};
use serde_json::Value;
use sim::plan::limits;
use sim::script::{external, internal, refused, spawn};
use types::{AgentId, EffectClass, InternalCall, RunId};

use crate::bench::{Bench, main_session};

fn started(limits: Limits) -> (Bench, RunId) {
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    (bench, run)
}

/// The model makes the one call that it makes; says whether it was begun.
fn ask(bench: &mut Bench, run: RunId, n: u32, effect: EffectClass) -> bool {
    bench.answer(run, "", vec![external(&format!("c{n}"), effect)]);
    bench.done.actions.iter().any(|action| matches!(action, Action::StartTool(_)))
}

fn ends_with(bench: &mut Bench, run: RunId, text: &str) {
    let mut steps = bench.disk.world.steps.iter();
    let open = |step: &&machine::rows::Step| {
        step.run == run && step.kind == StepKind::Tool && step.state == StepState::Intent
    };
    let (step, token) = (steps.find(open).expect("a tool is out").n, bench.token(run));
    let result =
        ToolDone { text: text.to_owned(), is_error: false, unknown: false, background: false };
    bench.apply(Event::ToolFinished { run, token, step, result });
}

#[test]
fn the_fourth_of_the_same_is_blocked_also_after_a_restart() {
    let (mut bench, run) = started(limits());
    for n in 0..3 {
        assert!(ask(&mut bench, run, n, EffectClass::Opaque), "call {n}");
        ends_with(&mut bench, run, "nothing new");
        bench.restart();
    }
    assert!(!ask(&mut bench, run, 3, EffectClass::Opaque));
    let Value::String(why) = bench.result(run, "c3") else { panic!("a sentence") };
    assert!(why.starts_with("Blocked: `opaque` was called 3 times"), "{why}");
    assert!(why.contains("tools.loopDetection.maxRepeats is 3"), "{why}");
    let told = bench.done.notices.iter().any(|notice| notice.line().0 == "tool.blocked");
    assert!(told, "{:?}", bench.done.notices);
    // It goes on asking, and is ended: each of its answers costs money.
    assert!(!ask(&mut bench, run, 4, EffectClass::Opaque));
    assert!(!ask(&mut bench, run, 5, EffectClass::Opaque));
    let row = bench.run(run);
    assert_eq!(row.phase, machine::run::Phase::Ended(Outcome::Failed));
    let error = row.error.clone().unwrap();
    assert!(error.contains("loop guard") && error.contains("maxRepeats"), "{error}");
}

#[test]
fn another_result_begins_anew() {
    let (mut bench, run) = started(limits());
    for n in 0..12 {
        assert!(ask(&mut bench, run, n, EffectClass::Pure), "call {n}");
        ends_with(&mut bench, run, &format!("state {}", n / 2));
    }
}

#[test]
fn what_looks_may_look_again_when_something_was_changed() {
    let (mut bench, run) = started(limits());
    for n in 0..3 {
        assert!(ask(&mut bench, run, n, EffectClass::Pure));
        ends_with(&mut bench, run, "the same");
    }
    assert!(ask(&mut bench, run, 3, EffectClass::Opaque));
    ends_with(&mut bench, run, "changed");
    assert!(ask(&mut bench, run, 4, EffectClass::Pure));
    ends_with(&mut bench, run, "the same");
}

#[test]
fn an_order_from_outside_begins_anew() {
    let (mut bench, run) = started(limits());
    for n in 0..3 {
        assert!(ask(&mut bench, run, n, EffectClass::Opaque));
        ends_with(&mut bench, run, "the same");
    }
    bench.say(run, "done");
    bench.send(&main_session(), "and again, please");
    let run = bench.open(&main_session());
    assert!(ask(&mut bench, run, 0, EffectClass::Opaque));
}

#[test]
fn the_same_call_many_times_in_one_answer_is_made_as_often_as_it_may() {
    let (mut bench, run) = started(limits());
    let calls = (0..5).map(|n| external(&format!("c{n}"), EffectClass::Pure)).collect();
    bench.answer(run, "", calls);
    let starts = bench.done.actions.iter();
    assert_eq!(starts.filter(|action| matches!(action, Action::StartTool(_))).count(), 3);
}

#[test]
fn an_agent_can_be_let_off() {
    let mut free = limits();
    let rules = AgentRules { repeats_max: None, ..AgentRules::default() };
    free.tools.agents.insert(AgentId::main(), rules);
    let (mut bench, run) = started(free);
    for n in 0..20 {
        assert!(ask(&mut bench, run, n, EffectClass::Opaque), "call {n}");
        ends_with(&mut bench, run, "the same");
    }
}

#[test]
fn naming_what_is_not_there_for_ever_ends_too() {
    let (mut bench, run) = started(limits());
    for n in 0..6 {
        bench.answer(run, "", vec![refused(&format!("c{n}"))]);
        let Value::String(why) = bench.result(run, &format!("c{n}")) else { panic!() };
        assert!(why.starts_with("There is no tool `none`"), "{why}");
    }
    assert_eq!(bench.phase(run), machine::run::Phase::Ended(Outcome::Failed));
}

#[test]
fn a_wait_that_is_granted_is_no_repetition() {
    let (mut bench, run) = started(limits());
    for n in 0..8 {
        bench.call(run, &format!("s{n}"), InternalCall::spawn(spawn(format!("part {n}"))));
        let request = sim::script::wait(types::WaitFor::All);
        let mut call = internal(&format!("y{n}"), InternalCall::Yield(request));
        call.name = "sessions_yield".to_owned();
        assert!(matches!(call.plan, CallPlan::Internal(_)));
        bench.answer(run, "", vec![call]);
        let child = bench.tasks().last().unwrap().run;
        bench.say(child, "done");
        assert!(!bench.phase(run).ended(), "wait {n}");
    }
}

/// Fan-out ends at the caps, and the model is told which and how to go on.
#[test]
fn a_model_that_always_spawns_stops_at_the_cap_and_is_told() {
    let mut small = limits();
    (small.children_max, small.tasks_per_tree_max) = (100, 7);
    let (mut bench, run) = started(small);
    let mut refusals = 0;
    for n in 0..12 {
        let told = bench.call(run, &format!("s{n}"), InternalCall::spawn(spawn(format!("{n}"))));
        if told["code"] == "tree_exceeded" {
            refusals += 1;
            let why = told["error"].as_str().unwrap();
            assert!(why.contains("maxTasksPerTree") && why.contains('7'), "{why}");
        }
        if bench.phase(run).ended() {
            break;
        }
    }
    assert_eq!(bench.tasks().len(), 7);
    assert!(refusals >= 3, "{refusals}");
}
