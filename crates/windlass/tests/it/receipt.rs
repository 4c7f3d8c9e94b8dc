//! How far a message has come, and what a session that waits is waiting for.

use machine::rows::InboxKind;
use machine::run::{Phase, WaitKind};
use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, late};
use crate::{judge, look};

async fn house() -> House {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["entries"] = json!({ "main": { "default": true }, "ops": {} });
    })
    .await;
    house.start().await;
    house
}

/// The session's row, as `sessions show` prints it.
async fn shown(house: &House, key: &str) -> Value {
    house.json(&["sessions", "show", key, "--json"]).await.remove(0)
}

async fn message(house: &House, id: &str) -> Value {
    house.json(&["sessions", "message", id, "--json"]).await.remove(0)
}

/// Waits until the main session waits, and returns what for: in the row, in the line for people,
/// and in the view.
async fn waits(house: &House, kind: WaitKind) -> (Value, String, String) {
    look::until(house, "the session waits", |world| {
        let of_main = |run: &&machine::rows::Run| run.session_key.to_string() == "agent:main:main";
        let mut runs = world.runs.iter().filter(of_main);
        runs.any(|run| run.phase == Phase::Waiting(kind))
    })
    .await;
    let row = shown(house, "main").await["waitsFor"].clone();
    let text = house.ok(&["sessions", "show", "main"]).await;
    let line = text.lines().find(|line| line.starts_with("waits for"));
    let line = line.unwrap_or_else(|| panic!("{text}")).to_owned();
    let sql = "select waits_for from v_sessions where key = 'agent:main:main'";
    let mut shell = std::process::Command::new("sqlite3");
    let output = shell.arg("-readonly").arg(house.database()).arg(sql).output().unwrap();
    (row, line, String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// A message is sent, seen by a model and answered; the sender waits for that answer by name.
#[tokio::test]
async fn a_message_is_followed_to_its_answer() {
    let mut house = house().await;
    let brief = late(5_000, "12 m").to_brief();
    let send = json!({ "agentId": "ops", "message": brief, "timeoutSeconds": 60 });
    let plan = Plan::new().call("sessions_send", send).say("{tools}").to_brief();
    house.ok(&["agent", "--message", &plan, "--no-wait"]).await;

    let (row, line, view) = waits(&house, WaitKind::Reply).await;
    let id = row["messageIds"][0].as_str().unwrap_or_else(|| panic!("{row}")).to_owned();
    assert_eq!(row, json!({ "kind": "reply", "messageIds": [id] }));
    assert_eq!((line, &view), (format!("waits for the answer to {id}"), &id));
    look::until(&house, "the other's model is called", |world| {
        let of_ops = |run: &&machine::rows::Run| run.session_key.to_string() == "agent:ops:main";
        world.runs.iter().filter(of_ops).any(|run| run.phase == Phase::AwaitingModel)
    })
    .await;
    let found = message(&house, &id).await;
    assert_eq!((&found["state"], &found["kind"]), (&"started".into(), &"agent".into()), "{found}");
    assert_eq!(found["senderSessionKey"], "agent:main:main");
    assert_eq!((&found["sessionKey"], &found["reply"]), (&"agent:ops:main".into(), &Value::Null));

    house.quiet().await;
    let found = message(&house, &id).await;
    assert_eq!((&found["state"], &found["reply"]), (&"replied".into(), &"12 m".into()), "{found}");
    assert_eq!(found["outcome"], "completed");
    let text = house.ok(&["sessions", "message", &id]).await;
    assert!(text.contains("replied") && text.ends_with("12 m\n"), "{text}");
    assert_eq!(shown(&house, "main").await["waitsFor"], Value::Null);

    // Over a kill it is the same, and what was never sent is not made up.
    house.kill();
    house.start().await;
    assert_eq!(message(&house, &id).await["state"], "replied");
    let none = "msg_00000000000070008000000000000000";
    let wrong = house.run(&["sessions", "message", none]).await;
    let told = String::from_utf8(wrong.stderr).unwrap();
    assert!(!wrong.status.success() && told.contains(&format!("no message `{none}`")), "{told}");
    let world = judge::all_is_well(&house, &Default::default()).await;
    assert_eq!(world.inbox.iter().filter(|row| row.kind == InboxKind::Agent).count(), 1);
}

/// A session that has yielded names the tasks whose end it waits for, and how many of them.
#[tokio::test]
async fn a_session_that_has_yielded_names_its_tasks() {
    let house = house().await;
    let child = || late(5_000, "done");
    let brief = Plan::named("root").spawn([("a", child()), ("b", child())]);
    let brief = brief.yield_().say("{results}").to_brief();
    house.ok(&["agent", "--message", &brief, "--no-wait"]).await;
    let (row, line, view) = waits(&house, WaitKind::Children).await;
    let mut ids: Vec<String> = Vec::new();
    for task in house.json(&["tasks", "list", "--json"]).await {
        ids.push(task["id"].as_str().unwrap().to_owned());
    }
    ids.sort_unstable();
    assert_eq!(row, json!({ "kind": "children", "need": 2, "taskIds": ids }));
    assert_eq!(line, format!("waits for the end of 2 of 2: {}", ids.join(", ")));
    assert_eq!(view, ids.join(" "));
    house.quiet().await;
    judge::all_is_well(&house, &Default::default()).await;
}
