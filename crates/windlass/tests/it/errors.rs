//! What gets a clear error and loses nothing.

use std::process::Output;

use serde_json::{Value, json};
use stub::{Failure, Fault, FaultRule, Options, Plan, Stub};

use crate::house::{House, late};
use crate::judge;

const WIRE: &str = "anthropic-messages";

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs the gateway in a house that it cannot start in, and returns its exit code and words.
async fn refused(house: &House) -> (Option<i32>, String) {
    let output = house.run(&["gateway", "--port", &house.port.to_string()]).await;
    (output.status.code(), stderr(&output))
}

#[tokio::test]
async fn a_wrong_configuration_names_line_column_and_the_right_key() {
    let house = House::build(WIRE, |_| {}).await;
    let file = house.folder.path().join("windlass.json");
    std::fs::write(&file, "{\n  gateway: {\n    prot: 18789,\n  },\n}\n").unwrap();
    let (code, words) = refused(&house).await;
    assert_eq!(code, Some(2), "{words}");
    assert!(
        words.contains("line 3, column 5") && words.contains("did you mean `gateway.port`"),
        "{words}"
    );
    assert!(!house.folder.path().join("windlass.db").exists(), "something was made all the same");

    std::fs::write(&file, "{ gateway: { port: 1 }").unwrap();
    let output = house.run(&["config", "validate"]).await;
    assert!(!output.status.success() && stderr(&output).contains("line 1"), "{}", stderr(&output));
}

#[tokio::test]
async fn a_configuration_that_cannot_be_read_says_why() {
    let house = House::build(WIRE, |_| {}).await;
    let file = house.folder.path().join("windlass.json");
    std::fs::write(&file, b"{ gateway: {} } // \xff").unwrap();
    let (code, words) = refused(&house).await;
    assert_eq!(code, Some(2), "{words}");
    assert!(words.contains("windlass.json: ") && words.contains("UTF-8"), "{words}");
}

#[tokio::test]
async fn a_backup_that_cannot_be_made_names_the_copy() {
    let mut house = House::build(WIRE, |_| {}).await;
    house.start().await;
    let there = house.folder.path().join("windlass.json").display().to_string();
    let words = stderr(&house.run(&["db", "backup", &there]).await);
    assert!(words.contains(&there) && words.contains("exists already"), "{words}");
    let output = house.run(&["db", "backup", "/no/such/folder/copy.db"]).await;
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{words}");
    assert!(words.contains("/no/such/folder/copy.db cannot be written"), "{words}");
}

#[tokio::test]
async fn a_folder_has_one_gateway_and_the_second_learns_its_pid() {
    let mut house = House::build(WIRE, |_| {}).await;
    house.start().await;
    let output = house.run(&["gateway", "--port", "0"]).await;
    let words = stderr(&output);
    assert_eq!(output.status.code(), Some(75), "{words}");
    assert!(words.contains(&format!("process {}", house.pid())), "{words}");
    assert_eq!(house.ask("still there?").await.trim(), "stub heard: still there?");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let house = House::build(WIRE, |_| {}).await;
    let _taken = std::net::TcpListener::bind(("127.0.0.1", house.port)).unwrap();
    let (code, words) = refused(&house).await;
    assert_ne!(code, Some(0));
    assert!(words.contains(&house.port.to_string()) && words.contains("gateway.port"), "{words}");
}

