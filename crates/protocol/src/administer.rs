//! `sessions.reset`, `.patch`, `.delete`, `.compact`, `.abort`, `.preview`, `.resolve`: what is
//! done to a conversation as a whole.

use serde::{Deserialize, Serialize};
use types::{AgentId, Footer, Reasoning, SessionId, SessionKey, Thinking, Timestamp, word_enum};

use crate::chat::QueueMode;
use crate::fields::{Fields, InvalidField, SessionRef};
use crate::method::Params;
use crate::sessions::SessionRow;
use crate::stop::StopReport;

word_enum! {
    pub enum ResetReason {
        New = "new",
        Reset = "reset",
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetParams {
    pub session: SessionRef,
    pub reason: ResetReason,
    /// Only if this is its transcript still.
    pub expected_session_id: Option<SessionId>,
}

impl Params for ResetParams {
    fn read(fields: &Fields<'_>) -> Result<ResetParams, InvalidField> {
        Ok(ResetParams {
            session: fields.required_session("key")?,
            reason: fields.word("reason", ResetReason::ALL)?.unwrap_or(ResetReason::Reset),
            expected_session_id: fields.parsed("expectedSessionId", SESSION_ID)?,
        })
    }
}

const SESSION_ID: &str = "a session id: `ses_` and 32 hex digits";

word_enum! {
    /// What somebody may say of a session's task.
    pub enum Declared {
        Completed = "completed",
        Failed = "failed",
        Cancelled = "cancelled",
        Unknown = "unknown",
    }
}

/// What is changed. `Some(None)` goes back to what is configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatchParams {
    pub session: SessionRef,
    pub expected_session_id: Option<SessionId>,
    pub label: Option<Option<String>>,
    pub model: Option<Option<String>>,
    pub archived: Option<bool>,
    /// Ours: what becomes of a message while the session is busy.
    pub queue_mode: Option<Option<QueueMode>>,
    pub thinking_level: Option<Option<Thinking>>,
    /// Ours: how the task of the session stands, until its next run opens.
    pub task_status: Option<Option<Declared>>,
    /// Whether what the model thinks is shown; `null` is `off`.
    pub reasoning: Option<Reasoning>,
    /// What is told under each answer about what it took; `null` is `off`.
    pub footer: Option<Footer>,
}

/// Fields of OpenClaw's `sessions.patch` that would have to be honoured. One that is ignored would
/// be a change that nobody makes.
const PATCH_UNSUPPORTED: [&str; 27] = [
    "autoLabel",
    "icon",
    "color",
    "category",
    "boardFace",
    "boardPresentation",
    "statusNote",
    "attention",
    "ttlMinutes",
    "pinned",
    "unread",
    "contextWindow",
    "fastMode",
    "toolOverrides",
    "verboseLevel",
    "traceLevel",
    "elevatedLevel",
    "execHost",
    "execSecurity",
    "execAsk",
    "execNode",
    "permissionMode",
    "sandboxMode",
    "agentRuntime",
    "sendPolicy",
    "groupActivation",
    "nativeRuntimeConsent",
];

impl Params for PatchParams {
    fn read(fields: &Fields<'_>) -> Result<PatchParams, InvalidField> {
        for name in PATCH_UNSUPPORTED {
            fields.not_supported(name)?;
        }
        // Here `null` is a value: the one that is configured.
        let cleared = |name: &str| fields.is_null(name);
        let text =
            |name: &str| Ok(fields.text(name)?.map(Some).or_else(|| cleared(name).then_some(None)));
        let mode = fields.word("queueMode", QueueMode::ALL)?.map(Some);
        let level = fields.word("thinkingLevel", Thinking::ALL)?.map(Some);
        let off = cleared("reasoningLevel").then_some(Reasoning::Off);
        let status = fields.word("taskStatus", Declared::ALL)?.map(Some);
        Ok(PatchParams {
            session: fields.required_session("key")?,
            expected_session_id: fields.parsed("expectedSessionId", SESSION_ID)?,
            label: text("label")?,
            model: text("model")?,
            thinking_level: level.or_else(|| cleared("thinkingLevel").then_some(None)),
            archived: fields.boolean("archived")?,
            queue_mode: mode.or_else(|| cleared("queueMode").then_some(None)),
            reasoning: fields.word("reasoningLevel", Reasoning::ALL)?.or(off),
            footer: footer(fields)?,
            task_status: status.or_else(|| cleared("taskStatus").then_some(None)),
        })
    }
}

/// `responseUsage`. OpenClaw's `on` is `tokens`.
fn footer(fields: &Fields<'_>) -> Result<Option<Footer>, InvalidField> {
    if fields.is_null("responseUsage") {
        return Ok(Some(Footer::Off));
    }
    match fields.string("responseUsage") {
        Ok(Some(word)) if word == "on" => Ok(Some(Footer::Tokens)),
        _ => fields.word("responseUsage", Footer::ALL),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteParams {
    pub session: SessionRef,
    pub expected_session_id: Option<SessionId>,
    /// Only if it is archived already.
    pub archived_only: bool,
}

impl Params for DeleteParams {
    fn read(fields: &Fields<'_>) -> Result<DeleteParams, InvalidField> {
        Ok(DeleteParams {
            session: fields.required_session("key")?,
            expected_session_id: fields.parsed("expectedSessionId", SESSION_ID)?,
            archived_only: fields.boolean("archivedOnly")?.unwrap_or(false),
        })
    }
}

/// `sessions.compact`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactParams {
    pub session: SessionRef,
    /// Ours: what matters above all.
    pub hint: String,
}

impl Params for CompactParams {
    fn read(fields: &Fields<'_>) -> Result<CompactParams, InvalidField> {
        // OpenClaw cuts the transcript to so many lines. Ours is never cut.
        fields.not_supported("maxLines")?;
        Ok(CompactParams {
            session: fields.required_session("key")?,
            hint: fields.text("hint")?.unwrap_or_default(),
        })
    }
}

/// The order was taken; it is carried out when the session's run is at a step, and said by
/// `session.operation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CompactResult {
    pub ok: bool,
    pub key: SessionKey,
    /// For a person: how large the conversation is, and when it is done.
    pub note: String,
}

/// What came of a reset or a patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChangedResult {
    pub ok: bool,
    pub key: SessionKey,
    /// Names its transcript from now on.
    pub session_id: SessionId,
    /// Runs that were stopped by it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub run_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<SessionRow>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteResult {
    pub ok: bool,
    pub key: SessionKey,
    /// Was it there?
    pub deleted: bool,
    /// Files into which transcripts were put: none, they stay in the database.
    pub archived: Vec<String>,
}

