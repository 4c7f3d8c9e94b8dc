//! `sessions.message`: how far one message has come; and what a session that waits is waiting for.

use serde::{Deserialize, Serialize};
use types::{MessageId, RunId, SessionKey, TaskId, Timestamp};

use crate::fields::{Fields, InvalidField};
use crate::method::Params;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageParams {
    pub message: MessageId,
}

impl Params for MessageParams {
    fn read(fields: &Fields<'_>) -> Result<MessageParams, InvalidField> {
        let expected = "a message id: `msg_` and 32 hex digits";
        let message = fields.parsed("messageId", expected)?;
        Ok(MessageParams { message: fields.required("messageId", expected, message)? })
    }
}

/// A message, and where it is now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageResult {
    pub message_id: MessageId,
    /// In whose inbox, or transcript, it is.
    pub session_key: SessionKey,
    /// `accepted`, `delivered`, `started`, `replied` or `failed`: as in the receipt of
    /// `sessions_send`.
    pub state: String,
    /// What it is, such as `user`, `agent` or `announce`.
    pub kind: String,
    /// What became of its row, such as `dropped` or `dead`: why it has failed.
    pub inbox: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender_session_key: Option<SessionKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// The run that has taken it in, or was made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// How that run has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    pub accepted_at: Timestamp,
    /// When it was taken in, or given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_at: Option<Timestamp>,
    /// The answer, if there is one: its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
}

/// What a session that waits is waiting for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitsFor {
    /// `children`, `reply`, `retry`, `gate` or `budget`.
    pub kind: String,
    /// How many of the tasks have to end.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub need: u32,
    /// Tasks whose end it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub task_ids: Vec<TaskId>,
    /// Messages whose answer it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub message_ids: Vec<MessageId>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}
