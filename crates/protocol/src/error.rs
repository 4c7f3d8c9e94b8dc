//! Refusals: a code from a closed list, words for people, details for programs.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use types::word_enum;

use crate::fields::InvalidField;
use crate::scope::{Scope, Scopes};

word_enum! {
    /// What a client does next: mend the request, ask for rights, wait, or pair.
    pub enum ErrorCode {
        InvalidRequest = "INVALID_REQUEST",
        Forbidden = "FORBIDDEN",
        /// Not now: `retryAfterMs` may say when.
        Unavailable = "UNAVAILABLE",
        NotPaired = "NOT_PAIRED",
        ApprovalNotFound = "APPROVAL_NOT_FOUND",
        /// Deprecated: read, never written.
        NotLinked = "NOT_LINKED",
        /// Deprecated: read, never written.
        AgentTimeout = "AGENT_TIMEOUT",
    }
}

/// The `error` of a response.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct ErrorShape {
    pub code: ErrorCode,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

/// The details that we write. The first five are OpenClaw's, word for word.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "code", rename_all = "SCREAMING_SNAKE_CASE", rename_all_fields = "camelCase")]
pub enum Details {
    MissingScope {
        missing_scope: Scope,
        required_scopes: Vec<Scope>,
    },
    UnknownAgentId {
        agent_id: String,
    },
    ProtocolMismatch {
        client_min_protocol: u32,
        client_max_protocol: u32,
        expected_protocol: u32,
    },
    AuthTokenMissing {
        recommended_next_step: &'static str,
    },
    AuthTokenMismatch {
        recommended_next_step: &'static str,
    },
    /// A parameter is missing or wrong.
    InvalidField {
        field: String,
        expected: String,
        got: Option<String>,
    },
}

impl ErrorShape {
    fn new(code: ErrorCode, message: impl Into<String>) -> ErrorShape {
        let message = message.into();
        ErrorShape { code, message, details: None, retryable: None, retry_after_ms: None }
    }

    pub fn invalid_request(message: impl Into<String>) -> ErrorShape {
        ErrorShape::new(ErrorCode::InvalidRequest, message)
    }

    pub fn forbidden(message: impl Into<String>) -> ErrorShape {
        ErrorShape::new(ErrorCode::Forbidden, message)
    }

    /// A fault or a limit of ours: the same request may succeed later.
    pub fn unavailable(message: impl Into<String>) -> ErrorShape {
        let error = ErrorShape::new(ErrorCode::Unavailable, message);
        ErrorShape { retryable: Some(true), ..error }
    }

    /// The gateway is starting. Clients know `startup-sidecars` and come again.
    pub fn starting(retry_after_ms: u64) -> ErrorShape {
        let details = serde_json::json!({ "reason": "startup-sidecars" });
        ErrorShape {
            details: Some(details),
            retry_after_ms: Some(retry_after_ms),
            ..ErrorShape::unavailable("the gateway is starting; retry shortly")
        }
    }

    /// Clients of OpenClaw recognise this very text and do without the method.
    pub fn unknown_method(method: &str) -> ErrorShape {
        ErrorShape::invalid_request(format!("unknown method: {method}"))
    }

    pub fn unknown_agent(agent: &str) -> ErrorShape {
        ErrorShape::invalid_request(format!("unknown agent id \"{agent}\""))
            .with(Details::UnknownAgentId { agent_id: agent.to_owned() })
    }

    pub fn missing_scope(method: &str, required: Scope, held: &Scopes) -> ErrorShape {
        let message =
            format!("missing scope: {required} (`{method}` needs it; this connection has {held})");
        ErrorShape::forbidden(message).with(Details::MissingScope {
            missing_scope: required,
            required_scopes: vec![required],
        })
    }

    pub fn token_missing() -> ErrorShape {
        let details = Details::AuthTokenMissing { recommended_next_step: NEXT_STEP };
        ErrorShape::invalid_request("unauthorized: gateway token missing").with(details)
    }

    pub fn token_mismatch() -> ErrorShape {
        let details = Details::AuthTokenMismatch { recommended_next_step: NEXT_STEP };
        ErrorShape::invalid_request("unauthorized: gateway token mismatch").with(details)
    }

    /// Adds what programs read.
    ///
    /// # Panics
    ///
    /// If `details` does not become JSON, which none of its variants can cause.
    #[must_use]
    pub fn with(self, details: Details) -> ErrorShape {
        let details = serde_json::to_value(details).expect("details are plain data");
        ErrorShape { details: Some(details), ..self }
    }

    /// Returns the detail code, `AUTH_TOKEN_MISMATCH` for example.
    pub fn detail_code(&self) -> Option<&str> {
        self.details.as_ref()?.get("code")?.as_str()
    }
}

/// The advice that clients turn into words.
const NEXT_STEP: &str = "update_auth_credentials";

impl InvalidField {
    /// The refusal of a call of `method`.
    pub fn refusal(self, method: &str) -> ErrorShape {
        let message = format!("invalid {method} params: {self}");
        let InvalidField { field, expected, got } = self;
        ErrorShape::invalid_request(message).with(Details::InvalidField { field, expected, got })
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;

    #[test]
    fn refusals_on_the_wire() {
        let held = Scopes::from_iter([Scope::Read]);
        let lines = [
            ErrorShape::unknown_method("sessions.fork"),
            ErrorShape::missing_scope("chat.send", Scope::Write, &held),
            ErrorShape::unknown_agent("ops"),
            ErrorShape::token_mismatch(),
            ErrorShape::starting(500),
        ]
        .map(|error| serde_json::to_string(&error).unwrap());
        assert_snapshot!(lines.join("\n"), @r#"
        {"code":"INVALID_REQUEST","message":"unknown method: sessions.fork"}
        {"code":"FORBIDDEN","message":"missing scope: operator.write (`chat.send` needs it; this connection has operator.read)","details":{"code":"MISSING_SCOPE","missingScope":"operator.write","requiredScopes":["operator.write"]}}
        {"code":"INVALID_REQUEST","message":"unknown agent id \"ops\"","details":{"code":"UNKNOWN_AGENT_ID","agentId":"ops"}}
        {"code":"INVALID_REQUEST","message":"unauthorized: gateway token mismatch","details":{"code":"AUTH_TOKEN_MISMATCH","recommendedNextStep":"update_auth_credentials"}}
        {"code":"UNAVAILABLE","message":"the gateway is starting; retry shortly","details":{"reason":"startup-sidecars"},"retryable":true,"retryAfterMs":500}
        "#);
    }

    #[test]
    fn the_codes_are_a_closed_list() {
        let text = r#"{"code":"TEAPOT","message":"no"}"#;
        assert!(serde_json::from_str::<ErrorShape>(text).is_err());
        let text = r#"{"code":"NOT_PAIRED","message":"no","details":{"code":"PAIRING_REQUIRED"}}"#;
        let error: ErrorShape = serde_json::from_str(text).unwrap();
        assert_eq!(error.detail_code(), Some("PAIRING_REQUIRED"));
    }
}
