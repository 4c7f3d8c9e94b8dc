//! Clients that do not read, send too much, or ask too often.

use serde_json::json;

use crate::world::{Closed, World, send};

const MAIN: &str = "agent:main:main";

/// A client asks for far more than it reads, and reads nothing. It is dropped; another is served
/// meanwhile. One that reads on is told why: see `outbox`.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_dropped_and_others_go_on() {
    let world = World::new().await;
    let mut other = world.client().await;
    let page = "x".repeat(1024 * 1024 - 1);
    for n in 0..4 {
        let key = format!("k{n}");
        other.call("chat.send", send(MAIN, &page, &key)).await;
        other.chat_end(&key).await;
    }
    let mut slow = world.client().await;
    for n in 0..40 {
        slow.request(&n.to_string(), "chat.history", json!({"sessionKey": MAIN})).await;
    }
    // 40 pages of 4 MB are far more than may pile up. Nobody reads them.
    let answer = other.call("chat.send", send("thread:other", "hello", "k9")).await;
    assert_eq!(answer["ok"], true);
    assert_eq!(other.chat_end("k9").await["payload"]["state"], "final");
    assert!(slow.is_hung_up_on().await, "a client that reads nothing is kept");
    assert_eq!(other.call("health", json!({})).await["ok"], true);
}

/// A client reads nothing while fifty runs stream. They and the others notice nothing; and when it
/// reads again, it gets what is bounded: events, and the numbers of all that are missing.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_reads_late_is_told_what_it_has_missed() {
    let world = World::new().await;
    let (mut late, mut other) = (world.client().await, world.client().await);
    for n in 0..50 {
        let session = format!("thread:t{n}");
        other.call("chat.send", send(&session, "flood", &format!("k{n}"))).await;
    }
    let mut said = 0;
    for n in 0..50 {
        let end = other.chat_end(&format!("k{n}")).await;
        assert_eq!(end["payload"]["state"], "final", "{end}");
        said += end["payload"]["message"]["content"][0]["text"].as_str().unwrap().len();
    }
    assert_eq!(said, 50 * 30 * 2_000);

    // `frame` asserts that each number is there, or named by a gap.
    late.request("mark", "health", json!({})).await;
    let (mut gaps, mut bytes) = (0, 0);
    loop {
        let frame = late.frame().await.expect("it is not hung up on");
        bytes += frame.to_string().len();
        gaps += usize::from(frame["event"] == "gap");
        if frame["id"] == "mark" {
            break;
        }
    }
    assert!(gaps > 0, "fifty drafts that nobody has read are all there: {bytes} bytes");
    // Eight megabytes of ours, and what the two sockets hold.
    assert!(bytes < 32 * 1024 * 1024, "{bytes} bytes were kept");

    // It goes on from where it is: what was said stands in the history, by a number that lasts.
    let params = json!({"sessionKey": "thread:t49", "limit": 1, "offset": 1});
    let seen = late.call("chat.history", params).await["payload"]["deltaCursor"].clone();
    let params = json!({"sessionKey": "thread:t49", "cursor": seen});
    let missed = late.call("chat.history", params).await["payload"].clone();
    assert_eq!(missed["kind"], "delta");
    assert_eq!(missed["messages"].as_array().unwrap().len(), 1, "{missed}");
    assert_eq!(missed["messages"][0]["role"], "assistant");
    let params = json!({"sessionKey": "thread:t49", "cursor": missed["deltaCursor"]});
    assert_eq!(late.call("chat.history", params).await["payload"]["messages"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_is_too_large_closes() {
    let world = World::new().await;
    let mut client = world.client().await;
    let _ = client.try_send_text(&"x".repeat(26_214_401)).await;
    assert_eq!(
        client.closed().await,
        Closed(Some((1009, "the frame has more than 26214400 bytes".to_owned())))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_frame_with_an_id_is_answered_and_one_without_closes() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.send_text(r#"{"type":"res","id":"7"}"#).await;
    assert_eq!(client.response("7").await["error"]["code"], "INVALID_REQUEST");
    assert_eq!(client.call("health", json!({})).await["ok"], true);
    client.send_text("{").await;
    let Closed(Some((code, reason))) = client.closed().await else { panic!("no close frame") };
    assert_eq!(code, 1008);
    assert!(reason.starts_with("invalid request frame: not JSON"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_pile_up_are_refused() {
    let world = World::new().await;
    let mut client = world.client().await;
    client.call("chat.send", send(MAIN, "for ever", "k1")).await;
    for n in 0..257 {
        let params = json!({"runId": "k1", "timeoutMs": 10_000});
        client.request(&n.to_string(), "agent.wait", params).await;
    }
    let refused = client.response("256").await;
    assert_eq!(refused["error"]["code"], "UNAVAILABLE");
    assert_eq!(refused["error"]["retryAfterMs"], 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_sockets_are_served() {
    let world = World::new().await;
    let mut clients = Vec::new();
    for _ in 0..256 {
        clients.push(world.open().await);
    }
    assert!(world.open_from(None).await.is_err());
    clients.pop();
    // The place of a socket that has gone is free again, though not at once.
    for _ in 0..100 {
        if world.open_from(None).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("no place was freed");
}
