//! Anthropic Messages on the way in: every rule that the provider checks, in its words.
//! Here the request but for its messages; those are read in [`super::anthropic_messages`].

use serde_json::{Map, Value};

use super::anthropic_messages::{check_pairs, events, read_messages};
use super::{Block, Lifetime, Prompt, Refusal, is_tool_name, unmarked};
use crate::conversation::Conversation;
use crate::digest::Chain;

/// Most cache breakpoints of a request.
const BREAKPOINTS_MAX: usize = 4;

#[rustfmt::skip]
const TOP_LEVEL: &[&str] = &[
    "model", "messages", "max_tokens", "system", "tools", "tool_choice", "stream", "temperature",
    "top_p", "top_k", "stop_sequences", "metadata", "thinking", "service_tier", "container",
    "mcp_servers", "context_management", "output_config", "output_format", "cache_control",
    "inference_geo", "speed",
];

pub(super) type Object = Map<String, Value>;
pub(super) type Checked<T> = Result<T, Refusal>;

/// Reads a request body.
pub fn read(body: &Value) -> Checked<Prompt> {
    let top = object(body, "body")?;
    let model = match top.get("model") {
        None => return Err(Refusal::bad("model: Field required")),
        Some(Value::String(model)) if !model.is_empty() => model.clone(),
        Some(_) => return Err(Refusal::bad("model: Input should be a valid string")),
    };
    only(top, TOP_LEVEL, "")?;
    let output_limit = read_max_tokens(top)?;
    let thinking = read_thinking(top, output_limit)?;
    let mut blocks = Vec::new();
    let tools = read_tools(top, &mut blocks)?;
    let system = read_system(top, &mut blocks)?;
    let mut prefix = Chain::default();
    blocks.iter().for_each(|block: &Block| prefix.push(&block.bytes));
    let messages = read_messages(top, &mut blocks)?;
    check_pairs(&messages)?;
    check_marks(top, &mut blocks)?;
    if tools.is_empty() && messages.iter().any(|m| !m.calls.is_empty()) {
        let text = "Requests which include `tool_use` or `tool_result` blocks must define tools";
        return Err(Refusal::bad(text));
    }
    let digest = messages.last().map(|message| message.so_far.clone()).unwrap_or_default();
    let talk = Conversation {
        system,
        digest,
        prefix: prefix.so_far(),
        messages: messages.len(),
        tools,
        events: events(messages),
    };
    let stream = flag(top, "stream")?;
    Ok(Prompt {
        model,
        stream,
        include_usage: true,
        output_limit: Some(output_limit),
        thinking,
        talk,
        blocks,
    })
}

pub(super) fn object<'a>(value: &'a Value, path: &str) -> Checked<&'a Object> {
    let wrong = || Refusal::bad(format!("{path}: Input should be a valid dictionary"));
    value.as_object().ok_or_else(wrong)
}

pub(super) fn only(map: &Object, known: &[&str], path: &str) -> Checked<()> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Refusal::bad(format!("{path}{key}: Extra inputs are not permitted"))),
        None => Ok(()),
    }
}

pub(super) fn text_of<'a>(map: &'a Object, key: &str, path: &str) -> Checked<&'a str> {
    match map.get(key) {
        None => Err(Refusal::bad(format!("{path}.{key}: Field required"))),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Refusal::bad(format!("{path}.{key}: Input should be a valid string"))),
    }
}

fn flag(map: &Object, key: &str) -> Checked<bool> {
    match map.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(_) => Err(Refusal::bad(format!("{key}: Input should be a valid boolean"))),
    }
}

fn read_max_tokens(top: &Object) -> Checked<u64> {
    match top.get("max_tokens") {
        None => Err(Refusal::bad("max_tokens: Field required")),
        Some(value) => match value.as_i64() {
            None => Err(Refusal::bad("max_tokens: Input should be a valid integer")),
            Some(..1) => Err(Refusal::bad("max_tokens: must be greater than or equal to 1")),
            Some(limit) => Ok(limit.unsigned_abs()),
        },
    }
}

/// The efforts of models that decide themselves how long they think.
const EFFORTS: &[&str] = &["low", "medium", "high", "xhigh", "max"];

