//! The messages of an Anthropic request: roles in turn, every call with its one result, and our
//! own words unchanged.

use std::collections::BTreeMap;

use serde_json::Value;

use super::anthropic::{Checked, Object, block, checked_text, object, only, text_of};
use super::{Block, Refusal, call_was_altered, is_tool_name};
use crate::conversation::Event;
use crate::digest::{Chain, digest, seal};

/// What ids of calls by the stub begin with.
pub const ID_PREFIX: &str = "toolu_st";

/// What thinking signatures of the stub begin with.
pub const SIGNATURE_PREFIX: &str = "c3R1Yg";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    User,
    Assistant,
}

/// One message, read.
#[derive(Debug)]
pub(super) struct Message {
    role: Role,
    texts: Vec<String>,
    /// Id and name of each `tool_use`.
    pub(super) calls: Vec<(String, String)>,
    /// Id and text of each `tool_result`.
    results: Vec<(String, String)>,
    /// A `tool_result` stands after another block.
    results_late: bool,
    /// Names all messages up to this one.
    pub(super) so_far: String,
}

pub(super) fn read_messages(top: &Object, blocks: &mut Vec<Block>) -> Checked<Vec<Message>> {
    let list = match top.get("messages") {
        None => return Err(Refusal::bad("messages: Field required")),
        Some(list) => {
            list.as_array().ok_or_else(|| Refusal::bad("messages: Input should be a valid list"))?
        }
    };
    if list.is_empty() {
        return Err(Refusal::bad("messages: at least one message is required"));
    }
    let mut messages: Vec<Message> = Vec::new();
    let mut chain = Chain::default();
    for (index, value) in list.iter().enumerate() {
        let message = read_message(value, index, blocks, &mut chain)?;
        match messages.last() {
            None if message.role != Role::User => {
                return Err(Refusal::bad("messages: first message must use the \"user\" role"));
            }
            Some(before) if before.role == message.role => {
                let role = if message.role == Role::User { "user" } else { "assistant" };
                return Err(Refusal::bad(format!(
                    "messages: roles must alternate between \"user\" and \"assistant\", but \
                     found multiple \"{role}\" roles in a row"
                )));
            }
            _ => messages.push(message),
        }
    }
    if messages.last().is_some_and(|message| message.role == Role::Assistant) {
        return Err(Refusal::bad(
            "This model does not support assistant message prefill. The conversation must end \
             with a user message.",
        ));
    }
    Ok(messages)
}

fn read_message(
    value: &Value,
    index: usize,
    blocks: &mut Vec<Block>,
    chain: &mut Chain,
) -> Checked<Message> {
    let path = format!("messages.{index}");
    let map = object(value, &path)?;
    only(map, &["role", "content"], &format!("{path}."))?;
    let role = match text_of(map, "role", &path)? {
        "user" => Role::User,
        "assistant" => Role::Assistant,
        "system" => {
            return Err(Refusal::bad(
                "messages: Unexpected role \"system\". The Messages API accepts a top-level \
                 `system` parameter, not \"system\" as an input message role.",
            ));
        }
        _ => {
            return Err(Refusal::bad(format!(
                "{path}.role: Input should be 'user' or 'assistant'"
            )));
        }
    };
    let tag = if role == Role::User { "user" } else { "assistant" };
    let mut message = Message {
        role,
        texts: Vec::new(),
        calls: Vec::new(),
        results: Vec::new(),
        results_late: false,
        so_far: String::new(),
    };
    chain.push(tag);
    // A string is the short form of one text block, and means the same to cache and digest.
    let short;
    let content = match map.get("content") {
        None => return Err(Refusal::bad(format!("{path}.content: Field required"))),
        Some(Value::String(text)) => {
            short = [serde_json::json!({"type": "text", "text": text})];
            &short[..]
        }
        Some(Value::Array(list)) => list,
        Some(_) => {
            return Err(Refusal::bad(format!("{path}.content: Input should be a valid list")));
        }
    };
    if content.is_empty() {
        return Err(Refusal::bad(format!("{path}: all messages must have non-empty content")));
    }
    for (at, value) in content.iter().enumerate() {
        let path = format!("{path}.content.{at}");
        let map = object(value, &path)?;
        read_block(map, &path, &mut message)?;
        let block = block(map, tag, &path)?;
        chain.push(&block.bytes);
        blocks.push(block);
    }
    let last = content.last().map(|block| &block["type"]);
    if role == Role::Assistant && last.is_some_and(is_thought) {
        return Err(Refusal::bad(format!(
            "{path}: The final block in an assistant message cannot be `thinking`."
        )));
    }
    message.so_far = chain.so_far();
    Ok(message)
}

