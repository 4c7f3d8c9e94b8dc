//! Rows as clients are shown them. Words of status come from `machine::status`, by our clock.

use std::collections::HashMap;

use machine::person;
use machine::rows::{EntryKind, GateKey, Outcome};
use machine::run::Phase;
use protocol::message::{ChatMessage, ChatRole, Provenance, ProvenanceKind};
use protocol::receipt::WaitsFor;
use protocol::sessions::{Fallback, SessionKind, SessionRow, SessionStatus, SubagentRole};
use runtime::redact::redact;
use serde_json::Value;
use store::StoreError;
use store::query::Query;
use store::view::{EntryView, RunFacts, SessionView};
use types::{
    Announce, AssistantMessage, Card, RunId, Scope, SessionKey, Timestamp, ToolCall, ToolResult,
};

/// Children that a row names. More are counted, and listed by `spawnedBy`.
const CHILDREN_MAX: usize = 50;

/// Longest title or preview, in characters.
const PREVIEW_CHARS_MAX: usize = 120;

/// Reads one session as a row.
pub fn session_row(
    rows: &dyn Query,
    key: &SessionKey,
    now: Timestamp,
) -> Result<Option<SessionRow>, StoreError> {
    let Some(view) = rows.session(key)? else { return Ok(None) };
    let mut row = row(&view, now);
    name_children(rows, &view, &mut row)?;
    name_waits(rows, &view, &mut row)?;
    Ok(Some(row))
}

/// Makes the row of a session. What the configuration knows is added by the caller.
pub fn row(view: &SessionView, now: Timestamp) -> SessionRow {
    let (newest, words) = (view.newest_run(), view.words(now));
    let mut row = SessionRow::new(view.key.clone(), view.created, view.active);
    row.session_id = Some(view.session_id);
    row.kind = kind(&view.key);
    row.label = view.label.clone();
    row.status = newest.map(|run| session_status(run, now));
    row.last_run_id = newest.map(|run| run.wire_id.clone());
    row.last_run_error = newest.and_then(|run| run.error.clone());
    row.thinking_level = view.thinking.map(|level| level.to_string());
    row.fallback =
        newest.filter(|run| GateKey::base(&run.model) != run.asked).map(|run| Fallback {
            asked: run.asked.clone(),
            model: run.model.clone(),
            reason: run.switched.clone().unwrap_or_default(),
        });
    row.spawned_by = view.parent_key.clone();
    if view.depth > 0 {
        let leads = view.open_children > 0;
        row.spawn_depth = Some(view.depth);
        row.subagent_role =
            Some(if leads { SubagentRole::Orchestrator } else { SubagentRole::Leaf });
    }
    row.input_tokens = view.usage.prompt();
    row.output_tokens = view.usage.output;
    row.total_tokens = view.context_tokens;
    row.queued_inputs = view.queued.into();
    row.open_children = view.open_children;
    row.open_run_id = view.open_run.as_ref().map(|run| run.wire_id.clone());
    row.activity = Some(words.activity.to_string());
    row.lifecycle = Some(words.lifecycle.to_string());
    row.last_turn = Some(words.last_turn.to_string());
    row.task_status = Some(words.task_status.to_string());
    row.resumable = Some(words.resumable);
    row.note = Some(words.note.to_owned());
    row
}

fn kind(key: &SessionKey) -> SessionKind {
    match &key.scope {
        Scope::Other(rest) if rest.contains(":group:") || rest.contains(":channel:") => {
            SessionKind::Group
        }
        _ => SessionKind::Direct,
    }
}

fn session_status(run: &RunFacts, now: Timestamp) -> SessionStatus {
    match run.phase {
        Phase::Ended(outcome) => match outcome {
            Outcome::Completed => SessionStatus::Done,
            Outcome::NoResult | Outcome::Failed | Outcome::Interrupted => SessionStatus::Failed,
            Outcome::TimedOut => SessionStatus::Timeout,
            Outcome::Cancelled => SessionStatus::Killed,
        },
        phase if phase.holds_slot() && run.lease_live(now) => SessionStatus::Running,
        _ => SessionStatus::Queued,
    }
}

