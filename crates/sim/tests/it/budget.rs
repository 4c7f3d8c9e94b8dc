//! Budgets: set aside before a call, settled after it; a cap ends a task, or waits for a person.

use std::time::Duration;

use machine::limits::{Budgets, Rate};
use machine::rows::{BudgetKey, BudgetRow, LaneName, Outcome, StepKind, StepState};
use machine::run::{Phase, WaitKind};
use machine::{Answer, Event, Limits};
use serde_json::json;
use sim::plan::limits;
use sim::script::spawn;
use types::{
    Budget, FlowRequest, FlowTask, InternalCall, MicroUsd, Price, RunId, SessionKey, SpawnRequest,
    Spend,
};

use crate::bench::{Bench, key, main_session};

const FOR_MONEY: Phase = Phase::Waiting(WaitKind::Budget);

/// A dollar for a million tokens in, ten for a million out; ten tokens of answer at most.
fn priced() -> Limits {
    let mut limits = limits();
    let (input, output) = (MicroUsd(1_000_000), MicroUsd(10_000_000));
    let price = Price { input, output, cache_read: MicroUsd(100_000), cache_write: input };
    limits.rates.insert("m".to_owned(), Rate { price: Some(price), output_max: 10 });
    limits.price_ids.insert("m".to_owned(), "config:m:1/10/0.1/1".to_owned());
    limits.lanes.insert(LaneName::Subagent, 100);
    limits.children_max = 100;
    limits
}

fn tokens(count: u64) -> Budget {
    Budget { usd: None, tokens: Some(count) }
}

fn row<'b>(bench: &'b Bench, key: &str) -> &'b BudgetRow {
    let key: BudgetKey = key.parse().expect("a budget");
    bench.disk.world.budgets.iter().find(|row| row.key == key).expect("there is such a budget")
}

fn raise(bench: &mut Bench, key: &str, count: u64) -> Answer {
    let more = Spend { usd: MicroUsd(0), tokens: count };
    let budget = key.parse().expect("a budget");
    bench.apply(Event::RaiseBudget { budget, by: "owner".to_owned(), more })
}

fn calls_out(bench: &Bench) -> Vec<RunId> {
    let steps = bench.disk.world.steps.iter();
    let out = steps.filter(|s| s.kind == StepKind::Model && s.state == StepState::Intent);
    out.map(|step| step.run).collect()
}

fn spawned(bench: &mut Bench, run: RunId, id: &str, request: SpawnRequest) -> SessionKey {
    let told = bench.call(run, id, InternalCall::spawn(request));
    assert_eq!(told["status"], "accepted", "{told}");
    key(told["childSessionKey"].as_str().expect("a key"))
}

#[test]
fn what_a_call_costs_is_in_the_ledger() {
    let mut bench = Bench::new(priced());
    bench.send(&main_session(), "hello");
    let run = bench.open(&main_session());
    bench.say(run, "hi");
    let [paid] = &bench.disk.world.ledger[..] else { panic!("one call") };
    // 100 in, 10 out, 1 written to the cache.
    assert_eq!((paid.cost, paid.priced), (MicroUsd(100 + 100 + 1), true));
    assert_eq!(paid.price_id.as_deref(), Some("config:m:1/10/0.1/1"));
    assert_eq!(bench.run(run).cost, paid.cost);
}

