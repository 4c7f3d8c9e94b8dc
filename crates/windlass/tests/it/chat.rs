//! A conversation at the keyboard, or through a pipe.

use serde_json::json;
use stub::Plan;

use crate::house::{House, late};

/// The words before a tool are not all there is.
#[tokio::test]
async fn an_answer_after_a_tool_is_printed() {
    let mut house = House::build("openai-completions", |_| {}).await;
    house.start().await;
    let look = json!([
        { "say": "let me look", "call": [{ "name": "exec", "arguments": { "command": "true" } }] },
        { "say": "found it" },
    ]);
    let output = house.run_with_stdin(&["chat"], &format!("<<stub {look}>>\n")).await;
    let words = String::from_utf8_lossy(&output.stdout);
    assert_eq!(words.lines().last(), Some("found it"), "{words}");
}

/// The second message enters the run of the first, which has one end for both.
#[tokio::test]
async fn two_messages_that_one_run_answers_do_not_hold_the_end_up() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let slow = Plan::new().call("exec", json!({ "command": "sleep 1" })).say("both").to_brief();
    let output = house.run_with_stdin(&["chat"], &format!("{slow}\nand this\n")).await;
    let words = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && words.ends_with("both\n"), "{words}");
}

#[tokio::test]
async fn a_message_that_the_queue_has_no_room_for_is_said_to_be_dropped() {
    let mut house = House::build("anthropic-messages", |config| {
        config["messages"] = json!({ "queue": { "mode": "followup", "cap": 1, "drop": "old" } });
    })
    .await;
    house.start().await;
    let lines = format!("{}\ntwo\nthree\nfour\n", late(1_500, "one").to_brief());
    let output = house.run_with_stdin(&["chat"], &lines).await;
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "one\nstub heard: four\n");
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(words.matches("error: the message was dropped").count(), 2, "{words}");
}

/// Messages that one connection sends without waiting are taken in the order in which it sent them.
#[tokio::test]
async fn messages_are_taken_in_the_order_in_which_they_were_sent() {
    let mut house = House::build("anthropic-messages", |config| {
        config["messages"] = json!({ "queue": { "cap": 100 } });
    })
    .await;
    house.start().await;
    let slow = Plan::new().call("exec", json!({ "command": "sleep 1" })).say("all").to_brief();
    let lines: Vec<String> = (10..60).map(|n| format!("line {n}")).collect();
    house.run_with_stdin(&["chat"], &format!("{slow}\n{}\n", lines.join("\n"))).await;

    let shown = house.json(&["sessions", "show", "main", "--limit", "200", "--json"]).await;
    let texts = shown.iter().filter_map(|message| message["content"][0]["text"].as_str());
    let taken: Vec<&str> = texts.filter(|text| text.starts_with("line ")).collect();
    assert_eq!(taken, lines);
}

#[tokio::test]
async fn a_gateway_that_goes_away_is_said_in_plain_words() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let mut command = house.command(&["chat", "--session-key", "thread:cut", "--reconnect", "1"]);
    let brief = late(60_000, "late").to_brief();
    let chatting = tokio::task::spawn_blocking(move || {
        use std::io::Write;
        use std::process::Stdio;
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        writeln!(child.stdin.as_ref().unwrap(), "{brief}").unwrap();
        child.wait_with_output().unwrap()
    });
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    house.kill();
    let output = chatting.await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("nothing is lost") && words.contains("has gone away"), "{words}");
}
