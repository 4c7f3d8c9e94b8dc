//! The stream of a chat completion, to a whole answer.
//!
//! An answer is whole once a chunk has named its `finish_reason`; usage follows it, and `[DONE]`
//! at the end is a courtesy that some leave out. A stream that ends without the reason was cut.

use serde_json::{Map, Value, json};
use types::{AssistantMessage, StopReason, ToolCall, Usage, Wire};

use crate::conversation::{check_calls, estimated_usage, mark_cut, object_arguments};
use crate::error::Fault;
use crate::http::{Decode, Progress};
use crate::refusal::{self, Refusal};
use crate::sse::Event;
use crate::{Delta, Reply};

/// What has come so far.
#[derive(Debug)]
pub(crate) struct Decoder {
    model: String,
    /// Answers before this one: it keeps the ids that we mint apart.
    turn: usize,
    request_bytes: usize,
    text: String,
    /// Fields of the message that we do not know, such as `reasoning_content`.
    extra: Map<String, Value>,
    calls: Vec<Call>,
    usage: Option<Usage>,
    finish: Option<String>,
}

#[derive(Debug, Default)]
struct Call {
    index: Option<u64>,
    id: String,
    name: String,
    arguments: String,
    /// Such as Gemini's `extra_content`, which holds the signature of a thought.
    extra: Map<String, Value>,
}

impl Decoder {
    pub fn new(model: &str, turn: usize, request_bytes: usize) -> Decoder {
        Decoder {
            model: model.to_owned(),
            turn,
            request_bytes,
            text: String::new(),
            extra: Map::new(),
            calls: Vec::new(),
            usage: None,
            finish: None,
        }
    }

    fn take_delta(&mut self, delta: Value, on_delta: &mut (dyn FnMut(Delta) + Send)) {
        let Value::Object(delta) = delta else { return };
        for (name, value) in delta {
            match (name.as_str(), value) {
                ("role", _) => {}
                ("content", content) => self.say(&content, on_delta),
                ("tool_calls", Value::Array(calls)) => {
                    calls.into_iter().for_each(|call| self.take_call(call));
                }
                (_, value) => {
                    if let ("reasoning_content" | "reasoning", Some(text)) =
                        (name.as_str(), value.as_str())
                    {
                        on_delta(Delta::Thinking(text.to_owned()));
                    }
                    merge(&mut self.extra, name, value);
                }
            }
        }
    }

    /// Takes content as text, or as a list of parts.
    fn say(&mut self, content: &Value, on_delta: &mut (dyn FnMut(Delta) + Send)) {
        let parts = content.as_array().into_iter().flatten().map(|part| &part["text"]);
        for text in std::iter::once(content).chain(parts).filter_map(Value::as_str) {
            if !text.is_empty() {
                self.text.push_str(text);
                on_delta(Delta::Text(text.to_owned()));
            }
        }
    }

    fn take_call(&mut self, piece: Value) {
        let Value::Object(mut piece) = piece else { return };
        let function = piece.remove("function").unwrap_or_default();
        let id = piece.remove("id").as_ref().and_then(Value::as_str).unwrap_or_default().to_owned();
        let index = piece.remove("index").as_ref().and_then(Value::as_u64);
        let name = function["name"].as_str().unwrap_or_default();
        let place = self.place(index, &id, !name.is_empty());
        let call = &mut self.calls[place];
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name.to_owned();
        }
        match &function["arguments"] {
            Value::Null => {}
            Value::String(text) => call.arguments.push_str(text),
            whole => call.arguments.push_str(&whole.to_string()),
        }
        piece.remove("type");
        for (name, value) in piece {
            merge(&mut call.extra, name, value);
        }
    }

    /// Finds the call that a piece belongs to, or makes a new one. The index decides, but there
    /// are dialects without it, and one that numbers all calls of an answer zero.
    fn place(&mut self, index: Option<u64>, id: &str, is_named: bool) -> usize {
        let same_id = |call: &Call| id.is_empty() || call.id.is_empty() || call.id == id;
        let place = match index {
            Some(_) => self
                .calls
                .iter()
                .rposition(|call| call.index == index)
                .filter(|place| same_id(&self.calls[*place])),
            None if !id.is_empty() => self.calls.iter().rposition(|call| call.id == id),
            None if is_named => None,
            None => self.calls.len().checked_sub(1),
        };
        place.unwrap_or_else(|| {
            self.calls.push(Call { index, ..Call::default() });
            self.calls.len() - 1
        })
    }

    fn count(&mut self, usage: &Value) {
        let count = |value: &Value| value.as_u64().unwrap_or(0);
        if usage["prompt_tokens"].is_null() && usage["completion_tokens"].is_null() {
            return;
        }
        let details = &usage["prompt_tokens_details"];
        let cache_read = match details["cached_tokens"].as_u64() {
            Some(cached) => cached,
            None => count(&usage["prompt_cache_hit_tokens"]),
        };
        let cache_write = count(&details["cache_write_tokens"]);
        self.usage = Some(Usage {
            input: count(&usage["prompt_tokens"])
                .saturating_sub(cache_read.saturating_add(cache_write)),
            output: count(&usage["completion_tokens"]),
            cache_read,
            cache_write,
        });
    }

    /// Builds the message as it goes back.
    fn raw(&self) -> Value {
        let mut message = Map::new();
        message.insert("role".to_owned(), "assistant".into());
        let content = match (self.text.as_str(), self.calls.is_empty()) {
            ("", false) => Value::Null,
            (text, _) => text.into(),
        };
        message.insert("content".to_owned(), content);
        message.extend(self.extra.clone());
        if !self.calls.is_empty() {
            let calls = self.calls.iter().map(Call::raw).collect();
            message.insert("tool_calls".to_owned(), calls);
        }
        Value::Object(message)
    }

    fn stop_reason(&self) -> StopReason {
        match self.finish.as_deref() {
            Some("length") => StopReason::Length,
            Some("content_filter") => StopReason::Refusal,
            _ if !self.calls.is_empty() => StopReason::ToolCalls,
            _ if self.extra.get("refusal").is_some_and(Value::is_string) => StopReason::Refusal,
            _ => StopReason::End,
        }
    }
}

