//! Caps on the running binary: no call goes out beyond them, nothing is killed for them, and what
//! is booked is what the provider has counted.

use std::time::Duration;

use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::Plan;
use types::Usage;

use crate::house::House;
use crate::judge;

const TREE: &str = "tree:agent:main:main";

/// Dollars for a million tokens, cached or not: so that few calls are dear, and all cost alike.
const PRICE: f64 = 10.0;

fn priced(config: &mut Value) {
    config["models"]["providers"]["stub"]["models"] = json!([{
        "id": "stub-1", "maxTokens": 8_000,
        "cost": { "input": PRICE, "output": PRICE, "cacheRead": PRICE, "cacheWrite": PRICE },
    }]);
}

/// A dollar for a root and fifty children at once: it is not overdrawn, all that is over it waits,
/// also over a kill -9; and when a person allows more, every child is carried to its end.
#[tokio::test]
async fn a_dollar_for_fifty_children() {
    let mut house = House::build("anthropic-messages", |config| {
        priced(config);
        config["budget"] = json!({ "tree": { "usd": 1.0 } });
        config["agents"]["defaults"]["subagents"] =
            json!({ "maxConcurrent": 50, "maxChildrenPerAgent": 50 });
    })
    .await;
    house.start().await;
    let brief = Plan::named("p")
        .spawn_many(50, "kid", Plan::new().say("kid done"))
        .yield_()
        .say_when_results(50, "{results}")
        .to_brief();
    let args = ["agent", "--message", &brief, "--idempotency-key", "job"];
    let mut command = house.command(&args);
    let asked = tokio::task::spawn_blocking(move || command.output().unwrap());

    let stalled = all_wait(&house).await;
    let spent = stalled["spent"]["usd"].as_f64().unwrap();
    assert!(spent > 0.5 && spent <= 1.0, "{stalled}");
    assert_eq!(stalled["setting"], "budget.tree", "{stalled}");
    as_the_provider_counts(&house).await;
    let calls = house.stub.journal().requests.len();
    house.kill();
    house.start().await;
    let again = all_wait(&house).await;
    assert_eq!((&again["spent"], &again["cap"]), (&stalled["spent"], &stalled["cap"]));
    assert_eq!(house.stub.journal().requests.len(), calls, "a call has gone out over the cap");
    let status = house.ok(&["status"]).await;
    assert!(status.contains(TREE), "{status}");
    let audit = house.run(&["tasks", "audit"]).await;
    let audit = String::from_utf8(audit.stdout).unwrap();
    assert!(audit.contains(&format!("windlass budget raise {TREE}")), "{audit}");

    house.ok(&["budget", "raise", TREE, "--usd", "9"]).await;
    let output = tokio::time::timeout(Duration::from_secs(180), asked).await.unwrap().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answer.matches("kid done").count(), 50, "{answer}\n{}", house.log());
    as_the_provider_counts(&house).await;
    judge::all_is_well(&house, &Default::default()).await;

    // What was spent stays spent, whatever becomes of the conversations.
    let total = usage(&house).await;
    let kid = house.json(&["sessions", "list", "--json"]).await;
    let kid = kid.iter().filter_map(|row| row["key"].as_str()).find(|key| key.contains("subagent"));
    house.ok(&["sessions", "delete", kid.unwrap()]).await;
    assert_eq!(usage(&house).await, total);
}

/// A task that has used up what its spawn allowed ends with what it has said, its requester reads
/// why and what it has cost, and goes on with it where it stands.
#[tokio::test]
async fn a_task_ends_at_its_own_cap() {
    let mut house = House::build("openai-completions", |config| {
        priced(config);
        config["models"]["providers"]["stub"]["models"][0]["maxTokens"] = json!(500);
    })
    .await;
    house.start().await;
    let look = |plan: Plan, text: &str| {
        let text = Some(text.to_owned());
        plan.call("read", json!({ "path": "." })).change(|step| step.say = text)
    };
    let child = (0..9).fold(Plan::new(), |plan, n| look(plan, &format!("step {n}"))).say("whole");
    let capped = json!({ "budget": { "usd": 0.12 } }).as_object().unwrap().clone();
    let brief = Plan::named("r")
        .spawn([("digger", child)])
        .change(|step| step.spawn[0].args = capped)
        .yield_()
        .say("told: {last}")
        .to_brief();
    let answer = house.ok(&["agent", "--message", &brief]).await;
    assert!(answer.starts_with("told: step "), "{answer}");
    let world = judge::all_is_well(&house, &Default::default()).await;
    let task = &world.tasks[0];
    let run = world.runs.iter().find(|run| run.id == task.run).unwrap();
    assert!(run.cost.usd() > 0.0 && run.cost.usd() <= 0.12, "{}", run.cost);
    let read = judge::read_by(&house, &world, task).await;
    let cost = format!("cost={}", run.cost);
    for part in ["outcome=failed", "PARTIAL RESULT", "budget", &cost, "sessions_send"] {
        assert!(read.contains(part), "no `{part}` in {read}");
    }
    as_the_provider_counts(&house).await;
}

/// Waits until nothing goes on but waiting for the tree's budget. Returns its row; on the way it
/// is never overdrawn.
async fn all_wait(house: &House) -> Value {
    for _ in 0..1_200 {
        let rows = house.json(&["budget", "list", "--json"]).await;
        let row = rows.into_iter().find(|row| row["budget"] == TREE).unwrap_or_default();
        let amount = |which: &str| row[which]["usd"].as_f64().unwrap_or(0.0);
        let cap = amount("cap");
        assert!(amount("spent") + amount("reserved") <= cap + 1e-9, "{row}");
        let world = Reader::open(&house.database()).unwrap().snapshot().await.unwrap();
        let mut open = world.runs.iter().filter(|run| !run.phase.ended());
        let waits = |run: &machine::rows::Run| run.budget.is_some() || run.task.is_none();
        if row["waiting"].as_u64() > Some(20) && open.all(waits) && amount("reserved") == 0.0 {
            return row;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not all wait for {TREE}\n{}", house.log());
}

async fn usage(house: &House) -> Value {
    house.json(&["usage", "--json"]).await[0]["total"].clone()
}

/// The ledger is what the provider has counted, to the token, and `windlass usage` says so.
async fn as_the_provider_counts(house: &House) {
    let mut counted = Usage::default();
    let entries = house.stub.journal().requests;
    let entries: Vec<_> = entries.iter().filter(|entry| entry.status == 200).collect();
    for entry in &entries {
        counted += Usage {
            input: entry.usage.input,
            cache_read: entry.usage.cache_read,
            cache_write: entry.usage.cache_write(),
            output: entry.usage.output,
        };
    }
    let world = Reader::open(&house.database()).unwrap().snapshot().await.unwrap();
    let mut booked = Usage::default();
    world.ledger.iter().for_each(|row| booked += row.usage);
    assert_eq!(booked, counted);
    let total = usage(house).await;
    assert_eq!(total["calls"], entries.len(), "{total}");
    assert_eq!(total["unpriced"], 0, "{total}");
    let tokens = counted.total() as f64;
    let cost = total["cost"].as_f64().unwrap();
    // Each call is rounded up to a millionth of a dollar.
    let most = entries.len() as f64 * 1e-6;
    assert!((cost - tokens * PRICE / 1e6).abs() <= most, "{cost} for {tokens} tokens");
}
