//! Answers that say nothing: the conversation goes on after them.

use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, WIRES};
use crate::judge;

/// Answers with nothing in them, and with nothing but what cannot be sent back.
fn blanks() -> Value {
    let look = json!([{ "name": "exec", "arguments": { "command": "printf '%s' seen" } }]);
    json!([
        [{ "say": "" }],
        [{ "say": " \n\t" }],
        [{ "think": "nothing to say" }],
        [{ "think": "nothing to say", "say": "  " }],
        [{ "call": look }, { "say": "" }],
        [{ "say": "\n", "call": look }, { "say": "\n" }],
        [{ "think": "look", "say": " ", "call": look }, { "think": "hm" }],
    ])
}

/// No provider takes an empty message back, or one that ends with a thought; the session is
/// alive all the same, for a person and for a requester.
#[tokio::test]
async fn a_session_goes_on_after_an_answer_that_says_nothing() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        for (n, blank) in blanks().as_array().unwrap().iter().enumerate() {
            let output = house.run(&["agent", "--message", &format!("<<stub {blank}>>")]).await;
            let why = String::from_utf8_lossy(&output.stderr);
            assert!(why.contains("the model gave no answer"), "{wire} {blank}: {why}");
            let next = Plan::new().say(&format!("after {n}")).to_brief();
            let answer = house.ask(&next).await;
            assert_eq!(answer.trim(), format!("after {n}"), "{wire} {blank}\n{}", house.log());
        }
        let world = judge::all_is_well(&house, &Default::default()).await;
        assert_eq!(world.sessions.len(), 1);
    }
}

/// A child that has ended without a word is continued by a message, in its own session.
#[tokio::test]
async fn a_child_without_a_result_is_continued() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let child = json!([{ "think": "hm" }]);
        let plan = json!([
            { "call": [{ "name": "sessions_spawn", "arguments": {
                "task": format!("<<stub {child}>>"), "taskName": "mute",
            } }] },
            { "yield": true },
            { "call": [{ "name": "sessions_send", "arguments": {
                "sessionKey": {
                    "$result": { "name": "sessions_spawn", "pointer": "/childSessionKey" },
                },
                "mode": "resume", "message": Plan::new().say("found again").to_brief(),
            } }] },
            { "yield": true },
            { "say": "{results}" },
        ]);
        let answer = house.ask(&format!("<<stub {plan}>>")).await;
        assert!(answer.contains("found again"), "{wire}: {answer}\n{}", house.log());
        let world = judge::all_is_well(&house, &Default::default()).await;
        let words: Vec<_> = world.tasks.iter().map(|task| task.outcome.unwrap().as_str()).collect();
        assert_eq!(words, ["no_result", "completed"], "{wire}");
        assert_eq!(world.sessions.len(), 2, "{wire}: one child session");
    }
}
