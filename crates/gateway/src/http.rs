//! Plain HTTP: the same conversations for programs that speak no WebSocket.
//!
//! | path                        | answer                                                  |
//! |-----------------------------|---------------------------------------------------------|
//! | `POST /v1/chat/completions` | the agent's answer to a message, whole or as a stream   |
//! | `GET /v1/models`            | the agents, as models                                   |
//!
//! Off by default, as in OpenClaw: `gateway.http.endpoints.chatCompletions.enabled`.
//!
//! # Invariants
//!
//! - Whoever calls has the gateway's token, and a web page only from an origin that is listed.
//! - A message is durable before the first byte of an answer. A client that goes away stops
//!   nothing; one that comes again with the same `Idempotency-Key` gets the answer of the same run.

mod completions;
mod draft;
mod stream;

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocol::ErrorShape;
use protocol::fields::InvalidField;
use protocol::handshake::ConnectAuth;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use crate::gateway::Gateway;
use crate::meter::Peer;
use crate::server::{Door, check_origin};

/// Requests at a time. Each may wait for hours and costs some kilobytes; who needs more has a
/// WebSocket, on which one connection waits for any number of runs.
pub const REQUESTS_MAX: usize = 256;

/// Longest body, in bytes: that of OpenClaw's HTTP calls. A longer message is refused anyway.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

const ENABLED: &str = "gateway.http.endpoints.chatCompletions.enabled";

/// Why a request is not answered, in the shape that clients of OpenAI's API know.
#[derive(Clone, Debug)]
pub struct Failure {
    pub status: StatusCode,
    pub kind: &'static str,
    pub code: Option<String>,
    pub param: Option<String>,
    pub message: String,
    /// May the same request be made again, and after how many seconds? Clients try again by
    /// themselves what they take for a passing fault, and that would be another message.
    pub again: Option<u64>,
}

impl Failure {
    pub fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Failure {
        let message = message.into();
        Failure { status, kind, code: None, param: None, message, again: None }
    }

    pub fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// The gateway goes down, and what it has accepted goes on at its next start.
    pub fn restarting() -> Failure {
        let message = "the gateway is going down; what it has accepted goes on at its next start: \
                       ask again with the same Idempotency-Key for the answer";
        let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        Failure { again: Some(2), ..failure }
    }

    pub fn body(&self) -> Value {
        let Failure { kind, code, param, message, .. } = self;
        json!({ "error": { "message": message, "type": kind, "code": code, "param": param } })
    }
}

impl From<InvalidField> for Failure {
    fn from(wrong: InvalidField) -> Failure {
        let unknown = wrong.field == "model" && wrong.got.is_some();
        let failure = Failure::invalid(wrong.to_string());
        let param = Some(wrong.field);
        if unknown {
            let code = Some("model_not_found".to_owned());
            return Failure { status: StatusCode::NOT_FOUND, code, param, ..failure };
        }
        Failure { param, ..failure }
    }
}

impl From<ErrorShape> for Failure {
    fn from(error: ErrorShape) -> Failure {
        let code = error.detail_code().map(str::to_owned);
        if code.as_deref() == Some("UNKNOWN_AGENT_ID") {
            let failure = Failure::invalid(error.message);
            let code = Some("model_not_found".to_owned());
            return Failure { status: StatusCode::NOT_FOUND, code, ..failure };
        }
        if error.code != protocol::ErrorCode::Unavailable {
            return Failure { code, ..Failure::invalid(error.message) };
        }
        let again = error.retry_after_ms.map(|ms| ms.div_ceil(1_000));
        let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", error.message);
        Failure { code, again, ..failure }
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        let headers = response.headers_mut();
        match self.again {
            Some(seconds) => headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds)),
            // Known to the clients of OpenAI, which try again what they take for a passing fault.
            None => headers.insert(
                HeaderName::from_static("x-should-retry"),
                HeaderValue::from_static("false"),
            ),
        };
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// Lets a request in, or says why not.
async fn admit(
    door: &Door,
    peer: &Peer,
    headers: &HeaderMap,
) -> Result<OwnedSemaphorePermit, Failure> {
    let gateway = &door.gateway;
    let (address, shown) = (gateway.config.address, gateway.shown());
    check_origin(headers, address, &shown.allowed_origins)
        .map_err(|why| Failure::new(StatusCode::FORBIDDEN, "forbidden", why))?;
    let Ok(slot) = Arc::clone(&door.requests).try_acquire_owned() else {
        let message = format!("{REQUESTS_MAX} requests are open, the most that are served");
        let failure = Failure::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        return Err(Failure { again: Some(5), ..failure });
    };
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
    });
    let auth = ConnectAuth { token, password: None };
    if gateway.gate.check(&auth, peer.address.ip(), gateway.now()).await.is_err() {
        return Err(Failure::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized"));
    }
    if !gateway.shown().chat_completions {
        let message = format!("this path is off: set {ENABLED} to true (it is false)");
        return Err(Failure::new(StatusCode::NOT_FOUND, "not_found", message));
    }
    if gateway.hub.draining() {
        return Err(Failure::restarting());
    }
    Ok(slot)
}

/// `POST /v1/chat/completions`
pub async fn chat_completions(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let slot = match admit(&door, &peer, &headers).await {
        Ok(slot) => slot,
        Err(failure) => return failure.into_response(),
    };
    let answered = match read(body).await {
        Ok(body) => completions::answer(&door, &headers, &body, slot).await,
        Err(failure) => Err(failure),
    };
    answered.unwrap_or_else(IntoResponse::into_response)
}

async fn read(body: Body) -> Result<Value, Failure> {
    let bytes = axum::body::to_bytes(body, BODY_BYTES_MAX).await.map_err(|_| {
        let message = format!("the body is cut, or longer than {BODY_BYTES_MAX} bytes");
        Failure { status: StatusCode::PAYLOAD_TOO_LARGE, ..Failure::invalid(message) }
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Failure::invalid(format!("the body is no JSON: {error}")))
}

/// `GET /v1/models`
pub async fn models(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
) -> Response {
    match admit(&door, &peer, &headers).await {
        Ok(_) => Json(listed(&door.gateway)).into_response(),
        Err(failure) => failure.into_response(),
    }
}

fn listed(gateway: &Gateway) -> Value {
    let config = gateway.handle.config();
    let agents = config.agents.keys();
    let names = ["openclaw".to_owned(), "openclaw/default".to_owned()];
    let names = names.into_iter().chain(agents.map(|id| format!("openclaw/{id}")));
    let created = gateway.started.ms() / 1_000;
    let models = names.map(
        |id| json!({ "id": id, "object": "model", "created": created, "owned_by": "windlass" }),
    );
    json!({ "object": "list", "data": models.collect::<Vec<_>>() })
}
