//! `exec.approval.*`: what waits until a person allows it, and the person's answer.

use machine::effect::Decided;
use machine::rows::{self, ApprovalState};
use machine::{Answer, Event, Notice};
use protocol::approvals::{
    Approval, Decision, GetParams, Grant, GrantsResult, ListParams, ListResult, ResolveParams,
    ResolveResult, RevokeParams, RevokeResult,
};
use protocol::health::Waiting;
use protocol::{ErrorCode, ErrorShape};
use store::StoreError;
use store::query::{Query, ask};
use store::view::ApprovalFilter;
use types::{ApprovalId, SessionKey, Timestamp};

use crate::feed::{self, Audience, Out};
use crate::gateway::{Gateway, unreadable};
use crate::methods::chat::OWNER;
use crate::refusal::{not_submitted, refused, unexpected};

/// Questions among which one is looked for by the beginning of its id, newest first.
const SCAN_MAX: usize = 1_000;

const GRANTS_MAX: usize = 10_000;

/// Fewest characters of an id that name one, with its `apr_`.
const PREFIX_MIN: usize = 6;

/// Shortest beginning of an id that people are shown: that of a time, and some chance.
const SHORT: usize = 20;

/// `exec.approval.list`
pub async fn list(gateway: &Gateway, params: ListParams) -> Result<ListResult, ErrorShape> {
    let session = params.session.map(|key| key.resolve(&gateway.default_agent()));
    let limit = usize::try_from(params.limit).unwrap_or(usize::MAX);
    let rows = ask(gateway.handle.store(), move |rows| {
        let root = session.map(|key| root_of(rows, &key)).transpose()?;
        rows.approvals(&ApprovalFilter { id: None, root, pending: !params.all, limit })
    });
    let rows = rows.await.map_err(unreadable)?;
    Ok(ListResult { approvals: rows.iter().map(row).collect() })
}

/// The head of a session's tree.
fn root_of(rows: &dyn Query, key: &SessionKey) -> Result<SessionKey, StoreError> {
    Ok(rows.session(key)?.map_or_else(|| key.clone(), |session| session.root_key))
}

/// `exec.approval.get`
pub async fn get(gateway: &Gateway, params: GetParams) -> Result<Approval, ErrorShape> {
    find(gateway, params.id).await.map(|found| row(&found))
}

/// `exec.approval.resolve`
pub async fn resolve(
    gateway: &Gateway,
    params: ResolveParams,
) -> Result<ResolveResult, ErrorShape> {
    let approval = find(gateway, params.id).await?.id;
    let decision = decision(params.decision);
    let event = Event::Decide { approval, decision, by: OWNER.to_owned() };
    match gateway.handle.submit(event).await {
        Ok(Answer::Decided(Decided { approval, before })) => {
            Ok(ResolveResult { ok: !before, already_resolved: before, approval: row(&approval) })
        }
        Ok(Answer::Refused(refusal)) => Err(refused(&refusal)),
        Ok(answer) => Err(unexpected(&answer)),
        Err(error) => Err(not_submitted(&error)),
    }
}

pub(super) fn decision(said: Decision) -> machine::event::Decision {
    match said {
        Decision::AllowOnce => machine::event::Decision::AllowOnce,
        Decision::AllowAlways => machine::event::Decision::AllowAlways,
        Decision::Deny => machine::event::Decision::Deny,
    }
}

/// `exec.approval.grants.list`
pub async fn grants(gateway: &Gateway) -> Result<GrantsResult, ErrorShape> {
    let grants = ask(gateway.handle.store(), |rows| rows.grants(GRANTS_MAX)).await;
    let grants = grants.map_err(unreadable)?.into_iter().map(|grant| Grant {
        agent_id: grant.agent,
        pattern: grant.pattern,
        by: grant.by,
        at_ms: grant.at,
    });
    Ok(GrantsResult { grants: grants.collect() })
}

/// `exec.approval.grants.revoke`
pub async fn revoke(gateway: &Gateway, params: RevokeParams) -> Result<RevokeResult, ErrorShape> {
    let RevokeParams { agent_id: agent, pattern } = params;
    let event = Event::Revoke { agent, pattern, by: OWNER.to_owned() };
    match gateway.handle.submit(event).await {
        Ok(Answer::Done) => Ok(RevokeResult { ok: true }),
        Ok(Answer::Refused(refusal)) => Err(refused(&refusal)),
        Ok(answer) => Err(unexpected(&answer)),
        Err(error) => Err(not_submitted(&error)),
    }
}

/// Why an id names no question, or more than one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unnamed {
    #[error("no approval `{0}`; `windlass approvals list --all` shows them")]
    None(String),
    #[error("`{0}` is the beginning of several approvals: {1}")]
    Several(String, String),
    #[error("nothing waits to be allowed here")]
    Nothing,
    #[error("several commands wait: {0}. Say which, as in `/approve {1}`")]
    Which(String, String),
}

async fn find(gateway: &Gateway, id: String) -> Result<rows::Approval, ErrorShape> {
    let found = ask(gateway.handle.store(), move |rows| named(rows, &id)).await;
    found.map_err(unreadable)?.map_err(|why| ErrorShape {
        code: ErrorCode::ApprovalNotFound,
        ..ErrorShape::invalid_request(why.to_string())
    })
}

/// The question that a person means in a conversation: of this id, or the only one that waits.
pub(super) fn meant(
    rows: &dyn Query,
    session: &SessionKey,
    id: Option<&str>,
) -> Result<Result<rows::Approval, Unnamed>, StoreError> {
    match id {
        Some(id) => named(rows, id),
        None => only(rows, session),
    }
}

