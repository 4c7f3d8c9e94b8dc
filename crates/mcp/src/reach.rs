//! How a server is reached: a process and its pipes, or streamable HTTP.

use std::collections::{BTreeMap, HashMap};

use reqwest::header::{HeaderName, HeaderValue};
use rmcp::service::{RoleClient, RunningService, serve_client};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;

use crate::config::{Reach, ServerConfig};
use crate::host::Host;
use crate::process::{Process, Words};

/// A connection after the greeting, and its process.
type Reached = (RunningService<RoleClient, Host>, Option<Process>);

/// Reaches a server. What it says beside the protocol goes to `words`, for whoever gives up
/// waiting.
pub(crate) async fn connect(
    config: &ServerConfig,
    mark: String,
    host: Host,
    words: &Words,
) -> Result<Reached, String> {
    match &config.reach {
        Reach::Stdio { command, cwd, .. } => {
            let started = Process::start(&config.name, &config.reach, mark, words);
            let (process, stdout, stdin) = started.map_err(|error| {
                let folder = cwd.as_ref().map(|cwd| format!(" in {}", cwd.display()));
                format!("`{command}` cannot be run{}: {error}", folder.unwrap_or_default())
            })?;
            match serve_client(host, (stdout, stdin)).await {
                Ok(running) => Ok((running, Some(process))),
                Err(error) => {
                    process.end().await;
                    Err(format!("it does not greet back: {error}{}", words.last()))
                }
            }
        }
        Reach::Http { url, headers } => {
            let transport = http(url, headers)?;
            let running = serve_client(host, transport).await;
            let running = running.map_err(|error| format!("{url} does not greet back: {error}"))?;
            Ok((running, None))
        }
    }
}

fn http(
    url: &str,
    headers: &BTreeMap<String, String>,
) -> Result<StreamableHttpClientTransport<reqwest::Client>, String> {
    let mut custom = HashMap::new();
    for (name, value) in headers {
        let parsed =
            HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(value).ok());
        // The value may be a secret.
        let (name, mut value) =
            parsed.ok_or_else(|| format!("the header `{name}` is not valid"))?;
        value.set_sensitive(true);
        custom.insert(name, value);
    }
    // A connection that is refused is told at once; a stream may be silent for as long as a call.
    let client = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| format!("no HTTP client: {error}"))?;
    let config = StreamableHttpClientTransportConfig::with_uri(url).custom_headers(custom);
    Ok(StreamableHttpClientTransport::with_client(client, config))
}
