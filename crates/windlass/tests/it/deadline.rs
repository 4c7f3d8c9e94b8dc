//! Deadlines on the running binary: the end comes in time, with what there is.

use std::time::Duration;

use machine::rows::Outcome;
use serde_json::json;
use stub::Plan;

use crate::house::House;
use crate::judge;

/// A child that has said something and hangs is ended at its deadline, also if the gateway was
/// killed meanwhile; its parent reads its last words, marked as partial, and how to go on.
#[tokio::test]
async fn a_child_that_hangs_ends_at_its_deadline() {
    for kill in [false, true] {
        let mut house = House::build("anthropic-messages", |_| {}).await;
        house.start().await;
        let child = Plan::new()
            .call("read", json!({ "path": "." }))
            .change(|step| step.say = Some("half of it".to_owned()))
            .say("never")
            .after_ms(600_000);
        let bounded = json!({ "runTimeoutSeconds": 8 }).as_object().unwrap().clone();
        let brief = Plan::named("r")
            .spawn([("slow", child)])
            .change(|step| step.spawn[0].args = bounded)
            .yield_()
            .say("told: {last}")
            .to_brief();
        let args = ["agent", "--message", &brief, "--idempotency-key", "job"];
        let mut command = house.command(&args);
        let asked = tokio::task::spawn_blocking(move || command.output().unwrap());
        if kill {
            tokio::time::sleep(Duration::from_secs(3)).await;
            house.kill();
            house.start().await;
        }

        let output = tokio::time::timeout(Duration::from_secs(120), asked).await.unwrap().unwrap();
        let answer = String::from_utf8(output.stdout).unwrap();
        assert_eq!(answer.trim(), "told: half of it", "{}", house.log());
        let world = judge::all_is_well(&house, &Default::default()).await;
        let task = &world.tasks[0];
        let read = judge::read_by(&house, &world, task).await;
        for part in ["outcome=timed_out", "PARTIAL RESULT", "half of it", "sessions_send"] {
            assert!(read.contains(part), "no `{part}` in {read}");
        }
        assert_eq!(task.outcome, Some(Outcome::TimedOut));
        let run = world.runs.iter().find(|run| run.id == task.run).unwrap();
        let late = task.ended.unwrap().since(run.deadline.unwrap());
        assert!(late < Duration::from_secs(2), "it ended {late:?} after its deadline");
    }
}

/// A child that does as the warning says hands in what it has, and completes.
#[tokio::test]
async fn a_child_that_is_warned_hands_in() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    // Its tool is done after the warning and before the deadline.
    let child = Plan::new().call("exec", json!({ "command": "sleep 9" })).say("so far: {name}");
    let bounded = json!({ "runTimeoutSeconds": 16 }).as_object().unwrap().clone();
    let brief = Plan::named("r")
        .spawn([("slow", child)])
        .change(|step| step.spawn[0].args = bounded)
        .yield_()
        .say("{results}")
        .to_brief();

    let answer = house.ask(&brief).await;

    assert!(answer.contains("so far: r.slow"), "{answer}");
    let warned =
        house.stub.journal().requests.iter().any(|asked| asked.newest_text.contains("Hand in now"));
    assert!(warned, "the child was not warned\n{}", house.log());
    judge::all_is_well(&house, &Default::default()).await;
}
