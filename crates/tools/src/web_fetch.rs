//! `web_fetch`: a page of the web as text, by GET and nothing else.
//!
//! ```text
//! URL ─▶ may it be reached? ─▶ GET ─▶ redirect ─▶ (again) ─▶ bytes, bounded ─▶ markdown or text
//!        by name here, by address where the connection is made
//! ```
//!
//! What comes back is somebody else's words, and the result says so before it shows them.

mod get;
mod page;
mod reach;

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;
use serde_json::json;
use types::{EffectClass, ToolSpec, word_enum};

use crate::arguments::{Arguments, Refused};
use crate::{Tool, ToolContext, ToolOutput};
pub use reach::Reach;

const REFUSED: &[Refused] = &[
    ("method", "it only gets; for other requests use exec"),
    ("headers", "it sends none of yours; use exec"),
    ("body", "it only gets; for other requests use exec"),
    ("prompt", "it returns the page itself"),
    ("timeout", "the operator sets tools.web.fetch.timeoutSeconds"),
];

/// Longer URLs carry data, not addresses.
const URL_BYTES_MAX: usize = 8 * 1024;
const CHARS_MIN: u32 = 100;

/// Room for the lines around the text.
const AROUND_BYTES_MAX: usize = 12 * 1024;

/// `tools.web.fetch`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebFetch {
    pub enabled: bool,
    /// How much of a page is shown if the call says nothing.
    pub chars: u32,
    /// How much a call may ask for.
    pub chars_max: u32,
    /// How much of a response is read.
    pub response_bytes_max: u64,
    /// Of a whole fetch, redirects included.
    pub timeout: Duration,
    pub redirects_max: u32,
    pub user_agent: String,
    /// Shows the article of a page, and not what stands around it.
    pub readability: bool,
    pub reach: Reach,
}

impl Default for WebFetch {
    fn default() -> WebFetch {
        WebFetch {
            enabled: true,
            chars: 50_000,
            chars_max: 50_000,
            response_bytes_max: 2_000_000,
            timeout: Duration::from_secs(30),
            redirects_max: 3,
            user_agent: concat!(
                "Mozilla/5.0 (compatible; windlass/",
                env!("CARGO_PKG_VERSION"),
                ")"
            )
            .to_owned(),
            readability: true,
            reach: Reach::default(),
        }
    }
}

word_enum! {
    /// `extractMode`
    pub enum Mode {
        Markdown = "markdown",
        Text = "text",
    }
}

#[derive(Debug)]
pub(crate) struct Fetch {
    spec: ToolSpec,
    config: WebFetch,
    text_bytes_max: usize,
    /// Built with the first call: there may be no TLS before, and there may never be a call.
    client: OnceLock<Result<reqwest::Client, String>>,
}

/// A call, checked.
#[derive(Debug)]
struct Request {
    url: Url,
    mode: Mode,
    chars: usize,
}

impl Fetch {
    pub(crate) fn new(config: &crate::Config) -> Fetch {
        let web = config.web_fetch.clone();
        let spec = ToolSpec {
            name: "web_fetch".to_owned(),
            description: "Get a public web page as markdown or text; no JavaScript.".to_owned(),
            input_schema: json!({
                "type": "object",
                "properties": {
                    "url": { "type": "string" },
                    "extractMode": { "enum": ["markdown", "text"] },
                },
                "required": ["url"],
            }),
        };
        let text_bytes_max = config.result_bytes_max.saturating_sub(AROUND_BYTES_MAX);
        Fetch { spec, config: web, text_bytes_max, client: OnceLock::new() }
    }

    fn request(&self, arguments: &str) -> Result<Request, String> {
        let arguments = Arguments::parse(&self.spec, &["maxChars"], REFUSED, arguments)?;
        let url = arguments.message("url", URL_BYTES_MAX)?.trim();
        let url = Url::parse(url).map_err(|error| {
            format!("`url` is not a whole URL, such as https://example.org/page: {error}")
        })?;
        let mode = arguments.choice("extractMode")?.unwrap_or(Mode::Markdown);
        let chars = arguments.integer("maxChars", CHARS_MIN..=u32::MAX)?;
        // More than the operator allows is not an error: the result says where it was cut.
        let chars = chars.unwrap_or(self.config.chars).min(self.config.chars_max);
        Ok(Request { url, mode, chars: chars as usize })
    }

    async fn fetch(&self, request: Request) -> Result<ToolOutput, String> {
        let client = self.client.get_or_init(|| get::client(&self.config));
        let client = client.as_ref().map_err(Clone::clone)?;
        let response = get::get(client, &self.config, request.url).await?;
        let (mode, readability) = (request.mode, self.config.readability);
        let bounds = page::Bounds { chars_max: request.chars, bytes_max: self.text_bytes_max };
        let shown = page::shown(response, mode, readability, bounds).await?;
        Ok(ToolOutput { text: shown.text, is_error: shown.failed })
    }
}

#[async_trait]
impl Tool for Fetch {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn effect(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn call(&self, context: &ToolContext, arguments: &str) -> ToolOutput {
        let request = match self.request(arguments) {
            Ok(request) => request,
            Err(error) => return ToolOutput::error(error),
        };
        let seconds = self.config.timeout.as_secs_f64();
        let result = tokio::select! {
            result = tokio::time::timeout(self.config.timeout, self.fetch(request)) => result,
            () = context.cancel.cancelled() => return ToolOutput::error("the run was stopped"),
        };
        match result {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => ToolOutput::error(error),
            Err(_) => ToolOutput::error(format!(
                "the page did not come within {seconds} s (tools.web.fetch.timeoutSeconds)"
            )),
        }
    }
}

#[cfg(test)]
mod tests;
