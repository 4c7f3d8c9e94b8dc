//! The demo, as a new user would run it: with the embedded defaults, and with a model of theirs.

use serde_json::Value;
use stub::Plan;

use crate::house::{House, late};

fn check(demo: &Value) {
    let proof = &demo["proof"];
    assert!(proof["modelCalls"].as_u64().unwrap() >= 5, "{demo}");
    assert!(proof["callsCut"].as_u64().unwrap() >= 1, "nothing was cut by the kill: {demo}");
    assert_eq!(proof["answersPaidTwice"], 0);
    assert_eq!(proof["resultsDelivered"], 3);
    assert_eq!(proof["resultsDeliveredTwice"], 0);
    assert_eq!(proof["invariantsBroken"], serde_json::json!([]));
}

#[tokio::test]
async fn with_the_embedded_defaults() {
    let house = House::build("anthropic-messages", |_| {}).await;
    let demo = house.json(&["demo", "--json"]).await;
    check(&demo[0]);
    let answer = demo[0]["answer"].as_str().unwrap();
    for part in ["research", "analyse", "draft"] {
        assert!(answer.contains(part), "{answer}");
    }
}

#[tokio::test]
async fn with_a_server_of_ones_own() {
    let house = House::build("openai-completions", |_| {}).await;
    let child = late(2_500, "<{name}>");
    let brief = Plan::named("r")
        .spawn([("a", child.clone()), ("b", child.clone()), ("c", child)])
        .yield_()
        .say("{results}")
        .to_brief();
    let url = format!("{}/v1", house.stub.url());
    let args = ["demo", "--json", "--provider", &url, "--model", "stub-1", "--message", &brief];
    let demo = house.json(&args).await;
    check(&demo[0]);
    for child in ["r.a", "r.b", "r.c"] {
        let answer = demo[0]["answer"].as_str().unwrap();
        assert_eq!(answer.matches(&format!("<{child}>")).count(), 1, "{answer}");
    }
    assert_eq!(house.stub.journal().invalid, 0);
}

#[tokio::test]
async fn a_key_that_is_missing_is_named() {
    let house = House::build("openai-completions", |_| {}).await;
    let output = house.run(&["demo", "--provider", "anthropic"]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ANTHROPIC_API_KEY"));
}
