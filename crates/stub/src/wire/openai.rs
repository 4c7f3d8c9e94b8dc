//! OpenAI Chat Completions on the way in: every rule that the provider checks, in its words.

use serde_json::{Map, Value};

use super::{Block, Prompt, Refusal, call_was_altered, is_tool_name};
use crate::conversation::{Conversation, Event};
use crate::digest::Chain;

/// What ids of calls by the stub begin with.
pub const ID_PREFIX: &str = "call_st";

/// Longest id of a tool call, in characters.
const ID_CHARS_MAX: usize = 40;

#[rustfmt::skip]
const TOP_LEVEL: &[&str] = &[
    "model", "messages", "tools", "tool_choice", "parallel_tool_calls", "stream",
    "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "n", "stop",
    "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "user",
    "seed", "response_format", "service_tier", "store", "metadata", "reasoning_effort",
    "modalities", "audio", "prediction", "web_search_options", "verbosity", "prompt_cache_key",
    "prompt_cache_retention", "safety_identifier", "functions", "function_call",
];

pub(super) type Object = Map<String, Value>;
pub(super) type Checked<T> = Result<T, Refusal>;

/// Reads a request body.
pub fn read(body: &Value) -> Checked<Prompt> {
    let top = body.as_object().ok_or_else(|| wrong_type("body", "an object", body))?;
    let model = match top.get("model") {
        Some(Value::String(model)) if !model.is_empty() => model.clone(),
        None | Some(Value::Null) => {
            return Err(Refusal::bad("you must provide a model parameter").param("model"));
        }
        Some(other) => return Err(wrong_type("model", "a string", other)),
    };
    if let Some(key) = top.keys().find(|key| !TOP_LEVEL.contains(&key.as_str())) {
        return Err(Refusal::bad(format!("Unrecognized request argument supplied: {key}")));
    }
    let stream = flag(top, "stream")?;
    let include_usage = read_stream_options(top, stream)?;
    let output_limit = read_limits(top)?;
    let thinking = read_thinking(top)?;
    let mut blocks = Vec::new();
    let mut prefix = Chain::default();
    let tools = read_tools(top, &mut blocks)?;
    blocks.iter().for_each(|block: &Block| prefix.push(&block.bytes));
    let mut reader = Reader::default();
    let messages = match top.get("messages") {
        None | Some(Value::Null) => {
            let text = "Missing required parameter: 'messages'.";
            return Err(Refusal::bad(text).param("messages").code("missing_required_parameter"));
        }
        Some(Value::Array(messages)) => messages,
        Some(other) => return Err(wrong_type("messages", "an array of objects", other)),
    };
    if messages.is_empty() {
        return Err(Refusal::bad(
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got \
             an empty array instead.",
        )
        .param("messages")
        .code("empty_array"));
    }
    for (index, message) in messages.iter().enumerate() {
        reader.read(index, message)?;
        blocks.push(Block { bytes: message.to_string(), mark: None });
    }
    reader.all_answered(messages.len())?;
    let system = reader.system.join("\n");
    prefix.push(&system);
    let talk = Conversation {
        system,
        events: reader.events,
        digest: reader.chain.so_far(),
        prefix: prefix.so_far(),
        messages: messages.len(),
        tools,
    };
    Ok(Prompt { model, stream, include_usage, output_limit, thinking, talk, blocks })
}

pub(super) fn wrong_type(path: &str, expected: &str, got: &Value) -> Refusal {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    let text = format!("Invalid type for '{path}': expected {expected}, but got {got} instead.");
    Refusal::bad(text).param(path).code("invalid_type")
}

pub(super) fn missing(path: &str) -> Refusal {
    let text = format!("Missing required parameter: '{path}'.");
    Refusal::bad(text).param(path).code("missing_required_parameter")
}

pub(super) fn text_of<'a>(map: &'a Object, key: &str, path: &str) -> Checked<&'a str> {
    let path = format!("{path}.{key}");
    match map.get(key) {
        None => Err(missing(&path)),
        Some(Value::String(text)) => Ok(text),
        Some(other) => Err(wrong_type(&path, "a string", other)),
    }
}

pub(super) fn object<'a>(value: &'a Value, path: &str) -> Checked<&'a Object> {
    value.as_object().ok_or_else(|| wrong_type(path, "an object", value))
}

