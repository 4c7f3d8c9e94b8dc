//! One POST, one event stream: time-outs and bounds, and what is told when it fails.

use std::fmt;
use std::time::Duration;

use reqwest::header::{
    AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER,
};
use reqwest::{Response, Url};
use types::Hash;

use crate::error::{Fault, excerpt};
use crate::refusal::{self, Refusal};
use crate::sse::{Event, Parser};
use crate::{Delta, ProviderError, Reply};

/// A refusal is read so far: the reason is in the first lines.
const REFUSAL_BYTES_MAX: usize = 64 << 10;

/// How long to wait for the end of the body behind the last event. With it the connection can
/// serve the next call; without it nothing is lost but a handshake.
const TAIL_WAIT: Duration = Duration::from_millis(20);

/// Longest wait that a provider may impose: one that asks for more has no quota left.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// A secret that is printed as `[redacted]`, whoever prints it.
#[derive(Clone, PartialEq, Eq)]
pub struct ApiKey(String);

impl ApiKey {
    /// Keys come out of files and shells, so white space around them is dropped.
    pub fn new(key: impl AsRef<str>) -> ApiKey {
        ApiKey(key.as_ref().trim().to_owned())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Where a provider is and how patient we are with it, as configured.
#[derive(Clone)]
pub struct HttpConfig {
    /// The provider's id in the configuration: how errors name it.
    pub id: String,
    pub base_url: String,
    pub api_key: Option<ApiKey>,
    pub connect_timeout: Duration,
    /// A stream that is silent for so long is dead. Also bounds the wait for the first byte.
    pub stall_timeout: Duration,
    /// Largest answer that is read, in bytes of the stream.
    pub reply_bytes_max: usize,
    /// Sent with every request; they win over our own.
    pub extra_headers: Vec<(String, String)>,
    /// Sends the key as `Authorization: Bearer`, whatever the wire is used to.
    pub bearer: bool,
}

impl HttpConfig {
    pub fn new(id: impl Into<String>, base_url: impl Into<String>) -> HttpConfig {
        HttpConfig {
            id: id.into(),
            base_url: base_url.into(),
            api_key: None,
            connect_timeout: Duration::from_secs(10),
            stall_timeout: Duration::from_secs(90),
            reply_bytes_max: 16 << 20,
            extra_headers: Vec::new(),
            bearer: false,
        }
    }

    pub fn api_key(mut self, key: ApiKey) -> HttpConfig {
        self.api_key = Some(key);
        self
    }
}

impl fmt::Debug for HttpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A URL may hold a password, and a header may hold a key under another name.
        f.debug_struct("HttpConfig").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A configuration that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEndpoint {
    #[error("the base URL of provider `{id}` must start with http:// or https:// and name a host")]
    BaseUrl { id: String },
    #[error("the API key of provider `{id}` has characters that no header can carry")]
    ApiKey { id: String },
    #[error("header `{name}` of provider `{id}` is not a header, or its value cannot be sent")]
    Header { id: String, name: String },
    #[error("no TLS provider is installed in this process, so `{id}` cannot be called")]
    NoTls { id: String },
    #[error("no HTTP client for provider `{id}`: {reason}")]
    Client { id: String, reason: String },
}

/// A provider's address, checked, with its connections.
#[derive(Clone)]
pub struct Endpoint {
    id: String,
    base: Url,
    api_key: Option<ApiKey>,
    extra_headers: HeaderMap,
    bearer: bool,
    stall_timeout: Duration,
    reply_bytes_max: usize,
    client: reqwest::Client,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Checks `config`. A rustls crypto provider must have been installed in the process.
    pub fn new(config: HttpConfig) -> Result<Endpoint, BadEndpoint> {
        let id = config.id;
        let base = Url::parse(config.base_url.trim())
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| BadEndpoint::BaseUrl { id: id.clone() })?;
        if let Some(key) = &config.api_key
            && HeaderValue::from_str(&key.0).is_err()
        {
            return Err(BadEndpoint::ApiKey { id });
        }
        let mut extra_headers = HeaderMap::new();
        for (name, value) in config.extra_headers {
            let parsed = (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(&value));
            let (Ok(header), Ok(mut value)) = parsed else {
                return Err(BadEndpoint::Header { id, name });
            };
            value.set_sensitive(true);
            extra_headers.insert(header, value);
        }
        // reqwest would panic.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(BadEndpoint::NoTls { id });
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(config.connect_timeout)
            .user_agent(concat!("windlass/", env!("CARGO_PKG_VERSION")))
            // A redirect would take the key to another host.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| BadEndpoint::Client {
            id: id.clone(),
            reason: innermost(&error.without_url()),
        })?;
        Ok(Endpoint {
            id,
            base,
            api_key: config.api_key,
            extra_headers,
            bearer: config.bearer,
            stall_timeout: config.stall_timeout,
            reply_bytes_max: config.reply_bytes_max,
            client,
        })
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// Names this provider with one of its models, as [`types::AssistantMessage::asked`] does.
    pub(crate) fn asked(&self, model: &str) -> String {
        format!("{}/{model}", self.id)
    }

