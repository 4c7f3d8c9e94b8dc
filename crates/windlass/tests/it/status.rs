//! Status that tells the truth: in the views of the live file, and after a kill.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use stub::Plan;

use crate::house::{House, late};

/// Asks Debian's shell, read only, while the gateway is at work.
fn sqlite3(house: &House, question: &str) -> String {
    let file = house.folder.path().join("windlass.db");
    let output = Command::new("sqlite3").arg("-readonly").arg(file).arg(question).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn the_live_file_can_be_read_and_its_views_are_honest() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let slow = late(3_000, "late");
    let brief = Plan::named("root").spawn([("slow", slow)]).yield_().say("{results}").to_brief();
    house.ok(&["agent", "--message", &brief, "--no-wait"]).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;

    let seen = sqlite3(&house, "select activity, last_turn from v_sessions order by depth");
    assert_eq!(seen, "waiting|waiting_for_response\nrunning|waiting_for_response\n");
    let rows = house.json(&["sessions", "list", "--json"]).await;
    let mut doing: Vec<_> = rows.iter().map(|row| row["activity"].as_str().unwrap()).collect();
    doing.sort_unstable();
    assert_eq!(doing, ["running", "waiting"]);

    // Killed: the file says so as soon as the lease is over, without anybody to write it.
    house.kill();
    tokio::time::sleep(Duration::from_secs(21)).await;
    let seen = sqlite3(&house, "select activity from v_sessions order by depth");
    assert_eq!(seen, "waiting\nrecovering\n");
    let running = sqlite3(&house, "select count(*) from v_runs where activity = 'running'");
    assert_eq!(running, "0\n");

    house.start().await;
    house.quiet().await;
    let seen = sqlite3(&house, "select activity, last_turn, task_status from v_sessions");
    assert_eq!(seen, "idle|agent_responded|completed\n".repeat(2));
}

#[tokio::test]
async fn the_commands_show_what_there_is() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let child = Plan::new().say("done");
    let brief = Plan::named("r").spawn([("helper", child)]).yield_().say("{results}").to_brief();
    house.ask(&brief).await;

    let tasks = house.json(&["tasks", "list", "--json"]).await;
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0]["status"], "completed");
    let tree = house.ok(&["subagents", "list", "--all"]).await;
    assert!(tree.starts_with("helper"), "{tree}");
    let status = house.json(&["status", "--json"]).await;
    assert_eq!(status[0]["runs"]["running"], 0);
    assert_eq!(house.json(&["health", "--json"]).await[0]["ok"], true);
    let doctor = house.ok(&["doctor"]).await;
    assert!(!doctor.contains("error"), "{doctor}");
    let rights = std::fs::metadata(house.database()).unwrap().permissions();
    assert_eq!(rights.mode() & 0o077, 0, "others can read the database");
    let path = house.ok(&["db", "path"]).await;
    assert!(path.trim().ends_with("windlass.db"));
    let copy = house.folder.path().join("copy.db");
    house.ok(&["db", "backup", copy.to_str().unwrap()]).await;
    assert!(copy.exists());
    house.ok(&["db", "check"]).await;
    assert_eq!(house.ok(&["config", "get", "gateway.port"]).await.trim(), "18789");
    let key = house.ok(&["config", "get", "models.providers.stub.apiKey"]).await;
    assert_eq!(key.trim(), "[redacted]");
    assert!(house.ok(&["completion", "bash"]).await.contains("windlass"));
}

/// A row stands below the one that asked for it, and trees and siblings in the order in which they
/// were begun.
#[tokio::test]
async fn sub_agents_are_shown_as_trees() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let leaf = Plan::new().say("done");
    let lead = Plan::new().spawn([("leaf", leaf.clone())]).yield_().say("{results}");
    // In two steps: ids of the same millisecond are in no order.
    let plan = Plan::named("t").spawn([("lead", lead)]).spawn([("single", leaf)]);
    house.ask(&plan.yield_().say("{results}").to_brief()).await;

    let tree = house.ok(&["subagents", "list", "--all"]).await;
    let names: Vec<&str> =
        tree.lines().filter_map(|line| line.split("  completed").next()).collect();
    assert_eq!(names, ["lead", "  leaf", "single"], "{tree}");
}

/// A folder that cannot be written and a token that is not the gateway's are errors, and named.
#[tokio::test]
async fn doctor_finds_what_would_refuse_work() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    assert!(house.ok(&["doctor"]).await.contains("can be written"));
    let left = std::fs::read_dir(house.folder.path()).unwrap().filter_map(Result::ok);
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with(".doctor"));
    assert_eq!(left.count(), 0, "it takes away what it has written");

    std::fs::write(house.folder.path().join("gateway.token"), "another").unwrap();
    let output = house.run(&["doctor"]).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!output.status.success(), "{told}");
    let gateway = told.lines().find(|line| line.contains(" gateway ")).unwrap();
    assert!(gateway.starts_with("error") && gateway.contains("gateway.auth.token"), "{told}");

    let file = house.folder.path().join("no-folder");
    std::fs::write(&file, "a file").unwrap();
    house.move_state_to(&file);
    let told = house.run(&["doctor"]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    let folder = told.lines().find(|line| line.contains(" folder ")).unwrap();
    assert!(folder.starts_with("error") && folder.contains("cannot be written"), "{told}");
}
