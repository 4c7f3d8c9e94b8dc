//! A client of the gateway, for the commands: one WebSocket, the same protocol as everyone's.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use futures::{SinkExt, StreamExt};
use protocol::error::ErrorShape;
use protocol::handshake::{Cap, Client as ClientInfo, ClientMode, ConnectAuth, Role};
use protocol::{ConnectParams, EventFrame, Method, PROTOCOL_VERSION, Request, Response, Scope};
use protocol::{Scopes, ServerFrame};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::{EXIT_USAGE, Exit};

/// How long a gateway may take to greet.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Events kept while a response is waited for. A command that wants more reads as it goes.
const EVENTS_KEPT: usize = 4_096;

/// Where the gateway is, and the secret that it wants.
#[derive(Clone)]
pub struct Target {
    pub url: String,
    pub token: Option<String>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A connection that has been greeted.
#[derive(Debug)]
pub struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
    events: VecDeque<EventFrame>,
}

/// A refusal of the gateway, as an error of a command.
#[derive(Debug, thiserror::Error)]
#[error("{}", shown(.0))]
pub struct Refused(pub ErrorShape);

fn shown(error: &ErrorShape) -> String {
    match error.retry_after_ms {
        Some(ms) => format!("{} (try again in {} s)", error.message, ms.div_ceil(1_000)),
        None => error.message.clone(),
    }
}

/// Would the gateway say the same again?
pub fn is_final(error: &anyhow::Error) -> bool {
    let refused = error.chain().find_map(|cause| cause.downcast_ref::<Refused>());
    refused.is_some_and(|Refused(error)| error.retryable != Some(true))
}

/// Says what is wrong with an address before the network does, which cannot know what was meant.
fn check_url(url: &str) -> anyhow::Result<()> {
    let expected = |meant: String| {
        let message = format!("`{url}` is no address of a gateway: expected {meant}");
        Err(Exit { code: EXIT_USAGE, message }.into())
    };
    match url.split_once("://") {
        Some(("ws" | "wss", rest)) if !rest.is_empty() => Ok(()),
        Some(("http", rest)) => expected(format!("`ws://{rest}`")),
        Some(("https", rest)) => expected(format!("`wss://{rest}`")),
        Some(_) => expected("`ws://` or `wss://`, then host and port".to_owned()),
        None => expected(format!("`ws://{url}`")),
    }
}

impl Client {
    /// Connects and says who we are.
    pub async fn connect(target: &Target) -> anyhow::Result<Client> {
        Client::connect_as(target, &[Scope::Read, Scope::Write]).await
    }

    /// Connects with these rights: no command asks for more than it needs.
    pub async fn connect_as(target: &Target, scopes: &[Scope]) -> anyhow::Result<Client> {
        Client::connect_for(target, scopes, &[]).await
    }

    /// Connects to talk, and to be told of these events beside those that all get.
    pub async fn connect_watching(target: &Target, caps: &[Cap]) -> anyhow::Result<Client> {
        Client::connect_for(target, &[Scope::Read, Scope::Write], caps).await
    }

    async fn connect_for(
        target: &Target,
        scopes: &[Scope],
        caps: &[Cap],
    ) -> anyhow::Result<Client> {
        check_url(&target.url)?;
        let greeted = tokio::time::timeout(CONNECT_TIMEOUT, Client::greet(target, scopes, caps));
        greeted
            .await
            .with_context(|| format!("{} did not greet within {CONNECT_TIMEOUT:?}", target.url))?
    }

    async fn greet(target: &Target, scopes: &[Scope], caps: &[Cap]) -> anyhow::Result<Client> {
        let (socket, _) = match tokio_tungstenite::connect_async(&target.url).await {
            Ok(connected) => connected,
            // Nobody listens: how the system says so is of no use to a person.
            Err(Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                bail!("no gateway answers at {}; start one with `windlass gateway`", target.url)
            }
            Err(error) => return Err(anyhow!("cannot connect to {}: {error}", target.url)),
        };
        let mut client = Client { socket, next_id: 0, events: VecDeque::new() };
        let params = serde_json::to_value(connect_params(target, scopes, caps))?;
        let hello = client.call(Method::Connect, params).await;
        hello.context("the gateway refused the connection")?;
        Ok(client)
    }

    /// Sends a request and waits for its one response.
    pub async fn call(&mut self, method: Method, params: Value) -> anyhow::Result<Value> {
        let id = self.send(method, params).await?;
        self.response(&id).await
    }

