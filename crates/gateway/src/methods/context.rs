//! `sessions.context` and `/context`: what of a session's context takes how much.

use machine::policy::Role;
use machine::rows::Episode;
use protocol::ErrorShape;
use protocol::context::{ContextParams, ContextPart, ContextResult, ContextTool, PinnedPrefix};
use runtime::context::{Look, Seen, look};
use runtime::pin;
use store::query::ask;
use store::view::SessionView;
use types::{Hash, SessionKey};

use crate::gateway::{Gateway, unreadable};

/// `sessions.context`
pub async fn context(
    gateway: &Gateway,
    params: ContextParams,
) -> Result<ContextResult, ErrorShape> {
    let agent = params.agent.unwrap_or_else(|| gateway.default_agent());
    let key = params.session.resolve(&agent);
    let none = || ErrorShape::invalid_request(format!("no session {key}"));
    of_session(gateway, &key).await?.ok_or_else(none)
}

/// The account of a session; none if there is no such session.
pub async fn of_session(
    gateway: &Gateway,
    key: &SessionKey,
) -> Result<Option<ContextResult>, ErrorShape> {
    let Some((session, episode)) = rows(gateway, key).await? else { return Ok(None) };
    let limits = gateway.handle.limits();
    let of_agent = limits.agents.get(&session.agent).map(|agent| agent.model.clone());
    let model = session.model.clone().or(of_agent).filter(|model| !model.is_empty());
    let looked = looked(gateway, &session, episode.as_ref()).await?;
    let prefix = looked
        .zip(episode)
        .and_then(|(look, episode)| episode.prefix_hash.map(|hash| pinned(look, hash, &episode)));
    let before = prefix.as_ref().map_or(0, |prefix| prefix.tokens);
    let configured = model.as_ref().and_then(|model| limits.models.get(model).copied());
    let told = model.as_ref().and_then(|model| session.told_window(model, configured));
    Ok(Some(ContextResult {
        session_key: session.key,
        session_id: session.session_id,
        agent_id: session.agent,
        window_tokens: told.or(configured),
        configured_window_tokens: configured.filter(|_| told.is_some()),
        model,
        total_tokens: session.context_tokens,
        history_tokens: session.context_tokens.saturating_sub(before),
        prefix,
    }))
}

/// Names of what has changed since the session's prefix was pinned.
pub async fn changed(gateway: &Gateway, key: &SessionKey) -> Result<Vec<String>, ErrorShape> {
    let Some((session, episode)) = rows(gateway, key).await? else { return Ok(Vec::new()) };
    let looked = looked(gateway, &session, episode.as_ref()).await?;
    Ok(looked.map(|look| look.changed()).unwrap_or_default())
}

async fn rows(
    gateway: &Gateway,
    key: &SessionKey,
) -> Result<Option<(SessionView, Option<Episode>)>, ErrorShape> {
    let key = key.clone();
    let read = ask(gateway.handle.store(), move |rows| {
        let Some(session) = rows.session(&key)? else { return Ok(None) };
        let episode = rows.newest_episode(session.session_id)?;
        Ok(Some((session, episode)))
    });
    read.await.map_err(unreadable)
}

async fn looked(
    gateway: &Gateway,
    session: &SessionView,
    episode: Option<&Episode>,
) -> Result<Option<Look>, ErrorShape> {
    let Some(hash) = episode.and_then(|episode| episode.prefix_hash) else { return Ok(None) };
    let role = Role::at(session.depth, &gateway.handle.limits());
    look(&gateway.handle, &session.agent, role, hash).await.map_err(unreadable)
}

fn pinned(look: Look, hash: Hash, episode: &Episode) -> PinnedPrefix {
    let changed = !look.changed().is_empty();
    let tools = look
        .stored
        .prefix
        .tools
        .iter()
        .map(|tool| ContextTool { name: tool.name.clone(), tokens: pin::tool_tokens(tool) });
    PinnedPrefix {
        hash,
        tokens: episode.prefix_tokens,
        pinned_at: episode.pinned,
        reason: episode.reason.to_string(),
        changed,
        system_tokens: look.stored.own_tokens(),
        tools: tools.collect(),
        parts: look.parts.into_iter().map(part).collect(),
    }
}

fn part(seen: Seen) -> ContextPart {
    ContextPart {
        kind: seen.part.kind.to_string(),
        name: seen.part.name,
        tokens: seen.part.tokens,
        state: seen.state.to_string(),
        cut: seen.part.cut,
    }
}
