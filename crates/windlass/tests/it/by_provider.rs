//! Tools that a provider's models do not have, whoever asks them: chosen, or in another's place.

use serde_json::{Value, json};
use stub::{Options, Plan, Stub};

use crate::house::House;
use crate::judge;

/// An agent on `stub/stub-1`, in whose place `other/stub-2` is asked; that one may run no commands.
async fn house() -> House {
    let stub = Stub::start(Options { cache_min: 64, ..Options::default() }).await.unwrap();
    let base = format!("{}/v1", stub.url());
    let mut house = House::build_with(stub, "anthropic-messages", |config| {
        config["models"]["providers"]["other"] = json!({
            "baseUrl": base, "api": "openai-completions", "apiKey": "sk-test-0123456789",
            "models": [{ "id": "stub-2" }],
        });
        config["agents"]["defaults"]["model"] =
            json!({ "primary": "stub/stub-1", "fallbacks": ["other/stub-2"] });
        config["tools"] = json!({ "byProvider": { "other": { "deny": ["group:runtime"] } } });
    });
    house.start().await;
    house
}

fn touch(name: &str) -> String {
    let command = json!({ "command": format!("echo x >> {name}") });
    Plan::new().call("exec", command).say("{last}").to_brief()
}

fn is_there(house: &House, name: &str) -> bool {
    house.folder.path().join("workspace").join(name).exists()
}

/// The rule that takes `exec` away, if one does.
async fn rule(house: &House, args: &[&str]) -> Option<(String, String)> {
    let args = [&["tools", "explain", "--json"], args].concat();
    let told = house.json(&args).await.remove(0);
    let removed = told["removed"].as_array().unwrap().iter();
    let removed = removed.filter(|removed| removed["id"] == "exec");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    removed.map(|removed| (word(&removed["rule"]), word(&removed["key"]))).next()
}

/// The prefix and the tools of the newest request.
fn newest(house: &House) -> (String, bool) {
    let requests = house.stub.journal().requests;
    let request = requests.last().unwrap();
    (request.prefix_hash.clone(), request.tools.iter().any(|tool| tool == "exec"))
}

#[tokio::test]
async fn a_providers_rules_hold_for_its_models_wherever_they_are_asked() {
    let house = house().await;
    let denied = ("provider".to_owned(), "tools.byProvider.other.deny".to_owned());

    // The first choice has all its tools.
    house.ask(&touch("a")).await;
    assert!(is_there(&house, "a"), "{}", house.log());
    let (prefix, has) = newest(&house);
    assert!(has);
    assert_eq!(rule(&house, &["--session", "main"]).await, None);
    assert_eq!(rule(&house, &["--agent", "main"]).await, None);
    let on_other = ["--agent", "main", "--model", "other/stub-2"];
    assert_eq!(rule(&house, &on_other).await, Some(denied.clone()));

    // A conversation on the other model is not even offered it.
    let in_thread = ["agent", "--session-key", "thread:other", "--message"];
    house.ok(&[&in_thread[..], &["/model other/stub-2"]].concat()).await;
    house.ok(&[&in_thread[..], &["hello"]].concat()).await;
    let (of_other, has) = newest(&house);
    assert!(!has && of_other != prefix);
    assert_eq!(rule(&house, &["--session", "thread:other"]).await, Some(denied));
    let told = house.ok(&[&in_thread[..], &[&touch("b")]].concat()).await;
    assert!(told.contains("tools.byProvider.other.deny"), "{told}");

    // In the place of the first choice it is offered what that was, and refused.
    let refused = json!([{ "kind": "error", "status": 429, "retry_after_s": 600,
                           "model": "stub-1" }]);
    house.stub.set_faults(serde_json::from_value(refused).unwrap());
    let told = house.ask(&touch("c")).await;
    assert!(told.contains("tools.byProvider.other.deny is [\"group:runtime\"]"), "{told}");
    assert!(newest(&house).1, "the prefix is that of the episode");
    assert!(!is_there(&house, "b") && !is_there(&house, "c"));
    assert_eq!(house.stub.journal().invalid, 0);
    judge::all_is_well(&house, &Default::default()).await;
}
