//! What there is: sessions, tasks, agents, status.

use insta::assert_snapshot;
use serde_json::json;

use crate::world::{World, redact, send};

#[tokio::test(flavor = "multi_thread")]
async fn a_session_tells_how_it_stands() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("chat.send", send("main", "hello", "k1")).await;
    client.chat_end("k1").await;
    client.call("chat.send", send("thread:long", "for ever", "k2")).await;
    client.until(|f| f["payload"]["runId"] == "k2" && f["event"] == "agent").await;

    let params = json!({"includeDerivedTitles": true, "includeLastMessage": true});
    let list = client.call("sessions.list", params).await;
    assert_eq!(list["payload"]["totalCount"], 2);
    let mut rows = list["payload"]["sessions"].as_array().unwrap().clone();
    rows.sort_by_key(|row| row["key"].to_string());
    for row in &mut rows {
        for tokens in ["inputTokens", "totalTokens"] {
            row[tokens] = json!(0);
        }
    }
    assert_snapshot!(redact(&rows[0]), @r#"
    {"key":"agent:main:main","sessionId":"ses_…","kind":"direct","derivedTitle":"hello","lastMessagePreview":"hello there","agentId":"main","isMain":true,"createdAt":0,"updatedAt":0,"status":"done","lastRunId":"k1","inputTokens":0,"outputTokens":13,"totalTokens":0,"contextTokens":40000000,"modelProvider":"scripted","model":"demo","queuedInputs":0,"activity":"idle","lifecycle":"open","lastTurn":"agent_responded","taskStatus":"completed","resumable":true,"note":"The last run has answered. The session can be continued.","openChildren":0}
    "#);
    assert_snapshot!(redact(&rows[1]), @r#"
    {"key":"agent:main:thread:long","sessionId":"ses_…","kind":"direct","derivedTitle":"for ever","lastMessagePreview":"for ever","agentId":"main","isMain":false,"createdAt":0,"updatedAt":0,"status":"running","lastRunId":"k2","inputTokens":0,"outputTokens":0,"totalTokens":0,"contextTokens":40000000,"modelProvider":"scripted","model":"demo","queuedInputs":0,"activity":"running","lifecycle":"open","lastTurn":"waiting_for_response","taskStatus":"in_progress","resumable":true,"note":"A run is open. Its result will come by itself.","openRunId":"k2","openChildren":0}
    "#);

    let active = client.call("sessions.list", json!({"activeOnly": true})).await;
    assert_eq!(active["payload"]["sessions"][0]["key"], "agent:main:thread:long");
    assert_eq!(active["payload"]["count"], 1);
    let paged = client.call("sessions.list", json!({"limit": 1})).await;
    assert_eq!(paged["payload"]["nextOffset"], 1);
    let nobody = client.call("sessions.describe", json!({"key": "thread:nobody"})).await;
    assert!(nobody["payload"]["session"].is_null());
}

#[tokio::test(flavor = "multi_thread")]
async fn status_counts_what_runs() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("chat.send", send("main", "for ever", "k1")).await;
    client.until(|f| f["payload"]["runId"] == "k1" && f["event"] == "agent").await;
    let status = client.call("status", json!({})).await["payload"].clone();
    assert_eq!(status["activity"], json!({"running": 1}));
    assert_eq!(status["runs"], json!({"queued": 0, "running": 1, "waiting": 0}));
    let lane = &status["lanes"].as_array().unwrap().iter().find(|l| l["name"] == "main").unwrap();
    assert_eq!(lane["busy"], 1);
    assert_eq!(lane["holders"], json!(["agent:main:main"]));
    let health = client.call("health", json!({"probe": true})).await;
    assert_eq!(health["payload"]["sessions"]["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_nothing_are_empty() {
    let world = World::new().await;
    let mut client = world.client().await;
    assert_eq!(client.call("tasks.list", json!({})).await["payload"], json!({"tasks": []}));
    let subagents = client.call("subagents.list", json!({"sessionKey": "main"})).await;
    assert_eq!(subagents["payload"]["subagents"], json!([]));
    let cursor = client.call("tasks.list", json!({"cursor": "x"})).await;
    assert!(cursor["error"]["message"].as_str().unwrap().contains("tsk_"), "{cursor}");
    let agents = client.call("agents.list", json!({})).await["payload"].clone();
    assert_eq!(agents["agents"][0]["model"]["primary"], "scripted/demo");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_is_listed_under_its_parent() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("chat.send", send("main", "delegate", "k1")).await;
    let started = client
        .until(|f| {
            let (event, payload) = (&f["event"], &f["payload"]);
            let begins = payload["stream"] == "lifecycle";
            event == "agent" && payload["spawnedBy"] == "agent:main:main" && begins
        })
        .await;
    assert_eq!(started["payload"]["data"]["phase"], "start");
    client.chat_end("k1").await;

    let subagents = client.call("subagents.list", json!({"sessionKey": "main"})).await;
    let child = &subagents["payload"]["subagents"][0];
    assert_eq!(
        (&child["label"], &child["status"], &child["activity"], &child["lastTurn"]),
        (&json!("the work"), &json!("running"), &json!("running"), &json!("waiting_for_response"))
    );
    let parent = client.call("sessions.describe", json!({"key": "main"})).await;
    let parent = &parent["payload"]["session"];
    assert_eq!(parent["childSessions"], json!([child["sessionKey"]]));
    assert_eq!(parent["openChildren"], 1);

    let task = client.call("tasks.list", json!({"status": "running"})).await;
    let task = &task["payload"]["tasks"][0];
    assert_eq!((&task["id"], &task["deliveryStatus"]), (&child["taskId"], &json!("pending")));

    client.call("chat.abort", json!({"sessionKey": "main"})).await;
    client.until(|f| f["event"] == "chat" && f["payload"]["state"] == "aborted").await;
    let ended = client.call("tasks.list", json!({"status": ["cancelled"]})).await;
    assert_eq!(ended["payload"]["tasks"][0]["id"], child["taskId"]);
    let open = client.call("subagents.list", json!({})).await;
    assert_eq!(open["payload"]["subagents"], json!([]));
    let all = client.call("subagents.list", json!({"includeEnded": true})).await;
    assert_eq!(all["payload"]["subagents"][0]["status"], "cancelled");
}
