//! Google's Gemini API on the way out: whole answers, and the pieces of a stream.

use serde_json::{Value, json};

use super::google_contents::{ID_PREFIX, signature};
use super::{Refusal, Reply, Wire, call_id};
use crate::answer::{ToolCall, pieces};
use crate::cache::Usage;
use crate::directive::Stop;
use crate::play::{FILLER, Frame};

/// Returns the whole answer.
pub fn whole(reply: &Reply<'_>) -> Value {
    let mut parts = Vec::new();
    if let Some(thinking) = &reply.answer.think {
        parts.push(json!({"text": thinking, "thought": true}));
    }
    if !reply.answer.text.is_empty() {
        parts.push(json!({"text": reply.answer.text}));
    }
    parts.extend(calls(reply));
    parts.extend(seal_of_thought(reply));
    piece(reply, parts, Some(finish_reason(reply)), reply.usage.output)
}

/// Returns the frames of the stream, with `flood` frames of filler before the answer.
pub fn frames(reply: &Reply<'_>, flood: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    let mut told = 0;
    let mut push = |part: Value, tokens: u64| {
        told += tokens;
        frames.push(data(&piece(reply, vec![part], None, told), tokens));
    };
    if flood > 0 {
        push(json!({"text": FILLER}), super::tokens(FILLER.len()));
    }
    for text in pieces(reply.answer.think.as_deref().unwrap_or("")) {
        push(json!({"text": text, "thought": true}), super::tokens(text.len()));
    }
    for text in pieces(&reply.answer.text) {
        push(json!({"text": text}), super::tokens(text.len()));
    }
    for part in calls(reply) {
        let tokens = super::tokens(part["functionCall"].to_string().len());
        push(part, tokens);
    }
    if flood > 0
        && let Some(first) = frames.first_mut()
    {
        first.times = flood;
    }
    // The provider ends an answer with an empty text, which carries the signature if nothing
    // else does.
    let last = seal_of_thought(reply).unwrap_or_else(|| json!({"text": ""}));
    let end = piece(reply, vec![last], Some(finish_reason(reply)), reply.usage.output);
    frames.push(data(&end, 0));
    frames
}

/// Returns the frame of an error that comes after the status 200.
pub fn error_frame(refusal: &Refusal) -> Frame {
    data(&refusal.body(Wire::Google), 0)
}

/// Returns the body of an error.
pub fn error(refusal: &Refusal, class: &str) -> Value {
    let mut details = Vec::new();
    if let Some(reason) = refusal.code.filter(|code| *code == "API_KEY_INVALID") {
        let kind = "type.googleapis.com/google.rpc.ErrorInfo";
        details.push(json!({"@type": kind, "reason": reason, "domain": "googleapis.com"}));
    }
    if let Some(seconds) = refusal.retry_after_s {
        let kind = "type.googleapis.com/google.rpc.RetryInfo";
        details.push(json!({"@type": kind, "retryDelay": format!("{seconds}s")}));
    }
    let mut error = json!({"code": refusal.status, "message": refusal.message, "status": class});
    if !details.is_empty() {
        error["details"] = details.into();
    }
    json!({ "error": error })
}

fn data(value: &Value, tokens: u64) -> Frame {
    Frame::new(format!("data: {value}\r\n\r\n"), tokens)
}

fn piece(reply: &Reply<'_>, parts: Vec<Value>, finish: Option<&str>, output: u64) -> Value {
    let mut candidate = json!({"content": {"parts": parts, "role": "model"}, "index": 0});
    if let Some(reason) = finish {
        candidate["finishReason"] = reason.into();
    }
    json!({
        "candidates": [candidate],
        "usageMetadata": usage(reply.usage, output),
        "modelVersion": reply.model,
        "responseId": reply.id,
    })
}

/// The parts of the calls. The first of them is signed.
fn calls(reply: &Reply<'_>) -> Vec<Value> {
    let calls = reply.answer.calls.iter().enumerate();
    let good = calls.filter(|(_, call)| call.raw.is_none());
    let mut parts: Vec<Value> = good.map(|(at, call)| call_part(reply, at, call)).collect();
    if let Some(first) = parts.first_mut() {
        let call = &first["functionCall"];
        let name = call["name"].as_str().unwrap_or_default();
        first["thoughtSignature"] = signature(&format!("{name}{}", call["args"])).into();
    }
    parts
}

fn call_part(reply: &Reply<'_>, at: usize, call: &ToolCall) -> Value {
    let id = call_id(ID_PREFIX, &reply.nonce(at), &call.name, &call.arguments.to_string());
    json!({"functionCall": {"id": id, "name": call.name, "args": call.arguments}})
}

/// Thinking that leads to words alone is signed in a part of its own.
fn seal_of_thought(reply: &Reply<'_>) -> Option<Value> {
    let alone = reply.answer.think.is_some() && reply.answer.calls.is_empty();
    alone.then(|| json!({"text": "", "thoughtSignature": signature("")}))
}

fn usage(usage: Usage, output: u64) -> Value {
    let prompt = usage.prompt();
    let thoughts = usage.reasoning.min(output);
    let mut counts = json!({
        "promptTokenCount": prompt,
        "candidatesTokenCount": output - thoughts,
        "totalTokenCount": prompt + output,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
    });
    if usage.cache_read > 0 {
        counts["cachedContentTokenCount"] = usage.cache_read.into();
    }
    if thoughts > 0 {
        counts["thoughtsTokenCount"] = thoughts.into();
    }
    counts
}

fn finish_reason(reply: &Reply<'_>) -> &'static str {
    let answer = reply.answer;
    match answer.stop {
        // Arguments are an object here; broken ones never leave the provider.
        _ if answer.calls.iter().any(|call| call.raw.is_some()) => "MALFORMED_FUNCTION_CALL",
        Some(Stop::Length) => "MAX_TOKENS",
        Some(Stop::Refusal) => "SAFETY",
        None => "STOP",
    }
}
