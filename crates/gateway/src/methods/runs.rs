//! `agent` and `agent.wait`

use std::time::Duration;

use machine::rows::{InboxState, Outcome};
use protocol::agent::{
    Accepted, AgentAccepted, AgentFinal, AgentMeta, AgentParams, AgentResult, AgentStatus,
    AgentWaitParams, AgentWaitResult, Disposition, Payload, RunMeta, TerminalReply,
};
use protocol::{ErrorShape, Response, command};
use store::view::RunView;
use types::{SessionId, SessionKey};

use crate::ending::{self, Sight, Subject};
use crate::feed::end_words;
use crate::footer;
use crate::gateway::Gateway;
use crate::methods::chat::{Words, submit};
use crate::methods::commands::{self, Typed};
use crate::outbox::Outbox;

/// `agent`: answers once when the message is durable, and returns the second answer, when its run
/// is over.
pub async fn agent(gateway: &Gateway, outbox: &Outbox, id: &str, params: AgentParams) -> Response {
    match run(gateway, outbox, id, params).await {
        Ok(response) => response,
        Err(error) => Response::err(id, error),
    }
}

async fn run(
    gateway: &Gateway,
    outbox: &Outbox,
    id: &str,
    params: AgentParams,
) -> Result<Response, ErrorShape> {
    refuse_unsupported(&params)?;
    let agent = params.agent.unwrap_or_else(|| gateway.default_agent());
    let session = match params.session {
        Some(session) => session.resolve(&agent),
        None => SessionKey::main(agent),
    };
    let key = params.idempotency_key.clone();
    if let Some(command) = command::parse(&params.message) {
        let typed = Typed { session, key: key.clone(), text: params.message, command };
        let says = typed.says();
        let told = commands::carry_out(gateway, typed).await?;
        outbox.respond(&Response::ok(id, &first(gateway, key.clone(), told.session.clone())));
        if says {
            let subject = Subject::Input { session: told.session, key: key.clone() };
            let sight = ending::wait(gateway, &subject, None).await?;
            return Ok(last(id, key, with_footer(gateway, sight).await));
        }
        return Ok(answered(id, key, told.session_id, told.answer, told.is_error));
    }
    let words = Words {
        body: params.message,
        key: params.idempotency_key,
        mode: None,
        model: params.model,
        label: params.label,
        timeout_ms: params.timeout_seconds.map(|seconds| seconds.saturating_mul(1_000)),
    };
    let accepted = submit(gateway, session, words).await?;
    let session = accepted.session;
    outbox.respond(&Response::ok(id, &first(gateway, key.clone(), session.clone())));
    let subject = Subject::Input { session, key: key.clone() };
    let sight = ending::wait(gateway, &subject, None).await?;
    Ok(last(id, key, with_footer(gateway, sight).await))
}

/// The answer as people read it, with what it took if they want to know.
async fn with_footer(gateway: &Gateway, sight: Sight) -> Sight {
    match sight {
        Sight::Ended(run, text) => {
            let text = footer::under(gateway, &run, text).await;
            Sight::Ended(run, text)
        }
        sight => sight,
    }
}

fn first(gateway: &Gateway, run_id: String, session_key: SessionKey) -> AgentAccepted {
    AgentAccepted {
        status: Accepted::Accepted,
        run_id,
        agent_id: session_key.agent.clone(),
        session_key,
        accepted_at: gateway.now(),
    }
}

/// The second answer to a command, for which no run was opened.
fn answered(
    id: &str,
    run_id: String,
    session_id: SessionId,
    answer: String,
    is_error: bool,
) -> Response {
    let of_nothing = RunMeta { session_id, provider: None, model: None, usage: None };
    let meta =
        AgentMeta { duration_ms: 0, agent_meta: of_nothing, aborted: false, stop_reason: None };
    if is_error {
        let result = AgentResult { payloads: Vec::new(), meta };
        return failed(id, run_id, answer, Some(result));
    }
    let result = Some(AgentResult { payloads: vec![Payload::text(answer)], meta });
    let (status, summary) = (AgentStatus::Ok, "completed".to_owned());
    Response::ok(id, &AgentFinal { run_id, status, summary, result })
}

fn refuse_unsupported(params: &AgentParams) -> Result<(), ErrorShape> {
    let unsupported = [
        ("extraSystemPrompt", params.extra_system_prompt.is_some()),
        ("cwd", params.cwd.is_some()),
    ];
    match unsupported.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(ErrorShape::invalid_request(format!(
            "invalid agent params: `{name}` is not supported yet"
        ))),
        None => Ok(()),
    }
}

/// The second answer. A run that failed is an error of the call, as OpenClaw's clients expect;
/// what is known of it comes along.
fn last(id: &str, run_id: String, sight: Sight) -> Response {
    let (run, text) = match sight {
        Sight::Ended(run, text) => (run, text),
        Sight::Told(row) => {
            return answered(id, run_id, row.session_id, row.answer, row.is_error);
        }
        sight => return failed(id, run_id, why_lost(&sight), None),
    };
    let outcome = run.facts.outcome.unwrap_or(Outcome::Interrupted);
    let result = AgentResult {
        payloads: text.map(Payload::text).into_iter().collect(),
        meta: meta(&run, outcome),
    };
    let summary = match outcome {
        Outcome::Completed => "completed",
        Outcome::Cancelled => "aborted",
        _ => {
            let why = end_words(outcome, run.facts.error.as_deref());
            return failed(id, run_id, why, Some(result));
        }
    };
    let (status, summary) = (AgentStatus::Ok, summary.to_owned());
    Response::ok(id, &AgentFinal { run_id, status, summary, result: Some(result) })
}

