//! `sessions.list`, `sessions.describe`, `sessions.message`

use std::sync::Arc;
use std::time::Duration;

use machine::Limits;
use machine::receipt::Receipt;
use protocol::ErrorShape;
use protocol::administer::TranscriptRow;
use protocol::card::GetParams;
use protocol::notice::ProgressCardChanged;
use protocol::receipt::{MessageParams, MessageResult};
use protocol::sessions::{
    DescribeParams, DescribeResult, ListParams, ListResult, ModelDefaults, SessionRow,
};
use store::StoreError;
use store::query::{Query, ask};
use store::view::{SessionFilter, SessionView, TranscriptView};
use types::{AgentId, ScopeKind, Timestamp};

use crate::gateway::{Gateway, unreadable};
use crate::methods::history::TRANSCRIPTS_MAX;
use crate::view::{self, Excerpts};

/// Longest beginning of an answer, in characters. The whole stands in the transcript.
const REPLY_CHARS_MAX: usize = 4_000;

/// `sessions.list`
pub async fn list(gateway: &Gateway, params: ListParams) -> Result<ListResult, ErrorShape> {
    let (now, limits) = (gateway.now(), Arc::clone(&gateway.handle.config().limits));
    let path = gateway.info.database.display().to_string();
    let agent = gateway.default_agent();
    ask(gateway.handle.store(), move |rows| page(rows, &limits, now, &agent, path, params))
        .await
        .map_err(unreadable)
}

fn page(
    rows: &dyn Query,
    limits: &Limits,
    now: Timestamp,
    default_agent: &AgentId,
    path: String,
    params: ListParams,
) -> Result<ListResult, StoreError> {
    let filter = filter(&params, now, default_agent);
    let total_count = rows.count_sessions(&filter)?;
    let excerpts = Excerpts {
        title: params.include_derived_titles,
        last_message: params.include_last_message,
    };
    let found = rows.sessions(&filter)?;
    let shown: Result<Vec<SessionRow>, StoreError> =
        found.iter().map(|view| full_row(rows, limits, now, view, excerpts)).collect();
    let sessions = shown?;
    let (offset, limit, count) = (params.offset, params.limit, sessions.len() as u64);
    let next = offset.saturating_add(count);
    let has_more = next < total_count;
    Ok(ListResult {
        ts: now,
        path,
        count,
        total_count,
        limit_applied: limit,
        has_more,
        next_offset: has_more.then_some(next),
        defaults: defaults(limits, default_agent),
        sessions,
    })
}

fn ago(now: Timestamp, minutes: u64) -> Timestamp {
    let ms = Duration::from_secs(minutes.saturating_mul(60)).as_millis();
    Timestamp(now.ms().saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX)))
}

fn filter(params: &ListParams, now: Timestamp, default_agent: &AgentId) -> SessionFilter {
    let whole = |count| usize::try_from(count).unwrap_or(usize::MAX);
    let search = params.search.as_deref().map(str::trim).filter(|search| !search.is_empty());
    SessionFilter {
        agent: params.agent.clone(),
        active_since: params.active_minutes.map(|minutes| ago(now, minutes)),
        parent: params.spawned_by.clone().map(|key| key.resolve(default_agent)),
        kinds: match params.exclude_subagents {
            true => SessionFilter::all_but(&[ScopeKind::Subagent]),
            false => Vec::new(),
        },
        search: search.map(str::to_owned),
        open_only: params.active_only,
        limit: whole(params.limit),
        offset: whole(params.offset),
        ..SessionFilter::default()
    }
}

pub fn full_row(
    rows: &dyn Query,
    limits: &Limits,
    now: Timestamp,
    view: &SessionView,
    excerpts: Excerpts,
) -> Result<SessionRow, StoreError> {
    let mut row = view::row(view, now);
    view::name_children(rows, view, &mut row)?;
    view::name_waits(rows, view, &mut row)?;
    excerpts.add(rows, view, &mut row)?;
    let of_agent = limits.agents.get(&view.agent).map(|agent| &agent.model);
    if let Some(reference) = view.model.as_ref().or(of_agent) {
        let ModelDefaults { model_provider, model, context_tokens } = model(limits, reference);
        (row.model_provider, row.model) = (model_provider, model);
        let told = view.told_window(reference, context_tokens);
        row.configured_context_tokens = context_tokens.filter(|_| told.is_some());
        row.context_tokens = told.or(context_tokens);
    }
    Ok(row)
}