/// Names the children of a session that has any.
pub fn name_children(
    rows: &dyn Query,
    view: &SessionView,
    row: &mut SessionRow,
) -> Result<(), StoreError> {
    row.child_sessions = rows.child_keys(&view.key, CHILDREN_MAX)?;
    Ok(())
}

/// Names what a session waits for, if it waits.
pub fn name_waits(
    rows: &dyn Query,
    view: &SessionView,
    row: &mut SessionRow,
) -> Result<(), StoreError> {
    let Some(run) = &view.open_run else { return Ok(()) };
    row.waits_for = rows.wait(run)?.map(|wait| WaitsFor {
        kind: wait.kind.to_string(),
        need: wait.need,
        task_ids: wait.tasks,
        message_ids: wait.messages,
    });
    Ok(())
}

/// Which texts of the transcript a row is to show.
#[derive(Clone, Copy, Debug)]
pub struct Excerpts {
    /// The first message, as a title.
    pub title: bool,
    pub last_message: bool,
}

impl Excerpts {
    pub fn add(
        self,
        rows: &dyn Query,
        view: &SessionView,
        row: &mut SessionRow,
    ) -> Result<(), StoreError> {
        if self.title {
            let first = rows.entries(view.session_id, 0, 1)?;
            row.derived_title = first.first().map(|entry| preview(&message(entry)));
        }
        if self.last_message {
            let last = rows.history(view.session_id, None, 1)?.entries;
            row.last_message_preview = last.first().map(|entry| preview(&message(entry)));
        }
        Ok(())
    }
}

fn preview(message: &ChatMessage) -> String {
    let words = message.words();
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    clip(&line, PREVIEW_CHARS_MAX)
}

/// Cuts a text to so many characters, and says so.
pub fn clip(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// A transcript entry as a message. A body that does not parse is shown as it is: a reader should
/// see that something is there.
pub fn message(entry: &EntryView) -> ChatMessage {
    input(entry.kind, &entry.body, entry.at)
}

/// What has been said, or waits to be: words of this kind as a message.
pub fn input(kind: EntryKind, body: &str, at: Timestamp) -> ChatMessage {
    let text = |role| ChatMessage::text(role, body, at);
    let from = |kind| ChatMessage {
        provenance: Some(Provenance::of(kind)),
        ..ChatMessage::text(ChatRole::User, body, at)
    };
    match kind {
        EntryKind::User => text(ChatRole::User),
        EntryKind::Agent | EntryKind::Reply | EntryKind::Announce | EntryKind::Brief => {
            from(ProvenanceKind::InterSession)
        }
        EntryKind::Cron | EntryKind::Hook => from(ProvenanceKind::InternalSystem),
        EntryKind::System => ChatMessage {
            provenance: Some(Provenance::of(ProvenanceKind::InternalSystem)),
            ..text(ChatRole::System)
        },
        EntryKind::Assistant => match serde_json::from_str::<AssistantMessage>(body) {
            Ok(answer) => ChatMessage::assistant(&answer, at),
            Err(_) => text(ChatRole::Assistant),
        },
        EntryKind::ToolResult => match serde_json::from_str::<ToolResult>(body) {
            Ok(result) => ChatMessage::tool_result(&result, at),
            Err(_) => text(ChatRole::ToolResult),
        },
    }
}

/// What the gateway itself has answered to a person.
pub fn told(answer: &str, at: Timestamp) -> ChatMessage {
    ChatMessage {
        provenance: Some(Provenance::of(ProvenanceKind::InternalSystem)),
        ..ChatMessage::text(ChatRole::Assistant, answer, at)
    }
}

/// A result that was to go to a person, as he reads it: the child's own words, whole, and marked as
/// the child's.
pub fn for_person(
    rows: &dyn Query,
    kind: EntryKind,
    body: &str,
    at: Timestamp,
) -> Result<Option<ChatMessage>, StoreError> {
    let brings = matches!(kind, EntryKind::Announce | EntryKind::System);
    let Some(id) = person::told_of(body).filter(|_| brings) else { return Ok(None) };
    let Some(task) = rows.task(id)?.filter(|task| task.announce == Announce::Person) else {
        return Ok(None);
    };
    let text = rows.final_text(task.run_id)?;
    let name = task.task_name.as_deref().or(task.label.as_deref());
    let error = task.run.as_ref().and_then(|run| run.error.as_deref());
    let outcome = task.outcome.unwrap_or(Outcome::Interrupted);
    let words = person::words(name, outcome, error, text.as_deref());
    let source = task.session_key.clone();
    Ok(Some(ChatMessage {
        provenance: Some(Provenance::of_session(source)),
        ..ChatMessage::text(ChatRole::Assistant, words, at)
    }))
}

/// Entries as messages. The message that began a run carries the run's id, by which clients
/// recognise what they have sent.
pub fn messages(rows: &dyn Query, entries: &[EntryView]) -> Result<Vec<ChatMessage>, StoreError> {
    let mut wire_ids: HashMap<RunId, Option<String>> = HashMap::new();
    let mut messages = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut message = message(entry);
        if let Some(told) = for_person(rows, entry.kind, &entry.body, entry.at)? {
            message = told;
        }
        if let Some(told) = said_by_tool(rows, entry)? {
            message = told;
        }
        if entry.kind == EntryKind::User && !wire_ids.contains_key(&entry.run) {
            let wire_id = rows.run(entry.run)?.map(|run| run.facts.wire_id);
            message.idempotency_key = wire_id.as_ref().map(|id| format!("{id}:user"));
            wire_ids.insert(entry.run, wire_id);
        }
        messages.push(message);
    }
    Ok(messages)
}

