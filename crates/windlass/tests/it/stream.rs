//! What is seen of a run while it goes on: text, thoughts and tools, at a terminal and as JSON.

use serde_json::{Value, json};
use stub::Plan;

use crate::house::House;

/// The four wires, and where each has its door at the stub.
const WIRES: [(&str, &str); 4] = [
    ("anthropic-messages", ""),
    ("openai-completions", "/v1"),
    ("openai-responses", "/v1"),
    ("google-generative-ai", "/v1beta"),
];

async fn house(wire: &str, path: &str) -> House {
    let mut house = House::build("anthropic-messages", |config| {
        let provider = &mut config["models"]["providers"]["stub"];
        provider["api"] = json!(wire);
        provider["baseUrl"] = json!(format!("{}{path}", provider["baseUrl"].as_str().unwrap()));
    })
    .await;
    house.start().await;
    house
}

fn look() -> String {
    Plan::new()
        .call("exec", json!({ "command": "echo seen" }))
        .thinking("where may it be")
        .say("it is here")
        .to_brief()
}

#[tokio::test]
async fn the_answer_goes_to_stdout_and_what_is_done_to_stderr_on_every_wire() {
    for (wire, path) in WIRES {
        let house = house(wire, path).await;
        let output = house.run(&["agent", "--stream", "--thinking", "--message", &look()]).await;
        let (said, told) = (
            String::from_utf8_lossy(&output.stdout).into_owned(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        );
        assert!(output.status.success(), "{wire}: {told}\n{}", house.log());
        assert_eq!(said, "it is here\n", "{wire}");
        assert!(told.contains("where may it be\n· exec: echo seen\n"), "{wire}: {told}");
        assert!(told.contains("· exec: ok, "), "{wire}: {told}");

        // Who does not ask is not told what was thought, nor what was done.
        let output = house.run(&["agent", "--stream", "--message", &look()]).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains("· exec: echo seen") && !told.contains("where"), "{wire}: {told}");
        let output = house.run(&["agent", "--message", &look()]).await;
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{wire}");
    }
}

#[tokio::test]
async fn a_program_gets_one_line_for_each_event_and_the_answer_at_the_end() {
    let house = house("anthropic-messages", "").await;
    let plan = Plan::new()
        .call("exec", json!({ "command": format!("echo ghp_{}", "a1".repeat(20)) }))
        .say("done")
        .to_brief();
    let lines = house.json(&["agent", "--stream", "--json", "--message", &plan]).await;
    let (last, events) = lines.split_last().unwrap();
    assert_eq!(
        (&last["status"], &last["result"]["payloads"][0]["text"]),
        (&json!("ok"), &json!("done"))
    );
    assert_eq!(last["result"]["meta"]["stopReason"], "stop");
    let of = |stream: &str| -> Vec<&Value> {
        let all = events.iter().filter(|event| event["event"] == "agent");
        all.map(|event| &event["payload"]).filter(|event| event["stream"] == stream).collect()
    };
    let phases: Vec<&Value> =
        of("run_status").iter().map(|event| &event["data"]["phase"]).collect();
    assert_eq!(phases.last(), Some(&&json!("starting_model")), "{phases:?}");
    let [start, result] = of("tool")[..] else { panic!("{events:#?}") };
    assert_eq!(start["data"]["args"]["command"], "echo [redacted]");
    assert!(result["data"]["result"].as_str().unwrap().starts_with("[redacted]"), "{result}");
    let [began, ended] = of("item")[..] else { panic!("{events:#?}") };
    assert_eq!(
        (&began["data"]["title"], &began["data"]["status"]),
        (&json!("echo [redacted]"), &json!("running"))
    );
    assert_eq!(
        (&ended["data"]["status"], ended["data"]["durationMs"].is_u64()),
        (&json!("completed"), true)
    );
    let numbers: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).collect();
    assert!(numbers.is_sorted() && numbers.len() == events.len(), "{numbers:?}");
}

/// An answer that its output limit has cut is not taken for whole, wherever it is read.
#[tokio::test]
async fn a_cut_answer_is_said_to_be_cut() {
    let house = house("openai-completions", "/v1").await;
    let cut = json!([{ "say": "half of it", "stop": "length" }]);
    let brief = format!("<<stub {cut}>>");
    let output = house.run(&["agent", "--message", &brief]).await;
    assert_eq!(String::from_utf8_lossy(&output.stdout), "half of it\n");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("the answer was cut at the output limit"), "{told}");

    let lines = house.json(&["agent", "--json", "--message", &brief]).await;
    assert_eq!(lines[0]["result"]["meta"]["stopReason"], "length", "{lines:?}");

    let output = house.run_with_stdin(&["chat"], &format!("{brief}\n")).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("the answer was cut at the output limit"), "{told}");
}

#[tokio::test]
async fn a_conversation_shows_what_is_done_and_thought_if_asked() {
    let house = house("anthropic-messages", "").await;
    let output = house.run_with_stdin(&["chat", "--thinking"], &format!("{}\n", look())).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("where may it be\n· exec: echo seen\n· exec: ok, "), "{told}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "it is here\n");
}
