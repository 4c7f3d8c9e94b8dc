//! Which model is asked: another in the middle of a conversation, and another in one's place.

use serde_json::{Value, json};
use stub::{Options, Plan, Stub};

use crate::house::House;
use crate::judge;
use crate::live::Live;

const WIRES: [&str; 4] =
    ["anthropic-messages", "openai-completions", "openai-responses", "google-generative-ai"];

/// A house whose one stub is a provider on each wire, by the wire's name.
async fn house(change: impl FnOnce(&mut Value)) -> House {
    let stub = Stub::start(Options { cache_min: 64, ..Options::default() }).await.unwrap();
    let url = stub.url();
    let mut house = House::build_with(stub, WIRES[0], |config| {
        let providers = &mut config["models"]["providers"];
        for wire in WIRES {
            let base = if wire.starts_with("openai") { format!("{url}/v1") } else { url.clone() };
            providers[wire] = json!({
                "baseUrl": base, "api": wire, "apiKey": "sk-test-0123456789",
                "models": [{ "id": "stub-1", "reasoning": true }],
            });
        }
        change(config);
    });
    house.start().await;
    house
}

/// What was said of thinking in the newest request.
fn thinking(house: &House) -> String {
    house.stub.journal().requests.last().unwrap().thinking.clone()
}

fn newest_wire(house: &House) -> String {
    house.stub.journal().requests.last().unwrap().wire.clone()
}

/// Thoughts, two calls and words of each wire are taken by each other one, with thinking on.
#[tokio::test]
async fn a_conversation_goes_from_each_wire_to_each_other() {
    let house = house(|_| {}).await;
    let look = json!({ "command": "printf '%s' seen" });
    for from in WIRES {
        for to in WIRES {
            let key = format!("thread:{from}.{to}");
            let say = |message: String| {
                let (house, key) = (&house, key.clone());
                async move { house.ok(&["agent", "--session-key", &key, "--message", &message]).await }
            };
            say(format!("/model {from}/stub-1")).await;
            say("/think high".to_owned()).await;
            let plan = json!([
                { "think": "look", "say": "I look.", "call": [
                    { "name": "exec", "arguments": look }, { "name": "exec", "arguments": look },
                ] },
                { "think": "hm", "say": "both are there" },
            ]);
            let answer = say(format!("<<stub {plan}>>")).await;
            assert_eq!(answer.trim(), "both are there", "{from}\n{}", house.log());
            let told = say(format!("/model {to}/stub-1")).await;
            assert!(told.contains(&format!("model: {to}/stub-1")), "{told}");
            let answer = say(Plan::new().say("taken").to_brief()).await;
            assert_eq!(answer.trim(), "taken", "{from} to {to}\n{}", house.log());
            assert_ne!(thinking(&house), "", "{from} to {to}");
        }
    }
    assert_eq!(house.stub.journal().invalid, 0);
    judge::all_is_well(&house, &Default::default()).await;
}

/// A level is said in the words of the wire, an alias names a model, and what is set can be seen
/// and taken back.
#[tokio::test]
async fn a_person_chooses_model_and_thinking() {
    let house = house(|config| {
        let alias = json!({ "openai-responses/stub-1": { "alias": "Other" } });
        config["agents"]["defaults"]["models"] = alias;
        let plain = &mut config["models"]["providers"][WIRES[0]]["models"][0];
        plain["reasoning"] = json!(false);
        config["agents"]["defaults"]["model"] = json!(format!("{}/stub-1", WIRES[0]));
    })
    .await;
    house.ask("hello").await;
    assert_eq!((newest_wire(&house).as_str(), thinking(&house).as_str()), (WIRES[0], ""));
    house.ask("/model OTHER").await;
    house.ask("/think low").await;
    house.ask("hello again").await;
    assert_eq!((newest_wire(&house).as_str(), thinking(&house).as_str()), (WIRES[2], "low"));
    let card = house.ask("/status").await;
    assert!(
        card.contains("model openai-responses/stub-1") && card.contains("thinking low"),
        "{card}"
    );
    let models = house.ask("/models openai-responses").await;
    assert!(models.contains("openai-responses/stub-1 (other)"), "{models}");
    house.ask("/model default").await;
    let told = house.ask("/think").await;
    assert!(told.contains("thinking low") && told.contains("without effect"), "{told}");
    house.ask("and now").await;
    assert_eq!((newest_wire(&house).as_str(), thinking(&house).as_str()), (WIRES[0], ""));
    let output = house.run(&["agent", "--message", "/model othr"]).await;
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("did you mean `other`?"), "{said}");
}

