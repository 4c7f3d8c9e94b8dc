//! Who gets in, and what is said before.

use std::fmt::Write as _;

use insta::assert_snapshot;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Error;

use crate::world::{Client, Closed, TOKEN, World, connect};

/// Sends `first` and prints what comes back, one frame a line, and how the socket ends.
async fn opening(world: &World, first: &str) -> String {
    let mut client = world.open().await;
    let challenge = client.frame().await.unwrap();
    assert_eq!(challenge["event"], "connect.challenge");
    assert_eq!(challenge["payload"]["nonce"].as_str().unwrap().len(), 32);
    client.send_text(first).await;
    let mut told = String::new();
    loop {
        match client.frame().await {
            Ok(frame) => writeln!(told, "< {frame}").unwrap(),
            Err(Closed(why)) => {
                let (code, reason) = why.expect("a close frame");
                write!(told, "< close {code} {reason}").unwrap();
                return told;
            }
        }
    }
}

fn request(id: &str, method: &str, params: Value) -> String {
    json!({"type": "req", "id": id, "method": method, "params": params}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_is_told_so_and_closed() {
    let world = World::new().await;
    let first = request("1", "connect", connect("wrong", &[]));
    assert_snapshot!(opening(&world, &first).await, @r#"
    < {"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"unauthorized: gateway token mismatch","details":{"code":"AUTH_TOKEN_MISMATCH","recommendedNextStep":"update_auth_credentials"}}}
    < close 1008 unauthorized: gateway token mismatch
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_is_told_so_and_closed() {
    let world = World::new().await;
    let mut params = connect("", &[]);
    params["auth"] = json!({});
    assert_snapshot!(opening(&world, &request("1", "connect", params)).await, @r#"
    < {"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"unauthorized: gateway token missing","details":{"code":"AUTH_TOKEN_MISSING","recommendedNextStep":"update_auth_credentials"}}}
    < close 1008 unauthorized: gateway token missing
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_frame_must_be_connect() {
    let world = World::new().await;
    assert_snapshot!(opening(&world, &request("1", "health", json!({}))).await, @r#"
    < {"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"the first frame must be `connect`"}}
    < close 1008 the first frame must be `connect`
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_closes() {
    let world = World::new().await;
    let mut told = Vec::new();
    for first in ["garbage", r#"{"type":"req","id":"7","method":""}"#, "[]"] {
        told.push(opening(&world, first).await);
    }
    assert_snapshot!(told.join("\n"), @r#"
    < close 1008 invalid request frame: not JSON: expected value at line 1 column 1
    < {"type":"res","id":"7","ok":false,"error":{"code":"INVALID_REQUEST","message":"invalid request frame: `method` must be a string that is not empty"}}
    < close 1008 invalid request frame: `method` must be a string that is not empty
    < close 1008 invalid request frame: `type` must be "req"
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_is_refused_with_its_reason() {
    let world = World::new().await;
    let mut told = Vec::new();
    let mut old = connect(TOKEN, &[]);
    old["maxProtocol"] = json!(3);
    old["minProtocol"] = json!(3);
    let mut node = connect(TOKEN, &[]);
    node["role"] = json!("node");
    for params in [old, node, json!({})] {
        told.push(opening(&world, &request("1", "connect", params)).await);
    }
    assert_snapshot!(told.join("\n"), @r#"
    < {"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"protocol mismatch: the client speaks 3 to 3, the gateway 4","details":{"code":"PROTOCOL_MISMATCH","clientMinProtocol":3,"clientMaxProtocol":3,"expectedProtocol":4}}}
    < close 1008 protocol mismatch: the client speaks 3 to 3, the gateway 4
    < {"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"role `node` is not served; connect as `operator`"}}
    < close 1008 role `node` is not served; connect as `operator`
    < {"type":"res","id":"1","ok":false,"error":{"code":"INVALID_REQUEST","message":"invalid connect params: `client` is missing: expected an object","details":{"code":"INVALID_FIELD","field":"client","expected":"an object","got":null}}}
    < close 1008 invalid connect params: `client` is missing: expected an object
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_may_not_send_much() {
    let world = World::new().await;
    let large = request("1", "connect", json!({"x": "y".repeat(64 * 1024)}));
    assert_snapshot!(opening(&world, &large).await, @r#"
    < close 1009 the frame has more than 65536 bytes
    "#);

    // So much is cut off before it has been read; whether a reason arrives is up to the network.
    let mut client = world.open().await;
    client.frame().await.unwrap();
    let huge = request("1", "connect", json!({"x": "y".repeat(4 * 1024 * 1024)}));
    let _ = client.try_send_text(&huge).await;
    let _ = client.closed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_lists_what_works() {
    let world = World::new().await;
    let mut client = world.open().await;
    let hello = client.connect(TOKEN, &["operator.read", "operator.write"]).await;
    let payload = &hello["payload"];
    assert_eq!(payload["protocol"], 4);
    assert_eq!(payload["auth"]["scopes"], json!(["operator.read", "operator.write"]));
    assert_eq!(payload["policy"]["tickIntervalMs"], 30_000);
    assert_eq!(payload["snapshot"]["sessionDefaults"]["mainSessionKey"], "agent:main:main");
    assert_eq!(payload["snapshot"]["health"]["ok"], true);
    // Everything that is listed is answered, though not each with what it would like.
    for method in payload["features"]["methods"].as_array().unwrap() {
        let answer = client.call(method.as_str().unwrap(), json!({})).await;
        let message = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(!message.contains("unknown method"), "{method}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_that_were_asked_for() {
    let world = World::new().await;
    let mut client = world.open().await;
    client.connect(TOKEN, &["operator.read"]).await;
    assert_eq!(client.call("health", json!({})).await["ok"], true);
    let refused = client.call("chat.send", json!({})).await;
    assert_eq!(refused["error"]["details"]["code"], "MISSING_SCOPE");
    let unknown = client.call("no.such", json!({})).await;
    assert_eq!(unknown["error"]["message"], "unknown method: no.such");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_web_page_is_refused() {
    let world = World::new().await;
    let refused = world.open_from(Some("http://evil.test")).await.map(|_: Client| ());
    match refused {
        Err(Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("{other:?}"),
    }
    let own = format!("http://{}", world.address);
    assert!(world.open_from(Some(&own)).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_need_no_token_and_a_stop_is_told() {
    let world = World::new().await;
    assert_eq!(world.get("/healthz").await, (200, json!({"ok": true, "status": "live"})));
    assert_eq!(world.get("/readyz").await.1["ready"], true);
    assert_eq!(world.get("/").await.0, 404);

    let mut client = world.client().await;
    world.shutdown.cancel();
    let event = client.until(|frame| frame["event"] == "shutdown").await;
    assert_eq!(event["payload"]["reason"], "gateway stopping");
    assert_eq!(client.closed().await, Closed(Some((1012, "service restart".to_owned()))));
}