fn is_thought(kind: &Value) -> bool {
    kind == "thinking" || kind == "redacted_thinking"
}

fn read_block(map: &Object, path: &str, message: &mut Message) -> Checked<()> {
    let kind = text_of(map, "type", path)?;
    match (message.role, kind) {
        (_, "text") => message.texts.push(checked_text(map, path, "messages")?.to_owned()),
        (Role::Assistant, "tool_use") => message.calls.push(read_call(map, path)?),
        (Role::Assistant, "thinking") => check_signature(map, path)?,
        (Role::Assistant, "redacted_thinking") => {
            text_of(map, "data", &format!("{path}.redacted_thinking"))?;
        }
        (Role::User, "tool_result") => {
            message.results_late |= !message.texts.is_empty();
            let result = read_result(map, path)?;
            message.results.push(result);
        }
        (Role::User, "image" | "document" | "search_result") => {
            if kind != "search_result" {
                let source = map.get("source").unwrap_or(&Value::Null);
                object(source, &format!("{path}.{kind}.source"))?;
            }
        }
        (Role::User, "tool_use") => {
            return Err(Refusal::bad(format!(
                "{path}: `tool_use` blocks can only be in `assistant` messages"
            )));
        }
        (Role::Assistant, "tool_result") => {
            return Err(Refusal::bad(format!(
                "{path}: `tool_result` blocks can only be in `user` messages"
            )));
        }
        (_, other) => {
            return Err(Refusal::bad(format!(
                "{path}: Input tag '{other}' found using 'type' does not match any of the \
                 expected tags"
            )));
        }
    }
    Ok(())
}

fn checked_id<'a>(map: &'a Object, key: &str, path: &str) -> Checked<&'a str> {
    let id = text_of(map, key, path)?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    match !id.is_empty() && id.bytes().all(plain) {
        true => Ok(id),
        false => Err(Refusal::bad(format!(
            "{path}.{key}: String should match pattern '^[a-zA-Z0-9_-]+$'"
        ))),
    }
}

fn read_call(map: &Object, path: &str) -> Checked<(String, String)> {
    const KNOWN: &[&str] = &["type", "id", "name", "input", "cache_control", "caller"];
    let field = format!("{path}.tool_use");
    only(map, KNOWN, &format!("{field}."))?;
    let id = checked_id(map, "id", &field)?;
    let name = text_of(map, "name", &field)?;
    if !is_tool_name(name) {
        return Err(Refusal::bad(format!(
            "{field}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
        )));
    }
    let input = match map.get("input") {
        None => return Err(Refusal::bad(format!("{field}.input: Field required"))),
        Some(input) => input,
    };
    object(input, &format!("{field}.input"))?;
    if call_was_altered(ID_PREFIX, id, name, &input.to_string()) {
        return Err(Refusal::bad(format!(
            "{path}: `tool_use` block {id} is not the one that was issued: its id, name and \
             input must come back unchanged"
        )));
    }
    Ok((id.to_owned(), name.to_owned()))
}

/// Returns the signature of a thinking block of ours.
pub fn signature(thinking: &str) -> String {
    format!("{SIGNATURE_PREFIX}{}{}", digest(thinking), seal(&["thinking", thinking]))
}

fn check_signature(map: &Object, path: &str) -> Checked<()> {
    let field = format!("{path}.thinking");
    only(map, &["type", "thinking", "signature"], &format!("{field}."))?;
    let thinking = text_of(map, "thinking", &field)?;
    if text_of(map, "signature", &field)? != signature(thinking) {
        return Err(Refusal::bad(format!("{path}: Invalid `signature` in `thinking` block")));
    }
    Ok(())
}

