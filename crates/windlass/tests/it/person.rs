//! A result that goes to the person: whoever is connected sees it once, and whoever comes later
//! reads it.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use stub::Plan;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::house::{House, WIRES};
use crate::judge;
use crate::look::until;

const MAIN: &str = "agent:main:main";

/// Far more than any frame needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client as people have them open: it keeps all that it is told.
struct Live {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    seen: Vec<Value>,
}

impl Live {
    async fn connect(house: &House) -> Live {
        let (socket, _) = connect_async(format!("ws://127.0.0.1:{}", house.port)).await.unwrap();
        let mut live = Live { socket, seen: Vec::new() };
        let client = json!({ "id": "test", "version": "1", "platform": "linux", "mode": "test" });
        let scopes = ["operator.read", "operator.write"];
        let token = std::fs::read_to_string(house.folder.path().join("gateway.token")).unwrap();
        let hello = json!({
            "minProtocol": 4, "maxProtocol": 4, "client": client, "scopes": scopes,
            "auth": { "token": token.trim() },
        });
        live.call("connect", hello).await;
        live
    }

    async fn next(&mut self) -> Value {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match frame.expect("no frame comes").expect("the connection ends").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                _ => continue,
            }
        }
    }

    /// Calls a method, and returns its payload. What else comes meanwhile is kept.
    async fn call(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "type": "req", "id": method, "method": method, "params": params });
        self.socket.send(Message::text(request.to_string())).await.unwrap();
        loop {
            let frame = self.next().await;
            if frame["id"] == method {
                assert_eq!(frame["ok"], true, "{frame}");
                return frame["payload"].clone();
            }
            self.seen.push(frame);
        }
    }

    /// Waits for the answer of a run.
    async fn answer_of(&mut self, run: &str) {
        loop {
            let frame = self.next().await;
            let payload = &frame["payload"];
            let last =
                frame["event"] == "chat" && payload["runId"] == run && payload["state"] == "final";
            self.seen.push(frame);
            if last {
                return;
            }
        }
    }

    /// The `chat` events with exactly this text in the conversation of the person.
    fn told(&self, text: &str) -> usize {
        let chat = |frame: &&Value| {
            let payload = &frame["payload"];
            frame["event"] == "chat"
                && payload["state"] == "final"
                && payload["sessionKey"] == MAIN
                && payload["message"]["content"][0]["text"] == text
        };
        self.seen.iter().filter(chat).count()
    }
}

/// Messages of the history with exactly this text.
async fn in_history(live: &mut Live, text: &str) -> usize {
    let page = live.call("chat.history", json!({ "sessionKey": "main" })).await;
    let messages = page["messages"].as_array().unwrap().iter();
    messages.filter(|message| message["content"][0]["text"] == text).count()
}

/// A child two levels down has a result for the person. Two clients are there and see it once
/// each, in the child's own words; one that comes after a kill sees no event, and reads it once.
#[tokio::test]
async fn a_result_for_the_person_is_seen_once_on_both_wires() {
    for wire in WIRES {
        let mut house = House::build(wire, |_| {}).await;
        house.start().await;
        let words = "  the leaf's own words\n";
        let args = json!({ "announce": "person" }).as_object().unwrap().clone();
        let branch = Plan::new()
            .spawn([("leaf", Plan::new().say(words))])
            .change(|step| step.spawn[0].args = args)
            .yield_()
            .say("the branch's");
        let brief = Plan::named("r").spawn([("b", branch)]).yield_().say("my own").to_brief();

        let mut one = Live::connect(&house).await;
        let mut other = Live::connect(&house).await;
        let send = json!({ "sessionKey": "main", "message": brief, "idempotencyKey": "k1" });
        one.call("chat.send", send).await;
        for live in [&mut one, &mut other] {
            live.answer_of("k1").await;
            assert_eq!((live.told(words), live.told("my own")), (1, 1), "{wire}: {:#?}", live.seen);
        }
        assert_eq!(in_history(&mut one, words).await, 1, "{wire}");

        house.kill();
        house.start().await;
        let mut again = Live::connect(&house).await;
        assert_eq!(in_history(&mut again, words).await, 1, "{wire}");
        let next = Plan::new().say("and now").to_brief();
        let send = json!({ "sessionKey": "main", "message": next, "idempotencyKey": "k2" });
        again.call("chat.send", send).await;
        again.answer_of("k2").await;
        assert_eq!(again.told(words), 0, "{wire}: it is told again");
        assert_eq!(in_history(&mut again, words).await, 1, "{wire}");
        judge::all_is_well(&house, &Default::default()).await;
    }
}

/// The gateway is killed while the child works: the client that comes back is told the result.
#[tokio::test]
async fn a_client_that_comes_back_is_told() {
    let mut house = House::build("anthropic-messages", |_| {}).await;
    house.start().await;
    let words = "found after the kill";
    let args = json!({ "announce": "person" }).as_object().unwrap().clone();
    let brief = Plan::named("r")
        .spawn([("leaf", Plan::new().say(words).after_ms(2_000))])
        .change(|step| step.spawn[0].args = args)
        .yield_()
        .say("my own")
        .to_brief();
    let mut before = Live::connect(&house).await;
    let send = json!({ "sessionKey": "main", "message": brief, "idempotencyKey": "k1" });
    before.call("chat.send", send).await;
    until(&house, "the child is at work", |world| {
        world.runs.iter().any(|run| run.task.is_some() && run.slot.is_some())
    })
    .await;
    house.kill();
    house.start().await;
    let mut after = Live::connect(&house).await;
    after.answer_of("k1").await;
    // The call of the child is made again, so the client was there before it ended.
    assert_eq!((before.told(words), after.told(words)), (0, 1), "{:#?}", after.seen);
    assert_eq!(in_history(&mut after, words).await, 1);
    judge::all_is_well(&house, &Default::default()).await;
}
