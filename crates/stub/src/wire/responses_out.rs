//! OpenAI Responses on the way out: whole responses, and the events of a stream.

use serde_json::{Map, Value, json};

use super::responses_items::{CALL_PREFIX, REASONING_PREFIX, THOUGHT_OUT, sealed};
use super::{Refusal, Reply, Wire, call_id};
use crate::answer::{ToolCall, pieces};
use crate::cache::Usage;
use crate::directive::Stop;
use crate::play::{FILLER, Frame};

/// Returns the whole response.
pub fn whole(reply: &Reply<'_>) -> Value {
    response(reply, status(reply), items(reply), usage(reply.usage))
}

/// Returns the frames of the stream, with `flood` frames of filler before the answer.
pub fn frames(reply: &Reply<'_>, flood: u64) -> Vec<Frame> {
    let mut stream = Stream::default();
    let begun = response(reply, "in_progress", Vec::new(), Value::Null);
    stream.event("response.created", json!({"response": begun}), 0);
    stream.event("response.in_progress", json!({"response": begun}), 0);
    if flood > 0 {
        stream.item(&message(reply, FILLER), flood);
    }
    let items = items(reply);
    items.iter().for_each(|item| stream.item(item, 1));
    let last = match status(reply) {
        "incomplete" => "response.incomplete",
        _ => "response.completed",
    };
    stream.event(last, json!({"response": whole(reply)}), 0);
    stream.frames
}

/// Returns the frame of an error that comes after the status 200.
pub fn error_frame(refusal: &Refusal) -> Frame {
    let body = refusal.body(Wire::Responses);
    let data = json!({"type": "error", "sequence_number": 0, "error": body["error"]});
    Frame::new(format!("event: error\ndata: {data}\n\n"), 0)
}

/// The events so far.
#[derive(Default)]
struct Stream {
    frames: Vec<Frame>,
    items: usize,
}

impl Stream {
    fn event(&mut self, kind: &str, fields: Value, tokens: u64) {
        let mut data = Map::new();
        data.insert("type".to_owned(), kind.into());
        data.insert("sequence_number".to_owned(), self.frames.len().into());
        if let Value::Object(fields) = fields {
            data.extend(fields);
        }
        let data = Value::Object(data);
        self.frames.push(Frame::new(format!("event: {kind}\ndata: {data}\n\n"), tokens));
    }

    /// Sends an item: its beginning, its text piece by piece, its end. The pieces come `times`
    /// times.
    fn item(&mut self, item: &Value, times: u64) {
        let at = self.items;
        self.items += 1;
        let id = &item["id"];
        let mut begun = item.clone();
        begun["status"] = "in_progress".into();
        match item["type"].as_str().unwrap_or_default() {
            "reasoning" => {
                begun["summary"] = json!([]);
                begun["encrypted_content"] = "gAAAAAst_begun".into();
            }
            "message" => begun["content"] = json!([]),
            _ => begun["arguments"] = "".into(),
        }
        self.event("response.output_item.added", json!({"output_index": at, "item": begun}), 0);
        match item["type"].as_str().unwrap_or_default() {
            "reasoning" => {
                let place = json!({"item_id": id, "output_index": at, "summary_index": 0});
                self.part("reasoning_summary_part", "reasoning_summary_text", &place, {
                    &item["summary"][0]
                });
            }
            "message" => {
                let place = json!({"item_id": id, "output_index": at, "content_index": 0});
                let before = self.frames.len();
                self.part("content_part", "output_text", &place, &item["content"][0]);
                let filler = self.frames[before..].iter_mut().filter(|frame| frame.tokens > 0);
                filler.for_each(|frame| frame.times = times);
            }
            _ => {
                let place = json!({"item_id": id, "output_index": at});
                let arguments = item["arguments"].as_str().unwrap_or_default();
                for piece in pieces(arguments) {
                    let delta = with(&place, json!({"delta": piece}));
                    let tokens = super::tokens(piece.len());
                    self.event("response.function_call_arguments.delta", delta, tokens);
                }
                let done = with(&place, json!({"arguments": arguments}));
                self.event("response.function_call_arguments.done", done, 0);
            }
        }
        self.event("response.output_item.done", json!({"output_index": at, "item": item}), 0);
    }

