//! `chat.send`, `chat.history`, `chat.abort`

use machine::effect::{Accepted, Stopped};
use machine::event::Inbound;
use machine::queue::QueueMode;
use machine::rows::InboxKind;
use machine::{Answer, Event};
use protocol::ErrorShape;
use protocol::chat::{
    self, ChatAbortParams, ChatAbortResult, ChatHistoryParams, ChatHistoryResult, ChatSendParams,
    ChatSendResult, PendingInputs, SendStatus,
};
use protocol::message::{Block, ChatMessage};
use serde_json::Value;
use store::StoreError;
use store::query::{Query, ask};
use types::{RunId, SessionKey};

use crate::ending::{self, Sight, Subject};
use crate::gateway::{Gateway, unreadable};
use crate::refusal::{not_submitted, refused, unexpected};
use crate::view;

/// Where answers to a client go: back to the operator, whichever of his programs asks. One text
/// for all of them, so that what he writes in one program steers the run that he began in another.
const ORIGIN: &str = r#"{"channel":"gateway","peer":"operator"}"#;

/// Who owns the sessions that clients make.
const OWNER: &str = "operator";

/// Text of one page of history, in bytes: far below the frame limit, and enough for any screen.
const HISTORY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a client wants to say.
#[derive(Clone, Debug, Default)]
pub struct Words {
    pub body: String,
    pub key: String,
    pub mode: Option<chat::QueueMode>,
    pub model: Option<String>,
    pub label: Option<String>,
    pub timeout_ms: Option<u64>,
}

/// Puts a message into a session. It is durable when this returns.
pub async fn submit(
    gateway: &Gateway,
    session: SessionKey,
    words: Words,
) -> Result<Accepted, ErrorShape> {
    let inbound = Inbound {
        session,
        kind: InboxKind::User,
        body: words.body,
        idem_key: words.key.clone(),
        origin: ORIGIN.to_owned(),
        owner: OWNER.to_owned(),
        mode: words.mode.map(queue_mode),
        model: words.model,
        label: words.label,
        // Zero is no bound: what OpenClaw's clients mean by it, and so does the machine.
        timeout_ms: words.timeout_ms.map(clamp_ms),
        sender: None,
        hops: 0,
    };
    match gateway.handle.submit(Event::MessageReceived(inbound)).await {
        Ok(Answer::Accepted(accepted)) => {
            gateway.keys.remember(&words.key, &accepted.session);
            Ok(accepted)
        }
        Ok(Answer::Refused(refusal)) => Err(refused(&refusal)),
        Ok(answer) => Err(unexpected(&answer)),
        Err(error) => Err(not_submitted(&error)),
    }
}

fn queue_mode(mode: chat::QueueMode) -> QueueMode {
    match mode {
        chat::QueueMode::Steer => QueueMode::Steer,
        chat::QueueMode::Followup => QueueMode::Followup,
        chat::QueueMode::Collect => QueueMode::Collect,
        chat::QueueMode::Interrupt => QueueMode::Interrupt,
    }
}

