//! Anthropic Messages on the way out: whole messages, and the frames of a stream.

use serde_json::{Value, json};

use super::anthropic_messages::{ID_PREFIX, signature};
use super::{Refusal, Reply, Wire, call_id};
use crate::answer::{Answer, ToolCall, pieces};
use crate::cache::Usage;
use crate::directive::Stop;
use crate::play::{FILLER, Frame};

/// Returns the whole message.
pub fn whole(reply: &Reply<'_>) -> Value {
    let blocks: Vec<Value> = blocks(reply).into_iter().map(|block| block.value).collect();
    let mut message = head(reply, blocks.into());
    message["stop_reason"] = stop_reason(reply.answer).into();
    message["usage"] = usage(reply.usage, reply.usage.output);
    message
}

/// Returns the frames of the stream, with `flood` frames of filler before the answer.
pub fn frames(reply: &Reply<'_>, flood: u64) -> Vec<Frame> {
    let mut start = head(reply, json!([]));
    // The provider has counted one token by then.
    start["usage"] = usage(reply.usage, 1);
    let mut frames =
        vec![event("message_start", json!({"message": start}), 0), event("ping", json!({}), 0)];
    let mut index = 0;
    if flood > 0 {
        frames.push(block_start(index, json!({"type": "text", "text": ""})));
        let filler = delta(index, json!({"type": "text_delta", "text": FILLER}), FILLER);
        frames.push(Frame { times: flood, ..filler });
        frames.push(event("content_block_stop", json!({"index": index}), 0));
        index += 1;
    }
    for block in blocks(reply) {
        frames.push(block_start(index, block.start));
        for piece in pieces(&block.text) {
            let part = json!({"type": block.delta, block.field: piece});
            frames.push(delta(index, part, piece));
        }
        if let Some(signature) = block.signature {
            let part = json!({"type": "signature_delta", "signature": signature});
            frames.push(delta(index, part, ""));
        }
        frames.push(event("content_block_stop", json!({"index": index}), 0));
        index += 1;
    }
    let stop = json!({
        "delta": {"stop_reason": stop_reason(reply.answer), "stop_sequence": null},
        "usage": usage(reply.usage, reply.usage.output),
    });
    frames.push(event("message_delta", stop, 0));
    frames.push(event("message_stop", json!({}), 0));
    frames
}

/// Returns the frame of an error that comes after the status 200.
pub fn error_frame(refusal: &Refusal) -> Frame {
    Frame::new(format!("event: error\ndata: {}\n\n", refusal.body(Wire::Anthropic)), 0)
}

/// One content block: whole, and as the parts of its deltas.
struct BlockOut {
    value: Value,
    start: Value,
    delta: &'static str,
    field: &'static str,
    text: String,
    signature: Option<String>,
}

fn blocks(reply: &Reply<'_>) -> Vec<BlockOut> {
    let answer = reply.answer;
    let think = answer.think.iter().map(|thinking| BlockOut {
        value: json!({
            "type": "thinking",
            "thinking": thinking,
            "signature": signature(thinking),
        }),
        start: json!({"type": "thinking", "thinking": "", "signature": ""}),
        delta: "thinking_delta",
        field: "thinking",
        text: thinking.clone(),
        signature: Some(signature(thinking)),
    });
    let text = (!answer.text.is_empty()).then(|| BlockOut {
        value: json!({"type": "text", "text": answer.text}),
        start: json!({"type": "text", "text": ""}),
        delta: "text_delta",
        field: "text",
        text: answer.text.clone(),
        signature: None,
    });
    let calls = answer.calls.iter().enumerate().map(|(at, call)| {
        let id = id_of(reply, at, call);
        BlockOut {
            value: json!({
                "type": "tool_use",
                "id": id,
                "name": call.name,
                "input": call.arguments,
            }),
            start: json!({"type": "tool_use", "id": id, "name": call.name, "input": {}}),
            delta: "input_json_delta",
            field: "partial_json",
            text: call.argument_text(),
            signature: None,
        }
    });
    think.chain(text).chain(calls).collect()
}

/// Broken arguments come back mended in a way that only the gateway knows, so they get an id
/// that seals nothing.
fn id_of(reply: &Reply<'_>, at: usize, call: &ToolCall) -> String {
    let nonce = reply.nonce(at);
    match &call.raw {
        Some(_) => format!("toolu_raw{nonce}"),
        None => call_id(ID_PREFIX, &nonce, &call.name, &call.arguments.to_string()),
    }
}

fn head(reply: &Reply<'_>, content: Value) -> Value {
    json!({
        "id": format!("msg_{}", reply.id),
        "type": "message",
        "role": "assistant",
        "model": reply.model,
        "content": content,
        "stop_reason": null,
        "stop_sequence": null,
        "usage": null,
    })
}

fn usage(usage: Usage, output: u64) -> Value {
    json!({
        "input_tokens": usage.input,
        "cache_creation_input_tokens": usage.cache_write(),
        "cache_read_input_tokens": usage.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": usage.cache_write_5m,
            "ephemeral_1h_input_tokens": usage.cache_write_1h,
        },
        "output_tokens": output,
        "service_tier": "standard",
    })
}

fn stop_reason(answer: &Answer) -> &'static str {
    match answer.stop {
        Some(Stop::Length) => "max_tokens",
        Some(Stop::Refusal) => "refusal",
        None if answer.calls.is_empty() => "end_turn",
        None => "tool_use",
    }
}

fn block_start(index: usize, block: Value) -> Frame {
    event("content_block_start", json!({"index": index, "content_block": block}), 0)
}

fn delta(index: usize, delta: Value, piece: &str) -> Frame {
    let tokens = super::tokens(piece.len());
    event("content_block_delta", json!({"index": index, "delta": delta}), tokens)
}

fn event(name: &str, fields: Value, tokens: u64) -> Frame {
    let mut data = json!({"type": name});
    if let (Some(data), Value::Object(fields)) = (data.as_object_mut(), fields) {
        data.extend(fields);
    }
    Frame::new(format!("event: {name}\ndata: {data}\n\n"), tokens)
}