/// What is set aside for one call keeps another from going out; its end lets that go.
#[test]
fn calls_that_are_out_take_room() {
    let mut limits = priced();
    // Room for one prompt of some ten tokens with its answer, and not for two at a time.
    limits.budgets.day = tokens(140);
    let mut bench = Bench::new(limits);
    let day = "day:2023-11-14";
    let (one, two) = (key("agent:main:thread:a"), key("agent:main:thread:b"));
    bench.send(&one, &"x".repeat(280));
    bench.send(&two, &"x".repeat(280));
    let (first, second) = (bench.open(&one), bench.open(&two));
    bench.pin(first);
    bench.pin(second);
    assert_eq!(calls_out(&bench), [first]);
    assert_eq!(bench.phase(second), FOR_MONEY);
    assert!(bench.run(second).slot.is_none(), "who waits holds no slot");
    assert!(row(&bench, day).reserved.tokens > 70);
    // The call takes more than the rest of the day: nothing goes out any more.
    bench.say(first, "done");
    assert_eq!(row(&bench, day).reserved, Spend::default());
    assert_eq!((bench.phase(second), calls_out(&bench).len()), (FOR_MONEY, 0));
    // The owner allows more, and it goes on.
    let told = raise(&mut bench, day, 500);
    assert!(matches!(told, Answer::Told { is_error: false, .. }), "{told:?}");
    assert_eq!(calls_out(&bench), [second]);
}

/// The cap of a day is over with the day.
#[test]
fn a_day_ends() {
    let mut limits = priced();
    limits.budgets = Budgets { day: tokens(5), ..Budgets::default() };
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "hello");
    let run = bench.open(&main_session());
    bench.pin(run);
    assert_eq!(bench.phase(run), FOR_MONEY, "not even one call fits");
    bench.limits.budgets.day = tokens(1_000);
    bench.pass(Duration::from_secs(24 * 60 * 60));
    bench.apply(Event::Tick);
    assert_eq!(calls_out(&bench), [run]);
}

/// Caps come from the configuration: a start with a larger one lets those go who wait.
#[test]
fn a_restart_with_a_larger_cap_goes_on() {
    let mut limits = priced();
    limits.budgets.tree = tokens(5);
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "hello");
    let run = bench.open(&main_session());
    bench.pin(run);
    assert_eq!(bench.phase(run), FOR_MONEY);
    bench.limits.budgets.tree = tokens(1_000);
    bench.restart();
    bench.pass(Duration::ZERO);
    assert_eq!(calls_out(&bench), [run]);
}

/// What an agent has given its child ends the child, with what it has said so far; the parent
/// hears of it and goes on.
#[test]
fn a_task_over_its_budget_hands_in_what_it_has() {
    let mut bench = Bench::new(priced());
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    let request = SpawnRequest { budget: Some(tokens(150)), ..spawn("work") };
    let child = spawned(&mut bench, parent, "s", request);
    let run = bench.open(&child);
    bench.answer(run, "half of it", vec![sim::script::refused("x")]);
    let task = &bench.tasks()[0];
    assert_eq!(task.outcome, Some(Outcome::Failed));
    let class = bench.run(run).error_class.expect("a class");
    assert_eq!(class.as_str(), "budget");
    let heard = bench.body(&main_session(), "announce:");
    assert!(heard.contains("its budget is used up"), "{heard}");
    assert!(heard.contains("half of it"), "{heard}");
    assert!(matches!(bench.phase(parent), Phase::AwaitingModel), "the parent goes on");
}

/// A child cannot be given more than its parent has left, and nothing is begun with nothing left.
#[test]
fn a_budget_is_clamped_to_what_is_left_above() {
    let mut bench = Bench::new(priced());
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    let request = SpawnRequest { budget: Some(tokens(400)), ..spawn("work") };
    let child = spawned(&mut bench, parent, "s", request);
    let run = bench.open(&child);
    let request = SpawnRequest { budget: Some(tokens(1_000)), ..spawn("less") };
    let told = bench.call(run, "s2", InternalCall::spawn(request));
    assert_eq!(told["status"], "accepted");
    // 111 tokens of the first call are gone, and nothing is out.
    assert_eq!(told["budget"], json!({ "tokens": 400 - 111 }));
}

