//! What requests look like, and what must hold for all of them.

mod google;
mod responses;
mod sampling;
mod thinking;

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use types::{AssistantMessage, Message, Prefix, StopReason, ToolCall, ToolResult, ToolSpec, Wire};

use crate::openai_chat::request::Dialect;
use crate::{ModelRequest, Sampling, anthropic, openai_chat};

/// Who is asked in these tests.
const ASKED: &str = "work/m-1";

fn prefix() -> Prefix {
    let tool = |name: &str| ToolSpec {
        name: name.to_owned(),
        description: format!("does {name}"),
        input_schema: json!({ "type": "object" }),
    };
    Prefix { system: "Be brief.".to_owned(), tools: vec![tool("exec"), tool("read")] }
}

fn request(messages: Vec<Message>) -> ModelRequest {
    ModelRequest {
        model: "m-1".to_owned(),
        prefix: Arc::new(prefix()),
        messages,
        max_output_tokens: 1_000,
        thinking: None,
        sampling: Sampling::default(),
        idempotency_key: "k-1".to_owned(),
        conversation: "s-1".to_owned(),
    }
}

fn user(text: &str) -> Message {
    Message::User(text.to_owned())
}

fn result(id: &str, text: &str, is_error: bool) -> Message {
    let (call_id, name) = (id.to_owned(), "exec".to_owned());
    Message::ToolResult(ToolResult { call_id, name, text: text.to_owned(), is_error })
}

/// An answer with calls; `raw` is what its wire would have kept.
fn assistant(wire: Wire, text: &str, calls: &[(&str, &str)], raw: &str) -> Message {
    let call = |(id, arguments): &(&str, &str)| ToolCall {
        id: (*id).to_owned(),
        name: "exec".to_owned(),
        arguments: (*arguments).to_owned(),
    };
    Message::Assistant(AssistantMessage {
        wire,
        model: "m-1".to_owned(),
        asked: None,
        text: text.to_owned(),
        calls: calls.iter().map(call).collect(),
        stop: if calls.is_empty() { StopReason::End } else { StopReason::ToolCalls },
        raw: RawValue::from_string(raw.to_owned()).unwrap(),
    })
}

/// Raw answers with spaces, floats and an order of keys that a parser would not keep.
const ANTHROPIC_RAW: &str = concat!(
    r#"[{"type":"thinking","thinking":"x","signature":"a+/="}, "#,
    r#"{"type":"tool_use","id":"t1","name":"exec","input":{"b": 1.0e3,"a":1}}]"#,
);
const OPENAI_RAW: &str = concat!(
    r#"{"role":"assistant", "content":null,"reasoning_content":"x","tool_calls":["#,
    r#"{"id":"c:1","type":"function","function":{"name":"exec","arguments":"{\"b\": 1.0e3}"}}]}"#,
);

