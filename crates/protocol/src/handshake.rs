//! `connect`: the first call of every connection, and what may be said before it.

use std::fmt;

use serde::{Deserialize, Serialize};
use types::{Timestamp, word_enum};

use crate::PROTOCOL_VERSION;
use crate::error::{Details, ErrorShape};
use crate::fields::{Fields, InvalidField};
use crate::method::Params;
use crate::scope::{Scope, Scopes};

/// Lowest version that a probe may speak: it asks for `health` and leaves.
const PROBE_PROTOCOL_MIN: u32 = 3;

/// Payload of `connect.challenge`, sent when a connection opens. A device signs the nonce.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    pub nonce: String,
    pub ts: Timestamp,
}

word_enum! {
    /// What kind of program connects.
    pub enum ClientMode {
        Webchat = "webchat",
        Cli = "cli",
        Ui = "ui",
        Backend = "backend",
        Node = "node",
        Worker = "worker",
        Probe = "probe",
        Test = "test",
    }
}

word_enum! {
    /// On whose behalf a program connects.
    pub enum Role {
        /// For a person. The only role that is served.
        Operator = "operator",
        /// To lend a machine.
        Node = "node",
        /// To take runs.
        Worker = "worker",
    }
}

/// Who connects. OpenClaw keeps a closed list of ids; we take any, so that a client written for
/// Windlass needs no disguise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    pub id: String,
    pub version: String,
    pub platform: String,
    pub mode: ClientMode,
    pub display_name: Option<String>,
    pub device_family: Option<String>,
    pub instance_id: Option<String>,
}

/// The shared secret. Clients put it into either field, the web UI into both.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ConnectAuth {
    pub token: Option<String>,
    pub password: Option<String>,
}

impl fmt::Debug for ConnectAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |secret: &Option<String>| secret.as_ref().map(|_| "[redacted]");
        f.debug_struct("ConnectAuth")
            .field("token", &shown(&self.token))
            .field("password", &shown(&self.password))
            .finish()
    }
}

/// A device's signature of the challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: String,
    pub public_key: String,
    pub signature: String,
    pub signed_at: Timestamp,
    pub nonce: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectParams {
    pub min_protocol: u32,
    pub max_protocol: u32,
    pub client: Client,
    pub role: Role,
    /// Those asked for that we know. Asking for none is asking for none.
    pub scopes: Scopes,
    pub caps: Vec<String>,
    pub auth: ConnectAuth,
    pub device: Option<Device>,
}

impl ConnectParams {
    /// Returns the version to speak, or the refusal.
    pub fn negotiate(&self) -> Result<u32, ErrorShape> {
        let (min, max) = (self.min_protocol, self.max_protocol);
        let floor = match self.client.mode {
            ClientMode::Probe => PROBE_PROTOCOL_MIN,
            _ => PROTOCOL_VERSION,
        };
        if min <= PROTOCOL_VERSION && max >= floor && min <= max {
            return Ok(max.min(PROTOCOL_VERSION));
        }
        let message = format!(
            "protocol mismatch: the client speaks {min} to {max}, the gateway {PROTOCOL_VERSION}"
        );
        Err(ErrorShape::invalid_request(message).with(Details::ProtocolMismatch {
            client_min_protocol: min,
            client_max_protocol: max,
            expected_protocol: PROTOCOL_VERSION,
        }))
    }

    /// Does the client want events of this kind?
    pub fn wants(&self, kind: Cap) -> bool {
        self.caps.iter().any(|cap| cap == kind.as_str())
    }
}

word_enum! {
    /// Capabilities that decide which events a client gets. Others are nothing to us.
    pub enum Cap {
        /// `agent` events of tool calls, with arguments and results.
        ToolEvents = "tool-events",
        /// `agent` events of what models think. Ours.
        ThinkingEvents = "thinking-events",
    }
}

impl Params for ConnectParams {
    fn read(fields: &Fields<'_>) -> Result<ConnectParams, InvalidField> {
        let version = |name| {
            let version = fields.required_integer(name, 1..=u64::from(u32::MAX))?;
            Ok(u32::try_from(version).unwrap_or(u32::MAX))
        };
        let client = fields.object("client")?;
        let client = fields.required("client", "an object", client)?;
        let scopes = fields.strings("scopes")?;
        Ok(ConnectParams {
            min_protocol: version("minProtocol")?,
            max_protocol: version("maxProtocol")?,
            client: Client::read(&client)?,
            role: fields.word("role", Role::ALL)?.unwrap_or(Role::Operator),
            scopes: scopes.iter().filter_map(|scope| scope.parse::<Scope>().ok()).collect(),
            caps: fields.strings("caps")?,
            auth: fields.object("auth")?.map_or_else(|| Ok(ConnectAuth::default()), read_auth)?,
            device: fields.object("device")?.map(read_device).transpose()?,
        })
    }
}

