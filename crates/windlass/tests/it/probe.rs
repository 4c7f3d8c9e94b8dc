//! Is a model fit to orchestrate? Models of every sort are probed, and found out.

use serde_json::{Value, json};
use stub::{Options, Script, Stub};

use crate::house::House;

/// What a good model does with each of the three pieces of work.
fn good() -> [Value; 3] {
    [
        json!([
            { "call": spawns(&["Lisbon", "Oslo", "Turin"]), "yield": true },
            { "when_results": 3, "say": "{results}" },
        ]),
        json!([
            { "call": spawns(&["Genoa", "Riga"]), "yield": true },
            { "when_results": 2, "say": "{results}" },
        ]),
        json!([
            { "call": spawns(&["container 7"]) },
            { "when_results": 1, "call": [{ "name": "sessions_send", "arguments": {
                "sessionKey": { "$result": { "name": "sessions_spawn", "pointer": "/childSessionKey" } },
                "mode": "resume", "message": "Try once more.",
            } }] },
            { "when_results": 2, "say": "The number: {results}" },
        ]),
    ]
}

fn spawns(tasks: &[&str]) -> Value {
    let call = |task: &&str| json!({ "name": "sessions_spawn", "arguments": { "task": task } });
    tasks.iter().map(call).collect()
}

/// A house whose model does this with each piece of work, and costs something.
async fn house(does: [Value; 3], change: impl FnOnce(&mut Value)) -> House {
    let first = ["Lisbon", "Genoa", "container 7"];
    let rule = |(first, steps)| json!({ "when": { "first": first }, "steps": steps });
    let rules: Vec<Value> = first.into_iter().zip(does).map(rule).collect();
    let script: Script = serde_json::from_value(json!({ "rules": rules })).unwrap();
    let options = Options { cache_min: 64, script, ..Options::default() };
    let stub = Stub::start(options).await.unwrap();
    House::build_with(stub, "openai-completions", |config| {
        let cost = json!({ "input": 2, "output": 8, "cacheRead": 0.5, "cacheWrite": 2 });
        config["models"]["providers"]["stub"]["models"][0]["cost"] = cost;
        change(config);
    })
}

/// Probes the model, and returns the exit code with what was found.
async fn probe(house: &House, more: &[&str]) -> (i32, Value) {
    let args = [&["models", "probe", "stub/stub-1", "--json"], more].concat();
    let output = house.run(&args).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let found = serde_json::from_slice(&output.stdout);
    let found = found.unwrap_or_else(|_| panic!("nothing was found: {stderr}"));
    assert!(stderr.contains("at most $"), "the bound comes first: {stderr}");
    (output.status.code().unwrap(), found)
}

/// The findings of one check: case and level.
fn of<'a>(found: &'a Value, check: &str) -> Vec<(&'a str, &'a str)> {
    let findings = found["findings"].as_array().unwrap().iter();
    let findings = findings.filter(|finding| finding["check"] == check);
    let words = |finding: &'a Value| {
        (finding["case"].as_str().unwrap(), finding["level"].as_str().unwrap())
    };
    findings.map(words).collect()
}

/// It starts all at once, yields, has a failure tried again and tells what it was told. What it
/// has cost is the provider's own count, and nothing is left in the folder of whoever asks.
#[tokio::test]
async fn a_model_that_delegates_well_is_fit() {
    let house = house(good(), |_| {}).await;
    let (code, found) = probe(&house, &[]).await;
    assert_eq!((code, &found["fitness"]), (0, &json!("fit")), "{found:#}");
    assert_eq!(found["reasons"], json!([]));
    assert_eq!(of(&found, "recovers-from-a-failure"), [("failure", "good")]);
    assert_eq!(of(&found, "delegates-unasked"), [("unasked", "good")]);

    let journal = house.stub.journal();
    assert_eq!(journal.invalid, 0);
    assert_eq!(found["spent"]["calls"], journal.requests.len());
    let sums = journal.requests.iter().map(|request| request.usage);
    let output: u64 = sums.map(|usage| usage.output).sum();
    assert_eq!(found["spent"]["usage"]["output"], output);
    let (spent, bound) = (found["spent"]["usd"].as_f64(), found["bound"]["usd"].as_f64());
    assert!(spent > Some(0.0) && spent < bound, "{found:#}");
    assert!(!house.database().exists(), "a probe is no work of the user's own gateway");

    let shown = house.ok(&["models", "probe", "stub/stub-1"]).await;
    for part in ["stub/stub-1: fit", "asked: The depots in Lisbon", "Not in the ledger"] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}

