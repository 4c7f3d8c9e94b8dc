//! Stop: one word, and everything below is over.

use std::time::Duration;

use machine::rows::{Outcome, StepState};
use serde_json::json;
use stub::Plan;

use crate::house::House;
use crate::judge;

/// A tree of two levels, each leaf with a command that ignores SIGTERM.
#[tokio::test]
async fn a_stop_ends_the_whole_tree() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let mark = format!("windlass-test-{}", house.port);
    let command = format!("trap '' TERM; : {mark}; while true; do sleep 0.1; done");
    let leaf = Plan::new().call("exec", json!({ "command": command })).say("never");
    let branch = Plan::new().spawn([("x", leaf.clone()), ("y", leaf)]).yield_().say("never");
    let root = Plan::named("r").spawn([("a", branch.clone()), ("b", branch)]).yield_();
    let brief = root.say("never").to_brief();
    let mut asking = house.command(&["agent", "--message", &brief]);
    let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
    for _ in 0..100 {
        if processes(&mark) >= 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(processes(&mark) >= 4, "the leaves do not work\n{}", house.log());

    house.run_with_stdin(&["chat"], "/stop\n").await;
    let output = tokio::time::timeout(Duration::from_secs(60), asked).await;
    let output = output.expect("the stopped run does not end").unwrap();
    assert!(!output.status.success(), "a stopped run has no answer");
    tokio::time::sleep(Duration::from_secs(7)).await;

    assert_eq!(processes(&mark), 0, "a process has outlived the stop");
    assert_eq!(house.stub.journal().open_streams, 0);
    let reader = store::Reader::open(&house.database()).unwrap();
    let world = store::Reads::snapshot(&reader).await.unwrap();
    assert_eq!(world.tasks.len(), 6);
    for task in &world.tasks {
        assert_eq!(task.outcome, Some(Outcome::Cancelled), "{:?}", task.task_name);
    }
    assert!(world.steps.iter().all(|step| step.state != StepState::Intent));
    let calls = house.stub.journal().requests.len();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(house.stub.journal().requests.len(), calls, "a stopped tree has called a model");

    // The session is alive, and its history is valid.
    assert_eq!(house.ask(&Plan::new().say("alive").to_brief()).await.trim(), "alive");
    judge::all_is_well(&house, &Default::default()).await;
}

/// Counts processes whose command line holds `mark`.
fn processes(mark: &str) -> usize {
    let own = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter(|entry| entry.file_name().to_string_lossy() != own)
        .filter(|entry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains(mark) && !line.contains("windlass\0agent")
        })
        .count()
}
