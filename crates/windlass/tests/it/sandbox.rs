//! Walls around commands: what a model's shell can do inside, and what it cannot do outside.

use landlock::{ABI, Access, CompatLevel, Compatible, Ruleset, RulesetAttr, Scope};
use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, WIRES};
use crate::judge;
use crate::kill::sleeping;

const SECRET: &str = "the-secret-of-the-state-folder";

/// A house whose commands are kept by `backend`, if this machine has it.
async fn house(mode: &str, backend: &str, change: impl FnOnce(&mut Value)) -> Option<House> {
    let walls = |config: &mut Value| {
        config["tools"] = json!({ "exec": { "sandbox": mode, "sandboxBackend": backend } });
        change(config);
    };
    let house = House::build(WIRES[0], walls).await;
    let said = house.json(&["sandbox", "explain", "--json"]).await;
    if let Some(why) = said[0]["refused"].as_str() {
        // Where it should be there, its absence is a fault of ours.
        let fault = backend == "landlock" && kernel_has_landlock();
        assert!(!fault, "this kernel has Landlock, and {mode} is refused: {why}");
        eprintln!("SKIPPED: {mode} by {backend} is not to be had on this machine: {why}");
        return None;
    }
    std::fs::write(house.folder.path().join("secret"), SECRET).unwrap();
    Some(house)
}

/// Has this kernel all of Landlock that is used (Linux 6.12), and is it switched on? Before that,
/// signals are not kept inside.
fn kernel_has_landlock() -> bool {
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::from_all(ABI::V6));
    ruleset.is_ok_and(|ruleset| ruleset.create().is_ok())
}

/// Tries what must work and what must not, and says which did.
fn tries(house: &House) -> String {
    let (state, port) = (house.folder.path().display(), house.stub.url());
    let port = port.rsplit(':').next().unwrap();
    format!(
        "echo in > in.txt && echo WROTE-IN; echo tmp > $TMPDIR/t && echo WROTE-TMP; \
         (echo out > {state}/out.txt) 2>/dev/null; cat {state}/secret 2>/dev/null; \
         head -c 15 {state}/windlass.db 2>/dev/null; cat {state}/gateway.token 2>/dev/null; \
         ls ~/.ssh /root/.ssh 2>/dev/null; \
         bash -c 'exec 3<>/dev/tcp/127.0.0.1/{port}' 2>/dev/null && echo HAS-NETWORK; \
         kill -0 {gateway} 2>/dev/null && echo SEES-GATEWAY; \
         cat /proc/{gateway}/environ 2>/dev/null | tr '\\0' ' ' | grep WINDLASS_STATE_DIR; \
         echo done",
        gateway = house.pid(),
    )
}

/// The test of the test: without walls all of it works.
#[tokio::test]
async fn without_a_sandbox_a_command_may_do_what_the_gateway_may() {
    let mut house = house("off", "auto", |_| {}).await.unwrap();
    house.start().await;
    let exec = json!({ "command": tries(&house), "env": { "TMPDIR": "/tmp" } });
    let answer = house.ask(&Plan::new().call("exec", exec).say("{last}").to_brief()).await;
    let signs = ["WROTE-IN", SECRET, "SQLite format", "HAS-NETWORK", "SEES-GATEWAY", "STATE_DIR"];
    for sign in signs {
        assert!(answer.contains(sign), "{sign} is missing: {answer}");
    }
    assert!(house.folder.path().join("out.txt").exists());
}

