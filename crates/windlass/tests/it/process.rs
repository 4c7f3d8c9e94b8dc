//! Commands in the background: they live as long as their run, and no longer.

use std::time::{Duration, Instant};

use machine::rows::HaltState;
use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, WIRES};
use crate::judge;
use crate::kill::sleeping;

/// Waits until so many processes sleep for `seconds`.
async fn until_asleep(house: &House, seconds: &str, count: usize) {
    let since = Instant::now();
    while sleeping(seconds) != count {
        let late = since.elapsed() > Duration::from_secs(60);
        assert!(!late, "{} sleep, not {count}\n{}", sleeping(seconds), house.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Waits until so many runs are proved to have left nothing.
async fn until_proved(house: &House, count: usize) {
    let since = Instant::now();
    loop {
        let world = judge::all_is_well(house, &Default::default()).await;
        let proved = world.halts.iter().filter(|halt| halt.state == HaltState::Stopped).count();
        if proved == count {
            return;
        }
        assert!(since.elapsed() < Duration::from_secs(60), "not proved: {:?}", world.halts);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// A time to sleep that no other test sleeps for.
fn seconds(house: &House, n: u32) -> String {
    (n * 100_000 + u32::from(house.port)).to_string()
}

/// A command that leaves its group twice over, ignores SIGTERM, and so does what it has started.
fn stubborn(seconds: &str) -> String {
    format!(
        "trap '' TERM; (setsid sh -c 'trap \"\" TERM; (sleep {seconds} &); sleep {seconds}' &); \
         echo up; sleep {seconds}"
    )
}

fn process(action: &str) -> Value {
    json!({ "action": action, "timeout": if action == "poll" { 20_000 } else { 0 } })
}

/// A server is started, talked to, waited for beside, and killed, all in one run.
#[tokio::test]
async fn a_server_in_the_background_is_talked_to() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let server = "echo ready; while read line; do echo \"heard <$line>\"; done";
        let submit = |data: &str| json!({ "action": "submit", "data": data });
        let child = Plan::new().call("process", process("list")).say("child sees: {last}");
        let plan = Plan::named("r")
            .call("exec", json!({ "command": server, "background": true }))
            .call("process", submit("one"))
            .call("process", process("poll"))
            .spawn([("c", child)])
            .yield_()
            .call("process", submit("two"))
            .call("process", process("poll"))
            .call("process", process("log"))
            .call("process", process("kill"))
            .say("{results} {tools}");
        let answer = house.ask(&plan.to_brief()).await;
        for heard in ["ready\n[running for ", "heard <one>", "heard <two>", "[killed after "] {
            assert!(answer.contains(heard), "{heard} is missing: {answer}");
        }
        assert!(answer.contains("ready\nheard <one>\nheard <two>\n[lines 0 to 2"), "{answer}");
        assert!(answer.contains("child sees: none"), "{answer}");
        // It was looked after, although it was gone already.
        until_proved(&house, 1).await;
    }
}

/// What a run leaves in the background ends with it, and its next run is told so.
#[tokio::test]
async fn what_is_left_in_the_background_ends_with_its_run() {
    let mut house = House::build(WIRES[0], |_| {}).await;
    house.start().await;
    let asleep = seconds(&house, 1);
    let exec = json!({ "command": stubborn(&asleep), "yieldMs": 500 });
    let answer = house.ask(&Plan::new().call("exec", exec).say("left: {last}").to_brief()).await;
    assert!(answer.contains("until this run ends"), "{answer}");
    until_asleep(&house, &asleep, 0).await;
    let poll = Plan::new().call("process", process("poll")).say("{last}").to_brief();
    let answer = house.ask(&poll).await;
    assert!(answer.contains("when its run ended"), "{answer}");
    house.quiet().await;
    judge::all_is_well(&house, &Default::default()).await;
}

/// Fifty runs, each of which leaves three processes that hide and do not hear: none is left.
#[tokio::test]
async fn fifty_runs_leave_nothing() {
    let many = |config: &mut Value| {
        let subagents = json!({ "maxChildrenPerAgent": 60, "maxConcurrent": 25 });
        config["agents"]["defaults"]["subagents"] = subagents;
    };
    let mut house = House::build(WIRES[1], many).await;
    house.start().await;
    let asleep = seconds(&house, 2);
    let exec = json!({ "command": stubborn(&asleep), "background": true });
    let leaf = Plan::new().call("exec", exec).say("left by {name}");
    let leaves: Vec<(String, Plan)> = (0..50).map(|n| (format!("l{n}"), leaf.clone())).collect();
    let leaves = leaves.iter().map(|(name, plan)| (name.as_str(), plan.clone()));
    let root = Plan::named("r").spawn(leaves).yield_().say("{count} are here").to_brief();
    let answer = house.ask(&root).await;
    assert!(answer.contains("50 are here"), "{answer}");
    until_asleep(&house, &asleep, 0).await;
    until_proved(&house, 50).await;
}

/// The gateway is killed while commands run in the background: the next start ends them, touches
/// no stranger of the same name, and the run that goes on is told.
#[tokio::test]
async fn a_killed_gateway_leaves_nothing_in_the_background() {
    let mut house = House::build(WIRES[0], |_| {}).await;
    house.start().await;
    let asleep = seconds(&house, 3);
    let mut stranger = std::process::Command::new("sleep").arg(&asleep).spawn().unwrap();
    let plan = Plan::new()
        .call("exec", json!({ "command": stubborn(&asleep), "background": true }))
        .call("process", process("poll"))
        .after_ms(3_000)
        .say("told: {tools}");
    let mut asking = house.command(&["agent", "--message", &plan.to_brief()]);
    let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
    until_asleep(&house, &asleep, 4).await;
    // So that the call which has started them is over.
    let since = Instant::now();
    while judge::count(&house, "runs", "background = 1") == 0 {
        assert!(since.elapsed() < Duration::from_secs(60), "{}", house.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    house.kill();
    assert_eq!(sleeping(&asleep), 4, "a killed gateway cannot end anything");
    house.start().await;
    until_asleep(&house, &asleep, 1).await;
    let output = tokio::time::timeout(Duration::from_secs(120), asked).await.unwrap().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.contains("up\n[it ended with the gateway, which was killed"), "{answer}");
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    judge::all_is_well(&house, &Default::default()).await;
}

/// A person stops a run that waits and has commands in the background.
#[tokio::test]
async fn a_stop_ends_what_a_waiting_run_has_in_the_background() {
    let mut house = House::build(WIRES[0], |_| {}).await;
    house.start().await;
    let asleep = seconds(&house, 4);
    let child = Plan::new().say("late").after_ms(60_000);
    let plan = Plan::named("r")
        .call("exec", json!({ "command": stubborn(&asleep), "background": true }))
        .spawn([("c", child)])
        .yield_()
        .say("never");
    let mut asking = house.command(&["agent", "--message", &plan.to_brief()]);
    let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
    let since = Instant::now();
    while judge::count(&house, "runs", "phase = 'waiting'") == 0 {
        assert!(since.elapsed() < Duration::from_secs(60), "{}", house.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(sleeping(&asleep), 3, "they have not outlived their call");
    house.run_with_stdin(&["chat"], "/stop\n").await;
    until_asleep(&house, &asleep, 0).await;
    let output = tokio::time::timeout(Duration::from_secs(60), asked).await.unwrap().unwrap();
    assert!(!output.status.success(), "a stopped run has no answer");
    house.quiet().await;
}

/// A clean stop of the gateway ends them, too.
#[tokio::test]
async fn a_stopped_gateway_leaves_nothing_in_the_background() {
    let mut house = House::build(WIRES[0], |_| {}).await;
    house.start().await;
    let asleep = seconds(&house, 5);
    let plan = Plan::new()
        .call("exec", json!({ "command": stubborn(&asleep), "background": true }))
        .call("process", process("poll"))
        .after_ms(2_000)
        .say("told: {tools}");
    let mut asking = house.command(&["agent", "--message", &plan.to_brief()]);
    let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
    until_asleep(&house, &asleep, 3).await;
    house.terminate().await;
    assert_eq!(sleeping(&asleep), 0, "something has outlived its gateway");
    house.start().await;
    let output = tokio::time::timeout(Duration::from_secs(120), asked).await.unwrap().unwrap();
    let answer = String::from_utf8(output.stdout).unwrap();
    assert!(answer.contains("up\n[") && answer.contains("with the gateway"), "{answer}");
    judge::all_is_well(&house, &Default::default()).await;
}