    fn part(&mut self, part: &str, text: &str, place: &Value, whole: &Value) {
        let mut begun = whole.clone();
        begun["text"] = "".into();
        let added = with(place, json!({"part": begun}));
        self.event(&format!("response.{part}.added"), added, 0);
        let words = whole["text"].as_str().unwrap_or_default();
        for piece in pieces(words) {
            let mut delta = json!({"delta": piece});
            if text == "output_text" {
                delta["logprobs"] = json!([]);
            }
            let kind = format!("response.{text}.delta");
            self.event(&kind, with(place, delta), super::tokens(piece.len()));
        }
        let mut done = json!({"text": words});
        if text == "output_text" {
            done["logprobs"] = json!([]);
        }
        self.event(&format!("response.{text}.done"), with(place, done), 0);
        self.event(&format!("response.{part}.done"), with(place, json!({"part": whole})), 0);
    }
}

fn with(place: &Value, more: Value) -> Value {
    let mut fields = place.clone();
    if let (Some(fields), Value::Object(more)) = (fields.as_object_mut(), more) {
        fields.extend(more);
    }
    fields
}

fn items(reply: &Reply<'_>) -> Vec<Value> {
    let answer = reply.answer;
    let nonce = reply.nonce(0);
    let mut items = Vec::new();
    // Reasoning leads to something: alone it could not come back.
    let leads = !answer.text.is_empty() || !answer.calls.is_empty();
    if let Some(thinking) = answer.think.as_deref().filter(|_| leads) {
        let id = format!("{REASONING_PREFIX}{nonce}");
        items.push(json!({
            "id": id,
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": thinking}],
            "encrypted_content": sealed(&id, thinking),
        }));
    }
    if !answer.text.is_empty() {
        items.push(message(reply, &answer.text));
    }
    let calls = answer.calls.iter().enumerate();
    items.extend(calls.map(|(at, call)| call_item(reply, at, call)));
    items
}

/// Says in the id of an item whether it came with reasoning.
fn item_id(reply: &Reply<'_>, prefix: &str, at: usize) -> String {
    let mark = if reply.answer.think.is_some() { THOUGHT_OUT } else { "_st" };
    format!("{prefix}{mark}{}{at}", reply.nonce(0))
}

fn message(reply: &Reply<'_>, text: &str) -> Value {
    json!({
        "id": item_id(reply, "msg", 0),
        "type": "message",
        "status": if status(reply) == "incomplete" { "incomplete" } else { "completed" },
        "role": "assistant",
        "content": [{"type": "output_text", "annotations": [], "logprobs": [], "text": text}],
    })
}

fn call_item(reply: &Reply<'_>, at: usize, call: &ToolCall) -> Value {
    let nonce = reply.nonce(at);
    let arguments = call.argument_text();
    let id = match &call.raw {
        // See `anthropic_out::id_of`.
        Some(_) => format!("call_raw{nonce}"),
        None => call_id(CALL_PREFIX, &nonce, &call.name, &arguments),
    };
    json!({
        "id": item_id(reply, "fc", at),
        "type": "function_call",
        "status": "completed",
        "arguments": arguments,
        "call_id": id,
        "name": call.name,
    })
}

fn response(reply: &Reply<'_>, status: &str, output: Vec<Value>, usage: Value) -> Value {
    let incomplete = match (status, reply.answer.stop) {
        ("incomplete", Some(Stop::Refusal)) => json!({"reason": "content_filter"}),
        ("incomplete", _) => json!({"reason": "max_output_tokens"}),
        _ => Value::Null,
    };
    json!({
        "id": format!("resp_{}", reply.id),
        "object": "response",
        "created_at": reply.created_s,
        "status": status,
        "background": false,
        "error": null,
        "incomplete_details": incomplete,
        "instructions": null,
        "metadata": {},
        "model": reply.model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "store": false,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage,
    })
}

fn status(reply: &Reply<'_>) -> &'static str {
    match reply.answer.stop {
        Some(_) => "incomplete",
        None => "completed",
    }
}

fn usage(usage: Usage) -> Value {
    let prompt = usage.prompt();
    json!({
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": 0},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": prompt + usage.output,
    })
}