/// Checks what is said of thinking. A conversation that goes on with results must begin its last
/// answer with a thought.
fn read_thinking(top: &Object, output_limit: u64) -> Checked<String> {
    let effort = top.get("output_config").and_then(|config| config.get("effort"));
    if effort.is_some_and(|effort| !effort.as_str().is_some_and(|e| EFFORTS.contains(&e))) {
        return Err(Refusal::bad(
            "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'",
        ));
    }
    check_thinking(top, output_limit)?;
    let Some(thinking) = top.get("thinking") else { return Ok(String::new()) };
    if thinking["type"] != "disabled" {
        check_last_answer(top)?;
    }
    Ok(format!("{thinking}{}", effort.map(Value::to_string).unwrap_or_default()))
}

fn check_last_answer(top: &Object) -> Checked<()> {
    let messages = top.get("messages").and_then(Value::as_array);
    let [.., answer, newest] = messages.map(Vec::as_slice).unwrap_or_default() else {
        return Ok(());
    };
    let blocks = |message: &Value| message["content"].as_array().cloned().unwrap_or_default();
    let goes_on = blocks(newest).iter().any(|block| block["type"] == "tool_result");
    let first = blocks(answer).first().map(|block| block["type"].clone()).unwrap_or_default();
    if !goes_on || first == "thinking" || first == "redacted_thinking" {
        return Ok(());
    }
    Err(Refusal::bad(format!(
        "messages.{}.content.0.type: Expected `thinking` or `redacted_thinking`, but found {first}. \
         When `thinking` is enabled, a final `assistant` message must start with a thinking block \
         (preceeding the lastmost set of `tool_use` and `tool_result` blocks).",
        messages.map_or(0, Vec::len).saturating_sub(2)
    )))
}

fn check_thinking(top: &Object, output_limit: u64) -> Checked<()> {
    let Some(thinking) = top.get("thinking") else { return Ok(()) };
    let thinking = object(thinking, "thinking")?;
    match (thinking.get("type").and_then(Value::as_str), thinking.get("budget_tokens")) {
        (Some("disabled" | "adaptive"), _) => Ok(()),
        (Some("enabled"), Some(budget)) => match budget.as_u64() {
            Some(1024..) if budget.as_u64() < Some(output_limit) => Ok(()),
            Some(1024..) => {
                Err(Refusal::bad("`max_tokens` must be greater than `thinking.budget_tokens`."))
            }
            _ => Err(Refusal::bad(
                "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
            )),
        },
        (Some("enabled"), None) => {
            Err(Refusal::bad("thinking.enabled.budget_tokens: Field required"))
        }
        _ => Err(Refusal::bad(
            "thinking: Input tag does not match any of the expected tags: 'adaptive', \
             'disabled', 'enabled'",
        )),
    }
}

fn read_tools(top: &Object, blocks: &mut Vec<Block>) -> Checked<Vec<String>> {
    let mut names = Vec::new();
    let tools = match top.get("tools") {
        None => return Ok(names),
        Some(tools) => {
            tools.as_array().ok_or_else(|| Refusal::bad("tools: Input should be a valid list"))?
        }
    };
    for (index, tool) in tools.iter().enumerate() {
        let path = format!("tools.{index}");
        let tool = object(tool, &path)?;
        let name = text_of(tool, "name", &path)?;
        if !is_tool_name(name) {
            return Err(Refusal::bad(format!(
                "{path}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
            )));
        }
        if names.iter().any(|known| known == name) {
            return Err(Refusal::bad("tools: Tool names must be unique."));
        }
        // Server tools carry a dated type and bring no schema of their own.
        if matches!(tool.get("type"), None | Some(Value::Null)) || tool["type"] == "custom" {
            check_schema(tool, &path)?;
        }
        names.push(name.to_owned());
        blocks.push(block(tool, "tool", &path)?);
    }
    Ok(names)
}

