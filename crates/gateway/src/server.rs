//! The port: who may open a socket, and the answers to plain HTTP.
//!
//! | path                  | answer                                                         |
//! |-----------------------|----------------------------------------------------------------|
//! | `/healthz`, `/health` | 200: the process lives                                         |
//! | `/readyz`, `/ready`   | 200, or 503 while the gateway goes down or cannot read its rows |
//! | `/v1/…`               | see [`crate::http`]                                            |
//! | any, as WebSocket     | the protocol                                                   |
//!
//! # Invariants
//!
//! - A web page can connect only if it is the gateway's own or its origin is listed, because a
//!   browser lets any page open a socket to this machine.
//! - A name that is made to point here (DNS rebinding) is no name of ours: the `Host` of a request
//!   from a browser must be an address, `localhost`, or that of a listed origin.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use protocol::Policy;
use runtime::Handle;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::{Config, Origin};
use crate::connection::{self, STRANGER_BYTES_MAX};
use crate::gateway::{Gateway, Info};
use crate::http;
use crate::meter::{Metered, Peer};
use crate::outbox::Close;
use crate::subscribe::Publisher;

/// Sockets at a time. Each may hold a queue of megabytes; a fleet's operator has a handful.
const SOCKETS_MAX: usize = 256;

/// How much larger than the limit a frame may be and still be told so.
const FRAME_SLACK: usize = 1024 * 1024;

/// How long the sockets have to close when the gateway stops.
const CLOSING: Duration = Duration::from_secs(6);

#[derive(Clone, Debug)]
pub struct Door {
    pub gateway: Arc<Gateway>,
    sockets: Arc<Semaphore>,
    pub requests: Arc<Semaphore>,
    pub tasks: TaskTracker,
}

/// Serves until `shutdown` is cancelled; then tells every client, closes their sockets, and
/// returns. Open the listener with [`crate::bind`].
///
/// Call it before the driver runs, or at once after: clients see only what happens while it is
/// running, and read the rest.
pub fn serve(
    listener: TcpListener,
    config: Config,
    handle: Handle,
    info: Info,
    shutdown: CancellationToken,
) -> impl Future<Output = io::Result<()>> + Send {
    // Now, and not when the future is first polled: nothing of the start is missed.
    let live = handle.subscribe();
    let gateway = Arc::new(Gateway::new(config, info, handle));
    async move {
        let publisher = Publisher::new(Arc::clone(&gateway));
        let stop = CancellationToken::new();
        let publishing = tokio::spawn(publisher.run(live, stop.clone()));
        let door = Door {
            gateway: Arc::clone(&gateway),
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            requests: Arc::new(Semaphore::new(http::REQUESTS_MAX)),
            tasks: TaskTracker::new(),
        };
        let service = router(door.clone()).into_make_service_with_connect_info::<Peer>();
        let served = tokio::select! {
            served = async { axum::serve(Metered(listener), service).await } => served,
            () = shutdown.cancelled() => Ok(()),
        };
        gateway.hub.shut_down();
        gateway.hub.close_all(&Close::RESTART);
        door.tasks.close();
        let _ = tokio::time::timeout(CLOSING, door.tasks.wait()).await;
        stop.cancel();
        let _ = publishing.await;
        served
    }
}

fn router(door: Door) -> Router {
    Router::new()
        .route("/healthz", get(live))
        .route("/health", get(live))
        .route("/readyz", get(ready))
        .route("/ready", get(ready))
        .route("/v1/chat/completions", post(http::chat_completions))
        .route("/v1/models", get(http::models))
        .fallback(any(socket))
        .with_state(door)
}

async fn live() -> Response {
    axum::Json(json!({ "ok": true, "status": "live" })).into_response()
}

async fn ready(State(door): State<Door>) -> Response {
    let gateway = &door.gateway;
    let failing = if gateway.hub.draining() {
        Some("draining")
    } else if gateway.handle.store().lanes().await.is_err() {
        Some("store")
    } else {
        None
    };
    let (uptime, version) = (gateway.uptime_ms(), &gateway.info.version);
    match failing {
        None => axum::Json(json!({ "ready": true, "uptimeMs": uptime, "version": version }))
            .into_response(),
        Some(failing) => {
            let body = json!({ "ready": false, "failing": [failing], "uptimeMs": uptime });
            (StatusCode::SERVICE_UNAVAILABLE, axum::Json(body)).into_response()
        }
    }
}

