//! OpenAI Responses on the way in: every rule that the provider checks, in its words. Here the
//! request but for its items; those are read in [`super::responses_items`].

use serde_json::Value;

use super::openai::{
    Checked, Object, bad_name, check_parameters, flag, missing, object, text_of, wrong_type,
};
use super::responses_items::Reader;
use super::{Block, Prompt, Refusal, is_tool_name};
use crate::conversation::Conversation;
use crate::digest::Chain;

/// Least `max_output_tokens`.
const OUTPUT_MIN: u64 = 16;

#[rustfmt::skip]
const TOP_LEVEL: &[&str] = &[
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "stream",
    "stream_options", "store", "max_output_tokens", "max_tool_calls", "temperature", "top_p",
    "top_logprobs", "reasoning", "text", "include", "metadata", "truncation", "user",
    "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier",
    "previous_response_id", "conversation", "background", "prompt",
];

#[rustfmt::skip]
const INCLUDABLE: &[&str] = &[
    "file_search_call.results", "web_search_call.results", "web_search_call.action.sources",
    "message.input_image.image_url", "computer_call_output.output.image_url",
    "code_interpreter_call.outputs", "reasoning.encrypted_content", "message.output_text.logprobs",
];

const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh"];

/// Reads a request body.
pub fn read(body: &Value) -> Checked<Prompt> {
    let top = body.as_object().ok_or_else(|| wrong_type("body", "an object", body))?;
    let model = match top.get("model") {
        Some(Value::String(model)) if !model.is_empty() => model.clone(),
        None | Some(Value::Null) => return Err(missing("model")),
        Some(other) => return Err(wrong_type("model", "a string", other)),
    };
    if let Some(key) = top.keys().find(|key| !TOP_LEVEL.contains(&key.as_str())) {
        let text = format!("Unknown parameter: '{key}'.");
        return Err(Refusal::bad(text).param(key.as_str()).code("unknown_parameter"));
    }
    let stream = flag(top, "stream")?;
    if top.get("store").is_some() {
        flag(top, "store")?;
    }
    check_options(top)?;
    let output_limit = read_limit(top)?;
    let mut blocks = Vec::new();
    let mut prefix = Chain::default();
    let tools = read_tools(top, &mut blocks)?;
    let system = match top.get("instructions") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => return Err(wrong_type("instructions", "a string", other)),
    };
    blocks.push(Block { bytes: system.clone(), mark: None });
    blocks.iter().for_each(|block: &Block| prefix.push(&block.bytes));
    let mut reader = Reader::default();
    let short;
    let items = match top.get("input") {
        None | Some(Value::Null) => return Err(missing("input")),
        // A string is the short form of one message.
        Some(Value::String(text)) => {
            short = [serde_json::json!({"role": "user", "content": text})];
            &short[..]
        }
        Some(Value::Array(items)) => items,
        Some(other) => return Err(wrong_type("input", "a string or an array", other)),
    };
    if items.is_empty() {
        let text = "Invalid 'input': empty array. Expected an array with minimum length 1, but \
                    got an empty array instead.";
        return Err(Refusal::bad(text).param("input").code("empty_array"));
    }
    for (index, item) in items.iter().enumerate() {
        reader.read(index, item)?;
        blocks.push(Block { bytes: item.to_string(), mark: None });
    }
    let read = reader.end()?;
    let talk = Conversation {
        system: std::iter::once(system).chain(read.system).collect::<Vec<_>>().join("\n"),
        events: read.events,
        digest: read.digest,
        prefix: prefix.so_far(),
        messages: items.len(),
        tools,
    };
    let thinking = top.get("reasoning").and_then(|reasoning| reasoning["effort"].as_str());
    let thinking = thinking.unwrap_or_default().to_owned();
    Ok(Prompt { model, stream, include_usage: true, output_limit, thinking, talk, blocks })
}

/// Checks what does not change the answer of a stub.
fn check_options(top: &Object) -> Checked<()> {
    if let Some(id) = top.get("previous_response_id").and_then(Value::as_str) {
        let text = format!("Previous response with id '{id}' not found.");
        let refusal = Refusal::bad(text).param("previous_response_id");
        return Err(refusal.code("previous_response_not_found"));
    }
    let included = match top.get("include") {
        None | Some(Value::Null) => &[],
        Some(Value::Array(list)) => list.as_slice(),
        Some(other) => return Err(wrong_type("include", "an array of strings", other)),
    };
    for (at, value) in included.iter().enumerate() {
        if !value.as_str().is_some_and(|name| INCLUDABLE.contains(&name)) {
            let text = format!(
                "Invalid value: {value}. Supported values are: '{}'.",
                INCLUDABLE.join("', '")
            );
            return Err(Refusal::bad(text).param(format!("include[{at}]")).code("invalid_value"));
        }
    }
    if let Some(reasoning) = top.get("reasoning").filter(|value| !value.is_null()) {
        let effort = object(reasoning, "reasoning")?.get("effort").filter(|v| !v.is_null());
        if effort.is_some_and(|effort| !effort.as_str().is_some_and(|e| EFFORTS.contains(&e))) {
            let text = format!("Invalid value. Supported values are: '{}'.", EFFORTS.join("', '"));
            return Err(Refusal::bad(text).param("reasoning.effort").code("invalid_value"));
        }
    }
    Ok(())
}

fn read_limit(top: &Object) -> Checked<Option<u64>> {
    const KEY: &str = "max_output_tokens";
    match top.get(KEY) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            None => Err(wrong_type(KEY, "an integer", value)),
            Some(limit) if limit.unsigned_abs() >= OUTPUT_MIN && limit > 0 => {
                Ok(Some(limit.unsigned_abs()))
            }
            Some(limit) => {
                let text = format!(
                    "Invalid '{KEY}': integer below minimum value. Expected a value >= \
                     {OUTPUT_MIN}, but got {limit} instead."
                );
                Err(Refusal::bad(text).param(KEY).code("integer_below_min_value"))
            }
        },
    }
}

fn read_tools(top: &Object, blocks: &mut Vec<Block>) -> Checked<Vec<String>> {
    let tools = match top.get("tools") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(wrong_type("tools", "an array of objects", other)),
    };
    let mut names: Vec<String> = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools[{index}]");
        let map = object(tool, &path)?;
        let kind = text_of(map, "type", &path)?;
        if kind != "function" {
            let text = format!(
                "Invalid value: '{kind}'. The stub has no tools of its own; supported values \
                 are: 'function'."
            );
            return Err(Refusal::bad(text).param(format!("{path}.type")).code("invalid_value"));
        }
        let name = text_of(map, "name", &path)?;
        if !is_tool_name(name) {
            return Err(bad_name(&format!("{path}.name")));
        }
        check_parameters(name, map, &path)?;
        if names.iter().any(|known| known == name) {
            let text = format!("Invalid '{path}.name': the function name '{name}' is not unique.");
            return Err(Refusal::bad(text).param(format!("{path}.name")).code("invalid_value"));
        }
        names.push(name.to_owned());
        blocks.push(Block { bytes: tool.to_string(), mark: None });
    }
    Ok(names)
}
