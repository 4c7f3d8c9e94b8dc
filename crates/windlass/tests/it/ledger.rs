//! The ledger of delegated work: carried again, audited, listed.

use std::time::Duration;

use machine::rows::{InboxKind, Outcome};
use serde_json::Value;
use stub::{Failure, Fault, FaultRule, Plan};

use crate::house::{House, late};
use crate::judge;

/// The newest row of `tasks list`.
async fn newest(house: &House) -> Value {
    house.json(&["tasks", "list", "--json"]).await.remove(0)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// A child that its provider refuses, and a parent that has heard so. Returns the task.
async fn failed(house: &House, dig: Plan) -> Value {
    let refused = Fault::Error(Failure::status(400));
    // Only the child's brief names it so.
    let contains = Some("root.digger".to_owned());
    house.stub.set_faults(vec![FaultRule { contains, ..FaultRule::always(refused) }]);
    let brief = Plan::named("root").spawn([("digger", dig)]).yield_().say("heard: {results}");
    let said = house.ask(&brief.to_brief()).await;
    assert!(said.contains("outcome=failed") || said.starts_with("heard:"), "{said}");
    house.stub.set_faults(Vec::new());
    let task = newest(house).await;
    assert_eq!(task["status"], "failed", "{task}");
    task
}

/// What failed is carried again by the session that it has, also over a kill of the gateway; its
/// result comes once, and the first attempt stays as it ended.
#[tokio::test]
async fn what_failed_is_carried_again_over_a_kill() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let first = failed(&house, late(2_000, "found gold")).await;
    let id = text(&first["id"]);

    let shown = house.ok(&["tasks", "show", &id]).await;
    assert!(shown.contains(&format!("carry it again with: windlass tasks retry {id}")), "{shown}");
    let begun = house.json(&["tasks", "retry", &id, "--json"]).await.remove(0);
    assert_eq!((&begun["status"], &begun["attempt"]), (&"accepted".into(), &2.into()), "{begun}");
    assert_eq!(begun["sessionKey"], first["childSessionKey"], "never a second session");
    tokio::time::sleep(Duration::from_millis(500)).await;
    house.kill();
    house.start().await;
    house.quiet().await;

    let second = newest(&house).await;
    assert_eq!(second["id"], begun["taskId"]);
    assert_eq!((&second["status"], &second["retryOf"]), (&"completed".into(), &first["id"]));
    let shown = house.json(&["tasks", "show", &text(&second["id"]), "--json"]).await.remove(0);
    assert_eq!(shown["result"], "found gold", "{shown}");
    let world = judge::all_is_well(&house, &Default::default()).await;
    let outcomes: Vec<_> = world.tasks.iter().map(|task| task.outcome).collect();
    assert_eq!(outcomes, [Some(Outcome::Failed), Some(Outcome::Completed)]);
    let announces = world.inbox.iter().filter(|row| row.kind == InboxKind::Announce);
    assert_eq!(announces.count(), 2, "one for each attempt");
    assert_eq!(world.sessions.len(), 2, "{:?}", world.sessions);
}

/// What cannot be carried again is refused with what to do instead; a person may type it too, and
/// however often it is asked for, it is done once.
#[tokio::test]
async fn a_retry_says_why_not_and_is_done_once() {
    let mut house = House::build("openai-completions", |_| {}).await;
    house.start().await;
    let first = failed(&house, late(1_500, "found gold")).await;
    let (id, key) = (text(&first["id"]), text(&first["childSessionKey"]));

    house.ok(&["sessions", "archive", &key]).await;
    let refused = house.run(&["tasks", "retry", &id]).await;
    let why = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{why}");
    let command = format!("windlass sessions restore {key}");
    assert!(why.contains(&command), "{why}");
    let words: Vec<&str> = command.split(' ').skip(1).collect();
    house.ok(&words).await;

    let typed = house.ask(&format!("/tasks retry {id}")).await;
    assert!(typed.starts_with("Carried again: tsk_") && typed.contains("attempt 2"), "{typed}");
    let again = house.json(&["tasks", "retry", &id, "--json"]).await.remove(0);
    assert_eq!(again["status"], "duplicate", "{again}");
    let open = house.run(&["tasks", "retry", &text(&again["taskId"])]).await;
    let why = String::from_utf8_lossy(&open.stderr).into_owned();
    assert!(why.contains("windlass tasks cancel"), "{why}");
    house.quiet().await;
    let done = house.run(&["tasks", "retry", &id]).await;
    let why = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(why.contains("has completed") && why.contains("windlass agent"), "{why}");
    assert_eq!(house.json(&["tasks", "list", "--json"]).await.len(), 2);
    judge::all_is_well(&house, &Default::default()).await;
}
