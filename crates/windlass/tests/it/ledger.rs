//! The ledger of delegated work: carried again, audited, listed.

use std::process::Command;
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

/// Runs `tasks audit`: its exit code, and what it has found.
async fn audit(house: &House) -> (Option<i32>, Vec<Value>) {
    let output = house.run(&["tasks", "audit", "--json"]).await;
    let found = String::from_utf8(output.stdout).unwrap();
    let found = found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code(), found)
}

/// A gateway that works has nothing to confess, neither when it is busy nor after a kill.
#[tokio::test]
async fn an_audit_is_clean_before_and_after_a_kill() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let names: Vec<String> = (0..4).map(|n| format!("job-{n}")).collect();
    let exec = |plan: Plan| plan.call("exec", serde_json::json!({ "command": "sleep 2" }));
    let jobs = names.iter().map(|name| (name.as_str(), exec(Plan::new()).say("<{name}>")));
    let brief = Plan::named("root").spawn(jobs).yield_().say("{results}").to_brief();
    house.ok(&["agent", "--message", &brief, "--no-wait"]).await;
    for _ in 0..200 {
        if house.json(&["status", "--json"]).await[0]["tasks"]["open"] == 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(audit(&house).await, (Some(0), Vec::new()), "{}", house.log());
    house.kill();
    house.start().await;
    assert_eq!(audit(&house).await, (Some(0), Vec::new()), "{}", house.log());
    house.quiet().await;
    assert_eq!(audit(&house).await, (Some(0), Vec::new()), "{}", house.log());
    judge::all_is_well(&house, &Default::default()).await;
}

/// What somebody has done to the file is found, named with its command, and the command mends it.
#[tokio::test]
async fn what_is_planted_in_the_file_is_found_and_mended() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let brief = Plan::named("root").spawn([("digger", Plan::new().say("found gold"))]);
    house.ask(&brief.yield_().say("heard: {results}").to_brief()).await;
    house.quiet().await;
    let task = text(&newest(&house).await["id"]);
    let copy = house.folder.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    let file = copy.join("windlass.db");
    house.ok(&["db", "backup", file.to_str().unwrap()]).await;
    house.terminate().await;
    house.move_state_to(&copy);
    let lose = "delete from inbox where kind = 'announce'";
    let planted = Command::new("sqlite3").arg(&file).arg(lose).output().unwrap();
    assert!(planted.status.success(), "{}", String::from_utf8_lossy(&planted.stderr));

    house.start().await;
    let (code, found) = audit(&house).await;
    assert_eq!((code, found.len()), (Some(1), 1), "{found:?}");
    assert_eq!((&found[0]["fault"], text(&found[0]["taskId"])), (&"announce_missing".into(), task));
    let fix = text(&found[0]["fix"]);
    let words: Vec<&str> = fix.split(' ').skip(1).collect();
    let said = house.ok(&words).await;
    assert!(said.contains("delivered to agent:main:main"), "{said}");
    house.quiet().await;
    assert_eq!(audit(&house).await, (Some(0), Vec::new()), "{}", house.log());
    // Once is enough.
    let again = house.run(&words).await;
    assert_eq!(again.status.code(), Some(1), "{}", String::from_utf8_lossy(&again.stdout));
}

/// A dead letter is counted by the status, and delivered by the command that the audit names.
#[tokio::test]
async fn a_dead_letter_is_counted_and_delivered() {
    let mut house = House::build("openai-completions", |_| {}).await;
    house.start().await;
    let brief = Plan::named("root").spawn([("digger", Plan::new().say("found gold"))]);
    let brief = brief.yield_().say("heard: {results}").to_brief();
    house.ok(&["agent", "--session-key", "thread:mine", "--message", &brief]).await;
    house.quiet().await;
    house.ok(&["sessions", "archive", "thread:mine"]).await;
    house.terminate().await;
    let kill = "update inbox set state = 'dead' where kind = 'announce'";
    let planted = Command::new("sqlite3").arg(house.database()).arg(kill).output().unwrap();
    assert!(planted.status.success(), "{}", String::from_utf8_lossy(&planted.stderr));

    house.start().await;
    let status = house.ok(&["status"]).await;
    assert!(status.contains("1 dead letters; `windlass tasks audit` lists them"), "{status}");
    assert_eq!(house.json(&["status", "--json"]).await[0]["deadLetters"], 1);
    let (code, found) = audit(&house).await;
    assert_eq!((code, found.len()), (Some(1), 1), "{found:?}");
    assert_eq!(found[0]["severity"], "warning", "{found:?}");
    // It finds the rows unsound as well: no gateway has written them.
    let doctor = house.run(&["doctor"]).await;
    let doctor = String::from_utf8(doctor.stdout).unwrap();
    assert!(doctor.contains("windlass sessions restore agent:main:thread:mine"), "{doctor}");
    let fix = text(&found[0]["fix"]);
    house.ok(&fix.split(' ').skip(1).collect::<Vec<_>>()).await;
    house.quiet().await;
    assert_eq!(audit(&house).await, (Some(0), Vec::new()), "{}", house.log());
    assert_eq!(house.json(&["status", "--json"]).await[0]["deadLetters"], 0);
}
