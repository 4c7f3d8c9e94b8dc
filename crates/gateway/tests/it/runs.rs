//! `agent`, `agent.wait`: a run seen from a program.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::world::{Client, World, redact};

fn agent(message: &str, key: &str) -> Value {
    json!({"message": message, "idempotencyKey": key})
}

/// Calls `agent` and prints both answers.
async fn both(client: &mut Client, id: &str, params: Value) -> String {
    client.request(id, "agent", params).await;
    let first = client.response(id).await;
    if first["ok"] == false {
        return first.to_string();
    }
    let last = client.response(id).await;
    format!("{}\n{}", redact(&first), redact(&last))
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_is_answered_twice_on_one_id() {
    let world = World::new().await;
    let mut client = world.client().await;
    assert_snapshot!(both(&mut client, "1", agent("hello", "k1")).await, @r#"
    {"type":"res","id":"1","ok":true,"payload":{"status":"accepted","runId":"k1","sessionKey":"agent:main:main","agentId":"main","acceptedAt":0}}
    {"type":"res","id":"1","ok":true,"payload":{"runId":"k1","status":"ok","summary":"completed","result":{"payloads":[{"text":"hello there","mediaUrl":null}],"meta":{"durationMs":0,"agentMeta":{"sessionId":"ses_…","provider":"scripted","model":"demo"},"aborted":false,"stopReason":"stop"}}}}
    "#);
    // The same key again: the same run, and the same answer.
    assert_snapshot!(both(&mut client, "2", agent("hello", "k1")).await, @r#"
    {"type":"res","id":"2","ok":true,"payload":{"status":"accepted","runId":"k1","sessionKey":"agent:main:main","agentId":"main","acceptedAt":0}}
    {"type":"res","id":"2","ok":true,"payload":{"runId":"k1","status":"ok","summary":"completed","result":{"payloads":[{"text":"hello there","mediaUrl":null}],"meta":{"durationMs":0,"agentMeta":{"sessionId":"ses_…","provider":"scripted","model":"demo"},"aborted":false,"stopReason":"stop"}}}}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_tells_why() {
    let world = World::new().await;
    let mut client = world.client().await;
    assert_snapshot!(both(&mut client, "1", agent("break", "k1")).await, @r#"
    {"type":"res","id":"1","ok":true,"payload":{"status":"accepted","runId":"k1","sessionKey":"agent:main:main","agentId":"main","acceptedAt":0}}
    {"type":"res","id":"1","ok":false,"payload":{"runId":"k1","status":"error","summary":"scripted refused the request: no such door","result":{"payloads":[],"meta":{"durationMs":0,"agentMeta":{"sessionId":"ses_…","provider":"scripted","model":"demo"},"aborted":false}}},"error":{"code":"UNAVAILABLE","message":"scripted refused the request: no such door","retryable":false}}
    "#);
    assert_snapshot!(redact(&client.chat_end("k1").await), @r#"
    {"type":"event","event":"chat","payload":{"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":0,"state":"error","errorMessage":"scripted refused the request: no such door","errorKind":"unknown"},"seq":0}
    "#);
    let waited = client.call("agent.wait", json!({"runId": "k1"})).await;
    assert_snapshot!(redact(&waited["payload"]), @r#"
    {"runId":"k1","status":"error","startedAt":0,"endedAt":0,"error":"scripted refused the request: no such door","outcome":"failed"}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn agent_refuses_what_it_cannot_honour() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut told = Vec::new();
    for (n, (name, value)) in [
        ("agentId", json!("ops")),
        ("cwd", json!("/tmp")),
        ("extraSystemPrompt", json!("be brief")),
        ("model", json!("no/such")),
    ]
    .into_iter()
    .enumerate()
    {
        let mut params = agent("hello", "k");
        params[name] = value;
        told.push(both(&mut client, &n.to_string(), params).await);
    }
    assert_snapshot!(told.join("\n"), @r#"
    {"type":"res","id":"0","ok":false,"error":{"code":"INVALID_REQUEST","message":"unknown agent id \"ops\"","details":{"code":"UNKNOWN_AGENT_ID","agentId":"ops"}}}
    {"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"invalid agent params: `cwd` is not supported yet"}}
    {"type":"res","id":"2","ok":false,"error":{"code":"INVALID_REQUEST","message":"invalid agent params: `extraSystemPrompt` is not supported yet"}}
    {"type":"res","id":"3","ok":false,"error":{"code":"INVALID_REQUEST","message":"no model `no/such` is configured; known: scripted/demo"}}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_the_run_or_with_its_time() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.request("run", "agent", agent("wait", "k1")).await;
    client.response("run").await;
    let mut told = Vec::new();
    for (id, run, timeout) in
        [("1", "k1", 100), ("2", "k1", 15_000), ("3", "k1", 0), ("4", "nobody", 100)]
    {
        client.request(id, "agent.wait", json!({"runId": run, "timeoutMs": timeout})).await;
        told.push(redact(&client.response(id).await["payload"]).to_string());
    }
    assert_snapshot!(told.join("\n"), @r#"
    {"runId":"k1","status":"timeout","startedAt":0}
    {"runId":"k1","status":"ok","startedAt":0,"endedAt":0,"stopReason":"stop","terminalReply":{"disposition":"reply","text":"that took a while"},"outcome":"completed"}
    {"runId":"k1","status":"ok","startedAt":0,"endedAt":0,"stopReason":"stop","terminalReply":{"disposition":"reply","text":"that took a while"},"outcome":"completed"}
    {"runId":"nobody","status":"timeout","error":"no run or message `nobody` is known"}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_answer_is_no_payload() {
    let world = World::new().await;
    let mut client = world.client().await;
    assert_snapshot!(both(&mut client, "1", agent("silence", "k1")).await, @r#"
    {"type":"res","id":"1","ok":true,"payload":{"status":"accepted","runId":"k1","sessionKey":"agent:main:main","agentId":"main","acceptedAt":0}}
    {"type":"res","id":"1","ok":true,"payload":{"runId":"k1","status":"ok","summary":"completed","result":{"payloads":[],"meta":{"durationMs":0,"agentMeta":{"sessionId":"ses_…","provider":"scripted","model":"demo"},"aborted":false,"stopReason":"stop"}}}}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_run_answers_its_caller() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.request("run", "agent", agent("for ever", "k1")).await;
    client.response("run").await;
    client.call("chat.abort", json!({"sessionKey": "main"})).await;
    let last = client.response("run").await;
    assert_eq!(last["payload"]["summary"], "aborted", "{last}");
    assert_eq!(last["payload"]["result"]["meta"]["aborted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_works_after_a_restart() {
    let world = World::new().await;
    let mut client = world.client().await;
    both(&mut client, "1", agent("hello", "k1")).await;
    let run = client.call("sessions.describe", json!({"key": "main"})).await;
    assert_eq!(run["payload"]["session"]["lastRunId"], "k1");

    let world = world.restart().await;
    let mut client = world.client().await;
    let waited = client.call("agent.wait", json!({"runId": "k1"})).await;
    assert_eq!(waited["payload"]["terminalReply"]["text"], "hello there");
    let again = both(&mut client, "2", agent("hello", "k1")).await;
    assert!(again.contains("hello there"), "{again}");
}
