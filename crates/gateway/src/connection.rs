//! One socket: challenge, `connect`, then frames until somebody closes.
//!
//! ```text
//!  open ─▶ connect.challenge ─▶ connect, within 10 s ─▶ hello-ok ─▶ requests, events
//! ```
//!
//! Each request is answered by a task of its own, so answers may come out of order. When the
//! socket closes the tasks are dropped: what they had submitted stands, nobody hears the answer.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket};
use futures::stream::SplitStream;
use futures::{Stream, StreamExt};
use protocol::fields::Fields;
use protocol::frame::PRE_AUTH_FRAME_BYTES_MAX;
use protocol::handshake::{Cap, Challenge, Role};
use protocol::health::HealthParams;
use protocol::hello::{
    Features, HelloAuth, HelloOk, PresenceEntry, Server, SessionDefaults, Snapshot,
};
use protocol::method::Params;
use protocol::{
    ConnectParams, ErrorShape, Event, Policy, Request, Response, Scope, Scopes, StateVersion,
};
use tokio::task::JoinSet;

use crate::dispatch;
use crate::gateway::Gateway;
use crate::meter::Peer;
use crate::methods::health;
use crate::outbox::{self, Close, Outbox};
use crate::subscribe::{self, Subscriber};

/// How long a stranger has to say who he is.
const CONNECT: Duration = Duration::from_secs(10);

/// A socket that brings nothing for so long, not even an answer to a ping, is dead: three ticks.
const SILENCE: Duration = Duration::from_secs(90);

/// Calls of one connection at a time. Most of them will be `agent` calls that wait for their runs,
/// which cost little; it is more than the lanes can run.
const CALLS_MAX: usize = 256;

/// Bytes that a socket may bring before it is let in. More than one frame's worth, so that a frame
/// that is a little too large can be told so; a larger one is cut off.
pub const STRANGER_BYTES_MAX: u64 = 16 * PRE_AUTH_FRAME_BYTES_MAX as u64;

/// Serves one socket until it is closed.
pub async fn serve(socket: WebSocket, peer: Peer, gateway: Arc<Gateway>) {
    let (sink, mut frames) = socket.split();
    let (outbox, writer) = outbox::channel();
    let reading = async {
        let why = tokio::select! {
            why = read(&mut frames, &outbox, &peer, &gateway) => why,
            () = outbox.closing() => Close::GONE,
        };
        outbox.close(why);
    };
    tokio::join!(writer.run(sink), reading);
    let why = outbox.why().cloned().unwrap_or(Close::GONE);
    tracing::debug!(peer = %peer.address, code = why.code, reason = %why.reason, "closed");
}

async fn read(
    frames: &mut SplitStream<WebSocket>,
    outbox: &Outbox,
    peer: &Peer,
    gateway: &Arc<Gateway>,
) -> Close {
    let challenge = Challenge { nonce: gateway.nonce(), ts: gateway.now() };
    outbox.opening(&Event::Challenge(challenge).frame(None));
    let said = tokio::time::timeout(CONNECT, next_text(frames, PRE_AUTH_FRAME_BYTES_MAX));
    let text = match said.await {
        Ok(Ok(text)) => text,
        Ok(Err(close)) => return close,
        Err(_) => return Close::policy("no `connect` within 10 s"),
    };
    let (client, scopes) = match connect(&text, outbox, peer, gateway).await {
        Ok(connected) => connected,
        Err(close) => return close,
    };
    peer.meter.lift();
    let client = Arc::new(client);
    let _registered = subscribe::register(gateway, Arc::clone(&client));
    converse(frames, &client, &Arc::new(scopes), gateway).await
}

/// Waits for the next text of at most `limit` bytes.
async fn next_text<S, E>(frames: &mut S, limit: usize) -> Result<String, Close>
where
    S: Stream<Item = Result<Message, E>> + Unpin,
    E: std::fmt::Display,
{
    loop {
        // An answer to a ping is no text, but it is a sign of life.
        let Ok(frame) = tokio::time::timeout(SILENCE, frames.next()).await else {
            return Err(Close::policy("nothing was heard for 90 s"));
        };
        match frame {
            None | Some(Ok(Message::Close(_))) => return Err(Close::GONE),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Text(text))) if text.len() > limit => {
                return Err(Close::too_large(limit));
            }
            Some(Ok(Message::Text(text))) => return Ok(text.to_string()),
            Some(Ok(Message::Binary(_))) => {
                return Err(Close { code: 1003, reason: "frames must be text".into() });
            }
            Some(Err(error)) => {
                return Err(Close { code: 1002, reason: format!("broken frame: {error}").into() });
            }
        }
    }
}