#[test]
fn dollars_need_a_price() {
    let mut limits = priced();
    limits.rates.clear();
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    let cap = Budget { usd: Some(MicroUsd(1)), tokens: None };
    let request = SpawnRequest { budget: Some(cap), ..spawn("work") };
    let told = bench.call(run, "s", InternalCall::spawn(request));
    assert_eq!(told["code"], "invalid_argument", "{told}");
    assert!(told["error"].as_str().unwrap().contains("models[].cost"), "{told}");
}

#[test]
fn a_used_up_budget_refuses_the_spawn() {
    let mut limits = priced();
    limits.budgets.tree = tokens(111);
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    let told = bench.call(run, "s", InternalCall::spawn(spawn("work")));
    assert_eq!(told["code"], "budget_exceeded", "{told}");
    assert!(told["error"].as_str().unwrap().contains("budget.tree"), "{told}");
}

/// Guarantee 9: fifty children spend in parallel under one cap of a tree.
#[test]
fn fifty_children_do_not_break_a_cap() {
    let mut limits = priced();
    // More than a scripted model answers, so that what is set aside is no guess.
    limits.rates.get_mut("m").expect("the model").output_max = 100;
    let cap = MicroUsd(8_000);
    limits.budgets.tree = Budget { usd: Some(cap), tokens: None };
    let mut bench = Bench::new(limits);
    bench.send(&main_session(), "go");
    let parent = bench.open(&main_session());
    let spawns = (0..50).map(|n| {
        let request = spawn(format_args!("work {n}"));
        sim::script::internal(&format!("s{n}"), InternalCall::spawn(request))
    });
    bench.answer(parent, "", spawns.collect());
    loop {
        let world = &bench.disk.world;
        let pin = world.runs.iter().find(|run| run.phase == Phase::Preparing).map(|run| run.id);
        if let Some(run) = pin {
            bench.pin(run);
            continue;
        }
        let row = row(&bench, "tree:agent:main:main");
        assert!((row.spent + row.reserved).usd <= cap, "{row:?}");
        let Some(run) = calls_out(&bench).into_iter().find(|run| *run != parent) else { break };
        bench.say(run, "done");
    }
    let row = row(&bench, "tree:agent:main:main");
    assert!(row.spent.usd <= cap && row.spent.usd.0 > cap.0 / 2, "{row:?}");
    let waiting = bench.disk.world.runs.iter().filter(|run| run.phase == FOR_MONEY).count();
    assert!(waiting > 0, "the rest waits for the owner");
}

/// The cap of a flow is that of all its tasks; the cap of one is its own.
#[test]
fn a_flow_has_a_budget() {
    let mut bench = Bench::new(priced());
    bench.send(&main_session(), "go");
    let run = bench.open(&main_session());
    let task = |name: &str, budget| FlowTask {
        budget,
        ..FlowTask::of(name.parse().unwrap(), &format!("do {name}"))
    };
    let mut flow = FlowRequest::of("f", vec![task("a", Some(tokens(10))), task("b", None)]);
    flow.budget = Some(tokens(5_000));
    let told = bench.call(run, "f", InternalCall::StartFlow(Box::new(flow)));
    assert_eq!(told["status"], "accepted", "{told}");
    let b = bench.disk.world.flow_nodes[1].task.expect("it was started");
    let b = bench.tasks().iter().find(|task| task.id == b).unwrap().session_key.clone();
    let a = bench.disk.world.flow_nodes[0].task.expect("it was started");
    let a = bench.tasks().iter().find(|task| task.id == a).unwrap().run;
    bench.pin(a);
    let state = |bench: &Bench, n: usize| bench.disk.world.flow_nodes[n].state.as_str();
    assert_eq!(state(&bench, 0), "failed", "not one call fits into 10 tokens");
    let b = bench.open(&b);
    bench.say(b, "done");
    assert_eq!(state(&bench, 1), "completed");
    let flow = bench.tasks().iter().find(|task| task.flow.is_some() && task.node.is_none());
    let flow = BudgetKey::task(flow.unwrap().id).to_string();
    assert_eq!(row(&bench, &flow).spent.tokens, 111);
}
