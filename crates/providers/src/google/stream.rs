//! The stream of a generated content, to a whole answer.
//!
//! Each event is a piece of the answer with parts of its own. An answer is whole once a piece has
//! named its `finishReason`, or a reason why there will be none; the stream then just ends.
//!
//! Pieces of text are put together, but a part with a signature stays as it came: what is signed
//! is that part.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use types::{AssistantMessage, StopReason, ToolCall, Usage, Wire};

use crate::conversation::{check_calls, estimated_usage};
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
    parts: Vec<Part>,
    calls: Vec<ToolCall>,
    usage: Option<Usage>,
    finish: Option<String>,
    finish_message: String,
}

#[derive(Debug)]
enum Part {
    /// Text that may still grow.
    Text {
        text: String,
        thought: bool,
    },
    Raw(Box<RawValue>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(default)]
    prompt_feedback: Value,
    #[serde(default)]
    usage_metadata: Value,
    #[serde(default)]
    model_version: Option<String>,
    #[serde(default)]
    error: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    content: Option<Content<'a>>,
    finish_reason: Option<String>,
    finish_message: Option<String>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow)]
    parts: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    #[serde(borrow)]
    function_call: Option<Call<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    will_continue: Option<bool>,
}

impl Decoder {
    pub fn new(model: &str, turn: usize, request_bytes: usize) -> Decoder {
        Decoder {
            model: model.to_owned(),
            turn,
            request_bytes,
            text: String::new(),
            parts: Vec::new(),
            calls: Vec::new(),
            usage: None,
            finish: None,
            finish_message: String::new(),
        }
    }

