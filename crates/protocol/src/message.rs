//! A transcript's message as clients draw it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use types::{AssistantMessage, SessionKey, Timestamp, ToolResult, Usage, word_enum};

word_enum! {
    pub enum ChatRole {
        User = "user",
        Assistant = "assistant",
        ToolResult = "toolResult",
        System = "system",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChatMessage {
    pub role: ChatRole,
    pub content: Vec<Block>,
    pub timestamp: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_error: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<WireUsage>,
    /// `<runId>:user` for the message that began a run: clients match what they show with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Where words came from that have the role of a user and that no person wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provenance: Option<Provenance>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    pub kind: ProvenanceKind,
    /// Which session, where one can be named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_session_key: Option<SessionKey>,
}

impl Provenance {
    pub fn of(kind: ProvenanceKind) -> Provenance {
        Provenance { kind, source_session_key: None }
    }

    /// Words of another session.
    pub fn of_session(source: SessionKey) -> Provenance {
        Provenance { kind: ProvenanceKind::InterSession, source_session_key: Some(source) }
    }
}

word_enum! {
    pub enum ProvenanceKind {
        /// Another session: a brief, a message, the result of a child.
        InterSession = "inter_session",
        /// A schedule, a hook, or the gateway itself.
        InternalSystem = "internal_system",
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Block {
    Text {
        text: String,
    },
    ToolCall {
        id: String,
        name: String,
        /// An object, or the model's own text if that was not one.
        arguments: Value,
    },
}

/// Tokens, with the sum that clients expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireUsage {
    #[serde(flatten)]
    pub usage: Usage,
    pub total_tokens: u64,
}

impl From<Usage> for WireUsage {
    fn from(usage: Usage) -> WireUsage {
        WireUsage { usage, total_tokens: usage.total() }
    }
}

impl ChatMessage {
    fn new(role: ChatRole, content: Vec<Block>, timestamp: Timestamp) -> ChatMessage {
        ChatMessage {
            role,
            content,
            timestamp,
            tool_call_id: None,
            tool_name: None,
            is_error: None,
            model: None,
            provider: None,
            usage: None,
            idempotency_key: None,
            provenance: None,
        }
    }

    /// A message that is only words.
    pub fn text(role: ChatRole, text: impl Into<String>, timestamp: Timestamp) -> ChatMessage {
        ChatMessage::new(role, vec![Block::Text { text: text.into() }], timestamp)
    }

    pub fn assistant(answer: &AssistantMessage, timestamp: Timestamp) -> ChatMessage {
        let words = (!answer.text.is_empty()).then(|| Block::Text { text: answer.text.clone() });
        let calls = answer.calls.iter().map(|call| Block::ToolCall {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: match serde_json::from_str(&call.arguments) {
                Ok(Value::Object(arguments)) => Value::Object(arguments),
                _ => Value::String(call.arguments.clone()),
            },
        });
        let content = words.into_iter().chain(calls).collect();
        let message = ChatMessage::new(ChatRole::Assistant, content, timestamp);
        ChatMessage { model: Some(answer.model.clone()), ..message }
    }

    pub fn tool_result(result: &ToolResult, timestamp: Timestamp) -> ChatMessage {
        ChatMessage {
            tool_call_id: Some(result.call_id.clone()),
            tool_name: Some(result.name.clone()),
            is_error: Some(result.is_error),
            ..ChatMessage::text(ChatRole::ToolResult, result.text.clone(), timestamp)
        }
    }

    /// Returns the words, without calls.
    pub fn words(&self) -> String {
        self.content
            .iter()
            .filter_map(|block| match block {
                Block::Text { text } => Some(text.as_str()),
                Block::ToolCall { .. } => None,
            })
            .collect()
    }
}
