//! What goes to a model and comes back, free of any provider's dialect.
//!
//! An answer is kept twice: as the provider's own bytes ([`AssistantMessage::raw`]), which go
//! back unchanged to the same wire, and as text and calls, which every other part reads.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{ToolSpec, word_enum};

word_enum! {
    /// A provider's dialect: OpenClaw's `models.providers.<id>.api`.
    pub enum Wire {
        AnthropicMessages = "anthropic-messages",
        OpenaiCompletions = "openai-completions",
        OpenaiResponses = "openai-responses",
        GoogleGenerativeAi = "google-generative-ai",
        /// The model that follows a script, in process.
        Scripted = "scripted",
    }
}

word_enum! {
    /// Why a model stopped.
    pub enum StopReason {
        /// It had said what it wanted to say.
        End = "end",
        /// It wants tool results.
        ToolCalls = "tool_calls",
        /// The answer is cut at the output limit.
        Length = "length",
        /// The provider withheld the answer.
        Refusal = "refusal",
    }
}

/// What stands before the conversation, the same for every session of one agent and depth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Prefix {
    pub system: String,
    pub tools: Vec<ToolSpec>,
}

/// One message of a request.
#[derive(Clone, Debug)]
pub enum Message {
    /// Words of a person, or of the system marked as such.
    User(String),
    Assistant(AssistantMessage),
    ToolResult(ToolResult),
}

/// A model's whole answer: the body of an `assistant` entry, as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AssistantMessage {
    pub wire: Wire,
    /// The model that the provider named in its response.
    pub model: String,
    /// Who was asked, as `provider/model`. What is signed or sealed in `raw` is good for it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
    pub text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<ToolCall>,
    pub stop: StopReason,
    /// The answer in the provider's own form: for `anthropic-messages` the `content` array, for
    /// `openai-completions` the `message` object, for `openai-responses` the `output` array, for
    /// `google-generative-ai` the `parts` array. Goes back byte for byte to who was asked.
    pub raw: Box<RawValue>,
}

impl PartialEq for AssistantMessage {
    fn eq(&self, other: &AssistantMessage) -> bool {
        let of = |m: &AssistantMessage| (m.wire, m.stop, m.raw.get().to_owned());
        of(self) == of(other)
            && (&self.model, &self.asked) == (&other.model, &other.asked)
            && (&self.text, &self.calls) == (&other.text, &other.calls)
    }
}

/// A tool that a model wants to be called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolCall {
    /// The provider's text, kept byte for byte.
    pub id: String,
    pub name: String,
    /// The arguments as the model wrote them: meant to be a JSON object, perhaps broken.
    pub arguments: String,
}

/// The answer to a [`ToolCall`]: the body of a `tool_result` entry, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolResult {
    pub call_id: String,
    pub name: String,
    pub text: String,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_error: bool,
}

word_enum! {
    /// Whether what a model thinks is shown to people, beside what it says.
    pub enum Reasoning {
        /// Only to a client that asks for it.
        Off = "off",
        /// Whole, before the answer.
        On = "on",
        /// As it comes.
        Stream = "stream",
    }
}

word_enum! {
    /// What people are told under each answer about what it took.
    pub enum Footer {
        Off = "off",
        Tokens = "tokens",
        /// Tokens and cost.
        Full = "full",
    }
}

impl Reasoning {
    pub fn is_off(self) -> bool {
        self == Reasoning::Off
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_raw_answer_survives_storage_byte_for_byte() {
        let raw = r#"[{"type":"thinking","signature":"a+/=","x":1.0e3},  {"b":2,"a":1}]"#;
        let message = AssistantMessage {
            wire: Wire::AnthropicMessages,
            model: "m".to_owned(),
            asked: Some("p/m".to_owned()),
            text: String::new(),
            calls: Vec::new(),
            stop: StopReason::End,
            raw: RawValue::from_string(raw.to_owned()).unwrap(),
        };
        let stored = serde_json::to_string(&message).unwrap();
        let loaded: AssistantMessage = serde_json::from_str(&stored).unwrap();
        assert_eq!(loaded.raw.get(), raw);
        assert_eq!(loaded, message);
    }
}
