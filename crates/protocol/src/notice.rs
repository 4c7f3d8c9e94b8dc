//! Events about what holds work up (a line that is long, a provider that refuses), and about
//! conversations that are compacted.

use serde::{Deserialize, Serialize};
use types::{AgentId, Card, SessionKey, Timestamp};

/// Payload of `queue.wait`: a run stands in line for longer than it should. Sent after 2, 10 and
/// 60 s.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueWait {
    pub run_id: String,
    pub session_key: SessionKey,
    pub agent_id: AgentId,
    pub lane: String,
    /// From 1.
    pub place: u32,
    pub waited_ms: u64,
    /// Sessions whose runs hold the slots.
    #[serde(default)]
    pub holders: Vec<SessionKey>,
    pub ts: Timestamp,
}

/// Payload of `progressCard.changed`: an agent shows its plan, or takes it down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProgressCardChanged {
    pub session_key: SessionKey,
    pub agent_id: AgentId,
    /// None if it is taken down.
    pub card: Option<Card>,
    pub ts: Timestamp,
}

/// Payload of `provider.gate`, and a row of `status`: how a provider's gate stands. It is one for
/// each model of an account, and holds for all sessions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderGate {
    /// `provider/account/model`; the model is `*` for the limits of the whole account.
    pub gate: String,
    /// `open`, `closed` or `probing`.
    pub state: String,
    /// `rate`, `quota` or `overload`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// When it is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes_at: Option<Timestamp>,
    /// The provider's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Runs that wait for it.
    #[serde(default)]
    pub waiting: u64,
    pub ts: Timestamp,
}

/// Payload of `session.operation`: a conversation is being compacted, or has been. What the model
/// is shown of it is smaller then; the transcript is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionOperation {
    /// The run that does it.
    pub operation_id: String,
    /// `compact`
    pub operation: String,
    /// `start` or `end`.
    pub phase: String,
    pub session_key: SessionKey,
    pub agent_id: AgentId,
    pub ts: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<bool>,
    /// Why, and what was left out, for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Ours: entries that the model is not shown any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Ours: tokens of a request, before and after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_before: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_after: Option<u64>,
}