/// Answers the first frame. On an error the refusal is sent, and the connection is to be closed.
async fn connect(
    text: &str,
    outbox: &Outbox,
    peer: &Peer,
    gateway: &Arc<Gateway>,
) -> Result<(Subscriber, Scopes), Close> {
    let request = match Request::parse(text) {
        Ok(request) => request,
        Err(bad) => {
            let reason = bad.to_string();
            if let Some(id) = bad.id {
                outbox.respond(&Response::err(id, bad.error));
            }
            return Err(Close::policy(reason));
        }
    };
    let id = request.id.clone();
    match greet(request, peer, gateway).await {
        Ok((params, hello)) => {
            outbox.respond(&Response::ok(id, &hello));
            let subscriber = Subscriber {
                outbox: outbox.clone(),
                reads: params.scopes.allow(Scope::Read),
                approves: params.scopes.allow(Scope::Approvals),
                tools: params.wants(Cap::ToolEvents),
                thoughts: params.wants(Cap::ThinkingEvents),
                sessions: AtomicBool::new(false),
            };
            tracing::debug!(
                peer = %peer.address, client = params.client.id, scopes = %params.scopes,
                "connected"
            );
            Ok((subscriber, params.scopes))
        }
        Err(error) => {
            let reason = error.message.clone();
            outbox.respond(&Response::err(id, error));
            Err(Close::policy(reason))
        }
    }
}

/// Decides whether to let a client in, and makes its welcome.
async fn greet(
    request: Request,
    peer: &Peer,
    gateway: &Arc<Gateway>,
) -> Result<(ConnectParams, HelloOk), ErrorShape> {
    if request.method != "connect" {
        return Err(ErrorShape::invalid_request("the first frame must be `connect`"));
    }
    let params = Fields::of(&request.params)
        .and_then(|fields| ConnectParams::read(&fields))
        .map_err(|invalid| invalid.refusal("connect"))?;
    params.negotiate()?;
    if params.role != Role::Operator {
        let message = format!("role `{}` is not served; connect as `operator`", params.role);
        return Err(ErrorShape::invalid_request(message));
    }
    gateway.gate.check(&params.auth, peer.address.ip(), gateway.now()).await?;
    let hello = hello(&params, gateway).await?;
    Ok((params, hello))
}

async fn hello(params: &ConnectParams, gateway: &Arc<Gateway>) -> Result<HelloOk, ErrorShape> {
    let info = &gateway.info;
    let server = Server {
        version: info.version.clone(),
        boot_id: Some(info.node.to_string()),
        conn_id: gateway.nonce(),
    };
    let shown = |path: &std::path::Path| path.display().to_string();
    let snapshot = Snapshot {
        presence: vec![PresenceEntry {
            version: Some(info.version.clone()),
            mode: Some("gateway".to_owned()),
            reason: Some("self".to_owned()),
            ts: gateway.now(),
            ..PresenceEntry::default()
        }],
        health: health::health(gateway, &HealthParams { probe: false }).await?,
        state_version: StateVersion::default(),
        uptime_ms: gateway.uptime_ms(),
        config_path: info.config_path.as_deref().map(shown),
        state_dir: Some(shown(&info.state_dir)),
        session_defaults: SessionDefaults::of(
            gateway.default_agent(),
            !gateway.handle.config().models.is_empty(),
        ),
        auth_mode: gateway.gate.mode().to_owned(),
    };
    let auth = HelloAuth { role: params.role, scopes: params.scopes.clone() };
    let hello = HelloOk::new(server, Features::of(&dispatch::served()), snapshot, auth);
    Ok(HelloOk { protocol: params.negotiate()?, ..hello })
}

/// Reads requests, and has each answered, until the connection ends.
async fn converse(
    frames: &mut SplitStream<WebSocket>,
    client: &Arc<Subscriber>,
    scopes: &Arc<Scopes>,
    gateway: &Arc<Gateway>,
) -> Close {
    let limit = usize::try_from(Policy::default().max_payload).unwrap_or(usize::MAX);
    let mut calls = JoinSet::new();
    loop {
        while calls.try_join_next().is_some() {}
        let text = match next_text(frames, limit).await {
            Ok(text) => text,
            Err(close) => return close,
        };
        let request = match Request::parse(&text) {
            Ok(request) => request,
            Err(bad) => match bad.id.clone() {
                Some(id) => {
                    client.outbox.respond(&Response::err(id, bad.error));
                    continue;
                }
                None => return Close::policy(bad.to_string()),
            },
        };
        if calls.len() >= CALLS_MAX {
            let message = format!("{CALLS_MAX} calls of this connection are open");
            let error = ErrorShape::unavailable(message);
            client.outbox.respond(&Response::err(
                request.id,
                ErrorShape { retry_after_ms: Some(1_000), ..error },
            ));
            continue;
        }
        let (gateway, client) = (Arc::clone(gateway), Arc::clone(client));
        let scopes = Arc::clone(scopes);
        let mut call = Box::pin(async move {
            let response = dispatch::answer(&gateway, &client, &scopes, request).await;
            client.outbox.respond(&response);
        });
        // Begun here, as far as the first thing that it waits for: so the messages of one
        // connection are submitted in the order in which they came.
        if futures::poll!(call.as_mut()).is_pending() {
            calls.spawn(call);
        }
    }
}
