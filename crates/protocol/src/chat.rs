//! `chat.send`, `chat.history`, `chat.abort`, and the `chat` event.
//!
//! A run that a client started is known to it by the idempotency key that it sent. So a run id on
//! the wire is text, not a `RunId`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use types::{AgentId, FailureClass, SessionId, SessionKey, Timestamp, word_enum};

use crate::agent::RunPhase;
use crate::fields::{Fields, InvalidField, SessionRef};
use crate::message::{ChatMessage, WireUsage};
use crate::method::Params;
use crate::stop::StopReport;

word_enum! {
    /// What becomes of a message that arrives during a run.
    pub enum QueueMode {
        Steer = "steer",
        Followup = "followup",
        Collect = "collect",
        Interrupt = "interrupt",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatSendParams {
    pub session: SessionRef,
    pub message: String,
    /// Overrides the session's mode for this message.
    pub queue_mode: Option<QueueMode>,
    pub timeout_ms: Option<u64>,
    pub idempotency_key: String,
}

impl Params for ChatSendParams {
    fn read(fields: &Fields<'_>) -> Result<ChatSendParams, InvalidField> {
        fields.not_supported("attachments")?;
        Ok(ChatSendParams {
            session: fields.required_session("sessionKey")?,
            message: fields.required_text("message")?,
            queue_mode: fields.word("queueMode", QueueMode::ALL)?,
            timeout_ms: fields.integer("timeoutMs", 0..=u64::MAX)?,
            idempotency_key: fields.required_text("idempotencyKey")?,
        })
    }
}

word_enum! {
    pub enum SendStatus {
        /// Taken in: the message is stored, and a run has it or will.
        Started = "started",
        /// The same key came before, and its run is not over.
        InFlight = "in_flight",
        /// The same key came before, and its run is over.
        Ok = "ok",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatSendResult {
    /// The idempotency key of the request.
    pub run_id: String,
    pub status: SendStatus,
}

/// Most messages of one page.
pub const HISTORY_LIMIT_MAX: u64 = 1_000;
const HISTORY_LIMIT: u64 = 200;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatHistoryParams {
    pub session: SessionRef,
    /// An earlier transcript of the session; the present one if none.
    pub session_id: Option<SessionId>,
    /// At most so many messages, the newest.
    pub limit: u64,
    /// Newest messages to leave out.
    pub offset: u64,
    /// Longest text of one message, in characters.
    pub max_chars: Option<u64>,
    /// Only what came after: `deltaCursor` of an earlier answer.
    pub cursor: Option<Cursor>,
}

/// A place in a transcript: how many of its messages have been seen. Clients need not read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    pub session_id: SessionId,
    pub seen: u64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.session_id, self.seen)
    }
}

impl FromStr for Cursor {
    type Err = ParseCursorError;

    fn from_str(text: &str) -> Result<Cursor, ParseCursorError> {
        let invalid = || ParseCursorError(text.to_owned());
        let (session_id, seen) = text.split_once(':').ok_or_else(invalid)?;
        let session_id = session_id.parse().map_err(|_| invalid())?;
        Ok(Cursor { session_id, seen: seen.parse().map_err(|_| invalid())? })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a `deltaCursor`, got `{0}`")]
pub struct ParseCursorError(String);

types::serde_as_str!(Cursor);

impl Params for ChatHistoryParams {
    fn read(fields: &Fields<'_>) -> Result<ChatHistoryParams, InvalidField> {
        Ok(ChatHistoryParams {
            session: fields.required_session("sessionKey")?,
            session_id: fields.parsed("sessionId", "a session id: `ses_` and 32 hex digits")?,
            limit: fields.integer("limit", 1..=HISTORY_LIMIT_MAX)?.unwrap_or(HISTORY_LIMIT),
            offset: fields.integer("offset", 0..=u64::MAX)?.unwrap_or(0),
            max_chars: fields.integer("maxChars", 1..=500_000)?,
            cursor: fields.parsed("cursor", "the `deltaCursor` of an earlier answer")?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatHistoryResult {
    /// `delta` if these are the messages after the `cursor` of the request, oldest first; then
    /// `hasMore` says that there are still newer ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<HistoryKind>,
    pub session_key: SessionKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// Oldest first.
    pub messages: Vec<ChatMessage>,
    pub pending_inputs: PendingInputs,
    pub has_more: bool,
    pub total_messages: u64,
    /// Where these messages end: what comes later is asked for with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delta_cursor: Option<Cursor>,
}

word_enum! {
    pub enum HistoryKind {
        Delta = "delta",
    }
}

/// Messages that were taken in and that no run has seen yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PendingInputs {
    pub items: Vec<PendingInput>,
    pub total: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingInput {
    pub id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    pub message: ChatMessage,
    pub accepted_at: Timestamp,
    pub state: PendingState,
}

word_enum! {
    pub enum PendingState {
        Queued = "queued",
        Cancelled = "cancelled",
        Interrupted = "interrupted",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatAbortParams {
    pub session: SessionRef,
    /// Only this run; without it, whatever runs in the session.
    pub run_id: Option<String>,
}

impl Params for ChatAbortParams {
    fn read(fields: &Fields<'_>) -> Result<ChatAbortParams, InvalidField> {
        Ok(ChatAbortParams {
            session: fields.required_session("sessionKey")?,
            run_id: fields.text("runId")?,
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatAbortResult {
    pub ok: bool,
    /// Was there anything to stop?
    pub aborted: bool,
    pub run_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "StopReport::is_empty")]
    pub stop: StopReport,
}

/// One step of an answer, as a person sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatEvent {
    pub run_id: String,
    pub session_key: SessionKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    /// The session that asked for the run, if it is a child's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spawned_by: Option<SessionKey>,
    /// Counts the events of this run.
    pub seq: u64,
    #[serde(flatten)]
    pub state: ChatState,
}

/// `Final`, `Aborted` and `Error` end a run; exactly one of them comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ChatState {
    /// What the run does before it says something.
    Status { phase: ChatPhase },
    Delta {
        /// All text so far.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<ChatMessage>,
        /// What is new.
        delta_text: String,
        /// `delta_text` takes the place of all that was shown.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        replace: bool,
    },
    Final {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<ChatMessage>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        usage: Option<WireUsage>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop_reason: Option<String>,
        /// The run waits for children; its answer comes with a later run.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        yielded: bool,
    },
    Aborted {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<ChatMessage>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_message: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop_reason: Option<String>,
    },
    Error {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<ChatMessage>,
        error_message: String,
        error_kind: ErrorKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error_detail: Option<ErrorDetail>,
    },
}

impl ChatState {
    /// Does the run end with this?
    pub fn is_terminal(&self) -> bool {
        !matches!(self, ChatState::Delta { .. } | ChatState::Status { .. })
    }
}

word_enum! {
    /// The phases of a run that OpenClaw's clients know.
    pub enum ChatPhase {
        PreparingContext = "preparing_context",
        MemoryFlushing = "memory_flushing",
        StartingModel = "starting_model",
    }
}

impl ChatPhase {
    /// None for one that only [`AgentEvent`](crate::agent::AgentEvent)s tell of.
    pub fn of(phase: RunPhase) -> Option<ChatPhase> {
        match phase {
            RunPhase::PreparingContext => Some(ChatPhase::PreparingContext),
            RunPhase::MemoryFlushing => Some(ChatPhase::MemoryFlushing),
            RunPhase::StartingModel => Some(ChatPhase::StartingModel),
            _ => None,
        }
    }
}

word_enum! {
    /// The few kinds of failure that clients tell apart.
    pub enum ErrorKind {
        Refusal = "refusal",
        Timeout = "timeout",
        RateLimit = "rate_limit",
        ContextLength = "context_length",
        Unknown = "unknown",
    }
}

impl From<FailureClass> for ErrorKind {
    fn from(class: FailureClass) -> ErrorKind {
        match class {
            FailureClass::RateLimit | FailureClass::Quota => ErrorKind::RateLimit,
            FailureClass::Overflow => ErrorKind::ContextLength,
            FailureClass::Overload
            | FailureClass::Network
            | FailureClass::InvalidReply
            | FailureClass::Auth
            | FailureClass::BadRequest
            | FailureClass::UnknownModel
            | FailureClass::WrongModel
            | FailureClass::Budget
            | FailureClass::Internal => ErrorKind::Unknown,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorDetail {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The word of a [`FailureClass`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failover_reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_status: Option<u16>,
}
