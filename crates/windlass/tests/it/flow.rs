//! Declared flows, on the running binary: waves that outlive kills, failures, stops, one announce.

use std::time::Duration;

use machine::rows::{EntryKind, FlowNodeState, InboxKind, Outcome, TaskKind};
use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, late};
use crate::judge;

/// Writes a declaration beside the house's state, and returns its path.
fn file(house: &House, declared: &Value) -> String {
    let path = house.folder.path().join("flow.json5");
    std::fs::write(&path, declared.to_string()).unwrap();
    path.display().to_string()
}

fn task(id: &str, plan: &Plan, after: &[&str]) -> Value {
    json!({ "id": id, "task": plan.to_brief(), "dependsOn": after })
}

/// Eight tasks in three levels.
fn wave() -> Value {
    let says = |id: &str| late(400, &format!("<{id}>"));
    json!({ "name": "wave", "tasks": [
        task("a", &says("a"), &[]), task("b", &says("b"), &[]), task("c", &says("c"), &[]),
        task("d", &says("d"), &["a", "b"]), task("e", &says("e"), &["b", "c"]),
        task("f", &says("f"), &["c"]),
        task("g", &says("g"), &["d", "e"]), task("h", &says("h"), &["e", "f"]),
    ] })
}

#[tokio::test]
async fn a_wave_ends_as_if_nobody_had_pulled_the_plug() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let path = file(&house, &wave());
    let args = ["flow", "run", &path, "--watch", "--announce", "parent"];
    let mut watching = house.command(&args);
    let watched = tokio::task::spawn_blocking(move || watching.output().unwrap());
    for _ in 0..2 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        house.kill();
        house.start().await;
    }
    let output = tokio::time::timeout(Duration::from_secs(120), watched).await.unwrap().unwrap();
    let shown = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{shown}\n{}", house.log());
    assert!(shown.contains("8/8 done"), "{shown}");
    house.quiet().await;

    let world = judge::all_is_well(&house, &Default::default()).await;
    assert_eq!(world.flow_nodes.len(), 8);
    for node in &world.flow_nodes {
        assert_eq!((node.state, node.attempt), (FlowNodeState::Completed, 1), "{}", node.name);
    }
    let tasks = world.tasks.iter().filter(|task| task.kind == TaskKind::FlowNode);
    assert_eq!(tasks.count(), 8, "each once");
    let announces = world.entries.iter().filter(|entry| entry.kind == EntryKind::Announce);
    assert_eq!(announces.count(), 1, "one announce of them all");

    // The results of what `g` depends on are in its brief, and nothing else is.
    let row = world.flow_nodes.iter().find(|node| node.name.as_str() == "g").unwrap();
    let id = row.task.unwrap().to_string();
    let shown = house.json(&["tasks", "show", &id, "--json"]).await.remove(0);
    assert_eq!(shown["result"], "<g>");
    let key = shown["task"]["childSessionKey"].as_str().unwrap();
    let sql = format!(
        "select body from entries join sessions using (session_id) \
         where sessions.key = '{key}' and entries.kind = 'brief'"
    );
    let brief = sqlite(&house, &sql);
    assert!(brief.contains("node=d outcome=completed") && brief.contains("<d>"), "{brief}");
    assert!(brief.contains("node=e outcome=completed"), "{brief}");
    assert!(!brief.contains("node=a "), "{brief}");
}

