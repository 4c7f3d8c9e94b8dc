//! `POST /v1/chat/completions`: a message to a session, and the answer of the run that takes it in.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use machine::rows::{InboxState, Outcome};
use protocol::openai::Completion;
use protocol::{SessionRef, command};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use types::{AgentId, Hash, Scope, SessionKey, Timestamp, Usage};

use super::{Failure, stream};
use crate::ending::{self, Sight, Subject};
use crate::feed::end_words;
use crate::gateway::Gateway;
use crate::methods::chat::{Words, submit};
use crate::methods::commands::{self, Typed};
use crate::server::Door;

/// How long one look for the end lasts: a gateway that goes down is noticed after this.
const LOOK: Duration = Duration::from_secs(1);

/// Longest idempotency key, in bytes: it is an index entry, and the run's name.
const KEY_BYTES_MAX: usize = 256;

/// What the client has asked for, and in which words it is answered.
#[derive(Clone, Debug)]
pub struct Asked {
    pub subject: Subject,
    pub session: SessionKey,
    /// The run's name on the wire.
    pub key: String,
    pub model: String,
    pub include_usage: bool,
}

/// A run that is over, as an answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub text: String,
    pub usage: Option<Usage>,
    pub at: Timestamp,
}

/// Puts the message into its session, and answers when its run is over.
pub async fn answer(
    door: &Door,
    headers: &HeaderMap,
    body: &Value,
    slot: OwnedSemaphorePermit,
) -> Result<Response, Failure> {
    let gateway = &door.gateway;
    let completion = Completion::read(body)?;
    // Before the message is there: nothing of its run is missed.
    let live = completion.stream.then(|| gateway.handle.subscribe());
    let asked = put(gateway, headers, &completion).await?;
    let names = [
        ("x-openclaw-session-key", asked.session.to_string()),
        ("x-request-id", asked.key.clone()),
    ];
    let mut response = match live {
        Some(live) => stream::respond(door, asked, live, slot),
        None => {
            let ended = settled(gateway, &asked.subject).await.and_then(ended)?;
            Json(whole(&asked, &ended)).into_response()
        }
    };
    for (name, value) in names {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    Ok(response)
}

/// Stores the message, or carries out the command. It is durable when this returns.
async fn put(
    gateway: &Gateway,
    headers: &HeaderMap,
    completion: &Completion,
) -> Result<Asked, Failure> {
    if header(headers, "x-openclaw-model")?.is_some() {
        let why = "the header x-openclaw-model is not supported: a session's model is \
                   set with sessions.patch";
        return Err(Failure::invalid(why));
    }
    let given = header(headers, "idempotency-key")?;
    if let Some(key) = &given
        && key.len() > KEY_BYTES_MAX
    {
        let why = format!(
            "the Idempotency-Key has {} bytes, and {KEY_BYTES_MAX} is the most \
                           that is kept",
            key.len()
        );
        return Err(Failure::invalid(why));
    }
    let key = given.unwrap_or_else(|| format!("http-{}", gateway.nonce()));
    let (session, remembered) = session(gateway, headers, completion, &key)?;
    let body = completion.words(remembered)?;
    let asked = |session: SessionKey| Asked {
        subject: Subject::Input { session: session.clone(), key: key.clone() },
        session,
        key: key.clone(),
        model: completion.model.clone(),
        include_usage: completion.include_usage,
    };
    if let Some(command) = command::parse(&body) {
        let typed = Typed { session, key: key.clone(), text: body, command };
        let told = commands::carry_out(gateway, typed).await?;
        return Ok(asked(told.session));
    }
    let words = Words { body, key: key.clone(), ..Words::default() };
    Ok(asked(submit(gateway, session, words).await?.session))
}

/// The session that is meant, and whether it has what was said before.
fn session(
    gateway: &Gateway,
    headers: &HeaderMap,
    completion: &Completion,
    key: &str,
) -> Result<(SessionKey, bool), Failure> {
    let named: Option<AgentId> = match header(headers, "x-openclaw-agent-id")? {
        Some(id) => Some(id.parse().map_err(|error| {
            Failure::invalid(format!("the header x-openclaw-agent-id is no agent: {error}"))
        })?),
        None => completion.agent.clone(),
    };
    let agent = named.clone().unwrap_or_else(|| gateway.default_agent());
    if let Some(text) = header(headers, "x-openclaw-session-key")? {
        let wrong =
            |why: String| Failure::invalid(format!("the header x-openclaw-session-key: {why}"));
        let parsed: SessionRef =
            text.parse().map_err(|error: types::ParseSessionKeyError| wrong(error.to_string()))?;
        let session = parsed.resolve(&agent);
        if named.as_ref().is_some_and(|named| *named != session.agent) {
            let why = format!("{session} is none of the agent `{agent}`, which `model` names");
            return Err(wrong(why));
        }
        if reserved(&session.scope) {
            let why = format!(
                "{session} is reserved: only main, threads and channels are written \
                               to from here"
            );
            return Err(wrong(why));
        }
        return Ok((session, true));
    }
    let (rest, remembered) = match &completion.user {
        Some(user) => (format!("openai-user:{}", plain(user)), true),
        // The same key is the same message, so it must find the same session.
        None => (format!("openai:{}", short(key)), false),
    };
    Ok((SessionKey::new(agent, Scope::Other(rest)), remembered))
}

fn reserved(scope: &Scope) -> bool {
    matches!(
        scope,
        Scope::Subagent(_) | Scope::WarmSubagent(_) | Scope::Acp(_) | Scope::Cron { .. }
    )
}

/// A user's name as a part of a key: as it is if it can be, or else its hash.
fn plain(user: &str) -> String {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-@".contains(&b);
    let clean = user.len() <= 64 && user.bytes().all(fits);
    if clean { user.to_owned() } else { format!("sha256-{}", short(user)) }
}

fn short(text: &str) -> String {
    Hash::of(text).to_string()[..32].to_owned()
}

/// A header's text; one that is empty counts as absent.
fn header(headers: &HeaderMap, name: &str) -> Result<Option<String>, Failure> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let text = value.to_str().map_err(|_| {
        Failure::invalid(format!("the header {name} holds more than visible ASCII characters"))
    })?;
    let text = text.trim();
    Ok((!text.is_empty()).then(|| text.to_owned()))
}