pub(super) fn flag(map: &Object, key: &str) -> Checked<bool> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(other) => Err(wrong_type(key, "a boolean", other)),
    }
}

/// OpenAI's efforts, and what is written next to this wire in DashScope's and Z.ai's names.
const EFFORTS: &[&str] = &["none", "minimal", "low", "medium", "high", "xhigh"];

fn read_thinking(top: &Object) -> Checked<String> {
    let Some(effort) = top.get("reasoning_effort").filter(|v| !v.is_null()) else {
        return Ok(String::new());
    };
    match effort.as_str().filter(|word| EFFORTS.contains(word)) {
        Some(word) => Ok(word.to_owned()),
        None => {
            let text = format!(
                "Invalid value: {effort}. Supported values are: '{}'.",
                EFFORTS.join("', '")
            );
            Err(Refusal::bad(text).param("reasoning_effort").code("invalid_value"))
        }
    }
}

fn read_stream_options(top: &Object, stream: bool) -> Checked<bool> {
    let options = match top.get("stream_options") {
        None | Some(Value::Null) => return Ok(false),
        Some(options) => object(options, "stream_options")?,
    };
    if !stream {
        let text = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Refusal::bad(text).param("stream_options"));
    }
    flag(options, "include_usage")
}

fn read_limits(top: &Object) -> Checked<Option<u64>> {
    if top.get("n").is_some_and(|n| n.as_u64() != Some(1) && !n.is_null()) {
        return Err(Refusal::bad("the stub gives one choice: 'n' must be 1").param("n"));
    }
    let limit = |key: &str| match top.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64() {
            Some(limit @ 1..) => Ok(Some(limit)),
            Some(_) => {
                let text = format!("Invalid '{key}': integer below minimum value.");
                Err(Refusal::bad(text).param(key).code("integer_below_min_value"))
            }
            None => Err(wrong_type(key, "an integer", value)),
        },
    };
    match (limit("max_tokens")?, limit("max_completion_tokens")?) {
        (Some(_), Some(_)) => Err(Refusal::bad(
            "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
        )
        .code("invalid_parameter_combination")),
        (one, other) => Ok(one.or(other)),
    }
}

pub(super) fn bad_name(path: &str) -> Refusal {
    Refusal::bad(format!(
        "Invalid '{path}': string does not match pattern. Expected a string that matches the \
         pattern '^[a-zA-Z0-9_-]{{1,64}}$'."
    ))
    .param(path)
    .code("invalid_value")
}

fn read_tools(top: &Object, blocks: &mut Vec<Block>) -> Checked<Vec<String>> {
    let tools = match top.get("tools") {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(wrong_type("tools", "an array of objects", other)),
    };
    if tools.is_empty() {
        let text = "Invalid 'tools': empty array. Expected an array with minimum length 1, but \
                    got an empty array instead.";
        return Err(Refusal::bad(text).param("tools").code("empty_array"));
    }
    let mut names: Vec<String> = Vec::new();
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools[{index}]");
        let map = object(tool, &path)?;
        match text_of(map, "type", &path)? {
            "function" => {}
            other => {
                let text = format!("Invalid value: '{other}'. Supported values are: 'function'.");
                let param = format!("{path}.type");
                return Err(Refusal::bad(text).param(param).code("invalid_value"));
            }
        }
        let path = format!("{path}.function");
        let function = object(map.get("function").ok_or_else(|| missing(&path))?, &path)?;
        let name = text_of(function, "name", &path)?;
        if !is_tool_name(name) {
            return Err(bad_name(&format!("{path}.name")));
        }
        check_parameters(name, function, &path)?;
        if names.iter().any(|known| known == name) {
            let text = format!("Invalid '{path}.name': the function name '{name}' is not unique.");
            return Err(Refusal::bad(text).param(format!("{path}.name")).code("invalid_value"));
        }
        names.push(name.to_owned());
        blocks.push(Block { bytes: tool.to_string(), mark: None });
    }
    Ok(names)
}