fn read_result(map: &Object, path: &str) -> Checked<(String, String)> {
    const KNOWN: &[&str] = &["type", "tool_use_id", "content", "is_error", "cache_control"];
    let field = format!("{path}.tool_result");
    only(map, KNOWN, &format!("{field}."))?;
    let id = checked_id(map, "tool_use_id", &field)?;
    if map.get("is_error").is_some_and(|flag| !flag.is_boolean()) {
        return Err(Refusal::bad(format!("{field}.is_error: Input should be a valid boolean")));
    }
    let mut texts = Vec::new();
    match map.get("content") {
        None => {}
        Some(Value::String(text)) => texts.push(text.as_str()),
        Some(Value::Array(parts)) => {
            for (at, part) in parts.iter().enumerate() {
                let path = format!("{field}.content.{at}");
                let part = object(part, &path)?;
                match text_of(part, "type", &path)? {
                    "text" => texts.push(checked_text(part, &path, "messages")?),
                    "image" | "document" | "search_result" | "tool_reference" => {}
                    other => {
                        return Err(Refusal::bad(format!(
                            "{path}: Input tag '{other}' found using 'type' does not match any \
                             of the expected tags: 'document', 'image', 'search_result', 'text', \
                             'tool_reference'"
                        )));
                    }
                }
            }
        }
        Some(_) => {
            return Err(Refusal::bad(format!("{field}.content: Input should be a valid list")));
        }
    }
    Ok((id.to_owned(), texts.join("\n")))
}

/// Checks that every call has exactly one result, in the message that follows it, first there.
pub(super) fn check_pairs(messages: &[Message]) -> Checked<()> {
    let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, message) in messages.iter().enumerate() {
        for (id, _) in &message.calls {
            if ids.insert(id, index).is_some() {
                return Err(Refusal::bad(format!(
                    "messages.{index}.content: `tool_use` ids must be unique: {id}"
                )));
            }
        }
        let asked = match index.checked_sub(1) {
            Some(before) => messages[before].calls.as_slice(),
            None => &[],
        };
        check_answers(index, asked, message)?;
    }
    Ok(())
}

fn check_answers(index: usize, asked: &[(String, String)], message: &Message) -> Checked<()> {
    let answers = |id: &str| message.results.iter().filter(|(of, _)| of == id).count();
    if let Some((id, _)) =
        message.results.iter().find(|(of, _)| asked.iter().all(|(id, _)| id != of))
    {
        return Err(Refusal::bad(format!(
            "messages.{index}.content: unexpected `tool_use_id` found in `tool_result` blocks: \
             {id}. Each `tool_result` block must have a corresponding `tool_use` block in the \
             previous message."
        )));
    }
    if let Some((id, _)) = asked.iter().find(|(id, _)| answers(id) > 1) {
        return Err(Refusal::bad(format!(
            "messages.{index}.content: each tool_use must have a single result. Found multiple \
             `tool_result` blocks with id: {id}"
        )));
    }
    let missing: Vec<&str> = match message.results_late {
        true => asked.iter().map(|(id, _)| id.as_str()).collect(),
        false => asked.iter().map(|(id, _)| id.as_str()).filter(|id| answers(id) == 0).collect(),
    };
    if !missing.is_empty() {
        return Err(Refusal::bad(format!(
            "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately \
             after: {}. Each `tool_use` block must have a corresponding `tool_result` block in \
             the next message.",
            index.saturating_sub(1),
            missing.join(", ")
        )));
    }
    Ok(())
}

/// Turns checked messages into what the script reads.
pub(super) fn events(messages: Vec<Message>) -> Vec<Event> {
    let mut events = Vec::new();
    let mut before = String::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for message in messages {
        match message.role {
            Role::Assistant => {
                names.extend(message.calls);
                events.push(Event::Assistant { before, text: message.texts.concat() });
            }
            Role::User => {
                events.extend(message.results.into_iter().map(|(call_id, text)| {
                    let name = names.get(&call_id).cloned().unwrap_or_default();
                    Event::ToolResult { call_id, name, text }
                }));
                events.extend(message.texts.into_iter().map(Event::User));
            }
        }
        before = message.so_far;
    }
    events
}
