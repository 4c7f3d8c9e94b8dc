//! The stream of a Messages call, to a whole answer.
//!
//! ```text
//!  message_start ─▶ (block_start ─▶ block_delta … ─▶ block_stop) …
//!                ─▶ message_delta ─▶ message_stop
//! ```
//!
//! Blocks are kept as the JSON they came as, with the deltas merged in: an unknown kind of block
//! goes back to the provider like a known one.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use types::{AssistantMessage, StopReason, ToolCall, Usage, Wire};

use crate::conversation::{check_calls, mark_cut, object_arguments};
use crate::error::Fault;
use crate::http::{Decode, Progress};
use crate::refusal::{self, Refusal};
use crate::sse::Event;
use crate::{Delta, Reply};

/// What has come so far.
#[derive(Debug)]
pub(crate) struct Decoder {
    model: String,
    blocks: BTreeMap<u64, Block>,
    usage: Usage,
    stop: Option<String>,
    whole: bool,
}

/// A block of the answer: its fields, and the JSON of its input if that came in pieces.
#[derive(Debug, Default)]
struct Block {
    fields: Map<String, Value>,
    input: Option<String>,
}

impl Decoder {
    /// `model` is the one asked for, in case the stream does not name one.
    pub fn new(model: &str) -> Decoder {
        Decoder {
            model: model.to_owned(),
            blocks: BTreeMap::new(),
            usage: Usage::default(),
            stop: None,
            whole: false,
        }
    }

    fn start_message(&mut self, message: &Value) {
        if let Some(model) = message["model"].as_str() {
            self.model = model.to_owned();
        }
        self.count(&message["usage"]);
    }

    /// Takes a report of usage. Later ones hold totals, and may leave out what has not changed.
    fn count(&mut self, usage: &Value) {
        for (name, field) in [
            ("input_tokens", &mut self.usage.input),
            ("output_tokens", &mut self.usage.output),
            ("cache_read_input_tokens", &mut self.usage.cache_read),
            ("cache_creation_input_tokens", &mut self.usage.cache_write),
        ] {
            if let Some(count) = usage[name].as_u64() {
                *field = count;
            }
        }
    }

    fn start_block(
        &mut self,
        value: &mut Value,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), Fault> {
        let index = index(value)?;
        let Some(Value::Object(fields)) = value.get_mut("content_block").map(Value::take) else {
            return Err(Fault::invalid_reply(format!("block {index} is not an object")));
        };
        if let Some(text) = fields.get("text").and_then(Value::as_str).filter(|t| !t.is_empty()) {
            on_delta(Delta::Text(text.to_owned()));
        }
        match self.blocks.insert(index, Block { fields, input: None }) {
            None => Ok(()),
            Some(_) => Err(Fault::invalid_reply(format!("block {index} starts twice"))),
        }
    }

    fn extend_block(
        &mut self,
        value: &mut Value,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), Fault> {
        let index = index(value)?;
        let Some(block) = self.blocks.get_mut(&index) else {
            return Err(Fault::invalid_reply(format!("block {index} goes on before its start")));
        };
        let Some(Value::Object(delta)) = value.get_mut("delta").map(Value::take) else {
            return Err(Fault::invalid_reply(format!("a delta of block {index} is not an object")));
        };
        match delta.get("type").and_then(Value::as_str) {
            Some("text_delta") => {
                let text = delta.get("text").and_then(Value::as_str).unwrap_or_default();
                on_delta(Delta::Text(text.to_owned()));
            }
            Some("thinking_delta") => {
                let text = delta.get("thinking").and_then(Value::as_str).unwrap_or_default();
                on_delta(Delta::Thinking(text.to_owned()));
            }
            _ => {}
        }
        block.merge(delta);
        Ok(())
    }
}

