//! Events of our own about what holds work up: a line that is long, and a provider that refuses.

use serde::{Deserialize, Serialize};
use types::{AgentId, SessionKey, Timestamp};

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
