//! `hello-ok`: the answer to `connect`. Clients read from it what this gateway can do.

use serde::{Deserialize, Serialize};
use types::{AgentId, SessionKey, Timestamp};

use crate::frame::StateVersion;
use crate::handshake::Role;
use crate::health::Health;
use crate::scope::Scopes;
use crate::{Event, Method, PROTOCOL_VERSION};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "hello-ok")]
pub struct HelloOk {
    pub protocol: u32,
    pub server: Server,
    pub features: Features,
    pub snapshot: Snapshot,
    pub auth: HelloAuth,
    pub policy: Policy,
}

impl HelloOk {
    pub fn new(server: Server, features: Features, snapshot: Snapshot, auth: HelloAuth) -> HelloOk {
        let policy = Policy::default();
        HelloOk { protocol: PROTOCOL_VERSION, server, features, snapshot, auth, policy }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    pub version: String,
    /// Changes with every start of the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_id: Option<String>,
    pub conn_id: String,
}

/// What is really served: clients hide what is not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    pub methods: Vec<String>,
    pub events: Vec<String>,
}

impl Features {
    /// Lists `methods`, and every event of this crate.
    pub fn of(methods: &[Method]) -> Features {
        Features {
            methods: methods.iter().map(Method::to_string).collect(),
            events: Event::NAMES.iter().map(|&name| name.to_owned()).collect(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    pub presence: Vec<PresenceEntry>,
    pub health: Health,
    pub state_version: StateVersion,
    pub uptime_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_dir: Option<String>,
    pub session_defaults: SessionDefaults,
    /// `token` or `none`.
    pub auth_mode: String,
}

/// One connected program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PresenceEntry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    pub ts: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionDefaults {
    pub default_agent_id: AgentId,
    pub model_configured: bool,
    pub main_key: String,
    pub main_session_key: SessionKey,
    pub scope: String,
}

impl SessionDefaults {
    pub fn of(agent: AgentId, model_configured: bool) -> SessionDefaults {
        SessionDefaults {
            main_session_key: SessionKey::main(agent.clone()),
            default_agent_id: agent,
            model_configured,
            main_key: "main".to_owned(),
            scope: "per-sender".to_owned(),
        }
    }
}

/// What was granted, which may be less than was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelloAuth {
    pub role: Role,
    pub scopes: Scopes,
}

/// Limits that a client must keep to. The defaults are those of OpenClaw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Policy {
    /// Largest frame, in bytes.
    pub max_payload: u64,
    /// A connection that lets more than this pile up unread is closed, in bytes.
    pub max_buffered_bytes: u64,
    /// Clients hang up after twice this long without a frame.
    pub tick_interval_ms: u64,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { max_payload: 26_214_400, max_buffered_bytes: 52_428_800, tick_interval_ms: 30_000 }
    }
}