    fn take_part(
        &mut self,
        part: &RawValue,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<(), Fault> {
        let fields: Map<String, Value> = serde_json::from_str(part.get())
            .map_err(|_| Fault::invalid_reply("a part of the answer is not an object"))?;
        let text = fields.get("text").and_then(Value::as_str).unwrap_or_default();
        let thought = fields.get("thought").and_then(Value::as_bool).unwrap_or(false);
        if !text.is_empty() && thought {
            on_delta(Delta::Thinking(text.to_owned()));
        } else if !text.is_empty() {
            on_delta(Delta::Text(text.to_owned()));
            self.text.push_str(text);
        }
        if fields.contains_key("functionCall") {
            self.take_call(part)?;
        }
        if !fields.keys().all(|key| key == "text" || key == "thought") {
            self.parts.push(Part::Raw(part.to_owned()));
            return Ok(());
        }
        match self.parts.last_mut() {
            _ if text.is_empty() => {}
            Some(Part::Text { text: so_far, thought: kind }) if *kind == thought => {
                so_far.push_str(text);
            }
            _ => self.parts.push(Part::Text { text: text.to_owned(), thought }),
        }
        Ok(())
    }

    fn take_call(&mut self, part: &RawValue) -> Result<(), Fault> {
        let called: Called<'_> = serde_json::from_str(part.get())
            .map_err(|error| Fault::invalid_reply(format!("not a call: {error}")))?;
        let Some(call) = called.function_call else { return Ok(()) };
        if call.will_continue == Some(true) {
            // Only who asks for it gets calls in pieces.
            return Err(Fault::invalid_reply("a call came in pieces"));
        }
        let id = call.id.filter(|id| !id.is_empty()).map(Cow::into_owned);
        let minted = || format!("call_{}_{}", self.turn, self.calls.len());
        let arguments = call.args.map(RawValue::get).filter(|args| *args != "null");
        self.calls.push(ToolCall {
            id: id.unwrap_or_else(minted),
            name: call.name.unwrap_or_default().into_owned(),
            arguments: arguments.unwrap_or("{}").to_owned(),
        });
        Ok(())
    }

    fn count(&mut self, usage: &Value) {
        let count = |name: &str| usage[name].as_u64().unwrap_or(0);
        if usage["promptTokenCount"].is_null() {
            return;
        }
        let cache_read = count("cachedContentTokenCount");
        let prompt = count("promptTokenCount").saturating_add(count("toolUsePromptTokenCount"));
        self.usage = Some(Usage {
            input: prompt.saturating_sub(cache_read),
            output: count("candidatesTokenCount").saturating_add(count("thoughtsTokenCount")),
            cache_read,
            cache_write: 0,
        });
    }

    /// What the reason to stop means, or why there is no answer.
    fn stop_reason(&self, finish: &str) -> Result<StopReason, Fault> {
        let is_empty = self.parts.is_empty();
        match finish {
            "MAX_TOKENS" => Ok(StopReason::Length),
            "MALFORMED_FUNCTION_CALL"
            | "UNEXPECTED_TOOL_CALL"
            | "TOO_MANY_TOOL_CALLS"
            | "MISSING_THOUGHT_SIGNATURE"
            | "MALFORMED_RESPONSE" => {
                let reason = format!("it ended with {finish} {}", self.finish_message);
                Err(Fault::invalid_reply(reason))
            }
            "STOP" if self.calls.is_empty() => Ok(StopReason::End),
            "STOP" => Ok(StopReason::ToolCalls),
            _ if WITHHELD.iter().any(|word| finish.contains(word)) => Ok(StopReason::Refusal),
            _ if is_empty => {
                let reason = format!("it ended with {finish} {}", self.finish_message);
                Err(Fault::invalid_reply(reason))
            }
            _ if self.calls.is_empty() => Ok(StopReason::End),
            _ => Ok(StopReason::ToolCalls),
        }
    }
}

/// Words in the reasons of an answer that was withheld.
const WITHHELD: &[&str] =
    &["SAFETY", "RECITATION", "LANGUAGE", "BLOCK", "PROHIBITED", "SPII", "ARMOR", "JAILBREAK"];

impl Decode for Decoder {
    fn event(
        &mut self,
        event: &Event,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Progress, Fault> {
        if event.data.trim().is_empty() {
            return Ok(Progress::More);
        }
        let piece: Piece<'_> = serde_json::from_str(&event.data)
            .map_err(|error| Fault::invalid_reply(format!("not a piece of an answer: {error}")))?;
        if !piece.error.is_null() {
            return Err(refusal::fault(None, &Refusal::from_json(&piece.error)));
        }
        if let Some(model) = piece.model_version.filter(|model| !model.is_empty()) {
            self.model = model;
        }
        self.count(&piece.usage_metadata);
        // We ask for one candidate and read no other.
        let candidates = piece.candidates.into_iter().flatten();
        for candidate in candidates.filter(|candidate| candidate.index.unwrap_or(0) == 0) {
            let parts = candidate.content.and_then(|content| content.parts).unwrap_or_default();
            for part in parts {
                self.take_part(part, on_delta)?;
            }
            self.finish_message.extend(candidate.finish_message);
            self.finish = candidate.finish_reason.or(self.finish.take());
        }
        if let Some(reason) = piece.prompt_feedback["blockReason"].as_str() {
            self.finish = Some(format!("BLOCKED: {reason}"));
        }
        Ok(Progress::More)
    }

    fn end(self, received: usize) -> Result<Reply, Fault> {
        let Some(finish) = &self.finish else {
            let reason = format!("the stream ended after {received} bytes, with no finishReason");
            return Err(Fault::network(reason));
        };
        let stop = self.stop_reason(finish)?;
        check_calls(&self.calls)?;
        let parts: Result<Vec<_>, _> = self.parts.iter().map(Part::raw).collect();
        let raw = parts
            .and_then(|parts| serde_json::value::to_raw_value(&parts))
            .map_err(|error| Fault::invalid_reply(error.to_string()))?;
        let usage =
            self.usage.unwrap_or_else(|| estimated_usage(self.request_bytes, raw.get().len()));
        let (wire, model, asked) = (Wire::GoogleGenerativeAi, self.model, None);
        let (text, calls) = (self.text, self.calls);
        let message = AssistantMessage { wire, model, asked, text, calls, stop, raw };
        Ok(Reply { message, usage })
    }
}

impl Part {
    fn raw(&self) -> serde_json::Result<Box<RawValue>> {
        match self {
            Part::Raw(raw) => Ok(raw.clone()),
            Part::Text { text, thought: false } => {
                serde_json::value::to_raw_value(&serde_json::json!({ "text": text }))
            }
            Part::Text { text, thought: true } => {
                let part = serde_json::json!({ "text": text, "thought": true });
                serde_json::value::to_raw_value(&part)
            }
        }
    }
}