/// A conversation that has changed its provider twice.
fn mixed() -> Vec<Message> {
    vec![
        user("one"),
        user("two"),
        assistant(Wire::AnthropicMessages, "", &[("t1", r#"{"b": 1.0e3,"a":1}"#)], ANTHROPIC_RAW),
        result("t1", "done", false),
        user("three"),
        assistant(Wire::OpenaiCompletions, "", &[("c:1", r#"{"b": 1.0e3}"#)], OPENAI_RAW),
        result("c:1", "", true),
        assistant(Wire::Scripted, "so", &[("s1", "{broken"), ("s2", "")], "{}"),
        result("s2", "second", false),
        result("s1", "first", false),
        user("four"),
    ]
}

fn anthropic(messages: Vec<Message>) -> String {
    String::from_utf8(anthropic::request::body(&request(messages), ASKED).unwrap()).unwrap()
}

fn openai(messages: Vec<Message>) -> String {
    let limit = openai_chat::request::Limit::MaxTokens;
    String::from_utf8(
        openai_chat::request::body(&request(messages), ASKED, limit, Dialect::Openai).unwrap(),
    )
    .unwrap()
}

/// Prints a body with a line for each message, block and tool, so that a difference is one line.
fn lines(body: &str) -> String {
    body.replace(r#",{""#, ",\n{\"").replace(r#"":[{"#, "\":[\n{")
}

#[test]
fn an_anthropic_request() {
    insta::assert_snapshot!(lines(&anthropic(mixed())), @r#"
    {"model":"m-1","max_tokens":1000,"stream":true,"tools":[
    {"name":"exec","description":"does exec","input_schema":{"type":"object"}},
    {"name":"read","description":"does read","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],"system":[
    {"type":"text","text":"Be brief.","cache_control":{"type":"ephemeral"}}],"messages":[
    {"role":"user","content":[
    {"type":"text","text":"one"},
    {"type":"text","text":"two"}]},
    {"role":"assistant","content":[
    {"type":"thinking","thinking":"x","signature":"a+/="}, {"type":"tool_use","id":"t1","name":"exec","input":{"b": 1.0e3,"a":1}}]},
    {"role":"user","content":[
    {"type":"tool_result","tool_use_id":"t1","content":"done"},
    {"type":"text","text":"three"}]},
    {"role":"assistant","content":[
    {"type":"tool_use","id":"call_7c9d30055291ef7b84cdc4577fa871f8","name":"exec","input":{"b": 1.0e3}}]},
    {"role":"user","content":[
    {"type":"tool_result","tool_use_id":"call_7c9d30055291ef7b84cdc4577fa871f8","content":"","is_error":true,"cache_control":{"type":"ephemeral"}}]},
    {"role":"assistant","content":[
    {"type":"text","text":"so"},
    {"type":"tool_use","id":"s1","name":"exec","input":{"invalid_json":"{broken"}},
    {"type":"tool_use","id":"s2","name":"exec","input":{}}]},
    {"role":"user","content":[
    {"type":"tool_result","tool_use_id":"s1","content":"first"},
    {"type":"tool_result","tool_use_id":"s2","content":"second"},
    {"type":"text","text":"four","cache_control":{"type":"ephemeral"}}]}]}
    "#);
}

#[test]
fn an_openai_request() {
    insta::assert_snapshot!(lines(&openai(mixed())), @r#"
    {"model":"m-1","max_tokens":1000,"stream":true,"stream_options":{"include_usage":true},"tools":[
    {"type":"function","function":{"name":"exec","description":"does exec","parameters":{"type":"object"}}},
    {"type":"function","function":{"name":"read","description":"does read","parameters":{"type":"object"}}}],"messages":[
    {"role":"system","content":"Be brief."},
    {"role":"user","content":"one"},
    {"role":"user","content":"two"},
    {"role":"assistant","content":null,"tool_calls":[
    {"id":"t1","type":"function","function":{"name":"exec","arguments":"{\"b\": 1.0e3,\"a\":1}"}}]},
    {"role":"tool","tool_call_id":"t1","content":"done"},
    {"role":"user","content":"three"},
    {"role":"assistant", "content":null,"reasoning_content":"x","tool_calls":[
    {"id":"c:1","type":"function","function":{"name":"exec","arguments":"{\"b\": 1.0e3}"}}]},
    {"role":"tool","tool_call_id":"c:1","content":"error: "},
    {"role":"assistant","content":"so","tool_calls":[
    {"id":"s1","type":"function","function":{"name":"exec","arguments":"{\"invalid_json\":\"{broken\"}"}},
    {"id":"s2","type":"function","function":{"name":"exec","arguments":"{}"}}]},
    {"role":"tool","tool_call_id":"s1","content":"first"},
    {"role":"tool","tool_call_id":"s2","content":"second"},
    {"role":"user","content":"four"}]}
    "#);
}

#[test]
fn raw_answers_go_back_byte_for_byte() {
    assert!(anthropic(mixed()).contains(ANTHROPIC_RAW));
    assert!(openai(mixed()).contains(OPENAI_RAW));
}

/// Without its cache marks, what was sent is a prefix of what is sent next, byte for byte: the
/// provider's cache depends on it.
#[test]
fn a_conversation_only_grows_at_its_end() {
    let unmarked = |body: String| body.replace(r#","cache_control":{"type":"ephemeral"}"#, "");
    let messages = |body: String| {
        let at = body.find(r#""messages":"#).unwrap();
        body[at..].trim_end_matches(['}', ']']).to_owned()
    };
    for wire in [|m| anthropic(m), |m| openai(m)] {
        // A boundary at which a model is called: the newest message is not an assistant's.
        for end in [2, 5, 7] {
            let earlier = messages(unmarked(wire(mixed()[..end].to_vec())));
            let later = messages(unmarked(wire(mixed())));
            assert!(later.starts_with(&earlier), "{end}:\n{earlier}\n{later}");
        }
    }
}

#[test]
fn at_most_four_places_are_marked_for_the_cache() {
    let mut messages = Vec::new();
    for round in 0..10 {
        messages.push(user(&format!("question {round}")));
        let body = anthropic(messages.clone());
        let marks = body.matches("cache_control").count();
        assert_eq!(marks, if round == 0 { 3 } else { 4 });
        messages.push(assistant(Wire::Scripted, "answer", &[], "{}"));
    }
}

/// What a strict server checks, for every cut of a conversation that a crash could leave.
#[test]
fn every_beginning_of_a_conversation_is_valid() {
    for end in 1..=mixed().len() {
        let messages = mixed()[..end].to_vec();
        let body: Value = serde_json::from_str(&anthropic(messages.clone())).unwrap();
        check_anthropic(body["messages"].as_array().unwrap());
        let body: Value = serde_json::from_str(&openai(messages)).unwrap();
        check_openai(body["messages"].as_array().unwrap());
    }
}

fn check_anthropic(messages: &[Value]) {
    let mut open: Vec<String> = Vec::new();
    for (place, message) in messages.iter().enumerate() {
        let role = if place % 2 == 0 { "user" } else { "assistant" };
        assert_eq!(message["role"], role);
        let blocks = message["content"].as_array().unwrap();
        assert!(!blocks.is_empty());
        let of = |kind: &str, field: &str| -> Vec<String> {
            let blocks = blocks.iter().filter(|block| block["type"] == kind);
            blocks.map(|block| block[field].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(of("tool_result", "tool_use_id"), open);
        assert!(blocks[..open.len()].iter().all(|block| block["type"] == "tool_result"));
        open = of("tool_use", "id");
    }
    assert!(open.is_empty());
}

fn check_openai(messages: &[Value]) {
    let mut open: Vec<&str> = Vec::new();
    for message in messages {
        if message["role"] == "tool" {
            assert_eq!(message["tool_call_id"], open.remove(0));
            continue;
        }
        assert!(open.is_empty(), "a call without a result before {message}");
        let calls = message["tool_calls"].as_array().into_iter().flatten();
        for call in calls {
            let arguments = call["function"]["arguments"].as_str().unwrap();
            assert!(serde_json::from_str::<Value>(arguments).unwrap().is_object());
            open.push(call["id"].as_str().unwrap());
        }
    }
    assert!(open.is_empty());
}

#[test]
fn an_empty_prefix_and_empty_words_are_left_out() {
    let bare = ModelRequest {
        prefix: Arc::default(),
        ..request(vec![user("hi"), user("  "), assistant(Wire::AnthropicMessages, "", &[], "[]")])
    };
    let body = anthropic::request::body(&bare, ASKED).unwrap();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        concat!(
            r#"{"model":"m-1","max_tokens":1000,"stream":true,"messages":[{"role":"user","#,
            r#""content":[{"type":"text","text":"hi","cache_control":{"type":"ephemeral"}}]}]}"#,
        )
    );
    let limit = openai_chat::request::Limit::MaxCompletionTokens;
    let body = openai_chat::request::body(&bare, ASKED, limit, Dialect::Openai).unwrap();
    assert_eq!(
        String::from_utf8(body).unwrap(),
        concat!(
            r#"{"model":"m-1","max_completion_tokens":1000,"stream":true,"#,
            r#""stream_options":{"include_usage":true},"#,
            r#""messages":[{"role":"user","content":"hi"}]}"#,
        )
    );
}