pub(super) fn check_parameters(name: &str, function: &Object, path: &str) -> Checked<()> {
    // Absent parameters mean none.
    let Some(schema) = function.get("parameters") else { return Ok(()) };
    let param = format!("{path}.parameters");
    let schema = object(schema, &param)?;
    match schema.get("type") {
        Some(kind) if kind == "object" => Ok(()),
        other => {
            let got = other.unwrap_or(&Value::Null);
            let text = format!(
                "Invalid schema for function '{name}': schema must be a JSON Schema of 'type: \
                 \"object\"', got 'type: {got}'."
            );
            Err(Refusal::bad(text).param(param).code("invalid_function_parameters"))
        }
    }
}

/// Reads messages in order, and knows which calls still wait for their result.
#[derive(Debug, Default)]
struct Reader {
    system: Vec<String>,
    events: Vec<Event>,
    chain: Chain,
    /// Id and name of the calls of the newest assistant message, and whether each is answered.
    calls: Vec<(String, String, bool)>,
}

impl Reader {
    fn read(&mut self, index: usize, value: &Value) -> Checked<()> {
        let path = format!("messages[{index}]");
        let map = object(value, &path)?;
        let role = text_of(map, "role", &path)?;
        if role != "tool" {
            self.all_answered(index)?;
        }
        let before = self.chain.so_far();
        self.chain.push(value.to_string());
        match role {
            "system" | "developer" => {
                let texts = content(map, index, &["text"])?;
                self.system.extend(texts);
            }
            "user" => {
                let texts = content(map, index, &["text", "image_url", "input_audio", "file"])?;
                self.events.extend(texts.into_iter().map(Event::User));
            }
            "assistant" => {
                let text = self.read_assistant(map, index)?;
                self.events.push(Event::Assistant { before, text });
            }
            "tool" => self.read_result(map, index)?,
            other => {
                let text = format!(
                    "Invalid value: '{other}'. Supported values are: 'system', 'assistant', \
                     'user', 'tool', and 'developer'."
                );
                let param = format!("{path}.role");
                return Err(Refusal::bad(text).param(param).code("invalid_value"));
            }
        }
        Ok(())
    }

    /// Checks that no call waits for its result when message `index` is not one.
    fn all_answered(&mut self, index: usize) -> Checked<()> {
        let open = self.calls.iter().filter(|(_, _, answered)| !answered);
        let open: Vec<&str> = open.map(|(id, ..)| id.as_str()).collect();
        if !open.is_empty() {
            return Err(Refusal::bad(format!(
                "An assistant message with 'tool_calls' must be followed by tool messages \
                 responding to each 'tool_call_id'. The following tool_call_ids did not have \
                 response messages: {}",
                open.join(", ")
            ))
            .param(format!("messages.[{index}].role")));
        }
        self.calls.clear();
        Ok(())
    }

    fn read_assistant(&mut self, map: &Object, index: usize) -> Checked<String> {
        let path = format!("messages[{index}].tool_calls");
        let calls = match map.get("tool_calls") {
            None | Some(Value::Null) => &[],
            Some(Value::Array(calls)) if calls.is_empty() => {
                let text = format!(
                    "Invalid '{path}': empty array. Expected an array with minimum length 1, \
                     but got an empty array instead."
                );
                return Err(Refusal::bad(text).param(path).code("empty_array"));
            }
            Some(Value::Array(calls)) => calls.as_slice(),
            Some(other) => return Err(wrong_type(&path, "an array of objects", other)),
        };
        for (at, call) in calls.iter().enumerate() {
            let (id, name) = read_call(call, &format!("{path}[{at}]"))?;
            if self.calls.iter().any(|(known, ..)| *known == id) {
                let text = format!("Invalid '{path}[{at}].id': duplicate tool call id '{id}'.");
                return Err(Refusal::bad(text).param(path).code("invalid_value"));
            }
            self.calls.push((id, name, false));
        }
        // Content may be missing when there are calls instead.
        if !calls.is_empty() && map.get("content").is_none_or(Value::is_null) {
            return Ok(String::new());
        }
        Ok(content(map, index, &["text", "refusal"])?.concat())
    }