/// `sessions.abort`: a session, or a run wherever it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbortParams {
    pub session: Option<SessionRef>,
    pub run_id: Option<String>,
}

impl Params for AbortParams {
    fn read(fields: &Fields<'_>) -> Result<AbortParams, InvalidField> {
        let (session, run_id) = (fields.session("key")?, fields.text("runId")?);
        if session.is_none() && run_id.is_none() {
            fields.required("key", "a session key, or `runId`", None::<SessionRef>)?;
        }
        Ok(AbortParams { session, run_id })
    }
}

word_enum! {
    pub enum AbortStatus {
        Aborted = "aborted",
        NoActiveRun = "no-active-run",
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AbortResult {
    pub ok: bool,
    pub status: AbortStatus,
    pub aborted_run_id: Option<String>,
    pub run_ids: Vec<String>,
    #[serde(default, skip_serializing_if = "StopReport::is_empty")]
    pub stop: StopReport,
}

/// Sessions of one preview, items of each, and characters of an item.
const PREVIEW_KEYS_MAX: usize = 64;
const PREVIEW_ITEMS: u64 = 12;
const PREVIEW_ITEMS_MAX: u64 = 50;
const PREVIEW_CHARS: u64 = 240;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewParams {
    pub sessions: Vec<SessionRef>,
    pub limit: u64,
    pub max_chars: u64,
}

impl Params for PreviewParams {
    fn read(fields: &Fields<'_>) -> Result<PreviewParams, InvalidField> {
        let keys = fields.strings("keys")?;
        let expected = "1 to 64 session keys, such as `agent:main:main`";
        let wrong = |got: String| InvalidField {
            field: "keys".to_owned(),
            expected: expected.to_owned(),
            got: Some(got),
        };
        if keys.is_empty() || keys.len() > PREVIEW_KEYS_MAX {
            return Err(wrong(format!("{} keys", keys.len())));
        }
        let read = |key: &String| key.parse().map_err(|_| wrong(format!("{key:?}")));
        Ok(PreviewParams {
            sessions: keys.iter().map(read).collect::<Result<_, _>>()?,
            limit: fields.integer("limit", 1..=PREVIEW_ITEMS_MAX)?.unwrap_or(PREVIEW_ITEMS),
            max_chars: fields.integer("maxChars", 20..=100_000)?.unwrap_or(PREVIEW_CHARS),
        })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreviewResult {
    pub ts: Timestamp,
    pub previews: Vec<Preview>,
}

word_enum! {
    pub enum PreviewStatus {
        Ok = "ok",
        Empty = "empty",
        Missing = "missing",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preview {
    pub key: SessionKey,
    pub status: PreviewStatus,
    pub items: Vec<PreviewItem>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviewItem {
    /// `user`, `assistant`, `tool`, `system`
    pub role: String,
    pub text: String,
}

/// `sessions.resolve`: which session is meant?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolveParams {
    pub session: Option<SessionRef>,
    pub session_id: Option<SessionId>,
    pub label: Option<String>,
    pub agent: Option<AgentId>,
    /// One that is not there is no error.
    pub allow_missing: bool,
}

impl Params for ResolveParams {
    fn read(fields: &Fields<'_>) -> Result<ResolveParams, InvalidField> {
        let params = ResolveParams {
            session: fields.session("key")?,
            session_id: fields.parsed("sessionId", SESSION_ID)?,
            label: fields.text("label")?,
            agent: fields.agent("agentId")?,
            allow_missing: fields.boolean("allowMissing")?.unwrap_or(false),
        };
        if params.session.is_none() && params.session_id.is_none() && params.label.is_none() {
            fields.required("key", "a session key, `sessionId` or `label`", None::<SessionRef>)?;
        }
        Ok(params)
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolveResult {
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<SessionKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<AgentId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
}

/// One transcript of a session key: `/new` and `/reset` begin others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptRow {
    pub session_id: SessionId,
    /// Messages that it holds, answers to commands not counted.
    pub messages: i64,
    pub started_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// `new` or `reset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_reason: Option<String>,
}
