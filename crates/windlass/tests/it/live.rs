//! A client of the gateway as people have them open: one socket, and all that it is told.

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::house::House;

/// Far more than any frame needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that keeps all that it is told.
pub struct Live {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    pub seen: Vec<Value>,
}

impl Live {
    pub async fn connect(house: &House) -> Live {
        Live::connect_as(house, &["operator.read", "operator.write"]).await
    }

    pub async fn connect_as(house: &House, scopes: &[&str]) -> Live {
        let (socket, _) = connect_async(format!("ws://127.0.0.1:{}", house.port)).await.unwrap();
        let mut live = Live { socket, seen: Vec::new() };
        let client = json!({ "id": "test", "version": "1", "platform": "linux", "mode": "test" });
        let token = std::fs::read_to_string(house.folder.path().join("gateway.token")).unwrap();
        let hello = json!({
            "minProtocol": 4, "maxProtocol": 4, "client": client, "scopes": scopes,
            "auth": { "token": token.trim() },
        });
        live.call("connect", hello).await;
        live
    }

    pub async fn next(&mut self) -> Value {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.socket.next()).await;
            match frame.expect("no frame comes").expect("the connection ends").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                _ => continue,
            }
        }
    }

    /// Calls a method, and returns its payload. What else comes meanwhile is kept.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        let frame = self.answer(method, params).await;
        assert_eq!(frame["ok"], true, "{frame}");
        frame["payload"].clone()
    }

    /// Calls a method that must be refused, and returns the words and the code.
    pub async fn refused(&mut self, method: &str, params: Value) -> (String, Value) {
        let frame = self.answer(method, params).await;
        assert_eq!(frame["ok"], false, "{frame}");
        let error = &frame["error"];
        (error["message"].as_str().unwrap().to_owned(), error["code"].clone())
    }

    async fn answer(&mut self, method: &str, params: Value) -> Value {
        let request = json!({ "type": "req", "id": method, "method": method, "params": params });
        self.socket.send(Message::text(request.to_string())).await.unwrap();
        loop {
            let frame = self.next().await;
            if frame["id"] == method {
                return frame;
            }
            self.seen.push(frame);
        }
    }

    /// Waits for the answer of a run.
    pub async fn answer_of(&mut self, run: &str) {
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
}
