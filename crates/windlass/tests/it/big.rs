//! Big things: long conversations, briefs and reports. None is lost, and none ends a session.

use machine::Limits;
use machine::rows::{EntryKind, InboxKind, Outcome};
use serde_json::{Value, json};
use store::{Reader, Reads};
use stub::{Options, Plan, Script, Stub};
use types::ToolResult;

use crate::house::House;
use crate::judge;
use crate::look::task_of;

const MEGABYTE: usize = 1024 * 1024;

/// So many bytes of text, no two lines of which are equal.
fn text_of(bytes: usize) -> String {
    let lines = (0..).map(|n| format!("line {n}: größer, größer 🜁 日本\n"));
    let mut text = String::new();
    for line in lines {
        text += &line;
        if text.len() >= bytes {
            text.truncate(text.floor_char_boundary(bytes));
            text += &"x".repeat(bytes - text.len());
            return text;
        }
    }
    unreachable!("there is always another line")
}

/// A house whose model has room for anything, and answers by `script` first.
async fn roomy(script: Value) -> House {
    let script: Script = serde_json::from_value(script).unwrap();
    let options = Options { context_window: 10_000_000, cache_min: 64, ..Options::default() };
    let stub = Stub::start(Options { script, ..options }).await.unwrap();
    House::build_with(stub, "anthropic-messages", |config| {
        let model = json!({ "id": "stub-1", "contextWindow": 8_000_000, "maxTokens": 1_000_000 });
        config["models"]["providers"]["stub"]["models"] = json!([model]);
    })
}

/// A child has 500 entries behind it, and at last a tool says 5 MB to it: its short report is the
/// result, byte for byte. After a kill it is continued, and answers: what it sends is small enough
/// and in order.
#[tokio::test]
async fn a_session_of_five_hundred_entries_is_continued() {
    for wire in crate::house::WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let mut child = Plan::new();
        for answer in 0..46 {
            let look = |n: u32| ("read", json!({ "path": format!("no-file-{answer}-{n}") }));
            child = child.calls((0..10).map(look));
        }
        let megabytes = json!({ "command": "head -c 5000000 /dev/zero | tr '\\0' 'x'" });
        let report = "  the report: größer 🜁\n";
        let child = child.call("exec", megabytes).say(report).to_brief();
        let plan = json!([
            { "call": [{ "name": "sessions_spawn", "arguments": {
                "task": child, "taskName": "old", "sessionKey": "thread:old",
            } }] },
            { "yield": true },
            { "say": "{results}" },
        ]);
        let answer = house.ask(&format!("<<stub {plan}>>")).await;
        assert_eq!(answer, format!("{report}\n"), "{wire}: byte for byte\n{}", house.log());
        house.kill();
        house.start().await;
        let next = Plan::new().say("and still here").to_brief();
        let said = house.ok(&["agent", "--session-key", "thread:old", "-m", &next]).await;
        assert_eq!(said.trim(), "and still here", "{wire}");
        let world = judge::all_is_well(&house, &Limits::default()).await;
        let old = &task_of(&world, "old").session_key;
        let session = world.sessions.iter().find(|session| session.key == *old).unwrap();
        let entries = world.entries.iter().filter(|e| e.session_id == session.session_id);
        assert!(entries.count() > 500, "{wire}");
    }
}

