//! Google's Gemini API on the way in: what the provider checks, in its words. Here the request
//! but for its contents; those are read in [`super::google_contents`].

use serde_json::{Map, Value};

use super::google_contents::Reader;
use super::{Block, Prompt, Refusal};
use crate::conversation::Conversation;
use crate::digest::Chain;

pub(super) type Object = Map<String, Value>;
pub(super) type Checked<T> = Result<T, Refusal>;

#[rustfmt::skip]
const TOP_LEVEL: &[&str] = &[
    "contents", "systemInstruction", "tools", "toolConfig", "safetySettings", "generationConfig",
    "cachedContent", "model", "labels", "serviceTier", "store",
];

#[rustfmt::skip]
const CONFIG: &[&str] = &[
    "stopSequences", "responseMimeType", "responseSchema", "responseJsonSchema",
    "responseModalities", "candidateCount", "maxOutputTokens", "temperature", "topP", "topK",
    "seed", "presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs",
    "enableEnhancedCivicAnswers", "speechConfig", "thinkingConfig", "imageConfig",
    "mediaResolution",
];

#[rustfmt::skip]
const FUNCTION: &[&str] = &[
    "name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema",
    "behavior",
];

/// Reads a request body. `method` is `MODEL:generateContent` or `MODEL:streamGenerateContent`.
pub fn read(method: &str, body: &Value) -> Checked<Prompt> {
    let (model, stream) = match method.split_once(':') {
        Some((model, "generateContent")) => (model, false),
        Some((model, "streamGenerateContent")) => (model, true),
        _ => {
            let message = format!("the stub has no method `{method}`");
            return Err(Refusal { message, ..Refusal::of_status(404) });
        }
    };
    let body = in_camel_case(body);
    let top = object(&body, "body")?;
    only(top, TOP_LEVEL, "")?;
    let output_limit = read_config(top)?;
    let mut blocks = Vec::new();
    let mut prefix = Chain::default();
    let system = read_system(top)?;
    blocks.push(Block { bytes: system.clone(), mark: None });
    let tools = read_tools(top, &mut blocks)?;
    blocks.iter().for_each(|block: &Block| prefix.push(&block.bytes));
    let contents = match top.get("contents") {
        None => {
            return Err(bad_request(
                "* GenerateContentRequest.contents: contents is not specified",
            ));
        }
        Some(contents) => contents.as_array().ok_or_else(|| wrong("contents", "list", contents))?,
    };
    if contents.is_empty() {
        return Err(bad_request("* GenerateContentRequest.contents: contents is not specified"));
    }
    let mut reader = Reader::default();
    for (index, content) in contents.iter().enumerate() {
        reader.read(index, content)?;
        blocks.push(Block { bytes: content.to_string(), mark: None });
    }
    let (events, digest) = reader.end()?;
    let talk = Conversation {
        system,
        events,
        digest,
        prefix: prefix.so_far(),
        messages: contents.len(),
        tools,
    };
    let thinking = body.pointer("/generationConfig/thinkingConfig").map(Value::to_string);
    let (model, thinking) = (model.to_owned(), thinking.unwrap_or_default());
    Ok(Prompt { model, stream, include_usage: true, output_limit, thinking, talk, blocks })
}

/// The provider takes its own names in both spellings, and ends there: what is inside of these is
/// the client's.
const CLIENTS_OWN: &[&str] = &[
    "args",
    "response",
    "parameters",
    "parametersJsonSchema",
    "responseSchema",
    "responseJsonSchema",
    "labels",
];

fn in_camel_case(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(in_camel_case).collect(),
        Value::Object(map) => {
            let field = |(key, value): (&String, &Value)| {
                let key = camel(key);
                let own = CLIENTS_OWN.contains(&key.as_str());
                (key, if own { value.clone() } else { in_camel_case(value) })
            };
            Value::Object(map.iter().map(field).collect())
        }
        other => other.clone(),
    }
}

fn camel(key: &str) -> String {
    let mut words = key.split('_');
    let mut name = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        name.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(chars.as_str());
    }
    name
}

pub(super) fn bad_request(text: impl Into<String>) -> Refusal {
    Refusal::bad(text)
}

pub(super) fn object<'a>(value: &'a Value, path: &str) -> Checked<&'a Object> {
    value.as_object().ok_or_else(|| wrong(path, "object", value))
}

pub(super) fn wrong(path: &str, expected: &str, got: &Value) -> Refusal {
    bad_request(format!("Invalid value at '{path}' (expected {expected}), {got}"))
}

pub(super) fn text_of<'a>(map: &'a Object, key: &str, path: &str) -> Checked<&'a str> {
    match map.get(key) {
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong(&format!("{path}.{key}"), "TYPE_STRING", other)),
        None => Err(bad_request(format!("* {path}.{key}: must not be empty"))),
    }
}

pub(super) fn only(map: &Object, known: &[&str], path: &str) -> Checked<()> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some(key) => {
            let at = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
            Err(bad_request(format!(
                "Invalid JSON payload received. Unknown name \"{key}\"{at}: Cannot find field."
            )))
        }
    }
}

