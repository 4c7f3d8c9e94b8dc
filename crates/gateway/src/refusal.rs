//! Refusals of the machine and the runtime, in the codes of the protocol.

use machine::Refusal;
use protocol::ErrorShape;
use runtime::SubmitError;

/// Nothing of the input is stored. Says whether and when to try again.
pub fn refused(refusal: &Refusal) -> ErrorShape {
    if let Refusal::UnknownAgent(agent) = refusal {
        return ErrorShape::unknown_agent(agent.as_str());
    }
    match refusal.retry_after_ms() {
        Some(ms) => {
            ErrorShape { retry_after_ms: Some(ms), ..ErrorShape::unavailable(refusal.to_string()) }
        }
        None => ErrorShape::invalid_request(refusal.to_string()),
    }
}

pub fn not_submitted(error: &SubmitError) -> ErrorShape {
    let retry_after_ms = error.retry_after_ms();
    ErrorShape {
        retry_after_ms,
        retryable: Some(retry_after_ms.is_some()),
        ..ErrorShape::unavailable(error.to_string())
    }
}

/// The machine answered something that this event cannot have.
pub fn unexpected(answer: &machine::Answer) -> ErrorShape {
    tracing::error!(?answer, "an answer of the wrong kind");
    ErrorShape { retryable: Some(false), ..ErrorShape::unavailable("internal error, a bug") }
}

#[cfg(test)]
mod tests {
    use protocol::ErrorCode::{InvalidRequest, Unavailable};

    use super::*;

    #[test]
    fn a_refusal_says_what_to_do_next() {
        let session: types::SessionKey = "agent:main:main".parse().unwrap();
        let agent: types::AgentId = "ops".parse().unwrap();
        let full = Refusal::QueueFull { session: session.clone(), queued: 20, limit: 20 };
        #[rustfmt::skip]
        let table = [
            // refusal                                     code            retry
            (Refusal::Draining,                            Unavailable,    Some(2_000)),
            (Refusal::StoreFull,                           Unavailable,    Some(30_000)),
            (full,                                         Unavailable,    Some(1_000)),
            (Refusal::EmptyMessage,                        InvalidRequest, None),
            (Refusal::TooLarge { bytes: 2, limit: 1 },     InvalidRequest, None),
            (Refusal::IdempotencyConflict("k".to_owned()), InvalidRequest, None),
            (Refusal::SessionNotFound(session),            InvalidRequest, None),
            (Refusal::UnknownAgent(agent),                 InvalidRequest, None),
        ];
        for (refusal, code, retry) in table {
            let error = refused(&refusal);
            assert_eq!((error.code, error.retry_after_ms), (code, retry), "{refusal}");
        }
        let ops = refused(&Refusal::UnknownAgent("ops".parse().unwrap()));
        assert_eq!(ops.detail_code(), Some("UNKNOWN_AGENT_ID"));
        assert_eq!(not_submitted(&SubmitError::Busy).retry_after_ms, Some(500));
        let bug = not_submitted(&SubmitError::Bug("x".to_owned()));
        assert_eq!(bug.retryable, Some(false));
    }
}
