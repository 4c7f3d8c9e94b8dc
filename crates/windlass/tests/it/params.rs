//! What is said of single models reaches them: how their answers are drawn, and how long they are.

use serde_json::{Value, json};
use stub::{Options, Stub};

use crate::house::House;

const WIRES: [&str; 4] =
    ["anthropic-messages", "openai-completions", "openai-responses", "google-generative-ai"];

/// A house whose one stub is a provider on each wire, by the wire's name. All agents want their
/// models so and so, and one agent wants one of them otherwise.
async fn house() -> House {
    let stub = Stub::start(Options { cache_min: 64, ..Options::default() }).await.unwrap();
    let url = stub.url();
    let mut house = House::build_with(stub, WIRES[0], |config| {
        let mut wishes = json!({});
        for wire in WIRES {
            let base = if wire.starts_with("openai") { format!("{url}/v1") } else { url.clone() };
            config["models"]["providers"][wire] = json!({
                "baseUrl": base, "api": wire, "apiKey": "sk-test-0123456789",
                "models": [{ "id": "stub-1", "reasoning": true, "maxTokens": 4000 }],
            });
            wishes[format!("{wire}/stub-1")] =
                json!({ "params": { "temperature": 0.25, "topP": 0.5, "maxTokens": 3000 } });
        }
        config["agents"]["defaults"]["models"] = wishes;
        let own = json!({ "params": { "temperature": 1.5, "maxTokens": 900, "thinking": "low" } });
        config["agents"]["entries"] = json!({
            "main": {},
            "odd": { "models": { "openai-responses/stub-1": own } },
        });
    });
    house.start().await;
    house
}

/// What the newest request says of how it is answered.
async fn asked(house: &House, agent: &str, wire: &str) -> (Value, String) {
    let key = format!("agent:{agent}:thread:{wire}");
    let to = ["agent", "--agent", agent, "--session-key", &key, "--message"];
    house.ok(&[&to[..], &[&format!("/model {wire}/stub-1")]].concat()).await;
    house.ok(&[&to[..], &["hello"]].concat()).await;
    let request = house.stub.journal().requests.pop().unwrap();
    (json!(request.sampling), request.thinking)
}

#[tokio::test]
async fn the_params_of_a_model_are_sent_in_the_words_of_its_wire() {
    let house = house().await;
    let expected = [
        json!({ "temperature": 0.25, "top_p": 0.5, "max_tokens": 3000 }),
        json!({ "temperature": 0.25, "top_p": 0.5, "max_tokens": 3000 }),
        json!({ "temperature": 0.25, "top_p": 0.5, "max_output_tokens": 3000 }),
        json!({ "temperature": 0.25, "topP": 0.5, "maxOutputTokens": 3000 }),
    ];
    for (wire, expected) in WIRES.iter().zip(expected) {
        assert_eq!(asked(&house, "main", wire).await, (expected, String::new()), "{wire}");
    }
    // What an agent says itself is nearer, key by key.
    let (sampling, thinking) = asked(&house, "odd", "openai-responses").await;
    let own = json!({ "temperature": 1.5, "top_p": 0.5, "max_output_tokens": 900 });
    assert_eq!(sampling, own);
    assert!(thinking.contains("low"), "{thinking}");
    assert_eq!(house.stub.journal().invalid, 0);
}
