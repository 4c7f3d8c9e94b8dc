//! `models.list` and `models.authStatus`: which models can be asked, and with which keys.

use serde::{Deserialize, Serialize};
use types::{Timestamp, word_enum};

use crate::fields::{Fields, InvalidField};
use crate::method::Params;

/// OpenClaw's `view` says how much of a catalogue is listed; here all of it is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListParams {
    /// Only those of this one.
    pub provider: Option<String>,
}

impl Params for ListParams {
    fn read(fields: &Fields<'_>) -> Result<ListParams, InvalidField> {
        Ok(ListParams { provider: fields.text("provider")? })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListResult {
    pub models: Vec<ModelRow>,
}

/// A model that can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelRow {
    /// The provider's own name of it.
    pub id: String,
    pub name: String,
    pub provider: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    pub context_window: u64,
    /// Can it be told how long to think?
    pub reasoning: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthStatusParams {}

impl Params for AuthStatusParams {
    fn read(_: &Fields<'_>) -> Result<AuthStatusParams, InvalidField> {
        Ok(AuthStatusParams {})
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthStatusResult {
    pub ts: Timestamp,
    pub providers: Vec<ProviderAuth>,
}

word_enum! {
    /// Whether a provider can be asked.
    pub enum AuthState {
        /// It has a key, which does not expire by itself.
        Static = "static",
        /// It has none, and wants one.
        Missing = "missing",
        /// It wants none.
        Ok = "ok",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderAuth {
    pub provider: String,
    pub display_name: String,
    pub status: AuthState,
    /// In the order in which they are asked.
    pub profiles: Vec<AuthProfile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthProfile {
    /// `<provider>:<account>`
    pub profile_id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub status: AuthState,
}
