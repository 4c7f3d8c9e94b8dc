//! The items of a Responses request: every call with its one output, reasoning sealed and followed
//! by what it led to, and our own words unchanged.

use serde_json::Value;

use super::openai::{Checked, Object, bad_name, missing, object, text_of, wrong_type};
use super::{Refusal, call_was_altered, is_tool_name};
use crate::conversation::Event;
use crate::digest::{Chain, digest, seal};

/// What ids of calls by the stub begin with.
pub const CALL_PREFIX: &str = "call_sr";

/// What ids of reasoning by the stub begin with; the nonce of the answer follows.
pub const REASONING_PREFIX: &str = "rs_st";

/// What an item's id begins with that came with reasoning, before the nonce of the answer.
pub const THOUGHT_OUT: &str = "_str";

/// What the encrypted content of the stub begins with.
const SEALED_PREFIX: &str = "gAAAAAst";

/// Longest id of a call, in characters.
const ID_CHARS_MAX: usize = 64;

const KINDS: &str = "'message', 'function_call', 'function_call_output', 'reasoning', \
                     'item_reference'";

/// What the items held.
#[derive(Debug)]
pub struct Read {
    pub system: Vec<String>,
    pub events: Vec<Event>,
    pub digest: String,
}

/// Reads items in order. Those of the assistant that stand together are one answer.
#[derive(Debug, Default)]
pub struct Reader {
    system: Vec<String>,
    events: Vec<Event>,
    chain: Chain,
    /// The digest before the answer that is being read, and its text.
    answer: Option<(String, String)>,
    /// The reasoning of that answer which nothing follows yet, and all of it.
    dangling: Option<String>,
    reasoning: Vec<String>,
    /// Id and name of the calls of the newest answer, and whether each is answered.
    calls: Vec<(String, String, bool)>,
}

impl Reader {
    pub fn read(&mut self, index: usize, value: &Value) -> Checked<()> {
        let path = format!("input[{index}]");
        let map = object(value, &path)?;
        let kind = match map.get("type") {
            None if map.contains_key("role") => "message",
            _ => text_of(map, "type", &path)?,
        };
        let role = match kind {
            "message" => text_of(map, "role", &path)?,
            "reasoning" | "function_call" => "assistant",
            _ => "",
        };
        if role == "assistant" {
            self.begin_answer()?;
        } else {
            self.end_answer()?;
        }
        if !matches!(kind, "function_call_output") && role != "assistant" {
            self.all_answered()?;
        }
        self.chain.push(value.to_string());
        match kind {
            "message" => self.read_message(map, role, &path),
            "reasoning" => self.read_reasoning(map, &path),
            "function_call" => self.read_call(map, &path),
            "function_call_output" => self.read_output(map, &path),
            "item_reference" => {
                let id = text_of(map, "id", &path)?;
                Err(Refusal {
                    message: format!("Item with id '{id}' not found."),
                    ..Refusal::of_status(404)
                }
                .param("input"))
            }
            other => {
                let text = format!("Invalid value: '{other}'. Supported values are: {KINDS}.");
                Err(Refusal::bad(text).param(format!("{path}.type")).code("invalid_value"))
            }
        }
    }

    /// Returns what was read, if nothing is missing at the end.
    pub fn end(mut self) -> Checked<Read> {
        if self.answer.is_some() && self.calls.is_empty() {
            let text = "the stub does not go on with an answer: the input must end with a \
                        message of the user or the output of a call";
            return Err(Refusal::bad(text).param("input"));
        }
        self.end_answer()?;
        self.all_answered()?;
        Ok(Read { system: self.system, events: self.events, digest: self.chain.so_far() })
    }

    fn begin_answer(&mut self) -> Checked<()> {
        if self.answer.is_none() {
            self.all_answered()?;
            self.calls.clear();
            self.answer = Some((self.chain.so_far(), String::new()));
        }
        Ok(())
    }

    fn end_answer(&mut self) -> Checked<()> {
        if let Some(id) = self.dangling.take() {
            return Err(Refusal::bad(format!(
                "Item '{id}' of type 'reasoning' was provided without its required following item."
            ))
            .param("input"));
        }
        self.reasoning.clear();
        if let Some((before, text)) = self.answer.take() {
            self.events.push(Event::Assistant { before, text });
        }
        Ok(())
    }

