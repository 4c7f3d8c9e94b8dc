//! Commands that a person has to allow, on the running binary: the question outlives a kill -9, is
//! answered by any door, and what was allowed runs once.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use stub::Plan;

use crate::house::House;
use crate::judge;

fn asks(config: &mut Value) {
    config["tools"] = json!({ "exec": { "mode": "ask", "allowlist": ["ls *"] } });
}

/// What is left of a command that has run: a line in a file for each time.
fn mark(house: &House) -> PathBuf {
    house.folder.path().join("workspace/mark")
}

fn times(house: &House) -> usize {
    std::fs::read_to_string(mark(house)).map_or(0, |text| text.lines().count())
}

fn leaves_a_mark() -> Plan {
    Plan::new().call("exec", json!({ "command": "echo once >> mark; cat mark" })).say("{last}")
}

/// Sends a message that is answered when all is over.
fn ask(house: &House, session: &str, brief: &str) -> tokio::task::JoinHandle<String> {
    let args = ["agent", "--session-key", session, "--idempotency-key", session];
    let mut command = house.command(&[&args[..], &["--message", brief]].concat());
    tokio::task::spawn_blocking(move || {
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    })
}

/// Waits until so many commands wait, and returns them.
async fn waiting(house: &House, count: usize) -> Vec<Value> {
    for _ in 0..1_200 {
        let rows = house.json(&["approvals", "list", "--json"]).await;
        if rows.len() == count {
            return rows;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{count} commands should wait\n{}", house.log());
}

fn id(row: &Value) -> String {
    row["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_question_outlives_a_kill_and_what_is_allowed_runs_once() {
    let mut house = House::build("openai-completions", asks).await;
    house.start().await;
    let asked = ask(&house, "thread:a", &leaves_a_mark().to_brief());
    let [row] = &waiting(&house, 1).await[..] else { panic!() };
    assert_eq!(row["command"], "echo once >> mark; cat mark");
    assert_eq!(row["sessionKey"], "agent:main:thread:a");
    // It waits, and holds nothing that others need.
    assert_eq!(house.ok(&["agent", "--session-key", "thread:b", "--message", "hello"]).await, {
        "stub heard: hello\n"
    });

    house.kill();
    house.start().await;
    assert_eq!(waiting(&house, 1).await[0]["id"], row["id"], "the question is the same");
    told_of_one(&house).await;
    assert_eq!(times(&house), 0);

    let told = house.ok(&["approvals", "allow", &id(row)]).await;
    assert!(told.contains("is allowed"), "{told}");
    let answer = asked.await.unwrap();
    assert!(answer.contains("once"), "{answer}");
    assert_eq!(times(&house), 1);

    let again = house.run(&["approvals", "deny", &id(row)]).await;
    let words = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(!again.status.success() && words.contains("was allowed before"), "{words}");
    house.kill();
    house.start().await;
    house.quiet().await;
    assert_eq!(times(&house), 1, "it does not run again");
    let status = &house.json(&["status", "--json"]).await[0];
    assert_eq!(status["approvals"], Value::Null, "nothing waits any more: {status}");
    judge::all_is_well(&house, &Default::default()).await;
}

/// Wherever a person looks at the gateway, it is said that a command waits, and since when.
async fn told_of_one(house: &House) {
    let status = &house.json(&["status", "--json"]).await[0]["approvals"];
    assert_eq!(status["count"], 1, "{status}");
    assert!(status["oldestMs"].as_u64().unwrap() > 0, "{status}");
    for args in [&["status"][..], &["health"]] {
        let told = house.ok(args).await;
        assert!(told.contains("a command waits to be allowed, since "), "{args:?}: {told}");
        assert!(told.contains("`windlass approvals list`"), "{args:?}: {told}");
    }
    let here = ["agent", "--session-key", "thread:a", "--message", "/status"];
    let told = house.ok(&here).await;
    assert!(told.contains("a command waits to be allowed, since "), "{told}");
    // In another conversation it is nobody's business.
    let told = house.ok(&["agent", "--session-key", "thread:b", "--message", "/status"]).await;
    assert!(!told.contains("waits to be allowed"), "{told}");
}

#[tokio::test]
async fn a_child_asks_where_the_person_is() {
    let mut house = House::build("anthropic-messages", asks).await;
    house.start().await;
    let brief = Plan::named("p")
        .spawn([("kid", leaves_a_mark())])
        .yield_()
        .say_when_results(1, "{results}")
        .to_brief();
    let asked = ask(&house, "thread:c", &brief);
    waiting(&house, 1).await;
    let say = |text: &'static str| ["agent", "--session-key", "thread:c", "--message", text];
    let listed = house.ok(&say("/approvals")).await;
    assert!(listed.contains("echo once >> mark") && listed.contains("subagent"), "{listed}");
    let told = house.ok(&say("/approve")).await;
    assert!(told.contains("is allowed"), "{told}");
    let answer = asked.await.unwrap();
    assert!(answer.contains("once"), "{answer}");
    assert_eq!(times(&house), 1);
    let none = house.run(&say("/approve")).await;
    assert!(!none.status.success());
    let none =
        String::from_utf8_lossy(&none.stdout).into_owned() + &String::from_utf8_lossy(&none.stderr);
    assert!(none.contains("nothing waits"), "{none}");
    judge::all_is_well(&house, &Default::default()).await;
}

#[tokio::test]
async fn always_is_remembered_and_can_be_taken_back() {
    let mut house = House::build("openai-completions", asks).await;
    house.start().await;
    let touch = |name: &str| {
        let command = format!("touch made {name}");
        Plan::new().call("exec", json!({ "command": command })).say("made").to_brief()
    };
    let asked = ask(&house, "thread:d", &touch("one"));
    let row = waiting(&house, 1).await.remove(0);
    assert_eq!(row["always"], json!(["touch made *"]));
    house.ok(&["approvals", "allow", &id(&row)[..20], "--always"]).await;
    assert!(asked.await.unwrap().contains("made"));
    house.kill();
    house.start().await;
    let made = house.ok(&["agent", "--session-key", "thread:e", "--message", &touch("two")]).await;
    assert!(made.contains("made"), "{made}");
    assert!(house.folder.path().join("workspace/two").exists());

    let grants = house.ok(&["approvals", "grants"]).await;
    assert!(grants.contains("touch made *"), "{grants}");
    house.ok(&["approvals", "revoke", "touch made *"]).await;
    let asked = ask(&house, "thread:f", &touch("three"));
    let row = waiting(&house, 1).await.remove(0);
    house.ok(&["approvals", "deny", &id(&row)]).await;
    asked.await.unwrap();
    assert!(!house.folder.path().join("workspace/three").exists());
    let asked = house.stub.journal().requests;
    let results = &asked.last().unwrap().tool_results;
    assert!(results.last().unwrap().text.contains("denied by"), "{results:?}");
}

#[tokio::test]
async fn nobody_answers_in_time() {
    let mut house = House::build("openai-completions", |config| {
        asks(config);
        config["tools"]["exec"]["approvalTimeoutSeconds"] = json!(1);
    })
    .await;
    house.start().await;
    let answer = house.ok(&["agent", "--message", &leaves_a_mark().to_brief()]).await;
    assert!(answer.contains("nobody has answered"), "{answer}");
    assert_eq!(times(&house), 0);
    let rows = house.json(&["approvals", "list", "--all", "--json"]).await;
    assert_eq!(rows[0]["state"], "expired", "{rows:?}");
}
