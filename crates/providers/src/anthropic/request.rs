//! A request as the Messages API wants it.
//!
//! The prompt is cached at four places, the most that the API takes: behind the tools, behind
//! the system prompt, and behind the newest two turns of the user. The older of these two is
//! where the last call wrote its cache, so this call is sure to find it, however many blocks
//! lie between.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use types::{FailureClass, Thinking, ToolSpec, Wire};

use crate::ModelRequest;
use crate::anthropic::blocks::{Kept, kept};
use crate::conversation::{Answer, Said, Turn, object_arguments, portable_name, turns};
use crate::error::Fault;
use crate::thinking;

/// Newest turns of the user that end with a cache mark.
const MARKED_TURNS: usize = 2;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<ThinkingConfig>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<WireMessage<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ThinkingConfig {
    Enabled { budget_tokens: u32 },
    Adaptive,
}

#[derive(Serialize)]
struct OutputConfig {
    effort: &'static str,
}

/// From here on a model decides itself how long it thinks, and is told how much it is worth.
const ADAPTIVE_SINCE: (u32, u32) = (4, 6);

fn thinking_config(request: &ModelRequest) -> (Option<ThinkingConfig>, Option<OutputConfig>) {
    let Some(level) = request.thinking.filter(|level| *level != Thinking::Off) else {
        return (None, None);
    };
    let version = thinking::claude(&request.model).unwrap_or_default();
    if version < ADAPTIVE_SINCE {
        let budget = thinking::budget(level, request.max_output_tokens);
        return (budget.map(|budget_tokens| ThinkingConfig::Enabled { budget_tokens }), None);
    }
    let effort = match level {
        Thinking::Off | Thinking::Minimal | Thinking::Low => "low",
        Thinking::Medium => "medium",
        Thinking::High => "high",
        Thinking::Xhigh if version > ADAPTIVE_SINCE => "xhigh",
        Thinking::Xhigh => "high",
        Thinking::Max => "max",
    };
    (Some(ThinkingConfig::Adaptive), Some(OutputConfig { effort }))
}

/// An answer whose calls are answered now must begin with a thought, if thinking is on: one that
/// was given without, or by another model, has none. So this call is made without.
fn may_think(turns: &[Turn<'_>]) -> bool {
    let Some(Turn::User { answers, .. }) = turns.last() else { return true };
    let before = turns.iter().rev().nth(1);
    match before {
        Some(Turn::Assistant(Said::Here(message))) if !answers.is_empty() => {
            let blocks: Vec<Kind> = serde_json::from_str(message.raw.get()).unwrap_or_default();
            let first = blocks.first().map(|block| block.kind.as_str());
            matches!(first, Some("thinking" | "redacted_thinking"))
        }
        Some(Turn::Assistant(Said::Elsewhere(_))) => answers.is_empty(),
        _ => true,
    }
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Serialize)]
struct WireMessage<'a> {
    role: &'static str,
    content: Content<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Raw(&'a RawValue),
    Part(Vec<&'a RawValue>),
    Blocks(Vec<Block<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: Box<RawValue>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: &'a str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
}

#[derive(Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CacheControl {
    Ephemeral,
}

/// Writes the body of the request to who is `asked`.
pub(crate) fn body(request: &ModelRequest, asked: &str) -> Result<Vec<u8>, Fault> {
    let mut tools: Vec<Tool<'_>> = request.prefix.tools.iter().map(tool).collect();
    if let Some(last) = tools.last_mut() {
        last.cache_control = Some(CacheControl::Ephemeral);
    }
    let system = match request.prefix.system.trim() {
        "" => Vec::new(),
        _ => vec![Block::Text {
            text: request.prefix.system.as_str().into(),
            cache_control: Some(CacheControl::Ephemeral),
        }],
    };
    let turns = turns(&request.messages, Wire::AnthropicMessages, asked);
    let (thinking, output_config) = match may_think(&turns) {
        true => thinking_config(request),
        false => (None, None),
    };
    let mut messages: Vec<_> = turns.into_iter().map(message).collect();
    mark_newest(&mut messages);
    // While it thinks, the API takes neither.
    let sampling = request.sampling.unless(thinking.is_some());
    let body = Body {
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        model: &request.model,
        max_tokens: request.max_output_tokens,
        stream: true,
        thinking,
        output_config,
        tools,
        system,
        messages,
    };
    serde_json::to_vec(&body).map_err(|error| Fault::new(FailureClass::Internal, error.to_string()))
}

fn tool(spec: &ToolSpec) -> Tool<'_> {
    Tool {
        name: &spec.name,
        description: &spec.description,
        input_schema: &spec.input_schema,
        cache_control: None,
    }
}

fn message(turn: Turn<'_>) -> WireMessage<'_> {
    match turn {
        Turn::User { answers, texts } => {
            let text = |text| Block::Text { text, cache_control: None };
            let blocks = answers.into_iter().map(tool_result).chain(texts.into_iter().map(text));
            WireMessage { role: "user", content: Content::Blocks(blocks.collect()) }
        }
        Turn::Assistant(Said::Here(message)) => {
            let content = match kept(&message.raw) {
                Kept::Whole(raw) => Content::Raw(raw),
                Kept::Part(blocks) => Content::Part(blocks),
            };
            WireMessage { role: "assistant", content }
        }
        Turn::Assistant(said @ Said::Elsewhere(message)) => {
            let mut blocks = Vec::new();
            if !message.text.trim().is_empty() {
                blocks.push(Block::Text { text: (&message.text).into(), cache_control: None });
            }
            blocks.extend(message.calls.iter().map(|call| Block::ToolUse {
                id: said.call_id(&call.id),
                name: portable_name(&call.name),
                input: object_arguments(&call.arguments),
            }));
            WireMessage { role: "assistant", content: Content::Blocks(blocks) }
        }
    }
}

fn tool_result(answer: Answer<'_>) -> Block<'_> {
    Block::ToolResult {
        tool_use_id: answer.call_id,
        content: answer.text,
        is_error: answer.is_error,
        cache_control: None,
    }
}

fn mark_newest(messages: &mut [WireMessage<'_>]) {
    let of_user = messages.iter_mut().rev().filter(|message| message.role == "user");
    for message in of_user.take(MARKED_TURNS) {
        let Content::Blocks(blocks) = &mut message.content else { continue };
        match blocks.last_mut() {
            Some(Block::Text { cache_control, .. } | Block::ToolResult { cache_control, .. }) => {
                *cache_control = Some(CacheControl::Ephemeral);
            }
            Some(Block::ToolUse { .. }) | None => {}
        }
    }
}