    fn all_answered(&self) -> Checked<()> {
        match self.calls.iter().find(|(.., answered)| !answered) {
            None => Ok(()),
            Some((id, ..)) => {
                let text = format!("No tool output found for function call {id}.");
                Err(Refusal::bad(text).param("input"))
            }
        }
    }

    fn read_message(&mut self, map: &Object, role: &str, path: &str) -> Checked<()> {
        match role {
            "user" => {
                let texts = content(map, path, &["input_text", "input_image", "input_file"])?;
                self.events.extend(texts.into_iter().map(Event::User));
            }
            "system" | "developer" => self.system.extend(content(map, path, &["input_text"])?),
            "assistant" => {
                self.check_id(map, "msg", "message", path)?;
                let said = content(map, path, &["output_text", "refusal"])?.concat();
                if let Some((_, text)) = &mut self.answer {
                    text.push_str(&said);
                }
            }
            other => {
                let text = format!(
                    "Invalid value: '{other}'. Supported values are: 'assistant', 'system', \
                     'developer', and 'user'."
                );
                let param = format!("{path}.role");
                return Err(Refusal::bad(text).param(param).code("invalid_value"));
            }
        }
        Ok(())
    }

    /// Checks the id of an item that follows reasoning: where it came from, that must be here.
    fn check_id(&mut self, map: &Object, prefix: &str, kind: &str, path: &str) -> Checked<()> {
        self.dangling = None;
        let Some(id) = map.get("id").filter(|id| !id.is_null()) else { return Ok(()) };
        let id = id.as_str().ok_or_else(|| wrong_type(&format!("{path}.id"), "a string", id))?;
        check_prefix(id, prefix, path)?;
        let nonce = id.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(THOUGHT_OUT));
        let Some(needed) = nonce.and_then(|nonce| nonce.get(..12)) else { return Ok(()) };
        let needed = format!("{REASONING_PREFIX}{needed}");
        if self.reasoning.contains(&needed) {
            return Ok(());
        }
        Err(Refusal::bad(format!(
            "Item '{id}' of type '{kind}' was provided without its required 'reasoning' item: \
             '{needed}'."
        ))
        .param("input"))
    }

    fn read_reasoning(&mut self, map: &Object, path: &str) -> Checked<()> {
        let id = text_of(map, "id", path)?;
        check_prefix(id, "rs", path)?;
        let summary = match map.get("summary") {
            None => return Err(missing(&format!("{path}.summary"))),
            Some(Value::Array(parts)) => parts,
            Some(other) => {
                return Err(wrong_type(&format!("{path}.summary"), "an array of objects", other));
            }
        };
        let mut text = String::new();
        for (at, part) in summary.iter().enumerate() {
            let path = format!("{path}.summary[{at}]");
            text.push_str(text_of(object(part, &path)?, "text", &path)?);
        }
        let Some(content) = map.get("encrypted_content").and_then(Value::as_str) else {
            return Err(Refusal {
                message: format!(
                    "Item with id '{id}' not found. Items are not persisted when `store` is set \
                     to false. Try again with `store` set to true, or remove this item from your \
                     input."
                ),
                ..Refusal::of_status(404)
            }
            .param("input"));
        };
        if content != sealed(id, &text) {
            let text = format!(
                "The encrypted content for item {id} could not be verified. Reason: Encrypted \
                 content could not be decrypted or parsed."
            );
            return Err(Refusal::bad(text).code("invalid_encrypted_content"));
        }
        self.dangling = Some(id.to_owned());
        self.reasoning.push(id.to_owned());
        Ok(())
    }

    fn read_call(&mut self, map: &Object, path: &str) -> Checked<()> {
        self.check_id(map, "fc", "function_call", path)?;
        let id = checked_call_id(map, path)?;
        let name = text_of(map, "name", path)?;
        if !is_tool_name(name) {
            return Err(bad_name(&format!("{path}.name")));
        }
        let arguments = text_of(map, "arguments", path)?;
        if let Err(error) = serde_json::from_str::<Value>(arguments) {
            let text = format!("Invalid '{path}.arguments': expected valid JSON ({error}).");
            let param = format!("{path}.arguments");
            return Err(Refusal::bad(text).param(param).code("invalid_value"));
        }
        if call_was_altered(CALL_PREFIX, id, name, arguments) {
            let text = format!(
                "Invalid '{path}': call '{id}' is not the one that was issued: its id, name and \
                 arguments must come back unchanged."
            );
            return Err(Refusal::bad(text).param(path).code("invalid_value"));
        }
        if self.calls.iter().any(|(known, ..)| known == id) {
            let text = format!("Duplicate function call with call_id '{id}'.");
            return Err(Refusal::bad(text).param("input"));
        }
        self.calls.push((id.to_owned(), name.to_owned(), false));
        Ok(())
    }

    fn read_output(&mut self, map: &Object, path: &str) -> Checked<()> {
        let id = checked_call_id(map, path)?;
        let text = match map.get("output") {
            None => return Err(missing(&format!("{path}.output"))),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) => parts_of(parts, path, "output", &["input_text"])?.concat(),
            Some(other) => {
                let param = format!("{path}.output");
                return Err(wrong_type(&param, "a string or an array", other));
            }
        };
        match self.calls.iter_mut().find(|(known, ..)| known == id) {
            Some((_, name, answered @ false)) => {
                *answered = true;
                let (call_id, name) = (id.to_owned(), name.clone());
                self.events.push(Event::ToolResult { call_id, name, text });
                Ok(())
            }
            Some(_) => {
                let text = format!("Duplicate output found for function call with call_id {id}.");
                Err(Refusal::bad(text).param("input"))
            }
            None => {
                let text =
                    format!("No tool call found for function call output with call_id {id}.");
                Err(Refusal::bad(text).param("input"))
            }
        }
    }
}

