//! The dialects: what a request must look like, and how an answer is written.
//!
//! Reading is as strict as the providers are, with their statuses and words, so that a gateway
//! that passes here passes there. Where a provider is known to be lenient by accident (it merges
//! consecutive messages of one role), the stub is not.

mod anthropic;
mod anthropic_messages;
mod anthropic_out;
mod google;
mod google_contents;
mod google_out;
mod openai;
mod openai_out;
mod responses;
mod responses_items;
mod responses_out;

use std::fmt;

use serde_json::{Map, Value, json};

use crate::answer::Answer;
use crate::cache::Usage;
use crate::conversation::Conversation;
use crate::digest::{digest, seal};
use crate::play::Frame;

/// A dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    Anthropic,
    Openai,
    Responses,
    Google,
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Wire::Anthropic => "anthropic-messages",
            Wire::Openai => "openai-completions",
            Wire::Responses => "openai-responses",
            Wire::Google => "google-generative-ai",
        })
    }
}

/// A request that passed all checks but those that need the server's options.
#[derive(Clone, Debug)]
pub struct Prompt {
    pub model: String,
    pub stream: bool,
    /// `stream_options.include_usage`; the Anthropic wire always tells.
    pub include_usage: bool,
    /// Most tokens of the answer.
    pub output_limit: Option<u64>,
    /// What is said of thinking, as the wire says it; empty if nothing is.
    pub thinking: String,
    pub talk: Conversation,
    /// The prompt in the order in which it is cached.
    pub blocks: Vec<Block>,
}

/// A piece of the prompt as the cache sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its JSON without cache marks.
    pub bytes: String,
    /// A breakpoint stands after it.
    pub mark: Option<Lifetime>,
}

/// How long a cached prefix lasts after its last use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    Minutes5,
    Hour1,
}

/// The tokens of `bytes`: a quarter of them, rounded up.
pub fn tokens(bytes: usize) -> u64 {
    bytes.div_ceil(4) as u64
}

impl Prompt {
    pub fn input_tokens(&self) -> u64 {
        tokens(self.blocks.iter().map(|block| block.bytes.len()).sum())
    }
}

/// An answer with all that a wire needs to write it.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// Unique among the answers of this stub.
    pub id: &'a str,
    pub model: &'a str,
    pub created_s: u64,
    /// Names the conversation that is answered.
    pub digest: &'a str,
    pub answer: &'a Answer,
    pub usage: Usage,
    pub include_usage: bool,
}

impl Reply<'_> {
    /// Returns 12 hex digits that differ for every call of a conversation.
    fn nonce(&self, call: usize) -> String {
        digest(format!("{} {call}", self.digest))[..12].to_owned()
    }

    /// Returns the whole answer as a JSON body.
    pub fn whole(&self, wire: Wire) -> Value {
        match wire {
            Wire::Anthropic => anthropic_out::whole(self),
            Wire::Openai => openai_out::whole(self),
            Wire::Responses => responses_out::whole(self),
            Wire::Google => google_out::whole(self),
        }
    }

    /// Returns the frames of the answer's stream.
    pub fn frames(&self, wire: Wire, flood: u64) -> Vec<Frame> {
        match wire {
            Wire::Anthropic => anthropic_out::frames(self, flood),
            Wire::Openai => openai_out::frames(self, flood),
            Wire::Responses => responses_out::frames(self, flood),
            Wire::Google => google_out::frames(self, flood),
        }
    }
}

impl Wire {
    pub const ALL: [Wire; 4] = [Wire::Anthropic, Wire::Openai, Wire::Responses, Wire::Google];

    /// Reads a request body. `method` is the end of the path where that says which model is
    /// asked, and how: `stub-1:streamGenerateContent`.
    pub fn read(self, method: &str, body: &Value) -> Result<Prompt, Refusal> {
        match self {
            Wire::Anthropic => anthropic::read(body),
            Wire::Openai => openai::read(body),
            Wire::Responses => responses::read(body),
            Wire::Google => google::read(method, body),
        }
    }

    /// Says whether this is one of OpenAI's own wires, which share words and shapes of errors.
    pub fn is_openai(self) -> bool {
        matches!(self, Wire::Openai | Wire::Responses)
    }

    /// Returns the frame of an error inside a stream.
    pub fn error_frame(self, refusal: &Refusal) -> Frame {
        match self {
            Wire::Anthropic => anthropic_out::error_frame(refusal),
            Wire::Openai => openai_out::error_frame(refusal),
            Wire::Responses => responses_out::error_frame(refusal),
            Wire::Google => google_out::error_frame(refusal),
        }
    }
}

/// A request that is not answered, with what a provider would say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub message: String,
    /// Replaces the provider's `type` for this status.
    pub class: Option<String>,
    pub param: Option<String>,
    pub code: Option<&'static str>,
    pub retry_after_s: Option<u64>,
}

impl Refusal {
    /// A request that is malformed: 400.
    pub fn bad(message: impl Into<String>) -> Refusal {
        let message = message.into();
        Refusal { status: 400, message, class: None, param: None, code: None, retry_after_s: None }
    }