/// Waits until the run is over, or the gateway goes down.
pub async fn settled(gateway: &Gateway, subject: &Subject) -> Result<Sight, Failure> {
    loop {
        let sight = ending::wait(gateway, subject, Some(LOOK)).await?;
        if sight.is_over() {
            return Ok(sight);
        }
        if gateway.hub.draining() {
            return Err(Failure::restarting());
        }
    }
}

/// The answer of a run; an end without one is a failure, and never an empty success.
pub fn ended(sight: Sight) -> Result<Answer, Failure> {
    let failure = |status, code: &str, message: String| {
        let failure = Failure::new(status, "run_ended", message);
        Err(Failure { code: Some(code.to_owned()), ..failure })
    };
    let (run, text) = match sight {
        Sight::Ended(run, text) => (run, text),
        Sight::Told(row) => {
            return Ok(Answer { text: row.answer, usage: None, at: row.at });
        }
        Sight::Lost(state) => {
            let why = match state {
                InboxState::Dropped => {
                    "the message was dropped: the queue of its session was full \
                                        (messages.queue.cap)"
                }
                _ => "the message was cancelled before a run took it in",
            };
            return failure(StatusCode::CONFLICT, "lost", why.to_owned());
        }
        Sight::Unknown | Sight::Open(_) => {
            let why = "the run is not known".to_owned();
            return failure(StatusCode::INTERNAL_SERVER_ERROR, "unknown", why);
        }
    };
    let outcome = run.facts.outcome.unwrap_or(Outcome::Interrupted);
    if outcome == Outcome::Completed {
        // Silence on purpose (`NO_REPLY`) is an empty answer.
        let text = text.unwrap_or_default();
        return Ok(Answer { text, usage: Some(run.usage), at: run.facts.queued });
    }
    let status = match outcome {
        Outcome::TimedOut => StatusCode::GATEWAY_TIMEOUT,
        Outcome::Cancelled => StatusCode::CONFLICT,
        _ => StatusCode::BAD_GATEWAY,
    };
    failure(status, outcome.as_str(), end_words(outcome, run.facts.error.as_deref()))
}

/// The head that every piece of an answer has.
pub fn head(asked: &Asked, object: &str, at: Timestamp) -> Value {
    json!({
        "id": format!("chatcmpl-{}", asked.key),
        "object": object,
        "created": at.ms() / 1_000,
        "model": asked.model,
    })
}

pub fn usage(usage: Option<Usage>) -> Value {
    let usage = usage.unwrap_or_default();
    json!({
        "prompt_tokens": usage.prompt(),
        "completion_tokens": usage.output,
        "total_tokens": usage.total(),
        "prompt_tokens_details": { "cached_tokens": usage.cache_read },
    })
}

fn whole(asked: &Asked, answer: &Answer) -> Value {
    let mut body = head(asked, "chat.completion", answer.at);
    body["choices"] = json!([{
        "index": 0,
        "message": { "role": "assistant", "content": answer.text, "refusal": null },
        "logprobs": null,
        "finish_reason": "stop",
    }]);
    body["usage"] = usage(answer.usage);
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_part_of_a_key() {
        for (user, expected) in [
            ("bob", Some("bob")),
            ("bob@example.org", Some("bob@example.org")),
            ("Bob", None),
            ("a:b", None),
            ("a b", None),
            ("ü", None),
        ] {
            let part = plain(user);
            match expected {
                Some(expected) => assert_eq!(part, expected),
                None => assert!(part.starts_with("sha256-"), "{user} is {part}"),
            }
            let key = SessionKey::new(AgentId::main(), Scope::Other(format!("openai-user:{part}")));
            assert_eq!(key.to_string().parse::<SessionKey>().as_ref(), Ok(&key), "{user}");
        }
        assert_ne!(plain("Bob"), plain("BOB"));
    }
}
