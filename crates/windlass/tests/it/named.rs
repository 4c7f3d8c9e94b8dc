//! The model that is reported is the one that has answered; another than was asked is no answer.

use std::process::Command;

use serde_json::{Value, json};
use stub::{Options, Stub};

use crate::house::House;
use crate::judge;

/// A house with four models of one provider. `tiny` says which of them answers as that.
async fn house(tiny: Option<&str>, change: impl FnOnce(&mut Value)) -> House {
    let models = ["m-1", "m-2", "m-3", "m-4"].map(str::to_owned).to_vec();
    let names = tiny.map(|model| (model.to_owned(), "tiny".to_owned())).into_iter().collect();
    let options = Options { cache_min: 64, models, names, ..Options::default() };
    let stub = Stub::start(options).await.unwrap();
    let mut house = House::build_with(stub, "openai-completions", |config| {
        let models = ["m-1", "m-2", "m-3", "m-4"].map(|id| json!({ "id": id }));
        config["models"]["providers"]["stub"]["models"] = json!(models);
        config["agents"]["defaults"]["model"] = json!("stub/m-1");
        config["agents"]["defaults"]["subagents"] =
            json!({ "maxChildrenPerAgent": 20, "maxConcurrent": 8 });
        change(config);
    });
    house.start().await;
    house
}

/// Spawns so many children on each of these models, and answers with their results.
fn brief(models: &[&str], count: usize) -> String {
    let spawn = |model: &&str| {
        let name = model.replace('-', "");
        let mut args = json!({});
        if !model.is_empty() {
            args["model"] = json!(format!("stub/{model}"));
        }
        let name = if name.is_empty() { "any".to_owned() } else { name };
        json!({ "name": name, "count": count, "plan": [{ "say": "done" }], "args": args })
    };
    let spawns: Vec<Value> = models.iter().map(spawn).collect();
    let say = json!({ "when_results": models.len() * count, "say": "{count} are here" });
    format!("<<stub {}>>", json!([{ "spawn": spawns }, say]))
}

/// Who was asked, where the call went, who has answered and why, of the runs of sub-agents.
fn runs(house: &House) -> Vec<String> {
    let question = "select asked, model, answered, outcome, coalesce(error_class, '-'), count(*)
         from runs where task_id is not null group by 1, 2, 3, 4, 5 order by 1, 2";
    rows(house, question)
}

fn rows(house: &House, question: &str) -> Vec<String> {
    let mut shell = Command::new("sqlite3");
    let output = shell.arg("-readonly").arg(house.database()).arg(question).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Twenty children on four models: what the provider was asked for, what was wished for, and what
/// is reported are the same.
#[tokio::test]
async fn twenty_children_are_answered_by_the_models_that_they_name() {
    let models = ["m-1", "m-2", "m-3", "m-4"];
    let house = house(None, |_| {}).await;
    assert_eq!(house.ask(&brief(&models, 5)).await.trim(), "20 are here");
    let expected = models.map(|m| format!("stub/{m}|stub/{m}|{m}|completed|-|5"));
    assert_eq!(runs(&house), expected);
    let requests = house.stub.journal().requests;
    for model in &models[1..] {
        let asked = requests.iter().filter(|request| request.model == *model).count();
        assert_eq!(asked, 5, "{model}");
    }
    judge::all_is_well(&house, &Default::default()).await;
}

/// A child's model takes no calls: the report names the one that was asked, the one that has
/// answered in its place, and why.
#[tokio::test]
async fn a_fallback_of_a_child_is_reported_with_both_names_and_the_reason() {
    let house = house(None, |config| {
        config["agents"]["defaults"]["subagents"]["model"] =
            json!({ "primary": "stub/m-2", "fallbacks": ["stub/m-3"] });
    })
    .await;
    let refused = json!([{ "kind": "error", "status": 429, "retry_after_s": 60, "model": "m-2" }]);
    house.stub.set_faults(serde_json::from_value(refused).unwrap());
    assert_eq!(house.ask(&brief(&[""], 1)).await.trim(), "1 are here");
    assert_eq!(runs(&house), ["stub/m-2|stub/m-3|m-3|completed|-|1"]);
    let why = rows(&house, "select switched from runs where task_id is not null");
    assert!(why[0].contains("stub/m-2") && why[0].contains("429"), "{why:?}");
}

/// The provider answers as another model: the child has failed, its parent is told of both names,
/// and what was paid for is in the ledger under the name of who has answered.
#[tokio::test]
async fn another_model_than_was_asked_is_no_answer() {
    let house = house(Some("m-3"), |_| {}).await;
    assert_eq!(house.ask(&brief(&["m-2", "m-3"], 1)).await.trim(), "2 are here");
    assert_eq!(
        runs(&house),
        ["stub/m-2|stub/m-2|m-2|completed|-|1", "stub/m-3|stub/m-3|tiny|failed|wrong_model|1",]
    );
    let told = rows(&house, "select body from entries where kind = 'announce'").join("\n");
    for part in ["asked stub/m-3", "answered as `tiny`", "`answersAs`"] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let paid = rows(&house, "select output > 0 from ledger where model = 'tiny'");
    assert_eq!(paid, ["1"]);
    judge::all_is_well(&house, &Default::default()).await;
}

/// The same, where somebody has said that it may.
#[tokio::test]
async fn a_name_that_is_accepted_is_an_answer() {
    let house = house(Some("m-3"), |config| {
        let entry = &mut config["models"]["providers"]["stub"]["models"][2];
        entry["answersAs"] = json!(["tiny"]);
    })
    .await;
    assert_eq!(house.ask(&brief(&["m-3"], 1)).await.trim(), "1 are here");
    assert_eq!(runs(&house), ["stub/m-3|stub/m-3|tiny|completed|-|1"]);
}