impl Params for Client {
    fn read(fields: &Fields<'_>) -> Result<Client, InvalidField> {
        let mode = fields.word("mode", ClientMode::ALL)?;
        Ok(Client {
            id: fields.required_text("id")?,
            version: fields.required_text("version")?,
            platform: fields.required_text("platform")?,
            mode: fields.required("mode", "a client mode such as \"cli\"", mode)?,
            display_name: fields.text("displayName")?,
            device_family: fields.text("deviceFamily")?,
            instance_id: fields.text("instanceId")?,
        })
    }
}

fn read_auth(fields: Fields<'_>) -> Result<ConnectAuth, InvalidField> {
    Ok(ConnectAuth { token: fields.secret("token")?, password: fields.secret("password")? })
}

fn read_device(fields: Fields<'_>) -> Result<Device, InvalidField> {
    let signed_at = fields.required_integer("signedAt", 0..=i64::MAX as u64)?;
    Ok(Device {
        id: fields.required_text("id")?,
        public_key: fields.required_text("publicKey")?,
        signature: fields.required_text("signature")?,
        signed_at: Timestamp(i64::try_from(signed_at).unwrap_or(i64::MAX)),
        nonce: fields.required_text("nonce")?,
    })
}

/// What a client of ours sends. Reading is by [`Params`], which names the wrong field.
impl Serialize for ConnectParams {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut client = serde_json::json!({
            "id": self.client.id,
            "version": self.client.version,
            "platform": self.client.platform,
            "mode": self.client.mode,
        });
        for (name, value) in [
            ("displayName", &self.client.display_name),
            ("deviceFamily", &self.client.device_family),
            ("instanceId", &self.client.instance_id),
        ] {
            if let Some(value) = value {
                client[name] = value.clone().into();
            }
        }
        let mut params = serde_json::json!({
            "minProtocol": self.min_protocol,
            "maxProtocol": self.max_protocol,
            "client": client,
            "role": self.role,
            "scopes": self.scopes,
            "caps": self.caps,
        });
        for (name, value) in [("token", &self.auth.token), ("password", &self.auth.password)] {
            if let Some(value) = value {
                params["auth"][name] = value.clone().into();
            }
        }
        if let Some(device) = &self.device {
            params["device"] = serde_json::json!({
                "id": device.id,
                "publicKey": device.public_key,
                "signature": device.signature,
                "signedAt": device.signed_at,
                "nonce": device.nonce,
            });
        }
        params.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Call;

    fn params(mode: &str, min: u32, max: u32) -> Value {
        json!({
            "minProtocol": min,
            "maxProtocol": max,
            "client": {"id": "cli", "version": "2026.9.6", "platform": "linux", "mode": mode},
            "role": "operator",
            "scopes": ["operator.read", "operator.from.the.future"],
            "caps": ["tool-events"],
            "auth": {"token": "s3cret"},
            "device": {"id": "d", "publicKey": "k", "signature": "s", "signedAt": 1, "nonce": "n"},
            "pathEnv": "/bin",
        })
    }

    fn connect(mode: &str, min: u32, max: u32) -> ConnectParams {
        match Call::parse("connect", &params(mode, min, max)).unwrap() {
            Call::Connect(params) => params,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn version_that_is_spoken() {
        #[rustfmt::skip]
        let table = [
            // mode     min  max  spoken
            ("cli",     4,   4,   Some(4)),
            ("cli",     3,   4,   Some(4)),
            ("cli",     4,   9,   Some(4)),
            ("cli",     3,   3,   None),
            ("cli",     5,   9,   None),
            ("cli",     9,   1,   None),
            ("probe",   3,   3,   Some(3)),
            ("probe",   3,   4,   Some(4)),
            ("probe",   1,   2,   None),
        ];
        for (mode, min, max, spoken) in table {
            assert_eq!(connect(mode, min, max).negotiate().ok(), spoken, "{mode} {min} to {max}");
        }
        let refusal = connect("cli", 3, 3).negotiate().unwrap_err();
        assert_eq!(refusal.detail_code(), Some("PROTOCOL_MISMATCH"));
    }

    #[test]
    fn reads_what_it_writes_and_shows_no_secret() {
        let connect = connect("cli", 4, 4);
        let written = serde_json::to_value(&connect).unwrap();
        assert_eq!(Call::parse("connect", &written).unwrap(), Call::Connect(connect.clone()));
        assert!(connect.wants(Cap::ToolEvents) && connect.scopes.allow(Scope::Read));
        assert!(!format!("{connect:?}").contains("s3cret"));
    }
}
