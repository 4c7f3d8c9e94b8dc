//! `exec.approval.*`: calls that wait until a person allows them, and what was allowed for good.

use serde::{Deserialize, Serialize};
use types::{AgentId, SessionKey, Timestamp, word_enum};

use crate::fields::{Fields, InvalidField, SessionRef};
use crate::method::Params;

word_enum! {
    /// What a person says.
    pub enum Decision {
        AllowOnce = "allow-once",
        AllowAlways = "allow-always",
        Deny = "deny",
    }
}

/// A call that waits, or has waited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Approval {
    pub id: String,
    /// `pending`, `allowed`, `denied`, `expired`, `cancelled`
    pub state: String,
    pub agent_id: AgentId,
    pub session_key: SessionKey,
    /// The conversation that its work is for.
    pub root_session_key: SessionKey,
    pub run_id: String,
    pub tool: String,
    /// Cut if it is long.
    pub command: String,
    /// What `allow-always` allows from then on: entries of `tools.exec.allowlist`.
    pub always: Vec<String>,
    pub created_at_ms: Timestamp,
    pub expires_at_ms: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_at_ms: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<String>,
}

const LIST: u64 = 50;
const LIST_MAX: u64 = 1_000;

/// `exec.approval.list`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListParams {
    /// Those of the conversation that this one belongs to.
    pub session: Option<SessionRef>,
    /// Those that are over, too.
    pub all: bool,
    pub limit: u64,
}

impl Params for ListParams {
    fn read(fields: &Fields<'_>) -> Result<ListParams, InvalidField> {
        Ok(ListParams {
            session: fields.session("sessionKey")?,
            all: fields.boolean("all")?.unwrap_or(false),
            limit: fields.integer("limit", 1..=LIST_MAX)?.unwrap_or(LIST),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ListResult {
    /// Newest first.
    pub approvals: Vec<Approval>,
}

/// `exec.approval.get`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetParams {
    /// An id, or enough of its beginning.
    pub id: String,
}

impl Params for GetParams {
    fn read(fields: &Fields<'_>) -> Result<GetParams, InvalidField> {
        Ok(GetParams { id: fields.required_text("id")? })
    }
}

/// `exec.approval.resolve`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveParams {
    pub id: String,
    pub decision: Decision,
}

impl Params for ResolveParams {
    fn read(fields: &Fields<'_>) -> Result<ResolveParams, InvalidField> {
        Ok(ResolveParams {
            id: fields.required_text("id")?,
            decision: fields.required(
                "decision",
                "`allow-once`, `allow-always` or `deny`",
                fields.word("decision", Decision::ALL)?,
            )?,
        })
    }
}

/// What has become of the question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolveResult {
    pub ok: bool,
    /// It was answered or over before; this answer counts for nothing.
    pub already_resolved: bool,
    pub approval: Approval,
}

/// `exec.approval.grants.list`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantsParams;

impl Params for GrantsParams {
    fn read(_: &Fields<'_>) -> Result<GrantsParams, InvalidField> {
        Ok(GrantsParams)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Grant {
    pub agent_id: AgentId,
    pub pattern: String,
    pub by: String,
    pub at_ms: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GrantsResult {
    pub grants: Vec<Grant>,
}

/// `exec.approval.grants.revoke`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokeParams {
    pub agent_id: AgentId,
    pub pattern: String,
}

impl Params for RevokeParams {
    fn read(fields: &Fields<'_>) -> Result<RevokeParams, InvalidField> {
        Ok(RevokeParams {
            agent_id: fields.agent("agentId")?.unwrap_or_else(AgentId::main),
            pattern: fields.required_text("pattern")?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RevokeResult {
    pub ok: bool,
}
