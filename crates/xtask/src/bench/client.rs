//! A client of the gateway over its WebSocket, with the frames as they are in the manual: it
//! shares no code with the gateway, so it cannot share its mistakes.

use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tungstenite::stream::MaybeTlsStream;
use tungstenite::{Message, WebSocket};

/// How long a gateway at work may be silent. A tick comes every 30 s.
const SILENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub struct Client {
    socket: WebSocket<MaybeTlsStream<TcpStream>>,
}

/// An answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    pub id: String,
    /// What was asked for, or the refusal.
    pub result: Result<Value, String>,
}

impl Client {
    /// Connects to the gateway at `port` and is greeted.
    pub fn connect(port: u16, token: &str) -> anyhow::Result<Client> {
        let url = format!("ws://127.0.0.1:{port}");
        let (socket, _) =
            tungstenite::connect(&url).with_context(|| format!("no gateway answers at {url}"))?;
        if let MaybeTlsStream::Plain(stream) = socket.get_ref() {
            stream.set_read_timeout(Some(SILENCE))?;
            stream.set_nodelay(true)?;
        }
        let mut client = Client { socket };
        let version = env!("CARGO_PKG_VERSION");
        let params = json!({
            "minProtocol": 4,
            "maxProtocol": 4,
            "client": { "id": "bench", "version": version, "platform": "linux", "mode": "test" },
            "role": "operator",
            "scopes": ["operator.read", "operator.write", "operator.admin"],
            "auth": { "token": token },
        });
        client.send("connect", "connect", &params)?;
        let hello = client.response()?.result;
        match hello {
            Ok(_) => Ok(client),
            Err(refusal) => bail!("the gateway refused the connection: {refusal}"),
        }
    }

    pub fn send(&mut self, id: &str, method: &str, params: &Value) -> anyhow::Result<()> {
        let frame = json!({ "type": "req", "id": id, "method": method, "params": params });
        self.socket.send(Message::text(frame.to_string())).context("the gateway has gone away")
    }

    /// Waits for the next answer to anything. Events are read and dropped.
    pub fn response(&mut self) -> anyhow::Result<Response> {
        loop {
            match self.socket.read().context("the gateway has fallen silent")? {
                Message::Text(text) => {
                    if let Some(response) = parse(&text)? {
                        return Ok(response);
                    }
                }
                Message::Close(Some(close)) => bail!("the gateway hung up: {}", close.reason),
                Message::Close(None) => bail!("the gateway hung up"),
                _ => {}
            }
        }
    }

    /// Sends a message to an agent and waits for the answer, which is the second response.
    pub fn ask(&mut self, params: &Value) -> anyhow::Result<Value> {
        self.send("ask", "agent", params)?;
        for _ in ["accepted", "final"] {
            let response = self.response()?;
            match response.result {
                Ok(payload) if is_accepted(&payload) => {}
                Ok(payload) => return Ok(payload),
                Err(refusal) => bail!("the agent gave no answer: {refusal}"),
            }
        }
        bail!("the gateway accepted one message twice")
    }
}

/// Is this the first of the two responses to `agent`?
pub fn is_accepted(payload: &Value) -> bool {
    payload["status"] == "accepted"
}

/// Reads a frame: a response, or nothing if it is an event.
fn parse(text: &str) -> anyhow::Result<Option<Response>> {
    // Events are nine frames in ten: they are told by their beginning and not read.
    if text.starts_with(r#"{"type":"event""#) {
        return Ok(None);
    }
    let frame: Value = serde_json::from_str(text).context("a frame that is no JSON")?;
    if frame["type"] != "res" {
        return Ok(None);
    }
    let id = frame["id"].as_str().context("a response without an id")?.to_owned();
    let result = match frame["ok"].as_bool() {
        Some(true) => Ok(frame["payload"].clone()),
        _ => Err(frame["error"]["message"].as_str().unwrap_or("no reason given").to_owned()),
    };
    Ok(Some(Response { id, result }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_answers_refusals_and_events() {
        let answer = r#"{"type":"res","id":"7","ok":true,"payload":{"status":"accepted"}}"#;
        let answer = parse(answer).unwrap().unwrap();
        assert_eq!(answer.id, "7");
        assert!(is_accepted(&answer.result.unwrap()));

        let refusal = r#"{"type":"res","id":"8","ok":false,"error":{"message":"no"}}"#;
        assert_eq!(parse(refusal).unwrap().unwrap().result, Err("no".to_owned()));

        let event = r#"{"type":"event","event":"tick","payload":{"ts":1}}"#;
        assert_eq!(parse(event).unwrap(), None);
        assert!(parse("hello").is_err());
    }
}
