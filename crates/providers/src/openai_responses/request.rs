//! A request as the Responses API wants it: a list of items, all of them in the request.
//!
//! Nothing is stored at the provider, so what a model has thought comes and goes encrypted. An
//! item of reasoning without its `encrypted_content` would be looked up there and not be found;
//! and the last item of an answer cannot be one, because the provider wants what follows it. Such
//! items are left out, and with them the ids that tie others to them.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use types::{FailureClass, ToolSpec, Wire};

use crate::ModelRequest;
use crate::conversation::{Answer, Said, Turn, object_arguments, portable_name, turns};
use crate::error::Fault;
use crate::thinking;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_output_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<f64>,
    stream: bool,
    store: bool,
    prompt_cache_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    include: &'static [&'static str],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<Item<'a>>,
}

#[derive(Serialize)]
struct Reasoning {
    effort: &'static str,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tool<'a> {
    /// `strict` is on unless we say no, and then refuses most schemas.
    Function { name: &'a str, description: &'a str, parameters: &'a Value, strict: bool },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Item<'a> {
    Raw(Box<RawValue>),
    Known(Known<'a>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Known<'a> {
    Message { role: &'static str, content: Cow<'a, str> },
    FunctionCall { call_id: Cow<'a, str>, name: Cow<'a, str>, arguments: String },
    FunctionCallOutput { call_id: Cow<'a, str>, output: Cow<'a, str> },
}

/// Writes the body of the request to who is `asked`.
pub(crate) fn body(request: &ModelRequest, asked: &str) -> Result<Vec<u8>, Fault> {
    let mut input = Vec::new();
    for turn in turns(&request.messages, Wire::OpenaiResponses, asked) {
        extend(&mut input, turn);
    }
    let system = request.prefix.system.as_str();
    let include: &[&str] = match reasons(&request.model) {
        true => &["reasoning.encrypted_content"],
        false => &[],
    };
    let effort = request.thinking.and_then(|level| thinking::effort(level, &request.model));
    let sampling = request.sampling.unless(thinking::is_openai_reasoner(&request.model));
    let body = Body {
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        reasoning: effort.map(|effort| Reasoning { effort }),
        model: &request.model,
        max_output_tokens: request.max_output_tokens,
        stream: true,
        store: false,
        prompt_cache_key: &request.conversation,
        include,
        tools: request.prefix.tools.iter().map(tool).collect(),
        instructions: Some(system).filter(|system| !system.trim().is_empty()),
        input,
    };
    serde_json::to_vec(&body).map_err(|error| Fault::new(FailureClass::Internal, error.to_string()))
}

/// Whether a model thinks before it answers. One that does not refuses to be asked for it.
fn reasons(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let thinks = ["o1", "o3", "o4", "gpt-5", "gpt-oss", "codex"];
    thinks.iter().any(|family| name.starts_with(family)) && !name.contains("-chat")
}

fn tool(spec: &ToolSpec) -> Tool<'_> {
    Tool::Function {
        name: &spec.name,
        description: &spec.description,
        parameters: &spec.input_schema,
        strict: false,
    }
}

fn extend<'a>(input: &mut Vec<Item<'a>>, turn: Turn<'a>) {
    match turn {
        Turn::User { answers, texts } => {
            input.extend(answers.into_iter().map(output));
            let user = |content| Item::Known(Known::Message { role: "user", content });
            input.extend(texts.into_iter().map(user));
        }
        Turn::Assistant(Said::Here(message)) => {
            input.extend(sendable(message.raw.get()).into_iter().map(Item::Raw));
        }
        Turn::Assistant(said @ Said::Elsewhere(message)) => {
            if !message.text.trim().is_empty() {
                let content = message.text.as_str().into();
                input.push(Item::Known(Known::Message { role: "assistant", content }));
            }
            input.extend(message.calls.iter().map(|call| {
                Item::Known(Known::FunctionCall {
                    call_id: said.call_id(&call.id),
                    name: portable_name(&call.name),
                    arguments: object_arguments(&call.arguments).get().to_owned(),
                })
            }));
        }
    }
}

/// This wire has no mark for an error, so the text says it.
fn output(answer: Answer<'_>) -> Item<'_> {
    let output = match answer.is_error {
        true => format!("error: {}", answer.text).into(),
        false => answer.text.into(),
    };
    Item::Known(Known::FunctionCallOutput { call_id: answer.call_id, output })
}

/// An answer without words or calls holds nothing else that could go back either.
pub(crate) fn is_bare(raw: &str) -> bool {
    let head = |item: &RawValue| serde_json::from_str::<Head>(item.get()).ok();
    let says_nothing = |kind: &str| ["message", "reasoning"].contains(&kind);
    let items = sendable(raw);
    items.iter().all(|item| head(item).is_some_and(|head| says_nothing(&head.kind)))
}

/// The parts of an item that decide whether it may go back.
#[derive(Deserialize)]
struct Head {
    #[serde(rename = "type")]
    kind: String,
    encrypted_content: Option<String>,
}

/// Returns the items of an answer that may go back: byte for byte, if that is all of them.
fn sendable(raw: &str) -> Vec<Box<RawValue>> {
    let mut items: Vec<Box<RawValue>> = serde_json::from_str(raw).unwrap_or_default();
    let all = items.len();
    let head = |item: &RawValue| serde_json::from_str::<Head>(item.get()).ok();
    let is_reasoning = |item: &RawValue| head(item).is_some_and(|head| head.kind == "reasoning");
    items.retain(|item| {
        let sealed = head(item).and_then(|head| head.encrypted_content);
        !is_reasoning(item) || sealed.is_some_and(|sealed| !sealed.is_empty())
    });
    while items.last().is_some_and(|last| is_reasoning(last)) {
        items.pop();
    }
    if items.len() < all {
        items.iter_mut().filter(|item| !is_reasoning(item)).for_each(|item| {
            if let Some(bare) = without_id(item) {
                *item = bare;
            }
        });
    }
    items
}

fn without_id(item: &RawValue) -> Option<Box<RawValue>> {
    let mut fields: Map<String, Value> = serde_json::from_str(item.get()).ok()?;
    fields.shift_remove("id")?;
    serde_json::value::to_raw_value(&fields).ok()
}