fn model(limits: &Limits, reference: &str) -> ModelDefaults {
    let (provider, name) = reference.split_once('/').unwrap_or(("", reference));
    ModelDefaults {
        model_provider: (!provider.is_empty()).then(|| provider.to_owned()),
        model: Some(name.to_owned()),
        context_tokens: limits.models.get(reference).copied(),
    }
}

fn defaults(limits: &Limits, agent: &AgentId) -> ModelDefaults {
    let reference = limits.agents.get(agent).map(|agent| agent.model.as_str());
    reference.map_or_else(ModelDefaults::default, |reference| model(limits, reference))
}

/// `progressCard.get`: what the event says that tells of a change.
pub async fn card(gateway: &Gateway, params: GetParams) -> Result<ProgressCardChanged, ErrorShape> {
    let agent = params.agent.unwrap_or_else(|| gateway.default_agent());
    let (key, ts) = (params.session.resolve(&agent), gateway.now());
    let session = key.clone();
    let read = ask(gateway.handle.store(), move |rows| {
        let Some(session) = rows.session(&session)? else { return Ok(None) };
        view::progress_card(rows, &session).map(Some)
    });
    let Some(card) = read.await.map_err(unreadable)? else {
        return Err(ErrorShape::invalid_request(format!("no session {key}")));
    };
    Ok(ProgressCardChanged { agent_id: key.agent.clone(), session_key: key, card, ts })
}

/// `sessions.describe`
pub async fn describe(
    gateway: &Gateway,
    params: DescribeParams,
) -> Result<DescribeResult, ErrorShape> {
    let (now, limits) = (gateway.now(), Arc::clone(&gateway.handle.config().limits));
    let key = params.session.resolve(&gateway.default_agent());
    let excerpts = Excerpts {
        title: params.include_derived_titles,
        last_message: params.include_last_message,
    };
    let read = ask(gateway.handle.store(), move |rows| {
        let Some(view) = rows.session(&key)? else {
            return Ok(DescribeResult { session: None, transcripts: Vec::new() });
        };
        let session = Some(full_row(rows, &limits, now, &view, excerpts)?);
        let transcripts = rows.transcripts(&key, TRANSCRIPTS_MAX)?;
        Ok(DescribeResult { session, transcripts: transcripts.iter().map(transcript).collect() })
    });
    read.await.map_err(unreadable)
}

/// `sessions.message`
pub async fn message(
    gateway: &Gateway,
    params: MessageParams,
) -> Result<MessageResult, ErrorShape> {
    let id = params.message;
    let found = ask(gateway.handle.store(), move |rows| {
        let Some(message) = rows.message(id)? else { return Ok(None) };
        let reply = match (message.receipt(), message.run) {
            (Receipt::Replied, Some(run)) => rows.final_text(run)?,
            _ => None,
        };
        Ok(Some((message, reply)))
    });
    let Some((message, reply)) = found.await.map_err(unreadable)? else {
        let why = format!(
            "no message `{id}`: none was sent under this id, or it was done with so long ago that \
             it is not kept any more"
        );
        return Err(ErrorShape::invalid_request(why));
    };
    Ok(MessageResult {
        message_id: id,
        state: message.receipt().to_string(),
        kind: message.kind.to_string(),
        inbox: message.state.to_string(),
        session_key: message.session_key,
        sender_session_key: message.sender,
        task_id: message.task,
        run_id: message.run,
        outcome: message.outcome.map(|outcome| outcome.to_string()),
        accepted_at: message.at,
        done_at: message.done,
        reply: reply.map(|text| view::clip(&text, REPLY_CHARS_MAX)),
    })
}

fn transcript(row: &TranscriptView) -> TranscriptRow {
    TranscriptRow {
        session_id: row.session_id,
        messages: row.entries,
        started_at: row.started,
        ended_at: row.ended,
        end_reason: row.end_reason.map(|why| why.to_string()),
    }
}
