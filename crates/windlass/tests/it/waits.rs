//! Waiting for children: in every way, at every depth, with the plug pulled in the middle.

use machine::Limits;
use machine::check::World;
use machine::rows::{LaneName, Outcome};
use machine::run::{Phase, WaitKind};
use serde_json::json;
use stub::{Fault, FaultRule, Plan};

use crate::house::{House, late};
use crate::judge;
use crate::look::{run_of, task_of, until};

/// Children that end soon are called so; before the kill the stub does not answer them.
const QUICK: &str = "quick";

/// A way to wait: how the parent is called that waits so, what it does, how many children it has,
/// and how many answers of its model that takes, if it wakes once.
struct Way {
    name: &'static str,
    plan: Plan,
    children: usize,
    calls: usize,
}

fn quick() -> Plan {
    Plan::new().say("<{name}>")
}

/// A child that does not end by itself.
fn slow() -> Plan {
    late(3_600_000, "never said")
}

/// Ends the child that is still out, and answers.
fn end(plan: Plan, child: &str) -> Plan {
    plan.call("subagents", json!({ "action": "kill", "target": child })).say("<{name}>")
}

fn ways() -> Vec<Way> {
    let two = |slow_one: &str| Plan::new().spawn([(QUICK, quick()), (slow_one, slow())]);
    let listed = Plan::new().spawn([("slow-list", slow())]).spawn([(QUICK, quick())]);
    let newest = json!({ "$result": { "name": "sessions_spawn", "pointer": "/taskId" } });
    let listed = listed.call("sessions_yield", json!({ "waitFor": [newest] }));
    let three = Plan::new().spawn([("slow-two", slow())]).spawn_many(2, QUICK, quick());
    let three = three.yield_with(json!({ "atLeast": 2 }));
    let bounded = Plan::new().spawn([("slow-time", slow())]);
    let bounded = bounded.yield_with(json!({ "timeoutSeconds": 25 }));
    vec![
        Way {
            name: "every",
            plan: Plan::new().spawn_many(2, QUICK, quick()).yield_().say("<{name}> [{results}]"),
            children: 2,
            calls: 3,
        },
        Way {
            name: "any",
            plan: end(two("slow-any").yield_with(json!({ "waitFor": "any" })), "slow-any"),
            children: 2,
            calls: 4,
        },
        Way {
            name: "message",
            plan: end(two("slow-mess").yield_with(json!({ "waitFor": "message" })), "slow-mess"),
            children: 2,
            calls: 4,
        },
        Way { name: "list", plan: end(listed, "slow-list"), children: 2, calls: 5 },
        Way { name: "two", plan: end(three, "slow-two"), children: 3, calls: 5 },
        Way { name: "time", plan: end(bounded, "slow-time"), children: 1, calls: 4 },
    ]
}

/// Parents at `depth` that wait in each way, below as many who wait for all.
fn tree(depth: u32) -> Plan {
    let parents = ways().into_iter().map(|way| (way.name, way.plan));
    let mut plan = Plan::new().spawn(parents.collect::<Vec<_>>()).yield_().say("{results}");
    for _ in 1..depth {
        plan = Plan::new().spawn([("above", plan)]).yield_().say("{results}");
    }
    Plan { name: "root".to_owned(), ..plan }
}

fn waits_for_children(world: &World, name: &str) -> bool {
    run_of(world, name).is_some_and(|run| run.phase == Phase::Waiting(WaitKind::Children))
}

