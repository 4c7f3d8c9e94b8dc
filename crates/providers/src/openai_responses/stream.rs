//! The stream of a response, to a whole answer.
//!
//! ```text
//!  response.created ─▶ (output_item.added ─▶ deltas … ─▶ output_item.done) …
//!                   ─▶ response.completed | response.incomplete | response.failed
//! ```
//!
//! What counts are the finished items: a call whose arguments were streamed in part is none. An
//! answer is whole with the event that ends the response.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
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
    request_bytes: usize,
    /// Items that were begun.
    begun: usize,
    items: Vec<Box<RawValue>>,
    usage: Option<Usage>,
    end: Option<End>,
}

/// How a response ended that gave an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Completed,
    OutOfTokens,
    Withheld,
}

/// An event. Fields of events that we do not know may be anything.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    item: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    summary_index: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
}

/// The response as the event that ends it tells it.
#[derive(Debug, Default, Deserialize)]
struct Response {
    model: Option<String>,
    status: Option<String>,
    #[serde(default)]
    output: Option<Vec<Box<RawValue>>>,
    #[serde(default)]
    usage: Value,
    #[serde(default)]
    incomplete_details: Value,
    #[serde(default)]
    error: Value,
}

impl Decoder {
    pub fn new(model: &str, request_bytes: usize) -> Decoder {
        Decoder {
            model: model.to_owned(),
            request_bytes,
            begun: 0,
            items: Vec::new(),
            usage: None,
            end: None,
        }
    }

    /// Takes the event that ends the response.
    fn finish(&mut self, response: Option<&RawValue>, end: End) -> Result<Progress, Fault> {
        let response = read_response(response)?;
        if let Some(model) = response.model {
            self.model = model;
        }
        self.usage = count(&response.usage);
        self.end = Some(match response.incomplete_details["reason"].as_str() {
            Some("content_filter") => End::Withheld,
            Some(_) => End::OutOfTokens,
            None if response.status.as_deref() == Some("incomplete") => End::OutOfTokens,
            None => end,
        });
        // Some servers tell the items only here, and some leave them out here.
        let told = response.output.unwrap_or_default();
        if told.len() > self.items.len() {
            self.items = told;
        }
        if self.items.len() < self.begun {
            let (done, begun) = (self.items.len(), self.begun);
            let reason = format!("{begun} items were begun and {done} came to an end");
            return Err(Fault::invalid_reply(reason));
        }
        Ok(Progress::Done)
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
            "[DONE]" => return Err(Fault::network("the stream ended without response.completed")),
            _ => {}
        }
        let envelope: Envelope<'_> = serde_json::from_str(&event.data)
            .map_err(|error| Fault::invalid_reply(format!("not an event: {error}")))?;
        let piece = || -> String {
            let text = envelope.delta.and_then(|delta| serde_json::from_str(delta.get()).ok());
            text.unwrap_or_default()
        };
        match envelope.kind.as_deref().unwrap_or(&event.name) {
            "response.output_item.added" => self.begun += 1,
            "response.output_item.done" => self.items.extend(envelope.item.map(ToOwned::to_owned)),
            "response.output_text.delta" | "response.refusal.delta" => {
                on_delta(Delta::Text(piece()));
            }
            "response.reasoning_summary_text.delta" | "response.reasoning_text.delta" => {
                on_delta(Delta::Thinking(piece()));
            }
            "response.reasoning_summary_part.added"
                if envelope.summary_index.is_some_and(|index| index.get() != "0") =>
            {
                on_delta(Delta::Thinking("\n\n".to_owned()));
            }
            "response.completed" => return self.finish(envelope.response, End::Completed),
            "response.incomplete" => return self.finish(envelope.response, End::OutOfTokens),
            "response.failed" | "response.cancelled" => {
                return Err(failure(&read_response(envelope.response)?.error));
            }
            "error" => return Err(error_event(&event.data)),
            // The rest repeats what the items hold, or is new.
            _ => {}
        }
        Ok(Progress::More)
    }

    fn end(self, received: usize) -> Result<Reply, Fault> {
        let Some(end) = self.end else {
            let reason =
                format!("the stream ended after {received} bytes, before response.completed");
            return Err(Fault::network(reason));
        };
        let mut items = Vec::new();
        for item in self.items {
            items.push(Item::read(item)?);
        }
        let last = items.last_mut().and_then(|item| item.call.as_mut());
        let length = if end == End::OutOfTokens { StopReason::Length } else { StopReason::End };
        mark_cut(last.map(|call| &mut call.arguments), length);
        let raw: Vec<Box<RawValue>> = items.iter_mut().map(Item::mended).collect();
        let raw = serde_json::value::to_raw_value(&raw)
            .map_err(|error| Fault::invalid_reply(error.to_string()))?;
        let refused = items.iter().any(|item| item.refused);
        let text = items.iter().map(|item| item.text.as_str()).collect();
        let calls: Vec<_> = items.into_iter().filter_map(|item| item.call).collect();
        check_calls(&calls)?;
        let stop = match end {
            End::OutOfTokens => StopReason::Length,
            End::Withheld => StopReason::Refusal,
            End::Completed if !calls.is_empty() => StopReason::ToolCalls,
            End::Completed if refused => StopReason::Refusal,
            End::Completed => StopReason::End,
        };
        let usage =
            self.usage.unwrap_or_else(|| estimated_usage(self.request_bytes, raw.get().len()));
        let (wire, model, asked) = (Wire::OpenaiResponses, self.model, None);
        let message = AssistantMessage { wire, model, asked, text, calls, stop, raw };
        Ok(Reply { message, usage })
    }
}

