//! HTTP: the paths, and one request's way through the stub.

use std::io;
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::Snapshot;
use crate::app::{App, api_key, text_header};
use crate::digest::digest;
use crate::fault::{Ending, FaultRule};
use crate::journal::{Entry, Outcome, now_ms};
use crate::play::{Score, rest};
use crate::wire::{Refusal, Wire};

pub async fn serve(listener: TcpListener, app: Arc<App>) -> io::Result<()> {
    let mut stopped = app.stopped.clone();
    let shutdown = async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    };
    // Small frames must not wait for each other in the kernel.
    let listener = listener.tap_io(|stream| {
        let _ = stream.set_nodelay(true);
    });
    let router = Router::new()
        .route("/v1/messages", post(messages))
        .route("/v1/chat/completions", post(completions))
        .route("/v1/responses", post(responses))
        .route("/v1beta/models/{method}", post(generate))
        .route("/v1/models/{method}", post(generate))
        .route("/v1/models", get(models))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/journal", get(journal))
        .route("/journal/reset", post(reset))
        .route("/faults", post(faults))
        .fallback(unknown_path)
        .with_state(app);
    axum::serve(listener, router).with_graceful_shutdown(shutdown).await
}

async fn messages(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, Wire::Anthropic, "", request).await
}

async fn completions(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, Wire::Openai, "", request).await
}

async fn responses(State(app): State<Arc<App>>, request: Request) -> Response {
    answer(app, Wire::Responses, "", request).await
}

async fn generate(
    State(app): State<Arc<App>>,
    Path(method): Path<String>,
    request: Request,
) -> Response {
    // Without this the provider streams one JSON array, which no client of ours reads.
    let streams = method.ends_with(":streamGenerateContent");
    if streams && !request.uri().query().unwrap_or("").split('&').any(|pair| pair == "alt=sse") {
        let text = "the stub streams only with ?alt=sse";
        return refused(Wire::Google, &Refusal::bad(text), 0);
    }
    answer(app, Wire::Google, &method, request).await
}

async fn models(State(app): State<Arc<App>>, headers: HeaderMap) -> Json<Value> {
    let models = &app.options.models;
    Json(match headers.contains_key("anthropic-version") {
        true => {
            let model = |id: &String| {
                json!({"type": "model", "id": id, "display_name": id,
                       "created_at": "2025-01-01T00:00:00Z"})
            };
            json!({
                "data": models.iter().map(model).collect::<Value>(),
                "first_id": models.first(),
                "last_id": models.last(),
                "has_more": false,
            })
        }
        false => {
            let model = |id: &String| {
                let created = 1_735_689_600;
                json!({"id": id, "object": "model", "created": created, "owned_by": "stub"})
            };
            json!({"object": "list", "data": models.iter().map(model).collect::<Value>()})
        }
    })
}

/// `GET /journal`, or `GET /journal?since=SEQ` for what came after that entry.
async fn journal(State(app): State<Arc<App>>, request: Request) -> Json<Snapshot> {
    let query = request.uri().query().unwrap_or("");
    let since = query.split('&').find_map(|pair| pair.strip_prefix("since="));
    Json(app.journal.snapshot(since.and_then(|text| text.parse().ok()).unwrap_or(0)))
}

async fn reset(State(app): State<Arc<App>>) -> Json<Value> {
    app.journal.reset();
    Json(json!({"ok": true}))
}

/// `POST /faults`: one fault or a list of them replaces those that hold for all requests.
async fn faults(State(app): State<Arc<App>>, body: Bytes) -> Response {
    let rules = match serde_json::from_slice::<Value>(&body) {
        Ok(Value::Array(rules)) => serde_json::from_value(rules.into()),
        Ok(rule) => serde_json::from_value(rule).map(|rule: FaultRule| vec![rule]),
        Err(error) => Err(error),
    };
    match rules {
        Ok(rules) => {
            let count = rules.len();
            app.set_faults(rules);
            Json(json!({"ok": true, "faults": count})).into_response()
        }
        Err(error) => {
            (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response()
        }
    }
}

async fn unknown_path(request: Request) -> Response {
    let path = request.uri().path();
    let text = format!(
        "there is no {} {path}; the stub has POST /v1/messages, /v1/chat/completions, \
         /v1/responses and /v1beta/models/MODEL:generateContent, GET /v1/models, /healthz and \
         /journal, POST /journal/reset and /faults",
        request.method()
    );
    (StatusCode::NOT_FOUND, Json(json!({"error": text}))).into_response()
}

async fn answer(app: Arc<App>, wire: Wire, method: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut entry = Entry {
        seq: app.journal.next_seq(),
        at_ms: now_ms(),
        wire: wire.to_string(),
        key_hash: digest(api_key(&parts.headers).unwrap_or("")),
        idempotency_key: text_header(&parts.headers, "idempotency-key").map(str::to_owned),
        status: 200,
        ..Entry::default()
    };
    let seq = entry.seq;
    let considered = match to_bytes(body, app.options.body_limit).await {
        Ok(body) => app.consider((wire, method), &parts.headers, &body, &mut entry),
        Err(_) => Err(Refusal::of_status(413)),
    };
    let ready = match considered {
        Ok(ready) => ready,
        Err(refusal) => {
            entry.status = refusal.status;
            entry.verdict = refusal.message.clone();
            app.journal.refuse(entry);
            return refused(wire, &refusal, seq);
        }
    };
    let mut open = app.journal.begin(entry);
    let mut stopped = app.stopped.clone();
    if !ready.pace.latency.is_zero() && !rest(ready.pace.latency, &mut stopped).await {
        open.end(Outcome::Cut);
        return refused(wire, &Refusal::of_status(500), seq);
    }
    if let Ending::Error(failure) = ready.pace.ending {
        open.end(Outcome::Failed);
        return refused(wire, &failure.into(), seq);
    }
    let kind = match ready.stream {
        true => "text/event-stream; charset=utf-8",
        false => "application/json",
    };
    let body = Score::new(wire, ready.frames, &ready.pace).play(open, stopped);
    respond(wire, StatusCode::OK, kind, body, seq)
}

fn refused(wire: Wire, refusal: &Refusal, seq: u64) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = Body::from(refusal.body(wire).to_string());
    let mut response = respond(wire, status, "application/json", body, seq);
    if let Some(seconds) = refusal.retry_after_s {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn respond(wire: Wire, status: StatusCode, kind: &'static str, body: Body, seq: u64) -> Response {
    let name = match wire {
        Wire::Anthropic => HeaderName::from_static("request-id"),
        _ => HeaderName::from_static("x-request-id"),
    };
    let mut response = (status, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(id) = HeaderValue::try_from(format!("req_stub{seq}")) {
        headers.insert(name, id);
    }
    response
}