/// Everyone waits and nobody of them holds a slot; the gateway is killed; each wakes once.
async fn waits_at(depth: u32, wire: &str) {
    let mut house = House::build(wire, |config| {
        config["agents"]["defaults"]["subagents"] =
            json!({ "maxConcurrent": 40, "maxChildrenPerAgent": 10 });
    })
    .await;
    let hold = FaultRule::always(Fault::Latency { ms: 3_600_000 });
    house.stub.set_faults(vec![FaultRule { contains: Some(format!(".{QUICK}")), ..hold }]);
    house.start().await;
    let brief = tree(depth).to_brief();
    let mut asking = house.command(&["agent", "--message", &brief, "--idempotency-key", "job"]);
    let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());

    let out: usize = ways().iter().map(|way| way.children).sum();
    let world = until(&house, "all wait, and all their children are asked", |world| {
        let all = ways().iter().all(|way| waits_for_children(world, way.name));
        all && world.runs.iter().filter(|run| run.slot.is_some()).count() == out
    })
    .await;
    let waiting = ways().len() + depth as usize;
    assert_eq!(world.runs.len(), waiting + out);
    for run in world.runs.iter().filter(|run| matches!(run.phase, Phase::Waiting(_))) {
        assert!(run.slot.is_none() && run.node.is_none(), "{run:?} waits with a slot");
    }
    let status = house.json(&["status", "--json"]).await.remove(0);
    assert_eq!(status["runs"]["waiting"], waiting, "{status}");
    let busy = |lane: &str| {
        let lanes = status["lanes"].as_array().unwrap();
        lanes.iter().find(|row| row["name"] == lane).unwrap()["busy"].clone()
    };
    assert_eq!((busy("main"), busy("subagent")), (json!(0), json!(out)), "{status}");

    house.kill();
    house.stub.set_faults(Vec::new());
    house.start().await;
    let output = asked.await.unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{answer}\n{}", house.log());
    for way in ways() {
        let name = format!(".{}>", way.name);
        assert_eq!(answer.matches(&name).count(), 1, "{name} in {answer}");
    }
    assert_eq!(answer.matches(&format!(".every.{QUICK}-")).count(), 2, "{answer}");
    house.quiet().await;
    let world = judge::all_is_well(&house, &Limits::default()).await;
    for way in ways() {
        let task = task_of(&world, way.name);
        assert_eq!((task.depth, task.outcome), (depth, Some(Outcome::Completed)), "{}", way.name);
        let calls = world.ledger.iter().filter(|row| row.run == task.run && !row.estimated);
        assert_eq!(calls.count(), way.calls, "`{}` at depth {depth} on {wire}", way.name);
    }
    each_waits_once_in_its_place(&world);
}

/// Whoever waited for all woke once: it was asked before, for its yield, and at its end. And a
/// result goes one level up and no further.
fn each_waits_once_in_its_place(world: &World) {
    for run in &world.runs {
        let above = run.task.is_none()
            || world
                .tasks
                .iter()
                .any(|task| task.run == run.id && task.task_name.as_deref() == Some("above"));
        if above {
            let calls = world.ledger.iter().filter(|row| row.run == run.id && !row.estimated);
            assert_eq!(calls.count(), 3, "{} woke more than once", run.session_key);
        }
    }
    for task in &world.tasks {
        let requester = world.sessions.iter().find(|s| s.key == task.requester_key).unwrap();
        assert_eq!(requester.depth + 1, task.depth, "{} announces to another level", task.id);
    }
}

#[tokio::test]
async fn at_depth_one_each_wakes_once_around_a_kill() {
    waits_at(1, "anthropic-messages").await;
}

#[tokio::test]
async fn at_depth_two_each_wakes_once_around_a_kill() {
    waits_at(2, "openai-completions").await;
}

#[tokio::test]
async fn at_depth_three_each_wakes_once_around_a_kill() {
    waits_at(3, "anthropic-messages").await;
}

#[tokio::test]
async fn at_depth_four_each_wakes_once_around_a_kill() {
    waits_at(4, "openai-completions").await;
}

/// A tree down to the last depth, with one slot in each lane: nobody who waits holds it, so it
/// ends, also with a kill when the deepest has begun.
#[tokio::test]
async fn a_tree_of_depth_five_ends_with_one_slot_in_each_lane() {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["defaults"]["maxConcurrent"] = json!(1);
        config["agents"]["defaults"]["subagents"] = json!({ "maxConcurrent": 1 });
    })
    .await;
    house.start().await;
    let leaf = Plan::new().say("<{name}>");
    let mut plan = Plan::new().say("<{name}>").after_ms(1_500);
    for depth in (1..=5).rev() {
        let deep = format!("d{depth}");
        plan = Plan::new().spawn([(deep.as_str(), plan), ("leaf", leaf.clone())]);
        plan = plan.yield_().say("<{name}> {results}");
    }
    let brief = Plan { name: "root".to_owned(), ..plan }.to_brief();
    let mut asking = house.command(&["agent", "--message", &brief, "--idempotency-key", "job"]);
    let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
    until(&house, "the deepest is at work", |world| {
        run_of(world, "d5").is_some_and(|run| run.slot.is_some())
    })
    .await;
    house.kill();
    house.start().await;
    let output = asked.await.unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    let mut path = "root".to_owned();
    for depth in 1..=5 {
        assert_eq!(answer.matches(&format!("<{path}.leaf>")).count(), 1, "{answer}");
        path += &format!(".d{depth}");
        assert_eq!(answer.matches(&format!("<{path}>")).count(), 1, "{answer}");
    }
    let lanes = [LaneName::Main, LaneName::Subagent, LaneName::Cron].map(|lane| (lane, 1)).into();
    let limits = Limits { lanes, ..Limits::default() };
    judge::all_is_well(&house, &limits).await;
}
