//! `tasks.audit`: what lies or hangs, and the command that puts it right.

use serde::{Deserialize, Serialize};
use types::{FlowId, RunId, SessionKey, TaskId, Timestamp, word_enum};

use crate::fields::{Fields, InvalidField};
use crate::method::Params;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditParams {}

impl Params for AuditParams {
    fn read(_: &Fields<'_>) -> Result<AuditParams, InvalidField> {
        Ok(AuditParams {})
    }
}

/// Empty is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditResult {
    pub ts: Timestamp,
    pub findings: Vec<AuditFinding>,
}

word_enum! {
    pub enum AuditSeverity {
        /// A row lies or hangs.
        Error = "error",
        /// All is as it should be, and waits for a person.
        Warning = "warning",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditFinding {
    pub severity: AuditSeverity,
    /// What is wrong, in a word, such as `announce_missing`.
    pub fault: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow_id: Option<FlowId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_key: Option<SessionKey>,
    /// One sentence.
    pub what: String,
    /// The command that resolves it.
    pub fix: String,
}

/// A result has been delivered to whoever stands for its requester now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedeliverResult {
    pub status: String,
    pub task_id: TaskId,
    pub session_key: SessionKey,
}