    /// As [`Client::call`], read into a type.
    pub async fn get<T: DeserializeOwned>(
        &mut self,
        method: Method,
        params: Value,
    ) -> anyhow::Result<T> {
        let payload = self.call(method, params).await?;
        serde_json::from_value(payload)
            .with_context(|| format!("the gateway's answer to {method} is not what we expect"))
    }

    /// Sends a request and returns its id.
    pub async fn send(&mut self, method: Method, params: Value) -> anyhow::Result<String> {
        self.next_id += 1;
        let id = self.next_id.to_string();
        let request = Request::new(id.clone(), method, params);
        self.socket.send(Message::text(serde_json::to_string(&request)?)).await?;
        Ok(id)
    }

    /// Waits for the next response to `id`. Events that come meanwhile are kept.
    pub async fn response(&mut self, id: &str) -> anyhow::Result<Value> {
        payload(self.raw_response(id).await?)
    }

    /// As [`Client::response`], with a refusal as it was sent.
    pub async fn raw_response(&mut self, id: &str) -> anyhow::Result<Response> {
        loop {
            match self.frame().await? {
                ServerFrame::Response(response) if response.id == id => return Ok(response),
                ServerFrame::Response(_) => {}
                ServerFrame::Event(event) => {
                    if self.events.len() == EVENTS_KEPT {
                        self.events.pop_front();
                    }
                    self.events.push_back(event);
                }
            }
        }
    }

    /// Waits for whatever comes next: an event that was kept, or a frame.
    pub async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        match self.events.pop_front() {
            Some(event) => Ok(ServerFrame::Event(event)),
            None => self.frame().await,
        }
    }

    async fn frame(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            let message = match self.socket.next().await {
                Some(Ok(message)) => message,
                // Killed, or cut off: how the library says so is of no use to a person.
                None
                | Some(Err(
                    Error::Io(_)
                    | Error::ConnectionClosed
                    | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake),
                )) => bail!("the gateway has gone away"),
                Some(Err(error)) => return Err(error.into()),
            };
            match message {
                Message::Text(text) => {
                    let frame = ServerFrame::parse(&text).context("a frame that is not JSON")?;
                    if let Some(frame) = frame {
                        return Ok(frame);
                    }
                }
                Message::Close(close) => match close {
                    Some(close) => bail!("the gateway closed the connection: {}", close.reason),
                    None => bail!("the gateway closed the connection"),
                },
                _ => {}
            }
        }
    }
}

/// Reads a response: its payload, or its refusal as an error.
pub fn payload(response: Response) -> anyhow::Result<Value> {
    match response.error {
        Some(error) if !response.ok => Err(Refused(error).into()),
        _ => Ok(response.payload.unwrap_or(Value::Null)),
    }
}

fn connect_params(target: &Target, scopes: &[Scope], caps: &[Cap]) -> ConnectParams {
    ConnectParams {
        min_protocol: PROTOCOL_VERSION,
        max_protocol: PROTOCOL_VERSION,
        client: ClientInfo {
            id: "cli".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            platform: std::env::consts::OS.to_owned(),
            mode: ClientMode::Cli,
            display_name: None,
            device_family: None,
            instance_id: None,
        },
        role: Role::Operator,
        scopes: scopes.iter().copied().collect::<Scopes>(),
        caps: caps.iter().map(Cap::to_string).collect(),
        auth: ConnectAuth { token: target.token.clone(), password: None },
        device: None,
    }
}

#[cfg(test)]
mod tests {
    use super::check_url;

    #[test]
    fn an_address_that_is_none_is_told_what_was_meant() {
        let told = |url: &str| check_url(url).map_err(|error| error.to_string());
        for url in ["ws://127.0.0.1:18789", "wss://example.org/x"] {
            assert_eq!(told(url), Ok(()));
        }
        for (url, meant) in [
            ("http://127.0.0.1:18789", "expected `ws://127.0.0.1:18789`"),
            ("https://example.org", "expected `wss://example.org`"),
            ("127.0.0.1:18789", "expected `ws://127.0.0.1:18789`"),
            ("ftp://example.org", "expected `ws://` or `wss://`"),
            ("ws://", "expected `ws://` or `wss://`"),
        ] {
            let why = told(url).unwrap_err();
            assert!(why.contains(url) && why.contains(meant), "{why}");
        }
    }
}
