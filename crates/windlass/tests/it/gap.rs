//! A conversation at the keyboard whose events came faster than it read them: it is told so, and
//! reads what it has missed in the history.
//!
//! ```text
//!  windlass chat ─▶ a door that can lose events, and says which ─▶ the gateway
//! ```

use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use stub::Plan;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;

use crate::house::House;

/// Between one client and the gateway. While it loses, no event passes; afterwards the first thing
/// that the client gets is the mark of the gateway for that.
struct Door {
    port: u16,
    loses: Arc<AtomicBool>,
}

impl Door {
    async fn open(gateway: u16) -> Door {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let loses = Arc::new(AtomicBool::new(false));
        let lost = Arc::clone(&loses);
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            pass(socket, gateway, &lost).await;
        });
        Door { port, loses }
    }
}

async fn pass(socket: TcpStream, gateway: u16, loses: &AtomicBool) {
    let client = tokio_tungstenite::accept_async(socket).await.unwrap();
    let url = format!("ws://127.0.0.1:{gateway}");
    let (server, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let (mut to_client, mut from_client) = client.split();
    let (mut to_server, mut from_server) = server.split();
    let mut missing: Option<(u64, u64)> = None;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            frame = from_client.next() => match frame {
                Some(Ok(frame)) => to_server.send(frame).await.unwrap(),
                _ => return,
            },
            frame = from_server.next() => {
                let Some(Ok(frame)) = frame else { return };
                let number = number(&frame);
                match number.filter(|_| loses.load(Ordering::SeqCst)) {
                    Some(n) => missing = Some((missing.map_or(n, |(first, _)| first), n)),
                    None if to_client.send(frame).await.is_err() => return,
                    None => {}
                }
            }
            _ = tick.tick(), if missing.is_some() && !loses.load(Ordering::SeqCst) => {
                let (from, to) = missing.take().expect("looked at just now");
                let gap = json!({ "type": "event", "event": "gap",
                                  "payload": { "from": from, "to": to } });
                if to_client.send(Message::text(gap.to_string())).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// The number of an event; none of what is no event.
fn number(frame: &Message) -> Option<u64> {
    let frame: Value = serde_json::from_str(frame.to_text().ok()?).ok()?;
    frame["seq"].as_u64().filter(|_| frame["type"] == "event")
}

/// Waits until the stub has been asked so often, and all is at rest.
async fn answered(house: &House, count: usize) {
    for _ in 0..600 {
        if house.stub.journal().requests.len() >= count {
            return house.quiet().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody has asked\n{}", house.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_that_has_missed_events_reads_them_in_the_history() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let door = Door::open(house.port).await;
    let mut command = house.command(&["chat", "--session-key", "thread:t"]);
    command.env("WINDLASS_GATEWAY_URL", format!("ws://127.0.0.1:{}", door.port));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut chat = command.spawn().unwrap();
    let mut keyboard = chat.stdin.take().unwrap();
    let reading = tokio::task::spawn_blocking(move || chat.wait_with_output().unwrap());

    writeln!(keyboard, "{}", Plan::new().say("heard live").to_brief()).unwrap();
    answered(&house, 1).await;
    // Time for the place up to which everything was seen.
    tokio::time::sleep(Duration::from_secs(1)).await;
    door.loses.store(true, Ordering::SeqCst);
    // One message of its own, whose answer it does not hear, and one that somebody else says.
    writeln!(keyboard, "{}", Plan::new().say("heard late").to_brief()).unwrap();
    answered(&house, 2).await;
    let other = Plan::new().say("said elsewhere").to_brief();
    house.ok(&["agent", "--session-key", "thread:t", "--message", &other]).await;
    door.loses.store(false, Ordering::SeqCst);
    writeln!(keyboard, "{}", Plan::new().say("heard live again").to_brief()).unwrap();
    answered(&house, 4).await;
    drop(keyboard);

    let output = reading.await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}\n{told}");
    assert!(told.contains("events came faster than they were read"), "{told}");
    assert!(told.contains("what was said since, from the history:"), "{told}");
    for answer in ["heard live\n", "assistant: heard late\n", "assistant: said elsewhere\n"] {
        assert_eq!(said.matches(answer).count(), 1, "{answer}: {said}");
    }
    assert!(said.contains("heard live again"), "{said}");
}