/// The first choice is refused for a minute: each session is answered by the fallback, the first
/// is asked once, and whoever looks is told which model has answered, and why.
#[tokio::test]
async fn a_fallback_answers_and_is_named() {
    let house = house(|config| {
        config["agents"]["defaults"]["model"] = json!({
            "primary": "anthropic-messages/stub-1",
            "fallbacks": ["openai-completions/stub-2"],
        });
    })
    .await;
    let refused =
        json!([{ "kind": "error", "status": 429, "retry_after_s": 60, "model": "stub-1" }]);
    house.stub.set_faults(serde_json::from_value(refused).unwrap());
    for n in 0..5 {
        let key = format!("thread:t{n}");
        let args =
            ["agent", "--session-key", &key, "--message", &Plan::new().say("here").to_brief()];
        assert_eq!(house.ok(&args).await.trim(), "here", "{}", house.log());
    }
    let asked = |model: &str| {
        let all = house.stub.journal().requests;
        all.iter().filter(|entry| entry.model == model).count()
    };
    assert_eq!((asked("stub-1"), asked("stub-2")), (1, 5));
    let brief = Plan::new().say("here").to_brief();
    let streamed = ["agent", "--session-key", "thread:t9", "--stream", "--json", "-m", &brief];
    let lines = house.json(&streamed).await;
    let phase = |line: &&Value| line["payload"]["data"]["phase"] == "fallback";
    let told = lines.iter().find(phase).unwrap_or_else(|| panic!("{lines:#?}"));
    let words = told["payload"]["data"]["detail"].as_str().unwrap();
    assert!(words.starts_with("openai-completions/stub-2 in the place of "), "{words}");
    let card = house.ok(&["agent", "--session-key", "thread:t3", "--message", "/status"]).await;
    assert!(
        card.contains("asked anthropic-messages/stub-1, answered by openai-completions/stub-2: "),
        "{card}"
    );
    let rows = house.json(&["sessions", "list", "--json"]).await;
    let row = rows.iter().find(|row| row["key"] == "agent:main:thread:t4").unwrap();
    assert_eq!(row["fallback"]["model"], "openai-completions/stub-2", "{row}");
    assert!(row["fallback"]["reason"].as_str().unwrap().contains("429"), "{row}");
}

/// Two accounts of one provider: the key of one is refused, and the other is asked from then on.
#[tokio::test]
async fn a_bad_key_of_one_account_does_not_stop_the_other() {
    let options = Options { api_keys: vec!["sk-good".to_owned()], ..Options::default() };
    let stub = Stub::start(options).await.unwrap();
    let mut house = House::build_with(stub, WIRES[0], |config| {
        config["models"]["providers"]["stub"].as_object_mut().unwrap().remove("apiKey");
        config["auth"] = json!({
            "profiles": {
                "stub:one": { "apiKey": "sk-bad" },
                "stub:two": { "apiKey": { "source": "exec", "command": ["echo", "sk-good"] } },
            },
            "order": { "stub": ["one", "two"] },
        });
    });
    house.start().await;
    for n in 0..3 {
        assert_eq!(
            house.ask(&Plan::new().say(&format!("here {n}")).to_brief()).await.trim(),
            format!("here {n}")
        );
    }
    let refused = house.stub.journal().requests;
    let refused = refused.iter().filter(|entry| entry.status == 401).count();
    assert_eq!(refused, 1, "it is asked once, not by each run");
    let card = house.ask("/status").await;
    assert!(
        card.contains("answered by stub/stub-1#two") || !card.contains("answered by"),
        "{card}"
    );
    let status = house.ok(&["status"]).await;
    assert!(status.contains("stub/one/stub-1 is closed (auth)"), "{status}");
}

