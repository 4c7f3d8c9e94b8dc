//! The demo, as a new user would run it: with the embedded defaults, and with a model of theirs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use stub::Plan;

use crate::house::{House, late};

fn check(demo: &Value) {
    let proof = &demo["proof"];
    assert!(proof["modelCalls"].as_u64().unwrap() >= 5, "{demo}");
    assert!(proof["callsCut"].as_u64().unwrap() >= 1, "nothing was cut by the kill: {demo}");
    assert_eq!(proof["answersPaidTwice"], 0);
    assert_eq!(proof["resultsDelivered"], 3);
    assert_eq!(proof["resultsDeliveredTwice"], 0);
    assert_eq!(proof["invariantsBroken"], serde_json::json!([]));
}

#[tokio::test]
async fn with_the_embedded_defaults() {
    let house = House::build("anthropic-messages", |_| {}).await;
    let demo = house.json(&["demo", "--json"]).await;
    check(&demo[0]);
    let answer = demo[0]["answer"].as_str().unwrap();
    for part in ["research", "analyse", "draft"] {
        assert!(answer.contains(part), "{answer}");
    }
}

#[tokio::test]
async fn with_a_server_of_ones_own() {
    let house = House::build("openai-completions", |_| {}).await;
    let child = late(2_500, "<{name}>");
    let brief = Plan::named("r")
        .spawn([("a", child.clone()), ("b", child.clone()), ("c", child)])
        .yield_()
        .say("{results}")
        .to_brief();
    let url = format!("{}/v1", house.stub.url());
    let args = ["demo", "--json", "--provider", &url, "--model", "stub-1", "--message", &brief];
    let demo = house.json(&args).await;
    check(&demo[0]);
    for child in ["r.a", "r.b", "r.c"] {
        let answer = demo[0]["answer"].as_str().unwrap();
        assert_eq!(answer.matches(&format!("<{child}>")).count(), 1, "{answer}");
    }
    assert_eq!(house.stub.journal().invalid, 0);
}

#[tokio::test]
async fn a_model_that_answers_by_itself() {
    let house = House::build("openai-completions", |_| {}).await;
    let url = format!("{}/v1", house.stub.url());
    let args = ["demo", "--provider", &url, "--model", "stub-1", "--timeout", "30"];
    let output = house.ok(&args).await;
    assert!(output.contains("stub heard: Research A"), "{output}");
}

#[tokio::test]
async fn a_key_that_is_missing_is_named() {
    let house = House::build("openai-completions", |_| {}).await;
    let output = house.run(&["demo", "--provider", "anthropic"]).await;
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ANTHROPIC_API_KEY"));
}

/// Who reads only the beginning gets the beginning, and nothing is left behind.
#[tokio::test]
async fn a_reader_that_leaves_early_is_no_error() {
    let house = House::build("openai-completions", |_| {}).await;
    let mut demo = house.command(&["demo", "--no-kill"]);
    demo.env("TMPDIR", house.folder.path().join("tmp")).stdout(Stdio::piped());
    std::fs::create_dir(house.folder.path().join("tmp")).unwrap();
    let mut demo = demo.stderr(Stdio::piped()).spawn().unwrap();
    drop(demo.stdout.take());
    let output = tokio::task::spawn_blocking(move || demo.wait_with_output().unwrap());
    let output = output.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left_in_tmp(&house), 0);
}

#[tokio::test]
async fn a_demo_that_is_stopped_leaves_nothing_behind() {
    let house = House::build("openai-completions", |_| {}).await;
    std::fs::create_dir(house.folder.path().join("tmp")).unwrap();
    let mut demo = house.command(&["demo"]);
    demo.env("TMPDIR", house.folder.path().join("tmp")).stdout(Stdio::piped());
    let mut demo = demo.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo.stdout.take().unwrap()).lines();
    let gateway = loop {
        let line = lines.next().expect("no gateway").unwrap();
        if let Some(rest) = line.strip_prefix("gateway started, process ") {
            break rest.split_once(',').unwrap().0.to_owned();
        }
    };
    let pid = demo.id().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let output = tokio::task::spawn_blocking(move || demo.wait_with_output().unwrap());
    assert!(!output.await.unwrap().status.success());
    assert_eq!(left_in_tmp(&house), 0);
    let command = std::fs::read(format!("/proc/{gateway}/cmdline")).unwrap_or_default();
    assert!(command.is_empty(), "the gateway has outlived its demo");
}

fn left_in_tmp(house: &House) -> usize {
    std::fs::read_dir(house.folder.path().join("tmp")).unwrap().count()
}

/// A demo that is killed takes its gateway along; its folder goes when the next one begins.
#[tokio::test]
async fn a_killed_demo_leaves_nothing() {
    let house = House::build("openai-completions", |_| {}).await;
    let place = house.folder.path().join("tmp");
    std::fs::create_dir(&place).unwrap();
    let url = format!("{}/v1", house.stub.url());
    let slow = late(60_000, "never").to_brief();
    let args = ["demo", "--no-kill", "--provider", &url, "--model", "stub-1", "--message", &slow];
    let mut command = house.command(&args);
    let mut demo = command.env("TMPDIR", &place).stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..600 {
        if !house.stub.journal().requests.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    demo.kill().unwrap();
    demo.wait().unwrap();
    let folders = || std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
    let [folder] = folders().collect::<Vec<_>>().try_into().unwrap();
    // The gateway has noticed when the lock of its state folder is free.
    let lock = std::fs::File::open(folder.join("windlass.lock")).unwrap();
    let free = || {
        let how = rustix::fs::FlockOperation::NonBlockingLockExclusive;
        rustix::fs::flock(&lock, how).is_ok()
    };
    let mut ended = free();
    for _ in 0..600 {
        if ended {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        ended = free();
    }
    assert!(ended, "the gateway of a killed demo goes on");
    drop(lock);
    let quick = ["demo", "--no-kill", "--provider", &url, "--model", "stub-1"];
    let mut command = house.command(&quick);
    command.env("TMPDIR", &place);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(folders().count(), 0, "what was left is gone, and so is its own");
}
