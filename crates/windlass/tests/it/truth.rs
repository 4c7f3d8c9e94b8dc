//! A dead gateway's tasks are not said to be in progress by anybody: in the commands, the file and
//! after the next start.

use std::process::Command;
use std::time::Duration;

use stub::Plan;

use crate::house::{House, late};
use crate::judge;

fn sqlite3(house: &House, question: &str) -> String {
    let mut shell = Command::new("sqlite3");
    let output = shell.arg("-readonly").arg(house.database()).arg(question).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What people have reported: eight tasks "in progress", and the gateway is gone. One lease later
/// no view says that anything runs; the next start takes all eight up again, and they end.
#[tokio::test]
async fn eight_tasks_of_a_dead_gateway() {
    let mut house = House::build("anthropic-messages", |config| {
        config["agents"]["defaults"]["subagents"] =
            serde_json::json!({ "maxChildrenPerAgent": 8, "maxConcurrent": 8 });
    })
    .await;
    house.start().await;
    let names: Vec<String> = (0..8).map(|n| format!("job-{n}")).collect();
    let jobs = names.iter().map(|name| (name.as_str(), late(8_000, "<{name}>")));
    let brief = Plan::named("root").spawn(jobs).yield_().say("{results}").to_brief();
    house.ok(&["agent", "--message", &brief, "--no-wait"]).await;
    let running = "select count(*) from v_tasks where activity = 'running'";
    for _ in 0..200 {
        if sqlite3(&house, running) == "8\n" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sqlite3(&house, running), "8\n", "{}", house.log());
    assert_eq!(house.json(&["status", "--json"]).await[0]["tasks"]["open"], 8);

    house.kill();
    tokio::time::sleep(Duration::from_secs(21)).await;
    let gone = "select (select count(*) from v_tasks where activity = 'recovering') || ' ' || \
                       (select count(*) from v_runs where activity = 'running') || ' ' || \
                       (select count(*) from v_sessions where activity = 'running') || ' ' || \
                       (select count(*) from v_tasks where task_status = 'in_progress')";
    assert_eq!(sqlite3(&house, gone), "8 0 0 8\n");
    // No command pretends to know better: there is nobody to ask, and it says so.
    for command in [&["status"][..], &["tasks", "list"], &["sessions", "list"]] {
        let output = house.run(command).await;
        assert!(!output.status.success(), "{command:?} answers for a gateway that is gone");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!said.contains("running"), "{said}");
    }

    house.start().await;
    house.quiet().await;
    let ended = "select count(*) from v_tasks where task_status = 'completed'";
    assert_eq!(sqlite3(&house, ended), "8\n");
    let status = house.json(&["status", "--json"]).await.remove(0);
    assert_eq!(status["activity"], serde_json::json!({ "idle": 9 }), "{status}");
    judge::all_is_well(&house, &Default::default()).await;
}
