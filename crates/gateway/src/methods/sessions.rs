//! `sessions.list`, `sessions.describe`

use std::sync::Arc;
use std::time::Duration;

use machine::Limits;
use protocol::ErrorShape;
use protocol::sessions::{
    DescribeParams, DescribeResult, ListParams, ListResult, ModelDefaults, SessionRow,
};
use store::StoreError;
use store::query::{Query, ask};
use store::view::{SessionFilter, SessionView};
use types::{AgentId, Scope, Timestamp};

use crate::gateway::{Gateway, unreadable};
use crate::view::{self, Excerpts};

/// Sessions that one call looks through, most recently active first.
const SCAN_MAX: usize = 10_000;

/// `sessions.list`
pub async fn list(gateway: &Gateway, params: ListParams) -> Result<ListResult, ErrorShape> {
    let (now, limits) = (gateway.now(), Arc::clone(&gateway.handle.config().limits));
    let path = gateway.info.database.display().to_string();
    let agent = gateway.info.default_agent.clone();
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
    let parent = params.spawned_by.clone().map(|key| key.resolve(default_agent));
    let filter = SessionFilter {
        agent: params.agent.clone(),
        active_since: params.active_minutes.map(|minutes| ago(now, minutes)),
        parent,
        limit: SCAN_MAX,
        offset: 0,
    };
    let found: Vec<SessionView> =
        rows.sessions(&filter)?.into_iter().filter(|view| wanted(view, &params)).collect();
    let total_count = found.len() as u64;
    let (offset, limit) = (params.offset, params.limit);
    let skip = usize::try_from(offset).unwrap_or(usize::MAX);
    let take = usize::try_from(limit).unwrap_or(usize::MAX);
    let excerpts = Excerpts {
        title: params.include_derived_titles,
        last_message: params.include_last_message,
    };
    let shown: Result<Vec<SessionRow>, StoreError> = found
        .iter()
        .skip(skip)
        .take(take)
        .map(|view| full_row(rows, limits, now, view, excerpts))
        .collect();
    let sessions = shown?;
    let count = sessions.len() as u64;
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

fn wanted(view: &SessionView, params: &ListParams) -> bool {
    let is_child = matches!(view.key.scope, Scope::Subagent(_) | Scope::WarmSubagent(_));
    let matches = |search: &str| {
        let search = search.trim().to_lowercase();
        let label = view.label.as_deref().unwrap_or_default().to_lowercase();
        view.key.to_string().to_lowercase().contains(&search) || label.contains(&search)
    };
    (!params.active_only || view.open_run.is_some())
        && (!params.exclude_subagents || !is_child)
        && params.search.as_deref().is_none_or(matches)
}

fn full_row(
    rows: &dyn Query,
    limits: &Limits,
    now: Timestamp,
    view: &SessionView,
    excerpts: Excerpts,
) -> Result<SessionRow, StoreError> {
    let mut row = view::row(view, now);
    view::name_children(rows, view, &mut row)?;
    excerpts.add(rows, view, &mut row)?;
    let of_agent = limits.agents.get(&view.agent).map(|agent| &agent.model);
    if let Some(reference) = view.model.as_ref().or(of_agent) {
        let ModelDefaults { model_provider, model, context_tokens } = model(limits, reference);
        (row.model_provider, row.model, row.context_tokens) =
            (model_provider, model, context_tokens);
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

/// `sessions.describe`
pub async fn describe(
    gateway: &Gateway,
    params: DescribeParams,
) -> Result<DescribeResult, ErrorShape> {
    let (now, limits) = (gateway.now(), Arc::clone(&gateway.handle.config().limits));
    let key = params.session.resolve(&gateway.info.default_agent);
    let excerpts = Excerpts {
        title: params.include_derived_titles,
        last_message: params.include_last_message,
    };
    let read = ask(gateway.handle.store(), move |rows| {
        let view = rows.session(&key)?;
        view.map(|view| full_row(rows, &limits, now, &view, excerpts)).transpose()
    });
    Ok(DescribeResult { session: read.await.map_err(unreadable)? })
}
