//! `tools.effective`, what a session may do and why no more; and `tools.catalog`, what there is.

use serde::{Deserialize, Serialize};
use types::{Access, AgentId, EffectClass, SessionKey};

use crate::fields::{Fields, InvalidField, SessionRef};
use crate::method::Params;

/// Deepest place in a tree that can be asked about.
const DEPTH_MAX: u64 = 10;

/// Of a session; or of one that is not there, by agent and depth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveParams {
    pub session: Option<SessionRef>,
    pub agent: Option<AgentId>,
    /// Ours. Levels below a person's session.
    pub depth: u32,
    /// Ours.
    pub access: Access,
    /// Ours. The one that is configured if none.
    pub model: Option<String>,
}

impl Params for EffectiveParams {
    fn read(fields: &Fields<'_>) -> Result<EffectiveParams, InvalidField> {
        let depth = fields.integer("depth", 0..=DEPTH_MAX)?.unwrap_or(0);
        Ok(EffectiveParams {
            session: fields.session("sessionKey")?,
            agent: fields.agent("agentId")?,
            depth: u32::try_from(depth).unwrap_or(u32::MAX),
            access: fields.word("access", Access::ALL)?.unwrap_or(Access::Full),
            model: fields.text("model")?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveResult {
    pub agent_id: AgentId,
    /// The named set that it begins with.
    pub profile: String,
    pub groups: Vec<Group<EffectiveTool>>,
    /// Ours, as is all below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<SessionKey>,
    pub role: String,
    pub depth: u32,
    pub access: Access,
    /// The model that is asked.
    #[serde(default)]
    pub model: String,
    /// The tools that it does not have, and what took each of them away.
    pub removed: Vec<RemovedTool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group<T> {
    pub id: String,
    pub label: String,
    pub source: String,
    pub tools: Vec<T>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveTool {
    pub id: String,
    pub label: String,
    pub description: String,
    pub raw_description: String,
    pub source: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemovedTool {
    pub id: String,
    /// The layer: `profile`, `provider`, `tools`, `agent`, `role`, `subagents`, `requester`,
    /// `access`, or `episode`.
    pub rule: String,
    /// The configuration's key that decides it, if one does, and its value as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The same as a sentence.
    pub why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogParams {
    pub agent: Option<AgentId>,
}

impl Params for CatalogParams {
    fn read(fields: &Fields<'_>) -> Result<CatalogParams, InvalidField> {
        // There are no plugins: with and without them is the same.
        fields.boolean("includePlugins")?;
        Ok(CatalogParams { agent: fields.agent("agentId")? })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogResult {
    pub agent_id: AgentId,
    pub profiles: Vec<ProfileRow>,
    /// By the group that a policy can name them with.
    pub groups: Vec<Group<CatalogTool>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProfileRow {
    pub id: String,
    pub label: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CatalogTool {
    pub id: String,
    pub label: String,
    pub description: String,
    pub source: String,
    /// Profiles that have it.
    pub default_profiles: Vec<String>,
    /// Ours: what a call may do to the world.
    pub effect: EffectClass,
}