#[tokio::test]
async fn a_model_that_never_delegates_is_not_fit() {
    let words = || json!([{ "say": "I would need the records for that." }]);
    let house = house([words(), words(), words()], |_| {}).await;
    let (code, found) = probe(&house, &[]).await;
    assert_eq!((code, &found["fitness"]), (3, &json!("not fit")));
    assert_eq!(of(&found, "delegates-unasked"), [("unasked", "weak")]);
    assert_eq!(of(&found, "delegates-when-told"), [("told", "bad"), ("failure", "bad")]);
    let evidence = &found["findings"][0];
    assert!(evidence["asked"].as_str().unwrap().contains("Lisbon"), "{evidence}");
    assert_eq!(evidence["excerpt"], "I would need the records for that.");
    assert!(found["change"][0].as_str().unwrap().contains("let another model delegate"));
}

#[tokio::test]
async fn a_model_that_delegates_only_when_told_is_fit_with_care() {
    let [_, told, failure] = good();
    let house = house([json!([{ "say": "Which records?" }]), told, failure], |_| {}).await;
    let (code, found) = probe(&house, &[]).await;
    assert_eq!((code, &found["fitness"]), (0, &json!("fit with care")), "{found:#}");
    let reasons = found["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "{found:#}");
    assert!(reasons[0].as_str().unwrap().starts_with("delegates-unasked"));
    assert!(found["change"][0].as_str().unwrap().contains("AGENTS.md"));
}

#[tokio::test]
async fn a_model_that_looks_instead_of_waiting_is_told_from_one_that_yields() {
    let [unasked, _, failure] = good();
    let look = json!({ "name": "subagents", "arguments": { "action": "list" } });
    let told = json!([
        { "call": spawns(&["Genoa", "Riga"]) },
        { "call": [look], "repeat": 2 },
        { "when_results": 2, "say": "{results}" },
    ]);
    let house = house([unasked, told, failure], |_| {}).await;
    let (_, found) = probe(&house, &[]).await;
    assert_eq!(found["fitness"], "fit with care", "{found:#}");
    let waits = of(&found, "waits-without-polling");
    assert_eq!(waits, [("unasked", "good"), ("told", "weak"), ("failure", "good")]);
}

/// It answers before anything has come, with numbers of its own.
#[tokio::test]
async fn a_model_that_makes_results_up_is_not_fit() {
    let [unasked, _, failure] = good();
    let told = json!([
        { "say": "I start them.", "call": spawns(&["Genoa", "Riga"]) },
        { "say": "Genoa is WL-4F00BA and Riga is WL-9C11DE." },
        { "say": "As I said." },
        { "say": "As I said." },
    ]);
    let house = house([unasked, told, failure], |_| {}).await;
    let (code, found) = probe(&house, &[]).await;
    assert_eq!(code, 3, "{found:#}");
    let invents = of(&found, "invents-nothing");
    assert!(invents.contains(&("told", "bad")), "{found:#}");
    let why = found["reasons"].to_string();
    assert!(why.contains("WL-4F00BA, which nobody had told it"), "{why}");
}

#[tokio::test]
async fn a_refusal_that_nobody_has_made_is_found() {
    let [unasked, _, failure] = good();
    let told = json!([{ "say": "I'm unable to spawn sub-agents in this environment." }]);
    let house = house([unasked, told, failure], |_| {}).await;
    let (code, found) = probe(&house, &[]).await;
    assert_eq!(code, 3);
    assert!(of(&found, "invents-no-refusal").contains(&("told", "bad")), "{found:#}");
}

#[tokio::test]
async fn broken_calls_are_found_and_those_that_come_right_are_forgiven() {
    let [unasked, told, failure] = good();
    let broken = json!({ "name": "sessions_spawn", "raw": "{\"task\": \"Gen" });
    let mut steps = told.as_array().unwrap().clone();
    steps.insert(0, json!({ "call": [broken] }));
    let house = house([unasked, json!(steps), failure], |_| {}).await;
    let (code, found) = probe(&house, &[]).await;
    assert_eq!((code, &found["fitness"]), (0, &json!("fit with care")), "{found:#}");
    assert!(of(&found, "writes-valid-calls").contains(&("told", "weak")), "{found:#}");
}

/// It never comes to an end: the probe does, and what it spends has a bound.
#[tokio::test]
async fn a_model_without_end_is_cut_off() {
    let [unasked, _, failure] = good();
    let looks: Vec<Value> = (0..40)
        .map(|n| {
            let arguments = json!({ "action": "list", "recentMinutes": 10 + n });
            json!({ "call": [{ "name": "subagents", "arguments": arguments }] })
        })
        .collect();
    let house = house([unasked, json!(looks), failure], |_| {}).await;
    let (code, found) = probe(&house, &[]).await;
    assert_eq!(code, 3, "{found:#}");
    assert!(of(&found, "comes-to-an-end").contains(&("told", "bad")), "{found:#}");
    let told = house.stub.journal().requests.into_iter();
    let told = told.filter(|request| request.tools.iter().any(|tool| tool == "sessions_spawn"));
    assert!(told.count() <= 3 * 12, "every case has twelve calls");
}

/// The money is over in the middle of a case: that is said, and it is not passed.
#[tokio::test]
async fn what_may_be_spent_is_never_passed() {
    let house = house(good(), |config| {
        let cost = json!({ "input": 30, "output": 100, "cacheRead": 30, "cacheWrite": 30 });
        config["models"]["providers"]["stub"]["models"][0]["cost"] = cost;
    })
    .await;
    let (code, found) = probe(&house, &["--max-usd", "1.95"]).await;
    assert_eq!((code, &found["fitness"]), (0, &json!("fit with care")), "{found:#}");
    assert!(of(&found, "comes-to-an-end").contains(&("failure", "weak")), "{found:#}");
    assert!(found["spent"]["usd"].as_f64() <= Some(1.95), "{found:#}");
    assert!(found["reasons"].to_string().contains("--max-usd"), "{found:#}");
}

/// What cannot be probed is refused in one sentence, before anything is sent if that can be known.
#[tokio::test]
async fn what_cannot_be_probed_is_refused() {
    let house = house(good(), |config| {
        let more = json!({ "id": "stub-2" });
        config["models"]["providers"]["stub"]["models"].as_array_mut().unwrap().push(more);
    })
    .await;
    #[rustfmt::skip]
    let table: [(&[&str], &[&str]); 4] = [
        (&["stub/stub-3"], &["no model `stub/stub-3`", "did you mean `stub/stub-", "stub/stub-2"]),
        (&["stub/stub-2"], &["no price of stub/stub-2 is known", "`cost`", "--unpriced"]),
        (&["stub/stub-1", "--max-usd", "0.01"], &["one call of stub/stub-1 can cost", "--max-usd"]),
        (&["stub/stub-1", "--thinking", "high"], &["cannot be told how long to think", "reasoning"]),
    ];
    for (args, parts) in table {
        let output = house.run(&[&["models", "probe"], args].concat()).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(parts.iter().all(|part| stderr.contains(part)), "{parts:?}\n{stderr}");
    }
    assert_eq!(house.stub.journal().requests.len(), 0, "nothing was asked");

    let refused = json!({ "kind": "error", "status": 401 });
    house.stub.set_faults(vec![serde_json::from_value(refused).unwrap()]);
    let output = house.run(&["models", "probe", "stub/stub-1"]).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("stub/stub-1 could not be asked"), "{stderr}");

    house.stub.set_faults(Vec::new());
    let output = house.run(&["models", "probe", "stub/stub-2", "--unpriced", "--json"]).await;
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["fitness"], &found["spent"]["usd"]), (&json!("fit"), &Value::Null));
}