fn failed(id: &str, run_id: String, why: String, result: Option<AgentResult>) -> Response {
    // The same key would be given the same run, so trying again is of no use.
    let error = ErrorShape { retryable: Some(false), ..ErrorShape::unavailable(why.clone()) };
    let payload = AgentFinal { run_id, status: AgentStatus::Error, summary: why, result };
    Response { ok: false, error: Some(error), ..Response::ok(id, &payload) }
}

fn why_lost(sight: &Sight) -> String {
    match sight {
        Sight::Lost(InboxState::Dropped) => {
            "the message was dropped: the queue of its session was full"
        }
        Sight::Lost(InboxState::Cancelled) => "the message was cancelled before a run took it in",
        Sight::Lost(_) => "the message could not be delivered to a run",
        Sight::Unknown | Sight::Open(_) | Sight::Ended(..) | Sight::Told(_) => {
            "the run is not known"
        }
    }
    .to_owned()
}

fn meta(run: &RunView, outcome: Outcome) -> AgentMeta {
    let began = run.facts.started.unwrap_or(run.facts.queued);
    let duration = run.facts.ended.unwrap_or(began).since(began);
    let (provider, model) = match run.facts.model.split_once('/') {
        Some((provider, model)) => (Some(provider.to_owned()), model.to_owned()),
        None => (None, run.facts.model.clone()),
    };
    AgentMeta {
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        agent_meta: RunMeta {
            session_id: run.session_id,
            provider,
            model: Some(model),
            usage: Some(run.usage.into()),
        },
        aborted: outcome == Outcome::Cancelled,
        stop_reason: stop_reason(outcome, run.facts.error.is_some()).map(str::to_owned),
    }
}

/// What ended the last answer of a run, if it was no failure.
fn stop_reason(outcome: Outcome, has_error: bool) -> Option<&'static str> {
    match outcome {
        // A run that has completed has an error only if its answer was cut.
        Outcome::Completed if has_error => Some("length"),
        Outcome::Completed => Some("stop"),
        Outcome::Cancelled => Some("aborted"),
        Outcome::TimedOut => Some("timeout"),
        Outcome::NoResult | Outcome::Failed | Outcome::Interrupted => None,
    }
}

/// `agent.wait`
pub async fn wait(
    gateway: &Gateway,
    params: AgentWaitParams,
) -> Result<AgentWaitResult, ErrorShape> {
    let AgentWaitParams { run_id, timeout_ms } = params;
    let subject = ending::subject(gateway, run_id.clone()).await?;
    let timeout = Some(Duration::from_millis(timeout_ms));
    Ok(waited(run_id, ending::wait(gateway, &subject, timeout).await?))
}

fn waited(run_id: String, sight: Sight) -> AgentWaitResult {
    let nothing = AgentWaitResult {
        run_id,
        status: AgentStatus::Timeout,
        started_at: None,
        ended_at: None,
        stop_reason: None,
        error: None,
        terminal_reply: None,
        outcome: None,
    };
    let (run, text) = match sight {
        Sight::Unknown => {
            let error = Some(format!("no run or message `{}` is known", nothing.run_id));
            return AgentWaitResult { error, ..nothing };
        }
        Sight::Open(run) => {
            return AgentWaitResult { started_at: run.and_then(|r| r.facts.started), ..nothing };
        }
        Sight::Lost(_) => {
            let (status, error) = (AgentStatus::Error, Some(why_lost(&sight)));
            return AgentWaitResult { status, error, ..nothing };
        }
        Sight::Told(row) => {
            return AgentWaitResult {
                status: if row.is_error { AgentStatus::Error } else { AgentStatus::Ok },
                started_at: Some(row.at),
                ended_at: Some(row.at),
                stop_reason: Some("stop".to_owned()),
                error: row.is_error.then(|| row.answer.clone()),
                terminal_reply: Some(TerminalReply {
                    disposition: Disposition::Reply,
                    text: row.answer,
                }),
                ..nothing
            };
        }
        Sight::Ended(run, text) => (run, text),
    };
    let outcome = run.facts.outcome.unwrap_or(Outcome::Interrupted);
    let stop_reason = stop_reason(outcome, run.facts.error.is_some()).map(str::to_owned);
    let ended = AgentWaitResult {
        stop_reason,
        started_at: run.facts.started,
        ended_at: run.facts.ended,
        outcome: Some(outcome.to_string()),
        ..nothing
    };
    if outcome == Outcome::Completed {
        let disposition = if text.is_some() { Disposition::Reply } else { Disposition::Silent };
        let text = text.unwrap_or_default();
        return AgentWaitResult {
            status: AgentStatus::Ok,
            terminal_reply: Some(TerminalReply { disposition, text }),
            ..ended
        };
    }
    let error = Some(end_words(outcome, run.facts.error.as_deref()));
    AgentWaitResult { status: AgentStatus::Error, error, ..ended }
}
