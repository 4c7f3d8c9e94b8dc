//! `agents.list`: who can be talked to.

use serde::{Deserialize, Serialize};
use types::AgentId;

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