/// Inside it works; outside nothing is written, nothing of the gateway is read, and under `strict`
/// there is no network. In the foreground, in the background and in a terminal.
#[tokio::test]
async fn a_command_stays_inside() {
    for (mode, backend) in [
        ("workspace", "landlock"),
        ("strict", "landlock"),
        ("workspace", "bubblewrap"),
        ("strict", "bubblewrap"),
    ] {
        let Some(mut house) = house(mode, backend, |_| {}).await else { continue };
        house.start().await;
        let token = std::fs::read_to_string(house.folder.path().join("gateway.token"));
        for how in [json!({}), json!({ "background": true }), json!({ "pty": true })] {
            let mut exec = json!({ "command": tries(&house), "yieldMs": 60_000 });
            exec.as_object_mut().unwrap().extend(how.as_object().unwrap().clone());
            let plan = Plan::new().call("exec", exec).say("{last}").to_brief();
            let answer = house.ask(&plan).await;
            let place = format!("{mode} by {backend}, {how}: {answer}");
            for sign in ["WROTE-IN", "WROTE-TMP", "done\n[exit code 0"] {
                assert!(answer.contains(sign), "{sign} is missing: {place}");
            }
            for sign in [SECRET, "SQLite format", "STATE_DIR"] {
                assert!(!answer.contains(sign), "{sign} is there: {place}");
            }
            assert!(!answer.contains("SEES-GATEWAY") || !kernel_has_landlock(), "{place}");
            assert_eq!(answer.contains("HAS-NETWORK"), mode == "workspace", "{place}");
            assert!(token.iter().all(|token| !answer.contains(token.trim())), "{place}");
            assert!(!house.folder.path().join("out.txt").exists(), "{place}");
            assert!(house.folder.path().join("workspace/in.txt").exists(), "{place}");
            std::fs::remove_file(house.folder.path().join("workspace/in.txt")).unwrap();
        }
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// A sandbox is no place to hide in: what double-forks and hears nothing ends with its run.
#[tokio::test]
async fn nothing_outlives_its_run_in_a_sandbox() {
    for backend in ["landlock", "bubblewrap"] {
        let Some(mut house) = house("strict", backend, |_| {}).await else { continue };
        house.start().await;
        let asleep = (700_000 + u32::from(house.port)).to_string();
        let command = format!(
            "trap '' TERM; (setsid sh -c 'trap \"\" TERM; sleep {asleep}' &); sleep {asleep}"
        );
        let exec = json!({ "command": command, "yieldMs": 1_000, "pty": true });
        let answer = house.ask(&Plan::new().call("exec", exec).say("{last}").to_brief()).await;
        assert!(answer.contains("[running for "), "{answer}");
        let since = std::time::Instant::now();
        while sleeping(&asleep) > 0 {
            assert!(since.elapsed().as_secs() < 60, "{backend}: it lives\n{}", house.log());
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// A command that makes more and more processes is stopped, whoever the gateway runs as.
#[tokio::test]
async fn a_strict_command_is_bounded() {
    for backend in ["landlock", "bubblewrap"] {
        let Some(mut house) = house("strict", backend, |_| {}).await else { continue };
        house.start().await;
        let asleep = (800_000 + u32::from(house.port)).to_string();
        let command = format!("for n in $(seq 300); do sleep {asleep} & done; wait");
        let exec = json!({ "command": command, "yieldMs": 60_000 });
        let answer = house.ask(&Plan::new().call("exec", exec).say("{last}").to_brief()).await;
        assert!(answer.contains("processes, more than 256]"), "{backend}: {answer}");
        assert_eq!(sleeping(&asleep), 0, "{backend}");
    }
}

/// A child of an agent without walls is kept as its requester is, or a command could get out by
/// asking another.
#[tokio::test]
async fn a_child_is_kept_as_its_requester_is() {
    let two = |config: &mut Value| {
        let free = json!({ "exec": { "sandbox": "off" } });
        config["tools"]["exec"]["sandbox"] = json!("off");
        config["agents"]["entries"] = json!({
            "main": { "tools": { "exec": { "sandbox": "strict" } },
                      "subagents": { "allowAgents": ["free"] } },
            "free": { "tools": free },
        });
    };
    let Some(mut house) = house("strict", "landlock", two).await else { return };
    let said = house.json(&["sandbox", "explain", "--json"]).await;
    assert_eq!((&said[0]["mode"], &said[1]["mode"]), (&json!("off"), &json!("strict")));
    house.start().await;
    let exec = json!({ "command": tries(&house) });
    let child = Plan::new().call("exec", exec.clone()).say("{last}");
    let as_free = json!({ "agentId": "free" }).as_object().unwrap().clone();
    let root = Plan::named("r").spawn([("c", child)]).change(|step| step.spawn[0].args = as_free);
    let answer = house.ask(&root.yield_().say("{results}").to_brief()).await;
    assert!(answer.contains("WROTE-IN") && !answer.contains("HAS-NETWORK"), "{answer}");
    assert!(!answer.contains(SECRET), "{answer}");
    // Of its own it is free.
    let plan = Plan::new().call("exec", exec).say("{last}").to_brief();
    let answer = house.ok(&["agent", "--agent", "free", "--message", &plan]).await;
    assert!(answer.contains(SECRET), "{answer}");
}

/// What cannot be had is refused with the key and the reason, and never done with less.
#[tokio::test]
async fn a_sandbox_that_cannot_be_had_is_refused() {
    let mut house = House::build(WIRES[1], |config: &mut Value| {
        config["tools"] = json!({ "exec": { "sandbox": "workspace" } });
    })
    .await;
    // The workspace holds the state folder, which no command may see.
    let file = house.folder.path().join("windlass.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    config["agents"]["defaults"]["workspace"] = json!(house.folder.path());
    std::fs::write(&file, config.to_string()).unwrap();
    house.start().await;
    let exec = json!({ "command": "echo out > made.txt" });
    let answer = house.ask(&Plan::new().call("exec", exec).say("{last}").to_brief()).await;
    assert!(answer.contains("tools.exec.sandbox is workspace"), "{answer}");
    assert!(answer.contains("holds") && answer.contains("the command was not run"), "{answer}");
    assert!(!house.folder.path().join("made.txt").exists());
}
