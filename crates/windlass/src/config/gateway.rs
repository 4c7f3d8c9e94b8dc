//! `gateway`: where it listens, and who may connect.

use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;
use types::word_enum;

use super::secret::Secret;
use super::section::Section;

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    pub port: u16,
    pub mode: Mode,
    pub bind: Bind,
    /// The address of `bind: custom`.
    pub custom_bind_host: Option<IpAddr>,
    pub auth: Auth,
    pub remote: Remote,
    pub control_ui: ControlUi,
    pub http: Http,
    pub reload: Reload,
}

word_enum! {
    /// Is the gateway this process, or one elsewhere that commands talk to?
    pub enum Mode {
        Local = "local",
        Remote = "remote",
    }
}

word_enum! {
    pub enum Bind {
        /// Only this machine.
        Loopback = "loopback",
        /// Every interface.
        Lan = "lan",
        Custom = "custom",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Auth {
    pub mode: AuthMode,
    /// The shared secret. With `mode: token` and none here, the gateway makes one.
    pub token: Option<Secret>,
}

word_enum! {
    pub enum AuthMode {
        Token = "token",
        None = "none",
    }
}

/// The gateway of `mode: remote`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remote {
    pub url: Option<String>,
    pub token: Option<Secret>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ControlUi {
    /// Web pages from elsewhere that may connect.
    pub allowed_origins: Vec<String>,
}

/// What becomes of a change of the file while the gateway runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reload {
    pub mode: ReloadMode,
}

word_enum! {
    pub enum ReloadMode {
        /// What can be applied is, and what needs a start is named.
        Hybrid = "hybrid",
        /// The file is read when somebody asks for it, and at the next start.
        Off = "off",
    }
}

/// What plain HTTP serves beside the protocol.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Http {
    pub endpoints: Endpoints,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// OpenAI's API, at `/v1/chat/completions`.
    pub chat_completions: Endpoint,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Endpoint {
    pub enabled: bool,
}

impl Http {
    fn read(s: &mut Section<'_>) -> Http {
        let endpoint =
            |s: &mut Section<'_>| Endpoint { enabled: s.flag("enabled").unwrap_or(false) };
        let endpoints = s.section("endpoints", |s| Endpoints {
            chat_completions: s.section("chatCompletions", endpoint),
        });
        Http { endpoints }
    }
}

/// OpenClaw's port, so that its clients find us.
const PORT: u16 = 18_789;

impl Gateway {
    pub(super) fn read(s: &mut Section<'_>) -> Gateway {
        let port = s.count("port", 1..=u32::from(u16::MAX));
        let bind = s.word("bind", Bind::ALL, &["auto", "tailnet"]).unwrap_or(Bind::Loopback);
        let gateway = Gateway {
            port: port.and_then(|port| u16::try_from(port).ok()).unwrap_or(PORT),
            mode: s.word("mode", Mode::ALL, &[]).unwrap_or(Mode::Local),
            bind,
            custom_bind_host: custom_host(s, bind),
            auth: s.section("auth", Auth::read),
            remote: s
                .section("remote", |s| Remote { url: s.text("url"), token: s.secret("token") }),
            control_ui: s.section("controlUi", |s| ControlUi { allowed_origins: origins(s) }),
            http: s.section("http", Http::read),
            reload: s.section("reload", |s| {
                let mode = s.word("mode", ReloadMode::ALL, &["hot", "restart"]);
                Reload { mode: mode.unwrap_or(ReloadMode::Hybrid) }
            }),
        };
        if gateway.mode == Mode::Remote && gateway.remote.url.is_none() {
            let spot = s.spot_of("mode");
            s.cx.error(&spot, "`remote` needs `gateway.remote.url`, such as `ws://host:18789`");
        }
        if gateway.auth.mode == AuthMode::None && !gateway.address().is_loopback() {
            let message = "anyone who reaches the port could run commands: other addresses than \
                           loopback need `gateway.auth.mode` to be `token`";
            s.cx.error(&s.spot_of("bind"), message);
        }
        gateway
    }

    /// The address at which this machine reaches it.
    pub fn near_address(&self) -> IpAddr {
        let address = self.address();
        if address.is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { address }
    }

    /// The address to listen at.
    pub fn address(&self) -> IpAddr {
        match (self.bind, self.custom_bind_host) {
            (Bind::Loopback, _) | (Bind::Custom, None) => Ipv4Addr::LOCALHOST.into(),
            (Bind::Lan, _) => Ipv4Addr::UNSPECIFIED.into(),
            (Bind::Custom, Some(host)) => host,
        }
    }
}

fn origins(s: &mut Section<'_>) -> Vec<String> {
    let origins = s.texts("allowedOrigins").unwrap_or_default();
    if let Some(odd) = origins.iter().find(|text| text.parse::<::gateway::Origin>().is_err()) {
        let spot = s.spot_of("allowedOrigins");
        let message = "expected origins such as `https://ui.example.org`, without a path and \
                       without `*`";
        s.cx.error(&spot, format!("{message}; got `{odd}`"));
    }
    origins
}

fn custom_host(s: &mut Section<'_>, bind: Bind) -> Option<IpAddr> {
    let text = s.text("customBindHost");
    let host = text.as_ref().and_then(|text| text.parse().ok());
    let spot = s.spot_of("customBindHost");
    match (&text, host) {
        (Some(text), None) => {
            let message = format!("expected an IP address such as `192.168.1.5`, got `{text}`");
            s.cx.error(&spot, message);
        }
        (None, _) if bind == Bind::Custom && s.node("customBindHost").is_none() => {
            s.cx.error(&s.spot_of("bind"), "`custom` needs `gateway.customBindHost`");
        }
        _ => {}
    }
    host
}

impl Auth {
    fn read(s: &mut Section<'_>) -> Auth {
        let mode = s.word("mode", AuthMode::ALL, &["password", "trusted-proxy"]);
        let token = s.secret("token");
        let token = token.or_else(|| s.cx.outside.var("WINDLASS_GATEWAY_TOKEN").map(Secret::new));
        Auth { mode: mode.unwrap_or(AuthMode::Token), token }
    }
}
