//! What is typed to the gateway itself: answered without a model, kept, and carried out once.

use std::io::Write;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stub::Plan;

use crate::house::{House, late};
use crate::judge;

const WIRE: &str = "anthropic-messages";

async fn house() -> House {
    let mut house = House::build(WIRE, |config| {
        config["agents"]["entries"] = json!({
            "main": { "name": "Front desk", "description": "answers people" },
            "ops": {},
        });
        config["agents"]["defaults"]["subagents"] = json!({ "allowAgents": ["*"] });
    })
    .await;
    house.start().await;
    house
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Types a command under a key.
async fn typed(house: &House, text: &str, key: &str) -> String {
    house.ok(&["agent", "--message", text, "--idempotency-key", key]).await
}

/// Every word of a session's history, as a person reads it.
async fn history(house: &House, args: &[&str]) -> Vec<String> {
    let mut all = vec!["sessions", "show", "main", "--json", "--limit", "500"];
    all.extend(args);
    let rows = house.json(&all).await;
    let words = |row: &Value| row["content"][0]["text"].as_str().map(str::to_owned);
    rows.iter().filter_map(words).collect()
}

#[tokio::test]
async fn every_command_works_in_a_conversation_and_costs_no_model_call() {
    let mut house = house().await;
    let commands = [
        ("/help", "/subagents spawn"),
        ("/status", "The session has not run yet."),
        ("/agents", "main (Front desk), default: stub/stub-1 - answers people"),
        ("/threads", "There are no named conversations"),
        ("/tasks", "0 active, 0 in all"),
        ("/queue", "mode=steer"),
        ("/queue followup", "followup"),
        ("/subagents list", "No sub-agents"),
        ("/subagents kill all", "Nothing was running."),
        ("/stop", "Nothing was running."),
        ("/new", "A new conversation has begun"),
        ("/reset", "The conversation has been reset"),
    ];
    for (text, told) in commands {
        let answer = typed(&house, text, &format!("first {text}")).await;
        assert!(answer.contains(told), "{text}: {answer}");
    }
    for (text, told) in [
        ("/subagents info 1", "The last list has no #1"),
        ("/subagents log nobody", "There is no task `nobody`"),
        ("/subagents steer nobody words", "There is no task `nobody`"),
        ("/subagents send nobody words", "There is no task `nobody`"),
        ("/subagents kill nobody", "There is no task `nobody`"),
        ("/subagents spawn nobody work", "agent_not_allowed"),
        ("/subagents dance", "/subagents kill <task>|all"),
        ("/queue shout", "/queue [steer|followup|collect|interrupt]"),
        ("/mode", "There is no command /mode"),
        ("/model nothing", "no model `nothing` is configured"),
        ("/think hard", "/think off|minimal|low"),
    ] {
        let output = house.run(&["agent", "--message", text]).await;
        assert!(!output.status.success(), "{text} succeeded");
        assert!(stderr(&output).contains(told), "{text}: {}", stderr(&output));
    }
    assert_eq!(house.stub.journal().requests.len(), 0, "a command has called a model");

    // The same in a conversation at the keyboard, and after a kill.
    let output = house.run_with_stdin(&["chat"], "/tasks\n/queue\n").await;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(words.ends_with("Nothing waits.\n") && words.contains("0 in all"), "{words}");
    house.kill();
    house.start().await;
    assert!(typed(&house, "/queue", "again").await.contains("mode=followup"), "it is kept");
    let shown = history(&house, &[]).await;
    let at = shown.iter().position(|words| words == "/queue shout").expect("it is kept");
    assert!(shown[at + 1].starts_with("Not understood."), "{shown:?}");
    assert_eq!(house.stub.journal().requests.len(), 0, "a command has called a model");

    // What is no command reaches the model, and no command ever does.
    assert_eq!(house.ask("/usr/bin is a path").await.trim(), "stub heard: /usr/bin is a path");
    let journal = house.stub.journal();
    assert_eq!((journal.requests.len(), journal.requests[0].messages), (1, 1));
    judge::all_is_well(&house, &Default::default()).await;
}

/// The same key never spawns or stops twice, whatever becomes of the gateway in between.
#[tokio::test]
async fn a_command_that_is_sent_again_is_not_done_again() {
    let mut house = house().await;
    let work = late(120_000, "never").to_brief();
    let spawn = format!("/subagents spawn ops {work}");
    let first = typed(&house, &spawn, "spawn").await;
    assert!(first.starts_with("Started: tsk_"), "{first}");
    house.kill();
    house.start().await;
    assert_eq!(typed(&house, &spawn, "spawn").await, first);
    assert_eq!(house.json(&["tasks", "list", "--json"]).await.len(), 1);

    // What it has begun is named by its number, and stopped once.
    let list = typed(&house, "/subagents list", "list").await;
    assert!(list.contains("#1 "), "{list}");
    let killed = typed(&house, "/subagents kill #1", "kill").await;
    assert!(killed.starts_with("Stopped, with all below it: tsk_"), "{killed}");
    house.kill();
    house.start().await;
    assert_eq!(typed(&house, "/subagents kill #1", "kill").await, killed);
    let shown = typed(&house, "/subagents info #1", "info").await;
    assert!(shown.contains("status: cancelled"), "{shown}");
    house.quiet().await;
    judge::all_is_well(&house, &Default::default()).await;
}

/// Status and stop do not wait in line, and the answer says what has stopped.
#[tokio::test]
async fn a_busy_conversation_answers_at_once() {
    let house = house().await;
    let child = late(300_000, "never");
    let brief = Plan::named("r").spawn([("research", child)]).yield_().say("never").to_brief();
    let mut asking = house.command(&["agent", "--message", &brief]);
    let asked = tokio::task::spawn_blocking(move || asking.output().unwrap());
    for _ in 0..600 {
        if house.json(&["tasks", "list", "--json"]).await.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let calls = house.stub.journal().requests.len();
    let status = typed(&house, "/status", "s").await;
    assert!(status.contains("last turn waiting_for_response"), "{status}");
    assert!(status.contains("sub-agents open: 1"), "{status}");
    let tasks = typed(&house, "/tasks", "t").await;
    assert!(tasks.contains("1 active") && tasks.contains("#1 research"), "{tasks}");
    let told = typed(&house, "/stop", "x").await;
    assert!(told.contains("Stopped: the run of agent:main:main."), "{told}");
    assert!(told.contains("Stopping: research (tsk_"), "{told}");
    assert!(!asked.await.unwrap().status.success(), "a stopped run has no answer");
    house.quiet().await;
    assert_eq!(typed(&house, "/stop", "x2").await.trim(), "Nothing was running.");
    assert!(house.stub.journal().requests.len() <= calls + 1, "a command has called a model");
    judge::all_is_well(&house, &Default::default()).await;
}

/// A person delegates without a model, and the result comes into his conversation.
#[tokio::test]
async fn a_person_spawns_a_sub_agent() {
    let house = house().await;
    let brief = Plan::named("w").say("found it").to_brief();
    typed(&house, &format!("/subagents spawn ops {brief} --model stub/stub-1"), "s").await;
    house.quiet().await;
    let log = typed(&house, "/subagents log last", "l").await;
    assert!(log.ends_with("Assistant: found it\n"), "{log}");
    let heard = history(&house, &[]).await;
    assert!(heard.iter().any(|words| words.contains("[Subagent result]")), "{heard:?}");
    let more = typed(&house, "/subagents send last and now?", "m").await;
    assert!(more.starts_with("Sent to agent:ops:subagent:"), "{more}");
    house.quiet().await;
    let heard = history(&house, &[]).await;
    assert!(heard.iter().any(|words| words.contains("and now?")), "its answer: {heard:?}");
    let more = typed(&house, "/subagents steer last once more", "o").await;
    assert!(more.starts_with("It had ended, and goes on as tsk_"), "{more}");
    house.quiet().await;
    judge::all_is_well(&house, &Default::default()).await;
}

/// One key is one conversation, by whatever door it is entered.
#[tokio::test]
async fn a_thread_is_the_same_conversation_from_everywhere() {
    let house = house().await;
    house.ok(&["agent", "--session-key", "thread:x", "--message", "one"]).await;
    let args = ["chat", "--session-key", "thread:x"];
    let output = house.run_with_stdin(&args, "two\n/status\n").await;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(words.contains("user: one\n") && words.contains("agent:main:thread:x"), "{words}");
    let full = "agent:main:thread:x";
    house.ok(&["agent", "--session-key", full, "--message", "three"]).await;
    let sent: Vec<usize> = house.stub.journal().requests.iter().map(|r| r.messages).collect();
    assert_eq!(sent, [1, 3, 5], "each is told of what was said before");
    let threads = house.ok(&["threads"]).await;
    assert!(threads.contains("thread:x") && threads.contains("one"), "{threads}");
    judge::all_is_well(&house, &Default::default()).await;
}

#[tokio::test]
async fn a_conversation_is_begun_anew_and_the_old_one_stays_readable() {
    let mut house = house().await;
    house.ask("a secret: 4711").await;
    let new = typed(&house, "/new", "n").await;
    assert!(new.contains("stays readable"), "{new}");
    assert_eq!(house.ask("what was it?").await.trim(), "stub heard: what was it?");
    let journal = house.stub.journal();
    assert_eq!(journal.requests[1].messages, 1, "the new conversation knows of the old one");

    let shown = house.ok(&["sessions", "show", "main"]).await;
    let earlier = shown.lines().find(|line| line.starts_with("earlier: ")).expect("it is listed");
    assert!(earlier.ends_with("2 messages, ended by /new"), "{earlier}");
    let id = earlier.split([' ', ',']).nth(1).unwrap();
    let old = history(&house, &["--session-id", id]).await;
    assert_eq!(old, ["a secret: 4711", "stub heard: a secret: 4711"]);
    let output = house.run(&["sessions", "show", "main", "--session-id", "ses_1"]).await;
    assert!(stderr(&output).contains("session id"), "{}", stderr(&output));

    house.ok(&["sessions", "reset", "main"]).await;
    house.kill();
    house.start().await;
    let shown = house.ok(&["sessions", "show", "main"]).await;
    assert_eq!(shown.matches("earlier: ").count(), 2, "{shown}");
    judge::all_is_well(&house, &Default::default()).await;
}

#[tokio::test]
async fn sessions_are_administered_from_the_command_line() {
    let mut house = house().await;
    let key = "thread:plans";
    house.ok(&["agent", "--session-key", key, "--message", "hello"]).await;
    house.ok(&["sessions", "rename", key, "the plans"]).await;
    assert!(house.ok(&["threads"]).await.contains("the plans"));
    house.ok(&["sessions", "archive", key]).await;
    let output = house.run(&["agent", "--session-key", key, "--message", "hello"]).await;
    assert!(stderr(&output).contains("is archived"), "{}", stderr(&output));
    assert!(stderr(&output).contains("sessions restore agent:main:thread:plans"));
    house.kill();
    house.start().await;
    house.ok(&["sessions", "restore", key]).await;
    house.ok(&["agent", "--session-key", key, "--message", "and on"]).await;

    let tokens = "select sum(input + output + cache_read + cache_write) from ledger";
    let paid = ask_database(&house, tokens);
    house.ok(&["sessions", "delete", key]).await;
    assert_eq!(house.ok(&["threads"]).await, "");
    assert!(!house.ok(&["sessions", "list"]).await.contains("plans"));
    assert_eq!(ask_database(&house, tokens), paid, "what was paid is known");
    let listed = "select count(*) from v_sessions where key like '%plans'";
    assert_eq!(ask_database(&house, listed), "0");
    let output = house.run(&["sessions", "delete", key]).await;
    assert!(stderr(&output).contains("no session"), "{}", stderr(&output));
    house.ok(&["agent", "--session-key", key, "--message", "hello again"]).await;
    assert_eq!(house.stub.journal().requests.last().unwrap().messages, 1);

    // A session with a child at work is not put away, and says what to do.
    let work = late(300_000, "never").to_brief();
    typed(&house, &format!("/subagents spawn main {work}"), "s").await;
    let output = house.run(&["sessions", "archive", "main"]).await;
    assert!(stderr(&output).contains("stop them, or wait"), "{}", stderr(&output));
    house.ok(&["sessions", "delete", "main"]).await;
    house.quiet().await;
    judge::all_is_well(&house, &Default::default()).await;
}

fn ask_database(house: &House, question: &str) -> String {
    let mut shell = std::process::Command::new("sqlite3");
    let output = shell.arg("-readonly").arg(house.database()).arg(question).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn what_is_typed_wrong_is_told_what_was_meant() {
    let house = house().await;
    let agents = house.ok(&["agents", "list"]).await;
    assert!(agents.contains("main (default)") && agents.contains("answers people"), "{agents}");
    let cases: &[(&[&str], &str)] = &[
        (&["tasks", "list", "--status", "bogus"], "queued, running, completed, failed"),
        (&["status", "--url", "http://127.0.0.1:1"], "expected `ws://127.0.0.1:1`"),
        (&["status", "--url", "ftp://127.0.0.1:1"], "expected `ws://` or `wss://`"),
        (&["sessions", "rename", "thread:none", "x"], "no session"),
        (&["sessions", "reset", "thread:none"], "no session"),
    ];
    for (args, expected) in cases {
        let output = house.run(args).await;
        assert!(!output.status.success(), "{args:?} succeeded");
        assert!(stderr(&output).contains(expected), "{args:?}: {}", stderr(&output));
    }
}

/// A conversation at the keyboard outlives the gateway: nothing is lost, and nothing is said twice.
#[tokio::test]
async fn a_conversation_comes_back_with_the_gateway() {
    let mut house = house().await;
    let mut command = house.command(&["chat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let slow = Plan::new().call("exec", json!({ "command": "sleep 3" })).say("slow").to_brief();
    writeln!(stdin, "{slow}").unwrap();
    for _ in 0..600 {
        if !house.stub.journal().requests.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    house.kill();
    // Typed while nobody listens.
    writeln!(stdin, "three\n/subagents spawn ops {}", Plan::named("w").say("done").to_brief())
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    house.start().await;
    drop(stdin);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = tokio::time::timeout(Duration::from_secs(120), output).await.unwrap().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words}\n{}", stderr(&output));
    assert!(stderr(&output).contains("it is back"), "{}", stderr(&output));
    assert!(words.contains("slow\n") && words.contains("Started: tsk_"), "{words}");
    house.quiet().await;
    let said = history(&house, &[]).await;
    for line in [slow.as_str(), "three"] {
        assert_eq!(said.iter().filter(|words| *words == line).count(), 1, "{line} in {said:?}");
    }
    assert_eq!(house.json(&["tasks", "list", "--json"]).await.len(), 1, "one task was begun");
    judge::all_is_well(&house, &Default::default()).await;
}

/// The first Ctrl-C stops the run, and the conversation goes on.
#[tokio::test]
async fn an_interrupt_stops_the_run_before_it_leaves() {
    let house = house().await;
    let mut command = house.command(&["chat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    writeln!(stdin, "{}", late(300_000, "never").to_brief()).unwrap();
    for _ in 0..600 {
        if house.json(&["status", "--json"]).await[0]["runs"]["running"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    house.quiet().await;
    writeln!(stdin, "{}", Plan::new().say("still here").to_brief()).unwrap();
    drop(stdin);
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = tokio::time::timeout(Duration::from_secs(120), output).await.unwrap().unwrap();
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{words}\n{}", stderr(&output));
    assert_eq!(words, "[stopped]\nstill here\n");
    assert!(stderr(&output).contains("Ctrl-C again leaves"), "{}", stderr(&output));
    judge::all_is_well(&house, &Default::default()).await;
}

/// `/new` with words behind it begins anew with them, and whoever has typed it gets the agent's
/// answer; the queue of a conversation is what was said of it, also after a restart.
#[tokio::test]
async fn a_conversation_begins_anew_with_a_message() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    house.ask("before").await;
    let first = format!("/new {}", Plan::new().say("planned").to_brief());
    let ask = ["agent", "--message", &first, "--idempotency-key", "k"];
    assert_eq!(house.ok(&ask).await.trim(), "planned");
    assert_eq!(house.ok(&ask).await.trim(), "planned", "the same key is the same command");
    let shown = house.ok(&["sessions", "show", "main"]).await;
    assert!(shown.contains("planned") && !shown.contains("stub heard: before"), "{shown}");

    house.ask("/queue collect debounce:2s cap:25").await;
    house.ask("/queue drop:old").await;
    house.kill();
    house.start().await;
    let settings = "mode=collect, debounce=2000ms, cap=25, drop=old (of this conversation).";
    assert!(house.ask("/queue").await.contains(settings));
    house.ask("/queue default").await;
    assert!(house.ask("/queue").await.contains("mode=steer, debounce=500ms, cap=20"));
    house.quiet().await;
    judge::all_is_well(&house, &Default::default()).await;
}