impl Decode for Decoder {
    fn event(
        &mut self,
        event: &Event,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, Fault> {
        if event.data.trim().is_empty() {
            return Ok(Progress::More);
        }
        let mut value: Value = serde_json::from_str(&event.data)
            .map_err(|error| Fault::invalid_reply(format!("an event is not JSON: {error}")))?;
        // Some gateways leave out the name of the event, none its type.
        let kind = value["type"].as_str().unwrap_or(&event.name).to_owned();
        match kind.as_str() {
            "message_start" => self.start_message(&value["message"]),
            "content_block_start" => self.start_block(&mut value, on_delta)?,
            "content_block_delta" => self.extend_block(&mut value, on_delta)?,
            "message_delta" => {
                if let Some(stop) = value["delta"]["stop_reason"].as_str() {
                    self.stop = Some(stop.to_owned());
                }
                self.count(&value["usage"]);
            }
            "message_stop" => {
                self.whole = true;
                return Ok(Progress::Done);
            }
            "error" => return Err(refusal::fault(None, &Refusal::from_json(&value))),
            // content_block_stop and ping say nothing; what is new may say it to others.
            _ => {}
        }
        Ok(Progress::More)
    }

    fn end(mut self, received: usize) -> Result<Reply, Fault> {
        if !self.whole {
            let reason = format!("the stream ended after {received} bytes, before message_stop");
            return Err(Fault::network(reason));
        }
        if let Some(last) = self.blocks.values_mut().next_back().filter(|last| last.is_bare_call())
        {
            let stop = self.stop.as_deref().map_or(StopReason::End, |stop| reason(stop, true));
            mark_cut(Some(last.input.get_or_insert_default()), stop);
        }
        let calls: Vec<_> = self.blocks.values().filter_map(Block::call).collect();
        check_calls(&calls)?;
        let text = self.blocks.values().filter_map(|block| block.text()).collect();
        let stop = reason(self.stop.as_deref().unwrap_or_default(), !calls.is_empty());
        let content: Vec<&Block> = self.blocks.values().collect();
        let raw = serde_json::value::to_raw_value(&content)
            .map_err(|error| Fault::invalid_reply(error.to_string()))?;
        let wire = Wire::AnthropicMessages;
        let (model, asked) = (self.model, None);
        let message = AssistantMessage { wire, model, asked, text, calls, stop, raw };
        Ok(Reply { message, usage: self.usage })
    }
}

fn reason(stop: &str, has_calls: bool) -> StopReason {
    match stop {
        "max_tokens" | "model_context_window_exceeded" => StopReason::Length,
        "refusal" => StopReason::Refusal,
        _ if has_calls => StopReason::ToolCalls,
        _ => StopReason::End,
    }
}

fn index(value: &Value) -> Result<u64, Fault> {
    value["index"].as_u64().ok_or_else(|| Fault::invalid_reply("an event of a block has no index"))
}

impl Block {
    fn kind(&self) -> &str {
        self.fields.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Text and signatures grow; a citation joins its list; anything else replaces.
    fn merge(&mut self, delta: Map<String, Value>) {
        for (name, value) in delta {
            match (name.as_str(), value) {
                ("type", _) => {}
                ("partial_json", Value::String(piece)) => {
                    self.input.get_or_insert_default().push_str(&piece);
                }
                ("citation", citation) => match self.fields.get_mut("citations") {
                    Some(Value::Array(list)) => list.push(citation),
                    _ => {
                        self.fields.insert("citations".to_owned(), Value::Array(vec![citation]));
                    }
                },
                (_, Value::String(piece)) => match self.fields.get_mut(&name) {
                    Some(Value::String(text)) => text.push_str(&piece),
                    _ => {
                        self.fields.insert(name, Value::String(piece));
                    }
                },
                (_, value) => {
                    self.fields.insert(name, value);
                }
            }
        }
    }

    fn text(&self) -> Option<&str> {
        self.fields.get("text").and_then(Value::as_str).filter(|_| self.kind() == "text")
    }

    /// A call of which no argument has come.
    fn is_bare_call(&self) -> bool {
        let whole = self.fields.get("input").and_then(Value::as_object);
        let pieces = self.input.as_deref().unwrap_or_default();
        self.kind() == "tool_use"
            && pieces.trim().is_empty()
            && whole.is_none_or(|whole| whole.is_empty())
    }

    fn call(&self) -> Option<ToolCall> {
        let field = |name| self.fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let whole = || self.fields.get("input").map(Value::to_string);
        let pieces = self.input.clone().filter(|pieces| !pieces.trim().is_empty());
        (self.kind() == "tool_use").then(|| ToolCall {
            id: field("id").to_owned(),
            name: field("name").to_owned(),
            arguments: pieces.or_else(whole).unwrap_or_else(|| "{}".to_owned()),
        })
    }

    fn input(&self) -> Option<Box<RawValue>> {
        // What a tool call holds must be an object, or no later request would be taken.
        let arguments = self.call().map(|call| call.arguments).or_else(|| self.input.clone())?;
        Some(object_arguments(&arguments))
    }
}

impl Serialize for Block {
    /// The input goes out as the bytes that came: numbers and the order of keys stay.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let input = self.input();
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.fields {
            if name != "input" || input.is_none() {
                map.serialize_entry(name, value)?;
            }
        }
        if let Some(input) = &input {
            map.serialize_entry("input", input)?;
        }
        map.end()
    }
}
