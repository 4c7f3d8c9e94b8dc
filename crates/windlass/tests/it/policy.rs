//! What a session may not do is not done, whatever its model says; and anybody can ask why.

use std::time::Duration;

use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, WIRES};

const MAIN: &str = "agent:main:main";

/// What the conversation holds, tools and all, as text.
async fn transcript(house: &House, session: &str) -> String {
    house.ok(&["sessions", "show", session, "--json"]).await
}

async fn explained(house: &House, args: &[&str]) -> Value {
    let args = [&["tools", "explain", "--json"], args].concat();
    house.json(&args).await.remove(0)
}

fn removed<'a>(explained: &'a Value, tool: &str) -> Option<&'a Value> {
    explained["removed"].as_array().unwrap().iter().find(|removed| removed["id"] == tool)
}

fn change(house: &House, change: impl FnOnce(&mut Value)) {
    let file = house.folder.path().join("windlass.json");
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    change(&mut config);
    std::fs::write(&file, config.to_string()).unwrap();
}

fn touch(name: &str) -> Value {
    json!({ "command": format!("echo x >> {name}") })
}

/// The model names a tool that was not given to it. It is not run, and the answer says which key
/// decides; a deny holds at the next call, an allow comes with the next episode.
#[tokio::test]
async fn a_denied_tool_is_not_run_although_the_model_names_it() {
    for wire in WIRES {
        let denied = |config: &mut Value| config["tools"] = json!({ "deny": ["bash"] });
        let mut house = House::build(wire, denied).await;
        house.start().await;
        let made = |name: &str| house.folder.path().join("workspace").join(name).exists();
        let plan = Plan::new().call("exec", touch("one")).say("so be it").to_brief();
        house.ask(&plan).await;
        assert!(!made("one"), "the tool was run");
        assert!(transcript(&house, MAIN).await.contains(r#"tools.deny is [\"bash\"]"#));
        let why = explained(&house, &["--session", "main"]).await;
        let exec = removed(&why, "exec").unwrap();
        assert_eq!((&exec["rule"], &exec["key"]), (&json!("tools"), &json!("tools.deny")));
        assert_eq!(exec["value"], json!("[\"bash\"]"));

        // Now it is allowed, and `write` is not: the one comes later, the other holds at once.
        house.terminate().await;
        change(&house, |config| config["tools"] = json!({ "deny": ["write"] }));
        house.start().await;
        let write = json!({ "path": "two", "content": "x" });
        let plan = Plan::new().call("write", write).call("exec", touch("three")).say("well");
        house.ask(&plan.to_brief()).await;
        let made = |name: &str| house.folder.path().join("workspace").join(name).exists();
        assert!(!made("two") && !made("three"));
        let words = transcript(&house, MAIN).await;
        assert!(words.contains(r#"tools.deny is [\"write\"]"#), "{words}");
        assert!(words.contains("comes with the next one"), "{words}");
        // Another session begins with the configuration of now.
        let plan = Plan::new().call("exec", touch("four")).say("well").to_brief();
        let args = ["agent", "--session-key", "thread:new", "--message", &plan];
        house.ok(&args).await;
        assert!(made("four"), "{}", transcript(&house, "thread:new").await);
    }
}

/// Every layer is there to be asked, also of sessions that do not exist yet.
#[tokio::test]
async fn explain_names_the_rule_that_took_a_tool_away() {
    let rules = |config: &mut Value| {
        config["tools"] = json!({ "subagents": { "tools": { "deny": ["group:runtime"] } } });
        config["agents"]["entries"] = json!({
            "main": { "default": true, "tools": { "profile": "messaging" },
                      "subagents": { "allowAgents": ["coder"],
                                     "delegateTools": { "coder": ["read"] } } },
            "coder": {},
        });
    };
    let mut house = House::build(WIRES[0], rules).await;
    house.start().await;
    let main = explained(&house, &["--agent", "main"]).await;
    assert_eq!(removed(&main, "read").unwrap()["key"], "agents.entries.main.tools.profile");
    let leaf = explained(&house, &["--agent", "coder", "--depth", "5"]).await;
    assert_eq!(leaf["role"], "leaf");
    let spawn = removed(&leaf, "sessions_spawn").unwrap();
    assert_eq!(spawn["key"], "agents.defaults.subagents.maxSpawnDepth");
    assert_eq!(removed(&leaf, "exec").unwrap()["key"], "tools.subagents.tools.deny");
    let reader = explained(&house, &["--agent", "coder", "--read-only"]).await;
    assert_eq!(removed(&reader, "write").unwrap()["rule"], "access");
    assert!(removed(&reader, "read").is_none() && removed(&reader, "sessions_spawn").is_none());

    // A real child: it has what it was given, and nothing else of what its requester lacks.
    let child = Plan::new().call("write", json!({ "path": "x", "content": "x" })).say("done");
    let spawn = json!({ "task": child.to_brief(), "agentId": "coder" });
    let plan = Plan::new().call("sessions_spawn", spawn).yield_().say("all: {results}").to_brief();
    house.ask(&plan).await;
    house.quiet().await;
    let tasks = house.json(&["tasks", "list", "--json"]).await;
    let key = tasks[0]["childSessionKey"].as_str().unwrap().to_owned();
    let child = explained(&house, &["--session", &key]).await;
    let has = child["groups"][0]["tools"].as_array().unwrap().iter().any(|t| t["id"] == "read");
    assert!(has, "{child}");
    let write = removed(&child, "write").unwrap();
    assert_eq!(write["key"], "agents.entries.main.subagents.delegateTools.coder");
    assert!(!house.folder.path().join("workspace-coder/x").exists());
    // The same for people.
    let table = house.ok(&["tools", "explain", "--session", &key]).await;
    assert!(table.contains("write") && table.contains("delegateTools.coder is [\"read\"]"));
    let list = house.ok(&["tools", "list"]).await;
    assert!(list.contains("group:fs") && list.contains("sessions_spawn"), "{list}");
}

/// Who could do nothing is not made, and the answer says what has emptied its hands.
#[tokio::test]
async fn a_child_without_tools_is_refused_with_the_rule() {
    let rules = |config: &mut Value| {
        config["tools"] = json!({ "subagents": { "tools": { "allow": ["no_such_tool"] } } });
    };
    let mut house = House::build(WIRES[1], rules).await;
    house.start().await;
    let plan = Plan::new().call("sessions_spawn", json!({ "task": "work" })).say("I see");
    house.ask(&plan.to_brief()).await;
    let words = transcript(&house, MAIN).await;
    assert!(words.contains("empty_toolset") && words.contains("tools.subagents.tools.allow is"));
    assert_eq!(house.json(&["tasks", "list", "--json"]).await, [] as [Value; 0]);
    // A name that names nothing is said when the configuration is checked.
    let output = house.run(&["config", "validate"]).await;
    let said = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("`no_such_tool` names no tool"), "{said}");
}

/// A model that asks for the same for ever is blocked at the limit, told so, and ended, although
/// the gateway is killed in the middle.
#[tokio::test]
async fn a_loop_is_blocked_also_when_the_gateway_is_killed_in_the_middle() {
    let mut house = House::build(WIRES[0], |_| {}).await;
    house.start().await;
    let again = json!({ "command": "echo ran >> count; echo the same" });
    // The third answer takes its time: two results are in the store when the plug is pulled.
    let plan = Plan::new()
        .call("exec", again.clone())
        .repeated(2)
        .call("exec", again.clone())
        .after_ms(4_000)
        .call("exec", again)
        .repeated(12)
        .say("never");
    let brief = plan.to_brief();
    let command = house.command(&["agent", "--message", &brief, "--idempotency-key", "loop"]);
    let waiting = tokio::task::spawn_blocking(move || {
        let mut command = command;
        command.output().unwrap()
    });
    for _ in 0..600 {
        if house.stub.journal().requests.len() >= 3 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    house.kill();
    house.start().await;
    house.quiet().await;
    waiting.await.unwrap();
    let count = std::fs::read_to_string(house.folder.path().join("workspace/count")).unwrap();
    assert_eq!(count.lines().count(), 3, "it was run as often as it may be");
    let words = transcript(&house, MAIN).await;
    assert!(words.contains("Blocked: `exec` was called 3 times"), "{words}");
    assert!(words.contains("tools.loopDetection.maxRepeats is 3"), "{words}");
    let session = &house.json(&["sessions", "show", "main", "--json"]).await[0];
    assert!(session["lastRunError"].as_str().unwrap().contains("loop guard"), "{session}");
}

/// A read-only child names tools that change things, and so does what it spawns: nothing happens.
#[tokio::test]
async fn a_read_only_tree_changes_nothing() {
    let mut house = House::build(WIRES[1], |_| {}).await;
    house.start().await;
    let write = json!({ "path": "written", "content": "x" });
    let tries = |plan: Plan| plan.call("exec", touch("made")).call("write", write.clone());
    let grandchild = tries(Plan::new()).say("I could not").to_brief();
    let below = json!({ "task": grandchild, "access": "full" });
    let child = tries(Plan::new()).call("sessions_spawn", below).yield_().say("nor could I");
    let spawn = json!({ "task": child.to_brief(), "access": "read-only" });
    let plan = Plan::new().call("sessions_spawn", spawn).yield_().say("all: {results}").to_brief();
    house.ask(&plan).await;
    house.quiet().await;
    for name in ["made", "written"] {
        assert!(!house.folder.path().join("workspace").join(name).exists(), "{name}");
    }
    let tasks = house.json(&["tasks", "list", "--json"]).await;
    assert_eq!(tasks.len(), 2, "{tasks:?}");
    for task in &tasks {
        let key = task["childSessionKey"].as_str().unwrap();
        let words = transcript(&house, key).await;
        assert!(words.contains("this session is read-only"), "{words}");
        let why = explained(&house, &["--session", key]).await;
        assert_eq!(why["access"], "read-only");
        assert_eq!(removed(&why, "edit").unwrap()["rule"], "access");
    }
}