fn check_schema(tool: &Object, path: &str) -> Checked<()> {
    #[rustfmt::skip]
    const KNOWN: &[&str] = &[
        "name", "description", "input_schema", "type", "cache_control", "strict",
        "eager_input_streaming", "defer_loading", "allowed_callers", "input_examples",
    ];
    let path = format!("{path}.custom");
    only(tool, KNOWN, &format!("{path}."))?;
    if tool.get("description").is_some_and(|text| !text.is_string()) {
        return Err(Refusal::bad(format!("{path}.description: Input should be a valid string")));
    }
    let schema = match tool.get("input_schema") {
        None => return Err(Refusal::bad(format!("{path}.input_schema: Field required"))),
        Some(schema) => object(schema, &format!("{path}.input_schema"))?,
    };
    match schema.get("type") {
        Some(kind) if kind == "object" => Ok(()),
        Some(_) => Err(Refusal::bad(format!("{path}.input_schema.type: Input should be 'object'"))),
        None => Err(Refusal::bad(format!("{path}.input_schema.type: Field required"))),
    }
}

fn read_system(top: &Object, blocks: &mut Vec<Block>) -> Checked<String> {
    let Some(system) = top.get("system") else { return Ok(String::new()) };
    if let Value::String(text) = system {
        let bytes = format!("system:{}", serde_json::json!({"type": "text", "text": text}));
        blocks.push(Block { bytes, mark: None });
        return Ok(text.clone());
    }
    let list = system.as_array().ok_or_else(|| {
        Refusal::bad("system: Input should be a valid string or a list of text blocks")
    })?;
    let mut texts = Vec::new();
    for (index, value) in list.iter().enumerate() {
        let path = format!("system.{index}");
        let map = object(value, &path)?;
        if map.get("type").is_none_or(|kind| kind != "text") {
            return Err(Refusal::bad(format!("{path}.type: Input should be 'text'")));
        }
        texts.push(checked_text(map, &path, "system")?.to_owned());
        blocks.push(block(map, "system", &path)?);
    }
    Ok(texts.join("\n"))
}

/// Reads a text block's text, which is not empty.
pub(super) fn checked_text<'a>(map: &'a Object, path: &str, list: &str) -> Checked<&'a str> {
    only(map, &["type", "text", "cache_control", "citations"], &format!("{path}.text."))?;
    let text = text_of(map, "text", &format!("{path}.text"))?;
    if text.is_empty() {
        return Err(Refusal::bad(format!("{list}: text content blocks must be non-empty")));
    }
    if text.trim().is_empty() {
        let text = format!("{list}: text content blocks must contain non-whitespace text");
        return Err(Refusal::bad(text));
    }
    Ok(text)
}

/// Takes a block for the cache, with the breakpoint that it carries.
pub(super) fn block(map: &Object, tag: &str, path: &str) -> Checked<Block> {
    let mark = match map.get("cache_control") {
        None | Some(Value::Null) => None,
        Some(mark) => Some(lifetime(mark, path)?),
    };
    Ok(Block { bytes: format!("{tag}:{}", unmarked(map)), mark })
}

fn lifetime(mark: &Value, path: &str) -> Checked<Lifetime> {
    let map = object(mark, &format!("{path}.cache_control"))?;
    only(map, &["type", "ttl"], &format!("{path}.cache_control."))?;
    match (map.get("type").and_then(Value::as_str), map.get("ttl").map(Value::as_str)) {
        (Some("ephemeral"), None | Some(Some("5m"))) => Ok(Lifetime::Minutes5),
        (Some("ephemeral"), Some(Some("1h"))) => Ok(Lifetime::Hour1),
        (Some("ephemeral"), _) => Err(Refusal::bad(format!(
            "{path}.cache_control.ephemeral.ttl: Input should be '5m' or '1h'"
        ))),
        _ => Err(Refusal::bad(format!("{path}.cache_control.type: Input should be 'ephemeral'"))),
    }
}

/// Counts the breakpoints, and sets the automatic one that a top-level mark asks for.
fn check_marks(top: &Object, blocks: &mut [Block]) -> Checked<()> {
    let explicit = blocks.iter().filter(|block| block.mark.is_some()).count();
    let mut total = explicit;
    if let Some(mark) = top.get("cache_control").filter(|mark| !mark.is_null()) {
        let mark = lifetime(mark, "body")?;
        if let Some(last) = blocks.last_mut().filter(|last| last.mark.is_none()) {
            last.mark = Some(mark);
            total += 1;
        }
    }
    if total > BREAKPOINTS_MAX {
        return Err(Refusal::bad(format!(
            "A maximum of {BREAKPOINTS_MAX} blocks with cache_control may be provided. \
             Found {total}."
        )));
    }
    Ok(())
}
