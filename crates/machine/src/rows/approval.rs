//! The rows of calls that a person has to allow, and of what was allowed for good.

use types::{AgentId, ApprovalId, RunId, SessionKey, Timestamp, word_enum};

word_enum! {
    /// What has become of a question.
    pub enum ApprovalState {
        /// Nobody has answered yet.
        Pending = "pending",
        Allowed = "allowed",
        Denied = "denied",
        /// Nobody has answered in time.
        Expired = "expired",
        /// The run that asked has ended.
        Cancelled = "cancelled",
    }
}

/// A call that waits, or has waited, until a person allows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    pub id: ApprovalId,
    pub run: RunId,
    pub step: u32,
    pub session_key: SessionKey,
    /// The head of its tree, where a person is.
    pub root_key: SessionKey,
    /// Who hears the answer of the run that asks.
    pub origin: String,
    /// The tool that is called.
    pub tool: String,
    /// The command, cut if it is long.
    pub command: String,
    /// What "always" would allow; empty if it is nothing more than this once.
    pub patterns: Vec<String>,
    pub state: ApprovalState,
    pub by: Option<String>,
    pub asked: Timestamp,
    pub expires: Timestamp,
    pub decided: Option<Timestamp>,
}

/// What a person has allowed an agent for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub agent: AgentId,
    /// As an entry of `tools.exec.allowlist`.
    pub pattern: String,
    pub by: String,
    pub at: Timestamp,
}