/// The plan that a session shows.
pub fn progress_card(rows: &dyn Query, session: &SessionView) -> Result<Option<Card>, StoreError> {
    let Some(hash) = session.card else { return Ok(None) };
    Ok(rows.blob(hash)?.and_then(|body| serde_json::from_str(&body).ok()))
}

/// What an agent has written to its person by a tool call, which `entry` is the result of: its own
/// words, as it has said them.
fn said_by_tool(rows: &dyn Query, entry: &EntryView) -> Result<Option<ChatMessage>, StoreError> {
    if entry.kind != EntryKind::ToolResult {
        return Ok(None);
    }
    let Ok(result) = serde_json::from_str::<ToolResult>(&entry.body) else { return Ok(None) };
    if result.name != "message" || result.is_error {
        return Ok(None);
    }
    let before = rows.history(entry.session_id, Some(entry.seq), RECENT)?.entries;
    let answers = before.iter().rev().filter(|before| before.kind == EntryKind::Assistant);
    let calls = answers.filter_map(|answer| serde_json::from_str(&answer.body).ok());
    let mut calls = calls.flat_map(|answer: AssistantMessage| answer.calls);
    let call = calls.find(|call| call.id == result.call_id);
    let arguments: Option<Value> = call.and_then(|call| serde_json::from_str(&call.arguments).ok());
    let text = arguments.and_then(|arguments| arguments["message"].as_str().map(str::to_owned));
    Ok(text.map(|text| ChatMessage::text(ChatRole::Assistant, text, entry.at)))
}

/// Tool calls of the last answer of a run.
pub fn calls(rows: &dyn Query, run: RunId) -> Result<Vec<ToolCall>, StoreError> {
    let answer = rows.last_answer(run)?;
    let answer = answer.and_then(|body| serde_json::from_str::<AssistantMessage>(&body).ok());
    Ok(answer.map(|answer| answer.calls).unwrap_or_default())
}

