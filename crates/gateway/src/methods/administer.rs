//! `sessions.reset`, `.patch`, `.delete`, `.compact`, `.abort`, `.preview`, `.resolve`

use machine::effect::Changed;
use machine::event::{Change, Patch};
use machine::queue::QueueWish;
use machine::rows::EndReason;
use machine::status::TaskStatus;
use machine::{Answer, Event};
use protocol::ErrorShape;
use protocol::administer::{
    AbortParams, AbortResult, AbortStatus, ChangedResult, CompactParams, CompactResult, Declared,
    DeleteParams, DeleteResult, PatchParams, Preview, PreviewItem, PreviewParams, PreviewResult,
    PreviewStatus, ResetParams, ResetReason, ResolveParams, ResolveResult,
};
use protocol::chat::QueueMode;
use protocol::message::ChatRole;
use protocol::stop::StopReport;
use store::StoreError;
use store::query::{Query, ask};
use store::view::{SessionFilter, SessionView};
use types::{SessionId, SessionKey};

use crate::gateway::{Gateway, unreadable};
use crate::methods::chat::{self, OWNER, queue_mode};
use crate::refusal::{not_submitted, refused, unexpected};
use crate::view;

/// Sessions that one label may name before it names none.
const SAME_LABEL_MAX: usize = 10;

async fn change(
    gateway: &Gateway,
    session: SessionKey,
    change: Change,
) -> Result<Changed, ErrorShape> {
    let event = Event::Change { session, by: OWNER.to_owned(), change };
    match gateway.handle.submit(event).await {
        Ok(Answer::Changed(changed)) => Ok(changed),
        Ok(Answer::Refused(refusal)) => Err(refused(&refusal)),
        Ok(answer) => Err(unexpected(&answer)),
        Err(error) => Err(not_submitted(&error)),
    }
}

/// Refuses if the session's transcript is another than the client has seen.
async fn expect(
    gateway: &Gateway,
    session: &SessionKey,
    expected: Option<SessionId>,
) -> Result<(), ErrorShape> {
    let Some(expected) = expected else { return Ok(()) };
    let found = gateway.handle.store().session(session).await.map_err(unreadable)?;
    match found.map(|session| session.session_id) {
        Some(id) if id != expected => Err(ErrorShape::invalid_request(format!(
            "session {session} is {id} by now, and not {expected}: it was reset meanwhile"
        ))),
        _ => Ok(()),
    }
}

/// `sessions.reset`
pub async fn reset(gateway: &Gateway, params: ResetParams) -> Result<ChangedResult, ErrorShape> {
    let session = params.session.resolve(&gateway.default_agent());
    expect(gateway, &session, params.expected_session_id).await?;
    let reason = match params.reason {
        ResetReason::New => EndReason::New,
        ResetReason::Reset => EndReason::Reset,
    };
    let changed = change(gateway, session, Change::Reset(reason)).await?;
    result(gateway, changed).await
}

/// `sessions.compact`
pub async fn compact(
    gateway: &Gateway,
    params: CompactParams,
) -> Result<CompactResult, ErrorShape> {
    let key = params.session.resolve(&gateway.default_agent());
    let change = Change::Compact { origin: chat::ORIGIN.to_owned(), hint: params.hint };
    let event = Event::Change { session: key.clone(), by: OWNER.to_owned(), change };
    match gateway.handle.submit(event).await {
        Ok(Answer::Ordered(note)) => Ok(CompactResult { ok: true, key, note }),
        Ok(Answer::Refused(refusal)) => Err(refused(&refusal)),
        Ok(answer) => Err(unexpected(&answer)),
        Err(error) => Err(not_submitted(&error)),
    }
}

async fn result(gateway: &Gateway, changed: Changed) -> Result<ChangedResult, ErrorShape> {
    let (now, key, runs) = (gateway.now(), changed.session.clone(), changed.stopped.runs);
    let read = ask(gateway.handle.store(), move |rows| {
        Ok((chat::names_of(rows, &runs)?, view::session_row(rows, &key, now)?))
    });
    let (run_ids, entry) = read.await.map_err(unreadable)?;
    let (key, session_id) = (changed.session, changed.session_id);
    Ok(ChangedResult { ok: true, key, session_id, run_ids, entry })
}

/// `sessions.patch`
pub async fn patch(gateway: &Gateway, params: PatchParams) -> Result<ChangedResult, ErrorShape> {
    let session = params.session.resolve(&gateway.default_agent());
    expect(gateway, &session, params.expected_session_id).await?;
    let patch = Patch {
        label: params.label,
        model: params.model,
        thinking: params.thinking_level,
        queue: params.queue_mode.map(|mode| mode.map(only_mode)),
        declared: params.task_status.map(|word| word.map(declared)),
        reasoning: params.reasoning,
        footer: params.footer,
    };
    // Restored first, or put away last: what is archived cannot be changed.
    if params.archived == Some(false) {
        change(gateway, session.clone(), Change::Restore).await?;
    }
    let mut changed = None;
    if patch != Patch::default() || params.archived.is_none() {
        changed = Some(change(gateway, session.clone(), Change::Patch(patch)).await?);
    }
    if params.archived == Some(true) {
        changed = Some(change(gateway, session.clone(), Change::Archive).await?);
    }
    match changed {
        Some(changed) => result(gateway, changed).await,
        // It is open already, so this says so and does nothing.
        None => {
            let restored = change(gateway, session, Change::Restore).await?;
            result(gateway, restored).await
        }
    }
}

fn only_mode(mode: QueueMode) -> QueueWish {
    QueueWish { mode: Some(queue_mode(mode)), ..QueueWish::default() }
}

