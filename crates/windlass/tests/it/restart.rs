//! What the last start of the gateway has found: `windlass status --last-restart`.

use std::process::Command;

use machine::limits::RECOVERIES_MAX;
use machine::rows::Outcome;
use machine::run::Phase;
use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, late};
use crate::{judge, look};

async fn last_restart(house: &House) -> Value {
    house.json(&["status", "--last-restart", "--json"]).await.remove(0)
}

/// Waits until the only child of this name has a model call out, and was taken over so often.
async fn at_work(house: &House, name: &str, recoveries: u32) {
    look::until(house, "the child is at work", |world| {
        look::run_of(world, name)
            .is_some_and(|run| run.phase == Phase::AwaitingModel && run.recoveries == recoveries)
    })
    .await;
}

/// What was cut, that it went on, and what it cost: all of it is listed, nothing is left to do.
#[tokio::test]
async fn a_start_says_what_it_has_found() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let first = last_restart(&house).await;
    assert_eq!((&first["lost"], &first["runs"]), (&json!([]), &json!([])), "{first}");
    let text = house.ok(&["status", "--last-restart"]).await;
    assert!(text.contains("gateways lost before that: 0"), "{text}");

    let brief = Plan::named("root").spawn([("digger", late(4_000, "found gold"))]);
    let brief = brief.yield_().say("heard: {results}").to_brief();
    house.ok(&["agent", "--message", &brief, "--no-wait"]).await;
    at_work(&house, "digger", 0).await;
    house.kill();
    house.start().await;
    let found = last_restart(&house).await;
    assert_eq!(found["lost"].as_array().unwrap().len(), 1, "{found}");
    assert_eq!((&found["continued"], &found["givenUp"]), (&1.into(), &0.into()), "{found}");
    assert_eq!((&found["callsCut"], &found["unknownCalls"]), (&1.into(), &0.into()), "{found}");
    assert!(found["tokensCut"].as_u64().unwrap() > 0, "{found}");
    assert_eq!(found["waitingForPerson"], json!([]), "{found}");
    let run = &found["runs"][0];
    assert!(run["taskId"].as_str().unwrap().starts_with("tsk_"), "{found}");
    assert_eq!((&run["continued"], &run["recoveries"]), (&true.into(), &1.into()), "{found}");

    house.quiet().await;
    assert_eq!(last_restart(&house).await["runs"][0]["stands"], "completed");
    let text = house.ok(&["status", "--last-restart"]).await;
    assert!(text.contains("interrupted: 1 runs") && text.contains("nothing waits"), "{text}");
    // The message to the owner names the command.
    let body = "select body from inbox where idem_key like 'restart:%'";
    let output = Command::new("sqlite3").arg("-readonly").arg(house.database()).arg(body).output();
    let told = String::from_utf8(output.unwrap().stdout).unwrap();
    assert!(told.contains("`windlass status --last-restart`"), "{told}");
    judge::all_is_well(&house, &Default::default()).await;
}

/// A run that its gateway never survived is given up, and is left to a person with the command
/// that goes on with it.
#[tokio::test]
async fn what_was_given_up_is_left_to_a_person() {
    let mut house = House::build("openai-completions", |_| {}).await;
    house.start().await;
    let brief = Plan::named("root").spawn([("digger", late(6_000, "found gold"))]);
    let brief = brief.yield_().say("heard: {results}").to_brief();
    house.ok(&["agent", "--message", &brief, "--no-wait"]).await;
    for recoveries in 0..=RECOVERIES_MAX {
        at_work(&house, "digger", recoveries).await;
        house.kill();
        house.start().await;
    }
    house.quiet().await;

    let found = last_restart(&house).await;
    assert_eq!((&found["continued"], &found["givenUp"]), (&0.into(), &1.into()), "{found}");
    let left = found["waitingForPerson"].as_array().unwrap();
    assert_eq!(left.len(), 1, "{found}");
    let fix = left[0]["fix"].as_str().unwrap();
    assert!(fix.starts_with("windlass tasks retry tsk_"), "{found}");
    let text = house.ok(&["status", "--last-restart"]).await;
    assert!(text.contains("was given up at") && text.contains(fix), "{text}");

    house.ok(&fix.split(' ').skip(1).collect::<Vec<_>>()).await;
    house.quiet().await;
    let found = last_restart(&house).await;
    assert_eq!(found["waitingForPerson"], json!([]), "somebody has gone on with it: {found}");
    let world = judge::all_is_well(&house, &Default::default()).await;
    let outcomes: Vec<_> = world.tasks.iter().map(|task| task.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Interrupted), Some(Outcome::Completed)]);
}

/// A list of tasks holds what was asked for, a page at a time.
#[tokio::test]
async fn a_list_of_tasks_is_filtered_and_paged() {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["entries"] = json!({ "main": { "default": true }, "ops": {} });
    })
    .await;
    house.start().await;
    let leaf = || Plan::new().say("done");
    let lead = Plan::new().spawn([("leaf", leaf())]).yield_().say("{results}");
    let brief = Plan::named("t").spawn([("lead", lead)]).spawn([("single", leaf())]);
    house.ask(&brief.yield_().say("{results}").to_brief()).await;
    let elsewhere = Plan::named("u").spawn([("other", leaf())]).yield_().say("{results}");
    let elsewhere = elsewhere.to_brief();
    house.ok(&["agent", "--agent", "ops", "--message", &elsewhere]).await;
    house.quiet().await;

    let list = async |more: &[&str]| -> Vec<Value> {
        house.json(&[&["tasks", "list", "--json"], more].concat()).await
    };
    let names = |rows: Vec<Value>| -> Vec<String> {
        let mut names: Vec<String> = rows.iter().map(name).collect();
        names.sort_unstable();
        names
    };
    let all = list(&[]).await;
    assert_eq!(names(all.clone()), ["t.lead", "t.lead.leaf", "t.single", "u.other"]);
    let lead = all.iter().find(|row| name(row) == "t.lead").unwrap();
    let lead = lead["childSessionKey"].as_str().unwrap();
    for (more, expected) in [
        (&["--agent", "ops"][..], &["u.other"][..]),
        (&["--session", "agent:ops:main"], &["u.other"]),
        (&["--session", lead], &["t.lead", "t.lead.leaf"]),
        (&["--tree", lead], &["t.lead", "t.lead.leaf", "t.single"]),
        (&["--tree", "thread:nobody"], &[]),
        (&["--kind", "subagent", "--tree", "main"], &["t.lead", "t.lead.leaf", "t.single"]),
        (&["--kind", "flow"], &[]),
        (&["--status", "completed", "--agent", "ops"], &["u.other"]),
        (&["--status", "failed,running"], &[]),
    ] {
        assert_eq!(names(list(more).await), expected, "{more:?}");
    }
    let page = list(&["--limit", "3"]).await;
    let last = page[2]["id"].as_str().unwrap();
    let rest = list(&["--limit", "3", "--before", last]).await;
    assert_eq!(
        names([page.clone(), rest].concat()),
        ["t.lead", "t.lead.leaf", "t.single", "u.other"]
    );
    let output = house.run(&["tasks", "list", "--limit", "3"]).await;
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains(&format!("--before {last}")), "{told}");
    let wrong = house.run(&["tasks", "list", "--kind", "acp"]).await;
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(told.contains("there are: subagent, cli, flow, flow_node"), "{told}");
}

fn name(row: &Value) -> String {
    row["title"].as_str().unwrap_or_default().to_owned()
}
