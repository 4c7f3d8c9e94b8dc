//! Slash commands: answered by the gateway, kept with the conversation, and never by a model.

use serde_json::{Value, json};

use crate::world::{Client, World, send};

const MAIN: &str = "agent:main:main";

/// Types a command and returns its answer, as the event that ends it.
async fn typed(client: &mut Client, session: &str, text: &str, key: &str) -> String {
    let response = client.call("chat.send", send(session, text, key)).await;
    assert_eq!(response["payload"]["runId"], key, "{response}");
    assert_eq!(response["payload"]["status"], "ok", "{response}");
    let end = client.chat_end(key).await;
    assert_eq!(end["payload"]["state"], "final", "{end}");
    words(&end["payload"]["message"])
}

fn words(message: &Value) -> String {
    message["content"][0]["text"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_is_answered_and_none_by_a_model() {
    let world = World::new().await;
    let mut client = world.client().await;
    for (n, (text, begins)) in [
        ("/help", "/help"),
        ("/status", "Windlass 0.0.0-test"),
        ("/agents", "main, default: scripted/demo"),
        ("/threads", "There are no named conversations"),
        ("/tasks", "Tasks of this conversation: 0 active, 0 in all"),
        ("/queue", "Current queue settings: mode=steer, debounce=500ms, cap=20, drop=summarize."),
        ("/queue collect", "A message while this conversation is busy: collect"),
        ("/queue default", "Messages are queued as messages.queue says."),
        ("/subagents", "No sub-agents"),
        ("/subagents info #1", "The last list has no #1"),
        ("/subagents log nobody", "There is no task `nobody`"),
        ("/subagents steer nobody go on", "There is no task `nobody`"),
        ("/subagents kill last", "There is no task `last`"),
        ("/subagents kill all", "Nothing was running."),
        ("/stop", "Nothing was running."),
        ("/new", "A new conversation has begun"),
        ("/reset", "The conversation has been reset"),
        ("/subagents dance", "Not understood. The form is:\n  /subagents list"),
        ("/model", "model: scripted/demo (configured)"),
        ("/models", "scripted/demo: "),
        ("/think", "thinking: as the provider likes"),
        ("/mode", "There is no command /mode"),
    ]
    .into_iter()
    .enumerate()
    {
        let told = typed(&mut client, MAIN, text, &format!("k{n}")).await;
        assert!(told.starts_with(begins), "{text}: {told}");
    }
    let status = client.call("status", json!({})).await;
    assert_eq!(status["payload"]["runs"], json!({"queued": 0, "running": 0, "waiting": 0}));
    // What looks like a path is said to the agent.
    client.call("chat.send", send(MAIN, "/usr/bin is a path", "path")).await;
    assert_eq!(words(&client.chat_end("path").await["payload"]["message"]), "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_shown_where_it_was_typed() {
    let world = World::new().await;
    let mut client = world.client().await;
    typed(&mut client, MAIN, "/queue steer", "c1").await;
    client.call("chat.send", send(MAIN, "hello", "k1")).await;
    client.chat_end("k1").await;
    typed(&mut client, MAIN, "/tasks", "c2").await;

    let history = client.call("chat.history", json!({"sessionKey": MAIN})).await;
    let messages = history["payload"]["messages"].as_array().unwrap().clone();
    let shown: Vec<String> =
        messages.iter().map(|m| format!("{}: {}", m["role"].as_str().unwrap(), words(m))).collect();
    assert_eq!(
        shown,
        [
            "user: /queue steer",
            "assistant: A message while this conversation is busy: steer (it enters the run at \
             its next step).",
            "user: hello",
            "assistant: hello there",
            "user: /tasks",
            "assistant: Tasks of this conversation: 0 active, 0 in all",
        ]
    );
    assert_eq!(messages[1]["provenance"]["kind"], "internal_system");
    assert_eq!(history["payload"]["totalMessages"], 6);
    for offset in 0..6 {
        let params = json!({"sessionKey": MAIN, "limit": 1, "offset": offset});
        let page = client.call("chat.history", params).await;
        let page = page["payload"]["messages"].as_array().unwrap().clone();
        assert_eq!(page, [messages[5 - offset].clone()], "at {offset}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_command() {
    let world = World::new().await;
    let mut client = world.client().await;
    let spawn = "/subagents spawn main work for ever";
    let first = typed(&mut client, MAIN, spawn, "k1").await;
    assert!(first.starts_with("Started: tsk_"), "{first}");
    client.call("chat.send", send(MAIN, spawn, "k1")).await;
    let tasks = client.call("tasks.list", json!({})).await;
    assert_eq!(tasks["payload"]["tasks"].as_array().unwrap().len(), 1, "{tasks}");
    let waited = client.call("agent.wait", json!({"runId": "k1", "timeoutMs": 0})).await;
    assert_eq!(waited["payload"]["status"], "ok", "{waited}");
    assert_eq!(waited["payload"]["terminalReply"]["text"], first.as_str());

    let conflict = client.call("chat.send", send(MAIN, "/status", "k1")).await;
    assert_eq!(conflict["ok"], false, "{conflict}");
    let conflict = client.call("chat.send", send(MAIN, "words", "k1")).await;
    assert_eq!(conflict["ok"], false, "{conflict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_named_by_their_numbers() {
    let world = World::new().await;
    let mut client = world.client().await;
    for n in 1..=3 {
        let text = format!("/subagents spawn main work for ever {n}");
        typed(&mut client, MAIN, &text, &format!("s{n}")).await;
    }
    let list = typed(&mut client, MAIN, "/subagents list", "l").await;
    let keys: Vec<String> =
        list.lines().skip(1).map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), 3, "{list}");
    let info = typed(&mut client, MAIN, "/subagents info #2", "i").await;
    assert!(info.contains(&keys[1]), "{info}");
    let killed = typed(&mut client, MAIN, "/subagents kill #2", "x").await;
    assert!(killed.starts_with("Stopped, with all below it: tsk_"), "{killed}");
    // Neither the answer to `info` nor that to `kill` was a list.
    let told = typed(&mut client, MAIN, "/subagents send #3 hurry", "t").await;
    assert!(told.contains(&keys[2]), "{told}");
    let by_key = typed(&mut client, MAIN, &format!("/subagents info {}", keys[0]), "b").await;
    assert!(by_key.contains(&keys[0]), "{by_key}");
    let last = typed(&mut client, MAIN, "/subagents info last", "n").await;
    assert!(last.contains(&keys[2]), "{last}");
    let all = typed(&mut client, MAIN, "/subagents kill all", "a").await;
    assert_eq!(all.matches("Stopping: ").count(), 2, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_and_status_do_not_wait_for_a_busy_session() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("chat.send", send(MAIN, "for ever", "k1")).await;
    client.until(|f| f["payload"]["runId"] == "k1" && f["event"] == "agent").await;
    let params = json!({"sessionKey": MAIN, "message": "later", "idempotencyKey": "k2",
                        "queueMode": "followup"});
    client.call("chat.send", params).await;

    let status = typed(&mut client, MAIN, "/status", "c1").await;
    assert!(status.contains("running, last turn waiting_for_response"), "{status}");
    let queue = typed(&mut client, MAIN, "/queue", "c2").await;
    assert!(queue.ends_with("1. later"), "{queue}");
    let history = client.call("chat.history", json!({"sessionKey": MAIN})).await;
    let pending = &history["payload"]["pendingInputs"];
    assert_eq!(pending["total"], 1, "{pending}");
    assert_eq!(words(&pending["items"][0]["message"]), "later");
    assert_eq!(pending["items"][0]["state"], "queued");

    let stop = client.call("chat.send", send(MAIN, "/stop", "c3")).await;
    assert_eq!(stop["payload"]["aborted"], true, "{stop}");
    assert_eq!(stop["payload"]["runIds"], json!(["k1"]));
    assert_eq!(client.chat_end("k1").await["payload"]["state"], "aborted");
    let told = words(&client.chat_end("c3").await["payload"]["message"]);
    assert!(told.starts_with("Stopped: the run of agent:main:main."), "{told}");
}

/// `agent` is answered twice, as for a run.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_gets_the_answer_of_a_command() {
    let world = World::new().await;
    let mut client = world.client().await;
    let agent = |message: &str, key: &str| json!({"message": message, "idempotencyKey": key});
    client.request("a", "agent", agent("/agents", "k1")).await;
    assert_eq!(client.response("a").await["payload"]["status"], "accepted");
    let last = client.response("a").await;
    assert_eq!(last["payload"]["result"]["payloads"][0]["text"], "main, default: scripted/demo");
    client.request("b", "agent", agent("/nonsense", "k2")).await;
    assert_eq!(client.response("b").await["payload"]["status"], "accepted");
    let last = client.response("b").await;
    assert_eq!(last["ok"], false, "{last}");
    assert!(last["error"]["message"].as_str().unwrap().contains("no command /nonsense"), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_keeps_the_old_transcript_readable() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("chat.send", send(MAIN, "hello", "k1")).await;
    client.chat_end("k1").await;
    let before = client.call("chat.history", json!({"sessionKey": MAIN})).await;
    let old = before["payload"]["sessionId"].as_str().unwrap().to_owned();

    let wrong = json!({"key": MAIN, "expectedSessionId": format!("ses_{}", "0".repeat(32))});
    assert_eq!(client.call("sessions.reset", wrong).await["ok"], false);
    let reset = client.call("sessions.reset", json!({"key": "main", "reason": "new"})).await;
    let new = reset["payload"]["sessionId"].as_str().unwrap().to_owned();
    assert_ne!(new, old);
    let after = client.call("chat.history", json!({"sessionKey": MAIN})).await;
    assert_eq!(after["payload"]["sessionId"], new.as_str());
    assert_eq!(after["payload"]["totalMessages"], 0);
    let params = json!({"sessionKey": MAIN, "sessionId": old});
    let read = client.call("chat.history", params).await;
    assert_eq!(read["payload"]["messages"], before["payload"]["messages"]);
    let strange = json!({"sessionKey": "thread:x", "sessionId": old});
    assert_eq!(client.call("chat.history", strange).await["ok"], false);

    let described = client.call("sessions.describe", json!({"key": MAIN})).await;
    let rows = described["payload"]["transcripts"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{described}");
    assert_eq!((&rows[0]["sessionId"], &rows[0]["messages"]), (&json!(new), &json!(0)));
    assert_eq!((&rows[1]["sessionId"], &rows[1]["endReason"]), (&json!(old), &json!("new")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renamed_declared_archived_restored_and_deleted() {
    let world = World::new().await;
    let mut client = world.client().await;
    let key = "agent:main:thread:plans";
    client.call("chat.send", send(key, "hello", "k1")).await;
    client.chat_end("k1").await;
    let patch = |change: Value| {
        let mut params = json!({"key": key});
        params.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        params
    };
    let change = json!({"label": "the plans", "taskStatus": "failed", "queueMode": "followup"});
    let told = client.call("sessions.patch", patch(change)).await;
    assert_eq!(told["payload"]["entry"]["label"], "the plans", "{told}");
    assert_eq!(told["payload"]["entry"]["taskStatus"], "failed");
    let wrong = client.call("sessions.patch", patch(json!({"model": "none/such"}))).await;
    let why = wrong["error"]["message"].as_str().unwrap();
    assert!(why.contains("none/such") && why.contains("scripted/demo"), "{why}");

    let found = client.call("sessions.resolve", json!({"label": "the plans"})).await;
    assert_eq!(found["payload"]["key"], key, "{found}");
    let none = json!({"label": "other plans", "allowMissing": true});
    assert_eq!(client.call("sessions.resolve", none).await["payload"]["ok"], false);
    let preview = json!({"keys": [key, "thread:none"]});
    let preview = client.call("sessions.preview", preview).await["payload"]["previews"].clone();
    assert_eq!(preview[0]["items"][1], json!({"role": "assistant", "text": "hello there"}));
    assert_eq!(preview[1]["status"], "missing");

    let told = client.call("sessions.patch", patch(json!({"archived": true}))).await;
    assert_eq!(told["payload"]["entry"]["lifecycle"], "archived", "{told}");
    let refused = client.call("chat.send", send(key, "hello", "k2")).await;
    assert_eq!(refused["ok"], false, "{refused}");
    assert!(typed(&mut client, key, "/status", "c1").await.contains("has to be restored"));
    let told = client.call("sessions.patch", patch(json!({"archived": false}))).await;
    assert_eq!(told["payload"]["entry"]["lifecycle"], "open", "{told}");
    assert_eq!(told["payload"]["entry"]["taskStatus"], "failed", "it says what was said");

    let told = client.call("sessions.delete", json!({"key": key})).await;
    assert_eq!(told["payload"]["deleted"], true, "{told}");
    let list = client.call("sessions.list", json!({})).await;
    assert_eq!(list["payload"]["totalCount"], 0, "{list}");
    let told = client.call("sessions.delete", json!({"key": key})).await;
    assert_eq!(told["payload"]["deleted"], false);
    // The key is free: a new conversation begins, without what was said before.
    client.call("chat.send", send(key, "hello", "k3")).await;
    client.chat_end("k3").await;
    let history = client.call("chat.history", json!({"sessionKey": key})).await;
    assert_eq!(history["payload"]["totalMessages"], 2, "{history}");
    let described = client.call("sessions.describe", json!({"key": key})).await;
    assert_eq!(described["payload"]["transcripts"].as_array().unwrap().len(), 1, "{described}");
    assert_eq!(described["payload"]["session"]["label"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_names_what_it_has_stopped() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("chat.send", send(MAIN, "for ever", "k1")).await;
    client.until(|f| f["payload"]["runId"] == "k1" && f["event"] == "agent").await;
    let other = client.call("sessions.abort", json!({"key": MAIN, "runId": "other"})).await;
    assert_eq!(other["payload"]["status"], "no-active-run", "{other}");
    let told = client.call("sessions.abort", json!({"runId": "k1"})).await;
    assert_eq!(told["payload"]["status"], "aborted", "{told}");
    assert_eq!(told["payload"]["abortedRunId"], "k1");
}

/// Who may only write may not reset by the method; who may write may type.
#[tokio::test(flavor = "multi_thread")]
async fn a_reset_needs_its_right() {
    let world = World::new().await;
    let mut client = world.open().await;
    client.connect(crate::world::TOKEN, &["operator.write"]).await;
    let refused = client.call("sessions.reset", json!({"key": MAIN})).await;
    assert!(refused["error"]["message"].as_str().unwrap().contains("operator.admin"), "{refused}");
}