#[tokio::test]
async fn a_damaged_or_newer_database_is_refused_and_left_alone() {
    let mut house = House::build(WIRE, |_| {}).await;
    house.start().await;
    house.ask("hello").await;
    house.terminate().await;
    let file = house.folder.path().join("windlass.db");
    let sound = std::fs::read(&file).unwrap();

    std::fs::write(&file, "this is not a database, but it is long enough to be read as one")
        .unwrap();
    let (code, words) = refused(&house).await;
    assert_eq!(code, Some(75), "{words}");
    assert!(words.contains("windlass.db is damaged") && words.contains("db check"), "{words}");

    std::fs::write(&file, &sound).unwrap();
    let status = std::process::Command::new("sqlite3")
        .arg(&file)
        .arg("update refinery_schema_history set version = 999 where version = 1")
        .status()
        .unwrap();
    assert!(status.success());
    let before = std::fs::read(&file).unwrap();
    let (code, words) = refused(&house).await;
    assert_eq!(code, Some(75), "{words}");
    assert!(words.contains("newer Windlass") && words.contains("999"), "{words}");
    assert_eq!(std::fs::read(&file).unwrap(), before, "the file was touched");
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_made_is_named() {
    let house = House::build(WIRE, |_| {}).await;
    let file = house.folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let below = file.join("state");
    let config = house.folder.path().join("windlass.json");
    let (below, config) = (below.to_str().unwrap(), config.to_str().unwrap());
    let output =
        house.run(&["gateway", "--state-dir", below, "--config", config, "--port", "0"]).await;
    assert_eq!(output.status.code(), Some(75));
    assert!(stderr(&output).contains(below), "{}", stderr(&output));

    std::fs::create_dir(house.folder.path().join("gateway.partial")).unwrap();
    let (code, words) = refused(&house).await;
    assert_eq!(code, Some(75), "{words}");
    assert!(words.contains("cannot write") && words.contains("gateway.token"), "{words}");
}

#[tokio::test]
async fn unknown_agents_sessions_and_models_are_named() {
    let mut house = House::build(WIRE, |_| {}).await;
    house.start().await;
    let cases: &[(&[&str], &str)] = &[
        (&["agent", "--agent", "nobody", "--message", "x"], "nobody"),
        (&["agent", "--session-key", "a b", "--message", "x"], "session key"),
        (
            &[
                "agent",
                "--session-key",
                "agent:main:subagent:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8",
                "--message",
                "x",
            ],
            "no session",
        ),
        (&["agent", "--message", "   "], "message"),
        (&["sessions", "show", "thread:never-was"], "no session"),
        (&["config", "get", "gateway.prot"], "gateway.prot"),
    ];
    for (args, expected) in cases {
        let output = house.run(args).await;
        assert!(!output.status.success(), "{args:?} succeeded");
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
        assert!(output.stdout.is_empty(), "words on stdout");
    }
    // A child that asks for a model or an agent which is not there is told which there are.
    let brief = Plan::new()
        .call("sessions_spawn", json!({ "task": "x", "model": "stub/none" }))
        .call("sessions_spawn", json!({ "task": "x", "agentId": "nobody" }))
        .say("{tools}")
        .to_brief();
    let told = house.ask(&brief).await;
    assert!(told.contains("model_unavailable") && told.contains("stub/stub-1"), "{told}");
    assert!(told.contains("agent_not_allowed") && told.contains("agents.entries"), "{told}");
    judge::all_is_well(&house, &Default::default()).await;
}

#[tokio::test]
async fn a_key_that_is_refused_ends_the_run_with_a_word_and_without_the_key() {
    let options = Options { api_keys: vec!["another".to_owned()], ..Options::default() };
    let stub = Stub::start(options).await.unwrap();
    let mut house = House::build_with(stub, WIRE, |_| {});
    house.start().await;
    let output = house.run(&["agent", "--message", "hi"]).await;
    assert!(!output.status.success());
    assert!(
        stderr(&output).contains("stub") && stderr(&output).contains("credentials")
            || stderr(&output).contains("401"),
        "{}",
        stderr(&output)
    );
    assert!(!house.log().contains("sk-test") && !stderr(&output).contains("sk-test"));
    let sessions = house.json(&["sessions", "list", "--json"]).await;
    assert_eq!(sessions[0]["status"], "failed");
    // The session is alive: it can be written to again.
    let history = house.ok(&["sessions", "show", "main"]).await;
    assert!(history.contains("hi"), "{history}");
}

#[tokio::test]
async fn no_model_at_all_is_said_in_the_answer() {
    let mut house = House::build(WIRE, |config| {
        config["agents"]["defaults"].as_object_mut().unwrap().remove("model");
    })
    .await;
    house.start().await;
    let output = house.run(&["agent", "--message", "hi"]).await;
    assert!(!output.status.success());
    assert!(stderr(&output).contains("model"), "{}", stderr(&output));
}

/// Cut, stalled, nonsense, flood, 429, 5xx: the run gets over each that passes.
#[tokio::test]
async fn a_provider_that_misbehaves_for_a_while_is_got_over() {
    let mut house = House::build(WIRE, |config| {
        config["models"]["providers"]["stub"]["timeoutSeconds"] = json!(2);
    })
    .await;
    house.start().await;
    for fault in [
        Fault::Cut { after_tokens: 3 },
        Fault::Garbage { after_tokens: 2 },
        Fault::Stall { after_tokens: 1 },
        Fault::Flood { bytes: 64 << 20 },
        Fault::Error(Failure { retry_after_s: Some(1), ..Failure::status(429) }),
        Fault::Error(Failure::status(529)),
        Fault::Error(Failure::status(500)),
    ] {
        house.stub.set_faults(vec![FaultRule::times(fault.clone(), 1)]);
        let answer = house.ask(&format!("hello after {fault:?}")).await;
        assert!(answer.starts_with("stub heard: hello after"), "{fault:?}: {answer}");
    }
    judge::all_is_well(&house, &Default::default()).await;
}

/// Wrong arguments, an unknown tool, broken JSON, a gigabyte of output: the model is told, and
/// the run goes on.
#[tokio::test]
async fn tools_that_are_called_wrongly_or_say_too_much() {
    let mut house = House::build(WIRE, |_| {}).await;
    house.start().await;
    let brief = Plan::new()
        .call("read", json!({ "pth": "x" }))
        .call("no_such_tool", json!({}))
        .call("exec", json!({ "command": "head -c 1G /dev/zero | tr '\\0' x" }))
        .call("read", json!({ "path": "../../etc/passwd" }))
        .say("{tools}")
        .to_brief();
    let told = house.ask(&brief).await;
    for expected in ["path", "There is no tool `no_such_tool`"] {
        assert!(
            told.contains(expected),
            "{expected:?} is not in {}",
            told.replace("xx", "").chars().take(4_000).collect::<String>()
        );
    }
    let cut = "kind = 'tool_result' and body like '%bytes cut here%'";
    assert_eq!(judge::count(&house, "entries", cut), 1, "the model is told what it does not see");
    assert!(told.len() < 500_000, "{} bytes", told.len());
    assert!(!told.contains("root:"), "a file outside of the workspace was read");
    judge::all_is_well(&house, &Default::default()).await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused_whole() {
    let mut house = House::build(WIRE, |_| {}).await;
    house.start().await;
    let text = "x".repeat(100_000);
    assert!(house.ask(&text).await.starts_with("stub heard"));
    // An argument of a command is bounded by the kernel, so the large one is typed.
    let output = house.run_with_stdin(&["chat"], "big").await;
    assert!(stderr(&output).contains("16777216"), "{}", stderr(&output));
    let world = judge::all_is_well(&house, &Default::default()).await;
    assert_eq!(world.inbox.len(), 1, "a part of the refused message is stored");
}

/// Two messages to one session at once: one run at a time, both answered or taken in, in order.
#[tokio::test]
async fn two_messages_at_once_are_ordered_by_a_queue() {
    let mut house = House::build(WIRE, |config| {
        config["messages"] = json!({ "queue": { "mode": "followup" } });
    })
    .await;
    house.start().await;
    let first = late(300, "first").to_brief();
    let second = Plan::new().say("second").to_brief();
    let (one, two) = tokio::join!(house.ask(&first), house.ask(&second));
    assert_eq!((one.trim(), two.trim()), ("first", "second"));
    judge::all_is_well(&house, &Default::default()).await;
}

/// Depth, children, tree, and a second spawn of the same task: each refusal names the key that
/// decides, and its value.
#[tokio::test]
async fn spawns_that_are_refused_say_why() {
    let spawn = |task: &str| ("sessions_spawn", json!({ "task": task }));
    let cases: [(Value, Plan, &[&str]); 4] = [
        (
            json!({ "maxChildrenPerAgent": 1 }),
            Plan::new().calls([spawn("a"), spawn("b")]).say("{tools}"),
            &["children_exceeded", "maxChildrenPerAgent is 1"],
        ),
        (
            json!({ "maxTasksPerTree": 1, "maxChildrenPerAgent": 5 }),
            Plan::new().calls([spawn("a"), spawn("b")]).say("{tools}"),
            &["tree_exceeded", "maxTasksPerTree"],
        ),
        (
            json!({ "maxSpawnDepth": 1 }),
            Plan::new()
                .spawn([("leaf", Plan::new().calls([spawn("deeper")]).say("{tools}"))])
                .yield_()
                .say("{results}"),
            &["`sessions_spawn` is not for a sub-agent at the last depth", "maxSpawnDepth is 1"],
        ),
        (
            json!({}),
            Plan::new().calls([spawn("The same"), spawn("the   SAME")]).say("{tools}"),
            &["duplicate", "taskName"],
        ),
    ];
    for (subagents, plan, expected) in cases {
        let mut house = House::build(WIRE, |config| {
            config["agents"]["defaults"]["subagents"] = subagents.clone();
        })
        .await;
        house.start().await;
        let told = house.ask(&plan.to_brief()).await;
        for words in expected {
            assert!(told.contains(words), "{subagents}: {words:?} is not in {told}");
        }
        house.quiet().await;
    }
}

/// `logging.level` says how much a gateway tells.
#[tokio::test]
async fn a_gateway_says_as_much_as_is_configured() {
    for (level, says) in [("silent", false), ("info", true)] {
        let mut house =
            House::build(WIRE, |config| config["logging"] = json!({ "level": level })).await;
        house.start().await;
        house.terminate().await;
        assert_eq!(house.log().contains("draining"), says, "{level}: {}", house.log());
    }
}
