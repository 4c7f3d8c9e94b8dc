//! What a task hands in, and tasks that nobody's model has started.

use machine::rows::{Outcome, TaskKind};
use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::Plan;

use crate::house::{House, WIRES};
use crate::judge;

/// A file that is wanted and not there is sent back; when it is there the task has completed. One
/// that never comes is no result, and the requester reads what was missing.
#[tokio::test]
async fn a_file_that_is_missing_is_sent_back() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let late = Plan::new()
            .say("done, I think")
            .call("write", json!({ "path": "report.md", "content": "all of it" }))
            .say("now it is there");
        let output = house
            .run(&["spawn", "--task", &late.to_brief(), "--deliverable", "report.md", "--wait"])
            .await;
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(told.trim(), "now it is there");

        let never = Plan::new().say("done").repeated(3).to_brief();
        let output = house
            .run(&["spawn", "--task", &never, "--deliverable", "none.md", "--wait", "--json"])
            .await;
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["outcome"], "no_result");
        assert!(told["error"].as_str().unwrap().contains("none.md"), "{told}");
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// The same operation by a command and by a tool: the same record but for its origin, and no model
/// is asked for a spawn by command.
#[tokio::test]
async fn a_spawn_needs_no_model() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let child = Plan::new().say("found").to_brief();
    let answer = house.ok(&["spawn", "--task", &child, "--task-name", "map", "--wait"]).await;
    assert_eq!(answer.trim(), "found");
    assert_eq!(house.stub.journal().requests.len(), 1, "only the child itself has asked");

    let again = ["spawn", "--task", &child, "--idempotency-key", "k", "--json"];
    let first = house.json(&again).await.remove(0);
    let second = house.json(&again).await.remove(0);
    assert_eq!((&first["status"], &second["status"]), (&json!("accepted"), &json!("duplicate")));
    assert_eq!(first["taskId"], second["taskId"]);
    let refused = house.run(&["spawn", "--task", "x", "--agent", "nobody"]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && why.contains("agents.entries"), "{why}");
    house.quiet().await;

    let reader = Reader::open(&house.database()).unwrap();
    let world = reader.snapshot().await.unwrap();
    assert_eq!(world.tasks.len(), 2);
    for task in &world.tasks {
        assert_eq!(task.kind, TaskKind::Cli);
        assert_eq!(task.outcome, Some(Outcome::Completed));
        assert_eq!(task.requester_key.to_string(), "agent:main:main");
    }
    assert!(world.runs.iter().all(|run| run.task.is_some()), "the main session has run");
}

/// A result for the person is in the history of the session where the request came from, in the
/// child's own words, however deep the child was.
#[tokio::test]
async fn a_result_for_the_person_is_in_his_history() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let person = || json!({ "announce": "person" }).as_object().unwrap().clone();
    let leaf = Plan::new().say("  the leaf's own words");
    let branch = Plan::new()
        .spawn([("leaf", leaf)])
        .change(|step| step.spawn[0].args = person())
        .yield_()
        .say("the branch's");
    let brief = Plan::named("r").spawn([("b", branch)]).yield_().say("my own").to_brief();
    assert_eq!(house.ask(&brief).await.trim(), "my own");
    let next = Plan::new().say("and now").to_brief();
    house.ask(&next).await;

    let shown = house.ok(&["sessions", "show", "main", "--json"]).await;
    let messages = shown.lines().map(|line| serde_json::from_str(line).unwrap());
    let told = messages.filter(|message: &Value| {
        message["role"] == "assistant" && message["provenance"]["kind"] == "inter_session"
    });
    let told: Vec<Value> = told.collect();
    assert_eq!(told.len(), 1, "{shown}");
    assert_eq!(told[0]["content"][0]["text"], "  the leaf's own words");
    judge::all_is_well(&house, &Default::default()).await;
}

/// What nothing could meet is refused before anything is begun: by command, and by a tool.
#[tokio::test]
async fn what_cannot_be_met_is_refused_at_the_spawn() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let file = house.folder.path().join("schema.json");
    let shown = file.display().to_string();
    let spawn = ["spawn", "--task", "x", "--deliverable-schema", &shown];
    for (schema, told) in [
        (r#"{"type":"objekt"}"#, "`deliverables.schema` is no JSON schema at `/type`"),
        (r#"{"type":"#, "it is no JSON"),
    ] {
        std::fs::write(&file, schema).unwrap();
        let output = house.run(&spawn).await;
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && why.contains(told), "{schema}: {why}");
    }
    let output = house.run(&["spawn", "--task", "x", "--deliverable", "../x"]).await;
    let why = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && why.contains("`deliverables.files[0]`"), "{why}");

    let child = json!({ "task": "x", "deliverables": { "schema": { "type": "objekt" } } });
    let plan = Plan::new().call("sessions_spawn", child).say("{tools}");
    let answer = house.ask(&plan.to_brief()).await;
    assert!(answer.contains("`deliverables.schema` is no JSON schema at `/type`"), "{answer}");

    std::fs::write(&file, r#"{"type":"object","required":["n"]}"#).unwrap();
    let plan = Plan::new().say("three").say(r#"{"n":3}"#).to_brief();
    let spawn = ["spawn", "--task", &plan, "--deliverable-schema", &shown, "--wait"];
    assert_eq!(house.ok(&spawn).await.trim(), r#"{"n":3}"#);
    let world = judge::all_is_well(&house, &Default::default()).await;
    assert_eq!(world.tasks.len(), 1, "what was refused has left no task");
}
