//! A request as the Gemini API wants it: contents of parts.
//!
//! A call has an id only if the model gave it one, so results are told in the order of the calls,
//! by name, and with the id if there is one. Newer models want the first call of each of their
//! turns to carry the signature of the thought behind it; for calls that another model has made,
//! the documentation names a signature that is not checked.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use types::{AssistantMessage, FailureClass, Thinking, ToolSpec, Wire};

use crate::ModelRequest;
use crate::conversation::{Answer, Said, Turn, object_arguments, portable_name, turns};
use crate::error::Fault;
use crate::thinking;

/// Stands for the signature of a thought that was not Gemini's.
const UNSIGNED: &str = "skip_thought_signature_validator";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Content<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    generation_config: GenerationConfig,
    contents: Vec<Content<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig {
    max_output_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
}

/// Older models are given tokens, newer ones a word; both at once are refused.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum ThinkingConfig {
    ThinkingBudget(u32),
    ThinkingLevel(&'static str),
}

fn thinking_config(level: Thinking, model: &str, max: u32) -> Option<ThinkingConfig> {
    if model.contains("gemini-3") {
        let low = matches!(level, Thinking::Off | Thinking::Minimal | Thinking::Low);
        return Some(ThinkingConfig::ThinkingLevel(if low { "low" } else { "high" }));
    }
    match level {
        // The larger models cannot be kept from it.
        Thinking::Off if model.contains("pro") => Some(ThinkingConfig::ThinkingBudget(128)),
        Thinking::Off => Some(ThinkingConfig::ThinkingBudget(0)),
        level => thinking::budget(level, max).map(ThinkingConfig::ThinkingBudget),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Function<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    /// `parameters` takes only a part of JSON Schema.
    parameters_json_schema: &'a Value,
}

#[derive(Serialize)]
struct Content<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Parts<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Parts<'a> {
    Raw(&'a RawValue),
    Known(Vec<Part<'a>>),
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<FunctionResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'static str>,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    name: Cow<'a, str>,
    args: Box<RawValue>,
}

#[derive(Serialize)]
struct FunctionResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Cow<'a, str>>,
    name: Cow<'a, str>,
    response: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome<'a> {
    Output(&'a str),
    Error(&'a str),
}

/// Writes the body of the request to who is `asked`.
pub(crate) fn body(request: &ModelRequest, asked: &str) -> Result<Vec<u8>, Fault> {
    let mut contents = Vec::new();
    let mut before = None;
    for turn in turns(&request.messages, Wire::GoogleGenerativeAi, asked) {
        match turn {
            Turn::User { answers, texts } => user(&mut contents, before, answers, texts),
            Turn::Assistant(said) => {
                contents.push(Content { role: Some("model"), parts: parts(said, &request.model) });
                before = Some(said);
            }
        }
    }
    let system = match request.prefix.system.trim() {
        "" => None,
        _ => Some(Content {
            role: None,
            parts: Parts::Known(vec![text(request.prefix.system.as_str().into())]),
        }),
    };
    let functions: Vec<Function<'_>> = request.prefix.tools.iter().map(function).collect();
    let body = Body {
        system_instruction: system,
        tools: match functions.is_empty() {
            true => Vec::new(),
            false => vec![Tools { function_declarations: functions }],
        },
        generation_config: GenerationConfig {
            max_output_tokens: request.max_output_tokens,
            temperature: request.sampling.temperature,
            top_p: request.sampling.top_p,
            thinking_config: request.thinking.and_then(|level| {
                thinking_config(level, &request.model, request.max_output_tokens)
            }),
        },
        contents,
    };
    serde_json::to_vec(&body).map_err(|error| Fault::new(FailureClass::Internal, error.to_string()))
}

fn function(spec: &ToolSpec) -> Function<'_> {
    Function {
        name: &spec.name,
        description: &spec.description,
        parameters_json_schema: &spec.input_schema,
    }
}

fn text(text: Cow<'_, str>) -> Part<'_> {
    Part { text: Some(text), ..Part::default() }
}

/// Results have a content of their own: words among them are refused.
fn user<'a>(
    contents: &mut Vec<Content<'a>>,
    before: Option<Said<'a>>,
    answers: Vec<Answer<'a>>,
    texts: Vec<Cow<'a, str>>,
) {
    let role = Some("user");
    if !answers.is_empty() {
        let given = before.map(given_ids).unwrap_or_default();
        let mut given = given.into_iter();
        let respond = |answer: Answer<'a>| Part {
            function_response: Some(FunctionResponse {
                id: given.next().flatten().map(Cow::from),
                name: answer.name,
                response: match answer.is_error {
                    true => Outcome::Error(answer.text),
                    false => Outcome::Output(answer.text),
                },
            }),
            ..Part::default()
        };
        let parts = answers.into_iter().map(respond).collect();
        contents.push(Content { role, parts: Parts::Known(parts) });
    }
    if !texts.is_empty() {
        let parts = texts.into_iter().map(text).collect();
        contents.push(Content { role, parts: Parts::Known(parts) });
    }
}

/// A part of an answer, as far as it matters which ids the model gave.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    function_call: Option<AskedCall>,
}

#[derive(Deserialize)]
struct AskedCall {
    id: Option<String>,
}

/// Returns, for each call of an answer, the id that goes out with it.
fn given_ids(said: Said<'_>) -> Vec<Option<String>> {
    let Said::Here(message) = said else { return Vec::new() };
    let parts: Vec<Asked> = serde_json::from_str(message.raw.get()).unwrap_or_default();
    parts.into_iter().filter_map(|part| part.function_call).map(|call| call.id).collect()
}

fn parts<'a>(said: Said<'a>, model: &str) -> Parts<'a> {
    match said {
        Said::Here(message) => Parts::Raw(&message.raw),
        Said::Elsewhere(message) => Parts::Known(retold(message, model)),
    }
}

/// Tells this model what another one said.
fn retold<'a>(message: &'a AssistantMessage, model: &str) -> Vec<Part<'a>> {
    let mut parts = Vec::new();
    if !message.text.trim().is_empty() {
        parts.push(text(message.text.as_str().into()));
    }
    let mut signature = wants_signatures(model).then_some(UNSIGNED);
    parts.extend(message.calls.iter().map(|call| Part {
        function_call: Some(FunctionCall {
            name: portable_name(&call.name),
            args: object_arguments(&call.arguments),
        }),
        thought_signature: signature.take(),
        ..Part::default()
    }));
    parts
}

/// All but the models that are known to be older than signatures.
fn wants_signatures(model: &str) -> bool {
    !["gemini-1", "gemini-2", "gemma"].iter().any(|family| model.contains(family))
}

/// An answer without words or calls holds nothing else that could go back either.
pub(crate) fn is_bare(raw: &str) -> bool {
    let parts: Vec<Map<String, Value>> = serde_json::from_str(raw).unwrap_or_default();
    let plain = |key: &String| ["text", "thought", "thoughtSignature"].contains(&key.as_str());
    parts.iter().all(|part| part.keys().all(plain))
}