impl Decode for Decoder {
    fn event(
        &mut self,
        event: &Event,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, Fault> {
        match event.data.trim() {
            "" => return Ok(Progress::More),
            "[DONE]" if self.finish.is_some() => return Ok(Progress::Done),
            "[DONE]" => return Err(Fault::network("the stream ended without a finish_reason")),
            _ => {}
        }
        let mut value: Value = serde_json::from_str(&event.data)
            .map_err(|error| Fault::invalid_reply(format!("an event is not JSON: {error}")))?;
        if event.name == "error" || value.get("error").is_some_and(|error| !error.is_null()) {
            return Err(refusal::fault(None, &Refusal::from_json(&value)));
        }
        if let Some(model) = value["model"].as_str().filter(|model| !model.is_empty()) {
            self.model = model.to_owned();
        }
        self.count(&value["usage"]);
        let choices = value.get_mut("choices").and_then(Value::as_array_mut);
        for choice in choices.into_iter().flatten() {
            // We ask for one choice and read no other.
            if choice["index"].as_u64().unwrap_or(0) != 0 {
                continue;
            }
            if let Some(delta) = choice.get_mut("delta") {
                self.take_delta(delta.take(), on_delta);
            }
            match choice["finish_reason"].as_str() {
                Some("error") => {
                    let refusal = Refusal { codes: "server_error".into(), ..Refusal::default() };
                    return Err(refusal::fault(None, &refusal));
                }
                Some(reason) => self.finish = Some(reason.to_owned()),
                None => {}
            }
        }
        Ok(Progress::More)
    }

    fn end(mut self, received: usize) -> Result<Reply, Fault> {
        if self.finish.is_none() {
            let reason = format!("the stream ended after {received} bytes, with no finish_reason");
            return Err(Fault::network(reason));
        }
        for (place, call) in self.calls.iter_mut().enumerate() {
            if call.id.is_empty() {
                call.id = format!("call_{}_{place}", self.turn);
            }
        }
        let stop = self.stop_reason();
        mark_cut(self.calls.last_mut().map(|call| &mut call.arguments), stop);
        for call in self.calls.iter_mut().filter(|call| call.arguments.trim().is_empty()) {
            call.arguments = "{}".to_owned();
        }
        let raw = serde_json::value::to_raw_value(&self.raw())
            .map_err(|error| Fault::invalid_reply(error.to_string()))?;
        let usage =
            self.usage.unwrap_or_else(|| estimated_usage(self.request_bytes, raw.get().len()));
        let calls: Vec<_> = self.calls.into_iter().map(Call::into_tool_call).collect();
        check_calls(&calls)?;
        let mut text = self.text;
        if text.is_empty() && stop == StopReason::Refusal {
            text.push_str(self.extra.get("refusal").and_then(Value::as_str).unwrap_or_default());
        }
        let wire = Wire::OpenaiCompletions;
        let (model, asked) = (self.model, None);
        let message = AssistantMessage { wire, model, asked, text, calls, stop, raw };
        Ok(Reply { message, usage })
    }
}

impl Call {
    fn raw(&self) -> Value {
        let arguments = object_arguments(&self.arguments).get().to_owned();
        let mut call = Map::new();
        call.insert("id".to_owned(), self.id.as_str().into());
        call.insert("type".to_owned(), "function".into());
        let function = json!({ "name": self.name, "arguments": arguments });
        call.insert("function".to_owned(), function);
        call.extend(self.extra.clone());
        Value::Object(call)
    }

    fn into_tool_call(self) -> ToolCall {
        ToolCall { id: self.id, name: self.name, arguments: self.arguments }
    }
}

/// Adds a piece of an unknown field to what has come of it: text and lists grow.
fn merge(fields: &mut Map<String, Value>, name: String, piece: Value) {
    match (fields.get_mut(&name), piece) {
        (_, Value::Null) => {}
        (Some(Value::String(text)), Value::String(piece)) => text.push_str(&piece),
        (Some(Value::Array(list)), Value::Array(piece)) => list.extend(piece),
        (_, piece) => {
            fields.insert(name, piece);
        }
    }
}
