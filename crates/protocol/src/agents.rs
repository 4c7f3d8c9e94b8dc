//! `agents.*`: who can be talked to, how that is changed, and what an agent's folder says.

use serde::{Deserialize, Serialize};
use types::{AgentId, Hash, Timestamp};

use crate::fields::{Fields, InvalidField};
use crate::method::Params;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListParams {}

impl Params for ListParams {
    fn read(_: &Fields<'_>) -> Result<ListParams, InvalidField> {
        Ok(ListParams {})
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListResult {
    pub default_id: AgentId,
    pub main_key: String,
    pub scope: String,
    pub agents: Vec<AgentRow>,
}

impl ListResult {
    pub fn new(default_id: AgentId, agents: Vec<AgentRow>) -> ListResult {
        let (main_key, scope) = ("main".to_owned(), "per-sender".to_owned());
        ListResult { default_id, main_key, scope, agents }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AgentRow {
    pub id: AgentId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<AgentModel>,
}

/// Models by reference, `provider/model`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentModel {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
}

/// `agents.create`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateParams {
    /// What people call it; its id is made of this.
    pub name: String,
    pub workspace: Option<String>,
    pub model: Option<String>,
}

/// Fields of OpenClaw's that say how an agent looks: nothing here shows them.
const LOOKS: &[&str] = &["emoji", "avatar"];

impl Params for CreateParams {
    fn read(fields: &Fields<'_>) -> Result<CreateParams, InvalidField> {
        plain(fields)?;
        Ok(CreateParams {
            name: fields.required_text("name")?,
            workspace: fields.text("workspace")?,
            model: fields.text("model")?,
        })
    }
}

/// Refuses what nothing is done with; some clients send every field they know, empty.
fn plain(fields: &Fields<'_>) -> Result<(), InvalidField> {
    for name in LOOKS {
        if fields.text(name)?.is_some() {
            fields.not_supported(name)?;
        }
    }
    Ok(())
}

/// `agents.update`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpdateParams {
    pub agent: AgentId,
    pub name: Option<String>,
    pub workspace: Option<String>,
    /// Some none takes out what is said, so that the default holds.
    pub model: Option<Option<String>>,
}

impl Params for UpdateParams {
    fn read(fields: &Fields<'_>) -> Result<UpdateParams, InvalidField> {
        plain(fields)?;
        fields.not_supported("agentRuntime")?;
        let cleared = fields.is_null("model").then_some(None);
        Ok(UpdateParams {
            agent: fields.required_agent("agentId")?,
            name: fields.text("name")?,
            workspace: fields.text("workspace")?,
            model: fields.text("model")?.map(Some).or(cleared),
        })
    }
}

/// `agents.delete`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteParams {
    pub agent: AgentId,
}

impl Params for DeleteParams {
    fn read(fields: &Fields<'_>) -> Result<DeleteParams, InvalidField> {
        // Work of an agent is not thrown away with its entry.
        if fields.boolean("deleteFiles")? == Some(true) {
            let (field, expected) =
                ("deleteFiles".to_owned(), "false: the folder stays".to_owned());
            return Err(InvalidField { field, expected, got: Some("true".to_owned()) });
        }
        Ok(DeleteParams { agent: fields.required_agent("agentId")? })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateResult {
    pub ok: bool,
    pub agent_id: AgentId,
    pub name: String,
    pub workspace: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Ours: does it hold for new messages already?
    pub live: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateResult {
    pub ok: bool,
    pub agent_id: AgentId,
    pub live: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteResult {
    pub ok: bool,
    pub agent_id: AgentId,
    /// Bindings of channels that named it: there are none.
    pub removed_bindings: u64,
    pub live: bool,
    /// Its folder, which stays.
    pub workspace: String,
    /// Its sessions, which stay and can be read.
    pub sessions: u64,
    /// Those of them in which it is at work, a few.
    pub open: Vec<String>,
}

/// `agents.files.list`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesListParams {
    pub agent: AgentId,
}

impl Params for FilesListParams {
    fn read(fields: &Fields<'_>) -> Result<FilesListParams, InvalidField> {
        Ok(FilesListParams { agent: fields.required_agent("agentId")? })
    }
}

/// `agents.files.get`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesGetParams {
    pub agent: AgentId,
    pub name: String,
}

impl Params for FilesGetParams {
    fn read(fields: &Fields<'_>) -> Result<FilesGetParams, InvalidField> {
        let (agent, name) = (fields.required_agent("agentId")?, fields.required_text("name")?);
        Ok(FilesGetParams { agent, name })
    }
}

/// `agents.files.set`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilesSetParams {
    pub agent: AgentId,
    pub name: String,
    pub content: String,
    /// Only if the file is still that one.
    pub expected_hash: Option<Hash>,
}

impl Params for FilesSetParams {
    fn read(fields: &Fields<'_>) -> Result<FilesSetParams, InvalidField> {
        let content = fields.string("content")?;
        let hash = fields.string("expectedHash")?.map(|text| text.to_ascii_lowercase().parse());
        let expected = "64 hex digits, as `agents.files.get` has them";
        let expected_hash = match hash {
            None => None,
            Some(Ok(hash)) => Some(hash),
            Some(Err(_)) => fields.parsed("expectedHash", expected)?,
        };
        Ok(FilesSetParams {
            agent: fields.required_agent("agentId")?,
            name: fields.required_text("name")?,
            content: fields.required("content", "a string", content)?,
            expected_hash,
        })
    }
}

/// One file of a workspace that can be seen and written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentFile {
    pub name: String,
    pub path: String,
    pub missing: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at_ms: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<Hash>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesListResult {
    pub agent_id: AgentId,
    pub workspace: String,
    pub files: Vec<AgentFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesGetResult {
    pub agent_id: AgentId,
    pub workspace: String,
    pub file: AgentFile,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilesSetResult {
    pub ok: bool,
    pub agent_id: AgentId,
    pub workspace: String,
    pub file: AgentFile,
}