async fn socket(
    State(door): State<Door>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let Ok(upgrade) = upgrade else {
        let text = "Windlass speaks WebSocket here; /healthz tells whether it lives.\n";
        return (StatusCode::NOT_FOUND, text).into_response();
    };
    let (address, shown) = (door.gateway.config.address, door.gateway.shown());
    if let Err(why) = check_origin(&headers, address, &shown.allowed_origins) {
        tracing::warn!(peer = %peer.address, why, "a socket was refused");
        return (StatusCode::FORBIDDEN, format!("{why}\n")).into_response();
    }
    let Ok(permit) = Arc::clone(&door.sockets).try_acquire_owned() else {
        let text = format!("{SOCKETS_MAX} sockets are open, the most that are served\n");
        return (StatusCode::SERVICE_UNAVAILABLE, text).into_response();
    };
    peer.meter.limit(STRANGER_BYTES_MAX);
    let limit = usize::try_from(Policy::default().max_payload).unwrap_or(usize::MAX) + FRAME_SLACK;
    let tracked = door.tasks.token();
    upgrade.max_message_size(limit).max_frame_size(limit).on_upgrade(move |socket| async move {
        connection::serve(socket, peer, Arc::clone(&door.gateway)).await;
        drop((permit, tracked));
    })
}

/// Decides whether the page or program that opens a socket, or asks over HTTP, may.
pub fn check_origin(
    headers: &HeaderMap,
    address: IpAddr,
    allowed: &[Origin],
) -> Result<(), String> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default().to_ascii_lowercase();
    let Some(origin) = text(header::ORIGIN) else {
        // No browser: those always say where a page comes from. A program on this machine has no
        // reason to know us by another name.
        return if address.is_loopback() { check_host(&host, allowed) } else { Ok(()) };
    };
    let refused = || {
        format!("origin {origin:?} may not connect; list it in gateway.controlUi.allowedOrigins")
    };
    let origin: Origin = origin.parse().map_err(|_| refused())?;
    if allowed.contains(&origin) {
        return Ok(());
    }
    check_host(&host, allowed)?;
    if origin.authority() == host { Ok(()) } else { Err(refused()) }
}

fn check_host(host: &str, allowed: &[Origin]) -> Result<(), String> {
    let listed = allowed.iter().any(|origin| origin.authority() == host);
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    if listed || name == "localhost" || name.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    Err(format!("host {host:?} is no name of this gateway; use its address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(address: &str, host: &str, origin: Option<&str>) -> bool {
        let allowed = ["https://ui.example.org".parse().unwrap()];
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        check_origin(&headers, address.parse().unwrap(), &allowed).is_ok()
    }

    #[test]
    fn pages_and_programs_that_may_connect() {
        let (here, lan) = ("127.0.0.1", "0.0.0.0");
        #[rustfmt::skip]
        let table = [
            // bound  host               origin                            may
            (here, "127.0.0.1:18789", None,                                true),
            (here, "localhost:18789", None,                                true),
            (here, "[::1]:18789",     None,                                true),
            (here, "evil.test:18789", None,                                false),
            (lan,  "mybox.lan:18789", None,                                true),
            (here, "127.0.0.1:18789", Some("http://127.0.0.1:18789"),      true),
            (here, "127.0.0.1:18789", Some("http://127.0.0.1:5173"),       false),
            (here, "127.0.0.1:18789", Some("http://evil.test"),            false),
            (here, "127.0.0.1:18789", Some("null"),                        false),
            (here, "127.0.0.1:18789", Some("https://ui.example.org"),      true),
            (here, "127.0.0.1:18789", Some("http://ui.example.org"),       false),
            // The name was made to point here.
            (here, "evil.test:18789", Some("http://evil.test:18789"),      false),
            (lan,  "evil.test:18789", Some("http://evil.test:18789"),      false),
            (lan,  "10.0.0.7:18789",  Some("http://10.0.0.7:18789"),       true),
            (lan,  "ui.example.org",  Some("https://ui.example.org"),      true),
        ];
        for (bound, host, origin, may) in table {
            assert_eq!(checked(bound, host, origin), may, "{bound} {host} {origin:?}");
        }
    }
}