fn declared(word: Declared) -> TaskStatus {
    match word {
        Declared::Completed => TaskStatus::Completed,
        Declared::Failed => TaskStatus::Failed,
        Declared::Cancelled => TaskStatus::Cancelled,
        Declared::Unknown => TaskStatus::Unknown,
    }
}

/// `sessions.delete`. One that is not there is deleted already.
pub async fn delete(gateway: &Gateway, params: DeleteParams) -> Result<DeleteResult, ErrorShape> {
    let key = params.session.resolve(&gateway.default_agent());
    expect(gateway, &key, params.expected_session_id).await?;
    let found = gateway.handle.store().session(&key).await.map_err(unreadable)?;
    let open = found.as_ref().is_some_and(|s| s.lifecycle == machine::rows::Lifecycle::Open);
    if params.archived_only && open {
        let why = format!("session {key} is open, and only an archived one was to be deleted");
        return Err(ErrorShape::invalid_request(why));
    }
    let deleted = match found {
        Some(_) => change(gateway, key.clone(), Change::Delete).await.map(|_| true)?,
        None => false,
    };
    Ok(DeleteResult { ok: true, key, deleted, archived: Vec::new() })
}

/// `sessions.abort`. With a run id only if that is what runs.
pub async fn abort(gateway: &Gateway, params: AbortParams) -> Result<AbortResult, ErrorShape> {
    let session = match (params.session, &params.run_id) {
        (Some(session), _) => Some(session.resolve(&gateway.default_agent())),
        (None, Some(run)) => {
            let found = gateway.handle.store().run_by_wire(run).await.map_err(unreadable)?;
            found.map(|run| run.session_key)
        }
        (None, None) => None,
    };
    let (run_ids, stop) = match session {
        Some(session) => {
            let told = chat::abort_run(gateway, session, params.run_id).await?;
            (told.run_ids, told.stop)
        }
        None => (Vec::new(), StopReport::default()),
    };
    let aborted_run_id = run_ids.first().cloned();
    let status = if run_ids.is_empty() { AbortStatus::NoActiveRun } else { AbortStatus::Aborted };
    Ok(AbortResult { ok: true, status, aborted_run_id, run_ids, stop })
}

/// `sessions.preview`
pub async fn preview(
    gateway: &Gateway,
    params: PreviewParams,
) -> Result<PreviewResult, ErrorShape> {
    let agent = gateway.default_agent();
    let read = ask(gateway.handle.store(), move |rows| {
        let keys = params.sessions.iter().map(|key| key.clone().resolve(&agent));
        let (limit, chars) = (params.limit, params.max_chars);
        keys.map(|key| one_preview(rows, key, limit, chars)).collect::<Result<Vec<_>, _>>()
    });
    Ok(PreviewResult { ts: gateway.now(), previews: read.await.map_err(unreadable)? })
}

fn one_preview(
    rows: &dyn Query,
    key: SessionKey,
    limit: u64,
    chars: u64,
) -> Result<Preview, StoreError> {
    let whole = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
    let Some(session) = rows.session(&key)? else {
        return Ok(Preview { key, status: PreviewStatus::Missing, items: Vec::new() });
    };
    let entries = rows.history(session.session_id, None, whole(limit))?.entries;
    let items: Vec<PreviewItem> = entries
        .iter()
        .map(view::message)
        .map(|message| PreviewItem {
            role: match message.role {
                ChatRole::ToolResult => "tool".to_owned(),
                role => role.to_string(),
            },
            text: view::clip(&message.words(), whole(chars)),
        })
        .filter(|item| !item.text.is_empty())
        .collect();
    let status = if items.is_empty() { PreviewStatus::Empty } else { PreviewStatus::Ok };
    Ok(Preview { key, status, items })
}

/// `sessions.resolve`
pub async fn resolve(
    gateway: &Gateway,
    params: ResolveParams,
) -> Result<ResolveResult, ErrorShape> {
    let (agent, allow_missing) = (gateway.default_agent(), params.allow_missing);
    let found = ask(gateway.handle.store(), move |rows| find(rows, &params, &agent));
    match found.await.map_err(unreadable)? {
        Ok(session) => Ok(ResolveResult {
            ok: true,
            agent_id: Some(session.agent),
            key: Some(session.key),
            display_name: session.label,
        }),
        Err(_) if allow_missing => {
            Ok(ResolveResult { ok: false, key: None, agent_id: None, display_name: None })
        }
        Err(why) => Err(ErrorShape::invalid_request(why)),
    }
}

fn find(
    rows: &dyn Query,
    params: &ResolveParams,
    default_agent: &types::AgentId,
) -> Result<Result<SessionView, String>, StoreError> {
    if let Some(key) = params.session.clone() {
        let key = key.resolve(default_agent);
        let found = rows.session(&key)?;
        return Ok(found.ok_or_else(|| format!("no session `{key}`")));
    }
    let filter = SessionFilter { agent: params.agent.clone(), ..SessionFilter::default() };
    if let Some(id) = params.session_id {
        let wanted = SessionFilter { session_id: Some(id), limit: 1, ..filter };
        let found = rows.sessions(&wanted)?.pop();
        return Ok(found.ok_or_else(|| format!("no session has the transcript {id} now")));
    }
    let label = params.label.clone().unwrap_or_default();
    let wanted = SessionFilter { label: Some(label.clone()), limit: SAME_LABEL_MAX, ..filter };
    let mut found = rows.sessions(&wanted)?;
    Ok(match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(format!("no session has the label {label:?}")),
        (Some(one), _) => {
            let keys: Vec<String> =
                found.iter().chain([&one]).map(|session| session.key.to_string()).collect();
            Err(format!("the label {label:?} names several sessions: {}", keys.join(", ")))
        }
    })
}
