//! `chat.send`, `chat.history`, `chat.abort`, and what is seen meanwhile.

use insta::assert_snapshot;
use serde_json::{Value, json};

use crate::world::{World, redact, send};

const MAIN: &str = "agent:main:main";

/// Frames as lines. How a text is cut into deltas is up to time, so they are left out.
fn lines(frames: &[Value]) -> String {
    let partial = |frame: &&Value| {
        let payload = &frame["payload"];
        frame["event"] == "connect.challenge"
            || payload["state"] == "delta"
            || payload["stream"] == "assistant"
            || payload["stream"] == "item"
    };
    let shown = frames.iter().filter(|frame| !partial(frame));
    shown.map(|frame| redact(frame).to_string()).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn chat_send_is_acknowledged_before_the_reply_streams() {
    let world = World::new().await;
    let mut client = world.client().await;
    let mut frames = vec![client.call("chat.send", send(MAIN, "look", "k1")).await];
    let end = client.chat_end("k1").await;
    frames.extend(client.seen().iter().cloned());
    frames.push(end);
    assert_snapshot!(lines(&frames), @r#"
    {"type":"res","id":"chat.send","ok":true,"payload":{"runId":"k1","status":"started"}}
    {"type":"event","event":"agent","payload":{"runId":"k1","seq":0,"ts":0,"sessionKey":"agent:main:main","stream":"run_…","data":{"phase":"queued"}},"seq":0}
    {"type":"event","event":"agent","payload":{"runId":"k1","seq":0,"ts":0,"sessionKey":"agent:main:main","stream":"lifecycle","data":{"phase":"start","startedAt":0}},"seq":0}
    {"type":"event","event":"agent","payload":{"runId":"k1","seq":0,"ts":0,"sessionKey":"agent:main:main","stream":"run_…","data":{"phase":"preparing_context"}},"seq":0}
    {"type":"event","event":"chat","payload":{"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":0,"state":"status","phase":"preparing_context"},"seq":0}
    {"type":"event","event":"agent","payload":{"runId":"k1","seq":0,"ts":0,"sessionKey":"agent:main:main","stream":"run_…","data":{"phase":"starting_model","detail":"scripted/demo"}},"seq":0}
    {"type":"event","event":"chat","payload":{"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":0,"state":"status","phase":"starting_model"},"seq":0}
    {"type":"event","event":"agent","payload":{"runId":"k1","seq":0,"ts":0,"sessionKey":"agent:main:main","stream":"tool","data":{"phase":"start","name":"exec","toolCallId":"call_…","args":{"command":"echo found"}}},"seq":0}
    {"type":"event","event":"agent","payload":{"runId":"k1","seq":0,"ts":0,"sessionKey":"agent:main:main","stream":"tool","data":{"phase":"result","name":"exec","toolCallId":"call_…","isError":false,"result":"found\n[exit code 0 after …"}},"seq":0}
    {"type":"event","event":"agent","payload":{"runId":"k1","seq":0,"ts":0,"sessionKey":"agent:main:main","stream":"run_…","data":{"phase":"starting_model","detail":"scripted/demo"}},"seq":0}
    {"type":"event","event":"chat","payload":{"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":0,"state":"status","phase":"starting_model"},"seq":0}
    {"type":"event","event":"agent","payload":{"runId":"k1","seq":0,"ts":0,"sessionKey":"agent:main:main","stream":"lifecycle","data":{"phase":"end","endedAt":0,"stopReason":"stop"}},"seq":0}
    {"type":"event","event":"chat","payload":{"runId":"k1","sessionKey":"agent:main:main","agentId":"main","seq":0,"state":"final","message":{"role":"assistant","content":[{"type":"text","text":"There it is."}],"timestamp":0},"stopReason":"stop"},"seq":0}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_add_up_to_what_is_shown() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("chat.send", send(MAIN, "wait", "k1")).await;
    client.chat_end("k1").await;
    let deltas: Vec<&Value> =
        client.seen().iter().filter(|frame| frame["payload"]["state"] == "delta").collect();
    assert!(deltas.len() > 2, "a text that takes 1.5 s comes in pieces: {deltas:?}");
    let mut shown = String::new();
    for delta in deltas {
        assert!(delta["payload"]["replace"].is_null());
        shown.push_str(delta["payload"]["deltaText"].as_str().unwrap());
        assert_eq!(delta["payload"]["message"]["content"][0]["text"], shown.as_str());
    }
    assert!("that took a while".starts_with(&shown), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_is_the_same_message() {
    let world = World::new().await;
    let mut client = world.client().await;
    let statuses = async |client: &mut crate::world::Client, id: &str, text: &str| {
        client.request(id, "chat.send", send(MAIN, text, "k1")).await;
        redact(&client.response(id).await)
    };
    let mut told = vec![statuses(&mut client, "1", "wait").await];
    told.push(statuses(&mut client, "2", "wait").await);
    client.chat_end("k1").await;
    told.push(statuses(&mut client, "3", "wait").await);
    told.push(statuses(&mut client, "4", "something else").await);
    let told: Vec<String> = told.iter().map(Value::to_string).collect();
    assert_snapshot!(told.join("\n"), @r#"
    {"type":"res","id":"1","ok":true,"payload":{"runId":"k1","status":"started"}}
    {"type":"res","id":"2","ok":true,"payload":{"runId":"k1","status":"in_flight"}}
    {"type":"res","id":"3","ok":true,"payload":{"runId":"k1","status":"ok"}}
    {"type":"res","id":"4","ok":false,"error":{"code":"INVALID_REQUEST","message":"idempotency key `k1` was used before with another message"}}
    "#);
    let history = client.call("chat.history", json!({"sessionKey": "main"})).await;
    assert_eq!(history["payload"]["totalMessages"], 2, "one message and one answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_what_is_wrong() {
    let world = World::new().await;
    let mut client = world.client().await;
    let child = "agent:main:subagent:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8";
    let large = "x".repeat(17 * 1024 * 1024);
    let mut told = Vec::new();
    for (id, params) in [
        ("1", send("agent:ops:main", "hi", "k")),
        ("2", send(child, "hi", "k")),
        ("3", send(MAIN, &large, "k")),
        ("4", send(MAIN, " ", "k")),
    ] {
        client.request(id, "chat.send", params).await;
        told.push(client.response(id).await.to_string());
    }
    assert_snapshot!(told.join("\n"), @r#"
    {"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"unknown agent id \"ops\"","details":{"code":"UNKNOWN_AGENT_ID","agentId":"ops"}}}
    {"type":"res","id":"2","ok":false,"error":{"code":"INVALID_REQUEST","message":"no session `agent:main:subagent:0193a5f0-6c7e-7cc2-a1b2-d3e4f5a6b7c8`; sub-agent sessions are made by sessions_spawn only"}}
    {"type":"res","id":"3","ok":false,"error":{"code":"INVALID_REQUEST","message":"the message has 17825792 bytes; the limit is 16777216"}}
    {"type":"res","id":"4","ok":false,"error":{"code":"INVALID_REQUEST","message":"invalid chat.send params: `message`: expected a string that is not empty, got the string \" \"","details":{"code":"INVALID_FIELD","field":"message","expected":"a string that is not empty","got":"the string \" \""}}}
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_has_pages() {
    let world = World::new().await;
    let mut client = world.client().await;
    for n in 1..=3 {
        client.call("chat.send", send(MAIN, &format!("message {n}"), &format!("k{n}"))).await;
        client.chat_end(&format!("k{n}")).await;
    }
    let mut told = Vec::new();
    for (limit, offset) in [(100, 0), (2, 0), (3, 2), (100, 4), (1, 9)] {
        let params = json!({"sessionKey": MAIN, "limit": limit, "offset": offset});
        let page = client.call("chat.history", params).await;
        let page = &page["payload"];
        let texts: Vec<&str> = page["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|message| message["content"][0]["text"].as_str().unwrap())
            .collect();
        told.push(format!("{limit} after {offset}: {texts:?} more: {}", page["hasMore"]));
    }
    assert_snapshot!(told.join("\n"), @r#"
    100 after 0: ["message 1", "ok", "message 2", "ok", "message 3", "ok"] more: false
    2 after 0: ["message 3", "ok"] more: true
    3 after 2: ["ok", "message 2", "ok"] more: true
    100 after 4: ["message 1", "ok"] more: false
    1 after 9: [] more: false
    "#);

    let page = client.call("chat.history", json!({"sessionKey": MAIN, "limit": 2})).await;
    assert_snapshot!(redact(&page["payload"]), @r#"
    {"sessionKey":"agent:main:main","sessionId":"ses_…","messages":[{"role":"user","content":[{"type":"text","text":"message 3"}],"timestamp":0,"idempotencyKey":"k3:user"},{"role":"assistant","content":[{"type":"text","text":"ok"}],"timestamp":0,"model":"demo"}],"pendingInputs":{"items":[],"total":0},"hasMore":true,"totalMessages":6,"deltaCursor":"ses_…"}
    "#);
    let nobody = client.call("chat.history", json!({"sessionKey": "thread:nobody"})).await;
    assert_eq!(nobody["payload"]["totalMessages"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_what_runs_and_only_that() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("chat.send", send(MAIN, "for ever", "k1")).await;
    client.until(|f| f["event"] == "agent" && f["payload"]["data"]["phase"] == "start").await;
    let abort = async |client: &mut crate::world::Client, id: &str, params: Value| {
        client.request(id, "chat.abort", params).await;
        let mut told = client.response(id).await["payload"].clone();
        let stop = told.as_object_mut().unwrap().remove("stop");
        // Its stream may be closed by now, or not.
        let named = |stop: Value| {
            let ended = [&stop["stopped"], &stop["stopping"]].map(|list| list.as_array().unwrap());
            let names = ended.into_iter().flatten().map(|item| item["sessionKey"].clone());
            names.collect::<Value>()
        };
        format!("{told} {}", stop.map_or(Value::Null, named))
    };
    let other = json!({"sessionKey": MAIN, "runId": "another"});
    let this = json!({"sessionKey": MAIN, "runId": "k1"});
    let told = [
        abort(&mut client, "1", other).await,
        abort(&mut client, "2", this).await,
        abort(&mut client, "3", json!({"sessionKey": MAIN})).await,
        abort(&mut client, "4", json!({"sessionKey": "thread:nobody"})).await,
    ];
    assert_snapshot!(told.join("\n"), @r#"
    {"ok":true,"aborted":false,"runIds":[]} null
    {"ok":true,"aborted":true,"runIds":["k1"]} ["agent:main:main"]
    {"ok":true,"aborted":false,"runIds":[]} null
    {"ok":true,"aborted":false,"runIds":[]} null
    "#);
    let end = client.chat_end("k1").await;
    assert_eq!(end["payload"]["state"], "aborted");

    client.call("chat.send", send(MAIN, "for ever", "k2")).await;
    let mut stopped = client.call("chat.send", send(MAIN, "/stop", "k3")).await;
    assert!(stopped["payload"].as_object_mut().unwrap().remove("stop").is_some(), "{stopped}");
    let told = json!({"runId": "k3", "status": "ok", "ok": true, "aborted": true,
                      "runIds": ["k2"]});
    assert_eq!(stopped["payload"], told);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_client_sees_the_same_and_steers() {
    let world = World::new().await;
    let (mut one, mut two) = (world.client().await, world.client().await);
    two.call("sessions.subscribe", json!({})).await;
    one.call("chat.send", send(MAIN, "hold", "k1")).await;
    one.until(|f| f["event"] == "agent" && f["payload"]["stream"] == "tool").await;
    two.call("chat.send", send(MAIN, "hello", "k2")).await;
    world.go_on();
    // The second message enters the first one's run, whose answer is the answer to both.
    let end = two.chat_end("k1").await;
    let waited = two.call("agent.wait", json!({"runId": "k2"})).await;
    assert_eq!(waited["payload"]["status"], "ok");
    assert_eq!(
        waited["payload"]["terminalReply"]["text"],
        end["payload"]["message"]["content"][0]["text"]
    );
    let changed = two.until(|f| f["event"] == "sessions.changed").await;
    assert_eq!(changed["payload"]["session"]["key"], MAIN);
    assert!(!one.seen().iter().any(|f| f["event"] == "sessions.changed"), "not subscribed");
}