/// Returns the encrypted content of the stub's reasoning `id`.
pub fn sealed(id: &str, summary: &str) -> String {
    format!("{SEALED_PREFIX}{}{}", digest(summary), seal(&["reasoning", id, summary]))
}

fn checked_call_id<'a>(map: &'a Object, path: &str) -> Checked<&'a str> {
    let id = text_of(map, "call_id", path)?;
    let chars = id.chars().count();
    if (1..=ID_CHARS_MAX).contains(&chars) {
        return Ok(id);
    }
    let text = format!(
        "Invalid '{path}.call_id': expected a string with length 1 to {ID_CHARS_MAX}, but got a \
         string with length {chars} instead."
    );
    Err(Refusal::bad(text).param(format!("{path}.call_id")).code("string_above_max_length"))
}

fn check_prefix(id: &str, prefix: &str, path: &str) -> Checked<()> {
    if id.starts_with(prefix) {
        return Ok(());
    }
    let text = format!("Invalid '{path}.id': '{id}'. Expected an ID that begins with '{prefix}'.");
    Err(Refusal::bad(text).param(format!("{path}.id")).code("invalid_value"))
}

/// Reads a message's content: a string, or parts of the kinds that its role may have.
fn content(map: &Object, path: &str, kinds: &[&str]) -> Checked<Vec<String>> {
    let param = format!("{path}.content");
    match map.get("content") {
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        None => Err(missing(&param)),
        Some(Value::Array(parts)) => parts_of(parts, path, "content", kinds),
        Some(other) => Err(wrong_type(&param, "a string or an array", other)),
    }
}

fn parts_of(parts: &[Value], path: &str, key: &str, kinds: &[&str]) -> Checked<Vec<String>> {
    let mut texts = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let path = format!("{path}.{key}[{at}]");
        let part = object(part, &path)?;
        let kind = text_of(part, "type", &path)?;
        if !kinds.contains(&kind) {
            let text =
                format!("Invalid value: '{kind}'. Supported values are: '{}'.", kinds.join("', '"));
            let param = format!("{path}.type");
            return Err(Refusal::bad(text).param(param).code("invalid_value"));
        }
        let field = if kind == "refusal" { "refusal" } else { "text" };
        if kind.ends_with("_text") || kind == "refusal" {
            texts.push(text_of(part, field, &path)?.to_owned());
        }
    }
    Ok(texts)
}