fn sqlite(house: &House, sql: &str) -> String {
    let mut shell = std::process::Command::new("sqlite3");
    let output = shell.arg("-readonly").arg(house.database()).arg(sql).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// An agent starts a flow with its tool, yields, and gets one announce with the last results.
#[tokio::test]
async fn an_agent_starts_a_flow_and_hears_once() {
    let mut house = House::build("openai-completions", |_| {}).await;
    house.start().await;
    let declared = json!({ "action": "start", "name": "two", "tasks": [
        task("a", &Plan::new().say("<a>"), &[]), task("b", &Plan::new().say("<b>"), &["a"]),
    ] });
    let plan = Plan::named("root").call("flows", declared).yield_().say("heard: {results}");
    let answer = house.ask(&plan.to_brief()).await;
    assert!(answer.starts_with("heard: "), "{answer}\n{}", house.log());
    assert!(answer.contains("| a | completed | 1 |"), "{answer}");
    assert!(answer.contains("<b>") && !answer.contains("<a>"), "the last results: {answer}");
    let world = judge::all_is_well(&house, &Default::default()).await;
    assert_eq!(world.inbox.iter().filter(|row| row.kind == InboxKind::Announce).count(), 1);
}

/// A task that fails is tried again, as often as was asked; then the rest is not begun.
#[tokio::test]
async fn a_failing_task_is_tried_again_and_the_exit_code_tells() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let mut broken = task("broken", &Plan::new().say("never").failing(400, 99), &[]);
    broken["retries"] = json!(2);
    let declared = json!({ "name": "f", "tasks": [
        broken, task("after", &Plan::new().say("never"), &["broken"]),
    ] });
    let path = file(&house, &declared);
    let output = house.run(&["flow", "run", &path, "--watch"]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}\n{}", house.log());
    assert!(stderr.contains("flow \"f\" has ended failed"), "{stderr}");
    let flows = house.json(&["flow", "list", "--json"]).await;
    assert_eq!((&flows[0]["status"], &flows[0]["lost"]), (&json!("failed"), &json!(2)));
    let id = flows[0]["flowId"].as_str().unwrap();
    let shown = house.json(&["tasks", "flow", "show", id, "--json"]).await.remove(0);
    assert_eq!(shown["nodes"][0]["attempt"], 3, "{shown}");
    assert_eq!(shown["nodes"][1]["state"], "skipped", "{shown}");
    let dot = house.ok(&["flow", "show", id, "--dot"]).await;
    assert!(dot.starts_with("digraph flow {") && dot.contains("\"broken\" -> \"after\";"), "{dot}");
    judge::all_is_well(&house, &Default::default()).await;
}

#[tokio::test]
async fn a_cancel_stops_the_subtree() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let slow = late(60_000, "never");
    let lead = Plan::named("lead").spawn([("x", slow.clone()), ("y", slow)]).yield_().say("never");
    let declared = json!({ "name": "f", "tasks": [
        task("lead", &lead, &[]), task("after", &Plan::new().say("never"), &["lead"]),
    ] });
    let path = file(&house, &declared);
    let id = house.ok(&["flow", "run", &path]).await.trim().to_owned();
    for _ in 0..200 {
        if house.stub.journal().open_streams >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(house.stub.journal().open_streams >= 2, "nothing works\n{}", house.log());
    let done = house.json(&["flow", "cancel", &id, "--json"]).await.remove(0);
    // Whether their streams are closed is not known yet, or it is.
    let count = |word: &str| done["stop"][word].as_array().unwrap().len();
    assert_eq!((count("stopped") + count("stopping"), count("unproved")), (4, 0), "{done}");
    assert_eq!(done["cancelled"], true, "{done}");
    house.quiet().await;
    let world = judge::all_is_well(&house, &Default::default()).await;
    assert!(world.tasks.iter().all(|task| task.outcome == Some(Outcome::Cancelled)));
    for _ in 0..100 {
        if house.stub.journal().open_streams == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("a stopped flow still streams");
}

/// The file of the manual, as it stands there.
#[tokio::test]
async fn the_example_of_the_manual_runs() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let manual = include_str!("../../../../docs/flows.md");
    let (_, rest) = manual.split_once("```json5\n").expect("the manual has an example");
    let (example, _) = rest.split_once("```").unwrap();
    let path = house.folder.path().join("release.json5");
    std::fs::write(&path, example).unwrap();
    let shown = house.ok(&["flow", "run", path.to_str().unwrap(), "--watch"]).await;
    assert!(shown.contains("5/5 done"), "{shown}");
    judge::all_is_well(&house, &Default::default()).await;
}

#[tokio::test]
async fn what_cannot_be_carried_out_is_refused_at_once() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let x = Plan::new().say("x");
    let declared = json!({ "name": "f", "tasks": [
        task("a", &x, &["c"]), task("b", &x, &["a"]), task("c", &x, &["b"]),
    ] });
    let output = house.run(&["flow", "run", &file(&house, &declared)]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("line 1, column "), "{stderr}");
    assert!(stderr.contains("`tasks[0].dependsOn`: is a cycle"), "{stderr}");
    assert!(stderr.contains("a → c → b → a"), "{stderr}");

    // The gateway does not take the file's word for it.
    let mut unknown = json!({ "name": "f", "tasks": [task("a", &x, &[])] });
    unknown["tasks"][0]["agentId"] = json!("nobody");
    let output = house.run(&["flow", "run", &file(&house, &unknown)]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("`tasks[0]`: agentId \"nobody\" is not configured"), "{stderr}");
    assert!(house.json(&["flow", "list", "--json"]).await.is_empty());
}
