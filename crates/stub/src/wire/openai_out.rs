//! OpenAI Chat Completions on the way out: whole completions, and the chunks of a stream.

use serde_json::{Value, json};

use super::openai::ID_PREFIX;
use super::{Refusal, Reply, Wire, call_id};
use crate::answer::{Answer, ToolCall, pieces};
use crate::cache::Usage;
use crate::directive::Stop;
use crate::play::{FILLER, Frame};

/// Returns the whole completion.
pub fn whole(reply: &Reply<'_>) -> Value {
    let answer = reply.answer;
    let mut message = json!({"role": "assistant", "content": answer.text, "refusal": null});
    if answer.text.is_empty() && !answer.calls.is_empty() {
        message["content"] = Value::Null;
    }
    if let Some(thinking) = &answer.think {
        message["reasoning_content"] = thinking.as_str().into();
    }
    if !answer.calls.is_empty() {
        let calls = answer.calls.iter().enumerate();
        message["tool_calls"] = calls.map(|(at, call)| call_value(reply, at, call)).collect();
    }
    json!({
        "id": format!("chatcmpl-{}", reply.id),
        "object": "chat.completion",
        "created": reply.created_s,
        "model": reply.model,
        "choices": [{
            "index": 0,
            "message": message,
            "logprobs": null,
            "finish_reason": finish_reason(answer),
        }],
        "usage": usage(reply.usage),
        "system_fingerprint": null,
    })
}

/// Returns the frames of the stream, with `flood` frames of filler before the answer.
pub fn frames(reply: &Reply<'_>, flood: u64) -> Vec<Frame> {
    let answer = reply.answer;
    let chunk = |delta: Value, tokens: u64| data(&chunk(reply, delta, None), tokens);
    let mut frames = vec![chunk(json!({"role": "assistant", "content": ""}), 0)];
    if flood > 0 {
        let filler = chunk(json!({"content": FILLER}), super::tokens(FILLER.len()));
        frames.push(Frame { times: flood, ..filler });
    }
    let pieces_of = |text: &str, delta: &dyn Fn(&str) -> Value| -> Vec<Frame> {
        let frame = |piece: &str| chunk(delta(piece), super::tokens(piece.len()));
        pieces(text).into_iter().map(frame).collect()
    };
    let thinking = answer.think.as_deref().unwrap_or("");
    frames.extend(pieces_of(thinking, &|piece| json!({"reasoning_content": piece})));
    frames.extend(pieces_of(&answer.text, &|piece| json!({"content": piece})));
    for (at, call) in answer.calls.iter().enumerate() {
        let mut value = call_value(reply, at, call);
        value["function"]["arguments"] = "".into();
        let mut opening = json!({"index": at});
        if let (Some(opening), Value::Object(value)) = (opening.as_object_mut(), value) {
            opening.extend(value);
        }
        frames.push(chunk(json!({"tool_calls": [opening]}), 0));
        let part =
            |piece: &str| json!({"tool_calls": [{"index": at, "function": {"arguments": piece}}]});
        frames.extend(pieces_of(&call.argument_text(), &part));
    }
    frames.push(data(&self::chunk(reply, json!({}), Some(finish_reason(answer))), 0));
    if reply.include_usage {
        let mut last = self::chunk(reply, json!({}), None);
        last["choices"] = json!([]);
        last["usage"] = usage(reply.usage);
        frames.push(data(&last, 0));
    }
    frames.push(Frame::new("data: [DONE]\n\n".to_owned(), 0));
    frames
}

/// Returns the frame of an error that comes after the status 200.
pub fn error_frame(refusal: &Refusal) -> Frame {
    data(&refusal.body(Wire::Openai), 0)
}

fn data(value: &Value, tokens: u64) -> Frame {
    Frame::new(format!("data: {value}\n\n"), tokens)
}

fn chunk(reply: &Reply<'_>, delta: Value, finish_reason: Option<&str>) -> Value {
    let choice = json!({
        "index": 0,
        "delta": delta,
        "logprobs": null,
        "finish_reason": finish_reason,
    });
    let mut chunk = json!({
        "id": format!("chatcmpl-{}", reply.id),
        "object": "chat.completion.chunk",
        "created": reply.created_s,
        "model": reply.model,
        "system_fingerprint": null,
        "choices": [choice],
    });
    // With usage asked for, every chunk before the last says null.
    if reply.include_usage {
        chunk["usage"] = Value::Null;
    }
    chunk
}

fn call_value(reply: &Reply<'_>, at: usize, call: &ToolCall) -> Value {
    let nonce = reply.nonce(at);
    let arguments = call.argument_text();
    let id = match &call.raw {
        // See `anthropic_out::id_of`.
        Some(_) => format!("call_raw{nonce}"),
        None => call_id(ID_PREFIX, &nonce, &call.name, &arguments),
    };
    json!({
        "id": id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    })
}

fn usage(usage: Usage) -> Value {
    let prompt = usage.prompt();
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": usage.output,
        "total_tokens": prompt + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    })
}

fn finish_reason(answer: &Answer) -> &'static str {
    match answer.stop {
        Some(Stop::Length) => "length",
        Some(Stop::Refusal) => "content_filter",
        None if answer.calls.is_empty() => "stop",
        None => "tool_calls",
    }
}
