//! The main job: a person asks, children work, the answer comes once.

use serde_json::json;
use stub::Plan;

use crate::house::{House, WIRES, late};
use crate::judge;

/// A child that uses its tools and then answers.
fn worker() -> Plan {
    Plan::new()
        .call("write", json!({ "path": "notes.md", "content": "notes" }))
        .calls([
            ("exec", json!({ "command": "printf '%s' done" })),
            ("read", json!({ "path": "." })),
        ])
        .say("<{name}>")
}

/// "Research A, analyse B, draft C": three children at the same time, one answer.
#[tokio::test]
async fn three_children_and_one_answer_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let brief = Plan::named("root")
            .spawn([("research", worker()), ("analyse", worker()), ("draft", worker())])
            .yield_()
            .say("all {count}: {results}")
            .to_brief();

        let answer = house.ask(&brief).await;

        for child in ["root.research", "root.analyse", "root.draft"] {
            assert_eq!(answer.matches(&format!("<{child}>")).count(), 1, "{answer}");
        }
        let world = judge::all_is_well(&house, &Default::default()).await;
        // The parent was called three times (spawn, yield, answer): it woke once, for all.
        let main = world.runs.iter().find(|run| run.task.is_none()).unwrap();
        let calls = world.ledger.iter().filter(|row| row.run == main.id).count();
        assert_eq!(calls, 3, "the parent woke more than once");
    }
}

/// A fresh child's context holds the stable prefix and its brief, and nothing else; and the
/// prefix of the second child is read from the cache.
#[tokio::test]
async fn a_child_starts_on_a_warm_prefix_with_its_brief_alone() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let leaf = Plan::new().say("ok");
    let brief = Plan::named("root").say("first a secret: 4711").to_brief();
    house.ask(&brief).await;
    let brief = Plan::named("root")
        .spawn([("one", leaf.clone())])
        .yield_()
        .spawn([("two", leaf)])
        .yield_()
        .say("{results}")
        .to_brief();
    house.ask(&brief).await;

    let journal = house.stub.journal();
    let children: Vec<_> =
        journal.requests.iter().filter(|entry| entry.messages == 1).skip(1).collect();
    assert_eq!(children.len(), 2, "two children, of one message each");
    assert_eq!(children[0].prefix_hash, children[1].prefix_hash);
    for child in &children {
        assert!(!child.newest_text.contains("4711"), "the parent's words are in the brief");
    }
    let usage = serde_json::to_value(children[1].usage).unwrap();
    assert!(usage["cacheRead"].as_u64().unwrap() > 0, "the prefix was not read: {usage}");
}

/// Twenty children of one parent, with the limits raised.
#[tokio::test]
async fn twenty_children() {
    for wire in WIRES {
        let mut house = House::build(wire, |config| {
            config["agents"]["defaults"]["subagents"] = json!({ "maxChildrenPerAgent": 20 });
        })
        .await;
        house.start().await;
        let brief = Plan::named("root")
            .spawn_many(20, "leaf", Plan::new().say("<{name}>"))
            .yield_()
            .say("{results}")
            .to_brief();

        let answer = house.ask(&brief).await;

        for n in 1..=20 {
            assert_eq!(answer.matches(&format!("<root.leaf-{n}>")).count(), 1, "{answer}");
        }
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// Results climb one level at a time, from depth three.
#[tokio::test]
async fn a_tree_of_depth_three() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let leaf = Plan::new().say("<{name}>");
        let middle =
            Plan::new().spawn([("x", leaf.clone()), ("y", leaf)]).yield_().say("{results}");
        let top = Plan::new().spawn([("m", middle)]).yield_().say("{results}");
        let brief = Plan::named("r").spawn([("a", top.clone()), ("b", top)]).yield_();
        let brief = brief.say("{results}").to_brief();

        let answer = house.ask(&brief).await;

        for leaf in ["r.a.m.x", "r.a.m.y", "r.b.m.x", "r.b.m.y"] {
            assert_eq!(answer.matches(&format!("<{leaf}>")).count(), 1, "{answer}");
        }
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// A child fails, one never ends, one is stopped: the parent is told of each by the machine's
/// word, and still answers.
#[tokio::test]
async fn a_child_that_fails_one_that_never_ends_and_one_that_is_stopped() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let failing = Plan::new().say("never said").failing(400, 100);
        let hanging = late(600_000, "never said");
        let brief = Plan::named("root")
            .spawn([
                ("bad", failing),
                ("good", Plan::new().say("fine")),
                ("stopped", hanging.clone()),
            ])
            .step(slow_child(hanging))
            .call("subagents", json!({ "action": "kill", "target": "stopped" }))
            .yield_()
            .say("{count} are back")
            .to_brief();

        let answer = house.ask(&brief).await;

        assert_eq!(answer.trim(), "4 are back");
        let world = judge::all_is_well(&house, &Default::default()).await;
        let outcome = |name: &str| {
            let task = world.tasks.iter().find(|task| task.task_name.as_deref() == Some(name));
            task.and_then(|task| task.outcome).map(|outcome| outcome.as_str())
        };
        assert_eq!(outcome("good"), Some("completed"));
        assert_eq!(outcome("bad"), Some("failed"));
        assert_eq!(outcome("slow"), Some("timed_out"));
        assert_eq!(outcome("stopped"), Some("cancelled"));
    }
}

/// A child with a deadline of two seconds.
fn slow_child(plan: Plan) -> stub::Step {
    let mut spawning = Plan::new().spawn([("slow", plan)]);
    let mut step = spawning.steps.remove(0);
    step.spawn[0].args.insert("runTimeoutSeconds".to_owned(), json!(2));
    step
}

/// Results enter a quarter of the context window at a time; the person still gets one answer, for
/// all of them.
#[tokio::test]
async fn results_that_do_not_fit_at_once_still_make_one_answer() {
    let mut house = House::build("anthropic-messages", |config| {
        let model = json!({ "id": "stub-1", "contextWindow": 16_000, "maxTokens": 50_000 });
        config["models"]["providers"]["stub"]["models"] = json!([model]);
        // The stub's own window is larger, and this story is not about that.
        config["agents"]["defaults"]["compaction"] = json!({ "enabled": false });
        config["agents"]["defaults"]["subagents"] = json!({ "maxChildrenPerAgent": 6 });
    })
    .await;
    house.start().await;
    let long = format!("<{{name}}>{}", "x".repeat(3_000));
    let brief = Plan::named("r")
        .spawn_many(6, "leaf", Plan::new().say(&long))
        .yield_()
        .say("{count} so far")
        .repeated(6)
        .to_brief();

    let answer = house.ask(&brief).await;

    assert_eq!(answer.trim(), "6 so far");
    let world = judge::all_is_well(&house, &Default::default()).await;
    let people = world.runs.iter().filter(|run| run.task.is_none()).count();
    assert_eq!(people, 1, "the results that were left out have opened another run");
}