/// A report of a megabyte comes to the parent as its beginning, its length, its hash, and the call
/// that reads on; the calls give every byte of it.
#[tokio::test]
async fn a_report_of_a_megabyte_is_read_to_its_last_byte() {
    let report = text_of(MEGABYTE);
    let from =
        |pointer: &str| json!({ "$result": { "name": "sessions_history", "pointer": pointer } });
    let child = json!({ "$result": { "name": "sessions_spawn", "pointer": "/childSessionKey" } });
    let read = |arguments: Value| json!({ "call": [{ "name": "sessions_history", "arguments": arguments }] });
    let mut steps = vec![
        json!({ "call": [{ "name": "sessions_spawn", "arguments": {
            "task": "write the report", "taskName": "report",
        } }] }),
        json!({ "yield": true }),
        read(json!({ "sessionKey": child, "limit": 1 })),
    ];
    for _ in 0..8 {
        steps.push(read(json!({
            "sessionKey": child, "seq": from("/messages/0/seq"),
            "fromByte": from("/messages/0/nextByte"),
        })));
    }
    steps.push(json!({ "say": "read" }));
    let mut house = roomy(json!({ "rules": [
        { "when": { "first": "write the report" }, "steps": [{ "say": report }] },
        { "when": { "first": "get me the report" }, "steps": steps },
    ] }))
    .await;
    house.start().await;
    assert_eq!(house.ask("get me the report").await.trim(), "read", "{}", house.log());
    let world = judge::all_is_well(&house, &Limits::default()).await;
    assert_eq!(task_of(&world, "report").outcome, Some(Outcome::Completed));

    let main = world.sessions.iter().find(|session| session.parent_key.is_none()).unwrap();
    let reader = Reader::open(&house.database()).unwrap();
    let entries = reader.entries(main.session_id, 0, 10_000).await.unwrap();
    let announce = entries.iter().find(|entry| entry.kind == EntryKind::Announce).unwrap();
    let (head, told) = announce.body.split_once("\n</result>\n").unwrap();
    let (_, shown) = head.split_once("<result>\n").unwrap();
    assert!(report.starts_with(shown) && shown.len() > 4_000, "{head}");
    let child = &task_of(&world, "report").session_key;
    for part in [
        format!("It has {MEGABYTE} bytes, SHA-256 {}", types::Hash::of(&report)),
        format!(
            "sessions_history {{\"sessionKey\":\"{child}\",\"seq\":2,\"fromByte\":{}}}",
            shown.len()
        ),
    ] {
        assert!(told.contains(&part), "{part}: {told}");
    }
    let pages: Vec<Value> = entries
        .iter()
        .filter(|entry| entry.kind == EntryKind::ToolResult)
        .filter_map(|entry| serde_json::from_str::<ToolResult>(&entry.body).ok())
        .filter(|result| result.name == "sessions_history")
        .map(|result| serde_json::from_str(&result.text).unwrap())
        .collect();
    let page = |page: &Value| page["messages"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(pages.len(), 9);
    assert!(pages.iter().map(page).collect::<String>() == report, "the pages are not the report");
    assert_eq!(pages[8]["messages"][0]["truncated"], false);
    // The call that the announce names goes on where the announce was cut.
    let seen = pages[1]["messages"][0]["seq"].as_i64();
    assert_eq!(seen, Some(2));
}

/// A brief of a megabyte is there whole: in the rows, in the transcript, and at the model.
#[tokio::test]
async fn a_brief_of_a_megabyte_arrives_whole() {
    let brief = text_of(MEGABYTE);
    let spawn =
        json!({ "name": "sessions_spawn", "arguments": { "task": brief, "taskName": "whole" } });
    let mut house = roomy(json!({ "rules": [
        { "when": { "first": "delegate it" }, "steps": [
            { "call": [spawn] },
            { "yield": true },
            { "say": "{results}" },
        ] },
        { "when": { "first": "line 0:" }, "steps": [{ "say": "I have it" }] },
    ] }))
    .await;
    house.start().await;
    let answer = house.ask("delegate it").await;
    assert!(answer.contains("I have it"), "{answer}");
    let world = judge::all_is_well(&house, &Limits::default()).await;
    assert_eq!(world.tasks.len(), 1);
    let child = task_of(&world, "whole");
    let row = world.inbox.iter().find(|row| row.kind == InboxKind::Brief).unwrap();
    assert_eq!(row.task, Some(child.id));
    let session = world.sessions.iter().find(|session| session.key == child.session_key).unwrap();
    let reader = Reader::open(&house.database()).unwrap();
    let entries = reader.entries(session.session_id, 0, 10).await.unwrap();
    let given = entries.iter().find(|entry| entry.kind == EntryKind::Brief).unwrap();
    assert!(given.body.contains(&brief), "the brief is not whole");
    let asked = house.stub.journal().requests.iter().map(|entry| entry.body_bytes).max();
    assert!(asked > Some(MEGABYTE), "the model has not seen all of it: {asked:?}");
}