    /// Returns the base URL with `path` behind it. A query of the base stays.
    pub(crate) fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    pub(crate) fn base_ends_with(&self, segment: &str) -> bool {
        let path = self.base.path().trim_end_matches('/');
        path.rsplit('/').next() == Some(segment)
    }

    /// The header that carries the key: the one of the wire, unless it is configured otherwise.
    pub(crate) fn key_header(&self, own: HeaderName) -> Option<(HeaderName, HeaderValue)> {
        let name = if self.bearer { AUTHORIZATION } else { own };
        let scheme = if name == AUTHORIZATION { "Bearer " } else { "" };
        let text = format!("{scheme}{}", self.api_key.as_ref()?.0);
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    }

    /// Posts `body` and decodes the stream that comes back.
    pub(crate) async fn stream<D: Decode>(
        &self,
        mut post: Post,
        decode: D,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Reply, ProviderError> {
        let mut reading = Reading::new(decode, self.reply_bytes_max);
        let asked = std::mem::take(&mut post.asked);
        let reply = self.exchange(post, &mut reading, on_delta).await;
        let received = reading.received;
        let mut reply = reply.and_then(|()| reading.end()).map_err(|mut fault| {
            if let Some(key) = self.api_key.as_ref().filter(|key| !key.0.is_empty()) {
                fault.reason = fault.reason.replace(&key.0, "[redacted]");
            }
            let error = ProviderError::new(&self.id, fault, received > 0);
            tracing::debug!(provider = self.id, received, %error, "model call failed");
            error
        })?;
        reply.message.asked = Some(asked);
        Ok(reply)
    }

    async fn exchange<D: Decode>(
        &self,
        post: Post,
        reading: &mut Reading<D>,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), Fault> {
        let mut headers = post.headers;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("idempotency-key", idempotency_header(&post.idempotency_key));
        headers.extend(self.extra_headers.clone());
        let request = self.client.post(post.url).headers(headers).body(post.body).send();
        let mut response = self.unless_stalled(request).await?;

        let status = response.status().as_u16();
        if status != 200 || !may_be_stream(&response) {
            return Err(self.refusal(response).await);
        }
        while !reading.done {
            match self.unless_stalled(response.chunk()).await? {
                Some(chunk) => reading.feed(&chunk, on_delta)?,
                None => return Ok(()),
            }
        }
        let _ = tokio::time::timeout(TAIL_WAIT, response.chunk()).await;
        Ok(())
    }

    /// Waits for `io` as long as a silence may last.
    async fn unless_stalled<T>(
        &self,
        io: impl Future<Output = reqwest::Result<T>>,
    ) -> Result<T, Fault> {
        match tokio::time::timeout(self.stall_timeout, io).await {
            Ok(result) => result.map_err(|error| self.io_fault(error)),
            Err(_) => {
                let reason = format!("no byte came for {:?}", self.stall_timeout);
                Err(Fault::network(reason))
            }
        }
    }

    fn io_fault(&self, error: reqwest::Error) -> Fault {
        let what = if error.is_connect() {
            format!("no connection to {}", self.base.origin().ascii_serialization())
        } else if error.is_body() || error.is_decode() {
            "the stream was cut".to_owned()
        } else {
            "the connection broke".to_owned()
        };
        Fault::network(format!("{what}: {}", innermost(&error.without_url())))
    }

    /// Reads what a response without an event stream says.
    async fn refusal(&self, mut response: Response) -> Fault {
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        while body.len() < REFUSAL_BYTES_MAX {
            match self.unless_stalled(response.chunk()).await {
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                // The status alone says enough.
                Ok(None) | Err(_) => break,
            }
        }
        let refusal = Refusal::from_body(&String::from_utf8_lossy(&body));
        let fault = refusal::fault(Some(status), &refusal);
        Fault { retry_after: retry_after.or(fault.retry_after), ..fault }
    }
}

/// A request, ready to go.
pub(crate) struct Post {
    pub url: Url,
    /// Who is asked; see [`Endpoint::asked`].
    pub asked: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
    pub idempotency_key: String,
}

fn idempotency_header(key: &str) -> HeaderValue {
    let hashed = || HeaderValue::from_str(&Hash::of(key).to_string());
    HeaderValue::from_str(key)
        .or_else(|_| hashed())
        .unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}

/// A server that ignores `stream` answers with one JSON object, and a wrong base URL with a page.
fn may_be_stream(response: &Response) -> bool {
    let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    !kind.starts_with("application/json") && !kind.starts_with("text/html")
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

/// The last cause of a chain is the one that says something: "connection refused".
fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    excerpt(&error.to_string())
}

/// Reads `retry-after-ms`, or `retry-after` as seconds or as a date. A date is compared with the
/// server's own `date`, so that it does not matter whose clock is wrong.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| Some(headers.get(name)?.to_str().ok()?.trim().to_owned());
    let number = |text: &str| text.parse::<f64>().ok().filter(|n| n.is_finite() && *n >= 0.0);
    if let Some(ms) = text(HeaderName::from_static("retry-after-ms")).and_then(|t| number(&t)) {
        return Some(bounded_wait(ms / 1_000.0));
    }
    let (text, server_date) = (text(RETRY_AFTER)?, text(DATE));
    if let Some(seconds) = number(&text) {
        return Some(bounded_wait(seconds));
    }
    let then = httpdate::parse_http_date(&text).ok()?;
    let now = httpdate::parse_http_date(&server_date?).ok()?;
    Some(then.duration_since(now).unwrap_or_default().min(RETRY_AFTER_MAX))
}

