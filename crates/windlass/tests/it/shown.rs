//! What people see beside answers: plans, words while an agent works, thoughts, and the bill.

use serde_json::{Value, json};
use stub::{Options, Plan, Stub};

use crate::house::House;
use crate::live::Live;
use crate::look;

async fn house() -> House {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    house
}

fn plan(statuses: [&str; 2]) -> Value {
    let [look, draw] = statuses;
    json!({ "plan": [{ "step": "look", "status": look }, { "step": "draw", "status": draw }] })
}

#[tokio::test]
async fn a_plan_is_shown_as_it_changes_and_kept() {
    let mut house = house().await;
    let brief = Plan::new()
        .call("progress_card", plan(["in_progress", "pending"]))
        .call("progress_card", plan(["completed", "in_progress"]))
        .say("done")
        .to_brief();
    let output = house.run_with_stdin(&["chat"], &format!("{brief}\n")).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let (first, second) = ("[>] look\n[ ] draw\n", "[x] look\n[>] draw\n");
    let at = told.find(first).unwrap_or_else(|| panic!("{told}\n{}", house.log()));
    assert!(told[at..].contains(second), "{told}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "done\n");

    house.kill();
    house.start().await;
    let status = house.ask("/status").await;
    assert!(status.contains(second.trim_end()), "{status}");
    let mut live = Live::connect(&house).await;
    let main = json!({ "sessionKey": "main" });
    let shown = live.call("progressCard.get", main.clone()).await;
    assert_eq!(shown["card"], plan(["completed", "in_progress"]), "{shown}");
    assert_eq!(
        (&shown["sessionKey"], &shown["agentId"]),
        (&json!("agent:main:main"), &json!("main"))
    );
    let nobody = json!({ "sessionKey": "thread:nobody" });
    let (told, code) = live.refused("progressCard.get", nobody).await;
    assert!(told.contains("no session agent:main:thread:nobody") && code == "INVALID_REQUEST");
    house.ask("/new").await;
    assert!(!house.ask("/status").await.contains("look"));
    assert_eq!(live.call("progressCard.get", main).await["card"], Value::Null);
}

/// A child's plan is seen from outside while it works.
#[tokio::test]
async fn the_plan_of_a_child_is_seen_by_who_looks_at_its_task() {
    let house = house().await;
    let child = Plan::new()
        .call("progress_card", plan(["completed", "in_progress"]))
        .call("exec", json!({ "command": "until [ -e go ]; do sleep 0.05; done" }))
        .say("found");
    let brief =
        Plan::named("p").spawn([("kid", child)]).yield_().say_when_results(1, "all").to_brief();
    house.ok(&["agent", "--no-wait", "--message", &brief]).await;
    let world = look::until(&house, "the child shows a plan", |world| {
        world.sessions.iter().any(|session| session.card.is_some())
    })
    .await;
    let task = world.tasks[0].id.to_string();
    let shown = house.ok(&["tasks", "show", &task]).await;
    assert!(shown.contains("[x] look\n[>] draw\n"), "{shown}");
    let told = house.ask("/subagents info last").await;
    assert!(told.contains("[x] look\n[>] draw"), "{told}");
    std::fs::write(house.folder.path().join("workspace/go"), "").unwrap();
    house.quiet().await;
    let over = house.json(&["tasks", "show", &task, "--json"]).await;
    assert!(over[0]["progressCard"].is_null(), "it is over: {over:?}");
}

#[tokio::test]
async fn words_while_it_works_come_at_once_and_stay_in_the_history() {
    let mut house = house().await;
    let brief = Plan::new()
        .call("message", json!({ "message": "half way there" }))
        .call("message", json!({ "message": "x", "channel": "telegram" }))
        .say("{tools}")
        .to_brief();
    let output = house.run_with_stdin(&["chat"], &format!("{brief}\n")).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("half way there\n"), "{said}\n{}", house.log());
    assert!(said.contains("this gateway has no channels"), "{said}");

    house.kill();
    house.start().await;
    let shown = house.json(&["sessions", "show", "main", "--json"]).await;
    let words: Vec<(&Value, &Value)> =
        shown.iter().map(|line| (&line["role"], &line["content"][0]["text"])).collect();
    assert!(words.contains(&(&json!("assistant"), &json!("half way there"))), "{words:?}");
}

#[tokio::test]
async fn a_conversation_that_wants_to_see_thoughts_shows_them_to_all() {
    let house = house().await;
    let brief = Plan::new().say("it is here").thinking("where may it be").to_brief();
    let told = house.ask("/reasoning stream").await;
    assert!(told.contains("as it comes"), "{told}");
    let output = house.run(&["agent", "--stream", "--message", &brief]).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("where may it be"), "{told}\n{}", house.log());
    assert!(house.ask("/reasoning").await.contains("Reasoning is stream"));
    house.ask("/reasoning off").await;
    let output = house.run(&["agent", "--stream", "--message", &brief]).await;
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

/// The bill: by the price of the catalogue if none is configured, and each row says which it was.
#[tokio::test]
async fn what_was_spent_is_told_to_people_and_to_the_agent_itself() {
    let models = vec!["claude-haiku-4-5".to_owned()];
    let stub = Stub::start(Options { models, cache_min: 64, ..Options::default() }).await.unwrap();
    let mut house = House::build_with(stub, "anthropic-messages", |config| {
        let provider = config["models"]["providers"]["stub"].take();
        config["models"]["providers"] = json!({ "anthropic": provider });
        config["models"]["providers"]["anthropic"]["models"] = json!([]);
        config["agents"]["defaults"]["model"] = json!("anthropic/claude-haiku-4-5");
    });
    house.start().await;
    let brief = Plan::new().call("session_status", json!({})).say("{tools}").to_brief();
    let told: Value = serde_json::from_str(&house.ask(&brief).await).unwrap();
    let spent = &told["spent"]["session"];
    assert_eq!((&spent["calls"], &spent["unpriced"]), (&json!(1), &json!(0)), "{told}");
    assert!(spent["usd"].as_f64().unwrap() > 0.0, "{told}");

    let world = look::world(&house).await;
    assert_eq!(world.ledger.len(), 2);
    for row in &world.ledger {
        let id = row.price_id.as_deref().unwrap_or_default();
        assert!(id.ends_with(":anthropic/claude-haiku-4-5:1/5/0.1/1.25"), "{id}");
    }
    let usage = house.ask("/usage").await;
    let lines: Vec<&str> = usage.lines().collect();
    let [own, tree, today, footer] = lines[..] else { panic!("{usage}") };
    assert!(footer.starts_with("under each answer: off"), "{usage}");
    assert!(own.starts_with("this conversation: $0.0") && own.contains(", 2 calls, "), "{usage}");
    assert!(tree.starts_with("with all below it: $0.0"), "{usage}");
    assert!(today.starts_with("today, everything: $0.0"), "{usage}");
}
