//! Answers that are longer than their model may give: nobody takes them for whole.

use machine::rows::{EntryKind, Outcome};
use serde_json::json;
use store::{Reader, Reads};
use stub::{Options, Plan, Script, Stub};

use crate::house::{House, WIRES};
use crate::judge;
use crate::look::task_of;

const CUT: &str = "output limit of 1000 tokens";

/// A house whose model may not say much, and has a long report.
async fn terse(wire: &str) -> House {
    let spawn = json!({ "task": "write the report", "taskName": "report" });
    let rules = json!([
        { "when": { "first": "delegate it" }, "steps": [
            { "call": [{ "name": "sessions_spawn", "arguments": spawn }] },
            { "yield": true },
            { "say": "heard" },
        ] },
        { "when": { "first": "write the report" }, "steps": [
            { "say": "all of it ".repeat(1_000) },
        ] },
    ]);
    let script: Script = serde_json::from_value(json!({ "rules": rules })).unwrap();
    let stub = Stub::start(Options { cache_min: 64, script, ..Options::default() }).await.unwrap();
    let mut house = House::build_with(stub, wire, |config| {
        let model = json!({ "id": "stub-1", "maxTokens": 1_000 });
        config["models"]["providers"]["stub"]["models"] = json!([model]);
    });
    house.start().await;
    house
}

/// Of two calls one fits. The model is told, and makes the other call in its next answer.
#[tokio::test]
async fn a_call_that_did_not_fit_is_made_in_the_next_answer() {
    for wire in WIRES {
        let house = terse(wire).await;
        let small = json!({ "command": "echo one >> made.log" });
        let padding = "x".repeat(8_000);
        let large = json!({ "command": format!("echo two >> made.log # {padding}") });
        let plan = Plan::new()
            .calls([("exec", small), ("exec", large)])
            .call("exec", json!({ "command": "echo three >> made.log" }))
            .say("done");
        assert_eq!(house.ask(&plan.to_brief()).await.trim(), "done", "{wire}\n{}", house.log());
        let made = house.folder.path().join("workspace").join("made.log");
        assert_eq!(std::fs::read_to_string(made).unwrap(), "one\nthree\n", "{wire}");
        let journal = house.stub.journal();
        let told = journal.requests.iter().filter(|entry| entry.newest_text.contains(CUT));
        assert!(told.count() >= 1, "{wire}: {:#?}", journal.requests);
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// Half a report says that it is one.
#[tokio::test]
async fn a_report_that_did_not_fit_says_so() {
    for wire in WIRES {
        let house = terse(wire).await;
        let answer = house.ask("delegate it").await;
        assert_eq!(answer.trim(), "heard", "{wire}\n{}", house.log());
        let world = judge::all_is_well(&house, &Default::default()).await;
        assert_eq!(task_of(&world, "report").outcome, Some(Outcome::Completed), "{wire}");
        let main = world.sessions.iter().find(|session| session.parent_key.is_none()).unwrap();
        let reader = Reader::open(&house.database()).unwrap();
        let entries = reader.entries(main.session_id, 0, 100).await.unwrap();
        let announce = entries.iter().find(|entry| entry.kind == EntryKind::Announce).unwrap();
        for part in [CUT, "ask it for the rest"] {
            assert!(announce.body.contains(part), "{wire}: {part}: {}", announce.body);
        }
    }
}