/// Returns `seconds` as a wait that a provider may impose. They are a number from 0.
pub(crate) fn bounded_wait(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds.min(RETRY_AFTER_MAX.as_secs_f64()))
}

/// The pure half of a wire: events in, a reply out.
pub(crate) trait Decode: Send {
    /// Takes one event. `Done` means that the answer is whole and nothing else is read.
    fn event(
        &mut self,
        event: &Event,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, Fault>;

    /// The stream has ended: returns the answer if it is whole. `received` bytes had come.
    fn end(self, received: usize) -> Result<Reply, Fault>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Done,
}

/// Bytes of one stream on their way into a decoder. No clock and no socket, so tests feed it.
pub(crate) struct Reading<D> {
    decode: D,
    parser: Parser,
    bytes_max: usize,
    received: usize,
    done: bool,
}

impl<D: Decode> Reading<D> {
    pub fn new(decode: D, bytes_max: usize) -> Reading<D> {
        Reading { decode, parser: Parser::default(), bytes_max, received: 0, done: false }
    }

    pub fn feed(
        &mut self,
        chunk: &[u8],
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), Fault> {
        self.received = self.received.saturating_add(chunk.len());
        if self.received > self.bytes_max {
            let reason = format!("it has more than {} bytes", self.bytes_max);
            return Err(Fault::invalid_reply(reason));
        }
        let mut events = Vec::new();
        let parsed = self.parser.feed(chunk, &mut events);
        for event in &events {
            if self.done {
                return Ok(());
            }
            self.done = self.decode.event(event, on_delta)? == Progress::Done;
        }
        if self.done { Ok(()) } else { parsed }
    }

    pub fn end(self) -> Result<Reply, Fault> {
        self.decode.end(self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn retry_after_in_every_form() {
        #[rustfmt::skip]
        let table = [
            ("retry-after",    "7",                             Some(7_000)),
            ("retry-after",    "1.5",                           Some(1_500)),
            ("retry-after",    "Sat, 21 Nov 2026 06:00:30 GMT", Some(30_000)),
            ("retry-after",    "Sat, 21 Nov 2026 05:00:00 GMT", Some(0)),
            ("retry-after",    "1e300",                         Some(86_400_000)),
            ("retry-after-ms", "250",                           Some(250)),
            ("retry-after",    "-1",                            None),
            ("retry-after",    "NaN",                           None),
            ("retry-after",    "soon",                          None),
        ];
        for (name, value, ms) in table {
            let mut headers = headers(name, value);
            headers.insert(DATE, HeaderValue::from_static("Sat, 21 Nov 2026 06:00:00 GMT"));
            let expected = ms.map(Duration::from_millis);
            assert_eq!(retry_after(&headers), expected, "{name}: {value}");
        }
        let undated = headers("retry-after", "Sat, 21 Nov 2026 06:00:30 GMT");
        assert_eq!(retry_after(&undated), None);
    }

    #[test]
    fn a_bad_configuration_is_refused_without_its_secrets() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for url in ["", "example.org", "file:///x", "http://", "ftp://u:hidden@h/"] {
            let error = Endpoint::new(HttpConfig::new("work", url)).unwrap_err();
            assert_eq!(error, BadEndpoint::BaseUrl { id: "work".to_owned() }, "{url:?}");
        }
        let config = HttpConfig::new("work", "http://u:hidden@h/").api_key(ApiKey::new("hid\0den"));
        assert!(!format!("{config:?}").contains("hid"));
        let error = Endpoint::new(config).unwrap_err();
        assert!(!format!("{error:?} {error}").contains("hid\0den"));
    }

    #[test]
    fn a_key_never_prints() {
        let key = ApiKey::new(" sk-secret\n");
        assert_eq!(format!("{key} {key:?}"), "[redacted] [redacted]");
    }

    #[test]
    fn a_path_is_appended_to_any_base() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        for (base, expected) in [
            ("http://h", "http://h/v1/messages"),
            ("http://h/", "http://h/v1/messages"),
            ("http://h/a/?k=v", "http://h/a/v1/messages?k=v"),
        ] {
            let endpoint = Endpoint::new(HttpConfig::new("w", base)).unwrap();
            assert_eq!(endpoint.url(&["v1", "messages"]).as_str(), expected);
        }
    }
}