/// An item of the answer, read.
#[derive(Debug)]
struct Item {
    raw: Box<RawValue>,
    text: String,
    refused: bool,
    call: Option<ToolCall>,
}

impl Item {
    fn read(raw: Box<RawValue>) -> Result<Item, Fault> {
        let fields: Map<String, Value> = serde_json::from_str(raw.get())
            .map_err(|_| Fault::invalid_reply("an item of the answer is not an object"))?;
        let field = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut item = Item { text: String::new(), refused: false, call: None, raw };
        match field("type") {
            "message" => {
                let parts = fields.get("content").and_then(Value::as_array);
                for part in parts.into_iter().flatten() {
                    let refusal = part["refusal"].as_str();
                    item.refused |= refusal.is_some();
                    item.text.push_str(part["text"].as_str().or(refusal).unwrap_or_default());
                }
            }
            "function_call" => {
                let id = [field("call_id"), field("id")].into_iter().find(|id| !id.is_empty());
                item.call = Some(ToolCall {
                    id: id.unwrap_or_default().to_owned(),
                    name: field("name").to_owned(),
                    arguments: field("arguments").to_owned(),
                });
            }
            _ => {}
        }
        Ok(item)
    }

    /// Returns the item as it goes back: as it came, unless the arguments of a call are such that
    /// no later request with them would be taken.
    fn mended(&mut self) -> Box<RawValue> {
        let raw = self.raw.clone();
        let Some(call) = &mut self.call else { return raw };
        if call.arguments.trim().is_empty() {
            "{}".clone_into(&mut call.arguments);
        }
        let object = object_arguments(&call.arguments);
        let Ok(mut fields) = serde_json::from_str::<Map<String, Value>>(raw.get()) else {
            return raw;
        };
        let told = fields.get("arguments").and_then(Value::as_str).unwrap_or_default();
        if told.trim() == object.get() && fields.contains_key("call_id") {
            return raw;
        }
        fields.insert("arguments".to_owned(), object.get().into());
        fields.insert("call_id".to_owned(), call.id.as_str().into());
        serde_json::value::to_raw_value(&fields).unwrap_or(raw)
    }
}

fn read_response(response: Option<&RawValue>) -> Result<Response, Fault> {
    let Some(response) = response else { return Ok(Response::default()) };
    serde_json::from_str(response.get())
        .map_err(|error| Fault::invalid_reply(format!("not a response: {error}")))
}

/// Returns the counts, or nothing if the provider does not count.
fn count(usage: &Value) -> Option<Usage> {
    let count = |value: &Value| value.as_u64().unwrap_or(0);
    if usage["input_tokens"].is_null() && usage["output_tokens"].is_null() {
        return None;
    }
    let details = &usage["input_tokens_details"];
    let cache_read = count(&details["cached_tokens"]);
    let cache_write = count(&details["cache_write_tokens"]);
    Some(Usage {
        input: count(&usage["input_tokens"]).saturating_sub(cache_read.saturating_add(cache_write)),
        output: count(&usage["output_tokens"]),
        cache_read,
        cache_write,
    })
}

/// A response that failed says why in its `error`, if it says anything.
fn failure(error: &Value) -> Fault {
    let refusal = match error {
        Value::Null => Refusal { codes: "server_error".to_owned(), ..Refusal::default() },
        error => Refusal::from_json(error),
    };
    refusal::fault(None, &refusal)
}

/// An `error` event has its fields in itself, or in an `error` as everywhere else.
fn error_event(data: &str) -> Fault {
    let mut value: Value = serde_json::from_str(data).unwrap_or_default();
    if value["error"].is_null()
        && value["code"].is_string()
        && let Some(fields) = value.as_object_mut()
    {
        // It says that this is an error; the code says which.
        fields.shift_remove("type");
    }
    refusal::fault(None, &Refusal::from_json(&value))
}