/// What the command line says of models, with a gateway and without.
#[tokio::test]
async fn the_command_line_lists_and_sets_models() {
    let mut house = house(|config| {
        config["agents"]["defaults"]["model"] = json!({
            "primary": "anthropic-messages/stub-1", "fallbacks": ["other"],
        });
        let alias = json!({ "openai-responses/stub-1": { "alias": "Other" } });
        config["agents"]["defaults"]["models"] = alias;
    })
    .await;
    house.ask("hello").await;
    let told = house.ok(&["models", "set", "other"]).await;
    assert_eq!(told.trim(), "agent:main:main asks other from its next call on");
    house.ask("hello again").await;
    assert_eq!(newest_wire(&house), WIRES[2]);
    house.ok(&["models", "set", "default"]).await;
    house.ask("and again").await;
    assert_eq!(newest_wire(&house), WIRES[0]);
    let wrong = house.run(&["models", "set", "othre"]).await;
    let why = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(!wrong.status.success() && why.contains("did you mean `other`?"), "{why}");
    let status = house.ok(&["models", "status"]).await;
    assert!(status.contains("all gates are open"), "{status}");
    house.kill();

    let list = house.json(&["models", "list", "--provider", "openai-responses", "--json"]).await;
    assert_eq!(list[0]["alias"], "other", "{list:?}");
    assert_eq!((&list[0]["key"], &list[0]["reasoning"]), (&json!("static"), &json!(true)));
    let aliases = house.ok(&["models", "aliases"]).await;
    assert!(aliases.contains("other  openai-responses/stub-1"), "{aliases}");
    let fallbacks = house.ok(&["models", "fallbacks", "--agent", "main"]).await;
    assert!(fallbacks.contains("openai-responses/stub-1"), "{fallbacks}");
    assert!(!house.run(&["models", "fallbacks", "--agent", "nobody"]).await.status.success());
}

/// The same over the protocol: which models can be asked, and with which keys, of which none is
/// told.
#[tokio::test]
async fn clients_are_told_which_models_there_are_and_which_keys() {
    let stub = Stub::start(Options::default()).await.unwrap();
    let url = stub.url().to_owned();
    let mut house = House::build_with(stub, WIRES[0], |config| {
        let wire = "openai-completions";
        let models = json!([{ "id": "o3-mini", "contextWindow": 32_000, "reasoning": true }]);
        config["models"]["providers"]["second"] =
            json!({ "baseUrl": url, "api": wire, "models": models });
        config["agents"]["defaults"]["models"] =
            json!({ "second/o3-mini": { "alias": "mini" }, "groq/llama": {} });
    });
    house.start().await;
    let mut live = Live::connect(&house).await;
    let all = live.call("models.list", json!({})).await;
    let names = all["models"].as_array().unwrap().iter();
    let names: Vec<&str> = names.map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["llama", "o3-mini", "stub-1"], "{all}");
    let second = live.call("models.list", json!({ "provider": "second", "view": "all" })).await;
    let row = json!({
        "id": "o3-mini", "name": "o3-mini", "provider": "second", "alias": "mini",
        "contextWindow": 32_000, "reasoning": true,
    });
    assert_eq!(second["models"], json!([row]));
    let status = live.call("models.authStatus", json!({})).await;
    assert!(status["ts"].as_u64().unwrap() > 0);
    let providers = status["providers"].as_array().unwrap();
    let of = |id: &str| providers.iter().find(|row| row["provider"] == id).unwrap();
    let profile = json!({ "profileId": "stub:default", "type": "api_key", "status": "static" });
    let (known, none) = (json!([profile]), json!([]));
    for (id, state, profiles) in [
        ("stub", "static", &known),
        ("groq", "missing", &none),
        ("second", "ok", &none),
        ("ollama", "ok", &none),
    ] {
        assert_eq!((&of(id)["status"], &of(id)["profiles"]), (&json!(state), profiles), "{id}");
    }
    assert!(!status.to_string().contains("sk-test"), "{status}");
}

/// Without a key and without a server: three lines say what to do, wherever it is noticed.
#[tokio::test]
async fn a_first_run_without_a_key_says_what_to_do() {
    let stub = Stub::start(Options::default()).await.unwrap();
    let mut house = House::build_with(stub, WIRES[0], |config| *config = json!({}));
    house.start().await;
    let output = house.run(&["agent", "--message", "hello"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    for word in ["export ANTHROPIC_API_KEY", "ollama/NAME", "windlass demo"] {
        assert!(said.contains(word), "{word}: {said}");
        assert!(house.log().contains(word), "{word}: {}", house.log());
        assert!(house.ok(&["doctor"]).await.contains(word), "{word}");
    }
    // Whoever talks is told as well, and can go on talking.
    let chat = house.run_with_stdin(&["chat"], "hello\n/status\n").await;
    let said = String::from_utf8_lossy(&chat.stderr).into_owned();
    for word in ["export ANTHROPIC_API_KEY", "ollama/NAME", "windlass demo"] {
        assert_eq!(said.matches(word).count(), 1, "{word}: {said}");
    }
    let shown = String::from_utf8_lossy(&chat.stdout).into_owned();
    assert!(shown.contains("agent:main:main"), "{shown}");
    // And what the third line says works: the demo wants neither.
    let demo = house.json(&["demo", "--json"]).await;
    assert_eq!(demo[0]["proof"]["resultsDelivered"], 3, "{demo:?}");
}
