//! `tools.web`: what is fetched from the web, and from where it may be.

use serde::Serialize;

use super::section::Section;

/// `tools.web`
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Web {
    pub fetch: WebFetch,
}

/// `tools.web.fetch`
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WebFetch {
    pub enabled: bool,
    pub max_chars: u32,
    pub max_chars_cap: u32,
    pub max_response_bytes: u64,
    pub timeout_seconds: u64,
    pub max_redirects: u32,
    /// What a page is told of who asks; our name if none.
    pub user_agent: Option<String>,
    pub readability: bool,
    pub ssrf_policy: SsrfPolicy,
}

/// Which hosts may be reached beside those of the public web.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SsrfPolicy {
    pub dangerously_allow_private_network: bool,
    pub allow_rfc2544_benchmark_range: bool,
    pub allow_ipv6_unique_local_range: bool,
    pub allowed_hostnames: Vec<String>,
    pub blocked_hostnames: Vec<String>,
}

/// A page is held in memory, several times while it is read.
const RESPONSE_BYTES_MAX: u64 = 32 << 20;

/// A page that takes longer does not come.
const SECONDS_MAX: u64 = 600;

/// Browsers follow twenty.
const REDIRECTS_MAX: u32 = 20;

const CHARS_MIN: u32 = 100;
const CHARS_MAX: u32 = 1_000_000;

impl Web {
    pub(super) fn read(s: &mut Section<'_>) -> Web {
        Web { fetch: s.section("fetch", WebFetch::read) }
    }
}

impl WebFetch {
    fn read(s: &mut Section<'_>) -> WebFetch {
        let base = tools::web_fetch::WebFetch::default();
        WebFetch {
            enabled: s.flag("enabled").unwrap_or(base.enabled),
            max_chars: s.count("maxChars", CHARS_MIN..=CHARS_MAX).unwrap_or(base.chars),
            max_chars_cap: s.count("maxCharsCap", CHARS_MIN..=CHARS_MAX).unwrap_or(base.chars_max),
            max_response_bytes: s
                .integer("maxResponseBytes", 1_024..=RESPONSE_BYTES_MAX)
                .unwrap_or(base.response_bytes_max),
            timeout_seconds: s
                .integer("timeoutSeconds", 1..=SECONDS_MAX)
                .unwrap_or(base.timeout.as_secs()),
            max_redirects: s.count("maxRedirects", 0..=REDIRECTS_MAX).unwrap_or(base.redirects_max),
            user_agent: s.text("userAgent"),
            readability: s.flag("readability").unwrap_or(base.readability),
            ssrf_policy: s.section("ssrfPolicy", SsrfPolicy::read),
        }
    }
}

impl SsrfPolicy {
    fn read(s: &mut Section<'_>) -> SsrfPolicy {
        let mut flag = |key| s.flag(key).unwrap_or(false);
        SsrfPolicy {
            dangerously_allow_private_network: flag("dangerouslyAllowPrivateNetwork"),
            allow_rfc2544_benchmark_range: flag("allowRfc2544BenchmarkRange"),
            allow_ipv6_unique_local_range: flag("allowIpv6UniqueLocalRange"),
            allowed_hostnames: s.texts("allowedHostnames").unwrap_or_default(),
            blocked_hostnames: s.texts("blockedHostnames").unwrap_or_default(),
        }
    }
}
