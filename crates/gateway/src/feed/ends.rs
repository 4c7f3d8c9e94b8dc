//! How a run ends, as clients are told, and what they are told beside runs.

use machine::effect::RunEnded;
use machine::rows::Outcome;
use protocol::Event;
use protocol::agent::Lifecycle;
use protocol::chat::{ChatEvent, ChatState, ErrorKind};
use protocol::message::{ChatMessage, ChatRole, Provenance};
use types::{SessionKey, Timestamp};

use super::{Audience, Facts, Out};
use crate::footer;

/// Something that the gateway itself tells a person: the whole text at once, under a run id of its
/// own, and marked as that of another session.
pub fn told(
    session: &SessionKey,
    subject: &str,
    source: &SessionKey,
    text: &str,
    now: Timestamp,
) -> Out {
    let message = ChatMessage {
        provenance: Some(Provenance::of_session(source.clone())),
        ..ChatMessage::text(ChatRole::Assistant, text, now)
    };
    let state = ChatState::Final {
        message: Some(message),
        usage: None,
        stop_reason: Some("stop".to_owned()),
        yielded: false,
    };
    let event = ChatEvent {
        run_id: format!("announce:{subject}"),
        agent_id: Some(session.agent.clone()),
        session_key: session.clone(),
        spawned_by: None,
        seq: 1,
        state,
    };
    Out { audience: Audience::Readers, event: Event::Chat(Box::new(event)) }
}

/// What people read of an end that is no answer.
pub fn end_words(outcome: Outcome, error: Option<&str>) -> String {
    if let Some(error) = error {
        return error.to_owned();
    }
    match outcome {
        Outcome::Completed => "completed",
        Outcome::NoResult => "the model gave no answer",
        Outcome::Failed => "the run failed",
        Outcome::TimedOut => "the run was ended at its time limit",
        Outcome::Cancelled => "the run was stopped",
        Outcome::Interrupted => "the run was interrupted and could not be continued",
    }
    .to_owned()
}

pub(super) fn lifecycle(end: &RunEnded, ended_at: Timestamp) -> Lifecycle {
    match end.outcome {
        Outcome::Completed => {
            Lifecycle::End { ended_at, aborted: false, stop_reason: Some(stop_reason(end)) }
        }
        Outcome::Cancelled => {
            Lifecycle::End { ended_at, aborted: true, stop_reason: Some("aborted".to_owned()) }
        }
        Outcome::NoResult | Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => {
            let error = end_words(end.outcome, end.error.as_deref());
            Lifecycle::Error { ended_at, error }
        }
    }
}

/// What ended an answer. A run that has completed has an error only if its answer was cut.
fn stop_reason(end: &RunEnded) -> String {
    if end.error.is_some() { "length".to_owned() } else { "stop".to_owned() }
}

pub(super) fn chat_end(end: &RunEnded, facts: Facts, now: Timestamp) -> ChatState {
    let text = match end.outcome {
        Outcome::Completed => footer::joined(end.text.clone(), facts.footer),
        _ => end.text.clone(),
    };
    let message = text.as_ref().map(|text| ChatMessage {
        usage: facts.usage,
        ..ChatMessage::text(ChatRole::Assistant, text.as_str(), now)
    });
    match end.outcome {
        Outcome::Completed => ChatState::Final {
            message,
            usage: facts.usage,
            stop_reason: Some(stop_reason(end)),
            yielded: false,
        },
        Outcome::Cancelled => ChatState::Aborted {
            message,
            error_message: end.error.clone(),
            stop_reason: Some("aborted".to_owned()),
        },
        Outcome::NoResult | Outcome::Failed | Outcome::TimedOut | Outcome::Interrupted => {
            let timed_out = end.outcome == Outcome::TimedOut;
            let of_class = facts.error_class.map_or(ErrorKind::Unknown, ErrorKind::from);
            ChatState::Error {
                message,
                error_message: end_words(end.outcome, end.error.as_deref()),
                error_kind: if timed_out { ErrorKind::Timeout } else { of_class },
                error_detail: None,
            }
        }
    }
}