    /// What a provider says of itself with this status.
    pub fn of_status(status: u16) -> Refusal {
        let (message, code) = match status {
            401 => ("invalid api key", Some("invalid_api_key")),
            402 => ("the account has no credit left", Some("insufficient_quota")),
            403 => ("the api key may not do this", None),
            404 => ("not found", None),
            413 => ("request exceeds the maximum size", Some("request_too_large")),
            429 => ("rate limit reached, try again later", Some("rate_limit_exceeded")),
            503 => ("the server is overloaded, try again later", None),
            529 => ("Overloaded", None),
            500.. => ("internal server error", None),
            _ => ("the request was refused", None),
        };
        Refusal { status, code, ..Refusal::bad(message) }
    }

    pub fn param(self, param: impl Into<String>) -> Refusal {
        Refusal { param: Some(param.into()), ..self }
    }

    pub fn code(self, code: &'static str) -> Refusal {
        Refusal { code: Some(code), ..self }
    }

    pub fn class(&self, wire: Wire) -> &str {
        if let Some(class) = &self.class {
            return class;
        }
        match (wire, self.status) {
            (Wire::Anthropic, 401) => "authentication_error",
            (Wire::Anthropic, 402) => "billing_error",
            (Wire::Anthropic, 403) => "permission_error",
            (Wire::Anthropic, 404) => "not_found_error",
            (Wire::Anthropic, 413) => "request_too_large",
            (Wire::Anthropic, 429) => "rate_limit_error",
            (Wire::Anthropic, 504) => "timeout_error",
            (Wire::Anthropic, 529) => "overloaded_error",
            (Wire::Anthropic, 500..) => "api_error",
            (Wire::Google, 401) => "UNAUTHENTICATED",
            (Wire::Google, 402 | 403) => "PERMISSION_DENIED",
            (Wire::Google, 404) => "NOT_FOUND",
            (Wire::Google, 429) => "RESOURCE_EXHAUSTED",
            (Wire::Google, 503 | 529) => "UNAVAILABLE",
            (Wire::Google, 504) => "DEADLINE_EXCEEDED",
            (Wire::Google, 500..) => "INTERNAL",
            (Wire::Google, _) => "INVALID_ARGUMENT",
            (_, 402) => "insufficient_quota",
            (_, 429) => "requests",
            (_, 500..) => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// Returns the error body of `wire`.
    pub fn body(&self, wire: Wire) -> Value {
        let class = self.class(wire);
        match wire {
            Wire::Anthropic => {
                json!({"type": "error", "error": {"type": class, "message": self.message}})
            }
            Wire::Openai | Wire::Responses => json!({"error": {
                "message": self.message,
                "type": class,
                "param": self.param,
                "code": self.code,
            }}),
            Wire::Google => google_out::error(self, class),
        }
    }
}

/// Seals a tool call in its id: a gateway must return id, name and arguments as they were. The
/// nonce keeps the ids of a conversation apart.
pub fn call_id(prefix: &str, nonce: &str, name: &str, arguments: &str) -> String {
    format!("{prefix}{nonce}{}", seal(&[nonce, name, arguments]))
}

/// Says whether `id` was made by [`call_id`] for another call than this.
pub fn call_was_altered(prefix: &str, id: &str, name: &str, arguments: &str) -> bool {
    let Some(rest) = id.strip_prefix(prefix) else { return false };
    match rest.split_at_checked(12) {
        Some((nonce, sealed)) => sealed != seal(&[nonce, name, arguments]),
        None => true,
    }
}

/// `^[a-zA-Z0-9_-]{1,64}$`.
pub fn is_tool_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Returns `map` as JSON without its cache mark: what is hashed and counted.
fn unmarked(map: &Map<String, Value>) -> String {
    let mut map = map.clone();
    map.shift_remove("cache_control");
    Value::Object(map).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_the_shape_of_their_wire() {
        let refusal = Refusal::bad("no").param("messages").code("invalid_value");
        assert_eq!(
            refusal.body(Wire::Anthropic).to_string(),
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"no"}}"#
        );
        assert_eq!(
            refusal.body(Wire::Openai)["error"],
            json!({"message": "no", "type": "invalid_request_error", "param": "messages",
                   "code": "invalid_value"})
        );
        assert_eq!(Refusal::of_status(529).class(Wire::Anthropic), "overloaded_error");
        assert_eq!(Refusal::of_status(500).class(Wire::Openai), "server_error");
    }

    #[test]
    fn a_sealed_call_shows_every_change() {
        let id = call_id("call_st", "0123456789ab", "exec", "{}");
        assert!(!call_was_altered("call_st", &id, "exec", "{}"));
        assert!(!call_was_altered("call_st", "toolu_of_another", "exec", "{}"));
        for (id, name, arguments) in [
            (id.as_str(), "read", "{}"),
            (id.as_str(), "exec", "{ }"),
            (&id[..20], "exec", "{}"),
            ("call_st", "exec", "{}"),
        ] {
            assert!(call_was_altered("call_st", id, name, arguments), "{id} {name} {arguments}");
        }
        assert!(id.len() <= 40, "the longest id that OpenAI takes has 40 characters");
    }
}