fn clamp_ms(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

/// `chat.send`. The word `/stop` alone stops what runs; it is no message.
pub async fn send(gateway: &Gateway, params: ChatSendParams) -> Result<Value, ErrorShape> {
    let session = params.session.resolve(&gateway.info.default_agent);
    if params.message.trim() == "/stop" {
        let stopped = stop(gateway, session, None).await?;
        return Ok(serde_json::to_value(stopped).unwrap_or_default());
    }
    let key = params.idempotency_key.clone();
    let words = Words {
        body: params.message,
        key: params.idempotency_key,
        mode: params.queue_mode,
        timeout_ms: params.timeout_ms,
        ..Words::default()
    };
    let accepted = submit(gateway, session, words).await?;
    let status = if !accepted.duplicate {
        SendStatus::Started
    } else {
        let subject = Subject::Input { session: accepted.session, key: key.clone() };
        let over = ending::look(gateway, &subject).await?.is_over();
        if over { SendStatus::Ok } else { SendStatus::InFlight }
    };
    Ok(serde_json::to_value(ChatSendResult { run_id: key, status }).unwrap_or_default())
}

/// `chat.history`
pub async fn history(
    gateway: &Gateway,
    params: ChatHistoryParams,
) -> Result<ChatHistoryResult, ErrorShape> {
    let session = params.session.clone().resolve(&gateway.info.default_agent);
    ask(gateway.handle.store(), move |rows| page(rows, session, &params)).await.map_err(unreadable)
}

fn page(
    rows: &dyn Query,
    session_key: SessionKey,
    params: &ChatHistoryParams,
) -> Result<ChatHistoryResult, StoreError> {
    let Some(session) = rows.session(&session_key)? else {
        return Ok(ChatHistoryResult {
            session_key,
            session_id: None,
            messages: Vec::new(),
            pending_inputs: PendingInputs::default(),
            has_more: false,
            total_messages: 0,
        });
    };
    let before = match (params.offset, rows.history(session.session_id, None, 1)?.entries.last()) {
        (0, _) | (_, None) => None,
        // Numbers have no gaps: a transcript is only ever appended to.
        (offset, Some(last)) => {
            Some(last.seq.saturating_add(1).saturating_sub_unsigned(offset).max(0))
        }
    };
    let limit = usize::try_from(params.limit).unwrap_or(usize::MAX);
    let history = rows.history(session.session_id, before, limit)?;
    let mut messages = view::messages(rows, &history.entries)?;
    if let Some(chars) = params.max_chars {
        let chars = usize::try_from(chars).unwrap_or(usize::MAX);
        messages.iter_mut().for_each(|message| shorten(message, chars));
    }
    let cut = over_bytes(&messages);
    messages.drain(..cut);
    let total = u64::try_from(history.total).unwrap_or(0);
    let shown = messages.len() as u64;
    Ok(ChatHistoryResult {
        session_key,
        session_id: Some(session.session_id),
        has_more: params.offset.saturating_add(shown) < total,
        messages,
        pending_inputs: PendingInputs { items: Vec::new(), total: session.queued.into() },
        total_messages: total,
    })
}

fn shorten(message: &mut ChatMessage, chars: usize) {
    for block in &mut message.content {
        if let Block::Text { text } = block {
            *text = view::clip(text, chars);
        }
    }
}

/// How many of the oldest messages do not fit. The newest always does.
fn over_bytes(messages: &[ChatMessage]) -> usize {
    let mut bytes = 0;
    for (n, message) in messages.iter().enumerate().rev() {
        bytes += serde_json::to_string(message).map_or(0, |text| text.len());
        if bytes > HISTORY_BYTES_MAX {
            return (n + 1).min(messages.len() - 1);
        }
    }
    0
}

/// `chat.abort`. With a run id, only if that is what runs, at the moment of the stop too.
pub async fn abort(
    gateway: &Gateway,
    params: ChatAbortParams,
) -> Result<ChatAbortResult, ErrorShape> {
    let session = params.session.resolve(&gateway.info.default_agent);
    let Some(name) = params.run_id else { return stop(gateway, session, None).await };
    match open_run(gateway, &session, name).await? {
        Some(run) => stop(gateway, session, Some(run)).await,
        None => Ok(ChatAbortResult { ok: true, aborted: false, run_ids: Vec::new() }),
    }
}

/// The open run of a session, if it has this name or has taken in the message of this name.
async fn open_run(
    gateway: &Gateway,
    session: &SessionKey,
    name: String,
) -> Result<Option<RunId>, ErrorShape> {
    let row = gateway.handle.store().session(session).await.map_err(unreadable)?;
    let Some(open) = row.and_then(|session| session.open_run) else { return Ok(None) };
    if open.wire_id == name || open.id.to_string() == name {
        return Ok(Some(open.id));
    }
    let subject = Subject::Input { session: session.clone(), key: name };
    let sight = ending::look(gateway, &subject).await?;
    let taken_in = matches!(sight, Sight::Open(Some(run)) if run.facts.id == open.id);
    Ok(taken_in.then_some(open.id))
}

async fn stop(
    gateway: &Gateway,
    session: SessionKey,
    run: Option<RunId>,
) -> Result<ChatAbortResult, ErrorShape> {
    let event = Event::Stop { session, run, by: OWNER.to_owned() };
    let stopped = match gateway.handle.submit(event).await {
        Ok(Answer::Stopped(stopped)) => stopped,
        // There is nothing to stop in a session that does not exist.
        Ok(Answer::Refused(machine::Refusal::SessionNotFound(_))) => Stopped::default(),
        Ok(Answer::Refused(refusal)) => return Err(refused(&refusal)),
        Ok(answer) => return Err(unexpected(&answer)),
        Err(error) => return Err(not_submitted(&error)),
    };
    let runs = stopped.runs.clone();
    let names = ask(gateway.handle.store(), move |rows| names_of(rows, &runs));
    let aborted = !stopped.runs.is_empty() || !stopped.tasks.is_empty();
    Ok(ChatAbortResult { ok: true, aborted, run_ids: names.await.map_err(unreadable)? })
}

fn names_of(rows: &dyn Query, runs: &[RunId]) -> Result<Vec<String>, StoreError> {
    let name = |run: &RunId| Ok(rows.run(*run)?.map(|run| run.facts.wire_id));
    runs.iter().filter_map(|run| name(run).transpose()).collect()
}

#[cfg(test)]
mod tests {
    use protocol::message::ChatRole;
    use types::Timestamp;

    use super::*;

    #[test]
    fn a_page_that_is_too_large_loses_its_oldest() {
        let message =
            |bytes: usize| ChatMessage::text(ChatRole::User, "x".repeat(bytes), Timestamp(1));
        assert_eq!(over_bytes(&[]), 0);
        assert_eq!(over_bytes(&[message(10), message(10)]), 0);
        assert_eq!(over_bytes(&[message(HISTORY_BYTES_MAX), message(10), message(10)]), 1);
        assert_eq!(over_bytes(&[message(10), message(HISTORY_BYTES_MAX)]), 1);
    }
}