/// What waits in a conversation and below it, in words.
pub(super) fn waiting(
    rows: &dyn Query,
    session: &SessionKey,
    now: Timestamp,
) -> Result<String, StoreError> {
    let waiting = pending(rows, session)?;
    if waiting.is_empty() {
        return Ok("Nothing waits to be allowed.".to_owned());
    }
    Ok(waiting.iter().map(|row| line(row, now)).collect::<Vec<_>>().join("\n"))
}

/// The same in one line, with how long the oldest has waited; none if nothing waits.
pub(crate) fn waiting_line(
    rows: &dyn Query,
    session: &SessionKey,
    now: Timestamp,
) -> Result<Option<String>, StoreError> {
    let waiting = pending(rows, session)?;
    let since = waiting.iter().map(|row| row.asked).min();
    let oldest = since.map_or(0, |since| now.since(since).as_millis());
    let oldest_ms = u64::try_from(oldest).unwrap_or(u64::MAX);
    let words = Waiting { count: waiting.len() as u64, oldest_ms }.words();
    Ok(words.map(|words| format!("{words}; /approvals lists them")))
}

/// The question of an id, or of enough of its beginning.
fn named(rows: &dyn Query, id: &str) -> Result<Result<rows::Approval, Unnamed>, StoreError> {
    let none = || Unnamed::None(id.to_owned());
    if let Ok(whole) = id.parse::<ApprovalId>() {
        let filter = ApprovalFilter { id: Some(whole), root: None, pending: false, limit: 1 };
        return Ok(rows.approvals(&filter)?.pop().ok_or_else(none));
    }
    if id.len() < PREFIX_MIN {
        return Ok(Err(none()));
    }
    let filter = ApprovalFilter { id: None, root: None, pending: false, limit: SCAN_MAX };
    let mut found = rows.approvals(&filter)?;
    found.retain(|row| row.id.to_string().starts_with(id));
    Ok(match found.len() {
        0 => Err(none()),
        1 => Ok(found.remove(0)),
        _ => Err(Unnamed::Several(id.to_owned(), ids(&found).join(", "))),
    })
}

/// The only question that waits in a conversation and below it.
fn only(
    rows: &dyn Query,
    session: &SessionKey,
) -> Result<Result<rows::Approval, Unnamed>, StoreError> {
    let mut found = pending(rows, session)?;
    Ok(match found.len() {
        0 => Err(Unnamed::Nothing),
        1 => Ok(found.remove(0)),
        _ => {
            let ids = ids(&found);
            Err(Unnamed::Which(ids.join(", "), ids[0].clone()))
        }
    })
}

/// What waits in a conversation and below it, newest first.
fn pending(rows: &dyn Query, session: &SessionKey) -> Result<Vec<rows::Approval>, StoreError> {
    let root = Some(root_of(rows, session)?);
    rows.approvals(&ApprovalFilter { id: None, root, pending: true, limit: SCAN_MAX })
}

fn ids(found: &[rows::Approval]) -> Vec<String> {
    found.iter().map(|row| short(row.id)).collect()
}

/// As much of an id as people type.
fn short(id: ApprovalId) -> String {
    id.to_string()[..SHORT].to_owned()
}

/// A line about a question that waits.
fn line(row: &rows::Approval, now: Timestamp) -> String {
    let left = row.expires.since(now).as_secs().div_ceil(60);
    let of = if row.session_key == row.root_key {
        String::new()
    } else {
        format!(" ({})", row.session_key)
    };
    format!("{}{of}, {left} min left: {}", short(row.id), row.command)
}

/// What people are told of a question, where it is asked and where it ends.
pub fn told(notice: &Notice, now: Timestamp) -> Vec<Out> {
    let (approval, event, text) = match notice {
        Notice::ApprovalAsked(asked) => {
            let id = short(asked.id);
            let always = match asked.patterns.as_slice() {
                [] => String::new(),
                patterns => format!(" (from now on: {})", patterns.join(", ")),
            };
            let text = format!(
                "{} wants to run a command that has to be allowed:\n\n    {}\n\n/approve {id} runs \
                 it, /approve {id} always does not ask again{always}, /deny {id} does not run it.",
                asked.session_key, asked.command
            );
            let event = protocol::Event::ApprovalRequested(Box::new(row(asked)));
            (asked, event, Some(text))
        }
        Notice::ApprovalEnded(ended) => {
            let event = protocol::Event::ApprovalResolved(Box::new(row(ended)));
            let expired = ended.state == ApprovalState::Expired;
            let text = expired.then(|| {
                format!("Nobody has allowed in time, so it was not run: {}", ended.command)
            });
            (ended, event, text)
        }
        _ => return Vec::new(),
    };
    let mut out = vec![Out { audience: Audience::Approvers, event }];
    if let Some(text) = text {
        let subject = format!("{}:{}", approval.id, approval.state);
        let told = feed::told(&approval.root_key, &subject, &approval.session_key, &text, now);
        out.push(told);
    }
    out
}

fn row(row: &rows::Approval) -> Approval {
    Approval {
        id: row.id.to_string(),
        state: row.state.to_string(),
        agent_id: row.session_key.agent.clone(),
        session_key: row.session_key.clone(),
        root_session_key: row.root_key.clone(),
        run_id: row.run.to_string(),
        tool: row.tool.clone(),
        command: row.command.clone(),
        always: row.patterns.clone(),
        created_at_ms: row.asked,
        expires_at_ms: row.expires,
        resolved_at_ms: row.decided,
        resolved_by: row.by.clone(),
    }
}
