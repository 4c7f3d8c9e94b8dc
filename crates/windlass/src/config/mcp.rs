//! `mcp`: servers whose tools agents use beside those of the gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use types::word_enum;

use super::document::Value;
use super::secret::Secret;
use super::section::Section;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mcp {
    /// How long a server is kept that nobody calls; zero is for ever.
    pub session_idle_ttl_ms: u64,
    pub servers: BTreeMap<String, McpServer>,
}

/// `mcp.servers.<name>`
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct McpServer {
    pub enabled: bool,
    pub transport: Transport,
    /// Of `stdio`.
    pub command: Option<String>,
    pub args: Vec<String>,
    /// Beside the few variables that every process needs.
    pub env: BTreeMap<String, Secret>,
    pub cwd: Option<PathBuf>,
    /// Of `streamable-http`.
    pub url: Option<String>,
    /// Sent with every request.
    pub headers: BTreeMap<String, Secret>,
    /// How long it may take to start, to greet and to tell its tools.
    pub connection_timeout_ms: u64,
    pub request_timeout_ms: u64,
    /// May several calls be out at one time?
    pub supports_parallel_tool_calls: bool,
    pub tool_filter: ToolFilter,
    /// Is it believed what it says of its tools: that one changes nothing, or may be repeated?
    pub trusted: bool,
}

word_enum! {
    /// How a server is spoken to.
    pub enum Transport {
        /// A process of the gateway's.
        Stdio = "stdio",
        StreamableHttp = "streamable-http",
    }
}

/// Which of its tools are offered, by its own names; `*` stands for any text.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ToolFilter {
    /// All if there is none.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
}

/// As long as OpenClaw keeps one.
const IDLE_MS: u64 = 600_000;

const CONNECT_MS: u64 = 30_000;
const REQUEST_MS: u64 = 60_000;

/// A server that needs longer does not come, and a call is better begun than waited for.
const CONNECT_MS_MAX: u64 = 600_000;
const REQUEST_MS_MAX: u64 = 86_400_000;

/// The name begins those of its tools, of which no more than 64 bytes are taken anywhere.
const NAME_BYTES_MAX: usize = 32;

impl Mcp {
    pub(super) fn read(s: &mut Section<'_>) -> Mcp {
        let session_idle_ttl_ms = s.integer("sessionIdleTtlMs", 0..=u64::MAX).unwrap_or(IDLE_MS);
        let mut servers = BTreeMap::new();
        s.section("servers", |s| {
            s.each(|name, s| {
                if !is_name(name) {
                    let message = format!(
                        "expected a name for its tools to begin with: a letter or digit, then up \
                         to {} of `a-z A-Z 0-9 _ -`, without `__`; got `{name}`",
                        NAME_BYTES_MAX - 1
                    );
                    s.cx.error(&s.spot(), message);
                }
                servers.extend(McpServer::read(s).map(|server| (name.to_owned(), server)));
            });
        });
        Mcp { session_idle_ttl_ms, servers }
    }
}

/// Can tools be named after it?
pub fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(fits)
        && !name.contains("__")
}

impl McpServer {
    fn read(s: &mut Section<'_>) -> Option<McpServer> {
        let enabled = s.flag("enabled").unwrap_or(true);
        let (command, url) = (s.text("command"), s.text("url"));
        let transport = s.word("transport", Transport::ALL, &["sse"]);
        let transport = transport.unwrap_or(match url {
            Some(_) => Transport::StreamableHttp,
            None => Transport::Stdio,
        });
        let (right, wrong) = match transport {
            Transport::Stdio => ("command", ["url", "headers"].as_slice()),
            Transport::StreamableHttp => ("url", ["command", "args", "env", "cwd"].as_slice()),
        };
        if s.node(right).is_none() {
            let message = match s.node("transport") {
                Some(_) => format!("`{right}` is missing: `transport` is `{transport}`"),
                None => {
                    "`command` or `url` is missing: a program to run, or where it is".to_owned()
                }
            };
            s.cx.error(&s.spot(), message);
        }
        for key in wrong {
            if s.node(key).is_some() {
                let message = format!("does not go with `transport` `{transport}`");
                s.cx.error(&s.spot_of(key), message);
            }
        }
        let server = McpServer {
            enabled,
            transport,
            args: s.texts("args").unwrap_or_default(),
            env: secrets(s, "env", is_variable, "expected the name of a variable"),
            cwd: s.path("cwd"),
            headers: secrets(s, "headers", is_header, "expected the name of an HTTP header"),
            connection_timeout_ms: s
                .integer("connectionTimeoutMs", 100..=CONNECT_MS_MAX)
                .unwrap_or(CONNECT_MS),
            request_timeout_ms: s
                .integer("requestTimeoutMs", 100..=REQUEST_MS_MAX)
                .unwrap_or(REQUEST_MS),
            supports_parallel_tool_calls: s.flag("supportsParallelToolCalls").unwrap_or(true),
            tool_filter: s.section("toolFilter", |s| ToolFilter {
                include: s.texts("include").unwrap_or_default(),
                exclude: s.texts("exclude").unwrap_or_default(),
            }),
            trusted: s.flag("trusted").unwrap_or(false),
            command,
            url,
        };
        if server.url.as_deref().is_some_and(|url| !is_url(url)) {
            let message = "expected a URL that begins with `https://` or `http://`, with no \
                           password in it: that goes into `headers`";
            s.cx.error(&s.spot_of("url"), message);
        }
        Some(server)
    }
}

/// Named values of a section, each of which may be a secret.
fn secrets(
    s: &mut Section<'_>,
    key: &str,
    fits: fn(&str) -> bool,
    otherwise: &str,
) -> BTreeMap<String, Secret> {
    let mut values = BTreeMap::new();
    s.section(key, |s| {
        for name in s.keys() {
            if !fits(&name) {
                s.ignore(&name);
                s.cx.error(&s.spot_of(&name), otherwise);
                continue;
            }
            // OpenClaw takes numbers and flags here, too.
            let value = match s.node(&name).map(|node| &node.value) {
                Some(Value::Number(number)) => Some(Secret::new(number.to_string())),
                Some(Value::Bool(flag)) => Some(Secret::new(flag.to_string())),
                _ => s.secret(&name),
            };
            values.extend(value.map(|value| (name, value)));
        }
    });
    values
}

fn is_variable(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_header(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
}

fn is_url(url: &str) -> bool {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let host = rest.map(|rest| rest.split('/').next().unwrap_or(rest)).unwrap_or_default();
    !host.is_empty() && !host.contains('@') && !url.contains(char::is_whitespace)
}