/// Longest text in arguments that are shown live, in characters; the history has the whole.
const ARGUMENT_CHARS_MAX: usize = 2_000;

/// What a tool is called with, as people watch it: long texts are cut, and secrets are covered.
pub fn shown_arguments(call: &ToolCall) -> Value {
    let mut shown = serde_json::from_str(&call.arguments)
        .unwrap_or_else(|_| Value::String(call.arguments.clone()));
    cover(&mut shown);
    shown
}

fn cover(value: &mut Value) {
    match value {
        Value::String(text) => {
            let covered = redact(text);
            *text = clip(covered.as_deref().unwrap_or(text), ARGUMENT_CHARS_MAX);
        }
        Value::Array(items) => items.iter_mut().for_each(cover),
        Value::Object(map) => map.values_mut().for_each(cover),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Newest entries among which a result that has just come is looked for: as many as an answer may
/// have calls, and some that came in between.
const RECENT: usize = 128;

/// What a tool call has returned, cut to `chars`.
pub fn tool_result(
    rows: &dyn Query,
    run: RunId,
    call_id: &str,
    chars: usize,
) -> Result<Option<Value>, StoreError> {
    let Some(run) = rows.run(run)? else { return Ok(None) };
    let recent = rows.history(run.session_id, None, RECENT)?.entries;
    let entry = recent.iter().rev().find(|entry| {
        entry.kind == EntryKind::ToolResult && entry.call_id.as_deref() == Some(call_id)
    });
    Ok(entry.map(|entry| {
        let words = message(entry).words();
        let covered = redact(&words);
        clip(covered.as_deref().unwrap_or(&words), chars).into()
    }))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn entry(kind: EntryKind, body: &str) -> EntryView {
        EntryView {
            session_id: types::SessionId::new(Uuid::from_u128(1)),
            seq: 1,
            run: RunId::new(Uuid::from_u128(2)),
            step: None,
            kind,
            call_id: None,
            body: body.to_owned(),
            tokens: 1,
            at: Timestamp(1),
            silent: false,
        }
    }

    #[test]
    fn every_kind_of_entry_has_a_role_and_its_words() {
        let result = r#"{"call_id":"c","name":"read","text":"words","is_error":true}"#;
        let answer = r#"{"wire":"scripted","model":"m","text":"words","stop":"end","raw":{}}"#;
        for &kind in EntryKind::ALL {
            let (body, role) = match kind {
                EntryKind::Assistant => (answer, ChatRole::Assistant),
                EntryKind::ToolResult => (result, ChatRole::ToolResult),
                EntryKind::System => ("words", ChatRole::System),
                _ => ("words", ChatRole::User),
            };
            let message = message(&entry(kind, body));
            assert_eq!((message.role, message.words().as_str()), (role, "words"), "{kind}");
            let of_a_person =
                matches!(kind, EntryKind::User | EntryKind::Assistant | EntryKind::ToolResult);
            assert_eq!(message.provenance.is_none(), of_a_person, "{kind}");
        }
        assert_eq!(message(&entry(EntryKind::Assistant, "{")).words(), "{");
    }

    #[test]
    fn arguments_are_shown_without_secrets_and_not_whole() {
        let key = format!("ghp_{}", "a1".repeat(30));
        let of = |arguments: String| {
            let (id, name) = ("c".to_owned(), "exec".to_owned());
            shown_arguments(&ToolCall { id, name, arguments })
        };
        let long = "x".repeat(5_000);
        let shown = of(serde_json::json!({"env": {"T": [key, 1]}, "command": long}).to_string());
        assert_eq!(shown["env"]["T"], serde_json::json!(["[redacted]", 1]));
        assert_eq!(shown["command"].as_str().unwrap().chars().count(), ARGUMENT_CHARS_MAX + 1);
        assert_eq!(of(format!("broken {key}")), Value::String("broken [redacted]".to_owned()));
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(clip("äöü", 3), "äöü");
        assert_eq!(clip("äöü", 2), "äö…");
    }
}
