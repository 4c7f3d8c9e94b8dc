//! Messages between agents: answered once, whatever comes first, and never in a circle.

use std::time::Duration;

use machine::Limits;
use machine::check::World;
use machine::rows::{InboxKind, InboxRow};
use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::Plan;

use crate::house::{House, late};
use crate::judge;

/// A house with a second agent, whose config `change` may change.
async fn house(change: impl FnOnce(&mut Value)) -> House {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["entries"] = json!({ "main": { "default": true }, "ops": {}, "lab": {} });
        change(config);
    })
    .await;
    house.start().await;
    house
}

/// What a person asks an agent to do: send `message` to `agent`, then say what came of it.
fn send_to(agent: &str, message: &str, seconds: u32) -> Plan {
    let send = json!({ "agentId": agent, "message": message, "timeoutSeconds": seconds });
    Plan::new().call("sessions_send", send).say("{tools}{last}")
}

async fn world(house: &House) -> World {
    Reader::open(&house.database()).unwrap().snapshot().await.unwrap()
}

fn of_kind(world: &World, kind: InboxKind) -> Vec<&InboxRow> {
    world.inbox.iter().filter(|row| row.kind == kind).collect()
}

#[tokio::test]
async fn an_answer_is_the_result_of_the_call() {
    let house = house(|_| {}).await;
    let answer = house.ask(&send_to("ops", &late(300, "12 m").to_brief(), 60).to_brief()).await;
    assert!(answer.contains(r#""reply":"12 m""#), "{answer}");
    house.quiet().await;
    let world = judge::all_is_well(&house, &Limits::default()).await;
    assert!(of_kind(&world, InboxKind::Reply).is_empty());
}

/// The wait ends long before the answer comes, and the gateway is killed in between: the sender
/// sees `pending`, and later the answer, once.
#[tokio::test]
async fn a_late_answer_comes_once_also_around_a_kill() {
    for killed in [false, true] {
        let mut house = house(|_| {}).await;
        let brief = send_to("ops", &late(6_000, "12 m").to_brief(), 1).to_brief();
        let answer = house.ask(&brief).await;
        assert!(answer.contains(r#""status":"pending""#), "{answer}");
        assert!(!answer.contains("timeout"), "{answer}");
        if killed {
            house.kill();
            house.start().await;
        }
        house.quiet().await;
        let world = judge::all_is_well(&house, &Limits::default()).await;
        let replies = of_kind(&world, InboxKind::Reply);
        assert_eq!(replies.len(), 1, "killed: {killed}");
        assert_eq!(replies[0].body_hash, types::Hash::of("12 m"));
        assert!(answer.contains(&replies[0].idem_key["reply:".len()..]), "{answer}");
    }
}

/// A asks B, B asks C, C asks A, and there is one slot in each lane.
#[tokio::test]
async fn a_circle_ends_in_seconds_with_a_reason() {
    let house = house(|config| {
        config["agents"]["defaults"]["maxConcurrent"] = json!(1);
        config["agents"]["defaults"]["subagents"] = json!({ "maxConcurrent": 1 });
    })
    .await;
    let c = send_to("main", "and you?", 600).to_brief();
    let b = send_to("lab", &c, 600).to_brief();
    let began = std::time::Instant::now();
    let answer = house.ask(&send_to("ops", &b, 600).to_brief()).await;
    assert!(answer.contains("wait_cycle"), "{answer}");
    // Far less than any of the waits.
    assert!(began.elapsed() < Duration::from_secs(100), "{:?}", began.elapsed());
    house.quiet().await;
    judge::all_is_well(&house, &Limits::default()).await;
}

#[tokio::test]
async fn a_denial_names_the_key_that_decides() {
    let house = house(|config| {
        config["tools"] = json!({ "agentToAgent": { "allow": ["main", "lab"] } });
    })
    .await;
    let answer = house.ask(&send_to("ops", "hello", 5).to_brief()).await;
    for part in ["forbidden", "tools.agentToAgent.allow is [main, lab]", "ops"] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
    assert!(of_kind(&world(&house).await, InboxKind::Agent).is_empty());
}

/// A child that has failed is alive: its requester goes on with it by a message.
#[tokio::test]
async fn a_failed_child_is_continued_by_a_message() {
    let house = house(|_| {}).await;
    let broken = json!([{ "faults": [{ "kind": "error", "status": 400 }] }, { "say": "never" }]);
    let again = Plan::new().say("now it works").to_brief();
    let plan = json!([
        { "call": [{ "name": "sessions_spawn", "arguments": {
            "task": format!("<<stub {broken}>>"), "taskName": "lakes",
        } }] },
        { "yield": true },
        { "call": [{ "name": "sessions_send", "arguments": {
            "sessionKey": { "$result": { "name": "sessions_spawn", "pointer": "/childSessionKey" } },
            "message": again, "timeoutSeconds": 60,
        } }] },
        { "say": "{tools}" },
    ]);
    let answer = house.ask(&format!("<<stub {plan}>>")).await;
    assert!(answer.contains("now it works"), "{answer}\n{}", house.log());
}

#[tokio::test]
async fn a_session_sees_how_it_stands_and_whom_it_may_spawn() {
    let house = house(|_| {}).await;
    let plan = Plan::new()
        .call("session_status", json!({}))
        .call("agents_list", json!({}))
        .call("sessions_list", json!({ "kinds": ["main"], "limit": 1 }))
        .say("{tools}");
    let answer = house.ask(&plan.to_brief()).await;
    for part in [
        r#""activity":"running""#,
        r#""lastTurn":"waiting_for_response""#,
        r#""taskStatus":"in_progress""#,
        r#""sessionKey":"agent:main:main""#,
        "agents.entries.main.subagents.allowAgents",
        r#""maySpawn":true"#,
        r#""count":1"#,
    ] {
        assert!(answer.contains(part), "{part}: {answer}");
    }
}

/// Each is told to write to the other whenever it is written to: the chain ends, and says why.
#[tokio::test]
async fn two_agents_that_always_answer_each_other_stop() {
    let mut plan = Plan::new().say("enough").to_brief();
    for n in (0..8).rev() {
        let other = if n % 2 == 0 { "ops" } else { "lab" };
        plan = send_to(other, &plan, 0).to_brief();
    }
    let house = house(|_| {}).await;
    house.ask(&plan).await;
    house.quiet().await;
    let world = world(&house).await;
    let sent: Vec<u32> = of_kind(&world, InboxKind::Agent).iter().map(|row| row.hops).collect();
    assert_eq!(sent, [1, 2, 3, 4, 5], "a chain has five messages");
    let told = house.stub.journal().requests.iter().any(|request| {
        request.tool_results.iter().any(|result| {
            let text = format!("{result:?}");
            text.contains("hop_limit") && text.contains("maxPingPongTurns")
        })
    });
    assert!(told, "nobody was told why");
}

/// What another agent reads of a conversation holds no keys, and one that waits says for whom.
#[tokio::test]
async fn a_history_is_covered_and_a_wait_has_a_name() {
    let house = house(|_| {}).await;
    let key = format!("sk-live-{}", "a1b2".repeat(10));
    house.ok(&["agent", "--agent", "ops", "--message", &format!("the key is {key}")]).await;
    let look = Plan::new()
        .call("sessions_history", json!({ "sessionKey": "agent:ops:main" }))
        .say("{tools}");
    let seen = house.ask(&look.to_brief()).await;
    assert!(seen.contains("the key is [redacted]") && !seen.contains(&key), "{seen}");

    let brief = send_to("ops", &late(8_000, "12 m").to_brief(), 60).to_brief();
    house.ok(&["agent", "--message", &brief, "--no-wait"]).await;
    let status = Plan::new()
        .call("session_status", json!({ "sessionKey": "agent:main:main" }))
        .say("{tools}")
        .to_brief();
    for _ in 0..50 {
        let told = house.ok(&["agent", "--agent", "lab", "--message", &status]).await;
        if told.contains(r#""kind":"reply""#) {
            assert!(told.contains(r#""activity":"waiting""#), "{told}");
            let waits = told.split("waitsFor").nth(1).unwrap();
            assert!(waits.contains("agent:ops:main"), "{told}");
            house.quiet().await;
            return;
        }
    }
    panic!("it was never said to wait for an answer\n{}", house.log());
}
