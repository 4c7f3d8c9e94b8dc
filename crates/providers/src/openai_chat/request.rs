//! A request as Chat Completions wants it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use types::{FailureClass, Thinking, ToolSpec, Wire};

use crate::ModelRequest;
use crate::conversation::{Answer, Said, Turn, object_arguments, portable_name, turns};
use crate::error::Fault;
use crate::thinking;

/// What the bound on the output is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Everyone's name for it.
    MaxTokens,
    /// OpenAI's own, since its newer models refuse the other.
    MaxCompletionTokens,
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    /// DashScope's.
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_thinking: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_budget: Option<u32>,
    /// Z.ai's.
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Switch>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    messages: Vec<WireMessage<'a>>,
}

/// How a server is told how long to think: everyone has copied the rest of this wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    Openai,
    Dashscope,
    Zai,
}

impl Dialect {
    pub fn of_host(host: &str) -> Dialect {
        match host {
            host if host.contains("dashscope") => Dialect::Dashscope,
            host if host.ends_with("z.ai") || host.ends_with("bigmodel.cn") => Dialect::Zai,
            _ => Dialect::Openai,
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Switch {
    Enabled,
    Disabled,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tool<'a> {
    Function { function: ToolFunction<'a> },
}

#[derive(Serialize)]
struct ToolFunction<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a Value,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WireMessage<'a> {
    Raw(&'a RawValue),
    Role(Role<'a>),
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Role<'a> {
    System {
        content: &'a str,
    },
    User {
        content: Cow<'a, str>,
    },
    Assistant {
        content: Option<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: Cow<'a, str>,
        content: Cow<'a, str>,
    },
}

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CallFunction<'a>,
}

#[derive(Serialize)]
struct CallFunction<'a> {
    name: Cow<'a, str>,
    arguments: String,
}

/// Writes the body of the request to who is `asked`.
pub(crate) fn body(
    request: &ModelRequest,
    asked: &str,
    limit: Limit,
    dialect: Dialect,
) -> Result<Vec<u8>, Fault> {
    let mut messages = Vec::new();
    if !request.prefix.system.trim().is_empty() {
        messages.push(WireMessage::Role(Role::System { content: &request.prefix.system }));
    }
    for turn in turns(&request.messages, Wire::OpenaiCompletions, asked) {
        extend(&mut messages, turn);
    }
    let max = |name| (limit == name).then_some(request.max_output_tokens);
    let level = request.thinking;
    let by = |one: Dialect| level.filter(|_| dialect == one);
    let on = |level: Thinking| level != Thinking::Off;
    let budget = |level| thinking::budget(level, request.max_output_tokens);
    // OpenAI's models that reason refuse both; others that think take them.
    let openai = thinking::is_openai_reasoner(&request.model);
    let sampling = request.sampling.unless(openai);
    let body = Body {
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        reasoning_effort: by(Dialect::Openai).and_then(|l| thinking::effort(l, &request.model)),
        enable_thinking: by(Dialect::Dashscope).map(on),
        thinking_budget: by(Dialect::Dashscope).and_then(budget),
        thinking: by(Dialect::Zai).map(|l| if on(l) { Switch::Enabled } else { Switch::Disabled }),
        model: &request.model,
        max_tokens: max(Limit::MaxTokens),
        max_completion_tokens: max(Limit::MaxCompletionTokens),
        stream: true,
        stream_options: StreamOptions { include_usage: true },
        tools: request.prefix.tools.iter().map(tool).collect(),
        messages,
    };
    serde_json::to_vec(&body).map_err(|error| Fault::new(FailureClass::Internal, error.to_string()))
}

fn tool(spec: &ToolSpec) -> Tool<'_> {
    Tool::Function {
        function: ToolFunction {
            name: &spec.name,
            description: &spec.description,
            parameters: &spec.input_schema,
        },
    }
}

fn extend<'a>(messages: &mut Vec<WireMessage<'a>>, turn: Turn<'a>) {
    match turn {
        Turn::User { answers, texts } => {
            messages.extend(answers.into_iter().map(tool_message));
            let user = |content| WireMessage::Role(Role::User { content });
            messages.extend(texts.into_iter().map(user));
        }
        Turn::Assistant(Said::Here(message)) => messages.push(WireMessage::Raw(&message.raw)),
        Turn::Assistant(said @ Said::Elsewhere(message)) => {
            let calls = message.calls.iter().map(|call| Call {
                id: said.call_id(&call.id),
                kind: "function",
                function: CallFunction {
                    name: portable_name(&call.name),
                    arguments: object_arguments(&call.arguments).get().to_owned(),
                },
            });
            messages.push(WireMessage::Role(Role::Assistant {
                content: Some(message.text.as_str()).filter(|text| !text.is_empty()),
                tool_calls: calls.collect(),
            }));
        }
    }
}

/// This wire has no mark for an error, so the text says it.
fn tool_message(answer: Answer<'_>) -> WireMessage<'_> {
    let content = match answer.is_error {
        true => format!("error: {}", answer.text).into(),
        false => answer.text.into(),
    };
    WireMessage::Role(Role::Tool { tool_call_id: answer.call_id, content })
}