    fn read_result(&mut self, map: &Object, index: usize) -> Checked<()> {
        let id = text_of(map, "tool_call_id", &format!("messages[{index}]"))?.to_owned();
        let text = content(map, index, &["text"])?.join("\n");
        let none_asked = self.calls.is_empty();
        match self.calls.iter_mut().find(|(known, ..)| *known == id) {
            Some((_, name, answered @ false)) => {
                *answered = true;
                self.events.push(Event::ToolResult { call_id: id, name: name.clone(), text });
                Ok(())
            }
            Some(_) => Err(Refusal::bad(format!(
                "Invalid parameter: 'tool_call_id' of '{id}' has been answered by an earlier \
                 message."
            ))
            .param(format!("messages.[{index}].tool_call_id"))),
            None if none_asked => Err(Refusal::bad(
                "Invalid parameter: messages with role 'tool' must be a response to a preceeding \
                 message with 'tool_calls'.",
            )
            .param(format!("messages.[{index}].role"))),
            None => Err(Refusal::bad(format!(
                "Invalid parameter: 'tool_call_id' of '{id}' not found in 'tool_calls' of \
                 previous message."
            ))
            .param(format!("messages.[{index}].tool_call_id"))),
        }
    }
}

fn read_call(value: &Value, path: &str) -> Checked<(String, String)> {
    let map = object(value, path)?;
    let id = text_of(map, "id", path)?;
    if id.is_empty() || id.chars().count() > ID_CHARS_MAX {
        let text = format!(
            "Invalid '{path}.id': expected a string with length 1 to {ID_CHARS_MAX}, but got a \
             string with length {} instead.",
            id.chars().count()
        );
        let param = format!("{path}.id");
        return Err(Refusal::bad(text).param(param).code("string_above_max_length"));
    }
    if text_of(map, "type", path)? != "function" {
        let text = "Invalid value. Supported values are: 'function'.";
        return Err(Refusal::bad(text).param(format!("{path}.type")).code("invalid_value"));
    }
    let field = format!("{path}.function");
    let function = object(map.get("function").ok_or_else(|| missing(&field))?, &field)?;
    let name = text_of(function, "name", &field)?;
    if !is_tool_name(name) {
        return Err(bad_name(&format!("{field}.name")));
    }
    let arguments = text_of(function, "arguments", &field)?;
    if let Err(error) = serde_json::from_str::<Value>(arguments) {
        let text = format!("Invalid '{field}.arguments': expected valid JSON ({error}).");
        let param = format!("{field}.arguments");
        return Err(Refusal::bad(text).param(param).code("invalid_value"));
    }
    if call_was_altered(ID_PREFIX, id, name, arguments) {
        let text = format!(
            "Invalid '{path}': tool call '{id}' is not the one that was issued: its id, name and \
             arguments must come back unchanged."
        );
        return Err(Refusal::bad(text).param(path).code("invalid_value"));
    }
    Ok((id.to_owned(), name.to_owned()))
}

/// Reads a message's content: a string, or parts of the kinds that its role may have.
fn content(map: &Object, index: usize, kinds: &[&str]) -> Checked<Vec<String>> {
    let param = format!("messages.[{index}].content");
    let parts = match map.get("content") {
        Some(Value::String(text)) => return Ok(vec![text.clone()]),
        None => return Err(missing(&format!("messages[{index}].content"))),
        Some(Value::Null) => {
            let text = "Invalid value for 'content': expected a string, got null.";
            return Err(Refusal::bad(text).param(param));
        }
        Some(Value::Array(parts)) if !parts.is_empty() => parts,
        Some(Value::Array(_)) => {
            let text = "Invalid value for 'content': expected a non-empty array.";
            return Err(Refusal::bad(text).param(param).code("empty_array"));
        }
        Some(other) => return Err(wrong_type(&param, "a string or an array", other)),
    };
    let mut texts = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let path = format!("messages[{index}].content[{at}]");
        let part = object(part, &path)?;
        let kind = text_of(part, "type", &path)?;
        if !kinds.contains(&kind) {
            let text =
                format!("Invalid value: '{kind}'. Supported values are: '{}'.", kinds.join("', '"));
            let param = format!("{path}.type");
            return Err(Refusal::bad(text).param(param).code("invalid_value"));
        }
        if kind == "text" || kind == "refusal" {
            texts.push(text_of(part, kind, &path)?.to_owned());
        } else if !part.contains_key(kind) {
            return Err(missing(&format!("{path}.{kind}")));
        }
    }
    Ok(texts)
}
