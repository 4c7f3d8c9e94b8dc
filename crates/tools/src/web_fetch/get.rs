//! One GET with its redirects, and no more of the answer than may be read.

use std::error::Error;
use std::sync::Arc;

use reqwest::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{StatusCode, Url};

use super::WebFetch;
use super::reach::{Guarded, Unreachable};

/// What came back.
#[derive(Debug)]
pub(super) struct Response {
    /// Where it came from in the end.
    pub url: Url,
    pub status: StatusCode,
    pub content_type: String,
    pub body: Vec<u8>,
    /// There was more than may be read.
    pub cut: bool,
}

/// What we can show, the best first.
const ACCEPTED: &str = "text/markdown, text/html;q=0.9, application/xhtml+xml;q=0.9, \
                        text/plain;q=0.8, application/json;q=0.8, */*;q=0.1";

pub(super) fn client(config: &WebFetch) -> Result<reqwest::Client, String> {
    // reqwest would panic.
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        return Err("this process has no TLS".to_owned());
    }
    reqwest::Client::builder()
        .user_agent(&config.user_agent)
        // Each hop is checked like the first.
        .redirect(reqwest::redirect::Policy::none())
        .dns_resolver(Arc::new(Guarded(config.reach.clone())))
        // A proxy would look names up itself.
        .no_proxy()
        .referer(false)
        .build()
        .map_err(|error| format!("no page can be fetched: {}", innermost(&error)))
}

pub(super) async fn get(
    client: &reqwest::Client,
    config: &WebFetch,
    mut url: Url,
) -> Result<Response, String> {
    for _ in 0..=config.redirects_max {
        config.reach.check(&url).map_err(|error| error.to_string())?;
        let request = client.get(url.clone()).header(ACCEPT, ACCEPTED);
        let response = request.send().await.map_err(|error| failed(&url, error))?;
        let status = response.status();
        let Some(next) = redirect(status, response.headers()) else {
            return read(url, response, config.response_bytes_max).await;
        };
        url = url.join(&next).map_err(|error| {
            format!("`{url}` redirects to what is not a URL: `{next}`: {error}")
        })?;
    }
    Err(format!(
        "more than {} redirects (tools.web.fetch.maxRedirects); the last one leads to `{url}`",
        config.redirects_max
    ))
}

fn redirect(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    let moved = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let next = headers.get(LOCATION).filter(|_| moved)?;
    Some(String::from_utf8_lossy(next.as_bytes()).into_owned())
}

async fn read(url: Url, mut response: reqwest::Response, max: u64) -> Result<Response, String> {
    let status = response.status();
    let header = |name| {
        let value = response.headers().get(name).map(|value| value.as_bytes().to_vec());
        value.map(|value| String::from_utf8_lossy(&value).trim().to_ascii_lowercase())
    };
    let encoding = header(CONTENT_ENCODING).filter(|encoding| encoding != "identity");
    if let Some(encoding) = encoding {
        return Err(format!(
            "`{url}` answers in the encoding `{encoding}`, which was not asked for"
        ));
    }
    let content_type = header(CONTENT_TYPE).unwrap_or_default();
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let (mut body, mut cut) = (Vec::new(), false);
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(&url, error))? {
        let room = max - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            cut = true;
            break;
        }
    }
    Ok(Response { url, status, content_type, body, cut })
}

fn failed(url: &Url, error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut source: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(unreachable) = cause.downcast_ref::<Unreachable>() {
            return unreachable.to_string();
        }
        source = cause.source();
    }
    format!("`{url}` cannot be fetched: {}", innermost(&error))
}

/// The last cause says what happened; those above it say where.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