fn read_config(top: &Object) -> Checked<Option<u64>> {
    let Some(config) = top.get("generationConfig") else { return Ok(None) };
    let config = object(config, "generation_config")?;
    only(config, CONFIG, "generation_config")?;
    if let Some(thinking) = config.get("thinkingConfig") {
        let path = "generation_config.thinking_config";
        let thinking = object(thinking, path)?;
        only(thinking, &["includeThoughts", "thinkingBudget", "thinkingLevel"], path)?;
        if thinking.contains_key("thinkingBudget") && thinking.contains_key("thinkingLevel") {
            return Err(bad_request(
                "You can only set only one of thinking budget and thinking level.",
            ));
        }
        if thinking.get("thinkingBudget").is_some_and(|budget| budget.as_i64().is_none()) {
            let path = format!("{path}.thinking_budget");
            return Err(wrong(&path, "TYPE_INT32", &thinking["thinkingBudget"]));
        }
        let level = thinking.get("thinkingLevel");
        let known = |word: &str| ["minimal", "low", "medium", "high"].contains(&word);
        if level.is_some_and(|level| !level.as_str().is_some_and(|l| known(&l.to_lowercase()))) {
            let path = format!("{path}.thinking_level");
            return Err(wrong(&path, "TYPE_ENUM", &thinking["thinkingLevel"]));
        }
    }
    match config.get("maxOutputTokens") {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            None => Err(wrong("generation_config.max_output_tokens", "TYPE_INT32", value)),
            Some(..1) => Err(bad_request(format!(
                "Unable to submit request because it has a maxOutputTokens value of {value} but \
                 the supported range is from 1 (inclusive) to 65537 (exclusive). Update the value \
                 and try again."
            ))),
            Some(limit) => Ok(Some(limit.unsigned_abs())),
        },
    }
}

fn read_system(top: &Object) -> Checked<String> {
    let Some(system) = top.get("systemInstruction") else { return Ok(String::new()) };
    let map = object(system, "system_instruction")?;
    only(map, &["role", "parts"], "system_instruction")?;
    let parts = match map.get("parts") {
        // One part may stand without its list.
        Some(part @ Value::Object(_)) => std::slice::from_ref(part),
        Some(Value::Array(parts)) if !parts.is_empty() => parts.as_slice(),
        _ => {
            return Err(bad_request(
                "* GenerateContentRequest.system_instruction.parts: must not be empty",
            ));
        }
    };
    let mut texts = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let path = format!("system_instruction.parts[{at}]");
        texts.push(text_of(object(part, &path)?, "text", &path)?);
    }
    Ok(texts.join("\n"))
}

fn read_tools(top: &Object, blocks: &mut Vec<Block>) -> Checked<Vec<String>> {
    let mut names: Vec<String> = Vec::new();
    let Some(tools) = top.get("tools") else { return Ok(names) };
    let tools = tools.as_array().ok_or_else(|| wrong("tools", "list", tools))?;
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools[{index}]");
        let map = object(tool, &path)?;
        only(map, &["functionDeclarations"], &path)?;
        let functions = map.get("functionDeclarations").and_then(Value::as_array);
        for (at, function) in functions.into_iter().flatten().enumerate() {
            let path = format!("{path}.function_declarations[{at}]");
            let map = object(function, &path)?;
            only(map, FUNCTION, &path)?;
            let name = text_of(map, "name", &path)?;
            if !is_function_name(name) {
                return Err(bad_request(format!(
                    "* GenerateContentRequest.{path}.name: Invalid function name. Must start with \
                     a letter or an underscore. Must be alphanumeric (a-z, A-Z, 0-9), underscores \
                     (_), dots (.), colons (:), or dashes (-), with a maximum length of 64."
                )));
            }
            if map.contains_key("parameters") && map.contains_key("parametersJsonSchema") {
                return Err(bad_request(format!(
                    "* GenerateContentRequest.{path}: parameters and parameters_json_schema are \
                     mutually exclusive"
                )));
            }
            check_schema(map, &path)?;
            if names.iter().any(|known| known == name) {
                let text = format!("Duplicate function declaration found: {name}");
                return Err(bad_request(text));
            }
            names.push(name.to_owned());
            blocks.push(Block { bytes: function.to_string(), mark: None });
        }
    }
    Ok(names)
}

fn check_schema(function: &Object, path: &str) -> Checked<()> {
    let schema = function.get("parametersJsonSchema").or_else(|| function.get("parameters"));
    let Some(schema) = schema else { return Ok(()) };
    let map = object(schema, &format!("{path}.parameters"))?;
    match map.get("type").and_then(Value::as_str) {
        Some(kind) if kind.eq_ignore_ascii_case("object") => Ok(()),
        _ => Err(bad_request(format!(
            "* GenerateContentRequest.{path}.parameters: schema must be of type OBJECT"
        ))),
    }
}

pub(super) fn is_function_name(name: &str) -> bool {
    let first = name.bytes().next();
    first.is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b))
}
